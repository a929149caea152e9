//! The frames that stations send to the machine, and that programs on it send.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::MacAddr;
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::ethernet::{self, ethertype};
use steadfast_core::wire::ndisc::{self, NeighbourAdvert, NeighbourSolicit};
use steadfast_core::wire::{advert, announce};

use super::ground::{Station, mac};

/// The IP protocol of datagrams: for experiments (RFC 3692).
pub const DATAGRAM: u8 = 253;
/// Hops that a packet starts with.
pub const HOPS: u8 = 64;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const V4_LEN: u16 = 20;
const BODY: &[u8] = b"a statement's own";

/// A station asks the machine's port who has an address: ARP, or a neighbour solicitation.
pub fn question(station: Station, target: IpAddr) -> Vec<u8> {
    question_as(station, station.like(target), target, mac(station.port))
}

/// The same in the name of any address, to any hardware address.
///
/// # Panics
/// If both addresses are not of the same version.
pub fn question_as(station: Station, asker: IpAddr, target: IpAddr, to: MacAddr) -> Vec<u8> {
    match (asker, target) {
        (IpAddr::V4(asker), IpAddr::V4(target)) => {
            announce::arp_request(station.mac, to, asker, target)
        }
        (IpAddr::V6(asker), IpAddr::V6(target)) => {
            announce::ns_request(station.mac, to, asker, target)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            panic!("{asker} and {target} are of different versions")
        }
    }
}

/// A solicitation to the group of its target, as for a first contact; none for IPv4.
pub fn group_solicit(station: Station, target: IpAddr) -> Option<Vec<u8>> {
    let (IpAddr::V6(source), IpAddr::V6(target)) = (station.v6, target) else {
        return None;
    };
    let destination = ndisc::solicited_node(target);
    let solicit = NeighbourSolicit {
        source,
        destination,
        target,
        link_layer: Some(station.mac),
    };
    Some(solicit.frame(ndisc::group_mac(destination), station.mac))
}

/// A station answers what the machine asked for: it is there. `overrides` counts for IPv6 alone.
///
/// # Panics
/// If both addresses are not of the same version.
pub fn reply(station: Station, asker: IpAddr, overrides: bool) -> Vec<u8> {
    let own = mac(station.port);
    match (station.like(asker), asker) {
        (IpAddr::V4(address), IpAddr::V4(asker)) => {
            let arp = Arp {
                operation: Operation::Reply,
                sender_mac: station.mac,
                sender_ip: address,
                target_mac: own,
                target_ip: asker,
            };
            arp.frame(own, station.mac)
        }
        (IpAddr::V6(target), IpAddr::V6(destination)) => {
            let advert = NeighbourAdvert {
                source: target,
                destination,
                target,
                router: false,
                solicited: true,
                overrides,
                link_layer: Some(station.mac),
            };
            advert.frame(own, station.mac)
        }
        (address, asker) => panic!("{address} and {asker} are of different versions"),
    }
}

/// "This address is at this station", to everybody: as an ARP request, or as a reply.
pub fn gratuitous(station_mac: MacAddr, address: IpAddr) -> [Vec<u8>; 2] {
    let IpAddr::V4(address) = address else {
        return [Vec::new(), Vec::new()];
    };
    announce::gratuitous_arp(station_mac, address)
}

/// The same for IPv6, with or without the override flag.
pub fn unsolicited(station_mac: MacAddr, address: IpAddr, overrides: bool) -> Vec<u8> {
    let IpAddr::V6(target) = address else {
        return Vec::new();
    };
    let advert = NeighbourAdvert {
        source: target,
        destination: ndisc::ALL_NODES,
        target,
        router: true,
        solicited: false,
        overrides,
        link_layer: Some(station_mac),
    };
    advert.frame(ndisc::group_mac(ndisc::ALL_NODES), station_mac)
}

/// What a program on the machine tells all hosts: that packets go by this link-local address for
/// ten minutes (RFC 4861 §4.2).
pub fn router_advert(station_mac: MacAddr, source: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, HOPS, 0, 2, 0x58, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    message.extend_from_slice(&station_mac.0);
    let sum = ndisc::checksum(source, ndisc::ALL_NODES, ICMPV6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut out = Vec::new();
    let group = ndisc::group_mac(ndisc::ALL_NODES);
    ethernet::header(&mut out, group, station_mac, ethertype::IPV6);
    let length = u8::try_from(message.len()).unwrap_or(u8::MAX);
    out.extend_from_slice(&[0x60, 0, 0, 0, 0, length, ICMPV6, 255]);
    out.extend_from_slice(&source.octets());
    out.extend_from_slice(&ndisc::ALL_NODES.octets());
    out.extend_from_slice(&message);
    out
}

/// An advertisement's head with this role mark: 2 is active, 3 is offering.
pub fn advertisement(source: MacAddr, mark: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let group = advert::GROUP_MAC;
    ethernet::header(&mut out, group, source, ethertype::STEADFAST);
    out.extend_from_slice(&[1, mark, 0, 0, 0, 0]);
    out
}

/// A datagram from a station, to a hardware address, with this many hops to go.
pub fn datagram(station: Station, to: MacAddr, ends: (IpAddr, IpAddr), hops: u8) -> Vec<u8> {
    packet((to, station.mac), ends, (DATAGRAM, hops), BODY)
}

/// An echo request from a station to one of the machine's addresses.
pub fn echo(station: Station, target: IpAddr) -> Vec<u8> {
    let source = station.like(target);
    let kind = if target.is_ipv4() { 8 } else { 128 };
    let mut message = [&[kind, 0, 0, 0, 0x53, 0x46, 0, 1][..], BODY].concat();
    let (protocol, sum) = match (source, target) {
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let sum = ndisc::checksum(source, target, ICMPV6, &message);
            (ICMPV6, sum)
        }
        _ => (ICMP, checksum(&message)),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let stations = (mac(station.port), station.mac);
    packet(stations, (source, target), (protocol, HOPS), &message)
}

/// A packet in a frame; empty if the versions of its ends differ.
fn packet(
    (to, from): (MacAddr, MacAddr),
    ends: (IpAddr, IpAddr),
    (protocol, hops): (u8, u8),
    body: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    let len = u16::try_from(body.len()).unwrap_or(0);
    match ends {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ethernet::header(&mut out, to, from, ethertype::IPV4);
            let head = v4_header((source, destination), (protocol, hops), len + V4_LEN);
            out.extend_from_slice(&head);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ethernet::header(&mut out, to, from, ethertype::IPV6);
            let [l0, l1] = len.to_be_bytes();
            out.extend_from_slice(&[0x60, 0, 0, 0, l0, l1, protocol, hops]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return out,
    }
    out.extend_from_slice(body);
    out
}

fn v4_header(ends: (Ipv4Addr, Ipv4Addr), (protocol, hops): (u8, u8), len: u16) -> [u8; 20] {
    let mut head = [0; 20];
    head[0] = 0x45;
    head[2..4].copy_from_slice(&len.to_be_bytes());
    head[8] = hops;
    head[9] = protocol;
    head[12..16].copy_from_slice(&ends.0.octets());
    head[16..20].copy_from_slice(&ends.1.octets());
    let sum = checksum(&head);
    head[10..12].copy_from_slice(&sum.to_be_bytes());
    head
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}
