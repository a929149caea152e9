//! Two gateways, their wires and a stepping clock: everything happens in one order, twice the same.
//!
//! Frames take 50 µs, unless a story says otherwise. A gateway reads everything that has come
//! before it learns of a deadline (D6). A story cuts wires, kills and stops daemons, and looks at
//! leases, roles, replies and alerts.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::effect::{Command, Effect, Failure, Input};
use steadfast_core::role::EffectiveRole;
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::ethernet::{self, Frame, ethertype};
use steadfast_core::{ConfigRefused, Instant, MacAddr, OpId, RequestId};

use crate::gateway::Gateway;
use crate::kernel::{LeaseWatch, reply};
use crate::setup::{A, B, CABLE, Change, LAN, PORTS, WAN, address, config, host_mac};

/// Between two words of a segment's host.
const CHATTER: Duration = Duration::from_millis(250);
/// Rounds of reading and waking within one instant. Beyond it the core spins, and the story fails.
const TURNS_MAX: usize = 2_000;
/// Any other EtherType: what ordinary hosts send.
const ORDINARY: u16 = 0x0800;

enum Event {
    Applied { to: usize, life: u8, op: OpId },
    Arrived { to: usize, port: u8, frame: Vec<u8> },
    Chatter,
    Completed(Answer),
}

/// What a daemon's kernel or store has to say to that daemon, and to no later life of it.
struct Answer {
    to: usize,
    life: u8,
    op: OpId,
    outcome: Result<(), Failure>,
}

/// Which frames are lost on the wire: sender's place, port, frame.
pub(crate) type Loss = fn(usize, u8, &[u8]) -> bool;

pub(crate) struct World {
    pub(crate) now: Instant,
    queue: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    pub(crate) gateways: [Gateway; 2],
    /// Ends whose wire is cut: nothing in, nothing out.
    cut: BTreeSet<(usize, u8)>,
    pub(crate) loss: Loss,
    pub(crate) watch: LeaseWatch,
    /// Every effect, in order.
    pub(crate) log: Vec<(Instant, usize, Effect)>,
    requests: u64,
    /// How long a frame takes.
    pub(crate) flight: Duration,
    /// The segments' hosts are there.
    pub(crate) hosts: bool,
}

impl World {
    /// Both boxes dark, all cables plugged.
    pub(crate) fn dark(change: Change) -> Self {
        let mut world = Self {
            now: Instant::ORIGIN,
            queue: BTreeMap::new(),
            sequence: 0,
            gateways: [A, B].map(|place| Gateway::new(config(place, change))),
            cut: BTreeSet::new(),
            loss: |_, _, _| false,
            watch: LeaseWatch::default(),
            log: Vec::new(),
            requests: 0,
            flight: Duration::from_micros(50),
            hosts: true,
        };
        world.schedule(CHATTER, Event::Chatter);
        world
    }

    /// Both boxes started together, and one of them serving for long enough that all is settled.
    pub(crate) fn settled(change: Change) -> Self {
        let mut world = Self::dark(change);
        world.power_on(A);
        world.power_on(B);
        world.run(2_000);
        assert_eq!(
            world.roles(),
            (EffectiveRole::Active, EffectiveRole::Standby)
        );
        world.forget();
        world
    }

    /// The same with the gateway of a story's choice serving.
    pub(crate) fn serving(active: usize, change: Change) -> Self {
        let mut world = Self::settled(change);
        if active == B {
            let request = world.command(B, Command::TakeOver);
            world.run(2_000);
            assert_eq!(world.reply(request), Some(Ok(())));
            assert_eq!(
                world.roles(),
                (EffectiveRole::Standby, EffectiveRole::Active)
            );
            world.forget();
        }
        world
    }

    /// Forgets what was watched and logged so far.
    pub(crate) fn forget(&mut self) {
        self.watch = LeaseWatch::default();
        self.log.clear();
    }

    /// Runs for so many milliseconds.
    pub(crate) fn run(&mut self, millis: u64) {
        self.run_for(Duration::from_millis(millis));
    }

