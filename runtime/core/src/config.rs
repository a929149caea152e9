//! What an operator decides about a node, checked once: a [`Config`] is valid by construction.
//!
//! Text formats live elsewhere; this is the typed form they are parsed into. All durations are
//! plain [`Duration`]s, all rules between fields are checked together and reported all at once.
//! Where a configuration can start from, beside the defaults: the product profiles in [`profile`].

pub mod check;
pub mod profile;
mod sound;
pub mod witness;

use core::net::{IpAddr, Ipv4Addr};
use core::ops::Deref;
use core::time::Duration;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::check::{CHECKS_MAX, STREAK_MAX, WEIGHT_MAX};
use crate::role::ConfiguredRole;
use crate::wire::advert::{NODES_MAX, PORTS_MAX};
use crate::wire::auth::KeyRing;
use crate::wire::carriage::Carriage;
use crate::{ClusterId, MacAddr, NodeId, PortId};

/// A checked configuration; clones share it.
#[derive(Clone, Debug)]
pub struct Config(Arc<Parts>);

/// The fields of a configuration, before they are checked.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The cluster this node belongs to.
    pub cluster: ClusterId,
    /// Virtual router number, 1 to 255 (R5.4).
    pub virtual_router: u8,
    /// This node.
    pub node: NodeId,
    /// The other nodes, at most 31.
    pub peers: Vec<PeerConfig>,
    /// The ports, at most 16.
    pub ports: Vec<PortConfig>,
    /// Checks of the node's own health, at most 32 (R4.2).
    pub checks: Vec<check::CheckConfig>,
    /// Times and windows.
    pub timing: Timing,
    /// Choices.
    pub policy: Policy,
    /// Who grants claims, if anybody does (D14).
    pub witness: Option<witness::Witness>,
    /// What advertisements may travel in (D4, R2.5).
    pub carriage: Carriage,
    /// Keys of the cluster.
    pub keys: KeyRing,
    /// Digests that peers compare; a mismatch is shown, never a reason to be dead (D1).
    pub digests: Digests,
}

/// Another node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its id.
    pub node: NodeId,
    /// Its own (unit) addresses: what the ask of D8 and the reception probe of D12 ask for.
    pub units: Vec<(PortId, IpAddr)>,
}

/// What becomes of a port's virtual addresses while this node is active (R5.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortAction {
    /// They are put beside the port's own. What the machine itself begins still leaves in its own
    /// name.
    #[default]
    Add,
    /// The same, and what the machine itself begins through this port leaves in the name of the
    /// first virtual address of the subnet.
    Set,
}

/// A port of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Its number, the same on every node.
    pub id: PortId,
    /// The interface's name.
    pub name: String,
    /// Its hardware address.
    pub mac: MacAddr,
    /// A direct cable to a peer: its carrier is evidence about the peer (D7).
    pub direct: bool,
    /// Advertisements are sent and heard here (D4).
    pub heartbeat: bool,
    /// No path to count on: where no other is left, that is told (R2.2). Nothing else differs.
    pub secondary: bool,
    /// Its loss lowers the health class (R4.1).
    pub watched: bool,
    /// This node's own addresses, with prefix lengths.
    pub units: Vec<(IpAddr, u8)>,
    /// Virtual addresses; a port that has any is a served port.
    pub virtuals: Vec<IpAddr>,
    /// The station at which the virtual addresses are, whoever owns them (R5.5); without one they
    /// are at the owner's own.
    pub virtual_mac: Option<MacAddr>,
    /// What becomes of them while this node is active.
    pub action: PortAction,
    /// A neighbour that should answer, asked when the segment is silent (D12).
    pub neighbour: Option<IpAddr>,
    /// The router through which peers are reached whose address here lies in none of the port's
    /// subnets (R2.5).
    pub via: Option<Ipv4Addr>,
}

impl PortConfig {
    /// Whether virtual addresses live here.
    pub fn served(&self) -> bool {
        !self.virtuals.is_empty()
    }

