//! What a burst must have asked and heard before it says anything, case by case (D6, D7, D8).

use super::{Doubt, ROUNDS_MIN, Suspicion, Tally, Terms, Verdict};
use crate::{Instant, NodeId, PortId};
use core::time::Duration;

mod window;

const LAN: PortId = PortId(1);
const WAN: PortId = PortId(2);
const ROUND: Duration = Duration::from_millis(1);
/// How long a late judge may start over: the dead interval.
const PATIENCE: Duration = Duration::from_millis(300);
/// Later than this is very late.
const SLACK: Duration = Duration::from_millis(5);
/// When the suspicion begins; the advertisement before it came 105 ms earlier.
const START_MS: u64 = 1_000;

fn at(millis_after_start: u64) -> Instant {
    Instant::from_millis(START_MS + millis_after_start)
}

fn terms() -> Terms {
    Terms {
        window: Duration::from_millis(4),
        round: ROUND,
        lapse_at: Instant::from_millis(START_MS - 105 + 300),
        overdue_at: Instant::from_millis(START_MS - 105 + 600),
        lease: PATIENCE,
        patience: PATIENCE * 2,
        pace: ROUND * 100,
        fence_whole: true,
        counted: true,
        fast: true,
    }
}

/// The judge wakes very late, then.
fn oversleep(open: &mut Suspicion, woken: Instant) {
    open.woke(woken, SLACK * 2, SLACK, PATIENCE);
}

fn suspicion(terms: Terms, segments: &[(PortId, bool)]) -> Suspicion {
    let tally = |(port, armed): &(PortId, bool)| Tally::new(*port, *armed, *armed);
    let segments = segments.iter().map(tally).collect();
    Suspicion::new(at(0), NodeId(1), Doubt::Carrier, terms, segments)
}

fn both_armed() -> Suspicion {
    suspicion(terms(), &[(LAN, true), (WAN, true)])
}

/// Sends one round a millisecond, `count` of them, the first at `from`; returns when to judge.
fn send_rounds(open: &mut Suspicion, from: u64, count: u64) -> Instant {
    for round in from..from + count {
        open.sent(at(round));
    }
    at(from + count)
}

/// A box that answers nothing is dead after three rounds and W: not one round earlier.
#[test]
fn suspicion_dead_after_three_unanswered_rounds_and_the_window() {
    let mut open = both_armed();
    for round in 0..4 {
        open.sent(at(round));
        assert_eq!(open.judge(at(round)), Verdict::Open, "round {round} is out");
    }
    assert_eq!(open.judge(at(4)), Verdict::Dead);
}

/// The window alone proves nothing: with two rounds sent, a second of silence is still open. A
/// judge that slept has asked nothing (facts: 51 ms of two owners came of this).
#[test]
fn suspicion_never_dead_by_time_alone() {
    let mut open = both_armed();
    let judged = send_rounds(&mut open, 0, u64::from(ROUNDS_MIN) - 1);
    for wait in [0, 10, 100, 400] {
        let later = judged.after(Duration::from_millis(wait));
        assert_eq!(open.judge(later), Verdict::Open, "{wait} ms later");
    }
    open.sent(at(402));
    assert_eq!(
        open.judge(at(402)),
        Verdict::Open,
        "its third question is only just out"
    );
    assert_eq!(open.judge(at(403)), Verdict::Dead);
}

/// A judge that woke late starts over: what was outstanding may have been answered while it slept,
/// so three fresh rounds and a fresh window must pass (D6).
#[test]
fn suspicion_late_judge_restarts_the_burst() {
    let mut open = both_armed();
    let judged = send_rounds(&mut open, 0, 3);
    oversleep(&mut open, at(53));
    assert_eq!(open.judge(judged.after(ROUND * 50)), Verdict::Open);
    for round in 53..57 {
        open.sent(at(round));
        assert_eq!(open.judge(at(round)), Verdict::Open, "round {round}");
    }
    assert_eq!(open.judge(at(57)), Verdict::Dead);
}

