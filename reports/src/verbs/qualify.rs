//! `steadfast qualify`: everything this build can prove, in one command, with a report.
//!
//! Three parts. The catalogue is played with several seeds each; whatever is not as expected fails.
//! The impossible stories are played until one seed shows what theory says of them: were one to
//! pass everywhere, either a theorem or an oracle would be wrong, and that fails as well. What this
//! build cannot run is said to be not run. The hard case is a failing run: it is played again to
//! store its trace, and must come out the same, or the decision itself is not deterministic.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use steadfast_scenarios::{Scenario, Verdict};
use steadfast_sim::campaign;

use super::Streams;
use crate::bundle::{Bundle, TRACES_EACH_MAX};
use crate::catalogue::{self, CATALOGUE, IMPOSSIBLE};
use crate::cli::{self, World};
use crate::ending::Ending;
use crate::junit::{Case, CaseResult, Suite};
use crate::pool;
use crate::problem::Problem;
use crate::runs::{self, Run};
use crate::summary::{NotRun, Record, Summary, Theory};
use crate::words::{self, counted};

mod in_lab;

/// Where the report goes unless told otherwise.
const FOLDER: &str = "steadfast-report";
/// Seeds of each scenario whose file does not say how many (`[world.fast] seeds`).
const SEEDS: u32 = 32;
/// Seeds of each scenario in the world `turmoil`, likewise: a second costs a hundred times more.
const SEEDS_TURMOIL: u32 = 2;
/// Seeds of each long scenario.
const SEEDS_LONG: u32 = 1;
/// Seeds below which each impossible story must have failed.
const SEEDS_IMPOSSIBLE: u64 = 200;
/// Failing runs shown for each scenario; the rest stands in the report.
const FAILURES_SHOWN: usize = 3;
/// Where to report.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to write the report; an older one there is replaced
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    report: PathBuf,
    /// How many threads [default: as many as can run at once]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Play in the simulated worlds alone; the lab is then not run
    #[arg(long)]
    no_lab: bool,
    /// The daemon under test in the lab [default: the one built from the same sources]
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            report: PathBuf::from(FOLDER),
            jobs: None,
            no_lab: false,
            daemon: None,
        }
    }
}

/// Plays everything, prints a line for each scenario, and ends with the report's path.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let kept = catalogue::read(CATALOGUE)?;
    let impossible = catalogue::read(IMPOSSIBLE)?;
    campaign(args, &kept, &impossible, streams)
}

/// Plays the ones that must pass, then the ones that cannot.
fn campaign(
    args: &Args,
    kept: &[Scenario],
    impossible: &[Scenario],
    streams: &mut Streams<'_>,
) -> Result<Ending, Problem> {
    let names = kept
        .iter()
        .chain(impossible)
        .map(|scenario| scenario.plan().name.len());
    let mut campaign = Campaign {
        threads: cli::threads(args.jobs),
        width: names.max().unwrap_or(0),
        bundle: Bundle::create(&args.report)?,
        summary: Summary::default(),
        suites: ["fast", "turmoil", "impossible", "lab"]
            .map(Suite::named)
            .into(),
        worst: Ending::Pass,
    };
    for scenario in kept {
        streams.print(&campaign.qualify(scenario, campaign::World::Fast)?)?;
    }
    streams.print("in turmoil, with the whole shell:\n")?;
    for scenario in kept {
        streams.print(&campaign.qualify(scenario, campaign::World::Turmoil)?)?;
    }
    for scenario in impossible {
        streams.print(&campaign.show_impossible(scenario))?;
    }
    if args.no_lab {
        let lab = NotRun {
            scenario: None,
            world: World::Lab.name().to_owned(),
            reason: "not wanted (--no-lab)".to_owned(),
        };
        streams.print(&campaign.leave_out(LAB, lab))?;
    } else {
        campaign.visit_lab(kept, args.daemon.as_deref(), streams)?;
    }
    streams.print(&campaign.totals())?;
    let worst = campaign.worst;
    let folder = campaign
        .bundle
        .finish(&campaign.summary, &campaign.suites)?;
    streams.print(&format!("report: {}\n", folder.display()))?;
    Ok(worst)
}

/// Places of the suites.
const FAST: usize = 0;
const TURMOIL: usize = 1;
const THEORY: usize = 2;
const LAB: usize = 3;

/// What was found so far.
struct Campaign {
    threads: usize,
    width: usize,
    bundle: Bundle,
    summary: Summary,
    suites: Vec<Suite>,
    worst: Ending,
}

