//! What a run looks like: lanes of time with spans and points, and what to look at first.
//!
//! ```text
//!  group        lane           spans                          points
//!  steps        row by row     from a fault to its undoing
//!  a (gateway)  role, machine, what it said, its power,       alerts; frames, out and in
//!               kernel, ports  its lease, its carrier
//!  lan          owner          who answers for the addresses
//!  client       neighbour, one where it sends, and when
//!               per stream     nothing came back
//! ```
//! Everything is derived from evidence: the trace, and the frames if they were recorded. A span
//! says the line of the trace on which it begins, a point its line or its frame. Nothing is drawn
//! that nobody saw; a lease, for example, has a lane only where the frames that refresh it were
//! recorded.
//!
//! The hard case is a long run: what would not fit is thinned around the moments that matter
//! (steps, changes of role, violations), and how much of it is drawn is told ([`Timeline::told`]).
//! Limits: [`marks::MARKS_MAX`], [`BARS_MAX`] for each lane, [`JUMPS_MAX`].

mod faults;
mod lease;
mod marks;
mod states;
mod streams;

use serde::Serialize;
use steadfast_core::Instant;
use steadfast_scenarios::{Finding, Verdict};

use super::evidence::Evidence;
use crate::words;

/// Most spans of a lane; the longest stay, the rest is counted.
const BARS_MAX: usize = 400;
/// Most places to jump to; later ones are counted.
const JUMPS_MAX: usize = 160;
/// A gap of more than this many times what was seen so far ends the first view.
const VIEW_STRETCH: u64 = 10;
/// What counts as seen at least.
const VIEW_LEAST: u64 = 100_000_000;
/// The least that a view shows, in nanoseconds.
const VIEW_MIN: u64 = 2_000_000;

/// What a run looks like. Times are nanoseconds since its start.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Timeline {
    pub(crate) scenario: String,
    pub(crate) title: String,
    pub(crate) seed: u64,
    pub(crate) world: Option<&'static str>,
    pub(crate) verdict: Verdict,
    /// The command that plays it again.
    pub(crate) repeat: String,
    pub(crate) trace: String,
    pub(crate) end: u64,
    /// The first step, which times are counted from.
    pub(crate) focus: Option<Focus>,
    /// What is shown first.
    pub(crate) view: [u64; 2],
    /// Gateways, in the order of their colours.
    pub(crate) nodes: Vec<String>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) findings: Vec<Judgement>,
    pub(crate) jumps: Vec<Jump>,
    /// Frames in the capture, as Wireshark counts; 0 without one.
    pub(crate) packets: u32,
    /// What is missing or thinned.
    pub(crate) told: Vec<String>,
}

/// The first step.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Focus {
    pub(crate) at: u64,
    pub(crate) name: String,
}

/// A line of the picture.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Lane {
    /// Whose it is: a gateway, a segment, a host, `steps`.
    pub(crate) group: String,
    pub(crate) name: String,
    /// What it shows: `steps`, `role`, `machine`, `kernel`, `lease`, `port`, `owner`, `neighbour`,
    /// `stream`.
    pub(crate) kind: &'static str,
    /// One line on what it shows and where that comes from.
    pub(crate) hint: String,
    pub(crate) bars: Vec<Bar>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) marks: Vec<Mark>,
}

/// Something that lasts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Bar {
    pub(crate) from: u64,
    pub(crate) until: u64,
    /// How it is drawn.
    pub(crate) kind: &'static str,
    pub(crate) text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) why: String,
    /// Where it begins in the trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u32>,
    /// The frame that shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) frame: Option<u32>,
    /// The gateway whose colour it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<usize>,
    /// Lanes that a fault acts on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) touches: Vec<usize>,
}

/// Something that happens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Mark {
    pub(crate) at: u64,
    pub(crate) kind: &'static str,
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u32>,
    /// Its number in the capture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) frame: Option<u32>,
    /// A frame that left; one that came in is `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) out: Option<bool>,
    /// What it says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<(&'static str, String)>,
}

/// What an oracle found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Judgement {
    pub(crate) oracle: String,
    pub(crate) scope: String,
    pub(crate) verdict: Verdict,
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<[u64; 2]>,
}

/// A place to look at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Jump {
    pub(crate) at: u64,
    pub(crate) until: u64,
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

/// Draws a run.
pub(crate) fn of(evidence: &Evidence) -> Timeline {
    let mut told = evidence.told.clone();
    let mut lanes = faults::lanes(evidence);
    for (place, gateway) in evidence.names.gateways.iter().enumerate() {
        lanes.extend(states::gateway(evidence, place, gateway));
    }
    lanes.extend(states::segments(evidence));
    lanes.extend(streams::hosts(evidence));
    let moments = moments(evidence, &lanes);
    marks::add(evidence, &mut lanes, &moments, &mut told);
    faults::touch(&mut lanes);
    for lane in &mut lanes {
        shorten(lane, &mut told);
    }
    let findings: Vec<_> = evidence.findings.iter().map(judgement).collect();
    let (end, jumps) = (
        evidence.end().as_nanos(),
        jumps(&lanes, &findings, &mut told),
    );
    let focus = evidence.first_step().map(|(at, name)| Focus {
        at: evidence.events[at].at.as_nanos(),
        name: name.to_owned(),
    });
    Timeline {
        scenario: evidence.names.scenario.clone(),
        title: evidence.title(),
        seed: evidence.names.seed,
        world: evidence.world.map(crate::cli::World::name),
        verdict: evidence.verdict,
        repeat: evidence.repeat(),
        trace: evidence.hash.clone(),
        end,
        view: view(focus.as_ref(), &moments, end),
        focus,
        nodes: evidence
            .names
            .gateways
            .iter()
            .map(|it| it.name.clone())
            .collect(),
        lanes,
        findings,
        jumps,
        packets: evidence.capture.packet_count,
        told,
    }
}

