//! Stories of moving the role by consent: make before break, whatever dies or is lost (D10).

use core::time::Duration;

use steadfast_core::config::check::{CheckConfig, Cost};
use steadfast_core::effect::{Alert, Command, Failure, Forwarding, Input, Rejection};
use steadfast_core::role::EffectiveRole::{Active, Failed, Off, Standby};
use steadfast_core::status::Cause;
use steadfast_core::{CheckId, Instant};

use crate::look::kind;
use crate::setup::{A, B, LAN, WAN, node};
use crate::world::{Loss, World};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const CLAIM: u8 = 3;
const DECLINE: u8 = 4;
const OFFER: u8 = 6;
const PREPARE: u8 = 7;
const READY: u8 = 9;
const RELEASED: u8 = 10;
/// V and the tail.
const V: Duration = ms(30);
const TAIL: Duration = ms(30);

/// By command from either side, and back: at no moment without a lease, hardly any with two, and
/// the command is answered once.
#[test]
fn handover_by_command_never_leaves_a_moment_without_a_lease() {
    for (at, order, expected) in [
        (A, Command::Release, (Standby, Active)),
        (B, Command::TakeOver, (Standby, Active)),
    ] {
        for phase in [0, 17, 50, 99] {
            let mut world = World::settled(|_, _| {});
            world.run(phase);
            let request = world.command(at, order);
            let took = world.run_until(1_000, |world| world.roles() == expected);
            assert!(took <= TAIL + ms(5), "{order:?}: {took:?}");
            world.run(2_000);
            assert_eq!(world.roles(), expected, "{order:?}");
            assert_eq!(world.reply(request), Some(Ok(())), "{order:?}");
            assert_eq!(world.watch.none, [], "{order:?}: make before break");
            assert!(
                world.watch.longest_with_both() <= ms(1),
                "{:?}",
                world.watch
            );
            assert_eq!(world.why(B), Cause::HandedOver { peer: node(A) });
            assert!(world.status(B).witnessed);
        }
    }
}

/// The steps leave the giver in order: PREPARE, the lease cut to V, OFFER, the tail, the fence,
/// RELEASED; and its frames stop saying "active" from the cut on.
#[test]
fn handover_giver_goes_through_every_step_in_order() {
    let mut world = World::settled(|_, _| {});
    world.command(A, Command::Release);
    world.run(500);
    let states = world.applied(A);
    let cut = Forwarding::Offering { remaining: V };
    assert_eq!(states, [cut, Forwarding::Tail, Forwarding::Standby]);
    let kinds: Vec<u8> = world
        .adverts(A)
        .iter()
        .map(|(_, _, frame)| kind(frame))
        .collect();
    let first = |wanted| kinds.iter().position(|kind| *kind == wanted);
    assert!(
        first(PREPARE) < first(OFFER) && first(OFFER) < first(RELEASED),
        "{kinds:?}"
    );
    assert!(first(PREPARE).is_some(), "{kinds:?}");
}

/// From the moment the lease is cut, nothing lengthens it: not the advertisement that falls due
/// while a slow kernel is still cutting, nor an answer to a probe.
#[test]
fn handover_lease_never_outlasts_v_once_offered() {
    for phase in 80..100 {
        let mut world = World::settled(|_, _| {});
        world.gateways[A].apply_delay = ms(4);
        world.gateways[A].answer_delay = ms(4);
        world.loss = |from, _, frame| from == B && kind(frame) == CLAIM;
        world.run(phase);
        world.forget();
        world.command(A, Command::Release);
        world.run_until(500, |world| {
            world
                .adverts(A)
                .iter()
                .any(|(_, _, frame)| kind(frame) == OFFER)
        });
        let end = world.gateways[A].kernel.live_until();
        assert!(
            end.since(world.now) <= V,
            "command {phase} ms after an advertisement"
        );
    }
}

/// The taker's box dies at any moment of the hand-over. Before it claimed the giver keeps or
/// re-arms its lease, and the addresses are gone for no longer than V, the round trip, and the
/// kernel's haste. After it, the new active is dead like any other: nobody asked it yet who owns
/// what, but the giver knows that its kernel answered for its own address, so it takes an overdue
/// word, W_silence and a few rounds (D8).
#[test]
fn handover_taker_dies_and_the_giver_serves_on() {
    for micros in (0..1_000).step_by(25) {
        let mut world = World::settled(|_, _| {});
        let request = world.command(A, Command::Release);
        world.run_for(Duration::from_micros(micros));
        let claimed = world.is_live(B);
        world.vanish(B);
        world.run(1_000);
        let case = format!("{micros} µs after the command");
        assert_eq!(world.role(A), Active, "{case}");
        assert!(world.is_live(A), "{case}");
        let bound = if claimed { ms(130) } else { V + ms(10) };
        assert!(
            world.watch.longest_without() <= bound,
            "{case}: {:?}",
            world.watch
        );
        assert!(
            world.reply(request).is_some(),
            "{case}: the operator is told"
        );
    }
}