impl Campaign {
    /// Plays a scenario that must pass; what to print of it.
    fn qualify(
        &mut self,
        scenario: &Scenario,
        simulator: campaign::World,
    ) -> Result<String, Problem> {
        let world = World::of(simulator);
        let suite = match simulator {
            campaign::World::Fast => FAST,
            campaign::World::Turmoil => TURMOIL,
        };
        if let Some(not_run) = runs::not_run(scenario, world) {
            return Ok(self.leave_out(suite, not_run));
        }
        let mut runs = Vec::new();
        let take = |run| {
            runs.push(run);
            Ok::<(), Problem>(())
        };
        let seeds = u64::from(seeds(scenario, world));
        pool::in_order(
            seeds,
            self.threads,
            |seed| Run::play(scenario, seed, simulator),
            take,
        )?;
        for run in &runs {
            self.worst = self.worst.max(run.verdict.into());
            self.summary.results.push(Record::of(run, world));
            let name = format!("{} seed {}", run.scenario, run.seed);
            self.push_case(suite, name, result(run, world));
        }
        let mut text = line(&scenario.plan().name, self.width, &runs, world);
        let failed = runs.iter().filter(|run| run.verdict == Verdict::Fail);
        for run in failed.take(TRACES_EACH_MAX) {
            let again = self.bundle.store(scenario, run.seed, simulator)?;
            if again.is_some_and(|again| again != *run) {
                self.worst = Ending::Fail;
                let repeat = words::repeat(&run.scenario, world, run.seed);
                text += &format!("  FAIL: played twice with two results; repeat: {repeat}\n");
            }
        }
        Ok(text)
    }

    /// Plays a story that no protocol can end well until a seed shows it; what to print of it.
    fn show_impossible(&mut self, scenario: &Scenario) -> String {
        let mut runs =
            (0..SEEDS_IMPOSSIBLE).map(|seed| Run::play(scenario, seed, campaign::World::Fast));
        let shown = runs.find(|run| run.trace.is_some() && run.verdict == Verdict::Fail);
        let name = scenario.plan().name.clone();
        let (case, theory) = theory(name.clone(), World::Fast, shown.as_ref());
        let (word, rest) = match &shown {
            Some(run) => ("as theory says", format!("fails at seed {}", run.seed)),
            None => {
                self.worst = Ending::Fail;
                ("FAIL", against_theory())
            }
        };
        self.push_case(THEORY, name.clone(), case);
        let oracles = theory.oracles.join(", ");
        self.summary.impossible.push(theory);
        let rest = if oracles.is_empty() {
            rest
        } else {
            format!("{rest}: {oracles}")
        };
        format!("{word:14}  {name:width$}  {rest}\n", width = self.width)
    }

    /// Counts something as not run; what to print of it.
    fn leave_out(&mut self, suite: usize, not_run: NotRun) -> String {
        self.worst = self.worst.max(Ending::NotRun);
        let name = not_run.scenario.as_ref().unwrap_or(&not_run.world).clone();
        let reason = not_run.reason.clone();
        self.summary.not_run.push(not_run);
        let text = format!("{name}: not run: {reason}\n");
        self.push_case(suite, name, CaseResult::Skipped { message: reason });
        text
    }

    fn push_case(&mut self, suite: usize, name: String, result: CaseResult) {
        if let Some(suite) = self.suites.get_mut(suite) {
            suite.cases.push(Case { name, result });
        }
    }

    fn totals(&self) -> String {
        let results = &self.summary.results;
        let count = |verdict| {
            results
                .iter()
                .filter(|record| record.verdict == verdict)
                .count()
        };
        let [passed, failed, unknown] = [Verdict::Pass, Verdict::Fail, Verdict::Unknown].map(count);
        let runs = counted(results.len() as u64, "run");
        let theory = self
            .summary
            .impossible
            .iter()
            .filter(|it| it.seed.is_some())
            .count();
        let (impossible, not_run) = (self.summary.impossible.len(), self.summary.not_run.len());
        format!(
            "{runs}: {passed} passed, {failed} failed, {unknown} unknown; \
             {theory} of {impossible} impossible as theory says; {not_run} not run\n"
        )
    }
}

impl Suite {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cases: Vec::new(),
        }
    }
}

