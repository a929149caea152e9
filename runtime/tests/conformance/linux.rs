//! Linux as a machine on which statements are tried, with the fence and addresses of the daemon.
//!
//! Silence is never waited for: behind every act a question is put on every wire, for the port's
//! unit address, which is answered in every state. What left because of the act left before that
//! answer, since one processor does it all in order. A question from 0.0.0.0 leaves no trace.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, Socket, Type};
use steadfast::linux::addresses::{Addresses, VirtualAddress};
use steadfast::linux::fence::{Fence, FenceSpec, Hooks, LeaseError, ServedPort};
use steadfast::linux::neighbours::Neighbours;
use steadfast::linux::netlink::{Netlink, find};
use steadfast_core::{Instant, MacAddr, PortId};
use steadfast_scenarios::conformance::frames::{self, DATAGRAM};
use steadfast_scenarios::conformance::ground::{self, Station};
use steadfast_scenarios::conformance::{Act, Entry, EntryState, Machine, Observation, Seen};
use steadfast_scenarios::conformance::{Statement, Told, groups};

use super::bench::{self, Port};
use super::sys;

/// Who asks the questions behind an act.
const MARKER: MacAddr = MacAddr([2, 0, 0, 0, 7, 7]);
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const BODY: &[u8] = b"a statement's own";
/// Most frames read behind one act; beyond it the trial is broken.
const FRAMES_MAX: usize = 10_000;
/// The longest wait for a report of a group.
const WAIT_MAX: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// A gateway that is a network namespace.
pub(crate) struct Linux {
    begun: std::time::Instant,
    ports: Vec<Port>,
    addresses: Addresses,
    neighbours: Neighbours,
    fence: Option<Fence>,
    folder: PathBuf,
    /// The device of the LAN's virtual MAC, where the statement has one.
    device: Option<u32>,
    /// Groups that were reported, with the port.
    reported: BTreeSet<(PortId, Ipv6Addr)>,
}

