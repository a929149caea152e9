//! What gateways and segments were, span by span.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::format::SegmentKind;
use steadfast_scenarios::trace::{EventKind, GatewayName, Outcome, PowerState, ProcessState};

use super::{Bar, Lane, Track, lease, word};
use crate::report::evidence::Evidence;

/// Lanes of a gateway: role, machine, kernel, lease, ports.
pub(super) fn gateway(evidence: &Evidence, place: usize, name: &GatewayName) -> Vec<Lane> {
    let lane = |kind, name: &str, hint: &str, bars| Lane {
        group: evidence.names.gateways[place].name.clone(),
        name: name.to_owned(),
        kind,
        hint: hint.to_owned(),
        bars,
        marks: Vec::new(),
    };
    let mut lanes = vec![
        lane(
            "role",
            "role",
            "what its status says: a claim, not evidence",
            roles(evidence, place),
        ),
        lane(
            "machine",
            "machine",
            "power, box and daemon",
            machine(evidence, name.id),
        ),
    ];
    let kernel = kernel(evidence, place);
    if !kernel.is_empty() {
        let hint = "its kernel was told to serve, and did as told";
        lanes.push(lane("kernel", "kernel serves", hint, kernel));
    }
    let lease = lease::bars(evidence, place);
    if !lease.is_empty() {
        let hint = "the lease in its kernel, at most: from the frames that refresh it";
        lanes.push(lane("lease", "lease", hint, lease));
    }
    for (at, segment) in evidence.names.segments.iter().enumerate() {
        if let Some(bars) = carrier(evidence, name.id, at) {
            lanes.push(lane(
                "port",
                &segment.name,
                "carrier, and frames at this port",
                bars,
            ));
        }
    }
    lanes
}

/// Who answers for the addresses of each segment that has any.
pub(super) fn segments(evidence: &Evidence) -> Vec<Lane> {
    let segments = evidence.names.segments.iter().enumerate();
    let served = segments.filter(|(_, segment)| segment.addresses > 0);
    let lane = |(at, segment): (usize, &steadfast_scenarios::trace::SegmentName)| Lane {
        group: segment.name.clone(),
        name: "owner".to_owned(),
        kind: "owner",
        hint: "who answers for the virtual addresses, as the observer on the wire saw".to_owned(),
        bars: owners(evidence, at),
        marks: Vec::new(),
    };
    served.map(lane).collect()
}

/// The roles it said, each since the time that it said.
fn roles(evidence: &Evidence, place: usize) -> Vec<Bar> {
    let id = evidence.names.gateways[place].id;
    let mut track = Track::new();
    for (event, line) in evidence.events.iter().zip(&evidence.lines) {
        match &event.kind {
            EventKind::Status {
                gateway,
                role,
                since,
                epoch,
                why,
            } if *gateway == id => {
                let begun = track.open.as_ref().map_or(0, |bar| bar.from);
                let since = Instant::from_nanos(since.as_nanos().max(begun)).min(event.at);
                let bar = Bar {
                    kind: role_kind(&word(role)),
                    text: word(role),
                    why: format!("{why} (epoch {epoch})"),
                    line: Some(*line),
                    node: Some(place),
                    ..Bar::default()
                };
                track.switch(since, Some(bar));
            }
            EventKind::Process {
                gateway,
                state: ProcessState::Killed,
            }
            | EventKind::Power {
                gateway,
                state: PowerState::Off,
            } if *gateway == id => {
                track.switch(event.at, None);
            }
            _ => {}
        }
    }
    track.finish(evidence.end())
}

fn role_kind(role: &str) -> &'static str {
    match role {
        "active" => "active",
        "standby" => "standby",
        "promoting" | "demoting" => "moving",
        "starting" => "starting",
        _ => "barred",
    }
}

/// Power, box and daemon: the first of these that is not well.
fn machine(evidence: &Evidence, id: NodeId) -> Vec<Bar> {
    let mut track = Track::new();
    let (mut power, mut process, mut frozen) = (PowerState::Off, ProcessState::Killed, false);
    for (event, line) in evidence.events.iter().zip(&evidence.lines) {
        match &event.kind {
            EventKind::Power { gateway, state } if *gateway == id => power = *state,
            EventKind::Process { gateway, state } if *gateway == id => process = *state,
            EventKind::Frozen {
                gateway,
                frozen: is,
            } if *gateway == id => frozen = *is,
            _ => continue,
        }
        let (kind, text) = match (power, frozen, process) {
            (PowerState::Off, _, _) => ("off", "no power"),
            (PowerState::Booting, _, _) => ("booting", "booting"),
            (PowerState::Running, true, _) => ("stopped", "box stands still"),
            (PowerState::Running, false, ProcessState::Killed) => ("off", "daemon gone"),
            (PowerState::Running, false, ProcessState::Stopped) => ("stopped", "daemon stopped"),
            (PowerState::Running, false, ProcessState::Running) => ("running", "running"),
        };
        if track.open.as_ref().is_some_and(|bar| bar.text == text) {
            continue;
        }
        let bar = Bar {
            kind,
            text: text.to_owned(),
            line: Some(*line),
            ..Bar::default()
        };
        track.switch(event.at, Some(bar));
    }
    track.finish(evidence.end())
}

