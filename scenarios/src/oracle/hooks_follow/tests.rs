//! Hooks on hand-made traces.

use steadfast_core::hooks::Level;
use steadfast_core::{Epoch, NodeId};

use super::super::testing::{A, B, Tape};
use super::super::{Finding, Verdict};
use crate::trace::{EventKind, HookPhase};

const EXPECT: &str = "oracle = \"hooks_follow\"\nwithin = \"500ms\"";

fn judged(tape: &Tape) -> Finding {
    let hooks = "hooks = [{ name = \"cloud\" }, { name = \"uplink\" }]";
    tape.finding_with("hooks_follow", hooks, EXPECT)
}

fn hook(gateway: NodeId, hook: &str, level: Level, phase: HookPhase) -> EventKind {
    EventKind::Hook {
        gateway,
        hook: hook.to_owned(),
        level,
        epoch: Epoch(u64::from(gateway.0)),
        again: false,
        phase,
    }
}

/// A serves, and everything points at it.
fn served() -> Tape {
    let mut tape = Tape::running(A);
    runs(&mut tape, A, "cloud", Level::Active);
    runs(&mut tape, A, "uplink", Level::Active);
    tape
}

fn runs(tape: &mut Tape, gateway: NodeId, name: &str, level: Level) {
    tape.event(hook(gateway, name, level, HookPhase::Began))
        .event(hook(gateway, name, level, HookPhase::Done));
}

/// What the owner's hook points at it passes; the old owner's takes nothing away then.
#[test]
fn hooks_follow_at_the_owner_passes() {
    let mut tape = served();
    tape.at(1000).owns(A, false).owns(B, true);
    runs(tape.at(1200), B, "cloud", Level::Active);
    runs(tape.at(1205), B, "uplink", Level::Active);
    runs(tape.at(1210), A, "uplink", Level::Standby);
    runs(tape.at(1220), A, "cloud", Level::Standby);
    let finding = judged(&tape);
    assert_eq!((finding.verdict, finding.armed), (Verdict::Pass, true));
    assert_eq!(finding.evidence, "cloud at b, uplink at b");
}

/// A slow run of the loser that ends last, and nobody mends it (F03).
#[test]
fn hooks_follow_at_the_loser_fails() {
    let mut tape = served();
    tape.at(900)
        .event(hook(A, "cloud", Level::Active, HookPhase::Began));
    tape.at(1000).owns(A, false).owns(B, true);
    runs(tape.at(1100), B, "cloud", Level::Active);
    runs(tape.at(1100), B, "uplink", Level::Active);
    tape.at(1300)
        .event(hook(A, "cloud", Level::Active, HookPhase::Done));
    let finding = judged(&tape);
    assert_eq!(finding.verdict, Verdict::Fail);
    let violation = finding.first_violation.unwrap();
    assert_eq!(violation.from.as_nanos(), 1_800_000_000);
    assert_eq!(violation.text, "cloud points at a, not at the owner");
}

/// A hook that failed has pointed nothing.
#[test]
fn hooks_follow_failed_run_points_nowhere() {
    let mut tape = served();
    tape.at(1000).owns(A, false).owns(B, true);
    tape.at(1100)
        .event(hook(B, "cloud", Level::Active, HookPhase::Began));
    tape.at(1200)
        .event(hook(B, "cloud", Level::Active, HookPhase::Failed));
    runs(tape.at(1200), B, "uplink", Level::Active);
    let finding = judged(&tape);
    let violation = finding.first_violation.unwrap();
    assert_eq!(violation.text, "cloud points at a, not at the owner");
}

/// An uplink that its own gateway hung up while it serves.
#[test]
fn hooks_follow_taken_away_fails() {
    let mut tape = served();
    runs(tape.at(1000), A, "uplink", Level::Standby);
    let violation = judged(&tape).first_violation.unwrap();
    assert_eq!(violation.text, "uplink points at nobody, not at the owner");
}

/// A hook that never ran points nowhere, either.
#[test]
fn hooks_follow_never_run_fails() {
    let mut tape = Tape::running(A);
    runs(&mut tape, A, "cloud", Level::Active);
    let violation = judged(&tape).first_violation.unwrap();
    assert_eq!(violation.text, "uplink points at nobody, not at the owner");
}

/// The second hook is not run before the first.
#[test]
fn hooks_follow_out_of_order_fails() {
    let mut tape = Tape::running(A);
    runs(tape.at(10), A, "uplink", Level::Active);
    runs(tape.at(20), A, "cloud", Level::Active);
    let violation = judged(&tape).first_violation.unwrap();
    assert_eq!(violation.text, "on a the hook uplink began before cloud");
}

/// When a node does not serve the order is the opposite one.
#[test]
fn hooks_follow_opposite_order_of_standby() {
    let mut tape = served();
    runs(tape.at(10), B, "uplink", Level::Standby);
    runs(tape.at(20), B, "cloud", Level::Standby);
    assert_eq!(judged(&tape).verdict, Verdict::Pass);
    let mut tape = served();
    runs(tape.at(10), B, "cloud", Level::Standby);
    assert_eq!(judged(&tape).verdict, Verdict::Fail);
}

/// A node that answers for nothing and says that it serves.
#[test]
fn hooks_follow_active_without_address_fails() {
    let mut tape = served();
    tape.at(100)
        .event(hook(B, "cloud", Level::Active, HookPhase::Began));
    let violation = judged(&tape).first_violation.unwrap();
    assert_eq!(
        violation.text,
        "b serves nothing and told its hook cloud else"
    );
}

/// Without anybody to point at nothing is proven.
#[test]
fn hooks_follow_without_owner_is_unknown() {
    let mut tape = Tape::running(A);
    tape.owns(A, false);
    runs(&mut tape, B, "uplink", Level::Standby);
    let finding = judged(&tape);
    assert_eq!((finding.verdict, finding.armed), (Verdict::Unknown, false));
}
