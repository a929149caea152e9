//! ARP for IPv4 over Ethernet (RFC 826): requests, replies, and their gratuitous forms (RFC 5227).
//!
//! ```text
//! 0..2 hardware 1   2..4 protocol 0x0800   4 hlen 6   5 plen 4   6..8 operation
//! 8..14 sender MAC  14..18 sender IP       18..24 target MAC     24..28 target IP
//! ```

use core::net::Ipv4Addr;

use super::ethernet::{self, ethertype};
use crate::MacAddr;

/// What an ARP packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Who has `target_ip`?
    Request,
    /// `sender_ip` is at `sender_mac`.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// Hardware address of the sender.
    pub sender_mac: MacAddr,
    /// Protocol address of the sender; 0.0.0.0 in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// Hardware address of the target; zero in most requests.
    pub target_mac: MacAddr,
    /// Protocol address of the target.
    pub target_ip: Ipv4Addr,
}

const FIXED: [u8; 6] = [0, 1, 8, 0, 6, 4];
const LEN: usize = 28;

impl Arp {
    /// Reads an ARP packet from the payload of an Ethernet frame. `None` for anything that is not
    /// IPv4 over Ethernet, request or reply, and long enough; padding behind it is allowed.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let packet = payload.first_chunk::<LEN>()?;
        if packet[..6] != FIXED {
            return None;
        }
        let operation = match u16::from_be_bytes([packet[6], packet[7]]) {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return None,
        };
        let mac = |at: usize| {
            let mut bytes = [0; 6];
            bytes.copy_from_slice(&packet[at..at + 6]);
            MacAddr(bytes)
        };
        let ip =
            |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
        Some(Self {
            operation,
            sender_mac: mac(8),
            sender_ip: ip(14),
            target_mac: mac(18),
            target_ip: ip(24),
        })
    }

    /// The whole Ethernet frame that carries this packet.
    pub fn frame(&self, destination: MacAddr, source: MacAddr) -> Vec<u8> {
        let mut out = Vec::with_capacity(ethernet::HEADER_LEN + LEN);
        ethernet::header(&mut out, destination, source, ethertype::ARP);
        out.extend_from_slice(&FIXED);
        let operation: u16 = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        out.extend_from_slice(&operation.to_be_bytes());
        out.extend_from_slice(&self.sender_mac.0);
        out.extend_from_slice(&self.sender_ip.octets());
        out.extend_from_slice(&self.target_mac.0);
        out.extend_from_slice(&self.target_ip.octets());
        out
    }
}
