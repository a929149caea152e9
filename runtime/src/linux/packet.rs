//! Frames in and out of the gateway's ports: one packet socket per port, no IP address needed (D4).
//!
//! A filter in the kernel lets through what a node understands (our EtherType, ARP, neighbour
//! discovery, IP protocol 112) and nothing else, so traffic that is forwarded never reaches this
//! program. The kernel stamps each frame with wall time; the stamp is only used as an age, since
//! the wall clock may step: at most a second, and never older than the moment at which the socket
//! was last seen empty. (For some milliseconds after the first socket of a host asked for stamps
//! the kernel gives none; such a frame counts as taken in when it is read.)
//!
//! The hard case is an interface that goes away: its socket reports an error once and stays silent
//! for good, even when an interface of the same name and number comes back. So each doubt is
//! settled by asking the socket what it is bound to; a port without a socket is opened again by its
//! name, at most each [`REOPEN_SPACING`], when frames are taken or sent. The watcher of links wakes
//! the driver when the interface is back, so nobody has to wait for that here.
//!
//! One question to the kernel says which sockets have something; those are read once, and the
//! question is asked again. Its last answer, "none", is what a judgement of silence rests on (D6),
//! and costs the same however many ports there are.
//!
//! What is sent on a port that just came up, before the kernel gave it a queue, is dropped without
//! an error; looking at the link, as the watcher does, makes the kernel give it one.
//!
//! The limits: a queue of the kernel that is full answers like the lease guard (ENOBUFS), so an
//! active advertisement that found no room looks refused; heartbeats have a band of their own
//! (priority 7) so that this takes a queue full of heartbeats. Frames with the tag of a VLAN belong
//! to the VLAN's own interface and are not heard here; frames tagged for priority alone are.

mod counters;
mod filter;
mod port;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll;
use rustix::time::Timespec;
use steadfast_core::{Instant, MacAddr, PortId};
use steadfast_shell::env::{Frames, Sent};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::carrier::CarrierBoard;
use super::clock::Monotonic;
use super::lease::LeaseGuard;
use super::raw;
use port::{Port, Taken};

pub use counters::{CounterBoard, PortCounters};
pub use port::REOPEN_SPACING;

/// Longest frame that is taken or sent, bytes; longer ones are counted and dropped. Ours have at
/// most 1414.
pub const FRAME_MAX: usize = 2048;
/// Most frames that are thrown away in one search for the next good one. Beyond it the search says
/// "none"; what is left is found at the next.
const DISCARDS_MAX: usize = 1024;
/// Ports that are found to have frames at one look; the others are found at the next.
const EVENTS_MAX: usize = 16;
/// Between two times at which counters are told to other threads; asking the kernel for its own
/// costs a system call for each port.
pub const PUBLISH_SPACING: Duration = Duration::from_millis(500);

/// What a port's socket is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// The port.
    pub id: PortId,
    /// The interface's name; what the port is bound to, whatever index it has.
    pub name: String,
    /// The interface's address when the configuration was checked; another one is logged.
    pub mac: MacAddr,
    /// Advertisements are sent and heard here (D4).
    pub heartbeat: bool,
    /// Virtual addresses live here: other redundancy protocols are listened for (R5.4).
    pub served: bool,
    /// Advertisements may come in datagrams to this UDP port (R2.5).
    pub datagrams: Option<u16>,
    /// They may have come through a router.
    pub routed: bool,
}

/// The sockets of all ports.
pub struct PacketPorts {
    sockets: Sockets,
    /// An epoll descriptor that watches every socket.
    watch: AsyncFd<OwnedFd>,
    board: CarrierBoard,
    /// None: nothing is said under a lease.
    guard: Option<LeaseGuard>,
    published: Arc<CounterBoard>,
    publish_at: Instant,
    buffer: Box<[u8; FRAME_MAX]>,
}

struct Sockets {
    ports: Vec<Port>,
    /// The ports, by place, that have something waiting and were not read since that was found,
    /// the next one last: each gets its turn, however much one of them hears.
    waiting: Vec<usize>,
    time: Monotonic,
}

