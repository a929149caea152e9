//! What a sweep amounts to: counts over millions of runs, and every failure by name.
//!
//! An oracle that never saw what it watches for has proven nothing, so each has its *armed share*:
//! the runs in which it was armed, of all in which it watched. The JSON shape is an interface.
//! Limits: [`FAILURES_MAX`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use steadfast_scenarios::Verdict;

use crate::cli::World;
use crate::ending::Ending;
use crate::runs::Run;
use crate::words;

/// Most failures kept by name; later ones are only counted.
const FAILURES_MAX: usize = 10_000;
/// What stands in an oracle's place when a run was another in another process.
const DETERMINISM: &str = "determinism";
/// Failures that people are shown.
const FAILURES_SHOWN: usize = 20;

/// Counts runs.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    runs: u64,
    failed_runs: u64,
    unknown_runs: u64,
    traces: BTreeSet<[u8; 32]>,
    failures: Vec<Trouble>,
    unknowns: Vec<Trouble>,
    unnamed: u64,
    armed: BTreeMap<String, Share>,
    simulated: Duration,
    world: Option<World>,
    audited_runs: u64,
}

/// An oracle that complained about a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Trouble {
    scenario: String,
    seed: u64,
    oracle: String,
    #[serde(skip)]
    text: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    armed: u64,
    watched: u64,
}

/// What tools read.
#[derive(Serialize)]
struct Json<'a> {
    runs: u64,
    distinct_traces: usize,
    failures: &'a [Trouble],
    armed: BTreeMap<&'a str, f64>,
    simulated_s: f64,
    cpu_s: f64,
    audited_runs: u64,
}

impl Tally {
    /// Of a campaign in this world.
    pub(crate) fn new(world: World) -> Self {
        Self {
            world: Some(world),
            ..Self::default()
        }
    }

    /// So many were played again in another process; these left another trace there.
    pub(crate) fn audited(&mut self, count: u64, differ: Vec<(String, u64)>) {
        self.audited_runs += count;
        self.failed_runs += differ.len() as u64;
        for (scenario, seed) in differ {
            if self.failures.len() >= FAILURES_MAX {
                self.unnamed += 1;
                continue;
            }
            let world = self.world.map_or("fast", World::name);
            let command = format!("steadfast audit {scenario} --world {world} --seed {seed}");
            self.failures.push(Trouble {
                scenario,
                seed,
                oracle: DETERMINISM.to_owned(),
                text: format!("another trace in another process; see `{command}`"),
            });
        }
    }

    /// One more run; told in the order of seeds.
    pub(crate) fn add(&mut self, run: &Run) {
        self.runs += 1;
        self.simulated = self.simulated.saturating_add(run.simulated);
        self.traces.extend(run.trace.map(|trace| trace.0));
        for (oracle, armed) in &run.armed {
            let share = self.armed.entry(oracle.clone()).or_default();
            share.watched += 1;
            share.armed += u64::from(*armed);
        }
        match run.verdict {
            Verdict::Pass => {}
            Verdict::Unknown => {
                self.unknown_runs += 1;
                self.unnamed += note(&mut self.unknowns, run);
            }
            Verdict::Fail => {
                self.failed_runs += 1;
                self.unnamed += note(&mut self.failures, run);
            }
        }
    }

    /// The worst of all runs.
    pub(crate) const fn ending(&self) -> Ending {
        if self.failed_runs > 0 {
            Ending::Fail
        } else if self.unknown_runs > 0 || self.runs == 0 {
            Ending::Unknown
        } else {
            Ending::Pass
        }
    }

    /// For tools: `{runs, distinct_traces, failures: [{scenario, seed, oracle}], armed: {oracle:
    /// share}, simulated_s, cpu_s, audited_runs}`.
    pub(crate) fn to_json(&self, cpu: Duration) -> String {
        let armed = self
            .armed
            .iter()
            .map(|(oracle, share)| (oracle.as_str(), share.of_one()));
        crate::summary::to_json(&Json {
            runs: self.runs,
            distinct_traces: self.traces.len(),
            failures: &self.failures,
            armed: armed.collect(),
            simulated_s: words::seconds(self.simulated),
            cpu_s: words::seconds(cpu),
            audited_runs: self.audited_runs,
        })
    }

