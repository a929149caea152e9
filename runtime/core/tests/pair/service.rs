//! Stories of who should serve: preference, failure policies, splits, isolation (R3, D5, D11, D14).

use core::time::Duration;

use steadfast_core::CheckId;
use steadfast_core::config::check::{CheckConfig, Cost};
use steadfast_core::config::{Isolation, OnFailure, Preempt};
use steadfast_core::effect::{Alert, Command, Forwarding, Input};
use steadfast_core::role::ConfiguredRole;
use steadfast_core::role::EffectiveRole::{Active, Off, Standby};
use steadfast_core::status::{Cause, Liveness};

use crate::setup::{A, B, LAN, WAN, host_mac, node};
use crate::world::World;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A is preferred, by its operator and by its priority; the policy is the story's.
fn preferring(preempt: Preempt) -> World {
    match preempt {
        Preempt::Never => World::serving(B, |place, parts| prefer(place, parts, Preempt::Never)),
        Preempt::Prefer => World::serving(B, |place, parts| prefer(place, parts, Preempt::Prefer)),
        Preempt::Priority => {
            World::serving(B, |place, parts| prefer(place, parts, Preempt::Priority))
        }
    }
}

fn prefer(place: usize, parts: &mut steadfast_core::config::Parts, preempt: Preempt) {
    parts.policy.preempt = preempt;
    parts.policy.preferred = place == A && preempt != Preempt::Priority;
    parts.policy.priority = if place == A { 200 } else { 100 };
}

/// Without preemption whoever serves goes on serving, however preferred the other is.
#[test]
fn service_preempt_never_leaves_the_incumbent_alone() {
    let mut world = preferring(Preempt::Never);
    world.run(60_000);
    assert_eq!(world.roles(), (Standby, Active));
    assert_eq!(world.applied(A), []);
}

/// With it, the preferred node asks for its role after the preempt delay, once, and by consent.
#[test]
fn service_preempt_returns_the_role_after_the_delay_without_a_gap() {
    for preempt in [Preempt::Prefer, Preempt::Priority] {
        let mut world = preferring(preempt);
        let took = world.run_until(30_000, |world| world.role(A) == Active);
        assert!(
            took >= ms(7_500),
            "{preempt:?}: the delay is 10 s: {took:?}"
        );
        assert!(took <= ms(12_000), "{preempt:?}: {took:?}");
        world.run(60_000);
        assert_eq!(world.roles(), (Active, Standby), "{preempt:?}");
        assert_eq!(world.watch.none, [], "{preempt:?}");
        assert!(world.watch.longest_with_both() <= ms(1), "{preempt:?}");
    }
}

/// A preferred node that is not whole does not ask for the role.
#[test]
fn service_preempt_never_brings_back_a_sick_node() {
    let mut world = preferring(Preempt::Prefer);
    world.pull(A, WAN);
    world.run(60_000);
    assert_eq!(world.roles(), (Standby, Active));
    world.plug(A, WAN);
    world.run(30_000);
    assert_eq!(world.roles(), (Active, Standby));
}

/// Both are told to be the active one: a fault of the operator, told by both, and it moves nothing.
#[test]
fn service_same_configured_role_is_alerted_and_moves_nothing() {
    let mut world = World::dark(|place, parts| {
        prefer(place, parts, Preempt::Prefer);
        parts.policy.configured = ConfiguredRole::Active;
    });
    world.power_on(B);
    world.run(12_000);
    world.power_on(A);
    world.run(40_000);
    assert_eq!(world.roles(), (Standby, Active));
    for place in [A, B] {
        let told = Alert::SameRole {
            peer: node(1 - place),
        };
        let count = world.alerts(place).iter().filter(|it| **it == told).count();
        assert_eq!(count, 1, "once by node {}", node(place));
        assert!(world.status(place).same_role);
    }
}

