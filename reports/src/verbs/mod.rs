//! The verbs, one file each.
//!
//! A verb is a function from its arguments and two streams to an [`Ending`]. It prints what it
//! found itself; what keeps it from being carried out it returns as a [`Problem`].

use std::io::Write;

use crate::cli::{Cli, Verb};
use crate::ending::Ending;
use crate::problem::Problem;

pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod cover;
pub(crate) mod doctor;
pub(crate) mod explore;
pub(crate) mod fidelity;
pub(crate) mod import;
mod list;
pub(crate) mod qualify;
pub(crate) mod removals;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod run;
mod schema;
pub(crate) mod sweep;

/// Where a verb prints.
pub(crate) struct Streams<'a> {
    /// Results.
    pub(crate) out: &'a mut dyn Write,
    /// Progress, and what is wrong.
    pub(crate) err: &'a mut dyn Write,
}

impl Streams<'_> {
    /// Prints a result.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), Problem> {
        self.out.write_all(text.as_bytes()).map_err(Problem::Print)
    }

    /// Prints beside the results.
    pub(crate) fn note(&mut self, text: &str) -> Result<(), Problem> {
        self.err.write_all(text.as_bytes()).map_err(Problem::Print)
    }
}

/// Does what the command line says; qualifies when it says nothing.
pub(crate) fn run(cli: &Cli, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    match &cli.verb {
        None => qualify::run(&qualify::Args::default(), streams),
        Some(Verb::Audit(args)) => audit::run(args, streams),
        Some(Verb::Bench(args)) => bench::run(args, streams),
        Some(Verb::Check(args)) => check::run(args, streams),
        Some(Verb::Compare(args)) => compare::run(args, streams),
        Some(Verb::Cover(args)) => cover::run(args, streams),
        Some(Verb::Fidelity(args)) => fidelity::run(args, streams),
        Some(Verb::Import(args)) => import::run(args, streams),
        Some(Verb::List) => list::run(streams),
        Some(Verb::Qualify(args)) => qualify::run(args, streams),
        Some(Verb::Removals(args)) => removals::run(args, streams),
        Some(Verb::Replay(args)) => replay::run(args, streams),
        Some(Verb::Report(args)) => report::run(args, streams),
        Some(Verb::Run(args)) => run::run(args, streams),
        Some(Verb::Schema) => schema::run(streams),
        Some(Verb::Doctor(args)) => doctor::run(args, streams),
        Some(Verb::Explore(args)) => explore::run(args, streams),
        Some(Verb::Sweep(args)) => sweep::run(args, streams),
    }
}
