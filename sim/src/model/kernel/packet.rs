//! IPv4 and IPv6 packets and echo messages as bytes, one view for both versions.
//!
//! Headers are real, checksums included, so that a capture of a simulated run decodes like one of
//! a gateway. Options and extension headers are carried but never written (RFC 791, RFC 8200).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::wire::ethernet::ethertype;

/// IP protocol numbers the models know.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// VRRP, and CARP which uses the same number.
    pub const VRRP: u8 = 112;
    /// Experiments and testing (RFC 3692): the models' through traffic.
    pub const DATAGRAM: u8 = 253;
}

/// Hops a packet starts with.
const HOPS: u8 = 64;
const V4_LEN: usize = 20;
const V6_LEN: usize = 40;
/// Type, code, checksum, identifier, sequence.
pub(super) const ECHO_LEN: usize = 8;

/// A packet taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) hops: u8,
    /// The packet without Ethernet padding.
    pub(super) bytes: &'a [u8],
    /// Where the payload starts in `bytes`.
    pub(super) payload_at: usize,
}

/// An echo message (RFC 792, RFC 4443).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Echo {
    pub(super) is_request: bool,
    pub(super) identifier: u16,
    pub(super) sequence: u16,
}

impl<'a> Packet<'a> {
    /// Reads a packet; `None` if it is cut short or its IPv4 header checksum is wrong.
    pub(super) fn parse(ethertype: u16, payload: &'a [u8]) -> Option<Self> {
        match ethertype {
            ethertype::IPV4 => Self::parse_v4(payload),
            ethertype::IPV6 => Self::parse_v6(payload),
            _ => None,
        }
    }

    pub(super) fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_at..]
    }

    pub(super) fn echo(&self) -> Option<Echo> {
        let [kind, 0, _, _, i0, i1, s0, s1] = *self.payload().first_chunk()? else {
            return None;
        };
        let is_request = match (self.protocol, kind) {
            (protocol::ICMP, 8) | (protocol::ICMPV6, 128) => true,
            (protocol::ICMP, 0) | (protocol::ICMPV6, 129) => false,
            _ => return None,
        };
        Some(Echo {
            is_request,
            identifier: u16::from_be_bytes([i0, i1]),
            sequence: u16::from_be_bytes([s0, s1]),
        })
    }

    fn parse_v4(payload: &'a [u8]) -> Option<Self> {
        let header = payload.first_chunk::<V4_LEN>()?;
        let header_len = usize::from(header[0] & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || header_len < V4_LEN || total < header_len {
            return None;
        }
        let bytes = payload.get(..total)?;
        if checksum(&[&bytes[..header_len]]) != 0 {
            return None;
        }
        Some(Self {
            source: v4_at(header, 12),
            destination: v4_at(header, 16),
            protocol: header[9],
            hops: header[8],
            bytes,
            payload_at: header_len,
        })
    }

    fn parse_v6(payload: &'a [u8]) -> Option<Self> {
        let header = payload.first_chunk::<V6_LEN>()?;
        let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[0] >> 4 != 6 {
            return None;
        }
        Some(Self {
            source: v6_at(header, 8)?,
            destination: v6_at(header, 24)?,
            protocol: header[6],
            hops: header[7],
            bytes: payload.get(..V6_LEN + len)?,
            payload_at: V6_LEN,
        })
    }
}

/// The EtherType that carries packets to this address.
pub(super) const fn ethertype_of(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => ethertype::IPV4,
        IpAddr::V6(_) => ethertype::IPV6,
    }
}

/// Appends a packet; `false`, with `out` unchanged, if the addresses are of different versions or
/// the payload does not fit the length field.
pub(super) fn write(
    out: &mut Vec<u8>,
    (source, destination): (IpAddr, IpAddr),
    protocol: u8,
    payload: &[&[u8]],
) -> bool {
    let payload_len: usize = payload.iter().map(|part| part.len()).sum();
    let Ok(len) = u16::try_from(payload_len + V4_LEN) else {
        return false;
    };
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend_from_slice(&v4_header((source, destination), protocol, len));
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let [l0, l1] = (len - V4_LEN as u16).to_be_bytes();
            out.extend_from_slice(&[0x60, 0, 0, 0, l0, l1, protocol, HOPS]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    }
    for part in payload {
        out.extend_from_slice(part);
    }
    true
}

