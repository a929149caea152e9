//! Facts for a chain of reasons: events and frames that concern the machines involved.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::trace::{Event, EventKind, Holder, Outcome};
use steadfast_scenarios::{Finding, Violation};

use crate::report::evidence::Evidence;

/// Something that happened, and where it can be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) at: Instant,
    pub(super) line: Option<u32>,
    pub(super) frame: Option<u32>,
    pub(super) text: String,
    /// The scenario did it.
    pub(super) is_step: bool,
}

impl Fact {
    pub(super) fn new(at: Instant, text: String) -> Self {
        Self {
            at,
            line: None,
            frame: None,
            text,
            is_step: false,
        }
    }
}

/// What concerns a chain.
pub(super) struct Scope {
    pub(super) since: Instant,
    /// What came later was no reason.
    pub(super) until: Instant,
    /// Who is involved.
    pub(super) gateways: Vec<NodeId>,
}

impl Scope {
    pub(super) fn has(&self, at: Instant, gateway: NodeId) -> bool {
        self.since <= at && at <= self.until && self.gateways.contains(&gateway)
    }
}

/// From the newest to the oldest, each once.
pub(super) fn sorted(mut facts: Vec<Fact>) -> Vec<Fact> {
    if let Some((_, rest)) = facts.split_first_mut() {
        rest.sort_by_key(|fact| Reverse((fact.at, fact.line, fact.frame)));
    }
    facts.dedup();
    facts
}

/// All gateways.
pub(super) fn everybody(evidence: &Evidence) -> Vec<NodeId> {
    evidence
        .names
        .gateways
        .iter()
        .map(|gateway| gateway.id)
        .collect()
}

/// This gateway and the nodes that its reason names; everybody if it names none.
pub(super) fn named_in(evidence: &Evidence, place: usize, why: &str) -> Vec<NodeId> {
    let own = evidence.names.gateways[place].id;
    let numbers = why.split("node ").skip(1).filter_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().map(NodeId)
    });
    let named: Vec<_> = numbers.filter(|id| evidence.place(*id).is_some()).collect();
    if named.is_empty() {
        return everybody(evidence);
    }
    named.into_iter().chain([own]).collect()
}

/// Holes in the evidence.
pub(super) fn blindness(evidence: &Evidence) -> Vec<Fact> {
    events(evidence, |event| match &event.kind {
        EventKind::Blind { since, why } => {
            Some(format!("the world was blind since {since}: {why}"))
        }
        _ => None,
    })
}

/// Steps, and what happened to carrier, power, boxes, daemons and the way to them.
pub(super) fn of_machines(evidence: &Evidence, scope: &Scope) -> Vec<Fact> {
    let names = &evidence.names;
    let of = |id: &NodeId| names.gateway(*id);
    let mut facts = events(evidence, |event| {
        let (gateway, text) = match &event.kind {
            EventKind::Carrier { gateway, port, up } => {
                let port = names.segments.get(usize::from(port.0));
                let port = port.map_or("a port", |segment| segment.name.as_str());
                let word = if *up { "has" } else { "has no" };
                (gateway, format!("{} {word} carrier on {port}", of(gateway)))
            }
            EventKind::Power { gateway, state } => (
                gateway,
                format!("power of {}: {}", of(gateway), lower(state)),
            ),
            EventKind::Process { gateway, state } => (
                gateway,
                format!("daemon of {}: {}", of(gateway), lower(state)),
            ),
            EventKind::Frozen { gateway, frozen } => {
                let word = if *frozen { "stands still" } else { "goes on" };
                (gateway, format!("the box {} {word}", of(gateway)))
            }
            EventKind::Reachable {
                segment,
                gateway,
                reachable,
            } => {
                let word = if *reachable {
                    "reaches"
                } else {
                    "no longer reaches"
                };
                let segment = names.segment(*segment);
                (
                    gateway,
                    format!("the observer {word} {} on {segment}", of(gateway)),
                )
            }
            EventKind::Alert {
                gateway,
                alert,
                raised: true,
            } => (gateway, format!("{} alerts: {alert}", of(gateway))),
            EventKind::Trouble {
                gateway,
                problem,
                found: true,
                ..
            } => (gateway, format!("{} finds: {problem}", of(gateway))),
            _ => return None,
        };
        scope.has(event.at, *gateway).then_some(text)
    });
    facts.extend(steps(evidence, scope));
    facts
}

/// Steps, except those that act on gateways which are not involved.
fn steps(evidence: &Evidence, scope: &Scope) -> Vec<Fact> {
    let others = evidence
        .names
        .gateways
        .iter()
        .filter(|it| !scope.gateways.contains(&it.id));
    let others: Vec<_> = others.map(|it| it.name.as_str()).collect();
    let mut facts = events(evidence, |event| match &event.kind {
        EventKind::Step {
            name,
            verb,
            target,
            done: true,
            ..
        } => {
            let acts_on = target.split('.').next().unwrap_or_default();
            let counts = scope.since <= event.at && event.at <= scope.until;
            let text = format!("step {name}: {verb} {target}");
            (counts && !others.contains(&acts_on)).then_some(text)
        }
        _ => None,
    });
    facts.iter_mut().for_each(|fact| fact.is_step = true);
    facts
}

/// Roles that those involved took meanwhile, and the one that each had when the window began.
pub(super) fn roles(evidence: &Evidence, scope: &Scope, but: usize) -> Vec<Fact> {
    let but = evidence.lines.get(but).copied();
    let mut facts = standing(evidence, scope);
    facts.retain(|fact| fact.line != but);
    facts
}

