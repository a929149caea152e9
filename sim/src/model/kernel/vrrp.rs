//! The fence of virtual routers: a lease for each, refreshed by its advertisement as it leaves
//! (D9, D19).
//!
//! The guard on the way out looks at VRRP messages alone: a resignation ends the lease and leaves,
//! another word leaves with the lease and refreshes it, or is refused. Without the lease nothing
//! asks for, goes to or comes from an address of that router. A fresh lease lasts as long as a
//! first word may take.
//!
//! The table outlives its owner and passes a foreign flush by (Linux 6.9). Limit: a router has no
//! station of its own here, and accepts packets to its addresses.

use core::net::IpAddr;
use core::time::Duration;

use steadfast_core::wire::arp::Arp;
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::wire::vrrp::RESIGNS;
use steadfast_core::{Instant, PortId};

use super::Kernel;
use super::fence::{Egress, FlushBy, TableGone, expiry, is_present};
use super::packet::protocol;
use super::payload::{ADVERTISE, SOLICIT, destination_of, source_of, target_of};

/// Least time for a first word: a thread is to wake and to speak.
const FIRST_MIN: Duration = Duration::from_millis(30);
/// A first word may take one of so many parts of the lease.
const FIRST_PARTS: u32 = 3;

/// A virtual router, as far as the fence knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FencedRouter {
    /// Its link.
    pub port: PortId,
    /// Its number.
    pub virtual_id: u8,
    /// Its addresses, of one family.
    pub addresses: Vec<IpAddr>,
    /// How long it may serve from the last advertisement that left.
    pub lease: Duration,
}

impl FencedRouter {
    fn is_ipv6(&self) -> bool {
        self.addresses.first().is_some_and(IpAddr::is_ipv6)
    }

    /// The priority that a frame says in this router's name, if it is such a frame.
    fn said(&self, port: PortId, frame: &Frame<'_>) -> Option<u8> {
        let (kind, protocol_at, message_at) = if self.is_ipv6() {
            (ethertype::IPV6, 6, 40)
        } else {
            (ethertype::IPV4, 9, 20)
        };
        let at = |index: usize| frame.payload.get(index).copied();
        let ours = port == self.port
            && frame.ethertype == kind
            && at(protocol_at) == Some(protocol::VRRP)
            && at(message_at + 1) == Some(self.virtual_id);
        ours.then(|| at(message_at + 2)).flatten()
    }

    /// Whether a frame concerns its addresses: a question or an answer of this kind, or a packet.
    fn is_about(
        &self,
        frame: &Frame<'_>,
        message: u8,
        about: impl FnOnce(Arp) -> IpAddr,
        packet: Option<IpAddr>,
    ) -> bool {
        let subject = match frame.ethertype {
            ethertype::ARP => Arp::parse(frame.payload).map(about),
            ethertype::IPV6 => target_of(frame.payload, message).or(packet),
            _ => packet,
        };
        subject.is_some_and(|address| self.addresses.contains(&address))
    }
}

/// The table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RouterFence {
    routers: Vec<(FencedRouter, Option<Instant>)>,
    /// Nanoseconds of a jiffy that had passed at the world's origin.
    phase: u64,
    is_whole: bool,
}

impl RouterFence {
    pub(super) fn new(routers: Vec<FencedRouter>, phase: u64) -> Self {
        Self {
            routers: routers.into_iter().map(|router| (router, None)).collect(),
            phase,
            is_whole: true,
        }
    }

    fn close_all(&mut self) {
        self.routers.iter_mut().for_each(|(_, live)| *live = None);
    }

    pub(super) fn flush(&mut self, by: FlushBy) {
        if by == FlushBy::ForeignIgnoringOwner {
            self.close_all();
            self.is_whole = false;
        }
    }

