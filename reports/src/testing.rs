//! Hand-made outcomes for tests: small, and not as any world would make them.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, process};

use steadfast_core::Instant;
use steadfast_scenarios::trace::TraceHash;
use steadfast_scenarios::{Finding, Verdict, Violation};
use steadfast_sim::campaign::Outcome;
use steadfast_sim::stage::Cost;

use crate::runs::Run;

/// A run that passed: 11.25 ms of outage in 6 s; the trace hash follows the seed.
pub(crate) fn outcome(scenario: &str, seed: u64) -> Outcome {
    let mut hash = [0xab; 32];
    hash[..8].copy_from_slice(&seed.to_be_bytes());
    Outcome {
        scenario: scenario.to_owned(),
        seed,
        verdict: Verdict::Pass,
        findings: vec![finding("at_most_one_active", Verdict::Pass)],
        trace: TraceHash(hash),
        event_count: 1000,
        outage: Some(Duration::from_micros(11_250)),
        cost: Cost {
            hops: 5000,
            simulated: Duration::from_secs(6),
            overflowed: false,
        },
    }
}

/// The same with another verdict, for which this oracle is the reason.
pub(crate) fn judged(scenario: &str, seed: u64, verdict: Verdict, oracle: &str) -> Run {
    let mut outcome = outcome(scenario, seed);
    outcome.verdict = verdict;
    outcome.findings.push(finding(oracle, verdict));
    outcome.into()
}

/// What an oracle found, on the stream `out`.
pub(crate) fn finding(oracle: &str, verdict: Verdict) -> Finding {
    let violation = Violation {
        from: Instant::from_millis(3000),
        until: Instant::from_millis(3022),
        text: "22 ms, allowed are 12".to_owned(),
    };
    Finding {
        oracle: oracle.to_owned(),
        scope: "out".to_owned(),
        expectation: None,
        verdict,
        armed: verdict != Verdict::Unknown,
        first_violation: (verdict == Verdict::Fail).then_some(violation),
        violation_count: u32::from(verdict == Verdict::Fail),
        longest_ns: 22_000_000,
        evidence: "never armed".to_owned(),
    }
}

/// A folder of its own that goes with the value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("steadfast-{name}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
