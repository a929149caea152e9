//! VRRP messages: versions 2 and 3, over IPv4 and IPv6 (RFC 3768, 5798, 9568; D19).
//!
//! ```text
//! 0 version, type   1 id   2 priority   3 count   4 5 interval   6 7 checksum   8.. addresses
//! version 2:  4 auth type, 5 whole seconds;  8 more bytes after the addresses, which mean nothing
//! version 3:  4 5 hundredths of a second in the lower 12 bits
//! ```
//!
//! Whether a message is for a router at all depends on what that router is set to ([`Expect`]), so
//! every refusal says why, in the order in which RFC 9568 §7.1 checks.
//!
//! The hard case is the checksum of version 3 over IPv4: RFC 5798 is read by deployed routers as
//! one with a pseudo-header, RFC 9568 as one without. Both are spoken ([`Sum`]), and by default
//! both are understood ([`Sums::Either`]). CARP poses as version 2 with priority 0 and is told
//! apart by its length (`foreign`): it must never count as a resignation.
//!
//! The limit: authentication of version 2 is not spoken; who uses it is refused by its type.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::ethernet::{Frame, ethertype};
use super::foreign;
use super::ndisc;
use crate::MacAddr;

/// IP protocol number.
pub const PROTOCOL: u8 = 112;
/// Hop limit of every message; another one has crossed a router (RFC 9568 §5.1.1.3).
pub const TTL: u8 = 255;
/// The group of IPv4 (RFC 9568 §5.1.1.2).
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// The group of IPv6 (RFC 9568 §5.1.2.2).
pub const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// Priority of who owns the addresses (RFC 9568 §5.2.4).
pub const OWNER: u8 = 255;
/// Priority of who gives up.
pub const RESIGNS: u8 = 0;

const HEADER_LEN: usize = 8;
const AUTH_LEN: usize = 8;
const ADVERTISEMENT: u8 = 1;
/// Of the field of version 3 the interval has so many bits.
const INTERVAL_MAX: u16 = 0x0fff;
const CENTI: u64 = 10_000_000;

/// Which version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 3768: IPv4 alone, whole seconds.
    V2,
    /// RFC 5798 and 9568.
    V3,
}

/// The time between two advertisements, in hundredths of a second: 1 to 25500 (version 2: whole
/// seconds up to 255; version 3: up to 4095).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(u16);

impl Interval {
    /// The usual one: every version can say it.
    pub const SECOND: Self = Self(100);

    /// What a version can say.
    ///
    /// # Errors
    /// Zero, too long, or (version 2) no whole seconds: what it must be instead, in words.
    pub fn new(version: Version, centis: u16) -> Result<Self, &'static str> {
        match version {
            Version::V2 if centis == 0 || !centis.is_multiple_of(100) || centis / 100 > 255 => {
                Err("version 2 advertises each 1 to 255 whole seconds")
            }
            Version::V3 if centis == 0 || centis > INTERVAL_MAX => {
                Err("version 3 advertises each 10 ms to 40.95 s")
            }
            Version::V2 | Version::V3 => Ok(Self(centis)),
        }
    }

    /// In hundredths of a second.
    pub const fn centis(self) -> u16 {
        self.0
    }

    /// As a span of time.
    pub const fn span(self) -> Duration {
        Duration::from_nanos(self.0 as u64 * CENTI)
    }
}

/// How version 3 over IPv4 is summed when it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sum {
    /// The message alone (RFC 9568 §5.2.8).
    Message,
    /// With a pseudo-header of IPv4, as keepalived and FRR read RFC 5798.
    PseudoHeader,
}

/// Which sums of version 3 over IPv4 are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sums {
    /// Both habits.
    Either,
    /// This one alone.
    Only(Sum),
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Advertisement {
    /// In which version.
    pub version: Version,
    /// Of which virtual router: 1 to 255.
    pub virtual_id: u8,
    /// How much its sender wants it; see [`OWNER`] and [`RESIGNS`].
    pub priority: u8,
    /// How often it says so.
    pub interval: Interval,
    /// The router's addresses, in the sender's order; all of one family.
    pub addresses: Vec<IpAddr>,
}

/// A message as IP brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
    /// Its hop limit.
    pub ttl: u8,
    /// The message, as long as IP says it is: what Ethernet adds is none of it.
    pub message: &'a [u8],
}

/// What a virtual router wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect<'a> {
    /// Which version.
    pub version: Version,
    /// Which router.
    pub virtual_id: u8,
    /// Over IPv6.
    pub ipv6: bool,
    /// Its own interval: version 2 wants the same (RFC 3768 §7.1).
    pub interval: Interval,
    /// Which sums of version 3 over IPv4 it understands.
    pub sums: Sums,
    /// Others that it speaks to directly; if there are none it listens to its group.
    pub unicast: &'a [IpAddr],
}

