//! What a changed configuration means for a running node: nothing, a reload, or a restart.
//!
//! A reload keeps sessions, role and timers and never misses a heartbeat (F18, F45), so only what
//! the node can take over in between two advertisements is live: times, policy, keys, addresses,
//! names. Who it is, with whom, and through which ports, is fixed for a life.

use serde::Serialize;
use steadfast_core::config::{Parts, PeerConfig, PortConfig};

use super::{DaemonSettings, Loaded};

/// What is to be done about a changed configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Nothing that matters differs.
    Same,
    /// These can be taken over now.
    Live(Vec<&'static str>),
    /// These need a restart; nothing is taken over.
    Restart(Vec<&'static str>),
}

/// Compares what runs with what was read.
pub fn compare(old: &Loaded, new: &Loaded) -> Change {
    let fixed = restart(old, new);
    if !fixed.is_empty() {
        return Change::Restart(fixed);
    }
    let live = live(old, new);
    if live.is_empty() {
        Change::Same
    } else {
        Change::Live(live)
    }
}

fn restart(old: &Loaded, new: &Loaded) -> Vec<&'static str> {
    let (from, to): (&Parts, &Parts) = (&old.config, &new.config);
    let ids = |parts: &Parts| parts.peers.iter().map(|peer| peer.node).collect::<Vec<_>>();
    let fixed = |port: &PortConfig| {
        let uses = (port.direct, port.heartbeat, port.watched);
        (port.id, port.name.clone(), uses)
    };
    let set = |parts: &Parts| parts.ports.iter().map(fixed).collect::<Vec<_>>();
    let stations = |parts: &Parts| {
        let ports = parts.ports.iter();
        ports.map(|port| port.virtual_mac).collect::<Vec<_>>()
    };
    let routers = |parts: &Parts| parts.ports.iter().map(|port| port.via).collect::<Vec<_>>();
    let macs = |parts: &Parts| parts.ports.iter().map(|port| port.mac).collect::<Vec<_>>();
    let places = |daemon: &DaemonSettings| DaemonSettings {
        log: log::LevelFilter::Off,
        secret_file: Default::default(),
        certificate: None,
        ..daemon.clone()
    };
    named(&[
        ("the cluster's id", from.cluster != to.cluster),
        (
            "the virtual router's number",
            from.virtual_router != to.virtual_router,
        ),
        (
            "the transports or the UDP port",
            from.carriage != to.carriage,
        ),
        ("this node's id", from.node != to.node),
        ("the peers' ids", ids(from) != ids(to)),
        ("the ports, their numbers or uses", set(from) != set(to)),
        (
            "a port's hardware address",
            set(from) == set(to) && macs(from) != macs(to),
        ),
        (
            "virtual MACs",
            set(from) == set(to) && stations(from) != stations(to),
        ),
        (
            "routers (`via`)",
            set(from) == set(to) && routers(from) != routers(to),
        ),
        (
            "the daemon's folders, sockets or bounds",
            places(&old.daemon) != places(&new.daemon),
        ),
    ])
}

fn live(old: &Loaded, new: &Loaded) -> Vec<&'static str> {
    let (from, to): (&Parts, &Parts) = (&old.config, &new.config);
    let addresses = |parts: &Parts| {
        let own = parts
            .ports
            .iter()
            .map(|port| port.units.clone())
            .collect::<Vec<_>>();
        let peer = |peer: &PeerConfig| peer.units.clone();
        (own, parts.peers.iter().map(peer).collect::<Vec<_>>())
    };
    let virtuals = |parts: &Parts| {
        let port = |port: &PortConfig| port.virtuals.clone();
        parts.ports.iter().map(port).collect::<Vec<_>>()
    };
    let neighbours = |parts: &Parts| {
        let port = |port: &PortConfig| port.neighbour;
        parts.ports.iter().map(port).collect::<Vec<_>>()
    };
    let actions = |parts: &Parts| {
        let port = |port: &PortConfig| port.action;
        parts.ports.iter().map(port).collect::<Vec<_>>()
    };
    let ranks = |parts: &Parts| {
        let ports = parts.ports.iter();
        ports.map(|port| port.secondary).collect::<Vec<_>>()
    };
    named(&[
        ("ranks of heartbeat paths", ranks(from) != ranks(to)),
        (
            "what becomes of virtual addresses (`action`)",
            actions(from) != actions(to),
        ),
        ("times", from.timing != to.timing),
        ("policy", from.policy != to.policy),
        ("keys", old.secret_print != new.secret_print),
        ("virtual addresses", virtuals(from) != virtuals(to)),
        ("neighbours", neighbours(from) != neighbours(to)),
        (
            "checks",
            from.checks != to.checks || old.checks != new.checks,
        ),
        ("hooks", old.hooks != new.hooks),
        ("the nodes' own addresses", addresses(from) != addresses(to)),
        ("names", old.names != new.names),
        ("the log level", old.daemon.log != new.daemon.log),
        (
            "the certificate",
            old.daemon.certificate != new.daemon.certificate,
        ),
        ("facts", from.digests.facts != to.digests.facts),
        (
            "where the secret is",
            old.daemon.secret_file != new.daemon.secret_file,
        ),
    ])
}

fn named(differences: &[(&'static str, bool)]) -> Vec<&'static str> {
    let differing = differences.iter().filter(|(_, differs)| *differs);
    differing.map(|(name, _)| *name).collect()
}
