//! Topology: which machines there are and how they are wired, as data with presets.
//!
//! A file names a preset; [`Layout`] spells it out: gateways with ports, segments, hosts, and an
//! address for each, so that every world builds the same network. Switched segments are served (the
//! virtual addresses live there) and have one observer each; cables join the like-named ports of
//! two gateways and carry no address (R2.3). A segment may have a router: then some gateways' ports
//! are beyond it, each on a network of its own, and speak IPv4 there.
//!
//! How addresses are numbered says [`Family`]. MACs: `02:77:<s>:<kind>:00:<n>` on segment number
//! `s`, kind 0 gateway, 1 host, 2 observer, 3 router. Limit: at most [`VIRTUALS_MAX`] virtual
//! addresses on a segment and [`HOSTS_MAX`] hosts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::{MacAddr, NodeId, PortId};

mod preset;
mod ranks;

pub use preset::{GATEWAY_NAMES, Preset};

use super::Span;
use super::family::{self, Family, Version, of_version, router_address};
use crate::ids::{HostId, SegmentId};
use crate::link::Source;

/// Most virtual addresses on one segment, of both versions together; a file with more is refused.
pub const VIRTUALS_MAX: u16 = 4096;
/// Most hosts of a scenario; a file with more is refused.
pub const HOSTS_MAX: usize = 64;

/// The number of the gateways' virtual router.
pub const VIRTUAL_ROUTER: u8 = 51;
/// What stands in the address of a machine of each kind ([`Version::address`]).
const GATEWAY: u8 = 250;
const HOST: u8 = 251;
const OBSERVER: u8 = 252;
const ROUTER: u8 = 253;

/// What becomes of a port's virtual addresses while its gateway is active (R5.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// They are put beside its own.
    #[default]
    Add,
    /// The same, and what the gateway itself begins leaves in their name.
    Set,
}

impl Action {
    const fn is_add(&self) -> bool {
        matches!(self, Self::Add)
    }
}

/// The topology as a file gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Topology {
    /// The network to start from.
    pub preset: Preset,
    /// How many gateways a `group` has, 2 to 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u8>,
    /// Which versions of IP everybody speaks.
    pub family: Family,
    /// Virtual addresses on each served segment and of each version, 1 to [`VIRTUALS_MAX`].
    pub virtual_addresses: u16,
    /// Whether each gateway runs a program that says on served segments that it is a router
    /// (RFC 4861): from a link-local address that moves with the role while that is there, else
    /// from its own. Hosts then know no other IPv6 gateway than the ones they hear of.
    pub router_adverts: bool,
    /// Whether the active uses a virtual MAC (R5.5) and not its own.
    pub virtual_mac: bool,
    /// What becomes of virtual addresses on served segments while a gateway is active (R5.3).
    #[serde(skip_serializing_if = "Action::is_add")]
    pub action: Action,
    /// Further hosts, as `name@segment`.
    pub hosts: Vec<String>,
    /// Time from port up to forwarding, by switched segment; 0 when absent.
    pub stp_delay: BTreeMap<String, Span>,
    /// Segments whose heartbeats nobody counts on: `heartbeat = "secondary"` (R2.2).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secondary: Vec<String>,
    /// Switched segments that no heartbeat passes: `heartbeat = "off"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_heartbeats: Vec<String>,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            preset: Preset::Pair,
            nodes: None,
            family: Family::Ipv4,
            virtual_addresses: 1,
            router_adverts: false,
            virtual_mac: false,
            action: Action::Add,
            hosts: Vec::new(),
            stp_delay: BTreeMap::new(),
            secondary: Vec::new(),
            no_heartbeats: Vec::new(),
        }
    }
}

/// The network spelt out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// In order of node id.
    pub gateways: Vec<Gateway>,
    /// Switches first, then cables; `SegmentId` is the index.
    pub segments: Vec<Segment>,
    /// `client`, `server`, then the file's own; `HostId` is the index.
    pub hosts: Vec<Host>,
    /// Which versions of IP everybody speaks.
    pub family: Family,
}