    /// In whose name the machine itself begins what leaves here while it is active: each own
    /// address, and the first virtual one of its subnet. Empty unless the action is
    /// [`PortAction::Set`].
    pub fn names(&self) -> Vec<(IpAddr, IpAddr)> {
        let first = |(unit, prefix): &(IpAddr, u8)| {
            let mut virtuals = self.virtuals.iter();
            let name = virtuals.find(|ip| sound::same_subnet(*unit, *prefix, **ip));
            name.map(|name| (*unit, *name))
        };
        let sets = self.action == PortAction::Set;
        self.units
            .iter()
            .filter(|_| sets)
            .filter_map(first)
            .collect()
    }

    /// The station at which this node's virtual addresses are while it owns them.
    pub fn owners_mac(&self) -> MacAddr {
        self.virtual_mac.unwrap_or(self.mac)
    }

    /// Whether an address is reached through the port's router. While the port has no IPv4 address
    /// of its own nothing is.
    pub fn is_beyond(&self, address: Ipv4Addr) -> bool {
        let mut subnets = self
            .units
            .iter()
            .filter(|(unit, _)| unit.is_ipv4())
            .peekable();
        self.via.is_some()
            && subnets.peek().is_some()
            && !subnets.any(|(unit, prefix)| sound::same_subnet(*unit, *prefix, address.into()))
    }
}

/// Times and windows. The defaults are the house's (design, Defaults).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Between two advertisements; 3.3 ms to 60 s (R2.1).
    pub interval: Duration,
    /// How late an advertisement may be, at most, before the peer is suspect: as long as words come
    /// on time it is less (D7).
    pub slack: Duration,
    /// Confirm window after a direct cable lost its carrier (D7).
    pub w_carrier: Duration,
    /// Confirm window after an advertisement was overdue (D7).
    pub w_silence: Duration,
    /// Silence after which a path, and a peer without better evidence, is dead.
    pub dead_interval: Duration,
    /// Length L of the kernel lease (D9).
    pub lease: Duration,
    /// V: how long an offer, and the readiness it answers, is good for (D10).
    pub offer: Duration,
    /// How long the old active forwards after a hand-over (D10).
    pub tail: Duration,
    /// Longest round trip between daemons that are well (D10).
    pub rtt_bound: Duration,
    /// Between two rounds of a confirm burst.
    pub round: Duration,
    /// Wait after boot and link-up before a claim without hearing every peer (R12.2): 0, or 10 s to
    /// 180 s.
    pub initial_wait: Duration,
    /// Wait after a role change before a voluntary one.
    pub hold_down: Duration,
    /// How long a preferred node waits before it asks for its role (R3.2).
    pub preempt_delay: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            interval: ms(100),
            slack: ms(5),
            w_carrier: ms(4),
            w_silence: ms(20),
            dead_interval: ms(300),
            lease: ms(300),
            offer: ms(30),
            tail: ms(30),
            rtt_bound: ms(5),
            round: ms(1),
            initial_wait: ms(10_000),
            hold_down: ms(10_000),
            preempt_delay: ms(10_000),
        }
    }
}

/// Who may take the role from a working active (R3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preempt {
    /// Nobody: whoever serves goes on serving.
    #[default]
    Never,
    /// The preferred node.
    Prefer,
    /// The node with the higher effective priority.
    Priority,
}

/// What a node does once what failed on it works again (R3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Take the configured role again.
    Configured,
    /// Stay out of service until an operator acts.
    Off,
    /// Stand by.
    #[default]
    Standby,
}

/// What an isolated node does: no peer, and no other station on any served segment (D14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Serve.
    #[default]
    Serve,
    /// Give the role up.
    Yield,
}

/// How a dead peer is found out (R2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detection {
    /// By the dead interval alone, as the five products document it.
    DeadInterval,
    /// By suspicion and confirmation (D7, D8).
    #[default]
    Fast,
}

/// What happens when the boot guard would bar every node (R12.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllPacified {
    /// Nobody serves.
    Never,
    /// The best ranked serves, loudly.
    #[default]
    Serve,
}

