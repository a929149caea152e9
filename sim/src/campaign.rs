//! One run, judged: what every campaign, test and report is made of.

use core::time::Duration;
use std::io::{self, Write};

use steadfast_core::Rules;
use steadfast_scenarios::format::{Plan, Scenario};
use steadfast_scenarios::trace::{Event, TraceHash, TraceWriter};
use steadfast_scenarios::{Finding, Gaps, Judge, Verdict};
use steadfast_shell::habits::Habits;

use crate::fast;
use crate::stage::{Cost, Tap};
#[cfg(not(madsim))]
use crate::turmoil;

/// A world that plays plans in virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum World {
    /// The core on an event heap: [`fast`].
    #[default]
    Fast,
    /// The shell, its tasks in random order: `madsim`.
    #[cfg(madsim)]
    Madsim,
    /// The shell, exact: `turmoil`.
    #[cfg(not(madsim))]
    Turmoil,
}

impl World {
    /// Its name in files and commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            #[cfg(madsim)]
            Self::Madsim => "madsim",
            #[cfg(not(madsim))]
            Self::Turmoil => "turmoil",
        }
    }

    /// What is added to every bound on time there; a scenario may say so itself.
    pub fn tolerance(self, plan: &Plan) -> Duration {
        let own = plan.worlds.get(self.name());
        let usual = match self {
            Self::Fast => Duration::ZERO,
            #[cfg(madsim)]
            Self::Madsim => crate::madsim::TOLERANCE,
            #[cfg(not(madsim))]
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
    play_plan(&plan, setting, TraceWriter::hash_only(), None)
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
    play_plan(&plan, setting, TraceWriter::storing(store), None)
}

/// The same, and records every frame at the gateways (pcapng).
///
/// # Errors
/// As [`play`]; and what either store says.
pub fn play_recording<W: Write>(
    scenario: &Scenario,
    seed: u64,
    setting: Setting,
    store: W,
    capture: Box<dyn Write>,
) -> Result<Outcome, String> {
    let plan = scenario.resolve(seed).map_err(|error| error.to_string())?;
    let tap = tap(&plan, capture)?;
    play_plan(&plan, setting, TraceWriter::storing(store), Some(&tap))
}

fn tap(plan: &Plan, capture: Box<dyn Write>) -> Result<Tap, String> {
    Tap::new(plan, capture).map_err(|why| unrecorded(&why))
}

fn unrecorded(why: &io::Error) -> String {
    format!("failed to store the capture: {why}")
}

/// The same in the world `madsim`, in the runtime that this is called in; `setting.world` does not
/// matter. Frames are recorded if there is a place for them.
///
/// # Errors
/// As [`play`].
#[cfg(madsim)]
pub async fn play_in_madsim(
    scenario: &Scenario,
    seed: u64,
    setting: Setting,
    capture: Option<Box<dyn Write>>,
) -> Result<Outcome, String> {
    let plan = scenario.resolve(seed).map_err(|error| error.to_string())?;
    let tap = capture.map(|to| tap(&plan, to)).transpose()?;
    let mut bench = Bench::new(&plan, World::Madsim, TraceWriter::hash_only());
    let Setting { rules, habits, .. } = setting;
    let mut sink = |event: &Event| bench.observe(event);
    let cost = crate::madsim::run(&plan, rules, habits, tap.as_ref(), &mut sink).await?;
    bench.outcome(&plan, cost, tap.as_ref())
}

fn play_plan<W: Write>(
    plan: &Plan,
    setting: Setting,
    writer: TraceWriter<W>,
    tap: Option<&Tap>,
) -> Result<Outcome, String> {
    let mut bench = Bench::new(plan, setting.world, writer);
    let mut sink = |event: &Event| bench.observe(event);
    let cost = match setting.world {
        World::Fast => fast::run(plan, setting.rules, tap, &mut sink)?,
        #[cfg(madsim)]
        World::Madsim => return Err("madsim plays in a runtime of its own".to_owned()),
        #[cfg(not(madsim))]
        World::Turmoil => turmoil::run(plan, setting.rules, setting.habits, tap, &mut sink)?,
    };
    bench.outcome(plan, cost, tap)
}

/// Whoever listens to a run: what becomes of its trace, and who judges it.
struct Bench<W: Write> {
    writer: TraceWriter<W>,
    judge: Judge,
    gaps: Gaps,
}

impl<W: Write> Bench<W> {
    fn new(plan: &Plan, world: World, writer: TraceWriter<W>) -> Self {
        Self {
            writer,
            judge: Judge::tolerating(plan, world.tolerance(plan)),
            gaps: Gaps::default(),
        }
    }

    fn observe(&mut self, event: &Event) {
        self.writer.write(event);
        self.judge.observe(event);
        self.gaps.observe(event);
    }

    fn outcome(self, plan: &Plan, cost: Cost, tap: Option<&Tap>) -> Result<Outcome, String> {
        let findings = self.judge.finish(plan.end());
        if let Some(tap) = tap {
            tap.finish(plan.end(), &findings)
                .map_err(|why| unrecorded(&why))?;
        }
        let event_count = self.writer.count();
        let trace = self
            .writer
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
            outage: self.gaps.longest(plan.end()),
            cost,
        })
    }
}
