//! A scenario in progress: one heap of events, and every machine around it.
//!
//! The production code decides, the models carry, the observer tells. A run is a function of its
//! plan: nothing here reads a clock or an ordering that is not written down.

use core::time::Duration;
use std::rc::Rc;

use steadfast_core::config::Config;
use steadfast_core::{Instant, OpId, PortId, Rules};
use steadfast_scenarios::Random;
use steadfast_scenarios::format::Plan;
use steadfast_scenarios::trace::{Event, EventKind, Names};

use super::beyond::{self, RouterBox};
use super::faults::Steps;
use super::gateway::Gateway;
use super::net::{NetEvent, Network, Station};
use super::observe::Observer;
use super::players::Players;
use super::queue::Queue;
use super::setup;
use super::strangers::Strangers;
use super::tap::Tap;
use super::traffic::Traffic;
use crate::model::Frame;
use crate::model::kernel::{Kernel, Outbox};

/// What happens in this world.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// The kernel carries out the wish with this number.
    ApplyDue { gateway: usize, life: u64, op: OpId },
    /// A box has booted.
    Booted { gateway: usize, boot: u64 },
    /// The daemon's second has passed: it looks at the fence, and people look at its status.
    EachSecond { gateway: usize, life: u64 },
    /// The kernel takes a changed configuration, and then its node.
    ReloadDue { gateway: usize, life: u64 },
    /// A check of a gateway's health is run.
    CheckDue {
        gateway: usize,
        life: u64,
        check: usize,
    },
    /// A run of a hook may have taken too long.
    HooksDue { gateway: usize, life: u64 },
    /// A hook's program takes its next step.
    ProgramDue { gateway: usize, life: u64, run: u64 },
    /// A process that was started begins to decide.
    Begun { gateway: usize, life: u64 },
    /// A process that has decided for the last time is gone.
    Exited { gateway: usize, life: u64 },
    /// A station tells a switch what it listens to.
    Members { station: Station, segment: usize },
    /// A port's carrier is noticed.
    LinkSeen {
        gateway: usize,
        life: u64,
        port: PortId,
        up: bool,
    },
    /// Something on the wires.
    Net(NetEvent),
    /// The store carries out the wish with this number.
    PersistDue { gateway: usize, life: u64, op: OpId },
    /// A probe is due.
    Probe { stream: usize },
    /// A gateway's program says that it is a router.
    RouterDue { gateway: usize, boot: u64 },
    /// A kernel does what a virtual router wished first.
    RouterWish { gateway: usize, life: u64 },
    /// A step runs.
    Step { index: usize },
    /// A stranger acts again.
    Stranger { index: usize },
    /// A kernel changes by itself.
    Tick { station: Station },
    /// Part of a step ends, or its next turn comes.
    Turn { turn: super::turns::Turn },
    /// A daemon looks at its sockets and its clock.
    Wake { gateway: usize, life: u64 },
}

/// A plain host.
#[derive(Clone, Debug)]
pub(crate) struct HostBox {
    pub(crate) kernel: Kernel,
    pub(crate) segment: usize,
    pub(crate) place: usize,
    pub(crate) tick_at: Option<Instant>,
}

/// A world in progress.
pub struct World<'a> {
    pub(crate) plan: Rc<Plan>,
    pub(crate) rules: Rules,
    pub(crate) now: Instant,
    pub(crate) queue: Queue<Happening>,
    pub(crate) net: Network,
    pub(crate) configs: Vec<Config>,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) hosts: Vec<HostBox>,
    pub(crate) strangers: Strangers,
    pub(crate) routers: Vec<RouterBox>,
    pub(crate) steps: Steps,
    pub(crate) observer: Observer,
    pub(crate) traffic: Traffic,
    pub(crate) random: Random,
    pub(crate) hops: u64,
    pub(crate) requests: u64,
    pub(crate) outbox: Outbox,
    pub(crate) players: Option<Box<dyn Players>>,
    pub(crate) tap: Option<Tap>,
    later: Vec<(Instant, NetEvent)>,
    sink: Sink<'a>,
}

/// Whoever listens to the trace.
pub(crate) type Sink<'a> = Box<dyn FnMut(&Event) + 'a>;

/// What a run cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Frames that reached a switch or a station.
    pub hops: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// The event heap overflowed: the run proves nothing.
    pub overflowed: bool,
}

impl<'a> World<'a> {
    /// A world at its origin, everything dark.
    ///
    /// # Errors
    /// A scenario whose configuration the product refuses.
    pub fn new(plan: &Plan, rules: Rules, sink: Sink<'a>) -> Result<Self, String> {
        let configs = plan
            .layout
            .gateways
            .iter()
            .map(|gateway| setup::config(plan, gateway));
        for gateway in &plan.layout.gateways {
            super::vrrp::placed(plan, gateway)?;
        }
        let net = setup::network(plan);
        let mut world = Self {
            configs: configs.collect::<Result<_, _>>()?,
            gateways: Vec::new(),
            hosts: Vec::new(),
            strangers: Strangers::default(),
            routers: beyond::routers(&plan.layout, &net),
            steps: Steps::new(plan),
            observer: Observer::new(plan),
            traffic: Traffic::new(plan),
            random: Random::new(plan.seed, "world"),
            hops: 0,
            requests: 0,
            outbox: Outbox::default(),
            players: None,
            tap: None,
            later: Vec::new(),
            now: Instant::ORIGIN,
            queue: Queue::default(),
            plan: Rc::new(plan.clone()),
            rules,
            net,
            sink,
        };
        world.build();
        Ok(world)
    }

