//! What can break, when, and what breaking it does.
//!
//! A fault strikes wherever the world stands: between two decisive frames, between a wish and its
//! doing, after each instant. Whatever was mended is a fault spent too, but for a stopped daemon
//! that goes on: a stall is one fault. What changes nothing is not offered.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use steadfast_core::effect::Input;
use steadfast_core::{Instant, Rule};

use super::setup::{CABLE, Setup, port};
use super::wires::{Lane, Losing, Wires, counter};
use super::world::{Gateway, World};

/// Who is not heard by whom on a parted path, gateways by number. Of ways that cut the same, the
/// first one is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// This one by nobody.
    From(usize),
    /// Nobody by this one.
    To(usize),
    /// These two by each other.
    Between(usize, usize),
    /// This one and all others by each other.
    Apart(usize),
}

impl Way {
    /// All ways among this many gateways.
    pub(super) fn all(nodes: usize) -> impl Iterator<Item = Self> {
        let one_way = (0..nodes).map(Self::From).chain((0..nodes).map(Self::To));
        let pairs = (0..nodes).flat_map(move |a| (a + 1..nodes).map(move |b| (a, b)));
        let pairs = pairs.map(|(a, b)| Self::Between(a, b));
        one_way.chain(pairs).chain((0..nodes).map(Self::Apart))
    }

    /// Whether what the one says to the other is cut.
    pub(super) fn cuts(self, from: usize, to: usize) -> bool {
        match self {
            Self::From(at) => from == at,
            Self::To(at) => to == at,
            Self::Between(a, b) => (from, to) == (a, b) || (from, to) == (b, a),
            Self::Apart(at) => from == at || to == at,
        }
    }
}

/// A fault, or the end of one. Gateways and paths by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The cable is pulled.
    CablePull,
    /// A stopped daemon goes on. Free of charge.
    Cont(usize),
    /// A whole box stands still; its kernel's clock goes on.
    Freeze(usize),
    /// Every port and every cable is well again.
    Heal,
    /// The oldest message in flight from a gateway to another one is lost on every path.
    LoseCopies {
        /// Whose message.
        from: usize,
        /// Who does not get it.
        to: usize,
    },
    /// The next message of a gateway is lost on every path.
    LoseNext(usize),
    /// A path parts; carrier stays, and hosts reach both gateways.
    Part(usize, Way),
    /// A served port has no carrier.
    PortDown(usize, usize),
    /// A box goes dark.
    PowerOff(usize),
    /// A daemon is stopped and does not know it.
    Stop(usize),
    /// A frozen box goes on.
    Thaw(usize),
}

impl Fault {
    /// Whether it counts.
    pub(super) const fn costs(self) -> bool {
        !matches!(self, Self::Cont(_))
    }
}

/// The name of a gateway in stories and scenario files.
pub(super) const fn gateway_name(place: usize) -> &'static str {
    ["a", "b", "c"][place]
}

/// The name of a path.
pub(super) const fn path_name(path: usize) -> &'static str {
    ["lan", "wan", "ha"][path]
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CablePull => f.write_str("the cable is pulled"),
            Self::Cont(at) => write!(f, "the daemon of {} goes on", gateway_name(*at)),
            Self::Freeze(at) => write!(f, "{} freezes", gateway_name(*at)),
            Self::Heal => f.write_str("every port is well again"),
            Self::LoseCopies { from, to } => {
                let (from, to) = (gateway_name(*from), gateway_name(*to));
                write!(
                    f,
                    "the message in flight from {from} to {to} is lost on every path"
                )
            }
            Self::LoseNext(at) => {
                write!(
                    f,
                    "the next message of {} is lost on every path",
                    gateway_name(*at)
                )
            }
            Self::Part(path, way) => {
                let path = path_name(*path);
                match way {
                    Way::From(at) => write!(f, "nobody hears {} on {path}", gateway_name(*at)),
                    Way::To(at) => write!(f, "{} hears nobody on {path}", gateway_name(*at)),
                    Way::Between(a, b) => {
                        let (a, b) = (gateway_name(*a), gateway_name(*b));
                        write!(f, "nothing passes between {a} and {b} on {path}")
                    }
                    Way::Apart(at) => {
                        let at = gateway_name(*at);
                        write!(f, "nothing passes between {at} and the others on {path}")
                    }
                }
            }
            Self::PortDown(at, path) => {
                write!(
                    f,
                    "{}.{} loses its carrier",
                    gateway_name(*at),
                    path_name(*path)
                )
            }
            Self::PowerOff(at) => write!(f, "{} goes dark", gateway_name(*at)),
            Self::Stop(at) => write!(f, "the daemon of {} is stopped", gateway_name(*at)),
            Self::Thaw(at) => write!(f, "{} goes on", gateway_name(*at)),
        }
    }
}

impl Gateway {
    /// The daemon is gone with everything it had open; what its kernel holds stays.
    pub(super) fn end_daemon(&mut self) {
        self.node = None;
        self.stopped = None;
        self.apply = None;
        self.sockets = Default::default();
        self.links.clear();
    }
}

