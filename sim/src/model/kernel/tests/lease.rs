//! The lease: its time, its guard, and its table.

use super::*;

const ACTIVE: u8 = 2;
const OFFERING: u8 = 3;
const L: Duration = Duration::from_millis(300);

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// lease: expires early by at most 6 ms, never late (1000 phases): jiffies are the safe direction,
/// the node stops owning before the cluster thinks it does.
#[test]
fn lease_expires_early_by_at_most_6_ms_never_late() {
    for millis in [50, 124, 300, 1000] {
        let mut config = fence_config();
        config.lease = Duration::from_millis(millis);
        for step in 0..1000 {
            let mut kernel = Kernel::new(KernelConfig {
                jiffy_phase: Duration::from_nanos(step * 7919),
                ..gateway_config(1, config.clone())
            });
            let now = at(1_000_000_000 + step * 12_345);
            kernel.arm(now).unwrap();
            let end = kernel.lease_end(now).unwrap();
            let nominal = now.after(config.lease);
            assert!(end <= nominal, "late at phase {step}");
            assert!(
                nominal.since(end) <= Duration::from_millis(6),
                "phase {step}"
            );
            assert!(kernel.holds_lease(end.before(Duration::from_nanos(1))));
            assert!(!kernel.holds_lease(end));
        }
    }
}

/// guard: an active frame leaves and renews the lease only while the lease is there, so that no
/// system call stands between an advertisement and its right to be sent.
#[test]
fn guard_active_frame_renews_a_living_lease() {
    let mut kernel = gateway();
    kernel.arm(ms(0)).unwrap();
    for port in [LAN, WAN, CABLE] {
        let now = ms(100 + u64::from(port.0));
        let sent = kernel.transmit(now, port, &steadfast(ACTIVE));
        assert_eq!(sent, Transmitted::Sent);
        let end = kernel.lease_end(now).unwrap();
        assert!(end > now.after(L).before(Duration::from_millis(4)));
    }
}

/// guard: an active frame without a lease is refused and creates none: the daemon learns at that
/// very send that it lost the role.
#[test]
fn guard_active_frame_without_a_lease_is_refused_and_creates_none() {
    let mut kernel = gateway();
    for now in [ms(0), ms(1)] {
        let sent = kernel.transmit(now, CABLE, &steadfast(ACTIVE));
        assert_eq!(sent, Transmitted::Refused);
        assert!(!kernel.holds_lease(now));
    }
    kernel.arm(ms(2)).unwrap();
    let lapsed = kernel.lease_end(ms(2)).unwrap();
    for port in [LAN, WAN, CABLE] {
        let sent = kernel.transmit(lapsed, port, &steadfast(ACTIVE));
        assert_eq!(sent, Transmitted::Refused);
    }
    assert!(!kernel.holds_lease(lapsed));
    assert_eq!(kernel.counters().refused_count, 5);
}

/// guard: an offering frame passes while the lease lives and does not renew it, so that an offer
/// ends when it said it would.
#[test]
fn guard_offering_frame_passes_and_renews_nothing() {
    let mut kernel = active_gateway();
    let end = kernel.lease_end(ms(0));
    let sent = kernel.transmit(ms(100), CABLE, &steadfast(OFFERING));
    assert_eq!((sent, kernel.lease_end(ms(100))), (Transmitted::Sent, end));
    let sent = kernel.transmit(end.unwrap(), CABLE, &steadfast(OFFERING));
    assert_eq!(sent, Transmitted::Refused);
}

/// guard: every other mark passes with and without a lease and renews nothing: a standby may
/// always speak.
#[test]
fn guard_other_marks_always_pass() {
    for mark in (0..=255).filter(|mark| ![ACTIVE, OFFERING].contains(mark)) {
        let mut kernel = gateway();
        assert_eq!(
            kernel.transmit(ms(0), LAN, &steadfast(mark)),
            Transmitted::Sent
        );
        assert!(!kernel.holds_lease(ms(0)));
        kernel.arm(ms(0)).unwrap();
        let end = kernel.lease_end(ms(0));
        kernel.transmit(ms(100), LAN, &steadfast(mark));
        assert_eq!(kernel.lease_end(ms(100)), end);
    }
}

/// guard: a frame sent into a port without carrier renews the lease all the same and its sender
/// is not told: the lease proves a running daemon, not a heard one.
#[test]
fn guard_renews_without_carrier() {
    let mut kernel = active_gateway();
    kernel.set_carrier(CABLE, false);
    let sent = kernel.transmit(ms(200), CABLE, &steadfast(ACTIVE));
    assert_eq!(sent, Transmitted::NoCarrier);
    assert!(kernel.holds_lease(ms(400)));
}

