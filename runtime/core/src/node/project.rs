//! A node as an explorer of its states compares it: what matters for the future, relative to now.
//!
//! Two states of a pair that differ only in how long the pair has run, or in how many messages it
//! has sent, have the same future. So times are taken relative to now, in milliseconds, and cut
//! off where no rule looks further; counters are taken relative to their sender's newest. Lives
//! and challenges are left out: whoever explores starts from proven sessions and restarts nobody.
//! The hard case is evidence that ages slowly: it is taken in steps, fine enough that a quiet
//! period passes every step before it meets itself again.
//!
//! The limit: configuration, stored record, alerts and counters of drops are not compared, nor are
//! the far deadlines: the next uptime to record, announcements, and for how long one that refused
//! the role is not offered it again; nor how late words came, beyond what follows from it now.

use core::hash::{Hash, Hasher};
use core::time::Duration;

use super::Node;
use super::handover::{Giving, begun};
use crate::timer::Timer;
use crate::{Instant, NodeId};

/// Counters further apart than this are equally far apart: no rule looks further than sixteen
/// messages back.
const COUNTERS_MAX: u64 = 17;
/// Epochs further apart than this are equally far apart.
const EPOCHS_MAX: u64 = 3;

/// Deadlines that are compared.
const COMPARED: [Timer; 9] = [
    Timer::Advertise,
    Timer::ClaimRepeat,
    Timer::Give,
    Timer::Grant,
    Timer::Take,
    Timer::TailEnd,
    Timer::Relisten,
    Timer::Round,
    Timer::Silence,
];

/// Where a state's hash is taken: the time, and a reach beyond which no rule looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    now: Instant,
    reach: Duration,
}

impl View {
    /// How long ago, in milliseconds, cut off.
    pub(crate) fn ago(self, at: Instant) -> u16 {
        millis(self.now.since(at).min(self.reach))
    }

    /// How long until, or since when it is overdue, in milliseconds, cut off.
    pub(crate) fn until(self, at: Instant) -> (u16, u16) {
        (millis(at.since(self.now).min(self.reach)), self.ago(at))
    }

    /// Whether evidence is younger than a second, as the rules about it ask (D8, D12).
    pub(crate) fn age(self, at: Option<Instant>) -> bool {
        self.within(at, Duration::from_secs(1))
    }

    /// Whether less than this has passed.
    pub(crate) fn within(self, at: Option<Instant>, wait: Duration) -> bool {
        at.is_some_and(|at| self.now.since(at) < wait)
    }
}

/// How far `counter` is behind `newest`, cut off.
pub(crate) fn behind(newest: u64, counter: u64) -> u64 {
    newest.saturating_sub(counter).min(COUNTERS_MAX)
}

impl Node {
    /// Hashes what of this node matters for the future, as of `now`. `sent` tells the newest
    /// counter of each node, this one included. Equal hashes mean equal futures, up to what the
    /// module names.
    #[doc(hidden)]
    pub fn project(&self, now: Instant, sent: impl Fn(NodeId) -> u64, out: &mut impl Hasher) {
        let timing = &self.config.timing;
        let reach = timing.dead_interval + timing.lease + timing.interval;
        let view = View { now, reach };
        (self.role, self.fence_whole, self.stopping).hash(out);
        let claim = self.known.0.saturating_sub(self.claim.epoch.0);
        (
            claim.min(EPOCHS_MAX),
            self.claim.witnessed,
            self.claim.uninterrupted,
        )
            .hash(out);
        self.project_ports(view, out);
        self.project_timers(view, out);
        for check in &self.checks {
            check.project(view).hash(out);
        }
        for peer in &self.peers {
            peer.project(view, &sent, self.known, out);
        }
        if let Some(suspicion) = &self.suspicion {
            suspicion.project(view, out);
        }
        self.project_moves(view, &sent, out);
        self.unread.project(view, out);
        self.grants.project(view, self.counter).hash(out);
        self.project_kernel(view, out);
        let told = (
            behind(self.counter, self.told.counter),
            behind(self.counter, self.told.claim),
            behind(self.counter, self.told.resumed),
        );
        (self.told.facts, told, self.claims_left).hash(out);
    }

