//! What the daemon asks of the lease and the fence (D9).

use core::time::Duration;

use steadfast_core::Instant;

use super::Kernel;
use super::fence::{Fence, FlushBy, Lapsed, TableGone};

/// The lease and the fence (D9).
impl Kernel {
    /// Adds the lease for its full length: only a claim may. The one way to create it.
    pub fn arm(&mut self, now: Instant) -> Result<(), TableGone> {
        let fence = self.fence.as_mut().ok_or(TableGone)?;
        self.ownership_version.0 += 1;
        fence.arm(now)
    }

    /// Shortens the lease to what a hand-over leaves (D10); never lengthens it.
    pub fn offer(&mut self, now: Instant, remaining: Duration) -> Result<(), Lapsed> {
        let fence = self.fence.as_mut().ok_or(Lapsed)?;
        self.ownership_version.0 += 1;
        fence.offer(now, remaining)
    }

    /// Swaps the lease for the tail in one step: still forwards, answers nothing. A lapsed lease
    /// leaves no tail, so that a woken daemon cannot open the fence again.
    pub fn release_to_tail(&mut self, now: Instant) -> Result<(), Lapsed> {
        let fence = self.fence.as_mut().ok_or(Lapsed)?;
        self.ownership_version.0 += 1;
        fence.release_to_tail(now)
    }

    /// Removes lease and tail: the fenced state.
    pub fn fence(&mut self) {
        self.change_fence(Fence::close);
    }

    /// Whether the lease is there.
    pub fn holds_lease(&self, now: Instant) -> bool {
        self.fence.as_ref().is_some_and(|fence| fence.is_live(now))
    }

    /// When the lease ends, if it is there.
    pub fn lease_end(&self, now: Instant) -> Option<Instant> {
        self.fence.as_ref()?.live_end(now)
    }

    /// When the tail ends, if it is there.
    pub fn tail_end(&self, now: Instant) -> Option<Instant> {
        self.fence.as_ref()?.tail_end(now)
    }

    /// Whether the table is there.
    pub fn fence_whole(&self) -> bool {
        self.fence.as_ref().is_some_and(Fence::is_whole)
    }

    /// A daemon's look: whether the fence is whole, and was since the last one.
    pub fn take_fence_whole(&mut self) -> bool {
        self.fence.as_mut().is_some_and(Fence::take_whole)
    }

    /// A flush of the ruleset. Without its table a gateway is not fenced and refuses nothing.
    pub fn flush_ruleset(&mut self, by: FlushBy) {
        if let Some(routers) = &mut self.routers {
            routers.flush(by);
            self.ownership_version.0 += 1;
        }
        self.change_fence(|fence| fence.flush(by));
    }

    /// From now on leases and tails last so long; one that is there ends when it would have.
    pub fn set_fence_times(&mut self, lease: Duration, tail: Duration) {
        self.change_fence(|fence| fence.set_times(lease, tail));
    }

    /// Where addresses go by themselves, those that are there last anew from now.
    pub fn hold_addresses(&mut self, now: Instant) {
        if self.virtuals().next().is_some()
            && let Some(fence) = &mut self.fence
        {
            fence.hold_addresses(now);
        }
    }

    /// Virtual addresses whose time is over.
    pub(super) fn forget_virtuals(&mut self) {
        let held: Vec<_> = self.virtuals().collect();
        held.into_iter()
            .for_each(|(port, ip)| self.remove_virtual(port, ip));
    }

    /// Puts a missing table back, without a lease; changes nothing while it is there.
    pub fn rebuild_fence(&mut self) {
        self.change_fence(Fence::rebuild);
    }

    /// A claim, or the end of a role, that finds no table puts it back, closed.
    pub fn mend_fence(&mut self) {
        self.change_fence(|fence| fence.set_up(false));
    }

    /// Another program takes the lock of nf_tables, or lets it go: renewals of the lease wait for
    /// it, but those that netdev egress makes.
    pub fn hold_filter(&mut self, now: Instant, held: bool) {
        self.change_fence(|fence| fence.hold(now, held));
    }

    pub(super) fn change_fence(&mut self, change: impl FnOnce(&mut Fence)) {
        if let Some(fence) = &mut self.fence {
            change(fence);
            self.ownership_version.0 += 1;
        }
    }
}