/// guard: stands on heartbeat ports alone; elsewhere an active frame passes unseen.
#[test]
fn guard_stands_on_heartbeat_ports_alone() {
    let mut config = gateway_config(1, fence_config());
    config.ports[2].heartbeat = false;
    let mut kernel = Kernel::new(config);
    let sent = kernel.transmit(ms(0), CABLE, &steadfast(ACTIVE));
    assert_eq!(sent, Transmitted::Sent);
    assert!(!kernel.holds_lease(ms(0)));
}

/// lease: an offer shortens what is left, never lengthens it, and fails on a lapsed lease.
#[test]
fn lease_offer_shortens_only() {
    let mut kernel = active_gateway();
    assert_eq!(kernel.offer(ms(100), Duration::from_millis(30)), Ok(()));
    let end = kernel.lease_end(ms(100)).unwrap();
    assert!(end > ms(124) && end <= ms(130), "{end}");
    assert_eq!(kernel.offer(ms(101), Duration::from_secs(1)), Ok(()));
    assert_eq!(kernel.lease_end(ms(101)), Some(end));
    assert_eq!(kernel.offer(end, Duration::from_millis(30)), Err(Lapsed));
    assert!(!kernel.holds_lease(end));
}

/// lease: the swap for the tail is one step, and a lapsed lease leaves no tail: a woken daemon
/// must not open the fence for another 30 ms.
#[test]
fn lease_lapsed_leaves_no_tail() {
    let mut kernel = active_gateway();
    assert_eq!(kernel.release_to_tail(ms(100)), Ok(()));
    assert!(!kernel.holds_lease(ms(100)));
    let tail = kernel.tail_end(ms(100)).unwrap();
    assert!(tail > ms(124) && tail <= ms(130), "{tail}");
    assert_eq!(kernel.release_to_tail(ms(101)), Err(Lapsed));

    let mut late = active_gateway();
    let lapsed = late.lease_end(ms(0)).unwrap();
    let before = late.tail_end(lapsed);
    assert_eq!(late.release_to_tail(lapsed), Err(Lapsed));
    assert_eq!(late.tail_end(lapsed), before, "no new tail");
    assert_eq!(late.tail_end(lapsed.after(Duration::from_millis(34))), None);
}

/// lease: the tail is refreshed with it and outlives it by its own length, so that a killed
/// daemon's kernel carries on what clients send until they know the next owner.
#[test]
fn lease_is_outlived_by_its_tail() {
    let kernel = active_gateway();
    let lapsed = kernel.lease_end(ms(0)).unwrap();
    let over = kernel.tail_end(ms(0)).unwrap().since(lapsed);
    assert!(over > Duration::from_millis(24), "{over:?}");
    assert!(over <= Duration::from_millis(32), "{over:?}");
}

/// lease: closing the fence takes lease and tail away.
#[test]
fn lease_fence_removes_both() {
    let mut kernel = active_gateway();
    kernel.release_to_tail(ms(1)).unwrap();
    kernel.arm(ms(2)).unwrap();
    kernel.fence();
    assert_eq!(kernel.lease_end(ms(2)), None);
    assert_eq!(kernel.tail_end(ms(2)), None);
}

/// lease: an owned table and its lease survive a foreign flush; a table without an owner does
/// not. Without the table nothing is refused or fenced, and no lease can be armed.
#[test]
fn lease_table_survives_a_foreign_flush_only_if_owned() {
    let mut kernel = active_gateway();
    kernel.flush_ruleset(FlushBy::Foreign);
    assert!(kernel.fence_whole() && kernel.holds_lease(ms(0)));

    let mut config = fence_config();
    config.owned = false;
    let mut unowned = Kernel::new(gateway_config(1, config));
    unowned.flush_ruleset(FlushBy::Foreign);
    assert!(!unowned.fence_whole());

    kernel.flush_ruleset(FlushBy::ForeignIgnoringOwner);
    assert!(!kernel.fence_whole() && !kernel.holds_lease(ms(0)));
    assert_eq!(kernel.arm(ms(1)), Err(TableGone));
    assert_eq!(
        kernel.transmit(ms(1), CABLE, &steadfast(ACTIVE)),
        Transmitted::Sent
    );
    assert!(kernel.answers_for(ms(1), LAN, ip("10.0.1.1")));
}

