//! Telling a segment who has an address, and asking who has it: the frames of a takeover.
//!
//! Hosts send to the MAC they remember. After a takeover they must hear of the new one, or, with a
//! virtual MAC, the switches must see it on another port; both come of the same frames (R5.5).
//! When to send and how often is decided elsewhere; this file only builds.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::arp::{Arp, Operation};
use super::ethernet::{self, Frame, ethertype};
use super::ndisc::{self, NeighbourAdvert, NeighbourSolicit};
use crate::MacAddr;

/// Announces `ip` at `mac` to everybody in both forms of ARP.
pub fn gratuitous_arp(mac: MacAddr, ip: Ipv4Addr) -> [Vec<u8>; 2] {
    [gratuitous_request(mac, ip), gratuitous_reply(mac, ip)]
}

/// Announces `ip` at `mac` to everybody as a request, which RFC 5227 §3 prefers since every stack
/// updates its cache on it.
pub fn gratuitous_request(mac: MacAddr, ip: Ipv4Addr) -> Vec<u8> {
    gratuitous(Operation::Request, mac, ip, MacAddr::ZERO)
}

/// Announces `ip` at `mac` to everybody as a reply, for the few that ignore the request (RFC 5944
/// §4.6).
pub fn gratuitous_reply(mac: MacAddr, ip: Ipv4Addr) -> Vec<u8> {
    gratuitous(Operation::Reply, mac, ip, mac)
}

fn gratuitous(operation: Operation, mac: MacAddr, ip: Ipv4Addr, target_mac: MacAddr) -> Vec<u8> {
    let arp = Arp {
        operation,
        sender_mac: mac,
        sender_ip: ip,
        target_mac,
        target_ip: ip,
    };
    arp.frame(MacAddr::BROADCAST, mac)
}

/// Announces `ip` at `mac` to everybody, as a router and replacing what they knew (RFC 4861
/// §7.2.6; flags R and O, D17).
pub fn unsolicited_na(mac: MacAddr, ip: Ipv6Addr) -> Vec<u8> {
    let advert = NeighbourAdvert {
        source: ip,
        destination: ndisc::ALL_NODES,
        target: ip,
        router: true,
        solicited: false,
        overrides: true,
        link_layer: Some(mac),
    };
    advert.frame(ndisc::group_mac(ndisc::ALL_NODES), mac)
}

/// Shows switches where a station is now, and hosts nothing: a request of reverse ARP that asks for
/// its own address, as hypervisors send for a machine that moved. What polices or inspects ARP
/// lets it pass.
pub fn station(mac: MacAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(ethernet::HEADER_LEN + 28);
    ethernet::header(&mut out, MacAddr::BROADCAST, mac, ethertype::RARP);
    // Ethernet and IPv4, request reverse; nobody's address.
    out.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 3]);
    for _ in 0..2 {
        out.extend_from_slice(&mac.0);
        out.extend_from_slice(&[0; 4]);
    }
    out
}

/// Joins the solicited-node group of `ip` by MLD version 2, so that a snooping switch passes
/// solicitations for it (D17). Sent from `::`, as the address is not ours to speak from yet:
/// switches learn from it, routers ignore it (RFC 3590).
pub fn mld_report(mac: MacAddr, ip: Ipv6Addr) -> Vec<u8> {
    ndisc::mld2_report(mac, Ipv6Addr::UNSPECIFIED, ndisc::solicited_node(ip))
}

/// Whether a frame of the node's own, on a port with this MAC, says that an address or a station is
/// here: what only the owner may say. What asks does not, nor does an advertisement.
pub fn claims_to_own(frame: &Frame<'_>, port: MacAddr) -> bool {
    let tells = match frame.ethertype {
        ethertype::ARP => Arp::parse(frame.payload)
            .is_some_and(|arp| arp.operation == Operation::Reply || arp.sender_ip == arp.target_ip),
        ethertype::IPV6 => NeighbourAdvert::parse(frame.payload).is_some(),
        ethertype::STEADFAST => return false,
        _ => false,
    };
    tells || frame.source != port
}

/// Asks who has `target_ip`. To one MAC, it asks that node's kernel alone whether it still owns
/// the address (D8). `sender_ip` is our own unit address or 0.0.0.0, never a virtual one.
pub fn arp_request(
    source: MacAddr,
    destination: MacAddr,
    sender_ip: Ipv4Addr,
    target_ip: Ipv4Addr,
) -> Vec<u8> {
    let (operation, target_mac) = (Operation::Request, MacAddr::ZERO);
    let arp = Arp {
        operation,
        sender_mac: source,
        sender_ip,
        target_mac,
        target_ip,
    };
    arp.frame(destination, source)
}

/// Asks who has `target_ip`, as [`arp_request`] does. From a real address it is a plain unicast
/// solicitation (RFC 4861 §7.3.3). From `::` it must look like duplicate address detection, to the
/// group (RFC 4861 §4.3); the answer then goes to all nodes. To a group MAC it asks everybody.
pub fn ns_request(
    source: MacAddr,
    destination: MacAddr,
    sender_ip: Ipv6Addr,
    target_ip: Ipv6Addr,
) -> Vec<u8> {
    let nameless = sender_ip.is_unspecified();
    let to_all = nameless || destination.is_group();
    let solicit = NeighbourSolicit {
        source: sender_ip,
        destination: if to_all {
            ndisc::solicited_node(target_ip)
        } else {
            target_ip
        },
        target: target_ip,
        link_layer: (!nameless).then_some(source),
    };
    solicit.frame(destination, source)
}

#[cfg(test)]
mod tests;