impl World {
    /// The faults that would change something here, and that are paid for.
    pub(super) fn faults(&self, faults: &mut Vec<Fault>) {
        for at in self.places() {
            if self.gateways[at].stopped.is_some() && self.gateways[at].runs() && self.wires.idle()
            {
                faults.push(Fault::Cont(at));
            }
        }
        if self.budget == 0 {
            return;
        }
        for at in self.places() {
            self.faults_of(at, faults);
        }
        self.faults_of_paths(faults);
    }

    fn faults_of_paths(&self, faults: &mut Vec<Fault>) {
        let wires = &self.wires;
        let down = |at: usize| self.gateways[at].powered && wires.down[at].contains(&true);
        let parted = wires.parted.as_flattened().as_flattened().contains(&true);
        if self.places().any(down) || parted {
            faults.push(Fault::Heal);
        }
        let paths = wires.shape.paths;
        if paths > CABLE && self.gateways.iter().all(|it| it.powered) && wires.has_carrier(0, CABLE)
        {
            faults.push(Fault::CablePull);
        }
        for path in self.first_path()..paths {
            let mut known = Vec::new();
            for way in Way::all(self.gateways.len()) {
                let cut = wires.would_cut(path, |from, to| way.cuts(from, to));
                if let Some(cut) = cut.filter(|cut| !known.contains(cut)) {
                    known.push(cut);
                    faults.push(Fault::Part(path, way));
                }
            }
        }
    }

    fn faults_of(&self, at: usize, faults: &mut Vec<Fault>) {
        let gateway = &self.gateways[at];
        if !gateway.powered {
            return;
        }
        faults.push(Fault::PowerOff(at));
        if gateway.frozen.is_some() {
            // A box that never thaws has lost its daemon already.
            faults.extend(gateway.node.as_ref().map(|_| Fault::Thaw(at)));
            return;
        }
        faults.push(Fault::Freeze(at));
        if gateway.node.is_some() && gateway.stopped.is_none() {
            faults.push(Fault::Stop(at));
        }
        if gateway.awake().is_some() && self.wires.losing[at].is_none() && self.wires.idle() {
            faults.push(Fault::LoseNext(at));
        }
        let lost = |lane: Lane| Fault::LoseCopies {
            from: lane.from,
            to: at,
        };
        faults.extend(self.heads(at).map(lost));
        let served = (self.first_path()..CABLE).filter(|path| !self.wires.down[at][*path]);
        faults.extend(served.map(|path| Fault::PortDown(at, path)));
    }

    /// The two served segments are alike until a fault has told them apart: until then only the
    /// second one is struck.
    fn first_path(&self) -> usize {
        let tells = |fault: &Fault| match *fault {
            Fault::Part(path, _) | Fault::PortDown(_, path) => path < CABLE,
            Fault::CablePull
            | Fault::Cont(_)
            | Fault::Freeze(_)
            | Fault::Heal
            | Fault::LoseCopies { .. }
            | Fault::LoseNext(_)
            | Fault::PowerOff(_)
            | Fault::Stop(_)
            | Fault::Thaw(_) => false,
        };
        let alike = !self.story.iter().any(|(_, fault)| tells(fault));
        usize::from(alike)
    }

    /// A daemon starts and sees its ports.
    pub(super) fn start(&mut self, setup: &Setup, at: usize) {
        self.gateways[at].node = Some(Arc::new(setup.node(at, self.now)));
        for path in 0..self.wires.shape.paths {
            let (port, up) = (port(path), true);
            self.tell(setup, at, Input::LinkChanged { port, up });
        }
    }

    /// A fault strikes.
    pub(super) fn strike(&mut self, setup: &Setup, fault: Fault) {
        if fault.costs() {
            self.budget = self.budget.saturating_sub(1);
        }
        if self.story.is_empty() {
            let left = self.gateways[0].kernel.lease_end(self.now);
            let left = left.map(|end| end.since(self.now));
            self.phase = left.map_or(Duration::ZERO, |left| {
                setup.timing().lease.saturating_sub(left)
            });
        }
        self.story.push((self.now, fault));
        match fault {
            Fault::CablePull => self.set_down(setup, &[(0, CABLE), (1, CABLE)], true),
            Fault::Cont(at) => self.cont(setup, at),
            Fault::Freeze(at) => self.gateways[at].frozen = Some(self.now),
            Fault::Heal => self.heal(setup),
            Fault::LoseCopies { from, to } => self.lose_copies(from, to),
            Fault::LoseNext(at) => self.wires.losing[at] = Some(Losing::Next),
            Fault::Part(path, way) => self.part(path, way),
            Fault::PortDown(at, path) => self.set_down(setup, &[(at, path)], true),
            Fault::PowerOff(at) => self.power_off(setup, at),
            Fault::Stop(at) => self.gateways[at].stopped = Some(self.now),
            Fault::Thaw(at) => {
                self.gateways[at].frozen = None;
                self.watch.thawed[at] = Some(self.now);
                self.read_backlog(setup, at);
            }
        }
        self.wires.settle();
        self.watch.struck();
    }

