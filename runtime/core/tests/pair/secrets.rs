//! Stories of two secrets: nobody can be read, and there is one owner all the same (R14.1).

use core::time::Duration;

use steadfast_core::PortId;
use steadfast_core::config::Parts;
use steadfast_core::effect::{Effect, Input};
use steadfast_core::role::EffectiveRole::{Active, Standby, Starting};

use crate::setup::{A, B, LAN, other_keys};
use crate::world::World;

/// What an operator mistyped: the second gateway has a secret of its own.
fn two_secrets(place: usize, parts: &mut Parts) {
    if place == B {
        parts.keys = other_keys(place);
    }
}

const INITIAL_WAIT_MS: u64 = 10_000;

/// The active serves; a gateway with another secret starts. It hears that it cannot read the other
/// and that somebody answers for the address: it never claims. When the active is gone, it does.
#[test]
fn secrets_differ_starting_gateway_leaves_the_role_to_whoever_answers() {
    let mut world = World::dark(two_secrets);
    world.power_on(A);
    world.run(INITIAL_WAIT_MS + 2_000);
    assert_eq!(world.role(A), Active);
    world.power_on(B);
    world.run(60_000);
    assert_ne!(world.role(B), Active);
    assert_eq!(world.watch.both, [], "never two leases");
    world.power_off(A);
    let took = world.run_until(5_000, |world| world.role(B) == Active);
    assert!(took < Duration::from_secs(2), "took {took:?}");
}

/// Both start, together and one after the other: one of them serves, and only one.
#[test]
fn secrets_differ_gateways_start_together_and_one_serves() {
    for (first, second) in [(A, B), (B, A)] {
        for wait in [0, 7, 150, 301, 1_000, 9_000, 9_900] {
            let mut world = World::dark(two_secrets);
            world.power_on(first);
            world.run(wait);
            world.power_on(second);
            world.run(30_000);
            assert_eq!(world.watch.both, [], "{first} first, {wait} ms");
            let roles = [world.role(A), world.role(B)];
            let active = roles.iter().filter(|role| **role == Active).count();
            assert_eq!(active, 1, "{first} first, {wait} ms: {roles:?}");
            let waits = |role: &_| matches!(role, Active | Standby | Starting);
            assert!(roles.iter().all(waits), "{roles:?}");
        }
    }
}

/// Forged frames alone hold nobody up: no station answers for the address, and a node that starts
/// beside a forger serves.
#[test]
fn secrets_forged_frames_alone_keep_nobody_from_the_role() {
    let mut world = World::dark(|_, _| {});
    world.power_on(A);
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
    let mut forged = sent.expect("an advertisement");
    let last = forged.len() - 1;
    forged[last] ^= 1;
    world.power_off(A);
    world.power_on(B);
    let mut active = false;
    for _ in 0..(INITIAL_WAIT_MS + 3_000) / 50 {
        let (port, at, frame) = (PortId(LAN), world.now, &forged);
        world.tell(B, Input::FrameReceived { port, frame, at });
        world.run(50);
        active |= world.role(B) == Active;
    }
    assert!(active, "nobody answers, so nobody is kept from the role");
    assert!(world.status(B).drops.unverified > 200);
}

/// A gateway that serves keeps the role, whatever cannot be read beside it.
#[test]
fn secrets_differ_active_keeps_its_role() {
    let mut world = World::dark(two_secrets);
    world.power_on(B);
    world.run(INITIAL_WAIT_MS + 2_000);
    world.power_on(A);
    world.run(60_000);
    assert_eq!(world.role(B), Active);
    assert_ne!(world.role(A), Active);
    assert_eq!(world.watch.both, []);
}
