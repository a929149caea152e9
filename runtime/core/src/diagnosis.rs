//! What is wrong around a node: causes named from evidence, each with its cure (R14.1).
//!
//! A node that elects well on two paths of three says nothing by itself, and the day on which the
//! third was needed is a bad day to learn of it. Everything here follows from the status and the
//! configuration: which path carries whose frames, in which direction, what a peer says of itself,
//! why frames were dropped. What has just begun is no trouble yet ([`SETTLED`]).
//!
//! The limit: what a switch does is inferred. A path on which others are heard and a peer is not
//! may be filtered, or lead somewhere else; both are said.

mod kind;
mod misled;
mod ranked;

use core::time::Duration;
use std::collections::BTreeMap;

use crate::config::Config;
use crate::role::EffectiveRole;
use crate::status::{Differs, Liveness, PathStatus, PeerStatus, PortStatus, Status};
use crate::{Instant, NodeId, PortId};

pub use kind::{Trouble, TroubleKind};
pub use misled::Misled;

/// A path that was silent for less may be about to speak.
const SETTLED: Duration = Duration::from_secs(5);
/// So long after the last frame that cannot be read its sender is told of: some of them are lost,
/// and a slow cluster speaks every few seconds.
const UNREAD_FOR: Duration = Duration::from_secs(10);

/// What is known of a node beside its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// The time at the node's clock; ages are counted from it.
    pub now: Instant,
    /// Since the daemon's start.
    pub uptime: Duration,
    /// After so long a silent peer is down.
    pub dead_interval: Duration,
    /// The node's ports.
    pub ports: BTreeMap<PortId, PortAround>,
    /// Names of the nodes, this one included.
    pub nodes: BTreeMap<NodeId, String>,
    /// What each check of this node's health said last, by its name.
    pub said: BTreeMap<String, String>,
    /// What each served port was sent that the active should have had.
    pub misled: BTreeMap<PortId, Misled>,
}

/// What a port is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortAround {
    /// Its name.
    pub name: String,
    /// Nodes speak there.
    pub heartbeat: bool,
    /// It is a path that nobody counts on.
    pub secondary: bool,
    /// It is a cable to a peer.
    pub direct: bool,
    /// It has a virtual MAC.
    pub station: bool,
}

impl Around {
    /// What a configuration says.
    pub fn of(config: &Config, now: Instant, uptime: Duration) -> Self {
        let port = |port: &crate::config::PortConfig| {
            let is = PortAround {
                name: port.name.clone(),
                heartbeat: port.heartbeat,
                secondary: port.secondary,
                direct: port.direct,
                station: port.virtual_mac.is_some(),
            };
            (port.id, is)
        };
        Self {
            now,
            uptime,
            dead_interval: config.timing.dead_interval,
            ports: config.ports.iter().map(port).collect(),
            ..Self::default()
        }
    }

    fn is(&self, port: PortId, what: impl Fn(&PortAround) -> bool) -> bool {
        self.ports.get(&port).is_some_and(what)
    }

    fn port(&self, port: PortId) -> String {
        let known = self.ports.get(&port).map(|it| it.name.clone());
        known.unwrap_or_else(|| format!("port {port}"))
    }

    /// `gw2 (node 2)`, or the number alone.
    fn node(&self, node: NodeId) -> String {
        match self.nodes.get(&node) {
            Some(name) => format!("{name} (node {node})"),
            None => format!("node {node}"),
        }
    }
}

/// Everything that is wrong, the most pressing first.
pub fn diagnose(status: &Status, around: &Around) -> Vec<Trouble> {
    if around.uptime < SETTLED * 2 {
        return Vec::new();
    }
    let mut troubles = checks(status, around);
    troubles.extend(secrets(status, around));
    troubles.extend(misled::misled(status, around));
    for peer in &status.peers {
        if peer.liveness == Liveness::Alive {
            troubles.extend(ranked::secondary_alone(status, around, peer));
            troubles.extend(paths(status, around, peer));
            troubles.extend(differences(around, peer));
        } else if peer.liveness == Liveness::Unknown {
            // Nothing else tells of one that was never heard that its way is shut. Of one that was
            // heard and is not any more an alert tells.
            troubles.extend(far_paths(status, around, peer));
            troubles.extend(unacquainted(around, peer));
        }
    }
    troubles
}

/// Checks of this node's health that fail, with what they said last.
fn checks(status: &Status, around: &Around) -> Vec<Trouble> {
    let failed = status
        .checks
        .iter()
        .filter(|check| check.passes == Some(false));
    let told = failed.map(|check| {
        let said = around.said.get(&check.name).map_or("", String::as_str);
        let cure = "mend what it looks at; until then this node ranks behind one without a failure";
        let what = format!("check {} fails: {said}", check.name);
        trouble(TroubleKind::CheckFails, what, cure)
    });
    told.collect()
}

