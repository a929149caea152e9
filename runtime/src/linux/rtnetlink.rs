//! How links, addresses and neighbours look in rtnetlink: headers, attributes, and reading them.
//!
//! Each message is a fixed header of its family and attributes behind it. What is too short or
//! makes no sense is skipped: the kernel writes no such thing. Numbers are in the host's order,
//! addresses in network order. Limit: only the attributes that are used here are known.

use std::net::IpAddr;

use steadfast_core::MacAddr;

use super::netlink::{Answer, Batch, find, u32_of};

pub(super) const NETLINK_ROUTE: i32 = 0;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_GETROUTE: u16 = 26;
pub(super) const RTM_DELNEIGH: u16 = 29;
pub(super) const RTM_GETNEIGH: u16 = 30;

pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
pub(super) const IFA_CACHEINFO: u16 = 6;
pub(super) const IFA_FLAGS: u16 = 8;
pub(super) const IFA_PROTO: u16 = 11;
/// No duplicate address detection: the address is good at once.
pub(super) const IFA_F_NODAD: u32 = 0x02;
/// No route to the prefix comes or goes with the address.
pub(super) const IFA_F_NOPREFIXROUTE: u32 = 0x200;

pub(super) const NDA_DST: u16 = 1;
/// The header of a message about a route.
const ROUTE_HEADER_LEN: usize = 12;
/// A neighbour that is being asked for.
pub(super) const NUD_INCOMPLETE: u16 = 0x01;
/// A neighbour that did not answer.
pub(super) const NUD_FAILED: u16 = 0x20;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_EXT_MASK: u16 = 29;
/// No counters: reading them may cost a driver much.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const IFF_UP: u32 = 0x1;
const IFF_LOWER_UP: u32 = 0x1_0000;

/// A link, as the kernel tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LinkFact {
    pub(super) index: u32,
    /// ARPHRD number: 1 is Ethernet.
    pub(super) hardware: u16,
    pub(super) name: String,
    pub(super) mac: Option<MacAddr>,
    pub(super) up: bool,
    pub(super) carrier: bool,
    /// The link below it or at its other end; its own index if there is none.
    pub(super) iflink: u32,
}

/// An address, as the kernel tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AddressFact {
    pub(super) index: u32,
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
    pub(super) flags: u32,
    /// Who installed it, where somebody said so.
    pub(super) protocol: Option<u8>,
}

/// A neighbour, as the kernel tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NeighbourFact {
    pub(super) index: u32,
    pub(super) address: IpAddr,
    pub(super) state: u16,
}

/// The header of a message about an address.
pub(super) fn address_header(index: u32, address: IpAddr) -> [u8; 8] {
    let [a, b, c, d] = index.to_ne_bytes();
    let (family, prefix) = match address {
        IpAddr::V4(_) => (AF_INET, 32),
        IpAddr::V6(_) => (AF_INET6, 128),
    };
    [family, prefix, 0, 0, a, b, c, d]
}

/// The header of a message about a neighbour.
pub(super) fn neighbour_header(family: u8, index: u32) -> [u8; 12] {
    let [a, b, c, d] = index.to_ne_bytes();
    [family, 0, 0, 0, a, b, c, d, 0, 0, 0, 0]
}

/// A question where packets to an address go, of all routes or of those of one interface.
pub(super) fn route_to(address: IpAddr, index: Option<u32>) -> Batch {
    const RTA_DST: u16 = 1;
    const RTA_OIF: u16 = 4;
    let octets = octets(address);
    let bits = u8::try_from(octets.len() * 8).unwrap_or(u8::MAX);
    let mut header = [0; ROUTE_HEADER_LEN];
    [header[0], header[1]] = [family(address), bits];
    let mut question = Batch::new();
    let mut message = question.message("ask for a route", RTM_GETROUTE, 0, &header);
    message.put(RTA_DST, &octets);
    if let Some(index) = index {
        message.put_u32(RTA_OIF, index);
    }
    drop(message);
    question
}

/// Whether the answer to [`route_to`] is that this machine takes such packets in (`RTN_LOCAL`).
pub(super) fn is_local(answer: &Answer) -> bool {
    const RTN_LOCAL: u8 = 2;
    answer.body.get(7) == Some(&RTN_LOCAL)
}

/// An address as the value of an attribute.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

pub(super) fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// The question for the link of a name.
pub(super) fn link_of(name: &str) -> Batch {
    let mut question = Batch::new();
    let terminated = [name.as_bytes(), &[0]].concat();
    question
        .message("look at a link", RTM_GETLINK, 0, &[0; 16])
        .put(IFLA_IFNAME, &terminated)
        .put(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    question
}

pub(super) fn link(answer: &Answer) -> Option<LinkFact> {
    let (header, attributes) = answer.body.split_first_chunk::<16>()?;
    let [_, _, h0, h1, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
    let index = u32::from_ne_bytes([i0, i1, i2, i3]);
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let name = find(attributes, IFLA_IFNAME)?.split(|byte| *byte == 0);
    let mac = find(attributes, IFLA_ADDRESS).and_then(|mac| mac.try_into().ok());
    Some(LinkFact {
        index,
        hardware: u16::from_ne_bytes([h0, h1]),
        name: String::from_utf8_lossy(name.into_iter().next()?).into_owned(),
        mac: mac.map(MacAddr),
        up: flags & IFF_UP != 0,
        carrier: flags & (IFF_UP | IFF_LOWER_UP) == IFF_UP | IFF_LOWER_UP,
        iflink: find(attributes, IFLA_LINK)
            .and_then(u32_of)
            .unwrap_or(index),
    })
}

pub(super) fn address(answer: &Answer) -> Option<AddressFact> {
    let (header, attributes) = answer.body.split_first_chunk::<8>()?;
    let [_, prefix, flags, _, index @ ..] = *header;
    // With a peer, "address" is the peer's; without, IPv6 has no "local".
    let own = find(attributes, IFA_LOCAL).or_else(|| find(attributes, IFA_ADDRESS))?;
    Some(AddressFact {
        index: u32::from_ne_bytes(index),
        address: ip(own)?,
        prefix,
        flags: find(attributes, IFA_FLAGS)
            .and_then(u32_of)
            .unwrap_or_else(|| flags.into()),
        protocol: find(attributes, IFA_PROTO).and_then(|value| value.first().copied()),
    })
}

pub(super) fn neighbour(answer: &Answer) -> Option<NeighbourFact> {
    let (header, attributes) = answer.body.split_first_chunk::<12>()?;
    let [_, _, _, _, i0, i1, i2, i3, s0, s1, ..] = *header;
    Some(NeighbourFact {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        address: ip(find(attributes, NDA_DST)?)?,
        state: u16::from_ne_bytes([s0, s1]),
    })
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}