/// A machine that runs the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// `a`, `b`, …
    pub name: String,
    /// 1 for `a`, 2 for `b`, …
    pub id: NodeId,
    /// One for each segment it is on; `PortId` equals the segment's number.
    pub ports: Vec<Port>,
    /// It grants claims and never serves (D14).
    pub witness: bool,
}

/// A gateway's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The name of its segment.
    pub name: String,
    /// Like-named ports carry the same number on every node.
    pub id: PortId,
    /// What it is plugged into.
    pub segment: SegmentId,
    /// Its own MAC.
    pub mac: MacAddr,
    /// Its own (unit) addresses, one of each version; a cable's port has none.
    pub units: Vec<IpAddr>,
    /// The segment's router, as this port reaches it.
    pub router: Option<Ipv4Addr>,
    /// It is beyond that router, on a network of its own.
    pub beyond: bool,
}

/// What a segment is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// A wire between two gateways: carrier is lost on both ends at once.
    Cable,
    /// A router alone: every port is beyond it.
    Router,
    /// A switch: one end's carrier says nothing about the others'.
    Switch,
}

/// A broadcast domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `lan`, `wan`, `ha`, `ha2`, `mgmt`.
    pub name: String,
    /// Its number.
    pub id: SegmentId,
    /// Switches are served, the others are not.
    pub kind: SegmentKind,
    /// Time from port up to forwarding.
    pub stp_delay: Span,
    /// The virtual addresses, those of IPv4 first; an event's `address` is the index.
    pub virtuals: Vec<IpAddr>,
    /// The link-local one of the virtual addresses, which the last is where routers are told of.
    pub router: Option<Ipv6Addr>,
    /// The station of the virtual addresses, whoever owns them; none if it is the owner's own.
    pub virtual_mac: Option<MacAddr>,
    /// The observer's addresses, one of each version; none on a cable.
    pub observers: Vec<IpAddr>,
    /// It has a router with ports beyond it.
    pub routed: bool,
    /// Nobody counts on its heartbeats.
    pub secondary: bool,
    /// Heartbeats pass.
    pub heartbeats: bool,
}

/// Whether a witness is beyond the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beyond(bool);

impl Segment {
    /// Whether virtual addresses live here.
    pub const fn served(&self) -> bool {
        matches!(self.kind, SegmentKind::Switch)
    }

    /// The first virtual address of this version.
    pub fn first_virtual(&self, version: Version) -> Option<IpAddr> {
        of_version(&self.virtuals, version)
    }

    /// The gateway of this version that hosts have from the start.
    pub fn host_gateway(&self, version: Version) -> Option<IpAddr> {
        let told = self.router.is_some() && version == Version::Ipv6;
        self.first_virtual(version).filter(|_| !told)
    }

    /// The observer's MAC here.
    pub const fn observer_mac(&self) -> MacAddr {
        mac(self.id, 2, 1)
    }

    /// The router's MAC on the switch.
    pub const fn router_mac(&self) -> MacAddr {
        mac(self.id, 3, 0)
    }
}

/// A machine that runs no daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Unique among hosts.
    pub name: String,
    /// Its number.
    pub id: HostId,
    /// Where it is.
    pub segment: SegmentId,
    /// Its addresses, one of each version; its default gateways are the segment's first virtual
    /// addresses.
    pub addresses: Vec<IpAddr>,
    /// Its MAC.
    pub mac: MacAddr,
}

impl Host {
    /// Its address of this version.
    pub fn address(&self, version: Version) -> Option<IpAddr> {
        of_version(&self.addresses, version)
    }
}

impl Port {
    /// Its own address of this version.
    pub fn unit(&self, version: Version) -> Option<IpAddr> {
        of_version(&self.units, version)
    }

    /// The MAC of the router's port that this port, if it is beyond it, is plugged into.
    pub const fn router_mac(&self) -> MacAddr {
        mac(self.segment, 3, self.mac.0[5])
    }
}

