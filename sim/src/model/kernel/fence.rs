//! The kernel's side of the lease: one nft table that permits virtual addresses, or drops (D9).
//!
//! Two timeout elements, `live` and `tail`. With `live` the node owns its virtual addresses; with
//! `tail` it still carries packets but answers no question; with neither it is fenced. The guard
//! on the way out refreshes `live` as an active frame leaves, only while it is there, and refuses
//! the frame otherwise: what tells a woken daemon that it lost the role, at that very send.
//!
//! `tail` is refreshed with `live` and ends a little later. Without it a killed daemon would cost
//! through traffic what its lapse costs the address, although the kernel could still carry it; a
//! standby drops transit all the same, once the tail is over.
//!
//! The hard case is time: nft counts jiffies, so a timeout of T ends floor(T / 4 ms) jiffies after
//! the jiffy in which it was set began: early, never late.
//!
//! Limit: packets are judged one by one; no verdict is cached in flows (no flow offload).

use core::net::IpAddr;
use core::time::Duration;

use steadfast_core::wire::announce::claims_to_own;
use steadfast_core::wire::arp::Arp;
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::{Instant, MacAddr};

use super::payload::{
    ADVERTISE, MARK_ACTIVE, MARK_OFFERING, SOLICIT, destination_of, mark, source_of, target_of,
};
use super::routers;

/// The kernel's clock tick (HZ = 250).
pub const JIFFY: Duration = Duration::from_millis(4);

/// What a gateway's fence protects, and for how long it lets go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FenceConfig {
    /// L: how long `live` lasts from the last refresh.
    pub lease: Duration,
    /// How long `tail` lasts after a hand-over.
    pub tail: Duration,
    /// Whether a fenced node also drops packets it would only forward.
    pub drop_transit: bool,
    /// Whether frames are judged as they leave a port (netdev egress, Linux 5.16). Without it what
    /// the kernel itself says is judged, and the daemon guards and renews the lease.
    pub egress: bool,
    /// Whether the table has an owning socket, so that a foreign flush passes it by.
    pub owned: bool,
    /// The virtual addresses, installed or not.
    pub virtual_addresses: Vec<IpAddr>,
    /// The virtual MACs.
    pub virtual_macs: Vec<MacAddr>,
}

impl FenceConfig {
    /// The fence of design D9 for these addresses, with its default times.
    pub fn new(virtual_addresses: Vec<IpAddr>) -> Self {
        Self {
            lease: Duration::from_millis(300),
            tail: Duration::from_millis(30),
            drop_transit: true,
            egress: true,
            owned: true,
            virtual_addresses,
            virtual_macs: Vec::new(),
        }
    }
}

/// Addresses that go by themselves outlast the lease by this, rounded up to whole seconds.
const GRACE: Duration = Duration::from_secs(4);

/// The lease was not there to be changed: it lapsed, was never armed, or the table is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lapsed;

/// There is no table to put a lease into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableGone;

/// Who flushes the ruleset, and how thoroughly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlushBy {
    /// Another program: an owned table survives it.
    Foreign,
    /// The owning socket is gone, or the flush is done in its name: nothing survives.
    ForeignIgnoringOwner,
}

/// What the egress hooks say about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Egress {
    /// The fence drops it.
    Drop,
    /// It leaves and ends the lease of the virtual router at this place.
    EndRouter(usize),
    /// It leaves.
    Pass,
    /// It leaves and renews the lease.
    Refresh,
    /// It leaves and renews the lease of the virtual router at this place.
    RefreshRouter(usize),
    /// The guard drops it: an active frame without a lease.
    Refuse,
}

/// The table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fence {
    config: FenceConfig,
    /// Nanoseconds of a jiffy that had passed at the world's origin.
    phase: u64,
    is_whole: bool,
    live: Option<Instant>,
    tail: Option<Instant>,
    /// When the lease surely ends, as the daemon knows it where the kernel guards nothing.
    word: Option<Instant>,
    /// Another program holds the lock of nf_tables: the daemon's renewals wait.
    held: bool,
    /// A renewal waits, for a word said then.
    waiting: Option<Instant>,
    /// Until then virtual addresses last; none where they stay.
    addresses: Option<Instant>,
    /// It was put back since the last look.
    mended: bool,
    /// The lease is a claim's, and was not offered since.
    renewable: bool,
}

