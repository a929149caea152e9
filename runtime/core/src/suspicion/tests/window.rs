//! How long nothing must answer, and what is none of that time (D6, D7).

use super::*;

/// Three rounds within less than W prove nothing either: the window is for the slow answer.
#[test]
fn suspicion_never_dead_before_the_window_is_over() {
    let slow = Terms {
        window: Duration::from_millis(20),
        ..terms()
    };
    let mut open = suspicion(slow, &[(LAN, true)]);
    let judged = send_rounds(&mut open, 0, 19);
    assert_eq!(open.judge(judged), Verdict::Open);
    open.sent(at(19));
    assert_eq!(open.judge(at(20)), Verdict::Dead);
}

/// The window is time in which the judge was awake: what it slept beyond a round, and what came
/// meanwhile and was lost, proves nothing. A little late is no sleep, and a judge that is always
/// late judges all the same.
#[test]
fn suspicion_window_does_not_count_what_the_judge_slept() {
    let opened = |late: u64, woken: u64| {
        let mut open = both_armed();
        for round in 0..3 {
            open.sent(at(round));
        }
        open.woke(at(woken), Duration::from_millis(late), SLACK, PATIENCE);
        [open.judge(at(7)), open.judge(at(8))]
    };
    assert_eq!(opened(4, 6), [Verdict::Open, Verdict::Dead]);
    assert_eq!(opened(1, 3), [Verdict::Dead; 2]);
    let late = u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
    let mut open = both_armed();
    (0..3).for_each(|round| open.sent(at(late + round)));
    open.woke(at(late + 6), Duration::from_millis(4), SLACK, PATIENCE);
    assert_eq!(open.judge(at(late + 7)), Verdict::Dead);
}

/// A window that long ways have widened begins anew when the judge hears at last, and what went by
/// until then is none of the dead interval twice: it ends with what is left of it. One of the ways
/// is waited for in any case, and a window that is shorter than what is left stays as it is.
#[test]
fn suspicion_window_after_late_reception_ends_with_the_dead_interval() {
    let millis = Duration::from_millis;
    for (window, left, expected) in [
        (264, 200, 200),
        (264, 40, 132),
        (264, 300, 264),
        (4, 200, 4),
    ] {
        let terms = Terms {
            window: millis(window),
            ..terms()
        };
        let mut open = suspicion(terms, &[(LAN, true), (WAN, true)]);
        send_rounds(&mut open, 0, 100);
        open.heard(millis(left));
        let ends = send_rounds(&mut open, 100, expected);
        assert_eq!(
            open.judge(at(99 + expected)),
            Verdict::Open,
            "{window} {left}"
        );
        assert_eq!(open.judge(ends), Verdict::Dead, "{window} {left}");
    }
}