/// Choices of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What this node is meant to be.
    pub configured: ConfiguredRole,
    /// 1 to 254; higher is better.
    pub priority: u8,
    /// This node is the preferred one.
    pub preferred: bool,
    /// Who may take the role from a working active.
    pub preempt: Preempt,
    /// What follows a failure of this node.
    pub on_failure: OnFailure,
    /// What an isolated node does.
    pub isolation: Isolation,
    /// How a dead peer is found out.
    pub detection: Detection,
    /// What happens when every node is pacified.
    pub all_pacified: AllPacified,
    /// More unclean boots than this within the window pacify.
    pub boot_limit: u32,
    /// More restarts of the daemon than this within the window, each after a life that did not
    /// end in order, pacify; 1 to 15.
    #[serde(default = "restart_limit")]
    pub restart_limit: u32,
    /// Sum of uptimes below which unclean boots are a loop (D16).
    pub boot_window: Duration,
    /// After more moves of the role than this within the window it stays where it can serve; 0 sets
    /// no limit, 100 is the most (F33).
    #[serde(default = "flap_limit")]
    pub flap_limit: u32,
    /// How long a move counts.
    #[serde(default = "flap_window")]
    pub flap_window: Duration,
}

/// No limit to moves of the role is higher than this.
pub const FLAP_LIMIT_MAX: u32 = 100;

/// A supervisor starts a daemon again within a second: what has died so often will again.
const fn restart_limit() -> u32 {
    5
}

/// Three times there and back.
const fn flap_limit() -> u32 {
    6
}

const fn flap_window() -> Duration {
    Duration::from_secs(900)
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            configured: ConfiguredRole::Any,
            priority: 100,
            preferred: false,
            preempt: Preempt::Never,
            on_failure: OnFailure::Standby,
            isolation: Isolation::Serve,
            detection: Detection::Fast,
            all_pacified: AllPacified::Serve,
            boot_limit: 3,
            restart_limit: restart_limit(),
            boot_window: Duration::from_secs(300),
            flap_limit: flap_limit(),
            flap_window: flap_window(),
        }
    }
}

