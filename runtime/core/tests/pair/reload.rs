//! Stories of a new configuration under a running pair: nothing is lost by it, and nothing that is
//! wrong with it takes effect.

use core::net::IpAddr;
use core::time::Duration;

use steadfast_core::config::check::{CheckConfig, Cost};
use steadfast_core::config::{Parts, Preempt};
use steadfast_core::effect::{Alert, Command, Effect, Forwarding, Input};
use steadfast_core::role::ConfiguredRole;
use steadfast_core::role::EffectiveRole::{Active, Off, Standby};
use steadfast_core::status::Cause;
use steadfast_core::wire::auth::{Key, KeyRing, Phase, Secret};
use steadfast_core::{CheckId, ClusterId, ConfigRefused, Instant, NodeId, PortId};

use crate::look::kind;
use crate::setup::{A, B, Change, LAN, WAN, address, node};
use crate::world::World;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const PREPARE: u8 = 7;

/// A second address on the LAN.
fn second_address(_: usize, parts: &mut Parts) {
    parts.ports[usize::from(LAN)]
        .virtuals
        .push(IpAddr::V4(address(LAN, 2)));
}

/// The longest time between two words of a gateway on the LAN, the story's two ends included.
fn longest_silence(world: &World, place: usize, from: Instant) -> Duration {
    let words = world.adverts(place).into_iter();
    let words = words.filter(|(_, port, _)| *port == PortId(LAN));
    let mut last = from;
    let mut longest = Duration::ZERO;
    for at in words.map(|(at, ..)| at).chain([world.now]) {
        longest = longest.max(at.since(last));
        last = at;
    }
    longest
}

fn a_check(id: u8, name: &str) -> CheckConfig {
    CheckConfig {
        id: CheckId(id),
        name: name.to_owned(),
        cost: Cost::Weight(5),
        rise: 1,
        fall: 1,
    }
}

/// Numbers of checks mean others after a reload: what is believed goes by the name, a check that is
/// left out costs nothing any more, and one that fails later under an old number is news.
#[test]
fn reload_of_checks_goes_by_their_names() {
    let both: Change = |_, parts| parts.checks = vec![a_check(0, "uplink"), a_check(1, "proxy")];
    let second: Change = |_, parts| parts.checks = vec![a_check(0, "proxy")];
    let failed = |id| Alert::CheckFailed { check: CheckId(id) };
    let result = |id, passed| Input::Checked {
        check: CheckId(id),
        passed,
    };
    let mut world = World::settled(both);
    for id in [0, 1] {
        world.tell(B, result(id, true));
    }
    world.tell(B, result(0, false));
    world.run(10);
    assert_eq!(world.status(B).health, 5);
    assert_eq!(world.alerts(B).last(), Some(&failed(0)));
    world.forget();
    assert_eq!(world.reload(B, second), Ok(()));
    world.run(10);
    assert_eq!(world.status(B).health, 0, "its failure went with it");
    assert_eq!(world.alerts(B), []);
    world.tell(B, result(0, false));
    world.run(10);
    assert_eq!(world.alerts(B), [failed(0)], "another check's, and news");
    world.forget();
    assert_eq!(world.reload(B, both), Ok(()));
    world.run(10);
    assert_eq!(world.status(B).health, 5, "it fails under its other number");
    world.tell(B, result(1, false));
    assert_eq!(world.alerts(B), [], "and that is known");
    world.tell(B, result(1, true));
    assert_eq!(world.status(B).health, 0);
}

/// Another interval is taken between two heartbeats, at any phase, shorter or longer: no word comes
/// later than the peer expects it, and nobody doubts anybody.
#[test]
fn reload_of_the_interval_misses_no_heartbeat() {
    let shorter: Change = |_, parts| parts.timing.interval = ms(20);
    let longer: Change = |_, parts| {
        parts.timing.interval = ms(250);
        parts.timing.dead_interval = ms(800);
        parts.timing.lease = ms(800);
    };
    for (change, interval) in [(shorter, ms(20)), (longer, ms(250))] {
        for phase in [0, 1, 37, 99] {
            let mut world = World::settled(|_, _| {});
            world.run(phase);
            world.forget();
            assert_eq!(world.reload(A, change), Ok(()));
            let from = world.now;
            assert_eq!(world.reload(B, change), Ok(()));
            world.run(3_000);
            let case = format!("{interval:?} at {phase} ms");
            assert_eq!(world.roles(), (Active, Standby), "{case}");
            assert!(longest_silence(&world, A, from) <= interval, "{case}");
            assert!(longest_silence(&world, B, from) <= interval, "{case}");
            assert_eq!(world.watch.none, [], "{case}");
            assert_eq!(
                (world.alerts(A), world.alerts(B)),
                (vec![], vec![]),
                "{case}"
            );
            world.vanish(A);
            let took = world.run_until(2_000, |world| world.is_live(B));
            assert!(took <= interval + ms(30), "{case}: judged by it: {took:?}");
        }
    }
}

