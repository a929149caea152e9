//! Points: frames at ports, alerts at nodes.
//!
//! With a capture a point is a frame, with its number and fields; without one it is what the trace
//! says of a frame (that a claim was seen on the LAN), which has no fields. Frames of the clients'
//! traffic are never drawn: their lanes show them as what came back and what did not.
//!
//! There are more frames than a page can hold. Every lane and kind has an equal share of
//! [`MARKS_MAX`]; of more, those nearest to the moments that matter are drawn.

use std::collections::BTreeMap;

use steadfast_core::NodeId;
use steadfast_scenarios::SegmentId;
use steadfast_scenarios::trace::{EventKind, Outcome, SourceKind};

use super::{Lane, Mark, word};
use crate::report::capture::Captured;
use crate::report::evidence::Evidence;

/// Most points of a page: some hundred bytes each.
pub(super) const MARKS_MAX: usize = 3600;
/// Least share of a lane and kind.
const SHARE_MIN: usize = 12;

/// Points by the place of their lane, and their kind.
type Sorted = BTreeMap<(usize, &'static str), Vec<Mark>>;

/// Puts points on the lanes.
pub(super) fn add(
    evidence: &Evidence,
    lanes: &mut [Lane],
    moments: &[u64],
    told: &mut Vec<String>,
) {
    let mut sorted = Sorted::new();
    let mut traffic = 0_u64;
    if evidence.capture.frames.is_empty() {
        for (event, line) in evidence.events.iter().zip(&evidence.lines) {
            if let Some((segment, from, kind, text)) = seen(&event.kind) {
                let gateway = evidence.names.gateway(from);
                let mark = Mark {
                    at: event.at.as_nanos(),
                    kind,
                    text: format!(
                        "{text} of {gateway}, seen on {}",
                        evidence.names.segment(segment)
                    ),
                    line: Some(*line),
                    out: Some(true),
                    ..Mark::default()
                };
                push(
                    &mut sorted,
                    port(lanes, &gateway, &evidence.names.segment(segment)),
                    mark,
                );
            }
        }
    } else {
        let lines = lines(evidence);
        let places = places(evidence, lanes);
        for frame in &evidence.capture.frames {
            if frame.decoded.kind == "data" {
                traffic += 1;
                continue;
            }
            let place = places.get(frame.interface).copied().flatten();
            push(&mut sorted, place, of_frame(frame, evidence, &lines));
        }
    }
    for (event, line) in evidence.events.iter().zip(&evidence.lines) {
        if let Some((gateway, mark)) = said(&event.kind, evidence) {
            let gateway = evidence.names.gateway(gateway);
            let role = |lane: &Lane| lane.kind == "role" && lane.group == gateway;
            let mark = Mark {
                at: event.at.as_nanos(),
                line: Some(*line),
                ..mark
            };
            push(&mut sorted, lanes.iter().position(role), mark);
        }
    }
    if traffic > 0 {
        told.push(format!(
            "{traffic} frames of the clients' traffic are not drawn one by one"
        ));
    }
    settle(sorted, lanes, moments, told);
}

fn push(sorted: &mut Sorted, lane: Option<usize>, mark: Mark) {
    if let Some(lane) = lane {
        sorted.entry((lane, mark.kind)).or_default().push(mark);
    }
}

/// Thins each kind on each lane to its share and puts it there, in order of time.
fn settle(sorted: Sorted, lanes: &mut [Lane], moments: &[u64], told: &mut Vec<String>) {
    let share = (MARKS_MAX / sorted.len().max(1)).max(SHARE_MIN);
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for ((lane, kind), mut marks) in sorted {
        let all = marks.len();
        if all > share {
            marks.sort_by_key(|mark| (distance(mark.at, moments), mark.at));
            marks.truncate(share);
        }
        let count = counts.entry(kind).or_default();
        *count = (count.0 + marks.len(), count.1 + all);
        lanes[lane].marks.extend(marks);
    }
    for lane in lanes {
        lane.marks.sort_by_key(|mark| (mark.at, mark.frame));
    }
    for (kind, (drawn, all)) in counts {
        if drawn < all {
            told.push(format!(
                "{drawn} of {all} {kind} frames drawn, those nearest to what happened"
            ));
        }
    }
}

fn distance(at: u64, moments: &[u64]) -> u64 {
    let next = moments.partition_point(|moment| *moment < at);
    let after = moments.get(next).map(|moment| moment - at);
    let before = next
        .checked_sub(1)
        .and_then(|at| moments.get(at))
        .map(|moment| at - moment);
    after.into_iter().chain(before).min().unwrap_or(at)
}

fn port(lanes: &[Lane], gateway: &str, segment: &str) -> Option<usize> {
    let ours = |lane: &Lane| lane.kind == "port" && lane.group == gateway && lane.name == segment;
    lanes.iter().position(ours)
}

/// The lane of each interface of the capture.
fn places(evidence: &Evidence, lanes: &[Lane]) -> Vec<Option<usize>> {
    let place = |name: &String| {
        let (segment, gateway) = name.split_once('.')?;
        port(lanes, gateway, segment)
    };
    evidence.capture.interfaces.iter().map(place).collect()
}

/// Lines of the events that were made of frames: they carry the frame's time and its port.
fn lines(evidence: &Evidence) -> BTreeMap<(u64, String), u32> {
    let mut lines = BTreeMap::new();
    for (event, line) in evidence.events.iter().zip(&evidence.lines) {
        if let Some((segment, from, ..)) = seen(&event.kind) {
            let names = &evidence.names;
            let port = format!("{}.{}", names.segment(segment), names.gateway(from));
            lines.insert((event.at.as_nanos(), port), *line);
        }
    }
    lines
}

fn of_frame(frame: &Captured, evidence: &Evidence, lines: &BTreeMap<(u64, String), u32>) -> Mark {
    let at = frame.at.as_nanos();
    let port = evidence
        .capture
        .interfaces
        .get(frame.interface)
        .cloned()
        .unwrap_or_default();
    Mark {
        at,
        kind: frame.decoded.kind,
        text: frame.decoded.text.clone(),
        line: lines.get(&(at, port)).copied().filter(|_| frame.outbound),
        frame: Some(frame.number),
        out: Some(frame.outbound),
        fields: frame.decoded.fields.clone(),
    }
}

/// A frame that the trace tells of: where, whose, its kind as a point and in words.
fn seen(kind: &EventKind) -> Option<(SegmentId, NodeId, &'static str, String)> {
    match kind {
        EventKind::HandoverFrame {
            segment,
            kind,
            from,
        } => {
            let word = word(kind);
            let known = [
                "claim", "decline", "offer", "prepare", "ready", "released", "request",
            ];
            let kind = known.into_iter().find(|it| *it == word).unwrap_or("other");
            Some((*segment, *from, kind, word.to_uppercase()))
        }
        EventKind::VirtualSource {
            segment,
            gateway,
            what,
        } => match what {
            SourceKind::Announcement => {
                Some((*segment, *gateway, "announce", "announcement".to_owned()))
            }
            SourceKind::Arp => Some((*segment, *gateway, "arp", "question or answer".to_owned())),
            SourceKind::Datagram | SourceKind::Station => None,
            SourceKind::RouterAdvert => {
                let text = "router advertisement".to_owned();
                Some((*segment, *gateway, "announce", text))
            }
        },
        _ => None,
    }
}

/// What is told of a node beside its role.
fn said(kind: &EventKind, evidence: &Evidence) -> Option<(NodeId, Mark)> {
    let mark = |kind, text| Mark {
        kind,
        text,
        ..Mark::default()
    };
    match kind {
        EventKind::Alert {
            gateway,
            alert,
            raised,
        } => {
            let word = if *raised { "alert" } else { "alert over" };
            Some((*gateway, mark("alert", format!("{word}: {alert}"))))
        }
        EventKind::Trouble {
            gateway,
            problem,
            found: true,
            ..
        } => Some((*gateway, mark("alert", format!("finds: {problem}")))),
        EventKind::Apply {
            gateway,
            serve,
            outcome: Outcome::Failed,
        } => {
            let wish = if *serve { "serve" } else { "serve no more" };
            Some((
                *gateway,
                mark("alert", format!("its kernel refused to {wish}")),
            ))
        }
        EventKind::Hook {
            gateway,
            hook,
            level,
            epoch,
            again,
            phase,
        } => {
            let again = if *again { ", again" } else { "" };
            let (role, phase) = (word(level), word(phase));
            let text = format!("hook {hook} {phase}: {role}, claim {epoch}{again}");
            Some((*gateway, mark("hook", text)))
        }
        EventKind::Barred { gateway, barred } => {
            let word = if *barred {
                "barred by its boot record"
            } else {
                "free again"
            };
            Some((*gateway, mark("alert", word.to_owned())))
        }
        EventKind::RoleLie { gateway, role } => {
            let text = role.map_or_else(
                || "its status is true again".to_owned(),
                |role| format!("from now on its status lies: {}", word(&role)),
            );
            Some((*gateway, mark("alert", text)))
        }
        EventKind::Blind { why, .. } => {
            let first = evidence.names.gateways.first()?;
            Some((
                first.id,
                mark("alert", format!("the evidence has a hole: {why}")),
            ))
        }
        _ => None,
    }
}
