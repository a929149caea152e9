//! One removal held against its story: with nothing removed it must hold, without the behaviour
//! it must fail, and by the oracle that the removal names.

use std::collections::BTreeSet;
use std::process::Command;

use serde::Serialize;
use steadfast_scenarios::Verdict;
use steadfast_scenarios::removal::{Removal, VARIABLE};

use super::Tree;
use crate::cli::World;
use crate::problem::Problem;
use crate::summary::{Record, Summary};

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Found {
    /// The story notices.
    Shown,
    /// It needs the lab, which was not wanted.
    NotRun,
    /// Evidence is missing: with nothing removed the story is `unknown` with every seed.
    Unknown,
    /// The story fails, but another oracle says so.
    Otherwise,
    /// The story holds without what it claims.
    Missed,
    /// The story fails with nothing removed.
    Broken,
}

/// A removal and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Trial {
    /// The removal.
    #[serde(flatten)]
    pub(crate) removal: Removal,
    /// What became of it.
    pub(crate) found: Found,
    /// Runs in which the oracle tripped.
    pub(crate) tripped: usize,
    /// Runs that were played without the behaviour.
    pub(crate) runs: usize,
    /// All oracles that tripped in them.
    pub(crate) oracles: BTreeSet<String>,
}

impl Trial {
    /// The removal that was not tried.
    pub(crate) fn left_out(removal: Removal) -> Self {
        Self::new(removal, Found::NotRun)
    }

    /// Plays the story with and without.
    ///
    /// # Errors
    /// When it cannot be played.
    pub(crate) fn hold(removal: Removal, tree: &Tree) -> Result<Self, Problem> {
        let whole = played(&removal, tree, None)?;
        let verdicts = || whole.iter().map(|run| run.verdict);
        if verdicts().any(|it| it == Verdict::Fail) {
            return Ok(Self {
                oracles: oracles(&whole),
                ..Self::new(removal, Found::Broken)
            });
        }
        if !verdicts().any(|it| it == Verdict::Pass) {
            return Ok(Self::new(removal, Found::Unknown));
        }
        let mut without = played(&removal, tree, Some(removal.switch()))?;
        // A seed says something only where it is known to hold with nothing removed.
        let held = |seed: u64| {
            let pass = |run: &Record| run.seed == seed && run.verdict == Verdict::Pass;
            whole.iter().any(pass)
        };
        without.retain(|run| held(run.seed));
        Ok(Self::judged(removal, &without))
    }

    fn judged(removal: Removal, without: &[Record]) -> Self {
        let failed = |run: &&Record| run.verdict == Verdict::Fail;
        let by_name = |run: &&Record| failed(run) && run.oracles.contains(&removal.expect);
        let tripped = without.iter().filter(by_name).count();
        let found = match tripped {
            0 if without.iter().any(|run| failed(&run)) => Found::Otherwise,
            0 => Found::Missed,
            _ => Found::Shown,
        };
        Self {
            tripped,
            runs: without.len(),
            oracles: oracles(without),
            ..Self::new(removal, found)
        }
    }

    const fn new(removal: Removal, found: Found) -> Self {
        Self {
            removal,
            found,
            tripped: 0,
            runs: 0,
            oracles: BTreeSet::new(),
        }
    }
}

fn oracles(runs: &[Record]) -> BTreeSet<String> {
    runs.iter().flat_map(|run| run.oracles.clone()).collect()
}

/// Plays the story in a process of its own, without the behaviour of that name.
fn played(removal: &Removal, tree: &Tree, off: Option<&str>) -> Result<Vec<Record>, Problem> {
    let mut command = Command::new(tree.program("steadfast"));
    command
        .args(["run", &removal.story, "--json", "--jobs", "1"])
        .args(["--world", &removal.world, "--seeds", &removal.seeds])
        .env_remove(VARIABLE);
    if removal.world == World::Lab.name() {
        command.arg("--daemon").arg(tree.program("steadfastd"));
    }
    if let Some(name) = off {
        command.env(VARIABLE, name);
    }
    let output = command.output().map_err(Problem::Player)?;
    let summary: Result<Summary, _> = serde_json::from_slice(&output.stdout);
    match summary {
        Ok(summary) if !summary.results.is_empty() => Ok(summary.results),
        Ok(_) | Err(_) => Err(Problem::RemovalUnplayed {
            name: removal.name.clone(),
            story: removal.story.clone(),
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::judged;

    fn removal() -> Removal {
        Removal::parse(
            "[[removal]]\nname = 'deaf'\nclaims = ['D9']\nwhat = 'nobody listens'\n\
             story = 'quiet-day'\nexpect = 'outage'\n\
             [[removal.edit]]\nfile = 'a.rs'\nold = 'a'\nnew = 'REMOVED'\n",
        )
        .unwrap()
        .remove(0)
    }

    fn record(verdict: Verdict, oracle: &str) -> Record {
        Record::of(&judged("quiet-day", 7, verdict, oracle), World::Fast)
    }

    /// Only a failure by the oracle that is named shows anything.
    #[test]
    fn removals_are_shown_by_their_own_oracle_alone() {
        let (pass, fail) = (Verdict::Pass, Verdict::Fail);
        for (runs, found, tripped) in [
            (
                vec![record(pass, "outage"), record(fail, "outage")],
                Found::Shown,
                1,
            ),
            (
                vec![record(pass, "outage"), record(fail, "converges")],
                Found::Otherwise,
                0,
            ),
            (vec![record(pass, "outage"); 2], Found::Missed, 0),
            (vec![record(Verdict::Unknown, "outage")], Found::Missed, 0),
        ] {
            let trial = Trial::judged(removal(), &runs);
            assert_eq!((trial.found, trial.tripped), (found, tripped), "{runs:?}");
        }
    }
}
