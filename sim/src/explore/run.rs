//! What can happen next in a state, and doing it.
//!
//! Time stands still while anything is in flight: a frame, a wish to the kernel, a due deadline.
//! Frames that decide nothing by their order (questions, answers, periodic words, second copies)
//! are delivered at once in one order; two deliveries to different nodes commute anyway. What is
//! left to chance is the order of decisive frames, of the kernel's doing, and of deadlines that
//! fall due together, and between any two of them a fault. Of what several senders said, a node may
//! meet any first.

use std::sync::Arc;
use steadfast_core::effect::{Effect, Failure, Forwarding, Input};
use steadfast_core::role::EffectiveRole;
use steadfast_core::status::Cause;
use steadfast_core::wire::ethernet::{Frame as Ethernet, ethertype};
use steadfast_core::{Instant, Node, PortId, Rule};

use core::fmt;
use core::time::Duration;

use super::fault::{Fault, gateway_name, path_name};
use super::glimpse::Glimpse;
use super::setup::{NODES_MAX, Setup, TICK, port};
use super::wires::{Lane, counter};
use super::world::{Gateway, SOCKET_MAX, World};
use crate::model::Frame;
use crate::model::kernel::{Outbox, Transmitted};

/// Time passes by at most this much at once, so that faults also strike between two deadlines.
pub(super) const STRIDE: Duration = Duration::from_millis(48);
/// A daemon stopped for longer than this never goes on: it is as good as killed, and is killed.
pub(super) const STALL_MAX: Duration = Duration::from_millis(240);
/// Frames delivered in one step; reaching it is an error, as frames then breed frames.
const DRAIN_MAX: u32 = 2_000;
/// A CLAIM among the kinds said.
const CLAIM_BIT: u16 = 1 << 3;
/// Turns of effects and their immediate consequences in one input, as in the production shell.
const PUMP_MAX: usize = 8;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Time passes.
    Advance,
    /// A kernel does what it was asked.
    Apply(usize),
    /// A gateway receives the next frame of another one on a path.
    Deliver(Lane),
    /// A daemon's deadline has come.
    Fire(usize),
    /// A fault strikes, or is mended.
    Strike(Fault),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Advance => f.write_str("time passes"),
            Self::Apply(at) => write!(f, "the kernel of {} obeys", gateway_name(*at)),
            Self::Deliver(Lane { path, from, to }) => {
                let (to, from) = (gateway_name(*to), gateway_name(*from));
                write!(f, "{to} receives from {from} on {}", path_name(*path))
            }
            Self::Fire(at) => write!(f, "a deadline of {}", gateway_name(*at)),
            Self::Strike(fault) => fault.fmt(f),
        }
    }
}

/// What is to be seen of a gateway from afar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outline {
    role: Option<EffectiveRole>,
    suspects: bool,
    lease: bool,
    tail: bool,
}

impl World {
    /// What can happen now, faults aside.
    pub(super) fn steps(&self, steps: &mut Vec<Step>) {
        if let Some(lane) = self.commuting() {
            steps.push(Step::Deliver(lane));
            return;
        }
        for to in self.places() {
            let before = steps.len();
            steps.extend(self.heads(to).map(Step::Deliver));
            if before == steps.len() && self.is_due(to) && self.gateways[to].apply.is_none() {
                steps.push(Step::Fire(to));
            }
            if self.gateways[to].apply.is_some() && self.gateways[to].awake().is_some() {
                steps.push(Step::Apply(to));
            }
        }
        if steps.is_empty() && self.next_instant().is_some() {
            steps.push(Step::Advance);
        }
    }

    /// With no fault to come between, a delivery to a node whose kernel has nothing to do goes
    /// before everything else: it commutes with all of it, but with what a third one may yet say
    /// to that node. So it does where there is nobody else who could.
    fn commuting(&self) -> Option<Lane> {
        let mut idle = self
            .places()
            .filter(|to| self.gateways[*to].apply.is_none());
        let free = self.budget == 0 && self.can_speak() <= 2;
        idle.find_map(|to| self.heads(to).next()).filter(|_| free)
    }