/// What peers compare (R1.4, R7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// Shared configuration.
    pub config: u64,
    /// Identity facts.
    pub facts: u64,
    /// Interface names and numbers.
    pub interfaces: u64,
    /// Software version: major, minor, patch in 8, 8 and 16 bits.
    pub version: u32,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The advertisement interval is out of range.
    #[error("interval is {0:?}; it must lie between 3.3 ms and 60 s")]
    Interval(Duration),
    /// The dead interval is too short to ever hear an advertisement.
    #[error("dead_interval is {0:?}; it must be longer than interval + slack = {1:?}")]
    DeadInterval(Duration, Duration),
    /// The lease would lapse between two advertisements (D9).
    #[error("lease is {0:?}; it must be at least interval + slack + 8 ms = {1:?}")]
    Lease(Duration, Duration),
    /// The initial wait is out of range (R12.2).
    #[error("initial_wait is {0:?}; it must be 0 or between 10 s and 180 s")]
    InitialWait(Duration),
    /// A window is zero, or longer than the dead interval.
    #[error("{0} is {1:?}; it must be longer than 0 and at most the dead interval, {2:?}")]
    Window(&'static str, Duration, Duration),
    /// The keys belong to another node or cluster.
    #[error("the keys are those of another node or cluster; load this node's own key file")]
    ForeignKeys,
    /// A virtual address is listed twice.
    #[error("virtual address {1} is listed twice, the second time on port {0:?}")]
    VirtualTwice(String, IpAddr),
    /// The virtual router number is 0.
    #[error("virtual_router is 0; it must lie between 1 and 255")]
    VirtualRouter,
    /// The priority is out of range.
    #[error("priority is {0}; it must lie between 1 and 254")]
    Priority(u8),
    /// A node id is out of range or used twice.
    #[error("node id {0} is used twice or out of range; ids are 1 to 254, each once")]
    NodeIds(NodeId),
    /// Too many nodes.
    #[error("{0} nodes; at most {NODES_MAX} are allowed")]
    Nodes(usize),
    /// Port ids or names are not unique, or too many.
    #[error("port {0:?} is listed twice, numbered beyond {PORTS_MAX}, or shares its number")]
    Ports(String),
    /// Check names or numbers are not unique, or too many.
    #[error("check {0:?} has no name, is listed twice, or is one of more than {CHECKS_MAX}")]
    Checks(String),
    /// A check's numbers are out of range.
    #[error(
        "check {0:?}: rise and fall must lie between 1 and {STREAK_MAX}, weight between 1 and \
         {WEIGHT_MAX}"
    )]
    CheckNumbers(String),
    /// No port carries heartbeats.
    #[error("no port carries heartbeats; leave it on for one at least")]
    NoHeartbeat,
    /// No form is left for advertisements (D4).
    #[error("no transport is listed; list at least one, \"ethernet\" is the usual one")]
    NoForm,
    /// A peer that no datagram can be sent to, where nothing else may be used.
    #[error("transport \"unicast\" alone, and node {0} has no IPv4 address listed; list it")]
    Unaddressed(NodeId),
    /// A router that is not on the port's segment (R2.5).
    #[error("the router {1} of port {0:?} lies in none of the port's subnets")]
    RouterOutside(String, Ipv4Addr),
    /// A router, and no datagrams that it could pass on (R2.5).
    #[error("port {0:?} has a router, and heartbeats travel in nothing that a router passes on")]
    RouterIdle(String),
    /// UDP port 0.
    #[error("the UDP port of heartbeats is 0; it must lie between 1 and 65535")]
    UdpPort,
    /// No port has virtual addresses.
    #[error("no port has a virtual address; give at least one port a virtual address")]
    NothingServed,
    /// A direct cable must not serve addresses (R2.4).
    #[error("port {0:?} is a direct cable and has virtual addresses; move them to a served port")]
    DirectServed(String),
    /// A virtual address lies outside every subnet of its port (R5.2).
    #[error("virtual address {1} on port {0:?} lies in none of the port's subnets")]
    OutsideSubnet(String, IpAddr),
    /// The witness is nobody this node knows (D14).
    #[error("the witness, node {0}, is no peer; list it among the peers")]
    WitnessUnknown(NodeId),
    /// The witness is meant to serve (D14).
    #[error("this node is the witness; it must be off and have no virtual address")]
    WitnessServes,
    /// A grant would end before it could be renewed (D14).
    #[error("the witness's term is {0:?}; it must lie between {1:?} and 60 s")]
    WitnessTerm(Duration, Duration),
    /// A virtual MAC that is no station's, a port's own, or has nothing to serve (R5.5).
    #[error(
        "the virtual MAC of port {0:?}, {1}, must be one station's, no port's own, and have a \
         virtual address"
    )]
    VirtualMac(String, MacAddr),
    /// A virtual address equals a node's own address (R5.2).
    #[error(
        "virtual address {1} on port {0:?} is a node's own address; three addresses are needed"
    )]
    VirtualIsUnit(String, IpAddr),
}

impl Config {
    /// Checks everything and says everything that is wrong.
    ///
    /// # Errors
    /// Every rule that does not hold, in the order of the fields.
    pub fn new(parts: Parts) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        sound::check_timing(&parts.timing, &mut errors);
        sound::check_nodes(&parts, &mut errors);
        sound::check_ports(&parts, &mut errors);
        check::check_checks(&parts, &mut errors);
        witness::check_witness(&parts, &mut errors);
        if errors.is_empty() {
            Ok(Self(Arc::new(parts)))
        } else {
            Err(errors)
        }
    }

    /// Whether this node grants claims, and never serves (D14).
    pub fn is_witness(&self) -> bool {
        witness::is_witness(&self.0)
    }

    /// The place of a port in `ports`.
    pub fn port_index(&self, id: PortId) -> Option<usize> {
        self.ports.iter().position(|port| port.id == id)
    }
}

impl Deref for Config {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

#[cfg(test)]
mod tests;
