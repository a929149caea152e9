//! A learning bridge: takes a frame on one port and says which ports it leaves by.
//!
//! It learns where stations are, forgets a port's stations when the port goes down, and floods
//! what it does not know. Each habit of real switches that breaks a failover can be turned on: the
//! spanning tree's forward delay, a MAC filter, an ignored move of a station, multicast snooping,
//! a dropped EtherType, a split.
//!
//! The hard case is a takeover without a port going down: the switch then believes the old port
//! until the new owner's announcement passes. With moves ignored it believes it until ageing.
//!
//! Limit: one VLAN; a split stands for two switches whose trunk is cut, and both the cut and its
//! repair flush what was learned, as losing and gaining the trunk does.

mod fdb;
mod snooping;
#[cfg(test)]
mod tests;

use core::time::Duration;

use steadfast_core::wire::ethernet;
use steadfast_core::{Instant, MacAddr};

pub use fdb::FDB_MAX;
use fdb::{Fdb, Learned};
pub use snooping::{MEMBERS_MAX, QUERY_RESPONSE};

use super::Uncompared;

/// How long a silent station is remembered (IEEE 802.1D's default).
pub const AGEING: Duration = Duration::from_secs(300);

/// Most EtherTypes a switch can be told to drop; a further one is refused.
pub const DROPPED_ETHERTYPES_MAX: usize = 8;

/// A switch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Switch {
    ports: Vec<Port>,
    fdb: Fdb,
    members: Vec<(MacAddr, usize)>,
    dropped_ethertypes: Vec<u16>,
    forward_delay: Duration,
    powered: bool,
    /// Since then groups are restricted.
    snooping: Option<Instant>,
    counters: Uncompared<SwitchCounters>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Port {
    up: bool,
    forwards_from: Instant,
    allowed_source: Option<MacAddr>,
    partition: u8,
}

/// What a switch did not forward or learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchCounters {
    /// Frames that came in on a port that is down, blocked by the spanning tree, or unknown.
    pub blocked_count: u64,
    /// Frames of a dropped EtherType.
    pub ethertype_count: u64,
    /// Sources not learned because the forwarding database was full.
    pub fdb_full_count: u64,
    /// Moves of a station that were ignored.
    pub ignored_move_count: u64,
    /// Frames too short for a header.
    pub malformed_count: u64,
    /// Memberships not noted because the list was full.
    pub members_full_count: u64,
    /// Frames to a group without members.
    pub snooped_count: u64,
    /// Frames whose source is not the port's allowed address.
    pub source_filtered_count: u64,
}

impl Switch {
    /// A switch whose ports are all up and forward at once.
    pub fn new(port_count: usize) -> Self {
        let port = Port {
            up: true,
            forwards_from: Instant::ORIGIN,
            allowed_source: None,
            partition: 0,
        };
        Self {
            ports: vec![port; port_count],
            fdb: Fdb::new(AGEING),
            members: Vec::new(),
            dropped_ethertypes: Vec::new(),
            forward_delay: Duration::ZERO,
            powered: true,
            snooping: None,
            counters: Uncompared::default(),
        }
    }

    /// Takes a frame that came in on `port` and appends the ports it leaves by to `out`, in
    /// ascending order and without `port`.
    pub fn receive(&mut self, now: Instant, port: usize, frame: &[u8], out: &mut Vec<usize>) {
        let Some(frame) = ethernet::Frame::parse(frame) else {
            self.counters.0.malformed_count += 1;
            return;
        };
        if !self.admits(now, port, &frame) {
            return;
        }
        let partition = self.ports[port].partition;
        self.learn(now, partition, port, &frame);
        if frame.destination.is_group() {
            self.flood_group(now, port, frame.destination, out);
            return;
        }
        match self.fdb.port_of(now, partition, frame.destination) {
            Some(known) if known == port => {}
            Some(known) if self.forwards(now, known) => out.push(known),
            Some(_) | None => self.flood(now, port, out, |_| true),
        }
    }

    /// Carrier of a port: losing it flushes what was learned there, gaining it starts the
    /// spanning tree's forward delay.
    pub fn set_port(&mut self, now: Instant, port: usize, up: bool) {
        let from = now.after(self.forward_delay);
        let Some(state) = self.ports.get_mut(port) else {
            return;
        };
        if up && !state.up {
            state.forwards_from = from;
        }
        if !up {
            self.fdb.flush_port(port);
            self.members.retain(|(_, member)| *member != port);
        }
        state.up = up;
    }

    /// Power: without it nothing passes; with it again the switch has forgotten everything and
    /// every port starts its forward delay. The carrier of attached nodes is the world's to cut.
    pub fn set_powered(&mut self, now: Instant, on: bool) {
        if on && !self.powered {
            let from = now.after(self.forward_delay);
            for port in &mut self.ports {
                port.forwards_from = from;
            }
        }
        self.powered = on;
        self.fdb.flush();
        self.members.clear();
    }

    /// How long a port that came up neither learns nor forwards; 0 by default.
    pub fn set_forward_delay(&mut self, delay: Duration) {
        self.forward_delay = delay;
    }

