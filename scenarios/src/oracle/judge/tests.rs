//! The judge: which oracles watch, and how findings are weighed.

use steadfast_core::role::EffectiveRole::{Active, Standby};

use super::super::testing::{A, B, LAN, Tape, plan};
use super::*;
use crate::trace::{FrameKind, SourceKind};

const OUTAGE: &str = "oracle = \"outage\"\nscope = \"out\"\nmax = \"12ms\"";

fn verdict(findings: &[Finding], oracle: &str) -> Verdict {
    let found = findings.iter().find(|finding| finding.oracle == oracle);
    found.expect("the oracle must be seated").verdict
}

/// A node that lies about its role deceives no oracle that judges by the wire, in a failing run as
/// in a passing one; only those whose matter the words are tell of it.
#[test]
fn judge_lying_node_deceives_no_wire_oracle() {
    let wire = [
        "at_most_one_active",
        "standby_is_silent",
        "pacified_stays_out",
        "outage",
    ];
    for broken in [false, true] {
        let story = |lies: bool| {
            let mut tape = Tape::running(A);
            tape.probes(0..2900, 0).at(10);
            tape.says(A, if lies { Standby } else { Active });
            tape.says(B, if lies { Active } else { Standby });
            if broken {
                let what = SourceKind::Announcement;
                tape.at(1000).event(EventKind::VirtualSource {
                    segment: LAN,
                    gateway: B,
                    what,
                });
                tape.owns(B, true).at(1100).owns(B, false);
            }
            tape.findings(OUTAGE)
        };
        let (honest, lying) = (story(false), story(true));
        for oracle in wire {
            assert_eq!(
                verdict(&honest, oracle),
                verdict(&lying, oracle),
                "{oracle}"
            );
        }
        let expected = if broken { Verdict::Fail } else { Verdict::Pass };
        assert_eq!(verdict(&lying, "at_most_one_active"), expected);
        assert_eq!(verdict(&honest, "status_truthful"), Verdict::Pass);
        assert_eq!(verdict(&lying, "status_truthful"), Verdict::Fail);
    }
}

/// Five oracles watch every run though no file lists them; a listed one takes the default's place.
#[test]
fn judge_seats_the_ones_that_always_watch() {
    let always: Vec<String> = Tape::running(A)
        .findings(OUTAGE)
        .into_iter()
        .filter(|finding| finding.expectation.is_none())
        .map(|finding| finding.oracle)
        .collect();
    let expected: Vec<&str> = Check::ALWAYS.iter().map(Check::name).collect();
    assert_eq!(always, expected);
    let findings = Tape::running(A).findings("oracle = \"at_most_one_active\"");
    let count = findings
        .iter()
        .filter(|it| it.oracle == "at_most_one_active")
        .count();
    assert_eq!((count, findings.len()), (1, 5));
}

/// One that always watches and never was armed passes and says so; an expectation is unknown.
#[test]
fn judge_unarmed_default_passes_and_says_so() {
    let findings = Tape::new().findings(OUTAGE);
    assert_eq!(verdict(&findings, "at_most_one_active"), Verdict::Pass);
    assert!(
        findings
            .iter()
            .all(|it| !it.armed && it.evidence.contains("never armed"))
    );
    assert_eq!(verdict(&findings, "outage"), Verdict::Unknown);
    assert_eq!(Verdict::of(&findings), Verdict::Unknown);
}

/// A relaxed oracle still reports, and tolerates what it was told to and nothing longer.
#[test]
fn judge_tolerates_what_the_file_allows() {
    let allowing = |allow: &str| {
        let expect =
            format!("oracle = \"at_most_one_active\"\nallow = \"{allow}\"\nreason = \"x\"");
        let mut tape = Tape::running(A);
        tape.at(1000).owns(B, true).at(1010).owns(A, false);
        tape.finding("at_most_one_active", &expect)
    };
    for (allow, expected) in [
        ("any", Verdict::Pass),
        ("10ms", Verdict::Pass),
        ("9ms", Verdict::Fail),
    ] {
        let finding = allowing(allow);
        assert_eq!(finding.verdict, expected, "{allow}");
        assert!(finding.first_violation.is_some(), "still reported");
    }
    assert!(allowing("any").evidence.contains("tolerated: x"));
}

