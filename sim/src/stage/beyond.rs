//! The router of a segment: it passes packets on between the switch and ports that are beyond it.
//!
//! ```text
//!   gateways ── switch ── near ┐ one kernel that forwards, ┌ beyond ── a gateway's port
//!                              ┘ a port for each wire      └ beyond ── another's
//! ```
//! It is a kernel as every other machine's ([`Kernel`]), so it asks who has an address before it
//! sends there, takes a hop of every packet, and carries nothing but IP. A port of it bears the
//! number of the attachment on its segment. A port beyond is plugged into the router itself: its
//! carrier does not hang on the switch. The limit: a router never fails; a path through one does.

use steadfast_core::{Instant, PortId};
use steadfast_scenarios::format::{Layout, Version};

use super::net::{Network, Station};
use super::world::World;
use crate::model::Frame;
use crate::model::kernel::{Kernel, KernelConfig, Outbox, PortConfig as KernelPort};

/// A router.
#[derive(Clone, Debug)]
pub(crate) struct RouterBox {
    pub(crate) kernel: Kernel,
    pub(crate) segment: usize,
    pub(crate) tick_at: Option<Instant>,
}

/// The segments that have a router, in order: the first router's station is the first of these.
pub(crate) fn routed(layout: &Layout) -> impl Iterator<Item = usize> + '_ {
    let routed = layout.segments.iter().filter(|segment| segment.routed);
    routed.map(|segment| segment.id.index())
}

/// The first router's number: behind gateways, hosts, and a stranger for each segment.
pub(crate) fn first_station(layout: &Layout) -> Station {
    layout.gateways.len() + layout.hosts.len() + layout.segments.len()
}

/// The routers of a layout whose wires are laid.
pub(crate) fn routers(layout: &Layout, net: &Network) -> Vec<RouterBox> {
    let first = first_station(layout);
    let made = routed(layout).zip(first..).map(|(segment, station)| {
        let near = net.place(segment, station);
        let near = near.map(|place| near_port(layout, segment, place));
        let ends = net.media[segment].ends.iter().enumerate();
        let beyond = ends
            .filter(|(_, end)| end.beyond)
            .filter_map(|(place, end)| {
                let mut ports = layout.gateways[end.station].ports.iter();
                let port = ports.find(|port| port.segment.index() == segment)?;
                Some(kernel_port(place, port.router_mac(), port.router?))
            });
        let mut config = KernelConfig::host(
            near.flatten().into_iter().chain(beyond).collect(),
            Vec::new(),
        );
        config.forwards = true;
        RouterBox {
            kernel: Kernel::new(config),
            segment,
            tick_at: None,
        }
    });
    made.collect()
}

/// The port on the switch, where gateways there know the router by.
fn near_port(layout: &Layout, segment: usize, place: usize) -> Option<KernelPort> {
    let ports = layout.gateways.iter().flat_map(|gateway| &gateway.ports);
    let mut near = ports.filter(|port| port.segment.index() == segment && !port.beyond);
    let router = near.find_map(|port| port.router)?;
    Some(kernel_port(
        place,
        layout.segments[segment].router_mac(),
        router,
    ))
}

fn kernel_port(
    place: usize,
    mac: steadfast_core::MacAddr,
    address: core::net::Ipv4Addr,
) -> KernelPort {
    KernelPort {
        id: PortId(u8::try_from(place).unwrap_or(u8::MAX)),
        mac,
        virtual_mac: None,
        names: Vec::new(),
        addresses: vec![(address.into(), Version::Ipv4.prefix())],
        served: false,
        heartbeat: false,
        routed: false,
    }
}

impl World<'_> {
    /// A frame has come in at a router, from this attachment of its segment.
    pub(crate) fn router_receives(&mut self, router: usize, place: usize, frame: &Frame) {
        let mut out = core::mem::take(&mut self.outbox);
        out.clear();
        let port = PortId(u8::try_from(place).unwrap_or(u8::MAX));
        self.routers[router]
            .kernel
            .receive(self.now, port, frame, &mut out);
        self.router_sends(router, &mut out);
        self.outbox = out;
    }

    /// Puts on the wires what a router's kernel produced.
    pub(crate) fn router_sends(&mut self, router: usize, out: &mut Outbox) {
        let segment = self.routers[router].segment;
        for (port, frame) in out.frames.drain(..) {
            let place = usize::from(port.0);
            if self.net.media[segment].ends[place].beyond {
                self.put_beyond(segment, place, &frame);
            } else {
                self.put(segment, place, &frame);
            }
        }
        let station = first_station(&self.plan.layout) + router;
        let next = self.routers[router].kernel.next_change(self.now);
        self.schedule_tick(station, next);
    }

    /// The router whose port this attachment is plugged into.
    pub(crate) fn router_of(&self, segment: usize, place: usize) -> Option<usize> {
        let end = self.net.media.get(segment)?.ends.get(place)?;
        let mut routers = self.routers.iter();
        routers
            .position(|router| router.segment == segment)
            .filter(|_| end.beyond)
    }
}