/// How many seeds of this scenario are played.
fn seeds(scenario: &Scenario, world: World) -> u32 {
    let plan = scenario.plan();
    let own = plan.worlds.get(world.name()).and_then(|setup| setup.seeds);
    let usual = if world == World::Turmoil {
        SEEDS_TURMOIL
    } else {
        SEEDS
    };
    own.unwrap_or(if plan.long { SEEDS_LONG } else { usual })
}

/// A scenario's line in the table, and its first failures.
fn line(name: &str, width: usize, runs: &[Run], world: World) -> String {
    let verdict = runs
        .iter()
        .map(|run| run.verdict)
        .max()
        .unwrap_or(Verdict::Unknown);
    let bad: Vec<_> = runs
        .iter()
        .filter(|run| run.verdict != Verdict::Pass)
        .collect();
    let word = words::verdict(verdict);
    let worst = words::outage(runs.iter().filter_map(|run| run.outage).max());
    let count = counted(runs.len() as u64, "run");
    let note = if bad.is_empty() {
        String::new()
    } else {
        format!("  {} not passed", bad.len())
    };
    let mut lines = vec![format!(
        "{word:14}  {name:width$}  {count:>8}  worst outage {worst:>11}{note}"
    )];
    for run in bad.iter().take(FAILURES_SHOWN) {
        let why = runs::why(run, &words::repeat(&run.scenario, world, run.seed));
        lines.extend(
            why.into_iter()
                .map(|line| format!("  seed {}: {line}", run.seed)),
        );
    }
    lines.join("\n") + "\n"
}

fn result(run: &Run, world: World) -> CaseResult {
    let repeat = words::repeat(&run.scenario, world, run.seed);
    let text = runs::why(run, &repeat).join("\n");
    let oracles: Vec<_> = run.complaining().into_iter().collect();
    let message = oracles.join(", ");
    match run.verdict {
        Verdict::Pass => CaseResult::Pass,
        Verdict::Unknown => CaseResult::Error { message, text },
        Verdict::Fail => CaseResult::Failure { message, text },
    }
}

fn theory(scenario: String, world: World, shown: Option<&Run>) -> (CaseResult, Theory) {
    let oracles: Vec<_> = shown.iter().flat_map(|run| run.complaining()).collect();
    let oracles = oracles.into_iter().map(str::to_owned).collect();
    let seed = shown.map(|run| run.seed);
    let case = match seed {
        Some(_) => CaseResult::Pass,
        None => CaseResult::Failure {
            message: against_theory(),
            text: String::new(),
        },
    };
    (
        case,
        Theory {
            scenario,
            world: world.name().to_owned(),
            seed,
            oracles,
        },
    )
}

