//! The world lab: plays a plan on real kernels, with the daemon under test as real processes.
//!
//! One thread plays: it asks the [`Schedule`] what is due, carries it out on the [`Lab`], tells
//! what it did to the [`Eyes`], and takes from them all events in order, for the judge and the
//! trace. The daemon is behind an [`Agent`], which knows how it is configured, asked and commanded;
//! so ours, a vendor's build of it and foreign ones are put under the same faults.
//!
//! The hard case is time: it is the host's and does not wait. A step is told with the time at which
//! it began, and the eyes are told when the world began it late.
//! Steps that wait for a frame run some tenths of a millisecond after it; what they strike the
//! kernel strikes in the frame's instant ([`frames`]). Limit: what eyes hold back to put events in
//! order (some 20 ms) the picture lags behind; a step's `active` is who was it then.

mod agent;
mod frames;
mod holds;
mod hooks;
mod operator;
mod reckon;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::thread;

use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::format::Plan;
use steadfast_scenarios::trace::{Event, EventKind, Names, PowerState, ProcessState};
use steadfast_scenarios::{Judge, Random, Schedule, Subject};

use crate::daemons::clocks::WallClock;
use crate::error::{Doing, LabError};
use crate::instruments::RunClock;
use crate::lab::{Lab, Told};
use crate::machine::DaemonEvent;
use crate::sys::run_early;
use crate::wires::{CarrierChange, mends};
pub use agent::{Agent, Raised, Said, build, missing, virtual_macs};
use reckon::Reckonings;

/// Boots of one plan differ by up to this much, as in the simulated worlds.
const BOOT_JITTER: Duration = Duration::from_millis(400);
/// Longest sleep of the world's thread: events and ends of daemons are noticed no later.
const ROUND: Duration = Duration::from_millis(2);
/// The same while a step waits for a frame.
const ROUND_AWAITING: Duration = Duration::from_micros(100);

/// What happened to a daemon is told as of then, if that is no longer ago: half of what events are
/// held back.
const AGE_MAX: Duration = Duration::from_millis(10);
/// How a process ends that was killed: 128 and the signal.
const KILLED: i32 = 128 + 9;

/// What sees: instruments and the order of what they tell.
pub trait Eyes {
    /// The run's time.
    fn now(&self) -> Instant;

    /// The world did this, then.
    fn tell(&mut self, at: Instant, kind: EventKind);

    /// Frames of hand-overs seen since the last call, their order not yet known; they are told
    /// again in their order.
    fn early(&mut self) -> Vec<Event>;

    /// Whether a step waits for a frame from now on: see them soon, whatever that costs.
    fn await_frames(&mut self, _awaited: bool) {}

    /// The world did what was due only now: what two acts were to have between them they had not.
    fn late(&mut self, due: Instant, now: Instant);

    /// The events whose order is known by now.
    fn poll(&mut self) -> Vec<Event>;

    /// A gateway stands in a new network namespace: whoever listened in the old one is deaf.
    fn renewed(&mut self, _lab: &Lab, _gateway: NodeId) {}

    /// A gateway's wires are others, and dark still: whoever listened at the switch's ends is deaf.
    fn laid_anew(&mut self, lab: &Lab, gateway: NodeId);

    /// These steps are due then, and one may have run just now: for bursts of probes.
    fn steps(&mut self, ran: Option<Instant>, due: &[Instant]);

    /// The run is over: the rest of the events.
    fn finish(&mut self) -> Vec<Event>;
}

/// Plays a plan to its end; every event goes to `sink`, in order.
///
/// # Errors
/// What the kernel refuses, or the agent.
pub fn run(
    plan: &Plan,
    lab: &mut Lab,
    agent: &mut (impl Agent + ?Sized),
    eyes: &mut impl Eyes,
    judge: &mut Judge,
    sink: &mut dyn FnMut(&Event),
) -> Result<(), LabError> {
    let pipes = hooks::Pipes::open(plan, lab)?;
    let mut world = World {
        pipes,
        plan,
        lab,
        agent,
        eyes,
        judge,
        sink,
        schedule: Schedule::new(plan),
        boots: boots(plan),
        clocks: clocks(plan),
        reckonings: Reckonings::new(plan),
        said: vec![None; plan.layout.gateways.len()],
        gone: vec![true; plan.layout.gateways.len()],
        tried: BTreeSet::new(),
        laid: BTreeMap::new(),
        ended_in_order: vec![false; plan.layout.gateways.len()],
    };
    world.play()
}