/// The giver's box dies at any moment: the taker takes, by the offer or by proof.
#[test]
fn handover_giver_dies_and_the_taker_serves() {
    for micros in (0..1_000).step_by(25) {
        let mut world = World::settled(|_, _| {});
        world.command(A, Command::Release);
        world.run_for(Duration::from_micros(micros));
        world.power_off(A);
        let took = world.run_until(1_000, |world| world.is_live(B));
        // A word still in flight when the carrier goes is a sign of life, as far as anybody knows:
        // then it takes an overdue advertisement, or an offer that never comes, to doubt again.
        let bound = if micros < 50 { 130 } else { 55 };
        assert!(took <= ms(bound), "{micros} µs after the command: {took:?}");
        world.run(1_000);
        assert_eq!(world.role(B), Active);
    }
}

/// The giver's daemon dies at any moment and its kernel leases on: never two leases but for the
/// moment between a claim and its hearing, and V bounds that.
#[test]
fn handover_giver_daemon_dies_and_its_lease_is_respected() {
    for micros in (0..1_000).step_by(25) {
        let mut world = World::settled(|_, _| {});
        world.command(A, Command::Release);
        world.run_for(Duration::from_micros(micros));
        world.kill(A);
        world.run(1_500);
        let case = format!("{micros} µs after the command");
        assert_eq!(world.roles(), (Off, Active), "{case}");
        assert!(
            world.watch.longest_with_both() <= V,
            "{case}: {:?}",
            world.watch
        );
        assert!(
            world.watch.longest_without() <= ms(5),
            "{case}: {:?}",
            world.watch
        );
    }
}

/// One kind of message never arrives. Whichever it is, one node serves in the end, nobody is active
/// twice, and the addresses are not gone for longer than an offer lasts.
#[test]
fn handover_survives_the_loss_of_any_kind_of_message() {
    let losses: [(&str, Loss); 6] = [
        ("PREPARE", |_, _, frame| kind(frame) == PREPARE),
        ("READY", |_, _, frame| kind(frame) == READY),
        ("OFFER", |_, _, frame| kind(frame) == OFFER),
        ("CLAIM", |_, _, frame| kind(frame) == CLAIM),
        ("DECLINE", |_, _, frame| kind(frame) == DECLINE),
        ("RELEASED", |_, _, frame| kind(frame) == RELEASED),
    ];
    for (name, loss) in losses {
        for order in [Command::Release, Command::MaintenanceOn] {
            let mut world = World::settled(|_, _| {});
            world.loss = loss;
            let request = world.command(A, order);
            world.run(4_000);
            let case = format!("{order:?}, every {name} lost");
            assert!(
                world.is_live(A) != world.is_live(B),
                "{case}: {:?}",
                world.roles()
            );
            assert!(
                world.watch.longest_with_both() <= ms(2),
                "{case}: {:?}",
                world.watch
            );
            assert!(
                world.watch.longest_without() <= V + ms(75),
                "{case}: {:?}",
                world.watch
            );
            assert!(
                world.reply(request).is_some(),
                "{case}: the operator is told"
            );
        }
    }
}

/// The same where frames take their time: more questions are on the way than answers have come. Who
/// offered serves on once the taker says that it does not, or takes no part, however late it hears
/// of that.
#[test]
fn handover_survives_a_lost_message_on_slow_wires() {
    let losses: [(&str, Loss); 4] = [
        ("READY", |_, _, frame| kind(frame) == READY),
        ("OFFER", |_, _, frame| kind(frame) == OFFER),
        ("CLAIM", |_, _, frame| kind(frame) == CLAIM),
        ("DECLINE", |_, _, frame| kind(frame) == DECLINE),
    ];
    for (name, loss) in losses {
        for flight in [1, 2, 3, 5] {
            let mut world = World::settled(|_, _| {});
            world.flight = ms(flight);
            world.run(2_000);
            world.loss = loss;
            world.forget();
            let request = world.command(A, Command::Release);
            world.run(4_000);
            let case = format!("every {name} lost, {flight} ms a way");
            assert!(
                world.is_live(A) != world.is_live(B),
                "{case}: {:?}",
                world.roles()
            );
            let gap = world.watch.longest_without();
            assert!(gap <= V + ms(75) + 4 * ms(flight), "{case}: {gap:?}");
            assert!(
                world.reply(request).is_some(),
                "{case}: the operator is told"
            );
        }
    }
}

