//! Role hooks as they are run: programs that follow the role, beside the driver (R1.5, F03).
//!
//! When a hook runs, what for, and when again is decided by `steadfast_core::hooks`; here programs
//! are started and ended. A thread of its own hears the node's word; each run has another one. No
//! heartbeat ever waits for any of them.
//!
//! A program runs beneath a guard, the daemon's own binary run again with a hidden argument: it
//! ends the program in time even while the daemon stands still, and so keeps the promise that
//! "again" rests on. Whoever ends by itself may leave behind what it started, as a dialler must;
//! whoever is ended takes its group along, and the next one begins when that is gone.
//!
//! The limits: a daemon that is killed ends no hook, and says "standby" to none; the next one does,
//! when it starts. What leaves its process group is nobody's.

mod guard;
mod run;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::{info, warn};
use serde::{Deserialize, Serialize};
use steadfast_core::Instant;
use steadfast_core::hooks::{Act, Call, HookState, Hooks, KILL_PATIENCE, Level, Outcome, Word};
use steadfast_core::status::Status;
use tokio::sync::{mpsc, watch};

pub use guard::{GUARD_ARGUMENT, guard_main};

use crate::linux::clock::Monotonic;
use crate::program::Stop;
use run::{Ended, Run};

/// Stack of a run's thread.
const STACK_BYTES: usize = 256 * 1024;
/// Changed lists that wait to be taken.
const ORDERS_MAX: usize = 4;
/// Ends of runs that wait to be read: one runs, and some may have been left behind.
const ENDS_MAX: usize = 16;
/// The longest that all hooks together may hold up a daemon that ends.
pub const END_MAX: Duration = Duration::from_secs(20);
/// How long after it was ordered a program may still be started. With the age of the word it was
/// ordered on, and with what its guard is later than the daemon, less than what hooks are run again
/// after.
const START_WITHIN: Duration = Duration::from_millis(500);

/// A hook, as it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSpec {
    /// Its name.
    pub name: String,
    /// When it is ended.
    pub timeout: Duration,
    /// The program, and its arguments.
    pub command: Vec<String>,
}

/// Who runs hooks, for the programs' environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The cluster's name.
    pub cluster: String,
    /// This node's name.
    pub node: String,
    /// This node's number.
    pub id: u8,
}

/// What is known of a hook, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookFacts {
    /// Its name.
    pub name: String,
    /// What it runs for, and how it last went.
    pub state: HookState,
    /// What is to be said of its last end.
    pub said: String,
}

type Told = Arc<Mutex<Vec<HookFacts>>>;
/// Hooks, and whose they are.
type List = (Vec<HookSpec>, Whose);

/// The hooks of this gateway.
pub struct RoleHooks {
    lists: mpsc::Sender<List>,
    thread: JoinHandle<()>,
    told: Told,
}

impl RoleHooks {
    /// Starts to follow the role. Threads inherit the scheduling of whoever starts them: start
    /// this before the driver's thread is raised.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        specs: Vec<HookSpec>,
        whose: Whose,
        statuses: watch::Receiver<Arc<Status>>,
        time: Monotonic,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let (lists, changed) = mpsc::channel(ORDERS_MAX);
        let (sender, ends) = mpsc::channel(ENDS_MAX);
        let told = Told::default();
        let body = Body {
            hooks: machine(&specs),
            said: vec![String::new(); specs.len()],
            specs,
            whose,
            statuses,
            time,
            lists: changed,
            sender,
            ends,
            running: None,
            old: None,
            list: 0,
            told: Arc::clone(&told),
        };
        let thread = thread::Builder::new()
            .name("hooks".to_owned())
            .spawn(move || runtime.block_on(body.tend()))?;
        Ok(Self {
            lists,
            thread,
            told,
        })
    }

    /// Runs these from now on. An unchanged list changes nothing; of a changed one all are run for
    /// what the node is.
    ///
    /// # Errors
    /// Too many changes wait, or the thread has ended.
    pub fn replace(&self, specs: Vec<HookSpec>, whose: Whose) -> io::Result<()> {
        self.lists
            .try_send((specs, whose))
            .map_err(io::Error::other)
    }

    /// What is known of each.
    #[must_use]
    pub fn told(&self) -> Vec<HookFacts> {
        lock(&self.told).clone()
    }

    /// This gateway does not serve any more: runs all hooks for that, and waits until they have
    /// ended; for [`END_MAX`] at most.
    pub fn end(self) {
        drop(self.lists);
        if self.thread.join().is_err() {
            warn!("the hooks' thread panicked");
        }
    }
}

