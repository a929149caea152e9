//! Stories of the lease: pauses, lapses, refusals of the kernel, and never two owners (D9, D15).

use core::time::Duration;

use steadfast_core::effect::{Alert, Forwarding};
use steadfast_core::role::EffectiveRole::{Active, Failed, Standby};
use steadfast_core::status::Cause;

use crate::look::kind;
use crate::setup::{A, B, node};
use crate::world::World;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const LET_GO: u8 = 5;
const READY: u8 = 9;

/// A stall shorter than the lease moves nothing: the kernel owned all the while.
#[test]
fn lease_pause_shorter_than_the_lease_moves_nothing() {
    for pause in [10, 50, 120, 190] {
        let mut world = World::settled(|_, _| {});
        world.stop(A);
        world.run(pause);
        world.thaw(A);
        world.run(1_000);
        assert_eq!(world.roles(), (Active, Standby), "paused {pause} ms");
        assert_eq!(world.watch.both, []);
        assert_eq!(world.watch.none, []);
    }
}

/// A longer one costs the lease. The peer claims on the lapse; the woken daemon finds the claim in
/// its sockets, or that it lost, and stands by.
#[test]
fn lease_pause_longer_than_the_lease_yields_to_the_peer() {
    for pause in [350, 400, 1_000, 5_000] {
        let mut world = World::settled(|_, _| {});
        world.stop(A);
        world.run(pause);
        world.thaw(A);
        world.run(1_000);
        assert_eq!(world.roles(), (Standby, Active), "paused {pause} ms");
        assert_eq!(world.watch.both, [], "paused {pause} ms");
        assert!(world.watch.longest_without() <= ms(5), "{:?}", world.watch);
    }
}

/// Around the lapse every order of waking, lapsing and claiming occurs; none makes two owners, and
/// one of the two serves in the end.
#[test]
fn lease_waking_around_the_lapse_never_makes_two_owners() {
    for phase in [1, 40, 80] {
        for pause in 190..320 {
            let mut world = World::settled(|_, _| {});
            world.run(phase);
            world.stop(A);
            world.run(pause);
            world.thaw(A);
            world.run(1_000);
            let case = format!("stopped at {phase} ms for {pause} ms");
            assert_eq!(world.watch.both, [], "{case}");
            assert!(world.is_live(A) != world.is_live(B), "{case}");
            assert!(world.watch.longest_without() <= ms(30), "{case}");
        }
    }
}

/// Alone, a woken daemon asks whether somebody serves, and goes on by an explicit claim.
#[test]
fn lease_lost_alone_is_armed_again_by_an_explicit_claim() {
    let mut world = World::settled(|_, _| {});
    world.power_off(B);
    world.run(1_000);
    world.forget();
    let epoch = world.status(A).epoch;
    world.stop(A);
    world.run(400);
    world.thaw(A);
    assert_eq!(world.role(A), Standby, "first it listens");
    let took = world.run_until(200, |world| world.is_live(A));
    assert!(took <= ms(25), "W_silence and a round: {took:?}");
    world.run(10);
    assert_eq!(world.why(A), Cause::Resumed);
    assert!(world.status(A).epoch > epoch);
}

/// The kernel drops what says "active" without a lease, and the failed send tells the daemon: it
/// says LET-GO, and the peer claims on that at once.
#[test]
fn lease_refused_send_makes_the_daemon_let_go_and_the_peer_claim() {
    let mut world = World::settled(|_, _| {});
    world.run(130);
    let now = world.now;
    world.forget();
    let ended = world.gateways[A].kernel.apply(now, Forwarding::Standby);
    assert_eq!(ended, Ok(()));
    let took = world.run_until(500, |world| world.is_live(B));
    assert!(took <= ms(102), "at the next advertisement: {took:?}");
    world.run(300);
    assert_eq!(world.roles(), (Standby, Active));
    assert!(world.gateways[A].kernel.refused >= 1);
    assert_eq!(world.watch.both, []);
    assert_eq!(world.why(B), Cause::PeerLetGo { peer: node(A) });
    let words = world.adverts(A);
    assert!(words.iter().any(|(_, _, frame)| kind(frame) == LET_GO));
}

/// Nobody hears "I own nothing" before the kernel confirmed it: a shutdown whose hand-over fails
/// withdraws first, however slow the kernel, and only then may the peer claim.
#[test]
fn lease_is_given_back_before_the_peer_hears_of_it() {
    for apply_ms in [0, 1, 10, 150] {
        let mut world = World::settled(|_, _| {});
        world.loss = |from, _, frame| from == B && kind(frame) == READY;
        world.gateways[A].apply_delay = ms(apply_ms);
        world.tell(A, steadfast_core::effect::Input::Shutdown);
        world.run(1_500);
        assert_eq!(world.watch.both, [], "kernel of {apply_ms} ms");
        assert_eq!(world.role(B), Active);
        assert!(world.gateways[A].daemon.is_none(), "stopped");
    }
}

/// A kernel that refuses lease and addresses: the node never says that it serves, alerts once,
/// stands aside, and serves once the kernel lets it.
#[test]
fn lease_refused_claim_fails_loudly_and_recovers() {
    let mut world = World::settled(|_, _| {});
    world.gateways[B].refuses = |desired| matches!(desired, Forwarding::Active { .. });
    world.power_off(A);
    world.run_until(200, |world| world.role(B) == Failed);
    assert!(!world.is_live(B));
    world.run(1_000);
    let alerts = world.alerts(B);
    let failures = alerts.iter().filter(|it| **it == Alert::ApplyFailed);
    assert_eq!(failures.count(), 1, "{alerts:?}");
    let marks = world.adverts(B);
    assert!(
        marks.iter().all(|(_, _, frame)| frame[15] == 1),
        "never says active"
    );
    world.gateways[B].refuses = |_| false;
    world.run(12_000);
    assert_eq!(world.role(B), Active);
}

/// A kernel that refuses the fence is asked again until it confirms: a giver is not left in
/// between, and a daemon that shall end does end.
#[test]
fn lease_refused_fence_is_asked_for_again() {
    let mut world = World::settled(|_, _| {});
    world.gateways[A].refuses = |desired| desired == Forwarding::Standby;
    world.command(A, steadfast_core::effect::Command::Release);
    world.run(1_000);
    assert_eq!(world.role(B), Active);
    world.gateways[A].refuses = |_| false;
    world.run(1_000);
    assert_eq!(world.roles(), (Standby, Active));
    world.tell(A, steadfast_core::effect::Input::Shutdown);
    world.run(100);
    assert!(world.gateways[A].daemon.is_none(), "stopped");
}

/// A damaged fence lowers the class of the node that has it: the role moves to the whole one by
/// consent, without a gap, and people are told once.
#[test]
fn lease_damaged_fence_moves_the_role_to_the_whole_node() {
    let mut world = World::settled(|_, _| {});
    for _ in 0..3 {
        world.tell(
            A,
            steadfast_core::effect::Input::FenceChecked { whole: false },
        );
        world.run(1_000);
    }
    assert_eq!(world.roles(), (Standby, Active));
    assert_eq!(world.watch.none, []);
    assert_eq!(world.alerts(A), [Alert::FenceDamaged]);
}