/// A new virtual address is asked of the active's kernel under the same claim, and announced; the
/// standby's kernel is asked to fence it. The lease never ends, and the role stays.
#[test]
fn reload_of_addresses_applies_and_announces_them() {
    for phase in [0, 50, 99] {
        let mut world = World::settled(|_, _| {});
        world.run(phase);
        world.forget();
        let epoch = world.status(A).epoch;
        assert_eq!(world.reload(B, second_address), Ok(()));
        assert_eq!(world.reload(A, second_address), Ok(()));
        world.run(6_000);
        assert_eq!(world.roles(), (Active, Standby));
        assert_eq!(world.applied(A), [Forwarding::Active { epoch }]);
        assert_eq!(world.applied(B), [Forwarding::Standby]);
        assert_eq!(world.watch.none, []);
        let new = address(LAN, 2);
        let told = world.log.iter().filter(|(_, from, effect)| {
            let Effect::Transmit { frame, .. } = effect else {
                return false;
            };
            *from == A && frame.starts_with(&[0xff; 6]) && frame.ends_with(&new.octets())
        });
        assert!(told.count() >= 4, "announced in bursts");
        world.vanish(A);
        let took = world.run_until(1_000, |world| world.is_live(B));
        assert!(took <= ms(130), "the new segment is armed: {took:?}");
    }
}

/// An active that slept past its lease and wakes to a reload owns nothing, and a new configuration
/// does not change that: what lapsed is armed by a claim alone (D9, D15).
#[test]
fn reload_after_a_pause_creates_no_lease() {
    for pause in [280, 290, 296, 298, 299, 300, 301, 500] {
        let mut world = World::settled(|_, _| {});
        world.run_until(200, |world| !world.adverts(A).is_empty());
        world.stop(A);
        world.run(pause);
        world.forget();
        world.gateways[A].stopped = false;
        assert_eq!(world.reload(A, second_address), Ok(()));
        assert!(
            !world
                .applied(A)
                .iter()
                .any(|it| matches!(it, Forwarding::Active { .. })),
            "{pause} ms"
        );
        world.run(3_000);
        assert!(world.is_live(A) != world.is_live(B), "{pause} ms");
        assert!(
            world.watch.longest_with_both() <= ms(1),
            "{pause} ms: {:?}",
            world.watch
        );
        let serving = if world.is_live(A) { A } else { B };
        if serving == A {
            let last = world.applied(A).pop();
            assert!(
                matches!(last, Some(Forwarding::Active { .. })),
                "{pause} ms: applied late"
            );
        }
    }
}

/// What only a restart can change is refused by name, and the node goes on as it was.
#[test]
fn reload_of_what_a_node_is_made_of_is_refused() {
    let refused: [(Change, ConfigRefused); 5] = [
        (|_, parts| parts.virtual_router = 52, ConfigRefused::Cluster),
        (
            |place, parts| {
                parts.cluster = ClusterId([1; 16]);
                parts.keys = ring(parts.cluster, node(place), &[node(A), node(B)]);
            },
            ConfigRefused::Cluster,
        ),
        (
            |_, parts| {
                parts.node = NodeId(9);
                parts.keys = ring(parts.cluster, NodeId(9), &[NodeId(9), node(A), node(B)]);
            },
            ConfigRefused::Node,
        ),
        (
            |_, parts| parts.peers[0].node = NodeId(9),
            ConfigRefused::Peers,
        ),
        (
            |_, parts| parts.ports[usize::from(WAN)].name = "wan9".to_owned(),
            ConfigRefused::Ports,
        ),
    ];
    let mut world = World::settled(|_, _| {});
    for (change, why) in refused {
        for place in [A, B] {
            assert_eq!(world.reload(place, change), Err(why));
        }
        world.run(1_000);
        assert_eq!(world.roles(), (Active, Standby), "{why}");
        assert_eq!(
            (world.applied(A), world.applied(B)),
            (vec![], vec![]),
            "{why}"
        );
        assert_eq!(world.watch.none, [], "{why}");
    }
}

