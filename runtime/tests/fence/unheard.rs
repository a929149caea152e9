//! Stories of words that no port can take: the cable that alone carries heartbeats is dark, or its
//! interface is gone. They keep a living lease, and no other.

use std::process::Command;
use std::time::{Duration, Instant};

use steadfast_shell::env::Sent;

use super::Story;
use super::frames::advert;
use super::guarded::{ACTIVE, Guarded, OFFERING, STANDBY, with_runtime};
use super::world::{L, LAN_VIRTUAL, World, hooks, kernel_guards};

pub(super) const STORIES: &[Story] = &[
    ("unheard_words_keep_a_living_lease", || kept("set ha0 down")),
    ("unheard_words_need_no_interface", || kept("del ha0")),
    ("unheard_words_do_not_undo_an_offer", offered),
    ("unheard_word_renewed_late_shortens_nothing", overtaken),
    ("unheard_word_renewed_too_late_ends_nothing", too_late),
];

/// Until something surely has happened.
const PATIENCE: Duration = Duration::from_secs(5);

struct Gateway {
    world: World,
    guarded: Guarded,
}

/// A gateway whose only heartbeat port, the cable's, has just become so.
fn gateway(change: &str) -> Gateway {
    let world = World::new();
    let guarded = world.guarded(hooks());
    let mut ip = Command::new("ip");
    let changed = ip.arg("link").args(change.split(' ')).status();
    assert!(changed.is_ok_and(|it| it.success()));
    Gateway { world, guarded }
}

/// Without a lease they begin none; with one they renew it, and "active" alone does; once it has
/// ended their sender is told, and they begin none again.
fn kept(change: &str) {
    with_runtime(async || {
        let Gateway { world, mut guarded } = gateway(change);
        assert_eq!(guarded.say(ACTIVE).await, Sent::Refused, "no lease");
        guarded.lease.arm().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < 3 * L {
            assert_eq!(guarded.say(ACTIVE).await, Sent::NoCarrier);
            assert!(world.answers(LAN_VIRTUAL));
        }
        let begun = Instant::now();
        while world.answers(LAN_VIRTUAL) {
            for mark in [OFFERING, STANDBY] {
                guarded.say(mark).await;
            }
            assert!(begun.elapsed() < PATIENCE, "these renew nothing");
        }
        while guarded.say(ACTIVE).await != Sent::Refused {
            assert!(!world.answers(LAN_VIRTUAL), "nothing begins anew");
            assert!(begun.elapsed() < PATIENCE, "its sender must be told");
        }
        guarded.lease.unfence().unwrap();
    });
}

/// A lease that was promised to end does.
fn offered() {
    with_runtime(async || {
        let Gateway { world, mut guarded } = gateway("set ha0 down");
        guarded.lease.arm().unwrap();
        assert_eq!(guarded.say(ACTIVE).await, Sent::NoCarrier);
        let begun = Instant::now();
        guarded.lease.offer(L / 4).unwrap();
        while world.answers(LAN_VIRTUAL) {
            guarded.say(ACTIVE).await;
            assert!(begun.elapsed() < PATIENCE, "the offer holds");
        }
        guarded.lease.unfence().unwrap();
    });
}

/// The cable is back: what leaves since has renewed the lease, and a renewal for a word of before
/// that comes late does not shorten it.
fn overtaken() {
    with_runtime(async || {
        let Gateway { world, mut guarded } = gateway("set lo up");
        guarded.lease.arm().unwrap();
        let (begun, time) = (Instant::now(), guarded.time);
        let unheard = time.now().after(L / 4);
        let heard = unheard.after(L / 2);
        while time.now() < heard {}
        assert_eq!(guarded.say(ACTIVE).await, Sent::Sent);
        guarded.lease.guard().said_active(unheard);
        while world.answers(LAN_VIRTUAL) {
            assert!(begun.elapsed() < PATIENCE, "it ends");
        }
        let lasted = begun.elapsed();
        assert!(lasted > L * 3 / 2, "L from the last word: {lasted:?}");
        guarded.lease.unfence().unwrap();
    });
}

/// A renewal that finds the lease of its word over ends only what the kernel says is over: one that
/// stands may be renewed still. Where the daemon judges its words, it is over by its own clock.
fn too_late() {
    with_runtime(async || {
        let Gateway { world, mut guarded } = gateway("set lo up");
        guarded.lease.arm().unwrap();
        let (begun, time) = (Instant::now(), guarded.time);
        let unheard = time.now().after(L / 4);
        let over = unheard.after(L + L / 8);
        while time.now() < over {
            // Of this the daemon knows nothing, as if its next word had not left yet.
            let _ = world.ha.send(&advert(ACTIVE));
        }
        guarded.lease.guard().said_active(unheard);
        assert!(begun.elapsed() < 2 * L, "the machine is too slow for this");
        let mut ip = Command::new("ip");
        let changed = ip.args(["link", "set", "ha0", "down"]).status();
        assert!(changed.is_ok_and(|it| it.success()));
        let begun = Instant::now();
        let expected = if kernel_guards() {
            Sent::NoCarrier
        } else {
            Sent::Refused
        };
        while begun.elapsed() < 2 * L {
            assert_eq!(guarded.say(ACTIVE).await, expected);
            assert_eq!(world.answers(LAN_VIRTUAL), kernel_guards());
        }
        guarded.lease.unfence().unwrap();
    });
}
