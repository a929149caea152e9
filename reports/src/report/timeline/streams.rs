//! What clients saw: where they send, and when nothing came back.
//!
//! An interruption is measured as the oracle `outage` measures it: from when the next probe after
//! the last arrival should have arrived until the next arrival. It is drawn when probes are missing
//! in it, or when it is longer than [`LATE`], so ordinary jitter is no red.

use std::collections::BTreeMap;

use steadfast_core::Instant;
use steadfast_scenarios::trace::{EventKind, Holder};
use steadfast_scenarios::{HostId, StreamId};

use super::{Bar, Lane, Track, lasting};
use crate::report::evidence::Evidence;

/// A delay without loss that is drawn, in nanoseconds.
const LATE: u64 = 10_000_000;
/// Probes that young at the end may still be on their way, in nanoseconds.
const FLIGHT: u64 = 100_000_000;

/// Lanes of every host: its neighbour entry, and the streams that it sends.
pub(super) fn hosts(evidence: &Evidence) -> Vec<Lane> {
    let mut lanes = Vec::new();
    for (at, host) in (0..).zip(&evidence.names.hosts) {
        let lane = |kind, name: String, hint: &str, bars| Lane {
            group: host.name.clone(),
            name,
            kind,
            hint: hint.to_owned(),
            bars,
            marks: Vec::new(),
        };
        let neighbour = neighbour(evidence, HostId(at));
        if !neighbour.is_empty() {
            let hint = "where its neighbour entry for the virtual address points";
            lanes.push(lane("neighbour", "sends to".to_owned(), hint, neighbour));
        }
        for (id, stream) in (0..).zip(&evidence.names.streams) {
            let planned = evidence.plan.as_ref();
            let planned = planned.and_then(|plan| plan.traffic.get(usize::from(id)));
            // Without the scenario nobody knows who sends: the first host shows all.
            if planned.map_or(at == 0, |it| it.from == host.name) {
                let way = planned.map_or_else(String::new, |it| format!(" to {}", it.to));
                let bars = interruptions(evidence, StreamId(id));
                let hint = format!("probes of the stream {stream}{way}: red where none came back");
                lanes.push(lane("stream", stream.clone(), &hint, bars));
            }
        }
    }
    lanes
}

/// Of its entry for the first virtual address.
fn neighbour(evidence: &Evidence, id: HostId) -> Vec<Bar> {
    let mut track = Track::new();
    for (event, line) in evidence.events.iter().zip(&evidence.lines) {
        let EventKind::Neighbour {
            host,
            address: 0,
            holder,
        } = &event.kind
        else {
            continue;
        };
        if *host != id {
            continue;
        }
        let next = match holder {
            Holder::Gateway(gateway) => {
                let name = evidence.names.gateway(*gateway);
                Some(("owns", format!("to {name}"), evidence.place(*gateway)))
            }
            Holder::Nobody => None,
            Holder::Other => Some(("contested", "to a stranger".to_owned(), None)),
        };
        let bar = |(kind, text, node)| Bar {
            kind,
            text,
            node,
            line: Some(*line),
            ..Bar::default()
        };
        track.switch(event.at, next.map(bar));
    }
    track.finish(evidence.end())
}

/// A probe that arrived.
#[derive(Clone, Copy)]
struct Arrival {
    seq: u32,
    at: Instant,
    sent_at: Instant,
    line: u32,
}

fn interruptions(evidence: &Evidence, id: StreamId) -> Vec<Bar> {
    let (mut sent, mut bars) = (BTreeMap::new(), Vec::new());
    let mut latest: Option<Arrival> = None;
    for (event, line) in evidence.events.iter().zip(&evidence.lines) {
        match event.kind {
            EventKind::ProbeSent { stream, seq } if stream == id => {
                sent.insert(seq, event.at);
            }
            EventKind::ProbeReceived {
                stream,
                seq,
                sent_at,
                ..
            } if stream == id => {
                if latest.is_some_and(|latest| seq <= latest.seq) {
                    continue;
                }
                let now = Arrival {
                    seq,
                    at: event.at,
                    sent_at,
                    line: *line,
                };
                bars.extend(gap(latest, now, &sent));
                sent = sent.split_off(&seq);
                latest = Some(now);
            }
            _ => {}
        }
    }
    bars.extend(open_end(latest, &sent, evidence.end().as_nanos()));
    bars
}

/// What lay between two arrivals, if it is worth a span.
fn gap(latest: Option<Arrival>, now: Arrival, sent: &BTreeMap<u32, Instant>) -> Option<Bar> {
    let Some(latest) = latest else {
        let first = sent.first_key_value()?.1.as_nanos();
        let text = "nothing came back yet".to_owned();
        let until = now.at.as_nanos();
        return (until > first + LATE).then(|| Bar {
            from: first,
            until,
            kind: "unseen",
            text,
            ..Bar::default()
        });
    };
    let next = sent.get(&(latest.seq + 1))?;
    let from = latest.at.after(next.since(latest.sent_at)).as_nanos();
    let until = now.at.as_nanos();
    let missing = now.seq - latest.seq - 1;
    if until <= from || (missing == 0 && until - from < LATE) {
        return None;
    }
    let (text, line) = (told(until - from, missing), Some(latest.line));
    let why =
        "from when the next probe should have arrived; the line is of the last arrival".to_owned();
    Some(Bar {
        from,
        until,
        kind: "outage",
        text,
        why,
        line,
        ..Bar::default()
    })
}

/// The stream ended interrupted, or never began.
fn open_end(latest: Option<Arrival>, sent: &BTreeMap<u32, Instant>, end: u64) -> Option<Bar> {
    let Some(latest) = latest else {
        let first = sent.first_key_value()?.1.as_nanos();
        let text = "nothing ever came back".to_owned();
        return Some(Bar {
            from: first,
            until: end,
            kind: "unseen",
            text,
            ..Bar::default()
        });
    };
    let next = sent.get(&(latest.seq + 1))?;
    let from = latest.at.after(next.since(latest.sent_at)).as_nanos();
    let missing = u32::try_from(sent.len())
        .unwrap_or(u32::MAX)
        .saturating_sub(1);
    let text = format!("{}, to the end", told(end.saturating_sub(from), missing));
    let line = Some(latest.line);
    (end > from + FLIGHT).then(|| Bar {
        from,
        until: end,
        kind: "outage",
        text,
        line,
        ..Bar::default()
    })
}

fn told(nanos: u64, missing: u32) -> String {
    let missing = match missing {
        0 => "late, none missing".to_owned(),
        1 => "1 probe missing or late".to_owned(),
        many => format!("{many} probes missing or late"),
    };
    format!("interrupted for {}, {missing}", lasting(nanos))
}
