//! The world that is explored: a pair with a cable, or a trio without, on a clock of coarse ticks.
//!
//! Every time of the protocol is scaled so that a failover takes a dozen instants, and is a
//! multiple of one tick, which is also the kernel's jiffy: then no state differs from another by
//! a fraction of a tick. Names, hardware addresses and networks are those of the scenario presets
//! `pair` and `trio`, so a counterexample becomes a scenario file without translation.

use core::net::IpAddr;
use core::time::Duration;

use steadfast_core::boot::{Boot, Record};
use steadfast_core::config::{
    Config, Digests, Parts, PeerConfig, Policy, PortAction, PortConfig, Timing,
};
use steadfast_core::wire::auth::{Key, KeyRing, Phase, Secret};
use steadfast_core::wire::carriage::Carriage;
use steadfast_core::{ClusterId, Instant, MacAddr, Node, NodeId, PortId, Rule, Rules};
use steadfast_scenarios::format::{Gateway, Layout, Preset, SegmentKind, Topology};

use crate::model::kernel::{FenceConfig, Kernel, KernelConfig, PortConfig as KernelPort};

/// Most gateways explored.
pub(super) const NODES_MAX: usize = 3;
/// Most paths between them: lan, wan and a pair's cable.
pub(super) const PATHS_MAX: usize = 3;
/// The direct cable's number, where there is one; the paths below it are served segments.
pub(super) const CABLE: usize = 2;
/// The clock's step: nothing happens between two ticks. Equals the kernel's jiffy.
pub(super) const TICK: Duration = Duration::from_millis(4);

const CLUSTER: ClusterId = ClusterId(*b"steadfast-sim-02");
const SECRET: &[u8] = b"known to every reader of this file";
const PREFIX: u8 = 16;

/// The scaled times. L and the dead interval keep their relation to the interval and to each other:
/// the lease ends after the peer became suspicious and before silence alone decides. W_silence is
/// longer than the three rounds after which a giver takes back what nobody took (D10), by the round
/// in which a third party hears that and the round in which the taker asks it: with the usual times
/// there are fifteen rounds between. Else the taker would find the giver dead in the same instant.
pub(super) fn timing() -> Timing {
    let ticks = |count: u32| TICK * count;
    Timing {
        interval: ticks(25),
        slack: ticks(1),
        w_carrier: ticks(4),
        w_silence: ticks(10),
        dead_interval: ticks(38),
        lease: ticks(30),
        offer: ticks(8),
        tail: ticks(8),
        rtt_bound: ticks(1),
        round: ticks(2),
        initial_wait: Duration::ZERO,
        hold_down: Duration::from_secs(10),
        preempt_delay: Duration::from_secs(10),
    }
}

/// Which gateways are explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Two, on two served segments and a direct cable.
    Pair,
    /// Three, on two served segments (D13).
    Trio,
}

impl Group {
    /// The group of this many gateways, 2 or 3.
    pub const fn of(nodes: u8) -> Option<Self> {
        match nodes {
            2 => Some(Self::Pair),
            3 => Some(Self::Trio),
            _ => None,
        }
    }

    /// How many gateways these are.
    pub const fn nodes(self) -> u8 {
        match self {
            Self::Pair => 2,
            Self::Trio => 3,
        }
    }

    /// The preset with its defaults.
    pub(super) fn topology(self) -> Topology {
        Topology {
            preset: match self {
                Self::Pair => Preset::Pair,
                Self::Trio => Preset::Trio,
            },
            ..Topology::default()
        }
    }
}

/// How the gateways are wired: what a switch has learned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// How many gateways there are.
    pub(super) nodes: usize,
    /// How many paths; the third one is the cable.
    pub(super) paths: usize,
    /// By gateway and path.
    pub(super) macs: [[MacAddr; PATHS_MAX]; NODES_MAX],
}

/// What stays the same in every state.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) rules: Rules,
    pub(super) group: Group,
    pub(super) shape: Shape,
    /// By gateway.
    pub(super) configs: Vec<Config>,
    /// By served path.
    pub(super) virtuals: [IpAddr; CABLE],
    pub(super) layout: Layout,
}

impl Setup {
    /// The gateways, with these rules; an error is a fault of this file, in the product's words.
    pub(super) fn new(group: Group, rules: Rules) -> Result<Self, String> {
        let layout = Layout::new(&group.topology())?;
        let shape = shape(&layout)?;
        let configs = layout.gateways.iter().map(|own| config(&layout, own));
        let configs = configs.collect::<Result<Vec<Config>, String>>()?;
        let first = |place: usize| {
            let segment = layout.segments.get(place);
            segment.and_then(|segment| segment.virtuals.first())
        };
        let (Some(lan), Some(wan)) = (first(0), first(1)) else {
            return Err("the preset serves no addresses".to_owned());
        };
        let virtuals = [*lan, *wan];
        Ok(Self {
            rules,
            group,
            shape,
            configs,
            virtuals,
            layout,
        })
    }

    pub(super) fn timing(&self) -> &Timing {
        &self.configs[0].timing
    }

