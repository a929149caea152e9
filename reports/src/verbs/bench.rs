//! `steadfast bench`: figures, each from one run of its own on this machine.
//!
//! One file per bench; each prints a table for people and writes the same as JSON for tools.

use super::Streams;
use crate::ending::Ending;
use crate::problem::Problem;

mod cost;
mod failover;
mod sim;
mod soak;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// The benches.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// What daemons take while nothing happens, and what claims of many addresses are like, in
    /// namespaces
    Cost(cost::Args),
    /// Failover against other daemons, in namespaces: outage, losses, two owners, fault by fault
    Failover(failover::Args),
    /// False takeovers in a long quiet run with all processors busy, in namespaces
    Soak(soak::Args),
    /// The speed of the world `fast`: simulated seconds and frame hops for a second of processor
    Sim(sim::Args),
}

/// Measures and tells.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    match &args.what {
        What::Cost(args) => cost::run(args, streams),
        What::Failover(args) => failover::run(args, streams),
        What::Soak(args) => soak::run(args, streams),
        What::Sim(args) => sim::run(args, streams),
    }
}
