//! The stall watch: how late a thread wakes that has nothing else to do.
//!
//! When the whole machine stands still, gateways and instruments stand still alike, and what looks
//! like a slow failover is nobody's fault. This thread asks to be woken each millisecond. Being
//! woken more than [`LATE_MAX`] late is told as a stall; which stalls blind is the recorder's
//! policy ([`super::Setup::blind_after`]).
//!
//! Beside other labs it also asks each time whether the kernel's one configuration lock is free:
//! whoever builds, boots or ends a lab holds it for tens of milliseconds, and a takeover elsewhere
//! that adds addresses waits. A lab alone waits for its own alone, which is part of its story. The
//! limit: it notices what happens to its own core.

use core::time::Duration;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use super::RunClock;
use super::recorder::{Desk, Instrument, Stall};
use crate::sys::{borrowed, has_carrier};

/// How often it wakes.
const ROUND: Duration = Duration::from_millis(1);
/// Later than this is a stall.
const LATE_MAX: Duration = Duration::from_millis(5);
/// What a lab that ended leaves to the kernel is done when the lock was free for so long: between
/// its pieces the kernel waits for a grace period each, some tens of milliseconds.
const QUIET: Duration = Duration::from_millis(150);
/// Longer than this nobody waits for quiet: stalls will be told.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(5);

/// The kernel's configuration lock, asked for.
struct ConfigurationLock(UdpSocket);

impl ConfigurationLock {
    fn open() -> io::Result<Self> {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map(Self)
    }

    /// Takes it for a moment: returns when it was free. The question does not matter.
    fn take(&self) {
        let _ = has_carrier(borrowed(&self.0), "lo");
    }
}

/// Waits until labs that ended before are cleaned up.
///
/// # Errors
/// When no socket can be opened.
pub(crate) fn await_quiet(clock: RunClock) -> io::Result<()> {
    let lock = ConfigurationLock::open()?;
    let start = clock.now();
    let mut quiet_since = start;
    while clock.now().since(quiet_since) < QUIET && clock.now().since(start) < QUIET_WAIT_MAX {
        let asked = clock.now();
        lock.take();
        let free = clock.now();
        if free.since(asked) > ROUND {
            quiet_since = free;
        }
        clock.sleep_until(free.after(ROUND));
    }
    Ok(())
}

/// Watches the machine's own lateness.
#[derive(Clone, Copy, Debug, Default)]
pub struct StallWatch {
    /// Other labs run on this machine.
    pub beside: bool,
}

impl Instrument for StallWatch {
    fn name(&self) -> &'static str {
        "stall"
    }

    fn run(&mut self, desk: &Desk) -> io::Result<()> {
        let clock = desk.clock();
        let lock = ConfigurationLock::open()?;
        let mut due = clock.now().after(ROUND);
        while !desk.stopped() {
            clock.sleep_until(due);
            let now = clock.now();
            if now.since(due) > LATE_MAX {
                let late = now.since(due).as_micros();
                desk.stall(Stall {
                    since: due,
                    until: now,
                    why: format!("the machine stood still for {late} us"),
                });
            }
            let free = if self.beside {
                lock.take();
                clock.now()
            } else {
                now
            };
            if free.since(now) > LATE_MAX {
                let held = free.since(now).as_micros();
                desk.stall(Stall {
                    since: now,
                    until: free,
                    why: format!("the kernel's configuration lock was held for {held} us"),
                });
            }
            due = free.max(due).after(ROUND);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Recorder, RunClock, Setup};
    use super::*;

    /// It ends when told, at once, and stalls it tells of are longer than the limit.
    #[test]
    fn stall_watch_ends_and_tells_only_of_long_stalls() {
        let mut recorder = Recorder::new(Setup::new(RunClock::start()));
        recorder.start(StallWatch { beside: true }).unwrap();
        let clock = recorder.desk().clock();
        clock.sleep_until(clock.now().after(Duration::from_millis(50)));
        let finished = recorder.stop(Duration::from_secs(5));
        assert!(finished.unfinished.is_empty());
        let long = |stall: &Stall| stall.until.since(stall.since) > LATE_MAX;
        assert!(finished.stalls.iter().all(long));
    }
}
