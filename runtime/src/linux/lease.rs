//! The fence as threads share it: one changes it, one renews its lease, and the heartbeat thread
//! asks whether it may say "active" (D9).
//!
//! Where packets can be judged as they leave, the kernel renews and refuses. Nothing here is needed
//! then but the lock, and a renewal for words that no port can take: where a cable alone carries
//! heartbeats and is dark, or its interface is gone, a living daemon keeps its lease all the same.
//! On kernels before 5.16 the kernel can do neither, so the daemon does both. Its word is one
//! number, when the lease ends: set after each renewal, counted from the word that it was renewed
//! for, less two of the kernel's ticks, so it ends before the kernel's lease does. A frame that
//! says "active" later, or that an address is here, is refused as the kernel would; one that said
//! "active" asks for a renewal. The heartbeat thread waits for neither, and a daemon that slept
//! finds the number in the past at its first word.
//!
//! The hard case is a renewal that was asked for before a hand-over and comes after it: it would
//! lengthen a lease that was promised to end. Whoever shortens or ends the lease takes the right
//! to renew away under the same lock; only a claim gives it back.
//!
//! Where nobody can own a table, whoever flushes the ruleset takes the lease along: `flushed.rs`.
//!
//! Limit: a process that holds the lock of nf_tables for longer than the lease (a large ruleset
//! load) keeps the daemon's renewals from the kernel, and the role is lost. A daemon stopped
//! between asking and sending says one word too many; what it says then is of its last moment.

mod flushed;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use log::warn;
use rustix::time::{ClockId, clock_getres};
use steadfast_core::Instant;
use steadfast_core::config::Timing;

use super::clock::Monotonic;
use super::dataplane::PlaneCounters;
use super::fence::{Fence, FenceError, FenceSpec, FenceSupport, LeaseError};
use super::priority::take_share;

/// A renewal that had to wait in the kernel is made again, shorter, so often at most; then the
/// lease ends late by what the last one waited.
const RENEWALS_MAX: usize = 4;
/// A renewal and its thread get so long at least, between a word and the end of the word's lease.
const RENEWED_WITHIN: Duration = Duration::from_millis(5);

/// The kernel renews the lease with each frame, so nobody else knows when it ends.
const KERNEL_KNOWS: Instant = Instant::from_nanos(u64::MAX);

/// The fence, its lock, and the word of its lease.
#[derive(Debug)]
pub struct Lease {
    held: Mutex<Held>,
    support: FenceSupport,
    time: Monotonic,
    tick: Duration,
    word: LeaseGuard,
    counters: Arc<PlaneCounters>,
}

#[derive(Debug)]
struct Held {
    /// None once it was removed.
    fence: Option<Fence>,
    /// The lease is a claim's, and nothing shortened it.
    is_renewable: bool,
    /// When it ends unless it is renewed, L after what it was last set for; earlier once offered.
    ends: Instant,
    /// What was set up again between two looks; the next one tells of it.
    mended: Option<&'static str>,
}

/// What the heartbeat thread asks before it says "active", and tells when it did.
#[derive(Clone, Debug)]
pub struct LeaseGuard(Arc<Word>);

#[derive(Debug)]
struct Word {
    /// The kernel does not judge what leaves, so the daemon does.
    judges: bool,
    /// When the lease ends, nanoseconds of [`Monotonic`]; 0 for none, [`KERNEL_KNOWS`] where the
    /// kernel alone knows.
    ends: AtomicU64,
    /// When "active" was said last, the same way: a lease lasts L from then, however late it is
    /// renewed.
    said_at: AtomicU64,
    /// Asks for a renewal. One that is asked for already is enough.
    asks: SyncSender<()>,
}

impl LeaseGuard {
    /// Whether a frame that needs the lease may leave.
    pub fn permits(&self, now: Instant) -> bool {
        now.as_nanos() < self.0.ends.load(Ordering::Acquire)
    }

    /// Whether every frame is to be judged by it. Where the kernel does that, it is asked of those
    /// alone that no port can take.
    pub fn judges(&self) -> bool {
        self.0.judges
    }

    /// "Active" left at this time, and the kernel renewed the lease as it did: a renewal for an
    /// earlier word that comes late does not shorten it.
    pub fn was_renewed(&self, now: Instant) {
        self.0.said_at.fetch_max(now.as_nanos(), Ordering::AcqRel);
    }

    /// "Active" was said at this time: the lease is to be renewed. Never waits.
    pub fn said_active(&self, now: Instant) {
        self.was_renewed(now);
        // Full: one is on its way, and will find this time. Without a thread the lease ends.
        let _ = self.0.asks.try_send(());
    }

    fn said_at(&self) -> Instant {
        Instant::from_nanos(self.0.said_at.load(Ordering::Acquire))
    }

