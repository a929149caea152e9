//! One run, judged: what every campaign, test and report is made of.

use core::time::Duration;
use std::io::Write;

use steadfast_core::Rules;
use steadfast_scenarios::format::{Plan, Scenario};
use steadfast_scenarios::trace::{Event, TraceHash, TraceWriter};
use steadfast_scenarios::{Finding, Gaps, Judge, Verdict};

use crate::fast;

/// What a run amounted to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Over all findings.
    pub verdict: Verdict,
    /// What each oracle found.
    pub findings: Vec<Finding>,
    /// Equal for two runs exactly if they were equal event by event.
    pub trace: TraceHash,
    /// Events in the trace.
    pub event_count: u64,
    /// The longest interruption of through traffic after the first step, if any was measured.
    pub outage: Option<Duration>,
    /// What the run cost.
    pub cost: fast::Cost,
}

impl Outcome {
    /// The first thing that was wrong, as `oracle: text`.
    pub fn first_failure(&self) -> Option<String> {
        let failed = self
            .findings
            .iter()
            .find(|finding| finding.verdict == Verdict::Fail)?;
        let text = failed
            .first_violation
            .as_ref()
            .map_or(&failed.evidence, |first| &first.text);
        Some(format!("{}: {text}", failed.oracle))
    }

    /// Names of the oracles that failed.
    pub fn failed_oracles(&self) -> impl Iterator<Item = &str> {
        let failed = |finding: &&Finding| finding.verdict == Verdict::Fail;
        self.findings
            .iter()
            .filter(failed)
            .map(|finding| finding.oracle.as_str())
    }
}

/// Plays a scenario with a seed in the world `fast` and keeps only the judgement.
///
/// # Errors
/// A scenario that cannot be drawn or configured, in words.
pub fn play(scenario: &Scenario, seed: u64, rules: Rules) -> Result<Outcome, String> {
    let plan = scenario.resolve(seed).map_err(|error| error.to_string())?;
    play_plan(&plan, rules, TraceWriter::hash_only())
}

/// The same, and stores the trace.
///
/// # Errors
/// As [`play`]; and what the store says.
pub fn play_storing<W: Write>(
    scenario: &Scenario,
    seed: u64,
    rules: Rules,
    store: W,
) -> Result<Outcome, String> {
    let plan = scenario.resolve(seed).map_err(|error| error.to_string())?;
    play_plan(&plan, rules, TraceWriter::storing(store))
}

fn play_plan<W: Write>(
    plan: &Plan,
    rules: Rules,
    mut writer: TraceWriter<W>,
) -> Result<Outcome, String> {
    let mut judge = Judge::new(plan);
    let mut gaps = Gaps::default();
    let mut sink = |event: &Event| {
        writer.write(event);
        judge.observe(event);
        gaps.observe(event);
    };
    let cost = fast::run(plan, rules, &mut sink)?;
    let findings = judge.finish(plan.end());
    let event_count = writer.count();
    let trace = writer
        .finish()
        .map_err(|error| format!("failed to store the trace: {error}"))?;
    let verdict = if cost.overflowed {
        Verdict::Unknown
    } else {
        Verdict::of(&findings)
    };
    Ok(Outcome {
        scenario: plan.name.clone(),
        seed: plan.seed,
        verdict,
        findings,
        trace,
        event_count,
        outage: gaps.longest(plan.end()),
        cost,
    })
}
