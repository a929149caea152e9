//! One machine's network stack: addresses, neighbours, forwarding, and the nft fence before them.
//!
//! The same model is a gateway (it forwards and has a fence) and a plain host (it does neither).
//! It behaves as Linux was measured to: a weak host that answers ARP for any of its addresses on
//! any port, believes announcements only for neighbours it knows, and stays silent to whoever asks
//! in the name of one of its own addresses. It runs on while the daemon is stopped: the lease
//! lapses by itself, and packets are forwarded as long as the fence lets them.
//!
//! The order on the way in is: packet sockets (`captured`), fence, stack. On the way out: lease
//! guard, fence, carrier. So an active frame sent into a port without carrier still renews the
//! lease, which proves a running daemon and not a heard one (D9).
//!
//! The hard case is the observer's question "who answers for this address". [`Kernel::answers_for`]
//! puts a real request frame through the functions that answer real frames, so that there is no
//! second opinion to drift from the first.
//!
//! Limit: no fragments, no upper layers but echo, no flow table. A port has the link-local IPv6
//! address it is given, or none. A device for a virtual MAC is there as long as its port is.

mod addresses;
mod fence;
mod forwarding;
mod lease;
mod neighbours;
mod outbox;
mod packet;
mod payload;
mod resolution;
mod routers;
mod sockets;
#[cfg(test)]
mod tests;
mod vrrp;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use steadfast_core::wire::ethernet::{self, ethertype};
use steadfast_core::{Instant, MacAddr, PortId};

pub use addresses::{ADDRESSES_MAX, PortConfig};
use addresses::{Added, Addresses};
use fence::{Egress, Fence};
pub use fence::{FenceConfig, FlushBy, JIFFY, Lapsed, TableGone};
pub use neighbours::{
    ASKS_MAX, DELAY, LOCKTIME, NEIGHBOURS_MAX, NeighbourState, RETRANSMIT, WAITING_MAX,
};
use neighbours::{Ask, Neighbours};
pub use outbox::{Delivered, Outbox};
pub use packet::protocol;
use sockets::{is_captured, is_discovery};
pub use vrrp::FencedRouter;
use vrrp::RouterFence;

use super::{Frame, Uncompared};

/// How long an answer is believed without question, on average (Linux's default).
pub const REACHABLE_TIME: Duration = Duration::from_secs(30);

/// What a machine is given at power-on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KernelConfig {
    /// Its ports.
    pub ports: Vec<PortConfig>,
    /// Whether it forwards between ports.
    pub forwards: bool,
    /// Where packets without a connected route go: at most one address of each IP version counts.
    pub gateways: Vec<IpAddr>,
    /// The fence; plain hosts have none.
    pub fence: Option<FenceConfig>,
    /// The virtual routers that are fenced, by place.
    pub routers: Vec<FencedRouter>,
    /// Whether packet sockets are open.
    pub capture: bool,
    /// How long an answer is believed without question.
    pub reachable_time: Duration,
    /// How much of a jiffy had passed at the world's origin: two machines rarely tick together.
    pub jiffy_phase: Duration,
    /// The sysctl `ignore_routes_with_linkdown`: no packets wait for a port without carrier.
    pub ignores_linkdown_routes: bool,
}

impl KernelConfig {
    /// A gateway: it forwards, is fenced, and its daemon's sockets are open.
    pub fn gateway(ports: Vec<PortConfig>, fence: FenceConfig) -> Self {
        Self {
            forwards: true,
            fence: Some(fence),
            capture: true,
            ..Self::host(ports, Vec::new())
        }
    }

    /// A plain host.
    pub fn host(ports: Vec<PortConfig>, gateways: Vec<IpAddr>) -> Self {
        Self {
            ports,
            forwards: false,
            gateways,
            fence: None,
            routers: Vec::new(),
            capture: false,
            reachable_time: REACHABLE_TIME,
            jiffy_phase: Duration::ZERO,
            ignores_linkdown_routes: false,
        }
    }
}

/// A machine's network stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    addresses: Addresses,
    neighbours: Neighbours,
    fence: Option<Fence>,
    routers: Option<RouterFence>,
    forwards: bool,
    capture: bool,
    /// What the machine itself begins is translated.
    translates: bool,
    ownership_version: Uncompared<u64>,
    counters: Uncompared<KernelCounters>,
}