/// The times that matter: steps, changes of role, interruptions, first violations.
fn moments(evidence: &Evidence, lanes: &[Lane]) -> Vec<u64> {
    let mut moments: Vec<u64> = Vec::new();
    for lane in lanes {
        let ends = match lane.kind {
            "steps" | "role" => false,
            "stream" => true,
            _ => continue,
        };
        for bar in lane.bars.iter().filter(|bar| bar.kind != "unseen") {
            moments.push(bar.from);
            moments.extend(ends.then_some(bar.until));
        }
    }
    for finding in evidence
        .findings
        .iter()
        .filter(|it| it.verdict != Verdict::Pass)
    {
        if let Some(violation) = &finding.first_violation {
            moments.extend([violation.from.as_nanos(), violation.until.as_nanos()]);
        }
    }
    moments.sort_unstable();
    moments.dedup();
    moments
}

/// From the first step to the end of what followed from it.
fn view(focus: Option<&Focus>, moments: &[u64], end: u64) -> [u64; 2] {
    let Some(focus) = focus else {
        return [0, end.max(VIEW_MIN)];
    };
    let mut last = focus.at;
    for moment in moments.iter().filter(|moment| **moment >= focus.at) {
        let seen = (last - focus.at).max(VIEW_LEAST);
        if moment - last > seen.saturating_mul(VIEW_STRETCH) {
            break;
        }
        last = *moment;
    }
    let length = (last - focus.at).max(VIEW_MIN);
    [
        focus.at.saturating_sub(length / 6),
        (last + length / 5).min(end),
    ]
}

fn judgement(finding: &Finding) -> Judgement {
    let violation = finding.first_violation.as_ref();
    let text = match violation {
        Some(violation) => violation.text.clone(),
        None => finding.evidence.clone(),
    };
    let at = violation.map(|it| [it.from.as_nanos(), it.until.as_nanos()]);
    Judgement {
        oracle: finding.oracle.clone(),
        scope: finding.scope.clone(),
        verdict: finding.verdict,
        text,
        at: at.filter(|_| finding.verdict != Verdict::Pass),
    }
}

fn jumps(lanes: &[Lane], findings: &[Judgement], told: &mut Vec<String>) -> Vec<Jump> {
    let mut jumps = Vec::new();
    for lane in lanes {
        let of = |bar: &Bar| match lane.kind {
            "steps" => Some(("step", bar.text.clone())),
            "role" if bar.kind != "unseen" => {
                Some(("role", format!("{} {}", lane.group, bar.text)))
            }
            "owner" if bar.kind == "contested" => {
                Some(("contested", format!("{}: {}", lane.group, bar.text)))
            }
            "stream" if bar.kind == "outage" => {
                Some(("outage", format!("{}: {}", lane.name, bar.text)))
            }
            _ => None,
        };
        let jump = |bar| {
            of(bar).map(|(kind, text)| Jump {
                at: bar.from,
                until: bar.until,
                kind,
                text,
            })
        };
        jumps.extend(lane.bars.iter().filter_map(jump));
    }
    for finding in findings {
        if let Some([at, until]) = finding.at {
            let text = format!("{}: {}", finding.oracle, finding.text);
            jumps.push(Jump {
                at,
                until,
                kind: "finding",
                text,
            });
        }
    }
    jumps.sort_by_key(|jump| jump.at);
    let all = jumps.len();
    if all > JUMPS_MAX {
        jumps.truncate(JUMPS_MAX);
        told.push(format!("{JUMPS_MAX} of {all} moments listed"));
    }
    jumps
}

/// Keeps the longest spans of a lane that has too many.
fn shorten(lane: &mut Lane, told: &mut Vec<String>) {
    let all = lane.bars.len();
    if all <= BARS_MAX {
        return;
    }
    lane.bars
        .sort_by_key(|bar| std::cmp::Reverse(bar.until - bar.from));
    lane.bars.truncate(BARS_MAX);
    lane.bars.sort_by_key(|bar| bar.from);
    told.push(format!(
        "{BARS_MAX} of {all} spans of {} {} drawn",
        lane.group, lane.name
    ));
}

/// A value as the trace writes it.
fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => String::new(),
    }
}

/// A state that is one thing at a time; spans follow from its changes.
struct Track {
    open: Option<Bar>,
    bars: Vec<Bar>,
}

impl Track {
    fn new() -> Self {
        Self {
            open: None,
            bars: Vec::new(),
        }
    }

    /// From now on it is this, or nothing that is drawn.
    fn switch(&mut self, at: Instant, next: Option<Bar>) {
        let at = at.as_nanos();
        if let Some(mut bar) = self.open.take() {
            bar.until = at.max(bar.from);
            // What changed and changed back in an instant was never there.
            if bar.until > bar.from {
                self.bars.push(bar);
            }
        }
        self.open = next.map(|bar| Bar {
            from: at,
            until: at,
            ..bar
        });
    }

    fn finish(mut self, end: Instant) -> Vec<Bar> {
        self.switch(end, None);
        self.bars
    }
}

/// Milliseconds for people.
fn lasting(nanos: u64) -> String {
    words::outage(Some(std::time::Duration::from_nanos(nanos)))
}
