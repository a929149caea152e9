//! One run, judged: what every campaign, test and report is made of.

use core::time::Duration;
use std::io::Write;

use steadfast_core::Rules;
use steadfast_scenarios::format::{Plan, Scenario};
use steadfast_scenarios::trace::{Event, TraceHash, TraceWriter};
use steadfast_scenarios::{Finding, Gaps, Judge, Verdict};
use steadfast_shell::habits::Habits;

use crate::stage::Cost;
use crate::{fast, turmoil};

/// A world that plays plans in virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum World {
    /// The core on an event heap: [`fast`].
    #[default]
    Fast,
    /// The shell, exact: [`turmoil`].
    Turmoil,
}

impl World {
    /// Its name in files and commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Turmoil => "turmoil",
        }
    }

    /// What is added to every bound on time there; a scenario may say so itself.
    pub fn tolerance(self, plan: &Plan) -> Duration {
        let own = plan.worlds.get(self.name());
        let usual = match self {
            Self::Fast => Duration::ZERO,
            Self::Turmoil => turmoil::TOLERANCE,
        };
        own.and_then(|world| world.tolerance)
            .map_or(usual, |span| span.0)
    }
}

/// How a scenario is played.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setting {
    /// Where.
    pub world: World,
    /// What the core keeps; all of it outside of tests.
    pub rules: Rules,
    /// What the shell keeps; all of it outside of tests.
    pub habits: Habits,
}

impl From<World> for Setting {
    fn from(world: World) -> Self {
        Self {
            world,
            ..Self::default()
        }
    }
}

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
    pub cost: Cost,
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

/// Plays a scenario with a seed and keeps only the judgement.
///
/// # Errors
/// A scenario that cannot be drawn or configured, in words.
pub fn play(scenario: &Scenario, seed: u64, setting: Setting) -> Result<Outcome, String> {
    let plan = scenario.resolve(seed).map_err(|error| error.to_string())?;
    play_plan(&plan, setting, TraceWriter::hash_only())
}

/// The same, and stores the trace.
///
/// # Errors
/// As [`play`]; and what the store says.
pub fn play_storing<W: Write>(
    scenario: &Scenario,
    seed: u64,
    setting: Setting,
    store: W,
) -> Result<Outcome, String> {
    let plan = scenario.resolve(seed).map_err(|error| error.to_string())?;
    play_plan(&plan, setting, TraceWriter::storing(store))
}

fn play_plan<W: Write>(
    plan: &Plan,
    setting: Setting,
    mut writer: TraceWriter<W>,
) -> Result<Outcome, String> {
    let mut judge = Judge::tolerating(plan, setting.world.tolerance(plan));
    let mut gaps = Gaps::default();
    let mut sink = |event: &Event| {
        writer.write(event);
        judge.observe(event);
        gaps.observe(event);
    };
    let Setting { rules, habits, .. } = setting;
    let cost = match setting.world {
        World::Fast => fast::run(plan, rules, &mut sink)?,
        World::Turmoil => turmoil::run(plan, rules, habits, &mut sink)?,
    };
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
