//! Two actives: who withdraws (D11), and what the deaf side must be told by others (D12).
//!
//! Both sides compare the same two claims and reach the same answer: health class, witnessed,
//! uninterrupted service, epoch, rank. The loser withdraws at once, the winner announces again.
//! The hard case is one-way loss: a rival that does not hear us will never withdraw. So the side
//! that hears asks, and if the rival goes on without an echo of the question, yields to it,
//! provided that the rival receives anything at all. The same is done *before* there are two
//! actives: a standby that keeps probing without an echo of our answers is deaf to us and about to
//! claim, so this node steps aside first. Only what arrived after our word counts: a daemon that
//! woke late reads for a while what was sent before it spoke. The limit: a segment on which neither
//! hears the other.

use core::cmp::Ordering;
use core::time::Duration;

use super::project::{View, behind};
use super::{Node, vacancy};
use crate::config::Preempt;
use crate::effect::Alert;
use crate::peer::Peer;
use crate::rank::order;
use crate::rules::Rule;
use crate::status::Cause;
use crate::suspicion::SLOW_FACTOR;
use crate::timer::Timer;
use crate::wire::advert::{Advert, Flags, Kind, RoleMark};
use crate::{Instant, NodeId};

/// Frames without an echo of the question before a sender counts as deaf.
const DEAF_FRAMES: u32 = 3;

/// A rival active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Dispute {
    pub(super) peer: NodeId,
    since: Instant,
    /// The rival should soon echo this counter.
    counter: u64,
    frames: u32,
}

impl Dispute {
    /// For comparing states.
    pub(super) fn project(self, view: View, counter: u64) -> (u16, u64, u32) {
        (
            view.ago(self.since),
            behind(counter, self.counter),
            self.frames.min(2 * DEAF_FRAMES),
        )
    }
}

/// A standby that asks and does not hear the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Deafness {
    peer: NodeId,
    since: Instant,
    last: Instant,
    counter: u64,
    frames: u32,
}

impl Deafness {
    /// For comparing states.
    pub(super) fn project(self, view: View, counter: u64) -> (u16, u64, u32) {
        (
            view.ago(self.since),
            behind(counter, self.counter),
            self.frames.min(2 * DEAF_FRAMES),
        )
    }
}

impl Node {
    /// This node is active, and so says a peer.
    pub(super) fn active_meets_active(&mut self, place: usize, at: Instant) {
        use super::handover::Giving;
        let peer = self.peers[place].node;
        let to_it = matches!(
            self.giving,
            Some(Giving::Preparing { to, .. } | Giving::Offering { to, .. }) if to == peer
        );
        if to_it {
            self.yield_to(place);
            return;
        }
        if !self.rules.keep(Rule::D11) {
            return;
        }
        let offers = self.peers[place].latest.as_ref().is_some_and(is_offer);
        if !offers {
            self.raise(Alert::SplitBrain { peer });
            self.rival_at = Some(self.now);
        }
        if self.ranks_above(place) {
            self.question_rival(place, at);
        } else {
            // One last word as an active: the winner must know that there were two.
            self.broadcast(Kind::Advert);
            self.lose_role(Cause::RivalWon { peer });
            self.broadcast(Kind::Advert);
        }
    }

    /// This node was about to become active, and a peer says it is.
    pub(super) fn promoting_meets_active(&mut self, place: usize) {
        let peer = self.peers[place].node;
        if self.taking.is_some() && self.peers[place].latest.as_ref().is_some_and(is_offer) {
            return;
        }
        self.taking = None;
        self.timers.disarm(Timer::Take);
        self.lose_role(Cause::PeerActive { peer });
        self.broadcast(Kind::Decline);
    }

    /// The order of D11; the same on both sides.
    fn ranks_above(&self, place: usize) -> bool {
        let Some(latest) = &self.peers[place].latest else {
            return true;
        };
        let mine = (
            self.claim.witnessed,
            self.claim.uninterrupted,
            self.claim.epoch,
        );
        let theirs = (
            latest.flags.has(Flags::WITNESSED),
            latest.flags.has(Flags::UNINTERRUPTED),
            latest.epoch,
        );
        let rank = || {
            let other = vacancy::peer_candidate(&self.peers[place]);
            other.map_or(Ordering::Less, |other| {
                order(&self.candidate(), &other, Preempt::Never)
            })
        };
        self.health()
            .cmp(&latest.health)
            .then_with(|| theirs.cmp(&mine))
            .then_with(rank)
            .is_lt()
    }

