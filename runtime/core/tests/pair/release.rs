//! Stories of leaving service on purpose: shutdown, maintenance, the boot guard (R3.4, R12).

use core::time::Duration;

use steadfast_core::effect::{Alert, Command, Effect, Input};
use steadfast_core::role::ConfiguredRole;
use steadfast_core::role::EffectiveRole::{Active, Off, Pacified, Promoting, Standby};
use steadfast_core::status::Cause;

use crate::look::kind;
use crate::setup::{A, B};
use crate::world::World;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const OFFER: u8 = 6;

fn stopped(world: &World, place: usize) -> usize {
    let ends = world
        .log
        .iter()
        .filter(|(_, from, effect)| *from == place && *effect == Effect::Stopped);
    ends.count()
}

/// A clean stop hands the role over first, gives everything back, and says so once.
#[test]
fn release_shutdown_hands_over_and_then_stops() {
    let mut world = World::settled(|_, _| {});
    world.tell(A, Input::Shutdown);
    world.run(1_000);
    assert_eq!(stopped(&world, A), 1);
    assert_eq!(world.roles(), (Off, Active));
    assert_eq!(world.watch.none, [], "make before break");
    assert!(
        world.watch.longest_with_both() <= ms(1),
        "{:?}",
        world.watch
    );
    let boots = &world.gateways[A].record.boots;
    assert!(boots.last().is_some_and(|boot| boot.clean), "{boots:?}");
}

/// A standby, and an active without a peer, stop as well; the lease is gone before.
#[test]
fn release_shutdown_without_anything_to_hand_over_stops_too() {
    let mut world = World::settled(|_, _| {});
    world.tell(B, Input::Shutdown);
    world.run(500);
    assert_eq!(stopped(&world, B), 1);
    world.tell(A, Input::Shutdown);
    world.run(500);
    assert_eq!(stopped(&world, A), 1);
    assert!(!world.is_live(A));
}

/// The taker dies in the middle of the hand-over of a clean stop: the daemon ends all the same. It
/// was told to end; a stop that hangs is killed, and its lease runs on.
#[test]
fn release_shutdown_ends_though_the_taker_dies() {
    for micros in (0..1_000).step_by(50) {
        let mut world = World::settled(|_, _| {});
        world.tell(A, Input::Shutdown);
        world.run_for(Duration::from_micros(micros));
        world.vanish(B);
        world.run(1_000);
        assert_eq!(stopped(&world, A), 1, "taker dead after {micros} µs");
        assert!(!world.is_live(A), "taker dead after {micros} µs");
    }
}

/// Maintenance hands the role over, is remembered across a reboot, and ends only by command; after
/// it the node stands by, and takes over when it must.
#[test]
fn release_maintenance_survives_a_reboot() {
    let mut world = World::settled(|_, _| {});
    let on = world.command(A, Command::MaintenanceOn);
    world.run(500);
    assert_eq!(world.reply(on), Some(Ok(())));
    assert_eq!(world.roles(), (Off, Active));
    assert_eq!(world.watch.none, []);
    world.power_off(A);
    world.run(1_000);
    world.power_on(A);
    world.run(1_000);
    assert_eq!(world.why(A), Cause::Maintenance);
    assert!(world.status(A).maintenance);
    world.power_off(B);
    world.run(15_000);
    assert!(!world.is_live(A), "in maintenance it never claims");
    let off = world.command(A, Command::MaintenanceOff);
    world.run(2_000);
    assert_eq!(world.reply(off), Some(Ok(())));
    assert_eq!(world.role(A), Active);
}

