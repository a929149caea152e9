//! `steadfast sweep`: many seeds over the whole catalogue, to find what nobody thought of.
//!
//! Seed n plays the scenario n modulo their number, so any range covers all of them evenly and a
//! seed always means the same run. Long scenarios would eat the campaign: they take turns at one
//! seed in [`LONG_EVERY`]. One run in twenty is played again in another process and must leave the
//! same trace ([`sample`]). The result does not depend on the number of threads; the processor time
//! alone is measured. Limit: [`RUNS_MAX`].

use std::num::NonZeroUsize;
use std::ops::Range;
use steadfast_scenarios::{Scenario, Verdict};

use super::Streams;
use crate::audit::sample::{self, Sample};
use crate::catalogue::{self, CATALOGUE};
use crate::cli::{self, World};
use crate::ending::Ending;
use crate::pool;
use crate::problem::Problem;
use crate::processor;
use crate::progress::Progress;
use crate::runs::{Run, not_run};
use crate::tally::Tally;

/// One seed in so many, the last of each block, plays a long scenario.
const LONG_EVERY: u64 = 1000;
/// Most runs in one sweep, because the trace hashes of all are kept to count the distinct ones.
const RUNS_MAX: u64 = 20_000_000;

/// What to sweep.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to play
    #[arg(long, value_enum, default_value_t = World::Fast)]
    world: World,
    /// Which seeds, the second number not included
    #[arg(long, value_name = "A..B", value_parser = cli::seeds)]
    seeds: Range<u64>,
    /// Print the counts as JSON instead of text
    #[arg(long)]
    json: bool,
    /// How many threads [default: as many as can run at once]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Do not play one run in twenty again to see that it is the same
    #[arg(long)]
    no_audit: bool,
    /// Only print the trace hashes of what an audit plays again
    #[arg(long, hide = true)]
    hashes: bool,
}

/// Plays all seeds.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let Some(world) = args.world.simulated() else {
        return Err(Problem::SweepOfLab);
    };
    let count = args.seeds.end - args.seeds.start;
    if count > RUNS_MAX {
        return Err(Problem::TooMuch {
            what: format!("{count} runs"),
            max: RUNS_MAX,
        });
    }
    let field = Field::new(catalogue::read(CATALOGUE)?, args.world);
    let play = |number: u64| {
        let seed = args.seeds.start + number;
        field
            .scenario(seed)
            .map(|scenario| Run::play(scenario, seed, world))
    };
    if args.hashes {
        return hashes(args, count, play, streams);
    }
    let started = processor::time();
    let mut tally = Tally::new(args.world);
    let mut sample = Sample::default();
    let mut progress = Progress::start(count);
    let take = |run: Option<Run>| {
        let failed = run.as_ref().is_some_and(|run| run.verdict == Verdict::Fail);
        if let Some(run) = run {
            tally.add(&run);
            if !args.no_audit {
                sample.take(run.seed - args.seeds.start, &run);
            }
        }
        progress
            .advance(failed, streams.err)
            .map_err(Problem::Print)
    };
    pool::in_order(count, cli::threads(args.jobs), play, take)?;
    progress.finish();
    // What was found is told also where the other process fails: it may be hours of work.
    let audited = audit(args, sample, &mut tally, streams);
    let cpu = processor::time().saturating_sub(started);
    if args.json {
        streams.print(&tally.to_json(cpu))?;
        streams.note(&tally.notes())?;
    } else {
        streams.print(&tally.to_text(cpu))?;
    }
    audited?;
    if field.not_run_count > 0 {
        let why = "their files say that this world cannot";
        streams.note(&format!(
            "{} scenarios not run: {why}\n",
            field.not_run_count
        ))?;
    }
    let not_run = if field.not_run_count > 0 {
        Ending::NotRun
    } else {
        Ending::Pass
    };
    Ok(tally.ending().max(not_run))
}

/// Plays what an audit plays again, and prints the hashes.
fn hashes(
    args: &Args,
    count: u64,
    play: impl Fn(u64) -> Option<Run> + Sync,
    streams: &mut Streams<'_>,
) -> Result<Ending, Problem> {
    let sampled = |number: u64| sample::is_sampled(number).then(|| play(number)).flatten();
    let take = |run: Option<Run>| match run {
        Some(run) => streams.print(&sample::line(&run)),
        None => Ok(()),
    };
    pool::in_order(count, cli::threads(args.jobs), sampled, take)?;
    Ok(Ending::Pass)
}

/// Plays the sample again in another process; what differs fails.
fn audit(
    args: &Args,
    sample: Sample,
    tally: &mut Tally,
    streams: &mut Streams<'_>,
) -> Result<(), Problem> {
    if sample.count() == 0 {
        return Ok(());
    }
    let count = sample.count();
    streams.note(&format!(
        "playing {count} of these runs again in another process\n"
    ))?;
    let mut progress = Progress::start(count);
    let mut printed = Ok(());
    let each = || printed = progress.advance(false, streams.err).map_err(Problem::Print);
    let differ = sample.play_again(args.world, &args.seeds, each)?;
    progress.finish();
    printed?;
    tally.audited(count, differ);
    Ok(())
}

/// Which seed plays what.
struct Field<S> {
    short: Vec<S>,
    long: Vec<S>,
    not_run_count: usize,
}

impl Field<Scenario> {
    fn new(scenarios: Vec<Scenario>, world: World) -> Self {
        let all = scenarios.len();
        let playable = |scenario: &Scenario| not_run(scenario, world).is_none();
        let (long, short): (Vec<_>, Vec<_>) = scenarios
            .into_iter()
            .filter(playable)
            .partition(|scenario| scenario.plan().long);
        let not_run_count = all - long.len() - short.len();
        Self {
            short,
            long,
            not_run_count,
        }
    }
}

impl<S> Field<S> {
    /// The scenario that this seed plays; none if there is none at all.
    fn scenario(&self, seed: u64) -> Option<&S> {
        let turn = |list: &[S], turn: u64| {
            let count = list.len() as u64;
            turn.checked_rem(count)
                .and_then(|at| usize::try_from(at).ok())
        };
        if seed % LONG_EVERY == LONG_EVERY - 1
            && let Some(at) = turn(&self.long, seed / LONG_EVERY)
        {
            return self.long.get(at);
        }
        self.short.get(turn(&self.short, seed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed names one run for ever: this is how a failure of last night is seen again.
    #[test]
    fn sweep_seed_decides_the_scenario() {
        let field = Field {
            short: vec!["a", "b", "c"],
            long: vec!["x", "y"],
            not_run_count: 0,
        };
        let at = |seed| field.scenario(seed).copied().unwrap();
        assert_eq!([0, 1, 2, 3, 998].map(at), ["a", "b", "c", "a", "c"]);
        assert_eq!([999, 1999, 2999].map(at), ["x", "y", "x"]);
        assert_eq!([1000, 2000].map(at), ["b", "c"]);
    }

    /// Without long scenarios the last seed of a block is like any other.
    #[test]
    fn sweep_without_long_scenarios_plays_short_ones() {
        let field = Field {
            short: vec!["a"],
            long: vec![],
            not_run_count: 0,
        };
        assert_eq!(field.scenario(999), Some(&"a"));
        let empty = Field::<u8> {
            short: vec![],
            long: vec![],
            not_run_count: 0,
        };
        assert_eq!((empty.scenario(0), empty.scenario(999)), (None, None));
    }
}
