//! Stories of an active that is gone, or only seems to be (D6, D7, D8, D12).

use core::time::Duration;

use steadfast_core::effect::{Alert, Command, Forwarding};
use steadfast_core::role::EffectiveRole::{Active, Off, Standby};
use steadfast_core::status::Cause;
use steadfast_core::wire::ethernet::{Frame, ethertype};

use crate::setup::{A, B, CABLE, LAN, WAN, node};
use crate::world::World;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Moments within an advertisement's and an ask's period at which a story strikes.
const PHASES: [u64; 7] = [1, 33, 66, 99, 250, 480, 510];

/// The power goes: both ends lose the carrier of the cable, three rounds find neither daemon nor
/// kernel, and the standby serves within 10 ms. Two leases are impossible, none is short.
#[test]
fn takeover_power_loss_within_ten_milliseconds_of_carrier_loss() {
    for phase in PHASES {
        let mut world = World::settled(|_, _| {});
        world.run(phase);
        let epoch = world.status(B).epoch;
        world.power_off(A);
        let took = world.run_until(200, |world| world.is_live(B));
        assert!(ms(4) <= took && took <= ms(10), "took {took:?}");
        world.run(1_000);
        assert_eq!(world.roles(), (Off, Active));
        assert_eq!(world.why(B), Cause::PeerDead { peer: node(A) });
        assert!(world.status(B).witnessed);
        assert!(world.status(B).epoch > epoch);
        assert_eq!(world.alerts(B), [Alert::PeerDown { peer: node(A) }]);
        let recent = world.status(B).recent_alerts;
        let told: Vec<_> = recent.iter().map(|it| (it.number, it.alert)).collect();
        assert_eq!(
            told.last().map(|it| it.1),
            Some(Alert::PeerDown { peer: node(A) })
        );
        assert!(
            told.iter()
                .zip(1..)
                .all(|((number, _), place)| *number == place)
        );
    }
}

/// A box dies by degrees: the cable's carrier falls first, its daemon answers what it is asked
/// then, and is gone. That answer does not count: what is asked next is not answered.
#[test]
fn takeover_power_lost_by_degrees_within_ten_milliseconds() {
    for phase in PHASES {
        for gap in [100, 400, 900, 1_500, 2_500] {
            let mut world = World::settled(|_, _| {});
            world.run(phase);
            world.pull(A, CABLE);
            world.run_for(Duration::from_micros(gap));
            world.vanish(A);
            let took = world.run_until(200, |world| world.is_live(B));
            assert!(took <= ms(10), "{gap} us after the cable: took {took:?}");
            assert_eq!(world.why(B), Cause::PeerDead { peer: node(A) });
        }
    }
}

/// The cable is pulled and the active, which has lost its lease, lets its role go and is gone. Who
/// gives up is suspected of nothing, so the role is free, though no kernel's silence proves it.
#[test]
fn takeover_active_that_lets_go_as_its_cable_falls_is_succeeded_at_once() {
    let mut world = World::dark(|_, _| {});
    world.loss = |_, _, frame| Frame::parse(frame).is_some_and(|it| it.ethertype == ethertype::ARP);
    world.power_on(A);
    world.power_on(B);
    world.run(2_050);
    let now = world.now;
    let ended = world.gateways[A].kernel.apply(now, Forwarding::Standby);
    assert_eq!(ended, Ok(()));
    world.pull(A, CABLE);
    world.run_until(100, |world| world.role(A) != Active);
    world.run(1);
    world.kill(A);
    let took = world.run_until(2_000, |world| world.is_live(B));
    assert!(took <= ms(10), "{took:?}");
    assert_eq!(world.why(B), Cause::PeerLetGo { peer: node(A) });
}

/// The box dies behind carriers that stay: one overdue advertisement and the silent window later,
/// at most 130 ms after its last word, the standby serves.
#[test]
fn takeover_silent_death_within_130_milliseconds() {
    for phase in PHASES {
        let mut world = World::settled(|_, _| {});
        world.run(phase);
        world.vanish(A);
        let took = world.run_until(1_000, |world| world.is_live(B));
        assert!(took <= ms(130), "took {took:?}");
        world.run(100);
        assert_eq!(world.why(B), Cause::PeerDead { peer: node(A) });
    }
}

/// A killed daemon leaves a kernel that owns and forwards until its lease ends: the standby watches
/// that, and claims a few milliseconds after the lapse. Never two leases, hardly a gap.
#[test]
fn takeover_killed_daemon_is_claimed_only_after_its_lease_lapsed() {
    for phase in PHASES {
        let mut world = World::settled(|_, _| {});
        world.run(phase);
        world.kill(A);
        let took = world.run_until(1_000, |world| world.is_live(B));
        assert!(ms(150) < took && took < ms(310), "took {took:?}");
        world.run(500);
        assert_eq!(world.watch.both, [], "phase {phase}");
        assert!(world.watch.longest_without() <= ms(5), "{:?}", world.watch);
        assert_eq!(world.why(B), Cause::PeerLapsed { peer: node(A) });
    }
}