    /// How many gateways have a daemon that says something, now or later.
    fn can_speak(&self) -> usize {
        let speaks = |at: &usize| {
            let flies = self
                .wires
                .lanes()
                .any(|it| it.from == *at && self.wires.head(it).is_some());
            self.gateways[*at].node.is_some() || flies
        };
        self.places().filter(speaks).count()
    }

    /// Whether something may come between: a fault, or a daemon that goes on.
    fn can_be_struck(&self) -> bool {
        let held = |gateway: &Gateway| gateway.held_since().is_some();
        self.budget > 0 || self.gateways.iter().any(held)
    }

    /// Does it. The faults are carried out in `fault`.
    pub(super) fn step(&mut self, setup: &Setup, step: Step) {
        self.wires.said = 0;
        let before = self.outline();
        let strides = step == Step::Advance && self.next_instant() == Some(self.now.after(STRIDE));
        match step {
            Step::Advance => self.advance(setup),
            Step::Apply(place) => self.apply(setup, place),
            Step::Deliver(lane) => self.deliver(setup, lane),
            Step::Fire(place) => self.fire(setup, place),
            Step::Strike(fault) => self.strike(setup, fault),
        }
        self.drain(setup);
        let repeats = [0, CLAIM_BIT].contains(&self.wires.said);
        let happened = !repeats || strides || before != self.outline();
        self.point = (happened || step != Step::Advance) && self.can_be_struck();
    }

    /// What makes an instant worth a fault when it changes.
    fn outline(&self) -> [Option<Outline>; NODES_MAX] {
        core::array::from_fn(|place| {
            let gateway = self.gateways.get(place)?;
            let node = gateway.awake();
            Some(Outline {
                role: node.map(Node::role),
                suspects: node.is_some_and(Node::suspects),
                lease: gateway.kernel.holds_lease(self.now),
                tail: gateway.kernel.tail_end(self.now).is_some(),
            })
        })
    }

