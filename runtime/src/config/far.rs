//! Rules of peers beyond a router (R2.5): the router is one, leads somewhere, and no gateway that
//! serves the same addresses is behind it.
//!
//! Whoever shares a virtual address is on its segment. So a gateway whose address on a served port
//! lies elsewhere is a slip of the pen, and would be sent heartbeats that arrive nowhere; a witness
//! serves nothing and may be anywhere.

use std::net::IpAddr;

use steadfast_core::PortId;
use steadfast_core::config::{Parts, PeerConfig, PortConfig};
use toml::Spanned;

use super::addresses::{kind_of, subnets};
use super::mistake::Findings;
use super::raw::{Peer, Port, Raw, byte};

/// Checks the router of a port and who is behind it.
pub(super) fn check(
    raw: &Raw,
    (port, known): (&Port, &PortConfig),
    parts: &Parts,
    findings: &mut Findings,
) {
    let Some(router) = &port.via else {
        return;
    };
    check_router(router, parts, known, findings);
    let witness = raw.witness.as_ref().and_then(|it| byte(it.node.as_ref()));
    for peer in &raw.peers {
        let serves = !known.virtuals.is_empty() && byte(peer.id.as_ref()) != witness;
        check_peer(peer, known, serves, findings);
    }
}

/// A port's router is another IPv4 station, and leads to some peer.
fn check_router(
    router: &Spanned<IpAddr>,
    parts: &Parts,
    known: &PortConfig,
    findings: &mut Findings,
) {
    let (ip, place) = (*router.get_ref(), router.span());
    let own = known.virtuals.contains(&ip) || known.units.iter().any(|unit| unit.0 == ip);
    let leads = |peer: &PeerConfig| {
        let there = |(port, unit): &(PortId, IpAddr)| *port == known.id && is_beyond(*unit, known);
        peer.units.iter().any(there)
    };
    if ip.is_ipv6() {
        let message = format!("router {ip} is an IPv6 address; heartbeats in datagrams are IPv4");
        findings.wrong(&place, message, "write the router's IPv4 address");
    } else if own {
        let message = format!("router {ip} is this gateway's own or a virtual address");
        let cure = "name the router that leads to the peers on other segments";
        findings.wrong(&place, message, cure);
    } else if let Some(kind) = kind_of(ip) {
        let message = format!("router {ip} is {kind}");
        findings.wrong(&place, message, "name one station");
    } else if !known.units.is_empty() && !known.units.iter().any(|unit| unit.0.is_ipv4()) {
        let message = format!(
            "`{}` has no IPv4 address, and its router is one",
            known.name
        );
        findings.wrong(&place, message, "give the port an IPv4 address of its own");
    } else if !known.units.is_empty() && !parts.peers.iter().any(leads) {
        let text = "`via` leads to no peer: each peer's `addresses` here lie on this segment";
        findings.note(&place, "via", text);
    }
}

/// A peer is on one side of the router, and on this one if it serves the port's addresses, too.
fn check_peer(peer: &Peer, known: &PortConfig, serves: bool, findings: &mut Findings) {
    let here = |(name, _): &&(Spanned<String>, Vec<_>)| *name.get_ref() == known.name;
    let listed = peer.addresses.iter().filter(here).flat_map(|(_, all)| all);
    let (far, near): (Vec<_>, Vec<_>) = listed
        .filter(|ip| ip.get_ref().is_ipv4())
        .partition(|ip| is_beyond(*ip.get_ref(), known));
    let Some(first) = far.first() else {
        return;
    };
    let (ip, name) = (first.get_ref(), &known.name);
    if serves {
        let message = format!("{ip} is beyond the router of `{name}`, whose addresses it shares");
        let cure = format!(
            "{}; only a witness, or a gateway on a port without virtual \
             addresses, may be elsewhere",
            subnets(&known.units)
        );
        findings.wrong(&first.span(), message, cure);
    } else if !near.is_empty() {
        let message =
            format!("{ip} is beyond the router of `{name}`, another of its addresses not");
        let cure = "list the addresses that the peer has on one side alone";
        findings.wrong(&first.span(), message, cure);
    }
}

/// Whether the port has a router that leads to an address (R2.5).
pub(super) fn is_beyond(ip: IpAddr, port: &PortConfig) -> bool {
    matches!(ip, IpAddr::V4(ip) if port.is_beyond(ip))
}
