//! Role hooks: what else follows the role, in which order, and how often (R1.5, D20, F03).
//!
//! A hook is a program of the operator's that dials the WAN, moves an address of a cloud, starts a
//! VPN. It is told what this node *is*, with the newest claim's epoch, never what happened. So it
//! may be run again at any time, and is: after a failure, and when an earlier owner's run can still
//! have come after this one's.
//!
//! ```text
//!   a claims ── a's hook, slow ────────────────────┐ ends last: the cloud points at a
//!   a is dead      b claims ── b's hook ──┤        │      ── b's hook again ──┤ at b, for good
//!                  └─ longest time-out + what a word may be old ─┘
//! ```
//!
//! A run ends within its time-out, and none begins on a word that is older than [`FRESH`]. So once
//! a claim, or the last sign of another that served or comes back, is that much older, no run of
//! anybody else is under way, and the one that then begins is the last. A daemon that starts does
//! the same for whatever it is: a run of its earlier life may still be under way. All this holds
//! where the longest time-out is the same on every node, which the nodes' digests compare.
//!
//! The newest level wins: what runs for another one is ended at once. The hard case is a program
//! that cannot be ended (it hangs in the kernel): it is left behind after [`KILL_PATIENCE`], may
//! still do what it was started for, and is not started again before it is gone. The limit: hooks
//! of two nodes run beside each other; who needs one to end before the other begins must compare
//! epochs where both of them write.

use core::time::Duration;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::role::EffectiveRole;
use crate::status::Status;
use crate::{Epoch, Instant};

/// Most hooks of a node.
pub const HOOKS_MAX: usize = 16;
/// Shortest time in which a hook is ended: a program needs so long to start on a busy gateway.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Longest: so much later an earlier owner's hook may end.
pub const TIMEOUT_MAX: Duration = Duration::from_mins(10);
/// How old a node's word may be and still start a hook. A driver says its word when it has had a
/// turn, each 100 ms at most; without a newer one a hook waits for the next.
pub const FRESH: Duration = Duration::from_millis(300);
/// How long a run that was ended may take to be gone.
pub const KILL_PATIENCE: Duration = Duration::from_secs(1);
/// Least time without a rival after which hooks are run again.
const QUIET: Duration = Duration::from_millis(100);
/// After a failure hooks are run again, first after this long.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// And at the latest after this long: each pause is twice the one before.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What a hook is told of the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// This node serves: the kernel has confirmed lease and addresses, and the peers are told.
    Active,
    /// It does not, for whatever reason.
    Standby,
}

/// What a hook is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Call {
    /// What this node is.
    pub level: Level,
    /// The newest claim that it knows of; while it serves at least its own.
    pub epoch: Epoch,
    /// All hooks have been run for this before.
    pub again: bool,
}

/// What a node says of its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// When it said so.
    pub at: Instant,
    /// What it is.
    pub level: Level,
    /// The newest claim that it knows of.
    pub epoch: Epoch,
    /// When another was last heard to serve beside it, or came back from a silence.
    pub rival_at: Option<Instant>,
}

impl From<&Status> for Word {
    fn from(status: &Status) -> Self {
        Self {
            at: status.at,
            level: match status.role {
                EffectiveRole::Active => Level::Active,
                EffectiveRole::Demoting
                | EffectiveRole::Failed
                | EffectiveRole::Off
                | EffectiveRole::Pacified
                | EffectiveRole::Promoting
                | EffectiveRole::Standby
                | EffectiveRole::Starting => Level::Standby,
            },
            epoch: status.newest,
            rival_at: status.rival_at,
        }
    }
}

/// What is to be done, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Run a hook. Answered once by [`Hooks::ended`]: when it has ended by itself, or when nothing
    /// of its group runs any more.
    Start {
        /// Numbers the run.
        run: u64,
        /// Which hook, by its place.
        hook: usize,
        /// What it is told.
        call: Call,
    },
    /// End a run, and whatever it started in its group; that is answered as well.
    Kill {
        /// Which.
        run: u64,
    },
}

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It said that all is well.
    Done,
    /// It said that something is wrong, or could not be started.
    Failed,
    /// It took longer than it may.
    Late,
}

