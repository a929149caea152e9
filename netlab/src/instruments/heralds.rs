//! Who announces which address when, and who keeps speaking: for what a claim costs.
//!
//! The oracles ask about one moment of an announcement; a claim of thousands of addresses is a
//! stretch, from the frame that claims to the first announcement of the last address. Seen at the
//! switches' ends of all ports, in the kernel's stamps: the product's frames and those of VRRP and
//! CARP are heartbeats, and ARP or an advertisement in an address's name towards everybody
//! announces it.
//!
//! Limit: frames that a full queue drops make the log worthless, and it gives none then.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use core::time::Duration;

use steadfast_core::wire::advert::Kind;
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::wire::ndisc::NeighbourAdvert;
use steadfast_core::{Instant, NodeId};

use super::observer::dark;
use super::recorder::{Desk, Instrument};
use super::sys::{BATCH, Batch, PacketSocket};
use super::{RunClock, filter};

/// Batches read from a socket in a row; more wait for the next round.
const BATCHES_MAX: usize = 64;
/// What is kept of all gateways; beyond it the log ends, and is not whole.
const HEARD_MAX: usize = 1 << 20;
/// How often sockets are read; stamps say when each frame came.
const ROUND: Duration = Duration::from_millis(1);
/// The protocol of VRRP and CARP in IPv4.
const VRRP: u8 = 112;

/// What one gateway let be heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Each heartbeat, on whatever path.
    pub heartbeats: Vec<Instant>,
    /// Each CLAIM of the product.
    pub claims: Vec<Instant>,
    /// When each address was announced first.
    pub announced: BTreeMap<IpAddr, Instant>,
}

/// What all gateways let be heard so far, to read when the run is over.
#[derive(Clone, Debug, Default)]
pub struct HeraldLog(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    heard: BTreeMap<NodeId, Heard>,
    dropped: u64,
    /// All was heard to the end of the run.
    whole: bool,
}

impl HeraldLog {
    /// What this gateway let be heard; none if frames were missed.
    pub fn of(&self, gateway: NodeId) -> Option<Heard> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = log.whole && log.dropped == 0;
        known.then(|| log.heard.get(&gateway).cloned().unwrap_or_default())
    }
}

/// Listens at the gateways' ports.
#[derive(Debug)]
pub struct Heralds {
    posts: Vec<(NodeId, PacketSocket)>,
    batch: Batch,
    log: HeraldLog,
}

impl Heralds {
    /// Opens a socket for one post, at an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// When there is no such interface, or no right to open packet sockets there.
    pub fn post(interface: &str) -> io::Result<PacketSocket> {
        PacketSocket::open(interface, &filter::everything(), false)
    }

    /// Listens there.
    pub fn new(posts: Vec<(NodeId, PacketSocket)>) -> Self {
        Self {
            posts,
            batch: Batch::new(),
            log: HeraldLog::default(),
        }
    }

    /// Where it writes.
    pub fn log(&self) -> HeraldLog {
        self.log.clone()
    }

    fn read(&mut self, clock: RunClock) -> io::Result<()> {
        let mut log = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (gateway, socket) in &self.posts {
            for _ in 0..BATCHES_MAX {
                let count = socket.receive(&mut self.batch).or_else(dark)?;
                let reading = clock.read();
                let heard = log.heard.entry(*gateway).or_default();
                for caught in self.batch.frames() {
                    heard.take(reading.time_of(caught.stamp), caught.bytes);
                }
                if count < BATCH {
                    break;
                }
            }
            log.dropped += u64::from(socket.dropped()?);
        }
        let kept: usize = log.heard.values().map(Heard::len).sum();
        if kept > HEARD_MAX {
            return Err(io::Error::other("more was heard than is kept"));
        }
        Ok(())
    }
}

impl Instrument for Heralds {
    fn name(&self) -> &'static str {
        "heralds"
    }

    fn run(&mut self, desk: &Desk) -> io::Result<()> {
        let clock = desk.clock();
        while !desk.stopped() {
            self.read(clock)?;
            clock.sleep_until(clock.now().after(ROUND));
        }
        self.read(clock)?;
        let mut log = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.whole = true;
        Ok(())
    }
}

impl Heard {
    fn len(&self) -> usize {
        self.heartbeats.len() + self.claims.len() + self.announced.len()
    }

