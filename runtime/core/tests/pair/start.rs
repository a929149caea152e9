//! Stories of starting: who serves first, and who waits.

use core::time::Duration;

use steadfast_core::PortId;
use steadfast_core::role::EffectiveRole::{Active, Standby};
use steadfast_core::status::Cause;

use crate::setup::{A, B, CABLE, LAN, PORTS, WAN, node};
use crate::world::World;

const INITIAL_WAIT_MS: u64 = 10_000;
const OURS: [u8; 2] = [0x88, 0xb5];

/// Both boxes get power together: the lower id serves within milliseconds of the first word, the
/// other stands by, and at no time do both lease the addresses (D5).
#[test]
fn start_cold_lower_id_serves_and_the_other_stands_by() {
    let mut world = World::dark(|_, _| {});
    world.power_on(A);
    world.power_on(B);
    let took = world.run_until(1_000, |world| world.roles() == (Active, Standby));
    assert!(took < Duration::from_millis(250), "took {took:?}");
    world.run(5_000);
    assert_eq!(world.roles(), (Active, Standby));
    assert_eq!(world.watch.both, [], "never two leases");
    assert_eq!(world.why(A), Cause::ColdStart);
    assert_eq!(world.alerts(A), []);
    assert_eq!(world.alerts(B), []);
}

/// The same when the second box comes a second later, while the first still waits for it: the order
/// of the boots must not make two claims out of one vacancy.
#[test]
fn start_cold_staggered_makes_one_claim_only() {
    for (first, second) in [(A, B), (B, A)] {
        for wait in [7, 150, 400, 1_000, 9_000] {
            let mut world = World::dark(|_, _| {});
            world.power_on(first);
            world.run(wait);
            world.power_on(second);
            world.run(1_500);
            let place = node(first);
            assert_eq!(world.watch.both, [], "node {place} first, {wait} ms");
            assert_eq!(world.roles(), (Active, Standby), "{wait} ms");
        }
    }
}

/// A heartbeat path on every port, served ones included (D4): advertisements leave on all three,
/// and each side says that it hears the other on all three.
#[test]
fn start_both_speak_and_hear_on_three_paths() {
    let mut world = World::settled(|_, _| {});
    world.run(250);
    for place in [A, B] {
        for port in PORTS {
            let on = |(_, on, _): &&(_, PortId, _)| *on == PortId(port);
            let count = world.adverts(place).iter().filter(on).count();
            assert!(count >= 2, "node {}, port {port}: {count}", node(place));
        }
        let peer = world.status(place).peers[0].clone();
        assert_eq!(peer.paths_alive, 3, "heard by node {}", node(place));
    }
    assert_eq!(
        world.status(B).peers[0].segments_armed,
        2,
        "the standby has asked the active's kernel on both segments (D8)"
    );
}

/// A newcomer finds an active and stands by at once: it neither waits nor claims, whatever its id.
#[test]
fn start_newcomer_stands_by_a_running_active() {
    let mut world = World::dark(|_, _| {});
    world.power_on(B);
    world.run(INITIAL_WAIT_MS + 1_000);
    assert_eq!(world.role(B), Active, "alone, after the initial wait");
    world.forget();
    world.power_on(A);
    let took = world.run_until(500, |world| world.role(A) == Standby);
    assert!(took < Duration::from_millis(10), "took {took:?}");
    world.run(20_000);
    assert_eq!(world.roles(), (Standby, Active), "the incumbent stays (D5)");
    assert_eq!(world.watch.both, []);
    assert_eq!(world.watch.none, []);
}

/// Alone, but connected: serves, and not before the initial wait after boot is over (R12.2, D14).
#[test]
fn start_alone_but_connected_serves_after_the_initial_wait() {
    let mut world = World::dark(|_, _| {});
    world.power_on(A);
    world.run(INITIAL_WAIT_MS - 1);
    assert!(!world.is_live(A));
    world.run(200);
    assert!(world.is_live(A));
    assert_eq!(world.why(A), Cause::Alone);
    assert!(
        !world.status(A).witnessed,
        "a claim in isolation is provisional (D11)"
    );
}