/// Roles within the window, each since it was taken, and the last one before it of each node.
pub(super) fn standing(evidence: &Evidence, scope: &Scope) -> Vec<Fact> {
    let mut all = Vec::new();
    for wanted in &scope.gateways {
        let name = evidence.names.gateway(*wanted);
        let mut facts = Vec::new();
        for (event, line) in evidence.events.iter().zip(&evidence.lines) {
            let EventKind::Status {
                gateway,
                role,
                since,
                why,
                ..
            } = &event.kind
            else {
                continue;
            };
            if gateway != wanted {
                continue;
            }
            let text = format!("{name} is {}: {why}", lower(role));
            let (at, line) = ((*since).min(event.at), Some(*line));
            facts.push(Fact {
                line,
                ..Fact::new(at, text)
            });
        }
        let before = facts.partition_point(|fact| fact.at < scope.since);
        if let Some(fact) = before.checked_sub(1).and_then(|last| facts.get(last)) {
            let text = format!("before all this, {}", fact.text);
            all.push(Fact {
                text,
                ..fact.clone()
            });
        }
        all.extend(
            facts
                .into_iter()
                .skip(before)
                .filter(|fact| fact.at <= scope.until),
        );
    }
    all
}

/// What the node asked of its kernel, what its kernel said, and who answered on the wire.
pub(super) fn wishes(evidence: &Evidence, place: usize, scope: &Scope) -> Vec<Fact> {
    let own = evidence.names.gateways[place].id;
    events(evidence, |event| match &event.kind {
        EventKind::Apply {
            gateway,
            serve,
            outcome,
        } if *gateway == own => {
            let wish = if *serve { "to serve" } else { "not to serve" };
            let name = evidence.names.gateway(own);
            let text = match outcome {
                Outcome::Asked => format!("{name} asks its kernel {wish}"),
                Outcome::Done => format!("the kernel of {name} does as asked: {wish}"),
                Outcome::Failed => format!("the kernel of {name} refuses {wish}"),
                Outcome::Superseded => format!("a newer wish took the place of the one {wish}"),
            };
            scope.has(event.at, own).then_some(text)
        }
        EventKind::Owner {
            gateway,
            address: 0,
            ..
        } if scope.has(event.at, *gateway) => owner(evidence, &event.kind),
        _ => None,
    })
}

/// What an oracle looked at, around what it complains of.
pub(super) fn seen_by(evidence: &Evidence, finding: &Finding, violation: &Violation) -> Vec<Fact> {
    let names = &evidence.names;
    let oracle = finding.oracle.as_str();
    let named = |name: &str| violation.text.split_whitespace().any(|word| word == name);
    let any_named = names.segments.iter().any(|segment| named(&segment.name));
    let facts = events(evidence, |event| match &event.kind {
        EventKind::Owner { segment, .. } if any_named && !named(&names.segment(*segment)) => None,
        EventKind::Owner { .. } => owner(evidence, &event.kind),
        EventKind::Neighbour {
            host,
            address,
            holder,
        } if ["outage", "vip_owner_agrees"].contains(&oracle) => {
            let to = match holder {
                Holder::Gateway(gateway) => names.gateway(*gateway),
                Holder::Nobody => "nobody".to_owned(),
                Holder::Other => "a stranger".to_owned(),
            };
            Some(format!(
                "{} sends to {to} for virtual address {address}",
                names.host(*host)
            ))
        }
        EventKind::ProbeReceived { stream, seq, .. } if oracle == "outage" => {
            let name = names.stream(*stream);
            (name == finding.scope).then(|| format!("probe of {name} arrives: number {seq}"))
        }
        _ => None,
    });
    around(&facts, violation)
}

/// Facts within the violation, and what was true of each thing as it began.
fn around(facts: &[Fact], violation: &Violation) -> Vec<Fact> {
    let first = facts.partition_point(|fact| fact.at < violation.from);
    let mut known = BTreeSet::new();
    let before = facts[..first]
        .iter()
        .rev()
        .filter(|fact| known.insert(subject(&fact.text)));
    let mut kept: Vec<_> = before.cloned().collect();
    kept.extend(
        facts[first..]
            .iter()
            .filter(|fact| fact.at <= violation.until)
            .cloned(),
    );
    kept
}

/// What a fact is about, without what it says of it.
fn subject(text: &str) -> String {
    let end = [" sends to ", ": number "]
        .into_iter()
        .find_map(|part| text.find(part));
    end.map_or_else(
        || text.replace(" no more", ""),
        |end| text[..end].to_owned(),
    )
}

fn owner(evidence: &Evidence, kind: &EventKind) -> Option<String> {
    let EventKind::Owner {
        segment,
        gateway,
        address,
        answered,
    } = kind
    else {
        return None;
    };
    let word = if *answered {
        "answers"
    } else {
        "answers no more"
    };
    let (name, segment) = (
        evidence.names.gateway(*gateway),
        evidence.names.segment(*segment),
    );
    Some(format!(
        "{name} {word} for virtual address {address} on {segment}"
    ))
}

/// Facts made of events.
pub(super) fn events(
    evidence: &Evidence,
    mut told: impl FnMut(&Event) -> Option<String>,
) -> Vec<Fact> {
    let events = evidence.events.iter().zip(&evidence.lines);
    let fact = |(event, line): (&Event, &u32)| {
        let text = told(event)?;
        Some(Fact {
            at: event.at,
            line: Some(*line),
            frame: None,
            text,
            is_step: false,
        })
    };
    events.filter_map(fact).collect()
}

fn lower<T: std::fmt::Debug>(value: &T) -> String {
    format!("{value:?}").to_lowercase()
}