struct World<'a, A: ?Sized, E> {
    plan: &'a Plan,
    /// On which hooks say what they do.
    pipes: hooks::Pipes,
    lab: &'a mut Lab,
    agent: &'a mut A,
    eyes: &'a mut E,
    judge: &'a mut Judge,
    sink: &'a mut dyn FnMut(&Event),
    schedule: Schedule,
    /// How the gateways' wall clocks go, in their order.
    clocks: Vec<WallClock>,
    /// Who is switched on when.
    boots: Vec<(Instant, NodeId)>,
    reckonings: Reckonings,
    said: Vec<Option<Said>>,
    /// Steps that wait for a frame which was thought of, by their places in the plan.
    tried: BTreeSet<usize>,
    /// Those for which a snare is laid, and for whom.
    laid: BTreeMap<usize, Subject>,
    /// Whose daemon was last told as gone, or was never there.
    gone: Vec<bool>,
    /// Whether the present boot's daemon ended by itself: the next end of power is in order.
    ended_in_order: Vec<bool>,
}

impl<A: Agent + ?Sized, E: Eyes> World<'_, A, E> {
    fn play(&mut self) -> Result<(), LabError> {
        run_early();
        self.eyes
            .tell(Instant::ORIGIN, EventKind::Names(Names::of(self.plan)));
        self.tell_due(None);
        self.eyes.await_frames(self.schedule.wants_frames());
        loop {
            let now = self.eyes.now();
            if now >= self.plan.end() {
                break;
            }
            let boots = self.boots.iter().map(|(at, _)| *at);
            let due = boots.chain(self.lab.next_deadline());
            if let Some(due) = due.chain(self.schedule.next_deadline()).min() {
                self.eyes.late(due, now);
            }
            self.switch_on(now)?;
            if self.lab.next_deadline().is_some_and(|at| at <= now) {
                self.lab.settle(now)?;
            }
            self.tell_lab(now)?;
            self.tell_hooks();
            self.lay_snares(now)?;
            self.await_frames()?;
            self.take_steps()?;
            self.ask();
            for event in self.eyes.poll() {
                self.see(&event);
            }
            self.rest();
        }
        if let Some(what) = self.agent.unheard() {
            return Err(io::Error::other(what)).doing(|| "command a daemon".to_owned());
        }
        self.is_nobody_cut()?;
        self.tell_held(self.plan.end());
        self.eyes.tell(self.plan.end(), EventKind::End);
        for event in self.eyes.finish() {
            self.see(&event);
        }
        Ok(())
    }

    fn switch_on(&mut self, now: Instant) -> Result<(), LabError> {
        while let Some(place) = self.boots.iter().position(|(at, _)| *at <= now) {
            let (_, id) = self.boots.swap_remove(place);
            self.lab.power_on(id, now)?;
        }
        Ok(())
    }

    /// Runs every step that is due. What strikes in the instant of a frame is told as of then, and
    /// what mends when it was done.
    fn take_steps(&mut self) -> Result<(), LabError> {
        loop {
            let now = self.eyes.now();
            let Some(due) = self.schedule.poll(now, self.judge.picture()) else {
                return Ok(());
            };
            self.tell_held(now);
            let step = &self.plan.steps[due.index];
            if let Some(subject) = due.subject {
                self.lab.carry_out(subject, &step.verb, now)?;
                self.command(subject, &step.verb, now);
                self.reload(subject, &step.verb)?;
                self.set_certificate(subject, &step.verb)?;
                self.set_check(subject, &step.verb)?;
                self.set_hook(subject, &step.verb)?;
                self.set_clock(subject, &step.verb)?;
            }
            let (at, took) = if self.has_struck(&due, now)? {
                (due.at.max(before(now, AGE_MAX)), None)
            } else if mends(&step.verb) {
                (self.eyes.now(), None)
            } else {
                let took = self.eyes.now().since(now).as_nanos();
                (now, u64::try_from(took).ok())
            };
            let kind = EventKind::Step {
                name: step.name.clone(),
                verb: step.verb.word(),
                target: due.target,
                done: due.subject.is_some(),
                took,
            };
            self.eyes.tell(at, kind);
            self.tell_lab(at.max(now))?;
            self.tell_due(Some(at));
            self.eyes.await_frames(self.schedule.wants_frames());
        }
    }

    fn tell_due(&mut self, ran: Option<Instant>) {
        let due: Vec<Instant> = self.schedule.times().map(|(_, at)| at).collect();
        self.eyes.steps(ran, &due);
    }

    /// Tells what the lab did, in the trace's words.
    ///
    /// # Errors
    /// A daemon could not be started: nothing that follows would be about it.
    fn tell_lab(&mut self, now: Instant) -> Result<(), LabError> {
        for told in self.lab.poll_told() {
            let at = match told {
                Told::Daemon(_, _, at) => self.run_time(at),
                _ => now,
            };
            let kind = match told {
                Told::Carrier(change) => carrier(change),
                Told::Killed(gateway) => {
                    if self.gone[self.place(gateway)] {
                        continue;
                    }
                    self.process(gateway, DaemonEvent::Ended(KILLED))
                }
                Told::Daemon(gateway, event @ DaemonEvent::Ended(_), _) => {
                    let known = self.gone[self.place(gateway)];
                    let kind = self.process(gateway, event);
                    if known {
                        continue;
                    }
                    kind
                }
                Told::Daemon(gateway, DaemonEvent::Refused(errno), _) => {
                    return Err(self.not_started(gateway, errno));
                }
                Told::Daemon(gateway, event, _) => self.process(gateway, event),
                Told::Stopped(gateway, stopped) => process(
                    gateway,
                    if stopped {
                        ProcessState::Stopped
                    } else {
                        ProcessState::Running
                    },
                ),
                Told::Late(late) => EventKind::Blind {
                    since: before(now, late),
                    why: format!("the relay was late by {} ms", late.as_millis()),
                },
                Told::Frozen(gateway, frozen) => EventKind::Frozen { gateway, frozen },
                Told::PowerOff(gateway) => {
                    let place = self.place(gateway);
                    let clean = self.ended_in_order[place];
                    self.said[place] = None;
                    self.reckonings.ended(gateway, now, clean);
                    if !core::mem::replace(&mut self.gone[place], true) {
                        self.eyes.tell(now, process(gateway, ProcessState::Killed));
                    }
                    power(gateway, PowerState::Off)
                }
                Told::Laid(gateway) => {
                    self.eyes.laid_anew(self.lab, gateway);
                    continue;
                }
                Told::Booting(gateway) => power(gateway, PowerState::Booting),
                Told::Booted(gateway) => {
                    let place = self.place(gateway);
                    self.ended_in_order[place] = false;
                    self.eyes.renewed(self.lab, gateway);
                    let changes = self.reckonings.booted(gateway, now);
                    self.tell_barred(now, changes);
                    power(gateway, PowerState::Running)
                }
            };
            self.eyes.tell(at, kind);
        }
        Ok(())
    }

    fn not_started(&self, gateway: NodeId, errno: i32) -> LabError {
        let named = self.plan.layout.gateways.iter().find(|it| it.id == gateway);
        let name = named.map_or("a gateway", |it| &it.name);
        LabError::System {
            doing: format!("start the daemon of {name}"),
            source: io::Error::from_raw_os_error(errno),
        }
    }

    /// Tells what daemons hold, if somebody wants to know.
    fn tell_held(&mut self, at: Instant) {
        if holds::asked_for(self.plan) {
            for held in holds::look(self.plan, self.lab) {
                self.eyes.tell(at, held);
            }
        }
    }

    /// Tells what hooks said.
    fn tell_hooks(&mut self) {
        for said in self.pipes.read() {
            let at = self.eyes.now();
            let blind = |why| EventKind::Blind { since: at, why };
            self.eyes.tell(at, said.unwrap_or_else(blind));
        }
    }

    /// When the kernel's clock stood there; what is too old for the order of events is told late.
    fn run_time(&self, monotonic: u64) -> Instant {
        let age = RunClock::from_monotonic(monotonic).now();
        before(self.eyes.now(), age.since(Instant::ORIGIN).min(AGE_MAX))
    }

    fn process(&mut self, gateway: NodeId, event: DaemonEvent) -> EventKind {
        let place = self.place(gateway);
        self.gone[place] = event != DaemonEvent::Started;
        let state = match event {
            DaemonEvent::Started => {
                let now = self.eyes.now();
                let changes = self.reckonings.started(gateway, now);
                self.tell_barred(now, changes);
                ProcessState::Running
            }
            DaemonEvent::Ended(code) => {
                self.said[place] = None;
                self.ended_in_order[place] = code == 0;
                self.reckonings.stopped(gateway, code == 0);
                ProcessState::Killed
            }
            DaemonEvent::Refused(_) => ProcessState::Killed,
        };
        process(gateway, state)
    }

    fn tell_barred(&mut self, now: Instant, changes: Vec<(NodeId, bool)>) {
        for (gateway, barred) in changes {
            self.eyes.tell(now, EventKind::Barred { gateway, barred });
        }
    }

    /// What the daemons said of themselves since the last look: tells what changed.
    fn ask(&mut self) {
        for (place, gateway) in self.plan.layout.gateways.iter().enumerate() {
            let Some(machine) = self.lab.machine(gateway.id) else {
                continue;
            };
            let (powered, run) = (machine.powered(), machine.place().join("run"));
            while let Some((at, said)) = self.agent.status(gateway.id, &run) {
                // What was said right before its end is no word of the next life.
                let over = !powered || self.gone[place];
                if over || self.said[place].as_ref() == Some(&said) {
                    continue;
                }
                let before = self.said[place].replace(said.clone());
                for kind in said.news(gateway.id, before.as_ref()) {
                    self.eyes.tell(at, kind);
                }
            }
        }
    }

    fn see(&mut self, event: &Event) {
        (self.sink)(event);
        self.judge.observe(event);
    }

    /// Sleeps until something is due, but not long.
    fn rest(&self) {
        let now = self.eyes.now();
        let boots = self.boots.iter().map(|(at, _)| *at);
        let round = if self.schedule.wants_frames() {
            ROUND_AWAITING
        } else {
            ROUND
        };
        let due = boots
            .chain(self.lab.next_deadline())
            .chain(self.schedule.next_deadline())
            .chain([now.after(round), self.plan.end()])
            .min();
        thread::sleep(due.map_or(ROUND, |due| due.max(now).since(now)));
    }

    fn place(&self, id: NodeId) -> usize {
        let gateways = &self.plan.layout.gateways;
        let place = gateways.iter().position(|gateway| gateway.id == id);
        place.unwrap_or_default()
    }
}

