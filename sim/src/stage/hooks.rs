//! Hooks: programs that follow a node's role, decided on by the production core (R1.5, F03).
//!
//! What is shipped decides when a program begins, what for, and when it is ended
//! (`steadfast_core::hooks`); here are the programs, which take their time and then point something
//! at their gateway, their guards, and the thread that hears the node's word. Programs stand still
//! with their box and end with its power. The hard case (F03) is a program that goes on while its
//! daemon stands still or was killed: nobody but the guard ends that one, and what it does it does
//! in the name of a gateway that serves no more.

use core::time::Duration;
use std::collections::BTreeMap;

use steadfast_core::Instant;
use steadfast_core::hooks::{Act, Call, Hooks, Word};
use steadfast_core::status::{Cause, Status};
use steadfast_scenarios::format::Verb;
use steadfast_scenarios::trace::{EventKind, HookPhase};

use super::gateway::Body;
use super::world::{Happening, World};

/// From the core's decision to a program's first line: its guard, a shell, a file. In the lab 2 to
/// 5 ms while nothing else runs, and 10 and more in company, since it has no priority.
const START_TIME: Duration = Duration::from_millis(2);
const START_JITTER: Duration = Duration::from_millis(3);
/// What a program takes besides what it is told to.
const WORK_JITTER: Duration = Duration::from_millis(1);
/// From an order to end a program to the end of all its group.
const DEATH_JITTER: Duration = Duration::from_millis(2);
/// A node says its word at least so often, when it has had a turn.
const WORD_EVERY: Duration = Duration::from_millis(100);
/// Who would go on while its box or daemon stands still looks again after this.
const STANDSTILL: Duration = Duration::from_millis(1);
/// Whoever waits for hooks to end looks again after this.
const PATIENCE: Duration = Duration::from_millis(5);

/// How runs of a hook go that begin from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    takes: Duration,
    fails: bool,
}

/// A running daemon's hooks.
#[derive(Debug)]
pub(crate) struct Follower {
    life: u64,
    machine: Hooks,
    /// What the word last said, and when.
    told: Option<((Instant, Cause), Instant)>,
}

/// What a box runs for hooks, by its daemon's life and the run's number: a daemon that is killed
/// leaves its programs behind.
pub(crate) type Programs = BTreeMap<(u64, u64), Program>;

/// A program that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    hook: usize,
    call: Call,
    phase: Phase,
    /// When it takes its next step.
    due: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It was ordered and has not begun.
    Starts,
    /// It works, and fails in the end or does not.
    Works { fails: bool },
    /// It was ended, or is about to be, by its guard.
    Dies,
    /// It is gone, which its daemon has not noticed.
    Gone { passed: bool },
}