/// Ports and peers listed in another order are the same ports and peers.
#[test]
fn reload_in_another_order_changes_nothing() {
    let mut world = World::settled(|_, _| {});
    for place in [A, B] {
        let daemon = world.gateways[place].daemon.as_mut().expect("it runs");
        let turned = crate::setup::config(place, |_, parts| parts.ports.reverse());
        assert_eq!(daemon.replace_config(world.now, turned), Ok(()));
    }
    world.run(2_000);
    assert_eq!(world.roles(), (Active, Standby));
    assert_eq!((world.applied(A), world.applied(B)), (vec![], vec![]));
    world.vanish(A);
    let took = world.run_until(1_000, |world| world.is_live(B));
    assert!(took <= ms(130), "{took:?}");
}

/// While the role is handed over the two count on each other's times: a reload waits.
#[test]
fn reload_during_a_handover_is_refused() {
    let mut world = World::settled(|_, _| {});
    world.command(A, Command::Release);
    world.run_until(100, |world| {
        world.adverts(A).iter().any(|it| kind(it.2) == PREPARE)
    });
    assert_eq!(world.reload(A, second_address), Err(ConfigRefused::Busy));
    world.run(1_000);
    assert_eq!(world.roles(), (Standby, Active));
    assert_eq!(world.reload(A, second_address), Ok(()));
}

/// Configured to be off, the active hands its role over without a gap; configured back, it stands
/// by. Alone, it leaves service all the same: that is what was asked for.
#[test]
fn reload_to_off_hands_the_role_over() {
    let off: Change = |place, parts| {
        if place == A {
            parts.policy.configured = ConfiguredRole::Off;
        }
    };
    let mut world = World::settled(|_, _| {});
    assert_eq!(world.reload(A, off), Ok(()));
    world.run(1_000);
    assert_eq!(world.roles(), (Off, Active));
    assert_eq!(world.why(A), Cause::Commanded);
    assert_eq!(world.watch.none, []);
    assert_eq!(world.reload(A, |_, _| {}), Ok(()));
    world.run(1_000);
    assert_eq!(world.roles(), (Standby, Active));
    let mut world = World::settled(|_, _| {});
    world.power_off(B);
    world.run(1_000);
    assert_eq!(world.reload(A, off), Ok(()));
    world.run(1_000);
    assert_eq!(world.role(A), Off);
    assert!(!world.is_live(A));
}

/// A policy counts from now on: the preferred node asks for the role once the policy lets it.
#[test]
fn reload_of_the_policy_takes_effect() {
    let prefer: Change = |place, parts| {
        parts.policy.preempt = Preempt::Prefer;
        parts.policy.preferred = place == A;
    };
    let mut world = World::serving(B, |_, _| {});
    world.run(20_000);
    assert_eq!(world.roles(), (Standby, Active));
    for place in [B, A] {
        assert_eq!(world.reload(place, prefer), Ok(()));
    }
    world.run(12_000);
    assert_eq!(world.roles(), (Active, Standby));
    assert_eq!(world.watch.none, []);
}

/// A key is changed as operators change it, node by node and step by step, and no heartbeat is lost
/// on the way.
#[test]
fn reload_of_keys_node_by_node_keeps_the_sessions() {
    let steps: [Change; 3] = [
        |place, parts| parts.keys = two_keys(place, Phase::Enforce, Phase::ReceiveOnly),
        |place, parts| parts.keys = two_keys(place, Phase::Enforce, Phase::Permissive),
        |place, parts| parts.keys = two_keys(place, Phase::Permissive, Phase::Enforce),
    ];
    let mut world = World::settled(|_, _| {});
    for step in steps {
        for place in [A, B] {
            assert_eq!(world.reload(place, step), Ok(()));
            world.run(1_000);
            assert_eq!(world.roles(), (Active, Standby));
        }
    }
    assert_eq!((world.alerts(A), world.alerts(B)), (vec![], vec![]));
    assert_eq!((world.applied(A), world.applied(B)), (vec![], vec![]));
    assert_eq!(world.status(A).drops.undecodable, 0);
    assert_eq!(world.status(B).drops.undecodable, 0);
}

fn key(id: u8, secret: &[u8], phase: Phase) -> Key {
    Key {
        id,
        secret: Secret::new(secret).expect("a good secret"),
        phase,
    }
}

fn ring(cluster: ClusterId, own: NodeId, nodes: &[NodeId]) -> KeyRing {
    let only = key(1, b"correct horse battery staple", Phase::Enforce);
    KeyRing::new(cluster, own, nodes, vec![only]).expect("good keys")
}

fn two_keys(place: usize, old: Phase, new: Phase) -> KeyRing {
    let keys = vec![
        key(1, b"correct horse battery staple", old),
        key(2, b"another horse, another staple", new),
    ];
    let cluster = ClusterId([0x5f; 16]);
    KeyRing::new(cluster, node(place), &[node(A), node(B)], keys).expect("good keys")
}
