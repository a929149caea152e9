//! The observer: who answers, who is reachable, what hosts believe, what nodes say.
//!
//! It sits on a free outlet of every switched segment and asks each gateway's own MAC, for the
//! virtual addresses and for the unit address. Its questions go through the same kernel code that
//! answers real frames ([`crate::model::kernel::Kernel::answers_for`]), at every instant at which
//! an answer may have changed, so an overlap of a microsecond is seen.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::diagnosis::{Around, Trouble, TroubleKind, diagnose};
use steadfast_core::role::EffectiveRole;
use steadfast_core::{Epoch, Instant, MacAddr, PortId};
use steadfast_scenarios::format::Plan;
use steadfast_scenarios::sight;
use steadfast_scenarios::trace::{Event, EventKind, Holder, Names};
use steadfast_scenarios::{HostId, Picture, SegmentId};

use super::gateway::Body;
use super::power::Reckoning;
use super::world::{HostBox, World};
use crate::model::kernel::NeighbourState;

/// What the observer saw last.
#[derive(Clone, Debug)]
pub(crate) struct Observer {
    picture: Picture,
    /// By gateway: the ownership version at the last look.
    seen: Vec<u64>,
    seen_net: u64,
    /// By gateway and segment, in that order.
    cells: Vec<Vec<Cell>>,
    /// By host.
    pointing: Vec<Pointing>,
    /// By segment: behind whose port its switch knows the virtual MAC.
    behind: Vec<Holder>,
    /// By gateway: what its status said last.
    statuses: Vec<Option<(EffectiveRole, Instant, Epoch)>>,
    lies: Vec<Option<EffectiveRole>>,
    /// By gateway: what it last said of its ports' carrier.
    ports: Vec<BTreeMap<PortId, bool>>,
    /// By gateway: what it last found wrong.
    troubles: Vec<BTreeSet<TroubleKind>>,
    pub(crate) reckonings: Vec<Reckoning>,
    told_barred: Vec<bool>,
}

/// Where each virtual address of a host's segment points.
#[derive(Clone, Debug)]
struct Pointing {
    holders: Vec<Holder>,
    /// How many point at somebody.
    held: usize,
    /// The addresses' places.
    places: BTreeMap<IpAddr, usize>,
}

impl Pointing {
    fn of(virtuals: &[IpAddr]) -> Self {
        Self {
            holders: vec![Holder::Nobody; virtuals.len()],
            held: 0,
            places: virtuals.iter().copied().zip(0..).collect(),
        }
    }
}

#[derive(Clone, Debug)]
struct Cell {
    segment: usize,
    reachable: bool,
    answered: Vec<bool>,
}

impl Observer {
    pub(crate) fn new(plan: &Plan) -> Self {
        let layout = &plan.layout;
        let served = || layout.segments.iter().filter(|segment| segment.served());
        let cells = || {
            served().map(|segment| Cell {
                segment: segment.id.index(),
                reachable: false,
                answered: vec![false; segment.virtuals.len()],
            })
        };
        let gateways = layout.gateways.len();
        let pointing = |host: &steadfast_scenarios::format::Host| {
            Pointing::of(&layout.segments[host.segment.index()].virtuals)
        };
        Self {
            picture: Picture::new(&Names::of(plan)),
            seen: vec![u64::MAX; gateways],
            seen_net: 0,
            cells: (0..gateways).map(|_| cells().collect()).collect(),
            behind: vec![Holder::Nobody; layout.segments.len()],
            pointing: layout.hosts.iter().map(pointing).collect(),
            statuses: vec![None; gateways],
            lies: vec![None; gateways],
            ports: vec![BTreeMap::new(); gateways],
            troubles: vec![BTreeSet::new(); gateways],
            reckonings: Vec::new(),
            told_barred: vec![false; gateways],
        }
    }

    /// What the wire has shown so far.
    pub(crate) fn picture(&self) -> &Picture {
        &self.picture
    }

    pub(crate) fn take(&mut self, event: &Event) {
        self.picture.observe(event);
    }

    pub(crate) fn lie(&mut self, gateway: usize, role: Option<EffectiveRole>) {
        self.lies[gateway] = role;
        self.statuses[gateway] = None;
        self.troubles[gateway].clear();
    }

    pub(crate) fn forget_status(&mut self, gateway: usize) {
        self.statuses[gateway] = None;
        self.ports[gateway].clear();
    }

    /// Notes what is told about a bar; whether that is news.
    pub(crate) fn say_barred(&mut self, gateway: usize, barred: bool) -> bool {
        let news = self.told_barred[gateway] != barred;
        self.told_barred[gateway] = barred;
        news
    }
}

