//! What was written and what the machine is, put together into the core's configuration.
//!
//! Values that are missing or wrong were told before; here they get a stand-in, so that the rules
//! between the others are still checked. A configuration with any stand-in never leaves this room,
//! since a mistake was counted for each.

use std::net::IpAddr;

use steadfast_core::config::check::CheckConfig;
use steadfast_core::config::{
    Config, ConfigError, Digests, Parts, PeerConfig, PortAction, PortConfig,
};
use steadfast_core::wire::auth::KeyRing;
use steadfast_core::{ClusterId, MacAddr, NodeId, PortId};
use steadfast_shell::digest;
use toml::Spanned;

use super::addresses::{self, own_addresses};
use super::mistake::{Findings, nearest};
use super::path::Heartbeat;
use super::raw::{self, Action, Raw, byte};
use super::secret::{self, Secrets};
use super::{Interfaces, choices, places};

/// Stands in for a virtual router's number where none can be had, which was told.
const ROUTER: u8 = 51;
/// Virtual router numbers up to this one are often taken by devices out of the box (R5.4).
const ROUTER_ADVISED_MIN: u8 = 11;

/// The core's configuration; none when anything was wrong.
pub(super) fn assemble(
    raw: &Raw,
    interfaces: &dyn Interfaces,
    secrets: Option<Secrets>,
    facts: u64,
    findings: &mut Findings,
) -> Option<Config> {
    let virtual_router = virtual_router(raw, findings);
    let ports = ports(raw, virtual_router, interfaces, findings);
    let peers = peers(raw, findings);
    let node = own_id(raw);
    let cluster = raw
        .cluster
        .id
        .as_ref()
        .map_or(ClusterId([1; 16]), |id| *id.get_ref());
    let kept = secrets.as_ref().and_then(|secrets| secrets.cluster);
    let foreign = raw.cluster.id.is_some() && kept.is_some_and(|kept| kept != cluster);
    let signer = if foreign {
        kept.unwrap_or(cluster)
    } else {
        cluster
    };
    let keys = keys((signer, node), &peers, secrets, raw, findings)?;
    let mut parts = Parts {
        cluster,
        virtual_router,
        node,
        peers,
        ports,
        timing: choices::timing(raw),
        policy: choices::policy(raw),
        witness: choices::witness(raw),
        carriage: raw.cluster.carriage(),
        keys,
        checks: checks(raw),
        digests: Digests::default(),
    };
    let longest = raw.hooks.iter().map(|hook| hook.spec().timeout).max();
    parts.digests = digest::digests(&parts, facts, longest);
    addresses::check(raw, &parts, interfaces.here(), findings);
    check_names(raw, findings);
    choices::check_profile(raw, findings);
    advise(raw, &parts, findings);
    let known = parts.clone();
    match Config::new(parts) {
        Ok(config) => Some(config),
        Err(errors) => {
            for error in errors {
                if tellable(&error, raw, foreign) {
                    places::tell(&error, raw, &known, findings);
                }
            }
            None
        }
    }
}

/// The virtual router's number: as written, or the last byte of the lowest virtual address, which
/// is the same in every node's file whatever its order (R5.4).
pub(super) fn number_of(raw: &Raw) -> Option<u8> {
    if let Some(written) = byte(raw.cluster.virtual_router.as_ref()) {
        return Some(written);
    }
    let virtuals = raw.ports.iter().flat_map(|port| &port.virtuals);
    let lowest = virtuals.map(|address| *address.get_ref()).min();
    let last = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    lowest.map(last).filter(|number| *number != 0)
}

fn virtual_router(raw: &Raw, findings: &mut Findings) -> u8 {
    let number = number_of(raw);
    if number.is_none() && raw.ports_whole && raw.cluster.virtual_router.is_none() {
        findings.wrong(
            &raw.cluster.place,
            "missing key `virtual_router` in `cluster`, and no virtual address gives one",
            "write a number between 1 and 255 that nobody else uses on these segments",
        );
    }
    number.unwrap_or(ROUTER)
}

