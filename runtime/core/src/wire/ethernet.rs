//! The Ethernet II header: 14 bytes before every payload (IEEE 802.3).
//!
//! ```text
//! 0..6 destination   6..12 source   12..14 EtherType
//! ```

use crate::MacAddr;

/// EtherTypes this project speaks or understands.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// Reverse ARP (RFC 903).
    pub const RARP: u16 = 0x8035;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// Steadfast advertisements: IEEE's local experimental EtherType 1 (D4).
    pub const STEADFAST: u16 = 0x88b5;
}

/// Bytes of the header.
pub const HEADER_LEN: usize = 14;

/// A frame taken apart: the header's fields and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Whom it is for.
    pub destination: MacAddr,
    /// Who sent it.
    pub source: MacAddr,
    /// What the payload is.
    pub ethertype: u16,
    /// Everything behind the header, padding included.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes a frame apart; `None` if it is shorter than a header.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, payload) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
        Some(Self {
            destination: MacAddr([d0, d1, d2, d3, d4, d5]),
            source: MacAddr([s0, s1, s2, s3, s4, s5]),
            ethertype: u16::from_be_bytes([t0, t1]),
            payload,
        })
    }
}

/// Starts a frame: writes the header into the empty `out`.
pub fn header(out: &mut Vec<u8>, destination: MacAddr, source: MacAddr, ethertype: u16) {
    out.extend_from_slice(&destination.0);
    out.extend_from_slice(&source.0);
    out.extend_from_slice(&ethertype.to_be_bytes());
}
