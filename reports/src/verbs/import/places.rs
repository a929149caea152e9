//! Where a recorded cluster stands in a scenario: the nearest preset, its words, its settings.
//!
//! Gateways are called `a`, `b`, `c` and so on in the order of their ids, so that ranks stay as
//! they were; a witness is `w`. The first two served ports are `lan` and `wan`, direct cables `ha`
//! and `ha2`. What has no place is named in [`Places::unsaid`]; a witness beside more than two
//! gateways has none at all.

use steadfast_core::config::{self, Timing, witness};
use steadfast_core::wire::carriage::Form;
use steadfast_core::{NodeId, PortId};
use steadfast_scenarios::format::{
    Asks, Cluster, FenceHooks, GATEWAY_NAMES, GatewaySetup, Isolation, OnFailure, PastBoot, Preset,
    Span, Topology,
};
use steadfast_shell::journal::{ConfigFacts, LifeFacts, PortFacts};

const SWITCHES: [&str; 2] = ["lan", "wan"];
const CABLES: [&str; 2] = ["ha", "ha2"];

/// Names in the scenario for what stands in a configuration.
#[derive(Clone, Debug)]
pub(super) struct Places {
    own: NodeId,
    nodes: Vec<(NodeId, &'static str)>,
    ports: Vec<(PortId, &'static str)>,
    /// The network.
    pub(super) topology: Topology,
    /// What of it has no place.
    pub(super) unsaid: Vec<String>,
}

impl Places {
    /// The nearest network, or why there is none.
    pub(super) fn of(facts: &ConfigFacts) -> Result<Self, String> {
        let mut ids: Vec<NodeId> = facts.peers.iter().map(|peer| peer.node).collect();
        ids.push(facts.node);
        ids.sort_unstable();
        let witness = facts.witness.map(|witness| witness.node);
        // The preset's witness is its last node.
        ids.sort_by_key(|id| Some(*id) == witness);
        let gateways = ids.iter().filter(|id| Some(**id) != witness).count();
        let (count, most) = (ids.len(), GATEWAY_NAMES.len());
        if count > most || count < 2 {
            return Err(format!("{count} nodes: scenarios know of 2 to {most}"));
        }
        if gateways > 3 && witness.is_some() {
            let why = "scenarios know of a witness beside two or three";
            return Err(format!("{gateways} gateways and a witness: {why}"));
        }
        let mut unsaid = Vec::new();
        let cables: &[&str] = if gateways == 2 { &CABLES } else { &[] };
        let mut ports = named(facts, &SWITCHES, PortFacts::is_switched, &mut unsaid);
        let served = ports.len();
        ports.extend(named(facts, cables, |port| port.direct, &mut unsaid));
        for port in &facts.ports {
            if !port.direct && port.virtuals.is_empty() {
                unsaid.push(format!("port {}: switched and not served", port.name));
            }
        }
        if served < SWITCHES.len() {
            let name = SWITCHES[served];
            unsaid.push(format!("`{name}` is there because every preset has it"));
        }
        let preset = match (ids.len(), ports.len() - served) {
            (3, _) if gateways == 2 => Preset::PairWitness,
            (3, _) => Preset::Trio,
            (4, _) if gateways == 3 => Preset::TrioWitness,
            (4.., _) => Preset::Group,
            (_, 0) => Preset::PairNoCable,
            (_, 1) => Preset::Pair,
            (_, _) => Preset::PairTwoCables,
        };
        let most = facts.ports.iter().map(|port| port.virtuals.len()).max();
        let most = most.and_then(|most| u16::try_from(most).ok()).unwrap_or(1);
        let among = |is: fn(&PortFacts) -> bool| {
            let found = |id: PortId| facts.ports.iter().any(|it| it.id == id && is(it));
            let ranked = ports.iter().filter(|(id, _)| found(*id));
            ranked.map(|(_, name)| (*name).to_owned()).collect()
        };
        let secondary = among(|it| it.secondary);
        let no_heartbeats = among(|it| it.is_switched() && !it.heartbeat);
        Ok(Self {
            own: facts.node,
            nodes: ids
                .into_iter()
                .zip(GATEWAY_NAMES)
                .map(|(id, name)| (id, if Some(id) == witness { "w" } else { name }))
                .collect(),
            ports,
            topology: Topology {
                preset,
                nodes: u8::try_from(count).ok().filter(|_| preset == Preset::Group),
                virtual_addresses: most.max(1),
                secondary,
                no_heartbeats,
                ..Topology::default()
            },
            unsaid,
        })
    }

    /// The recorded node's name.
    pub(super) fn own(&self) -> &'static str {
        self.node(self.own)
    }

    /// A node's name.
    pub(super) fn node(&self, id: NodeId) -> &'static str {
        let found = self.nodes.iter().find(|(it, _)| *it == id);
        found.map_or("?", |(_, name)| *name)
    }

