//! A node of this cluster that cannot be read, or does not read this one (R14.1).
//!
//! With another secret, or an older key, its frames do not verify. One whose file does not list
//! this node, or that hears nothing of it, sends frames that verify and answer nothing this node
//! ever said: they may be replays. It hears that one as a node that is not configured, which is no
//! peer and goes before nobody. Nothing of this proves anything, nor does an answer for a
//! virtual address from a station nobody knows. But both together, while this node starts and has
//! never heard that peer, is what two nodes that do not know each other look like, and a claim
//! would make two owners that last until a person comes. So this node asks who has the virtual
//! address, and leaves the role while frames and answers go on. Two such nodes that start together
//! go one after the other, by node id; one that reads the other and is not read goes last. The
//! limit: whoever forges both keeps a node from its first
//! claim for as long as that goes on; it could have stolen the address already. A role that is held
//! is given to nobody for it, and a peer that was once heard is judged by D7 and D8 alone.

use core::hash::{Hash, Hasher};
use core::net::IpAddr;
use core::time::Duration;

use super::Node;
use super::project::View;
use crate::config::PortConfig;
use crate::peer::Peer;
use crate::role::EffectiveRole;
use crate::{Instant, MacAddr, NodeId};

/// Between two questions; with a short dead interval an eighth of it, so that several fit into a
/// grace.
const ASK_SPACING: Duration = Duration::from_millis(100);

/// What is known of those that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Unread {
    /// When the first of them was met in this life.
    first_at: Option<Instant>,
    /// Since when they are there.
    since: Option<Instant>,
    seen_at: Option<Instant>,
    /// When a node that is not configured here last spoke.
    stranger_at: Option<Instant>,
    asked_at: Option<Instant>,
    /// When somebody last answered for a virtual address.
    answered_at: Option<Instant>,
}

impl Unread {
    /// When a node that is not configured here last spoke, or seemed to.
    pub(super) const fn stranger_at(self) -> Option<Instant> {
        self.stranger_at
    }

    /// For comparing states: nothing, while everybody can be read.
    pub(super) fn project(self, view: View, out: &mut impl Hasher) {
        let since = self.since.map(|at| view.ago(at));
        since.hash(out);
        if since.is_some() {
            let first = self.first_at.map(|at| view.ago(at));
            let stranger = self.stranger_at.map(|at| view.ago(at));
            (view.age(self.asked_at), view.age(self.answered_at)).hash(out);
            (first, stranger).hash(out);
        }
    }
}

impl Node {
    /// A frame in the name of `sender` did not verify.
    pub(super) fn not_verified(&mut self, sender: NodeId) {
        let now = self.now;
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.node == sender) else {
            return;
        };
        peer.unverified_at = Some(now);
        self.look_for_unread();
    }

    /// A frame of this cluster came from a node that is not configured here, or seems to.
    pub(super) fn stranger_spoke(&mut self) {
        self.unread.stranger_at = Some(self.now);
        self.look_for_unread();
    }

    /// Some peer may have become one of those, or is one still.
    pub(super) fn look_for_unread(&mut self) {
        let now = self.now;
        if !self.somebody_is_unread() {
            return;
        }
        let goes_on = self.unread.seen_at.is_some_and(|at| self.is_lately(at));
        if !goes_on {
            self.unread = Unread {
                first_at: self.unread.first_at.or(Some(now)),
                since: Some(now),
                stranger_at: self.unread.stranger_at,
                ..Unread::default()
            };
        }
        self.unread.seen_at = Some(now);
        let spacing = ASK_SPACING.min(self.config.timing.dead_interval / 8);
        let spaced = |at: Instant| now.since(at) >= spacing;
        let waits = matches!(
            self.role,
            EffectiveRole::Pacified | EffectiveRole::Standby | EffectiveRole::Starting
        );
        if waits && self.unread.asked_at.is_none_or(spaced) {
            self.unread.asked_at = Some(now);
            self.ask_for_owners();
        }
    }

    /// A station that is not this node answered for a virtual address.
    pub(super) fn owner_answered(&mut self) {
        self.unread.answered_at = Some(self.now);
    }

    /// One of those that cannot be read seems to hold the role, or nobody had time to answer yet.
    pub(super) fn unread_may_hold(&self) -> bool {
        // In the dark who owns is asked once an interval, and answers may be lost.
        let timing = &self.config.timing;
        let dark = timing.lease * u32::from(self.is_in_the_dark());
        let lately = |at: Instant| self.now.since(at) < timing.dead_interval + dark;
        let Unread {
            since, answered_at, ..
        } = self.unread;
        // Whoever comes and goes has no new grace each time: a forger needs no more than that. An
        // answer takes milliseconds; and a grace as long as a slot would end with another's slot.
        let new = self.unread_wait_ends().is_some_and(|end| self.now < end);
        let half = self.config.timing.dead_interval / 2;
        let grace = new && since.is_some_and(|at| self.now.since(at) < half);
        self.somebody_is_unread() && (answered_at.is_some_and(lately) || grace)
    }

    /// How many of those that cannot be read go before this node: by their ids alone, as they do
    /// not read it either; but one that answers nothing knows of no order, so it always does.
    pub(super) fn unread_ahead(&self) -> usize {
        let first = |peer: &&Peer| {
            let goes_first = peer.node < self.config.node || self.answers_nothing(peer);
            goes_first && self.unread(peer)
        };
        self.gateways().filter(first).count()
    }

    /// Until when those may still be in their initial wait, as long as they have been there.
    pub(super) fn unread_wait_ends(&self) -> Option<Instant> {
        let first = self.unread.first_at.filter(|_| self.somebody_is_unread())?;
        let wait = self.config.timing.initial_wait;
        Some(first.after(wait.max(self.config.timing.dead_interval)))
    }

    fn somebody_is_unread(&self) -> bool {
        let stranger = self.unread.stranger_at;
        stranger.is_some_and(|at| self.is_lately(at))
            || self.is_in_the_dark()
            || self.gateways().any(|it| self.unread(it))
    }

    fn unread(&self, peer: &Peer) -> bool {
        let unverified = || peer.unverified_at.is_some_and(|at| self.is_lately(at));
        peer.heard_at.is_none() && (unverified() || self.answers_nothing(peer))
    }

    /// Its frames verify, and none has ever answered this node. One that starts answers within a
    /// round trip.
    pub(super) fn answers_nothing(&self, peer: &Peer) -> bool {
        let lasts = |first: Instant| self.now.since(first) >= ASK_SPACING;
        let spoke = peer.unproven.filter(|_| peer.heard_at.is_none());
        spoke.is_some_and(|(first, last)| lasts(first) && self.is_lately(last))
    }

    fn is_lately(&self, at: Instant) -> bool {
        self.now.since(at) < self.config.timing.dead_interval
    }

    /// Asks everybody on the served segments, for one virtual address each.
    pub(super) fn ask_for_owners(&mut self) {
        let first = |port: &PortConfig| {
            let virtuals = || port.virtuals.iter().copied();
            virtuals()
                .find(IpAddr::is_ipv4)
                .or_else(|| virtuals().next())
        };
        let ports = self.config.ports.iter().enumerate();
        let asked: Vec<(usize, IpAddr)> = ports
            .filter(|(index, _)| self.ports[*index].up)
            .filter_map(|(index, port)| Some((index, first(port)?)))
            .collect();
        for (index, address) in asked {
            self.ask(index, MacAddr::BROADCAST, address);
        }
    }
}
