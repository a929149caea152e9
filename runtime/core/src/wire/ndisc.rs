//! IPv6 neighbour discovery as far as failover needs it: who has this address (solicitation), I
//! have it (advertisement), and "I listen to its group" (MLD report), so that a snooping switch
//! lets the questions through.
//!
//! ```text
//! IPv6      0 version 6    4..6 payload length   6 next header   7 hop limit
//!           8..24 source   24..40 destination                                     (RFC 8200 §3)
//! ICMPv6    0 type   1 code 0   2..4 checksum   4..8 flags   8..24 target   24.. options
//!           type 135 solicitation, 136 advertisement (bits R, S, O on top of byte 4)
//!           option 1 source or 2 target link-layer address: type, length 1, MAC   (RFC 4861 §4)
//! ```
//!
//! A packet counts only with hop limit 255, which no router lets through from outside, and with a
//! good checksum (RFC 4861 §7.1). The limit: a packet with extension headers is not understood.

use core::net::Ipv6Addr;

use super::ethernet::{self, ethertype};
use crate::MacAddr;

/// Every node on the link (RFC 4291 §2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Every router that understands MLDv2 (RFC 3810 §5.2.14).
pub const ALL_MLD2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// Bytes of the IPv6 header.
pub(super) const IP_LEN: usize = 40;

const ICMPV6: u8 = 58;
const HOP_LIMIT: u8 = 255;
const SOLICIT: u8 = 135;
const ADVERT: u8 = 136;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
/// Bytes up to the end of the target.
const BODY_LEN: usize = 24;

/// A neighbour solicitation: who has `target`?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourSolicit {
    /// Who asks; `::` in duplicate address detection.
    pub source: Ipv6Addr,
    /// The target itself, or its solicited-node group.
    pub destination: Ipv6Addr,
    /// The address asked for.
    pub target: Ipv6Addr,
    /// Hardware address of the asker; `None` when `source` is `::` (RFC 4861 §4.3).
    pub link_layer: Option<MacAddr>,
}

impl NeighbourSolicit {
    /// Reads a solicitation from the payload of an IPv6 Ethernet frame. `None` for anything that a
    /// node must ignore (RFC 4861 §7.1.1); padding behind it is allowed.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let Packet {
            source,
            destination,
            target,
            link_layer,
            ..
        } = Packet::parse(payload, SOLICIT, SOURCE_LINK_LAYER)?;
        let detects_duplicates = source.is_unspecified();
        if detects_duplicates && (link_layer.is_some() || destination != solicited_node(target)) {
            return None;
        }
        Some(Self {
            source,
            destination,
            target,
            link_layer,
        })
    }

    /// The whole Ethernet frame that carries this solicitation.
    pub fn frame(&self, destination: MacAddr, source: MacAddr) -> Vec<u8> {
        let link_layer = self.link_layer.map(|mac| (SOURCE_LINK_LAYER, mac));
        let message = message(SOLICIT, 0, self.target, link_layer);
        icmp_frame(destination, source, self.source, self.destination, message)
    }
}

/// A neighbour advertisement: `target` is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourAdvert {
    /// Who answers.
    pub source: Ipv6Addr,
    /// Who asked, or [`ALL_NODES`].
    pub destination: Ipv6Addr,
    /// The address that is here.
    pub target: Ipv6Addr,
    /// The R flag: the sender is a router.
    pub router: bool,
    /// The S flag: this answers a solicitation.
    pub solicited: bool,
    /// The O flag: replaces what the receiver knew.
    pub overrides: bool,
    /// Hardware address of the target.
    pub link_layer: Option<MacAddr>,
}

impl NeighbourAdvert {
    /// Reads an advertisement from the payload of an IPv6 Ethernet frame. `None` for anything that
    /// a node must ignore (RFC 4861 §7.1.2); padding behind it is allowed.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let Packet {
            source,
            destination,
            target,
            link_layer,
            flags,
        } = Packet::parse(payload, ADVERT, TARGET_LINK_LAYER)?;
        let solicited = flags & 0x40 != 0;
        if destination.is_multicast() && solicited {
            return None;
        }
        let (router, overrides) = (flags & 0x80 != 0, flags & 0x20 != 0);
        Some(Self {
            source,
            destination,
            target,
            router,
            solicited,
            overrides,
            link_layer,
        })
    }

    /// The whole Ethernet frame that carries this advertisement.
    pub fn frame(&self, destination: MacAddr, source: MacAddr) -> Vec<u8> {
        let bit = |set: bool, shift: u8| u8::from(set) << shift;
        let flags = bit(self.router, 7) | bit(self.solicited, 6) | bit(self.overrides, 5);
        let link_layer = self.link_layer.map(|mac| (TARGET_LINK_LAYER, mac));
        let message = message(ADVERT, flags, self.target, link_layer);
        icmp_frame(destination, source, self.source, self.destination, message)
    }
}

/// The group on which a node listens for solicitations of `address` (RFC 4291 §2.7.1).
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | a as u16,
        (b as u16) << 8 | c as u16,
    )
}

/// The Ethernet address of an IPv6 group (RFC 2464 §7).
pub const fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// The frame with which `group` is joined by MLD version 1 (RFC 2710 §3), for switches that know
/// no other. `source_ip` is link-local, or `::` while there is none (RFC 3590).
pub fn mld1_report(source: MacAddr, source_ip: Ipv6Addr, group: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![131, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&group.octets());
    mld_frame(source, source_ip, group, message)
}

