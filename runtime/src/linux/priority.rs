//! Precedence for the heartbeat thread: real-time scheduling and memory that stays in memory.
//!
//! A judge that wakes late takes the silence of its own machine for that of its peer, and an active
//! that speaks late loses its lease. So the thread runs before all ordinary ones (FIFO), and its
//! pages are not written out. Neither is always granted (containers, real-time groups, limits);
//! what is refused is noted and never a reason not to start, and the windows of D7 follow from
//! what was granted.
//!
//! Threads that a takeover waits for (who arms the lease, who sees a port go dark) come next: on a
//! busy box a kernel may let an ordinary thread wait for its clock's next tick, which is as long as
//! a whole takeover.
//!
//! The hard case is the thread itself running away, in a flood of frames say: on one processor
//! nothing else would run. After [`RUN_MAX`] without a wait the kernel signals, and the thread
//! becomes an ordinary one again, which costs precision and not the gateway.
//!
//! The limit: once demoted, a thread stays so until the daemon is started again.

use std::fmt;
use std::io;
use std::time::Duration;

use rustix::mm::{MlockAllFlags, mlockall, munlockall};
use rustix::process::{Resource, getrlimit, setpriority_process};

use super::{raw, softirqs};

/// Longest run of the heartbeat thread without a wait, before it loses its precedence.
pub const RUN_MAX: Duration = Duration::from_millis(500);

/// Above the kernel's threads of interrupts (50) nothing should be; equal to them is enough.
const FIFO_PRIORITY: i32 = 50;
/// Of threads that takeovers wait for: after the one that speaks heartbeats, before all ordinary.
const SHARE_PRIORITY: i32 = FIFO_PRIORITY - 1;
/// The strongest of ordinary precedence.
const NICE: i32 = -20;
/// An allocation of this size is mapped afresh: it shows whether memory can still be had.
const TRIAL_LEN: usize = 16 << 20;

/// What the heartbeat thread was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// How it is scheduled.
    pub scheduling: Scheduling,
    /// Its memory stays in memory.
    pub memory_locked: bool,
    /// What was refused, and what helps: one sentence each.
    pub notes: Vec<String>,
}

/// How a thread is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// Real-time: before all ordinary threads.
    Fifo,
    /// Ordinary, with the largest share.
    Nice,
    /// Like every other thread.
    Ordinary,
}

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fifo => "fifo",
            Self::Nice => "nice",
            Self::Ordinary => "ordinary",
        })
    }
}

/// Asks for precedence for the calling thread, and locks the memory of the process. Threads that
/// it starts later are ordinary ones.
pub fn take_precedence() -> Granted {
    let mut notes = Vec::new();
    let scheduling = schedule(&mut notes);
    let memory_locked = lock_memory(&mut notes);
    notes.extend(softirqs::note());
    Granted {
        scheduling,
        memory_locked,
        notes,
    }
}

/// What a thread that takeovers wait for was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(Scheduling);

/// Asks for precedence for the calling thread, for those that a takeover waits for: real time, or
/// the strongest of ordinary threads.
pub fn take_share() -> Share {
    let nice = setpriority_process(None, NICE);
    match fifo(SHARE_PRIORITY, false) {
        Ok(()) => Share(Scheduling::Fifo),
        Err(error) => {
            raw::forget_precedent();
            log::debug!("a thread that takeovers wait for is not a real-time one: {error}");
            Share(nice.map_or(Scheduling::Ordinary, |()| Scheduling::Nice))
        }
    }
}

impl Share {
    /// How the thread is scheduled.
    pub const fn scheduling(self) -> Scheduling {
        self.0
    }

    /// Does something that may run for long, as an ordinary thread: thousands of addresses take
    /// longer than [`RUN_MAX`], and on one processor nothing else would run meanwhile.
    pub fn at_ease<T>(self, work: impl FnOnce() -> T) -> T {
        // Without precedence now, there is none to give back afterwards.
        let eased =
            self.0 == Scheduling::Fifo && raw::is_precedent() && raw::schedule_ordinary(0).is_ok();
        let done = work();
        if eased && let Err(error) = raw::schedule_fifo(SHARE_PRIORITY) {
            log::warn!("a thread that takeovers wait for got no precedence again: {error}");
        }
        done
    }
}

/// How often a heartbeat thread lost its precedence because it ran for [`RUN_MAX`] without a wait.
pub fn demotions() -> u32 {
    raw::demotions()
}

fn schedule(notes: &mut Vec<String>) -> Scheduling {
    match fifo(FIFO_PRIORITY, true) {
        Ok(()) => return Scheduling::Fifo,
        Err(error) => notes.push(format!(
            "no real-time scheduling: {error} (CAP_SYS_NICE or LimitRTPRIO=60; real-time groups \
             may forbid it, see cpu.rt_runtime_us)"
        )),
    }
    match setpriority_process(None, NICE) {
        Ok(()) => Scheduling::Nice,
        Err(error) => {
            notes.push(format!(
                "no precedence at all: {error} (CAP_SYS_NICE or LimitNICE=-20)"
            ));
            Scheduling::Ordinary
        }
    }
}

/// The limit comes first: a thread is not to run in real time without it.
fn fifo(priority: i32, speaks: bool) -> io::Result<()> {
    raw::demote_on_overrun(speaks)?;
    raw::limit_runs(u64::try_from(RUN_MAX.as_micros()).unwrap_or(u64::MAX))?;
    raw::schedule_fifo(priority)
}

fn lock_memory(notes: &mut Vec<String>) -> bool {
    let present = MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT;
    // Under a limit, locking what is to come succeeds, and a later allocation fails: tried out.
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    match mlockall(present | MlockAllFlags::FUTURE) {
        Ok(()) if unlimited || can_allocate() => return true,
        Ok(()) => {
            if let Err(error) = munlockall() {
                notes.push(format!("failed to unlock memory again: {error}"));
            }
        }
        Err(_) => {}
    }
    match mlockall(present) {
        Ok(()) => {
            notes.push("only present memory is locked (LimitMEMLOCK=infinity)".to_owned());
            true
        }
        Err(error) => {
            notes.push(format!(
                "memory is not locked: {error} (CAP_IPC_LOCK or LimitMEMLOCK=infinity)"
            ));
            false
        }
    }
}

fn can_allocate() -> bool {
    let mut trial: Vec<u8> = Vec::new();
    let possible = trial.try_reserve_exact(TRIAL_LEN).is_ok();
    std::hint::black_box(&trial);
    possible
}