    pub(crate) fn run_for(&mut self, wait: Duration) {
        let end = self.now.after(wait);
        while self.next_at() <= end {
            self.step();
        }
        self.pass_to(end);
    }

    /// Runs until `done`, and says how long that took; fails after `limit` milliseconds.
    pub(crate) fn run_until(&mut self, limit: u64, done: impl Fn(&Self) -> bool) -> Duration {
        let start = self.now;
        let end = start.after(Duration::from_millis(limit));
        while !done(self) {
            let roles = self.roles();
            assert!(
                self.next_at() <= end,
                "not within {limit} ms; roles {roles:?}"
            );
            self.step();
        }
        self.now.since(start)
    }

    pub(crate) fn power_on(&mut self, place: usize) {
        let now = self.now;
        self.gateways[place].boot(now);
        for port in PORTS {
            self.set_carrier(place, port);
        }
        self.start(place);
    }

    /// Ports first, then everything.
    pub(crate) fn power_off(&mut self, place: usize) {
        self.gateways[place].power_off();
        self.set_carrier(1 - place, CABLE);
        self.pump();
    }

    /// The box dies behind ports that keep their carrier: nothing but silence tells of it.
    pub(crate) fn vanish(&mut self, place: usize) {
        self.gateways[place].power_off();
    }

    pub(crate) fn start(&mut self, place: usize) {
        let now = self.now;
        self.gateways[place].start(now);
        self.pump();
    }

    pub(crate) fn kill(&mut self, place: usize) {
        self.gateways[place].kill();
    }

    /// SIGSTOP: the kernel runs on.
    pub(crate) fn stop(&mut self, place: usize) {
        self.gateways[place].stopped = true;
    }

    /// SIGCONT: everything that waited is read, socket by socket.
    pub(crate) fn thaw(&mut self, place: usize) {
        self.gateways[place].stopped = false;
        self.pump();
    }

    /// SIGCONT on a box that is busy: each thing that waited takes so long to read.
    pub(crate) fn thaw_slowly(&mut self, place: usize, each: Duration) {
        loop {
            self.gateways[place].stopped = false;
            self.act(place);
            let read = self.gateways[place].read_one(self.now);
            self.act(place);
            if !read {
                break;
            }
            self.gateways[place].stopped = true;
            self.run_for(each);
        }
        self.pump();
    }

    /// Cuts a gateway's wire, with loss of carrier: at both ends of the direct cable.
    pub(crate) fn pull(&mut self, place: usize, port: u8) {
        self.cut.insert((place, port));
        self.carriers(place, port);
    }

    pub(crate) fn plug(&mut self, place: usize, port: u8) {
        self.cut.remove(&(place, port));
        self.carriers(place, port);
    }

    /// Cuts every wire between the two without loss of carrier: the cable and the switches' trunks.
    pub(crate) fn split(&mut self) {
        self.loss = |_, _, _| true;
    }

    pub(crate) fn heal(&mut self) {
        self.loss = |_, _, _| false;
    }

    /// An operator loads another configuration: the kernel's side learns of it first.
    pub(crate) fn reload(&mut self, place: usize, change: Change) -> Result<(), ConfigRefused> {
        let (now, new) = (self.now, config(place, change));
        let gateway = &mut self.gateways[place];
        let daemon = gateway.daemon.as_mut().expect("the daemon runs");
        daemon.replace_config(now, new.clone())?;
        gateway.kernel.lengthen(new.timing.lease);
        gateway.config = new;
        self.pump();
        Ok(())
    }

