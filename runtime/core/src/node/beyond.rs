//! Peers beyond a router (R2.5): a witness on another site, a second path over a routed network.
//!
//! A peer is beyond the router of a port when its address there lies in none of the port's subnets.
//! Only datagrams to it alone get there, and they are sent to the router's station, which this node
//! asks for itself: whatever the host's routes say, a heartbeat leaves by its own port.
//!
//! ```text
//!   gateway ── datagram to the peer's address, hop limit 255 ──► router's station ──► … ──► peer
//!   gateway ◄── hop limit 254 or less, from a router's station, whichever ──────────────── peer
//! ```
//!
//! What leaves still has the hop limit that the kernel's lease guard asks for (D9). What arrives
//! with less is heard of such peers alone: of all others a datagram from elsewhere is nobody's
//! (RFC 5082). No kernel beyond a router can be asked (D8): what is known of it is what its daemon
//! says.
//!
//! The hard cases are a node that has just started, which must answer before it knows the way:
//! until the router has answered it is where a peer's proven message came from; and a router that
//! is replaced: its station is asked for again and again, more often while a peer behind it is
//! silent. The limit: IPv4, and one router for each port.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use super::Node;
use crate::peer::Peer;
use crate::wire::advert::Kind;
use crate::{Instant, MacAddr, PortId};

/// A known station is asked for again after this.
const ASKED_AFTER: Duration = Duration::from_secs(10);
/// The same while a peer behind it is silent.
const SOUGHT_AFTER: Duration = Duration::from_secs(1);
/// The same while it did not answer yet, so many times.
const UNKNOWN_AFTER: Duration = Duration::from_millis(100);
const UNKNOWN_TIMES: u8 = 20;
/// So many questions in a row without an answer may have been lost.
const UNANSWERED_MAX: u8 = 2;

/// What is known of a port's router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Router {
    /// Where it is.
    pub(super) station: Option<MacAddr>,
    /// It has said so itself.
    answered: bool,
    /// How often it was asked for, as long as that matters.
    asked: u8,
    asked_at: Option<Instant>,
    /// How often it was asked for since it last answered.
    unanswered: u8,
}

impl Router {
    /// It has answered, and did not leave the last few questions open.
    const fn answers(self) -> bool {
        self.answered && self.unanswered <= UNANSWERED_MAX
    }
}

impl Node {
    /// Whether a peer is reached through the router of a port.
    pub(super) fn is_beyond(&self, index: usize, peer: &Peer) -> bool {
        let port = self.config.ports.get(index);
        let unit = self.unit_v4(index, peer);
        port.zip(unit)
            .is_some_and(|(port, unit)| port.is_beyond(unit))
    }

    /// Whether any peer is beyond the router of a port.
    pub(super) fn has_beyond(&self, index: usize) -> bool {
        self.peers.iter().any(|peer| self.is_beyond(index, peer))
    }

    /// Asks where the router of a port is, if it is time to.
    pub(super) fn seek_router(&mut self, index: usize) {
        let Some(via) = self.config.ports[index].via else {
            return;
        };
        if !self.has_beyond(index) {
            return;
        }
        let silent = |peer: &Peer| self.is_beyond(index, peer) && !self.hears_there(index, peer);
        let router = self.ports[index].router;
        let after = if !router.answered && router.asked < UNKNOWN_TIMES {
            UNKNOWN_AFTER
        } else if !router.answered || self.peers.iter().any(silent) {
            SOUGHT_AFTER
        } else {
            ASKED_AFTER
        };
        let due = |at: Instant| self.now.since(at) >= after;
        if router.asked_at.is_none_or(due) {
            let router = &mut self.ports[index].router;
            router.asked_at = Some(self.now);
            router.asked = router.asked.saturating_add(1);
            router.unanswered = router.unanswered.saturating_add(1);
            self.ask(index, MacAddr::BROADCAST, IpAddr::V4(via));
        }
    }

    /// Where a peer is beyond a port's router: whether that answers.
    pub(super) fn router_status(&self, port: PortId, peer: &Peer) -> Option<bool> {
        let index = self.config.port_index(port)?;
        self.is_beyond(index, peer)
            .then(|| self.ports[index].router.answers())
    }

    fn hears_there(&self, index: usize, peer: &Peer) -> bool {
        let (now, long) = (self.now, self.config.timing.dead_interval);
        let heard_at = peer.paths.get(index).and_then(|path| path.heard_at);
        heard_at.is_some_and(|at| now.since(at) < long)
    }

    /// A station answered for an address. Anybody can: as for every host of the segment, the last
    /// one to answer is the router.
    pub(super) fn note_router(&mut self, index: usize, station: MacAddr, address: Ipv4Addr) {
        if self.config.ports[index].via != Some(address) {
            return;
        }
        let router = &mut self.ports[index].router;
        router.answered = true;
        router.unanswered = 0;
        // What was said before could not leave.
        if router.station.replace(station).is_none() {
            self.broadcast(Kind::Advert);
        }
    }

    /// A proven message of a peer beyond the router came from this station: as long as nothing
    /// better is known, that is the way back.
    pub(super) fn note_way_back(&mut self, index: usize, station: MacAddr) {
        self.ports[index].router.station.get_or_insert(station);
    }
}
