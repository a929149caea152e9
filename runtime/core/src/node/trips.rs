//! How long answers take, and the windows that learn from it (D7).
//!
//! On a segment the peer's kernel is asked, and its answers are timed ([`super::ask`]). Beyond a
//! router no kernel can be asked: there the daemons' own messages are timed. Each says how long ago
//! it heard the newest message of the other on that path, so that time is none of the way:
//!
//! ```text
//!   own    sent c ─┐                     ┌─► heard: the trip is (heard - sent c) - waited
//!   peer           └─► heard c … waited ─┘   "heard c on this path, `waited` ago"
//! ```
//!
//! Kernels answer within microseconds, a daemon when it is scheduled. So what was measured between
//! daemons comes on top of a configured window, and widens it for that peer alone, while the path
//! still carries something. Whoever is about to claim waits for half a trip more: where it is deaf,
//! its questions reach the active half a trip later, which then waits for an echo, and steps aside
//! (D12).
//!
//! The hard case is the one path that is left: nothing but its answer tells a peer that lives from
//! one that is gone, and it comes a round trip later. The limit: the dead interval bounds every
//! window, so a longer way proves nothing in time; and messages of a burst that began longer ago
//! than [`SENT_MAX`] messages are not timed.

use std::collections::VecDeque;

use core::time::Duration;

use super::Node;
use crate::Instant;
use crate::peer::{Peer, RoundTrip};
use crate::wire::advert::{Advert, Wait};

/// How many of the newest messages are remembered with their time.
const SENT_MAX: usize = 256;
/// A window is at least so many of the longest round trips of kernels (D7).
const WIDENED_BY: u32 = 2;

/// When the newest messages were sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(VecDeque<(u64, Instant)>);

impl Sent {
    /// A message with this counter leaves; counters only grow.
    fn note(&mut self, counter: u64, now: Instant) {
        if self.0.len() == SENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back((counter, now));
    }

    fn at(&self, counter: u64) -> Option<Instant> {
        let place = self.0.binary_search_by_key(&counter, |(sent, _)| *sent);
        place.ok().map(|place| self.0[place].1)
    }
}

/// How long answers take: of a kernel on a segment, and of a daemon beyond a router.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trips {
    kernels: Duration,
    far: Duration,
}

impl Trips {
    /// One way and then the other.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            kernels: self.kernels.saturating_add(other.kernels),
            far: self.far.saturating_add(other.far),
        }
    }

    /// There and back, whatever was asked there.
    pub(super) fn whole(self) -> Duration {
        self.kernels.max(self.far)
    }

    /// What one way is longer than the other.
    pub(super) fn less(self, other: Self) -> Self {
        Self {
            kernels: self.kernels.saturating_sub(other.kernels),
            far: self.far.saturating_sub(other.far),
        }
    }
}

impl Node {
    /// The next message's counter. Nothing is remembered where nobody is beyond a router, but what
    /// asks one to take the role.
    pub(super) fn count_message(&mut self) {
        self.counter += 1;
        let is_timed = (0..self.ports.len()).any(|index| self.has_beyond(index));
        if is_timed || self.giving.is_some() {
            self.sent.note(self.counter, self.now);
        }
    }

    /// How long ago each gateway beyond a router was heard there.
    pub(super) fn waits(&self) -> Vec<Wait> {
        let entry = |peer: &Peer, index: usize| {
            let path = peer.paths.get(index).filter(|path| path.counter > 0)?;
            let heard_at = path.heard_at.filter(|_| self.is_beyond(index, peer))?;
            Some(Wait {
                node: peer.node,
                path: self.config.ports[index].id,
                time: self.now.since(heard_at),
            })
        };
        let of_peer = |peer| (0..self.ports.len()).filter_map(move |index| entry(peer, index));
        self.gateways().flat_map(of_peer).collect()
    }

    /// A proven copy of a message came `at` on a path beyond a router, and may tell how long the
    /// way there and back is.
    pub(super) fn note_trip(&mut self, place: usize, index: usize, advert: &Advert, at: Instant) {
        let id = self.config.ports[index].id;
        let own = self.config.node;
        if !self.is_beyond(index, &self.peers[place]) {
            return;
        }
        let there = |wait: &&Wait| wait.node == own && wait.path == id;
        let Some(waited) = advert.waits.iter().find(there) else {
            return;
        };
        let counter = advert.heard_counter(own, self.boot, id);
        if let Some(sent_at) = counter.and_then(|counter| self.sent.at(counter)) {
            let trip = at.since(sent_at).saturating_sub(waited.time);
            let trip = trip.min(self.config.timing.dead_interval);
            self.peers[place].paths[index].round_trip.note(trip, at);
        }
    }