/// Frames of this cluster that do not verify, in the name of a peer that is missing; and those of
/// nodes that are not configured.
fn secrets(status: &Status, around: &Around) -> Vec<Trouble> {
    let drops = &status.drops;
    let wait = UNREAD_FOR.max(around.dead_interval);
    let lately = |age: Option<Duration>| age.is_some_and(|age| age < wait);
    let unread = |peer: &&PeerStatus| {
        let missing = matches!(peer.liveness, Liveness::Dead | Liveness::Unknown);
        missing && lately(peer.unverified)
    };
    let mut troubles = Vec::new();
    if let Some(peer) = status.peers.iter().find(unread) {
        let name = around.node(peer.node);
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
            TroubleKind::SecretDiffers,
            format!(
                "{} frames of this cluster did not verify, and {name} is not heard: another \
                 secret{and}",
                drops.unverified
            ),
            "copy the secret file from the node that works; of a key change, finish its steps",
        ));
    }
    if lately(status.stranger) {
        troubles.push(trouble(
            TroubleKind::UnknownSender,
            format!(
                "{} frames came from a node of this cluster that is not configured here",
                drops.unknown_senders
            ),
            "list it as a `[[peer]]`, or give the clusters an id each",
        ));
    }
    troubles
}

/// A peer that does not know this node, or does not hear it; or somebody who repeats what it said.
fn unacquainted(around: &Around, peer: &PeerStatus) -> Option<Trouble> {
    let name = around.node(peer.node);
    peer.answers_nothing.then(|| {
        trouble(
            TroubleKind::Unacquainted,
            format!(
                "{name} is heard and answers nothing this node says: it does not list this node, \
                 or nothing from here reaches it. As long as somebody answers for the virtual \
                 addresses this node leaves the role to it"
            ),
            "list this node as a `[[peer]]` in its file; if it is there, look at the way from here \
             to there",
        )
    })
}

fn paths(status: &Status, around: &Around, peer: &PeerStatus) -> Vec<Trouble> {
    let mut troubles = far_paths(status, around, peer);
    for (path, port) in settled(status, around, peer) {
        if path.router.is_some() {
            continue;
        }
        match (is_heard(path), path.hears_us) {
            (true, Some(false)) => troubles.push(one_way(around, peer, path.port)),
            (false, Some(true)) => troubles.push(deaf(around, peer, path.port)),
            (false, Some(false) | None) => troubles.push(silent(around, peer, port)),
            (true, Some(true) | None) => {}
        }
        if path.withholds {
            troubles.push(withholds(around, peer, path.port));
        }
    }
    troubles
}

/// The paths of a peer on which nodes speak and that had time to.
fn settled<'a>(
    status: &'a Status,
    around: &'a Around,
    peer: &'a PeerStatus,
) -> impl Iterator<Item = (&'a PathStatus, &'a PortStatus)> {
    let speaks = |path: &&PathStatus| around.is(path.port, |port| port.heartbeat);
    let settled = |port: &&PortStatus| port.up && around.now.since(port.since) >= SETTLED;
    peer.paths.iter().filter(speaks).filter_map(move |path| {
        let port = status.ports.iter().find(|port| port.port == path.port);
        Some((path, port.filter(settled)?))
    })
}

fn is_heard(path: &PathStatus) -> bool {
    path.heard.is_some_and(|age| age < SETTLED)
}

/// The paths to a peer through a router: whether anything passes, and soon enough.
fn far_paths(status: &Status, around: &Around, peer: &PeerStatus) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for (path, port) in settled(status, around, peer) {
        let Some(answers) = path.router else {
            continue;
        };
        if !is_heard(path) || path.hears_us == Some(false) {
            troubles.push(beyond(around, peer, (port, answers), is_heard(path)));
        } else if let Some(trip) = path.round_trip
            && trip * 2 > around.dead_interval
        {
            troubles.push(far(around, peer, port, trip));
        }
    }
    troubles
}

/// The active answers for itself and for nothing else: its word does not come through, or is not
/// said (F42).
fn withholds(around: &Around, peer: &PeerStatus, port: PortId) -> Trouble {
    let (name, shown) = (around.node(peer.node), around.port(port));
    if around.is(port, |port| port.station) {
        return trouble(
            TroubleKind::StationDropped,
            format!(
                "{name} is active, and nothing from the virtual MAC comes through on {shown}: \
                 somebody on the way drops it, and no client reaches the virtual addresses"
            ),
            "let hypervisor and switch pass it (MAC spoofing, forged transmits, port security), or \
             take `virtual_mac` out of every node's file and restart them",
        );
    }
    trouble(
        TroubleKind::AddressesUnanswered,
        format!("{name} is active and answers for no virtual address on {shown}"),
        "compare `virtual` in both files; on that node look at `ip address` and for what else \
         filters ARP (arp_ignore, nftables)",
    )
}