/// `on_failure = off`: a node whose port failed while it served stays out of service after it is
/// repaired, across a reboot, until an operator enables it (R3.3).
#[test]
fn service_failed_node_stays_off_until_enabled() {
    let mut world = World::settled(|_, parts| parts.policy.on_failure = OnFailure::Off);
    world.run(3_000);
    world.pull(A, LAN);
    world.run(3_000);
    world.plug(A, LAN);
    world.run(1_000);
    assert_eq!(world.roles(), (Off, Active));
    assert_eq!(world.why(A), Cause::FailurePolicy);
    world.power_off(A);
    world.power_on(A);
    world.run(1_000);
    assert_eq!(world.role(A), Off);
    let enable = world.command(A, Command::Enable);
    world.run(1_000);
    assert_eq!(world.reply(enable), Some(Ok(())));
    assert_eq!(world.roles(), (Standby, Active));
}

/// A service that is slow to come up after boot has not failed, as a port has not; one that passed
/// before has.
#[test]
fn service_slow_check_at_boot_is_no_failure() {
    for passed_before in [false, true] {
        let mut world = World::settled(|_, parts| {
            parts.policy.on_failure = OnFailure::Off;
            parts.checks = vec![CheckConfig {
                id: CheckId(0),
                name: "proxy".to_owned(),
                cost: Cost::Fault,
                rise: 1,
                fall: 1,
            }];
        });
        world.run(6_000);
        let mut told = |passed| {
            let check = CheckId(0);
            world.tell(B, Input::Checked { check, passed });
            world.run(1_000);
        };
        if passed_before {
            told(true);
        }
        told(false);
        told(true);
        let then = if passed_before { Off } else { Standby };
        assert_eq!(world.roles(), (Active, then));
    }
}

/// A fault that both have is none between them: what moves the role then is a weight, and weights
/// have their limit (F33).
#[test]
fn service_shared_fault_leaves_weights_their_limit() {
    let mut world = World::settled(|_, parts| {
        let check = |id, cost| CheckConfig {
            id: CheckId(id),
            name: format!("check-{id}"),
            cost,
            rise: 1,
            fall: 1,
        };
        parts.policy.flap_limit = 2;
        parts.checks = vec![check(0, Cost::Fault), check(1, Cost::Weight(3))];
    });
    let mut told = |place, id, passed| {
        let check = CheckId(id);
        world.tell(place, Input::Checked { check, passed });
        world.run(3_000);
        world.roles()
    };
    for place in [A, B] {
        told(place, 0, false);
    }
    let mut roles = Vec::new();
    for turn in 0..6 {
        let (sick, well) = if turn % 2 == 0 { (A, B) } else { (B, A) };
        told(well, 1, true);
        roles.push(told(sick, 1, false));
    }
    let moved = roles.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(moved <= 2, "{roles:?}");
    assert_eq!(roles[0], (Standby, Active), "a weight moves it at first");
}

/// A port that is slow to come up after boot (autonegotiation takes seconds) has not failed: the
/// failure policy does not retire a node that never served.
#[test]
fn service_slow_link_at_boot_is_no_failure() {
    let mut world = World::dark(|_, parts| parts.policy.on_failure = OnFailure::Off);
    world.pull(B, WAN);
    world.power_on(A);
    world.power_on(B);
    world.run(4_000);
    world.plug(B, WAN);
    world.run(1_000);
    assert_eq!(world.roles(), (Active, Standby));
}

/// A total split: the standby cannot tell it from a death, and both serve their half. Healed,
/// exactly one remains, within milliseconds of the first word, and both tell people once.
#[test]
fn service_two_actives_after_a_healed_split_become_one() {
    for length in [1_000, 5_000, 60_000] {
        for phase in [0, 13, 51] {
            let mut world = World::settled(|_, _| {});
            world.run(phase);
            world.split();
            world.run(length);
            assert_eq!(
                world.roles(),
                (Active, Active),
                "a split is a death to both"
            );
            world.heal();
            world.forget();
            let one = |world: &World| world.is_live(A) != world.is_live(B);
            let took = world.run_until(1_000, one);
            assert!(took <= ms(102), "an interval and a round trip: {took:?}");
            world.run(5_000);
            assert!(one(&world), "split {length} ms: {:?}", world.roles());
            assert_eq!(world.watch.none, [], "the winner went on all the while");
            let winner = if world.is_live(A) { A } else { B };
            let told = world.status(winner);
            assert!(told.rival_at.is_some(), "its hooks are run again (F03)");
            assert!(told.newest >= world.status(1 - winner).epoch);
            for place in [A, B] {
                let told = Alert::SplitBrain {
                    peer: node(1 - place),
                };
                let count = world.alerts(place).iter().filter(|it| **it == told).count();
                assert_eq!(count, 1, "node {}, split {length} ms", node(place));
            }
        }
    }
}

