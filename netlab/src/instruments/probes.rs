//! Probes: what clients would notice, sent on time.
//!
//! One thread sends for all streams of a plan. To a host goes a UDP datagram, to a virtual address
//! an echo of ICMP or ICMPv6; each through its host's own kernel, so that routes, neighbour entries
//! and queues are those of a real client. A probe carries its stream, its number and when it was
//! sent; [`super::Capture`] sees it arrive. Streams run at their rate, and at their burst's rate
//! around steps ([`Pace`]), as in the simulated world; streams of one period are sent together,
//! which costs one wake-up and not four.
//!
//! The hard case is a late thread: slots that passed are skipped, not made up for by a burst no
//! client would send; a wake-up more than [`LATE_MAX`] late is told as a stall. What a kernel
//! refuses to send counts as sent and lost: a client would notice it too.

use core::time::Duration;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use steadfast_core::Instant;
use steadfast_scenarios::format::{Destination, Host, Plan, Version};
use steadfast_scenarios::trace::EventKind;
use steadfast_scenarios::{HostId, StreamId};

use super::recorder::{Desk, Instrument, Stall};
use super::{PROBE_PORT, filter, sys};

/// Woken later than this, the sender tells of a stall.
const LATE_MAX: Duration = Duration::from_millis(2);
/// It looks at the pace and at its end at least this often.
const LOOK: Duration = Duration::from_millis(20);
/// Known times of steps that are kept; of more only the first.
const KNOWN_MAX: usize = 1_024;
/// What probes of ours begin with.
const MAGIC: [u8; 4] = *b"sfpr";
/// Magic, stream, number, time sent.
const LEN: usize = 17;
/// Says in the echo's identifier that it is ours; for people who read captures.
const ECHO_ID: [u8; 2] = *b"sf";

/// A host's sockets for probes. It must exist on hosts that only receive as well: without a socket
/// at the port, their kernel would answer each probe with an error.
#[derive(Debug)]
pub struct Outlet {
    host: HostId,
    /// One of each version of IP that the host speaks.
    versions: Vec<(Version, Sockets)>,
}

#[derive(Debug)]
struct Sockets {
    udp: Socket,
    icmp: Socket,
}

impl Outlet {
    /// Opens a host's sockets, in the calling thread's namespace.
    ///
    /// # Errors
    /// When an address is not there, or no right to open raw sockets.
    pub fn open(host: &Host) -> io::Result<Self> {
        let open = |ip: &IpAddr| Ok((Version::of(*ip), Sockets::open(*ip)?));
        let versions = host.addresses.iter().map(open);
        Ok(Self {
            host: host.id,
            versions: versions.collect::<io::Result<_>>()?,
        })
    }

    fn of(&self, version: Version) -> Option<&Sockets> {
        let mut all = self.versions.iter();
        all.find(|(it, _)| *it == version)
            .map(|(_, sockets)| sockets)
    }
}

impl Sockets {
    fn open(address: IpAddr) -> io::Result<Self> {
        let (domain, echo) = match address {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            // The kernel writes the checksum of these, which covers addresses (RFC 3542 §3.1).
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let udp = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        sys::attach(udp.as_fd(), &filter::nothing())?;
        udp.set_nonblocking(true)?;
        udp.bind(&SockAddr::from(SocketAddr::new(address, PROBE_PORT)))?;
        let icmp = Socket::new(domain, Type::RAW, Some(echo))?;
        sys::attach(icmp.as_fd(), &filter::nothing())?;
        icmp.set_nonblocking(true)?;
        icmp.bind(&SockAddr::from(SocketAddr::new(address, 0)))?;
        Ok(Self { udp, icmp })
    }
}

/// How fast streams run: fast around steps.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    shared: Arc<Mutex<Steps>>,
}

#[derive(Clone, Debug, Default)]
struct Steps {
    ran: Option<Instant>,
    known: Vec<Instant>,
}

impl Pace {
    /// A step ran.
    pub fn step_ran(&self, at: Instant) {
        let mut steps = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        steps.ran = steps.ran.max(Some(at));
    }

    /// The times of steps to come, as far as they are known; replaces what was known before. At
    /// most the first 1024 count.
    pub fn steps_due(&self, times: impl IntoIterator<Item = Instant>) {
        let mut steps = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        steps.known = times.into_iter().take(KNOWN_MAX).collect();
    }

    fn steps(&self) -> Steps {
        let steps = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        steps.clone()
    }
}

/// Sends all streams of a plan.
#[derive(Debug)]
pub struct ProbeSender {
    outlets: Vec<Outlet>,
    streams: Vec<Progress>,
    pace: Pace,
}

