//! Steps as spans: from a fault to its undoing, or to the end.
//!
//! The trace says when a step ran and on what; how long its effect lasts follows from the verb:
//! until the verb that undoes it, for the time that the scenario gives, or until the box has booted
//! again. What lasts no time is a span without length and is drawn as a line. Without the scenario
//! every step is such a line.

use std::time::Duration;

use steadfast_core::Instant;
use steadfast_scenarios::format::{DiskState, EffectMode, Share, Span, Verb};
use steadfast_scenarios::trace::{EventKind, PowerState};

use super::{Bar, Lane};
use crate::report::evidence::Evidence;

/// Most rows of steps; one that finds no free row is put into the last.
const ROWS_MAX: usize = 8;
/// Two steps in a row stand at least this part of the run apart, so their names can be read.
const APART: u64 = 12;

/// How a step ends.
enum Ends {
    /// When the box has booted so often.
    Booted(u32),
    /// When one of these verbs acts on the same.
    By(&'static [&'static str]),
    /// So long after.
    After(Duration),
    /// With the run.
    Never,
    /// At once.
    Once,
}

/// The steps of a run, row by row.
pub(super) fn lanes(evidence: &Evidence) -> Vec<Lane> {
    let mut rows: Vec<Vec<Bar>> = Vec::new();
    let apart = evidence.end().as_nanos() / APART;
    for bar in bars(evidence) {
        let free = |row: &Vec<Bar>| {
            row.last()
                .is_none_or(|last| last.until.max(last.from + apart) <= bar.from)
        };
        let row = rows
            .iter()
            .position(free)
            .unwrap_or(rows.len())
            .min(ROWS_MAX - 1);
        if row == rows.len() {
            rows.push(Vec::new());
        }
        rows[row].push(bar);
    }
    let lane = |(at, bars): (usize, Vec<Bar>)| Lane {
        group: "steps".to_owned(),
        name: if at == 0 {
            "done".to_owned()
        } else {
            String::new()
        },
        kind: "steps",
        hint: "steps of the scenario, each until it is undone".to_owned(),
        bars,
        marks: Vec::new(),
    };
    rows.into_iter().enumerate().map(lane).collect()
}

/// Finds the lanes that each fault acts on.
pub(super) fn touch(lanes: &mut [Lane]) {
    let owners: Vec<_> = lanes
        .iter()
        .map(|it| (it.kind, it.group.clone(), it.name.clone()))
        .collect();
    for lane in lanes.iter_mut().filter(|lane| lane.kind == "steps") {
        for bar in &mut lane.bars {
            let target = bar.text.rsplit(' ').next().unwrap_or_default();
            let hit = |(kind, group, name): &(&str, String, String)| {
                *kind != "steps"
                    && (group == target || name == target || format!("{group}.{name}") == target)
            };
            let places = owners.iter().enumerate().filter(|(_, owner)| hit(owner));
            bar.touches = places.map(|(at, _)| at).collect();
        }
    }
}

fn bars(evidence: &Evidence) -> Vec<Bar> {
    let mut bars = Vec::new();
    for (place, event) in evidence.events.iter().enumerate() {
        let EventKind::Step {
            name,
            verb,
            target,
            done,
            ..
        } = &event.kind
        else {
            continue;
        };
        let planned = evidence.plan.iter().flat_map(|plan| &plan.steps);
        let planned = planned.clone().find(|step| step.name == *name);
        let (mut kind, ends) = planned.map_or(("act", Ends::Once), |step| nature(&step.verb));
        if !done {
            kind = "undone";
        }
        let ends = if *done { ends } else { Ends::Once };
        let until = until(evidence, place, target, &ends);
        let why = if *done {
            String::new()
        } else {
            "there was nothing to act on".to_owned()
        };
        bars.push(Bar {
            from: event.at.as_nanos(),
            until: until.as_nanos(),
            kind,
            text: format!("{name}: {verb} {target}"),
            why,
            line: evidence.lines.get(place).copied(),
            ..Bar::default()
        });
    }
    bars
}

fn until(evidence: &Evidence, place: usize, target: &str, ends: &Ends) -> Instant {
    let at = evidence.events[place].at;
    let later = evidence.events.iter().skip(place + 1);
    match ends {
        Ends::After(span) => at.after(*span).min(evidence.end()),
        Ends::Once => at,
        Ends::Never => evidence.end(),
        Ends::By(verbs) => {
            let undoes = |kind: &EventKind| match kind {
                EventKind::Step {
                    verb,
                    target: on,
                    done: true,
                    ..
                } => on == target && verbs.contains(&verb.as_str()),
                _ => false,
            };
            let mut later = later.filter(|event| undoes(&event.kind));
            later.next().map_or(evidence.end(), |event| event.at)
        }
        Ends::Booted(count) => {
            let up = |kind: &EventKind| match kind {
                EventKind::Power {
                    gateway,
                    state: PowerState::Running,
                } => evidence.names.gateway(*gateway) == target,
                _ => false,
            };
            let nth = count.saturating_sub(1) as usize;
            let mut later = later.filter(|event| up(&event.kind));
            later.nth(nth).map_or(evidence.end(), |event| event.at)
        }
    }
}

