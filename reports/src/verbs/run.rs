//! `steadfast run`: plays scenarios with given seeds and says what came out.
//!
//! With `--traces DIR` it leaves `DIR/SCENARIO-SEED.trace.jsonl` for every run, `DIR/SCENARIO.toml`
//! for every scenario, and `DIR/summary.json`; with `--captures` also `DIR/SCENARIO-SEED.pcapng`,
//! every frame at the gateways; with `--report` these and pages for people. The same runs leave the
//! same bytes in every process, but for the history among the pages.
//! Limit: [`RUNS_MAX`].

use std::fs;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::value_parser;
use steadfast_netlab::daemons::Daemon;
use steadfast_scenarios::{Scenario, Verdict};
use steadfast_sim::campaign;

use super::Streams;
use crate::catalogue::{self, CATALOGUE};
use crate::cli::{self, World};
use crate::ending::Ending;
use crate::lab::{self, Bench, Lab, Played, Wanted};
use crate::pool;
use crate::problem::Problem;
use crate::report::{self, Place};
use crate::runs::{self, Run};
use crate::summary::{NotRun, Record, Summary};
use crate::words;

/// Most runs at once, because all are kept for the summary; `sweep` takes more.
const RUNS_MAX: u64 = 1_000_000;

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A scenario's name (see `list`), or a file (with a `/`, or ending in `.toml`)
    #[arg(
        value_name = "NAME|FILE",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    what: Option<String>,
    /// The whole catalogue, long ones included
    #[arg(long)]
    all: bool,
    /// Where to play
    #[arg(long, value_enum, default_value_t = World::Fast)]
    world: World,
    /// The seed [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    #[arg(conflicts_with = "seeds", value_parser = value_parser!(u64).range(..u64::MAX))]
    seed: u64,
    /// Several seeds, the second number not included
    #[arg(long, value_name = "A..B", value_parser = cli::seeds)]
    seeds: Option<Range<u64>>,
    /// Store traces and a summary here
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
    /// Store every frame at the gateways too, for packet tools; in the lab always
    #[arg(long, requires = "traces")]
    captures: bool,
    /// Write pages for people beside the traces: timeline, reasons, trace events, and an index
    #[arg(long, requires = "traces")]
    report: bool,
    /// Print the summary as JSON instead of text
    #[arg(long)]
    json: bool,
    /// How many threads [default: as many as can run at once; in the lab, one]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// The daemon under test [default: the one built from the same sources]
    #[arg(long, value_name = "FILE", conflicts_with = "under_test")]
    daemon: Option<PathBuf>,
    /// Another daemon than the product, in the lab: keepalived, frr, ucarp or steadfast-vrrp (the
    /// product as a router of VRRP); or the product's file, as with --daemon
    #[arg(long, value_name = "NAME|FILE", value_parser = UnderTest::parse)]
    under_test: Option<UnderTest>,
}

/// Whom the lab puts under test.
#[derive(Clone, Debug, PartialEq, Eq)]
enum UnderTest {
    /// The product, as this file.
    Product(PathBuf),
    /// This daemon; the product is the one built from the same sources.
    Daemon(Daemon),
}

impl UnderTest {
    /// Reads a name, or else a path, which has a `/`.
    fn parse(text: &str) -> Result<Self, String> {
        match Daemon::named(text) {
            Some(daemon) => Ok(Self::Daemon(daemon)),
            None if text.contains('/') => Ok(Self::Product(text.into())),
            None => {
                let names = "steadfast, keepalived, frr, ucarp, steadfast-vrrp";
                Err(format!("expected {names}, or a path with a `/`"))
            }
        }
    }
}

impl Args {
    /// The product's file, if one is named.
    fn product(&self) -> Option<&Path> {
        match &self.under_test {
            Some(UnderTest::Product(file)) => Some(file),
            Some(UnderTest::Daemon(_)) | None => self.daemon.as_deref(),
        }
    }

    /// The one command that repeats a run.
    fn repeat(&self, what: &str, seed: u64) -> String {
        let repeat = words::repeat(what, self.world, seed);
        match self.rival() {
            Some(rival) => format!("{repeat} --under-test {}", rival.name()),
            None => repeat,
        }
    }

    /// The daemon under test, if one is named.
    const fn rival(&self) -> Option<Daemon> {
        match self.under_test {
            Some(UnderTest::Daemon(daemon)) => Some(daemon),
            Some(UnderTest::Product(_)) | None => None,
        }
    }
}