/// What is known of a hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookState {
    /// What it runs for, and since when.
    pub running: Option<(Call, Instant)>,
    /// What it last ran for to its end, when that was, and how it went.
    pub last: Option<(Call, Instant, Outcome)>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    run: u64,
    /// The level it is for.
    turn: u64,
    hook: usize,
    call: Call,
    since: Instant,
    /// It is ended then; once that was asked for, it is given up then.
    until: Instant,
    killed: bool,
}

/// The hooks of a node: which runs, what for, and what is to be run next.
#[derive(Clone, Debug)]
pub struct Hooks {
    timeouts: Vec<Duration>,
    word: Option<Word>,
    wanted: Option<Call>,
    /// What this pass has not run yet.
    due: VecDeque<usize>,
    failed: Vec<usize>,
    failures: u32,
    retry_at: Option<Instant>,
    /// A rival is gone.
    quiet_at: Option<Instant>,
    /// Nobody else's run is under way any more.
    sure_at: Option<Instant>,
    running: Option<Running>,
    /// Runs that were given up and may not be over, of each hook.
    left: Vec<Option<u64>>,
    runs: u64,
    /// Counts levels.
    turns: u64,
    closing: bool,
    acts: VecDeque<Act>,
    last: Vec<Option<(Call, Instant, Outcome)>>,
}

impl Hooks {
    /// Nothing was run yet. `timeouts`: of each hook, in the order in which they run when the node
    /// serves; they run in the opposite order when it does not.
    #[must_use]
    pub fn new(timeouts: Vec<Duration>) -> Self {
        Self {
            last: vec![None; timeouts.len()],
            left: vec![None; timeouts.len()],
            timeouts,
            word: None,
            wanted: None,
            due: VecDeque::new(),
            failed: Vec::new(),
            failures: 0,
            retry_at: None,
            quiet_at: None,
            sure_at: None,
            running: None,
            runs: 0,
            turns: 0,
            closing: false,
            acts: VecDeque::new(),
        }
    }

    /// The node says what it is. To be called with every word.
    pub fn heard(&mut self, now: Instant, word: Word) {
        if self.closing {
            return;
        }
        let rival = word.rival_at > self.word.and_then(|known| known.rival_at);
        self.word = Some(word);
        let serves = word.level == Level::Active;
        let same = self
            .wanted
            .is_some_and(|call| call.level == word.level && (!serves || call.epoch == word.epoch));
        if !same {
            self.turn(now, word.level, word.epoch);
        } else if rival && serves {
            self.quiet_at = word.rival_at.map(|at| at.after(QUIET));
            self.sure_at = word.rival_at.map(|at| self.outlived(at));
        }
        self.go_on(now);
    }

    /// The daemon ends: whatever it was, it does not serve any more.
    pub fn close(&mut self, now: Instant) {
        if self.closing {
            return;
        }
        self.closing = true;
        let epoch = self.word.map(|word| word.epoch).unwrap_or_default();
        if self.wanted.is_none_or(|call| call.level == Level::Active) {
            self.turn(now, Level::Standby, epoch);
        }
        self.go_on(now);
    }

    /// A run has ended, by itself or because that was asked for.
    pub fn ended(&mut self, now: Instant, run: u64, passed: bool) {
        let Some(running) = self.running.take_if(|running| running.run == run) else {
            // It was given up before.
            for left in &mut self.left {
                left.take_if(|left| *left == run);
            }
            return;
        };
        self.note(now, running, passed);
        self.go_on(now);
    }

    /// Ends what takes too long.
    pub fn deadline_reached(&mut self, now: Instant) {
        let Some(running) = self.running.filter(|running| running.until <= now) else {
            return;
        };
        if running.killed {
            self.running = None;
            if let Some(left) = self.left.get_mut(running.hook) {
                *left = Some(running.run);
            }
            self.note(now, running, false);
            self.go_on(now);
        } else {
            self.kill(now);
        }
    }