impl Linux {
    /// Builds the gateway in the namespace of this process, fenced.
    pub(crate) fn new(statement: &Statement) -> Result<Self, String> {
        let named = |what: &'static str| move |why: io::Error| format!("{what} ({why})");
        sys::stay_on_one_processor().map_err(named("a processor"))?;
        let ports = bench::ports().map_err(named("interfaces"))?;
        let folder = std::env::temp_dir().join(format!("conformance-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(named("a folder"))?;
        let virtuals = ground::virtuals().map(|(_, address)| address);
        let mut linux = Self {
            begun: std::time::Instant::now(),
            ports,
            addresses: Addresses::open(virtuals).map_err(named("netlink"))?,
            neighbours: Neighbours::open().map_err(named("netlink"))?,
            fence: None,
            folder,
            device: None,
            reported: BTreeSet::new(),
        };
        let fence = Fence::install(&linux.spec(statement));
        linux.fence = Some(fence.map_err(|why| format!("a fence ({why})"))?);
        if statement.stationed {
            let device = bench::station().map_err(named("a device for a virtual MAC"))?;
            linux.device = Some(device);
        }
        linux.settle().expect("an answer on every port");
        Ok(linux)
    }

    fn spec(&self, statement: &Statement) -> FenceSpec {
        let names = self.ports.iter().map(|port| port.place.name.to_owned());
        let served = self.ports.iter().filter(|port| port.place.served);
        let (lease, tail) = statement.lease;
        FenceSpec {
            heartbeat_ports: names.collect(),
            served: served
                .map(|port| ServedPort {
                    name: port.place.name.to_owned(),
                    units: port.place.units.map(|(address, _)| address).to_vec(),
                    virtuals: ground::virtuals()
                        .into_iter()
                        .filter(|(at, _)| *at == port.place.port)
                        .map(|(_, address)| address)
                        .collect(),
                    virtual_macs: (statement.stationed && port.place.port == ground::LAN)
                        .then_some(ground::STATION)
                        .into_iter()
                        .collect(),
                })
                .collect(),
            datagrams: None,
            hooks: if statement.egress {
                Hooks::Egress
            } else {
                Hooks::Output
            },
            lease,
            tail,
            keeper_dir: self.folder.clone(),
            keeper_program: "/proc/self/exe".into(),
        }
    }

    fn port(&mut self, port: PortId) -> &mut Port {
        let mut ports = self.ports.iter_mut();
        ports.find(|one| one.place.port == port).unwrap()
    }

    fn fence(&mut self) -> &mut Fence {
        self.fence.as_mut().expect("it stands until the end")
    }

    fn place(&mut self, port: PortId, address: IpAddr) -> [VirtualAddress; 1] {
        let device = self.device.filter(|_| port == ground::LAN);
        let index = device.unwrap_or_else(|| self.port(port).index);
        [VirtualAddress { index, address }]
    }

    /// Does what an act says; what a program is told of it.
    fn carry_out(&mut self, act: &Act, mark: Instant) -> io::Result<Told> {
        let lapsed = |outcome| match outcome {
            Ok(()) => Ok(Told::Nothing),
            Err(LeaseError::Lapsed) => Ok(Told::Lapsed),
            Err(LeaseError::Fence(why)) => Err(io::Error::other(why)),
        };
        match act {
            Act::Add(port, address) => {
                let place = self.place(*port, *address);
                self.addresses.add_all(&place).map_err(io::Error::other)?;
                bench::await_use(*address)?;
            }
            Act::Arm => self.fence().arm().map_err(io::Error::other)?,
            Act::AwaitReport(port, group) => return self.await_report((*port, *group)),
            Act::Carrier(port, up) => self.port(*port).set_carrier(*up)?,
            Act::Close => self.fence().close().map_err(io::Error::other)?,
            Act::ForgetDead => {
                let indexes: Vec<_> = self.ports.iter().map(|port| port.index).collect();
                self.neighbours.forget_unresolved(&indexes)?;
            }
            Act::Look(port, address) => {
                let index = self.port(*port).index;
                return Ok(Told::Entry(entry(index, *address)?));
            }
            Act::Offer(left) => return lapsed(self.fence().offer(*left)),
            Act::Receive(port, frame) => self.inject(*port, frame)?,
            Act::Release => return lapsed(self.fence().release_to_tail()),
            Act::Remove(port, address) => {
                let place = self.place(*port, *address);
                self.addresses
                    .remove_all(&place)
                    .map_err(io::Error::other)?;
            }
            Act::Rest(wait) => std::thread::sleep(mark.after(*wait).since(self.now())),
            Act::Send(from, to) => send(*from, *to)?,
            Act::Transmit(port, frame) => {
                let near = &self.port(*port).near;
                return match rustix::net::send(near, frame, SendFlags::empty()) {
                    Ok(_) => Ok(Told::Nothing),
                    Err(Errno::NOBUFS) => Ok(Told::Refused),
                    Err(why) => Err(why.into()),
                };
            }
        }
        Ok(Told::Nothing)
    }

    /// Puts a frame on a port's wire; without carrier it goes nowhere.
    fn inject(&mut self, port: PortId, frame: &[u8]) -> io::Result<()> {
        let port = self.port(port);
        match rustix::net::send(&port.far, frame, SendFlags::empty()) {
            Err(Errno::NETDOWN | Errno::NXIO) if !port.has_carrier => Ok(()),
            sent => Ok(sent.map(drop)?),
        }
    }

    /// Reads all that left the ports because of what was done before.
    fn settle(&mut self) -> io::Result<Vec<Seen>> {
        let lit: Vec<PortId> = self
            .ports
            .iter()
            .filter(|port| port.has_carrier)
            .map(|port| port.place.port)
            .collect();
        for port in &lit {
            let unit = ground::unit(*port, NOBODY);
            let asked = frames::question_as(marker(*port), NOBODY, unit, ground::mac(*port));
            self.inject(*port, &asked)?;
        }
        let mut seen = Vec::new();
        for port in lit {
            let unit = ground::unit(port, NOBODY);
            let last = Seen::answer_to(marker(port), NOBODY, unit);
            self.read_until(port, last, &mut seen)?;
        }
        Ok(seen)
    }

    fn read_until(&mut self, port: PortId, last: Seen, seen: &mut Vec<Seen>) -> io::Result<()> {
        let mut frame = [0; 2048];
        for _ in 0..FRAMES_MAX {
            let far = &self.port(port).far;
            let len = match rustix::net::recv(far, &mut frame[..], RecvFlags::empty()) {
                Ok((len, _)) => len,
                Err(why) => return Err(why.into()),
            };
            let groups = groups(&frame[..len]).into_iter();
            self.reported.extend(groups.map(|group| (port, group)));
            match Seen::read(port, &frame[..len]) {
                Some(found) if found == last => return Ok(()),
                found => seen.extend(found),
            }
        }
        Err(io::Error::other("too many frames"))
    }

    fn await_report(&mut self, wanted: (PortId, Ipv6Addr)) -> io::Result<Told> {
        let begun = std::time::Instant::now();
        while !self.reported.contains(&wanted) && begun.elapsed() < WAIT_MAX {
            std::thread::sleep(PAUSE);
            self.settle()?;
        }
        Ok(Told::Reported(self.reported.contains(&wanted)))
    }
}

impl Machine for Linux {
    type Error = io::Error;

    fn now(&self) -> Instant {
        Instant::ORIGIN.after(self.begun.elapsed())
    }

    fn act(&mut self, act: &Act, mark: Instant) -> Result<Observation, Self::Error> {
        let told = self.carry_out(act, mark)?;
        Ok(Observation::new(self.settle()?, told))
    }
}

impl Drop for Linux {
    fn drop(&mut self) {
        // What is not removed ends with the namespace, once the keeper has ended.
        let _ = self.fence.take().map(Fence::unfence);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn marker(port: PortId) -> Station {
    Station {
        port,
        mac: MARKER,
        v4: NOBODY,
        v6: NOBODY,
    }
}

/// A datagram as a program sends it. That it found no way, or was fenced, is not told: a statement
/// looks at wires.
fn send(from: IpAddr, to: IpAddr) -> io::Result<()> {
    let domain = Domain::for_address(SocketAddr::new(to, 0));
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(DATAGRAM))))?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    let no_way = [
        libc::ENETUNREACH,
        libc::EHOSTUNREACH,
        libc::ENOBUFS,
        libc::EPERM,
    ];
    match socket.send_to(BODY, &SocketAddr::new(to, 0).into()) {
        Err(why) if why.raw_os_error().is_some_and(|why| no_way.contains(&why)) => Ok(()),
        sent => sent.map(drop),
    }
}

/// What the neighbour cache says of an address on an interface.
fn entry(index: u32, address: IpAddr) -> io::Result<Option<Entry>> {
    const GET_NEIGHBOUR: u16 = 30;
    let (family, octets) = match address {
        IpAddr::V4(address) => (2, address.octets().to_vec()),
        IpAddr::V6(address) => (10, address.octets().to_vec()),
    };
    let mut header = [0; 12];
    header[0] = family;
    let mut route = Netlink::open(libc::NETLINK_ROUTE)?;
    let answers =
        route.dump(|batch| drop(batch.message("list neighbours", GET_NEIGHBOUR, 0, &header)))?;
    let read = |body: &[u8]| {
        let (head, attributes) = body.split_first_chunk::<12>()?;
        let [_, _, _, _, i0, i1, i2, i3, s0, s1, _, _] = *head;
        let is_it = u32::from_ne_bytes([i0, i1, i2, i3]) == index
            && find(attributes, 1) == Some(&octets[..]);
        let state = match u16::from_ne_bytes([s0, s1]) {
            0x01 => EntryState::Incomplete,
            0x02 => EntryState::Reachable,
            0x04 => EntryState::Stale,
            0x08 => EntryState::Delay,
            0x10 => EntryState::Probe,
            0x20 => EntryState::Failed,
            // Never learnt.
            _ => return None,
        };
        let mac = find(attributes, 2).and_then(|mac| mac.try_into().ok());
        let mac = mac.map(MacAddr);
        is_it.then_some(Entry { state, mac })
    };
    Ok(answers.iter().find_map(|answer| read(&answer.body)))
}
