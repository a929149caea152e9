//! Rules of addresses that the core does not know: it sees values, this room sees the file.
//!
//! On every served port each node has an own address beside the shared ones, in the same subnet
//! (R5.2). Peers' own addresses are written down because the peer's kernel is asked for them (D8);
//! a wrong one would make a living peer look half dead, so it must lie in the subnet and be nobody
//! else's. The limit: whether an address really is the peer's is only seen when it answers.

use std::net::IpAddr;

use steadfast_core::config::{Parts, PortConfig};
use toml::Spanned;

use super::assemble::port_number;
use super::far;
use super::mistake::{Findings, Place};
use super::raw::{Port, Raw};

/// An own address with the length of its prefix.
type Unit = (IpAddr, u8);

/// The port's own addresses: those written first, then what else the interface has. Written ones
/// must be there, unless the interface has none yet (it may get them after this start).
pub(super) fn own_addresses(
    port: &Port,
    name: &Spanned<String>,
    found: Vec<Unit>,
    findings: &mut Findings,
) -> Vec<Unit> {
    let virtuals: Vec<IpAddr> = port.virtuals.iter().map(|it| *it.get_ref()).collect();
    let host = |unit: &Unit| unit.1 == if unit.0.is_ipv4() { 32 } else { 128 };
    let (left, mut found): (Vec<Unit>, Vec<Unit>) = found
        .into_iter()
        .partition(|unit| host(unit) && virtuals.contains(&unit.0));
    if !left.is_empty() {
        let text = format!(
            "virtual addresses are left on `{}` from before",
            name.get_ref()
        );
        findings.note(&name.span(), name.get_ref(), text);
    }
    let mut units = Vec::new();
    for written in &port.addresses {
        let unit = *written.get_ref();
        let global = found.iter().filter(|it| it.0.is_ipv4() == unit.0.is_ipv4());
        let others: Vec<String> = global
            .map(|(ip, prefix)| format!("{ip}/{prefix}"))
            .collect();
        if !found.contains(&unit) && !others.is_empty() {
            let message = format!(
                "interface `{}` does not have {}",
                name.get_ref(),
                show(unit)
            );
            let cure = format!("it has {}: mend one of the two", others.join(", "));
            findings.wrong(&written.span(), message, cure);
        }
        units.push(unit);
    }
    found.retain(|unit| !units.contains(unit));
    units.extend(found);
    units
}

/// Checks what stands between addresses of different tables.
pub(super) fn check(raw: &Raw, parts: &Parts, here: bool, findings: &mut Findings) {
    for (place, port) in raw.ports.iter().enumerate() {
        let Some(name) = port.interface.as_ref() else {
            continue;
        };
        let id = port_number(port, place);
        let same = |it: &&PortConfig| it.id == id && it.name == *name.get_ref();
        let Some(known) = parts.ports.iter().find(same) else {
            continue;
        };
        for address in &port.virtuals {
            check_virtual(address, known, findings);
        }
        check_own(port, name, known, here, findings);
        check_neighbour(port, known, findings);
        far::check(raw, (port, known), parts, findings);
        check_asked(raw, name, known, findings);
    }
    check_peers(raw, parts, findings);
}

/// A virtual address is a host's: no group, no loopback, not the subnet itself.
fn check_virtual(address: &Spanned<IpAddr>, port: &PortConfig, findings: &mut Findings) {
    let ip = *address.get_ref();
    let kind = kind_of(ip).or_else(|| {
        let edge = |unit: &Unit| is_edge(ip, *unit);
        port.units
            .iter()
            .any(edge)
            .then_some("the first or last address of its subnet")
    });
    if let Some(kind) = kind {
        let message = format!("virtual address {ip} is {kind}");
        findings.wrong(
            &address.span(),
            message,
            "choose a free address of the subnet",
        );
    }
}

/// A served port has an own address of each family that it serves (R5.2).
fn check_own(
    port: &Port,
    name: &Spanned<String>,
    known: &PortConfig,
    here: bool,
    findings: &mut Findings,
) {
    if !here || !known.units.is_empty() {
        return;
    }
    if let Some(first) = port.virtuals.first() {
        let message = format!("interface `{}` has no address of its own", name.get_ref());
        let cure = format!(
            "give it one in the subnet of {}, or write it here as `address = \"…/24\"`; each node \
             needs its own beside the shared one",
            first.get_ref()
        );
        findings.wrong(&name.span(), message, cure);
    }
}

fn check_neighbour(port: &Port, known: &PortConfig, findings: &mut Findings) {
    let Some(neighbour) = &port.neighbour else {
        return;
    };
    let ip = *neighbour.get_ref();
    let own = known.virtuals.contains(&ip) || known.units.iter().any(|unit| unit.0 == ip);
    if own {
        let message = format!("neighbour {ip} is this gateway's own or a virtual address");
        let cure = "name another station that is always on: a switch, a server, a printer";
        findings.wrong(&neighbour.span(), message, cure);
    } else if !in_a_subnet(ip, &known.units) {
        let message = format!("neighbour {ip} lies in none of the port's subnets");
        findings.wrong(&neighbour.span(), message, subnets(&known.units));
    } else if let Some(kind) = kind_of(ip) {
        let message = format!("neighbour {ip} is {kind}");
        findings.wrong(&neighbour.span(), message, "name one station");
    }
}

