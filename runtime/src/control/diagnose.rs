//! What is wrong around a node: causes named from evidence, each with its cure (R14.1).
//!
//! A node that elects well on two paths of three says nothing by itself, and the day on which the
//! third was needed is a bad day to learn of it. Everything here follows from the status and the
//! configuration: which path carries whose frames, in which direction, what a peer says of itself,
//! why frames were dropped. What has just begun is no trouble yet ([`SETTLED`]).
//!
//! The limit: what a switch does is inferred. A path on which others are heard and a peer is not
//! may be filtered, or lead somewhere else; both are said.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::PortId;
use steadfast_core::role::EffectiveRole;
use steadfast_core::status::{Differs, Liveness, PathStatus, PeerStatus, PortStatus, Status};

use super::{DaemonFacts, node_name};

/// A path that was silent for less may be about to speak.
const SETTLED: Duration = Duration::from_secs(5);

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What, and how that is known.
    pub problem: String,
    /// What to do about it.
    pub cure: String,
}

/// Everything that is wrong, the most pressing first.
pub fn diagnose(status: &Status, daemon: &DaemonFacts) -> Vec<Trouble> {
    if daemon.uptime_s < SETTLED.as_secs() * 2 {
        return Vec::new();
    }
    let mut troubles = checks(status, daemon);
    troubles.extend(secrets(status, daemon));
    for peer in &status.peers {
        if peer.liveness == Liveness::Alive {
            troubles.extend(paths(status, daemon, peer));
            troubles.extend(differences(daemon, peer));
        } else {
            // Nothing else tells of one that was never heard that its way is shut.
            troubles.extend(far_paths(status, daemon, peer));
        }
    }
    troubles
}

/// Checks of this node's health that fail, with what they said last.
fn checks(status: &Status, daemon: &DaemonFacts) -> Vec<Trouble> {
    let failed = status
        .checks
        .iter()
        .filter(|check| check.passes == Some(false));
    let told = failed.map(|check| {
        let said = daemon.checks.get(&check.name).map_or("", String::as_str);
        let cure = "mend what it looks at; until then this node ranks behind one without a failure";
        trouble(format!("check {} fails: {said}", check.name), cure)
    });
    told.collect()
}

/// Frames of this cluster that do not verify, while a peer is missing.
fn secrets(status: &Status, daemon: &DaemonFacts) -> Vec<Trouble> {
    let drops = &status.drops;
    let missing = |peer: &&PeerStatus| matches!(peer.liveness, Liveness::Dead | Liveness::Unknown);
    let missing = status.peers.iter().find(missing);
    let mut troubles = Vec::new();
    if let Some(peer) = missing.filter(|_| drops.unverified > 0) {
        let name = node_name(daemon, peer.node);
        let waits = matches!(
            status.role,
            EffectiveRole::Standby | EffectiveRole::Starting
        );
        let and = if waits {
            "; this node leaves the role to whoever answers for the virtual addresses"
        } else {
            ""
        };
        troubles.push(trouble(
            format!(
                "{} frames of this cluster did not verify, and {name} is not heard: another \
                 secret{and}",
                drops.unverified
            ),
            "copy the secret file from the node that works; of a key change, finish its steps",
        ));
    }
    if drops.unknown_senders > 0 {
        troubles.push(trouble(
            format!(
                "{} frames came from a node of this cluster that is not configured here",
                drops.unknown_senders
            ),
            "list it as a `[[peer]]`, or give the clusters an id each",
        ));
    }
    troubles
}

fn paths(status: &Status, daemon: &DaemonFacts, peer: &PeerStatus) -> Vec<Trouble> {
    let mut troubles = far_paths(status, daemon, peer);
    for (path, port) in settled(status, daemon, peer) {
        if path.router.is_some() {
            continue;
        }
        match (is_heard(path), path.hears_us) {
            (true, Some(false)) => troubles.push(one_way(daemon, peer, path.port)),
            (false, Some(true)) => troubles.push(deaf(daemon, peer, path.port)),
            (false, Some(false) | None) => troubles.push(silent(daemon, peer, port)),
            (true, Some(true) | None) => {}
        }
        if path.withholds {
            troubles.push(withholds(daemon, peer, path.port));
        }
    }
    troubles
}

/// The paths of a peer on which nodes speak and that had time to.
fn settled<'a>(
    status: &'a Status,
    daemon: &'a DaemonFacts,
    peer: &'a PeerStatus,
) -> impl Iterator<Item = (&'a PathStatus, &'a PortStatus)> {
    let speaks = |path: &&PathStatus| daemon.heartbeat_ports.contains(&path.port.0);
    let settled = |port: &&PortStatus| port.up && daemon.now.since(port.since) >= SETTLED;
    peer.paths.iter().filter(speaks).filter_map(move |path| {
        let port = status.ports.iter().find(|port| port.port == path.port);
        Some((path, port.filter(settled)?))
    })
}

fn is_heard(path: &PathStatus) -> bool {
    path.heard.is_some_and(|age| age < SETTLED)
}

/// The paths to a peer through a router: whether anything passes, and soon enough.
fn far_paths(status: &Status, daemon: &DaemonFacts, peer: &PeerStatus) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for (path, port) in settled(status, daemon, peer) {
        let Some(answers) = path.router else {
            continue;
        };
        if !is_heard(path) || path.hears_us == Some(false) {
            troubles.push(beyond(daemon, peer, (port, answers), is_heard(path)));
        } else if let Some(trip) = path.round_trip
            && trip * 2 > daemon.dead_interval
        {
            troubles.push(far(daemon, peer, port, trip));
        }
    }
    troubles
}

