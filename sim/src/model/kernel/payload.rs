//! What the fence reads in a frame: the role mark, and the addresses that its chains ask about.
//!
//! The rules of nf_tables look at fixed places of a payload; so does this, and nothing else of a
//! packet is understood here.

use core::net::IpAddr;

use steadfast_core::wire::carriage::DATAGRAM_LEN;
use steadfast_core::wire::ethernet::{Frame, ethertype};

use super::sockets::is_datagram;

/// Where the guard reads the role mark, counted from the payload's start (byte 15 of the frame).
const MARK_AT: usize = 1;
pub(super) const MARK_ACTIVE: u8 = 2;
pub(super) const MARK_OFFERING: u8 = 3;
pub(super) const SOLICIT: u8 = 135;
pub(super) const ADVERTISE: u8 = 136;

/// What an advertisement says of its sender, in whatever it travels; one in a datagram begins on
/// this machine, since its hop limit is whole.
pub(super) fn mark(frame: &Frame<'_>) -> Option<u8> {
    let bytes = frame.payload;
    let at = match frame.ethertype {
        ethertype::STEADFAST => MARK_AT,
        ethertype::IPV4 if is_datagram(bytes) => MARK_AT + DATAGRAM_LEN,
        _ => return None,
    };
    bytes.get(at).copied()
}

/// The target of a neighbour solicitation or advertisement.
pub(super) fn target_of(packet: &[u8], message: u8) -> Option<IpAddr> {
    let is_wanted = *packet.get(6)? == 58 && *packet.get(40)? == message;
    is_wanted.then(|| v6_at(packet, 48)).flatten()
}

pub(super) fn destination_of(frame: &Frame<'_>) -> Option<IpAddr> {
    match frame.ethertype {
        ethertype::IPV4 => v4_at(frame.payload, 16),
        ethertype::IPV6 => v6_at(frame.payload, 24),
        _ => None,
    }
}

pub(super) fn source_of(frame: &Frame<'_>) -> Option<IpAddr> {
    match frame.ethertype {
        ethertype::IPV4 => v4_at(frame.payload, 12),
        ethertype::IPV6 => v6_at(frame.payload, 8),
        _ => None,
    }
}

fn v4_at(packet: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 4] = *packet.get(at..)?.first_chunk()?;
    Some(IpAddr::from(octets))
}

fn v6_at(packet: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 16] = *packet.get(at..)?.first_chunk()?;
    Some(IpAddr::from(octets))
}
