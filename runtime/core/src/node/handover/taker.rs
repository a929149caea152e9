//! Who is offered the role: able, alive, best ranked, and able to hear the offer (D10, D13).
//!
//! A standby may be deaf to the giver and look whole to it: its own words still come. Whoever has
//! not heard this node lately, by its own echo, comes after all who have; so does whoever has just
//! let a hand-over end. An echo is old news, so the question itself is the test: who does not
//! answer it, or says no, is passed over, and the next best is asked, each once, for a dead
//! interval in all. The limit: each deaf one costs all rounds of PREPARE.

use super::number::begun;
use super::{Giving, Reason};
use crate::effect::Rejection;
use crate::node::{Node, vacancy};
use crate::peer::Peer;
use crate::peer::hears::BEHIND_MAX;
use crate::wire::advert::{Flags, HealthClass, NODES_MAX};
use crate::{Instant, NodeId};

/// Those that were asked in turn to take the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::node) struct Chain {
    /// When the first was asked.
    pub(in crate::node) since: Instant,
    /// Bit n is set when the peer at place n was asked.
    pub(in crate::node) asked: u32,
}

const _: () = assert!(NODES_MAX <= 32);

impl Chain {
    /// Nobody was asked yet.
    pub(super) const fn begun(now: Instant) -> Self {
        Self {
            since: now,
            asked: 0,
        }
    }

    /// The peer at this place is asked too.
    pub(super) const fn with(self, place: usize) -> Self {
        Self {
            asked: self.asked | 1 << (place % 32),
            ..self
        }
    }

    const fn has(self, place: usize) -> bool {
        self.asked & 1 << (place % 32) != 0
    }
}

impl Node {
    /// The peer that should take the role.
    pub(in crate::node) fn best_taker(&self) -> Option<usize> {
        self.takers().first().copied()
    }

    /// Every peer that could take the role, the best first.
    pub(in crate::node) fn takers(&self) -> Vec<usize> {
        let timing = &self.config.timing;
        let able = |place: &usize| {
            let peer = &self.peers[*place];
            peer.heard_within(self.now, timing.interval + timing.interval + timing.slack)
                && peer.says(Flags::ELIGIBLE)
                && !peer.says_active()
        };
        let preempt = self.config.policy.preempt;
        let mut takers: Vec<usize> = (0..self.peers.len()).filter(able).collect();
        takers.sort_by(|a, b| {
            let (first, second) = (&self.peers[*a], &self.peers[*b]);
            let unlikely = |peer| (self.is_unready(peer), self.seems_deaf(peer));
            let ranked = match [first, second].map(vacancy::peer_candidate) {
                [Some(a), Some(b)] => crate::rank::order(&a, &b, preempt),
                [a, b] => b.is_some().cmp(&a.is_some()),
            };
            unlikely(first).cmp(&unlikely(second)).then(ranked)
        });
        takers
    }

    /// By its last word its health is better than that.
    pub(super) fn is_healthier(&self, place: usize, own: HealthClass) -> bool {
        let latest = self.peers[place].latest.as_ref();
        latest.is_some_and(|latest| latest.health < own)
    }

    /// It let a hand-over end within the last dead interval.
    fn is_unready(&self, peer: &Peer) -> bool {
        let within = self.config.timing.dead_interval;
        peer.unready_at
            .is_some_and(|at| self.now.since(at) < within)
    }

    /// By its last word it has missed more of this node's messages than may be on their way; those
    /// of a hand-over that has begun are too many and too young to count.
    fn seems_deaf(&self, peer: &Peer) -> bool {
        let interval = self.config.timing.interval.as_micros().max(1);
        let underway = self.far_trip(peer).as_micros() / interval;
        let behind = BEHIND_MAX.saturating_add(u64::try_from(underway).unwrap_or(u64::MAX));
        let sent = match self.giving {
            Some(Giving::Preparing { id, .. } | Giving::Offering { id, .. }) => begun(id),
            None => self.counter,
        };
        peer.newest_heard(self.config.node, self.boot)
            .is_none_or(|newest| newest.saturating_add(behind) < sent)
    }

    /// The one that was asked did not take the role.
    pub(super) fn note_unready(&mut self) {
        let (to, now) = (self.giving.as_ref().map(Giving::to), self.now);
        if let Some(peer) = self.peers.iter_mut().find(|peer| Some(peer.node) == to) {
            peer.unready_at = Some(now);
        }
    }

    /// Its claim must be back within V of the offer, or the lease ends for nothing. By what it has
    /// heard, which counts a pause of either as way: the next READY may tell better. Whoever must
    /// leave is dark for as long rather than to stay, but not for an offer that would be void.
    pub(super) fn is_too_far(&self, place: usize, reason: Reason) -> bool {
        let must = matches!(reason, Reason::Health | Reason::Shutdown);
        let offer = self.config.timing.offer;
        let most = if must || self.out_of_service().is_some() {
            offer
        } else {
            offer / 2
        };
        let trip = self.answered_after(&self.peers[place]);
        trip.is_some_and(|trip| trip > most)
    }

    /// Why nothing was offered to one that was asked for long enough.
    pub(super) fn why_unready(&self, to: NodeId, reason: Reason) -> Rejection {
        let place = self.peers.iter().position(|peer| peer.node == to);
        if place.is_some_and(|place| self.is_too_far(place, reason)) {
            Rejection::TooFar
        } else {
            Rejection::TimedOut
        }
    }

    /// The one that was asked cannot take the role: the next best is asked, if there is one and the
    /// role was not meant for the first alone.
    pub(super) fn pass_on(&mut self, why: Rejection) {
        let Some(Giving::Preparing { reason, chain, .. }) = self.giving else {
            return;
        };
        self.note_unready();
        let own = self.health();
        let suits = |place: &usize| match reason {
            Reason::Command | Reason::Shutdown => true,
            Reason::Health => self.is_healthier(*place, own),
            Reason::Preference | Reason::Request => false,
        };
        let in_time = self.now.since(chain.since) < self.config.timing.dead_interval;
        let mut next = self.takers().into_iter().filter(|place| !chain.has(*place));
        match next.find(suits).filter(|_| in_time) {
            Some(place) => self.ask_to_take(place, reason, chain),
            None => self.end_giving(why),
        }
    }
}