impl Layout {
    /// Spells a topology out, or says what is wrong with it.
    pub fn new(topology: &Topology) -> Result<Self, String> {
        let most = VIRTUALS_MAX / u16::try_from(topology.family.versions().len()).unwrap_or(1);
        if topology.virtual_addresses == 0 || topology.virtual_addresses > most {
            return Err(format!("`virtual_addresses` must be 1 to {most}"));
        }
        if topology.router_adverts && !topology.family.has(Version::Ipv6) {
            return Err("`router_adverts` needs a `family` with IPv6".to_owned());
        }
        if topology.router_adverts && topology.virtual_mac {
            let why = "`router_adverts` and `virtual_mac` exclude each other: who advertises \
                       from the virtual MAC's own device is not played yet";
            return Err(why.to_owned());
        }
        let routed = matches!(topology.preset, Preset::PairFarWitness | Preset::PairRouted);
        if routed && !topology.family.has(Version::Ipv4) {
            return Err("a router on the way of heartbeats needs a `family` with IPv4".to_owned());
        }
        let gateways = topology.preset.gateways(topology.nodes)?;
        let mut layout = Self {
            family: topology.family,
            ..Self::default()
        };
        for name in ["lan", "wan"] {
            layout.add_segment(name, SegmentKind::Switch, topology);
        }
        for name in topology.preset.cables() {
            layout.add_segment(name, SegmentKind::Cable, topology);
        }
        if topology.preset == Preset::PairRouted {
            layout.add_segment("mgmt", SegmentKind::Router, topology);
        }
        for (name, id) in gateways.iter().zip(1..) {
            layout.add_gateway(name, NodeId(id), None);
        }
        match topology.preset {
            Preset::PairFarWitness => layout.add_gateway("w", NodeId(3), Some(Beyond(true))),
            Preset::PairWitness => layout.add_gateway("w", NodeId(3), Some(Beyond(false))),
            Preset::TrioWitness => layout.add_gateway("w", NodeId(4), Some(Beyond(false))),
            Preset::Group
            | Preset::Pair
            | Preset::PairNoCable
            | Preset::PairRouted
            | Preset::PairTwoCables
            | Preset::Trio => {}
        }
        for name in topology.stp_delay.keys() {
            if !layout.segment(name).is_some_and(Segment::served) {
                return Err(format!(
                    "`stp_delay` names `{name}`, which is not a switched segment"
                ));
            }
        }
        layout.check_ranks(topology)?;
        layout.add_host("client@lan")?;
        layout.add_host("server@wan")?;
        for host in &topology.hosts {
            layout.add_host(host)?;
        }
        Ok(layout)
    }

    /// By what the frames of a gateway on a segment are known at another machine's wire there, if
    /// it has a port there: a gateway's, or `None` for a host's or an observer's.
    pub fn source_of(
        &self,
        sender: &str,
        segment: SegmentId,
        at: Option<NodeId>,
    ) -> Option<Source> {
        let port_of = |gateway: &Gateway| {
            let mut ports = gateway.ports.iter();
            ports.find(|port| port.segment == segment).cloned()
        };
        let sender = self.gateway(sender)?;
        let port = port_of(sender)?;
        let mut gateways = self.gateways.iter();
        let at = at.filter(|at| *at != sender.id);
        let receiver = gateways.find(|it| Some(it.id) == at).and_then(port_of);
        let routed = at.is_some() && (port.beyond || receiver.is_some_and(|it| it.beyond));
        match port.unit(Version::Ipv4) {
            Some(IpAddr::V4(unit)) if routed => Some(Source::Address(unit)),
            Some(_) | None => Some(Source::Station(port.mac)),
        }
    }

    /// The gateway of this name.
    pub fn gateway(&self, name: &str) -> Option<&Gateway> {
        self.gateways.iter().find(|gateway| gateway.name == name)
    }

    /// The witness, if there is one (D14).
    pub fn witness(&self) -> Option<NodeId> {
        let mut all = self.gateways.iter();
        all.find(|it| it.witness).map(|it| it.id)
    }

