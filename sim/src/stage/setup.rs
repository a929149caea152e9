//! From a plan to machines: the same configuration a gateway would be given, and the wiring.

use core::net::IpAddr;
use core::time::Duration;

use steadfast_core::boot::{BootRecord, Record};
use steadfast_core::config::check::CheckConfig;
use steadfast_core::config::witness::{Asks, Witness};
use steadfast_core::config::{
    self, Config, Digests, Parts, PeerConfig, Policy, PortAction, PortConfig, Timing,
};
use steadfast_core::role::ConfiguredRole;
use steadfast_core::wire::auth::{Key, KeyRing, Phase, Secret};
use steadfast_core::{ClusterId, MacAddr, NodeId, PortId};
use steadfast_scenarios::Random;
use steadfast_scenarios::format::{
    self as format, CheckSetup, Cluster, GatewaySetup, Plan, SegmentKind, StoreState, Version,
};

use steadfast_shell::digest;

use super::beyond;
use super::net::{Attachment, Medium, Network, attachment};
use crate::model::kernel::{FenceConfig, Kernel, KernelConfig, PortConfig as KernelPort};
use crate::model::switch::Switch;

/// The cluster of every simulated pair.
pub(crate) const CLUSTER: ClusterId = ClusterId(*b"steadfast-sim-01");
/// The virtual router of every simulated pair.
pub(crate) const VIRTUAL_ROUTER: u8 = format::VIRTUAL_ROUTER;
/// The secret of every simulated pair; never of a real one.
const SECRET: &[u8] = b"known to every reader of this file";
/// The secret of a gateway that was given another one.
const OTHER_SECRET: &[u8] = b"mistyped, and nobody has noticed yet";

/// The keys as a node with this id holds them.
///
/// # Panics
/// Never: the constants are valid, which a test shows.
fn keys(own: NodeId, nodes: &[NodeId], secret: &[u8]) -> Option<KeyRing> {
    let secret = Secret::new(secret).ok()?;
    let key = Key {
        id: 1,
        secret,
        phase: Phase::Enforce,
    };
    KeyRing::new(CLUSTER, own, nodes, vec![key]).ok()
}

/// The configuration of one gateway; an error is a scenario that asks for the impossible.
///
/// # Errors
/// What the production configuration refuses, in its words.
pub(crate) fn config(plan: &Plan, gateway: &format::Gateway) -> Result<Config, String> {
    let setup = plan.gateway(&gateway.name);
    let listed = |other: &&format::Gateway| !setup.unlisted.contains(&other.name);
    let known: Vec<_> = plan.layout.gateways.iter().filter(listed).collect();
    let listed = |other: &&format::Gateway| plan.listed_id(gateway, other);
    let nodes: Vec<NodeId> = known.iter().map(listed).collect();
    let secret = if setup.other_secret {
        OTHER_SECRET
    } else {
        SECRET
    };
    let own = plan.listed_id(gateway, gateway);
    let keys = keys(own, &nodes, secret).ok_or("the simulated keys are refused")?;
    let peers = known.iter().filter(|other| other.id != gateway.id);
    let peer = |other: &&format::Gateway| PeerConfig {
        node: plan.listed_id(gateway, other),
        units: other
            .ports
            .iter()
            .flat_map(|port| port.units.iter().map(|unit| (port.id, *unit)))
            .collect(),
    };
    let mut parts = Parts {
        cluster: CLUSTER,
        virtual_router: VIRTUAL_ROUTER,
        node: own,
        peers: peers.map(peer).collect(),
        ports: gateway
            .ports
            .iter()
            .map(|port| core_port(plan, gateway, port))
            .collect(),
        timing: timing(&plan.cluster),
        policy: policy(&plan.cluster, gateway, &setup),
        witness: witness(plan),
        keys,
        checks: checks(&plan.cluster),
        carriage: plan.cluster.carriage(),
        digests: Digests::default(),
    };
    let product = setup.product.as_bytes();
    let facts = (!product.is_empty()).then(|| digest::of_bytes(product));
    parts.digests = digest::digests(&parts, facts.unwrap_or(0), None);
    if setup.older_release {
        parts.digests.version -= 1;
    }
    Config::new(parts).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        format!("gateway {}: {}", gateway.name, texts.join("; "))
    })
}

fn checks(cluster: &Cluster) -> Vec<CheckConfig> {
    let configured = |(place, check): (usize, &CheckSetup)| check.configured(place);
    cluster.checks.iter().enumerate().map(configured).collect()
}