/// Evidence with a hole proves nothing, neither right nor wrong.
#[test]
fn judge_blind_world_is_unknown() {
    let mut tape = Tape::running(A);
    tape.at(1000).owns(B, true).at(1010);
    tape.event(EventKind::Blind {
        since: Instant::from_millis(990),
        why: "stall".to_owned(),
    });
    let findings = tape.findings(OUTAGE);
    assert!(
        findings
            .iter()
            .all(|finding| finding.verdict == Verdict::Unknown)
    );
    assert!(findings[0].evidence.contains("blind since 0.990s: stall"));
    let mut tape = Tape::running(A);
    tape.owns(NodeId(9), true);
    let findings = tape.findings(OUTAGE);
    assert!(
        findings
            .iter()
            .all(|finding| finding.verdict == Verdict::Unknown)
    );
}

/// A step that could not run opens no window.
#[test]
fn judge_step_not_done_opens_no_window() {
    let expect = "oracle = \"exactly_one_active\"\nafter = \"cut\"";
    let mut tape = Tape::running(A);
    tape.at(1000)
        .step_told("cut", false)
        .at(1100)
        .owns(A, false);
    assert_eq!(
        tape.finding("exactly_one_active", expect).verdict,
        Verdict::Unknown
    );
}

/// A tolerance is added to every bound on time.
#[test]
fn judge_tolerance_widens_bounds() {
    let plan = plan("oracle = \"exactly_one_active\"\nafter = \"cut\"\nwithin = \"10ms\"");
    let mut tape = Tape::running(A);
    tape.at(1000)
        .step("cut")
        .owns(A, false)
        .at(1015)
        .owns(B, true);
    for (tolerance, expected) in [(0, Verdict::Fail), (5, Verdict::Pass)] {
        let mut judge = Judge::tolerating(&plan, Duration::from_millis(tolerance));
        tape.events().iter().for_each(|event| judge.observe(event));
        let findings = judge.finish(Instant::from_millis(3000));
        assert_eq!(verdict(&findings, "exactly_one_active"), expected);
    }
}

/// It is added to what a file allows as well, if that is a time without an owner; two owners are
/// none the better for a slow host.
#[test]
fn judge_tolerance_never_excuses_two_owners() {
    let judged = |oracle: &str, second: bool| {
        let expect = format!("oracle = \"{oracle}\"\nallow = \"5ms\"\nreason = \"x\"");
        let mut tape = Tape::running(A);
        tape.at(1000).owns(if second { B } else { A }, second);
        tape.at(1008).owns(if second { A } else { B }, !second);
        let mut judge = Judge::tolerating(&plan(&expect), Duration::from_millis(5));
        tape.events().iter().for_each(|event| judge.observe(event));
        verdict(&judge.finish(Instant::from_millis(3000)), oracle)
    };
    assert_eq!(judged("exactly_one_active", false), Verdict::Pass);
    assert_eq!(judged("at_most_one_active", true), Verdict::Fail);
}

/// An expectation about traffic that names no stream is about each of them.
#[test]
fn judge_outage_without_scope_is_every_stream() {
    let findings = Tape::running(A).findings("oracle = \"outage\"\nmax = \"1s\"");
    let scopes: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.oracle == "outage")
        .map(|finding| finding.scope.as_str())
        .collect();
    assert_eq!(scopes, ["out", "back", "ping_lan", "ping_wan"]);
}

/// A whole planned hand-over is right in every oracle's eyes.
#[test]
fn judge_planned_handover_passes_everywhere() {
    let mut tape = Tape::running(A);
    tape.says(A, Active).says(B, Standby).probes(0..2900, 0);
    tape.at(1000).step("cut").frame(FrameKind::Offer, A);
    tape.at(1003)
        .owns(B, true)
        .says(B, Active)
        .frame(FrameKind::Claim, B);
    tape.at(1033)
        .owns(A, false)
        .says(A, Standby)
        .frame(FrameKind::Released, A);
    // The test's probes go through a; after the hand-over b carries them.
    tape.carried_by(B, 1040);
    for finding in tape.findings(OUTAGE) {
        assert_eq!(finding.verdict, Verdict::Pass, "{finding:?}");
    }
}