/// A split is an episode that ends on both sides: the next one is told again by the one that lost
/// the first as well.
#[test]
fn service_second_split_is_told_by_both() {
    let mut world = World::settled(|_, _| {});
    for _ in 0..2 {
        world.split();
        world.run(2_000);
        world.heal();
        world.run(5_000);
    }
    for place in [A, B] {
        let told = Alert::SplitBrain {
            peer: node(1 - place),
        };
        let count = world.alerts(place).iter().filter(|it| **it == told).count();
        assert_eq!(count, 2, "node {}", node(place));
    }
}

/// The winner of a dispute tells the segments again where the addresses are: hosts may have learned
/// the loser last.
#[test]
fn service_winner_of_a_dispute_announces_again() {
    let mut world = World::settled(|_, _| {});
    world.split();
    world.run(20_000);
    world.heal();
    world.forget();
    world.run(3_000);
    let winner = if world.is_live(A) { A } else { B };
    let announces = world.log.iter().filter(|(_, from, effect)| {
        let steadfast_core::effect::Effect::Transmit { frame, .. } = effect else {
            return false;
        };
        *from == winner && frame.starts_with(&[0xff; 6]) && frame[12..14] == [0x08, 0x06]
    });
    assert!(
        announces.count() >= 8,
        "two bursts of two forms on two segments"
    );
}

/// One-way loss: the standby hears nothing of the active, which hears it. The one that hears knows
/// more: after the standby has shown that it is deaf, and receives others, the role moves, and
/// never two lease it (D12).
#[test]
fn service_active_that_is_not_heard_steps_aside_for_the_deaf_standby() {
    let mut world = World::settled(|_, _| {});
    world.loss = |from, _, _| from == A;
    world.run(3_000);
    assert!(world.is_live(A) != world.is_live(B), "{:?}", world.roles());
    assert_eq!(world.role(B), Active);
    assert!(
        world.watch.longest_with_both() <= ms(1),
        "{:?}",
        world.watch
    );
    assert!(
        world.watch.longest_without() <= ms(120),
        "{:?}",
        world.watch
    );
}

/// The same where nobody's kernel can be asked, so that the standby needs the dead interval + L:
/// the active steps aside, and the role must not be thrown to and fro until then.
#[test]
fn service_unheard_active_does_not_flap_while_the_standby_makes_up_its_mind() {
    let mut world = World::dark(|_, _| {});
    world.loss = |_, _, frame| frame[12..14] == [0x08, 0x06];
    world.power_on(A);
    world.power_on(B);
    world.run(2_000);
    world.forget();
    world.loss = |from, _, frame| from == A || frame[12..14] == [0x08, 0x06];
    world.run(5_000);
    assert_eq!(world.role(B), Active);
    assert!(world.is_live(A) != world.is_live(B), "{:?}", world.roles());
    assert!(
        world.watch.longest_with_both() <= ms(1),
        "{:?}",
        world.watch
    );
    let claims = world.applied(A).into_iter();
    let claims = claims
        .filter(|it| matches!(it, Forwarding::Active { .. }))
        .count();
    assert!(claims <= 2, "{claims} claims of the unheard");
}

/// The other way round, the active hears nothing of a standby that hears it: nothing moves.
#[test]
fn service_standby_that_is_not_heard_changes_nothing() {
    let mut world = World::settled(|_, _| {});
    world.loss = |from, _, _| from == B;
    world.run(10_000);
    assert_eq!(world.roles(), (Active, Standby));
    assert_eq!(world.watch.both, []);
    assert_eq!(world.watch.none, []);
}

