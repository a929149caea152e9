//! Stories of the lease: its guard, its end, its hand-over.

use std::io;
use std::time::{Duration, Instant};

use steadfast::linux::fence::LeaseError;

use super::Story;
use super::frames::{advert, advert_datagram};
use super::world::{L, LAN_VIRTUAL, TAIL, World, kernel_guards};

pub(super) const STORIES: &[Story] = &[
    ("guard_active_frame_without_a_lease_is_refused", refused),
    ("guard_active_frame_renews_a_living_lease", renews),
    ("guard_offering_frame_renews_nothing", offering),
    ("guard_judges_datagrams_as_frames", datagrams),
    ("guard_lets_other_datagrams_pass", others),
    ("guard_another_users_datagram_renews_nothing", another_user),
    ("lease_ends_by_itself_never_late", ends),
    ("lease_offer_shortens_only", offer_shortens),
    ("lease_lapsed_leaves_no_tail", lapsed),
    ("lease_closed_and_armed_again_in_microseconds", quick),
];

const ACTIVE: u8 = 2;
const OFFERING: u8 = 3;

fn is_refusal(sent: io::Result<()>) -> bool {
    sent.is_err_and(|why| why.raw_os_error() == Some(libc::ENOBUFS))
}

/// Without a lease "active" and "offering" never leave, and their sender learns it at the send;
/// every other mark passes: a standby may always speak.
fn refused() {
    let world = World::new();
    let mut fence = world.fenced();
    for port in [&world.lan, &world.wan, &world.ha] {
        for mark in [ACTIVE, OFFERING] {
            assert!(is_refusal(port.send(&advert(mark))));
            assert!(!port.lets_out(&advert(mark)));
        }
        assert!(port.lets_out(&advert(1)));
        assert!(port.lets_out(&advert(0)));
    }
    assert_eq!(
        fence.lease_left().unwrap(),
        None,
        "a refused frame arms nothing"
    );
    let counters = fence.counters().unwrap();
    let counted = |rule| counters.iter().find(|counter| counter.rule == rule);
    assert_eq!(counted("ha0 active without lease").unwrap().packets, 2);
    fence.unfence().unwrap();
}

/// With a lease "active" leaves and renews lease and tail, on any heartbeat port.
fn renews() {
    let world = World::new();
    let mut fence = world.fenced();
    fence.arm().unwrap();
    for port in [&world.lan, &world.wan, &world.ha] {
        while fence.lease_left().unwrap().unwrap() > L - Duration::from_millis(20) {}
        assert!(port.lets_out(&advert(ACTIVE)));
        assert!(fence.lease_left().unwrap().unwrap() > L - Duration::from_millis(20));
        assert!(fence.tail_left().unwrap().unwrap() > L + TAIL - Duration::from_millis(20));
    }
    fence.unfence().unwrap();
}

/// "Offering" leaves while the lease lives and does not lengthen it.
fn offering() {
    let world = World::new();
    let mut fence = world.fenced();
    fence.arm().unwrap();
    while let Some(before) = fence.lease_left().unwrap() {
        let _ = world.ha.send(&advert(OFFERING));
        let after = fence.lease_left().unwrap();
        assert!(
            after.is_none_or(|after| after <= before),
            "{before:?}, then {after:?}"
        );
    }
    assert!(is_refusal(world.ha.send(&advert(OFFERING))));
    fence.unfence().unwrap();
}

/// An advertisement in a datagram is refused without a lease and renews it while it lives.
fn datagrams() {
    let world = World::new();
    let mut fence = world.fenced();
    let said = |mark| advert_datagram(mark, |_| {});
    for port in [&world.lan, &world.wan] {
        for mark in [ACTIVE, OFFERING] {
            assert!(is_refusal(port.send(&said(mark))));
            assert!(!port.lets_out(&said(mark)));
        }
        assert!(port.lets_out(&said(1)));
    }
    assert_eq!(fence.lease_left().unwrap(), None);
    fence.arm().unwrap();
    for port in [&world.lan, &world.wan] {
        while fence.lease_left().unwrap().unwrap() > L - Duration::from_millis(20) {}
        assert!(port.lets_out(&said(ACTIVE)));
        assert!(fence.lease_left().unwrap().unwrap() > L - Duration::from_millis(20));
    }
    fence.unfence().unwrap();
}

/// What a router passed on, or another program sent from its own port, is no advertisement: it
/// passes, and renews no lease, whatever byte stands where a mark would.
fn others() {
    let world = World::new();
    let mut fence = world.fenced();
    let passed_on = advert_datagram(ACTIVE, |frame| frame[22] = 254);
    let from_another = advert_datagram(ACTIVE, |frame| frame[35] ^= 1);
    let to_another = advert_datagram(ACTIVE, |frame| frame[37] ^= 1);
    for frame in [&passed_on, &from_another, &to_another] {
        assert!(world.lan.lets_out(frame));
    }
    fence.arm().unwrap();
    while let Some(before) = fence.lease_left().unwrap() {
        for frame in [&passed_on, &from_another, &to_another] {
            let _ = world.lan.send(frame);
        }
        let after = fence.lease_left().unwrap();
        assert!(after.is_none_or(|after| after <= before), "{after:?}");
    }
    fence.unfence().unwrap();
}

