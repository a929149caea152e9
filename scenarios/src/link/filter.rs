//! Frames to lose by choice: rules in their order, each for some frames and so many of them.
//!
//! Limit: a rule looks at single bytes of a frame, so the kind of an advertisement in a datagram
//! is not seen.

use core::net::Ipv4Addr;

use steadfast_core::MacAddr;
use steadfast_core::wire::ethernet;

/// Most rules of one filter; a further rule is refused.
pub const RULES_MAX: usize = 16;

/// Where the kind of a Steadfast frame stands (`wire::advert`).
const KIND_AT: usize = 16;
/// Where a frame's source stands.
const SOURCE_AT: usize = 6;
/// Where an IPv4 packet's source address stands in a frame.
pub const ADDRESS_AT: usize = ethernet::HEADER_LEN + 12;

/// Frames to lose by choice: the first rule that matches a frame takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    rules: Vec<Rule>,
}

/// One rule of a [`Filter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Which frames.
    pub matching: Match,
    /// Only those with this source; of any when absent.
    pub source: Option<Source>,
    /// How many are still to be taken; `None` takes them until the filter is cleared.
    pub left: Option<u32>,
}

/// By what a frame's sender is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Its address on the segment's own network.
    Station(MacAddr),
    /// Through a router: the address that its IPv4 packets come from.
    Address(Ipv4Addr),
}

impl Source {
    fn sent(self, frame: &[u8]) -> bool {
        let is = |at: usize, bytes: &[u8]| frame.get(at..at + bytes.len()) == Some(bytes);
        match self {
            Self::Station(mac) => is(SOURCE_AT, &mac.0),
            Self::Address(ip) => {
                let ethertype = ethernet::Frame::parse(frame).map(|it| it.ethertype);
                ethertype == Some(ethernet::ethertype::IPV4) && is(ADDRESS_AT, &ip.octets())
            }
        }
    }
}

/// Which frames a [`Rule`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Match {
    /// Every frame.
    Any,
    /// Frames of one EtherType.
    EtherType(u16),
    /// Steadfast frames whose kind byte has this value.
    Kind(u8),
}

impl Filter {
    /// Adds a rule behind the others; `false` when [`RULES_MAX`] rules are in force already.
    #[must_use]
    pub fn add(&mut self, rule: Rule) -> bool {
        let fits = self.rules.len() < RULES_MAX;
        if fits && rule.left != Some(0) {
            self.rules.push(rule);
        }
        fits
    }

    /// Removes every rule.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The rules in force.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether a rule takes this frame; a counted rule counts it and leaves when used up.
    pub(super) fn takes(&mut self, frame: &[u8]) -> bool {
        let Some(at) = self.rules.iter().position(|rule| rule.hits(frame)) else {
            return false;
        };
        if let Some(left) = &mut self.rules[at].left {
            *left -= 1;
            if *left == 0 {
                self.rules.remove(at);
            }
        }
        true
    }
}

impl Rule {
    /// Takes every such frame, whoever sent it, until the filter is cleared.
    pub const fn of(matching: Match) -> Self {
        Self {
            matching,
            source: None,
            left: None,
        }
    }

    fn hits(self, frame: &[u8]) -> bool {
        self.source.is_none_or(|source| source.sent(frame)) && self.matching.hits(frame)
    }
}

impl Match {
    fn hits(self, frame: &[u8]) -> bool {
        let ethertype = || ethernet::Frame::parse(frame).map(|parsed| parsed.ethertype);
        match self {
            Self::Any => true,
            Self::EtherType(wanted) => ethertype() == Some(wanted),
            Self::Kind(kind) => {
                frame.get(KIND_AT) == Some(&kind)
                    && ethertype() == Some(ethernet::ethertype::STEADFAST)
            }
        }
    }
}
