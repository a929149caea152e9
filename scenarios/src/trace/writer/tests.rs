//! The trace's bytes and their hash.

use steadfast_core::hooks::Level;
use steadfast_core::role::EffectiveRole;
use steadfast_core::{Epoch, Instant, NodeId, PortId};

use super::*;
use crate::ids::{HostId, SegmentId, StreamId};
use crate::trace::{
    FrameKind, GatewayName, Holder, HookPhase, HostName, Names, Outcome, PowerState, ProcessState,
    SegmentName, SourceKind, read,
};
use steadfast_core::diagnosis::TroubleKind;

/// A gateway, a segment, a host and a stream.
fn names(gateway: NodeId, segment: SegmentId) -> Names {
    Names {
        scenario: "x".to_owned(),
        seed: 7,
        gateways: vec![GatewayName {
            id: gateway,
            name: "a".to_owned(),
        }],
        segments: vec![SegmentName {
            name: "lan".to_owned(),
            addresses: 1,
            virtual_mac: false,
        }],
        hosts: vec![HostName {
            name: "client".to_owned(),
            segment,
        }],
        streams: vec!["out".to_owned()],
    }
}

/// The first half of the kinds.
fn kinds_a_to_o() -> Vec<EventKind> {
    let gateway = NodeId(1);
    let segment = SegmentId(0);
    let names = names(gateway, segment);
    vec![
        EventKind::Names(names),
        EventKind::Alert {
            gateway,
            alert: "split".to_owned(),
            raised: true,
        },
        EventKind::Apply {
            gateway,
            serve: true,
            outcome: Outcome::Superseded,
        },
        EventKind::Barred {
            gateway,
            barred: true,
        },
        EventKind::Blind {
            since: Instant::from_millis(1),
            why: "a \"stall\"\n".to_owned(),
        },
        EventKind::Carrier {
            gateway,
            port: PortId(2),
            up: false,
        },
        EventKind::Frozen {
            gateway,
            frozen: true,
        },
        EventKind::HandoverFrame {
            segment,
            kind: FrameKind::LetGo,
            from: gateway,
        },
        EventKind::Hook {
            gateway,
            hook: "uplink".to_owned(),
            level: Level::Active,
            epoch: Epoch(3),
            again: true,
            phase: HookPhase::Done,
        },
        EventKind::Neighbour {
            host: HostId(0),
            address: 0,
            holder: Holder::Gateway(gateway),
        },
        EventKind::Neighbour {
            host: HostId(0),
            address: 0,
            holder: Holder::Other,
        },
        EventKind::PortStatus {
            gateway,
            port: PortId(0),
            up: false,
        },
    ]
}

/// The second half of the kinds.
fn kinds_o_to_z() -> Vec<EventKind> {
    let gateway = NodeId(1);
    let segment = SegmentId(0);
    let role = EffectiveRole::Active;
    vec![
        EventKind::Owner {
            segment,
            gateway,
            address: 0,
            answered: true,
        },
        EventKind::PeerStatus {
            gateway,
            peer: NodeId(2),
            role: Some(role),
            age: None,
        },
        EventKind::Power {
            gateway,
            state: PowerState::Booting,
        },
        EventKind::ProbeSent {
            stream: StreamId(3),
            seq: u32::MAX,
        },
        EventKind::ProbeReceived {
            stream: StreamId(0),
            seq: 0,
            sent_at: Instant::FAR_FUTURE,
            via: Some(gateway),
        },
        EventKind::Process {
            gateway,
            state: ProcessState::Stopped,
        },
        EventKind::Reachable {
            segment,
            gateway,
            reachable: true,
        },
        EventKind::RoleLie {
            gateway,
            role: None,
        },
        EventKind::Status {
            gateway,
            role,
            since: Instant::ORIGIN,
            epoch: Epoch(u64::MAX),
            why: "ü".to_owned(),
        },
        EventKind::Step {
            name: "cut".to_owned(),
            verb: "power_off".to_owned(),
            target: "a".to_owned(),
            done: true,
            took: Some(1_400_000),
        },
        EventKind::SwitchPort {
            segment,
            holder: Holder::Nobody,
        },
        EventKind::VirtualSource {
            segment,
            gateway,
            what: SourceKind::Announcement,
        },
        EventKind::End,
    ]
}

