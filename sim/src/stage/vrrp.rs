//! Gateways that are virtual routers: the seats of the production core, given their turns (D19).
//!
//! As in the production driver sockets are drained before a deadline counts (D6); links, orders and
//! answers of the kernel, which that one takes one by one as they come, are all taken in one turn.
//! What the kernel is asked it does a moment later, in the order of the wishes; a daemon that is
//! stopped asks for nothing.
//!
//! The hard case is what nobody asked about: leases that went with the table, found when it is
//! looked at each second. The seat is told as if it had asked whether its lease is there.

use core::time::Duration;
use std::collections::VecDeque;

use steadfast_core::effect::{Command, Failure};
use steadfast_core::vrrp::{Act, Done, Input, Placed, Seat, Settings, Wish};
use steadfast_core::wire::ethernet::Frame as Ethernet;
use steadfast_core::wire::vrrp::Packet;
use steadfast_core::{Instant, Rule};
use steadfast_scenarios::format::{self, Plan, VrrpSetup};
use steadfast_scenarios::trace::{EventKind, Outcome};

use super::gateway::{ApplyMode, Body, DRAIN_MAX, Order};
use super::world::{Happening, World};
use crate::model::kernel::{FencedRouter, Transmitted};

/// How long an orderly end waits for the kernel, as in the product.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// The routers of a running daemon.
#[derive(Debug)]
pub(crate) struct Routers {
    life: u64,
    seats: Vec<Seat>,
    /// Other inputs, in order.
    orders: VecDeque<Order>,
    /// Answers of the kernel.
    answers: VecDeque<Done>,
    /// What the kernel was asked, in order.
    wishes: VecDeque<(usize, u64, Wish)>,
    /// By router: the turn in which it was last asked to serve, while it does.
    serving: Vec<Option<u64>>,
    /// When the daemon will next look.
    wake_at: Option<Instant>,
    /// It ends when its kernel has answered, or then at the latest.
    ends: Option<Instant>,
}

impl Routers {
    /// A daemon that has just started.
    pub(crate) fn body(placed: Vec<Placed>, life: u64, now: Instant) -> Body {
        let seats: Vec<Seat> = placed.into_iter().map(|it| Seat::new(it, now)).collect();
        Body::Routers(Box::new(Self {
            life,
            serving: vec![None; seats.len()],
            seats,
            orders: VecDeque::new(),
            answers: VecDeque::new(),
            wishes: VecDeque::new(),
            wake_at: None,
            ends: None,
        }))
    }

    /// Something that is not a frame.
    pub(crate) fn order(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    /// When it will next look, and which life of a daemon it is.
    pub(crate) const fn wakes(&mut self) -> (&mut Option<Instant>, u64) {
        (&mut self.wake_at, self.life)
    }

    /// What waits for a kernel while the daemon is stopped: so many wishes. It looks anew.
    pub(crate) fn go_on(&mut self) -> usize {
        self.wake_at = None;
        self.wishes.len()
    }
}

/// The virtual routers of a gateway: one for each served port.
pub(crate) fn placed(plan: &Plan, gateway: &format::Gateway) -> Result<Vec<Placed>, String> {
    let Some(setup) = plan.cluster.vrrp else {
        return Ok(Vec::new());
    };
    let interval = setup.interval(plan.cluster.interval)?;
    let served = |port: &&format::Port| plan.layout.segments[port.segment.index()].served();
    let ports = || gateway.ports.iter().filter(served);
    let router = |port: &format::Port| {
        let primary = port.units.first().copied();
        let primary = primary.ok_or("a port of a router has an address")?;
        let virtual_id = VrrpSetup::virtual_id(&plan.layout, port);
        let settings = Settings {
            priority: plan.gateway(&gateway.name).priority,
            interval,
            preempt: setup.preempt,
            addresses: plan.layout.segments[port.segment.index()].virtuals.clone(),
            ..Settings::usual(setup.protocol(), virtual_id, primary)
        };
        if let Some((field, why)) = settings.problems().first() {
            return Err(format!("gateway {}: {field} {why}", gateway.name));
        }
        let others = ports().filter(|other| other.id != port.id);
        Ok(Placed {
            port: port.id,
            interface: port.name.clone(),
            mac: port.mac,
            settings,
            tracked: others.map(|it| (it.id, it.name.clone())).collect(),
            weight: None,
        })
    };
    ports().map(router).collect()
}

/// The same as their kernel's fence knows them.
pub(crate) fn fenced(plan: &Plan, gateway: &format::Gateway) -> Vec<FencedRouter> {
    let routers = placed(plan, gateway).unwrap_or_default();
    let fenced = |it: Placed| FencedRouter {
        port: it.port,
        virtual_id: it.settings.virtual_id,
        lease: it.settings.lease(),
        addresses: it.settings.addresses,
    };
    routers.into_iter().map(fenced).collect()
}

impl World<'_> {
    fn routers(&mut self, station: usize, life: u64) -> Option<&mut Routers> {
        match &mut self.gateways[station].awake(Some(life))?.body {
            Body::Routers(routers) => Some(routers),
            Body::Seat(_) | Body::Turns(_) => None,
        }
    }