/// A taker whose kernel is slow claims late. The giver must not arm its lease again meanwhile: the
/// taker lives, and says that it is claiming.
#[test]
fn handover_slow_taker_is_waited_for() {
    for apply_ms in [5, 20, 28, 33, 40, 60, 100] {
        let mut world = World::settled(|_, _| {});
        world.gateways[B].apply_delay = ms(apply_ms);
        world.command(A, Command::Release);
        world.run(2_000);
        let case = format!("kernel of {apply_ms} ms");
        assert!(
            world.is_live(A) != world.is_live(B),
            "{case}: {:?}",
            world.roles()
        );
        assert!(
            world.watch.longest_with_both() <= ms(1),
            "{case}: {:?}",
            world.watch
        );
        for place in [A, B] {
            let alerts = world.alerts(place);
            assert_eq!(alerts, [], "{case}: consent is no split");
        }
    }
}

/// A slow giver costs time and nothing else.
#[test]
fn handover_slow_giver_costs_nothing_but_time() {
    for apply_ms in [5, 20, 28, 33, 40, 60] {
        let mut world = World::settled(|_, _| {});
        world.gateways[A].apply_delay = ms(apply_ms);
        world.command(A, Command::Release);
        world.run(2_000);
        let case = format!("kernel of {apply_ms} ms");
        assert!(
            world.is_live(A) != world.is_live(B),
            "{case}: {:?}",
            world.roles()
        );
        assert!(
            world.watch.longest_with_both() <= V,
            "{case}: {:?}",
            world.watch
        );
        assert!(
            world.watch.longest_without() <= ms(apply_ms + 10),
            "{case}: {:?}",
            world.watch
        );
    }
}

/// A served port of the active dies: the role moves to the whole node within milliseconds, with no
/// moment without a lease, and stays there when the port is back.
#[test]
fn handover_lost_port_of_the_active_moves_the_role_once() {
    for port in [LAN, WAN] {
        let mut world = World::settled(|_, _| {});
        world.pull(A, port);
        let took = world.run_until(200, |world| world.role(B) == Active);
        assert!(took <= ms(5), "port {port}: {took:?}");
        world.run(3_000);
        world.plug(A, port);
        world.run(30_000);
        assert_eq!(world.roles(), (Standby, Active));
        assert_eq!(world.watch.none, []);
        assert!(
            world.watch.longest_with_both() <= ms(1),
            "{:?}",
            world.watch
        );
    }
}

/// A switch dies under both, and one of them notices first. It looks like a lost port of its own,
/// but the other asks its neighbours there before it is ready, hears nobody, and then loses the
/// port too: nothing moves (D10).
#[test]
fn handover_segment_dying_for_both_in_turn_moves_nothing() {
    for port in [LAN, WAN] {
        for apart in [0, 1, 3, 8] {
            let mut world = World::settled(|_, _| {});
            world.hosts = false;
            world.run(7);
            world.pull(A, port);
            world.run(apart);
            world.pull(B, port);
            world.run(3_000);
            let case = format!("port {port}, {apart} ms apart");
            assert_eq!(world.roles(), (Active, Standby), "{case}");
            assert_eq!(
                (world.applied(A), world.applied(B)),
                (vec![], vec![]),
                "{case}"
            );
        }
    }
}

/// Where no neighbour ever answers, carrier that lasts is proof enough, a little later: a segment
/// of silent hosts must not keep the role where it cannot be served.
#[test]
fn handover_lost_port_moves_the_role_though_every_neighbour_is_silent() {
    let mut world = World::settled(|_, _| {});
    world.hosts = false;
    world.run(7);
    world.pull(A, LAN);
    let took = world.run_until(200, |world| world.role(B) == Active);
    assert!(took >= ms(10) && took <= ms(15), "{took:?}");
    world.run(1_000);
    assert_eq!(world.roles(), (Standby, Active));
    assert_eq!(world.watch.none, []);
}

