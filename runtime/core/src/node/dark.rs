//! No heartbeat port has carrier, and a served one has: a cable alone carries heartbeats, and it is
//! dark. What is left are the kernels on the served segments, which cannot lie about a lease (D8).
//!
//! The active says its words into a port without carrier, which keeps its lease (D9), and asks with
//! each who else answers for its addresses: two that came to serve while nobody could tell them so
//! end it like that, and the one with the higher id lets go. A standby, or one that starts, leaves
//! the role to whoever answers. An active that loses a served port then lets its lease end, once: a
//! whole standby must see it end, for nobody can be asked to take the role.
//!
//! The limits: with a virtual MAC both answer from one station, and neither knows; a station that
//! forges a peer's answers keeps the role from a node in this state; of three on one segment two
//! may serve, if one alone is in this state.

use super::Node;
use super::forms::Way;
use crate::MacAddr;
use crate::role::EffectiveRole;
use crate::status::Cause;
use crate::wire::advert::{Advert, GROUP_MAC};
use crate::wire::carriage::{Form, Forms};

impl Node {
    /// Nobody can hear this node, nor tell it anything, but for the kernels on served segments.
    pub(super) fn is_in_the_dark(&self) -> bool {
        let mut ports = self.config.ports.iter().zip(&self.ports);
        self.some_served_port_up()
            && self.gateways().next().is_some()
            && ports.all(|(config, port)| !(config.heartbeat && port.up))
    }

    /// The same for an active, which lost no served port since it is that.
    pub(super) fn serves_unheard(&self) -> bool {
        let mut ports = self.config.ports.iter().zip(&self.ports);
        let kept = |port: &super::Port| port.up || port.since <= self.since;
        self.is_in_the_dark() && ports.all(|(config, port)| !config.served() || kept(port))
    }

    /// The same for one that lacks a served port: a whole node cannot tell it that it would rather
    /// serve, and has its time to.
    pub(super) fn is_sick_in_the_dark(&self) -> bool {
        let mut ports = self.config.ports.iter().zip(&self.ports);
        self.is_in_the_dark() && ports.any(|(config, port)| config.served() && !port.up)
    }

    /// A word that nobody will hear: the lease proves that this daemon runs, not that it is heard.
    pub(super) fn keep_lease(&mut self, advert: &mut Advert) {
        let Some(index) = self.config.ports.iter().position(|port| port.heartbeat) else {
            return;
        };
        let way = Way {
            to: GROUP_MAC,
            peer: None,
            back: false,
            forms: Forms::only(Form::Ethernet),
        };
        self.seal(advert, index, way);
        self.ask_for_owners();
    }

    /// A station on a served port answered for an address that this node serves in the dark.
    pub(super) fn meets_owner_in_the_dark(&mut self, index: usize, station: MacAddr) {
        let serves = self.role == EffectiveRole::Active && self.giving.is_none();
        if !serves || !self.is_in_the_dark() {
            return;
        }
        let id = self.config.ports[index].id;
        let rival = self.peers.iter().find(|peer| peer.mac(id) == Some(station));
        if let Some(peer) = rival
            .map(|peer| peer.node)
            .filter(|it| *it < self.config.node)
        {
            self.lose_role(Cause::RivalWon { peer });
        }
    }
}