    /// The ways whose heads are the oldest messages for a gateway, one of each sender; their
    /// copies follow by themselves.
    pub(super) fn heads(&self, to: usize) -> impl Iterator<Item = Lane> + '_ {
        let oldest = move |from: usize| {
            let lanes = self.wires.lanes_between(from, to);
            let heads = lanes.filter_map(|lane| Some((counter(self.wires.head(lane)?), lane)));
            heads.min().map(|(_, lane)| lane)
        };
        self.places()
            .filter(move |from| *from != to)
            .filter_map(oldest)
    }

    pub(super) fn is_due(&self, place: usize) -> bool {
        let deadline = self.gateways[place].awake().and_then(Node::next_deadline);
        deadline.is_some_and(|at| at <= self.now)
    }

    /// The next instant at which anything can happen by itself, on a tick.
    fn next_instant(&self) -> Option<Instant> {
        let own = self.gateways.iter().flat_map(|gateway| {
            let node = gateway.awake().and_then(Node::next_deadline);
            let kernel = gateway
                .kernel
                .next_change(self.now)
                .filter(|_| gateway.powered);
            let stall = gateway.held_since().map(|since| since.after(STALL_MAX));
            [node, kernel, stall]
        });
        let mut at = own.flatten().min()?;
        if self.can_be_struck() {
            at = at.min(self.now.after(STRIDE));
        }
        let tick = u64::try_from(TICK.as_nanos()).unwrap_or(1);
        let at = Instant::from_nanos(at.as_nanos().div_ceil(tick) * tick);
        Some(at.max(self.now.after(TICK)))
    }

    fn advance(&mut self, setup: &Setup) {
        let Some(at) = self.next_instant() else {
            return;
        };
        self.now = at;
        let mut out = Outbox::default();
        for gateway in &mut self.gateways {
            if gateway.powered && gateway.kernel.next_change(at).is_some_and(|due| due <= at) {
                Arc::make_mut(&mut gateway.kernel).tick(at, &mut out);
            }
            let held = gateway.held_since();
            if held.is_some_and(|since| at.since(since) >= STALL_MAX) {
                gateway.end_daemon();
            }
        }
        for place in self
            .places()
            .filter(|at| self.is_due(*at))
            .collect::<Vec<_>>()
        {
            if self.gateways[place]
                .awake()
                .is_some_and(|node| !node.decides(at))
            {
                self.fire(setup, place);
            }
        }
        let due: Vec<usize> = self.places().filter(|at| self.is_due(*at)).collect();
        if let [only] = due.as_slice() {
            self.fire(setup, *only);
        }
    }

    fn fire(&mut self, setup: &Setup, place: usize) {
        self.tell(setup, place, Input::DeadlineReached);
    }

    /// A node takes an input, and its effects are carried out.
    pub(super) fn tell(&mut self, setup: &Setup, place: usize, input: Input<'_>) {
        let now = self.now;
        if self.gateways[place].awake().is_none() {
            return;
        }
        if let Some(node) = &mut self.gateways[place].node {
            Arc::make_mut(node).handle(now, input);
        }
        self.pump(setup, place);
    }

    fn pump(&mut self, _setup: &Setup, place: usize) {
        let now = self.now;
        for _ in 0..PUMP_MAX {
            let mut answers: Vec<Input<'static>> = Vec::new();
            while let Some(effect) = self.poll(place) {
                self.carry_out(place, effect, &mut answers);
            }
            if answers.is_empty() {
                return;
            }
            for input in answers {
                if let Some(node) = &mut self.gateways[place].node {
                    Arc::make_mut(node).handle(now, input);
                }
            }
        }
    }

    fn poll(&mut self, place: usize) -> Option<Effect> {
        Arc::make_mut(self.gateways[place].node.as_mut()?).poll_effect()
    }

    /// The store answers at once; the kernel in a step of its own.
    fn carry_out(&mut self, place: usize, effect: Effect, answers: &mut Vec<Input<'static>>) {
        let now = self.now;
        let gateway = &mut self.gateways[place];
        match effect {
            Effect::Transmit { port, frame } => {
                match Arc::make_mut(&mut gateway.kernel).transmit(now, port, &frame) {
                    Transmitted::Sent => self.wires.put(place, usize::from(port.0), &frame.into()),
                    Transmitted::Refused => answers.push(Input::TransmitRefused { port }),
                    Transmitted::Dropped | Transmitted::NoCarrier => {}
                }
            }
            Effect::Apply { op, desired, .. } => {
                if let Some((older, _)) = gateway.apply.replace((op, desired)) {
                    let outcome = Err(Failure::Superseded);
                    answers.push(Input::Completed { op: older, outcome });
                }
            }
            Effect::Persist { op, .. } => answers.push(Input::Completed {
                op,
                outcome: Ok(()),
            }),
            Effect::Stopped => gateway.end_daemon(),
            Effect::Alert(_) | Effect::Reply { .. } => {}
        }
    }

    /// The kernel does what was wished, and says so.
    fn apply(&mut self, setup: &Setup, place: usize) {
        let now = self.now;
        let gateway = &mut self.gateways[place];
        let Some((op, desired)) = gateway.apply.take() else {
            return;
        };
        let leased = setup.rules.keep(Rule::D9);
        let kernel = Arc::make_mut(&mut gateway.kernel);
        let virtuals = || setup.virtuals.iter().enumerate();
        let outcome = match desired {
            Forwarding::Active { .. } => {
                let armed = if leased {
                    kernel.arm(now).map_err(|_| Failure::Refused)
                } else {
                    Ok(())
                };
                virtuals().for_each(|(path, ip)| kernel.add_virtual(port(path), *ip));
                armed
            }
            Forwarding::Offering { remaining } if leased => kernel
                .offer(now, remaining)
                .map_err(|_| Failure::LeaseLapsed),
            Forwarding::Offering { .. } => Ok(()),
            Forwarding::Tail => {
                // Without a lease there is nothing to leave a tail of.
                let _ = kernel.release_to_tail(now);
                Ok(())
            }
            Forwarding::Standby => {
                kernel.fence();
                virtuals().for_each(|(path, ip)| kernel.remove_virtual(port(path), *ip));
                Ok(())
            }
        };
        gateway.offered = matches!(desired, Forwarding::Offering { .. }).then_some(now);
        self.tell(setup, place, Input::Completed { op, outcome });
    }

    fn deliver(&mut self, setup: &Setup, lane: Lane) {
        let Some(frame) = self.wires.take(lane) else {
            return;
        };
        let Lane { path, from, to } = lane;
        if let Some(counter) = counter(&frame) {
            let newest = &mut self.delivered[to][from];
            *newest = counter.max(*newest);
        }
        if let Some(glimpse) = Glimpse::of(&frame) {
            self.heard[to][from] = Some(glimpse.gist());
        }
        self.receive(setup, to, path, &frame);
    }

    /// A frame reaches a box: its kernel first, then the sockets of its daemon.
    fn receive(&mut self, setup: &Setup, to: usize, path: usize, frame: &Frame) {
        let now = self.now;
        if !self.gateways[to].runs() {
            return;
        }
        let mut out = Outbox::default();
        Arc::make_mut(&mut self.gateways[to].kernel).receive(now, port(path), frame, &mut out);
        for (port, frame) in out.frames {
            self.wires.put(to, usize::from(port.0), &frame);
        }
        for (port, frame) in out.captured {
            self.capture(setup, to, port, &frame);
        }
    }

    fn capture(&mut self, setup: &Setup, to: usize, port: PortId, frame: &Frame) {
        let now = self.now;
        let gateway = &mut self.gateways[to];
        if gateway.awake().is_some() {
            self.tell(
                setup,
                to,
                Input::FrameReceived {
                    port,
                    frame,
                    at: now,
                },
            );
        } else if gateway.node.is_some() {
            let socket = &mut gateway.sockets[usize::from(port.0)];
            if socket.len() < SOCKET_MAX {
                socket.push_back((now, frame.clone()));
            }
        }
    }

    /// Delivers what decides nothing by its order.
    fn drain(&mut self, setup: &Setup) {
        for _ in 0..DRAIN_MAX {
            let Some(lane) = self.plain_head() else {
                return;
            };
            self.deliver(setup, lane);
        }
        self.wires.overrun = true;
    }

    fn plain_head(&self) -> Option<Lane> {
        self.wires.lanes().find(|lane| {
            let head = self.wires.head(*lane);
            head.is_some_and(|frame| self.is_plain(frame, *lane))
        })
    }

    fn is_plain(&self, frame: &Frame, Lane { from, to, .. }: Lane) -> bool {
        /// Advert, answer, probe, request.
        const PLAIN: [u8; 4] = [1, 2, 8, 11];
        let ours = Ethernet::parse(frame).is_some_and(|it| it.ethertype == ethertype::STEADFAST);
        let copy = counter(frame).is_some_and(|counter| counter <= self.delivered[to][from]);
        let gist = Glimpse::of(frame).map(Glimpse::gist);
        let repeats = gist.is_some() && gist == self.heard[to][from];
        !ours || copy || repeats || frame.get(16).is_some_and(|kind| PLAIN.contains(kind))
    }

    /// Notes what shows that the exploration is not vacuous.
    pub(super) fn note(&mut self) {
        for place in self.places() {
            let Some(node) = self.gateways[place].awake() else {
                continue;
            };
            let (suspects, role, why) = (node.suspects(), node.role(), node.reason().1);
            let active = role == EffectiveRole::Active;
            let found = matches!(why, Cause::PeerDead { .. } | Cause::PeerLapsed { .. });
            self.watch.takeover |= active && found;
            self.watch.handover |= active && matches!(why, Cause::HandedOver { .. });
            let was = core::mem::replace(&mut self.watch.suspects[place], suspects);
            self.watch.resolved |= was && !suspects && role == EffectiveRole::Standby;
        }
    }
}