    /// For people: the same, and the first failures with the command that repeats each.
    pub(crate) fn to_text(&self, cpu: Duration) -> String {
        let (simulated, cpu) = (words::seconds(self.simulated), words::seconds(cpu));
        let mut lines = vec![
            format!("runs             {}", self.runs),
            format!("distinct traces  {}", self.traces.len()),
            format!("failed runs      {}", self.failed_runs),
            format!("unknown runs     {}", self.unknown_runs),
            format!("audited runs     {}", self.audited_runs),
            format!("simulated        {simulated} s in {cpu} s of processor time"),
            "armed share, of the runs in which the oracle watched:".to_owned(),
        ];
        let width = self.armed.keys().map(String::len).max().unwrap_or(0);
        for (oracle, share) in &self.armed {
            lines.push(format!("  {oracle:width$}  {:>7}", share.percent()));
        }
        lines.extend(self.listing("FAIL", &self.failures));
        lines.extend(self.listing("unknown", &self.unknowns));
        lines.extend(self.unnamed_line());
        lines.join("\n") + "\n"
    }

    /// What the JSON shape has no room for, for the error stream: unknown runs, and failures that
    /// were only counted.
    pub(crate) fn notes(&self) -> String {
        let lines = self
            .listing("unknown", &self.unknowns)
            .into_iter()
            .chain(self.unnamed_line());
        lines.map(|line| line + "\n").collect()
    }

    fn listing(&self, word: &str, troubles: &[Trouble]) -> Vec<String> {
        listing(word, self.world.unwrap_or(World::Fast), troubles)
    }

    fn unnamed_line(&self) -> Option<String> {
        let unnamed = self.unnamed;
        (unnamed > 0).then(|| format!("{unnamed} more are only counted: {FAILURES_MAX} are named"))
    }
}

impl Share {
    /// Of one, cut to four decimals.
    fn of_one(self) -> f64 {
        self.parts(10_000) as f64 / 10_000.0
    }

    /// Of a hundred, with one decimal, cut: only what is armed in every run is 100 %.
    fn percent(self) -> String {
        let tenths = self.parts(1000);
        format!("{}.{} %", tenths / 10, tenths % 10)
    }

    fn parts(self, whole: u64) -> u64 {
        let parts = u128::from(self.armed) * u128::from(whole);
        u64::try_from(parts / u128::from(self.watched.max(1))).unwrap_or(whole)
    }
}

/// Adds one entry for each oracle that complains; returns how many found no room.
fn note(list: &mut Vec<Trouble>, run: &Run) -> u64 {
    let mut unnamed = 0;
    for oracle in run.complaining() {
        if list.len() >= FAILURES_MAX {
            unnamed += 1;
            continue;
        }
        let first = run
            .complaints
            .iter()
            .find(|complaint| complaint.oracle == oracle);
        list.push(Trouble {
            scenario: run.scenario.clone(),
            seed: run.seed,
            oracle: oracle.to_owned(),
            text: first
                .map(|complaint| complaint.text.clone())
                .unwrap_or_default(),
        });
    }
    unnamed
}