    /// How long a silent station is remembered; [`AGEING`] by default.
    pub fn set_ageing(&mut self, ageing: Duration) {
        self.fdb.ageing = ageing;
    }

    /// Whether the first port a station was heard on wins until it ages or goes down.
    pub fn ignore_mac_moves(&mut self, on: bool) {
        self.fdb.ignore_moves = on;
    }

    /// The only source address a port may send from; `None` allows all.
    pub fn restrict_source(&mut self, port: usize, allowed: Option<MacAddr>) {
        if let Some(port) = self.ports.get_mut(port) {
            port.allowed_source = allowed;
        }
    }

    /// Whether IP multicast reaches only ports whose stations reported membership. A switch that
    /// begins asks for members, and floods for [`QUERY_RESPONSE`] until all have answered.
    pub fn set_snooping(&mut self, now: Instant, on: bool) {
        let known = self.snooping.filter(|_| on);
        self.snooping = known.or_else(|| on.then(|| now.after(QUERY_RESPONSE)));
    }

    /// Notes a member of a multicast group, as a membership report would.
    pub fn join(&mut self, port: usize, group: MacAddr) {
        if self.members.contains(&(group, port)) {
            return;
        }
        if self.members.len() >= MEMBERS_MAX {
            self.counters.0.members_full_count += 1;
            return;
        }
        self.members.push((group, port));
    }

    /// Drops every frame of an EtherType, or carries it again; `false` when
    /// [`DROPPED_ETHERTYPES_MAX`] are dropped already.
    #[must_use]
    pub fn set_ethertype_dropped(&mut self, ethertype: u16, dropped: bool) -> bool {
        self.dropped_ethertypes.retain(|known| *known != ethertype);
        let fits = self.dropped_ethertypes.len() < DROPPED_ETHERTYPES_MAX;
        if dropped && fits {
            self.dropped_ethertypes.push(ethertype);
        }
        fits || !dropped
    }

    /// Cuts the segment: port n goes to the partition `partitions[n]`, ports not named to 0, and
    /// nothing passes between partitions. What was learned is flushed.
    pub fn split(&mut self, partitions: &[u8]) {
        for (at, port) in self.ports.iter_mut().enumerate() {
            port.partition = partitions.get(at).copied().unwrap_or(0);
        }
        self.fdb.flush();
    }

    /// Joins all partitions again.
    pub fn heal(&mut self) {
        self.split(&[]);
    }

    /// Where frames from `port` to a station would go, if the switch knows it.
    pub fn port_of(&self, now: Instant, port: usize, station: MacAddr) -> Option<usize> {
        let partition = self.ports.get(port)?.partition;
        self.fdb.port_of(now, partition, station)
    }

    /// Whether a frame can pass between two ports now.
    pub fn connects(&self, now: Instant, a: usize, b: usize) -> bool {
        self.forwards(now, a)
            && self.forwards(now, b)
            && self.ports[a].partition == self.ports[b].partition
    }

    /// What was not forwarded or learned.
    pub const fn counters(&self) -> SwitchCounters {
        self.counters.0
    }

    fn admits(&mut self, now: Instant, port: usize, frame: &ethernet::Frame<'_>) -> bool {
        if !self.forwards(now, port) {
            self.counters.0.blocked_count += 1;
            return false;
        }
        let allowed = self.ports[port].allowed_source;
        if allowed.is_some_and(|allowed| allowed != frame.source) {
            self.counters.0.source_filtered_count += 1;
            return false;
        }
        if self.dropped_ethertypes.contains(&frame.ethertype) {
            self.counters.0.ethertype_count += 1;
            return false;
        }
        true
    }

    fn learn(&mut self, now: Instant, partition: u8, port: usize, frame: &ethernet::Frame<'_>) {
        if !frame.source.is_group() {
            match self.fdb.learn(now, partition, frame.source, port) {
                Learned::Full => self.counters.0.fdb_full_count += 1,
                Learned::Moved => self.counters.0.ignored_move_count += 1,
                Learned::Yes => {}
            }
        }
        if self.snooping.is_some() {
            snooping::reported_groups(frame, |group| self.join(port, group));
        }
    }

    fn flood_group(&mut self, now: Instant, port: usize, group: MacAddr, out: &mut Vec<usize>) {
        let restricts = self.snooping.is_some_and(|from| now >= from);
        if !restricts || !snooping::is_restricted(group) {
            self.flood(now, port, out, |_| true);
            return;
        }
        let before = out.len();
        self.flood(now, port, out, |to| self.members.contains(&(group, to)));
        if out.len() == before {
            self.counters.0.snooped_count += 1;
        }
    }

    fn flood(
        &self,
        now: Instant,
        from: usize,
        out: &mut Vec<usize>,
        wanted: impl Fn(usize) -> bool,
    ) {
        let ports = 0..self.ports.len();
        out.extend(ports.filter(|to| *to != from && self.connects(now, from, *to) && wanted(*to)));
    }

    fn forwards(&self, now: Instant, port: usize) -> bool {
        self.powered
            && self
                .ports
                .get(port)
                .is_some_and(|port| port.up && now >= port.forwards_from)
    }
}