    /// The segment behind a port, if it has a place.
    pub(super) fn segment(&self, port: PortId) -> Option<&'static str> {
        let found = self.ports.iter().find(|(it, _)| *it == port);
        found.map(|(_, name)| *name)
    }

    /// Who is who, for people.
    pub(super) fn legend(&self) -> String {
        let nodes = self
            .nodes
            .iter()
            .map(|(id, name)| format!("{name} is node {id}"));
        let ports = self
            .ports
            .iter()
            .map(|(id, name)| format!("{name} is port {id}"));
        let all: Vec<String> = nodes.chain(ports).collect();
        all.join(", ")
    }
}

/// What a port is, asked of its facts.
trait Kind {
    fn is_switched(&self) -> bool;
}

impl Kind for PortFacts {
    fn is_switched(&self) -> bool {
        !self.direct && !self.virtuals.is_empty()
    }
}

fn named(
    facts: &ConfigFacts,
    names: &[&'static str],
    wanted: impl Fn(&PortFacts) -> bool,
    unsaid: &mut Vec<String>,
) -> Vec<(PortId, &'static str)> {
    let ports: Vec<&PortFacts> = facts.ports.iter().filter(|port| wanted(port)).collect();
    for port in ports.iter().skip(names.len()) {
        unsaid.push(format!(
            "port {}: the preset has no more of its kind",
            port.name
        ));
    }
    let places = ports.iter().zip(names);
    places.map(|(port, name)| (port.id, *name)).collect()
}

/// The settings that all gateways share.
pub(super) fn cluster(facts: &ConfigFacts, unsaid: &mut Vec<String>) -> Cluster {
    let (timing, policy) = (&facts.timing, &facts.policy);
    let usual = Timing::default().round;
    if timing.round != usual {
        unsaid.push(format!(
            "rounds of {:?}: there they take {usual:?}",
            timing.round
        ));
    }
    Cluster {
        all_pacified: policy.all_pacified.into(),
        boot_limit: u8::try_from(policy.boot_limit).unwrap_or(u8::MAX),
        boot_window: Span(policy.boot_window),
        restart_limit: u8::try_from(policy.restart_limit).unwrap_or(u8::MAX),
        // How often they are run stands in the results alone.
        checks: Vec::new(),
        dead_interval: Span(timing.dead_interval),
        detection: policy.detection.into(),
        // Where the kernel judges is none of the node's inputs, and in no journal.
        fence: FenceHooks::Auto,
        flap_limit: u8::try_from(policy.flap_limit).unwrap_or(u8::MAX),
        flap_window: Span(policy.flap_window),
        hold_down: Span(timing.hold_down),
        // What they did is no input of the node, and in no journal.
        hooks: Vec::new(),
        initial_wait: Span(timing.initial_wait),
        interval: Span(timing.interval),
        isolation: match policy.isolation {
            config::Isolation::Serve => Isolation::Serve,
            config::Isolation::Yield => Isolation::Yield,
        },
        lease: Span(timing.lease),
        offer: Span(timing.offer),
        on_failure: match policy.on_failure {
            config::OnFailure::Configured => OnFailure::Configured,
            config::OnFailure::Off => OnFailure::Off,
            config::OnFailure::Standby => OnFailure::Standby,
        },
        preempt: policy.preempt.into(),
        preempt_delay: Span(timing.preempt_delay),
        profile: None,
        rtt_bound: Span(timing.rtt_bound),
        transports: transports(facts),
        slack: Span(timing.slack),
        tail: Span(timing.tail),
        w_carrier: Span(timing.w_carrier),
        w_silence: Span(timing.w_silence),
        vrrp: None,
        witness_asks: match facts.witness.map(|witness| witness.asks) {
            Some(witness::Asks::Unproven) => Asks::Unproven,
            Some(witness::Asks::Always) | None => Asks::Always,
        },
        witness_term: facts.witness.map(|witness| Span(witness.term)),
    }
}

/// What the recorded gateway itself is set to, and what its disk held.
pub(super) fn own_setup(facts: &LifeFacts) -> GatewaySetup {
    let policy = &facts.config.policy;
    let earlier = facts.restored.boots.iter();
    let earlier = earlier.filter(|boot| boot.kernel_boot != facts.kernel_boot);
    GatewaySetup {
        boots: earlier
            .map(|boot| PastBoot {
                uptime: Span::secs(boot.uptime_s),
                clean: boot.clean,
            })
            .collect(),
        configured: policy.configured,
        maintenance: facts.restored.maintenance,
        preferred: policy.preferred,
        priority: policy.priority,
        ..GatewaySetup::default()
    }
}

/// What advertisements may travel in, where that is not the usual.
fn transports(facts: &ConfigFacts) -> Vec<Form> {
    let carriage = facts.carriage;
    if carriage.has_datagrams() {
        carriage.forms.iter().collect()
    } else {
        Vec::new()
    }
}