    fn build(&mut self) {
        let plan = Rc::clone(&self.plan);
        self.emit(EventKind::Names(Names::of(&plan)));
        for gateway in &plan.layout.gateways {
            let kernel = self.fresh_kernel(gateway);
            let stored = setup::stored(&plan.gateway(&gateway.name));
            let mut made = Gateway::new(kernel, stored);
            made.certificate = plan.gateway(&gateway.name).certificate;
            self.gateways.push(made);
        }
        for (number, host) in plan.layout.hosts.iter().enumerate() {
            let station = plan.layout.gateways.len() + number;
            let segment = host.segment.index();
            let place = self.net.place(segment, station).unwrap_or_default();
            let kernel = setup::host_kernel(&plan, host);
            self.hosts.push(HostBox {
                kernel,
                segment,
                place,
                tick_at: None,
            });
        }
        let gateways = self.gateways.len();
        for medium in &mut self.net.media {
            for end in &mut medium.ends {
                end.alive = end.station >= gateways;
            }
        }
        self.net.settle(self.now);
        self.schedule_boots();
        self.schedule_steps();
        self.schedule_probes();
    }

    /// Runs to the end of the plan.
    pub fn run(&mut self) -> Cost {
        let end = self.plan.end();
        while let Some((at, happening)) = self.queue.pop() {
            if at > end {
                break;
            }
            self.now = at;
            self.happen(happening);
            self.observe();
        }
        self.end()
    }

    /// Does everything that is due until then, and stands there.
    pub(crate) fn advance(&mut self, to: Instant) {
        while let Some((at, happening)) = self.queue.pop_due(to) {
            self.now = at.max(self.now);
            self.happen(happening);
            self.observe();
        }
        self.now = to.max(self.now);
    }