#[derive(Clone, Debug)]
struct Progress {
    id: StreamId,
    /// Index of the outlet.
    outlet: usize,
    to: SockAddr,
    version: Version,
    echo: bool,
    period: Duration,
    burst: Option<(Duration, Duration)>,
    seq: u32,
    due: Instant,
}

impl ProbeSender {
    /// Sends these streams through these outlets. Streams whose host has no outlet, or which lead
    /// nowhere, are not sent.
    pub fn new(plan: &Plan, outlets: Vec<Outlet>) -> Self {
        let streams = (0_u8..).zip(&plan.traffic).filter_map(|(id, stream)| {
            let from = plan.layout.host(&stream.from)?;
            let outlet = outlets.iter().position(|it| it.host == from.id)?;
            let echo = matches!(plan.destination(stream)?, Destination::Virtual(_));
            let (_, ip) = plan.addresses(stream)?;
            let port = if echo { 0 } else { PROBE_PORT };
            let burst = |it: steadfast_scenarios::format::Burst| (it.rate.period(), it.lasting.0);
            Some(Progress {
                id: StreamId(id),
                outlet,
                to: SockAddr::from(SocketAddr::new(ip, port)),
                version: Version::of(ip),
                echo,
                period: stream.rate.period(),
                burst: stream.burst.map(burst),
                seq: 0,
                due: Instant::ORIGIN,
            })
        });
        Self {
            streams: streams.collect(),
            outlets,
            pace: Pace::default(),
        }
    }

    /// What makes it fast around steps.
    pub fn pace(&self) -> Pace {
        self.pace.clone()
    }
}

impl Instrument for ProbeSender {
    fn name(&self) -> &'static str {
        "probes"
    }

    fn run(&mut self, desk: &Desk) -> io::Result<()> {
        let clock = desk.clock();
        let start = clock.now().after(Duration::from_millis(1));
        for stream in &mut self.streams {
            stream.due = start;
        }
        while !desk.stopped() {
            let due = self.streams.iter().map(|stream| stream.due).min();
            let until = clock.now().after(LOOK);
            let until = due.map_or(until, |due| due.min(until));
            clock.sleep_until(until);
            let now = clock.now();
            if now.since(until) > LATE_MAX {
                let late = now.since(until).as_micros();
                desk.stall(Stall {
                    since: until,
                    until: now,
                    why: format!("probes were sent {late} us late"),
                });
            }
            let steps = self.pace.steps();
            for stream in &mut self.streams {
                if stream.due > now {
                    stream.hasten(now, &steps);
                    continue;
                }
                let at = clock.now();
                desk.tell(at, stream.sent());
                stream.send(&self.outlets[stream.outlet], at);
                stream.advance(now, &steps);
            }
        }
        Ok(())
    }
}

impl Progress {
    fn sent(&self) -> EventKind {
        EventKind::ProbeSent {
            stream: self.id,
            seq: self.seq,
        }
    }

    fn send(&mut self, outlet: &Outlet, at: Instant) {
        let body = Probe {
            stream: self.id,
            seq: self.seq,
            sent_at: at,
        };
        // What the kernel refuses is a lost probe, and is told as one by never arriving.
        if let Some(sockets) = outlet.of(self.version) {
            let _ = if self.echo {
                let message = echo(self.version, self.seq, &body.encode());
                sockets.icmp.send_to(&message, &self.to)
            } else {
                sockets.udp.send_to(&body.encode(), &self.to)
            };
        }
        self.seq = self.seq.wrapping_add(1);
    }

    /// From now to the next probe.
    fn wait(&self, now: Instant, steps: &Steps) -> Duration {
        let Some((fast, lasting)) = self.burst else {
            return self.period;
        };
        let after = steps.ran.is_some_and(|ran| now < ran.after(lasting));
        // A step whose time has come may still be under way, and is told of when it is done.
        let near = |at: &Instant| now <= at.after(lasting) && *at <= now.after(lasting);
        if after || steps.known.iter().any(near) {
            fast.min(self.period)
        } else {
            self.period
        }
    }

    fn advance(&mut self, now: Instant, steps: &Steps) {
        let wait = self.wait(now, steps);
        let next = self.due.after(wait);
        // Slots that passed are skipped.
        self.due = if next > now { next } else { now.after(wait) };
    }

    /// A step ran while the stream was slow: the next probe comes by the fast rate.
    fn hasten(&mut self, now: Instant, steps: &Steps) {
        let latest = now.after(self.wait(now, steps));
        self.due = self.due.min(latest);
    }
}

