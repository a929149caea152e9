//! A frame as a plain value: what of it a statement can be about.
//!
//! Identifiers, checksums and bodies are left out, so that a model and a kernel that say the same
//! thing are equal here. A frame that cannot be read is [`What::Other`], never nothing.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::ethernet::{self, ethertype};
use steadfast_core::wire::ndisc::{NeighbourAdvert, NeighbourSolicit};
use steadfast_core::{MacAddr, PortId};

use super::frames::HOPS;
use super::ground::{Station, mac, places};

/// IPv6 options that every router on the way looks at: where reports of groups begin.
const HOP_BY_HOP: u8 = 0;
const ICMPV6: u8 = 58;
const MLD1_REPORT: u8 = 131;
const MLD2_REPORT: u8 = 143;

/// A frame that left the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seen {
    /// Where it left.
    pub port: PortId,
    /// In whose name.
    pub from: MacAddr,
    /// To whom.
    pub to: MacAddr,
    /// What it says.
    pub what: What,
}

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// An advertisement with this role mark.
    Advertisement(u8),
    /// An ARP reply.
    ArpAnswer {
        /// The address it is about.
        address: Ipv4Addr,
        /// Where that is.
        at: MacAddr,
        /// Who asked.
        asker: Ipv4Addr,
    },
    /// An ARP request; about the asker itself it is an announcement.
    ArpQuestion {
        /// The address asked for.
        target: Ipv4Addr,
        /// Who asks.
        asker: Ipv4Addr,
    },
    /// A neighbour advertisement.
    NdAnswer {
        /// The address it is about.
        target: Ipv6Addr,
        /// Who asked, or everybody.
        destination: Ipv6Addr,
        /// The flags "router", "solicited" and "override".
        flags: [bool; 3],
        /// Where that is, if it says so.
        at: Option<MacAddr>,
    },
    /// A neighbour solicitation.
    NdQuestion {
        /// The address asked for.
        target: Ipv6Addr,
        /// Who asks.
        asker: Ipv6Addr,
    },
    /// Anything else, by its EtherType.
    Other(u16),
    /// A packet.
    Packet {
        /// Its sender.
        source: IpAddr,
        /// Its receiver.
        destination: IpAddr,
        /// IP protocol.
        protocol: u8,
        /// The type of an ICMP message; 0 in other packets.
        message: u8,
        /// Hops it has left.
        hops: u8,
    },
    /// Reports that the machine listens to a group (MLD). Its time is the kernel's own, so it is
    /// no part of what a step observes; `Act::AwaitReport` is about it.
    Report,
}

impl Seen {
    /// Reads a frame that left a port.
    pub fn read(port: PortId, frame: &[u8]) -> Option<Self> {
        let frame = ethernet::Frame::parse(frame)?;
        let (from, to) = (frame.source, frame.destination);
        let what = What::read(&frame);
        Some(Self {
            port,
            from,
            to,
            what,
        })
    }

    /// What the machine must answer to a station's question for one of its addresses: by its
    /// port's own hardware address, to the asker alone.
    pub fn answer(station: Station, target: IpAddr) -> Self {
        Self::answer_to(station, station.like(target), target)
    }

    /// The same for a question in the name of any address.
    ///
    /// # Panics
    /// If both addresses are not of the same version.
    pub fn answer_to(station: Station, asker: IpAddr, target: IpAddr) -> Self {
        let what = match (asker, target) {
            (IpAddr::V4(asker), IpAddr::V4(address)) => What::ArpAnswer {
                address,
                at: mac(station.port),
                asker,
            },
            (IpAddr::V6(destination), IpAddr::V6(target)) => What::NdAnswer {
                target,
                destination,
                flags: [true, true, false],
                at: None,
            },
            _ => panic!("{asker} and {target} are of different versions"),
        };
        Self::to(station, what)
    }

    /// What the machine sends to a station.
    pub const fn to(station: Station, what: What) -> Self {
        Self {
            port: station.port,
            from: mac(station.port),
            to: station.mac,
            what,
        }
    }

    /// A datagram on its way to a station.
    pub const fn datagram(station: Station, ends: (IpAddr, IpAddr), hops: u8) -> Self {
        let what = What::Packet {
            source: ends.0,
            destination: ends.1,
            protocol: super::frames::DATAGRAM,
            message: 0,
            hops,
        };
        Self::to(station, what)
    }

    /// An ICMP message of the machine's own to a station.
    pub const fn message(station: Station, source: IpAddr, protocol: u8, message: u8) -> Self {
        let what = What::Packet {
            source,
            destination: station.like(source),
            protocol,
            message,
            hops: HOPS,
        };
        Self::to(station, what)
    }

