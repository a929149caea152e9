//! What a suite must be able to do: to fail, to know that it was not tried, and to excuse little.

use core::time::Duration;
use std::collections::BTreeSet;

use steadfast_core::Instant;

use super::*;

/// A machine that does as it was told by the test, whatever is done to it.
struct Puppet {
    shows: Vec<Observation>,
    /// How long each act takes.
    takes: Duration,
    now: Instant,
}

impl Machine for Puppet {
    type Error = &'static str;

    fn now(&self) -> Instant {
        self.now
    }

    fn act(&mut self, _: &Act, _: Instant) -> Result<Observation, Self::Error> {
        self.now = self.now.after(self.takes);
        self.shows.pop().ok_or("nothing more to show")
    }
}

/// A machine that shows what a statement wants, step by step.
fn obedient(statement: &Statement) -> Puppet {
    let wanted = statement.steps.iter().rev().map(|step| step.wanted.clone());
    Puppet {
        shows: wanted.collect(),
        takes: Duration::from_millis(1),
        now: Instant::ORIGIN,
    }
}

fn verdict(puppet: &mut Puppet, statement: &Statement, side: Side, known: &[Known]) -> Verdict {
    let played = play(puppet, statement).expect("enough to show");
    judge(statement, &played, side, known)
}

/// Every statement holds of a machine that does what it says, and none of one that shows nothing
/// at all: a statement that asks for nothing would say nothing.
#[test]
fn conformance_every_statement_can_hold_and_can_fail() {
    for statement in statements() {
        let mut machine = obedient(&statement);
        let found = verdict(&mut machine, &statement, Side::Kernel, &[]);
        assert_eq!(found, Verdict::Holds, "{}", statement.name);
        let mut dead = obedient(&statement);
        dead.shows.fill(Observation::new(Vec::new(), Told::Nothing));
        let found = verdict(&mut dead, &statement, Side::Kernel, &[]);
        let differs = matches!(found, Verdict::Differs(_));
        assert!(differs, "{} asks for nothing", statement.name);
    }
}

/// Names are unique, and what is known of the model is about a step that exists and differs.
#[test]
fn conformance_statements_and_differences_are_named_once() {
    let all = [statements(), falsehoods()].concat();
    let names: BTreeSet<_> = all.iter().map(|statement| statement.name).collect();
    assert_eq!(names.len(), all.len());
    assert!(statements().len() >= 20);
    for one in known() {
        let found = all
            .iter()
            .find(|statement| statement.name == one.statement)
            .unwrap_or_else(|| panic!("no statement {}", one.statement));
        assert_ne!(found.steps[one.step].wanted, one.model, "{}", one.statement);
        assert!(!one.why.is_empty());
    }
}

/// A known difference excuses the model alone, at its step alone, and must still be there.
#[test]
fn conformance_known_difference_is_held_to_as_well() {
    let statement = &statements()[0];
    let last = statement.steps.len() - 1;
    let nothing = Observation::new(Vec::new(), Told::Nothing);
    let known = [Known {
        statement: statement.name,
        step: last,
        model: nothing.clone(),
        why: "a test",
    }];
    let differing = || {
        let mut machine = obedient(statement);
        machine.shows[0] = nothing.clone();
        machine
    };
    let judged = |mut machine: Puppet, side| verdict(&mut machine, statement, side, &known);
    assert_eq!(judged(differing(), Side::Model), Verdict::Holds);
    let Verdict::Differs(found) = judged(differing(), Side::Kernel) else {
        panic!("Linux is never excused");
    };
    assert_eq!((found.step, found.seen), (last, nothing.clone()));
    let Verdict::Differs(vanished) = judged(obedient(statement), Side::Model) else {
        panic!("a difference that vanished is told");
    };
    assert_eq!(vanished.wanted, nothing);
}

/// A step that ended too late says nothing, and neither does what comes after it; what differed
/// before it counts.
#[test]
fn conformance_late_step_is_unknown_and_never_holds() {
    let statement = Statement::new("late", "a step has its time", "a test")
        .quietly(Act::Arm)
        .mark()
        .quietly(Act::Close)
        .by(Duration::from_millis(3))
        .quietly(Act::Close);
    let mut machine = obedient(&statement);
    let holds = verdict(&mut machine, &statement, Side::Kernel, &[]);
    assert_eq!(holds, Verdict::Holds);
    let slow = |shows_wrong_at: Option<usize>| {
        let mut machine = obedient(&statement);
        machine.takes = Duration::from_millis(2);
        if let Some(at) = shows_wrong_at {
            machine.shows[at].told = Told::Refused;
        }
        verdict(&mut machine, &statement, Side::Kernel, &[])
    };
    let late = Verdict::Unknown(1, Duration::from_millis(1));
    assert_eq!(slow(None), late);
    assert_eq!(slow(Some(0)), late, "after it");
    assert_eq!(slow(Some(1)), late, "itself");
    assert!(matches!(slow(Some(2)), Verdict::Differs(_)), "before it");
}

/// Reports of groups are read from both versions, and are no part of what a step observes.
#[test]
fn conformance_reports_are_read_and_left_out() {
    use steadfast_core::wire::ndisc;
    let address = "fe80::1".parse().expect("an address");
    let group = "ff02::1:ff00:1".parse().expect("a group");
    for frame in [
        ndisc::mld1_report(ground::CLIENT.mac, address, group),
        ndisc::mld2_report(ground::CLIENT.mac, address, group),
    ] {
        assert_eq!(groups(&frame), [group]);
        let seen = Seen::read(ground::LAN, &frame).expect("a frame");
        assert_eq!(seen.what, What::Report);
        let observed = Observation::new(vec![seen], Told::Nothing);
        assert_eq!(observed.frames, []);
        for len in 0..frame.len() {
            let _ = groups(&frame[..len]);
        }
    }
}