fn checks(raw: &Raw) -> Vec<CheckConfig> {
    let all = raw.checks.iter().enumerate();
    all.map(|(place, check)| check.configured(place)).collect()
}

/// Whether a broken rule is news, and not what follows from a mistake told before.
fn tellable(error: &ConfigError, raw: &Raw, foreign: bool) -> bool {
    match error {
        ConfigError::ForeignKeys => foreign,
        // Told where they are read, with their places.
        ConfigError::CheckNumbers(_) | ConfigError::Checks(_) => false,
        ConfigError::NothingServed | ConfigError::NoHeartbeat => {
            raw.ports_whole && !raw.ports.is_empty()
        }
        ConfigError::Interval(_)
        | ConfigError::DeadInterval(..)
        | ConfigError::Lease(..)
        | ConfigError::InitialWait(_)
        | ConfigError::Window(..)
        | ConfigError::VirtualTwice(..)
        | ConfigError::VirtualRouter
        | ConfigError::Priority(_)
        | ConfigError::NodeIds(_)
        | ConfigError::Nodes(_)
        | ConfigError::Ports(_)
        | ConfigError::NoForm
        | ConfigError::Unaddressed(_)
        | ConfigError::UdpPort
        | ConfigError::RouterOutside(..)
        | ConfigError::RouterIdle(_)
        | ConfigError::DirectServed(_)
        | ConfigError::OutsideSubnet(..)
        | ConfigError::VirtualIsUnit(..)
        | ConfigError::VirtualMac(..)
        | ConfigError::WitnessServes
        | ConfigError::WitnessTerm(..)
        | ConfigError::WitnessUnknown(_) => true,
    }
}

/// The number of the port at this place: as written, else its place in the file.
pub(super) fn port_number(port: &raw::Port, place: usize) -> PortId {
    PortId(byte(port.number.as_ref()).unwrap_or(u8::try_from(place).unwrap_or(u8::MAX)))
}

/// This node's id; without one, any that no peer has.
fn own_id(raw: &Raw) -> NodeId {
    let taken = |id: &u8| {
        raw.peers
            .iter()
            .any(|peer| byte(peer.id.as_ref()) == Some(*id))
    };
    let free = || (1..=254).find(|id| !taken(id)).unwrap_or(1);
    NodeId(byte(raw.node.id.as_ref()).unwrap_or_else(free))
}

fn keys(
    (cluster, own): (ClusterId, NodeId),
    peers: &[PeerConfig],
    secrets: Option<Secrets>,
    raw: &Raw,
    findings: &mut Findings,
) -> Option<KeyRing> {
    let valid = |node: &NodeId| (1..=254).contains(&node.0);
    let nodes: Vec<NodeId> = peers.iter().map(|peer| peer.node).filter(valid).collect();
    // An own id that cannot be is told by the core; the keys of another are never used.
    let own = if valid(&own) { own } else { NodeId(1) };
    let place = match &raw.cluster.secret_file {
        Some(written) => written.span(),
        None => raw.cluster.place.clone(),
    };
    if let Some(secrets) = secrets {
        match KeyRing::new(cluster, own, &nodes, secrets.keys) {
            Ok(ring) => return Some(ring),
            Err(error) => findings.wrong(&place, error.to_string(), secret::cure(error)),
        }
    }
    let drawn = secret::unknown_to_all();
    let Ok(drawn) = drawn else {
        findings.wrong_nowhere(
            "failed to draw random bytes",
            "look at the system's entropy",
        );
        return None;
    };
    KeyRing::new(cluster, own, &[], drawn.keys).ok()
}