/// Whatever becomes of the hand-over, the intent stands: a node in maintenance is out of service,
/// and does not take the role back (F58).
#[test]
fn release_maintenance_stands_though_the_hand_over_fails() {
    let mut lost = World::settled(|_, _| {});
    lost.loss = |from, _, frame| from == B && kind(frame) == 9;
    let mut dead = World::settled(|_, _| {});
    dead.loss = |_, _, frame| kind(frame) == OFFER;
    for (mut world, dies) in [(lost, false), (dead, true)] {
        world.command(A, Command::MaintenanceOn);
        if dies {
            world.run(2);
            world.vanish(B);
        }
        world.run(3_000);
        assert_eq!(world.role(A), Off, "taker dead: {dies}");
        assert!(!world.is_live(A));
        assert!(world.gateways[A].record.maintenance);
    }
}

/// Maintenance asked for while the node is just claiming ends the claim: "yes" means yes.
#[test]
fn release_maintenance_during_a_claim_ends_it() {
    let mut world = World::settled(|_, _| {});
    world.gateways[B].apply_delay = ms(50);
    world.power_off(A);
    world.run_until(200, |world| world.role(B) == Promoting);
    let on = world.command(B, Command::MaintenanceOn);
    world.run(1_000);
    assert_eq!(world.reply(on), Some(Ok(())));
    assert_eq!(world.role(B), Off);
    assert!(!world.is_live(B));
}

/// A node that is configured off stays off, whatever maintenance commands say.
#[test]
fn release_node_configured_off_is_not_enabled_by_maintenance_commands() {
    let mut world = World::dark(|place, parts| {
        if place == A {
            parts.policy.configured = ConfiguredRole::Off;
        }
    });
    world.power_on(A);
    world.power_on(B);
    world.run(2_000);
    assert_eq!(world.roles(), (Off, Active));
    for command in [
        Command::MaintenanceOn,
        Command::MaintenanceOff,
        Command::Enable,
    ] {
        world.command(A, command);
        world.run(100);
        assert_eq!(world.role(A), Off, "{command:?}");
    }
}

fn loop_boots(world: &mut World, place: usize, count: usize) {
    for _ in 0..count {
        world.power_on(place);
        world.run(20_000);
        world.power_off(place);
        world.run(1_000);
    }
    world.power_on(place);
    world.run(2_000);
}

/// Both dark, and barred when they are started again.
fn bar_both(world: &mut World) {
    world.power_off(A);
    world.power_off(B);
    for place in [A, B] {
        loop_boots(world, place, 2);
        world.power_off(place);
    }
}

/// The fourth boot after three lives of seconds is a loop: the node is pacified, alerts, and never
/// takes over, until an operator clears it.
#[test]
fn release_boot_loop_is_pacified_until_an_operator_clears_it() {
    let mut world = World::settled(|_, _| {});
    world.power_off(B);
    loop_boots(&mut world, B, 2);
    assert_eq!(world.roles(), (Active, Pacified));
    assert!(world.alerts(B).contains(&Alert::Pacified));
    world.power_off(A);
    world.run(15_000);
    assert!(!world.is_live(B), "pacified, it never takes over");
    let clear = world.command(B, Command::ClearPacified);
    world.run(2_000);
    assert_eq!(world.reply(clear), Some(Ok(())));
    assert_eq!(world.role(B), Active);
    let boots = &world.gateways[B].record.boots;
    assert_eq!(boots.len(), 1, "the loop is forgotten: {boots:?}");
}

/// A daemon restarted in a pacified boot stays pacified, and so does the next boot after a crash.
#[test]
fn release_pacified_survives_restarts_and_crashes() {
    let mut world = World::settled(|_, _| {});
    world.power_off(B);
    loop_boots(&mut world, B, 2);
    world.kill(B);
    world.start(B);
    world.run(1_000);
    assert_eq!(world.role(B), Pacified, "a restart of the daemon");
    world.power_off(B);
    world.power_on(B);
    world.run(1_000);
    assert_eq!(world.role(B), Pacified, "a crash");
}