    /// The segment of this name.
    pub fn segment(&self, name: &str) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.name == name)
    }

    /// The host of this name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    fn add_segment(&mut self, name: &str, kind: SegmentKind, topology: &Topology) {
        let id = SegmentId(u8::try_from(self.segments.len()).unwrap_or(u8::MAX));
        let versions = topology.family.versions();
        let count = match kind {
            SegmentKind::Cable | SegmentKind::Router => 0,
            SegmentKind::Switch => topology.virtual_addresses,
        };
        let told = topology.router_adverts && kind == SegmentKind::Switch;
        let router = told.then(|| router_address(id));
        let versions = versions.iter();
        let virtuals =
            versions.flat_map(|version| (1..=count).map(|at| version.virtual_address(id, at)));
        self.segments.push(Segment {
            name: name.to_owned(),
            id,
            kind,
            stp_delay: topology.stp_delay.get(name).copied().unwrap_or_default(),
            virtuals: virtuals.chain(router.map(IpAddr::V6)).collect(),
            router,
            virtual_mac: (topology.virtual_mac && kind == SegmentKind::Switch)
                .then_some(MacAddr([0x00, 0x00, 0x5e, 0x00, 0x01, VIRTUAL_ROUTER])),
            observers: match kind {
                SegmentKind::Cable | SegmentKind::Router => Vec::new(),
                SegmentKind::Switch => topology.family.addresses(id, OBSERVER, 1),
            },
            secondary: topology.secondary.iter().any(|it| it == name),
            heartbeats: topology.no_heartbeats.iter().all(|it| it != name),
            routed: kind == SegmentKind::Router
                || topology.preset == Preset::PairFarWitness && id == SegmentId(0),
        });
    }

    /// A witness is on the first segment alone, or beyond its router.
    fn add_gateway(&mut self, name: &str, id: NodeId, witness: Option<Beyond>) {
        let all = if witness.is_some() {
            1
        } else {
            self.segments.len()
        };
        let far = witness == Some(Beyond(true));
        let ports = self.segments.iter().take(all).map(|segment| Port {
            name: segment.name.clone(),
            id: PortId(segment.id.0),
            segment: segment.id,
            mac: mac(segment.id, 0, id.0),
            units: match segment.kind {
                SegmentKind::Switch if !far => self.family.addresses(segment.id, GATEWAY, id.0),
                SegmentKind::Cable => Vec::new(),
                SegmentKind::Router | SegmentKind::Switch => {
                    vec![family::beyond(segment.id, id.0, GATEWAY, id.0).into()]
                }
            },
            router: match segment.kind {
                SegmentKind::Cable => None,
                SegmentKind::Router => Some(family::beyond(segment.id, id.0, ROUTER, 1)),
                SegmentKind::Switch if far => Some(family::beyond(segment.id, id.0, ROUTER, 1)),
                SegmentKind::Switch => segment.routed.then(|| family::near(segment.id, ROUTER, 1)),
            },
            beyond: far || segment.kind == SegmentKind::Router,
        });
        self.gateways.push(Gateway {
            name: name.to_owned(),
            id,
            ports: ports.collect(),
            witness: witness.is_some(),
        });
    }

    fn add_host(&mut self, text: &str) -> Result<(), String> {
        let malformed = || format!("host `{text}` is not written `name@segment`");
        let (name, place) = text.split_once('@').ok_or_else(malformed)?;
        if name.is_empty() || name.contains(['.', ' ', '$']) {
            return Err(malformed());
        }
        let segment = self
            .segment(place)
            .filter(|segment| segment.served())
            .ok_or_else(|| format!("host `{text}`: `{place}` is not a switched segment"))?
            .id;
        let taken = self.host(name).is_some()
            || self.gateway(name).is_some()
            || self.segment(name).is_some();
        if taken {
            return Err(format!("the name `{name}` is taken twice"));
        }
        if self.hosts.len() >= HOSTS_MAX {
            return Err(format!("more than {HOSTS_MAX} hosts"));
        }
        let number = u8::try_from(self.hosts.len()).unwrap_or(u8::MAX);
        self.hosts.push(Host {
            name: name.to_owned(),
            id: HostId(number),
            segment,
            addresses: self.family.addresses(segment, HOST, number + 1),
            mac: mac(segment, 1, number + 1),
        });
        Ok(())
    }
}

const fn mac(segment: SegmentId, kind: u8, number: u8) -> MacAddr {
    MacAddr([0x02, 0x77, segment.0, kind, 0, number])
}

#[cfg(test)]
mod tests;
