//! Other redundancy protocols on the segment: VRRP and CARP, both IP protocol 112; and other
//! clusters of this product ([`cluster`]).
//!
//! They use virtual MACs made of an 8 bit id, so one that uses ours fights for the same address
//! (F26, R5.4). This file recognises them; it judges nothing, and neither checksums nor passwords
//! matter to it: a speaker with a wrong password is a speaker.
//!
//! ```text
//! VRRPv2  0x21  id  priority  count  auth type  interval  checksum  addresses  8 zeros  (RFC 3768)
//! VRRPv3  0x31  id  priority  count  interval 4+12 bits   checksum  addresses           (RFC 9568)
//! CARP    0x21  id  advskew   7      demotion   advbase   checksum  counter 8  HMAC-SHA1 20
//! ```
//!
//! The hard case is CARP, which poses as VRRPv2 with 7 addresses. Such an advertisement would have
//! 44 bytes and CARP has always 36, so "count 7 and exactly 36 bytes" tells them apart.
//!
//! The limit: fragments, IPsec and IPv6 extension headers are not looked into.

mod cluster;

use serde::{Deserialize, Serialize};

use core::net::{Ipv4Addr, Ipv6Addr};

use super::ethernet::{self, Frame, ethertype};
use super::ndisc;
use crate::MacAddr;

pub use cluster::foreign_cluster;

/// Which protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignProtocol {
    /// The Common Address Redundancy Protocol of the BSDs.
    Carp,
    /// This product's own, of another cluster.
    Steadfast,
    /// VRRP version 2 (RFC 3768).
    Vrrp2,
    /// VRRP version 3 (RFC 9568).
    Vrrp3,
}

/// Somebody who speaks another redundancy protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ForeignSpeaker {
    /// Which protocol.
    pub protocol: ForeignProtocol,
    /// Virtual router id (VRRP, Steadfast) or virtual host id (CARP).
    pub virtual_id: u8,
    /// Priority; of a CARP speaker its advskew, where 0 is the *best* and no resignation.
    pub priority: u8,
    /// Who sent the frame; mostly the virtual MAC.
    pub source: MacAddr,
}

/// Ids of virtual routers and hosts that were heard: which are in use, and which is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtualIds([u128; 2]);

/// The lowest id that is proposed: products keep those below for themselves (R5.4).
const PROPOSED_MIN: u8 = 11;

impl VirtualIds {
    /// Somebody uses this id.
    pub const fn note(&mut self, id: u8) {
        self.0[(id >> 7) as usize] |= 1 << (id & 0x7f);
    }

    /// Whether somebody was heard with this id.
    pub const fn has(&self, id: u8) -> bool {
        self.0[(id >> 7) as usize] >> (id & 0x7f) & 1 == 1
    }

    /// The lowest id from 11 on that nobody was heard with, other than `own`; none if all
    /// are taken.
    pub fn free(&self, own: u8) -> Option<u8> {
        (PROPOSED_MIN..=u8::MAX).find(|&id| id != own && !self.has(id))
    }
}

const PROTOCOL: u8 = 112;
const TTL: u8 = 255;
const CARP_LEN: usize = 36;
const CARP_COUNT: u8 = 7;
pub(super) const IPV4_LEN: usize = 20;
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP_MAC: MacAddr = MacAddr([0x01, 0x00, 0x5e, 0x00, 0x00, 0x12]);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The speaker behind a frame; `None` if the frame is nothing of the kind.
pub fn foreign_speaker(frame: &Frame<'_>) -> Option<ForeignSpeaker> {
    let message = match frame.ethertype {
        ethertype::IPV4 => ipv4_message(frame.payload),
        ethertype::IPV6 => ipv6_message(frame.payload),
        _ => None,
    }?;
    let [kind, virtual_id, priority, ..] = *message.first_chunk::<8>()?;
    let protocol = match kind {
        0x21 if is_carp(message) => ForeignProtocol::Carp,
        0x21 => ForeignProtocol::Vrrp2,
        0x31 => ForeignProtocol::Vrrp3,
        _ => return None,
    };
    Some(ForeignSpeaker {
        protocol,
        virtual_id,
        priority,
        source: frame.source,
    })
}

