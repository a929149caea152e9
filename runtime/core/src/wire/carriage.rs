//! In what an advertisement travels: a frame of its own type, or a UDP datagram (D4, R2.5).
//!
//! ```text
//!  0 14  Ethernet header; EtherType 0x88b5, and then the payload at once, or:
//! 14  1  0x45: IPv4, five words       15  1  0xc0: network control (RFC 2474)
//! 16  2  length                       18  4  0: one piece, not to be numbered
//! 22  1  255 (see below)              23  1  17: UDP
//! 24  2  checksum of the header       26  8  from, to
//! 34  4  the cluster's port, twice    38  2  length      40  2  checksum
//! 42     the payload: byte 14 of a frame of its own type
//! ```
//!
//! The payload is the same in every form, tag included, so whoever reads one form reads all. The
//! hop limit is 255 and no router passes 255 on: what arrives so began on this segment, and what
//! leaves a gateway so began on it, which the kernel's lease guard rests on (GTSM, RFC 5082). What
//! arrives with less is a peer's that is known to be beyond a router, or nobody's. The class of
//! service is for the network between alone, which may change it and mark congestion: whoever hears
//! does not look at it.
//!
//! The limits: IPv4 alone, no options, no fragments. A datagram of another shape is not ours.

use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::ethernet::{self, Frame, HEADER_LEN, ethertype};
use crate::MacAddr;

/// UDP port of advertisements unless the configuration names another (R2.5).
pub const UDP_PORT: u16 = 6973;
/// Where multicast datagrams go: of the range that sites use as they like (RFC 2365).
pub const GROUP_IP: Ipv4Addr = Ipv4Addr::new(239, 255, 83, 70);
/// That group as an Ethernet address (RFC 1112 §6.4).
pub const GROUP_IP_MAC: MacAddr = MacAddr([0x01, 0x00, 0x5e, 0x7f, 0x53, 0x46]);

/// Bytes between the Ethernet header and a datagram's payload.
pub const DATAGRAM_LEN: usize = IP_LEN + UDP_LEN;

const IP_LEN: usize = 20;
const UDP_LEN: usize = 8;
/// IPv4, five words.
const VERSION: u8 = 0x45;
/// Network control.
const CLASS: u8 = 0xc0;
/// The hop limit of every datagram as it leaves.
pub const HOPS: u8 = 255;
const UDP: u8 = 17;
/// Where fields stand from the Ethernet header's end.
const LENGTH_AT: core::ops::Range<usize> = 2..4;
const PIECE_AT: core::ops::Range<usize> = 6..8;
const FROM_AT: core::ops::Range<usize> = 12..16;
const TO_AT: core::ops::Range<usize> = 16..20;
const PORTS_AT: core::ops::Range<usize> = 20..24;
const UDP_LENGTH_AT: core::ops::Range<usize> = 24..26;
/// More pieces, or not the first: anything but "do not cut".
const PIECES: u16 = 0x3fff;

/// What advertisements travel in, the most preferred first (D4).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Frames of our own EtherType; no address is needed.
    #[default]
    Ethernet,
    /// Datagrams to [`GROUP_IP`].
    Multicast,
    /// Datagrams to everybody on the segment.
    Broadcast,
    /// A datagram for each peer.
    Unicast,
}

impl Form {
    /// All, the most preferred first.
    pub const ALL: [Self; 4] = [
        Self::Ethernet,
        Self::Multicast,
        Self::Broadcast,
        Self::Unicast,
    ];

    /// As files and people call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ethernet => "ethernet",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Unicast => "unicast",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Some forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Forms(u8);

impl Forms {
    /// This one alone.
    pub const fn only(form: Form) -> Self {
        Self(form.bit())
    }

    /// The same and this one.
    #[must_use]
    pub const fn and(self, form: Form) -> Self {
        Self(self.0 | form.bit())
    }

    /// Those that are in both.
    #[must_use]
    pub const fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it is one of them.
    pub const fn has(self, form: Form) -> bool {
        self.0 & form.bit() != 0
    }

    /// Each, the most preferred first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Form> {
        Form::ALL.into_iter().filter(move |form| self.has(*form))
    }

    /// The most preferred.
    pub fn first(self) -> Option<Form> {
        self.iter().next()
    }

    /// The one, if there is just one.
    pub fn sole(self) -> Option<Form> {
        self.first().filter(|form| Self::only(*form) == self)
    }
}

/// What the cluster's advertisements may travel in, the same on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Carriage {
    /// Forms that may be used.
    pub forms: Forms,
    /// The UDP port, 1 to 65535.
    pub port: u16,
}

impl Default for Carriage {
    fn default() -> Self {
        Self {
            forms: Forms::only(Form::Ethernet),
            port: UDP_PORT,
        }
    }
}

