//! The world plays a plan on a lab: every step is told when it runs, and so is all that it did to
//! power, carriers and daemons, in one order that oracles can judge.

#![expect(
    clippy::unwrap_used,
    reason = "a test without a harness is still a test"
)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant as Clock;

use steadfast_core::{Instant, NodeId};
use steadfast_netlab::LabError;
use steadfast_netlab::ground::Wiring;
use steadfast_netlab::lab::{BOOT_TIME, Lab};
use steadfast_netlab::machine::Setup;
use steadfast_netlab::world::{Agent, Eyes, Said, build, missing, run};
use steadfast_scenarios::format::{Capability, CommandName, Gateway, Plan};
use steadfast_scenarios::trace::{Event, EventKind, PowerState, ProcessState};
use steadfast_scenarios::{Judge, Scenario};

const SHORT: &str = r#"
format = 1
name = "short"
title = "a daemon is killed, started, and loses its power"
duration = "3s"

[[step]]
name = "kill"
at = "1400ms"
do = "kill"
target = "a"

[[step]]
name = "start"
after = "kill + 200ms"
do = "start"
target = "a"

[[step]]
name = "off"
after = "start + 200ms"
do = "power_off"
target = "b"

[[step]]
name = "on"
after = "off + 100ms"
do = "power_on"
target = "b"
"#;

fn main() -> ExitCode {
    common::main(
        &[("world_refuses_what_no_lab_can_do", refuses)],
        &[("world_tells_what_it_did_in_order", plays)],
    )
}

/// A program that only lives: enough for power and processes.
struct Sleeper;

impl Agent for Sleeper {
    fn setup(&self, _: &Plan, _: &Gateway) -> Result<Setup, String> {
        let argv = ["/bin/sleep", "1000"].map(str::to_owned).to_vec();
        Ok(Setup {
            argv,
            ..Setup::default()
        })
    }

    fn offers(&self) -> BTreeSet<Capability> {
        BTreeSet::new()
    }

    fn status(&mut self, _: NodeId, _: &Path) -> Option<(Instant, Said)> {
        None
    }

    fn command(&mut self, _: NodeId, _: &Path, _: CommandName) -> Result<(), String> {
        Err("a sleeper obeys nobody".to_owned())
    }
}

/// A clock, and what the world itself tells.
struct Ear {
    start: Clock,
    told: Vec<Event>,
    renewed: usize,
}

impl Eyes for Ear {
    fn now(&self) -> Instant {
        Instant::ORIGIN.after(self.start.elapsed())
    }

    fn tell(&mut self, at: Instant, kind: EventKind) {
        self.told.push(Event::new(at, kind));
    }

    fn early(&mut self) -> Vec<Event> {
        Vec::new()
    }

    fn poll(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.told)
    }

    fn laid_anew(&mut self, _: &Lab, _: NodeId) {}

    fn renewed(&mut self, lab: &Lab, gateway: NodeId) {
        assert!(lab.ground().gateway(gateway).is_some());
        self.renewed += 1;
    }

    fn late(&mut self, _: Instant, _: Instant) {}

    fn steps(&mut self, _: Option<Instant>, _: &[Instant]) {}

    fn finish(&mut self) -> Vec<Event> {
        self.poll()
    }
}

/// The trace holds every boot, death, start and loss of power, each after its step, in time; and
/// the picture that is made of it agrees with the plan's end.
fn plays() {
    let (trace, judge) = played();
    assert!(matches!(trace.last().unwrap().kind, EventKind::End));
    check(&trace);
    let picture = judge.picture();
    let mut gateways = picture.gateways().iter();
    assert!(gateways.all(|it| it.process == ProcessState::Running));
}

fn played() -> (Vec<Event>, Judge) {
    let scenario = Scenario::parse("short.toml", SHORT).unwrap();
    let plan = scenario.resolve(0).unwrap();
    let mut lab = build(&plan, &Sleeper, Wiring::PLAIN).unwrap();
    let mut eyes = Ear {
        start: Clock::now(),
        told: Vec::new(),
        renewed: 0,
    };
    let mut judge = Judge::new(&plan);
    let mut trace: Vec<Event> = Vec::new();
    let mut sink = |event: &Event| trace.push(event.clone());
    run(
        &plan,
        &mut lab,
        &mut Sleeper,
        &mut eyes,
        &mut judge,
        &mut sink,
    )
    .unwrap();
    assert_eq!(eyes.renewed, 3, "two boots and one more");
    assert!(
        trace.windows(2).all(|pair| pair[0].at <= pair[1].at),
        "{trace:#?}"
    );
    (trace, judge)
}

fn check(trace: &[Event]) {
    let (a, b) = (NodeId(1), NodeId(2));
    let process = |gateway, state| EventKind::Process { gateway, state };
    let power = |gateway, state| EventKind::Power { gateway, state };
    let of = |id: NodeId| {
        let its = |event: &&Event| match event.kind {
            EventKind::Power { gateway, .. } | EventKind::Process { gateway, .. } => gateway == id,
            _ => false,
        };
        let its = trace.iter().filter(its).map(|event| event.kind.clone());
        its.collect::<Vec<EventKind>>()
    };
    let boot = |id| {
        [
            power(id, PowerState::Booting),
            power(id, PowerState::Running),
            process(id, ProcessState::Running),
        ]
    };
    let killed = process(a, ProcessState::Killed);
    let again = process(a, ProcessState::Running);
    assert_eq!(of(a), [&boot(a)[..], &[killed, again]].concat());
    let off = [process(b, ProcessState::Killed), power(b, PowerState::Off)];
    assert_eq!(of(b), [&boot(b)[..], &off, &boot(b)].concat());
    let off_at = trace
        .iter()
        .find(|event| event.kind == off[1])
        .map(|event| event.at);
    let back = trace
        .iter()
        .rfind(|event| event.kind == power(b, PowerState::Running));
    let took = back.unwrap().at.since(off_at.unwrap());
    assert!(took >= BOOT_TIME, "{took:?}");
}

/// What needs a daemon's help, an attacker or what this machine lacks is named before anything is
/// built; slow wires are not among it.
fn refuses() {
    let refusal = |step: &str, offers: &[Capability]| {
        let text = format!("{SHORT}\n[[step]]\nname = \"odd\"\nat = \"1s\"\n{step}");
        let plan = Scenario::parse("odd.toml", &text)
            .unwrap()
            .resolve(0)
            .unwrap();
        let base = [
            Capability::Power,
            Capability::Process,
            Capability::Impairment,
        ];
        let offers = base.iter().chain(offers).copied().collect();
        missing(&plan, &offers, &Sleeper).map(|it: LabError| it.to_string())
    };
    let delay = "do = \"impair\"\ntarget = \"a.lan\"\ndelay = \"5ms\"";
    assert_eq!(refusal(delay, &[]), None);
    let said = refusal("do = \"clock_step\"\ntarget = \"a\"\nby = \"+1h\"", &[]).unwrap();
    assert_eq!(said, "not run: needs clocks");
    let silence = "do = \"silence\"\ntarget = \"a.lan\"";
    assert!(refusal(silence, &[]).is_some());
    assert_eq!(refusal(silence, &[Capability::Silence]), None);
}