    pub(crate) fn command(&mut self, place: usize, command: Command) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.tell(place, Input::CommandReceived { request, command });
        request
    }

    /// Hands an input to a daemon.
    pub(crate) fn tell(&mut self, place: usize, input: Input<'_>) {
        let now = self.now;
        if let Some(daemon) = self.gateways[place].awake() {
            daemon.handle(now, input);
        }
        self.pump();
    }

    /// A stranger sends a frame on a segment.
    pub(crate) fn inject(&mut self, port: u8, frame: &[u8]) {
        self.fly(port, &[A, B], frame);
    }

    fn carriers(&mut self, place: usize, port: u8) {
        self.set_carrier(place, port);
        if port == CABLE {
            self.set_carrier(1 - place, port);
        }
        self.pump();
    }

    /// A port has carrier when its wire is whole and, on the direct cable, the other box has power.
    fn set_carrier(&mut self, place: usize, port: u8) {
        let ends: &[usize] = if port == CABLE { &[A, B] } else { &[place] };
        let whole = ends.iter().all(|end| !self.cut.contains(&(*end, port)));
        let up = whole && ends.iter().all(|end| self.gateways[*end].powered);
        for end in ends {
            let gateway = &mut self.gateways[*end];
            if gateway.powered && gateway.carrier[usize::from(port)] != up {
                gateway.link(port, up);
            }
        }
    }

    fn schedule(&mut self, wait: Duration, event: Event) {
        self.sequence += 1;
        self.queue
            .insert((self.now.after(wait), self.sequence), event);
    }

    fn next_at(&self) -> Instant {
        let event = self.queue.keys().next().map(|(at, _)| *at);
        let deadlines = self.gateways.iter().filter_map(Gateway::deadline);
        let next = deadlines.chain(event).min().unwrap_or(Instant::FAR_FUTURE);
        next.max(self.now)
    }

    fn pass_to(&mut self, to: Instant) {
        let ends = [A, B].map(|place| self.gateways[place].kernel.live_until());
        self.watch.pass(self.now, to, ends);
        self.now = to;
    }

    /// Everything of the next instant: events, then deadlines.
    fn step(&mut self) {
        self.pass_to(self.next_at());
        while let Some(entry) = self
            .queue
            .first_entry()
            .filter(|next| next.key().0 <= self.now)
        {
            let event = entry.remove();
            self.happen(event);
        }
        self.pump();
        for _ in 0..TURNS_MAX {
            let now = self.now;
            let due = |gateway: &Gateway| gateway.deadline().is_some_and(|at| at <= now);
            let Some(place) = [A, B].into_iter().find(|place| due(&self.gateways[*place])) else {
                return;
            };
            self.tell(place, Input::DeadlineReached);
        }
        panic!("a daemon spins at {}", self.now);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Applied { to, life, op } => self.apply(to, life, op),
            Event::Arrived { to, port, frame } => self.arrive(to, port, frame),
            Event::Chatter => {
                let served = [LAN, WAN].into_iter().filter(|_| self.hosts);
                for port in served.collect::<Vec<u8>>() {
                    let mut word = Vec::new();
                    ethernet::header(&mut word, MacAddr::BROADCAST, host_mac(port), ORDINARY);
                    self.fly(port, &[A, B], &word);
                }
                self.schedule(CHATTER, Event::Chatter);
            }
            Event::Completed(answer) => {
                let gateway = &mut self.gateways[answer.to];
                if gateway.daemon.is_some() && gateway.lives == answer.life {
                    gateway.complete(answer.op, answer.outcome);
                }
            }
        }
    }

    fn apply(&mut self, to: usize, life: u8, op: OpId) {
        let now = self.now;
        let gateway = &mut self.gateways[to];
        let current = gateway.applying.filter(|(pending, _)| *pending == op);
        let Some((_, desired)) = current.filter(|_| gateway.lives == life) else {
            return;
        };
        gateway.applying = None;
        let outcome = if (gateway.refuses)(desired) {
            if gateway.lies {
                // Whatever became of it, nobody is told.
                let _ = gateway.kernel.apply(now, desired);
            }
            Err(gateway.refusal)
        } else {
            gateway.kernel.apply(now, desired)
        };
        let wait = gateway.answer_delay;
        let answer = Answer {
            to,
            life,
            op,
            outcome,
        };
        self.schedule(wait, Event::Completed(answer));
    }

    fn arrive(&mut self, to: usize, port: u8, frame: Vec<u8>) {
        let gateway = &mut self.gateways[to];
        if !gateway.is_up(port) || self.cut.contains(&(to, port)) {
            return;
        }
        let facts = &gateway.config.ports[usize::from(port)];
        let answer = gateway.kernel.answer(self.now, facts, &frame);
        gateway.receive(self.now, port, frame);
        if let Some(answer) = answer {
            self.send(to, port, &answer);
        }
    }

    /// A frame leaves a gateway: past the guard, onto the wire.
    fn send(&mut self, from: usize, port: u8, frame: &[u8]) {
        let gateway = &mut self.gateways[from];
        if !gateway.is_up(port) {
            return;
        }
        if !gateway.kernel.lets_out(self.now, frame) {
            gateway.refuse(port);
            return;
        }
        let lost = self.cut.contains(&(from, port)) || (self.loss)(from, port, frame);
        if !lost {
            self.fly(port, &[1 - from], frame);
        }
        if self.hosts && port != CABLE && !self.cut.contains(&(from, port)) {
            self.host_hears(from, port, frame);
        }
    }

    fn fly(&mut self, port: u8, to: &[usize], frame: &[u8]) {
        for place in to {
            let frame = frame.to_vec();
            let wanted = Frame::parse(&frame).is_some_and(|it| {
                let port = &self.gateways[*place].config.ports[usize::from(port)];
                let stations = [port.mac, port.owners_mac()];
                it.destination.is_group() || stations.contains(&it.destination)
            });
            if wanted {
                let to = *place;
                self.schedule(self.flight, Event::Arrived { to, port, frame });
            }
        }
    }

    /// A segment's host answers for its own address, to whoever asks.
    fn host_hears(&mut self, from: usize, port: u8, bytes: &[u8]) {
        let asked = Frame::parse(bytes)
            .filter(|frame| frame.ethertype == ethertype::ARP)
            .and_then(|frame| Arp::parse(frame.payload))
            .filter(|arp| arp.operation == Operation::Request)
            .filter(|arp| arp.target_ip == address(port, 100));
        if let Some(request) = asked {
            let answer = reply(&request, host_mac(port), address(port, 100));
            self.fly(port, &[from], &answer);
        }
    }

    /// Lets both daemons read and act until there is nothing left to read.
    fn pump(&mut self) {
        for _ in 0..TURNS_MAX {
            let now = self.now;
            let mut read = false;
            for place in [A, B] {
                self.act(place);
                read |= self.gateways[place].read_one(now);
                self.act(place);
            }
            if !read {
                return;
            }
        }
        panic!("reading never ends at {}", self.now);
    }

    /// Carries out a daemon's effects.
    fn act(&mut self, place: usize) {
        while let Some(effect) = self.gateways[place]
            .awake()
            .and_then(steadfast_core::Node::poll_effect)
        {
            self.log.push((self.now, place, effect.clone()));
            let life = self.gateways[place].lives;
            match effect {
                Effect::Apply { op, desired, .. } => {
                    let gateway = &mut self.gateways[place];
                    let wait = gateway.apply_delay;
                    if let Some((older, _)) = gateway.applying.replace((op, desired)) {
                        gateway.complete(older, Err(Failure::Superseded));
                    }
                    self.schedule(
                        wait,
                        Event::Applied {
                            to: place,
                            life,
                            op,
                        },
                    );
                }
                Effect::Persist { op, record } => {
                    self.gateways[place].record = record;
                    let wait = Duration::from_millis(2);
                    let answer = Answer {
                        to: place,
                        life,
                        op,
                        outcome: Ok(()),
                    };
                    self.schedule(wait, Event::Completed(answer));
                }
                Effect::Transmit { port, frame } => self.send(place, port.0, &frame),
                Effect::Stopped => {
                    self.gateways[place].kill();
                }
                Effect::Alert(_) | Effect::Reply { .. } => {}
            }
        }
    }
}