    /// Whether something ended.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let mut ended = false;
        for (_, live) in &mut self.routers {
            let left = live.filter(|end| now < *end);
            ended |= left != *live;
            *live = left;
        }
        ended
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.routers.iter().filter_map(|(_, live)| *live).min()
    }

    pub(super) fn resume(&mut self, paused: Duration) {
        for (_, live) in &mut self.routers {
            *live = live.map(|end| end.after(paused));
        }
    }

    /// The routers of a link that have no lease.
    fn fenced(&self, now: Instant, port: PortId) -> impl Iterator<Item = &FencedRouter> {
        let fenced = move |(router, live): &&(FencedRouter, Option<Instant>)| {
            router.port == port && !is_present(*live, now)
        };
        let whole = self.is_whole;
        let all = self.routers.iter().filter(move |_| whole);
        all.filter(fenced).map(|(router, _)| router)
    }

    /// Whether a frame passes on its way in.
    pub(super) fn admits(&self, now: Instant, port: PortId, frame: &Frame<'_>) -> bool {
        let asked = |arp: Arp| IpAddr::V4(arp.target_ip);
        let to = destination_of(frame);
        !self
            .fenced(now, port)
            .any(|router| router.is_about(frame, SOLICIT, asked, to))
    }

    /// What becomes of a frame on its way out.
    pub(super) fn egress(&self, now: Instant, port: PortId, frame: &Frame<'_>) -> Egress {
        let routers = self.routers.iter().enumerate();
        let mut said = routers.filter_map(|(place, (router, live))| {
            Some((place, router.said(port, frame)?, is_present(*live, now)))
        });
        if let Some((place, priority, live)) = said.next().filter(|_| self.is_whole) {
            return match (priority, live) {
                (RESIGNS, _) => Egress::EndRouter(place),
                (_, true) => Egress::RefreshRouter(place),
                (_, false) => Egress::Refuse,
            };
        }
        let from = source_of(frame);
        let says = |arp: Arp| IpAddr::V4(arp.sender_ip);
        let kept = self
            .fenced(now, port)
            .any(|router| router.is_about(frame, ADVERTISE, says, from));
        if kept { Egress::Drop } else { Egress::Pass }
    }
}

/// The leases of virtual routers, each by its place.
impl Kernel {
    /// Begins a fresh lease: for as long as a first word may take.
    ///
    /// # Errors
    /// There is no table.
    pub fn arm_router(&mut self, now: Instant, router: usize) -> Result<(), TableGone> {
        let lease = |it: &FencedRouter| {
            let first = (it.lease / FIRST_PARTS).max(FIRST_MIN);
            first.min(it.lease)
        };
        self.set_router(now, router, lease)
    }

    /// Its word left: the lease lasts the whole time again.
    pub(super) fn refresh_router(&mut self, now: Instant, router: usize) {
        // The guard has just seen the table.
        let _ = self.set_router(now, router, |it| it.lease);
    }

    fn set_router(
        &mut self,
        now: Instant,
        router: usize,
        lease: impl FnOnce(&FencedRouter) -> Duration,
    ) -> Result<(), TableGone> {
        let Some(fence) = self.routers.as_mut().filter(|it| it.is_whole) else {
            return Err(TableGone);
        };
        let phase = fence.phase;
        if let Some((router, live)) = fence.routers.get_mut(router) {
            *live = Some(expiry(phase, now, lease(router)));
        }
        self.ownership_version.0 += 1;
        Ok(())
    }

    /// Ends its lease, if it has one.
    pub fn close_router(&mut self, router: usize) {
        let routers = self.routers.as_mut().map(|fence| &mut fence.routers);
        if let Some((_, live)) = routers.and_then(|it| it.get_mut(router)) {
            *live = None;
            self.ownership_version.0 += 1;
        }
    }

    /// Ends every lease.
    pub fn close_routers(&mut self) {
        if let Some(fence) = &mut self.routers {
            fence.close_all();
            self.ownership_version.0 += 1;
        }
    }

    /// Whether a router has its lease.
    pub fn router_is_live(&self, now: Instant, router: usize) -> bool {
        let routers = self.routers.as_ref().map(|fence| &fence.routers);
        let live = routers.and_then(|it| it.get(router)).map(|(_, live)| *live);
        live.is_some_and(|live| is_present(live, now))
    }

    /// Puts a missing table back, without any lease. True if it was missing.
    pub fn rebuild_router_fence(&mut self) -> bool {
        let missing = self.routers.as_mut().filter(|fence| !fence.is_whole);
        let Some(fence) = missing else {
            return false;
        };
        fence.close_all();
        fence.is_whole = true;
        self.ownership_version.0 += 1;
        true
    }
}