/// Why a message is ignored; the order is that of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// It came through a router.
    Ttl,
    /// It is CARP: another protocol under our number, and a conflict.
    Carp,
    /// It is shorter than a header.
    Short,
    /// Another version, or version 2 over IPv6.
    Version,
    /// No advertisement.
    Type,
    /// Too short for the addresses it counts, or none are counted.
    Count,
    /// Its checksum is wrong.
    Checksum,
    /// Of another virtual router.
    VirtualId,
    /// Neither to the group nor from a known unicast peer.
    Destination,
    /// It uses authentication.
    Authentication,
    /// Version 2 with another interval, or version 3 with none at all.
    Interval,
}

/// How many kinds of [`Refusal`] there are.
pub const REFUSALS: usize = 11;

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Ttl => "came through a router (hop limit below 255)",
            Self::Carp => "is CARP, which uses the same virtual MAC",
            Self::Short => "is shorter than a header",
            Self::Version => "speaks another version",
            Self::Type => "is no advertisement",
            Self::Count => "has not as many addresses as it says",
            Self::Checksum => "has a wrong checksum",
            Self::VirtualId => "is of another virtual router",
            Self::Destination => "is not for this router",
            Self::Authentication => "uses authentication",
            Self::Interval => "has another interval (version 2), or none",
        })
    }
}

impl<'a> Packet<'a> {
    /// The VRRP message in a frame; none if it carries something else, or a fragment.
    pub fn parse(frame: &Frame<'a>) -> Option<Self> {
        match frame.ethertype {
            ethertype::IPV4 => {
                let message = foreign::ipv4_message(frame.payload)?;
                let header = frame.payload.first_chunk::<{ foreign::IPV4_LEN }>()?;
                let address = |at: usize| {
                    let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
                    IpAddr::V4(bytes.into())
                };
                Some(Self {
                    source: address(12),
                    destination: address(16),
                    ttl: header[8],
                    message,
                })
            }
            ethertype::IPV6 => {
                let message = foreign::ipv6_message(frame.payload)?;
                let header = frame.payload.first_chunk::<{ ndisc::IP_LEN }>()?;
                let address =
                    |bytes: &[u8]| Some(IpAddr::V6(<[u8; 16]>::try_from(bytes).ok()?.into()));
                Some(Self {
                    source: address(&header[8..24])?,
                    destination: address(&header[24..40])?,
                    ttl: header[7],
                    message,
                })
            }
            _ => None,
        }
    }

    /// What it says to a router that expects this.
    ///
    /// # Errors
    /// Why the router ignores it. Nothing in it is believed then.
    pub fn advertisement(&self, expect: &Expect<'_>) -> Result<Advertisement, Refusal> {
        if self.ttl != TTL {
            return Err(Refusal::Ttl);
        }
        if foreign::is_carp(self.message) {
            return Err(Refusal::Carp);
        }
        let header = self.message.first_chunk::<HEADER_LEN>();
        let [kind, virtual_id, priority, count, auth, seconds, ..] =
            *header.ok_or(Refusal::Short)?;
        let ipv6 = self.source.is_ipv6();
        let version = match kind >> 4 {
            2 if !ipv6 => Version::V2,
            3 => Version::V3,
            _ => return Err(Refusal::Version),
        };
        if version != expect.version || ipv6 != expect.ipv6 {
            return Err(Refusal::Version);
        }
        if kind & 0x0f != ADVERTISEMENT {
            return Err(Refusal::Type);
        }
        let addresses = self.addresses(version, usize::from(count))?;
        if !self.sum_holds(version, expect.sums) {
            return Err(Refusal::Checksum);
        }
        if virtual_id != expect.virtual_id {
            return Err(Refusal::VirtualId);
        }
        if !self.is_addressed_to(expect) {
            return Err(Refusal::Destination);
        }
        if version == Version::V2 && auth != 0 {
            return Err(Refusal::Authentication);
        }
        let centis = match version {
            Version::V2 => u16::from(seconds) * 100,
            // The other bits are reserved: to be ignored (RFC 9568 §5.2.6).
            Version::V3 => u16::from_be_bytes([auth, seconds]) & INTERVAL_MAX,
        };
        let interval = Interval::new(version, centis).map_err(|_| Refusal::Interval)?;
        if version == Version::V2 && interval != expect.interval {
            return Err(Refusal::Interval);
        }
        Ok(Advertisement {
            version,
            virtual_id,
            priority,
            interval,
            addresses,
        })
    }

