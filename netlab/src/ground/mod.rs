//! The ground of a lab: a scenario's layout as namespaces, switches and wires of the real kernel.
//!
//! ```text
//!   gateway a ── lan ═══════ lan-a ┐                       one namespace "switch" holds the
//!   gateway b ── lan ═══════ lan-b ├ bridge lan            far end of every wire, so carrier,
//!   host client ─ eth0 ═════ lan-h0│                       faults and captures have one place
//!   observer ── lan ════════ lan-x ┘                       that no gateway sees
//!   gateway a ── ha ════════ ha-a ┐ two ports and no
//!   gateway b ── ha ════════ ha-b ┘ learning: a cable
//!   witness w ── lan ═══════ lan-w   an address of its own: beyond the segment's router, which is
//!                                    this namespace's kernel, with another address on the bridge
//! ```
//! A wire is a veth pair whose ends have **one index**: then the kernel treats a lost carrier as it
//! does on a physical port, whose event may be a second late, and not as urgent. It is late if any
//! link of the host changed within that second, in whatever namespace. Labs side by side would
//! delay each other's events, as no gateway's neighbours do, so their wires have two indexes
//! ([`Wiring::prompt`]). A port's carrier is its far end being up, so the gateway's own end is
//! never touched by a fault. A cable is a bridge of two ports that floods: both of its ends go dark
//! in one batch.
//!
//! A scenario that slows frames down has its gateways' wires relayed ([`Wiring`]): then the end in
//! the bridge is another pair's, and a thread carries frames between the two.
//!
//! The hard case is a reboot ([`boots`]). Limit: a bridge keeps frames to
//! 01:80:c2:00:00:0x to itself, also on a cable.

mod boots;
mod links;
mod plugs;
pub(crate) mod settings;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;

use netlink_sys::protocols::NETLINK_ROUTE;
use steadfast_core::NodeId;
use steadfast_scenarios::format::{Layout, SegmentKind};
use steadfast_scenarios::{HostId, SegmentId};

use crate::error::{Doing, LabError};
use crate::namespace::Namespace;
use crate::netlink::{Netlink, Request};
use crate::sys;
use boots::Gateway;
pub(crate) use boots::Ports;
use links::End;
use plugs::{INNER, plugs};
pub use plugs::{Plug, Station};

/// What a host's only port is called.
pub const HOST_PORT: &str = "eth0";

const BRIDGES: u32 = 10;
/// The parts of switches that were split off.
const PARTS: u32 = 40;

/// Everything that is not a process.
#[derive(Debug)]
pub struct Ground {
    layout: Layout,
    plugs: Vec<Plug>,
    switch: Room,
    /// Any socket that stands in the switch's namespace.
    at_switch: UdpSocket,
    gateways: Vec<Gateway>,
    hosts: Vec<Room>,
    observer: Room,
    relayed: Option<u64>,
    /// What is plugged into the split-off part of its switch.
    apart: BTreeSet<u32>,
}

/// How the gateways' wires are laid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// Through a relay, which can do to frames what no filter can; its chances come from this seed.
    pub relayed: Option<u64>,
    /// The kernel tells of a lost carrier at once, whatever else just happened to any link of the
    /// host: for labs side by side.
    pub prompt: bool,
}

impl Wiring {
    /// From port to switch, with news as late as of physical ports.
    pub const PLAIN: Self = Self {
        relayed: None,
        prompt: false,
    };

    /// Through a relay whose chances come from this seed.
    pub const fn relayed(seed: u64) -> Self {
        Self {
            relayed: Some(seed),
            ..Self::PLAIN
        }
    }
}

/// A namespace and how to change its interfaces.
#[derive(Debug)]
struct Room {
    net: Namespace,
    links: Netlink,
}

