//! What third parties know of the active, and what they are told (D13).
//!
//! A node that is cut off from the active alone finds it silent, and must not claim beside it: the
//! others still hear it. Every advertisement echoes what its sender heard of each peer, by
//! counter, and says whether that sender hears an active at all. An echo that is newer than
//! everything known of the suspect's life is life; one that merely repeats it is not, so nobody
//! holds the role for a dead active by being slow.
//!
//! ```text
//!   b (suspects a) ── Probe ──► everybody          c hears a, and suspects nobody:
//!   b ◄── Answer, echoing what c has heard ── c ── Probe ──► a alone
//!                                             c ◄── Answer ── a
//!   b ── Probe ──► everybody; c's next answer echoes a's, and vouches for it
//! ```
//!
//! Each node tells what it hears itself and never what it was told, so two that hear nothing cannot
//! keep a third one's ghost alive between them. A question on another's behalf goes to the active
//! alone, so that questions do not breed questions.
//!
//! The limit: whoever is cut off from the active and hears a third party stands by for as long as
//! that one hears it, even if the active carries traffic for nobody on this side of the cut.

use super::Node;
use crate::NodeId;
use crate::peer::Peer;
use crate::role::EffectiveRole;
use crate::rules::Rule;
use crate::timer::Timer;
use crate::wire::advert::{Flags, Kind};

/// So many third parties ask the active for one that does not hear it: with sixteen nodes the
/// others would keep it busy, and a single one may be cut off from the one that asks.
const TELLERS_MAX: usize = 2;

impl Node {
    /// Whether this node itself hears a peer that is active, and does not doubt it.
    pub(super) fn hears_active(&self) -> bool {
        let heard = |place: usize| self.present(&self.peers[place]);
        self.role != EffectiveRole::Active
            && self.suspicion.is_none()
            && self.active_peer().is_some_and(heard)
    }

    /// A peer spoke: what does it hear of the one that this node suspects?
    pub(super) fn hear_of_active(&mut self, place: usize) {
        let hears = self.peers[place].says(Flags::HEARS_ACTIVE) && self.rules.keep(Rule::D13);
        let Some(latest) = &mut self.peers[place].latest else {
            return;
        };
        let echoes = core::mem::take(&mut latest.echoes);
        for echo in &echoes {
            let mut peers = self.peers.iter_mut();
            // Noted in any case: what was known before a suspicion ends none.
            let is_news = peers
                .find(|peer| peer.node == echo.node)
                .is_some_and(|peer| peer.vouched_for(echo));
            let suspicion = self.suspicion.as_mut();
            if is_news
                && hears
                && let Some(suspicion) = suspicion.filter(|open| open.peer == echo.node)
            {
                let next = suspicion.vouched(self.now);
                self.timers.arm(Timer::Round, next);
            }
        }
        if let Some(latest) = &mut self.peers[place].latest {
            latest.echoes = echoes;
        }
    }

    /// A peer asks everybody: it may not hear the active, which this node therefore asks too, so
    /// that its next answer can tell.
    pub(super) fn ask_for(&mut self, place: usize) {
        let stands_by = self.role == EffectiveRole::Standby && self.suspicion.is_none()
            || self.config.is_witness();
        let Some(active) = self.active_peer() else {
            return;
        };
        let asks = stands_by && active != place && self.hears_active();
        if asks && self.tellers_before(place) < TELLERS_MAX && self.rules.keep(Rule::D13) {
            self.send_to(Kind::Probe, active);
        }
    }

    /// How many others that hear the active would rather tell the peer at this place.
    fn tellers_before(&self, place: usize) -> usize {
        let (asker, own) = (&self.peers[place], self.config.node);
        let tells = |peer: &&Peer| {
            peer.node != asker.node
                && peer.node < own
                && peer.says(Flags::HEARS_ACTIVE)
                && self.present(peer)
                && asker.hears_peer(peer)
        };
        self.peers.iter().filter(tells).count()
    }

    /// Whether a peer hears a third party that hears this active: it is told that this node lives,
    /// and does not claim however often it asks.
    pub(super) fn is_told_by_others(&self, peer: &Peer) -> bool {
        let tells = |other: &Peer| {
            other.node != peer.node
                && self.present(other)
                && other.says(Flags::HEARS_ACTIVE)
                && peer.hears_peer(other)
        };
        self.rules.keep(Rule::D13) && self.peers.iter().any(tells)
    }

    /// A peer that is present said something which only others have heard yet. What they say of it
    /// came by another way, and may come first: a role that was given up to it is not vacant.
    pub(super) fn misses_a_word(&self) -> bool {
        let misses = |peer: &Peer| self.present(peer) && peer.is_outheard();
        self.rules.keep(Rule::D13) && self.peers.iter().any(misses)
    }

    /// Some peer hears an active that this node does not hear: the role is not vacant, nor is it
    /// free because a `suspect` is dead. Where every other peer is heard here, up to its last word,
    /// none of them is that active, whatever the teller still believes.
    pub(super) fn heard_by_others(&self, suspect: Option<NodeId>) -> bool {
        let unheard = |teller| {
            let mut others = self.peers.iter().filter(|peer| peer.node != teller);
            let unheard = |peer: &Peer| !self.present(peer) || peer.is_outheard();
            others.any(|peer| unheard(peer) && Some(peer.node) != suspect)
        };
        self.rules.keep(Rule::D13)
            && self.peers.iter().any(|peer| {
                self.present(peer)
                    && Some(peer.node) != suspect
                    && peer.says(Flags::HEARS_ACTIVE)
                    && unheard(peer.node)
            })
    }
}