impl ForeignSpeaker {
    /// The smallest valid advertisement of this speaker over IPv4, once a second, for the one
    /// address `virtual_ip` (CARP names none, and Steadfast needs no IP): for tests and simulators.
    /// VRRPv3 is summed without a pseudo-header (RFC 9568 §5.2.8).
    pub fn frame(&self, from: Ipv4Addr, virtual_ip: Ipv4Addr) -> Vec<u8> {
        let (id, priority) = (self.virtual_id, self.priority);
        let message = match self.protocol {
            ForeignProtocol::Steadfast => return cluster::frame(self),
            ForeignProtocol::Vrrp2 => {
                let head = [0x21, id, priority, 1, 0, 1, 0, 0];
                [&head[..], &virtual_ip.octets(), &[0; 8]].concat()
            }
            ForeignProtocol::Vrrp3 => {
                let head = [0x31, id, priority, 1, 0, 100, 0, 0];
                [&head[..], &virtual_ip.octets()].concat()
            }
            ForeignProtocol::Carp => {
                let head = [0x21, id, priority, CARP_COUNT, 0, 1, 0, 0];
                [&head[..], &[0; CARP_LEN - 8]].concat()
            }
        };
        let sum = ndisc::plain_checksum(&message);
        ipv4_frame(self.source, from, &with_sum(message, sum))
    }
}

/// The smallest valid VRRPv3 advertisement over IPv6, once a second, for the one link-local address
/// `virtual_ip`: for tests and simulators.
pub fn vrrp3_frame6(
    source: MacAddr,
    (virtual_id, priority): (u8, u8),
    from: Ipv6Addr,
    virtual_ip: Ipv6Addr,
) -> Vec<u8> {
    let head = [0x31, virtual_id, priority, 1, 0, 100, 0, 0];
    let message = [&head[..], &virtual_ip.octets()].concat();
    let sum = ndisc::checksum(from, GROUP6, PROTOCOL, &message);
    let macs = (ndisc::group_mac(GROUP6), source);
    ndisc::ip_frame(
        macs,
        (GROUP6, from),
        (PROTOCOL, TTL),
        &with_sum(message, sum),
    )
}

/// Whether a message of protocol 112 is CARP's.
pub(super) fn is_carp(message: &[u8]) -> bool {
    matches!(message, [0x21, _, _, CARP_COUNT, ..]) && message.len() == CARP_LEN
}

/// What protocol 112 carries in an unfragmented IPv4 packet, Ethernet padding cut off.
pub(super) fn ipv4_message(payload: &[u8]) -> Option<&[u8]> {
    let header = payload.first_chunk::<IPV4_LEN>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    let ours = header[0] >> 4 == 4 && header_len >= IPV4_LEN && header[9] == PROTOCOL;
    if !ours || fragment != 0 {
        return None;
    }
    payload.get(header_len..total)
}

pub(super) fn ipv6_message(payload: &[u8]) -> Option<&[u8]> {
    let (header, rest) = payload.split_first_chunk::<{ ndisc::IP_LEN }>()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || header[6] != PROTOCOL {
        return None;
    }
    rest.get(..length)
}

fn with_sum(mut message: Vec<u8>, sum: u16) -> Vec<u8> {
    message[6..8].copy_from_slice(&sum.to_be_bytes());
    message
}

fn ipv4_frame(source: MacAddr, from: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let mut header = [0; IPV4_LEN];
    let total = u16::try_from(IPV4_LEN + message.len()).unwrap_or(u16::MAX);
    header[0] = 0x45;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[8] = TTL;
    header[9] = PROTOCOL;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&GROUP.octets());
    let sum = ndisc::plain_checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut out = Vec::with_capacity(ethernet::HEADER_LEN + IPV4_LEN + message.len());
    ethernet::header(&mut out, GROUP_MAC, source, ethertype::IPV4);
    out.extend_from_slice(&header);
    out.extend_from_slice(message);
    out
}

#[cfg(test)]
mod tests;