impl Fence {
    pub(super) fn new(mut config: FenceConfig, jiffy_phase: Duration) -> Self {
        config.virtual_addresses.sort_unstable();
        config.virtual_addresses.dedup();
        Self {
            config,
            phase: phase_of(jiffy_phase),
            is_whole: true,
            live: None,
            tail: None,
            word: None,
            held: false,
            waiting: None,
            addresses: None,
            mended: false,
            renewable: false,
        }
    }

    pub(super) const fn has_egress(&self) -> bool {
        self.config.egress
    }

    pub(super) const fn set_times(&mut self, lease: Duration, tail: Duration) {
        self.config.lease = lease;
        self.config.tail = tail;
    }

    pub(super) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub(super) fn is_live(&self, now: Instant) -> bool {
        is_present(self.live, now)
    }

    pub(super) fn live_end(&self, now: Instant) -> Option<Instant> {
        self.live.filter(|end| now < *end)
    }

    pub(super) fn tail_end(&self, now: Instant) -> Option<Instant> {
        self.tail.filter(|end| now < *end)
    }

    pub(super) fn arm(&mut self, now: Instant) -> Result<(), TableGone> {
        if !self.is_whole {
            return Err(TableGone);
        }
        self.refresh(now);
        self.renewable = true;
        Ok(())
    }

    pub(super) fn offer(&mut self, now: Instant, remaining: Duration) -> Result<(), Lapsed> {
        self.renewable = false;
        self.find_again(now);
        let end = self.live_end(now).ok_or(Lapsed)?;
        self.live = Some(end.min(self.expiry(now, remaining)));
        self.word = self.word.map(|word| word.min(surely(now, remaining)));
        self.waiting = None;
        self.tail = Some(self.expiry(now, remaining + self.config.tail));
        Ok(())
    }

    /// One netlink batch: deleting an element that is gone aborts it, so no tail appears either.
    pub(super) fn release_to_tail(&mut self, now: Instant) -> Result<(), Lapsed> {
        self.find_again(now);
        self.live_end(now).ok_or(Lapsed)?;
        self.live = None;
        self.word = None;
        self.waiting = None;
        self.tail = Some(self.expiry(now, self.config.tail));
        Ok(())
    }

    /// The tail is refreshed with the lease and outlives it: what clients still send this way is
    /// carried until the next owner has told them.
    pub(super) fn refresh(&mut self, now: Instant) {
        self.live = Some(self.expiry(now, self.config.lease));
        self.word = Some(surely(now, self.config.lease));
        self.tail = Some(self.expiry(now, self.config.lease + self.config.tail));
    }

    pub(super) fn close(&mut self) {
        self.renewable = false;
        self.waiting = None;
        self.live = None;
        self.word = None;
        self.tail = None;
    }

    pub(super) fn flush(&mut self, by: FlushBy) {
        let survives = match by {
            FlushBy::Foreign => self.config.owned,
            FlushBy::ForeignIgnoringOwner => false,
        };
        if !survives {
            // The daemon learns of it as it would renew the lease: it has it by its own clock.
            let (word, renewable) = (self.word, self.renewable);
            self.close();
            (self.word, self.renewable) = (word, renewable);
            self.is_whole = false;
        }
    }

    /// Without netdev egress the addresses that a daemon puts there, or still wants, last so long
    /// from now: what goes by itself needs nobody who takes it away.
    pub(super) fn hold_addresses(&mut self, now: Instant) {
        if !self.config.egress {
            let seconds = nanos(self.config.lease + GRACE).div_ceil(1_000_000_000);
            self.addresses = Some(now.after(Duration::from_secs(seconds)));
        }
    }

    /// Whether the addresses' time is over; says so once.
    pub(super) fn addresses_end(&mut self, now: Instant) -> bool {
        let over = self.addresses.is_some_and(|end| end <= now);
        if over {
            self.addresses = None;
        }
        over
    }

    /// Puts a missing table back at a look: fenced, unless a lease is renewed by its owner.
    pub(super) fn rebuild(&mut self) {
        // A daemon that renews the lease itself knows what is left of it.
        self.set_up(self.renewable && !self.config.egress);
    }