impl World<'_> {
    /// A daemon begins: nothing was run yet.
    pub(crate) fn begin_hooks(&mut self, station: usize, life: u64) {
        let hooks = &self.plan.cluster.hooks;
        if hooks.is_empty() || self.plan.layout.gateways[station].witness {
            return;
        }
        self.gateways[station].hooks = Some(Follower {
            life,
            machine: Hooks::new(hooks.iter().map(|hook| hook.timeout.0).collect()),
            told: None,
        });
    }

    /// The node had a turn: its hooks hear what it is, if that has changed or not been said lately.
    pub(crate) fn tell_hooks(&mut self, station: usize) {
        let now = self.now;
        let gateway = &self.gateways[station];
        let (Some(daemon), Some(hooks)) = (&gateway.daemon, &gateway.hooks) else {
            return;
        };
        let Body::Turns(turns) = &daemon.body else {
            return;
        };
        let reason = turns.node.reason();
        let old = |(said, at): (_, Instant)| said != reason || now.since(at) >= WORD_EVERY;
        if hooks.told.is_none_or(old) {
            let status = turns.node.status(now);
            self.hooks_hear(station, &status);
            if let Some(hooks) = &mut self.gateways[station].hooks {
                hooks.told = Some((reason, now));
            }
        }
    }

    /// The node's word.
    pub(crate) fn hooks_hear(&mut self, station: usize, status: &Status) {
        let now = self.now;
        self.with_hooks(station, |hooks| hooks.heard(now, Word::from(status)));
    }

    /// The node serves no more, and its process ends when its hooks were told.
    pub(crate) fn close_hooks(&mut self, station: usize) {
        let now = self.now;
        self.with_hooks(station, |hooks| hooks.close(now));
    }

    /// Until when a process that ends waits for its hooks, if it does.
    pub(crate) fn awaits_hooks(&self, station: usize) -> Option<Instant> {
        let hooks = self.gateways[station].hooks.as_ref()?;
        (!hooks.machine.is_settled()).then(|| self.now.after(PATIENCE))
    }

    /// A program takes its next step.
    pub(crate) fn program_due(&mut self, station: usize, life: u64, run: u64) {
        let now = self.now;
        let known = self.gateways[station].programs.get(&(life, run)).copied();
        let Some(program) = known.filter(|program| program.due <= now) else {
            return;
        };
        if !self.gateways[station].runs() {
            self.program_later(station, life, run, STANDSTILL);
            return;
        }
        match program.phase {
            Phase::Starts => self.program_begins(station, life, run, program),
            Phase::Works { fails } => {
                let phase = if fails {
                    HookPhase::Failed
                } else {
                    HookPhase::Done
                };
                self.tell_hook(station, program, phase);
                self.program_over(station, life, run, !fails);
            }
            Phase::Dies => self.program_over(station, life, run, false),
            Phase::Gone { passed } => self.program_over(station, life, run, passed),
        }
    }

    /// A program works for as long as it takes, or until its guard ends it.
    fn program_begins(&mut self, station: usize, life: u64, run: u64, program: Program) {
        self.tell_hook(station, program, HookPhase::Began);
        let work = self.gateways[station].works.get(&program.hook).copied();
        let Work { takes, fails } = work.unwrap_or_default();
        let takes = takes + self.drawn(WORK_JITTER);
        let timeout = self.plan.cluster.hooks[program.hook].timeout.0;
        let phase = if takes < timeout {
            Phase::Works { fails }
        } else {
            Phase::Dies
        };
        self.step_program(station, life, run, phase);
        self.program_later(station, life, run, takes.min(timeout));
    }

    /// What takes too long is ended.
    pub(crate) fn hooks_due(&mut self, station: usize, life: u64) {
        if self.followed(station, life).is_none() {
            return;
        }
        if self.stands_still(station) {
            let at = self.now.after(STANDSTILL);
            let gateway = station;
            self.queue.push(at, Happening::HooksDue { gateway, life });
            return;
        }
        let now = self.now;
        self.with_hooks(station, |hooks| hooks.deadline_reached(now));
    }

    /// A step says how a hook goes from now on.
    pub(crate) fn set_hook(&mut self, station: usize, verb: &Verb) {
        let Verb::Hook { hook, takes, fails } = verb else {
            return;
        };
        let mut hooks = self.plan.cluster.hooks.iter();
        if let Some(place) = hooks.position(|known| known.name == *hook) {
            let (takes, fails) = (takes.0, *fails);
            let works = &mut self.gateways[station].works;
            works.insert(place, Work { takes, fails });
        }
    }

    fn followed(&mut self, station: usize, life: u64) -> Option<&mut Follower> {
        let hooks = self.gateways[station].hooks.as_mut();
        hooks.filter(|hooks| hooks.life == life)
    }

    /// A daemon notices nothing while its box stands still, or it is stopped.
    fn stands_still(&self, station: usize) -> bool {
        let gateway = &self.gateways[station];
        let stopped = gateway.daemon.as_ref().is_some_and(|it| it.stopped);
        !gateway.runs() || stopped
    }

    /// Does something to the core's machine, and then what that wants.
    fn with_hooks(&mut self, station: usize, act: impl FnOnce(&mut Hooks)) {
        let Some(hooks) = &mut self.gateways[station].hooks else {
            return;
        };
        act(&mut hooks.machine);
        let life = hooks.life;
        let wanted: Vec<Act> = core::iter::from_fn(|| hooks.machine.poll_act()).collect();
        let deadline = hooks.machine.next_deadline();
        let changes = !wanted.is_empty();
        for act in wanted {
            self.carry_out_act(station, life, act);
        }
        if let Some(at) = deadline.filter(|_| changes) {
            let gateway = station;
            self.queue.push(at, Happening::HooksDue { gateway, life });
        }
    }

    fn carry_out_act(&mut self, station: usize, life: u64, act: Act) {
        let (run, wait) = match act {
            Act::Start { run, hook, call } => {
                let program = Program {
                    hook,
                    call,
                    phase: Phase::Starts,
                    due: self.now,
                };
                let programs = &mut self.gateways[station].programs;
                programs.insert((life, run), program);
                (run, START_TIME + self.drawn(START_JITTER))
            }
            Act::Kill { run } => {
                self.step_program(station, life, run, Phase::Dies);
                (run, self.drawn(DEATH_JITTER))
            }
        };
        self.program_later(station, life, run, wait);
    }

    fn step_program(&mut self, station: usize, life: u64, run: u64, phase: Phase) {
        let programs = &mut self.gateways[station].programs;
        if let Some(program) = programs.get_mut(&(life, run)) {
            program.phase = phase;
        }
    }

    fn program_later(&mut self, station: usize, life: u64, run: u64, wait: Duration) {
        let at = self.now.after(wait);
        let programs = &mut self.gateways[station].programs;
        if let Some(program) = programs.get_mut(&(life, run)) {
            program.due = at;
            let gateway = station;
            let happening = Happening::ProgramDue { gateway, life, run };
            self.queue.push(at, happening);
        }
    }

    fn program_over(&mut self, station: usize, life: u64, run: u64, passed: bool) {
        let now = self.now;
        if self.stands_still(station) {
            self.step_program(station, life, run, Phase::Gone { passed });
            self.program_later(station, life, run, STANDSTILL);
            return;
        }
        self.gateways[station].programs.remove(&(life, run));
        // Of what a killed daemon left behind nobody is told.
        if self.followed(station, life).is_some() {
            self.with_hooks(station, |hooks| hooks.ended(now, run, passed));
        }
    }

    fn tell_hook(&mut self, station: usize, program: Program, phase: HookPhase) {
        let Program { hook, call, .. } = program;
        let gateway = self.id(station);
        let hook = self.plan.cluster.hooks[hook].name.clone();
        self.emit(EventKind::Hook {
            gateway,
            hook,
            level: call.level,
            epoch: call.epoch,
            again: call.again,
            phase,
        });
    }
}