    fn set(&self, ends: Instant) {
        self.0.ends.store(ends.as_nanos(), Ordering::Release);
    }

    fn end_by(&self, ends: Instant) {
        self.0.ends.fetch_min(ends.as_nanos(), Ordering::AcqRel);
    }
}

impl Lease {
    /// Takes the fence, and starts the thread that renews what the kernel does not.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        fence: Fence,
        time: Monotonic,
        counters: Arc<PlaneCounters>,
    ) -> io::Result<Arc<Self>> {
        let support = fence.support();
        let (asks, asked) = sync_channel(1);
        let word = Word {
            judges: !support.egress,
            ends: AtomicU64::new(0),
            said_at: AtomicU64::new(0),
            asks,
        };
        let lease = Arc::new(Self {
            held: Mutex::new(Held {
                fence: Some(fence),
                is_renewable: false,
                ends: Instant::ORIGIN,
                mended: None,
            }),
            support,
            time,
            tick: tick(),
            word: LeaseGuard(Arc::new(word)),
            counters,
        });
        let renewed = Arc::downgrade(&lease);
        thread::Builder::new()
            .name("lease".to_owned())
            .spawn(move || renew_when_asked(&renewed, &asked))?;
        Ok(lease)
    }

    /// Whether leases of this length last from one word to the next; else how long they must be.
    ///
    /// # Errors
    /// How long.
    pub fn suffices(&self, timing: &Timing) -> Result<(), Duration> {
        let least = timing.interval + timing.slack + self.early() + RENEWED_WITHIN;
        if !self.word.judges() || timing.lease >= least {
            return Ok(());
        }
        Err(least)
    }

    /// What the kernel is able to do.
    pub const fn support(&self) -> FenceSupport {
        self.support
    }

    /// What the heartbeat thread asks and tells.
    pub fn guard(&self) -> LeaseGuard {
        self.word.clone()
    }

    /// Begins a fresh lease ([`Fence::arm`]).
    ///
    /// # Errors
    /// As there.
    pub fn arm(&self) -> Result<(), FenceError> {
        self.with(|held| {
            let begun = match self.begin(held) {
                Err(why) if why.is_absence() && self.set_up(held) => self.begin(held),
                begun => begun,
            }?;
            held.ends = begun.after(held.standing()?.length());
            held.is_renewable = true;
            self.promise(held.ends);
            Ok(())
        })
    }

    /// Shortens the lease ([`Fence::offer`]).
    ///
    /// # Errors
    /// As there.
    pub fn offer(&self, remaining: Duration) -> Result<(), LeaseError> {
        self.with(|held| {
            held.is_renewable = false;
            let ends = self.time.now().after(remaining);
            self.cut(self.surely(ends));
            held.ends = held.ends.min(ends);
            match held.standing()?.offer(remaining) {
                Err(LeaseError::Lapsed) if self.found_again(held) => Ok(()),
                offered => offered,
            }
        })
    }

    /// Leaves the tail alone ([`Fence::release_to_tail`]).
    ///
    /// # Errors
    /// As there.
    pub fn release_to_tail(&self) -> Result<(), LeaseError> {
        self.with(|held| {
            held.is_renewable = false;
            self.cut(Instant::ORIGIN);
            let released = match held.standing()?.release_to_tail() {
                Err(LeaseError::Lapsed) if self.found_again(held) => {
                    held.standing()?.release_to_tail()
                }
                released => released,
            };
            held.ends = Instant::ORIGIN;
            released
        })
    }

    /// Ends lease and tail ([`Fence::close`]).
    ///
    /// # Errors
    /// As there.
    pub fn close(&self) -> Result<(), FenceError> {
        self.with(|held| {
            held.is_renewable = false;
            held.ends = Instant::ORIGIN;
            self.cut(Instant::ORIGIN);
            held.standing()?.close()
        })
    }

    /// What came to a port to be passed on while there was no lease ([`Fence::transits`]).
    pub fn transits(&self, port: &str) -> u64 {
        self.with(|held| held.fence.as_ref().map_or(0, |fence| fence.transits(port)))
    }

    /// Takes a changed configuration ([`Fence::update`]).
    ///
    /// # Errors
    /// As there.
    pub fn update(&self, spec: &FenceSpec) -> Result<(), FenceError> {
        self.with(|held| held.standing()?.update(spec))
    }

    /// Removes the fence ([`Fence::unfence`]).
    ///
    /// # Errors
    /// As there.
    pub fn unfence(&self) -> Result<(), FenceError> {
        self.with(|held| {
            held.is_renewable = false;
            self.cut(Instant::ORIGIN);
            held.fence.take().map_or(Ok(()), Fence::unfence)
        })
    }

    /// Whatever held this thread up, the lease ends L after the last word.
    fn renew(&self, held: &mut Held) -> Result<(), LeaseError> {
        if !held.is_renewable || self.said_until(held)? <= held.ends {
            // Nothing was said since the lease was set.
            return Ok(());
        }
        let mut renewed = self.renew_as_said(held);
        if matches!(renewed, Err(LeaseError::Lapsed)) && self.found_again(held) {
            renewed = self.renew_as_said(held);
        }
        match renewed {
            Ok(ends) => {
                held.ends = ends;
                self.promise(ends);
                Ok(())
            }
            Err(LeaseError::Lapsed) => {
                held.is_renewable = false;
                self.cut(Instant::ORIGIN);
                Err(LeaseError::Lapsed)
            }
            // What is left may still be: the word ends before it.
            Err(LeaseError::Fence(why)) => Err(LeaseError::Fence(why)),
        }
    }

    /// When a lease ends that was renewed at the last word.
    fn said_until(&self, held: &mut Held) -> Result<Instant, FenceError> {
        Ok(self.word.said_at().after(held.standing()?.length()))
    }

    /// The lease that is there ends L after the last word, or early, however late the kernel comes
    /// to it; tells when. Words that leave meanwhile count, for a kernel that judges them has
    /// renewed the lease with each.
    fn renew_as_said(&self, held: &mut Held) -> Result<Instant, LeaseError> {
        let mut ends = self.said_until(held)?;
        let mut renewed = ends;
        for _ in 0..RENEWALS_MAX {
            let begun = self.time.now();
            let left = ends.since(begun);
            if left <= self.least_left(held)? {
                return self.came_late(held, ends);
            }
            held.standing()?.renew(left)?;
            renewed = ends;
            // The kernel counts from when it came to it, which may have been late by as much.
            let waited = self.time.now().since(begun);
            let said = self.said_until(held)?;
            if waited <= self.early() && said == ends {
                break;
            }
            ends = said;
        }
        Ok(renewed)
    }

    /// With less left nothing is written. The daemon's own word would be in the past; and where the
    /// kernel renews, a word may have left of which nothing is known yet: its lease is cut to what
    /// is written, which must last until the next one.
    fn least_left(&self, held: &mut Held) -> Result<Duration, FenceError> {
        if self.word.judges() {
            return Ok(self.early());
        }
        Ok(held.standing()?.length() / 2)
    }

    /// Too late to renew it: what stands ends before long. Where the kernel judges what leaves, the
    /// next word finds out whether it did.
    fn came_late(&self, held: &mut Held, ends: Instant) -> Result<Instant, LeaseError> {
        let stands = !self.word.judges() && held.standing()?.lease_left()?.is_some();
        stands.then_some(ends).ok_or(LeaseError::Lapsed)
    }

    /// Begins a lease; when that was asked for.
    fn begin(&self, held: &mut Held) -> Result<Instant, FenceError> {
        let begun = self.time.now();
        held.standing()?.arm()?;
        Ok(begun)
    }

    /// Until when the kernel's lease that ends then is surely there.
    fn surely(&self, ends: Instant) -> Instant {
        ends.before(self.early())
    }

    /// A lease stands that ends then, or early.
    fn promise(&self, ends: Instant) {
        self.word.set(if self.word.judges() {
            self.surely(ends)
        } else {
            KERNEL_KNOWS
        });
    }

    /// The kernel's leases end early by less than this, never late.
    fn early(&self) -> Duration {
        2 * self.tick
    }

    fn cut(&self, ends: Instant) {
        self.word.end_by(ends);
    }

    fn with<T>(&self, act: impl FnOnce(&mut Held) -> T) -> T {
        // A thread that panicked left the kernel as it is, and the next look sets it right.
        let held: Result<MutexGuard<'_, Held>, _> = self.held.lock();
        act(&mut held.unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    fn standing(&mut self) -> Result<&mut Fence, FenceError> {
        self.fence.as_mut().ok_or_else(FenceError::removed)
    }
}

fn renew_when_asked(renewed: &Weak<Lease>, asked: &Receiver<()>) {
    let _share = take_share();
    while asked.recv().is_ok()
        && let Some(lease) = renewed.upgrade()
    {
        if let Err(why) = lease.with(|held| lease.renew(held)) {
            lease.counters.lost_renewals.fetch_add(1, Ordering::Relaxed);
            warn!("failed to renew the lease: {why}");
        }
    }
}

/// How long one of the kernel's clock ticks lasts.
fn tick() -> Duration {
    let tick = clock_getres(ClockId::MonotonicCoarse);
    Duration::from_nanos(u64::try_from(tick.tv_nsec).unwrap_or(u64::MAX))
}