    fn seat(&mut self, station: usize, life: u64, place: usize) -> Option<&mut Seat> {
        self.routers(station, life)?.seats.get_mut(place)
    }

    fn places(&mut self, station: usize, life: u64) -> core::ops::Range<usize> {
        0..self.routers(station, life).map_or(0, |it| it.seats.len())
    }

    /// One turn of the daemon.
    pub(crate) fn wake_routers(&mut self, station: usize, life: u64) {
        let now = self.now;
        let Some(routers) = self.routers(station, life) else {
            return;
        };
        if routers.wake_at.is_some_and(|at| at > now) {
            return;
        }
        routers.wake_at = None;
        self.turn_router_orders(station, life);
        self.turn_router_sockets(station, life);
        self.turn_router_answers(station, life);
        let ends = self.routers(station, life).and_then(|it| it.ends);
        for place in self.places(station, life) {
            if ends.is_some() {
                break;
            }
            let due = |seat: &&mut Seat| seat.next_deadline().is_some_and(|at| at <= now);
            if let Some(seat) = self.seat(station, life, place).filter(due) {
                seat.deadline_reached(now);
                self.announce_router(station, life, place);
                self.pump_router(station, life, place);
            }
        }
        let Some(routers) = self.routers(station, life) else {
            return;
        };
        if let Some(patience) = routers.ends {
            if now >= patience || !routers.seats.iter().any(Seat::is_waiting) {
                self.daemon_ended(station);
            } else {
                self.wake_at(station, patience);
            }
            return;
        }
        if let Some(at) = routers.seats.iter().filter_map(Seat::next_deadline).min() {
            self.wake_at(station, at.max(now).after(super::daemons::WAKE_LATENCY));
        }
    }

    fn turn_router_orders(&mut self, station: usize, life: u64) {
        let now = self.now;
        while let Some(order) = self
            .routers(station, life)
            .and_then(|it| it.orders.pop_front())
        {
            for place in self.places(station, life) {
                let Some(seat) = self.seat(station, life, place) else {
                    return;
                };
                match &order {
                    Order::Command(_, Command::Release) => {
                        seat.give_for(now, Input::Resign, "an operator let another router serve");
                    }
                    Order::Link(port, up) => {
                        seat.link_changed(now, *port, *up);
                    }
                    Order::Shutdown => seat.give_for(now, Input::Stopped, "ordered to end"),
                    // A story about routers has nothing else to say.
                    Order::Certificate(_)
                    | Order::Checked(..)
                    | Order::Command(..)
                    | Order::Fence(_)
                    | Order::Reload(_) => {}
                }
                self.pump_router(station, life, place);
            }
            if let (Order::Shutdown, Some(routers)) = (&order, self.routers(station, life)) {
                routers.ends = Some(now.after(END_PATIENCE));
            }
        }
    }

    fn turn_router_sockets(&mut self, station: usize, life: u64) {
        let now = self.now;
        for _ in 0..DRAIN_MAX {
            let Some((port, _, frame)) = self.take_frame(station, life) else {
                return;
            };
            let Some(packet) = Ethernet::parse(&frame).as_ref().and_then(Packet::parse) else {
                continue;
            };
            for place in self.places(station, life) {
                if let Some(seat) = self.seat(station, life, place)
                    && seat.is_addressed(port, &packet)
                {
                    seat.give(now, Input::PacketReceived(packet));
                    self.pump_router(station, life, place);
                }
            }
        }
    }

    fn turn_router_answers(&mut self, station: usize, life: u64) {
        let now = self.now;
        while let Some(done) = self
            .routers(station, life)
            .and_then(|it| it.answers.pop_front())
        {
            if let Some(seat) = self.seat(station, life, done.router) {
                seat.done(now, &done);
                self.pump_router(station, life, done.router);
                self.announce_router(station, life, done.router);
            }
        }
    }

    /// Carries out what a seat wants, in order.
    fn pump_router(&mut self, station: usize, life: u64, place: usize) {
        while let Some((port, act)) = self
            .seat(station, life, place)
            .and_then(|seat| Some((seat.port(), seat.next_act()?)))
        {
            match act {
                Act::Say { frame, lease } => {
                    let sent = self.transmit(station, port, &frame) == Transmitted::Sent;
                    let now = self.now;
                    if let Some(seat) = self.seat(station, life, place) {
                        seat.said(now, sent, lease);
                    }
                }
                Act::Wish(turn, wish) => self.router_wished(station, life, (place, turn, wish)),
            }
        }
        let next = self.gateways[station].kernel.next_change(self.now);
        self.schedule_tick(station, next);
    }

