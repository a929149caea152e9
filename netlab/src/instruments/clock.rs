//! The clock of a run: the kernel's monotonic clock, counted from the run's beginning.
//!
//! All events of a run carry this time. Kernel stamps of frames come in the wall clock; they are
//! turned into ages against both clocks read together, once per batch ([`Reading`]). An age below
//! zero counts as none, one of a second or more is a wall clock that was set and counts as none.

use core::time::Duration;

use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};
use steadfast_core::Instant;

use super::sys::AGE_MAX;

/// Tells the time of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunClock {
    origin: u64,
    wall_origin: Duration,
}

impl RunClock {
    /// The run begins now.
    pub fn start() -> Self {
        Self::from_monotonic(nanos(clock_gettime(ClockId::Monotonic)))
    }

    /// The run began when `CLOCK_MONOTONIC` stood at this many nanoseconds.
    pub fn from_monotonic(origin: u64) -> Self {
        let passed = nanos(clock_gettime(ClockId::Monotonic)).saturating_sub(origin);
        let wall = nanos(clock_gettime(ClockId::Realtime));
        Self {
            origin,
            wall_origin: Duration::from_nanos(wall.saturating_sub(passed)),
        }
    }

    /// What `CLOCK_MONOTONIC` showed when the run began, in nanoseconds.
    pub const fn origin(self) -> u64 {
        self.origin
    }

    /// The wall time of the run's beginning, since 1970: for recordings only.
    pub const fn wall_origin(self) -> Duration {
        self.wall_origin
    }

    /// Now.
    pub fn now(self) -> Instant {
        Instant::from_nanos(nanos(clock_gettime(ClockId::Monotonic)).saturating_sub(self.origin))
    }

    /// Waits until then; a time that is past is no wait. A signal ends the wait early.
    pub fn sleep_until(self, at: Instant) {
        let nanos = self.origin.saturating_add(at.as_nanos());
        let until = Timespec {
            tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: (nanos % 1_000_000_000) as _,
        };
        // Only a signal can end it early; callers look at the clock again.
        let _ = clock_nanosleep_absolute(ClockId::Monotonic, &until);
    }

    /// Both clocks, read together.
    pub(super) fn read(self) -> Reading {
        Reading {
            now: self.now(),
            wall: Duration::from_nanos(nanos(clock_gettime(ClockId::Realtime))),
        }
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    now: Instant,
    wall: Duration,
}

impl Reading {
    /// The run's time of a stamp in the wall clock.
    pub(super) fn time_of(self, stamp: Option<Duration>) -> Instant {
        let age = stamp.and_then(|stamp| self.wall.checked_sub(stamp));
        self.now
            .before(age.filter(|age| *age < AGE_MAX).unwrap_or_default())
    }
}

fn nanos(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stamps become ages; what cannot be an age (from the future, of last year) becomes none.
    #[test]
    fn clock_stamps_are_clamped() {
        let reading = Reading {
            now: Instant::from_millis(5_000),
            wall: Duration::from_millis(900_000),
        };
        let at = |millis| reading.time_of(Some(Duration::from_millis(millis)));
        assert_eq!(at(899_990), Instant::from_millis(4_990));
        assert_eq!(at(900_003), Instant::from_millis(5_000));
        assert_eq!(at(800_000), Instant::from_millis(5_000));
        assert_eq!(reading.time_of(None), Instant::from_millis(5_000));
    }

    /// A sleep ends at or after its time and never before: rounds are dated by it.
    #[test]
    fn clock_sleeps_until_the_time_told() {
        let clock = RunClock::start();
        let until = clock.now().after(Duration::from_millis(3));
        clock.sleep_until(until);
        assert!(clock.now() >= until);
    }
}