/// The frame with which `group` is joined by MLD version 2: one record "exclude nothing"
/// (RFC 3810 §5.2). `source_ip` is link-local, or `::` while there is none (RFC 3590).
pub fn mld2_report(source: MacAddr, source_ip: Ipv6Addr, group: Ipv6Addr) -> Vec<u8> {
    const CHANGE_TO_EXCLUDE: u8 = 4;
    let mut message = vec![143, 0, 0, 0, 0, 0, 0, 1, CHANGE_TO_EXCLUDE, 0, 0, 0];
    message.extend_from_slice(&group.octets());
    mld_frame(source, source_ip, ALL_MLD2_ROUTERS, message)
}

/// The checksum over an upper-layer message and its IPv6 pseudo-header (RFC 8200 §8.1); 0 when the
/// message holds its correct checksum already. `protocol` is 58 for ICMPv6.
pub fn checksum(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, message: &[u8]) -> u16 {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let header = u32::from(length) + u32::from(protocol);
    let addresses = add_words(&source.octets()) + add_words(&destination.octets());
    fold(header + addresses + add_words(message))
}

/// The Internet checksum of bytes alone (RFC 1071), as IPv4 and the protocols over it use it.
pub(super) fn plain_checksum(bytes: &[u8]) -> u16 {
    fold(add_words(bytes))
}

/// The whole Ethernet frame of an IPv6 packet: a header, then `body`.
pub(super) fn ip_frame(
    (destination, source): (MacAddr, MacAddr),
    (to, from): (Ipv6Addr, Ipv6Addr),
    (next_header, hop_limit): (u8, u8),
    body: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(ethernet::HEADER_LEN + IP_LEN + body.len());
    ethernet::header(&mut out, destination, source, ethertype::IPV6);
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&[0x60, 0, 0, 0]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&[next_header, hop_limit]);
    out.extend_from_slice(&from.octets());
    out.extend_from_slice(&to.octets());
    out.extend_from_slice(body);
    out
}

/// What the two kinds have in common.
struct Packet {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    flags: u8,
    link_layer: Option<MacAddr>,
}

impl Packet {
    /// Makes the checks of RFC 4861 §7.1 that both kinds share.
    fn parse(payload: &[u8], kind: u8, option: u8) -> Option<Self> {
        let (header, rest) = payload.split_first_chunk::<IP_LEN>()?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let message = rest.get(..length)?;
        let source = Ipv6Addr::from_octets(*header[8..].first_chunk()?);
        let destination = Ipv6Addr::from_octets(*header[24..].first_chunk()?);
        let ours = header[0] >> 4 == 6 && header[6] == ICMPV6 && header[7] == HOP_LIMIT;
        if !ours || checksum(source, destination, ICMPV6, message) != 0 {
            return None;
        }
        let (body, options) = message.split_first_chunk::<BODY_LEN>()?;
        let target = Ipv6Addr::from_octets(*body[8..].first_chunk()?);
        if body[..2] != [kind, 0] || target.is_multicast() {
            return None;
        }
        let link_layer = link_layer(options, option)?;
        Some(Self {
            source,
            destination,
            target,
            flags: body[4],
            link_layer,
        })
    }
}

/// The first option of this kind; `None` when the options are broken. An option takes at least 8
/// bytes, so the loop is bounded by the packet.
fn link_layer(mut options: &[u8], wanted: u8) -> Option<Option<MacAddr>> {
    let mut found = None;
    while !options.is_empty() {
        let [kind, eights, ..] = *options else {
            return None;
        };
        if eights == 0 {
            return None;
        }
        let (option, rest) = options.split_at_checked(usize::from(eights) * 8)?;
        if kind == wanted && found.is_none() {
            found = Some(MacAddr(*option[2..].first_chunk()?));
        }
        options = rest;
    }
    Some(found)
}

fn message(kind: u8, flags: u8, target: Ipv6Addr, link_layer: Option<(u8, MacAddr)>) -> Vec<u8> {
    let mut out = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    out.extend_from_slice(&target.octets());
    if let Some((option, mac)) = link_layer {
        out.extend_from_slice(&[option, 1]);
        out.extend_from_slice(&mac.0);
    }
    out
}

fn icmp_frame(
    destination: MacAddr,
    source: MacAddr,
    from: Ipv6Addr,
    to: Ipv6Addr,
    mut message: Vec<u8>,
) -> Vec<u8> {
    put_checksum(from, to, &mut message);
    ip_frame(
        (destination, source),
        (to, from),
        (ICMPV6, HOP_LIMIT),
        &message,
    )
}

/// MLD goes with hop limit 1 behind a hop-by-hop header that holds the router alert option
/// (RFC 3810 §5).
fn mld_frame(source: MacAddr, from: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTER_ALERT: [u8; 8] = [ICMPV6, 0, 5, 2, 0, 0, 1, 0];
    put_checksum(from, to, &mut message);
    let body = [&ROUTER_ALERT[..], &message].concat();
    ip_frame((group_mac(to), source), (to, from), (HOP_BY_HOP, 1), &body)
}

fn put_checksum(from: Ipv6Addr, to: Ipv6Addr, message: &mut [u8]) {
    let sum = checksum(from, to, ICMPV6, message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}

/// Sum of the 16 bit words, an odd last byte padded with zero. Frames are far below the 128 KiB
/// at which 32 bits could overflow.
fn add_words(bytes: &[u8]) -> u32 {
    let (words, odd) = bytes.as_chunks::<2>();
    let last = odd.first().map_or(0, |byte| u32::from(*byte) << 8);
    words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .fold(last, u32::wrapping_add)
}

fn fold(mut sum: u32) -> u16 {
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    let [.., high, low] = (!sum).to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests;
