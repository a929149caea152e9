//! Stories of hostile bytes, floods and time that lies: nothing panics, nothing moves.

use proptest::prelude::*;

use steadfast_core::effect::{Alert, Command, Effect, Input};
use steadfast_core::role::EffectiveRole::{Active, Standby};
use steadfast_core::wire::announce::gratuitous_arp;
use steadfast_core::wire::foreign::{ForeignProtocol, ForeignSpeaker};
use steadfast_core::{Instant, MacAddr, PortId, RAISED_MAX};

use crate::setup::{A, B, CABLE, LAN, PORTS, address, node};
use crate::world::World;

/// Frames that were really sent: what a mutation starts from.
fn recorded() -> Vec<Vec<u8>> {
    let mut world = World::settled(|_, _| {});
    world.run(600);
    world.command(A, Command::Release);
    world.run(600);
    world.command(A, Command::TakeOver);
    world.run(600);
    let frames = world
        .log
        .into_iter()
        .filter_map(|(_, _, effect)| match effect {
            Effect::Transmit { frame, .. } => Some(frame),
            _ => None,
        });
    frames.collect()
}

/// A running pair with a past: two hand-overs, so that replays have something to replay.
fn settled_with_a_past() -> World {
    let mut world = World::settled(|_, _| {});
    world.command(A, Command::Release);
    world.run(600);
    world.command(A, Command::TakeOver);
    world.run(2_600);
    assert_eq!(world.roles(), (Active, Standby));
    world.forget();
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Bytes of anybody, on any port, at any length.
    #[test]
    fn noise_random_bytes_never_panic_and_never_move_a_role(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..60)
    ) {
        let mut world = World::settled(|_, _| {});
        for (count, frame) in frames.iter().enumerate() {
            for place in [A, B] {
                let port = PortId(PORTS[count % PORTS.len()]);
                let at = world.now;
                world.tell(place, Input::FrameReceived { port, frame, at });
            }
            world.run(3);
        }
        world.run(700);
        prop_assert_eq!(world.roles(), (Active, Standby));
        prop_assert_eq!(&world.watch.both, &[]);
        prop_assert_eq!(&world.watch.none, &[]);
    }

    /// Real frames, replayed as they were or with bytes changed, on the port of their choice: the
    /// tag, the session and the counter keep every one of them from moving a role.
    #[test]
    fn noise_replayed_and_mutated_frames_never_move_a_role(
        picks in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..3_usize),
            1..80,
        )
    ) {
        let frames = recorded();
        let mut world = settled_with_a_past();
        for (which, byte, change, port) in picks {
            let mut frame = which.get(&frames).clone();
            let index = byte.index(frame.len());
            frame[index] ^= change;
            for place in [A, B] {
                let (port, at) = (PortId(PORTS[port]), world.now);
                world.tell(place, Input::FrameReceived { port, frame: &frame, at });
            }
            world.run(3);
        }
        world.run(700);
        prop_assert_eq!(world.roles(), (Active, Standby));
        prop_assert_eq!(&world.watch.both, &[]);
        prop_assert_eq!(&world.watch.none, &[]);
    }
}

/// A story that has everything in it, for the test below.
fn eventful() -> Vec<(Instant, usize, Effect)> {
    let mut world = World::settled(|_, _| {});
    world.command(B, Command::TakeOver);
    world.run(700);
    world.pull(B, LAN);
    world.run(700);
    world.stop(A);
    world.run(350);
    world.thaw(A);
    world.run(900);
    world.split();
    world.run(900);
    world.heal();
    world.plug(B, LAN);
    world.run(900);
    world.kill(A);
    world.run(500);
    world.start(A);
    world.run(900);
    world.power_off(B);
    world.run(900);
    world.log
}

/// The same inputs give the same effects, to the byte: a journal is a reproduction.
#[test]
fn noise_same_inputs_give_the_same_effects() {
    let (once, twice) = (eventful(), eventful());
    assert!(once.len() > 1_000, "{} effects", once.len());
    let differs = once.iter().zip(&twice).position(|(a, b)| a != b);
    assert_eq!(differs, None);
    assert_eq!(once.len(), twice.len());
}

/// A clock that steps back is taken for one that stands still, and counted.
#[test]
fn noise_time_that_runs_backward_is_counted_and_harmless() {
    let mut world = World::settled(|_, _| {});
    let past = world.now.before(core::time::Duration::from_secs(1));
    for place in [A, B] {
        let daemon = world.gateways[place].daemon.as_mut().expect("it runs");
        daemon.handle(past, Input::DeadlineReached);
    }
    world.run(2_000);
    assert_eq!(world.roles(), (Active, Standby));
    assert_eq!(world.status(A).drops.backward_time, 1);
    assert_eq!(world.watch.none, []);
}

