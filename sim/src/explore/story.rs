//! A violation as a scenario file: the faults of its story, hung on the active's advertisements.
//!
//! The file has the explored pair's settings and runs in every world. Two faults have no exact
//! verb, and the nearest one stands for them: a parted segment becomes a split one, behind which
//! the observer loses sight of one side, and one that parts one way a port that is silent that
//! way. A violation that hangs on an order of frames within one instant shows only in some seeds.

use core::time::Duration;

use steadfast_core::Instant;
use steadfast_scenarios::format::{
    Check, Cluster, Expectation, Moment, OnFrame, Scenario, Span, Verb, Way as Side,
};
use steadfast_scenarios::trace::FrameKind;

use super::fault::{Fault, Way, gateway_name, path_name, tell_story};
use super::judge::{Broken, Oracle};
use super::setup::{CABLE, Setup};

/// Advertisements of the active, on all its paths, before the first fault: time to settle.
const SETTLED: u32 = 90;
/// What the longest story may take beside its faults.
const REST: Duration = Duration::from_secs(12);
/// Copies of one message.
const COPIES: u32 = 3;

/// The scenario with these faults. `phase` is how long after an advertisement of the active the
/// first one strikes.
///
/// # Errors
/// What the scenario format refuses, in its words.
pub(super) fn scenario(
    setup: &Setup,
    name: &str,
    broken: Broken,
    phase: Duration,
    story: &[(Instant, Fault)],
) -> Result<Scenario, String> {
    let length = match (story.first(), story.last()) {
        (Some((first, _)), Some((last, _))) => last.since(*first),
        _ => Duration::ZERO,
    };
    let (claim, watched) = match broken.oracle {
        Oracle::TwoOwners => ("R1.3", Check::AtMostOneActive { drain: None }),
        Oracle::Bounded | Oracle::Outage => {
            let within = Span(setup.outage_max());
            ("R1.1", Check::Converges { within })
        }
    };
    let mut builder = Scenario::builder(name)
        .title(&format!("{}: {}", broken.oracle, tell_story(story)))
        .claims(&[claim])
        .lasting(Span(length + REST))
        .cluster(|cluster| settings(setup, cluster))
        .expect(Expectation::of(watched));
    // A pair that needs no fault to break its promise is shown by its start alone.
    let start = story.first().map_or(Instant::ORIGIN, |(at, _)| *at);
    let mut steps = Vec::new();
    for (at, fault) in story {
        let parts = verbs(*fault, &steps);
        steps.push((at.since(start), *fault));
        for (number, (target, verb)) in parts.into_iter().enumerate() {
            let name = format!("fault{}_{number}", steps.len());
            builder = if steps.len() == 1 && number == 0 {
                builder.step_on(&name, first(phase), &target, verb)
            } else {
                let moment = Moment::after("fault1_0", Span(at.since(start)));
                builder.step(&name, moment, &target, verb)
            };
        }
    }
    builder.build().map_err(|error| error.to_string())
}

fn first(phase: Duration) -> OnFrame {
    OnFrame {
        frame: FrameKind::Advert,
        from: Some(gateway_name(0).to_owned()),
        after: None,
        count: SETTLED,
        wait: Span(phase),
    }
}

fn settings(setup: &Setup, cluster: &mut Cluster) {
    let timing = setup.timing();
    cluster.interval = Span(timing.interval);
    cluster.slack = Span(timing.slack);
    cluster.w_carrier = Span(timing.w_carrier);
    cluster.w_silence = Span(timing.w_silence);
    cluster.dead_interval = Span(timing.dead_interval);
    cluster.lease = Span(timing.lease);
    cluster.offer = Span(timing.offer);
    cluster.tail = Span(timing.tail);
    cluster.rtt_bound = Span(timing.rtt_bound);
    cluster.initial_wait = Span(timing.initial_wait);
}