    /// When [`Hooks::deadline_reached`] is wanted, if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.running.map(|running| running.until)
    }

    /// What is to be done next.
    #[must_use]
    pub fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// All hooks were run for what the node is, whether that went well or not.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.running.is_none() && self.due.is_empty()
    }

    /// What is known of each, by its place.
    pub fn states(&self) -> impl Iterator<Item = HookState> {
        self.last.iter().enumerate().map(|(hook, last)| HookState {
            running: self
                .running
                .filter(|running| running.hook == hook)
                .map(|running| (running.call, running.since)),
            last: *last,
        })
    }

    /// When no run that began before `at`, or on a word of before, is under way any more.
    fn outlived(&self, at: Instant) -> Instant {
        let longest = self.timeouts.iter().max().copied().unwrap_or_default();
        at.after(longest + KILL_PATIENCE + FRESH)
    }

    /// A new level: everything is run for it, and nothing for the old one any more.
    fn turn(&mut self, now: Instant, level: Level, epoch: Epoch) {
        let (again, first) = (false, self.wanted.is_none());
        self.turns += 1;
        self.wanted = Some(Call {
            level,
            epoch,
            again,
        });
        self.begin_pass();
        self.failures = 0;
        self.quiet_at = None;
        self.sure_at = (level == Level::Active || first).then(|| self.outlived(now));
        if self.running.is_some_and(|running| !running.killed) {
            self.kill(now);
        }
    }

    fn begin_pass(&mut self) {
        let all = 0..self.timeouts.len();
        let serves = self.wanted.is_some_and(|call| call.level == Level::Active);
        self.due = if serves {
            all.collect()
        } else {
            all.rev().collect()
        };
        self.failed.clear();
        self.retry_at = None;
    }

    fn kill(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            running.killed = true;
            running.until = now.after(KILL_PATIENCE);
            self.acts.push_back(Act::Kill { run: running.run });
        }
    }

    /// What a run that is over says, unless it was for what the node is not any more.
    fn note(&mut self, now: Instant, running: Running, passed: bool) {
        if running.turn != self.turns {
            return;
        }
        let outcome = match (running.killed, passed) {
            (true, _) => Outcome::Late,
            (false, true) => Outcome::Done,
            (false, false) => Outcome::Failed,
        };
        if let Some(last) = self.last.get_mut(running.hook) {
            *last = Some((running.call, now, outcome));
        }
        if outcome != Outcome::Done {
            self.failed.push(running.hook);
        }
        self.consider_retry(now);
    }

    /// When what failed in this pass is run again, once the pass is over.
    fn consider_retry(&mut self, now: Instant) {
        if !self.due.is_empty() {
            return;
        }
        if self.failed.is_empty() {
            self.failures = 0;
        } else {
            let pause = RETRY_FIRST * 2_u32.saturating_pow(self.failures.min(16));
            self.failures += 1;
            self.retry_at = Some(now.after(pause.min(RETRY_MAX)));
        }
    }

    /// The next run, if it is time for one.
    fn go_on(&mut self, now: Instant) {
        let fresh = |word: Word| now.since(word.at) <= FRESH;
        let may = self.closing || self.word.is_some_and(fresh);
        if self.running.is_some() || !may {
            return;
        }
        if self.due.is_empty() {
            self.begin_anew(now);
        }
        while let Some(hook) = self.due.pop_front() {
            if self.left.get(hook).is_none_or(Option::is_none) {
                self.start(now, hook);
                return;
            }
            // What may still run must not pile up.
            self.failed.push(hook);
            self.consider_retry(now);
        }
    }

    fn start(&mut self, now: Instant, hook: usize) {
        let Some(call) = self.wanted else {
            return;
        };
        let timeout = self.timeouts.get(hook).copied().unwrap_or_default();
        self.runs += 1;
        self.running = Some(Running {
            run: self.runs,
            turn: self.turns,
            hook,
            call,
            since: now,
            until: now.after(timeout),
            killed: false,
        });
        self.acts.push_back(Act::Start {
            run: self.runs,
            hook,
            call,
        });
    }

    /// Everything was run: again, if another's run may have come after, or what failed.
    fn begin_anew(&mut self, now: Instant) {
        if self.closing {
            return;
        }
        let is_due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        let (quiet, sure) = (is_due(&mut self.quiet_at), is_due(&mut self.sure_at));
        if quiet || sure {
            if let Some(call) = &mut self.wanted {
                call.again = true;
            }
            self.begin_pass();
        } else if is_due(&mut self.retry_at) {
            self.due = self.failed.drain(..).collect();
        }
    }
}

#[cfg(test)]
mod tests;
