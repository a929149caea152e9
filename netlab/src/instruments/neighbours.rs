//! What hosts and switches believe: neighbour entries and forwarding tables.
//!
//! A host's entry for a virtual address says where its traffic goes; in plain mode each gateway
//! answers with its own MAC, so the entry names the gateway. With a virtual MAC it is the switch's
//! table that says behind which port the virtual MAC is. Both are tables of one kind, read by the
//! same netlink dump: at once when the kernel tells of a change, and every [`LOOK`] in any case,
//! since kernels tell only of some.
//!
//! The hard case is an overrun of the kernel's news: it is ignored, because news only say "look
//! again", and looking comes anyway. The limit: what changes and changes back between two looks is
//! not seen, and a change is dated to the look.

use core::time::Duration;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netdevice::name_to_index;
use steadfast_core::{Instant, MacAddr, NodeId};
use steadfast_scenarios::format::{Layout, Plan, Version};
use steadfast_scenarios::trace::{EventKind, Holder};
use steadfast_scenarios::{HostId, SegmentId};

use super::recorder::{Desk, Instrument};
use super::{ASKED_MAX, holder_of};

/// A table is read at least this often.
const LOOK: Duration = Duration::from_millis(20);
/// And no more often than this, however much the kernel tells; each for itself, for what happens
/// to two hosts at once must not seem to happen to one after the other.
const REST: Duration = Duration::from_millis(1);
/// Datagrams of one dump, or of news read at once; some 100 entries each. More are not read.
const DATAGRAMS_MAX: usize = 256;
/// The kernel's group of news about neighbours (`RTNLGRP_NEIGH`).
const NEIGHBOUR_NEWS: u32 = 3;

/// A machine whose table is read.
#[derive(Debug)]
pub struct Station {
    news: Socket,
    questions: Socket,
    whose: Whose,
    known: Vec<Holder>,
    /// News are left unread until then.
    rests_until: Instant,
}

#[derive(Clone, Debug)]
enum Whose {
    Host {
        host: HostId,
        virtual_mac: Option<MacAddr>,
    },
    Switch {
        segment: SegmentId,
        mac: MacAddr,
        ports: Vec<(NodeId, u32)>,
    },
}

impl Station {
    /// A host, in the calling thread's namespace. `virtual_mac` is the MAC that virtual addresses
    /// answer with there, if not the gateways' own.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket.
    pub fn host(host: HostId, virtual_mac: Option<MacAddr>) -> io::Result<Self> {
        Self::open(Whose::Host { host, virtual_mac })
    }

    /// A switch, in the calling thread's namespace: where it sends frames for the virtual MAC.
    /// `ports` names the switch's interface to each gateway.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel gives no netlink socket.
    pub fn switch(
        segment: SegmentId,
        virtual_mac: MacAddr,
        ports: &[(NodeId, String)],
    ) -> io::Result<Self> {
        let (family, kind) = (
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::DGRAM,
        );
        let asker = rustix::net::socket(family, kind, None)?;
        let mut indexes = Vec::with_capacity(ports.len());
        for (gateway, interface) in ports {
            indexes.push((*gateway, name_to_index(&asker, interface)?));
        }
        Self::open(Whose::Switch {
            segment,
            mac: virtual_mac,
            ports: indexes,
        })
    }

