//! Which versions of IP a network speaks, and how its addresses are numbered.
//!
//! On segment number `s`, with `n` the machine's number:
//!
//! | | IPv4, prefix 16 | IPv6, prefix 64 |
//! |---|---|---|
//! | virtual | `10.(77+s).0.1…` | `fd77:<s>::1…` |
//! | virtual, of the link | | `fe80::77:<s>` |
//! | gateways | `10.(77+s).250.n` | `fd77:<s>::250:n` |
//! | hosts | `10.(77+s).251.n` | `fd77:<s>::251:n` |
//! | observer | `10.(77+s).252.1` | `fd77:<s>::252:1` |
//! | router | `10.(77+s).253.1` | |
//! | beyond it, machine `m` | `10.(100+16s+m).250.m`, its router `….253.1` | |
//!
//! The hard case is both at once: a segment's virtual addresses are one list, those of IPv4 first,
//! and they move together. Limit: numbers stand in IPv6 addresses as if they were hexadecimal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::MacAddr;

use crate::ids::SegmentId;

/// A version of IP.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// IPv4: addresses are resolved by ARP.
    #[default]
    Ipv4,
    /// IPv6: addresses are resolved by neighbour discovery.
    Ipv6,
}

/// The versions of IP that everybody in a network speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4 alone.
    #[default]
    Ipv4,
    /// IPv6 alone.
    Ipv6,
    /// Both, each with its own virtual addresses.
    Both,
}

impl Family {
    /// The versions, in the order of a segment's virtual addresses.
    pub const fn versions(self) -> &'static [Version] {
        match self {
            Self::Ipv4 => &[Version::Ipv4],
            Self::Ipv6 => &[Version::Ipv6],
            Self::Both => &[Version::Ipv4, Version::Ipv6],
        }
    }

    /// The version that is meant where none is said.
    pub fn first(self) -> Version {
        self.versions().first().copied().unwrap_or_default()
    }

    /// Whether this version is spoken.
    pub fn has(self, version: Version) -> bool {
        self.versions().contains(&version)
    }

    /// A machine's addresses on a segment, one of each version.
    pub(super) fn addresses(self, segment: SegmentId, kind: u8, number: u8) -> Vec<IpAddr> {
        let versions = self.versions().iter();
        versions
            .map(|version| version.address(segment, kind, number))
            .collect()
    }
}

impl Version {
    /// The prefix length of every segment.
    pub const fn prefix(self) -> u8 {
        match self {
            Self::Ipv4 => 16,
            Self::Ipv6 => 64,
        }
    }

    /// As files and command lines spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// The version of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// The `index`-th virtual address of a segment, from 1.
    pub(super) fn virtual_address(self, segment: SegmentId, index: u16) -> IpAddr {
        let [high, low] = index.to_be_bytes();
        match self {
            Self::Ipv4 => v4(segment, high, low),
            Self::Ipv6 => v6(segment, 0, index),
        }
    }

    /// The address of a machine of this kind on a segment.
    fn address(self, segment: SegmentId, kind: u8, number: u8) -> IpAddr {
        match self {
            Self::Ipv4 => v4(segment, kind, number),
            Self::Ipv6 => v6(segment, spelt(kind), spelt(number)),
        }
    }
}

/// The link-local address of whoever carries packets out of a segment.
pub(super) const fn router_address(segment: SegmentId) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x77, segment.0 as u16)
}

/// The link-local address that a kernel makes of a port's MAC (RFC 4291, appendix A).
pub fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0.map(u16::from);
    let [p, q, r, s] = [(a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f];
    Ipv6Addr::new(0xfe80, 0, 0, 0, p, q, r, s)
}

/// An IPv4 address of a machine of this kind on a segment.
pub(super) const fn near(segment: SegmentId, kind: u8, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77 + segment.0, kind, number)
}

/// The same on the network beyond a segment's router on which `machine` is alone, 15 at most.
pub(super) const fn beyond(segment: SegmentId, machine: u8, kind: u8, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 100 + 16 * segment.0 + machine, kind, number)
}

/// The first address of a version in a list.
pub(super) fn of_version(addresses: &[IpAddr], version: Version) -> Option<IpAddr> {
    let mut all = addresses.iter().copied();
    all.find(|address| Version::of(*address) == version)
}

const fn v4(segment: SegmentId, third: u8, fourth: u8) -> IpAddr {
    IpAddr::V4(near(segment, third, fourth))
}

const fn v6(segment: SegmentId, kind: u16, number: u16) -> IpAddr {
    let segment = segment.0 as u16;
    IpAddr::V6(Ipv6Addr::new(0xfd77, segment, 0, 0, 0, 0, kind, number))
}

/// A number whose hexadecimal digits read as its decimal ones.
fn spelt(number: u8) -> u16 {
    let number = u16::from(number);
    number / 100 * 0x100 + number / 10 % 10 * 0x10 + number % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table above is what the code makes.
    #[test]
    fn family_addresses_read_as_documented() {
        let lan = SegmentId(1);
        let both = Family::Both.addresses(lan, 250, 12);
        let texts: Vec<String> = both.iter().map(IpAddr::to_string).collect();
        assert_eq!(texts, ["10.78.250.12", "fd77:1::250:12"]);
        let v6 = Version::Ipv6.virtual_address(lan, 4096);
        assert_eq!(v6.to_string(), "fd77:1::1000");
        assert_eq!(of_version(&both, Version::Ipv6), Some(both[1]));
        assert_eq!(Family::Ipv6.first(), Version::Ipv6);
        assert!(!Family::Ipv6.has(Version::Ipv4));
        let own = link_local(MacAddr([2, 0x77, 0, 0, 0, 1]));
        assert_eq!(own.to_string(), "fe80::77:ff:fe00:1");
    }
}
