//! Stories of daemons that stand still while their kernels go on, one after the other: whoever
//! wakes must not act on what was true when it fell asleep (D6, D8, D10, D15). The explorer found
//! them with three faults; here they are told by hand.

use core::time::Duration;

use steadfast_core::effect::Command;
use steadfast_core::role::EffectiveRole::{Active, Standby};

use crate::look::{is_ours, kind};
use crate::setup::{A, B, CABLE};
use crate::world::World;

const OFFER: u8 = 6;

/// Both stand still as the role is offered; the giver's lease ends with the offer. The standby
/// wakes, declines what is too old, and claims because the lease has ended; the giver wakes a
/// little later, and the first thing it reads is the no. It asks before it serves on, and there are
/// never two.
#[test]
fn stalls_giver_that_wakes_after_its_offer_asks_first() {
    let mut claimed_count = 0;
    for gap in (0..6_000).step_by(50) {
        let mut world = World::settled(|_, _| {});
        world.command(A, Command::Release);
        world.run_until(20, |world| {
            let mut sent = world.adverts(A).into_iter();
            sent.any(|(_, _, frame)| kind(frame) == OFFER)
        });
        world.stop(A);
        world.stop(B);
        world.run(50);
        world.thaw(B);
        world.run_for(Duration::from_micros(gap));
        world.thaw(A);
        world.run(2_000);
        let both = world.watch.longest_with_both();
        assert_eq!(both, Duration::ZERO, "after {gap} us: {:?}", world.watch);
        let roles = world.roles();
        assert!(
            roles == (Active, Standby) || roles == (Standby, Active),
            "{roles:?}"
        );
        claimed_count += u32::from(roles == (Standby, Active));
    }
    assert!(
        claimed_count > 0,
        "the standby must claim while the giver sleeps"
    );
}

/// The active slept past its lease and its successor's daemon sleeps now: nothing says that it
/// serves but its kernel, which answers for the addresses. Who woke listens on until that ends.
#[test]
fn stalls_who_wakes_believes_a_kernel_whose_daemon_sleeps() {
    let mut world = World::settled(|_, _| {});
    world.loss = |from, _, frame| from == B && is_ours(frame);
    world.stop(A);
    let limit = 1_000;
    world.run_until(limit, |world| world.role(B) == Active);
    world.run(20);
    world.stop(B);
    world.forget();
    world.thaw(A);
    world.run(100);
    assert!(world.is_live(B) && !world.is_live(A), "{:?}", world.roles());
    world.run_until(limit, |world| world.is_live(A));
    assert_eq!(
        world.watch.longest_with_both(),
        Duration::ZERO,
        "{:?}",
        world.watch
    );
}

/// An active that stood still for less than its lease wakes on a busy box: it reads for a long time
/// what the standby asked meanwhile, and answers. None of that was sent by one that could have
/// heard an answer, so nobody is deaf and the role stays.
#[test]
fn stalls_old_questions_read_slowly_are_no_deafness() {
    for micros in [20, 100, 400, 700] {
        let mut world = World::settled(|_, _| {});
        world.stop(A);
        world.run(1);
        world.pull(A, CABLE);
        world.run(180);
        assert_eq!(world.role(B), Standby, "the kernel answers for A");
        world.thaw_slowly(A, Duration::from_micros(micros));
        world.run(1_000);
        assert_eq!(world.roles(), (Active, Standby), "{micros} us a frame");
    }
}