/// Ports nobody configured, in every input that names one.
#[test]
fn noise_unknown_ports_are_ignored() {
    let mut world = World::settled(|_, _| {});
    for id in [3, 15, 31, 32, 63, 64, 255] {
        let (port, at) = (PortId(id), world.now);
        for place in [A, B] {
            world.tell(place, Input::TransmitRefused { port });
            world.tell(place, Input::LinkChanged { port, up: false });
            world.tell(
                place,
                Input::FrameReceived {
                    port,
                    frame: &[0; 60],
                    at,
                },
            );
        }
    }
    world.run(2_000);
    assert_eq!(world.roles(), (Active, Standby));
    assert_eq!(world.watch.none, []);
}

/// Whoever floods a segment with conflicts costs neither memory nor the alerts that matter: the
/// death of the peer is still told.
#[test]
fn noise_flood_of_conflicts_does_not_silence_other_alerts() {
    let mut world = World::settled(|_, _| {});
    for count in 0..200 {
        let thief = MacAddr([2, 9, 9, 9, 9, count]);
        for frame in gratuitous_arp(thief, address(LAN, 1)) {
            world.inject(LAN, &frame);
        }
        world.run(1);
    }
    world.run(100);
    assert!(world.alerts(B).len() <= RAISED_MAX, "bounded");
    world.power_off(A);
    world.run(1_000);
    let down = Alert::PeerDown { peer: node(A) };
    assert!(world.alerts(B).contains(&down));
}

/// Whoever uses our virtual id is told once, with an id that nobody was heard with; what is heard
/// later is no news, and no other id is (F26, R5.4).
#[test]
fn noise_stranger_with_our_virtual_id_is_told_with_one_that_is_free() {
    let mut world = World::settled(|_, _| {});
    let speaker = |virtual_id: u8| ForeignSpeaker {
        protocol: ForeignProtocol::Vrrp3,
        virtual_id,
        priority: 200,
        source: MacAddr([0, 0, 0x5e, 0, 1, virtual_id]),
    };
    world.forget();
    for id in [11, 12, 51, 13, 51] {
        let own = address(LAN, 1);
        world.inject(LAN, &speaker(id).frame(own, own));
        world.run(1_000);
    }
    let told = |free| Alert::ForeignSpeaker {
        speaker: speaker(51),
        free,
    };
    for place in [A, B] {
        assert_eq!(world.alerts(place), [told(Some(13))]);
    }
}

/// Another cluster of this product with our id is told as well, on a segment with virtual
/// addresses; on a cable it disturbs nobody (F26, R5.4).
#[test]
fn noise_another_cluster_with_our_virtual_id_is_told() {
    let mut world = World::settled(|_, _| {});
    world.forget();
    let speaker = |virtual_id: u8| ForeignSpeaker {
        protocol: ForeignProtocol::Steadfast,
        virtual_id,
        priority: 200,
        source: MacAddr([2, 0, 0, 0, 9, virtual_id]),
    };
    let own = address(LAN, 1);
    for (segment, id) in [(CABLE, 51), (LAN, 11), (LAN, 51), (LAN, 51)] {
        world.inject(segment, &speaker(id).frame(own, own));
        world.run(1_000);
    }
    let told = Alert::ForeignSpeaker {
        speaker: speaker(51),
        free: Some(12),
    };
    for place in [A, B] {
        assert_eq!(world.alerts(place), [told]);
    }
}

/// Sixteen watched ports, all without carrier: the worst health there is, not an overflow.
#[test]
fn noise_health_of_sixteen_dead_ports_does_not_overflow() {
    let mut world = World::dark(|place, parts| {
        for id in 3..16 {
            let mut port = parts.ports[0].clone();
            port.id = PortId(id);
            port.name = format!("spare{id}");
            port.mac = MacAddr([2, 0, 0, 1, node(place).0, id]);
            port.direct = false;
            port.watched = true;
            parts.ports.push(port);
        }
        for port in &mut parts.ports {
            port.watched = true;
        }
    });
    world.power_on(A);
    world.run(500);
    let whole = world.status(A).health;
    for port in PORTS {
        world.pull(A, port);
    }
    world.run(500);
    assert!(world.status(A).health > whole, "{whole} and worse");
}