/// Clearing the boot guard does not end maintenance: two reasons to be out of service are two.
#[test]
fn release_clearing_the_boot_guard_does_not_end_maintenance() {
    let mut world = World::settled(|_, _| {});
    world.command(B, Command::MaintenanceOn);
    world.run(100);
    world.power_off(B);
    loop_boots(&mut world, B, 2);
    let told = |world: &World| world.status(B).open_alerts.contains(&Alert::Pacified);
    assert_eq!((world.role(B), told(&world)), (Off, true));
    world.command(B, Command::ClearPacified);
    world.run(1_000);
    assert_eq!((world.role(B), told(&world)), (Off, false));
    assert_eq!(world.why(B), Cause::Maintenance);
}

/// Maintenance is no way around the bar: back from it the node is pacified, and can be cleared.
#[test]
fn release_pacified_node_comes_back_from_maintenance_pacified() {
    let mut world = World::settled(|_, _| {});
    world.power_off(B);
    loop_boots(&mut world, B, 2);
    world.command(B, Command::MaintenanceOn);
    world.run(500);
    assert_eq!(world.role(B), Off);
    world.command(B, Command::MaintenanceOff);
    world.run(500);
    assert_eq!(world.role(B), Pacified);
    world.power_off(A);
    world.run(15_000);
    assert!(!world.is_live(B), "it takes nothing over");
    world.command(B, Command::MaintenanceOn);
    world.run(500);
    let clear = world.command(B, Command::ClearPacified);
    world.run(500);
    assert_eq!(world.reply(clear), Some(Ok(())), "also out of service");
    world.command(B, Command::MaintenanceOff);
    world.run(15_000);
    assert_eq!(world.role(B), Active);
}

/// A life that lasted for the whole window is no part of a loop, however long the window is.
#[test]
fn release_lives_as_long_as_the_window_are_no_loop() {
    let mut world = World::settled(|_, parts| {
        parts.policy.boot_window = Duration::from_mins(20);
        parts.policy.boot_limit = 2;
    });
    let reboot = |world: &mut World, millis| {
        world.power_off(B);
        world.power_on(B);
        world.run(millis);
    };
    reboot(&mut world, 1_201_000);
    reboot(&mut world, 1_201_000);
    reboot(&mut world, 1_201_000);
    reboot(&mut world, 2_000);
    assert_eq!(world.roles(), (Active, Standby));
    reboot(&mut world, 2_000);
    reboot(&mut world, 2_000);
    assert_eq!(world.role(B), Pacified, "and lives of seconds are");
}

/// Who served because all were barred is barred again when it stands by, unless it was cleared.
#[test]
fn release_pacified_active_is_pacified_again_behind_its_service() {
    for cleared in [false, true] {
        let mut world = World::settled(|_, _| {});
        bar_both(&mut world);
        world.power_on(A);
        world.power_on(B);
        world.run(2_000);
        world.command(B, Command::ClearPacified);
        if cleared {
            let clear = world.command(A, Command::ClearPacified);
            world.run(100);
            assert_eq!(world.reply(clear), Some(Ok(())), "while it serves");
        }
        world.run(2_000);
        world.command(A, Command::Release);
        world.run(2_000);
        let then = if cleared { Standby } else { Pacified };
        assert_eq!(world.roles(), (then, Active));
        let open = world.status(A).open_alerts;
        let told = |alert| open.contains(&alert);
        assert!(!told(Alert::ServingPacified), "{open:?}");
        assert_eq!(told(Alert::Pacified), !cleared);
    }
}

/// Every node is pacified: the best ranked serves, loudly, and only that one (R12.1).
#[test]
fn release_when_all_are_pacified_the_best_ranked_serves_loudly() {
    let mut world = World::settled(|_, _| {});
    bar_both(&mut world);
    world.forget();
    world.power_on(A);
    world.power_on(B);
    world.run(2_000);
    assert_eq!(world.roles(), (Active, Pacified));
    assert!(world.alerts(A).contains(&Alert::ServingPacified));
    assert_eq!(world.watch.both, []);
}