    /// The answer to a station's echo request.
    pub const fn echo(station: Station, target: IpAddr) -> Self {
        match target {
            IpAddr::V4(_) => Self::message(station, target, 1, 0),
            IpAddr::V6(_) => Self::message(station, target, ICMPV6, 129),
        }
    }
}

impl What {
    fn read(frame: &ethernet::Frame<'_>) -> Self {
        let payload = frame.payload;
        let found = match frame.ethertype {
            ethertype::ARP => Arp::parse(payload).map(Self::of_arp),
            ethertype::IPV4 => Self::of_ipv4(payload),
            ethertype::IPV6 => Self::of_ipv6(payload),
            ethertype::STEADFAST => payload.get(1).copied().map(Self::Advertisement),
            _ => None,
        };
        found.unwrap_or(Self::Other(frame.ethertype))
    }

    const fn of_arp(arp: Arp) -> Self {
        match arp.operation {
            Operation::Reply => Self::ArpAnswer {
                address: arp.sender_ip,
                at: arp.sender_mac,
                asker: arp.target_ip,
            },
            Operation::Request => Self::ArpQuestion {
                target: arp.target_ip,
                asker: arp.sender_ip,
            },
        }
    }

    fn of_ipv4(packet: &[u8]) -> Option<Self> {
        let at = |at: usize| Some(IpAddr::from(*packet.get(at..)?.first_chunk::<4>()?));
        let protocol = *packet.get(9)?;
        Some(Self::Packet {
            source: at(12)?,
            destination: at(16)?,
            protocol,
            message: if protocol == 1 { *packet.get(20)? } else { 0 },
            hops: *packet.get(8)?,
        })
    }

    fn of_ipv6(packet: &[u8]) -> Option<Self> {
        if let Some(advert) = NeighbourAdvert::parse(packet) {
            return Some(Self::NdAnswer {
                target: advert.target,
                destination: advert.destination,
                flags: [advert.router, advert.solicited, advert.overrides],
                at: advert.link_layer,
            });
        }
        if let Some(solicit) = NeighbourSolicit::parse(packet) {
            return Some(Self::NdQuestion {
                target: solicit.target,
                asker: solicit.source,
            });
        }
        let at = |at: usize| Some(IpAddr::from(*packet.get(at..)?.first_chunk::<16>()?));
        let protocol = *packet.get(6)?;
        if protocol == HOP_BY_HOP && reported(packet).is_some() {
            return Some(Self::Report);
        }
        let is_icmp = protocol == ICMPV6;
        Some(Self::Packet {
            source: at(8)?,
            destination: at(24)?,
            protocol,
            message: if is_icmp { *packet.get(40)? } else { 0 },
            hops: *packet.get(7)?,
        })
    }
}

/// The groups that a frame reports to be listened to (MLD, versions 1 and 2).
pub fn groups(frame: &[u8]) -> Vec<Ipv6Addr> {
    let frame = ethernet::Frame::parse(frame);
    let packet = frame.filter(|frame| frame.ethertype == ethertype::IPV6);
    packet
        .and_then(|frame| reported(frame.payload))
        .unwrap_or_default()
}

fn reported(packet: &[u8]) -> Option<Vec<Ipv6Addr>> {
    // Behind the header, eight bytes of options.
    let (next, message) = (*packet.get(40)?, packet.get(48..)?);
    let group = |at: usize| Some(Ipv6Addr::from(*message.get(at..)?.first_chunk::<16>()?));
    match *message.first()? {
        _ if packet[6] != HOP_BY_HOP || next != ICMPV6 => None,
        MLD1_REPORT => Some(vec![group(8)?]),
        MLD2_REPORT => {
            let count = u16::from_be_bytes(*message.get(6..)?.first_chunk()?);
            let mut found = Vec::new();
            let mut at = 8;
            for _ in 0..count {
                let [_, extra, n0, n1] = *message.get(at..)?.first_chunk::<4>()?;
                found.push(group(at + 4)?);
                let sources = usize::from(u16::from_be_bytes([n0, n1]));
                at += 20 + 16 * sources + 4 * usize::from(extra);
            }
            Some(found)
        }
        _ => None,
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            port,
            from,
            to,
            what,
        } = self;
        let place = places().into_iter().find(|place| place.port == *port);
        let name = place.map_or("?", |place| place.name);
        write!(f, "{name}: {from} to {to}: {what:?}")
    }
}