/// A judge that is late every time starts over for a dead interval, and then judges: lateness makes
/// it slow, not blind.
#[test]
fn suspicion_judge_that_is_always_late_judges_after_the_dead_interval() {
    let mut open = both_armed();
    let mut judged = None;
    for round in 0..100 {
        let woken = at(round * 7);
        oversleep(&mut open, woken);
        if open.judge(woken) == Verdict::Dead {
            judged.get_or_insert(round * 7);
        }
        open.sent(woken);
    }
    assert_eq!(judged, Some(315), "three rounds after the last restart");
}

/// Any answer of the kernel starts the count of unanswered rounds, and the window, over.
#[test]
fn suspicion_an_answer_starts_the_count_of_silence_over() {
    let mut open = both_armed();
    send_rounds(&mut open, 0, 3);
    open.unit_answered(LAN);
    let judged = send_rounds(&mut open, 3, 2);
    assert_eq!(open.judge(judged), Verdict::Open, "two since the answer");
    open.sent(at(5));
    open.sent(at(6));
    assert_eq!(open.judge(at(7)), Verdict::Dead);
}

/// Unit answers without a virtual one before them, three in a row, mean that the fence is closed.
/// Two do not.
#[test]
fn suspicion_lapsed_needs_three_unit_answers_without_a_virtual_one() {
    let mut open = both_armed();
    for round in 0..u64::from(ROUNDS_MIN) {
        assert_eq!(open.judge(at(round)), Verdict::Open, "{round} so far");
        open.sent(at(round));
        open.unit_answered(LAN);
        open.unit_answered(WAN);
    }
    assert_eq!(open.judge(at(3)), Verdict::Lapsed);
}

/// A virtual answer among them sets the count to zero: only three losses *in a row* could fool it.
#[test]
fn suspicion_virtual_answer_starts_the_lapse_over() {
    let mut open = both_armed();
    for round in 0..9 {
        open.sent(at(round));
        if round % 3 == 2 {
            open.virtual_answered(LAN);
        }
        open.unit_answered(LAN);
        open.unit_answered(WAN);
        assert_eq!(open.judge(at(round + 1)), Verdict::Open, "round {round}");
    }
}

/// One round counts once: a kernel that answers one question three times has not lapsed.
#[test]
fn suspicion_repeated_answers_of_one_round_count_once() {
    let mut open = suspicion(terms(), &[(LAN, true)]);
    open.sent(at(0));
    for _ in 0..10 {
        open.unit_answered(LAN);
    }
    assert_eq!(open.judge(at(1)), Verdict::Open);
}

/// A kernel that still answers for the virtual address owns it and forwards, whatever else is
/// silent: no verdict for as long as it does.
#[test]
fn suspicion_virtual_answer_vetoes_every_verdict() {
    let mut open = both_armed();
    for round in 0..700 {
        open.sent(at(round));
        open.virtual_answered(WAN);
        open.unit_answered(WAN);
        open.unit_answered(LAN);
        assert_eq!(open.judge(at(round + 1)), Verdict::Open, "round {round}");
    }
}

/// The veto of a segment that was not armed counts too: an owner is an owner.
#[test]
fn suspicion_virtual_answer_on_an_unarmed_segment_vetoes() {
    let mut open = suspicion(terms(), &[(LAN, true), (WAN, false)]);
    for round in 0..10 {
        open.sent(at(round));
        open.unit_answered(LAN);
        open.virtual_answered(WAN);
        open.unit_answered(WAN);
    }
    assert_eq!(open.judge(at(10)), Verdict::Open);
}

/// A segment whose cable is cut says nothing; the lapse seen on the other one is good for both,
/// since one lease serves all segments.
#[test]
fn suspicion_silent_armed_segment_does_not_block_a_lapse_elsewhere() {
    let mut open = both_armed();
    for round in 0..6 {
        open.sent(at(round));
        open.unit_answered(LAN);
    }
    assert_eq!(open.judge(at(6)), Verdict::Lapsed);
}

/// A segment that fell silent with two counted answers says nothing any more after five rounds.
#[test]
fn suspicion_segment_that_fell_silent_stops_blocking() {
    let mut open = both_armed();
    open.sent(at(0));
    open.virtual_answered(WAN);
    open.unit_answered(WAN);
    let mut lapsed_at = None;
    for round in 1..12 {
        open.sent(at(round));
        open.unit_answered(LAN);
        if open.judge(at(round + 1)) == Verdict::Lapsed {
            lapsed_at.get_or_insert(round);
        }
    }
    assert_eq!(lapsed_at, Some(5), "five rounds without the other segment");
}

