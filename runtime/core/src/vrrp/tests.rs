//! The cases of RFC 3768, 5798 and 9568 as packets and times: a router, and a tester at its wire.

use core::net::Ipv4Addr;

use unit::{HIGHER, LOWER, OWN, Unit, assert_near, interval, settings};

use super::*;
use crate::wire::vrrp::{GROUP, TTL};

mod unit;

/// V09: nothing is said before the down interval, and then it serves, says so, and announces.
#[test]
fn vrrp_quiet_link_is_taken_after_the_down_interval() {
    for version in [Version::V2, Version::V3] {
        let mut unit = Unit::started(version, |_| {});
        unit.run(3.0);
        assert_eq!(unit.done, [], "nothing is said before");
        assert_near(unit.takes_over_after(), 156.0 / 256.0);
        let first: Vec<&Action> = unit.done.iter().take(3).map(|(_, it)| it).collect();
        assert!(
            matches!(
                first[..],
                [Action::Serve, Action::Advertise(_), Action::Announce(_)]
            ),
            "{first:?}"
        );
    }
}

/// V10: who owns the addresses serves at once, and goes on.
#[test]
fn vrrp_owner_serves_at_once() {
    let mut unit = Unit::started(Version::V3, |it| {
        it.priority = OWNER;
        it.addresses.push(OWN);
    });
    unit.run(2.5);
    let at: Vec<(f64, u8)> = unit.said();
    assert_eq!(at, [(0.0, 255), (1.0, 255), (2.0, 255)]);
    let first: Vec<&Action> = unit.done.iter().take(3).map(|(_, it)| it).collect();
    assert!(
        matches!(first[..], [Action::Serve, Action::Advertise(_), Action::Announce(all)]
            if all.len() == 2),
        "{first:?}"
    );
}

/// Of two owners neither yields: the mistake is counted. What comes back of our own is no router.
#[test]
fn vrrp_other_owner_and_own_echo_are_counted() {
    let mut owner = Unit::started(Version::V3, |it| {
        it.priority = OWNER;
        it.addresses.push(OWN);
    });
    owner.hear_from(HIGHER, OWNER, |_| {});
    assert_eq!(owner.router.state(), State::Active);
    assert_eq!(owner.router.other_owners(), 1);

    let mut unit = Unit::active(Version::V3, |it| it.answers_lower = true);
    unit.hear_from(OWN, 50, |_| {});
    assert_eq!((unit.router.reflected(), unit.said().len()), (1, 0));
}

/// A change of settings while a resignation's skew runs, or before anybody was heard, keeps what is
/// waited for.
#[test]
fn vrrp_changed_settings_keep_the_wait() {
    let mut unit = Unit::started(Version::V3, |_| {});
    unit.hear(200, |_| {});
    unit.hear(0, |_| {});
    unit.run(0.1);
    unit.handle(Input::SettingsReplaced(settings(Version::V3)));
    assert_near(unit.takes_over_after(), 156.0 / 256.0 - 0.1);

    let mut unit = Unit::started(Version::V3, |_| {});
    let mut quick = settings(Version::V3);
    quick.interval = interval(Version::V3, 10);
    unit.handle(Input::SettingsReplaced(quick));
    assert_near(unit.takes_over_after(), 0.3 + 0.1 * 156.0 / 256.0);
}

/// V11: skew of version 2 is parts of a second, whatever the interval.
#[test]
fn vrrp_version_2_skew_does_not_scale() {
    let mut unit = Unit::started(Version::V2, |it| it.interval = interval(Version::V2, 200));
    unit.hear(200, |_| {});
    assert_near(unit.takes_over_after(), 6.0 + 156.0 / 256.0);
}

/// V12 to V14: a backup counts in the interval of who is active, and advertises with its own; so
/// does one that had been active before.
#[test]
fn vrrp_version_3_learns_the_interval_of_the_active() {
    let quick = |said: &mut Advertisement| said.interval = interval(Version::V3, 37);
    let down = 3.0 * 0.37 + 156.0 * 0.37 / 256.0;
    let mut backup = Unit::started(Version::V3, |_| {});
    backup.hear(200, quick);
    assert_near(backup.takes_over_after(), down);
    let words = backup.said();
    assert!((words[1].0 - words[0].0 - 1.0).abs() < 1e-6, "{words:?}");
    let own = backup.done.iter().find_map(|(_, it)| match it {
        Action::Advertise(said) => Some(said.interval.centis()),
        Action::Announce(_) | Action::Serve | Action::Withdraw => None,
    });
    assert_eq!(own, Some(100));

    let mut active = Unit::active(Version::V3, |_| {});
    active.hear(200, quick);
    assert_near(active.takes_over_after(), down);
}

