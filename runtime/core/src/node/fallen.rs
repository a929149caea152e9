//! A peer that was taking the role and has gone dark, box and all (D8).
//!
//! One word of it was heard, "promoting", and none after it. Its daemon may stand still while its
//! kernel is about to own, so whoever gave it the role, or listens, waits for the dead interval.
//! Not if a cable to it lost its carrier after that word and the kernel is silent, too: that is
//! what proves an active dead, by the same window and on the same terms. The kernel answered a
//! moment ago, it was asked each round since and nothing came, and on that segment somebody else
//! was heard meanwhile (D12). Silence alone is not enough here, as it is for an active: a box that
//! freezes for some 20 ms, or is cut off for as long, obeys what it was asked before as soon as it
//! thaws.
//! The limit: without a cable a taker that dies after that word costs the dead interval.

use super::Node;
use super::suspect::ARMED_WITHIN;
use crate::Instant;
use crate::config::{Detection, PortConfig};
use crate::peer::{Path, Peer};
use crate::rules::Rule;
use crate::wire::advert::Flags;

impl Node {
    /// Whether a peer and its kernel, asked each round since then, are silent for so long that its
    /// box is proven dead.
    pub(super) fn has_fallen(&self, peer: &Peer, since: Instant) -> bool {
        let fast = self.config.policy.detection == Detection::Fast;
        let kept = self.rules.keep(Rule::D8) && self.rules.keep(Rule::D12);
        if !fast || !kept {
            return false;
        }
        let timing = &self.config.timing;
        let word = peer.heard_at.unwrap_or(Instant::ORIGIN);
        let answered = |path: &Path| path.unit_at.max(path.virtual_at) >= Some(since);
        let silent = word < since && !peer.paths.iter().any(answered);
        silent
            && self.cable_lost_about(peer, word)
            && self.now >= since.after(self.window(peer, timing.w_carrier))
            && peer.says(Flags::FENCE_WHOLE)
            && self.could_have_answered(peer, since)
    }

    /// On some segment its kernel answered about when its last word was heard, is asked now, and
    /// another station was heard since.
    fn could_have_answered(&self, peer: &Peer, since: Instant) -> bool {
        let Some(place) = self.peers.iter().position(|it| it.node == peer.node) else {
            return false;
        };
        let armed = |(index, _): &(usize, &PortConfig)| {
            let path = peer.paths.get(*index);
            let answered = path.and_then(|path| path.unit_at);
            answered.map(|at| at.after(ARMED_WITHIN)) >= peer.heard_at
                && answered.is_some()
                && self.questions(place, *index).is_some()
                && self.ports[*index].other_at >= Some(since)
        };
        self.config
            .ports
            .iter()
            .enumerate()
            .any(|port| armed(&port))
    }
}