/// What a kernel dropped, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelCounters {
    /// Virtual addresses refused because there were [`ADDRESSES_MAX`].
    pub addresses_full_count: u64,
    /// Frames the fence dropped on the way in.
    pub fenced_in_count: u64,
    /// Frames the fence dropped on the way out.
    pub fenced_out_count: u64,
    /// Packets whose hops were used up.
    pub hops_count: u64,
    /// Frames that could not be read.
    pub malformed_count: u64,
    /// Packets to a neighbour for which there was no room.
    pub neighbours_full_count: u64,
    /// Frames sent into a port without carrier.
    pub no_carrier_count: u64,
    /// Frames and packets meant for somebody else.
    pub not_ours_count: u64,
    /// Active frames the lease guard refused.
    pub refused_count: u64,
    /// Of those that the fence dropped on the way in, packets to be passed on, by port.
    pub transits: BTreeMap<PortId, u64>,
    /// Packets without a route.
    pub unroutable_count: u64,
    /// Packets that waited in vain for a neighbour, or made room for others.
    pub unresolved_count: u64,
}

/// What became of a frame sent by a packet socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transmitted {
    /// The fence dropped it, or the port does not exist.
    Dropped,
    /// The port has no carrier; the sender is not told.
    NoCarrier,
    /// The lease guard refused it: the sender sees ENOBUFS and knows that it lost the role.
    Refused,
    /// It is on the wire.
    Sent,
}

impl Kernel {
    /// A machine just powered on: carrier everywhere, no neighbours, fenced.
    pub fn new(config: KernelConfig) -> Self {
        let phase = config.jiffy_phase;
        let routers = Some(config.routers).filter(|it| !it.is_empty());
        Self {
            addresses: Addresses::new(
                config.ports,
                config.gateways,
                config.ignores_linkdown_routes,
            ),
            neighbours: Neighbours::new(config.reachable_time),
            fence: config.fence.map(|fence| Fence::new(fence, phase)),
            routers: routers.map(|it| RouterFence::new(it, fence::phase_of(phase))),
            forwards: config.forwards,
            capture: config.capture,
            translates: false,
            ownership_version: Uncompared::default(),
            counters: Uncompared::default(),
        }
    }

    /// Takes a frame from the wire.
    pub fn receive(&mut self, now: Instant, port: PortId, frame: &Frame, out: &mut Outbox) {
        let Some(parsed) = ethernet::Frame::parse(frame) else {
            self.counters.0.malformed_count += 1;
            return;
        };
        if !self.hears(port, parsed.destination) {
            self.counters.0.not_ours_count += 1;
            return;
        }
        let routed = self.addresses.port(port).is_some_and(|it| it.config.routed);
        if self.capture && is_captured(&parsed, routed) {
            out.captured.push((port, frame.clone()));
        }
        if !self.admits(now, port, &parsed) {
            self.count_fenced(port, &parsed);
            return;
        }
        match parsed.ethertype {
            ethertype::ARP => self.arp_input(now, port, &parsed, out),
            ethertype::IPV6 if self.is_discovery_for_us(parsed.payload) => {
                self.nd_input(now, port, &parsed, out);
            }
            ethertype::IPV6 if !self.forwards && routers::is_advert(parsed.payload) => {
                self.router_heard(now, port, parsed.payload, out);
            }
            ethertype::IPV4 | ethertype::IPV6 => self.ip_input(now, port, frame, &parsed, out),
            _ => {}
        }
    }

    /// Sends a frame as a packet socket does. The caller puts it on the wire if it was `Sent`.
    pub fn transmit(&mut self, now: Instant, port: PortId, frame: &[u8]) -> Transmitted {
        let Some(parsed) = ethernet::Frame::parse(frame) else {
            self.counters.0.malformed_count += 1;
            return Transmitted::Dropped;
        };
        let without = self.fence.as_ref().filter(|fence| !fence.has_egress());
        let judged = match without.zip(self.addresses.port(port)) {
            Some((fence, at)) => fence.judged_by_the_daemon(now, at.config.mac, &parsed),
            None => self.egress(now, port, &parsed),
        };
        self.let_out(now, port, judged)
    }

    /// Sends a frame that the kernel itself made: judged whatever the fence can do.
    fn say(&mut self, now: Instant, port: PortId, frame: &[u8]) -> Transmitted {
        let Some(parsed) = ethernet::Frame::parse(frame) else {
            self.counters.0.malformed_count += 1;
            return Transmitted::Dropped;
        };
        let judged = self.egress(now, port, &parsed);
        self.let_out(now, port, judged)
    }

    fn let_out(&mut self, now: Instant, port: PortId, judged: Egress) -> Transmitted {
        let is_carried = self.has_carrier(port);
        match judged {
            Egress::Drop => {
                self.counters.0.fenced_out_count += 1;
                return Transmitted::Dropped;
            }
            Egress::Refuse => {
                self.counters.0.refused_count += 1;
                return Transmitted::Refused;
            }
            Egress::EndRouter(place) => self.close_router(place),
            Egress::Refresh => self.change_fence(|fence| fence.renew(now, is_carried)),
            Egress::RefreshRouter(place) => self.refresh_router(now, place),
            Egress::Pass => {}
        }
        if is_carried {
            Transmitted::Sent
        } else {
            self.counters.0.no_carrier_count += 1;
            Transmitted::NoCarrier
        }
    }