    fn open(whose: Whose) -> io::Result<Self> {
        let mut news = Socket::new(NETLINK_ROUTE)?;
        news.bind_auto()?;
        news.add_membership(NEIGHBOUR_NEWS)?;
        news.set_non_blocking(true)?;
        let mut questions = Socket::new(NETLINK_ROUTE)?;
        questions.bind_auto()?;
        questions.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            news,
            questions,
            whose,
            known: Vec::new(),
            rests_until: Instant::ORIGIN,
        })
    }

    /// Takes all news away; what they say is read from the table.
    fn hear(&self) {
        let mut room = Vec::with_capacity(1 << 16);
        for _ in 0..DATAGRAMS_MAX {
            room.clear();
            // Any error ends it: none left, or an overrun, which says "look again" as well.
            if self.news.recv(&mut room, libc::MSG_DONTWAIT).is_err() {
                break;
            }
        }
    }

    fn look(&mut self, layout: &Layout, desk: &Desk) -> io::Result<()> {
        let at = desk.clock().now();
        match &self.whose {
            Whose::Host { host, virtual_mac } => {
                let (host, virtual_mac) = (*host, *virtual_mac);
                let Some(it) = layout.hosts.get(host.index()) else {
                    return Ok(());
                };
                let Some(segment) = layout.segments.get(it.segment.index()) else {
                    return Ok(());
                };
                let mut entries = Vec::new();
                for version in layout.family.versions() {
                    let family = match version {
                        Version::Ipv4 => AddressFamily::Inet,
                        Version::Ipv6 => AddressFamily::Inet6,
                    };
                    entries.extend(self.dump(family)?);
                }
                for (address, ip) in (0..ASKED_MAX).zip(&segment.virtuals) {
                    let about = |entry: &&NeighbourMessage| {
                        let ip = match *ip {
                            IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
                            IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
                        };
                        entry
                            .attributes
                            .contains(&NeighbourAttribute::Destination(ip))
                    };
                    let mac = entries.iter().find(about).and_then(mac_of);
                    let holder = holder_of(layout, segment.id, mac, virtual_mac);
                    if self.news_of(usize::from(address), holder) {
                        let kind = EventKind::Neighbour {
                            host,
                            address,
                            holder,
                        };
                        desk.tell(at, kind);
                    }
                }
            }
            Whose::Switch {
                segment,
                mac,
                ports,
            } => {
                let (segment, mac) = (*segment, *mac);
                let entries = self.dump(AddressFamily::Bridge)?;
                let behind = entries
                    .iter()
                    .filter(|entry| mac_of(entry) == Some(mac))
                    .find_map(|entry| {
                        let index = entry.header.ifindex;
                        let mut ports = ports.iter();
                        ports.find(|(_, port)| *port == index).map(|(id, _)| *id)
                    });
                let holder = behind.map_or(Holder::Nobody, Holder::Gateway);
                if self.news_of(0, holder) {
                    desk.tell(at, EventKind::SwitchPort { segment, holder });
                }
            }
        }
        Ok(())
    }

    /// Notes where an entry points; whether that is new.
    fn news_of(&mut self, index: usize, holder: Holder) -> bool {
        if self.known.len() <= index {
            self.known.resize(index + 1, Holder::Nobody);
        }
        core::mem::replace(&mut self.known[index], holder) != holder
    }

    fn dump(&self, family: AddressFamily) -> io::Result<Vec<NeighbourMessage>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut question = NeighbourMessage::default();
        question.header.family = family;
        let question = RouteNetlinkMessage::GetNeighbour(question);
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.questions.send(&bytes, 0)?;
        let mut entries = Vec::new();
        for _ in 0..DATAGRAMS_MAX {
            let (datagram, _) = self.questions.recv_from_full()?;
            if read(&datagram, &mut entries)? {
                break;
            }
        }
        Ok(entries)
    }
}

/// Reads all tables.
#[derive(Debug)]
pub struct Neighbours {
    layout: Layout,
    stations: Vec<Station>,
}

impl Neighbours {
    /// Reads the tables of these machines.
    pub fn new(plan: &Plan, stations: Vec<Station>) -> Self {
        Self {
            layout: plan.layout.clone(),
            stations,
        }
    }
}

impl Instrument for Neighbours {
    fn name(&self) -> &'static str {
        "neighbours"
    }

    fn run(&mut self, desk: &Desk) -> io::Result<()> {
        let clock = desk.clock();
        let mut due = clock.now();
        while !desk.stopped() {
            let now = clock.now();
            let all = now >= due;
            if all {
                due = now.after(LOOK);
            }
            for (station, told) in self.told(now, due)? {
                let station = &mut self.stations[station];
                if told {
                    station.hear();
                }
                if all || told {
                    station.look(&self.layout, desk)?;
                    station.rests_until = clock.now().after(REST);
                }
            }
        }
        Ok(())
    }
}

impl Neighbours {
    /// Waits for news of those that do not rest, at most until all are due or one has rested; says
    /// of each whether its kernel told some.
    fn told(&self, now: Instant, due: Instant) -> io::Result<Vec<(usize, bool)>> {
        let (mut fds, mut until) = (Vec::new(), due);
        for station in &self.stations {
            // News of one at rest stay where they are: no events are wanted, none come.
            let flags = if station.rests_until > now {
                until = until.min(station.rests_until);
                PollFlags::empty()
            } else {
                PollFlags::IN
            };
            fds.push(PollFd::new(&station.news, flags));
        }
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: until.since(now).min(LOOK).subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let told = |fd: &PollFd<'_>| !fd.revents().is_empty();
        Ok(fds.iter().map(told).enumerate().collect())
    }
}

/// Reads one datagram of a dump; whether it was the last.
fn read(datagram: &[u8], entries: &mut Vec<NeighbourMessage>) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let buffer = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
        let length = (buffer.length() as usize).next_multiple_of(4);
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest);
        match message.map_err(io::Error::other)?.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(entry)) => {
                entries.push(entry);
            }
            _ => {}
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(false)
}

/// The MAC of an entry, if it has one: kernels give none for an entry that failed or is not
/// answered yet.
fn mac_of(entry: &NeighbourMessage) -> Option<MacAddr> {
    entry
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                bytes.as_slice().try_into().ok().map(MacAddr)
            }
            _ => None,
        })
}
