//! What a node heard, said and asked: facts made of frames at its ports.
//!
//! Without a capture only the frames of a hand-over are known, by what the trace tells of the wire.

use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::trace::{EventKind, FrameKind};

use super::facts::{Fact, Scope, events};
use crate::report::capture::Captured;
use crate::report::evidence::Evidence;

/// Frames by which a role is handed over.
const HANDOVER: [&str; 8] = [
    "claim", "decline", "let-go", "offer", "prepare", "ready", "released", "request",
];

/// Microseconds without a frame that are worth telling.
const SILENCE: u128 = 1000;

/// The frames of a hand-over that the node heard or sent, the first of each kind.
pub(super) fn handed_over(evidence: &Evidence, place: usize, scope: &Scope) -> Vec<Fact> {
    if evidence.capture.frames.is_empty() {
        return on_the_wire(evidence, scope);
    }
    let (mut known, mut facts) = (Vec::new(), Vec::new());
    for (frame, port) in at_ports(evidence, place, scope.since, scope.until) {
        let Some(ours) = frame.decoded.ours else {
            continue;
        };
        let key = (frame.decoded.kind, frame.outbound, ours.sender);
        if !HANDOVER.contains(&frame.decoded.kind) || known.contains(&key) {
            continue;
        }
        known.push(key);
        let name = &evidence.names.gateways[place].name;
        let way = if frame.outbound { "sends" } else { "hears" };
        facts.push(framed(
            frame,
            format!("{name} {way} on {port}: {}", frame.decoded.text),
        ));
    }
    facts
}

/// The same as the trace tells it.
fn on_the_wire(evidence: &Evidence, scope: &Scope) -> Vec<Fact> {
    let mut known: Vec<(FrameKind, NodeId)> = Vec::new();
    events(evidence, |event| match &event.kind {
        EventKind::HandoverFrame {
            segment,
            kind,
            from,
        } if scope.has(event.at, *from) => {
            if event.at > scope.until || known.contains(&(*kind, *from)) {
                return None;
            }
            known.push((*kind, *from));
            let (from, segment) = (
                evidence.names.gateway(*from),
                evidence.names.segment(*segment),
            );
            Some(format!(
                "{} of {from} is seen on {segment}",
                format!("{kind:?}").to_uppercase()
            ))
        }
        _ => None,
    })
}

/// What the node last heard of each peer involved, and what it asked since.
pub(super) fn heard(evidence: &Evidence, place: usize, scope: &Scope) -> Vec<Fact> {
    let own = &evidence.names.gateways[place];
    let mut facts = Vec::new();
    if evidence.capture.frames.is_empty() {
        return facts;
    }
    for peer in scope.gateways.iter().filter(|id| **id != own.id) {
        let mut all = at_ports(evidence, place, Instant::ORIGIN, scope.until).into_iter();
        let of_peer = |frame: &Captured| {
            !frame.outbound && frame.decoded.ours.is_some_and(|ours| ours.sender == peer.0)
        };
        let last = all.rfind(|(frame, _)| of_peer(frame));
        let name = evidence.names.gateway(*peer);
        let since = match &last {
            None => {
                let text = format!("{} has heard nothing of {name} up to here", own.name);
                facts.push(Fact::new(scope.until, text));
                scope.since
            }
            Some((frame, port)) => {
                let silent = scope.until.since(frame.at).as_micros();
                let mut text = format!(
                    "{} hears {name} on {port}: {}",
                    own.name, frame.decoded.text
                );
                if silent >= SILENCE {
                    text += &format!(
                        "; then silence for {}.{:03} ms",
                        silent / 1000,
                        silent % 1000
                    );
                }
                facts.push(framed(frame, text));
                frame.at
            }
        };
        facts.extend(asked(evidence, place, since, scope.until));
    }
    facts
}

/// What a node asked within this time, and what came back.
fn asked(evidence: &Evidence, place: usize, since: Instant, until: Instant) -> Option<Fact> {
    let frames = at_ports(evidence, place, since, until);
    let count = |kind: &str, out: bool| {
        let same = |it: &&(&Captured, &str)| it.0.decoded.kind == kind && it.0.outbound == out;
        frames.iter().filter(same).count()
    };
    let first = frames
        .iter()
        .find(|(it, _)| it.decoded.kind == "probe" && it.outbound)?;
    let name = &evidence.names.gateways[place].name;
    let text = format!(
        "{name} begins to ask: {} probes and {} ARP or ND questions sent until the end; \
         came in: {} answers of daemons, {} ARP or ND frames",
        count("probe", true),
        count("arp", true),
        count("answer", false),
        count("arp", false)
    );
    Some(framed(first.0, text))
}

/// Frames at a gateway's ports, with the port's name.
fn at_ports(
    evidence: &Evidence,
    place: usize,
    since: Instant,
    until: Instant,
) -> Vec<(&Captured, &str)> {
    let capture = &evidence.capture;
    let own = &evidence.names.gateways[place].name;
    let frames = capture.frames.iter().skip(capture.from(since));
    let within = frames.take_while(|frame| frame.at <= until);
    let port = |frame: &Captured| {
        let name = capture.interfaces.get(frame.interface)?;
        let (port, gateway) = name.split_once('.')?;
        (gateway == own).then_some(port)
    };
    within
        .filter_map(|frame| Some((frame, port(frame)?)))
        .collect()
}

fn framed(frame: &Captured, text: String) -> Fact {
    Fact {
        at: frame.at,
        line: None,
        frame: Some(frame.number),
        text,
        is_step: false,
    }
}