impl PacketPorts {
    /// Opens a socket on every port. A port whose interface is missing is opened once it is there.
    /// `board` is the one the watcher of links writes to. To be called on the driver's runtime.
    ///
    /// # Errors
    /// Packet sockets are refused (CAP_NET_RAW is missing), or a port is not Ethernet.
    pub fn open(specs: &[PortSpec], time: Monotonic, board: &CarrierBoard) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut ports = Vec::with_capacity(specs.len());
        for (place, spec) in specs.iter().enumerate() {
            let mut port = Port::new(spec.clone(), place, time.now());
            match port.open(&epoll) {
                Ok(()) => {}
                Err(error) if port::is_absent(&error) => {
                    log::warn!("port {}: no such interface yet", spec.name);
                }
                Err(error) => return Err(named(&spec.name, &error)),
            }
            ports.push(port);
        }
        Ok(Self {
            sockets: Sockets {
                ports,
                waiting: Vec::with_capacity(specs.len()),
                time,
            },
            watch: raw::register(epoll, Interest::READABLE)?,
            board: board.clone(),
            guard: None,
            published: Arc::new(CounterBoard::new(specs.iter().map(|spec| spec.id))),
            publish_at: Instant::ORIGIN,
            buffer: Box::new([0; FRAME_MAX]),
        })
    }

    /// From now on a frame that says "active" needs this word, and asks for its renewal.
    #[must_use]
    pub fn guarded_by(mut self, guard: LeaseGuard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// What was counted, port by port in the order of [`PacketPorts::open`].
    pub fn counters(&mut self) -> Vec<(PortId, PortCounters)> {
        let counted = |port: &mut Port| (port.spec.id, port.counters());
        self.sockets.ports.iter_mut().map(counted).collect()
    }

    /// The same for other threads, at most [`PUBLISH_SPACING`] old while frames are taken.
    pub fn published(&self) -> Arc<CounterBoard> {
        Arc::clone(&self.published)
    }

    /// Looks again. A kernel that cannot say what waits is not asked in a loop: the driver's own
    /// wait for frames ends with the same error.
    fn finds_more(&mut self) -> bool {
        let looked = self.sockets.look(self.watch.get_ref());
        looked.unwrap_or_else(|error| {
            log::debug!("failed to ask which ports have frames: {error}");
            false
        })
    }

    fn publish(&mut self) {
        let now = self.sockets.time.now();
        if now < self.publish_at {
            return;
        }
        self.publish_at = now.after(PUBLISH_SPACING);
        for (id, counters) in self.counters() {
            self.published.publish(id, counters);
        }
    }

    /// Opens what is closed and may be there again.
    fn mend(&mut self) {
        let Sockets { ports, time, .. } = &mut self.sockets;
        for port in ports {
            port.mend(self.watch.get_ref(), *time, &self.board);
        }
    }
}

impl Sockets {
    /// Reads the next port that has something waiting.
    fn take(&mut self, buffer: &mut [u8]) -> Option<(PortId, Taken)> {
        let port = self.ports.get_mut(self.waiting.pop()?)?;
        Some((port.spec.id, port.take(buffer, self.time)))
    }

    /// Finds the ports that have a frame, or an error, waiting. The others were empty just now.
    fn look(&mut self, watch: &OwnedFd) -> io::Result<bool> {
        const EVENT: epoll::Event = epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        };
        let mut events = [EVENT; EVENTS_MAX];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let asked_at = self.time.now();
        let found = epoll::wait(watch, &mut events[..], Some(&at_once))?;
        let places = events.iter().take(found).map(|event| event.data.u64());
        self.waiting.clear();
        self.waiting
            .extend(places.rev().map(|place| place as usize));
        if found < EVENTS_MAX {
            let waiting = &self.waiting;
            let others = self.ports.iter_mut().enumerate();
            let others = others.filter(|(place, _)| !waiting.contains(place));
            others.for_each(|(_, port)| port.was_empty(asked_at));
        }
        Ok(found > 0)
    }
}

impl fmt::Debug for PacketPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = f.debug_struct("PacketPorts");
        all.field("ports", &self.sockets.ports)
            .finish_non_exhaustive()
    }
}

impl Frames for PacketPorts {
    async fn ready(&mut self) -> io::Result<()> {
        loop {
            let mut guard = self.watch.readable().await?;
            // Looked at before the readiness is cleared: what comes in between wakes again.
            if self.sockets.look(guard.get_inner())? {
                return Ok(());
            }
            guard.clear_ready();
        }
    }

    fn take(&mut self, frame: &mut Vec<u8>) -> Option<(PortId, Instant)> {
        frame.clear();
        self.mend();
        for _ in 0..DISCARDS_MAX {
            if self.sockets.waiting.is_empty() && !self.finds_more() {
                break;
            }
            match self.sockets.take(&mut self.buffer[..]) {
                Some((port, Taken::Frame { len, at })) => {
                    frame.extend_from_slice(&self.buffer[..len]);
                    return Some((port, at));
                }
                Some((_, Taken::Discarded | Taken::None)) | None => {}
            }
        }
        self.publish();
        None
    }

    async fn send(&mut self, port: PortId, frame: &[u8]) -> Sent {
        let Sockets { ports, time, .. } = &mut self.sockets;
        let Some(port) = ports.iter_mut().find(|own| own.spec.id == port) else {
            return Sent::Dropped;
        };
        port.mend(self.watch.get_ref(), *time, &self.board);
        let seen = self.board.seen(port.spec.id);
        match &self.guard {
            Some(guard) => port.send_guarded(frame, seen, (guard, time.now())),
            None => port.send(frame, seen),
        }
    }
}

fn named(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("failed to open port {name}: {error}"))
}