/// V15, V16: a resignation leaves skew alone to wait, in the interval that was held; its own
/// teaches nothing.
#[test]
fn vrrp_resignation_leaves_the_skew() {
    for version in [Version::V2, Version::V3] {
        let mut unit = Unit::started(version, |_| {});
        unit.hear(200, |_| {});
        unit.run(0.2);
        unit.hear(0, |_| {});
        assert_near(unit.takes_over_after(), 156.0 / 256.0);
    }
    let mut unit = Unit::started(Version::V3, |_| {});
    unit.hear(200, |it| it.interval = interval(Version::V3, 50));
    unit.run(0.2);
    unit.hear(0, |it| it.interval = interval(Version::V3, 400));
    assert_near(unit.takes_over_after(), 0.5 * 156.0 / 256.0);
}

/// V17: to one that preempts, lower priorities say nothing and teach nothing.
#[test]
fn vrrp_lower_priority_does_not_hold_a_backup_back() {
    let mut unit = Unit::started(Version::V3, |_| {});
    unit.hear(200, |_| {});
    for _ in 0..3 {
        unit.run(0.9);
        unit.hear(50, |it| it.interval = interval(Version::V3, 10));
    }
    assert_near(unit.takes_over_after(), 3.0 + 156.0 / 256.0 - 2.7);
}

/// V18, V19: without preemption a lower priority is obeyed, and teaches.
#[test]
fn vrrp_without_preemption_any_active_is_obeyed() {
    let mut unit = Unit::started(Version::V3, |it| it.preempt = false);
    for _ in 0..10 {
        unit.run(0.8);
        unit.hear(50, |_| {});
        assert_eq!(unit.router.state(), State::Backup);
    }
    unit.hear(50, |it| it.interval = interval(Version::V3, 60));
    assert_near(unit.takes_over_after(), 1.8 + 156.0 * 0.6 / 256.0);
}

/// V20: a backup obeys an equal priority, whatever its address.
#[test]
fn vrrp_equal_priority_holds_a_backup_back() {
    for source in [LOWER, HIGHER] {
        let mut unit = Unit::started(Version::V3, |_| {});
        unit.run(2.0);
        unit.hear_from(source, 100, |_| {});
        assert_near(unit.takes_over_after(), 3.0 + 156.0 / 256.0);
    }
}

/// V21 to V23: an active router yields to a higher priority, or to a higher address of the same;
/// at once, without resigning.
#[test]
fn vrrp_active_yields_to_who_is_higher() {
    for (source, priority, yields) in [
        (LOWER, 200, true),
        (HIGHER, 100, true),
        (LOWER, 100, false),
        (HIGHER, 50, false),
    ] {
        let mut unit = Unit::active(Version::V3, |_| {});
        unit.hear_from(source, priority, |_| {});
        let expected = if yields {
            vec![Action::Withdraw]
        } else {
            Vec::new()
        };
        let done: Vec<Action> = unit.done.iter().map(|(_, it)| it.clone()).collect();
        assert_eq!(done, expected, "{priority} from {source}");
        if yields {
            assert_near(unit.takes_over_after(), 3.0 + 156.0 / 256.0);
        } else {
            unit.run(2.0);
            assert_eq!(unit.said().len(), 2, "its cadence goes on");
        }
    }
}

/// V24: a resignation is answered at once, and the cadence starts anew.
#[test]
fn vrrp_active_answers_a_resignation() {
    let mut unit = Unit::active(Version::V3, |_| {});
    unit.run(0.3);
    let begin = unit.at();
    unit.hear(0, |_| {});
    unit.run(2.2);
    let said: Vec<f64> = unit.said().iter().map(|(at, _)| at - begin).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    for (at, wanted) in said.iter().zip([0.0, 1.0, 2.0]) {
        assert!((at - wanted).abs() < 1e-6, "{said:?}");
    }
}