/// The initial wait starts again at link-up: a switch that comes up late, and a peer behind it that
/// is serving, are found before anybody claims.
#[test]
fn start_initial_wait_runs_from_link_up() {
    let mut world = World::dark(|_, _| {});
    for port in [CABLE, LAN, WAN] {
        world.pull(A, port);
    }
    world.power_on(B);
    world.run(INITIAL_WAIT_MS + 500);
    world.power_on(A);
    world.run(INITIAL_WAIT_MS + 500);
    assert!(!world.is_live(A), "no served port has carrier");
    world.plug(A, LAN);
    world.run(INITIAL_WAIT_MS + 500);
    assert_eq!(world.roles(), (Standby, Active));
    assert_eq!(world.watch.both, []);
}

/// A daemon restarted within its own lease: the old lease is fenced before the peer, which hears
/// the new life say that it owns nothing, can claim. Even when the kernel takes its time.
#[test]
fn start_restarted_active_is_fenced_before_its_peer_claims() {
    for active in [A, B] {
        for apply_ms in [0, 5, 40] {
            let mut world = World::serving(active, |_, _| {});
            world.gateways[active].apply_delay = Duration::from_millis(apply_ms);
            world.kill(active);
            world.run(20);
            world.start(active);
            world.run(3_000);
            let place = node(active);
            let case = format!("node {place}, kernel of {apply_ms} ms");
            assert_eq!(world.watch.both, [], "{case}");
            assert!(
                world.is_live(A) != world.is_live(B),
                "somebody serves; {case}"
            );
        }
    }
}

/// A standby restarted beside a running active changes nothing, and is believed again at once.
#[test]
fn start_restarted_standby_changes_nothing() {
    let mut world = World::settled(|_, _| {});
    world.kill(B);
    world.run(50);
    world.start(B);
    let took = world.run_until(200, |world| world.role(B) == Standby);
    assert!(took < Duration::from_millis(5), "took {took:?}");
    world.run(2_000);
    assert_eq!(world.roles(), (Active, Standby));
    assert_eq!(world.watch.both, []);
    assert_eq!(world.watch.none, []);
}

/// One gateway hears nothing of the other's words, and is heard. Its kernel is asked where it can
/// be: somebody serves at last, and one alone.
#[test]
fn start_beside_a_gateway_deaf_to_our_words_one_serves() {
    for hosts in [true, false] {
        for deaf in [A, B] {
            let mut world = World::dark(|_, _| {});
            world.hosts = hosts;
            world.loss = match deaf {
                A => |from, _, frame| from == B && frame[12..14] == OURS,
                _ => |from, _, frame| from == A && frame[12..14] == OURS,
            };
            world.power_on(A);
            world.run(300);
            world.power_on(B);
            world.run(20_000);
            let case = format!("hosts: {hosts}, deaf: {deaf}");
            let serving = [A, B].into_iter().filter(|place| world.is_live(*place));
            assert_eq!(serving.count(), 1, "{case}: {:?}", world.roles());
            assert_eq!(world.watch.both, [], "{case}");
        }
    }
}

/// One gateway's receiver is dead: it hears nobody, is heard, and never serves (D12). It must not
/// keep the other from serving, which it will never have heard.
#[test]
fn start_beside_a_gateway_whose_receiver_is_dead_the_other_serves() {
    for deaf in [A, B] {
        let mut world = World::dark(|_, _| {});
        world.hosts = false;
        world.loss = match deaf {
            A => |from, _, _| from == B,
            _ => |from, _, _| from == A,
        };
        world.power_on(A);
        world.run(300);
        world.power_on(B);
        world.run(20_000);
        let able = A + B - deaf;
        assert!(world.is_live(able), "deaf: {deaf}: {:?}", world.roles());
        assert!(!world.is_live(deaf), "deaf: {deaf}: {:?}", world.roles());
    }
}
