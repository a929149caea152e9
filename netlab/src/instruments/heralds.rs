//! Who announces which address when, and who keeps speaking: for what a claim costs.
//!
//! The oracles ask about one moment of an announcement; a claim of thousands of addresses is a
//! stretch, from the frame that claims to the first announcement of the last address. Seen at the
//! switches' ends of all ports, in the kernel's stamps: the product's frames and those of VRRP and
//! CARP are heartbeats, and ARP in an address's name towards everybody announces it.
//!
//! Limit: frames that a full queue drops are counted and make the log worthless, which it says.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use core::time::Duration;

use steadfast_core::wire::advert::Kind;
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::{Instant, NodeId};

use super::observer::dark;
use super::recorder::{Desk, Instrument};
use super::sys::{BATCH, Batch, PacketSocket};
use super::{RunClock, filter};

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
    pub announced: BTreeMap<Ipv4Addr, Instant>,
}

/// What all gateways let be heard so far, to read when the run is over.
#[derive(Clone, Debug, Default)]
pub struct HeraldLog {
    heard: Arc<Mutex<BTreeMap<NodeId, Heard>>>,
    dropped: Arc<Mutex<u64>>,
}

impl HeraldLog {
    /// What this gateway let be heard; none if frames were missed.
    pub fn of(&self, gateway: NodeId) -> Option<Heard> {
        let dropped = *self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        (dropped == 0).then(|| heard.get(&gateway).cloned().unwrap_or_default())
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
        let mut heard = self
            .log
            .heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (gateway, socket) in &self.posts {
            loop {
                let count = socket.receive(&mut self.batch).or_else(dark)?;
                let reading = clock.read();
                let heard = heard.entry(*gateway).or_default();
                for caught in self.batch.frames() {
                    heard.take(reading.time_of(caught.stamp), caught.bytes);
                }
                if count < BATCH {
                    break;
                }
            }
            let mut dropped = self
                .log
                .dropped
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *dropped += u64::from(socket.dropped()?);
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
        self.read(clock)
    }
}

impl Heard {
    fn take(&mut self, at: Instant, bytes: &[u8]) {
        let Some(frame) = Frame::parse(bytes) else {
            return;
        };
        match frame.ethertype {
            ethertype::STEADFAST => {
                self.heartbeats.push(at);
                let kind = frame.payload.get(2).and_then(|byte| Kind::from_byte(*byte));
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
                    self.announced.entry(arp.sender_ip).or_insert(at);
                }
            }
            _ => {}
        }
    }

    /// From the claim after `since` to the last first announcement of an address, how many there
    /// were by `until`, and the longest silence from the claim until then. The product claims with
    /// a CLAIM; others by speaking at all.
    pub fn claim(&self, since: Instant, until: Instant) -> Option<Claim> {
        let after = |times: &[Instant]| times.iter().copied().find(|at| *at >= since);
        let begun = after(&self.claims).or_else(|| after(&self.heartbeats))?;
        let within = |at: &Instant| *at >= since && *at <= until;
        let announced = || self.announced.values().copied().filter(within);
        let mut spoke: Vec<Instant> = self.heartbeats.iter().copied().filter(within).collect();
        spoke.retain(|at| *at > begun);
        spoke.insert(0, begun);
        spoke.push(until);
        spoke.sort();
        let silences = spoke.windows(2).map(|pair| pair[1].since(pair[0]));
        Some(Claim {
            count: announced().count(),
            lasted: announced().max()?.since(begun),
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
    /// The longest time without a heartbeat from the claim on.
    pub silence: Duration,
}

#[cfg(test)]
mod tests {
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
        assert_eq!(claim.silence, Duration::from_millis(15));
        assert_eq!(heard.claim(at(1_050), at(1_090)), None);
    }
}