fn listing(word: &str, world: World, troubles: &[Trouble]) -> Vec<String> {
    let mut lines = Vec::new();
    for Trouble {
        scenario,
        seed,
        oracle,
        text,
    } in troubles.iter().take(FAILURES_SHOWN)
    {
        lines.push(format!("{word} {scenario} seed {seed}: {oracle}: {text}"));
        lines.push(format!(
            "  repeat: {}",
            words::repeat(scenario, world, *seed)
        ));
    }
    let hidden = troubles.len().saturating_sub(FAILURES_SHOWN);
    if hidden > 0 {
        lines.push(format!("{word}: {hidden} more; --json names all failures"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{judged, outcome};

    const CPU: Duration = Duration::from_millis(1500);

    fn sample() -> Tally {
        let mut tally = Tally::default();
        let twice = Run::from(outcome("quiet-day", 1));
        for run in [
            Run::from(outcome("active-loses-power", 0)),
            twice.clone(),
            twice,
            judged("quiet-day", 3, Verdict::Fail, "outage"),
            judged("planned-takeover", 4, Verdict::Unknown, "converges"),
            Run::unplayed("broken", 5, "a step is later than the end".to_owned()),
        ] {
            tally.add(&run);
        }
        tally
    }

    /// The shape that tools read: these keys, in this order.
    #[test]
    fn tally_json_shape_is_stable() {
        insta::assert_snapshot!(sample().to_json(CPU), @r#"
        {
          "runs": 6,
          "distinct_traces": 4,
          "failures": [
            {
              "scenario": "quiet-day",
              "seed": 3,
              "oracle": "outage"
            },
            {
              "scenario": "broken",
              "seed": 5,
              "oracle": "scenario"
            }
          ],
          "armed": {
            "at_most_one_active": 1.0,
            "converges": 0.0,
            "outage": 1.0
          },
          "simulated_s": 30.0,
          "cpu_s": 1.5,
          "audited_runs": 0
        }
        "#);
    }

    /// People see the same, what was wrong, and how to see it again.
    #[test]
    fn tally_text_names_failures_and_commands() {
        insta::assert_snapshot!(sample().to_text(CPU), @r"
        runs             6
        distinct traces  4
        failed runs      2
        unknown runs     1
        audited runs     0
        simulated        30 s in 1.5 s of processor time
        armed share, of the runs in which the oracle watched:
          at_most_one_active  100.0 %
          converges             0.0 %
          outage              100.0 %
        FAIL quiet-day seed 3: outage: out: 22 ms, allowed are 12 (since 3.000s)
          repeat: steadfast run quiet-day --world fast --seed 3
        FAIL broken seed 5: scenario: a step is later than the end
          repeat: steadfast run broken --world fast --seed 5
        unknown planned-takeover seed 4: converges: out: never armed
          repeat: steadfast run planned-takeover --world fast --seed 4
        ");
    }

    /// What has no place in the JSON is told beside it.
    #[test]
    fn tally_notes_tell_of_unknown_runs() {
        insta::assert_snapshot!(sample().notes(), @r"
        unknown planned-takeover seed 4: converges: out: never armed
          repeat: steadfast run planned-takeover --world fast --seed 4
        ");
    }

    /// A sweep is as bad as its worst run, and one that ran nothing has proven nothing.
    #[test]
    fn tally_ending_is_the_worst() {
        let mut tally = Tally::default();
        assert_eq!(tally.ending(), Ending::Unknown);
        tally.add(&Run::from(outcome("a", 0)));
        assert_eq!(tally.ending(), Ending::Pass);
        tally.add(&judged("a", 1, Verdict::Unknown, "converges"));
        assert_eq!(tally.ending(), Ending::Unknown);
        tally.add(&judged("a", 2, Verdict::Fail, "outage"));
        assert_eq!(tally.ending(), Ending::Fail);
    }

    /// Almost always is not always: 99.99 % armed must not be printed as 100.
    #[test]
    fn tally_share_is_cut_not_rounded() {
        let share = Share {
            armed: 99_999,
            watched: 100_000,
        };
        assert_eq!(
            (share.percent(), share.of_one()),
            ("99.9 %".to_owned(), 0.9999)
        );
        let all = Share {
            armed: 3,
            watched: 3,
        };
        assert_eq!((all.percent(), all.of_one()), ("100.0 %".to_owned(), 1.0));
    }

    /// A defect that fails every run must not fill memory; people see twenty, and the rest counted.
    #[test]
    fn tally_failures_beyond_the_bound_are_counted() {
        let mut tally = Tally::default();
        let count = FAILURES_MAX as u64 + 5;
        for seed in 0..count {
            tally.add(&judged("a", seed, Verdict::Fail, "outage"));
        }
        assert_eq!(
            (tally.failures.len(), tally.failed_runs),
            (FAILURES_MAX, count)
        );
        let text = tally.to_text(CPU);
        assert_eq!(text.matches("  repeat: ").count(), FAILURES_SHOWN);
        assert!(text.contains("FAIL: 9980 more"), "{text}");
        assert!(
            tally.notes().contains("5 more are only counted"),
            "{}",
            tally.notes()
        );
    }

    /// A run that was another in another process fails the campaign, by name and with the command
    /// that shows where.
    #[test]
    fn tally_run_that_differs_in_another_process_fails() {
        let mut tally = Tally::new(World::Turmoil);
        tally.add(&Run::from(outcome("quiet-day", 20)));
        assert_eq!(tally.ending(), Ending::Pass);
        tally.audited(1, vec![("quiet-day".to_owned(), 20)]);
        assert_eq!(tally.ending(), Ending::Fail);
        let text = tally.to_text(CPU);
        let command = "steadfast audit quiet-day --world turmoil --seed 20";
        assert!(
            text.contains(command) && text.contains("audited runs     1"),
            "{text}"
        );
    }
}
