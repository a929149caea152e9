//! The capture: what arrives at hosts and what leaves gateways, read from the wire.
//!
//! A tap at a host's port sees probes arrive with the kernel's stamp and with the MAC of the
//! gateway that brought them. A tap at the switch's end of a gateway's port sees what left that
//! gateway before any switch touched it. Taps are read each [`TURN`] in batches: the stamps are the
//! kernel's, so nothing is lost by sleeping, and two cores have better things to do.
//!
//! With a recording, taps at gateways see both directions and everything but the observer's
//! questions, and all of it is written down; events are the same.
//!
//! The hard case is a tap that overflows: the kernel counts what it dropped, and the time since the
//! last look at that count is blind. The limit: frames longer than 2048 bytes are cut.

use core::time::Duration;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::format::{Destination, Layout, Plan, Segment, Version};
use steadfast_scenarios::sight;
use steadfast_scenarios::trace::EventKind;
use steadfast_scenarios::trace::capture::{Direction, PortIndex, Recording};
use steadfast_scenarios::{HostId, SegmentId, StreamId};

use super::clock::Reading;
use super::observer::dark;
use super::probes::Probe;
use super::recorder::{Desk, Instrument};
use super::sys::{BATCH, Batch, Caught, PacketSocket};
use super::{filter, gateway_of};

/// How often taps are read.
const TURN: Duration = Duration::from_millis(1);
/// The same while somebody waits for a frame.
const TURN_HURRIED: Duration = Duration::from_micros(100);
/// Batches read from a tap in one turn: 16 384 frames in a millisecond; more wait.
const BATCHES_MAX: usize = 256;
/// Taps that wait to be taken in; further ones are refused.
pub const WAITING_MAX: usize = 64;
/// Turns between two looks at what was dropped.
const DROPS_EVERY: u32 = 100;
/// Bytes of an IPv4 header without options, of one of IPv6, and of a UDP or ICMP echo header.
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const CARRIED_LEN: usize = 8;

/// A recording that the capture writes frames into and the world writes notes into.
pub type SharedRecording = Arc<Mutex<Recording<Box<dyn Write + Send>>>>;

/// A place at which frames are seen.
#[derive(Debug)]
pub struct Tap {
    socket: PacketSocket,
    place: Place,
    name: String,
    port: Option<PortIndex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Gateway(SegmentId, NodeId),
    Host(HostId),
}

impl Tap {
    /// At the switch's (or the cable's other) end of a gateway's port, in the calling thread's
    /// namespace. `recorded` says whether everything is to be seen.
    ///
    /// # Errors
    /// When there is no such interface, or no right to open packet sockets.
    pub fn gateway(
        layout: &Layout,
        segment: &Segment,
        gateway: NodeId,
        interface: &str,
        recorded: bool,
    ) -> io::Result<Self> {
        let observer = segment.observer_mac();
        let wanted = if recorded {
            filter::all_but(observer)
        } else {
            filter::sights(observer, segment.virtual_mac, &ranges(layout))
        };
        let machine = layout.gateways.iter().find(|it| it.id == gateway);
        let machine = machine.map_or_else(|| gateway.to_string(), |it| it.name.clone());
        Ok(Self {
            socket: PacketSocket::open(interface, &wanted, recorded)?,
            place: Place::Gateway(segment.id, gateway),
            name: format!("{}.{machine}", segment.name),
            port: None,
        })
    }

    /// At a host's own port, in the calling thread's namespace.
    ///
    /// # Errors
    /// When there is no such interface, or no right to open packet sockets.
    pub fn host(host: HostId, interface: &str) -> io::Result<Self> {
        Ok(Self {
            socket: PacketSocket::open(interface, &filter::probes(), false)?,
            place: Place::Host(host),
            name: String::new(),
            port: None,
        })
    }
}

/// Takes taps of ports that were made anew while a capture runs. A packet socket dies with its
/// interface, so a gateway that loses power by losing its namespace needs new taps when it is back.
#[derive(Clone, Debug)]
pub struct TapDoor {
    sender: SyncSender<Tap>,
}

