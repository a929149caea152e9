//! Statuses that are so, and statuses that lie.

use steadfast_core::role::EffectiveRole::{self, Active, Standby};
use steadfast_core::{Epoch, Instant, PortId};

use super::super::testing::{A, B, Tape};
use super::super::{Finding, Verdict};
use crate::trace::{EventKind, ProcessState};

fn judged(tape: &Tape) -> Finding {
    tape.finding(
        "status_truthful",
        "oracle = \"status_truthful\"\nwithin = \"200ms\"",
    )
}

fn failure(tape: &Tape) -> String {
    let finding = judged(tape);
    assert_eq!(finding.verdict, Verdict::Fail);
    finding.first_violation.unwrap().text
}

fn status(role: EffectiveRole, since: u64, why: &str) -> EventKind {
    let (since, why) = (Instant::from_millis(since), why.to_owned());
    EventKind::Status {
        gateway: A,
        role,
        since,
        epoch: Epoch(1),
        why,
    }
}

/// Words that follow deeds within the bound are true.
#[test]
fn status_truthful_failover_passes() {
    let mut tape = Tape::running(A);
    tape.says(A, Active).says(B, Standby);
    tape.at(1000)
        .owns(A, false)
        .owns(B, true)
        .at(1100)
        .says(A, Standby)
        .says(B, Active);
    let finding = judged(&tape);
    assert_eq!((finding.verdict, finding.armed), (Verdict::Pass, true));
}

/// A node that says active and owns nothing lies, and so does one that owns and says standby.
#[test]
fn status_truthful_wrong_role_fails() {
    let mut tape = Tape::running(A);
    tape.says(B, Active);
    assert_eq!(failure(&tape), "b says active and answers for nothing");
    let mut tape = Tape::running(A);
    tape.says(A, Standby);
    assert_eq!(
        failure(&tape),
        "a says Some(Standby) and answers for a virtual address"
    );
}

/// Why must be told; since must be neither in the future nor long before the role it followed.
#[test]
fn status_truthful_why_and_since() {
    let mut tape = Tape::running(A);
    tape.event(status(Active, 0, ""));
    assert_eq!(failure(&tape), "a does not say why");
    let mut tape = Tape::running(A);
    tape.event(status(Active, 5000, "boot"));
    assert_eq!(failure(&tape), "a says since 5.000s, in the future");
    let mut tape = Tape::running(A);
    tape.event(status(Active, 0, "boot"))
        .at(1000)
        .owns(A, false);
    tape.event(status(Standby, 0, "yielded"));
    assert_eq!(
        judged(&tape).verdict,
        Verdict::Pass,
        "said at once: since is near enough"
    );
    tape.at(1500)
        .owns(A, true)
        .event(status(Active, 100, "claimed"));
    assert!(failure(&tape).contains("when it said Standby at 1.000s"));
}

/// A dead peer is shown with its age (F69): neither young nor active.
#[test]
fn status_truthful_dead_peer() {
    let shows = |role, age_ms: u64| EventKind::PeerStatus {
        gateway: B,
        peer: A,
        role,
        age: Some(age_ms * 1_000_000),
    };
    let dead = || {
        let mut tape = Tape::running(A);
        tape.at(1000).owns(A, false).reachable(A, false);
        tape.event(EventKind::Process {
            gateway: A,
            state: ProcessState::Killed,
        });
        tape.at(3000);
        tape
    };
    let mut tape = dead();
    tape.event(shows(None, 2000));
    assert_eq!(judged(&tape).verdict, Verdict::Pass);
    let mut tape = dead();
    tape.event(shows(None, 100));
    assert_eq!(failure(&tape), "b shows a younger than its end at 1.000s");
    let mut tape = dead();
    tape.event(shows(Some(Active), 2000));
    assert_eq!(failure(&tape), "b shows a active, it is down");
}

/// Nobody says anything: nothing proven.
#[test]
fn status_truthful_mute_is_unknown() {
    assert_eq!(judged(&Tape::running(A)).verdict, Verdict::Unknown);
}

/// What is said of a port's carrier may be old by the bound and a second, by no more; of a daemon
/// that stands still nobody expects it.
#[test]
fn status_truthful_port_words_follow_the_carrier() {
    let carrier = |up| EventKind::Carrier {
        gateway: A,
        port: PortId(0),
        up,
    };
    let said = |up| EventKind::PortStatus {
        gateway: A,
        port: PortId(0),
        up,
    };
    let told = |late: Option<u64>, stopped: bool| {
        let mut tape = Tape::running(A);
        tape.says(A, Active).says(B, Standby);
        tape.event(carrier(true)).event(said(true));
        if stopped {
            tape.at(400).event(EventKind::Process {
                gateway: A,
                state: ProcessState::Stopped,
            });
        }
        tape.at(500).event(carrier(false));
        if let Some(late) = late {
            tape.at(500 + late).event(said(false));
        }
        judged(&tape)
    };
    assert_eq!(told(Some(1_150), false).verdict, Verdict::Pass);
    assert_eq!(told(None, true).verdict, Verdict::Pass);
    let wrong = told(Some(1_250), false);
    assert_eq!(wrong.verdict, Verdict::Fail);
    let text = wrong.first_violation.unwrap().text;
    assert_eq!(text, "a says of port 0 what is not so");
}
