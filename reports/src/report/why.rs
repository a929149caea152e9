//! `why.md`: from what is to be explained back to what caused it, step by step.
//!
//! A chain begins with a judgement that is not `pass`, or with a change of role, and goes back in
//! time: what the node says the reason is, what its kernel did, what it last heard and asked, what
//! happened to carrier, power and daemons of the machines involved, and the step of the scenario
//! that set it off. Whatever happened meanwhile to others is left out. Every fact names its line in
//! the trace or its frame, so anybody can look.
//!
//! The window of a chain begins with the oldest fault that was not yet undone, else with the last
//! step. The hard case is a hole: without a capture nobody knows what a node heard, and then the
//! chain says where the evidence ends instead of guessing. Limits: [`CHAINS_MAX`], [`FACTS_MAX`].

mod facts;
mod heard;

use std::fmt::Write;

use steadfast_core::role::EffectiveRole;
use steadfast_core::{Epoch, Instant};
use steadfast_scenarios::trace::EventKind;
use steadfast_scenarios::{Finding, Verdict};

use super::evidence::Evidence;
use super::timeline::Timeline;
use crate::words;
use facts::{Fact, Scope};

/// Most chains of a kind in a file; further ones are counted.
const CHAINS_MAX: usize = 24;
/// Most facts of a chain; those in the middle are left out and counted.
const FACTS_MAX: usize = 40;
/// A fault that was undone no longer ago than this still has effects, in nanoseconds.
const JUST_UNDONE: u64 = 100_000_000;

/// An explanation.
struct Chain {
    title: String,
    about: String,
    /// From the newest to the oldest.
    facts: Vec<Fact>,
    ends: String,
}

/// The whole file.
pub(crate) fn document(evidence: &Evidence, timeline: &Timeline) -> String {
    let names = &evidence.names;
    let verdict = words::verdict(evidence.verdict);
    let mut text = format!(
        "# Why: {}, seed {}: {verdict}\n\n",
        names.scenario, names.seed
    );
    let world = timeline.world.unwrap_or("not known");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}. World: {world}.\n", plain(&evidence.title()));
    text += "Each table is read downwards: from what is to be explained back to what caused it. \
             *Before* is how long before the first line.\nLines are those of the trace, frames \
             those of `run.pcapng` as Wireshark counts them.\n";
    let wrong = evidence
        .findings
        .iter()
        .filter(|it| it.verdict != Verdict::Pass);
    let wrong: Vec<_> = wrong.map(|it| of_finding(evidence, timeline, it)).collect();
    if wrong.is_empty() && !evidence.findings.is_empty() {
        text += "\nNothing is wrong: all judgements pass.\n";
    }
    push(&mut text, &wrong, "judgements");
    let changes = changes(evidence);
    let moved: Vec<_> = changes
        .iter()
        .map(|it| of_change(evidence, timeline, it))
        .collect();
    push(&mut text, &moved, "changes of role");
    if !evidence.told.is_empty() {
        text += "\n## What is missing\n\n";
        for told in &evidence.told {
            let _ = writeln!(text, "- {}", plain(told));
        }
    }
    let _ = write!(text, "\nPlay it again: `{}`\n", timeline.repeat);
    text
}

fn push(text: &mut String, chains: &[Chain], what: &str) {
    for chain in chains.iter().take(CHAINS_MAX) {
        let _ = write!(
            text,
            "\n## {}\n\n{}\n\n",
            plain(&chain.title),
            plain(&chain.about)
        );
        table(text, &chain.facts);
        let _ = writeln!(text, "{}", plain(&chain.ends));
    }
    if let Some(more) = chains.len().checked_sub(CHAINS_MAX + 1) {
        let _ = write!(
            text,
            "\n*{} more {what} are not explained here.*\n",
            more + 1
        );
    }
}

fn table(text: &mut String, facts: &[Fact]) {
    if facts.is_empty() {
        return;
    }
    *text += "| when | before | what | line | frame |\n|---:|---:|---|---:|---:|\n";
    let newest = facts.first().map_or(Instant::ORIGIN, |fact| fact.at);
    let hidden = facts.len().saturating_sub(FACTS_MAX);
    let kept = FACTS_MAX / 2;
    for (at, fact) in facts.iter().enumerate() {
        if hidden > 0 && at == kept {
            let _ = writeln!(text, "| | | *{hidden} more facts in between* | | |");
        }
        if hidden == 0 || at < kept || at >= kept + hidden {
            *text += &row(fact, newest);
        }
    }
    text.push('\n');
}

fn row(fact: &Fact, newest: Instant) -> String {
    let number = |it: Option<u32>| it.map_or_else(String::new, |it| it.to_string());
    let before = newest.since(fact.at).as_micros();
    let before = format!("{}.{:03} ms", before / 1000, before % 1000);
    let (line, frame) = (number(fact.line), number(fact.frame));
    format!(
        "| {} | {before} | {} | {line} | {frame} |\n",
        clock(fact.at),
        cell(&fact.text)
    )
}

