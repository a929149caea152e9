//! `steadfast fidelity`: the same files in the simulators and on real kernels, side by side.
//!
//! Every scenario is played with the same seeds in each world; the lab is what the others are held
//! against. Runs of the lab whose evidence has a hole are left out; if fewer than half are left,
//! nothing is said about the scenario. A scenario that the lab cannot play is not run.
//! `--model FILE` has the simulators play another file than the lab: a wrong model must fail.

mod in_lab;

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Serialize;
use steadfast_scenarios::{Scenario, trace};
use steadfast_sim::campaign;

use self::in_lab::in_lab;
use super::Streams;
use crate::catalogue;
use crate::cli::{self, World};
use crate::ending::Ending;
use crate::fidelity::{Against, Compared, compare, sightings};
use crate::lab::Bench;
use crate::pool;
use crate::problem::Problem;
use crate::runs::not_run;
use crate::words;

/// What is held against the lab.
const MODELS: [campaign::World; 2] = [campaign::World::Fast, campaign::World::Turmoil];
/// Most repeats, because the moments of all are kept.
const REPEATS_MAX: u64 = 1_000;

/// What to compare.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scenarios' names (see `list`), or files [default: the whole catalogue]
    #[arg(value_name = "NAME|FILE")]
    what: Vec<String>,
    /// How often each is played in each world, with seeds 0, 1, ...
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=REPEATS_MAX))]
    repeats: u64,
    /// What the simulators play instead of the lab's scenario
    #[arg(long, value_name = "NAME|FILE")]
    model: Option<String>,
    /// Print what was found as JSON instead of text
    #[arg(long)]
    json: bool,
    /// Write the table as Markdown, too
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// How many runs at once in the lab; three are as exact as one
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: NonZeroUsize,
    /// Keep the lab's runs here, and take those that the same daemon has played before; for one
    /// machine and one build of the lab
    #[arg(long, value_name = "DIR", conflicts_with = "daemon")]
    keep: Option<PathBuf>,
    /// Only play the lab's runs that are not kept yet, and keep them; compare another time
    #[arg(long, requires = "keep")]
    gather: bool,
    /// The daemon under test [default: the one built from the same sources]
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
}

/// What became of one scenario.
#[derive(Debug, Serialize)]
struct Row {
    scenario: String,
    /// Why the lab did not play it.
    not_run: Option<String>,
    /// Its runs of the lab were only to be kept.
    #[serde(skip)]
    gathered: bool,
    /// Runs of the lab that count.
    lab_runs: usize,
    worlds: Vec<Held>,
}

/// A simulator, held against the lab: in every pair of values the simulator's comes first.
#[derive(Debug, Serialize)]
struct Held {
    world: &'static str,
    /// None when too few runs of the lab count.
    passes: Option<bool>,
    #[serde(flatten)]
    compared: Compared,
}

/// Plays everything and prints a line for each scenario.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let scenarios = catalogue::chosen(&args.what)?;
    let model = args.model.as_deref().map(catalogue::open).transpose()?;
    let bench = Bench::set_up(args.daemon.as_deref())?;
    let mut rows = Vec::new();
    if !args.json {
        streams.print(HEAD)?;
    }
    for scenario in &scenarios {
        let row = row(args, scenario, model.as_ref().unwrap_or(scenario), &bench)?;
        if !args.json {
            streams.print(&row.text())?;
        }
        rows.push(row);
    }
    if args.json {
        streams.print(&crate::summary::to_json(&rows))?;
    } else {
        streams.print(&total(&rows))?;
    }
    if let Some(path) = &args.markdown {
        fs::write(path, markdown(&rows, args.repeats)).map_err(Problem::writing(path))?;
    }
    Ok(rows
        .iter()
        .map(Row::ending)
        .max()
        .unwrap_or(Ending::Unknown))
}

fn row(args: &Args, scenario: &Scenario, model: &Scenario, bench: &Bench) -> Result<Row, Problem> {
    let mut row = Row {
        scenario: scenario.plan().name.clone(),
        not_run: not_run(scenario, World::Lab).map(|it| it.reason),
        gathered: args.gather,
        lab_runs: 0,
        worlds: Vec::new(),
    };
    if row.not_run.is_some() {
        return Ok(row);
    }
    let lab = match in_lab(args, scenario, bench)? {
        Ok(lab) => lab,
        Err(needs) => {
            row.not_run = Some(needs);
            return Ok(row);
        }
    };
    row.lab_runs = lab.runs.len();
    let enough = lab.runs.len() as u64 * 2 >= args.repeats;
    for world in MODELS {
        if args.gather {
            break;
        }
        if not_run(model, World::of(world)).is_some() {
            continue;
        }
        let compared = compare(&simulated(args, model, world)?, &lab);
        row.worlds.push(Held {
            world: world.name(),
            passes: compared.passes().filter(|_| enough),
            compared,
        });
    }
    Ok(row)
}

fn simulated(args: &Args, scenario: &Scenario, world: campaign::World) -> Result<Against, Problem> {
    let play = |seed: u64| {
        let mut bytes = Vec::new();
        let played = campaign::play_storing(scenario, seed, world.into(), &mut bytes);
        played.map(|outcome| (outcome.verdict, bytes))
    };
    let mut against = Against::default();
    pool::in_order(args.repeats, cli::threads(None), play, |played| {
        let unplayed = |why: String| Problem::Bench(format!("{}: {why}", scenario.plan().name));
        let (verdict, bytes) = played.map_err(unplayed)?;
        let text = String::from_utf8_lossy(&bytes);
        let events = trace::read(&text).map_err(|why| unplayed(why.to_string()))?;
        against.verdicts.push(verdict);
        against.runs.push(sightings(&events));
        Ok::<(), Problem>(())
    })?;
    Ok(against)
}

