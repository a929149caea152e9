//! A gateway's kernel as far as failover sees it: a lease with an end, a guard on what leaves, and
//! answers for addresses.
//!
//! It is honest where honesty matters: the lease is refreshed by an "active" frame *as it leaves*
//! and only while it lives; without it such a frame is refused; what lapsed is armed only by an
//! explicit claim; and it runs on, and out, while the daemon is stopped or dead. It ends early,
//! never late, as jiffies make it. The limit: no routed packets, no neighbour tables.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use steadfast_core::config::PortConfig;
use steadfast_core::effect::{Failure, Forwarding};
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::carriage;
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::{Instant, MacAddr};

/// How much earlier than asked a lease ends (facts: 0 to 6 ms).
const EARLY: Duration = Duration::from_millis(3);
/// Where the guard reads the role, and what it reads.
const MARK_AT: usize = 15;
const ACTIVE: u8 = 2;
const OFFERING: u8 = 3;

/// The lease and its guard.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    length: Duration,
    live_until: Instant,
    tail: Duration,
    pub(crate) tail_until: Instant,
    /// Frames the guard refused.
    pub(crate) refused: u64,
}

impl Kernel {
    pub(crate) fn new(length: Duration, tail: Duration) -> Self {
        Self {
            length: length - EARLY,
            live_until: Instant::ORIGIN,
            tail,
            tail_until: Instant::ORIGIN,
            refused: 0,
        }
    }

    /// Leases are of another length from now on.
    pub(crate) fn lengthen(&mut self, length: Duration) {
        self.length = length - EARLY;
    }

    /// When the lease ends, or ended.
    pub(crate) fn live_until(&self) -> Instant {
        self.live_until
    }

    pub(crate) fn is_live(&self, now: Instant) -> bool {
        now < self.live_until
    }

    /// Makes it so, as one transaction.
    pub(crate) fn apply(&mut self, now: Instant, desired: Forwarding) -> Result<(), Failure> {
        match desired {
            Forwarding::Active { .. } => {
                self.live_until = now.after(self.length);
                self.tail_until = now;
            }
            Forwarding::Offering { remaining } => {
                if !self.is_live(now) {
                    return Err(Failure::LeaseLapsed);
                }
                self.live_until = self.live_until.min(now.after(remaining));
            }
            Forwarding::Standby => {
                self.live_until = self.live_until.min(now);
                self.tail_until = self.tail_until.min(now);
            }
            Forwarding::Tail => {
                self.live_until = self.live_until.min(now);
                self.tail_until = now.after(self.tail);
            }
        }
        Ok(())
    }

    /// Whether a frame may leave; one that says "active" refreshes the lease on its way.
    pub(crate) fn lets_out(&mut self, now: Instant, bytes: &[u8]) -> bool {
        let opened = carriage::open(bytes, carriage::UDP_PORT);
        let bytes = opened.as_ref().map_or(bytes, |opened| &opened.frame);
        let ours = Frame::parse(bytes).is_some_and(|it| it.ethertype == ethertype::STEADFAST);
        let mark = bytes.get(MARK_AT).copied().filter(|_| ours);
        let live = self.is_live(now);
        match mark {
            Some(ACTIVE) if live => self.live_until = now.after(self.length),
            Some(ACTIVE | OFFERING) if !live => {
                self.refused += 1;
                return false;
            }
            Some(_) | None => {}
        }
        true
    }

    /// The answer to an ARP request that came in on `port`, if this kernel gives one.
    pub(crate) fn answer(&self, now: Instant, port: &PortConfig, bytes: &[u8]) -> Option<Vec<u8>> {
        let frame = Frame::parse(bytes)?;
        let ours = |mac| frame.destination == mac || frame.destination == MacAddr::BROADCAST;
        let arp = (frame.ethertype == ethertype::ARP).then(|| Arp::parse(frame.payload))??;
        let wanted = IpAddr::V4(arp.target_ip);
        let unit = port.units.iter().any(|(unit, _)| *unit == wanted) && ours(port.mac);
        let owned = port.virtuals.contains(&wanted) && ours(port.owners_mac()) && self.is_live(now);
        let station = if owned { port.owners_mac() } else { port.mac };
        (arp.operation == Operation::Request && (unit || owned))
            .then(|| reply(&arp, station, arp.target_ip))
    }
}

/// The reply to `request`: `ip` is at `mac`.
pub(crate) fn reply(request: &Arp, mac: MacAddr, ip: Ipv4Addr) -> Vec<u8> {
    let reply = Arp {
        operation: Operation::Reply,
        sender_mac: mac,
        sender_ip: ip,
        target_mac: request.sender_mac,
        target_ip: request.sender_ip,
    };
    reply.frame(request.sender_mac, mac)
}

/// A watch over both leases: exact, since between two events nothing but their end changes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaseWatch {
    /// Times in which both leased, with their length.
    pub(crate) both: Vec<(Instant, Duration)>,
    /// Times in which nobody leased, with their length.
    pub(crate) none: Vec<(Instant, Duration)>,
}

impl LeaseWatch {
    /// Between `from` and `to` the leases end at these instants, if they end.
    pub(crate) fn pass(&mut self, from: Instant, to: Instant, ends: [Instant; 2]) {
        let [a, b] = ends.map(|end| end.clamp(from, to));
        note(&mut self.both, from, a.min(b));
        note(&mut self.none, a.max(b), to);
    }

    pub(crate) fn longest_without(&self) -> Duration {
        let lengths = self.none.iter().map(|(_, length)| *length);
        lengths.max().unwrap_or_default()
    }

    pub(crate) fn longest_with_both(&self) -> Duration {
        let lengths = self.both.iter().map(|(_, length)| *length);
        lengths.max().unwrap_or_default()
    }
}

/// Adds a time to a list, joined with the one it continues.
fn note(list: &mut Vec<(Instant, Duration)>, from: Instant, to: Instant) {
    if to <= from {
        return;
    }
    match list.last_mut() {
        Some((start, length)) if start.after(*length) == from => *length = to.since(*start),
        Some(_) | None => list.push((from, to.since(from))),
    }
}
