//! Which frames the daemon's packet sockets ask for, as its filter in the kernel does.

use steadfast_core::wire::carriage::{HOPS, UDP_PORT};
use steadfast_core::wire::ethernet::{self, ethertype};

use super::packet::protocol;

/// Whether the daemon's packet sockets ask for this frame: advertisements, ARP, neighbour
/// discovery, and foreign speakers; on a port with a router also advertisements that came through
/// it.
pub(super) fn is_captured(frame: &ethernet::Frame<'_>, routed: bool) -> bool {
    let at = |index: usize| frame.payload.get(index).copied();
    match frame.ethertype {
        ethertype::STEADFAST | ethertype::ARP => true,
        ethertype::IPV4 => {
            let may = if routed { 1..=HOPS } else { HOPS..=HOPS };
            at(9) == Some(protocol::VRRP) || looks_like_ours(frame.payload, may)
        }
        ethertype::IPV6 => at(6) == Some(protocol::VRRP) || is_discovery(frame.payload),
        _ => false,
    }
}

/// Whether an IPv4 packet looks as advertisements in datagrams do when they leave, class of service
/// and hop limit included.
pub(super) fn is_datagram(packet: &[u8]) -> bool {
    packet.get(1) == Some(&0xc0) && looks_like_ours(packet, HOPS..=HOPS)
}

fn looks_like_ours(packet: &[u8], hops: core::ops::RangeInclusive<u8>) -> bool {
    let [high, low] = UDP_PORT.to_be_bytes();
    let whole = |piece: &[u8]| matches!(*piece, [high, 0] if high & 0x3f == 0);
    packet.first() == Some(&0x45)
        && packet.get(8).is_some_and(|left| hops.contains(left))
        && packet.get(9) == Some(&17)
        && packet.get(20..24) == Some(&[high, low, high, low])
        && packet.get(6..8).is_some_and(whole)
}

/// Whether an IPv6 packet is a neighbour solicitation or advertisement.
pub(super) fn is_discovery(packet: &[u8]) -> bool {
    packet.get(6) == Some(&protocol::ICMPV6) && matches!(packet.get(40), Some(135 | 136))
}
