//! `steadfast audit`: plays every run twice, in processes that differ in all that must not matter,
//! and says where two traces part.
//!
//! One process plays all runs of a world in its surroundings, both at once, so the whole catalogue
//! costs two campaigns and a comparison. Each leaves a summary beside its traces; these lie in a
//! folder below the temporary one and are removed, unless `--keep` says where they shall stay. A
//! process that ends by anything but a verdict is a failed audit: it proves nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

use clap::value_parser;
use serde::Serialize;

use super::Streams;
use crate::audit::{Compared, Surroundings, address_layouts_differ, compare};
use crate::catalogue;
use crate::cli::World;
use crate::ending::Ending;
use crate::problem::Problem;
use crate::words;

/// Where the processes play; a second run in the lab is never byte-equal, its time is real.
const WORLDS: [World; 2] = [World::Fast, World::Turmoil];
/// How a stored trace's name ends.
const TRACE: &str = ".trace.jsonl";
/// The worst exit code of a run that was played and judged.
const JUDGED_MAX: i32 = 2;
/// How often people are told that something still runs.
const TOLD_EVERY: Duration = Duration::from_secs(10);
const NAP: Duration = Duration::from_millis(20);

/// What to audit.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A scenario's name (see `list`), or a file [default: the whole catalogue]
    #[arg(value_name = "NAME|FILE")]
    what: Option<String>,
    /// Where to play [default: every simulated world]
    #[arg(long, value_enum)]
    world: Option<World>,
    /// The seed [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    #[arg(value_parser = value_parser!(u64).range(..u64::MAX))]
    seed: u64,
    /// Another build of this command for the second process, such as one with other optimisation;
    /// given twice: the build for each
    #[arg(long, value_name = "FILE")]
    build: Vec<PathBuf>,
    /// Keep the traces in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print what was found as JSON instead of text
    #[arg(long)]
    json: bool,
}

/// What an audit found.
#[derive(Debug, Serialize)]
struct Report {
    seed: u64,
    /// What was not varied, and why.
    not_varied: Vec<String>,
    runs: Vec<Audited>,
}

/// A run that was played twice.
#[derive(Debug, Serialize)]
struct Audited {
    scenario: String,
    world: &'static str,
    #[serde(flatten)]
    found: Found,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Found {
    Compared(Compared),
    /// Only one of the processes left a trace: its surroundings.
    OnlyIn(&'static str),
}

/// Plays all twice and compares.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let worlds = match args.world {
        None => WORLDS.to_vec(),
        Some(world) if WORLDS.contains(&world) => vec![world],
        Some(_) => return Err(Problem::AuditOfLab),
    };
    if let Some(what) = &args.what {
        catalogue::open(what)?;
    }
    let folder = Folder::new(args.keep.as_deref())?;
    let builds = Builds::new(&args.build)?;
    let mut report = Report {
        seed: args.seed,
        not_varied: not_varied(args),
        runs: Vec::new(),
    };
    for world in worlds {
        let traces = |it: Surroundings| folder.path.join(world.name()).join(it.name());
        let (one, other) = (Surroundings::Bare, Surroundings::Rich);
        let players = [one, other].map(|it| start(args, world, it, &builds, &traces(it)));
        finish(
            players.into_iter().collect::<Result<_, _>>()?,
            world,
            streams,
        )?;
        report.take(world, &traces(one), &traces(other))?;
    }
    if args.json {
        streams.print(&crate::summary::to_json(&report))?;
    } else {
        streams.print(&report.text(args.what.as_deref()))?;
    }
    Ok(report.ending())
}

fn not_varied(args: &Args) -> Vec<String> {
    let mut left = Vec::new();
    if args.build.is_empty() {
        let how = "name another build of the same sources with --build FILE";
        left.push(format!("optimisation: {how}"));
    }
    if !address_layouts_differ() {
        left.push("address layout: the kernel is told to give all processes one".to_owned());
    }
    left
}

/// The programs that play.
struct Builds {
    one: PathBuf,
    other: PathBuf,
}

impl Builds {
    fn new(named: &[PathBuf]) -> Result<Self, Problem> {
        let own = || env::current_exe().map_err(Problem::Player);
        let placed = |path: &PathBuf| path.canonicalize().map_err(Problem::reading(path));
        let (one, other) = match named {
            [] => (own()?, own()?),
            [other] => (own()?, placed(other)?),
            [one, other] => (placed(one)?, placed(other)?),
            [..] => {
                return Err(Problem::TooMuch {
                    what: format!("{} builds", named.len()),
                    max: 2,
                });
            }
        };
        Ok(Self { one, other })
    }

    fn of(&self, surroundings: Surroundings) -> &Path {
        match surroundings {
            Surroundings::Bare => &self.one,
            Surroundings::Rich => &self.other,
        }
    }
}