/// Whatever it says: a program of another user, which may have taken the port of a dead daemon,
/// keeps no lease alive.
fn another_user() {
    let world = World::new();
    let mut fence = world.fenced();
    fence.arm().unwrap();
    let frame = advert_datagram(ACTIVE, |_| {});
    while let Some(before) = fence.lease_left().unwrap() {
        match world.lan.send_as(65_534, "lan0", &frame) {
            None => {
                println!("not run: needs another user");
                break;
            }
            Some(sent) => sent.expect("what is no word of the daemon's passes"),
        }
        let after = fence.lease_left().unwrap();
        assert!(after.is_none_or(|after| after <= before), "{after:?}");
    }
    fence.unfence().unwrap();
}

/// The address falls silent by itself, L after the arming at the latest; the tail follows.
fn ends() {
    let world = World::new();
    let mut fence = world.fenced();
    for _ in 0..3 {
        let before = Instant::now();
        fence.arm().unwrap();
        let (after, mut last) = (Instant::now(), before);
        loop {
            let asked = Instant::now();
            if !world.answers(LAN_VIRTUAL) {
                break;
            }
            last = asked;
        }
        assert!(last - after < L, "late by {:?}", last - after);
        let early = L.saturating_sub(before.elapsed());
        assert!(early <= Duration::from_millis(20), "early by {early:?}");
        if kernel_guards() {
            assert!(is_refusal(world.ha.send(&advert(ACTIVE))));
        }
        assert!(fence.tail_left().unwrap().is_some_and(|left| left <= TAIL));
    }
    fence.unfence().unwrap();
}

/// An offer shortens what is left, never lengthens it, and fails without a lease.
fn offer_shortens() {
    let world = World::new();
    let mut fence = world.fenced();
    let v = Duration::from_millis(300);
    assert!(matches!(fence.offer(v), Err(LeaseError::Lapsed)));
    fence.arm().unwrap();
    fence.offer(v).unwrap();
    let left = fence.lease_left().unwrap().unwrap();
    assert!(left <= v, "{left:?}");
    fence.offer(Duration::from_secs(9)).unwrap();
    assert!(
        fence
            .lease_left()
            .unwrap()
            .is_none_or(|longer| longer <= left)
    );
    while fence.lease_left().unwrap().is_some() {}
    assert!(matches!(fence.offer(v), Err(LeaseError::Lapsed)));
    assert_eq!(fence.lease_left().unwrap(), None);
    fence.unfence().unwrap();
}

/// The swap for the tail is one step; without a lease there is no fresh tail.
fn lapsed() {
    let world = World::new();
    let mut fence = world.fenced();
    assert!(matches!(fence.release_to_tail(), Err(LeaseError::Lapsed)));
    assert_eq!(fence.tail_left().unwrap(), None);
    fence.arm().unwrap();
    fence.release_to_tail().unwrap();
    assert_eq!(fence.lease_left().unwrap(), None);
    let tail = fence.tail_left().unwrap().unwrap();
    assert!(tail <= TAIL, "{tail:?}");
    assert!(matches!(fence.release_to_tail(), Err(LeaseError::Lapsed)));
    assert!(fence.tail_left().unwrap().is_none_or(|left| left <= tail));
    fence.close().unwrap();
    assert_eq!(fence.tail_left().unwrap(), None);
    fence.unfence().unwrap();
}

/// Arming and closing cost microseconds: what they cost here is printed.
fn quick() {
    const ROUNDS: usize = 500;
    let world = World::new();
    let mut fence = world.fenced();
    let (mut arms, mut closes, mut checks) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let begun = Instant::now();
        fence.arm().unwrap();
        arms.push(begun.elapsed());
        let begun = Instant::now();
        fence.close().unwrap();
        closes.push(begun.elapsed());
        if round % 25 == 0 {
            let begun = Instant::now();
            assert!(matches!(
                fence.check(),
                steadfast::linux::fence::Health::Whole
            ));
            checks.push(begun.elapsed());
        }
    }
    for (name, times) in [
        ("arm", &mut arms),
        ("close", &mut closes),
        ("check", &mut checks),
    ] {
        times.sort_unstable();
        let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "{name}: median {median:?}, 99 % {:?}, most {most:?}",
            times[times.len() * 99 / 100]
        );
        assert!(
            median < Duration::from_millis(20),
            "{name} takes {median:?}"
        );
    }
    println!("{:?}", fence.support());
    fence.unfence().unwrap();
}