/// Runs them in the order of scenarios, then seeds.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let scenarios = match &args.what {
        Some(what) => vec![catalogue::open(what)?],
        None => catalogue::read(CATALOGUE)?,
    };
    let mut report = Printed::new(args);
    let scenarios = report.playable(scenarios, streams)?;
    if let Some(folder) = &args.traces {
        store_scenarios(&scenarios, folder)?;
    }
    let seeds = args
        .seeds
        .clone()
        .unwrap_or_else(|| args.seed..args.seed + 1);
    let each = seeds.end - seeds.start;
    let count = each.saturating_mul(scenarios.len() as u64);
    if count > RUNS_MAX {
        return Err(Problem::TooMuch {
            what: format!("{count} runs"),
            max: RUNS_MAX,
        });
    }
    if args.under_test.is_some() && args.world != World::Lab {
        return Err(Problem::RivalOutsideLab);
    }
    let Some(world) = args.world.simulated() else {
        return in_lab(args, &scenarios, &seeds, report, streams);
    };
    let play = |number: u64| {
        // Below the count, which is the product of both.
        let scenario = usize::try_from(number / each)
            .ok()
            .and_then(|at| scenarios.get(at));
        scenario.map(|it| play(it, seeds.start + number % each, world, args))
    };
    let take = |run: Option<Result<Run, Problem>>| match run.transpose()? {
        Some(run) => report.take(&run, streams),
        None => Ok(()),
    };
    pool::in_order(count, cli::threads(args.jobs), play, take)?;
    report.finish(streams)
}

fn play(
    scenario: &Scenario,
    seed: u64,
    world: campaign::World,
    args: &Args,
) -> Result<Run, Problem> {
    match &args.traces {
        None => Ok(Run::play(scenario, seed, world)),
        Some(folder) => {
            let name = format!("{}-{seed}", scenario.plan().name);
            let trace = folder.join(format!("{name}.trace.jsonl"));
            let capture = folder.join(format!("{name}.pcapng"));
            // Pages without frames would only tell half of it.
            let capture = (args.captures || args.report).then_some(&*capture);
            Run::play_storing(scenario, seed, world, &trace, capture)
        }
    }
}

/// The same on real kernels: one after the other unless told otherwise, for its figures are real.
fn in_lab(
    args: &Args,
    scenarios: &[Scenario],
    seeds: &Range<u64>,
    mut report: Printed<'_>,
    streams: &mut Streams<'_>,
) -> Result<Ending, Problem> {
    let bench = Bench::set_up(args.product())?;
    let mut wanted = Vec::new();
    for scenario in scenarios {
        for seed in seeds.clone() {
            let name = format!("{}-{seed}", scenario.plan().name);
            let evidence = args.traces.as_ref().map(|folder| folder.join(name));
            if let Some(folder) = &evidence {
                fs::create_dir_all(folder).map_err(Problem::writing(folder))?;
            }
            wanted.push(Wanted {
                scenario,
                seed,
                rival: args.rival(),
                evidence,
            });
        }
    }
    let at_once = args.jobs.map_or(1, NonZeroUsize::get);
    bench.play_all(
        &wanted,
        at_once,
        lab::goes_alone,
        |Played { place, lab, .. }| match lab {
            Lab::Run(run) => report.take(&run, streams),
            Lab::NotRun(reason) => {
                let name = wanted[place].scenario.plan().name.clone();
                report.set_aside(name, reason, streams)
            }
        },
    )?;
    report.finish(streams)
}

fn store_scenarios(scenarios: &[Scenario], folder: &Path) -> Result<(), Problem> {
    fs::create_dir_all(folder).map_err(Problem::writing(folder))?;
    for scenario in scenarios {
        let path = folder.join(format!("{}.toml", scenario.plan().name));
        fs::write(&path, scenario.to_toml()).map_err(Problem::writing(&path))?;
    }
    Ok(())
}

/// What was printed so far, and what is left to be.
struct Printed<'a> {
    args: &'a Args,
    summary: Summary,
    passed: u64,
    failed: u64,
    unknown: u64,
}

impl<'a> Printed<'a> {
    fn new(args: &'a Args) -> Self {
        Self {
            args,
            summary: Summary::default(),
            passed: 0,
            failed: 0,
            unknown: 0,
        }
    }

    /// Sets aside what says of itself that this world cannot run it.
    fn playable(
        &mut self,
        scenarios: Vec<Scenario>,
        streams: &mut Streams<'_>,
    ) -> Result<Vec<Scenario>, Problem> {
        let mut playable = Vec::new();
        for scenario in scenarios {
            match runs::not_run(&scenario, self.args.world) {
                None => playable.push(scenario),
                Some(not_run) => {
                    if !self.args.json {
                        let name = &scenario.plan().name;
                        streams.print(&format!("not run  {name}: {}\n", not_run.reason))?;
                    }
                    self.summary.not_run.push(not_run);
                }
            }
        }
        Ok(playable)
    }

    fn set_aside(
        &mut self,
        name: String,
        reason: String,
        streams: &mut Streams<'_>,
    ) -> Result<(), Problem> {
        if !self.args.json {
            streams.print(&format!("not run  {name}: {reason}\n"))?;
        }
        self.summary.not_run.push(NotRun {
            scenario: Some(name),
            world: self.args.world.name().to_owned(),
            reason,
        });
        Ok(())
    }

    fn take(&mut self, run: &Run, streams: &mut Streams<'_>) -> Result<(), Problem> {
        match run.verdict {
            Verdict::Pass => self.passed += 1,
            Verdict::Unknown => self.unknown += 1,
            Verdict::Fail => self.failed += 1,
        }
        self.summary.results.push(Record::of(run, self.args.world));
        self.show(run)?;
        if self.args.json {
            return Ok(());
        }
        let what = self.args.what.as_deref().unwrap_or(&run.scenario);
        streams.print(&told(run, what, self.args))
    }