    fn lose_copies(&mut self, from: usize, to: usize) {
        let number = |wires: &Wires, lane| wires.head(lane).and_then(|frame| counter(frame));
        let Some(lane) = self.heads(to).find(|lane| lane.from == from) else {
            return;
        };
        let lost = number(&self.wires, lane);
        for lane in self.wires.lanes_between(from, to) {
            if number(&self.wires, lane) == lost {
                drop(self.wires.take(lane));
            }
        }
    }

    fn part(&mut self, path: usize, way: Way) {
        for lane in self.wires.lanes().filter(|lane| lane.path == path) {
            let parted = &mut self.wires.parted[path][lane.from][lane.to];
            *parted |= way.cuts(lane.from, lane.to);
        }
    }

    fn power_off(&mut self, setup: &Setup, at: usize) {
        let gateway = &mut self.gateways[at];
        gateway.end_daemon();
        gateway.powered = false;
        gateway.frozen = None;
        gateway.kernel = setup.kernel(at).into();
        gateway.offered = None;
        self.wires.losing[at] = None;
        self.wires.drop_for(at);
        let paths = 0..self.wires.shape.paths;
        let ports: Vec<(usize, usize)> = paths.map(|path| (at, path)).collect();
        self.set_down(setup, &ports, true);
    }

    fn heal(&mut self, setup: &Setup) {
        self.wires.parted = Default::default();
        let powered = self.places().filter(|at| self.gateways[*at].powered);
        let paths = self.wires.shape.paths;
        let ports = powered.flat_map(|at| (0..paths).map(move |path| (at, path)));
        let ports: Vec<(usize, usize)> = ports.collect();
        self.set_down(setup, &ports, false);
    }

    /// Ports lose or regain their carrier; whoever sees it is told, the ports in order.
    fn set_down(&mut self, setup: &Setup, ports: &[(usize, usize)], down: bool) {
        let before = self.carriers();
        for (at, path) in ports {
            self.wires.down[*at][*path] = down;
        }
        self.wires.settle();
        let after = self.carriers();
        for (was, now) in before.into_iter().zip(after) {
            let (at, path, up) = now;
            if was != now {
                self.carrier_changed(setup, at, path, up);
            }
        }
    }

    /// Whether it has carrier, of each port.
    fn carriers(&self) -> Vec<(usize, usize, bool)> {
        let paths = self.wires.shape.paths;
        let ports = self
            .places()
            .flat_map(|at| (0..paths).map(move |path| (at, path)));
        let look = |(at, path)| (at, path, self.wires.has_carrier(at, path));
        ports.map(look).collect()
    }

    fn carrier_changed(&mut self, setup: &Setup, at: usize, path: usize, up: bool) {
        let gateway = &mut self.gateways[at];
        if !gateway.powered {
            return;
        }
        Arc::make_mut(&mut gateway.kernel).set_carrier(port(path), up);
        if gateway.awake().is_some() {
            self.tell(
                setup,
                at,
                Input::LinkChanged {
                    port: port(path),
                    up,
                },
            );
        } else if gateway.node.is_some() {
            gateway.links.retain(|(known, _)| *known != path);
            gateway.links.push((path, up));
        }
    }

    fn cont(&mut self, setup: &Setup, at: usize) {
        self.gateways[at].stopped = None;
        self.read_backlog(setup, at);
    }

    /// A daemon that was held still reads what has come meanwhile: links, one socket after the
    /// other, and only then its clock (D6).
    fn read_backlog(&mut self, setup: &Setup, at: usize) {
        if self.gateways[at].awake().is_none() {
            return;
        }
        if !setup.rules.keep(Rule::D6) {
            self.tell(setup, at, Input::DeadlineReached);
        }
        for (path, up) in core::mem::take(&mut self.gateways[at].links) {
            self.tell(
                setup,
                at,
                Input::LinkChanged {
                    port: port(path),
                    up,
                },
            );
        }
        let sockets = core::mem::take(&mut self.gateways[at].sockets);
        for (path, socket) in sockets.into_iter().enumerate() {
            for (received, frame) in socket {
                let input = Input::FrameReceived {
                    port: port(path),
                    frame: &frame,
                    at: received,
                };
                self.tell(setup, at, input);
            }
        }
    }
}

/// A story in words, times from its first fault.
pub(super) fn tell_story(story: &[(Instant, Fault)]) -> String {
    let start = story.first().map_or(Instant::ORIGIN, |(at, _)| *at);
    let line =
        |(at, fault): &(Instant, Fault)| format!("+{} ms {fault}", at.since(start).as_millis());
    let lines: Vec<String> = story.iter().map(line).collect();
    lines.join("; ")
}