/// Appends a packet that carries an echo message with this body; `false` as for [`write`].
pub(super) fn write_echo(
    out: &mut Vec<u8>,
    (source, destination): (IpAddr, IpAddr),
    echo: Echo,
    body: &[u8],
) -> bool {
    let (protocol, kind) = match (source, echo.is_request) {
        (IpAddr::V4(_), true) => (protocol::ICMP, 8),
        (IpAddr::V4(_), false) => (protocol::ICMP, 0),
        (IpAddr::V6(_), true) => (protocol::ICMPV6, 128),
        (IpAddr::V6(_), false) => (protocol::ICMPV6, 129),
    };
    let [i0, i1] = echo.identifier.to_be_bytes();
    let [s0, s1] = echo.sequence.to_be_bytes();
    let mut head = [kind, 0, 0, 0, i0, i1, s0, s1];
    let sum = if let (IpAddr::V6(source), IpAddr::V6(destination)) = (source, destination) {
        let len = u32::try_from(ECHO_LEN + body.len()).unwrap_or(u32::MAX);
        let tail = [0, 0, 0, protocol];
        let pseudo = [&len.to_be_bytes()[..], &tail];
        let parts: [&[u8]; 6] = [
            &source.octets(),
            &destination.octets(),
            pseudo[0],
            pseudo[1],
            &head,
            body,
        ];
        checksum(&parts)
    } else {
        checksum(&[&head, body])
    };
    [head[2], head[3]] = sum.to_be_bytes();
    write(out, (source, destination), protocol, &[&head, body])
}

/// Appends a packet that carries a UDP datagram (RFC 768) between these ports; `false` as for
/// [`write`].
pub(super) fn write_datagram(
    out: &mut Vec<u8>,
    (source, destination): (IpAddr, IpAddr),
    (from, to): (u16, u16),
    body: &[u8],
) -> bool {
    const HEADER: usize = 8;
    let Ok(len) = u16::try_from(HEADER + body.len()) else {
        return false;
    };
    let mut head = [from, to, len, 0].map(u16::to_be_bytes).concat();
    let pseudo = [0, protocol::UDP, len.to_be_bytes()[0], len.to_be_bytes()[1]];
    let sum = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            checksum(&[&source, &destination, &pseudo, &head, body])
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            checksum(&[&source, &destination, &pseudo, &head, body])
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    // None says that there is no checksum.
    let sum = if sum == 0 { u16::MAX } else { sum };
    head[6..].copy_from_slice(&sum.to_be_bytes());
    write(out, (source, destination), protocol::UDP, &[&head, body])
}

/// Takes one hop off a packet in place and repairs the IPv4 checksum (RFC 1624).
pub(super) fn take_hop(packet: &mut [u8]) {
    let Some(header) = packet.first_chunk_mut::<V4_LEN>() else {
        return;
    };
    if header[0] >> 4 == 6 {
        header[7] = header[7].saturating_sub(1);
        return;
    }
    let before = u16::from_be_bytes([header[8], header[9]]);
    header[8] = header[8].saturating_sub(1);
    let after = u16::from_be_bytes([header[8], header[9]]);
    let old = u16::from_be_bytes([header[10], header[11]]);
    let sum = fold(u32::from(!old) + u32::from(!before) + u32::from(after));
    [header[10], header[11]] = (!sum).to_be_bytes();
}

/// The Internet checksum (RFC 1071) of parts laid end to end; every part but the last has an even
/// length. Zero over bytes that include a correct checksum.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        let (pairs, rest) = part.as_chunks::<2>();
        for pair in pairs {
            sum += u32::from(u16::from_be_bytes(*pair));
        }
        if let [last] = rest {
            sum += u32::from(*last) << 8;
        }
    }
    !fold(sum)
}

fn v4_header((source, destination): (Ipv4Addr, Ipv4Addr), protocol: u8, len: u16) -> [u8; V4_LEN] {
    let mut header = [0; V4_LEN];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&len.to_be_bytes());
    header[6] = 0x40;
    header[8] = HOPS;
    header[9] = protocol;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn v4_at(header: &[u8; V4_LEN], at: usize) -> IpAddr {
    let [a, b, c, d] = [header[at], header[at + 1], header[at + 2], header[at + 3]];
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

fn v6_at(header: &[u8; V6_LEN], at: usize) -> Option<IpAddr> {
    let octets: [u8; 16] = *header.get(at..)?.first_chunk()?;
    Some(IpAddr::V6(Ipv6Addr::from(octets)))
}