/// One event of every kind. A kind missing here would be missing from the format's test.
fn every_kind() -> Vec<Event> {
    let trouble = EventKind::Trouble {
        gateway: NodeId(1),
        kind: TroubleKind::OneWayThere,
        problem: "one-way link".to_owned(),
        found: true,
    };
    let kinds = kinds_a_to_o().into_iter().chain(kinds_o_to_z());
    let kinds = kinds.chain([trouble]);
    let timed = |(index, kind)| Event::new(Instant::from_millis(index as u64), kind);
    kinds.into_iter().enumerate().map(timed).collect()
}

fn written(events: &[Event]) -> (String, TraceHash) {
    let mut store = Vec::new();
    let mut writer = TraceWriter::storing(&mut store);
    events.iter().for_each(|event| writer.write(event));
    let hash = writer.finish().unwrap();
    (String::from_utf8(store).unwrap(), hash)
}

/// Every kind of event reads back as it was: a trace is evidence only if it can be judged again.
#[test]
fn trace_round_trip_of_every_kind() {
    let events = every_kind();
    let (text, _) = written(&events);
    assert_eq!(read(&text).unwrap(), events);
    assert_eq!(text.lines().count(), events.len());
}

/// Lines put together by hand and by serde are the same bytes.
#[test]
fn trace_line_equals_serde() {
    for event in every_kind() {
        let mut line = Vec::new();
        push_line(&mut line, &event);
        let by_serde = serde_json::to_string(&event).unwrap() + "\n";
        assert_eq!(String::from_utf8(line).unwrap(), by_serde);
    }
}

/// The form is part of the evidence format: a change must be seen in review.
#[test]
fn trace_form_is_fixed() {
    let (text, hash) = written(&every_kind());
    insta::assert_snapshot!("trace", format!("{hash}\n{text}"));
}

/// The hash is that of the stored bytes, in memory or not, so that anyone can check a bundle.
#[test]
fn trace_hash_is_that_of_the_bytes() {
    let mut events = Vec::new();
    for seq in 0..5000 {
        let kind = EventKind::ProbeSent {
            stream: StreamId(0),
            seq,
        };
        events.push(Event::new(Instant::from_millis(u64::from(seq)), kind));
    }
    let (text, hash) = written(&events);
    assert!(
        text.len() > 2 * PIECE,
        "the test must cross the piece's border"
    );
    assert_eq!(hash.0, *blake3::hash(text.as_bytes()).as_bytes());
    let mut other = TraceWriter::hash_only();
    events.iter().for_each(|event| other.write(event));
    assert_eq!(other.count(), 5000);
    assert_eq!(other.finish().unwrap(), hash);
}

/// A full disk is told at the end and does not stop the run.
#[test]
fn trace_store_error_is_told() {
    let mut writer = TraceWriter::storing(Full);
    every_kind().iter().for_each(|event| writer.write(event));
    assert_eq!(
        writer.finish().unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A damaged trace is refused with the line's number.
#[test]
fn trace_damage_is_named_by_line() {
    let (text, _) = written(&every_kind());
    let cut = text.get(..text.len() - 5).unwrap();
    let error = read(cut).unwrap_err().to_string();
    assert!(
        error.contains(&format!("line {}", every_kind().len())),
        "{error}"
    );
    let swapped: Vec<&str> = text.lines().rev().collect();
    assert!(
        read(&swapped.join("\n"))
            .unwrap_err()
            .to_string()
            .contains("line 2")
    );
}