    /// Writes the pages of a run, if they are wanted and it has a trace.
    fn show(&self, run: &Run) -> Result<(), Problem> {
        let folder = self.args.traces.as_ref().filter(|_| self.args.report);
        let Some(folder) = folder.filter(|_| run.trace.is_some()) else {
            return Ok(());
        };
        let name = format!("{}-{}", run.scenario, run.seed);
        let (trace, place) = match self.args.world {
            World::Lab => (folder.join(&name), Place::folder(&folder.join(&name))),
            World::Fast | World::Turmoil => (
                folder.join(format!("{name}.trace.jsonl")),
                Place::among(folder, &name),
            ),
        };
        report::write(&trace, Some(self.args.world), &place).map(drop)
    }

    fn finish(self, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
        if let Some(folder) = &self.args.traces {
            self.summary.write(folder)?;
            if self.args.report {
                report::index::write(folder, &self.summary)?;
            }
        }
        let Self {
            passed,
            failed,
            unknown,
            ..
        } = self;
        let not_run = self.summary.not_run.len();
        if self.args.json {
            streams.print(&self.summary.to_json())?;
        } else {
            let runs = words::counted(passed + failed + unknown, "run");
            let tail = format!("{passed} passed, {failed} failed, {unknown} unknown");
            let rest = if not_run > 0 {
                format!(", {not_run} not run")
            } else {
                String::new()
            };
            streams.print(&format!("{runs}: {tail}{rest}\n"))?;
        }
        let endings = [
            (failed, Ending::Fail),
            (unknown, Ending::Unknown),
            (not_run as u64, Ending::NotRun),
        ];
        let worst = endings.into_iter().find(|(count, _)| *count > 0);
        Ok(worst.map_or(Ending::Pass, |(_, ending)| ending))
    }
}

/// A run in one line; if it did not pass, why, and the one command that repeats it.
fn told(run: &Run, what: &str, args: &Args) -> String {
    let Run { scenario, seed, .. } = run;
    let verdict = words::verdict(run.verdict);
    let outage = words::outage(run.outage);
    let trace = run
        .trace
        .map_or_else(|| "none".to_owned(), |trace| trace.to_string());
    let trace = words::short_hash(&trace);
    let mut lines = vec![format!(
        "{verdict:7}  {scenario}  seed {seed}  outage {outage}  trace {trace}"
    )];
    lines.extend(
        runs::why(run, &args.repeat(what, *seed))
            .into_iter()
            .map(|line| format!("         {line}")),
    );
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::testing::{judged, outcome};

    fn args(words: &[&str]) -> Args {
        let words = ["steadfast", "run"].iter().chain(words).map(OsString::from);
        match cli::parse(words).unwrap().verb {
            Some(cli::Verb::Run(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    /// A name is another daemon, a path the product's; who repeats a run repeats it with the same.
    #[test]
    fn run_takes_another_daemon_by_name() {
        let rival = args(&["x", "--world", "lab", "--under-test", "keepalived"]);
        assert_eq!(rival.rival(), Some(Daemon::Keepalived));
        assert_eq!(
            rival.repeat("x", 7),
            "steadfast run x --world lab --seed 7 --under-test keepalived"
        );
        let product = args(&["x", "--under-test", "./steadfastd"]);
        assert_eq!(product.product(), Some(Path::new("./steadfastd")));
        let own = args(&["x", "--world", "lab", "--under-test", "steadfast"]);
        assert_eq!(own.rival(), Some(Daemon::Steadfast));
        assert!(UnderTest::parse("keepalivd").is_err());
    }

    /// A run that passed is one line; one that did not says why and how to see it again.
    #[test]
    fn run_text_tells_verdict_reason_and_command() {
        let passed = Run::from(outcome("active-loses-power", 0));
        let failed = judged("quiet-day", 7, Verdict::Fail, "outage");
        let unknown = judged("quiet-day", 8, Verdict::Unknown, "converges");
        let unplayed = Run::unplayed("broken", 9, "a step is later than the end".to_owned());
        let runs = [passed, failed, unknown, unplayed];
        let text: String = runs
            .iter()
            .map(|run| told(run, &run.scenario, &args(&["--all"])))
            .collect();
        insta::assert_snapshot!(text, @r"
        pass     active-loses-power  seed 0  outage 11.3 ms  trace 0000000000000000
        FAIL     quiet-day  seed 7  outage 11.3 ms  trace 0000000000000007
                 outage: out: 22 ms, allowed are 12 (since 3.000s)
                 repeat: steadfast run quiet-day --world fast --seed 7
        unknown  quiet-day  seed 8  outage 11.3 ms  trace 0000000000000008
                 converges: out: never armed
                 repeat: steadfast run quiet-day --world fast --seed 8
        FAIL     broken  seed 9  outage -  trace none
                 scenario: a step is later than the end
                 repeat: steadfast run broken --world fast --seed 9
        ");
    }
}