/// Targets and verbs of a fault; `earlier` tells what a heal has to mend.
fn verbs(fault: Fault, earlier: &[(Duration, Fault)]) -> Vec<(String, Verb)> {
    let gateway = |at: usize| gateway_name(at).to_owned();
    let port = |at: usize, path: usize| format!("{}.{}", gateway_name(at), path_name(path));
    let one = |target: String, verb: Verb| vec![(target, verb)];
    match fault {
        Fault::CablePull => one(path_name(CABLE).to_owned(), Verb::CablePull),
        Fault::Cont(at) => one(gateway(at), Verb::Cont),
        Fault::Freeze(at) => one(
            gateway(at),
            Verb::Freeze {
                clock_stands: false,
            },
        ),
        Fault::Heal => earlier
            .iter()
            .flat_map(|(_, fault)| mending(*fault))
            .collect(),
        Fault::LoseCopies(to) => one(gateway(1 - to), loss()),
        Fault::LoseNext(at) => one(gateway(at), loss()),
        Fault::Part(path, way) => part(path, way),
        Fault::PortDown(at, path) => one(port(at, path), Verb::LinkDown),
        Fault::PowerOff(at) => one(gateway(at), Verb::PowerOff),
        Fault::Stop(at) => one(gateway(at), Verb::Stop),
        Fault::Thaw(at) => one(gateway(at), Verb::Thaw),
    }
}

fn loss() -> Verb {
    Verb::DropFrames {
        kind: None,
        ethertype: Some(steadfast_core::wire::ethernet::ethertype::STEADFAST),
        sender: None,
        count: Some(COPIES),
        lasting: None,
        way: Side::From,
    }
}

fn part(path: usize, way: Way) -> Vec<(String, Verb)> {
    let segment = path_name(path).to_owned();
    let silent = |way: Side| {
        let target = format!("{}.{segment}", gateway_name(0));
        vec![(target, Verb::Silence { way })]
    };
    match way {
        Way::Both if path == CABLE => silent(Side::Both),
        Way::Both => {
            let apart = vec![gateway_name(1).to_owned()];
            vec![(segment, Verb::SegmentSplit { apart })]
        }
        Way::From(0) => silent(Side::From),
        Way::From(_) => silent(Side::To),
    }
}

/// What ends a fault of the wires.
fn mending(fault: Fault) -> Vec<(String, Verb)> {
    match fault {
        Fault::CablePull => vec![(path_name(CABLE).to_owned(), Verb::CablePlug)],
        Fault::Part(path, Way::Both) if path != CABLE => {
            vec![(path_name(path).to_owned(), Verb::SegmentHeal)]
        }
        Fault::Part(path, _) => {
            let target = format!("{}.{}", gateway_name(0), path_name(path));
            vec![(target, Verb::Unsilence)]
        }
        Fault::PortDown(at, path) => {
            let target = format!("{}.{}", gateway_name(at), path_name(path));
            vec![(target, Verb::LinkUp)]
        }
        Fault::Cont(_)
        | Fault::Freeze(_)
        | Fault::Heal
        | Fault::LoseCopies(_)
        | Fault::LoseNext(_)
        | Fault::PowerOff(_)
        | Fault::Stop(_)
        | Fault::Thaw(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::Rules;

    use super::super::setup::{NODES, PATHS};
    use super::*;

    /// Every fault has words that the scenario format accepts, and can be mended if it is one of
    /// the wires: whatever the explorer finds becomes a file.
    #[test]
    fn story_every_fault_becomes_a_scenario() {
        let setup = Setup::new(Rules::complete()).unwrap();
        let broken = Broken {
            oracle: Oracle::TwoOwners,
            theorem: None,
        };
        let mut faults = vec![Fault::CablePull];
        for at in 0..NODES {
            faults.extend([
                Fault::PowerOff(at),
                Fault::LoseNext(at),
                Fault::LoseCopies(at),
            ]);
            faults.extend((0..CABLE).map(|path| Fault::PortDown(at, path)));
            faults.extend((0..PATHS).map(|path| Fault::Part(path, Way::From(at))));
        }
        faults.extend((0..PATHS).map(|path| Fault::Part(path, Way::Both)));
        for fault in faults {
            let story = [
                (Instant::from_millis(0), fault),
                (Instant::from_millis(8), Fault::Heal),
            ];
            let made = scenario(&setup, "x", broken, Duration::from_millis(4), &story).unwrap();
            let again = Scenario::parse("x.toml", made.to_toml()).unwrap();
            let mended = usize::from(!mending(fault).is_empty());
            assert_eq!(again.plan().steps.len(), 1 + mended, "{fault}");
        }
        for at in 0..NODES {
            for (held, free) in [
                (Fault::Stop(at), Fault::Cont(at)),
                (Fault::Freeze(at), Fault::Thaw(at)),
            ] {
                let story = [
                    (Instant::from_millis(0), held),
                    (Instant::from_millis(8), free),
                ];
                let made = scenario(&setup, "x", broken, Duration::ZERO, &story).unwrap();
                assert_eq!(made.plan().steps.len(), 2, "{held}");
            }
        }
    }
}
