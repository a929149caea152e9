//! A campaign's own audit: some of its runs, spread evenly, are played again in another process.
//!
//! The campaign keeps their trace hashes. The other process is this command with the same seeds,
//! told to play the chosen ones and print their hashes, a line each.

use std::collections::BTreeMap;
use std::io;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::Stdio;

use super::Surroundings;
use crate::cli::World;
use crate::problem::Problem;
use crate::runs::Run;

/// One run in so many is played again: 5 %.
pub(crate) const EVERY: u64 = 20;

/// The hidden option that makes a sweep print hashes of the sampled seeds and nothing else.
pub(crate) const HASHES: &str = "--hashes";

/// This very program, also where its file has been replaced or removed since it began.
const ITSELF: &str = "/proc/self/exe";

/// Whether the run of this number, counted from the campaign's first, is played again.
pub(crate) const fn is_sampled(number: u64) -> bool {
    number.is_multiple_of(EVERY)
}

/// What the campaign knows of the sampled runs: their scenarios and hashes by seed.
#[derive(Debug, Default)]
pub(crate) struct Sample(BTreeMap<u64, (String, String)>);

impl Sample {
    /// One more run of the campaign.
    pub(crate) fn take(&mut self, number: u64, run: &Run) {
        if is_sampled(number) {
            self.0.insert(run.seed, (run.scenario.clone(), hash(run)));
        }
    }

    /// How many will be played again.
    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Plays them in a process of its own; `each` hears of every one. Returns those whose traces
    /// differ, or were not told of: scenario and seed.
    ///
    /// # Errors
    /// The process cannot be started, does not speak as it should, or does not end well.
    pub(crate) fn play_again(
        mut self,
        world: World,
        seeds: &Range<u64>,
        mut each: impl FnMut(),
    ) -> Result<Vec<(String, u64)>, Problem> {
        let mut command = Surroundings::Bare.command(Path::new(ITSELF));
        let range = format!("{}..{}", seeds.start, seeds.end);
        command.args(["sweep", "--world", world.name(), "--seeds", &range, HASHES]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(Problem::Player)?;
        let mut differ = Vec::new();
        for line in child
            .stdout
            .take()
            .into_iter()
            .flat_map(|it| BufReader::new(it).lines())
        {
            let line = line.map_err(Problem::Player)?;
            let (seed, again) = line.split_once(' ').unwrap_or_default();
            let known = seed
                .parse()
                .ok()
                .and_then(|seed| self.0.remove_entry(&seed));
            let Some((seed, (scenario, hash))) = known else {
                let why = format!("the other process said `{line}`, of which nothing is known");
                return Err(Problem::Player(io::Error::other(why)));
            };
            if hash != again {
                differ.push((scenario, seed));
            }
            each();
        }
        let status = child.wait().map_err(Problem::Player)?;
        if !status.success() {
            let why = format!("the other process ended with {status}");
            return Err(Problem::Player(io::Error::other(why)));
        }
        let untold = self
            .0
            .into_iter()
            .map(|(seed, (scenario, _))| (scenario, seed));
        differ.extend(untold);
        Ok(differ)
    }
}

/// The line that the other process prints of a run.
pub(crate) fn line(run: &Run) -> String {
    format!("{} {}\n", run.seed, hash(run))
}

fn hash(run: &Run) -> String {
    run.trace
        .map_or_else(|| "none".to_owned(), |trace| trace.to_string())
}
