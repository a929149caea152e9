//! The doctor tells the truth about this machine, fast enough to be asked each time.

#![expect(
    clippy::unwrap_used,
    reason = "a test without a harness is still a test"
)]

mod common;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use steadfast_netlab::LabError;
use steadfast_netlab::doctor::{Finding, examine, offers, visit};
use steadfast_netlab::enter::Stage;
use steadfast_scenarios::format::Capability;

fn main() -> ExitCode {
    common::main(
        &[("doctor_refused_entrance_is_the_finding", refused)],
        &[("doctor_knows_what_faults_need", truth)],
    )
}

/// Where the other tests of this crate pass, everything that the lab cannot do without works, and
/// all faults of wires are offered. What does not work says what to do about it.
fn truth() {
    let start = Instant::now();
    let findings = examine();
    println!("examined in {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(5));
    for finding in &findings {
        println!("{finding:?}");
        assert!(finding.works || finding.optional, "{finding:?}");
        assert_eq!(finding.works, finding.cure.is_empty(), "{finding:?}");
        assert_eq!(finding.works, finding.seen.is_empty(), "{finding:?}");
    }
    let offers = offers(&findings);
    for wanted in [Capability::Carrier, Capability::Silence, Capability::Power] {
        assert!(offers.contains(&wanted), "{wanted:?}");
    }
    let json = serde_json::to_string(&findings).unwrap();
    assert_eq!(
        serde_json::from_str::<Vec<Finding>>(&json).unwrap(),
        findings
    );
}

/// Nobody is sent looking for a missing module where already the door was shut; and a lab that
/// cannot be entered offers nothing.
fn refused() {
    let findings = visit(|| {
        Err(LabError::Enter {
            stage: Stage::UidMap,
            source: std::io::Error::from_raw_os_error(1),
            cure: "open the door".to_owned(),
        })
    });
    assert_eq!(findings.len(), 1);
    assert!(!findings[0].works && !findings[0].optional);
    assert_eq!(findings[0].cure, "open the door");
    assert!(offers(&findings).is_empty());
}