/// Who grants claims, where the topology has a witness (D14).
fn witness(plan: &Plan) -> Option<Witness> {
    let cluster = &plan.cluster;
    let usual = Witness::usual_term(&timing(cluster));
    Some(Witness {
        node: plan.layout.witness()?,
        term: cluster.witness_term.map_or(usual, |term| term.0),
        asks: match cluster.witness_asks {
            format::Asks::Always => Asks::Always,
            format::Asks::Unproven => Asks::Unproven,
        },
    })
}

fn core_port(plan: &Plan, gateway: &format::Gateway, port: &format::Port) -> PortConfig {
    let segment = &plan.layout.segments[port.segment.index()];
    let neighbour = plan
        .layout
        .hosts
        .iter()
        .find(|host| host.segment == port.segment);
    PortConfig {
        id: port.id,
        name: port.name.clone(),
        mac: port.mac,
        direct: segment.kind == SegmentKind::Cable,
        heartbeat: segment.heartbeats,
        secondary: segment.secondary,
        watched: segment.served() && !plan.gateway(&gateway.name).unwatched.contains(&port.name),
        units: with_prefix(&port.units),
        virtuals: if gateway.witness {
            Vec::new()
        } else {
            segment.virtuals.clone()
        },
        virtual_mac: segment.virtual_mac.filter(|_| !gateway.witness),
        action: match plan.topology.action {
            format::Action::Add => PortAction::Add,
            format::Action::Set => PortAction::Set,
        },
        neighbour: neighbour.and_then(|host| host.addresses.first().copied()),
        via: port.router,
    }
}

fn timing(cluster: &Cluster) -> Timing {
    Timing {
        interval: cluster.interval.0,
        slack: cluster.slack.0,
        w_carrier: cluster.w_carrier.0,
        w_silence: cluster.w_silence.0,
        dead_interval: cluster.dead_interval.0,
        lease: cluster.lease.0,
        offer: cluster.offer.0,
        tail: cluster.tail.0,
        rtt_bound: cluster.rtt_bound.0,
        initial_wait: cluster.initial_wait.0,
        hold_down: cluster.hold_down.0,
        preempt_delay: cluster.preempt_delay.0,
        ..Timing::default()
    }
}

fn policy(cluster: &Cluster, gateway: &format::Gateway, setup: &GatewaySetup) -> Policy {
    Policy {
        configured: if gateway.witness {
            ConfiguredRole::Off
        } else {
            setup.configured
        },
        priority: setup.priority,
        preferred: setup.preferred,
        preempt: match cluster.preempt {
            format::Preempt::Never => config::Preempt::Never,
            format::Preempt::Prefer => config::Preempt::Prefer,
            format::Preempt::Priority => config::Preempt::Priority,
        },
        on_failure: match cluster.on_failure {
            format::OnFailure::Configured => config::OnFailure::Configured,
            format::OnFailure::Off => config::OnFailure::Off,
            format::OnFailure::Standby => config::OnFailure::Standby,
        },
        isolation: match cluster.isolation {
            format::Isolation::Serve => config::Isolation::Serve,
            format::Isolation::Yield => config::Isolation::Yield,
        },
        detection: match cluster.detection {
            format::Detection::DeadInterval => config::Detection::DeadInterval,
            format::Detection::Fast => config::Detection::Fast,
        },
        all_pacified: match cluster.all_pacified {
            format::AllPacified::Never => config::AllPacified::Never,
            format::AllPacified::Serve => config::AllPacified::Serve,
        },
        boot_limit: u32::from(cluster.boot_limit),
        restart_limit: u32::from(cluster.restart_limit),
        boot_window: cluster.boot_window.0,
        flap_limit: u32::from(cluster.flap_limit),
        flap_window: cluster.flap_window.0,
    }
}

/// A gateway's kernel as it comes up: fenced, without virtual addresses. `leased` is false only
/// where a test takes the lease away.
pub(crate) fn gateway_kernel(
    plan: &Plan,
    gateway: &format::Gateway,
    phase: Duration,
    leased: bool,
) -> Kernel {
    let ports = gateway.ports.iter().map(|port| KernelPort {
        id: port.id,
        mac: port.mac,
        virtual_mac: plan.layout.segments[port.segment.index()].virtual_mac,
        names: core_port(plan, gateway, port).names(),
        addresses: addresses(port.mac, &port.units),
        served: plan.layout.segments[port.segment.index()].served() && !gateway.witness,
        heartbeat: plan.layout.segments[port.segment.index()].heartbeats,
        routed: port.router.is_some(),
    });
    let virtuals = plan
        .layout
        .segments
        .iter()
        .flat_map(|segment| &segment.virtuals);
    let macs = plan.layout.segments.iter().map(|it| it.virtual_mac);
    let fence = FenceConfig {
        lease: plan.cluster.lease.0,
        tail: plan.cluster.tail.0,
        virtual_macs: macs.flatten().collect(),
        egress: plan.cluster.fence == format::FenceHooks::Auto,
        owned: plan.cluster.fence != format::FenceHooks::Flushable,
        ..FenceConfig::new(virtuals.copied().collect())
    };
    let mut config = KernelConfig::gateway(ports.collect(), fence);
    config.jiffy_phase = phase;
    config.routers = super::vrrp::fenced(plan, gateway);
    config.ignores_linkdown_routes = true;
    if !leased || gateway.witness || plan.cluster.vrrp.is_some() {
        config.fence = None;
    }
    if !leased {
        config.routers.clear();
    }
    Kernel::new(config)
}