    /// When something changes by itself: an element of the fence ends, or a neighbour is asked
    /// again. Never before `now`; call [`Self::tick`] then.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let fence = self.fence.as_ref().and_then(Fence::next_end);
        let routers = self.routers.as_ref().and_then(RouterFence::next_end);
        let next = [fence, routers, self.neighbours.next_due()];
        let next = next.into_iter().flatten().min()?;
        (next < Instant::FAR_FUTURE).then(|| next.max(now))
    }

    /// Does what is due. Early or repeated calls change nothing.
    pub fn tick(&mut self, now: Instant, out: &mut Outbox) {
        let cluster = self.fence.as_mut().is_some_and(|fence| fence.expire(now));
        let routers = self.routers.as_mut().is_some_and(|it| it.expire(now));
        if cluster || routers {
            self.ownership_version.0 += 1;
        }
        if self
            .fence
            .as_mut()
            .is_some_and(|fence| fence.addresses_end(now))
        {
            self.forget_virtuals();
        }
        if self.neighbours.next_due().is_none_or(|due| now < due) {
            return;
        }
        let mut asks: Vec<Ask> = Vec::new();
        let dropped = &mut self.counters.0.unresolved_count;
        self.neighbours.take_due(now, dropped, &mut asks);
        for ask in asks {
            self.ask(now, &ask, out);
        }
    }

    /// Whether a station on this port that asks our MAC for `address` gets an answer: a unicast
    /// ARP request (IPv6: a neighbour solicitation) judged by the code that answers real ones.
    pub fn answers_for(&self, now: Instant, port: PortId, address: IpAddr) -> bool {
        let Some(request) = self.question(port, address) else {
            return false;
        };
        let passes = |reply: &resolution::Reply| {
            ethernet::Frame::parse(&reply.frame)
                .is_some_and(|frame| self.egress(now, port, &frame) == Egress::Pass)
        };
        self.has_carrier(port)
            && ethernet::Frame::parse(&request).is_some_and(|frame| {
                self.admits(now, port, &frame)
                    && self.reply_to(port, &frame).as_ref().is_some_and(passes)
            })
    }

    /// Grows whenever an answer to [`Self::answers_for`], or the time it ends, may have changed.
    pub const fn ownership_version(&self) -> u64 {
        self.ownership_version.0
    }

    /// What was dropped.
    pub fn counters(&self) -> &KernelCounters {
        &self.counters.0
    }
}

/// Ports and addresses.
impl Kernel {
    /// Carrier of a port. Losing it deletes the port's neighbours, as Linux does.
    pub fn set_carrier(&mut self, port: PortId, up: bool) {
        let Some(state) = self.addresses.port_mut(port) else {
            return;
        };
        if state.carrier == up {
            return;
        }
        state.carrier = up;
        self.ownership_version.0 += 1;
        if !up {
            let dropped = &mut self.counters.0.unresolved_count;
            self.neighbours.flush_port(port, dropped);
        }
    }

    /// Whether a port exists and has carrier.
    pub fn has_carrier(&self, port: PortId) -> bool {
        self.addresses.port(port).is_some_and(|port| port.carrier)
    }

    /// A port's own MAC.
    pub fn mac(&self, port: PortId) -> Option<MacAddr> {
        self.addresses.port(port).map(|port| port.config.mac)
    }

    /// Puts a virtual address on a port; idempotent. Beyond [`ADDRESSES_MAX`] it is refused and
    /// counted.
    pub fn add_virtual(&mut self, port: PortId, address: IpAddr) {
        match self.addresses.add_virtual(port, address) {
            Added::Already => {}
            Added::Full => self.counters.0.addresses_full_count += 1,
            Added::Yes => self.ownership_version.0 += 1,
        }
    }

    /// Takes a virtual address off a port; idempotent.
    pub fn remove_virtual(&mut self, port: PortId, address: IpAddr) {
        if self.addresses.remove_virtual(port, address) {
            self.ownership_version.0 += 1;
        }
    }

    /// The virtual addresses installed, with their ports, by address.
    pub fn virtuals(&self) -> impl Iterator<Item = (PortId, IpAddr)> {
        self.addresses.virtuals()
    }

    /// Where packets without a connected route go from now on.
    pub fn set_gateways(&mut self, gateways: Vec<IpAddr>) {
        self.addresses.gateways = gateways;
    }

