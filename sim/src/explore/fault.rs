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

use super::setup::{CABLE, NODES, PATHS, Setup, port};
use super::wires::{Losing, counter};
use super::world::{Gateway, World};

/// Who is not heard by the other on a parted path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Neither is.
    Both,
    /// The gateway of this number is not.
    From(usize),
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
    /// The message in flight to a gateway is lost on every path.
    LoseCopies(usize),
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
    ["a", "b"][place]
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
            Self::LoseCopies(to) => {
                let to = gateway_name(*to);
                write!(f, "the message in flight to {to} is lost on every path")
            }
            Self::LoseNext(at) => {
                write!(
                    f,
                    "the next message of {} is lost on every path",
                    gateway_name(*at)
                )
            }
            Self::Part(path, Way::Both) => {
                write!(f, "nothing passes between a and b on {}", path_name(*path))
            }
            Self::Part(path, Way::From(at)) => {
                let (path, from, to) = (path_name(*path), gateway_name(*at), gateway_name(1 - at));
                write!(f, "nothing of {from} reaches {to} on {path}")
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
        for at in 0..NODES {
            if self.gateways[at].stopped.is_some() && self.gateways[at].runs() && self.wires.idle()
            {
                faults.push(Fault::Cont(at));
            }
        }
        if self.budget == 0 {
            return;
        }
        for at in 0..NODES {
            self.faults_of(at, faults);
        }
        self.faults_of_paths(faults);
    }

    fn faults_of_paths(&self, faults: &mut Vec<Fault>) {
        let wires = &self.wires;
        let down = |at: usize| self.gateways[at].powered && wires.down[at].contains(&true);
        if (0..NODES).any(down) || wires.parted.as_flattened().contains(&true) {
            faults.push(Fault::Heal);
        }
        if !self.gateways.iter().all(|gateway| gateway.powered) {
            return;
        }
        if wires.has_carrier(0, CABLE) {
            faults.push(Fault::CablePull);
        }
        for path in self.first_path()..PATHS {
            if !(0..NODES).all(|at| wires.has_carrier(at, path)) {
                continue;
            }
            let open = |at: usize| wires.carries(at, path);
            let ways = (0..NODES).filter(|at| open(*at)).map(Way::From);
            faults.extend(ways.map(|way| Fault::Part(path, way)));
            if (0..NODES).all(open) {
                faults.push(Fault::Part(path, Way::Both));
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
        if self.next_path(at).is_some() {
            faults.push(Fault::LoseCopies(at));
        }
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
            | Fault::LoseCopies(_)
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
        for path in 0..PATHS {
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
            Fault::LoseCopies(to) => self.lose_copies(to),
            Fault::LoseNext(at) => self.wires.losing[at] = Some(Losing::Next),
            Fault::Part(path, way) => self.part(path, way),
            Fault::PortDown(at, path) => self.set_down(setup, &[(at, path)], true),
            Fault::PowerOff(at) => self.power_off(setup, at),
            Fault::Stop(at) => self.gateways[at].stopped = Some(self.now),
            Fault::Thaw(at) => {
                self.gateways[at].frozen = None;
                self.watch.thawed = true;
                self.read_backlog(setup, at);
            }
        }
        self.wires.settle();
        self.watch.struck(&self.gateways, &self.wires);
    }

    fn lose_copies(&mut self, to: usize) {
        let Some(path) = self.next_path(to) else {
            return;
        };
        let lost = self.wires.head(path, to).and_then(|frame| counter(frame));
        for path in 0..PATHS {
            if self.wires.head(path, to).and_then(|frame| counter(frame)) == lost {
                drop(self.wires.take(path, to));
            }
        }
    }

    fn part(&mut self, path: usize, way: Way) {
        for from in 0..NODES {
            self.wires.parted[path][from] |= way == Way::Both || way == Way::From(from);
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
        let ports: Vec<(usize, usize)> = (0..PATHS).map(|path| (at, path)).collect();
        self.set_down(setup, &ports, true);
    }

    fn heal(&mut self, setup: &Setup) {
        self.wires.parted = Default::default();
        let powered = (0..NODES).filter(|at| self.gateways[*at].powered);
        let ports = powered.flat_map(|at| (0..PATHS).map(move |path| (at, path)));
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
        for at in 0..NODES {
            for path in 0..PATHS {
                if before[at][path] != after[at][path] {
                    self.carrier_changed(setup, at, path, after[at][path]);
                }
            }
        }
    }

    fn carriers(&self) -> [[bool; PATHS]; NODES] {
        core::array::from_fn(|at| core::array::from_fn(|path| self.wires.has_carrier(at, path)))
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
