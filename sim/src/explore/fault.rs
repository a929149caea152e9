//! What can break, when, and what breaking it does.
//!
//! A fault strikes wherever the world stands: between two decisive frames, between a wish and its
//! doing, after each instant. Whatever was mended is a fault spent too, but for a stopped daemon
//! that goes on: a stall is one fault. What changes nothing is not offered.

use core::fmt;

use steadfast_core::effect::Input;
use steadfast_core::{Instant, Rule};

use super::pair::{Gateway, Pair};
use super::setup::{CABLE, NODES, PATHS, Setup, port};
use super::wires::Losing;

/// Which way a port fails, seen from its gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Both.
    Both,
    /// It hears nothing.
    In,
    /// It is heard by nobody.
    Out,
}

/// A fault, or the end of one. Gateways and paths by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Every port of a gateway is silent.
    Blind(usize, Way),
    /// The cable is pulled.
    CablePull,
    /// A stopped daemon goes on. Free of charge.
    Cont(usize),
    /// A whole box stands still; its kernel's clock goes on.
    Freeze(usize),
    /// Every port and every cable is well again.
    Heal,
    /// A daemon is killed.
    Kill(usize),
    /// The next frame in flight to a gateway on a path is lost.
    LoseHead(usize, usize),
    /// The next message of a gateway is lost on every path.
    LoseNext(usize),
    /// A served port has no carrier.
    PortDown(usize, usize),
    /// A box goes dark.
    PowerOff(usize),
    /// A port is silent; its carrier stays.
    Silence(usize, usize, Way),
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
        let way = |way: &Way| match way {
            Way::Both => "both ways",
            Way::In => "inwards",
            Way::Out => "outwards",
        };
        match self {
            Self::Blind(at, it) => {
                write!(
                    f,
                    "every port of {} is silent {}",
                    gateway_name(*at),
                    way(it)
                )
            }
            Self::CablePull => f.write_str("the cable is pulled"),
            Self::Cont(at) => write!(f, "the daemon of {} goes on", gateway_name(*at)),
            Self::Freeze(at) => write!(f, "{} freezes", gateway_name(*at)),
            Self::Heal => f.write_str("every port is well again"),
            Self::Kill(at) => write!(f, "the daemon of {} is killed", gateway_name(*at)),
            Self::LoseHead(path, to) => {
                let (path, to) = (path_name(*path), gateway_name(*to));
                write!(f, "the frame in flight to {to} on {path} is lost")
            }
            Self::LoseNext(at) => {
                write!(
                    f,
                    "the next message of {} is lost on every path",
                    gateway_name(*at)
                )
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
            Self::Silence(at, path, it) => {
                let (at, path) = (gateway_name(*at), path_name(*path));
                write!(f, "{at}.{path} is silent {}", way(it))
            }
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

impl Pair {
    /// The faults that would change something here, and that are paid for.
    pub(super) fn faults(&self, faults: &mut Vec<Fault>) {
        for at in 0..NODES {
            if self.gateways[at].stopped.is_some() && self.wires.idle() {
                faults.push(Fault::Cont(at));
            }
        }
        if self.budget == 0 {
            return;
        }
        for at in 0..NODES {
            self.faults_of(at, faults);
        }
        let jacks = &self.wires.jacks;
        let both = (0..NODES).all(|at| self.gateways[at].powered);
        if both && !jacks[0][CABLE].down {
            faults.push(Fault::CablePull);
            let silences = [Way::Both, Way::In, Way::Out];
            faults.extend(silences.map(|way| Fault::Silence(0, CABLE, way)).into_iter().filter(
                |fault| matches!(fault, Fault::Silence(_, _, way) if self.silences(0, CABLE, *way)),
            ));
        }
        let hurt = |at: usize| {
            self.gateways[at].powered && jacks[at].iter().any(|jack| *jack != Default::default())
        };
        if (0..NODES).any(hurt) {
            faults.push(Fault::Heal);
        }
    }

    fn faults_of(&self, at: usize, faults: &mut Vec<Fault>) {
        let gateway = &self.gateways[at];
        if !gateway.powered {
            return;
        }
        faults.push(Fault::PowerOff(at));
        if gateway.frozen {
            faults.push(Fault::Thaw(at));
            return;
        }
        faults.push(Fault::Freeze(at));
        if gateway.node.is_some() {
            faults.push(Fault::Kill(at));
            if gateway.stopped.is_none() {
                faults.push(Fault::Stop(at));
            }
        }
        if gateway.awake().is_some() && self.wires.losing[at].is_none() && self.wires.idle() {
            faults.push(Fault::LoseNext(at));
        }
        for path in 0..PATHS {
            if self.wires.head(path, at).is_some() {
                faults.push(Fault::LoseHead(path, at));
            }
        }
        for path in 0..CABLE {
            if self.wires.jacks[at][path].down {
                continue;
            }
            faults.push(Fault::PortDown(at, path));
            for way in [Way::Both, Way::In, Way::Out] {
                if self.silences(at, path, way) {
                    faults.push(Fault::Silence(at, path, way));
                }
            }
        }
        for way in [Way::Both, Way::In, Way::Out] {
            if (0..PATHS).all(|path| self.silences(at, path, way)) {
                faults.push(Fault::Blind(at, way));
            }
        }
    }

    /// Whether a silence would add to what the port suffers already.
    fn silences(&self, at: usize, path: usize, way: Way) -> bool {
        let jack = self.wires.jacks[at][path];
        match way {
            Way::Both => !jack.deaf && !jack.mute,
            Way::In => !jack.deaf,
            Way::Out => !jack.mute,
        }
    }

    /// Both daemons see their ports for the first time.
    pub(super) fn plug_in(&mut self, setup: &Setup) {
        for at in 0..NODES {
            for path in 0..PATHS {
                self.tell(
                    setup,
                    at,
                    Input::LinkChanged {
                        port: port(path),
                        up: true,
                    },
                );
            }
        }
    }

    /// A fault strikes.
    pub(super) fn strike(&mut self, setup: &Setup, fault: Fault) {
        if fault.costs() {
            self.budget = self.budget.saturating_sub(1);
        }
        self.story.push((self.now, fault));
        match fault {
            Fault::Blind(at, way) => (0..PATHS).for_each(|path| self.silence(at, path, way)),
            Fault::CablePull => self.set_down(setup, &[(0, CABLE), (1, CABLE)], true),
            Fault::Cont(at) => self.cont(setup, at),
            Fault::Freeze(at) => self.gateways[at].frozen = true,
            Fault::Heal => self.heal(setup),
            Fault::Kill(at) => self.gateways[at].end_daemon(),
            Fault::LoseHead(path, to) => drop(self.wires.take(path, to)),
            Fault::LoseNext(at) => self.wires.losing[at] = Some(Losing::Next),
            Fault::PortDown(at, path) => self.set_down(setup, &[(at, path)], true),
            Fault::PowerOff(at) => self.power_off(setup, at),
            Fault::Silence(at, path, way) => self.silence(at, path, way),
            Fault::Stop(at) => self.gateways[at].stopped = Some(self.now),
            Fault::Thaw(at) => {
                self.gateways[at].frozen = false;
                self.watch.thawed = true;
                self.read_backlog(setup, at);
            }
        }
        self.wires.settle();
        self.watch.struck(&self.gateways, &self.wires);
    }

    fn silence(&mut self, at: usize, path: usize, way: Way) {
        let jack = &mut self.wires.jacks[at][path];
        jack.deaf |= way != Way::Out;
        jack.mute |= way != Way::In;
    }

    fn power_off(&mut self, setup: &Setup, at: usize) {
        let gateway = &mut self.gateways[at];
        gateway.end_daemon();
        gateway.powered = false;
        gateway.frozen = false;
        gateway.kernel = setup.kernel(at).into();
        gateway.offered = None;
        self.wires.losing[at] = None;
        self.wires.drop_for(at);
        let ports: Vec<(usize, usize)> = (0..PATHS).map(|path| (at, path)).collect();
        self.set_down(setup, &ports, true);
    }

    fn heal(&mut self, setup: &Setup) {
        let mut up = Vec::new();
        for at in (0..NODES).filter(|at| self.gateways[*at].powered) {
            for path in 0..PATHS {
                self.wires.jacks[at][path].deaf = false;
                self.wires.jacks[at][path].mute = false;
                up.push((at, path));
            }
        }
        self.set_down(setup, &up, false);
    }

    /// Ports lose or regain their carrier; whoever sees it is told, the ports in order.
    fn set_down(&mut self, setup: &Setup, ports: &[(usize, usize)], down: bool) {
        let before = self.carriers();
        for (at, path) in ports {
            self.wires.jacks[*at][*path].down = down;
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

    /// By gateway and path: a cable has carrier if both of its ends are well.
    fn carriers(&self) -> [[bool; PATHS]; NODES] {
        let jacks = &self.wires.jacks;
        let up = |at: usize, path: usize| {
            !jacks[at][path].down && (path != CABLE || !jacks[1 - at][path].down)
        };
        core::array::from_fn(|at| core::array::from_fn(|path| up(at, path)))
    }

    fn carrier_changed(&mut self, setup: &Setup, at: usize, path: usize, up: bool) {
        let gateway = &mut self.gateways[at];
        if !gateway.powered {
            return;
        }
        std::sync::Arc::make_mut(&mut gateway.kernel).set_carrier(port(path), up);
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