impl Carriage {
    /// Whether datagrams are used at all.
    pub fn has_datagrams(&self) -> bool {
        self.forms != Forms::only(Form::Ethernet)
    }
}

/// Whom a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The station.
    pub station: MacAddr,
    /// The sender's own address there.
    pub from: Ipv4Addr,
    /// The receiver's, or the group's.
    pub to: Ipv4Addr,
    /// The cluster's UDP port.
    pub port: u16,
}

/// The same advertisement as a datagram. `frame` is one of our own EtherType.
#[must_use]
pub fn datagram(frame: &[u8], route: &Route) -> Vec<u8> {
    let payload = frame.get(HEADER_LEN..).unwrap_or_default();
    let source = Frame::parse(frame).map_or(MacAddr::ZERO, |frame| frame.source);
    let port = route.port.to_be_bytes();
    let length = |more: usize| {
        u16::try_from(more + payload.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes()
    };
    let mut out = Vec::with_capacity(HEADER_LEN + DATAGRAM_LEN + payload.len());
    ethernet::header(&mut out, route.station, source, ethertype::IPV4);
    let mut head = [0; IP_LEN];
    head[..2].copy_from_slice(&[VERSION, CLASS]);
    head[LENGTH_AT].copy_from_slice(&length(DATAGRAM_LEN));
    head[8] = HOPS;
    head[9] = UDP;
    head[FROM_AT].copy_from_slice(&route.from.octets());
    head[TO_AT].copy_from_slice(&route.to.octets());
    let sum = checksum(&[&head]);
    head[10..12].copy_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(&head);
    let length = length(UDP_LEN);
    let pseudo = [0, UDP, length[0], length[1]];
    let ports = [port[0], port[1], port[0], port[1], length[0], length[1]];
    // A sum of zero is written as its other form (RFC 768).
    let sum = match checksum(&[&head[12..], &pseudo, &ports, &[0, 0], payload]) {
        0 => u16::MAX,
        sum => sum,
    };
    out.extend_from_slice(&ports);
    out.extend_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// What a datagram looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look<'a> {
    /// Its form.
    pub form: Form,
    /// The hop limit that is left; [`HOPS`] where it began.
    pub hops: u8,
    /// The payload, as far as it is there.
    pub payload: &'a [u8],
}

/// Looks at an advertisement in a datagram; `None` if the frame is anything else. The frame may be
/// cut short.
#[must_use]
pub fn look(bytes: &[u8], port: u16) -> Option<Look<'_>> {
    let frame = Frame::parse(bytes).filter(|frame| frame.ethertype == ethertype::IPV4)?;
    let (head, rest) = frame.payload.split_at_checked(DATAGRAM_LEN)?;
    let ports = [port.to_be_bytes(), port.to_be_bytes()].concat();
    let ours = head.first() == Some(&VERSION)
        && head.get(9) == Some(&UDP)
        && two(head, PIECE_AT) & PIECES == 0
        && head.get(PORTS_AT) == Some(&ports[..]);
    let octets: [u8; 4] = head.get(TO_AT)?.try_into().ok()?;
    let to = Ipv4Addr::from(octets);
    let form = if to.is_multicast() {
        Form::Multicast
    } else if to.is_broadcast() {
        Form::Broadcast
    } else {
        Form::Unicast
    };
    let hops = *head.get(8)?;
    ours.then_some(Look {
        form,
        hops,
        payload: rest,
    })
}

fn two(head: &[u8], at: core::ops::Range<usize>) -> u16 {
    let bytes = head.get(at).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u16::from_be_bytes)
}

/// What an advertisement came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The form.
    pub form: Form,
    /// The hop limit that is left.
    pub hops: u8,
    /// The frame as it would be of our own EtherType.
    pub frame: Vec<u8>,
}

/// Takes an advertisement out of a datagram; `None` if the frame is anything else. What the payload
/// says is not looked at, and the tag stands for its bytes: the checksum is not.
#[must_use]
pub fn open(bytes: &[u8], port: u16) -> Option<Opened> {
    let Look {
        form,
        hops,
        payload: rest,
    } = look(bytes, port)?;
    let head = bytes.get(HEADER_LEN..)?;
    let length = usize::from(two(head, UDP_LENGTH_AT)).checked_sub(UDP_LEN)?;
    let payload = rest.get(..length)?;
    let frame = Frame::parse(bytes)?;
    let mut bare = Vec::with_capacity(HEADER_LEN + length);
    let (station, source) = (frame.destination, frame.source);
    ethernet::header(&mut bare, station, source, ethertype::STEADFAST);
    bare.extend_from_slice(payload);
    Some(Opened {
        form,
        hops,
        frame: bare,
    })
}

/// The Internet checksum (RFC 1071) of parts laid end to end; every part but the last has an even
/// length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let word = |pair: &[u8]| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    };
    let mut sum: u32 = words.map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests;
