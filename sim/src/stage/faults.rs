//! Carrying out steps: each verb of a scenario, on the models and boxes of this world.

use core::time::Duration;

use steadfast_core::effect::Command;
use steadfast_core::{Instant, RequestId};
use steadfast_scenarios::format::{Changes, CommandName, DiskState, EffectMode, Plan, Verb};
use steadfast_scenarios::trace::{EventKind, FrameKind};
use steadfast_scenarios::{Picture, Schedule, Subject};

use super::gateway::{ApplyMode, Disk, Order};
use super::setup;
use super::turns::Turn;
use super::world::{Happening, World};
use crate::model::kernel::FlushBy;

/// How long the packet filter's lock is held for each rule of a large load: 200 000 elements took
/// a few hundred milliseconds.
const LOAD_PER_ELEMENT: Duration = Duration::from_micros(2);

/// From an operator's command to the daemon: a request over its control socket.
const COMMAND_LATENCY: Duration = Duration::from_micros(250);
const COMMAND_JITTER: Duration = Duration::from_micros(400);

/// The plan's steps, followed.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    pub(crate) schedule: Schedule,
    scheduled_at: Option<Instant>,
}

impl Steps {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            schedule: Schedule::new(plan),
            scheduled_at: None,
        }
    }
}

impl World<'_> {
    pub(crate) fn schedule_steps(&mut self) {
        let next = self
            .steps
            .schedule
            .next_deadline()
            .map(|at| at.max(self.now));
        if let Some(at) = next
            && self
                .steps
                .scheduled_at
                .is_none_or(|known| at < known || known < self.now)
        {
            self.steps.scheduled_at = Some(at);
            self.queue.push(at, Happening::Step { index: 0 });
        }
    }

    /// Runs every step that is due.
    pub(crate) fn step_due(&mut self, _index: usize) {
        self.steps.scheduled_at = None;
        self.observe();
        while let Some(due) = self.steps.schedule.poll(self.now, self.observer.picture()) {
            let plan = std::rc::Rc::clone(&self.plan);
            let step = &plan.steps[due.index];
            let (name, verb) = (step.name.clone(), step.verb.word());
            let done = due.subject.is_some();
            self.tell_held();
            self.emit(EventKind::Step {
                name,
                verb,
                target: due.target,
                done,
                took: None,
            });
            self.traffic.burst(due.index, self.now);
            if let Some(subject) = due.subject {
                self.carry_out_step(subject, &step.verb);
            }
            self.observe();
        }
        self.schedule_steps();
        self.schedule_probes();
    }

    /// A frame left a gateway: some step may have waited for it.
    pub(crate) fn frame_seen(&mut self, station: usize, kind: FrameKind) {
        if self.steps.schedule.wants_frames() {
            let from = self.id(station);
            let picture: &Picture = self.observer.picture();
            self.steps
                .schedule
                .frame_seen(self.now, kind, from, picture);
            self.schedule_steps();
        }
    }

    fn carry_out_step(&mut self, subject: Subject, verb: &Verb) {
        match subject {
            Subject::Gateway(id) => {
                let gateway = self.station_of(id);
                self.on_gateway(gateway, verb);
                self.on_ends(subject, verb);
            }
            Subject::Port(..) => self.on_ends(subject, verb),
            Subject::Segment(segment) => {
                self.on_segment(segment.index(), verb);
                self.on_ends(subject, verb);
            }
        }
        self.net.settle(self.now);
        self.carriers_changed();
    }

    pub(crate) fn station_of(&self, id: steadfast_core::NodeId) -> usize {
        let gateways = &self.plan.layout.gateways;
        gateways
            .iter()
            .position(|gateway| gateway.id == id)
            .unwrap_or_default()
    }

    fn on_gateway(&mut self, gateway: usize, verb: &Verb) {
        match verb {
            Verb::Call => self.call(gateway),
            Verb::Certificate { shows } => self.set_certificate(gateway, shows),
            Verb::Check { .. } => self.set_check(gateway, verb),
            Verb::Hook { .. } => self.set_hook(gateway, verb),
            Verb::PowerOff => self.power_off(gateway),
            Verb::PowerOn => self.power_on(gateway),
            Verb::Reboot { clean } => self.reboot(gateway, *clean),
            Verb::RebootLoop { count, uptime } => {
                let turn = Turn::RebootLoop {
                    gateway,
                    left: *count,
                    uptime: uptime.0,
                };
                self.turn_due(turn);
            }
            Verb::Kill => self.kill(gateway),
            Verb::Start => self.start_daemon(gateway),
            Verb::Quit => self.order(gateway, Order::Shutdown),
            Verb::Stop => self.stop(gateway),
            Verb::Cont => self.cont(gateway),
            Verb::Stall { lasting } => {
                self.stop(gateway);
                let turn = Turn::Cont { gateway };
                self.queue
                    .push(self.now.after(lasting.0), Happening::Turn { turn });
            }
            Verb::Starve {
                runs: on,
                rests: off,
                lasting,
            } => {
                let until = self.now.after(lasting.0);
                let (on, off) = (on.0, off.0);
                self.turn_due(Turn::Starve {
                    gateway,
                    on,
                    off,
                    until,
                    runs: true,
                });
            }
            Verb::Freeze { .. } | Verb::Thaw => self.freeze(gateway, verb),
            Verb::Disk { state } => self.gateways[gateway].disk = disk(*state),
            Verb::Apply { mode, by } => self.gateways[gateway].apply = apply(*mode, by.0),
            Verb::LoadRuleset { elements } => {
                let held = LOAD_PER_ELEMENT * *elements;
                self.gateways[gateway].apply = ApplyMode::Slow(held);
                self.gateways[gateway].kernel.hold_filter(self.now, true);
                let turn = Turn::Obey { gateway };
                self.queue
                    .push(self.now.after(held), Happening::Turn { turn });
            }
            Verb::FlushRuleset => self.gateways[gateway]
                .kernel
                .flush_ruleset(FlushBy::Foreign),
            Verb::Command { command } => self.give_command(gateway, *command),
            Verb::Reload(changes) => self.reload(gateway, changes),
            Verb::Lie { role } => {
                let role = role.map(|word| word.0);
                self.observer.lie(gateway, role);
                let gateway = self.id(gateway);
                self.emit(EventKind::RoleLie { gateway, role });
            }
            // Wires and switches are handled elsewhere. The core is given no wall clock: nothing
            // that a clock does can reach a decision (F10).
            _ => {}
        }
    }

    /// The file is changed, which a daemon that starts later finds; a running one is told.
    fn reload(&mut self, gateway: usize, changes: &Changes) {
        let place = &self.plan.layout.gateways[gateway];
        let changed = changes.made_to(&self.plan, &place.name);
        // What the product refuses is not taken, and the file before it is put back.
        if let Ok(config) = setup::config(&changed, place) {
            self.configs[gateway] = config.clone();
            self.order(gateway, Order::Reload(Box::new(config)));
        }
    }

    /// An operator gives a command, which takes its way to the daemon.
    fn give_command(&mut self, gateway: usize, command: CommandName) {
        let turn = Turn::Command {
            gateway,
            command: core_command(command),
        };
        let wait = COMMAND_LATENCY + self.drawn(COMMAND_JITTER);
        self.queue
            .push(self.now.after(wait), Happening::Turn { turn });
        self.operator_cleared(gateway, command);
    }

    /// An operator's command has come through.
    pub(crate) fn command(&mut self, gateway: usize, command: Command) {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.order(gateway, Order::Command(request, command));
    }

    fn order(&mut self, gateway: usize, order: Order) {
        if let Some(daemon) = &mut self.gateways[gateway].daemon {
            daemon.order(order);
            self.wake_soon(gateway);
        }
    }
}

fn disk(state: DiskState) -> Disk {
    match state {
        DiskState::Full | DiskState::Readonly => Disk::Failing,
        DiskState::Ok => Disk::Ok,
        DiskState::Slow => Disk::Slow,
        DiskState::Torn => Disk::Torn,
    }
}

fn apply(mode: EffectMode, by: Duration) -> ApplyMode {
    match mode {
        EffectMode::Fail => ApplyMode::Failing,
        EffectMode::Lie => ApplyMode::Lying,
        EffectMode::Ok => ApplyMode::Ok,
        EffectMode::Refuse => ApplyMode::Refusing,
        EffectMode::Slow => ApplyMode::Slow(by),
    }
}

fn core_command(command: CommandName) -> Command {
    match command {
        CommandName::ClearPacified => Command::ClearPacified,
        CommandName::Enable => Command::Enable,
        CommandName::MaintenanceOff => Command::MaintenanceOff,
        CommandName::MaintenanceOn => Command::MaintenanceOn,
        CommandName::Release => Command::Release,
        CommandName::Takeover => Command::TakeOver,
    }
}