fn one_way(around: &Around, peer: &PeerStatus, port: PortId) -> Trouble {
    let (name, port) = (around.node(peer.node), around.port(port));
    trouble(
        TroubleKind::OneWayThere,
        format!("one-way link: {name} is heard on {port} and does not hear this node there"),
        "look at the cable and transceiver from here to there, and at filters on that way: MAC \
         filter, forged transmits, multicast",
    )
}

fn deaf(around: &Around, peer: &PeerStatus, port: PortId) -> Trouble {
    let (name, port) = (around.node(peer.node), around.port(port));
    trouble(
        TroubleKind::OneWayHere,
        format!("one-way link: {name} hears this node on {port} and is not heard there"),
        "look at the cable and transceiver from there to here, and at filters on that way: MAC \
         filter, forged transmits, multicast",
    )
}

fn silent(around: &Around, peer: &PeerStatus, port: &PortStatus) -> Trouble {
    let (name, shown) = (around.node(peer.node), around.port(port.port));
    if around.is(port.port, |port| port.direct) {
        return trouble(
            TroubleKind::CableElsewhere,
            format!("the direct cable {shown} has carrier, and nothing of {name} comes through"),
            "see where it leads: to the like-named port of the peer, with nothing between",
        );
    }
    if port.receives {
        return trouble(
            TroubleKind::MulticastBlocked,
            format!("{shown} hears other stations and nothing of {name}: multicast is blocked"),
            "let the switch pass EtherType 0x88b5 to its group (IGMP snooping, storm control, port \
             isolation, another VLAN), and the packet filters of both gateways (netdev and bridge \
             hooks, tc)",
        );
    }
    trouble(
        TroubleKind::PortSilent,
        format!("{shown} has carrier and hears nobody, {name} neither"),
        "see that it leads to the segment it is named for, and in the same VLAN",
    )
}

/// A peer beyond a router is not heard, or does not hear.
fn beyond(
    around: &Around,
    peer: &PeerStatus,
    (port, answers): (&PortStatus, bool),
    heard: bool,
) -> Trouble {
    let (name, shown) = (around.node(peer.node), around.port(port.port));
    if !answers {
        return trouble(
            TroubleKind::RouterSilent,
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
        TroubleKind::WayBlocked,
        what,
        "see that it runs; let UDP to and from `udp_port` pass on the way, in both directions and \
         without address translation, and see that the peer's address under `[peer.addresses]` is \
         right",
    )
}

/// Answers of a peer beyond a router come when it is taken for dead, or nearly (D7).
fn far(around: &Around, peer: &PeerStatus, port: &PortStatus, trip: Duration) -> Trouble {
    let (name, shown) = (around.node(peer.node), around.port(port.port));
    let (trip, dead) = (trip.as_millis(), around.dead_interval.as_millis());
    trouble(
        TroubleKind::WaySlow,
        format!(
            "answers of {name} through the router of {shown} take {trip} ms, more than half of \
             `dead_interval` ({dead} ms): where no other path is left both may serve"
        ),
        "set `dead_interval` on all nodes to at least twice that time, or use a nearer way",
    )
}

fn differences(around: &Around, peer: &PeerStatus) -> Vec<Trouble> {
    let Differs {
        certificate,
        config,
        facts,
        interfaces,
        version,
    } = peer.differs;
    let name = around.node(peer.node);
    let parts = [
        (
            certificate,
            TroubleKind::CertificatesDiffer,
            "the certificate of this node: clients see another one after a failover",
            "give both the same certificate and key, and name it on both (`[daemon] certificate`)",
        ),
        (
            config,
            TroubleKind::ConfigDiffers,
            "the shared configuration of this node",
            "compare the files: times, policies, virtual addresses and router must be the same",
        ),
        (
            facts,
            TroubleKind::FactsDiffer,
            "the identity facts of this node",
            "see what the products' facts files say: model, revision, licence",
        ),
        (
            interfaces,
            TroubleKind::InterfacesDiffer,
            "the interfaces of this node, by name and number",
            "number the ports alike on all nodes (`[[port]] number`)",
        ),
        (
            version,
            TroubleKind::VersionDiffers,
            "the software version of this node",
            "finish the upgrade on the other one",
        ),
    ];
    let told = parts.into_iter().filter(|(differs, ..)| *differs);
    told.map(|(_, kind, what, cure)| trouble(kind, format!("{name} has not {what}"), cure))
        .collect()
}

fn trouble(kind: TroubleKind, problem: String, cure: &str) -> Trouble {
    Trouble {
        kind,
        problem,
        cure: cure.to_owned(),
    }
}