    fn addresses(&self, version: Version, count: usize) -> Result<Vec<IpAddr>, Refusal> {
        let each = if self.source.is_ipv6() { 16 } else { 4 };
        let list = self.message.get(HEADER_LEN..HEADER_LEN + count * each);
        let list = list.filter(|list| !list.is_empty()).ok_or(Refusal::Count)?;
        let tail = if version == Version::V2 { AUTH_LEN } else { 0 };
        if self.message.len() < HEADER_LEN + list.len() + tail {
            return Err(Refusal::Count);
        }
        let address = |bytes: &[u8]| match *bytes {
            [a, b, c, d] => Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
            _ => Some(IpAddr::V6(<[u8; 16]>::try_from(bytes).ok()?.into())),
        };
        Ok(list.chunks_exact(each).filter_map(address).collect())
    }

    fn sum_holds(&self, version: Version, sums: Sums) -> bool {
        let message = ndisc::plain_checksum(self.message) == 0;
        let pseudo = || pseudo_sum(self.source, self.destination, self.message) == 0;
        match (version, self.source.is_ipv6(), sums) {
            (Version::V2, ..) | (Version::V3, false, Sums::Only(Sum::Message)) => message,
            (Version::V3, false, Sums::Either) => message || pseudo(),
            (Version::V3, true, _) | (Version::V3, false, Sums::Only(Sum::PseudoHeader)) => {
                pseudo()
            }
        }
    }

    fn is_addressed_to(&self, expect: &Expect<'_>) -> bool {
        if expect.unicast.is_empty() {
            self.destination == IpAddr::V4(GROUP) || self.destination == IpAddr::V6(GROUP6)
        } else {
            expect.unicast.contains(&self.source)
        }
    }
}

impl Advertisement {
    /// The message, summed for this way.
    pub fn message(&self, source: IpAddr, destination: IpAddr, sum: Sum) -> Vec<u8> {
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        let [high, low] = self.interval.centis().to_be_bytes();
        let (version, interval) = match self.version {
            Version::V2 => {
                let seconds = u8::try_from(self.interval.centis() / 100).unwrap_or(u8::MAX);
                (2, [0, seconds])
            }
            Version::V3 => (3, [high, low]),
        };
        let mut message = Vec::from([
            version << 4 | ADVERTISEMENT,
            self.virtual_id,
            self.priority,
            count,
            interval[0],
            interval[1],
            0,
            0,
        ]);
        for address in self.addresses.iter().take(usize::from(count)) {
            match address {
                IpAddr::V4(address) => message.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => message.extend_from_slice(&address.octets()),
            }
        }
        if self.version == Version::V2 {
            message.extend_from_slice(&[0; AUTH_LEN]);
        }
        let pseudo = source.is_ipv6() || (self.version == Version::V3 && sum == Sum::PseudoHeader);
        let sum = if pseudo {
            pseudo_sum(source, destination, &message)
        } else {
            ndisc::plain_checksum(&message)
        };
        message[6..HEADER_LEN].copy_from_slice(&sum.to_be_bytes());
        message
    }
}

mod frame;

/// The MAC of a virtual router, and of its group (RFC 9568 §7.3).
pub const fn macs(virtual_id: u8, ipv6: bool) -> (MacAddr, MacAddr) {
    if ipv6 {
        let group = MacAddr([0x33, 0x33, 0, 0, 0, 0x12]);
        (MacAddr([0, 0, 0x5e, 0, 2, virtual_id]), group)
    } else {
        let group = MacAddr([0x01, 0, 0x5e, 0, 0, 0x12]);
        (MacAddr([0, 0, 0x5e, 0, 1, virtual_id]), group)
    }
}

/// The sum over a message and its pseudo-header (RFC 8200 §8.1; of IPv4 as in RFC 793).
fn pseudo_sum(source: IpAddr, destination: IpAddr, message: &[u8]) -> u16 {
    match (source, destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ndisc::checksum(source, destination, PROTOCOL, message)
        }
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = u16::try_from(message.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes();
            let mut bytes = Vec::with_capacity(12 + message.len());
            bytes.extend_from_slice(&source.octets());
            bytes.extend_from_slice(&destination.octets());
            bytes.extend_from_slice(&[0, PROTOCOL, length[0], length[1]]);
            bytes.extend_from_slice(message);
            ndisc::plain_checksum(&bytes)
        }
        // No packet has two families.
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => u16::MAX,
    }
}

#[cfg(test)]
mod tests;
