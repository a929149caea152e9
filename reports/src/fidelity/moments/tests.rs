//! What counts as a moment, and when it was.

use super::*;
use steadfast_core::Epoch;

fn status(at: u64, role: EffectiveRole, why: &str) -> Event {
    let kind = EventKind::Status {
        gateway: NodeId(1),
        role,
        since: Instant::from_nanos(at * 1_000_000),
        epoch: Epoch(1),
        why: why.to_owned(),
    };
    Event::new(Instant::from_nanos(at * 1_000_000), kind)
}

fn step(at: u64) -> Event {
    named_step(at, "cut")
}

fn named_step(at: u64, name: &str) -> Event {
    let kind = EventKind::Step {
        name: name.to_owned(),
        verb: "link_down".to_owned(),
        target: "a".to_owned(),
        done: true,
        took: None,
    };
    Event::new(Instant::from_nanos(at * 1_000_000), kind)
}

/// What an observer behind a dead switch does not hear is no silence of the gateways.
#[test]
fn moments_nobody_answers_through_a_dead_switch() {
    let owner = |at: u64, answered| {
        let kind = EventKind::Owner {
            segment: steadfast_scenarios::SegmentId(0),
            gateway: NodeId(1),
            address: 0,
            answered,
        };
        Event::new(Instant::from_nanos(at * 1_000_000), kind)
    };
    let switch = |at: u64, verb: &str| {
        let kind = EventKind::Step {
            name: verb.to_owned(),
            verb: verb.to_owned(),
            target: Names::default().segment(steadfast_scenarios::SegmentId(0)),
            done: true,
            took: None,
        };
        Event::new(Instant::from_nanos(at * 1_000_000), kind)
    };
    let events = [
        switch(0, "switch_off"),
        owner(1, false),
        switch(1_000, "switch_on"),
        owner(1_100, true),
        owner(2_000, false),
    ];
    let told: Vec<_> = sightings(&events).into_iter().map(|it| it.name).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(
        told[2].contains("answers") && told[3].contains("silent"),
        "{told:?}"
    );
}

/// A role counts if its node lives long enough to be asked for it.
#[test]
fn moments_last_words_are_none() {
    let dies = |at: u64| {
        let kind = EventKind::Power {
            gateway: NodeId(1),
            state: PowerState::Off,
        };
        Event::new(Instant::from_nanos(at * 1_000_000), kind)
    };
    let role = status(20, EffectiveRole::Active, "handed over");
    let told = |end: u64| sightings(&[step(10), role.clone(), dies(end)]).len();
    assert_eq!((told(20), told(40)), (2, 2));
    assert_eq!(told(41), 3);
}

/// What follows a step is timed from when it was done, and what comes before that not at all.
#[test]
fn moments_follow_what_a_step_did() {
    let mut cut = step(10);
    if let EventKind::Step { took, .. } = &mut cut.kind {
        *took = Some(2_000_000);
    }
    let events = [
        cut,
        status(11, EffectiveRole::Standby, "while ports go down"),
        status(16, EffectiveRole::Active, "alone"),
    ];
    let after: Vec<_> = sightings(&events).into_iter().map(|it| it.after).collect();
    let done = ("step cut".to_owned(), Instant::from_nanos(12_000_000));
    assert_eq!(after, [None, None, Some(done)]);
}

/// An answer that is over before the lab would surely have asked is no moment, nor is its end;
/// one that lasts is, and so is what follows it.
#[test]
fn moments_a_glimpse_of_an_owner_is_none() {
    let owner = |at: u64, answered| {
        let kind = EventKind::Owner {
            segment: steadfast_scenarios::SegmentId(0),
            gateway: NodeId(1),
            address: 0,
            answered,
        };
        Event::new(Instant::from_nanos(at * 1_000_000), kind)
    };
    let told = |until: u64| {
        let events = [step(0), owner(10, true), owner(until, false)];
        sightings(&events).len()
    };
    assert_eq!((told(11), told(12)), (1, 3));
}

/// Each change of a carrier is one of its own, even if the cable flaps as fast as senders
/// repeat what they say.
#[test]
fn moments_every_change_of_a_carrier_counts() {
    let carrier = |at: u64, up| {
        let kind = EventKind::Carrier {
            gateway: NodeId(1),
            port: steadfast_core::PortId(2),
            up,
        };
        Event::new(Instant::from_nanos(at * 1_000_000), kind)
    };
    let events = [
        step(1),
        carrier(250, false),
        carrier(500, true),
        carrier(749, false),
        carrier(999, true),
    ];
    let sightings = sightings(&events);
    let last = sightings.last().map(|it| it.name.as_str());
    assert_eq!(last, Some("gateway 1 has carrier on port 2 #2"));
}

/// Steps that come together are one beginning under the first one's name: what follows is
/// timed from the latest, and nothing is said of the time between them.
#[test]
fn moments_follow_the_latest_of_steps_that_come_together() {
    let events = [
        named_step(10, "pull"),
        status(12, EffectiveRole::Standby, "between them"),
        named_step(13, "cut"),
        status(15, EffectiveRole::Active, "alone"),
        named_step(100, "back"),
    ];
    let after: Vec<_> = sightings(&events).into_iter().map(|it| it.after).collect();
    let pull = |at: u64| Some(("step pull".to_owned(), Instant::from_nanos(at * 1_000_000)));
    assert_eq!(after, [None, None, None, pull(13), pull(13)]);
}

/// Roles from the first step on, each once however often it is explained anew; coming back is
/// another moment, and each knows the step it follows.
#[test]
fn moments_are_named_counted_and_follow_a_step() {
    let events = [
        status(0, EffectiveRole::Active, "boot"),
        step(10),
        status(20, EffectiveRole::Standby, "let go"),
        status(21, EffectiveRole::Standby, "another reason"),
        status(600, EffectiveRole::Active, "again"),
        status(1_000, EffectiveRole::Standby, "let go"),
    ];
    let sightings = sightings(&events);
    let told: Vec<_> = sightings.iter().map(|it| it.name.as_str()).collect();
    let roles = [
        "gateway 1 standby",
        "gateway 1 active",
        "gateway 1 standby #2",
    ];
    assert_eq!(told[0], "step cut");
    assert_eq!(told[1..], roles);
    let after = |it: &Sighting| it.after.clone().map(|(name, _)| name);
    assert_eq!(after(&sightings[0]), None);
    assert_eq!(after(&sightings[3]), Some("step cut".to_owned()));
}