fn ports(
    raw: &Raw,
    virtual_router: u8,
    interfaces: &dyn Interfaces,
    findings: &mut Findings,
) -> Vec<PortConfig> {
    if raw.ports.is_empty() && raw.ports_whole {
        let cure = "add a `[[port]]` with `interface = \"lan0\"` and `virtual = [\"10.0.1.1\"]`";
        findings.wrong(&(0..0), "no port is configured", cure);
    }
    let mut ports = Vec::new();
    for (place, port) in raw.ports.iter().enumerate() {
        let Some(name) = &port.interface else {
            continue;
        };
        let direct = flag(port.direct.as_ref(), false);
        let action = port.action.as_ref().map(|action| *action.get_ref());
        let ignored = action == Some(Action::Ignore);
        let served = !port.virtuals.is_empty() && !ignored;
        let watched = flag(port.watched.as_ref(), served);
        if direct
            && watched
            && let Some(written) = &port.watched
        {
            findings.wrong(
                &written.span(),
                format!("port `{}` is a direct cable and watched", name.get_ref()),
                "remove `watched`: a cable that is pulled must not make a gateway sick",
            );
        }
        let (mac, units) = look(port, name, interfaces, findings);
        ports.push(PortConfig {
            id: port_number(port, place),
            name: name.get_ref().clone(),
            mac,
            direct,
            heartbeat: Heartbeat::of(port.heartbeat.as_ref()) != Heartbeat::Off,
            secondary: Heartbeat::of(port.heartbeat.as_ref()) == Heartbeat::Secondary,
            watched,
            units,
            virtuals: port
                .virtuals
                .iter()
                .filter(|_| served)
                .map(|address| *address.get_ref())
                .collect(),
            virtual_mac: (flag(port.virtual_mac.as_ref(), false) && !ignored)
                .then(|| virtual_mac(virtual_router)),
            action: match action {
                Some(Action::Set) => PortAction::Set,
                Some(Action::Add | Action::Ignore) | None => PortAction::Add,
            },
            neighbour: port.neighbour.as_ref().map(|address| *address.get_ref()),
            via: port
                .via
                .as_ref()
                .and_then(|address| match address.get_ref() {
                    IpAddr::V4(router) => Some(*router),
                    IpAddr::V6(_) => None,
                }),
        });
    }
    ports
}

/// The station of a virtual router (RFC 9568 §7.3): no other on a segment has its number. One for
/// addresses of both versions, as one device carries both.
const fn virtual_mac(router: u8) -> MacAddr {
    MacAddr([0x00, 0x00, 0x5e, 0x00, 0x01, router])
}

/// What was written, else the other.
pub(super) fn flag(written: Option<&Spanned<bool>>, otherwise: bool) -> bool {
    written.map_or(otherwise, |flag| *flag.get_ref())
}

/// What the interface is; a stand-in when it is not there.
fn look(
    port: &raw::Port,
    name: &Spanned<String>,
    interfaces: &dyn Interfaces,
    findings: &mut Findings,
) -> (MacAddr, Vec<(IpAddr, u8)>) {
    let written = || {
        port.addresses
            .iter()
            .map(|address| *address.get_ref())
            .collect()
    };
    let Some(facts) = interfaces.interface(name.get_ref()) else {
        if interfaces.here() {
            let names = interfaces.names();
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            let cure = match (nearest(name.get_ref(), &known), known.is_empty()) {
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, false) => format!("this machine has `{}`", known.join("`, `")),
                (None, true) => "`ip link` shows what this machine has".to_owned(),
            };
            let message = format!("there is no interface `{}`", name.get_ref());
            findings.wrong(&name.span(), message, cure);
        }
        return (MacAddr([2, 0, 0, 0, 0, 0]), written());
    };
    if facts.mac == MacAddr::ZERO || facts.mac.is_group() {
        findings.wrong(
            &name.span(),
            format!("interface `{}` has no Ethernet address", name.get_ref()),
            "use an Ethernet interface: frames are sent on layer 2",
        );
    }
    (facts.mac, own_addresses(port, name, facts.units, findings))
}