/// What a probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) stream: StreamId,
    pub(super) seq: u32,
    pub(super) sent_at: Instant,
}

impl Probe {
    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.stream.0;
        bytes[5..9].copy_from_slice(&self.seq.to_be_bytes());
        bytes[9..].copy_from_slice(&self.sent_at.as_nanos().to_be_bytes());
        bytes
    }

    /// Reads what a datagram or an echo carries; nothing if it is not ours.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let [m0, m1, m2, m3, stream, s0, s1, s2, s3, at @ ..] = *bytes.first_chunk::<LEN>()?;
        ([m0, m1, m2, m3] == MAGIC).then(|| Self {
            stream: StreamId(stream),
            seq: u32::from_be_bytes([s0, s1, s2, s3]),
            sent_at: Instant::from_nanos(u64::from_be_bytes(at)),
        })
    }
}

/// An echo request (RFC 792, RFC 4443 §4.1). The checksum is of IPv4; the kernel replaces it in
/// ICMPv6.
fn echo(version: Version, seq: u32, body: &[u8]) -> Vec<u8> {
    let kind = match version {
        Version::Ipv4 => 8,
        Version::Ipv6 => 128,
    };
    let [_, _, s0, s1] = seq.to_be_bytes();
    let mut bytes = vec![kind, 0, 0, 0, ECHO_ID[0], ECHO_ID[1], s0, s1];
    bytes.extend_from_slice(body);
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [c0, c1] = (!(sum & 0xffff) as u16).to_be_bytes();
    bytes[2] = c0;
    bytes[3] = c1;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn stream() -> Progress {
        Progress {
            id: StreamId(1),
            outlet: 0,
            to: SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 1))),
            version: Version::Ipv4,
            echo: false,
            period: 10 * MS,
            burst: Some((MS, 500 * MS)),
            seq: 0,
            due: Instant::from_millis(10_000),
        }
    }

    /// A probe reads back as written; what is short or not ours is nothing.
    #[test]
    fn probes_read_back_as_written() {
        let probe = Probe {
            stream: StreamId(3),
            seq: 70_000,
            sent_at: Instant::from_millis(42),
        };
        let bytes = probe.encode();
        assert_eq!(Probe::decode(&bytes), Some(probe));
        assert_eq!(Probe::decode(&bytes[1..]), None);
        assert_eq!(Probe::decode(&[0; 40]), None);
    }

    /// An echo's checksum is right: the sum over all of it is all ones (RFC 1071).
    #[test]
    fn probes_echo_checksum_holds() {
        for seq in [0, 1, 65_535, 1_000_000] {
            let bytes = echo(Version::Ipv4, seq, &[7; LEN]);
            let pairs = bytes
                .chunks(2)
                .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
            let sum: u32 = pairs.sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        }
    }

    /// Fast from half a second before a known step until half a second after any.
    #[test]
    fn probes_are_dense_around_steps() {
        let pace = Pace::default();
        let now = Instant::from_millis(10_000);
        assert_eq!(stream().wait(now, &pace.steps()), 10 * MS);
        pace.steps_due([Instant::from_millis(10_400)]);
        assert_eq!(stream().wait(now, &pace.steps()), MS);
        pace.steps_due([Instant::from_millis(9_999)]);
        assert_eq!(stream().wait(now, &pace.steps()), MS, "it is under way");
        pace.steps_due([Instant::from_millis(9_400), Instant::from_millis(10_600)]);
        assert_eq!(stream().wait(now, &pace.steps()), 10 * MS);
        pace.step_ran(Instant::from_millis(9_900));
        assert_eq!(stream().wait(now, &pace.steps()), MS);
        let later = Instant::from_millis(10_400);
        assert_eq!(stream().wait(later, &Steps::default()), 10 * MS);
    }

    /// On time it keeps its grid; late it skips what passed, and a step moves the next one up.
    #[test]
    fn probes_skip_what_passed() {
        let (mut it, steps) = (stream(), Steps::default());
        it.advance(Instant::from_millis(10_001), &steps);
        assert_eq!(it.due, Instant::from_millis(10_010));
        it.advance(Instant::from_millis(10_500), &steps);
        assert_eq!(it.due, Instant::from_millis(10_510));
        let ran = Steps {
            ran: Some(Instant::from_millis(10_502)),
            known: Vec::new(),
        };
        it.hasten(Instant::from_millis(10_502), &ran);
        assert_eq!(it.due, Instant::from_millis(10_503));
    }
}
