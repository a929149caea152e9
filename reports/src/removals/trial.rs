//! One removal held against its story: with nothing removed it must hold, without the behaviour
//! it must fail, and by the oracle that the removal names.
//!
//! A player that crashes, or has not ended after [`PLAY_MAX`], is told as such and ends nothing
//! else: taking something away may well make a world that never comes to rest.

use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use steadfast_scenarios::Verdict;
use steadfast_scenarios::removal::{Removal, VARIABLE};

use super::Tree;
use crate::cli::World;
use crate::problem::Problem;
use crate::summary::{Record, Summary};

/// Longest that a story may be played for all its seeds; the longest take some minutes in the lab.
const PLAY_MAX: Duration = Duration::from_secs(900);
/// How often a player is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Found {
    /// The story notices.
    Shown,
    /// It needs the lab, which was not wanted or is not to be had.
    NotRun,
    /// Evidence is missing: with nothing removed, or without the behaviour, the story is `unknown`
    /// with every seed.
    Unknown,
    /// The story fails, but another oracle says so.
    Otherwise,
    /// The story holds without what it claims.
    Missed,
    /// The story fails with nothing removed.
    Broken,
    /// A player crashed or did not come to an end.
    Unplayed,
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
    /// Why it was not played, or not to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

impl Trial {
    /// The removal that was not tried.
    pub(crate) fn left_out(removal: Removal, why: String) -> Self {
        Self {
            why: Some(why),
            ..Self::new(removal, Found::NotRun)
        }
    }

    /// Plays the story with and without.
    ///
    /// # Errors
    /// When no process can be started.
    pub(crate) fn hold(removal: Removal, tree: &Tree) -> Result<Self, Problem> {
        let whole = match played(&removal, tree, None)? {
            Played::Runs(runs) => runs,
            Played::NotRun(why) => return Ok(Self::left_out(removal, why)),
            Played::Broken(why) => return Ok(Self::unplayed(removal, why)),
        };
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
        let mut without = match played(&removal, tree, Some(removal.switch()))? {
            Played::Runs(runs) => runs,
            Played::NotRun(why) | Played::Broken(why) => return Ok(Self::unplayed(removal, why)),
        };
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
        let held = |run: &Record| run.verdict == Verdict::Pass;
        let found = match tripped {
            0 if without.iter().any(|run| failed(&run)) => Found::Otherwise,
            0 if without.iter().any(held) => Found::Missed,
            0 => Found::Unknown,
            _ => Found::Shown,
        };
        Self {
            tripped,
            runs: without.len(),
            oracles: oracles(without),
            ..Self::new(removal, found)
        }
    }

    fn unplayed(removal: Removal, why: String) -> Self {
        Self {
            why: Some(why),
            ..Self::new(removal, Found::Unplayed)
        }
    }

    const fn new(removal: Removal, found: Found) -> Self {
        Self {
            removal,
            found,
            tripped: 0,
            runs: 0,
            oracles: BTreeSet::new(),
            why: None,
        }
    }
}

/// What a player showed.
enum Played {
    Runs(Vec<Record>),
    /// Why the world cannot play it.
    NotRun(String),
    /// What it said before it ended, or was ended.
    Broken(String),
}

fn oracles(runs: &[Record]) -> BTreeSet<String> {
    runs.iter().flat_map(|run| run.oracles.clone()).collect()
}

/// Plays the story in a process of its own, without the behaviour of that name.
fn played(removal: &Removal, tree: &Tree, off: Option<&str>) -> Result<Played, Problem> {
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
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Problem::Player)?;
    let (told, said) = (heard(child.stdout.take()), heard(child.stderr.take()));
    let ended = ends(&mut child);
    let (told, said) = (told.join(), said.join());
    let said = said.unwrap_or_default().trim().to_owned();
    if !ended {
        return Ok(Played::Broken(format!("not at its end after {PLAY_MAX:?}")));
    }
    let summary: Result<Summary, _> = serde_json::from_str(&told.unwrap_or_default());
    Ok(match summary {
        Ok(summary) if !summary.results.is_empty() => Played::Runs(summary.results),
        Ok(summary) => match summary.not_run.into_iter().next() {
            Some(it) => Played::NotRun(it.reason),
            None => Played::Broken(said),
        },
        Err(_) => Played::Broken(said),
    })
}

/// Reads a stream to its end, so that the player never waits for us.
fn heard(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is told.
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for the player's end; one that is late is ended. Whether it ended by itself.
fn ends(child: &mut Child) -> bool {
    let started = Instant::now();
    while started.elapsed() < PLAY_MAX {
        match child.try_wait() {
            Ok(None) => thread::sleep(LOOK),
            Ok(Some(_)) | Err(_) => return true,
        }
    }
    // It may have ended meanwhile, which is as well.
    let _ = child.kill();
    let _ = child.wait();
    false
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
            (vec![record(Verdict::Unknown, "outage")], Found::Unknown, 0),
        ] {
            let trial = Trial::judged(removal(), &runs);
            assert_eq!((trial.found, trial.tripped), (found, tripped), "{runs:?}");
        }
    }
}