/// Answers of a segment that was not armed before prove no lapse: its filter may have dropped the
/// virtual answer all along.
#[test]
fn suspicion_unarmed_segment_proves_no_lapse() {
    let mut open = suspicion(terms(), &[(LAN, false)]);
    for round in 0..100 {
        open.sent(at(round));
        open.unit_answered(LAN);
    }
    assert_eq!(open.judge(at(100)), Verdict::Open);
}

/// A box whose daemon is silent and whose kernel answers for its own address alone, but was never
/// asked before: no lapse is proven, yet nobody owns anything, and waiting for silence would be
/// waiting for ever.
#[test]
fn suspicion_unarmed_segment_with_a_closed_fence_is_overdue_in_time() {
    let mut open = suspicion(terms(), &[(LAN, false)]);
    let overdue = open.terms.overdue_at;
    let mut now = at(0);
    while now < overdue {
        assert_eq!(open.judge(now), Verdict::Open, "at {now}");
        open.sent(now);
        open.unit_answered(LAN);
        now = now.after(ROUND);
    }
    assert_eq!(open.judge(now), Verdict::Overdue);
    open.sent(now);
    open.virtual_answered(LAN);
    assert_eq!(
        open.judge(now.after(ROUND)),
        Verdict::Open,
        "it owns after all"
    );
}

/// Without kernel evidence (no armed segment, or a fence that was not whole) silence decides only
/// after the dead interval *and* the lease: not a millisecond earlier, and never as "dead".
#[test]
fn suspicion_without_evidence_is_overdue_only_after_dead_interval_and_lease() {
    let unfenced = Terms {
        fence_whole: false,
        counted: true,
        ..terms()
    };
    let blind = [
        suspicion(terms(), &[]),
        suspicion(terms(), &[(LAN, false)]),
        suspicion(unfenced, &[(LAN, true)]),
    ];
    for mut open in blind {
        let overdue = open.terms.overdue_at;
        let mut now = at(0);
        while now < overdue {
            assert_eq!(open.judge(now), Verdict::Open, "at {now}, {open:?}");
            open.sent(now);
            now = now.after(ROUND);
        }
        assert_eq!(open.judge(now), Verdict::Overdue);
    }
}

/// Overdue is no excuse for not asking: a judge that slept through the dead interval and the lease
/// asks three times before it says so.
#[test]
fn suspicion_overdue_needs_three_rounds_too() {
    let mut open = suspicion(terms(), &[]);
    open.sent(at(0));
    oversleep(&mut open, at(2_000));
    let judged = send_rounds(&mut open, 2_000, 2);
    assert_eq!(open.judge(judged), Verdict::Open);
    open.sent(at(2_002));
    assert_eq!(open.judge(at(2_003)), Verdict::Overdue);
}

/// When each of the first `count` rounds is sent while the kernel answers as the owner.
fn paced(open: &mut Suspicion, count: usize) -> Vec<u64> {
    let mut times = Vec::new();
    let mut now = at(0);
    for _ in 0..count {
        open.sent(now);
        times.push(now.since(at(0)).as_micros() as u64 / 1_000);
        now = open.next_round();
        open.virtual_answered(LAN);
        open.unit_answered(LAN);
    }
    times
}

/// A kernel that answers is asked each millisecond four times, then each 10 ms, and each
/// millisecond again from 12 ms before its lease can end: 31 rounds or so, not 190 (facts: a switch
/// that polices ARP shuts the port of whoever floods).
#[test]
fn suspicion_pace_slows_while_the_kernel_answers_and_speeds_up_before_the_lapse() {
    let mut open = both_armed();
    let times = paced(&mut open, 40);
    assert_eq!(times[..6], [0, 1, 2, 3, 4, 14], "fast, then slow");
    let lapse_ms = 195;
    let fast: Vec<u64> = times.iter().copied().filter(|at| *at >= 183).collect();
    assert_eq!(fast[0], 183, "12 ms before the lease can end");
    assert!(
        fast.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "each millisecond: {fast:?}"
    );
    let before = times.iter().filter(|at| **at < lapse_ms).count();
    assert!((30..=36).contains(&before), "{before} rounds: {times:?}");
}