    /// When the next thing is due.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.queue.next_at()
    }

    /// The end of a run that was not [`Self::run`].
    pub(crate) fn end(&mut self) -> Cost {
        let end = self.plan.end();
        self.now = end;
        self.observe();
        self.tell_held();
        self.emit(EventKind::End);
        Cost {
            hops: self.hops,
            simulated: end.since(Instant::ORIGIN),
            overflowed: self.queue.overflowed(),
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ApplyDue { gateway, life, op } => self.apply_due(gateway, life, op),
            Happening::Booted { gateway, boot } => self.booted(gateway, boot),
            Happening::ReloadDue { gateway, life } => self.reload_due(gateway, life),
            Happening::RouterWish { gateway, life } => self.router_wish_due(gateway, life),
            Happening::Begun { gateway, life } => self.begun(gateway, life),
            Happening::EachSecond { gateway, life } => self.each_second(gateway, life),
            Happening::CheckDue {
                gateway,
                life,
                check,
            } => self.check_due(gateway, life, check),
            Happening::Exited { gateway, life } => self.exited(gateway, life),
            Happening::HooksDue { gateway, life } => self.hooks_due(gateway, life),
            Happening::ProgramDue { gateway, life, run } => self.program_due(gateway, life, run),
            Happening::LinkSeen {
                gateway,
                life,
                port,
                up,
            } => {
                self.link_seen(gateway, life, port, up);
            }
            Happening::Members { station, segment } => self.members_due(station, segment),
            Happening::Net(event) => self.net_event(event),
            Happening::PersistDue { gateway, life, op } => self.persist_due(gateway, life, op),
            Happening::Probe { stream } => self.probe_due(stream),
            Happening::RouterDue { gateway, boot } => self.router_due(gateway, boot),
            Happening::Step { index } => self.step_due(index),
            Happening::Stranger { index } => self.stranger_due(index),
            Happening::Tick { station } => self.tick(station),
            Happening::Turn { turn } => self.turn_due(turn),
            Happening::Wake { gateway, life } => self.wake(gateway, life),
        }
    }

    fn net_event(&mut self, event: NetEvent) {
        self.hops += 1;
        match event {
            NetEvent::AtSwitch {
                segment,
                from,
                frame,
            } => {
                if let Some(router) = self.router_of(segment, from) {
                    self.router_receives(router, from, &frame);
                    return;
                }
                let (random, later) = (&mut self.random, &mut self.later);
                let mut draw = || random.draw();
                self.net
                    .forward(self.now, (segment, from), &frame, &mut draw, later);
                self.schedule_later();
                self.switch_port(segment, from);
            }
            NetEvent::Arrive {
                station,
                port,
                frame,
            } => self.arrive(station, port, &frame),
        }
    }

    fn arrive(&mut self, station: Station, port: PortId, frame: &Frame) {
        let gateways = self.gateways.len();
        if station < gateways {
            match &mut self.players {
                Some(players) => players.carry_down(usize::from(port.0), station, port, frame),
                None => self.gateway_receives(station, port, frame),
            }
        } else if station < gateways + self.hosts.len() {
            self.host_receives(station - gateways, frame);
        } else {
            let other = station - gateways - self.hosts.len();
            match other.checked_sub(self.net.media.len()) {
                Some(router) => self.router_receives(router, usize::from(port.0), frame),
                None => self.stranger_receives(other, frame),
            }
        }
    }

    fn host_receives(&mut self, host: usize, frame: &Frame) {
        let mut out = core::mem::take(&mut self.outbox);
        out.clear();
        self.hosts[host]
            .kernel
            .receive(self.now, PortId(0), frame, &mut out);
        self.host_sends(host, &mut out);
        self.outbox = out;
    }

    /// Puts on the wire what a host's kernel produced, and hands probes to whoever waits.
    pub(crate) fn host_sends(&mut self, host: usize, out: &mut Outbox) {
        let (segment, place) = (self.hosts[host].segment, self.hosts[host].place);
        for (_, frame) in out.frames.drain(..) {
            self.put(segment, place, &frame);
        }
        for delivered in out.delivered.drain(..) {
            self.probe_arrived(host, &delivered);
        }
        self.host_neighbours(host);
        let station = self.gateways.len() + host;
        let next = self.hosts[host].kernel.next_change(self.now);
        self.schedule_tick(station, next);
    }

    fn tick(&mut self, station: Station) {
        let gateways = self.gateways.len();
        let mut out = core::mem::take(&mut self.outbox);
        out.clear();
        if station < gateways {
            self.gateways[station].tick_at = None;
            // A clock that stands changes nothing; waking schedules the next tick.
            if self.gateways[station].runs() || !self.gateways[station].clock_stands {
                self.gateways[station].kernel.tick(self.now, &mut out);
                self.gateway_sends(station, &mut out);
            }
        } else if let Some(host) = self.hosts.get_mut(station - gateways) {
            host.tick_at = None;
            host.kernel.tick(self.now, &mut out);
            self.host_sends(station - gateways, &mut out);
        } else {
            let router = station - beyond::first_station(&self.plan.layout);
            self.routers[router].tick_at = None;
            self.routers[router].kernel.tick(self.now, &mut out);
            self.router_sends(router, &mut out);
        }
        self.outbox = out;
    }

    /// Makes sure that a kernel's next change of its own is not missed.
    pub(crate) fn schedule_tick(&mut self, station: Station, next: Option<Instant>) {
        let gateways = self.gateways.len();
        let known = if station < gateways {
            &mut self.gateways[station].tick_at
        } else if let Some(host) = self.hosts.get_mut(station - gateways) {
            &mut host.tick_at
        } else {
            let router = station - beyond::first_station(&self.plan.layout);
            &mut self.routers[router].tick_at
        };
        if let Some(next) = next
            && known.is_none_or(|known| next < known)
        {
            *known = Some(next);
            self.queue.push(next, Happening::Tick { station });
        }
    }

    /// A frame of a gateway has come in at a segment, over a cable that is not the stage's.
    pub(crate) fn segment_receives(&mut self, segment: usize, station: Station, frame: &Frame) {
        if let Some(place) = self.net.place(segment, station) {
            self.put(segment, place, frame);
        }
    }

    /// A station puts a frame on its wire.
    pub(crate) fn put(&mut self, segment: usize, place: usize, frame: &Frame) {
        let (random, later) = (&mut self.random, &mut self.later);
        let mut draw = || random.draw();
        self.net
            .send(self.now, (segment, place), frame, &mut draw, later);
        self.schedule_later();
    }

    /// A router puts a frame on the wire of who is beyond it.
    pub(crate) fn put_beyond(&mut self, segment: usize, place: usize, frame: &Frame) {
        let (random, later) = (&mut self.random, &mut self.later);
        let mut draw = || random.draw();
        self.net
            .send_beyond(self.now, (segment, place), frame, &mut draw, later);
        self.schedule_later();
    }

    fn schedule_later(&mut self) {
        for (at, event) in self.later.drain(..) {
            self.queue.push(at, Happening::Net(event));
        }
    }

    /// Tells the trace.
    pub(crate) fn emit(&mut self, kind: EventKind) {
        let event = Event::new(self.now, kind);
        self.observer.take(&event);
        if let Some(tap) = &self.tap {
            tap.tell(&event);
        }
        (self.sink)(&event);
    }

    /// A delay of up to so long, drawn.
    pub(crate) fn drawn(&mut self, up_to: Duration) -> Duration {
        let nanos = u64::try_from(up_to.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.random.between(0, nanos))
    }
}
