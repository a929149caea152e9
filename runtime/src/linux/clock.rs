//! Time on a gateway: since the daemon's start, to the microsecond, suspension included.
//!
//! The kernel's clock is CLOCK_BOOTTIME. It never steps, like CLOCK_MONOTONIC, and unlike that one
//! it counts the time a machine was suspended. That matters for D15: the kernel's lease stands
//! still while the machine sleeps, so an active that wakes must see the gap, or it would refresh a
//! lease whose addresses a peer took over long ago.
//!
//! Waiting is done by timer descriptors: the wheel of the runtime turns once a millisecond, a
//! timer descriptor is late by some ten microseconds and knows no slack. A timer is used again
//! after it was waited for. A wait that is given up leaves its timer running: whoever waits next,
//! for the same moment or a later one, uses it as it is, so a driver that is woken by frames before
//! its deadline does not set it anew for each of them. At worst a timer fires for nobody once.
//!
//! Without a descriptor left the runtime's wheel has to do, so the runtime needs its time driver.
//!
//! The limit: a machine that is paused from outside (a virtual machine moved or stopped) does not
//! notice unless its host tells its clock.

use std::cell::RefCell;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::thread::set_current_timer_slack;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use steadfast_core::Instant;
use steadfast_shell::env::Clock;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::raw;

/// Most timers kept for later use; further ones are closed after their wait.
const IDLE_TIMERS_MAX: usize = 8;

/// Time since an origin, for any thread: what [`MonotonicClock`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Monotonic {
    /// The origin on the kernel's clock, nanoseconds.
    origin: u64,
}

impl Monotonic {
    /// Time with its origin now.
    pub fn start() -> Self {
        Self {
            origin: boottime_nanos(),
        }
    }

    /// Now: nanoseconds since the origin, suspension included.
    pub fn now(self) -> Instant {
        Instant::from_nanos(boottime_nanos().saturating_sub(self.origin))
    }

    /// The instant on the kernel's clock, for another process: see [`boottime_nanos`].
    pub(crate) const fn boottime_at(self, instant: Instant) -> u64 {
        self.origin.saturating_add(instant.as_nanos())
    }

    /// The instant on the kernel's clock, as timers want it.
    fn on_kernel_clock(self, instant: Instant) -> Timespec {
        let nanos = self.origin.saturating_add(instant.as_nanos());
        Timespec {
            tv_sec: (nanos / NANOS_PER_SECOND).cast_signed(),
            tv_nsec: (nanos % NANOS_PER_SECOND) as _,
        }
    }
}

/// The driver's clock. Clones share their timers; all of them stay on the runtime on which the
/// first wait was.
#[derive(Clone, Debug)]
pub struct MonotonicClock {
    time: Monotonic,
    idle: Rc<RefCell<Vec<Timer>>>,
}

#[derive(Debug)]
struct Timer {
    fd: AsyncFd<OwnedFd>,
    /// When it fires; none if it did, or was never set.
    set_to: Option<Instant>,
}

impl MonotonicClock {
    /// A clock for this thread, whose timer slack is set to the least, a nanosecond.
    ///
    /// # Errors
    /// The kernel refused the timer slack, which it does not do to any thread known.
    pub fn new(time: Monotonic) -> io::Result<Self> {
        set_current_timer_slack(NonZeroU64::new(1))?;
        Ok(Self {
            time,
            idle: Rc::default(),
        })
    }

    /// The time this clock shows, for other threads.
    pub fn time(&self) -> Monotonic {
        self.time
    }

    /// A timer that is used again, or a new one.
    fn timer(&self) -> io::Result<Lent<'_>> {
        let again = self.idle.borrow_mut().pop();
        let timer = again.map_or_else(new_timer, Ok)?;
        Ok(Lent {
            timer: Some(timer),
            idle: &self.idle,
        })
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Instant {
        self.time.now()
    }

    async fn sleep_until(&self, deadline: Instant) {
        while self.now() < deadline {
            let waited = match self.timer() {
                Ok(mut timer) => timer.wait(self.time, deadline).await,
                Err(error) => Err(error),
            };
            if let Err(error) = waited {
                log::warn!("failed to wait by a timer descriptor, so up to 1 ms late: {error}");
                tokio::time::sleep(deadline.since(self.now())).await;
            }
        }
    }
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A timer that goes back to the others when the wait ends or is dropped.
struct Lent<'a> {
    timer: Option<Timer>,
    idle: &'a RefCell<Vec<Timer>>,
}

impl Lent<'_> {
    /// Waits until then. A timer that still runs for another moment is set anew: to be woken for
    /// nothing costs more than that.
    async fn wait(&mut self, time: Monotonic, until: Instant) -> io::Result<()> {
        let Some(timer) = &mut self.timer else {
            return Ok(());
        };
        if timer.set_to != Some(until) {
            timer.set(time, until)?;
        }
        loop {
            let mut ready = timer.fd.readable().await?;
            // A timer that was used before may still look readable: the read tells.
            let read = ready.try_io(|fd| {
                let mut expirations = [0; 8];
                Ok(rustix::io::read(fd, &mut expirations)?)
            });
            if let Ok(read) = read {
                // It fires once: until it is set again there is nothing to be read.
                ready.clear_ready();
                timer.set_to = None;
                return read.map(drop);
            }
        }
    }
}

impl Timer {
    fn set(&mut self, time: Monotonic, until: Instant) -> io::Result<()> {
        let setting = Itimerspec {
            it_interval: ZERO,
            it_value: time.on_kernel_clock(until),
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &setting)?;
        self.set_to = Some(until);
        Ok(())
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut idle = self.idle.borrow_mut();
        if let Some(timer) = self.timer.take()
            && idle.len() < IDLE_TIMERS_MAX
        {
            idle.push(timer);
        }
    }
}

const ZERO: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

fn new_timer() -> io::Result<Timer> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
    Ok(Timer {
        fd: raw::register(timer, Interest::READABLE)?,
        set_to: None,
    })
}

/// A wait, as the kernel wants it.
pub(crate) fn timespec(wait: Duration) -> Timespec {
    Timespec {
        tv_sec: wait.as_secs().cast_signed(),
        tv_nsec: wait.subsec_nanos().into(),
    }
}

/// Nanoseconds since the kernel booted, suspension included.
pub(crate) fn boottime_nanos() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(NANOS_PER_SECOND) + nanos
}