/// The active answers for itself and for nothing else: its word does not come through, or is not
/// said (F42).
fn withholds(daemon: &DaemonFacts, peer: &PeerStatus, port: PortId) -> Trouble {
    let (name, shown) = (node_name(daemon, peer.node), port_name(daemon, port));
    if daemon.station_ports.contains(&port.0) {
        return trouble(
            format!(
                "{name} is active, and nothing from the virtual MAC comes through on {shown}: \
                 somebody on the way drops it, and no client reaches the virtual addresses"
            ),
            "let hypervisor and switch pass it (MAC spoofing, forged transmits, port security), or \
             take `virtual_mac` out of every node's file and restart them",
        );
    }
    trouble(
        format!("{name} is active and answers for no virtual address on {shown}"),
        "compare `virtual` in both files; on that node look at `ip address` and for what else \
         filters ARP (arp_ignore, nftables)",
    )
}

fn one_way(daemon: &DaemonFacts, peer: &PeerStatus, port: PortId) -> Trouble {
    let (name, port) = (node_name(daemon, peer.node), port_name(daemon, port));
    trouble(
        format!("one-way link: {name} is heard on {port} and does not hear this node there"),
        "look at the cable and transceiver from here to there, and at filters on that way: MAC \
         filter, forged transmits, multicast",
    )
}

fn deaf(daemon: &DaemonFacts, peer: &PeerStatus, port: PortId) -> Trouble {
    let (name, port) = (node_name(daemon, peer.node), port_name(daemon, port));
    trouble(
        format!("one-way link: {name} hears this node on {port} and is not heard there"),
        "look at the cable and transceiver from there to here, and at filters on that way: MAC \
         filter, forged transmits, multicast",
    )
}

fn silent(daemon: &DaemonFacts, peer: &PeerStatus, port: &PortStatus) -> Trouble {
    let (name, shown) = (node_name(daemon, peer.node), port_name(daemon, port.port));
    if daemon.direct_ports.contains(&port.port.0) {
        return trouble(
            format!("the direct cable {shown} has carrier, and nothing of {name} comes through"),
            "see where it leads: to the like-named port of the peer, with nothing between",
        );
    }
    if port.receives {
        return trouble(
            format!("{shown} hears other stations and nothing of {name}: multicast is blocked"),
            "let the switch pass EtherType 0x88b5 to its group (IGMP snooping, storm control, port \
             isolation, another VLAN)",
        );
    }
    trouble(
        format!("{shown} has carrier and hears nobody, {name} neither"),
        "see that it leads to the segment it is named for, and in the same VLAN",
    )
}

/// A peer beyond a router is not heard, or does not hear.
fn beyond(
    daemon: &DaemonFacts,
    peer: &PeerStatus,
    (port, answers): (&PortStatus, bool),
    heard: bool,
) -> Trouble {
    let (name, shown) = (node_name(daemon, peer.node), port_name(daemon, port.port));
    if !answers {
        return trouble(
            format!("{name} is beyond the router of {shown}, and that does not answer"),
            "see that `via` is an address of a router on this segment, and that it is up",
        );
    }
    let what = if heard {
        format!("{name} is heard through the router of {shown}, and does not hear this node")
    } else {
        format!("nothing of {name} comes through the router of {shown}")
    };
    trouble(
        what,
        "see that it runs; let UDP to and from `udp_port` pass on the way, in both directions and \
         without address translation, and see that the peer's address under `[peer.addresses]` is \
         right",
    )
}

/// Answers of a peer beyond a router come when it is taken for dead, or nearly (D7).
fn far(daemon: &DaemonFacts, peer: &PeerStatus, port: &PortStatus, trip: Duration) -> Trouble {
    let (name, shown) = (node_name(daemon, peer.node), port_name(daemon, port.port));
    let (trip, dead) = (trip.as_millis(), daemon.dead_interval.as_millis());
    trouble(
        format!(
            "answers of {name} through the router of {shown} take {trip} ms, more than half of \
             `dead_interval` ({dead} ms): where no other path is left both may serve"
        ),
        "set `dead_interval` on all nodes to at least twice that time, or use a nearer way",
    )
}

fn differences(daemon: &DaemonFacts, peer: &PeerStatus) -> Vec<Trouble> {
    let Differs {
        config,
        facts,
        interfaces,
        version,
    } = peer.differs;
    let name = node_name(daemon, peer.node);
    let parts = [
        (
            config,
            "the shared configuration of this node",
            "compare the files: times, policies, virtual addresses and router must be the same",
        ),
        (
            facts,
            "the identity facts of this node",
            "see what the products' facts files say: model, revision, licence",
        ),
        (
            interfaces,
            "the interfaces of this node, by name and number",
            "number the ports alike on all nodes (`[[port]] number`)",
        ),
        (
            version,
            "the software version of this node",
            "finish the upgrade on the other one",
        ),
    ];
    let told = parts.into_iter().filter(|(differs, ..)| *differs);
    told.map(|(_, what, cure)| trouble(format!("{name} has not {what}"), cure))
        .collect()
}

fn port_name(daemon: &DaemonFacts, port: PortId) -> String {
    let name = daemon.port_names.get(&port.0).cloned();
    name.unwrap_or_else(|| format!("port {port}"))
}

fn trouble(problem: String, cure: &str) -> Trouble {
    Trouble {
        problem,
        cure: cure.to_owned(),
    }
}

#[cfg(test)]
mod tests;