    /// Opens or closes the daemon's packet sockets.
    pub fn set_capture(&mut self, on: bool) {
        self.capture = on;
    }

    /// From now on what the machine begins is translated as its ports say, or is not. Unlike a
    /// kernel this one keeps no memory of what was begun before.
    pub const fn set_translates(&mut self, on: bool) {
        self.translates = on;
    }

    /// What the neighbour cache says of an address on a port.
    pub fn neighbour(&self, now: Instant, port: PortId, ip: IpAddr) -> Option<NeighbourState> {
        self.neighbours.state(now, port, ip)
    }

    /// The whole neighbour cache, by port and address; ages are not applied.
    pub fn neighbours(&self) -> impl Iterator<Item = (PortId, IpAddr, NeighbourState)> {
        self.neighbours.iter()
    }

    /// Deletes neighbours that are being asked for or gave no answer: what the daemon does on a
    /// claim and when carrier returns (D17).
    pub fn forget_dead_neighbours(&mut self) {
        let dropped = &mut self.counters.0.unresolved_count;
        self.neighbours.forget_dead(dropped);
    }

    /// The machine was paused for this long and its clock with it: whatever time its lease, tail
    /// and neighbours had left they have still.
    pub fn resume(&mut self, paused: Duration) {
        self.neighbours.resume(paused);
        if let Some(routers) = &mut self.routers {
            routers.resume(paused);
        }
        self.change_fence(|fence| fence.resume(paused));
    }
}

/// The fence on both ways.
impl Kernel {
    fn admits(&self, now: Instant, port: PortId, frame: &ethernet::Frame<'_>) -> bool {
        let routers = self.routers.as_ref();
        if !routers.is_none_or(|it| it.admits(now, port, frame)) {
            return false;
        }
        let (Some(fence), Some(port)) = (&self.fence, self.addresses.port(port)) else {
            return true;
        };
        let is_transit = |ip| self.is_transit(port, frame, ip);
        !port.config.served || fence.admits(now, frame, is_transit)
    }

    /// A packet that was sent to this machine to be passed on.
    fn is_transit(&self, port: &addresses::Port, frame: &ethernet::Frame<'_>, ip: IpAddr) -> bool {
        frame.destination == port.config.mac && !ip.is_multicast() && !self.addresses.is_local(ip)
    }

    /// Counts a frame that was not admitted.
    fn count_fenced(&mut self, id: PortId, frame: &ethernet::Frame<'_>) {
        let port = self.addresses.port(id);
        let is_transit = |ip| port.is_some_and(|port| self.is_transit(port, frame, ip));
        let fence = self.fence.as_ref();
        let misled = fence.is_some_and(|fence| fence.counts_as_transit(frame, is_transit));
        self.counters.0.fenced_in_count += 1;
        if misled {
            *self.counters.0.transits.entry(id).or_default() += 1;
        }
    }

    fn egress(&self, now: Instant, port: PortId, frame: &ethernet::Frame<'_>) -> Egress {
        let Some(port) = self.addresses.port(port) else {
            return Egress::Drop;
        };
        let hooks = (port.config.heartbeat, port.config.served);
        let fence = self.fence.as_ref();
        if let Some(routers) = &self.routers {
            return routers.egress(now, port.config.id, frame);
        }
        fence.map_or(Egress::Pass, |fence| fence.egress(now, hooks, frame))
    }
}

/// Helpers of the paths in and out.
impl Kernel {
    /// Whether a port's receiver takes a frame for this station: its own, or a group.
    fn hears(&self, port: PortId, destination: MacAddr) -> bool {
        let own = |port: &addresses::Port| {
            let stations = [Some(port.config.mac), port.config.virtual_mac];
            port.carrier && (destination.is_group() || stations.contains(&Some(destination)))
        };
        self.addresses.port(port).is_some_and(own)
    }

    /// Whether an IPv6 packet is neighbour discovery for a group or for this machine. To another
    /// address it is a packet like others, and may be carried.
    fn is_discovery_for_us(&self, packet: &[u8]) -> bool {
        let destination = packet.get(24..).and_then(<[u8]>::first_chunk::<16>);
        is_discovery(packet)
            && destination.is_some_and(|octets| {
                let to = IpAddr::from(*octets);
                to.is_multicast() || self.addresses.is_local(to)
            })
    }

    /// Sends a frame of the stack's own.
    fn emit(&mut self, now: Instant, port: PortId, bytes: &[u8], out: &mut Outbox) {
        if self.say(now, port, bytes) == Transmitted::Sent {
            out.frames.push((port, Frame::from(bytes)));
        }
    }
}