fn peers(raw: &Raw, findings: &mut Findings) -> Vec<PeerConfig> {
    let mut peers = Vec::new();
    for peer in &raw.peers {
        let mut units = Vec::new();
        for (interface, addresses) in &peer.addresses {
            let named = |port: &raw::Port| {
                let name = port.interface.as_ref();
                name.is_some_and(|name| name.get_ref() == interface.get_ref())
            };
            let Some(place) = raw.ports.iter().position(named) else {
                let names = raw.ports.iter().filter_map(|port| port.interface.as_ref());
                let known: Vec<&str> = names.map(|name| name.get_ref().as_str()).collect();
                let cure = match nearest(interface.get_ref(), &known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("ports here are `{}`", known.join("`, `")),
                };
                let message = format!("no port is called `{}`", interface.get_ref());
                findings.wrong(&interface.span(), message, cure);
                continue;
            };
            let id = port_number(&raw.ports[place], place);
            units.extend(addresses.iter().map(|address| (id, *address.get_ref())));
        }
        if let Some(node) = byte(peer.id.as_ref()) {
            let node = NodeId(node);
            peers.push(PeerConfig { node, units });
        }
    }
    peers
}

/// Names of nodes are different, or nobody knows whom an alert means (R1.4).
fn check_names(raw: &Raw, findings: &mut Findings) {
    let own = raw.node.name.iter();
    let all: Vec<&Spanned<String>> = own
        .chain(raw.peers.iter().filter_map(|peer| peer.name.as_ref()))
        .collect();
    for (place, name) in all.iter().enumerate() {
        let earlier = all
            .iter()
            .take(place)
            .find(|other| other.get_ref() == name.get_ref());
        if let Some(earlier) = earlier {
            findings.wrong_twice(
                &name.span(),
                Some((&earlier.span(), "and here")),
                format!("two nodes are called `{}`", name.get_ref()),
                "give each node a name of its own",
            );
        }
    }
}

/// What is allowed and seldom meant.
fn advise(raw: &Raw, parts: &Parts, findings: &mut Findings) {
    let number = parts.virtual_router;
    if (1..ROUTER_ADVISED_MIN).contains(&number) {
        let usual = "virtual routers up to 10 are often used by other devices; 11 to 255 are safer";
        let (place, text) = match &raw.cluster.virtual_router {
            Some(written) => (written.span(), usual.to_owned()),
            None => {
                let why = "by the last byte of the lowest virtual address";
                let text = format!("`virtual_router` is {number}, {why}: {usual}");
                (raw.cluster.place.clone(), text)
            }
        };
        findings.note(&place, "virtual_router", text);
    }
    if parts.peers.is_empty() {
        findings.note(
            &(0..0),
            "peer",
            "no `[[peer]]` is listed: this node serves alone",
        );
    }
    let paths = parts.ports.iter().filter(|port| port.heartbeat).count();
    let witness = parts.witness.is_some_and(|it| it.node == parts.node);
    if paths == 1 && !parts.peers.is_empty() && !witness {
        let text = "one port alone carries heartbeats; a second path tells a dead peer from a \
                    dead switch";
        findings.note(&(0..0), "heartbeat", text);
    }
    if !parts
        .ports
        .iter()
        .any(|port| port.heartbeat && !port.secondary)
        && paths > 0
        && !parts.peers.is_empty()
        && !witness
    {
        let text = "every path is secondary, so none is told of when it is left alone; mark those \
                    you count on `heartbeat = \"primary\"`";
        findings.note(&(0..0), "heartbeat ranks", text);
    }
    for port in raw.ports.iter().filter(|port| port.virtuals.is_empty()) {
        if let Some(neighbour) = &port.neighbour {
            let text = "`neighbour` has no effect on a port without virtual addresses";
            findings.note(&neighbour.span(), "neighbour unserved", text);
        }
        if let Some(action) = &port.action {
            let text = "`action` has no effect on a port without virtual addresses";
            findings.note(&action.span(), "action unserved", text);
        }
    }
}
