//! Whose turn it is among the standbys that find the active dead (D13, F12).
//!
//! Each has its slot once its own verdict stands, so that whoever ranks before it has claimed and
//! is heard by then. All measure how long answers take, and whoever is far away finds the active
//! dead later, and is heard later still:
//!
//! ```text
//!   near  verdict ───────────── slot ─────────────► claims, unless the other is heard
//!   far        (hears it later, asks longer) verdict ► claims ── (on its way) ──► near
//! ```
//!
//! So a slot is as long as the other's verdict can be later, and its claim on the way. The hard
//! case is one that is much farther away: long before it finds anything the claim of this node has
//! reached it, and clients would wait for its slot in vain. Then the slot is as short as for one
//! next door. What a node measures is its own ways alone; the way between two others lies between
//! the difference of its ways to them and their sum. The limit: a way that became longer a moment
//! ago, which nobody has measured yet.

use core::cmp::Ordering;
use core::time::Duration;

use super::Node;
use super::vacancy::peer_candidate;
use crate::NodeId;
use crate::peer::Peer;
use crate::rank::order;
use crate::suspicion::{Doubt, Suspicion, Verdict};
use crate::wire::advert::Flags;

impl Node {
    /// How long after its own verdict this node claims: the slots of all that rank before it.
    pub(super) fn slot(&self, suspicion: &Suspicion, verdict: Verdict) -> Duration {
        let mut ahead = self.peers.iter().filter(|peer| {
            peer.node != suspicion.peer && self.present(peer) && self.should_rather(peer)
        });
        let slot = |peer| self.slot_of(peer, (suspicion, verdict));
        ahead
            .try_fold(Duration::ZERO, |sum: Duration, peer| {
                sum.checked_add(slot(peer))
            })
            .unwrap_or(Duration::MAX)
    }

    /// How long this node leaves the role to one that ranks before it. A lease ends for all at
    /// once: who is far away sees it as much later as an answer takes, and is waited for however
    /// far that is.
    fn slot_of(&self, rival: &Peer, (suspicion, verdict): (&Suspicion, Verdict)) -> Duration {
        let timing = &self.config.timing;
        let next_door = timing.rtt_bound * 2;
        let there = self.trips(rival);
        let on_its_way = next_door.saturating_add(there.whole());
        if verdict != Verdict::Dead {
            return on_its_way.saturating_add(there.whole());
        }
        let own = suspicion.terms.window;
        let configured = match suspicion.doubt {
            Doubt::Silence if own >= timing.w_silence => timing.w_silence,
            Doubt::Silence | Doubt::Carrier => timing.w_carrier,
        };
        let suspect = self.peers.iter().find(|peer| peer.node == suspicion.peer);
        let here = suspect.map(|peer| self.trips(peer)).unwrap_or_default();
        let soonest = self.window_of(there.less(here), configured);
        if soonest >= own + next_door * 2 {
            return next_door;
        }
        let latest = self.window_of(there.and(here), configured);
        on_its_way.saturating_add(latest.saturating_sub(own))
    }

    /// Whether a peer can serve, and ranks before this node.
    pub(super) fn should_rather(&self, peer: &Peer) -> bool {
        let (own, preempt) = (self.candidate(), self.config.policy.preempt);
        let before = |other| order(&other, &own, preempt) == Ordering::Less;
        peer.says(Flags::ELIGIBLE) && peer_candidate(peer).is_some_and(before)
    }

    /// Another standby has said that it is taking the role.
    pub(super) fn another_promotes(&self, suspect: NodeId) -> bool {
        let mut others = self.peers.iter().filter(|peer| peer.node != suspect);
        others.any(|peer| self.promotes(peer))
    }
}
