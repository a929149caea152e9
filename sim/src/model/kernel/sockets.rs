//! Which frames the daemon's packet sockets ask for, as its filter in the kernel does.

use steadfast_core::wire::carriage::UDP_PORT;
use steadfast_core::wire::ethernet::{self, ethertype};

use super::packet::protocol;

/// Whether the daemon's packet sockets ask for this frame: advertisements, ARP, neighbour
/// discovery, and foreign speakers.
pub(super) fn is_captured(frame: &ethernet::Frame<'_>) -> bool {
    let at = |index: usize| frame.payload.get(index).copied();
    match frame.ethertype {
        ethertype::STEADFAST | ethertype::ARP => true,
        ethertype::IPV4 => at(9) == Some(protocol::VRRP) || is_datagram(frame.payload),
        ethertype::IPV6 => at(6) == Some(protocol::VRRP) || is_discovery(frame.payload),
        _ => false,
    }
}

/// Whether an IPv4 packet is to the UDP port of advertisements, and begins as they do.
fn is_datagram(packet: &[u8]) -> bool {
    let udp = packet.starts_with(&[0x45, 0xc0]) && packet.get(9) == Some(&17);
    udp && packet.get(22..24) == Some(&UDP_PORT.to_be_bytes())
}

/// Whether an IPv6 packet is a neighbour solicitation or advertisement.
pub(super) fn is_discovery(packet: &[u8]) -> bool {
    packet.get(6) == Some(&protocol::ICMPV6) && matches!(packet.get(40), Some(135 | 136))
}