impl Ground {
    /// Builds it: every gateway's ports dark, hosts and observers up.
    ///
    /// # Errors
    /// What the kernel refuses, by name; and a layout with more machines than there are numbers.
    pub fn build(layout: &Layout, wiring: Wiring) -> Result<Self, LabError> {
        let speaking = |kind| settings::speaking(layout.family, kind);
        let mut host_settings = speaking(settings::HOST);
        if layout.segments.iter().any(|it| it.router.is_some()) {
            host_settings.extend(settings::LEARNS_ROUTERS);
        }
        let gateways = layout.gateways.iter();
        let hosts = layout.hosts.iter();
        let mut switch_settings = settings::SWITCH.to_vec();
        if layout.segments.iter().any(|it| it.routed) {
            switch_settings.extend(settings::ROUTES);
        }
        let switch = Room::new("switch", &switch_settings)?;
        let at_switch = switch
            .net
            .run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
        let mut ground = Self {
            plugs: plugs(layout, wiring),
            relayed: wiring.relayed,
            apart: BTreeSet::new(),
            switch,
            at_switch: at_switch.doing(|| "open a socket at the switch".to_owned())?,
            gateways: gateways
                .map(|gateway| Gateway::new(&gateway.name, layout.family))
                .collect::<Result<_, _>>()?,
            hosts: hosts
                .map(|host| Room::new(&format!("host-{}", host.name), &host_settings))
                .collect::<Result<_, _>>()?,
            observer: Room::new("observer", &speaking(settings::OBSERVER))?,
            layout: layout.clone(),
        };
        ground.wire_up()?;
        ground.address_hosts()?;
        let up = |plug: &&Plug| !matches!(plug.station, Station::Gateway(..));
        ground.wake_ports(
            &ground
                .plugs
                .iter()
                .filter(up)
                .map(|plug| plug.index)
                .collect::<Vec<_>>(),
        );
        Ok(ground)
    }

    /// The layout it was built from.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Every wire.
    pub fn plugs(&self) -> &[Plug] {
        &self.plugs
    }

    /// Whether gateways' wires are relayed, between [`Plug::outer`] and [`Plug::inner`]: the seed.
    pub const fn relayed(&self) -> Option<u64> {
        self.relayed
    }

    /// Where the far ends of all wires are, under [`Plug::name`].
    pub const fn switch(&self) -> &Namespace {
        &self.switch.net
    }

    /// Where this gateway is in its present boot; its ports bear the names of their segments.
    pub fn gateway(&self, id: NodeId) -> Option<&Namespace> {
        self.place(id).map(|place| &self.gateways[place].room.net)
    }

    /// Where this host is; its port is [`HOST_PORT`].
    pub fn host(&self, id: HostId) -> Option<&Namespace> {
        self.hosts.get(id.index()).map(|room| &room.net)
    }

    /// Where the free outlets are, one for each switched segment, by the segment's name.
    pub const fn observer(&self) -> &Namespace {
        &self.observer.net
    }