/// Begins to play in a process of its own.
fn start(
    args: &Args,
    world: World,
    surroundings: Surroundings,
    builds: &Builds,
    traces: &Path,
) -> Result<Player, Problem> {
    fs::create_dir_all(traces).map_err(Problem::writing(traces))?;
    let mut command = surroundings.command(builds.of(surroundings));
    command.arg("run");
    match &args.what {
        None => command.arg("--all"),
        Some(what) => command.arg(placed(what)?),
    };
    command.args(["--world", world.name(), "--seed", &args.seed.to_string()]);
    command.arg("--traces").arg(traces);
    if let Some(threads) = surroundings.threads() {
        command.args(["--jobs", &threads.to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().map(Player).map_err(Problem::Player)
}

/// A process that plays; it ends when nobody waits for it any more.
struct Player(Child);

impl Drop for Player {
    fn drop(&mut self) {
        // It has ended already, unless something else went wrong.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for both; says now and then that it does.
fn finish(
    mut players: Vec<Player>,
    world: World,
    streams: &mut Streams<'_>,
) -> Result<(), Problem> {
    let began = Instant::now();
    let mut told = Duration::ZERO;
    while let Some(mut player) = players.pop() {
        let status = loop {
            if let Some(status) = player.0.try_wait().map_err(Problem::Player)? {
                break status;
            }
            thread::sleep(NAP);
            if began.elapsed() >= told + TOLD_EVERY {
                told = began.elapsed();
                let (world, seconds) = (world.name(), told.as_secs());
                streams.note(&format!("playing twice in {world}: {seconds} s\n"))?;
            }
        };
        match status.code() {
            Some(0..=JUDGED_MAX) => {}
            _ => {
                let why = format!("playing in {} ended with {status}", world.name());
                return Err(Problem::Player(io::Error::other(why)));
            }
        }
    }
    Ok(())
}

/// A file's path must mean the same in another folder.
fn placed(what: &str) -> Result<PathBuf, Problem> {
    let path = Path::new(what);
    match path.is_file() && (what.contains('/') || what.ends_with(".toml")) {
        true => path.canonicalize().map_err(Problem::reading(path)),
        false => Ok(path.to_owned()),
    }
}

impl Report {
    fn take(&mut self, world: World, one: &Path, other: &Path) -> Result<(), Problem> {
        let (left, right) = (traces(one)?, traces(other)?);
        for file in left.union(&right) {
            let scenario = file.trim_end_matches(TRACE).to_owned();
            let found = match (left.contains(file), right.contains(file)) {
                (true, true) => Found::Compared(compare(&one.join(file), &other.join(file))?),
                (true, false) => Found::OnlyIn(Surroundings::Bare.name()),
                (false, _) => Found::OnlyIn(Surroundings::Rich.name()),
            };
            let suffix = format!("-{}", self.seed);
            self.runs.push(Audited {
                scenario: scenario.trim_end_matches(&suffix).to_owned(),
                world: world.name(),
                found,
            });
        }
        Ok(())
    }

    fn ending(&self) -> Ending {
        let equal = |it: &Audited| matches!(it.found, Found::Compared(Compared::Equal(_)));
        if self.runs.is_empty() {
            Ending::Unknown
        } else if !self.runs.iter().all(equal) {
            Ending::Fail
        } else if self.not_varied.is_empty() {
            Ending::Pass
        } else {
            Ending::NotRun
        }
    }

    fn text(&self, what: Option<&str>) -> String {
        let mut text = String::new();
        for run in &self.runs {
            let Audited {
                scenario, world, ..
            } = run;
            let (one, other) = (Surroundings::Bare.name(), Surroundings::Rich.name());
            match &run.found {
                Found::Compared(Compared::Equal(_)) => continue,
                Found::Compared(Compared::Different(found)) => {
                    text += &format!("DIFFERS  {scenario}, {world}, at line {}\n", found.line);
                    text += &found.text(one, other);
                }
                Found::OnlyIn(name) => {
                    text += &format!("DIFFERS  {scenario}, {world}: only {name} left a trace\n");
                }
            }
            let what = what.unwrap_or(scenario);
            let seed = self.seed;
            text += &format!("    repeat: steadfast audit {what} --world {world} --seed {seed}\n");
        }
        for world in WORLDS.map(World::name) {
            text += &self.total(world);
        }
        for left in &self.not_varied {
            text += &format!("not varied: {left}\n");
        }
        text
    }

    /// One line over all runs in a world; nothing if there were none.
    fn total(&self, world: &str) -> String {
        let mut events = 0;
        let (mut equal, mut all) = (0, 0);
        for run in self.runs.iter().filter(|run| run.world == world) {
            all += 1;
            if let Found::Compared(Compared::Equal(count)) = run.found {
                equal += 1;
                events += count;
            }
        }
        if all == 0 {
            return String::new();
        }
        let runs = words::counted(all, "run");
        format!("{world:8} {runs}, {equal} byte-equal in both processes, {events} events\n")
    }
}

fn traces(folder: &Path) -> Result<BTreeSet<String>, Problem> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(Problem::reading(folder))? {
        let entry = entry.map_err(Problem::reading(folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(TRACE) {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Where the traces lie meanwhile.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn new(keep: Option<&Path>) -> Result<Self, Problem> {
        let own = || env::temp_dir().join(format!("steadfast-audit-{}", process::id()));
        let path = keep.map_or_else(own, Path::to_owned);
        fs::create_dir_all(&path).map_err(Problem::writing(&path))?;
        let path = path.canonicalize().map_err(Problem::writing(&path))?;
        let keep = keep.is_some();
        Ok(Self { path, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed lies in the temporary folder.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