    /// This node ranks above the rival, which should withdraw: unless it cannot hear. Its word
    /// arrived `at`.
    fn question_rival(&mut self, place: usize, at: Instant) {
        let peer = self.peers[place].node;
        let counter = self.counter + 1;
        let fresh = Dispute {
            peer,
            since: self.now,
            counter,
            frames: 0,
        };
        let mut dispute = self
            .dispute
            .filter(|open| open.peer == peer)
            .unwrap_or(fresh);
        if at >= dispute.since || dispute.frames == 0 {
            dispute.frames += 1;
        }
        self.dispute = Some(dispute);
        let rival = &self.peers[place];
        let hears = rival.has_heard(self.config.node, self.boot, dispute.counter);
        let echoes_by = self.widened(rival, self.config.timing.rtt_bound);
        let late = at >= dispute.since.after(echoes_by);
        let deaf = !hears && dispute.frames > DEAF_FRAMES && late;
        if deaf && rival.says(Flags::RECEPTION) && self.rules.keep(Rule::D12) {
            self.dispute = None;
            self.lose_role(Cause::RivalWon { peer });
            self.broadcast(Kind::Advert);
        } else if !hears {
            self.broadcast(Kind::Probe);
        }
    }

    /// A peer that is not active has spoken: our claim stands unchallenged by it.
    pub(super) fn confirmed_by(&mut self, place: usize) {
        let peer = self.peers[place].node;
        if self.dispute.is_some_and(|dispute| dispute.peer == peer) {
            self.dispute = None;
            self.announce_after_rival();
        }
        self.clear(|alert| *alert == Alert::SplitBrain { peer });
        let (own, boot, told) = (self.config.node, self.boot, self.told.claim);
        let knows = |other: &Peer| other.dead || other.has_heard(own, boot, told);
        if self.peers.iter().all(knows) {
            self.claims_left = 0;
        }
        let resumed = self.told.resumed;
        let stands_by = |other: &Peer| {
            let knows = resumed == 0 || other.has_heard(own, boot, resumed);
            other.heard_at.is_some() && !other.says_active() && knows
        };
        if self.gateways().all(stands_by) {
            self.claim.witnessed = true;
            self.claim.uninterrupted = true;
        }
    }

    /// A peer probes this active, with a probe that arrived `at`. If it repeats that without
    /// hearing the answers, it will claim.
    pub(super) fn notice_deafness(&mut self, place: usize, at: Instant) {
        let peer = &self.peers[place];
        let node = peer.node;
        if !peer.says(Flags::RECEPTION) {
            // It hears nobody at all, and does not claim: what it misses now is no sign of deafness
            // towards us when its hearing returns (F21).
            self.deafness.retain(|open| open.peer != node);
            return;
        }
        // A watch for each: another's questions, which are answered and heard, say nothing of it.
        let watched = self.deafness.iter().find(|open| open.peer == node).copied();
        self.deafness.retain(|open| open.peer != node);
        let Some(open) = watched else {
            self.deafness.push(Deafness {
                peer: node,
                since: self.now,
                last: at,
                counter: self.counter + 1,
                frames: 0,
            });
            return;
        };
        let hears = peer.has_heard(self.config.node, self.boot, open.counter);
        let echoes_by = self.widened(peer, self.config.timing.rtt_bound);
        if hears || self.stale_watch(open, at, echoes_by) {
            return;
        }
        self.deafness.push(Deafness {
            frames: open.frames + u32::from(at >= open.since),
            last: at,
            ..open
        });
        let claims = self.is_deaf(peer, open, at) && !self.bars_claims();
        if claims && self.rules.keep(Rule::D12) && self.giving.is_none() {
            self.deafness.clear();
            self.lose_role(Cause::RivalWon { peer: node });
            self.listen_again();
        }
    }

    /// Watched for long, or the prober itself paused: what it missed then says nothing.
    fn stale_watch(&self, open: Deafness, at: Instant, echoes_by: Duration) -> bool {
        let timing = &self.config.timing;
        let pause = timing.round * SLOW_FACTOR + timing.slack;
        let long = timing.dead_interval.max(echoes_by * 2);
        at.since(open.since) > long || at.since(open.last) > pause
    }

    fn is_deaf(&self, peer: &Peer, open: Deafness, at: Instant) -> bool {
        let echoes_by = self.widened(peer, self.config.timing.rtt_bound);
        open.frames >= DEAF_FRAMES
            && at >= open.since.after(echoes_by)
            && peer.says(Flags::ELIGIBLE)
            && !peer.says_active()
            && !self.is_told_by_others(peer)
    }
}

/// The sender gives the role away: a claim against it may be what it asked for.
fn is_offer(latest: &Advert) -> bool {
    latest.mark == RoleMark::Offering
}