fn machine(specs: &[HookSpec]) -> Hooks {
    Hooks::new(specs.iter().map(|spec| spec.timeout).collect())
}

/// The thread.
struct Body {
    hooks: Hooks,
    specs: Vec<HookSpec>,
    /// What is to be said of each one's last end.
    said: Vec<String>,
    whose: Whose,
    statuses: watch::Receiver<Arc<Status>>,
    time: Monotonic,
    lists: mpsc::Receiver<List>,
    sender: mpsc::Sender<Ended>,
    ends: mpsc::Receiver<Ended>,
    /// The newest run, until its end is known.
    running: Option<(u64, Stop)>,
    /// A run of the list before: list, number, and until when the new one waits for its end.
    old: Option<(u64, u64, Instant)>,
    /// Counts the lists.
    list: u64,
    told: Told,
}

impl Body {
    async fn tend(mut self) {
        let mut deaf = false;
        loop {
            self.carry_out();
            // Without a hook nobody asks for the node's word: each costs a wake.
            let hears = !deaf && !self.specs.is_empty();
            let waited = self.old.map(|(_, _, until)| until);
            let deadline = self.hooks.next_deadline().into_iter().chain(waited).min();
            tokio::select! {
                biased;
                Some(ended) = self.ends.recv() => self.ended(&ended),
                list = self.lists.recv() => match list {
                    Some((specs, whose)) => self.replace(specs, whose),
                    None => break,
                },
                changed = self.statuses.changed(), if hears => {
                    deaf = changed.is_err();
                    self.hear();
                }
                () = sleep_until(self.time, deadline) => self.deadline_reached(),
            }
        }
        self.close().await;
    }

    fn deadline_reached(&mut self) {
        let now = self.time.now();
        if self.old.take_if(|(_, _, until)| *until <= now).is_some() {
            self.hear();
        }
        self.watch(None, |hooks| hooks.deadline_reached(now));
    }

    /// The node's newest word; not while a run of the list before may be under way.
    fn hear(&mut self) {
        if self.old.is_some() {
            return;
        }
        let newest = Arc::clone(&self.statuses.borrow_and_update());
        let word = Word::from(&*newest);
        self.hooks.heard(self.time.now(), word);
    }

    async fn close(mut self) {
        let all: Duration = self.specs.iter().map(|spec| spec.timeout).sum();
        let patience = END_MAX.min(all + KILL_PATIENCE);
        let until = self.time.now().after(patience);
        self.hooks.close(self.time.now());
        loop {
            self.carry_out();
            if self.hooks.is_settled() {
                return;
            }
            // What a list before has left is not waited for: its guard ends it.
            let deadline = self.hooks.next_deadline();
            tokio::select! {
                biased;
                Some(ended) = self.ends.recv() => self.ended(&ended),
                () = sleep_until(self.time, Some(until)) => {
                    warn!("not every hook was run in {patience:?}; the daemon ends without them");
                    break;
                }
                () = sleep_until(self.time, deadline) => self.deadline_reached(),
            }
        }
        self.stop_running();
        // Its thread needs a moment to end it; what it does not end, the guard does in time.
        let gone = self.time.now().after(KILL_PATIENCE);
        tokio::select! {
            biased;
            Some(ended) = self.ends.recv() => self.ended(&ended),
            () = sleep_until(self.time, Some(gone)) => {}
        }
    }

    fn replace(&mut self, specs: Vec<HookSpec>, whose: Whose) {
        self.whose = whose;
        if specs == self.specs {
            return;
        }
        if let Some((number, _)) = &self.running {
            let until = self.time.now().after(KILL_PATIENCE);
            self.old = Some((self.list, *number, until));
        }
        self.stop_running();
        self.list += 1;
        self.hooks = machine(&specs);
        self.said = vec![String::new(); specs.len()];
        self.specs = specs;
        self.hear();
    }

    fn stop_running(&mut self) {
        if let Some((_, stop)) = self.running.take() {
            stop.end();
        }
    }

    fn carry_out(&mut self) {
        while let Some(act) = self.hooks.poll_act() {
            match act {
                Act::Start { run, hook, call } => self.start(run, hook, call),
                Act::Kill { run } => {
                    if let Some((_, stop)) =
                        self.running.as_ref().filter(|(number, _)| *number == run)
                    {
                        stop.end();
                    }
                }
            }
        }
        self.tell();
    }

