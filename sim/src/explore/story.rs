//! A violation as a scenario file: the faults of its story, hung on the active's advertisements.
//!
//! The file has the explored gateways' settings and runs in every world. At the ports of a parted
//! path what the others say is lost: hosts and the observer still reach everybody. A violation that
//! hangs on an order of frames within one instant shows only in some seeds.

use core::time::Duration;

use steadfast_core::Instant;
use steadfast_scenarios::format::{
    Check, Cluster, Expectation, Moment, OnFrame, Scenario, Span, Verb, Way as Side,
};
use steadfast_scenarios::trace::FrameKind;

use super::fault::{Fault, Way, gateway_name, path_name, tell_story};
use super::judge::{Broken, Oracle};
use super::setup::{CABLE, Setup};

/// Advertisements of the active before the first fault, on each path: time to settle.
const SETTLED: u32 = 30;
/// What the longest story may take beside its faults.
const REST: Duration = Duration::from_secs(12);

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
        .topology(setup.group.topology())
        .cluster(|cluster| settings(setup, cluster))
        .expect(Expectation::of(watched));
    // A pair that needs no fault to break its promise is shown by its start alone.
    let start = story.first().map_or(Instant::ORIGIN, |(at, _)| *at);
    let mut steps = Vec::new();
    for (number, (at, fault)) in story.iter().enumerate() {
        let heals = story.iter().skip(number).find(|(_, it)| *it == Fault::Heal);
        let lasting = heals.map(|(end, _)| Span(end.since(*at)));
        let parts = verbs(setup, *fault, lasting, &steps);
        steps.push((at.since(start), *fault));
        for (number, (target, verb)) in parts.into_iter().enumerate() {
            let name = format!("fault{}_{number}", steps.len());
            builder = if steps.len() == 1 && number == 0 {
                builder.step_on(&name, first(setup, phase), &target, verb)
            } else {
                let moment = Moment::after("fault1_0", Span(at.since(start)));
                builder.step(&name, moment, &target, verb)
            };
        }
    }
    builder.build().map_err(|error| error.to_string())
}

/// How many copies there are of one message.
fn copies(setup: &Setup) -> u32 {
    u32::try_from(setup.shape.paths).unwrap_or(u32::MAX)
}

fn first(setup: &Setup, phase: Duration) -> OnFrame {
    OnFrame {
        frame: FrameKind::Advert,
        from: Some(gateway_name(0).to_owned()),
        after: None,
        count: SETTLED * copies(setup),
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

/// Targets and verbs of a fault that lasts so long; `earlier` tells what a heal has to mend.
fn verbs(
    setup: &Setup,
    fault: Fault,
    lasting: Option<Span>,
    earlier: &[(Duration, Fault)],
) -> Vec<(String, Verb)> {
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
        Fault::LoseCopies { from, to } => {
            one(gateway(to), loss(setup, Some(gateway(from)), Side::To))
        }
        Fault::LoseNext(at) => one(gateway(at), loss(setup, None, Side::From)),
        Fault::Part(path, way) => part(setup, path, way, lasting),
        Fault::PortDown(at, path) => one(port(at, path), Verb::LinkDown),
        Fault::PowerOff(at) => one(gateway(at), Verb::PowerOff),
        Fault::Stop(at) => one(gateway(at), Verb::Stop),
        Fault::Thaw(at) => one(gateway(at), Verb::Thaw),
    }
}

fn loss(setup: &Setup, sender: Option<String>, way: Side) -> Verb {
    Verb::DropFrames {
        kind: None,
        ethertype: Some(steadfast_core::wire::ethernet::ethertype::STEADFAST),
        sender,
        count: Some(copies(setup)),
        lasting: None,
        way,
    }
}

/// Each way that is cut loses what its sender said, at the receiver's port.
fn part(setup: &Setup, path: usize, way: Way, lasting: Option<Span>) -> Vec<(String, Verb)> {
    let nodes = setup.shape.nodes;
    let ways = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
    let cut = ways.filter(|(from, to)| from != to && way.cuts(*from, *to));
    let lose = |(from, to): (usize, usize)| {
        let target = format!("{}.{}", gateway_name(to), path_name(path));
        let verb = Verb::DropFrames {
            kind: None,
            ethertype: None,
            sender: Some(gateway_name(from).to_owned()),
            count: None,
            lasting,
            way: Side::To,
        };
        (target, verb)
    };
    cut.map(lose).collect()
}

/// What ends a fault of the wires; a parted path ends by itself.
fn mending(fault: Fault) -> Vec<(String, Verb)> {
    match fault {
        Fault::CablePull => vec![(path_name(CABLE).to_owned(), Verb::CablePlug)],
        Fault::PortDown(at, path) => {
            let target = format!("{}.{}", gateway_name(at), path_name(path));
            vec![(target, Verb::LinkUp)]
        }
        Fault::Cont(_)
        | Fault::Freeze(_)
        | Fault::Heal
        | Fault::LoseCopies { .. }
        | Fault::LoseNext(_)
        | Fault::Part(..)
        | Fault::PowerOff(_)
        | Fault::Stop(_)
        | Fault::Thaw(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::Rules;

    use super::super::setup::Group;
    use super::*;

    fn faults(setup: &Setup) -> Vec<Fault> {
        let (nodes, paths) = (setup.shape.nodes, setup.shape.paths);
        let mut faults = Vec::new();
        for at in 0..nodes {
            faults.extend([Fault::PowerOff(at), Fault::LoseNext(at)]);
            faults.extend((0..CABLE).map(|path| Fault::PortDown(at, path)));
            let others = (0..nodes).filter(|from| *from != at);
            faults.extend(others.map(|from| Fault::LoseCopies { from, to: at }));
        }
        faults.extend((paths > CABLE).then_some(Fault::CablePull));
        for path in 0..paths {
            faults.extend(Way::all(nodes).map(|way| Fault::Part(path, way)));
        }
        faults
    }

    /// Every fault has words that the scenario format accepts, and can be mended if it is one of
    /// the wires: whatever the explorer finds becomes a file.
    fn every_fault_becomes_a_scenario(group: Group) {
        let setup = Setup::new(group, Rules::complete()).unwrap();
        let broken = Broken {
            oracle: Oracle::TwoOwners,
            theorem: None,
        };
        for fault in faults(&setup) {
            let story = [
                (Instant::from_millis(0), fault),
                (Instant::from_millis(8), Fault::Heal),
            ];
            let made = scenario(&setup, "x", broken, Duration::from_millis(4), &story).unwrap();
            let again = Scenario::parse("x.toml", made.to_toml()).unwrap();
            let until = Some(Span(Duration::from_millis(8)));
            let parts = verbs(&setup, fault, until, &[]);
            let ends = |(_, verb): &(String, Verb)| match verb {
                Verb::DropFrames { lasting, .. } => *lasting == until,
                _ => false,
            };
            let mended = mending(fault).len();
            assert_eq!(again.plan().steps.len(), parts.len() + mended, "{fault}");
            let parted = matches!(fault, Fault::Part(..));
            assert_eq!(
                !parts.is_empty() && parts.iter().all(ends),
                parted,
                "{fault}"
            );
        }
        for at in 0..setup.shape.nodes {
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

    #[test]
    fn story_every_fault_of_a_pair_becomes_a_scenario() {
        every_fault_becomes_a_scenario(Group::Pair);
    }

    #[test]
    fn story_every_fault_of_three_becomes_a_scenario() {
        every_fault_becomes_a_scenario(Group::Trio);
    }
}