    fn take(&mut self, at: Instant, bytes: &[u8]) {
        let Some(frame) = Frame::parse(bytes) else {
            return;
        };
        match frame.ethertype {
            ethertype::STEADFAST => {
                let kind = frame.payload.get(2).and_then(|byte| Kind::from_byte(*byte));
                if matches!(kind, Some(Kind::Advert | Kind::Claim)) {
                    self.heartbeats.push(at);
                }
                if kind == Some(Kind::Claim) {
                    self.claims.push(at);
                }
            }
            ethertype::IPV4 if frame.payload.get(9) == Some(&VRRP) => self.heartbeats.push(at),
            ethertype::ARP => {
                let Some(arp) = Arp::parse(frame.payload) else {
                    return;
                };
                let told = arp.sender_ip == arp.target_ip
                    || (arp.operation == Operation::Reply && frame.destination.is_group());
                if told {
                    let ip = IpAddr::V4(arp.sender_ip);
                    self.announced.entry(ip).or_insert(at);
                }
            }
            ethertype::IPV6 => {
                let advert = NeighbourAdvert::parse(frame.payload);
                if let Some(advert) = advert.filter(|_| frame.destination.is_group()) {
                    let ip = IpAddr::V6(advert.target);
                    self.announced.entry(ip).or_insert(at);
                }
            }
            _ => {}
        }
    }

    /// What the claim after a fault was like, watched until then; none if there was none. The
    /// product claims with a CLAIM, when its kernel has taken the addresses; others by speaking at
    /// all, before theirs has.
    pub fn claim(&self, fault: Instant, until: Instant) -> Option<Claim> {
        let after = |times: &[Instant]| times.iter().copied().find(|at| *at >= fault);
        let begun = after(&self.claims).or_else(|| after(&self.heartbeats))?;
        let within = |at: &Instant| *at >= fault && *at <= until;
        let announced = || self.announced.values().copied().filter(within);
        let last = announced().max()?;
        // Who spoke before it claimed must not fall silent over it either.
        let before = self.heartbeats.iter().copied().filter(|at| *at < begun);
        let mut spoke: Vec<Instant> = before.max().into_iter().chain([begun, until]).collect();
        let later = self.heartbeats.iter().copied().filter(|at| *at > begun);
        spoke.extend(later.filter(within));
        spoke.sort();
        let silences = spoke.windows(2).map(|pair| pair[1].since(pair[0]));
        Some(Claim {
            count: announced().count(),
            lasted: last.since(begun),
            since_fault: last.since(fault),
            silence: silences.max().unwrap_or_default(),
        })
    }
}

/// What a claim was like on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Addresses that were announced.
    pub count: usize,
    /// From the claim to the first announcement of the last one.
    pub lasted: Duration,
    /// From the fault to that.
    pub since_fault: Duration,
    /// The longest time without a heartbeat on any path, from the last one before the claim on.
    pub silence: Duration,
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use steadfast_core::MacAddr;

    use super::*;

    const GATEWAY: MacAddr = MacAddr([2, 0x77, 0, 0, 0, 1]);

    fn announcement(last: u8) -> Vec<u8> {
        let ip = Ipv4Addr::new(10, 77, 0, last);
        let arp = Arp {
            operation: Operation::Request,
            sender_mac: GATEWAY,
            sender_ip: ip,
            target_mac: MacAddr::default(),
            target_ip: ip,
        };
        arp.frame(MacAddr([0xff; 6]), GATEWAY)
    }

    fn ours(kind: Kind) -> Vec<u8> {
        let mut frame = Vec::new();
        steadfast_core::wire::ethernet::header(
            &mut frame,
            MacAddr([0xff; 6]),
            GATEWAY,
            ethertype::STEADFAST,
        );
        frame.extend([0, 0, kind.byte(), 0]);
        frame
    }

    /// The first announcement of each address counts, from the CLAIM on; what came before the fault
    /// does not, and silence lasts to the end.
    #[test]
    fn heralds_measure_a_claim() {
        let at = Instant::from_millis;
        let mut heard = Heard::default();
        for (millis, frame) in [
            (900, ours(Kind::Advert)),
            (1_002, ours(Kind::Advert)),
            (1_005, ours(Kind::Probe)),
            (1_010, ours(Kind::Claim)),
            (1_011, announcement(1)),
            (1_014, announcement(2)),
            (1_015, ours(Kind::Advert)),
            (1_020, announcement(1)),
            (1_030, ours(Kind::Advert)),
        ] {
            heard.take(at(millis), &frame);
        }
        let claim = heard.claim(at(1_000), at(1_040)).unwrap();
        assert_eq!(claim.count, 2);
        assert_eq!(claim.lasted, Duration::from_millis(4));
        assert_eq!(claim.since_fault, Duration::from_millis(14));
        assert_eq!(claim.silence, Duration::from_millis(15), "from 1015 on");
        let until_the_next = heard.claim(at(1_000), at(1_016)).unwrap();
        let before_the_claim = Duration::from_millis(8);
        assert_eq!(until_the_next.silence, before_the_claim, "a probe is none");
        assert_eq!(heard.claim(at(1_050), at(1_090)), None);
    }
}