/// What each gateway's wall clock shows at first.
fn clocks(plan: &Plan) -> Vec<WallClock> {
    let gateways = plan.layout.gateways.iter();
    let at_first = gateways.map(|gateway| plan.gateway(&gateway.name).clock);
    at_first.map(WallClock::off).collect()
}

/// Who is switched on when: as the plan says, each a little later than the other.
fn boots(plan: &Plan) -> Vec<(Instant, NodeId)> {
    let mut random = Random::new(plan.seed, "boots");
    let mut boots = Vec::new();
    for gateway in &plan.layout.gateways {
        let setup = plan.gateway(&gateway.name);
        let most = u64::try_from(BOOT_JITTER.as_nanos()).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(random.between(0, most));
        if setup.powered {
            boots.push((Instant::ORIGIN.after(setup.boot_at.0 + jitter), gateway.id));
        }
    }
    boots
}

fn before(now: Instant, span: Duration) -> Instant {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(now.as_nanos().saturating_sub(nanos))
}

const fn process(gateway: NodeId, state: ProcessState) -> EventKind {
    EventKind::Process { gateway, state }
}

const fn power(gateway: NodeId, state: PowerState) -> EventKind {
    EventKind::Power { gateway, state }
}

const fn carrier(change: CarrierChange) -> EventKind {
    let CarrierChange { gateway, port, up } = change;
    EventKind::Carrier { gateway, port, up }
}
