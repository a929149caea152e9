//! What a file of virtual routers says, held against what this machine is.
//!
//! The hard case is what an earlier life left behind. On kernels that forget who put an address
//! there it looks like the machine's own, but for its prefix: a virtual address is a host's (/32,
//! /128) and belongs to no subnet. Whoever really owns such an address says so with priority 255.

use std::net::IpAddr;

use steadfast_core::MacAddr;
use steadfast_core::wire::vrrp::OWNER;
use toml::Spanned;

use super::super::mistake::{Findings, nearest};
use super::super::{InterfaceFacts, Interfaces};
use super::Written;

/// Most addresses of an IPv6 router: more make a message that is longer than a frame.
const IPV6_ADDRESSES_MAX: usize = 90;

/// What the interface is; a stand-in when it is not there.
pub(super) fn look(
    name: &Spanned<String>,
    interfaces: &dyn Interfaces,
    findings: &mut Findings,
) -> InterfaceFacts {
    if let Some(facts) = interfaces.interface(name.get_ref()) {
        if facts.mac == MacAddr::ZERO || facts.mac.is_group() {
            let message = format!("interface `{}` has no Ethernet address", name.get_ref());
            findings.wrong(&name.span(), message, "use an Ethernet interface");
        }
        return facts;
    }
    missing(name, interfaces, findings);
    InterfaceFacts {
        mac: MacAddr([2, 0, 0, 0, 0, 0]),
        units: Vec::new(),
    }
}

fn missing(name: &Spanned<String>, interfaces: &dyn Interfaces, findings: &mut Findings) {
    if !interfaces.here() {
        return;
    }
    let names = interfaces.names();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let cure = match nearest(name.get_ref(), &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("this machine has `{}`", known.join("`, `")),
    };
    let message = format!("there is no interface `{}`", name.get_ref());
    findings.wrong(&name.span(), message, cure);
}

/// What an owner cannot have: its address is its link's own and stays there, whatever it tracks and
/// in whatever name it speaks.
pub(super) fn check_owner(written: &Written, findings: &mut Findings) {
    let priority = written.priority.as_ref().map(|it| *it.get_ref());
    if priority != Some(u64::from(OWNER)) {
        return;
    }
    let cure = "leave it out, or give the router a priority below 255 and an address of its own";
    if let Some(name) = written.track.first() {
        let message = "the owner of an address answers for it whatever it tracks, beside whoever \
                       took over";
        findings.wrong(&name.span(), message, cure);
    }
    if let Some(virtual_mac) = &written.virtual_mac
        && *virtual_mac.get_ref()
    {
        let message = "the owner of an address answers for it with its link's own MAC";
        findings.wrong(&virtual_mac.span(), message, cure);
    }
}

/// Interfaces that are tracked: there, and others than the router's own.
pub(super) fn check_track(
    written: &Written,
    own: &Spanned<String>,
    interfaces: &dyn Interfaces,
    findings: &mut Findings,
) {
    for name in &written.track {
        if name.get_ref() == own.get_ref() {
            let message = format!("`{}` is the router's own link", name.get_ref());
            findings.wrong(&name.span(), message, "leave it out: it is watched anyway");
        } else if interfaces.interface(name.get_ref()).is_none() {
            missing(name, interfaces, findings);
        }
    }
    if let Some(weight) = written
        .track_weight
        .as_ref()
        .filter(|_| written.track.is_empty())
    {
        let message = "`track_weight` weighs nothing: no link is tracked";
        findings.wrong(
            &weight.span(),
            message,
            "write `track = [\"wan0\"]`, or leave it out",
        );
    }
}

/// Addresses that hosts can send to, and so many that a message holds them.
pub(super) fn check_addresses(addresses: &[Spanned<IpAddr>], findings: &mut Findings) {
    for address in addresses {
        let ip = address.get_ref();
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        if ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() || broadcast {
            let message = format!("{ip} is no address of a host");
            findings.wrong(&address.span(), message, "write one of the link's subnet");
        }
    }
    let ipv6 = addresses.iter().filter(|it| it.get_ref().is_ipv6());
    if let Some(first) = ipv6.clone().nth(IPV6_ADDRESSES_MAX) {
        let message = format!("more than {IPV6_ADDRESSES_MAX} IPv6 addresses fit into no message");
        findings.wrong(&first.span(), message, "put the rest into another router");
    }
}

/// Whether it is another address on each link.
pub(super) const fn is_of_a_link(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The addresses that are the machine's own. Only who owns them all may have any.
pub(super) fn own(
    addresses: &[Spanned<IpAddr>],
    facts: &InterfaceFacts,
    priority: u8,
    findings: &mut Findings,
) -> Vec<IpAddr> {
    let owner = priority == OWNER;
    let is_host = |(unit, prefix): &(IpAddr, u8)| *prefix == if unit.is_ipv4() { 32 } else { 128 };
    let is_own = |address: &IpAddr| {
        let mut units = facts.units.iter();
        units.any(|unit| unit.0 == *address && (owner || !is_host(unit)))
    };
    let elsewhere = facts.units.is_empty();
    let mut own = Vec::new();
    for address in addresses {
        let ip = address.get_ref();
        // On another machine its owner is believed.
        if is_own(ip) || (owner && elsewhere) {
            own.push(*ip);
        }
        if is_own(ip) && !owner {
            let message = format!("{ip} is this machine's own address");
            let cure = "write `priority = 255` if it owns the address; else remove it from the \
                        interface";
            findings.wrong(&address.span(), message, cure);
        }
        if owner && !elsewhere && !is_own(ip) {
            let message = format!("{ip} is not this machine's own address");
            let cure = "an owner (priority 255) has all of its addresses; write at most 254";
            findings.wrong(&address.span(), message, cure);
        }
    }
    own
}

/// Where messages come from: as written, else an owned address, else the first of the family.
pub(super) fn primary(
    written: &[Spanned<IpAddr>],
    facts: &InterfaceFacts,
    (ipv6, own): (bool, &[IpAddr]),
    interface: &Spanned<String>,
    findings: &mut Findings,
) -> IpAddr {
    let fits = |address: &IpAddr| match address {
        IpAddr::V4(_) => !ipv6,
        IpAddr::V6(address) => ipv6 && address.is_unicast_link_local(),
    };
    let units: Vec<IpAddr> = facts.units.iter().map(|(unit, _)| *unit).collect();
    if let Some(second) = written.get(1) {
        findings.wrong(&second.span(), "`source` is one address", "keep the first");
    }
    let what = if ipv6 { "link-local IPv6" } else { "IPv4" };
    if let Some(written) = written.first() {
        let (address, name) = (written.get_ref(), interface.get_ref());
        let cure = "write one that it has, or leave it out";
        if !fits(address) {
            let message = format!("`source` {address} is no {what} address");
            findings.wrong(&written.span(), message, cure);
        } else if !units.is_empty() && !units.contains(address) {
            let message = format!("`source` {address} is no address of `{name}`");
            findings.wrong(&written.span(), message, cure);
        }
        return *address;
    }
    if let Some(found) = own.iter().chain(&units).find(|it| fits(it)) {
        return *found;
    }
    if !units.is_empty() {
        let name = interface.get_ref();
        let message = format!("`{name}` has no {what} address to speak from");
        findings.wrong(&interface.span(), message, "give it one of its own");
    }
    if ipv6 {
        IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1])
    } else {
        IpAddr::from([192, 0, 2, 1])
    }
}