/// lease: a daemon that renews it itself puts back one whose table was taken, with what is left of
/// it; one that ended stays ended, and the look after it tells of the damage, once.
#[test]
fn lease_of_a_flushed_table_goes_on_by_its_owners_clock() {
    let mut config = fence_config();
    (config.owned, config.egress) = (false, false);
    let mut kernel = Kernel::new(gateway_config(1, config));
    kernel.add_virtual(LAN, ip("10.0.1.1"));
    kernel.arm(ms(0)).unwrap();
    kernel.flush_ruleset(FlushBy::Foreign);
    assert!(!kernel.holds_lease(ms(100)));
    let sent = kernel.transmit(ms(100), CABLE, &steadfast(ACTIVE));
    assert_eq!(sent, Transmitted::Sent);
    assert!(kernel.holds_lease(ms(350)) && kernel.fence_whole());
    assert!(!kernel.take_fence_whole() && kernel.take_fence_whole());
    kernel.flush_ruleset(FlushBy::Foreign);
    let sent = kernel.transmit(ms(400), CABLE, &steadfast(ACTIVE));
    assert_eq!(sent, Transmitted::Refused, "by its own clock it ended");
    assert_eq!(
        kernel.offer(ms(400), Duration::from_millis(30)),
        Err(Lapsed)
    );
}

/// lease: where no packet is judged as it leaves, addresses go by themselves, five seconds after
/// somebody held them last.
#[test]
fn lease_without_egress_lets_addresses_expire() {
    let mut config = fence_config();
    config.egress = false;
    let mut kernel = Kernel::new(gateway_config(1, config));
    kernel.hold_addresses(ms(0));
    kernel.add_virtual(LAN, ip("10.0.1.1"));
    kernel.hold_addresses(ms(1000));
    kernel.tick(ms(5999), &mut Outbox::default());
    assert_eq!(kernel.virtuals().count(), 1);
    kernel.tick(ms(6000), &mut Outbox::default());
    assert_eq!(kernel.virtuals().count(), 0);
}

/// lease: a table put back is fenced until a claim arms it; putting back what is there changes
/// nothing.
#[test]
fn lease_rebuilt_table_is_fenced() {
    let mut kernel = active_gateway();
    kernel.rebuild_fence();
    assert!(kernel.holds_lease(ms(0)), "the table was whole");
    kernel.flush_ruleset(FlushBy::ForeignIgnoringOwner);
    kernel.rebuild_fence();
    assert!(kernel.fence_whole());
    assert!(!kernel.answers_for(ms(1), LAN, ip("10.0.1.1")));
    assert_eq!(
        kernel.transmit(ms(1), CABLE, &steadfast(ACTIVE)),
        Transmitted::Refused
    );
    assert_eq!(kernel.arm(ms(1)), Ok(()));
}

/// lease: a paused machine wakes with what it had left: the reason a paused VM may own for up to
/// L after its rival's claim.
#[test]
fn lease_pause_keeps_what_is_left() {
    let mut kernel = active_gateway();
    let end = kernel.lease_end(ms(0)).unwrap();
    let pause = Duration::from_secs(10);
    kernel.resume(pause);
    assert_eq!(kernel.lease_end(ms(10_100)), Some(end.after(pause)));
}

/// kernel: names the next moment at which it changes by itself, and its version grows with each
/// change of who answers, so that an observer asks neither too rarely nor too often.
#[test]
fn kernel_next_change_and_version_follow_the_lease() {
    let mut kernel = gateway();
    assert_eq!(kernel.next_change(ms(0)), None);
    let mut versions = vec![kernel.ownership_version()];
    kernel.arm(ms(0)).unwrap();
    versions.push(kernel.ownership_version());
    kernel.transmit(ms(100), LAN, &steadfast(ACTIVE));
    versions.push(kernel.ownership_version());
    let end = kernel.lease_end(ms(100)).unwrap();
    assert_eq!(kernel.next_change(ms(100)), Some(end));
    let mut out = Outbox::default();
    kernel.tick(end.before(Duration::from_nanos(1)), &mut out);
    assert_eq!(versions.last(), Some(&kernel.ownership_version()), "early");
    kernel.tick(end, &mut out);
    versions.push(kernel.ownership_version());
    kernel.set_carrier(LAN, false);
    versions.push(kernel.ownership_version());
    kernel.remove_virtual(LAN, ip("10.0.1.1"));
    versions.push(kernel.ownership_version());
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    let last = kernel.ownership_version();
    kernel.remove_virtual(LAN, ip("10.0.1.1"));
    kernel.set_carrier(LAN, false);
    kernel.tick(end, &mut out);
    assert_eq!(kernel.ownership_version(), last, "nothing changed");
    let tail = kernel.tail_end(end).unwrap();
    assert_eq!(kernel.next_change(end), Some(tail));
    kernel.tick(tail, &mut out);
    assert_eq!(kernel.next_change(tail), None);
}
