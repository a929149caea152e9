//! Which step runs when, and on whom.

use super::*;
use crate::format::Scenario;
use crate::oracle::testing::{A, B, Tape};
use crate::trace::Names;

const HEAD: &str = "format = 1\nname = \"x\"\ntitle = \"x\"\nduration = \"9s\"\n";

fn plan(steps: &str) -> Plan {
    Scenario::parse("x.toml", &format!("{HEAD}{steps}"))
        .unwrap()
        .plan()
        .clone()
}

fn picture(plan: &Plan, tape: &Tape) -> Picture {
    let mut picture = Picture::new(&Names::of(plan));
    tape.events()
        .iter()
        .for_each(|event| picture.observe(event));
    picture
}

const fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// The active is found on wire evidence when the step runs, and its name keeps meaning it.
#[test]
fn schedule_active_is_resolved_once() {
    let plan = plan(
        "[[step]]\nname = \"cut\"\nat = \"1s\"\ndo = \"link_down\"\ntarget = \"active.lan\"\n\
         [[step]]\nafter = \"cut + 500ms\"\ndo = \"link_up\"\ntarget = \"cut.target.lan\"\n",
    );
    let mut schedule = Schedule::new(&plan);
    assert_eq!(schedule.next_deadline(), Some(ms(1000)));
    let before = picture(&plan, &Tape::running(B));
    assert_eq!(schedule.poll(ms(999), &before), None);
    let due = schedule.poll(ms(1000), &before).unwrap();
    assert_eq!(due.subject, Some(Subject::Port(B, PortId(0))));
    assert_eq!((due.index, due.target.as_str()), (0, "b.lan"));
    assert_eq!(schedule.poll(ms(1000), &before), None);
    let after = picture(&plan, &Tape::running(A));
    assert_eq!(schedule.next_deadline(), Some(ms(1500)));
    let due = schedule.poll(ms(1500), &after).unwrap();
    assert_eq!(
        due.subject,
        Some(Subject::Port(B, PortId(0))),
        "still the one that was cut"
    );
    assert_eq!(schedule.next_deadline(), None);
}

/// With nobody active, a step on the active is due without a subject.
#[test]
fn schedule_without_active_has_no_subject() {
    let plan = plan("[[step]]\nat = \"1s\"\ndo = \"kill\"\ntarget = \"active\"\n");
    let mut schedule = Schedule::new(&plan);
    let due = schedule
        .poll(ms(1000), &picture(&plan, &Tape::new()))
        .unwrap();
    assert_eq!((due.subject, due.target.as_str()), (None, "active"));
}

/// A frame sets a step off only if it is the right one, from the right node, after the right step.
#[test]
fn schedule_frame_sets_a_step_off() {
    let plan = plan(
        "[[step]]\nname = \"ask\"\nat = \"1s\"\ndo = \"kill\"\ntarget = \"active\"\n\
         [[step]]\nname = \"cut\"\ndo = \"switch_off\"\ntarget = \"lan\"\n\
         on = { frame = \"offer\", from = \"ask.target\", after = \"ask\", count = 2, \
         wait = \"3ms\" }\n",
    );
    let mut schedule = Schedule::new(&plan);
    let picture = picture(&plan, &Tape::running(A));
    assert!(!schedule.wants_frames(), "nothing before the command");
    schedule.frame_seen(ms(900), FrameKind::Offer, A, &picture);
    assert!(schedule.poll(ms(1000), &picture).is_some());
    assert!(schedule.wants_frames());
    schedule.frame_seen(ms(1001), FrameKind::Offer, A, &picture);
    schedule.frame_seen(ms(1002), FrameKind::Claim, A, &picture);
    schedule.frame_seen(ms(1003), FrameKind::Offer, B, &picture);
    assert_eq!(schedule.next_deadline(), None);
    schedule.frame_seen(ms(1004), FrameKind::Offer, A, &picture);
    assert_eq!(schedule.next_deadline(), Some(ms(1007)));
    assert!(!schedule.wants_frames());
    let due = schedule.poll(ms(1007), &picture).unwrap();
    assert_eq!((due.target.as_str(), due.index), ("lan", 1));
}

/// Steps of one instant run in the file's order.
#[test]
fn schedule_same_instant_keeps_the_files_order() {
    let plan = plan(
        "[[step]]\nname = \"late\"\nat = \"2s\"\ndo = \"kill\"\ntarget = \"a\"\n\
         [[step]]\nname = \"first\"\nat = \"1s\"\ndo = \"kill\"\ntarget = \"b\"\n\
         [[step]]\nname = \"second\"\nafter = \"first\"\ndo = \"start\"\ntarget = \"b\"\n",
    );
    let mut schedule = Schedule::new(&plan);
    let picture = picture(&plan, &Tape::running(A));
    let order: Vec<usize> = core::iter::from_fn(|| schedule.poll(ms(2000), &picture))
        .map(|due| due.index)
        .collect();
    assert_eq!(order, [1, 0, 2]);
}

/// A world may be ready for a frame before the step that it hangs on has run.
#[test]
fn schedule_foresees_whom_a_frame_will_strike() {
    let plan = plan(
        "[[step]]\nname = \"ask\"\nat = \"1s\"\ndo = \"kill\"\ntarget = \"active\"\n\
         [[step]]\nname = \"die\"\ndo = \"power_off\"\ntarget = \"ask.target\"\n\
         on = { frame = \"offer\", after = \"ask\" }\n\
         [[step]]\nname = \"later\"\ndo = \"power_off\"\ntarget = \"b\"\n\
         on = { frame = \"claim\", after = \"ask\", wait = \"1ms\" }\n",
    );
    let mut schedule = Schedule::new(&plan);
    let picture = picture(&plan, &Tape::running(A));
    let foreseen = |schedule: &Schedule, at| schedule.expectant(at, &picture).collect::<Vec<_>>();
    assert_eq!(foreseen(&schedule, ms(999)), []);
    let offered = [(1, FrameKind::Offer, Subject::Gateway(A))];
    assert_eq!(foreseen(&schedule, ms(1000)), offered);
    assert!(schedule.poll(ms(1000), &picture).is_some());
    assert_eq!(foreseen(&schedule, ms(1000)), offered);
    assert!(schedule.expects(1, FrameKind::Offer) && !schedule.expects(1, FrameKind::Claim));
    schedule.frame_seen(ms(1001), FrameKind::Offer, A, &picture);
    assert_eq!(foreseen(&schedule, ms(1001)), [], "it is set off");
    assert!(!schedule.expects(1, FrameKind::Offer));
    let due = schedule.poll(ms(1003), &picture).unwrap();
    assert_eq!((due.index, due.at), (1, ms(1001)));
}