fn with_prefix(addresses: &[IpAddr]) -> Vec<(IpAddr, u8)> {
    let mut all = Vec::with_capacity(addresses.len());
    all.extend(addresses.iter().map(|ip| (*ip, Version::of(*ip).prefix())));
    all
}

/// What a kernel has on a port: these, and with IPv6 the link-local address that it makes of the
/// MAC.
fn addresses(mac: MacAddr, configured: &[IpAddr]) -> Vec<(IpAddr, u8)> {
    let mut all = with_prefix(configured);
    if configured.iter().any(IpAddr::is_ipv6) {
        all.push((IpAddr::V6(format::link_local(mac)), 64));
    }
    all
}

/// A host's kernel: its default gateways are the first virtual addresses of its segment.
pub(crate) fn host_kernel(plan: &Plan, host: &format::Host) -> Kernel {
    let segment = &plan.layout.segments[host.segment.index()];
    let port = KernelPort {
        id: PortId(0),
        mac: host.mac,
        virtual_mac: None,
        names: Vec::new(),
        addresses: addresses(host.mac, &host.addresses),
        served: false,
        heartbeat: false,
        routed: false,
    };
    let versions = plan.topology.family.versions().iter();
    let gateways = versions.filter_map(|it| segment.host_gateway(*it));
    Kernel::new(KernelConfig::host(vec![port], gateways.collect()))
}

/// What a gateway's disk holds before its first boot.
pub(crate) fn stored(setup: &GatewaySetup) -> Record {
    if setup.store == StoreState::Lost {
        return Record::default();
    }
    let boot = |(number, past): (u8, &format::PastBoot)| BootRecord {
        kernel_boot: [0xf0 ^ number; 16],
        uptime_s: past.uptime.0.as_secs(),
        clean: past.clean,
        pacified: false,
        starts: 1,
    };
    Record {
        boots: (0..).zip(&setup.boots).map(boot).collect(),
        maintenance: setup.maintenance,
        ..Record::default()
    }
}

/// The wiring: gateways, hosts, and on every switched segment a free outlet, where the observer
/// listens and strangers plug in. Delays differ from wire to wire, and with the seed.
pub(crate) fn network(plan: &Plan) -> Network {
    let layout = &plan.layout;
    let mut random = Random::new(plan.seed, "wires");
    let mut delay = || Duration::from_nanos(random.between(8_000, 40_000));
    let gateways = layout.gateways.len();
    let strangers = gateways + layout.hosts.len();
    let medium = |segment: &format::Segment| {
        let mut ends = Vec::new();
        for (station, gateway) in layout.gateways.iter().enumerate() {
            let plugged = gateway
                .ports
                .iter()
                .filter(|port| port.segment == segment.id);
            ends.extend(plugged.map(|port| Attachment {
                beyond: port.beyond,
                ..attachment(station, port.id, delay())
            }));
        }
        if segment.kind == SegmentKind::Cable {
            return Medium {
                switch: None,
                on: true,
                ends,
            };
        }
        for (place, host) in layout.hosts.iter().enumerate() {
            if host.segment == segment.id {
                ends.push(attachment(gateways + place, PortId(0), delay()));
            }
        }
        if segment.kind == SegmentKind::Switch {
            let stranger = strangers + segment.id.index();
            ends.push(attachment(stranger, PortId(0), delay()));
            let mut routed = beyond::routed(layout);
            if let Some(router) = routed.position(|routed| routed == segment.id.index()) {
                let (place, station) = (ends.len(), beyond::first_station(layout) + router);
                let port = PortId(u8::try_from(place).unwrap_or(u8::MAX));
                ends.push(attachment(station, port, delay()));
            }
        }
        let mut switch = Switch::new(ends.len());
        switch.set_forward_delay(segment.stp_delay.0);
        Medium {
            switch: Some(switch),
            on: true,
            ends,
        }
    };
    Network::new(layout.segments.iter().map(medium).collect())
}
