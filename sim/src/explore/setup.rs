//! The world that is explored: a pair with a cable, on a clock of coarse ticks.
//!
//! Every time of the protocol is scaled so that a failover takes a dozen instants, and is a
//! multiple of one tick, which is also the kernel's jiffy: then no state differs from another by
//! a fraction of a tick. Names, hardware addresses and networks are those of the scenario preset
//! `pair`, so a counterexample becomes a scenario file without translation.

use core::net::IpAddr;
use core::time::Duration;

use steadfast_core::boot::{Boot, Record};
use steadfast_core::config::{Config, Digests, Parts, PeerConfig, Policy, PortConfig, Timing};
use steadfast_core::wire::auth::{Key, KeyRing, Phase, Secret};
use steadfast_core::wire::carriage::Carriage;
use steadfast_core::{ClusterId, Instant, Node, NodeId, PortId, Rule, Rules};
use steadfast_scenarios::format::{Gateway, Layout, SegmentKind, Topology};

use crate::model::kernel::{FenceConfig, Kernel, KernelConfig, PortConfig as KernelPort};

/// Gateways explored.
pub(super) const NODES: usize = 2;
/// Paths between them: lan, wan and the cable.
pub(super) const PATHS: usize = 3;
/// The direct cable's number; the paths below it are served segments.
pub(super) const CABLE: usize = 2;
/// The clock's step: nothing happens between two ticks. Equals the kernel's jiffy.
pub(super) const TICK: Duration = Duration::from_millis(4);

const CLUSTER: ClusterId = ClusterId(*b"steadfast-sim-02");
const SECRET: &[u8] = b"known to every reader of this file";
const PREFIX: u8 = 16;

/// The scaled times. L and the dead interval keep their relation to the interval and to each other:
/// the lease ends after the peer became suspicious and before silence alone decides.
pub(super) fn timing() -> Timing {
    let ticks = |count: u32| TICK * count;
    Timing {
        interval: ticks(25),
        slack: ticks(1),
        w_carrier: ticks(4),
        w_silence: ticks(6),
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

/// What stays the same in every state.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) rules: Rules,
    pub(super) configs: [Config; NODES],
    /// By served path.
    pub(super) virtuals: [IpAddr; CABLE],
    pub(super) layout: Layout,
}

impl Setup {
    /// The pair, with these rules; an error is a fault of this file, in the product's words.
    pub(super) fn new(rules: Rules) -> Result<Self, String> {
        let layout = Layout::new(&Topology::default())?;
        let [a, b] = layout.gateways.as_slice() else {
            return Err("the preset `pair` has not two gateways".to_owned());
        };
        let configs = [config(&layout, a, b)?, config(&layout, b, a)?];
        let first = |place: usize| {
            let segment = layout.segments.get(place);
            segment.and_then(|segment| segment.virtuals.first())
        };
        let (Some(lan), Some(wan)) = (first(0), first(1)) else {
            return Err("the preset `pair` serves no addresses".to_owned());
        };
        let virtuals = [*lan, *wan];
        Ok(Self {
            rules,
            configs,
            virtuals,
            layout,
        })
    }

    pub(super) fn timing(&self) -> &Timing {
        &self.configs[0].timing
    }

    /// The longest time for which nobody may answer for an address while a gateway is able to: the
    /// silence that decides without any evidence (D8), and after it one turn of rank (D13), the
    /// rounds of a confirmation, and an offer that came to nothing (D10).
    pub(super) fn outage_max(&self) -> Duration {
        let timing = self.timing();
        let silence = timing.dead_interval + timing.lease;
        let settling = timing.w_silence + 3 * timing.round + timing.offer + timing.rtt_bound;
        silence + timing.dead_interval + timing.slack + settling
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

fn config(layout: &Layout, own: &Gateway, other: &Gateway) -> Result<Config, String> {
    let nodes = [own.id, other.id];
    let keys = keys(own.id, &nodes).ok_or("the simulated keys are refused")?;
    let peer_units = other.ports.iter().flat_map(|port| {
        let units = units(other, port.id).into_iter();
        units.map(move |(unit, _)| (port.id, unit))
    });
    let parts = Parts {
        cluster: CLUSTER,
        virtual_router: 51,
        node: own.id,
        peers: vec![PeerConfig {
            node: other.id,
            units: peer_units.collect(),
        }],
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
        watched: !direct,
        units: units(own, id),
        virtuals: segment.virtuals.clone(),
        virtual_mac: None,
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