/// A peer without an address on a served segment cannot be asked there (D8).
fn check_asked(raw: &Raw, name: &Spanned<String>, known: &PortConfig, findings: &mut Findings) {
    if known.virtuals.is_empty() {
        return;
    }
    for peer in &raw.peers {
        let listed = |(port, list): &(Spanned<String>, Vec<_>)| {
            port.get_ref() == name.get_ref() && !list.is_empty()
        };
        if !peer.addresses.iter().any(listed) {
            let text = format!(
                "a peer has no address listed on `{}`: its kernel cannot be asked there, and \
                 failovers that need it are slower",
                name.get_ref()
            );
            findings.note(&peer.place, &format!("asked {}", name.get_ref()), text);
        }
    }
}

/// Peers' addresses lie in the port's subnet and are nobody else's.
fn check_peers(raw: &Raw, parts: &Parts, findings: &mut Findings) {
    let mut seen: Vec<(IpAddr, Place)> = Vec::new();
    for (interface, address) in raw.peers.iter().flat_map(|peer| {
        let each = |(name, list): &'_ (Spanned<String>, Vec<Spanned<IpAddr>>)| {
            let name = name.get_ref().clone();
            list.iter()
                .map(|ip| (name.clone(), ip.clone()))
                .collect::<Vec<_>>()
        };
        peer.addresses.iter().flat_map(each).collect::<Vec<_>>()
    }) {
        let ip = *address.get_ref();
        let place = address.span();
        let Some(port) = parts.ports.iter().find(|port| port.name == interface) else {
            continue;
        };
        let ours = parts
            .ports
            .iter()
            .any(|port| port.units.iter().any(|unit| unit.0 == ip));
        let earlier = seen.iter().find(|(other, _)| *other == ip);
        if ours {
            let message = format!("{ip} is this node's own address, not the peer's");
            findings.wrong(
                &place,
                message,
                "write the peer's own address on that interface",
            );
        } else if let Some((_, earlier)) = earlier.filter(|_| !link_local(ip)) {
            findings.wrong_twice(
                &place,
                Some((earlier, "and here")),
                format!("peer address {ip} is listed twice"),
                "each peer has its own address on each port",
            );
        } else if let Some(kind) = kind_of(ip) {
            let message = format!("peer address {ip} is {kind}");
            findings.wrong(
                &place,
                message,
                "write the peer's own address on that interface",
            );
        } else if !in_a_subnet(ip, &port.units) && !far::is_beyond(ip, port) {
            let message = format!("peer address {ip} lies in none of the subnets of `{interface}`");
            let cure = format!(
                "{}; or name the router that leads there: `via = \"…\"` in the `[[port]]`",
                subnets(&port.units)
            );
            findings.wrong(&place, message, cure);
        }
        seen.push((ip, place));
    }
}

/// Where a port's addresses lie, for a cure.
pub(super) fn subnets(units: &[Unit]) -> String {
    let all: Vec<String> = units.iter().map(|unit| show(*unit)).collect();
    if all.is_empty() {
        return "the port has no address of its own".to_owned();
    }
    format!(
        "the port's own addresses are {}; choose one in the same subnet",
        all.join(", ")
    )
}

/// Whether it lies in one of the subnets; without any, nobody knows.
fn in_a_subnet(ip: IpAddr, units: &[Unit]) -> bool {
    units.is_empty() || units.iter().any(|unit| same_subnet(ip, *unit))
}

fn same_subnet(ip: IpAddr, (unit, prefix): Unit) -> bool {
    ip.is_ipv4() == unit.is_ipv4() && (bits(ip) ^ bits(unit)) & mask(unit, prefix) == 0
}

/// The network's own address, or its broadcast address; IPv4 subnets of more than two.
fn is_edge(ip: IpAddr, (unit, prefix): Unit) -> bool {
    if !ip.is_ipv4() || prefix > 30 || !same_subnet(ip, (unit, prefix)) {
        return false;
    }
    let hosts = !mask(unit, prefix) & u128::from(u32::MAX);
    let host = bits(ip) & hosts;
    host == 0 || host == hosts
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

fn mask(ip: IpAddr, prefix: u8) -> u128 {
    let width = if ip.is_ipv4() { 32 } else { 128 };
    let host = width - u32::from(prefix).min(width);
    u128::MAX.checked_shl(host).unwrap_or(0)
}

pub(super) fn kind_of(ip: IpAddr) -> Option<&'static str> {
    let broadcast = ip == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    if ip.is_unspecified() {
        Some("no address at all")
    } else if ip.is_multicast() {
        Some("a multicast group")
    } else if ip.is_loopback() {
        Some("a loopback address")
    } else {
        broadcast.then_some("the broadcast address")
    }
}

fn link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn show((ip, prefix): Unit) -> String {
    format!("{ip}/{prefix}")
}