/// Nobody is given a role it would serve worse: the standby that lost a port is refused the role,
/// asks in vain, and its operator is told why.
#[test]
fn handover_to_a_sicker_node_is_refused() {
    let mut world = World::settled(|_, _| {});
    world.pull(B, WAN);
    world.run(500);
    let request = world.command(B, Command::TakeOver);
    let release = world.command(A, Command::Release);
    world.run(5_000);
    assert_eq!(world.roles(), (Active, Standby));
    assert_eq!(world.reply(request), Some(Err(Rejection::TimedOut)));
    assert_eq!(world.reply(release), Some(Err(Rejection::NoPeer)));
    assert_eq!(world.watch.both, []);
    assert_eq!(world.watch.none, []);
}

/// What makes no sense is refused at once, with the reason, and a second command waits its turn.
#[test]
fn handover_senseless_commands_are_refused_with_a_reason() {
    let mut world = World::settled(|_, _| {});
    let idle = world.command(B, Command::Release);
    assert_eq!(world.reply(idle), Some(Err(Rejection::NotNow)));
    let already = world.command(A, Command::TakeOver);
    assert_eq!(world.reply(already), Some(Ok(())));
    let clear = world.command(A, Command::ClearPacified);
    assert_eq!(world.reply(clear), Some(Err(Rejection::NotNow)));
    let first = world.command(A, Command::Release);
    let second = world.command(A, Command::Release);
    assert_eq!(world.reply(second), Some(Err(Rejection::Busy)));
    world.run(500);
    assert_eq!(world.reply(first), Some(Ok(())));
    world.power_off(A);
    world.run(500);
    let nobody = world.command(B, Command::Release);
    assert_eq!(world.reply(nobody), Some(Err(Rejection::NoPeer)));
    assert_eq!(world.role(B), Active);
}

/// The taker's kernel refuses, before the offer ends or some time after, when the taker has long
/// said that it begins. Where it is certain that nothing is held, the giver serves on at once;
/// else it listens first, and nobody ever serves beside another.
#[test]
fn handover_refused_by_the_kernel_of_the_taker() {
    for after in [0, 10, 29, 32, 34, 36, 60] {
        let refusals = [Failure::Fenced, Failure::Refused].map(|it| (it, false));
        for (refusal, lies) in refusals.into_iter().chain([(Failure::Refused, true)]) {
            let mut world = World::settled(|_, _| {});
            world.gateways[B].refuses = |desired| matches!(desired, Forwarding::Active { .. });
            world.gateways[B].refusal = refusal;
            world.gateways[B].lies = lies;
            world.gateways[B].answer_delay = ms(after);
            world.command(A, Command::Release);
            let case = format!("{refusal:?} after {after} ms, done: {lies}");
            let ended = world.run_until(after + 100, |world| world.role(B) == Failed);
            let back = world.run_until(1_000, |world| world.is_live(A));
            assert!(ended < ms(after + 20), "{case}: {ended:?}");
            if refusal == Failure::Fenced {
                assert!(back <= ms(40), "{case}: {back:?}");
            }
            world.run(2_000);
            let serving = [A, B].into_iter().filter(|place| world.is_live(*place));
            assert_eq!(serving.count(), 1, "{case}");
            if !lies {
                assert_eq!(world.role(A), Active, "{case}");
            }
            // An offer is make before break: what it shares ends with it.
            let shared = if lies { V } else { Duration::ZERO };
            let longer = |both: &&(Instant, Duration)| both.1 > shared;
            assert_eq!(world.watch.both.iter().find(longer), None, "{case}");
        }
    }
}

/// A weight fails on the active, and the kernel of the healthier node refuses the role: it is not
/// offered over and over, for each offer is a gap, and it is once the time is over.
#[test]
fn handover_for_a_weight_spares_who_refused() {
    let weight: crate::setup::Change = |_, parts| {
        parts.checks = vec![CheckConfig {
            id: CheckId(0),
            name: "uplink".to_owned(),
            cost: Cost::Weight(5),
            rise: 1,
            fall: 1,
        }];
    };
    let mut world = World::settled(weight);
    world.gateways[B].refuses = |desired| matches!(desired, Forwarding::Active { .. });
    world.gateways[B].refusal = Failure::Fenced;
    for (place, passed) in [(A, true), (B, true), (A, false)] {
        let check = CheckId(0);
        world.tell(place, Input::Checked { check, passed });
    }
    world.run(8_000);
    let applied = world.applied(B);
    let tried = applied
        .iter()
        .filter(|it| matches!(it, Forwarding::Active { .. }));
    assert_eq!(tried.count(), 1, "it was asked once");
    assert_eq!(world.alerts(B), [Alert::ApplyFailed]);
    assert_eq!(world.role(A), Active);
    world.gateways[B].refuses = |_| false;
    world.run(5_000);
    assert_eq!(world.roles(), (Standby, Active));
}