    /// The longest time for which nobody may answer for an address while a gateway is able to: the
    /// silence that decides without any evidence (D8), and after it one turn of rank for each who
    /// may go first (D13), the rounds of a confirmation, and an offer that came to nothing (D10).
    pub(super) fn outage_max(&self) -> Duration {
        let timing = self.timing();
        let silence = timing.dead_interval + timing.lease;
        let settling = timing.w_silence + 3 * timing.round + timing.offer + timing.rtt_bound;
        let before = u32::from(self.group.nodes()) - 1;
        silence + timing.dead_interval * before + timing.slack + settling
    }

    /// A daemon that starts.
    pub(super) fn node(&self, place: usize, now: Instant) -> Node {
        let seed = u8::try_from(place).unwrap_or(u8::MAX);
        let boot = Boot {
            now,
            seed: [seed; 32],
            kernel_boot: [seed; 16],
            uptime: Duration::ZERO,
            restored: Record::default(),
        };
        Node::with_rules(self.configs[place].clone(), boot, self.rules)
    }

    /// A kernel that has come up.
    pub(super) fn kernel(&self, place: usize) -> Kernel {
        let gateway = &self.layout.gateways[place];
        let ports = gateway.ports.iter().map(|port| KernelPort {
            id: port.id,
            mac: port.mac,
            virtual_mac: None,
            names: Vec::new(),
            addresses: units(gateway, port.id),
            served: usize::from(port.id.0) != CABLE,
            heartbeat: true,
            routed: false,
        });
        let timing = self.timing();
        let fence = FenceConfig {
            lease: timing.lease,
            tail: timing.tail,
            ..FenceConfig::new(self.virtuals.to_vec())
        };
        let mut config = KernelConfig::gateway(ports.collect(), fence);
        if !self.rules.keep(Rule::D9) {
            config.fence = None;
        }
        Kernel::new(config)
    }
}

/// The number of a path as a port.
pub(super) fn port(path: usize) -> PortId {
    PortId(u8::try_from(path).unwrap_or(u8::MAX))
}

fn shape(layout: &Layout) -> Result<Shape, String> {
    let mut shape = Shape {
        nodes: layout.gateways.len(),
        paths: layout.segments.len(),
        macs: [[MacAddr::default(); PATHS_MAX]; NODES_MAX],
    };
    for (place, gateway) in layout.gateways.iter().enumerate() {
        for (path, port) in gateway.ports.iter().enumerate() {
            let known = shape.macs.get_mut(place).and_then(|it| it.get_mut(path));
            *known.ok_or("the preset has more gateways or paths than are explored")? = port.mac;
        }
    }
    Ok(shape)
}

fn config(layout: &Layout, own: &Gateway) -> Result<Config, String> {
    let nodes: Vec<NodeId> = layout.gateways.iter().map(|it| it.id).collect();
    let keys = keys(own.id, &nodes).ok_or("the simulated keys are refused")?;
    let others = layout.gateways.iter().filter(|it| it.id != own.id);
    let parts = Parts {
        cluster: CLUSTER,
        virtual_router: 51,
        node: own.id,
        peers: others.map(peer).collect(),
        ports: own
            .ports
            .iter()
            .map(|port| core_port(layout, own, port.id))
            .collect(),
        timing: timing(),
        // A story of a few faults is over before the role moved too often; what happened to it up
        // to now would keep apart what is equal otherwise.
        policy: Policy {
            flap_limit: 0,
            ..Policy::default()
        },
        witness: None,
        keys,
        checks: Vec::new(),
        carriage: Carriage::default(),
        digests: Digests::default(),
    };
    Config::new(parts).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        texts.join("; ")
    })
}

fn peer(other: &Gateway) -> PeerConfig {
    let peer_units = other.ports.iter().flat_map(|port| {
        let units = units(other, port.id).into_iter();
        units.map(move |(unit, _)| (port.id, unit))
    });
    PeerConfig {
        node: other.id,
        units: peer_units.collect(),
    }
}

fn core_port(layout: &Layout, own: &Gateway, id: PortId) -> PortConfig {
    let place = usize::from(id.0);
    let (segment, port) = (&layout.segments[place], &own.ports[place]);
    let direct = segment.kind == SegmentKind::Cable;
    PortConfig {
        id,
        name: port.name.clone(),
        mac: port.mac,
        direct,
        heartbeat: true,
        secondary: false,
        watched: !direct,
        units: units(own, id),
        virtuals: segment.virtuals.clone(),
        virtual_mac: None,
        action: PortAction::Add,
        neighbour: None,
        via: None,
    }
}

fn units(gateway: &Gateway, id: PortId) -> Vec<(IpAddr, u8)> {
    let port = gateway.ports.iter().find(|port| port.id == id);
    let units = port.into_iter().flat_map(|port| &port.units);
    units.map(|unit| (*unit, PREFIX)).collect()
}

fn keys(own: NodeId, nodes: &[NodeId]) -> Option<KeyRing> {
    let secret = Secret::new(SECRET).ok()?;
    let key = Key {
        id: 1,
        secret,
        phase: Phase::Enforce,
    };
    KeyRing::new(CLUSTER, own, nodes, vec![key]).ok()
}