/// A daemon that speaks may be about to arm its lease again: closed answers count from its last
/// word on (found by the explorer: two owners).
#[test]
fn suspicion_closed_answers_before_the_daemons_word_prove_no_lapse() {
    let mut open = both_armed();
    let mut round = 0;
    let mut closed = |open: &mut Suspicion| {
        open.sent(at(round));
        open.unit_answered(LAN);
        open.unit_answered(WAN);
        round += 1;
        open.judge(at(round))
    };
    assert_eq!([closed(&mut open), closed(&mut open)], [Verdict::Open; 2]);
    open.spoke();
    assert_eq!([closed(&mut open), closed(&mut open)], [Verdict::Open; 2]);
    assert_eq!(closed(&mut open), Verdict::Lapsed);
}

/// The first closed answer, and the first unanswered round, bring back the full pace.
#[test]
fn suspicion_pace_is_full_once_something_is_missing() {
    let mut closing = both_armed();
    paced(&mut closing, 6);
    closing.sent(at(30));
    closing.unit_answered(LAN);
    assert_eq!(closing.next_round(), at(31), "a closed answer");

    let mut silent = both_armed();
    paced(&mut silent, 6);
    silent.sent(at(40));
    silent.sent(at(50));
    assert_eq!(silent.next_round(), at(51), "an unanswered round");
}

/// That a living box would answer for its own address is all a proof of death needs, on one segment
/// alone; what was never asked of it, who owns the virtual address, proves no lapse either.
#[test]
fn suspicion_own_address_alone_arms_death_and_no_lapse() {
    let opened = |own| {
        let segments = vec![Tally::new(LAN, false, own), Tally::new(WAN, false, false)];
        Suspicion::new(at(0), NodeId(1), Doubt::Carrier, terms(), segments)
    };
    for (own, expected) in [(true, Verdict::Dead), (false, Verdict::Open)] {
        let mut open = opened(own);
        let judged = send_rounds(&mut open, 0, 10);
        assert_eq!(open.judge(judged), expected, "answered before: {own}");
    }
    let mut open = opened(true);
    for round in 0..10 {
        open.sent(at(round));
        open.unit_answered(LAN);
    }
    assert_eq!(open.judge(at(10)), Verdict::Open);
}

/// A third party's word is worth the daemon's own: three unanswered rounds and a window later the
/// box is dead, and silence decides by itself a whole patience later.
#[test]
fn suspicion_third_partys_word_begins_everything_anew() {
    let mut open = both_armed();
    let judged = send_rounds(&mut open, 0, 10);
    let _ = open.vouched(judged);
    assert_eq!(open.judge(judged), Verdict::Open, "it lives");
    let judged = send_rounds(&mut open, 11, 4);
    assert_eq!(open.judge(judged), Verdict::Dead, "and is dead after all");
    let mut blind = suspicion(terms(), &[(LAN, false)]);
    let _ = blind.vouched(at(400));
    let judged = send_rounds(&mut blind, 401, 200);
    assert_eq!(
        blind.judge(judged),
        Verdict::Open,
        "overdue by what was known before"
    );
    assert_eq!(blind.judge(at(1_000)), Verdict::Overdue);
}

/// What its kernel showed before is none of a living daemon's: no lapse is counted on from it.
#[test]
fn suspicion_third_partys_word_voids_a_lapse_half_shown() {
    let mut open = suspicion(terms(), &[(LAN, true)]);
    for round in 0..2 {
        open.sent(at(round));
        open.unit_answered(LAN);
    }
    let _ = open.vouched(at(2));
    open.sent(at(2));
    open.unit_answered(LAN);
    assert_eq!(open.judge(at(3)), Verdict::Open, "one closed answer since");
}

/// While somebody vouches one question an interval is enough; one that is not answered so is
/// followed by others at once.
#[test]
fn suspicion_vouched_for_is_asked_once_an_interval() {
    let mut open = both_armed();
    send_rounds(&mut open, 0, 600);
    assert_eq!(open.vouched(at(600)), at(699), "an interval after the last");
    open.sent(at(699));
    assert_eq!(open.next_round(), at(700));
    assert_eq!(open.vouched(at(799)), at(800), "a word that comes late");
}