/// No peer and no other station on any served segment is isolation: policy decides whether such a
/// node serves. A host that is heard ends it.
#[test]
fn service_isolated_node_follows_its_policy() {
    for (isolation, serves) in [(Isolation::Serve, true), (Isolation::Yield, false)] {
        let mut world = match isolation {
            Isolation::Serve => World::settled(|_, _| {}),
            Isolation::Yield => {
                World::settled(|_, parts| parts.policy.isolation = Isolation::Yield)
            }
        };
        world.power_off(B);
        world.hosts = false;
        world.run(10_000);
        assert_eq!(world.is_live(A), serves, "{isolation:?}");
        world.hosts = true;
        world.run(25_000);
        assert!(world.is_live(A), "{isolation:?}: connected again");
    }
}

/// Another station answers for a virtual address: an address conflict, told with its MAC; it is no
/// sign of life and moves no role, and the owner announces again.
#[test]
fn service_address_thief_is_named_and_moves_nothing() {
    use core::net::IpAddr;
    use steadfast_core::wire::announce::gratuitous_arp;

    let mut world = World::settled(|_, _| {});
    let address = crate::setup::address(LAN, 1);
    let thief = steadfast_core::MacAddr([2, 9, 9, 9, 9, 9]);
    assert_ne!(thief, host_mac(LAN));
    for _ in 0..5 {
        for frame in gratuitous_arp(thief, address) {
            world.inject(LAN, &frame);
        }
        world.run(400);
    }
    assert_eq!(world.roles(), (Active, Standby));
    let told = Alert::AddressConflict {
        address: IpAddr::V4(address),
        mac: thief,
    };
    for place in [A, B] {
        assert_eq!(world.alerts(place), [told], "node {}", node(place));
    }
}

/// A node that has just started hears its own active's announcement before the first
/// advertisement: it does not take its peer for a thief.
#[test]
fn service_own_active_is_no_thief_to_a_node_that_just_started() {
    use steadfast_core::wire::announce::gratuitous_arp;

    let mut world = World::settled(|_, _| {});
    world.kill(B);
    world.forget();
    world.start(B);
    for frame in gratuitous_arp(crate::setup::mac(A, LAN), crate::setup::address(LAN, 1)) {
        world.inject(LAN, &frame);
    }
    world.run(2_000);
    let conflict = |alert: &Alert| matches!(alert, Alert::AddressConflict { .. });
    assert!(
        !world.alerts(B).iter().any(conflict),
        "{:?}",
        world.alerts(B)
    );
}

/// A thief that goes on is one episode; one that comes back long after it was gone is news (R10.1).
#[test]
fn service_address_thief_that_returns_is_told_again() {
    use steadfast_core::wire::announce::gratuitous_arp;

    let mut world = World::settled(|_, _| {});
    let address = crate::setup::address(LAN, 1);
    let thief = steadfast_core::MacAddr([2, 9, 9, 9, 9, 9]);
    for (wait, told) in [(0, 1), (250_000, 1), (250_000, 1), (301_000, 2)] {
        world.run(wait);
        for frame in gratuitous_arp(thief, address) {
            world.inject(LAN, &frame);
        }
        world.run(1);
        for place in [A, B] {
            let count = world.alerts(place).len();
            assert_eq!(count, told, "node {} after {wait} ms", node(place));
        }
    }
}

/// A standby that comes back into service beside a dead active asks it before it claims; meanwhile
/// its status shows the dead one as dead, and never as an active that it is no more (F69).
#[test]
fn service_status_of_a_dead_peer_that_is_being_asked_is_dead() {
    let mut world = World::settled(|_, _| {});
    world.command(B, Command::MaintenanceOn);
    world.run(500);
    world.vanish(A);
    world.run(3_000);
    world.command(B, Command::MaintenanceOff);
    world.run(1);
    assert_eq!(world.role(B), Standby, "it is asking");
    let peer = world.status(B).peers[0].clone();
    assert_eq!((peer.liveness, peer.role), (Liveness::Dead, None));
}