impl TapDoor {
    /// Puts a tap in the place of the one that was there, or beside the others.
    ///
    /// # Errors
    /// When the capture has ended, or has not taken the last [`WAITING_MAX`] taps.
    pub fn put(&self, tap: Tap) -> io::Result<()> {
        self.sender.try_send(tap).map_err(io::Error::other)
    }
}

/// Reads all taps.
#[derive(Debug)]
pub struct Capture {
    layout: Layout,
    /// By stream: the host at which it arrives.
    ends: Vec<Option<HostId>>,
    taps: Vec<Tap>,
    /// Taps of ports that are gone: three for each boot of a box.
    retired: Vec<Tap>,
    recording: Option<SharedRecording>,
    batch: Batch,
    sender: SyncSender<Tap>,
    receiver: Receiver<Tap>,
}

impl Capture {
    /// Reads these taps. The gateways' frames go into the recording, if there is one.
    ///
    /// # Errors
    /// When the recording cannot be written.
    pub fn new(
        plan: &Plan,
        mut taps: Vec<Tap>,
        recording: Option<SharedRecording>,
    ) -> io::Result<Self> {
        if let Some(recording) = &recording {
            let mut recording = recording.lock().unwrap_or_else(PoisonError::into_inner);
            for tap in &mut taps {
                if matches!(tap.place, Place::Gateway(..)) {
                    tap.port = Some(recording.add_port(&tap.name)?);
                }
            }
        }
        let end = |stream: &steadfast_scenarios::format::Stream| match plan.destination(stream)? {
            Destination::Host(host) => Some(host),
            Destination::Virtual(_) => plan.layout.host(&stream.from).map(|host| host.id),
        };
        let (sender, receiver) = sync_channel(WAITING_MAX);
        Ok(Self {
            sender,
            receiver,
            layout: plan.layout.clone(),
            ends: plan.traffic.iter().map(end).collect(),
            taps,
            retired: Vec::new(),
            recording,
            batch: Batch::new(),
        })
    }

    /// Where taps are put while it runs.
    pub fn door(&self) -> TapDoor {
        TapDoor {
            sender: self.sender.clone(),
        }
    }

    /// Takes in the taps that wait at the door.
    fn welcome(&mut self) -> io::Result<()> {
        for mut tap in self.receiver.try_iter().take(WAITING_MAX) {
            let old = self.taps.iter().position(|it| it.place == tap.place);
            let old = old.map(|old| self.taps.swap_remove(old));
            tap.port = old.as_ref().and_then(|old| old.port);
            // To close it takes the kernel tens of milliseconds, in which nothing would be read.
            self.retired.extend(old);
            let gateway = matches!(tap.place, Place::Gateway(..));
            if let (true, None, Some(recording)) = (gateway, tap.port, &self.recording) {
                let mut recording = recording.lock().unwrap_or_else(PoisonError::into_inner);
                tap.port = Some(recording.add_port(&tap.name)?);
            }
            self.taps.push(tap);
        }
        Ok(())
    }

    fn read(&mut self, desk: &Desk) -> io::Result<()> {
        for tap in &self.taps {
            for _ in 0..BATCHES_MAX {
                let count = tap.socket.receive(&mut self.batch).or_else(dark)?;
                if count == 0 {
                    break;
                }
                let reading = desk.clock().read();
                for caught in self.batch.frames() {
                    let at = reading.time_of(caught.stamp);
                    self.take(desk, tap, &caught, at);
                }
                self.record(tap, reading)?;
                if count < BATCH {
                    break;
                }
            }
        }
        Ok(())
    }