/// The cable alone says nothing: the active answers on the other paths, and nothing moves; nor does
/// it when the cable comes back, or flaps.
#[test]
fn takeover_pulled_cable_alone_does_nothing() {
    for active in [A, B] {
        let mut world = World::serving(active, |_, _| {});
        let epoch = world.status(active).epoch;
        for _ in 0..5 {
            world.pull(A, CABLE);
            world.run(137);
            world.plug(A, CABLE);
            world.run(61);
        }
        assert_eq!(world.role(active), Active);
        assert_eq!(world.status(active).epoch, epoch, "no claim was made");
        assert_eq!(world.watch.both, []);
        assert_eq!(world.watch.none, []);
    }
}

/// Two faults at once: the daemon is killed and the cable is pulled. The kernel still answers, so
/// its lease still decides (facts: 51 ms of two owners before probes were counted).
#[test]
fn takeover_killed_daemon_and_pulled_cable_still_wait_for_the_lapse() {
    for gap in [0, 3, 40, 120] {
        let mut world = World::settled(|_, _| {});
        world.kill(A);
        world.run(gap);
        world.pull(A, CABLE);
        world.run(1_000);
        assert_eq!(world.watch.both, [], "cable {gap} ms after the daemon");
        assert!(world.watch.longest_without() <= ms(5), "{:?}", world.watch);
        assert_eq!(world.role(B), Active);
    }
}

/// A judge that slept through its burst knows nothing: the standby is stopped for 10 to 500 ms in
/// the middle of a suspicion, and no stop of its own makes a living active dead (D6).
#[test]
fn takeover_stopped_judge_never_finds_a_living_active_dead() {
    for stop in [2, 10, 50, 150, 500] {
        for lead in [0, 1, 2, 3] {
            let mut world = World::settled(|_, _| {});
            world.pull(A, CABLE);
            world.run_for(Duration::from_micros(lead * 30));
            world.stop(B);
            world.run(stop);
            world.thaw(B);
            world.run(300);
            assert_eq!(world.roles(), (Active, Standby), "stopped {stop} ms");
            assert_eq!(world.watch.both, []);
        }
    }
}

/// The judge slept, and its sockets overflowed while it did: every answer to what it had asked is
/// lost, and only asking again shows that the active lives (D6).
#[test]
fn takeover_stopped_judge_with_full_sockets_asks_again() {
    for stop in [5, 20, 100] {
        let mut world = World::settled(|_, _| {});
        world.flight = Duration::from_micros(1_500);
        world.run(300);
        world.pull(A, CABLE);
        world.run_for(Duration::from_micros(2_500));
        world.stop(B);
        world.gateways[B].socket_max = 0;
        world.run(stop);
        world.gateways[B].socket_max = 1_000;
        world.thaw(B);
        world.run(500);
        assert_eq!(world.roles(), (Active, Standby), "stopped {stop} ms");
        assert_eq!(world.watch.both, [], "stopped {stop} ms");
    }
}

/// A stopped judge while the active's daemon is dead and its kernel leases: the sleeping judge must
/// not take its own silence for the kernel's.
#[test]
fn takeover_stopped_judge_respects_the_lease_of_a_dead_daemon() {
    for after in [106, 108, 110, 150, 290] {
        for stop in [5, 10, 50] {
            let mut world = World::settled(|_, _| {});
            world.kill(A);
            world.run(after);
            world.stop(B);
            world.run(stop);
            world.thaw(B);
            world.run(1_000);
            assert_eq!(world.watch.both, [], "{stop} ms, {after} ms after the kill");
            assert_eq!(world.role(B), Active);
        }
    }
}

/// Where switches drop the asks, no segment is armed and no proof is possible: the standby waits
/// for the dead interval *and* the lease, and calls its claim provisional.
#[test]
fn takeover_without_kernel_evidence_waits_for_dead_interval_and_lease() {
    let mut world = World::dark(|_, _| {});
    world.loss = |_, _, frame| Frame::parse(frame).is_some_and(|it| it.ethertype == ethertype::ARP);
    world.power_on(A);
    world.power_on(B);
    world.run(2_050);
    world.forget();
    world.power_off(A);
    let took = world.run_until(2_000, |world| world.is_live(B));
    assert!(ms(450) < took && took < ms(610), "took {took:?}");
    world.run(50);
    assert_eq!(world.why(B), Cause::PeerOverdue { peer: node(A) });
    assert!(!world.status(B).witnessed);
}

/// `detection = "dead-interval"`: neither the carrier nor an overdue advertisement starts anything.
#[test]
fn takeover_by_dead_interval_alone_starts_no_burst_before_it() {
    let mut world = World::settled(|_, parts| {
        parts.policy.detection = steadfast_core::config::Detection::DeadInterval;
    });
    world.power_off(A);
    let took = world.run_until(1_000, |world| world.is_live(B));
    assert!(ms(190) < took && took < ms(330), "took {took:?}");
}