/// V25: a lower priority changes nothing in the cadence; as RFC 9568 wants it, it is answered.
#[test]
fn vrrp_active_and_a_lower_priority() {
    for answers in [false, true] {
        let mut unit = Unit::active(Version::V3, |it| it.answers_lower = answers);
        unit.run(0.3);
        let begin = unit.at();
        unit.hear(50, |_| {});
        unit.run(1.0);
        let said: Vec<f64> = unit.said().iter().map(|(at, _)| at - begin).collect();
        let wanted: &[f64] = if answers { &[0.0, 0.7] } else { &[0.7] };
        assert_eq!(said.len(), wanted.len(), "{said:?}");
        for (at, wanted) in said.iter().zip(wanted) {
            assert!((at - wanted).abs() < 1e-6, "{said:?}");
        }
    }
}

/// V26, V27: an orderly end of an active router is one resignation; of a backup, silence.
#[test]
fn vrrp_orderly_end_is_one_resignation() {
    let mut active = Unit::active(Version::V3, |_| {});
    active.handle(Input::Stopped);
    active.run(10.0);
    let done: Vec<&Action> = active.done.iter().map(|(_, it)| it).collect();
    let own = settings(Version::V3);
    assert!(
        matches!(done[..], [Action::Advertise(said), Action::Withdraw]
            if said.priority == 0 && said.addresses == own.addresses
                && said.interval == own.interval),
        "{done:?}"
    );

    let mut backup = Unit::started(Version::V3, |_| {});
    backup.handle(Input::Stopped);
    backup.run(10.0);
    assert_eq!(backup.done, []);
}

/// V28: what is refused changes no cadence, and is counted.
#[test]
fn vrrp_junk_silences_nobody() {
    let mut unit = Unit::active(Version::V3, |_| {});
    for _ in 0..20 {
        unit.run(0.3);
        let message = [0x31, 52, 50, 1, 0, 100, 1, 2, 192, 0, 2, 4];
        unit.handle(Input::PacketReceived(Packet {
            source: LOWER,
            destination: IpAddr::V4(GROUP),
            ttl: TTL,
            message: &message,
        }));
    }
    assert_eq!(unit.router.refused(Refusal::Checksum), 20);
    assert_eq!(unit.said().len(), 6, "each second for six");
}

/// V43, V44: other addresses are counted, or keep a message from counting; their order is nothing.
#[test]
fn vrrp_other_addresses_are_counted_or_ignored() {
    let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 5));
    for (lists, holds) in [(Lists::Counted, true), (Lists::Equal, false)] {
        let mut unit = Unit::started(Version::V3, |it| {
            it.lists = lists;
            it.addresses.push(other);
        });
        unit.run(1.0);
        unit.hear(200, |it| it.addresses.reverse());
        assert_eq!(unit.router.lists_differ(), 0);
        unit.run(1.0);
        unit.hear(200, |it| it.addresses.truncate(1));
        assert_eq!(unit.router.lists_differ(), 1);
        let down = 3.0 + 156.0 / 256.0;
        assert_near(
            unit.takes_over_after(),
            if holds { down } else { down - 1.0 },
        );
    }
    // Version 2 believes the owner.
    let mut unit = Unit::started(Version::V2, |it| it.lists = Lists::Equal);
    unit.run(1.0);
    unit.hear(OWNER, |it| it.addresses.push(other));
    assert_near(unit.takes_over_after(), 3.0 + 156.0 / 256.0);
}

/// V55: an address comes and another goes while it serves: the next word has the new list, the new
/// one is announced, and nobody resigns.
#[test]
fn vrrp_new_addresses_are_announced_alone() {
    let mut unit = Unit::active(Version::V3, |_| {});
    let new = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 5));
    let mut changed = settings(Version::V3);
    changed.addresses = vec![new];
    unit.handle(Input::SettingsReplaced(changed));
    unit.run(1.0);
    let done: Vec<&Action> = unit.done.iter().map(|(_, it)| it).collect();
    assert!(
        matches!(&done[..], [Action::Serve, Action::Announce(added), Action::Advertise(said)]
            if *added == [new] && said.addresses == [new] && said.priority == 100),
        "{done:?}"
    );
}

/// V56: a link that comes back is listened to anew.
#[test]
fn vrrp_lost_link_begins_anew() {
    let mut unit = Unit::active(Version::V3, |_| {});
    unit.handle(Input::LinkLost);
    unit.run(2.0);
    assert_eq!(unit.router.state(), State::Initialize);
    assert_eq!(unit.said(), [], "nothing can be said");
    unit.handle(Input::Started);
    assert_near(unit.takes_over_after(), 3.0 + 156.0 / 256.0);
}

