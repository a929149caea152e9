//! `steadfast compare`: what other daemons make of the catalogue.
//!
//! Each story is played by each daemon in the lab, with the same seeds and faults, and what clients
//! and the wire could see is judged by the same oracles and the same bounds. The others are
//! configured as their handbooks would have a pair; what a story demands that a daemon cannot be
//! told is not asked of it, and the reason is printed. A row says what each daemon held:
//!
//! * `holds`: everything within the story's bounds;
//! * `interrupts N ms`: the bounds on time were not kept, and everything came right again;
//! * `FAILS`: something that must not be, such as two owners, or clients left behind.
//!
//! The hard case is company: the kernel tells of a lost link at once only if it told of none within
//! the last second, whoever's it was. So runs go one by one unless told otherwise.
//!
//! Limit: the bounds are the product's own promises. Who promises less is not wrong, but slower; so
//! the milliseconds are printed.

mod held;
mod table;

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::value_parser;
use steadfast_netlab::daemons::Daemon;
use steadfast_netlab::foreign::Foreign;
use steadfast_scenarios::Scenario;

use self::held::{Cell, Held};
use self::table::Row;
use super::Streams;
use crate::catalogue;
use crate::cli::World;
use crate::ending::Ending;
use crate::lab::company::in_company;
use crate::lab::{Bench, Lab, Wanted};
use crate::problem::Problem;
use crate::runs::not_run;
use crate::summary;

/// Everybody, in the order of the table; those that are not installed are left out.
const ALL: [Daemon; 5] = [
    Daemon::Steadfast,
    Daemon::Vrrp,
    Daemon::Keepalived,
    Daemon::Frr,
    Daemon::Ucarp,
];
/// Most runs of a story by one daemon.
const RUNS_MAX: u64 = 1_000;

/// Whom to compare, in what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scenarios' names (see `list`), or files [default: the whole catalogue]
    #[arg(value_name = "NAME|FILE")]
    what: Vec<String>,
    /// Whom: steadfast, steadfast-vrrp, keepalived, frr, ucarp [default: all that are installed]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    daemons: Vec<String>,
    /// How often each plays each story, with seeds 0, 1, ...
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = value_parser!(u64).range(1..=RUNS_MAX))]
    runs: u64,
    /// How many runs at once; one is fair: side by side a kernel reports lost links up to a second
    /// late, which only the product does not wait for
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: NonZeroUsize,
    /// Print what was found as JSON instead of text
    #[arg(long)]
    json: bool,
    /// Write the table as Markdown, too
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Keep every run's trace, frames and logs here, as STORY-SEED-DAEMON
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
    /// The product's daemon [default: the one built from the same sources]
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
}

/// Plays everything and prints a row for each story.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let scenarios = catalogue::chosen(&args.what)?;
    let daemons = daemons(args)?;
    let bench = Bench::set_up(args.daemon.as_deref())?;
    if !args.json {
        streams.print(&table::head(&daemons))?;
    }
    let mut rows = Vec::new();
    for scenario in &scenarios {
        let row = row(args, scenario, &daemons, &bench)?;
        if !args.json {
            streams.print(&row.text())?;
        }
        rows.push(row);
    }
    if args.json {
        streams.print(&summary::to_json(&rows))?;
    } else {
        streams.print(&table::foot(&rows, &daemons))?;
    }
    if let Some(path) = &args.markdown {
        let text = table::markdown(&rows, &daemons, args.runs);
        fs::write(path, text).map_err(Problem::writing(path))?;
    }
    Ok(ending(&rows))
}

/// Who takes part.
fn daemons(args: &Args) -> Result<Vec<Daemon>, Problem> {
    let installed = |it: &Daemon| Foreign::new(*it, "").uninstalled().is_none();
    if args.daemons.is_empty() {
        return Ok(ALL.into_iter().filter(installed).collect());
    }
    let named = |name: &String| {
        let daemon = Daemon::named(name).ok_or_else(|| Problem::UnknownDaemon(name.clone()))?;
        match Foreign::new(daemon, "").uninstalled() {
            None => Ok(daemon),
            Some(path) => Err(Problem::NotInstalled {
                daemon: name.clone(),
                path,
            }),
        }
    };
    args.daemons.iter().map(named).collect()
}

/// One story, by everybody: with each seed they take turns, so that none has a better hour.
fn row(
    args: &Args,
    scenario: &Scenario,
    daemons: &[Daemon],
    bench: &Bench,
) -> Result<Row, Problem> {
    let name = &scenario.plan().name;
    if let Some(not_run) = not_run(scenario, World::Lab) {
        let cell = |daemon: &Daemon| (*daemon, Cell::not_run(not_run.reason.clone()));
        return Ok(Row::new(name, daemons.iter().map(cell).collect()));
    }
    let empty = |daemon: &Daemon| (*daemon, Cell::default());
    let mut cells: Vec<_> = daemons.iter().map(empty).collect();
    let mut wanted = Vec::new();
    for seed in 0..args.runs {
        for daemon in daemons {
            let folder = |folder: &PathBuf| folder.join(format!("{name}-{seed}-{}", daemon.name()));
            let evidence = args.traces.as_ref().map(folder);
            if let Some(folder) = &evidence {
                fs::create_dir_all(folder).map_err(Problem::writing(folder))?;
            }
            wanted.push(Wanted {
                scenario,
                seed,
                rival: Some(*daemon),
                evidence,
            });
        }
    }
    let end = scenario.plan().end();
    let stalled = |_: &Wanted<'_>, lab: &Lab| matches!(lab, Lab::Run(run) if run.blind);
    in_company(bench, args.jobs.get(), wanted, stalled, |wanted, lab| {
        let mut cells = cells.iter_mut();
        let known = cells.find(|(daemon, _)| wanted.rival == Some(*daemon));
        match (known, lab) {
            (Some((_, cell)), Lab::NotRun(why)) => cell.could_not_run(why, wanted.seed),
            (Some((_, cell)), Lab::Run(run)) => cell.take(Held::of(&run, end), wanted.seed),
            (None, _) => {}
        }
        Ok(())
    })?;
    Ok(Row::new(name, cells))
}

/// The product's own row decides: what others hold is told, not judged.
fn ending(rows: &[Row]) -> Ending {
    let own = rows.iter().filter_map(|row| row.cell(Daemon::Steadfast));
    own.map(Cell::ending).max().unwrap_or(Ending::Pass)
}