fn against_theory() -> String {
    format!("passed with {SEEDS_IMPOSSIBLE} seeds, which theory says it cannot")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{judged, outcome};
    use crate::verbs::replay;
    use std::{env, fs, process, slice};

    /// One line for each scenario; what did not pass is told with the command that repeats it.
    #[test]
    fn qualify_table_tells_verdict_outage_and_runs() {
        let passed = vec![Run::from(outcome("active-loses-power", 0)); 32];
        let mut mixed = vec![Run::from(outcome("quiet-day", 0))];
        mixed.extend((1..6).map(|seed| judged("quiet-day", seed, Verdict::Fail, "outage")));
        let unknown = [judged("b", 0, Verdict::Unknown, "converges")];
        let text = [
            line("active-loses-power", 18, &passed, World::Fast),
            line("quiet-day", 18, &mixed, World::Fast),
            line("b", 18, &unknown, World::Fast),
        ];
        insta::assert_snapshot!(text.concat(), @r"
        pass            active-loses-power   32 runs  worst outage     11.3 ms
        FAIL            quiet-day             6 runs  worst outage     11.3 ms  5 not passed
          seed 1: outage: out: 22 ms, allowed are 12 (since 3.000s)
          seed 1: repeat: steadfast run quiet-day --world fast --seed 1
          seed 2: outage: out: 22 ms, allowed are 12 (since 3.000s)
          seed 2: repeat: steadfast run quiet-day --world fast --seed 2
          seed 3: outage: out: 22 ms, allowed are 12 (since 3.000s)
          seed 3: repeat: steadfast run quiet-day --world fast --seed 3
        unknown         b                      1 run  worst outage     11.3 ms  1 not passed
          seed 0: converges: out: never armed
          seed 0: repeat: steadfast run b --world fast --seed 0
        ");
    }

    /// A failure is red, missing evidence is not green, and both tell how to see it again.
    #[test]
    fn qualify_junit_results_follow_the_verdict() {
        let command = "steadfast run a --world fast --seed 1";
        for verdict in [Verdict::Fail, Verdict::Unknown] {
            let (message, text) = match result(&judged("a", 1, verdict, "outage"), World::Fast) {
                CaseResult::Failure { message, text } if verdict == Verdict::Fail => {
                    (message, text)
                }
                CaseResult::Error { message, text } if verdict == Verdict::Unknown => {
                    (message, text)
                }
                other => panic!("{verdict:?}: {other:?}"),
            };
            assert_eq!(message, "outage");
            assert!(text.ends_with(command), "{text}");
        }
        assert_eq!(
            result(&outcome("a", 1).into(), World::Fast),
            CaseResult::Pass
        );
    }

    /// An impossible story that passes everywhere is the alarming result.
    #[test]
    fn qualify_impossible_story_that_passes_is_a_failure() {
        let shown = judged("split", 3, Verdict::Fail, "at_most_one_active");
        let (case, told) = theory("split".to_owned(), World::Fast, Some(&shown));
        assert_eq!((case, told.seed), (CaseResult::Pass, Some(3)));
        assert_eq!(told.oracles, ["at_most_one_active"]);
        let (case, told) = theory("split".to_owned(), World::Fast, None);
        assert!(matches!(case, CaseResult::Failure { .. }), "{case:?}");
        assert_eq!(told.seed, None);
    }

    fn scenario(text: &str) -> Scenario {
        Scenario::parse("scenario.toml", text).unwrap()
    }

    /// One that passes, one that fails, one for another world, and one that nobody can pass: the
    /// whole report, and each failing run in it can be judged again as it was recorded.
    #[test]
    fn qualify_report_holds_all_results_and_what_failed() {
        let folder = env::temp_dir().join(format!("steadfast-qualify-{}", process::id()));
        let args = Args {
            report: folder.clone(),
            jobs: None,
            no_lab: true,
            daemon: None,
        };
        let fails = scenario(include_str!("../../tests/data/fails.toml"));
        let kept = [
            scenario(include_str!("../../tests/data/passes.toml")),
            fails.clone(),
            scenario(include_str!("../../tests/data/skipped.toml")),
        ];
        let (mut out, mut err) = (Vec::new(), Vec::new());
        // Twice: the second report takes the place of the first.
        for _ in 0..2 {
            out.clear();
            let mut streams = Streams {
                out: &mut out,
                err: &mut err,
            };
            let ending = campaign(&args, &kept, slice::from_ref(&fails), &mut streams).unwrap();
            assert_eq!(ending, Ending::Fail);
        }
        let text = String::from_utf8(out).unwrap();
        for part in [
            "pass            passes     2 runs",
            "FAIL            fails      2 runs",
            "skipped: not run: needs a real kernel\n",
            "as theory says  fails    fails at seed 0: outage\n",
            "lab: not run: not wanted (--no-lab)\n",
            "8 runs: 4 passed, 4 failed, 0 unknown; 1 of 1 impossible as theory says; 3 not run\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(
            text.ends_with(&format!("report: {}\n", folder.display())),
            "{text}"
        );
        let xml = fs::read_to_string(folder.join("junit.xml")).unwrap();
        let counts = "tests=\"12\" failures=\"4\" errors=\"0\" skipped=\"3\"";
        assert!(
            xml.contains(&format!("<testsuites name=\"steadfast\" {counts}>")),
            "{xml}"
        );
        for run in ["0", "1", "0-turmoil", "1-turmoil"] {
            let trace = folder.join(format!("failures/fails-{run}/trace.jsonl"));
            let mut streams = Streams {
                out: &mut Vec::new(),
                err: &mut err,
            };
            let again = replay::run(&replay::Args::of(trace), &mut streams).unwrap();
            assert_eq!(again, Ending::Pass, "{run}: as recorded");
            for page in ["timeline.html", "why.md", "perfetto.json"] {
                let page = folder.join(format!("failures/fails-{run}/{page}"));
                assert!(page.is_file(), "{}", page.display());
            }
        }
        let index = fs::read_to_string(folder.join("index.html")).unwrap();
        assert!(index.contains("failures/fails-1-turmoil/timeline.html"));
        let history = fs::read_to_string(folder.join("history.jsonl")).unwrap();
        assert_eq!(history.lines().count(), 2, "both campaigns are remembered");
        fs::remove_dir_all(folder).unwrap();
    }
}