    fn start(&mut self, number: u64, hook: usize, call: Call) {
        let Some(spec) = self.specs.get(hook) else {
            return;
        };
        let stop = Stop::default();
        self.running = Some((number, stop.clone()));
        let run = Run {
            list: self.list,
            number,
            call,
            spec: spec.clone(),
            whose: self.whose.clone(),
            start_by: self.time.boottime_at(self.time.now().after(START_WITHIN)),
            stop,
        };
        let sender = self.sender.clone();
        let body = move || {
            // A thread that has ended reads no more.
            let _ = sender.blocking_send(run.carry_out());
        };
        let named = thread::Builder::new().name("hook".to_owned());
        if let Err(error) = named.stack_size(STACK_BYTES).spawn(body) {
            self.ended(&Ended {
                list: self.list,
                number,
                name: spec.name.clone(),
                call,
                outcome: Err(format!("failed to start a thread: {error}")),
            });
        }
    }

    /// A run has ended; what it says counts if it is of this list.
    fn ended(&mut self, ended: &Ended) {
        if ended.list != self.list {
            let known = (ended.list, ended.number);
            if self.old.take_if(|old| (old.0, old.1) == known).is_some() {
                self.hear();
            }
            return;
        }
        self.running.take_if(|(number, _)| *number == ended.number);
        let now = self.time.now();
        let (run, passed) = (ended.number, ended.outcome.is_ok());
        self.watch(Some(ended), |hooks| hooks.ended(now, run, passed));
    }

    /// Lets something happen, and tells what it makes known of a hook. `ended`: a run's end that it
    /// is about.
    fn watch(&mut self, ended: Option<&Ended>, happens: impl FnOnce(&mut Hooks)) {
        let last = |hooks: &Hooks| hooks.states().map(|state| state.last).collect::<Vec<_>>();
        let before = last(&self.hooks);
        happens(&mut self.hooks);
        let after = last(&self.hooks);
        let all = before
            .into_iter()
            .zip(after)
            .zip(&self.specs)
            .zip(&mut self.said);
        let mut news = false;
        for (((before, after), spec), said) in all {
            let Some((call, _, outcome)) = after.filter(|_| before != after) else {
                continue;
            };
            news = true;
            *said = reason(spec, outcome, ended);
            let (name, for_what) = (&spec.name, for_what(call));
            match outcome {
                Outcome::Done => info!("hook {name}, {for_what}: done"),
                Outcome::Failed | Outcome::Late => warn!("hook {name}, {for_what}: {said}"),
            }
        }
        if let Some(ended) = ended.filter(|_| !news) {
            let (name, for_what) = (&ended.name, for_what(ended.call));
            info!("hook {name}, {for_what}: ended, it is not wanted any more");
        }
    }

    fn tell(&self) {
        let facts = self.hooks.states().zip(&self.specs).zip(&self.said);
        let facts = facts.map(|((state, spec), said)| HookFacts {
            name: spec.name.clone(),
            state,
            said: said.clone(),
        });
        *lock(&self.told) = facts.collect();
    }
}

async fn sleep_until(time: Monotonic, deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(time.now())).await,
        None => std::future::pending().await,
    }
}

/// Why a run did not pass; nothing of one that did.
fn reason(spec: &HookSpec, outcome: Outcome, ended: Option<&Ended>) -> String {
    let limit = spec.timeout;
    match (outcome, ended) {
        (Outcome::Done, _) => String::new(),
        (Outcome::Failed, Some(ended)) => ended.outcome.clone().err().unwrap_or_default(),
        (Outcome::Failed, None) => "failed".to_owned(),
        (Outcome::Late, Some(_)) => format!("no end within {limit:?}"),
        (Outcome::Late, None) => format!("no end within {limit:?}, and it cannot be ended"),
    }
}

/// What a hook runs for, in words.
fn for_what(call: Call) -> String {
    let level = level_word(call.level);
    let again = if call.again { " again" } else { "" };
    format!("{level}{again}, epoch {}", call.epoch)
}

/// As programs are told.
pub(crate) const fn level_word(level: Level) -> &'static str {
    match level {
        Level::Active => "active",
        Level::Standby => "standby",
    }
}

/// A lock whose holder panicked still holds whole values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