    /// Whether a deadline has come that decides something by its order: it is compared, or this
    /// node waits to claim and whatever wakes it may find that it is time. Of the others each only
    /// asks, repeats or counts.
    #[doc(hidden)]
    pub fn decides(&self, now: Instant) -> bool {
        let due = |timer: Timer| self.timers.at(timer).is_some_and(|at| at <= now);
        let waits =
            self.suspicion.is_some() || self.relisten.is_some() || self.vacant_since.is_some();
        waits || COMPARED.into_iter().any(due)
    }

    /// The counter of the newest message sent.
    #[doc(hidden)]
    pub const fn newest_counter(&self) -> u64 {
        self.counter
    }

    /// Whether this node is finding out if a peer is dead.
    #[doc(hidden)]
    pub const fn suspects(&self) -> bool {
        self.suspicion.is_some()
    }

    fn project_ports(&self, view: View, out: &mut impl Hasher) {
        for port in &self.ports {
            let fresh = if port.up { view.ago(port.since) } else { 0 };
            (
                port.up,
                fresh,
                view.age(port.foreign_at),
                port.hears_since.map(|at| view.ago(at)),
            )
                .hash(out);
        }
    }

    fn project_timers(&self, view: View, out: &mut impl Hasher) {
        for timer in COMPARED {
            self.timers.at(timer).map(|at| view.until(at)).hash(out);
        }
    }

    fn project_moves(&self, view: View, sent: &impl Fn(NodeId) -> u64, out: &mut impl Hasher) {
        match self.giving {
            Some(Giving::Preparing {
                id,
                to,
                reason,
                left,
                ready,
                chain,
            }) => {
                (
                    1_u8,
                    behind(self.counter, begun(id)),
                    to,
                    reason,
                    left,
                    ready,
                    (view.ago(chain.since), chain.asked),
                )
                    .hash(out);
            }
            Some(Giving::Offering {
                id,
                to,
                reason,
                at,
                declined,
                over,
            }) => {
                (
                    2_u8,
                    behind(self.counter, begun(id)),
                    to,
                    reason,
                    view.ago(at),
                    declined,
                    over.project(view, self.counter),
                    over.is_claimed(self.known),
                )
                    .hash(out);
            }
            None => 0_u8.hash(out),
        }
        let taking = self.taking.map(|taking| taking.project(view, sent));
        self.recheck.map(|it| it.project(view)).hash(out);
        let relisten = self.relisten.map(|it| it.project(view, self.counter));
        let dispute = self.dispute.map(|it| it.project(view, self.counter));
        let deafness = self.deafness.iter();
        let deafness: Vec<_> = deafness.map(|it| it.project(view, self.counter)).collect();
        (taking, relisten, dispute, deafness).hash(out);
        self.moves.project(&self.config.policy, out);
        let moved = self.moved_at.map(|at| view.ago(at));
        let vacant = self.vacant_since.map(|at| view.ago(at));
        let woke = self.woke_at.filter(|_| self.is_dazed());
        let asked = self.asked_awake.map(|(first, last)| [first, last]);
        let asked = asked.map(|both| both.map(|at| view.ago(at)));
        woke.map(|at| (view.ago(at), asked)).hash(out);
        self.worsened_at.map(|at| view.ago(at)).hash(out);
        (moved, vacant, self.asked.is_some(), self.was_degraded).hash(out);
        self.failed_serving.hash(out);
    }

    fn project_kernel(&self, view: View, out: &mut impl Hasher) {
        let kernel = &self.kernel;
        (
            kernel.pending.map(|(_, desired)| desired),
            view.ago(kernel.refreshed_at),
        )
            .hash(out);
        (kernel.fencing.map(|at| view.until(at)), kernel.owed).hash(out);
        (
            kernel.sent_on,
            kernel.refused_on,
            kernel.persisting.is_some(),
        )
            .hash(out);
    }
}

/// Whole milliseconds of a time that a view has cut off.
fn millis(time: Duration) -> u16 {
    u16::try_from(time.as_millis()).unwrap_or(u16::MAX)
}