/// Whether a verb that can harm puts things right by its arguments.
fn restores(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Apply {
            mode: EffectMode::Ok,
            ..
        } | Verb::Disk {
            state: DiskState::Ok
        } | Verb::MacFilter { enabled: false }
            | Verb::MacMoveIgnored { enabled: false }
            | Verb::Snooping { enabled: false }
            | Verb::Impair {
                loss: Share(0),
                delay: Span(Duration::ZERO),
                jitter: Span(Duration::ZERO),
                duplicate: Share(0),
                reorder: Share(0),
                rate: None,
                ..
            }
            | Verb::Check { passes: true, .. }
    )
}

/// Whether a verb harms, mends or merely acts, and when that ends.
fn nature(verb: &Verb) -> (&'static str, Ends) {
    if restores(verb) {
        return ("mend", Ends::Once);
    }
    match verb {
        Verb::Apply { .. } => ("fault", Ends::By(&["apply"])),
        Verb::CablePull => ("fault", Ends::By(&["cable_plug"])),
        Verb::Certificate { .. } => ("fault", Ends::By(&["certificate"])),
        Verb::Check { .. } => ("fault", Ends::By(&["check"])),
        Verb::ClockSkew { .. }
        | Verb::ClockStep { .. }
        | Verb::FlushRuleset
        | Verb::Forge { .. }
        | Verb::Garbage { .. }
        | Verb::LoadRuleset { .. }
        | Verb::Replay { .. } => ("fault", Ends::Once),
        Verb::Disk { .. } => ("fault", Ends::By(&["disk"])),
        Verb::DropFrames { lasting, .. } => (
            "fault",
            lasting.map_or(Ends::Never, |span| Ends::After(span.0)),
        ),
        Verb::Flap { count, down, up } => (
            "fault",
            Ends::After(down.0.saturating_add(up.0).saturating_mul(*count)),
        ),
        Verb::Flood { lasting, .. }
        | Verb::ForeignSpeaker { lasting, .. }
        | Verb::Stall { lasting }
        | Verb::Starve { lasting, .. }
        | Verb::Thief { lasting, .. } => ("fault", Ends::After(lasting.0)),
        Verb::Freeze { .. } => ("fault", Ends::By(&["thaw"])),
        Verb::Hook { .. } => ("fault", Ends::By(&["hook"])),
        Verb::Impair { .. } => ("fault", Ends::By(&["impair"])),
        Verb::Kill | Verb::Quit => ("fault", Ends::By(&["start", "power_on", "reboot"])),
        Verb::LinkDown => ("fault", Ends::By(&["link_up"])),
        Verb::MacFilter { .. } => ("fault", Ends::By(&["mac_filter"])),
        Verb::MacMoveIgnored { .. } => ("fault", Ends::By(&["mac_move_ignored"])),
        Verb::PowerOff => ("fault", Ends::By(&["power_on"])),
        Verb::Reboot { .. } => ("fault", Ends::Booted(1)),
        Verb::RebootLoop { count, .. } => ("fault", Ends::Booted(*count)),
        Verb::SegmentSplit { .. } => ("fault", Ends::By(&["segment_heal"])),
        Verb::Silence { .. } => ("fault", Ends::By(&["unsilence"])),
        Verb::Snooping { .. } => ("fault", Ends::By(&["snooping"])),
        Verb::Stop => ("fault", Ends::By(&["cont", "kill", "power_off"])),
        Verb::StpDelay { .. } => ("fault", Ends::By(&["stp_delay"])),
        Verb::SwitchOff => ("fault", Ends::By(&["switch_on"])),
        Verb::Call | Verb::Command { .. } | Verb::Lie { .. } | Verb::Reload(_) => {
            ("act", Ends::Once)
        }
        Verb::CablePlug
        | Verb::Cont
        | Verb::LinkUp
        | Verb::PowerOn
        | Verb::SegmentHeal
        | Verb::Start
        | Verb::SwitchOn
        | Verb::Thaw
        | Verb::Unsilence => ("mend", Ends::Once),
    }
}