    /// Gives these wires carrier, or takes it: all that lose it at the same time, then all that get
    /// it. A switch that dies lets nobody ask through it whether it is dead.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(crate) fn enable(&mut self, wires: &[(u32, bool)]) -> Result<(), LabError> {
        for wanted in [false, true] {
            let alike = wires.iter().filter(|(_, up)| *up == wanted);
            let mut ends: Vec<u32> = alike.map(|(index, _)| *index).collect();
            // The switch must see a relayed wire go dark, too.
            let relayed = ends.iter().filter(|index| self.is_relayed(**index));
            let relayed: Vec<u32> = relayed.map(|index| index + INNER).collect();
            ends.extend(relayed);
            if !ends.is_empty() {
                let requests = links::enable_together(&ends, wanted);
                self.switch.ask(&requests, "change carriers")?;
            }
        }
        let up = wires.iter().filter(|(_, up)| *up).map(|(index, _)| *index);
        self.wake_ports(&up.collect::<Vec<_>>());
        Ok(())
    }

    /// Splits a switch: these wires go to a part of their own, all others back together.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(crate) fn split(&mut self, segment: SegmentId, apart: &[u32]) -> Result<(), LabError> {
        let part = PARTS + u32::from(segment.0);
        let name = format!("{}-part", self.layout.segments[segment.index()].name);
        if !apart.is_empty() {
            match self.switch.links.ask(&[links::bridge(part, &name)]) {
                Err((_, error)) if error.raw_os_error() != Some(libc::EEXIST) => {
                    return Err(error).doing(|| format!("make {name}"));
                }
                Ok(()) | Err(_) => {}
            }
        }
        let bridged = |plug: &&Plug| plug.segment == segment && self.router_of(plug).is_none();
        let plugs: Vec<&Plug> = self.plugs.iter().filter(bridged).collect();
        let plugs = plugs.iter();
        for plugged in plugs.clone().map(|plug| plug.plugged) {
            if apart.contains(&plugged) {
                self.apart.insert(plugged);
            } else {
                self.apart.remove(&plugged);
            }
        }
        let requests: Vec<Request> = plugs
            .map(|plug| links::plug(plug.plugged, self.bridge_of(plug)))
            .collect();
        self.switch.ask(&requests, "split a switch")
    }

    /// Makes a switch forget where everybody is.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(crate) fn forget(&mut self, segment: SegmentId) -> Result<(), LabError> {
        let bridge = BRIDGES + u32::from(segment.0);
        self.switch
            .ask(&[links::forget(bridge)], "empty a switch's table")
    }

    /// Has a switch send multicast only where somebody asked for it, or everywhere.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(crate) fn snoop(&mut self, segment: SegmentId, on: bool) -> Result<(), LabError> {
        let bridge = BRIDGES + u32::from(segment.0);
        self.switch
            .ask(&[links::snoop(bridge, on)], "change a switch's snooping")
    }

    /// Has these ports forward now. A switch hears of a carrier that came as late as a gateway may
    /// (a second, with equal indexes), but a real switch does not wait; asking makes it hear.
    fn wake_ports(&self, indexes: &[u32]) {
        for plug in self
            .plugs
            .iter()
            .filter(|plug| indexes.contains(&plug.index))
        {
            // Without an answer the switch hears of it a little later.
            let _ = sys::has_carrier(self.at_switch.as_fd(), &plug.name);
        }
    }

    fn is_relayed(&self, index: u32) -> bool {
        let mut plugs = self.plugs.iter();
        plugs.any(|plug| plug.index == index && plug.plugged != index)
    }

    fn place(&self, id: NodeId) -> Option<usize> {
        self.layout
            .gateways
            .iter()
            .position(|gateway| gateway.id == id)
    }

    /// A gateway's own ends of its wires.
    fn own_indexes(&self, id: NodeId) -> impl Iterator<Item = u32> + '_ {
        self.plugs
            .iter()
            .filter_map(move |plug| match plug.station {
                Station::Gateway(owner, _) => (owner == id).then_some(plug.far),
                Station::Host(_) | Station::Spare => None,
            })
    }

    fn wire_up(&mut self) -> Result<(), LabError> {
        let segments = self.layout.segments.iter();
        let mut requests: Vec<Request> = segments
            .map(|segment| links::bridge(BRIDGES + u32::from(segment.id.0), &segment.name))
            .collect();
        let near = self
            .layout
            .gateways
            .iter()
            .flat_map(|gateway| &gateway.ports);
        let mut near: Vec<(u32, Ipv4Addr)> = near
            .filter(|port| !port.beyond)
            .filter_map(|port| Some((BRIDGES + u32::from(port.segment.0), port.router?)))
            .collect();
        near.sort_unstable();
        near.dedup();
        requests.extend(
            near.iter()
                .map(|(bridge, ip)| links::address(*bridge, (*ip).into())),
        );
        for plug in &self.plugs {
            requests.extend(self.lay(plug));
            if !matches!(plug.station, Station::Gateway(..)) {
                requests.push(links::enable(plug.index, true));
            }
        }
        self.switch.ask(&requests, "make bridges and wires")
    }

    /// What lays a wire: dark, plugged in where it belongs.
    fn lay(&self, plug: &Plug) -> Vec<Request> {
        let (there, name) = self.far_end(plug);
        let (index, mac) = (plug.far, plug.mac);
        let router = self.router_of(plug);
        let bridge = router.is_none().then(|| self.bridge_of(plug));
        let end = End { index, name, mac };
        let mut requests = Vec::new();
        if plug.plugged == plug.index {
            let wire = links::wire(plug.index, &plug.name, bridge, there, &end);
            requests.push(wire);
        } else {
            requests.push(links::wire(plug.index, &plug.outer(), None, there, &end));
            let inner = (plug.index + INNER, plug.inner());
            let inner = (inner.0, inner.1.as_str());
            requests.push(links::patch(plug.plugged, &plug.name, bridge, inner));
            requests.push(links::enable(plug.plugged, true));
        }
        requests.extend(router.map(|ip| links::address(plug.plugged, ip.into())));
        let segment = &self.layout.segments[plug.segment.index()];
        if segment.kind == SegmentKind::Cable {
            requests.push(links::learn(plug.plugged, false));
        }
        requests
    }

    /// The router's address at this wire, if its machine is beyond the segment's router.
    pub(crate) fn router_of(&self, plug: &Plug) -> Option<Ipv4Addr> {
        let Station::Gateway(id, port) = plug.station else {
            return None;
        };
        let gateway = &self.layout.gateways[self.place(id)?];
        let port = gateway.ports.iter().find(|it| it.id == port)?;
        port.router.filter(|_| port.beyond)
    }

    /// What a wire is plugged into: its switch, or the part that was split off.
    fn bridge_of(&self, plug: &Plug) -> u32 {
        let first = if self.apart.contains(&plug.plugged) {
            PARTS
        } else {
            BRIDGES
        };
        first + u32::from(plug.segment.0)
    }

    fn far_end(&self, plug: &Plug) -> (&Namespace, &str) {
        let segment = self.layout.segments[plug.segment.index()].name.as_str();
        match plug.station {
            Station::Gateway(id, _) => {
                let place = self.place(id).unwrap_or_default();
                (&self.gateways[place].room.net, segment)
            }
            Station::Host(id) => (&self.hosts[id.index()].net, HOST_PORT),
            Station::Spare => (&self.observer.net, segment),
        }
    }

    fn address_hosts(&mut self) -> Result<(), LabError> {
        for plug in &self.plugs {
            let segment = &self.layout.segments[plug.segment.index()];
            let (room, own) = match plug.station {
                Station::Gateway(..) => continue,
                Station::Host(id) => {
                    let host = &self.layout.hosts[id.index()];
                    (&mut self.hosts[id.index()], &host.addresses)
                }
                Station::Spare => (&mut self.observer, &segment.observers),
            };
            let mut requests = vec![links::enable(1, true)];
            requests.extend(own.iter().map(|ip| links::address(plug.far, *ip)));
            requests.push(links::enable(plug.far, true));
            if matches!(plug.station, Station::Host(_)) {
                let versions = self.layout.family.versions().iter();
                let gateways = versions.filter_map(|it| segment.host_gateway(*it));
                requests.extend(gateways.map(links::default_route));
            }
            room.ask(&requests, "set up a host")?;
        }
        Ok(())
    }
}

impl Room {
    fn new(name: &str, settings: &[(&str, &str)]) -> Result<Self, LabError> {
        let net = Namespace::create(name)?;
        settings::apply(&net, settings)?;
        let links = Netlink::open(&net, NETLINK_ROUTE);
        let links = links.doing(|| format!("open a route socket in {name}"))?;
        Ok(Self { net, links })
    }

    /// Another way to change its interfaces, for a thread.
    fn another(&self) -> Result<Netlink, LabError> {
        let links = Netlink::open(&self.net, NETLINK_ROUTE);
        links.doing(|| format!("open a route socket in {}", self.net.name()))
    }

    fn ask(&mut self, requests: &[Request], doing: &str) -> Result<(), LabError> {
        let name = self.net.name();
        self.links.ask(requests).or_else(|(place, error)| {
            Err(error).doing(|| format!("{doing} in {name} (request {place})"))
        })
    }
}