    /// How long ago the newest message was sent that the peer had heard when it spoke: the way
    /// there and back, and its own time. None if that is forgotten or unknown.
    pub(super) fn answered_after(&self, peer: &Peer) -> Option<Duration> {
        let counter = peer.newest_heard(self.config.node, self.boot)?;
        let sent_at = self.sent.at(counter)?;
        Some(self.now.since(sent_at))
    }

    /// A time of the configuration for which a peer's answers are waited, widened to what answers
    /// lately took, to the dead interval at most (D7).
    pub(super) fn widened(&self, peer: &Peer, configured: Duration) -> Duration {
        let trips = self.trips(peer);
        self.widened_by(trips, configured, trips.far)
    }

    /// The same before a claim.
    pub(super) fn window(&self, peer: &Peer, configured: Duration) -> Duration {
        self.window_of(self.trips(peer), configured)
    }

    /// The same for somebody to whom answers take so long.
    pub(super) fn window_of(&self, trips: Trips, configured: Duration) -> Duration {
        self.widened_by(trips, configured, trips.far + trips.far / 2)
    }

    fn widened_by(&self, trips: Trips, configured: Duration, far: Duration) -> Duration {
        let kernels = trips.kernels.saturating_mul(WIDENED_BY);
        kernels
            .max(configured.saturating_add(far))
            .min(self.config.timing.dead_interval)
            .max(configured)
    }

    /// How long answers of a peer take. A kernel that did not answer twice yet is thought to take
    /// as long as the slowest that did, or as its one answer, if that is less.
    pub(super) fn trips(&self, peer: &Peer) -> Trips {
        let usual = |peer: &Peer| self.kernels_trip(peer, RoundTrip::usual_longest);
        let once = self.kernels_trip(peer, RoundTrip::longest);
        let least = if once.is_zero() { Duration::MAX } else { once };
        let kernels = Some(usual(peer)).filter(|trip| !trip.is_zero());
        let others = || self.peers.iter().map(usual).max().unwrap_or_default();
        Trips {
            kernels: kernels.unwrap_or_else(|| others().min(least)),
            far: self.far_trip(peer),
        }
    }

    /// The same for the answers of several gateways.
    pub(super) fn widened_for(&self, configured: Duration, of: impl Fn(&Peer) -> bool) -> Duration {
        let others = self.gateways().filter(|peer| of(peer));
        let all = others.map(|peer| self.widened(peer, configured));
        all.max().unwrap_or(configured)
    }

    /// The longest round trip of a kernel on a segment of this node.
    fn kernels_trip(&self, peer: &Peer, of: impl Fn(RoundTrip) -> Duration) -> Duration {
        let near = |(index, _): &(usize, _)| !self.is_beyond(*index, peer);
        let paths = peer.paths.iter().enumerate().filter(near);
        let trips = paths.map(|(_, path)| of(path.round_trip));
        trips.max().unwrap_or_default()
    }

    /// The longest round trip to a peer through a router that still brings something of it.
    pub(super) fn far_trip(&self, peer: &Peer) -> Duration {
        let long = self.config.timing.dead_interval * 2;
        let carries = |(index, path): &(usize, &crate::peer::Path)| {
            let lately = |at: Instant| self.now.since(at) < long;
            self.is_beyond(*index, peer) && path.heard_at.is_some_and(lately)
        };
        let paths = peer.paths.iter().enumerate().filter(carries);
        let trips = paths.map(|(_, path)| path.round_trip.usual_longest());
        trips.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was sent is found again until [`SENT_MAX`] more were sent; what never was is not.
    #[test]
    fn trips_remember_the_newest_messages() {
        let mut sent = Sent::default();
        let at = |millis| Instant::ORIGIN.after(Duration::from_millis(millis));
        // Not each counter: some messages leave where nothing is remembered.
        for turn in 0..1_000 {
            sent.note(turn * 2, at(turn));
        }
        assert_eq!(sent.0.len(), SENT_MAX);
        assert_eq!(sent.at(1_998), Some(at(999)));
        assert_eq!(sent.at(1_997), None);
        assert_eq!(sent.at(2_000), None);
        let kept = u64::try_from(SENT_MAX).unwrap();
        let oldest = 1_000 - kept;
        assert_eq!(sent.at(oldest * 2), Some(at(oldest)));
        assert_eq!(sent.at(oldest * 2 - 2), None);
    }
}