const HEAD: &str = "\
simulators against the lab: pairs of moments in the same order, and the interval whose medians are
furthest apart (simulator, lab)\n";

impl Row {
    fn ending(&self) -> Ending {
        if self.not_run.is_some() {
            return Ending::NotRun;
        }
        let ending = |held: &Held| match held.passes {
            Some(true) => Ending::Pass,
            Some(false) => Ending::Fail,
            None => Ending::Unknown,
        };
        // What was only gathered is not judged, and nothing is wrong with it.
        let unjudged = match (self.gathered, self.lab_runs) {
            (true, 1..) => Ending::Pass,
            (true, 0) => Ending::Unknown,
            (false, _) => Ending::NotRun,
        };
        self.worlds.iter().map(ending).max().unwrap_or(unjudged)
    }

    fn text(&self) -> String {
        if let Some(why) = &self.not_run {
            return format!("not run  {}: {why}\n", self.scenario);
        }
        if self.worlds.is_empty() && !self.gathered {
            return format!("not run  {}: no simulator plays it\n", self.scenario);
        }
        if self.worlds.is_empty() {
            return format!("kept     {}: {} runs\n", self.scenario, self.lab_runs);
        }
        let mut text = String::new();
        for held in &self.worlds {
            let Held { world, .. } = held;
            let (scenario, word, found) = (&self.scenario, held.word(), held.found());
            text += &format!("{word:7}  {scenario}, {world}: {found}\n");
            if held.passes != Some(true) {
                text += &held.complaints();
            }
        }
        text
    }
}

impl Held {
    const fn word(&self) -> &'static str {
        match self.passes {
            Some(true) => "pass",
            Some(false) => "FAIL",
            None => "unknown",
        }
    }

    fn found(&self) -> String {
        let Compared {
            pairs, agreeing, ..
        } = self.compared;
        let pairs = format!("{agreeing} of {pairs} pairs");
        match self.compared.worst() {
            None => pairs,
            Some(worst) => {
                let [one, other] = worst.p50.map(milliseconds);
                format!("{pairs}; {}: {one}, {other}", worst.name)
            }
        }
    }

    /// Everything that keeps it from passing, a line each.
    fn complaints(&self) -> String {
        let mut lines = Vec::new();
        let [one, other] = self
            .compared
            .verdicts
            .map(|it| it.map_or("none", words::verdict));
        if one != other {
            lines.push(format!("verdicts: {one}, {other}"));
        }
        lines.extend(self.compared.disagreements.iter().cloned());
        for interval in self
            .compared
            .intervals
            .iter()
            .filter(|it| it.close != Some(true))
        {
            let ([one, other], [late, later]) = (
                interval.p50.map(milliseconds),
                interval.p90.map(milliseconds),
            );
            let name = &interval.name;
            let chance = match interval.close {
                None => " (chance alone may do that: more repeats will tell)",
                Some(_) => "",
            };
            lines.push(format!(
                "{name}: median {one}, {other}; nine in ten {late}, {later}{chance}"
            ));
        }
        lines
            .into_iter()
            .map(|line| format!("         {line}\n"))
            .collect()
    }
}

fn total(rows: &[Row]) -> String {
    let held = || rows.iter().flat_map(|row| &row.worlds);
    let count = |wanted: Option<bool>| held().filter(|it| it.passes == wanted).count();
    let pairs: u64 = held().map(|it| it.compared.pairs).sum();
    let agreeing: u64 = held().map(|it| it.compared.agreeing).sum();
    let not_run = rows.iter().filter(|row| row.not_run.is_some()).count();
    format!(
        "{} comparisons: {} pass, {} fail, {} unknown; {not_run} scenarios not run; {agreeing} of \
         {pairs} pairs agree\n",
        held().count(),
        count(Some(true)),
        count(Some(false)),
        count(None),
    )
}

/// The table for a document.
fn markdown(rows: &[Row], repeats: u64) -> String {
    let mut text = format!(
        "{repeats} runs of each scenario in each world, with the same seeds; medians in ms, \
         simulator and lab.\n\n| scenario | world | | lab runs | pairs | widest interval |\n\
         |---|---|---|---|---|---|\n"
    );
    for row in rows {
        if let Some(why) = &row.not_run {
            text += &format!("| {} | | not run: {why} | | | |\n", row.scenario);
        }
        for held in &row.worlds {
            let Compared {
                pairs, agreeing, ..
            } = held.compared;
            let worst = held.compared.worst().map_or_else(String::new, |worst| {
                let [one, other] = worst.p50.map(milliseconds);
                format!("{}: {one}, {other}", worst.name)
            });
            let (scenario, world, word) = (&row.scenario, held.world, held.word());
            let runs = row.lab_runs;
            text += &format!(
                "| {scenario} | {world} | {word} | {runs} | {agreeing}/{pairs} | {worst} |\n"
            );
        }
    }
    text + &format!("\n{}", total(rows))
}

fn milliseconds(nanos: u64) -> String {
    let tenths = nanos / 100_000;
    format!("{}.{} ms", tenths / 10, tenths % 10)
}
