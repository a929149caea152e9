//! The frames that clients, servers and peers send in the stories.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::MacAddr;
use steadfast_core::wire::carriage::{self, Route, UDP_PORT};

pub(crate) type Mac = [u8; 6];

/// A station on the far end of every wire. No interface has this address.
pub(crate) const STATION: Mac = [2, 0, 0, 0, 0, 9];
pub(crate) const VIRTUAL_MAC: Mac = [0, 0, 0x5e, 0, 1, 0x33];
const BROADCAST: Mac = [0xff; 6];

pub(crate) fn ethernet(to: Mac, from: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&to[..], &from[..], &ethertype.to_be_bytes(), payload].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// An advertisement with this mark (2 active, 3 offering).
pub(crate) fn advert(mark: u8) -> Vec<u8> {
    ethernet(
        [3, 0x53, 0x46, 0, 0, 1],
        [2, 0, 0, 0, 0, 1],
        0x88b5,
        &[1, mark, 1],
    )
}

/// The same in a datagram: to everybody, or as this changes it.
pub(crate) fn advert_datagram(mark: u8, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let route = Route {
        station: MacAddr::BROADCAST,
        from: Ipv4Addr::new(10, 0, 1, 11),
        to: Ipv4Addr::BROADCAST,
        port: UDP_PORT,
    };
    let mut frame = carriage::datagram(&advert(mark), &route);
    change(&mut frame);
    frame
}

fn arp(operation: u8, to: Mac, (mac, sender): (Mac, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    let body = [&head[..], &mac, &sender.octets(), &[0; 6], &target.octets()];
    ethernet(to, mac, 0x0806, &body.concat())
}

pub(crate) fn arp_request(sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp(1, BROADCAST, (STATION, sender), target)
}

/// A gratuitous ARP reply: "this address is at this MAC".
pub(crate) fn announcement(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    arp(2, BROADCAST, (mac, address), address)
}

/// Whether the frame is an ARP reply from this address.
pub(crate) fn is_arp_reply(frame: &[u8], from: Ipv4Addr) -> bool {
    frame.get(12..14) == Some(&[8, 6])
        && frame.get(21) == Some(&2)
        && frame.get(28..32) == Some(&from.octets())
}

/// A datagram of protocol 253 with this body.
pub(crate) fn datagram(to: Mac, source: IpAddr, target: IpAddr, body: &[u8]) -> Vec<u8> {
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            ethernet(to, STATION, 0x0800, &v4_packet(source, target, body))
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => ethernet(
            to,
            STATION,
            0x86dd,
            &v6_packet(source, target, (253, 64), body),
        ),
        _ => panic!("{source} and {target} are of different kinds"),
    }
}

fn v4_packet(source: Ipv4Addr, target: Ipv4Addr, body: &[u8]) -> Vec<u8> {
    let len = u8::try_from(20 + body.len()).unwrap();
    let head = [0x45, 0, 0, len, 0, 0, 0, 0, 64, 253, 0, 0];
    let mut packet = [&head[..], &source.octets(), &target.octets(), body].concat();
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn v6_packet(source: Ipv6Addr, target: Ipv6Addr, (next, hops): (u8, u8), body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    let head = [0x60, 0, 0, 0, len[0], len[1], next, hops];
    [&head[..], &source.octets(), &target.octets(), body].concat()
}

/// A neighbour solicitation sent straight to the target's MAC.
pub(crate) fn solicitation(to: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let option = [&[1, 1][..], &STATION].concat();
    let mut body = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), &option].concat();
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    let pseudo = [
        &source.octets()[..],
        &target.octets(),
        &len,
        &[0, 0, 0, 58],
        &body,
    ]
    .concat();
    body[2..4].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    ethernet(
        to,
        STATION,
        0x86dd,
        &v6_packet(source, target, (58, 255), &body),
    )
}

/// An unsolicited neighbour advertisement; nobody checks its sum.
pub(crate) fn advertisement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    let all = Ipv6Addr::from([0xff02, 0, 0, 0, 0, 0, 0, 1]);
    let body = [&[136, 0, 0, 0, 0xa0, 0, 0, 0][..], &address.octets()].concat();
    ethernet(
        [0x33, 0x33, 0, 0, 0, 1],
        mac,
        0x86dd,
        &v6_packet(address, all, (58, 255), &body),
    )
}

pub(crate) fn is_advertisement(frame: &[u8], target: Ipv6Addr) -> bool {
    frame.get(20) == Some(&58)
        && frame.get(54) == Some(&136)
        && frame.get(62..78) == Some(&target.octets())
}

pub(crate) fn holds(frame: &[u8], body: &[u8]) -> bool {
    frame.windows(body.len()).any(|window| window == body)
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