    fn take(&self, desk: &Desk, tap: &Tap, caught: &Caught<'_>, at: Instant) {
        match tap.place {
            Place::Gateway(segment, gateway) if !caught.outgoing => {
                if let Some(kind) = sight::event(&self.layout, segment, gateway, caught.bytes) {
                    desk.tell(at, kind);
                }
            }
            Place::Host(host) if caught.for_us => {
                let arrived = self.arrived(host, caught.bytes);
                if let Some((probe, via)) = arrived {
                    let (stream, seq, sent_at) = (probe.stream, probe.seq, probe.sent_at);
                    let kind = EventKind::ProbeReceived {
                        stream,
                        seq,
                        sent_at,
                        via,
                    };
                    // Clocks are read apart: a stamp cannot be earlier than the sending.
                    desk.tell(at.max(sent_at), kind);
                }
            }
            Place::Gateway(..) | Place::Host(_) => {}
        }
    }

    /// The probe in a frame that a host received, and the gateway that brought it.
    fn arrived(&self, host: HostId, bytes: &[u8]) -> Option<(Probe, Option<NodeId>)> {
        let frame = Frame::parse(bytes)?;
        let header = match frame.ethertype {
            ethertype::IPV4 => IPV4_LEN,
            ethertype::IPV6 => IPV6_LEN,
            _ => return None,
        };
        let probe = Probe::decode(frame.payload.get(header + CARRIED_LEN..)?)?;
        let StreamId(stream) = probe.stream;
        let end = self.ends.get(usize::from(stream)).copied().flatten();
        if end != Some(host) {
            return None;
        }
        let segment = self.layout.hosts.get(host.index())?.segment;
        Some((probe, gateway_of(&self.layout, segment, frame.source)))
    }

    fn record(&self, tap: &Tap, reading: Reading) -> io::Result<()> {
        let (Some(recording), Some(port)) = (&self.recording, tap.port) else {
            return Ok(());
        };
        let mut recording = recording.lock().unwrap_or_else(PoisonError::into_inner);
        for caught in self.batch.frames() {
            let at = reading.time_of(caught.stamp);
            let direction = if caught.outgoing {
                Direction::Inbound
            } else {
                Direction::Outbound
            };
            recording.frame(port, at, direction, caught.bytes, caught.length)?;
        }
        Ok(())
    }

    /// Frames that the kernel dropped make blind since the last look.
    fn look_for_drops(&self, desk: &Desk, since: Instant) -> io::Result<()> {
        for tap in &self.taps {
            let count = tap.socket.dropped()?;
            if count > 0 {
                let why = format!("a capture dropped {count} frames");
                desk.tell(desk.clock().now(), EventKind::Blind { since, why });
            }
        }
        Ok(())
    }
}

impl Instrument for Capture {
    fn name(&self) -> &'static str {
        "capture"
    }

    fn run(&mut self, desk: &Desk) -> io::Result<()> {
        let clock = desk.clock();
        let mut looked = clock.now();
        let mut turns = 0_u32;
        loop {
            // What arrived before the end is still read.
            let last = desk.stopped();
            self.welcome()?;
            self.read(desk)?;
            turns += 1;
            if last || turns.is_multiple_of(DROPS_EVERY) {
                let now = clock.now();
                self.look_for_drops(desk, looked)?;
                looked = now;
            }
            if last {
                return Ok(());
            }
            let turn = if desk.hurried() { TURN_HURRIED } else { TURN };
            clock.sleep_until(clock.now().after(turn));
        }
    }
}

/// The virtual addresses of each segment and kind, from first to last.
fn ranges(layout: &Layout) -> Vec<std::ops::RangeInclusive<IpAddr>> {
    // The one of the link is no neighbour of the others.
    let kinds = [
        (Version::Ipv4, false),
        (Version::Ipv6, false),
        (Version::Ipv6, true),
    ];
    let range = |segment: &Segment, (version, link): (Version, bool)| {
        let linked = |ip: IpAddr| segment.router.map(IpAddr::V6) == Some(ip);
        let is_of = |ip: &&IpAddr| Version::of(**ip) == version && linked(**ip) == link;
        let of = || segment.virtuals.iter().filter(is_of);
        Some(*of().min()?..=*of().max()?)
    };
    let ranges = kinds.into_iter().flat_map(|kind| {
        let segments = layout.segments.iter();
        segments.filter_map(move |segment| range(segment, kind))
    });
    ranges.collect()
}