/// V57: priority and interval change while it serves: the next words have both, in the new cadence.
#[test]
fn vrrp_changed_settings_need_no_restart() {
    let mut unit = Unit::active(Version::V3, |_| {});
    let begin = unit.at();
    let mut changed = settings(Version::V3);
    (changed.priority, changed.interval) = (80, interval(Version::V3, 50));
    unit.handle(Input::SettingsReplaced(changed));
    unit.run(1.6);
    let said: Vec<(f64, u8)> = unit.said();
    assert_eq!(said.len(), 3, "{said:?}");
    for ((at, priority), wanted) in said.iter().zip([0.5, 1.0, 1.5]) {
        assert!((at - begin - wanted).abs() < 1e-6, "{said:?}");
        assert_eq!(*priority, 80);
    }
}

/// What we know beside makes a router weaker and never stronger; one that shall give up resigns and
/// waits its whole time.
#[test]
fn vrrp_private_evidence_only_weakens() {
    let mut unit = Unit::active(Version::V3, |_| {});
    unit.handle(Input::Weakened(Some(200)));
    assert_eq!(unit.router.priority(), 100);
    unit.handle(Input::Weakened(Some(10)));
    unit.run(1.0);
    assert_eq!(unit.said().last().map(|(_, priority)| *priority), Some(10));
    unit.hear(50, |_| {});
    assert_eq!(unit.router.state(), State::Backup);
    assert_near(unit.takes_over_after(), 3.0 + 246.0 / 256.0);

    unit.done.clear();
    unit.handle(Input::Resign);
    assert_eq!(unit.said().last().map(|(_, priority)| *priority), Some(0));
    assert_eq!(unit.router.state(), State::Backup);
    unit.handle(Input::Weakened(None));
    assert_near(unit.takes_over_after(), 3.0 + 156.0 / 256.0);

    // Nor does it come back by the quick clock of somebody who was active before it.
    let mut unit = Unit::started(Version::V3, |_| {});
    unit.hear(200, |it| it.interval = interval(Version::V3, 10));
    unit.run(10.0);
    unit.handle(Input::Resign);
    assert_near(unit.takes_over_after(), 3.0 + 156.0 / 256.0);
}

/// V54: what cannot be is named by its field.
#[test]
fn vrrp_settings_name_what_is_wrong() {
    let fields = |change: fn(&mut Settings)| {
        let mut changed = settings(Version::V3);
        change(&mut changed);
        let found = changed.problems();
        found
            .into_iter()
            .map(|(field, _)| field)
            .collect::<Vec<_>>()
    };
    assert_eq!(fields(|_| {}), [""; 0]);
    assert_eq!(fields(|it| it.virtual_id = 0), ["virtual_id"]);
    assert_eq!(fields(|it| it.priority = 0), ["priority"]);
    assert_eq!(fields(|it| it.priority = 255), ["priority"]);
    assert_eq!(fields(|it| it.addresses.clear()), ["addresses"]);
    let twice = |it: &mut Settings| it.addresses = vec![it.addresses[0]; 2];
    assert_eq!(fields(twice), ["addresses"]);
    let six = |it: &mut Settings| it.addresses.push("2001:db8::1".parse().unwrap());
    assert_eq!(fields(six), ["addresses"], "mixed families");
    let global = |it: &mut Settings| {
        it.primary = "fe80::10".parse().unwrap();
        it.addresses = vec!["2001:db8::1".parse().unwrap()];
    };
    assert_eq!(fields(global), ["addresses"], "no link-local first");
    let old = |it: &mut Settings| {
        it.version = Version::V2;
        it.primary = "fe80::10".parse().unwrap();
        it.addresses = vec!["fe80::53".parse().unwrap()];
    };
    assert_eq!(fields(old), ["version"]);
    let halves = |it: &mut Settings| {
        it.version = Version::V2;
        it.interval = interval(Version::V3, 150);
    };
    assert_eq!(fields(halves), ["interval"]);
}

/// Nobody takes what it says: what finds no room is counted, and what it owns is never lost.
#[test]
fn vrrp_untaken_words_are_counted_and_ownership_stays() {
    let mut router = Router::new(settings(Version::V3));
    let mut now = Instant::ORIGIN;
    router.handle(now, Input::Started);
    for _ in 0..200 {
        now = router.next_deadline().unwrap();
        router.handle(now, Input::DeadlineReached);
    }
    router.handle(now, Input::LinkLost);
    assert!(router.unsaid() > 100);
    let actions: Vec<Action> = core::iter::from_fn(|| router.poll_action()).collect();
    assert_eq!(
        actions,
        [Action::Withdraw],
        "what is owned no more is not told"
    );
}