/// A probe asks for a sign of life on every path, and is answered on every path it came in on: a
/// path that carries one way only must not swallow the one answer there is (D7).
#[test]
fn takeover_probe_is_answered_on_every_path_it_came_in_on() {
    let mut world = World::settled(|_, _| {});
    world.loss = |from, port, _| from == A && port == LAN;
    world.run(20);
    world.forget();
    world.pull(A, CABLE);
    world.run(1);
    let answers: Vec<u8> = world
        .adverts(A)
        .iter()
        .filter(|(_, _, frame)| crate::look::kind(frame) == 2)
        .map(|(_, port, _)| port.0)
        .collect();
    assert!(
        answers.contains(&LAN) && answers.contains(&WAN),
        "{answers:?}"
    );
}

/// A standby that was out of service while the active died finds nobody serving when it comes back,
/// and serves: an old word of the dead must not hold the role for ever.
#[test]
fn takeover_returning_node_is_not_held_back_by_the_last_word_of_a_dead_active() {
    let mut world = World::settled(|_, _| {});
    world.command(B, Command::MaintenanceOn);
    world.run(500);
    world.power_off(A);
    world.run(5_000);
    assert_eq!(world.role(B), Off);
    world.command(B, Command::MaintenanceOff);
    world.run(2_000);
    assert_eq!(world.role(B), Active);
    assert!(world.is_live(B));
}

/// The switch of one segment goes dark for both: nobody is better off elsewhere, and nothing moves.
#[test]
fn takeover_segment_lost_on_both_sides_moves_nothing() {
    for port in [LAN, WAN] {
        let mut world = World::settled(|_, _| {});
        world.pull(A, port);
        world.pull(B, port);
        world.run(3_000);
        let holders = [A, B].map(|place| world.is_live(place));
        assert_eq!(holders.iter().filter(|live| **live).count(), 1);
        assert!(
            world.watch.longest_with_both() <= ms(60),
            "{:?}",
            world.watch
        );
        assert!(
            world.applied(A).len() + world.applied(B).len() <= 8,
            "no flapping"
        );
    }
}

/// A judge that wakes late every single time, on a starved machine, is late and not blind: lateness
/// extends its patience once, by at most a dead interval, and then the questions count (D6).
#[test]
fn takeover_judge_that_is_always_late_still_takes_over() {
    for late in [2, 6, 8, 20] {
        let mut world = World::settled(|_, _| {});
        world.gateways[B].late = ms(late);
        world.run(500);
        assert_eq!(world.roles(), (Active, Standby), "always {late} ms late");
        world.power_off(A);
        let took = world.run_until(5_000, |world| world.is_live(B));
        assert!(
            took <= ms(300 + 6 * late),
            "always {late} ms late: {took:?}"
        );
    }
}

/// The same judge beside a living active moves nothing, whatever cable is pulled.
#[test]
fn takeover_judge_that_is_always_late_never_finds_a_living_active_dead() {
    for late in [6, 20, 60] {
        let mut world = World::settled(|_, _| {});
        world.gateways[B].late = ms(late);
        world.pull(A, CABLE);
        world.run(2_000);
        assert_eq!(world.roles(), (Active, Standby), "always {late} ms late");
        assert_eq!(world.watch.both, []);
        assert_eq!(world.watch.none, []);
    }
}

/// Ten advertisements in the time of one: detection shrinks with the interval (facts-fast).
#[test]
fn takeover_silent_death_at_ten_milliseconds_interval() {
    let fast = |_, parts: &mut steadfast_core::config::Parts| {
        let timing = &mut parts.timing;
        timing.interval = ms(10);
        timing.slack = ms(2);
        timing.w_silence = ms(5);
        timing.dead_interval = ms(40);
        timing.lease = ms(40);
    };
    for phase in PHASES {
        let mut world = World::settled(fast);
        world.run(phase);
        world.vanish(A);
        let took = world.run_until(1_000, |world| world.is_live(B));
        assert!(took <= ms(22), "took {took:?}");
    }
    let mut world = World::settled(fast);
    world.command(A, Command::Release);
    world.run(1_000);
    assert_eq!(world.roles(), (Standby, Active));
    assert_eq!(world.watch.none, []);
}

/// A word that is later than words were lately is missed at once, whatever slack allows beyond
/// that; of a long slack no more than 4 ms are saved (D7). In quiet times nobody is asked.
#[test]
fn takeover_word_is_missed_as_soon_as_it_is_later_than_words_were() {
    let usual: crate::setup::Change = |_, _| {};
    let long: crate::setup::Change = |_, parts| parts.timing.slack = ms(20);
    for (change, lateness) in [(usual, 1), (long, 16)] {
        let mut world = World::settled(change);
        world.run(5_000);
        let known = |world: &World| world.status(B).peers[0].clone();
        assert_eq!(known(&world).suspected, 0);
        assert_eq!(known(&world).lateness, ms(lateness));
        world.vanish(A);
        world.run_until(300, |world| known(world).suspected > 0);
        let age = known(&world).age.expect("it was heard");
        let missed = age.saturating_sub(ms(100 + lateness));
        assert!(age >= ms(100 + lateness) && missed < ms(1), "{age:?}");
        world.run(1_000);
        assert_eq!((world.role(B), known(&world).suspected), (Active, 1));
    }
}