impl World<'_> {
    /// Asks again wherever an answer may have changed.
    pub(crate) fn observe(&mut self) {
        let moved = self.observer.seen_net != self.net.version;
        self.observer.seen_net = self.net.version;
        for station in 0..self.gateways.len() {
            let version = self.gateways[station].kernel.ownership_version();
            if moved || self.observer.seen[station] != version {
                self.observer.seen[station] = version;
                self.question(station);
            }
        }
    }

    fn question(&mut self, station: usize) {
        let strangers = self.gateways.len() + self.hosts.len();
        for cell in 0..self.observer.cells[station].len() {
            let segment = self.observer.cells[station][cell].segment;
            let here = self.net.place(segment, strangers + segment);
            let there = self.net.place(segment, station);
            let (Some(here), Some(there)) = (here, there) else {
                continue;
            };
            let id = SegmentId(u8::try_from(segment).unwrap_or(u8::MAX));
            let heard =
                self.gateways[station].runs() && self.net.reachable(self.now, id, here, there);
            self.ask_unit(station, cell, id, heard);
            self.ask_virtuals(station, cell, id, heard);
        }
    }

    fn ask_unit(&mut self, station: usize, cell: usize, segment: SegmentId, heard: bool) {
        let port = PortId(segment.0);
        let unit = self.configs[station].ports.iter().find(|it| it.id == port);
        let unit = unit.and_then(|it| it.units.first()).map(|(ip, _)| *ip);
        let kernel = &self.gateways[station].kernel;
        let reachable = heard && unit.is_some_and(|ip| kernel.answers_for(self.now, port, ip));
        if self.observer.cells[station][cell].reachable != reachable {
            self.observer.cells[station][cell].reachable = reachable;
            let gateway = self.id(station);
            self.emit(EventKind::Reachable {
                segment,
                gateway,
                reachable,
            });
        }
    }

    fn ask_virtuals(&mut self, station: usize, cell: usize, segment: SegmentId, heard: bool) {
        let port = PortId(segment.0);
        let plan = std::rc::Rc::clone(&self.plan);
        let virtuals = &plan.layout.segments[segment.index()].virtuals;
        for (address, ip) in (0_u16..).zip(virtuals) {
            let kernel = &self.gateways[station].kernel;
            let answered = heard && kernel.answers_for(self.now, port, *ip);
            let known = &mut self.observer.cells[station][cell].answered[usize::from(address)];
            if *known != answered {
                *known = answered;
                let gateway = self.id(station);
                self.emit(EventKind::Owner {
                    segment,
                    gateway,
                    address,
                    answered,
                });
            }
        }
    }

    /// A frame leaves a gateway: is it sent in a virtual address's name, is it part of a hand-over?
    pub(crate) fn watch_frame(&mut self, station: usize, segment: usize, frame: &[u8]) {
        let id = SegmentId(u8::try_from(segment).unwrap_or(u8::MAX));
        let gateway = self.id(station);
        if let Some(kind) = sight::kind(frame) {
            self.frame_seen(station, kind);
        }
        if let Some(event) = sight::event(&self.plan.layout, id, gateway, frame) {
            self.emit(event);
        }
    }

    /// Where a host's entries for the virtual addresses point now.
    pub(crate) fn host_neighbours(&mut self, host: usize) {
        if self.points_as_before(host) {
            return;
        }
        let segment = self.hosts[host].segment;
        let plan = std::rc::Rc::clone(&self.plan);
        for (address, ip) in (0_u16..).zip(&plan.layout.segments[segment].virtuals) {
            let kernel = &self.hosts[host].kernel;
            let state = kernel.neighbour(self.now, PortId(0), *ip);
            let holder = self.holder(segment, state.and_then(NeighbourState::mac));
            let pointing = &mut self.observer.pointing[host];
            let known = &mut pointing.holders[usize::from(address)];
            if *known != holder {
                pointing.held += usize::from(*known == Holder::Nobody);
                pointing.held -= usize::from(holder == Holder::Nobody);
                *known = holder;
                let host = HostId(u8::try_from(host).unwrap_or(u8::MAX));
                self.emit(EventKind::Neighbour {
                    host,
                    address,
                    holder,
                });
            }
        }
    }

    /// Whether none of a host's entries has changed. It has few, of however many addresses.
    fn points_as_before(&self, host: usize) -> bool {
        let HostBox {
            kernel, segment, ..
        } = &self.hosts[host];
        let pointing = &self.observer.pointing[host];
        let mut held = 0;
        for (port, ip, state) in kernel.neighbours() {
            let Some(place) = pointing.places.get(&ip).filter(|_| port == PortId(0)) else {
                continue;
            };
            let holder = self.holder(*segment, state.mac());
            if pointing.holders[*place] != holder {
                return false;
            }
            held += usize::from(holder != Holder::Nobody);
        }
        held == pointing.held
    }

    /// Where a segment's switch sends frames for the virtual MAC now.
    pub(crate) fn switch_port(&mut self, segment: usize, from: usize) {
        let Some(mac) = self.plan.layout.segments[segment].virtual_mac else {
            return;
        };
        let medium = &self.net.media[segment];
        let switch = medium.switch.as_ref().filter(|_| medium.on);
        let place = switch.and_then(|it| it.port_of(self.now, from, mac));
        let station = place
            .and_then(|place| medium.ends.get(place))
            .map(|end| end.station);
        let gateway = station.filter(|it| *it < self.gateways.len());
        let holder = gateway.map_or(Holder::Nobody, |it| Holder::Gateway(self.id(it)));
        if self.observer.behind[segment] != holder {
            self.observer.behind[segment] = holder;
            let segment = SegmentId(u8::try_from(segment).unwrap_or(u8::MAX));
            self.emit(EventKind::SwitchPort { segment, holder });
        }
    }

    pub(crate) fn holder(&self, segment: usize, mac: Option<MacAddr>) -> Holder {
        // A virtual MAC points at nobody; its switch does.
        let shared = self.plan.layout.segments[segment].virtual_mac;
        let Some(mac) = mac.filter(|_| mac != shared) else {
            return Holder::Nobody;
        };
        let ports = self
            .plan
            .layout
            .gateways
            .iter()
            .flat_map(|gateway| gateway.ports.iter().map(move |port| (gateway.id, port)));
        let mut owners =
            ports.filter(|(_, port)| port.segment.index() == segment && port.mac == mac);
        owners
            .next()
            .map_or(Holder::Other, |(id, _)| Holder::Gateway(id))
    }

    /// What a node says of itself, when that has changed.
    pub(crate) fn tell_status(&mut self, station: usize) {
        let Some(daemon) = &self.gateways[station].daemon else {
            return;
        };
        let (role, since, why, epoch) = match &daemon.body {
            // A gateway of virtual routers has no role: each of them has one.
            Body::Routers(_) => return,
            Body::Turns(turns) => {
                let (since, why) = turns.node.reason();
                let role = turns.node.role();
                (role, since, why.to_string(), turns.node.epoch())
            }
            Body::Seat(seat) => match seat.status() {
                Some((_, it)) => (it.role, it.since, it.why.to_string(), it.epoch),
                None => return,
            },
        };
        let role = self.observer.lies[station].unwrap_or(role);
        let said = Some((role, since, epoch));
        if self.observer.statuses[station] != said {
            self.observer.statuses[station] = said;
            let gateway = self.id(station);
            self.emit(EventKind::Status {
                gateway,
                role,
                since,
                epoch,
                why,
            });
        }
    }

    /// What a node says of its peers, once a second.
    pub(crate) fn tell_peers(&mut self, station: usize) {
        let Some(daemon) = &self.gateways[station].daemon else {
            return;
        };
        let (said_at, peers) = match &daemon.body {
            Body::Routers(_) => return,
            Body::Turns(turns) => (self.now, turns.node.status(self.now).peers),
            Body::Seat(seat) => match seat.status() {
                Some((at, status)) => (at, status.peers),
                None => return,
            },
        };
        // What was said a moment ago has aged since.
        let aged = self.now.since(said_at);
        let gateway = self.id(station);
        for peer in peers {
            let age = peer
                .age
                .map(|age| u64::try_from((age + aged).as_nanos()).unwrap_or(u64::MAX));
            let (peer, role) = (peer.node, peer.role);
            self.emit(EventKind::PeerStatus {
                gateway,
                peer,
                role,
                age,
            });
        }
    }

    /// What a node finds wrong around it, once a second, when that has changed (R14.1).
    pub(crate) fn tell_troubles(&mut self, station: usize) {
        let gateway = &mut self.gateways[station];
        let Some(daemon) = &mut gateway.daemon else {
            return;
        };
        for port in self.configs[station].ports.iter().map(|port| port.id) {
            let counter = gateway.kernel.counters().transits.get(&port);
            let misled = daemon.misled.entry(port).or_default();
            misled.note(self.now, counter.copied().unwrap_or(0));
        }
        let (said_at, status) = match &daemon.body {
            Body::Routers(_) => return,
            Body::Turns(turns) => (self.now, turns.node.status(self.now)),
            Body::Seat(seat) => match seat.status() {
                Some(said) => said,
                None => return,
            },
        };
        let uptime = self.now.since(daemon.started);
        let mut around = Around::of(&self.configs[station], said_at, uptime);
        let nodes = self.plan.layout.gateways.iter();
        around.misled.clone_from(&daemon.misled);
        around.nodes = nodes.map(|it| (it.id, it.name.clone())).collect();
        let found = diagnose(&status, &around);
        self.troubles_found(station, &found);
        for (port, up) in status.ports.iter().map(|it| (it.port, it.up)) {
            if self.observer.ports[station].insert(port, up) != Some(up) {
                let gateway = self.id(station);
                self.emit(EventKind::PortStatus { gateway, port, up });
            }
        }
    }

    /// Tells what is new of what a node finds wrong.
    fn troubles_found(&mut self, station: usize, found: &[Trouble]) {
        let kinds: BTreeSet<_> = found.iter().map(|trouble| trouble.kind).collect();
        let known = core::mem::replace(&mut self.observer.troubles[station], kinds.clone());
        let gateway = self.id(station);
        for kind in known.difference(&kinds).copied() {
            let (problem, found) = (String::new(), false);
            self.emit(EventKind::Trouble {
                gateway,
                kind,
                problem,
                found,
            });
        }
        for kind in kinds.difference(&known) {
            if let Some(trouble) = found.iter().find(|trouble| trouble.kind == *kind) {
                self.emit(EventKind::Trouble {
                    gateway,
                    kind: trouble.kind,
                    problem: trouble.problem.clone(),
                    found: true,
                });
            }
        }
    }
}