    fn announce_router(&mut self, station: usize, life: u64, place: usize) {
        let now = self.now;
        let Some(seat) = self.seat(station, life, place) else {
            return;
        };
        let (port, frames) = (seat.port(), seat.announcements(now));
        for frame in frames {
            let _ = self.transmit(station, port, &frame);
        }
    }

    fn router_wished(&mut self, station: usize, life: u64, wished: (usize, u64, Wish)) {
        let latency = self.apply_latency(station);
        if let Some(routers) = self.routers(station, life) {
            routers.wishes.push_back(wished);
            let at = self.now.after(latency);
            let gateway = station;
            self.queue.push(at, Happening::RouterWish { gateway, life });
        }
        self.tell_router_wish(station, wished.2);
    }

    /// The kernel does what was wished first of what waits.
    pub(crate) fn router_wish_due(&mut self, station: usize, life: u64) {
        let wished = self
            .routers(station, life)
            .and_then(|it| it.wishes.pop_front());
        let Some((router, turn, wish)) = wished else {
            return;
        };
        let outcome = self.router_wish(station, router, wish);
        if let Some(routers) = self.routers(station, life) {
            match (wish, outcome) {
                (Wish::Serve, Ok(())) => routers.serving[router] = Some(turn),
                (Wish::Withdraw, _) | (Wish::Serve, Err(_)) => routers.serving[router] = None,
                (Wish::Look, _) => {}
            }
            routers.answers.push_back(Done {
                router,
                turn,
                wish,
                outcome,
            });
        }
        self.wake_soon(station);
    }

    /// The kernel does it, or refuses, and that is told.
    pub(crate) fn router_wish(
        &mut self,
        station: usize,
        router: usize,
        wish: Wish,
    ) -> Result<(), Failure> {
        let outcome = self.obey_router(station, router, wish);
        let told = match outcome {
            Ok(()) => Outcome::Done,
            Err(_) => Outcome::Failed,
        };
        self.tell_of_wish(station, wish, told);
        let next = self.gateways[station].kernel.next_change(self.now);
        self.schedule_tick(station, next);
        outcome
    }

    fn obey_router(&mut self, station: usize, router: usize, wish: Wish) -> Result<(), Failure> {
        let now = self.now;
        let leased = self.rules.keep(Rule::D9);
        let all = placed(&self.plan, &self.plan.layout.gateways[station]).unwrap_or_default();
        let addresses = all.get(router).map(|it| (it.port, &it.settings.addresses));
        let (port, addresses) = addresses.ok_or(Failure::Refused)?;
        let gateway = &mut self.gateways[station];
        let refuses = !matches!(gateway.apply, ApplyMode::Ok | ApplyMode::Slow(_));
        let kernel = &mut gateway.kernel;
        match wish {
            Wish::Look if leased && !kernel.router_is_live(now, router) => {
                Err(Failure::LeaseLapsed)
            }
            Wish::Look => Ok(()),
            Wish::Serve if refuses => Err(Failure::Refused),
            Wish::Serve => {
                if leased {
                    let armed = kernel.arm_router(now, router);
                    armed.map_err(|_| Failure::Refused)?;
                }
                addresses
                    .iter()
                    .for_each(|ip| kernel.add_virtual(port, *ip));
                Ok(())
            }
            Wish::Withdraw => {
                // Without its lease an address that stays is silent.
                kernel.close_router(router);
                if refuses {
                    return Err(Failure::Refused);
                }
                let ips = addresses.iter();
                ips.for_each(|ip| kernel.remove_virtual(port, *ip));
                Ok(())
            }
        }
    }

    /// A kernel is asked.
    pub(crate) fn tell_router_wish(&mut self, station: usize, wish: Wish) {
        self.tell_of_wish(station, wish, Outcome::Asked);
    }

    fn tell_of_wish(&mut self, station: usize, wish: Wish, outcome: Outcome) {
        let serve = match wish {
            Wish::Look => return,
            Wish::Serve => true,
            Wish::Withdraw => false,
        };
        let gateway = self.id(station);
        self.emit(EventKind::Apply {
            gateway,
            serve,
            outcome,
        });
    }

    /// The table is looked at, and put back where it is gone; whether it was.
    pub(crate) fn mend_router_fence(&mut self, station: usize) -> bool {
        self.gateways[station].kernel.rebuild_router_fence()
    }

    /// Each second the table is looked at; whoever served finds its lease gone with it.
    pub(crate) fn look_at_routers(&mut self, station: usize, life: u64) {
        if self.routers(station, life).is_none() || !self.mend_router_fence(station) {
            return;
        }
        if let Some(routers) = self.routers(station, life) {
            let serving = routers.serving.iter().enumerate();
            let gone = serving.filter_map(|(router, turn)| {
                Some(Done {
                    router,
                    turn: (*turn)?,
                    wish: Wish::Look,
                    outcome: Err(Failure::LeaseLapsed),
                })
            });
            let gone: Vec<Done> = gone.collect();
            routers.answers.extend(gone);
        }
    }
}
