//! Two gateways whose files name the same node (R1.3): each waits for a node that is not there, and
//! never do both serve.

use core::time::Duration;

use steadfast_core::effect::{Alert, Effect, Input};
use steadfast_core::role::EffectiveRole::{Active, Standby};
use steadfast_core::wire::advert::{Advert, Kind};

use crate::setup::{A, B, Change, keys, node};
use crate::world::World;

/// The second file names the first node as its own, and its own as the other.
const TWINS: Change = |place, parts| {
    if place == B {
        parts.node = node(A);
        parts.peers[0].node = node(B);
        parts.keys = keys(A);
    }
};

/// Both dark; the second one has had lives before, for a life is named by its node and number here.
fn dark(change: Change) -> World {
    let mut world = World::dark(change);
    for _ in 0..2 {
        world.power_on(B);
        world.power_off(B);
    }
    world
}

/// Both there for so long that one of them serves, and who that is.
fn twins(change: Change) -> (World, usize, usize) {
    let mut world = dark(change);
    world.power_on(A);
    world.power_on(B);
    world.run(12_000);
    let active = if world.role(A) == Active { A } else { B };
    let standby = A + B - active;
    assert_eq!((world.role(active), world.role(standby)), (Active, Standby));
    (world, active, standby)
}

fn one_serves(world: &World) {
    assert_eq!(world.watch.both, [], "never two owners");
    let serving = [A, B].map(|place| world.role(place) == Active);
    assert!(serving[0] != serving[1], "{:?}", world.roles());
}

#[test]
fn twins_one_serves_and_both_are_told() {
    let (mut world, ..) = twins(TWINS);
    for place in [A, B] {
        assert!(world.alerts(place).contains(&Alert::DuplicateNodeId));
    }
    world.run(5_000);
    one_serves(&world);
}

/// The one that serves stands still past its lease: the other one serves, and it finds that out
/// before it goes on.
#[test]
fn twins_active_that_stood_still_stands_by() {
    for millis in [200, 350, 1_000, 5_000] {
        let (mut world, active, standby) = twins(TWINS);
        world.stop(active);
        world.run(millis);
        world.thaw(active);
        world.run(2_000);
        one_serves(&world);
        if millis >= 1_000 {
            assert_eq!(world.role(standby), Active, "{millis} ms");
        }
    }
}

/// A killed daemon's kernel serves for a lease, however long that is.
#[test]
fn twins_wait_for_the_lease_of_a_killed_one() {
    let (mut world, active, standby) = twins(|place, parts| {
        TWINS(place, parts);
        parts.timing.lease = Duration::from_secs(1);
    });
    world.kill(active);
    world.run(5_000);
    assert_eq!(world.role(standby), Active);
    assert_eq!(world.watch.both, [], "never two owners");
}

/// Whoever finds both serving, after a time without a way between them, leaves it to one.
#[test]
fn twins_that_both_serve_end_it() {
    let (mut world, ..) = twins(TWINS);
    world.split();
    world.run(5_000);
    assert_eq!(world.roles(), (Active, Active), "nobody can know");
    world.heal();
    world.run(2_000);
    let serving = [A, B].map(|place| world.role(place) == Active);
    assert!(serving[0] != serving[1], "{:?}", world.roles());
}

/// What an earlier life said is no twin: it takes nobody's place, and holds nobody up.
#[test]
fn twins_are_not_made_of_replays() {
    let mut world = dark(TWINS);
    world.power_on(A);
    world.run(2_000);
    let old = world.log.iter().find_map(|(_, _, effect)| match effect {
        Effect::Transmit { port, frame } => {
            let advert = Advert::decode(frame, *port, &keys(B)).ok()?;
            (advert.kind == Kind::Advert).then(|| (*port, frame.clone()))
        }
        _ => None,
    });
    let (port, old) = old.expect("it spoke");
    world.power_off(A);
    world.power_on(A);
    world.power_on(B);
    world.run(12_000);
    one_serves(&world);
    let moved = world.roles();
    for _ in 0..20 {
        for place in [A, B] {
            let (frame, at) = (old.as_slice(), world.now);
            world.tell(place, Input::FrameReceived { port, frame, at });
        }
        world.run(37);
        one_serves(&world);
    }
    assert_eq!(world.roles(), moved);
}