    /// Puts a missing table back, with what is left of a lease by its owner's clock, or closed.
    pub(super) fn set_up(&mut self, keeps: bool) {
        if self.is_whole {
            return;
        }
        let (left, renewable) = (self.word.filter(|_| keeps), self.renewable);
        self.close();
        (self.live, self.word) = (left, left);
        self.tail = left.map(|end| end.after(self.config.tail));
        self.renewable = renewable && left.is_some();
        self.is_whole = true;
    }

    /// Puts a missing table back for a word or an offer; the next look tells of it.
    fn mend(&mut self) {
        self.mended |= !self.is_whole;
        self.set_up(!self.config.egress);
    }

    /// A daemon that renews the lease itself puts back one that was taken along before its end.
    fn find_again(&mut self, now: Instant) {
        if !self.config.egress && is_present(self.word, now) {
            self.mend();
        }
    }

    /// Whether it is whole, and was since this was asked last.
    pub(super) const fn take_whole(&mut self) -> bool {
        !core::mem::replace(&mut self.mended, false) && self.is_whole
    }

    /// Removes what has expired; whether there was anything.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = (self.live, self.tail);
        self.live = self.live_end(now);
        self.tail = self.tail_end(now);
        before != (self.live, self.tail)
    }

    /// When the next element ends; may lie in the past until [`Self::expire`] is called.
    pub(super) fn next_end(&self) -> Option<Instant> {
        let ends = [self.live, self.tail, self.addresses];
        ends.into_iter().flatten().min()
    }

    /// The clock stood still for this long (a paused machine): what was left is left still.
    pub(super) fn resume(&mut self, paused: Duration) {
        self.live = self.live.map(|end| end.after(paused));
        self.word = self.word.map(|end| end.after(paused));
        self.tail = self.tail.map(|end| end.after(paused));
        self.addresses = self.addresses.map(|end| end.after(paused));
    }

    /// The chains on the way in, on a served port: whether the frame passes. `is_transit` says
    /// whether a packet was sent to us only to be passed on.
    pub(super) fn admits(
        &self,
        now: Instant,
        frame: &Frame<'_>,
        is_transit: impl FnOnce(IpAddr) -> bool,
    ) -> bool {
        if !self.is_whole || is_present(self.live, now) {
            return true;
        }
        if self.questions(frame, SOLICIT, |arp| arp.target_ip) {
            return false;
        }
        if is_present(self.tail, now) {
            return true;
        }
        let destination = destination_of(frame);
        let passes_on = |ip| self.config.drop_transit && is_transit(ip);
        !destination.is_some_and(|ip| self.is_virtual(ip) || passes_on(ip))
            && !self.config.virtual_macs.contains(&frame.destination)
    }

    /// Whether it is the rule about transit that drops a frame, and not one before it.
    pub(super) fn counts_as_transit(
        &self,
        frame: &Frame<'_>,
        is_transit: impl FnOnce(IpAddr) -> bool,
    ) -> bool {
        let to_other = |ip: &IpAddr| !self.is_virtual(*ip);
        let destination = destination_of(frame).filter(to_other);
        self.config.drop_transit
            && !self.questions(frame, SOLICIT, |arp| arp.target_ip)
            && destination.is_some_and(is_transit)
    }

    /// The chains on the way out: the guard on a heartbeat port, then the fence on a served one.
    pub(super) fn egress(
        &self,
        now: Instant,
        (heartbeat, served): (bool, bool),
        frame: &Frame<'_>,
    ) -> Egress {
        if !self.is_whole {
            return Egress::Pass;
        }
        let live = is_present(self.live, now);
        if heartbeat && let Some(mark) = mark(frame) {
            match (Some(mark), live) {
                (Some(MARK_ACTIVE), true) => return Egress::Refresh,
                (Some(MARK_ACTIVE | MARK_OFFERING), false) => return Egress::Refuse,
                _ => {}
            }
        }
        if served && self.keeps_router_back(live, frame) {
            return Egress::Drop;
        }
        if live || !served || self.lets_out(now, frame) {
            Egress::Pass
        } else {
            Egress::Drop
        }
    }

    /// A word that leaves under the eyes of the kernel renews the lease. For any other the daemon
    /// asks for a renewal, which waits for the lock if another program has it.
    pub(super) fn renew(&mut self, now: Instant, left: bool) {
        let is_seen = left && self.config.egress;
        self.waiting = (self.held && !is_seen).then_some(now);
        if self.waiting.is_none() {
            self.mend();
            self.refresh(now);
        }
    }

    /// The lock is taken or let go; what waits is done then, unless the lease has ended.
    pub(super) fn hold(&mut self, now: Instant, held: bool) {
        self.held = held;
        if !held
            && let Some(said) = self.waiting.take()
            && is_present(self.live, now)
        {
            self.refresh(said);
        }
    }

    /// What the daemon asks itself before its packet socket sends, where the kernel does not see
    /// that: only what needs the lease, and nothing that other programs send.
    pub(super) fn judged_by_the_daemon(
        &self,
        now: Instant,
        port: MacAddr,
        frame: &Frame<'_>,
    ) -> Egress {
        match (mark(frame), is_present(self.word, now)) {
            (Some(MARK_ACTIVE), true) => Egress::Refresh,
            (Some(MARK_ACTIVE | MARK_OFFERING), false) => Egress::Refuse,
            (_, false) if claims_to_own(frame, port) => Egress::Drop,
            _ => Egress::Pass,
        }
    }

    /// Whether this is a router advertisement that must not leave (F44): where a link-local address
    /// moves with the role, one that makes hosts use an address which stays here, or leave the one
    /// that moves; without a lease, any that makes them use something.
    /// Limit: one answer for all ports.
    fn keeps_router_back(&self, live: bool, frame: &Frame<'_>) -> bool {
        let mut virtuals = self.config.virtual_addresses.iter();
        let moves = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if frame.ethertype != ethertype::IPV6 || !routers::is_advert(frame.payload) {
            return false;
        }
        let stays = !source_of(frame).is_some_and(|ip| self.is_virtual(ip));
        let ends = routers::ends(frame.payload);
        let kept = virtuals.clone().any(moves) && stays != ends;
        kept || (!live && !ends && virtuals.any(IpAddr::is_ipv6))
    }

    /// The fence on the way out, without a lease.
    fn lets_out(&self, now: Instant, frame: &Frame<'_>) -> bool {
        if self.questions(frame, ADVERTISE, |arp| arp.sender_ip)
            || self.config.virtual_macs.contains(&frame.source)
        {
            return false;
        }
        is_present(self.tail, now) || !source_of(frame).is_some_and(|ip| self.is_virtual(ip))
    }

    /// Whether this is ARP or neighbour discovery about a virtual address.
    fn questions(
        &self,
        frame: &Frame<'_>,
        message: u8,
        about: impl FnOnce(Arp) -> core::net::Ipv4Addr,
    ) -> bool {
        match frame.ethertype {
            ethertype::ARP => {
                Arp::parse(frame.payload).is_some_and(|arp| self.is_virtual(IpAddr::V4(about(arp))))
            }
            ethertype::IPV6 => {
                target_of(frame.payload, message).is_some_and(|target| self.is_virtual(target))
            }
            _ => false,
        }
    }

    fn is_virtual(&self, address: IpAddr) -> bool {
        self.config
            .virtual_addresses
            .binary_search(&address)
            .is_ok()
    }

    fn expiry(&self, now: Instant, timeout: Duration) -> Instant {
        expiry(self.phase, now, timeout)
    }
}

/// How many of a jiffy's nanoseconds have passed at the world's origin.
pub(super) fn phase_of(jiffy_phase: Duration) -> u64 {
    nanos(jiffy_phase) % nanos(JIFFY)
}

/// When an element ends that is set now, to last so long.
pub(super) fn expiry(phase: u64, now: Instant, timeout: Duration) -> Instant {
    let jiffy = nanos(JIFFY);
    let started = now.as_nanos().saturating_add(phase) / jiffy;
    let ends = started.saturating_add(nanos(timeout) / jiffy);
    Instant::from_nanos(ends.saturating_mul(jiffy).saturating_sub(phase))
}

/// When the daemon takes such a lease for ended: the kernel's ends early, never late.
fn surely(now: Instant, timeout: Duration) -> Instant {
    now.after(timeout.saturating_sub(2 * JIFFY))
}

pub(super) fn is_present(element: Option<Instant>, now: Instant) -> bool {
    element.is_some_and(|end| now < end)
}

fn nanos(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)
}