/// Why an oracle complains.
fn of_finding(evidence: &Evidence, timeline: &Timeline, finding: &Finding) -> Chain {
    let scope = if finding.scope.is_empty() {
        String::new()
    } else {
        format!(" ({})", finding.scope)
    };
    let title = format!(
        "{}{scope}: {}",
        finding.oracle,
        words::verdict(finding.verdict)
    );
    let Some(violation) = &finding.first_violation else {
        let facts = facts::blindness(evidence);
        let about = format!(
            "Nothing was seen to be wrong, and it is not proven either: {}.",
            finding.evidence
        );
        let ends = "The evidence ends here: what this judgement needs was never seen.".to_owned();
        return Chain {
            title,
            about,
            facts,
            ends,
        };
    };
    let lasted = violation.until.since(violation.from);
    let about = format!(
        "{}: from {} to {}, {}.",
        violation.text,
        clock(violation.from),
        clock(violation.until),
        words::outage(Some(lasted))
    );
    let since = start(timeline, violation.from);
    let gateways = facts::everybody(evidence);
    let scope = Scope {
        since,
        until: violation.until,
        gateways,
    };
    let head = format!("**up to here: {}**", violation.text);
    let mut all = vec![Fact::new(violation.until, head)];
    all.extend(facts::seen_by(evidence, finding, violation));
    all.extend(facts::standing(evidence, &scope));
    all.extend(facts::of_machines(evidence, &scope));
    let mut facts = facts::sorted(all);
    let begins = facts
        .iter()
        .skip(1)
        .position(|fact| fact.at <= violation.from);
    let begins = begins.map_or(facts.len(), |at| at + 1);
    facts.insert(
        begins,
        Fact::new(violation.from, "**here it begins**".to_owned()),
    );
    let ends = ends(&facts);
    Chain {
        title,
        about,
        facts,
        ends,
    }
}

/// A change of role that somebody told of.
struct Change {
    /// Its place among the events.
    place: usize,
    /// The gateway's place.
    gateway: usize,
    role: EffectiveRole,
    since: Instant,
    epoch: Epoch,
    why: String,
}

/// Changes since the first step; all of them in a run without steps. A role on the way to another
/// for the same reason is told in the chain of that one.
fn changes(evidence: &Evidence) -> Vec<Change> {
    let first = evidence.first_step().map_or(0, |(place, _)| place);
    let mut last = vec![None; evidence.names.gateways.len()];
    let mut changes = Vec::new();
    for (place, event) in evidence.events.iter().enumerate() {
        let EventKind::Status {
            gateway,
            role,
            since,
            epoch,
            why,
        } = &event.kind
        else {
            continue;
        };
        let Some(at) = evidence.place(*gateway) else {
            continue;
        };
        let before = last[at].replace(*role);
        if place >= first && before != Some(*role) {
            changes.retain(|it: &Change| {
                let on_the_way =
                    matches!(it.role, EffectiveRole::Promoting | EffectiveRole::Demoting);
                !(on_the_way && it.gateway == at && it.why == *why)
            });
            changes.push(Change {
                place,
                gateway: at,
                role: *role,
                since: (*since).min(event.at),
                epoch: *epoch,
                why: why.clone(),
            });
        }
    }
    changes
}

/// Why a node changed its role.
fn of_change(evidence: &Evidence, timeline: &Timeline, change: &Change) -> Chain {
    let name = evidence.names.gateways[change.gateway].name.clone();
    let Change {
        role,
        since,
        epoch,
        why,
        ..
    } = change;
    let since = *since;
    let word = format!("{role:?}").to_lowercase();
    let title = format!("{name} becomes {word} at {}", clock(since));
    let about = format!("{name} says: {why} (epoch {epoch}).");
    let gateways = facts::named_in(evidence, change.gateway, why);
    let since_step = start(timeline, since);
    let scope = Scope {
        since: since_step,
        until: since,
        gateways,
    };
    let told = format!("**{name} is {word}**: {why}");
    let line = evidence.lines.get(change.place).copied();
    let mut all = vec![Fact {
        at: since,
        line,
        frame: None,
        text: told,
        is_step: false,
    }];
    all.extend(heard::heard(evidence, change.gateway, &scope));
    all.extend(heard::handed_over(evidence, change.gateway, &scope));
    all.extend(facts::wishes(evidence, change.gateway, &scope));
    all.extend(facts::of_machines(evidence, &scope));
    all.extend(facts::roles(evidence, &scope, change.place));
    let facts = facts::sorted(all);
    let mut ends = ends(&facts);
    if evidence.capture.frames.is_empty() {
        let hole = format!("What {name} heard is not recorded, so its own word is all there is.");
        ends = format!("{hole} {ends}");
    }
    Chain {
        title,
        about,
        facts,
        ends,
    }
}

/// Where the window of a chain begins: with the oldest fault that was not undone well before, else
/// with the last step.
fn start(timeline: &Timeline, at: Instant) -> Instant {
    let at = at.as_nanos();
    let steps = timeline.lanes.iter().filter(|lane| lane.kind == "steps");
    let bars: Vec<_> = steps
        .flat_map(|lane| &lane.bars)
        .filter(|bar| bar.from <= at)
        .collect();
    let open = bars
        .iter()
        .filter(|bar| bar.kind == "fault" && bar.until.saturating_add(JUST_UNDONE) >= at);
    let oldest = open.map(|bar| bar.from).min();
    let last = bars.iter().map(|bar| bar.from).max();
    Instant::from_nanos(oldest.or(last).unwrap_or(0))
}

fn ends(facts: &[Fact]) -> String {
    match facts.iter().rev().find(|fact| fact.is_step) {
        Some(oldest) => format!(
            "It began with the {}, which the scenario did: nothing before it is a reason.",
            oldest.text
        ),
        None if facts.len() > 1 => {
            "No step of the scenario set this off: it follows from how the run began.".to_owned()
        }
        None => "There is no evidence of what led to it.".to_owned(),
    }
}

/// Seconds with microseconds.
fn clock(at: Instant) -> String {
    let micros = at.as_nanos() / 1000;
    format!("{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
}

/// A text that markup does not read as anything else; what stands bold was written here.
fn plain(text: &str) -> String {
    let line = text.replace(['\n', '\r'], " ");
    line.replace('<', "&lt;").replace('`', "'")
}

fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|")
}
