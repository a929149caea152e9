//! What a status says of the paths between nodes, both ways, and of frames that did not verify.

use core::time::Duration;

use steadfast_core::PortId;
use steadfast_core::effect::{Effect, Input};
use steadfast_core::role::EffectiveRole::{Active, Standby};
use steadfast_core::status::PathStatus;

use crate::setup::{A, B, CABLE, LAN, PORTS, WAN};
use crate::world::World;

fn path(world: &World, place: usize, port: u8) -> PathStatus {
    let paths = &world.status(place).peers[0].paths;
    let found = paths.iter().find(|path| path.port == PortId(port));
    *found.expect("a path for each port")
}

/// Where everything passes each is heard on every path, and says that it hears on every path.
#[test]
fn paths_are_whole_both_ways() {
    let mut world = World::settled(|_, _| {});
    world.run(2_000);
    for place in [A, B] {
        for port in PORTS {
            let path = path(&world, place, port);
            assert_eq!(path.hears_us, Some(true), "{place}, {port}");
            assert!(
                path.heard
                    .is_some_and(|age| age < Duration::from_millis(300))
            );
        }
    }
}

/// One way is lost on the LAN: the sender learns by the other's word that it is not heard, and
/// no role moves.
#[test]
fn paths_that_lead_one_way_are_told_on_both_sides() {
    let mut world = World::settled(|_, _| {});
    world.loss = |from, port, _| from == A && port == LAN;
    world.run(10_000);
    assert_eq!(world.roles(), (Active, Standby));
    let (a, b) = (path(&world, A, LAN), path(&world, B, LAN));
    assert_eq!(a.hears_us, Some(false));
    assert!(a.heard.is_some_and(|age| age < Duration::from_secs(1)));
    assert_eq!(b.hears_us, Some(true));
    assert!(b.heard.is_some_and(|age| age > Duration::from_secs(5)));
    for port in [WAN, CABLE] {
        assert_eq!(path(&world, A, port).hears_us, Some(true));
    }
    world.loss = |_, _, _| false;
    world.run(2_000);
    assert_eq!(path(&world, A, LAN).hears_us, Some(true));
}

/// Whoever was never heard says nothing of what it hears.
#[test]
fn paths_to_an_unheard_peer_are_unknown() {
    let mut world = World::dark(|_, _| {});
    world.power_on(A);
    world.run(500);
    for port in PORTS {
        let path = path(&world, A, port);
        assert_eq!((path.heard, path.hears_us), (None, None));
    }
}

/// A frame of this cluster whose tag does not fit is counted as that: another secret, or a forger.
#[test]
fn paths_frames_that_do_not_verify_are_counted() {
    let mut world = World::settled(|_, _| {});
    world.run(500);
    let sent = world
        .log
        .iter()
        .find_map(|(_, place, effect)| match effect {
            Effect::Transmit { port, frame } if *place == A && *port == PortId(LAN) => {
                (frame.get(12..14) == Some(&[0x88, 0xb5])).then(|| frame.clone())
            }
            _ => None,
        });
    let mut frame = sent.expect("an advertisement");
    let last = frame.len() - 1;
    frame[last] ^= 1;
    let before = world.status(B).drops;
    let (port, at) = (PortId(LAN), world.now);
    let frame = &frame;
    world.tell(B, Input::FrameReceived { port, frame, at });
    let after = world.status(B).drops;
    assert_eq!(after.unverified, before.unverified + 1);
    assert_eq!(after.undecodable, before.undecodable + 1);
}
