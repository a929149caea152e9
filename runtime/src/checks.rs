//! Checks of this gateway's own health, run beside the driver (R4.2, R2.6).
//!
//! Each check has a thread of its own: one that hangs in a dead file system delays no other, and no
//! heartbeat. What a result is worth is the node's decision; here it is only found out, and a check
//! without an answer in its time has failed. Results go to the driver in the channel of orders; who
//! finds it full waits, and no other check with it.
//!
//! The limit: a thread that hangs in the kernel cannot be ended. It is left behind when the
//! configuration changes, and what it then says is not heard.

mod age;
mod connect;
mod echo;
mod probe;
mod route;
mod script;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{info, warn};
use steadfast_shell::orders::{Order, Orders};

use crate::program::Stop;

/// Stack of a check's thread: it reads small files and answers, and starts programs.
const STACK_BYTES: usize = 256 * 1024;
/// How long the daemon's end waits for what checks run to be gone.
const END_WITHIN: Duration = Duration::from_millis(500);
/// How often it looks.
const END_LOOK: Duration = Duration::from_millis(10);

/// A check, as it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSpec {
    /// Its name.
    pub name: String,
    /// How often it is run.
    pub every: Duration,
    /// When it has failed without an answer.
    pub timeout: Duration,
    /// What is done.
    pub probe: Probe,
}

/// A protocol whose services say that they are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Speech {
    /// Web pages.
    Http,
    /// Mailboxes.
    Imap,
    /// Mailboxes, the older way.
    Pop,
    /// Mail.
    Smtp,
}

impl Speech {
    /// As files spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Imap => "imap",
            Self::Pop => "pop3",
            Self::Smtp => "smtp",
        }
    }
}

/// What a check looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A host accepts a connection.
    Connect {
        /// Where.
        to: SocketAddr,
        /// And greets as a service of this protocol does.
        speaks: Option<Speech>,
    },
    /// A host answers an echo request.
    Echo {
        /// Which.
        to: IpAddr,
    },
    /// A file is there.
    File {
        /// Its path.
        path: PathBuf,
        /// And was changed less than so long ago, by a clock that nobody sets.
        max_age: Option<Duration>,
    },
    /// A process of this name runs.
    Process {
        /// Its name, as the kernel cuts it: at most 15 bytes.
        name: String,
    },
    /// The process whose number stands in a file runs.
    PidFile {
        /// Its path.
        path: PathBuf,
    },
    /// The kernel has a route to an address.
    Route {
        /// The address.
        to: IpAddr,
        /// And it leads out of this interface.
        interface: Option<String>,
    },
    /// A program ends with 0.
    Script {
        /// It, and its arguments.
        command: Vec<String>,
    },
}

/// All checks of this gateway.
pub struct Checks {
    orders: Orders,
    running: Mutex<Vec<Running>>,
    /// What each said last, by name.
    said: Arc<Mutex<BTreeMap<String, String>>>,
}

struct Running {
    spec: CheckSpec,
    stop: Stop,
    thread: JoinHandle<()>,
}

impl Running {
    fn end(&self) {
        self.stop.end();
        self.thread.thread().unpark();
    }
}

impl Checks {
    /// Starts to run these.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(specs: &[CheckSpec], orders: &Orders) -> io::Result<Self> {
        let checks = Self {
            orders: orders.clone(),
            running: Mutex::default(),
            said: Arc::default(),
        };
        checks.replace(specs)?;
        Ok(checks)
    }

    /// Runs these from now on. What has not changed goes on.
    ///
    /// # Errors
    /// A thread cannot be started; those that were started run.
    pub fn replace(&self, specs: &[CheckSpec]) -> io::Result<()> {
        let mut running = lock(&self.running);
        let is_new = |spec: &&CheckSpec| !running.iter().any(|one| one.spec == **spec);
        let new: Vec<&CheckSpec> = specs.iter().filter(is_new).collect();
        for ended in running.extract_if(.., |one| !specs.contains(&one.spec)) {
            ended.end();
            lock(&self.said).remove(&ended.spec.name);
        }
        for spec in new {
            running.push(self.run(spec.clone())?);
        }
        Ok(())
    }

    /// Ends them all, and waits for a moment until what they run is gone.
    pub fn end(&self) {
        let ended: Vec<Running> = lock(&self.running).drain(..).collect();
        ended.iter().for_each(Running::end);
        let until = Instant::now() + END_WITHIN;
        for one in &ended {
            while !one.thread.is_finished() && Instant::now() < until {
                thread::sleep(END_LOOK);
            }
        }
    }

    /// What each check said last.
    pub fn said(&self) -> BTreeMap<String, String> {
        lock(&self.said).clone()
    }

    fn run(&self, spec: CheckSpec) -> io::Result<Running> {
        let stop = Stop::default();
        let body = Body {
            spec: spec.clone(),
            stop: stop.clone(),
            orders: self.orders.clone(),
            said: Arc::clone(&self.said),
        };
        let named = thread::Builder::new().name("check".to_owned());
        let handle = named.stack_size(STACK_BYTES).spawn(move || body.run())?;
        Ok(Running {
            spec,
            stop,
            thread: handle,
        })
    }
}

/// A check's thread.
struct Body {
    spec: CheckSpec,
    stop: Stop,
    orders: Orders,
    said: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Body {
    fn run(self) {
        let (mut told, mut memory) = (None, probe::Memory::default());
        while !self.stop.is_over() {
            let began = Instant::now();
            let outcome = self
                .spec
                .probe
                .run(self.spec.timeout, &self.stop, &mut memory);
            if self.stop.is_over() {
                return;
            }
            let passed = outcome.is_ok();
            self.note(told, outcome);
            told = Some(passed);
            if self.stop.is_over() {
                return;
            }
            let name = self.spec.name.clone();
            let order = Order::Checked { name, passed };
            if self.orders.blocking_send(order).is_err() {
                return;
            }
            self.rest(began);
        }
    }

    /// Remembers what was said, and logs what is news.
    fn note(&self, before: Option<bool>, outcome: Result<(), String>) {
        let name = &self.spec.name;
        let passed = outcome.is_ok();
        let words = match outcome {
            Ok(()) => "passes".to_owned(),
            Err(why) => why,
        };
        if before != Some(passed) {
            if passed {
                info!("check {name}: {words}");
            } else {
                warn!("check {name}: {words}");
            }
        }
        let mut said = lock(&self.said);
        // Whoever ends a check forgets its word after having said so.
        if !self.stop.is_over() {
            said.insert(name.clone(), words);
        }
    }

    fn rest(&self, began: Instant) {
        while !self.stop.is_over() {
            let left = self.spec.every.saturating_sub(began.elapsed());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }
}

/// A lock whose holder panicked still holds whole values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Checks {
    fn drop(&mut self) {
        lock(&self.running).iter().for_each(Running::end);
    }
}

#[cfg(test)]
mod tests;