/// From the kernel's word that it serves to the wish that it serve no more.
fn kernel(evidence: &Evidence, place: usize) -> Vec<Bar> {
    let id = evidence.names.gateways[place].id;
    let mut track = Track::new();
    for (event, line) in evidence.events.iter().zip(&evidence.lines) {
        let next = match &event.kind {
            EventKind::Apply {
                gateway,
                serve,
                outcome,
            } if *gateway == id => match (serve, outcome) {
                (true, Outcome::Done) if track.open.is_none() => Some(Bar {
                    kind: "serves",
                    text: "serves".to_owned(),
                    line: Some(*line),
                    node: Some(place),
                    ..Bar::default()
                }),
                (false, Outcome::Done) => None,
                (true, _) | (false, _) => continue,
            },
            EventKind::Power {
                gateway,
                state: PowerState::Off,
            } if *gateway == id => None,
            _ => continue,
        };
        track.switch(event.at, next);
    }
    track.finish(evidence.end())
}

/// Carrier of a port; none if the trace says nothing of it and no frame was recorded there.
fn carrier(evidence: &Evidence, id: NodeId, port: usize) -> Option<Vec<Bar>> {
    let mut track = Track::new();
    let mut known = false;
    let mut is_up = None;
    let segment = evidence
        .plan
        .as_ref()
        .and_then(|plan| plan.layout.segments.get(port));
    let cable = segment.is_some_and(|segment| segment.kind == SegmentKind::Cable);
    for (event, line) in evidence.events.iter().zip(&evidence.lines) {
        let (gateway, at, up) = match event.kind {
            // A cable has carrier at both ends or at none.
            EventKind::Carrier { port, up, .. } if cable => (id, usize::from(port.0), up),
            EventKind::Carrier { gateway, port, up } => (gateway, usize::from(port.0), up),
            // Whoever is reached has carrier, told or not.
            EventKind::Reachable {
                segment,
                gateway,
                reachable: true,
            } => (gateway, segment.index(), true),
            _ => continue,
        };
        if gateway != id || at != port || is_up == Some(up) {
            continue;
        }
        (known, is_up) = (true, Some(up));
        let (kind, text) = if up {
            ("up", "carrier")
        } else {
            ("down", "no carrier")
        };
        let bar = Bar {
            kind,
            text: text.to_owned(),
            line: Some(*line),
            ..Bar::default()
        };
        track.switch(event.at, Some(bar));
    }
    let names = &evidence.names;
    let recorded = evidence
        .capture
        .interface(&names.segments[port].name, &names.gateway(id));
    (known || recorded.is_some()).then(|| track.finish(evidence.end()))
}

/// Who answers for anything there; `contested` where two answer for the same address.
fn owners(evidence: &Evidence, at: usize) -> Vec<Bar> {
    let mut answers: BTreeMap<u16, BTreeSet<NodeId>> = BTreeMap::new();
    let mut track = Track::new();
    let mut known = (BTreeSet::new(), false);
    for (event, line) in evidence.events.iter().zip(&evidence.lines) {
        let EventKind::Owner {
            segment,
            gateway,
            address,
            answered,
        } = event.kind
        else {
            continue;
        };
        if segment.index() != at {
            continue;
        }
        let of = answers.entry(address).or_default();
        if answered {
            of.insert(gateway);
        } else {
            of.remove(&gateway);
        }
        let all: BTreeSet<NodeId> = answers.values().flatten().copied().collect();
        let now = (all, answers.values().any(|of| of.len() > 1));
        if now != known {
            track.switch(event.at, owner_bar(evidence, &now, *line));
            known = now;
        }
    }
    track.finish(evidence.end())
}

fn owner_bar(evidence: &Evidence, now: &(BTreeSet<NodeId>, bool), line: u32) -> Option<Bar> {
    let (all, contested) = now;
    let names: Vec<_> = all.iter().map(|id| evidence.names.gateway(*id)).collect();
    let (kind, node, text) = match (names.as_slice(), contested) {
        ([], _) => return None,
        (names, true) => (
            "contested",
            None,
            format!("{} answer at once", names.join(" and ")),
        ),
        ([one], false) => {
            let node = all.first().and_then(|id| evidence.place(*id));
            ("owns", node, format!("{one} answers"))
        }
        (names, false) => (
            "moving",
            None,
            format!("{} answer, for some each", names.join(", ")),
        ),
    };
    Some(Bar {
        kind,
        text,
        node,
        line: Some(line),
        ..Bar::default()
    })
}
