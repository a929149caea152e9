//! The command line: verbs, and the values they share.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::thread;

use clap::{Parser, Subcommand, ValueEnum};
use steadfast_sim::campaign;

use crate::verbs::{
    audit, bench, check, compare, cover, doctor, explore, fidelity, import, qualify, removals,
    replay, report, run, sweep,
};

const EXIT_CODES: &str = "\
Exit codes:
  0  pass: everything that was run is as expected
  1  fail: something is not as expected
  2  unknown: evidence is missing; with --strict also when something was not run
  3  usage: the command could not be carried out as given (options, files, folders)";

/// Proves that a pair of gateways fails over: the production decisions under scenario files.
#[derive(Debug, Parser)]
#[command(name = "steadfast", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Count what was not run as unknown (exit code 2)
    #[arg(long, global = true)]
    pub(crate) strict: bool,
    /// What to do; `qualify` when none is given.
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Play runs twice, in processes that differ in all that must not matter, and compare
    Audit(audit::Args),
    /// Measure: the simulator's speed, and failover against other daemons
    Bench(bench::Args),
    /// Read scenario files and say what is wrong with them
    Check(check::Args),
    /// Put other daemons into the same lab under the same stories, and tell what each holds
    Compare(compare::Args),
    /// Tell what the catalogue's stories claim to show, and what nobody shows
    Cover(cover::Args),
    /// Say what this machine can run in the lab, and what helps where it cannot
    Doctor(doctor::Args),
    /// Try every interleaving of a few faults on the production core
    Explore(explore::Args),
    /// Hold the simulators against real kernels: verdicts, order of moments, intervals
    Fidelity(fidelity::Args),
    /// Replay a gateway's flight recorder, and make a scenario file of it
    Import(import::Args),
    /// List the scenarios that are built in
    List,
    /// Run the whole catalogue and write a report (the default)
    Qualify(qualify::Args),
    /// Take each claimed behaviour away and see that the story that claims it fails
    Removals(removals::Args),
    /// Judge a stored trace again and compare with what was recorded
    Replay(replay::Args),
    /// Write a stored run as pages for people: timeline, reasons, trace events
    Report(report::Args),
    /// Run scenarios with given seeds
    Run(run::Args),
    /// Print the JSON Schema of scenario files
    Schema,
    /// Run many seeds over the whole catalogue
    Sweep(sweep::Args),
}

/// Where scenarios are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum World {
    /// The decision code on a simulated network; a second costs microseconds
    Fast,
    /// The real daemon on real kernels, in namespaces of its own; a second costs a second
    Lab,
    /// The daemon's whole shell in simulated time, with a disk and barriers
    Turmoil,
}

impl World {
    /// Its name in files and commands.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Lab => "lab",
            Self::Turmoil => "turmoil",
        }
    }

    /// The world of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let worlds = Self::value_variants();
        worlds.iter().copied().find(|world| world.name() == name)
    }

    /// The world of a simulator.
    pub(crate) const fn of(world: campaign::World) -> Self {
        match world {
            campaign::World::Fast => Self::Fast,
            campaign::World::Turmoil => Self::Turmoil,
        }
    }

    /// The simulator that plays it, if one does.
    pub(crate) const fn simulated(self) -> Option<campaign::World> {
        match self {
            Self::Fast => Some(campaign::World::Fast),
            Self::Lab => None,
            Self::Turmoil => Some(campaign::World::Turmoil),
        }
    }
}

/// Reads the command line; help and version come back as an error that goes to stdout.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(args)
}

/// Reads `A..B`.
pub(crate) fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || "expected A..B with A below B, such as 0..2000".to_owned();
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let seeds = number(first)?..number(end)?;
    if seeds.is_empty() {
        Err(wrong())
    } else {
        Ok(seeds)
    }
}

/// How many threads: as many as asked, else as many as can run at once.
pub(crate) fn threads(jobs: Option<NonZeroUsize>) -> usize {
    let jobs = jobs.or_else(|| thread::available_parallelism().ok());
    jobs.map_or(1, NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// The table of verbs and options holds together: no clash, no missing value.
    #[test]
    fn cli_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// A range that runs nothing would pass without proof, so it is refused.
    #[test]
    fn cli_seeds_empty_or_backwards_are_refused() {
        assert_eq!(seeds("5..7"), Ok(5..7));
        for wrong in ["", "5", "7..5", "5..5", "a..b", "-1..3", "1..=3", "1.. 3"] {
            let error = seeds(wrong).expect_err(wrong);
            assert!(error.contains("A..B"), "{wrong}: {error}");
        }
    }

    /// Without a verb there is none, so that the default stands in one place alone.
    #[test]
    fn cli_without_verb_parses() {
        let cli = parse(["steadfast", "--strict"].map(OsString::from)).unwrap();
        assert!(cli.strict && cli.verb.is_none());
    }
}
