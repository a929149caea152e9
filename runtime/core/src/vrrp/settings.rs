//! What a virtual router is set to, and what of that is a mistake.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;

use crate::wire::vrrp::{Interval, OWNER, RESIGNS, Sum, Sums, Version};

/// The priority where none is written (RFC 9568 §6.1).
pub const PRIORITY_USUAL: u8 = 100;

/// What is made of an advertisement with other addresses than ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lists {
    /// It counts; how many there are is told (the check is optional: RFC 9568 §7.1).
    Counted,
    /// It is ignored, unless its sender owns the addresses (RFC 3768 §7.1).
    Equal,
}

/// What a virtual router is set to. [`Settings::problems`] says what cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which version it speaks.
    pub version: Version,
    /// Which virtual router: 1 to 255.
    pub virtual_id: u8,
    /// 1 to 254; 255 for who owns the addresses.
    pub priority: u8,
    /// How often it advertises.
    pub interval: Interval,
    /// Whether it takes over from a router of lower priority.
    pub preempt: bool,
    /// The addresses, in the order in which they are told.
    pub addresses: Vec<IpAddr>,
    /// The link's own address that messages come from.
    pub primary: IpAddr,
    /// How its messages are summed (version 3 over IPv4).
    pub sum: Sum,
    /// Which sums it understands (version 3 over IPv4).
    pub sums: Sums,
    /// What it makes of other addresses.
    pub lists: Lists,
    /// Whether an active router answers a lower priority at once (RFC 9568 §6.4.3; RFC 3768 and
    /// 5798 say nothing then).
    pub answers_lower: bool,
    /// Routers that it speaks to directly, in place of the group.
    pub unicast: Vec<IpAddr>,
}

/// A lease lasts so many intervals from the last word that left: as long as others wait.
const INTERVALS_SERVED: u32 = 3;

impl Settings {
    /// A router as the product has it where nothing else is written: of usual priority, once a
    /// second, and as strict with others as the RFC of its version.
    pub fn usual(version: Version, virtual_id: u8, primary: IpAddr) -> Self {
        Self {
            version,
            virtual_id,
            priority: PRIORITY_USUAL,
            interval: Interval::SECOND,
            preempt: true,
            addresses: Vec::new(),
            primary,
            sum: Sum::PseudoHeader,
            sums: Sums::Either,
            lists: match version {
                Version::V2 => Lists::Equal,
                Version::V3 => Lists::Counted,
            },
            answers_lower: version == Version::V3,
            unicast: Vec::new(),
        }
    }

    /// How long it may serve from the last word that left (D9, D19).
    pub fn lease(&self) -> Duration {
        self.interval.span() * INTERVALS_SERVED
    }

    /// What is wrong with it: the field, and why; empty if nothing is.
    pub fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        let mut check = |holds: bool, field, why| {
            if !holds {
                found.push((field, why));
            }
        };
        let ipv6 = self.primary.is_ipv6();
        check(self.virtual_id != 0, "virtual_id", "is 1 to 255");
        check(
            self.priority != RESIGNS,
            "priority",
            "is 1 to 255: 0 is said by who gives up",
        );
        let centis = self.interval.centis();
        let interval = Interval::new(self.version, centis);
        check(
            interval.is_ok(),
            "interval",
            interval.err().unwrap_or_default(),
        );
        check(
            !(ipv6 && self.version == Version::V2),
            "version",
            "2 knows IPv4 alone",
        );
        check(!self.addresses.is_empty(), "addresses", "are none");
        check(
            self.addresses.len() <= usize::from(u8::MAX),
            "addresses",
            "are more than 255",
        );
        let mut addresses = self.addresses.iter();
        check(
            addresses.all(|it| it.is_ipv6() == ipv6),
            "addresses",
            "are of another family than the link's own",
        );
        let distinct: BTreeSet<&IpAddr> = self.addresses.iter().collect();
        check(
            distinct.len() == self.addresses.len(),
            "addresses",
            "name one twice",
        );
        let first = self.addresses.first();
        check(
            !ipv6 || first.is_none_or(is_link_local),
            "addresses",
            "begin with a link-local one (RFC 9568 §5.2.9)",
        );
        check(
            self.priority != OWNER || distinct.contains(&self.primary),
            "priority",
            "255 is for who owns the addresses",
        );
        found
    }
}

const fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
