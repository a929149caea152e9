//! A node of this cluster that cannot be read: another secret, or an older key (R14.1).
//!
//! A frame that names a configured peer and does not verify proves nothing, and neither does an
//! answer for a virtual address from a station nobody knows. But both together, while this node
//! starts and has never heard that peer, is what a pair with two secrets looks like, and a claim
//! would make two owners that last until a person comes. So this node asks who has the virtual
//! address, and leaves the role while frames and answers go on. Two such nodes that start together
//! go one after the other, by node id. The limit: whoever forges both keeps a node from its first
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

/// Between two questions.
const ASK_SPACING: Duration = Duration::from_millis(100);

/// What is known of those that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Unread {
    /// Since when they are there.
    since: Option<Instant>,
    asked_at: Option<Instant>,
    /// When somebody last answered for a virtual address.
    answered_at: Option<Instant>,
}

impl Unread {
    /// For comparing states: nothing, while everybody can be read.
    pub(super) fn project(self, view: View, out: &mut impl Hasher) {
        let since = self.since.map(|at| view.ago(at));
        since.hash(out);
        if since.is_some() {
            (view.age(self.asked_at), view.age(self.answered_at)).hash(out);
        }
    }
}

impl Node {
    /// A frame in the name of `sender` did not verify.
    pub(super) fn not_verified(&mut self, sender: NodeId) {
        let now = self.now;
        let before = self.somebody_is_unread();
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.node == sender) else {
            return;
        };
        peer.unverified_at = Some(now);
        if !self.somebody_is_unread() {
            return;
        }
        if !before {
            self.unread = Unread {
                since: Some(now),
                ..Unread::default()
            };
        }
        let spaced = |at: Instant| now.since(at) >= ASK_SPACING;
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
        let lately = |at: Instant| self.now.since(at) < self.config.timing.dead_interval;
        let Unread {
            since, answered_at, ..
        } = self.unread;
        self.somebody_is_unread() && (answered_at.is_some_and(lately) || since.is_some_and(lately))
    }

    /// How many of those that cannot be read go before this node, by their ids alone.
    pub(super) fn unread_ahead(&self) -> usize {
        let first = |peer: &&Peer| peer.node < self.config.node && self.unread(peer);
        self.peers.iter().filter(first).count()
    }

    /// Until when those may still be in their initial wait, as long as they have been there.
    pub(super) fn unread_wait_ends(&self) -> Option<Instant> {
        let since = self.unread.since.filter(|_| self.somebody_is_unread())?;
        Some(since.after(self.config.timing.initial_wait))
    }

    fn somebody_is_unread(&self) -> bool {
        self.peers.iter().any(|peer| self.unread(peer))
    }

    fn unread(&self, peer: &Peer) -> bool {
        let lately = |at: Instant| self.now.since(at) < self.config.timing.dead_interval;
        peer.heard_at.is_none() && peer.unverified_at.is_some_and(lately)
    }

    /// Asks everybody on the served segments, for one virtual address each.
    fn ask_for_owners(&mut self) {
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
