//! `steadfast removals`: takes each claimed behaviour away and sees that its story fails.
//!
//! What `cover` tells is the stories' word; this is the proof. It needs the product's sources
//! and a Rust tool chain, builds a copy of them once (minutes), and plays each
//! removal's story with and without the behaviour. The exit code is 1 when a story holds without
//! what it claims.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;
use steadfast_scenarios::claims::{ClaimId, known};
use steadfast_scenarios::removal::Removal;

use super::Streams;
use crate::cli::{self, World};
use crate::ending::Ending;
use crate::pool;
use crate::problem::Problem;
use crate::progress::Progress;
use crate::removals::{Found, Tree, Trial, of_sources};
use crate::summary::to_json;

/// What to take away.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Removals by name, or all that show a claim [default: all there are]
    #[arg(value_name = "NAME|ID")]
    wanted: Vec<String>,
    /// The sources to take from: the product, its stories and its removals
    #[arg(long, value_name = "DIR", default_value = ".")]
    source: PathBuf,
    /// Where the copy is built; kept for the next time [default: target/removals in the sources]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Tell what there is and play nothing
    #[arg(long)]
    list: bool,
    /// Leave out what needs the lab
    #[arg(long)]
    no_lab: bool,
    /// How many threads [default: as many as can run at once; in the lab, one]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    removals: &'a [Trial],
    claims_without: Vec<ClaimId>,
}

/// Takes them away, one at a time.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let source = args.source.canonicalize();
    let source = source.map_err(Problem::reading(&args.source))?;
    let all = of_sources(&source)?;
    let without = claims_without(&all);
    let wanted = wanted(args, &all)?;
    if args.list {
        streams.print(&if args.json {
            to_json(&wanted)
        } else {
            listed(&wanted)
        })?;
        return Ok(Ending::Pass);
    }
    let work = args.work.clone();
    let work = work.unwrap_or_else(|| source.join("target/removals"));
    streams.note(&format!("building {}\n", work.display()))?;
    let tree = Tree::create(&source, &work, &all)?;
    tree.build()?;
    let trials = held(args, wanted, &tree, streams)?;
    let report = Report {
        removals: &trials,
        claims_without: without,
    };
    streams.print(&if args.json {
        to_json(&report)
    } else {
        text(&report, args.wanted.is_empty())
    })?;
    Ok(ending(&report, args.wanted.is_empty()))
}

/// Those in the simulators first, on all threads; the lab has the machine to itself.
fn held(
    args: &Args,
    wanted: Vec<Removal>,
    tree: &Tree,
    streams: &mut Streams<'_>,
) -> Result<Vec<Trial>, Problem> {
    let in_lab = |removal: &Removal| removal.world == World::Lab.name();
    let mut progress = Progress::start(wanted.len() as u64);
    let mut trials = Vec::new();
    let (lab, simulated): (Vec<_>, Vec<_>) = wanted.into_iter().partition(in_lab);
    for (some, threads) in [(simulated, cli::threads(args.jobs)), (lab, 1)] {
        let hold = |at: u64| {
            let removal = some[usize::try_from(at).unwrap_or(usize::MAX)].clone();
            if args.no_lab && in_lab(&removal) {
                return Ok(Trial::left_out(removal, "the lab is not wanted".to_owned()));
            }
            Trial::hold(removal, tree)
        };
        let take = |trial: Result<Trial, Problem>| {
            let trial = trial?;
            let failed = !matches!(trial.found, Found::Shown | Found::NotRun);
            trials.push(trial);
            progress
                .advance(failed, streams.err)
                .map_err(Problem::Print)
        };
        pool::in_order(some.len() as u64, threads, hold, take)?;
    }
    progress.finish();
    Ok(trials)
}

/// Those that were asked for, in the order of the table.
fn wanted(args: &Args, all: &[Removal]) -> Result<Vec<Removal>, Problem> {
    let asked = |removal: &Removal, word: &str| {
        removal.name == word || removal.claims.iter().any(|id| id.as_str() == word)
    };
    if let Some(word) = args
        .wanted
        .iter()
        .find(|word| !all.iter().any(|it| asked(it, word)))
    {
        let is_claim = known().keys().any(|id| id.as_str() == word);
        return Err(if is_claim {
            Problem::NoRemoval { id: word.clone() }
        } else {
            Problem::UnknownRemoval { name: word.clone() }
        });
    }
    let mut some = all.to_vec();
    some.retain(|it| args.wanted.is_empty() || args.wanted.iter().any(|word| asked(it, word)));
    Ok(some)
}

/// Claims that no removal is written for.
fn claims_without(all: &[Removal]) -> Vec<ClaimId> {
    let with: BTreeSet<&ClaimId> = all.iter().flat_map(|it| &it.claims).collect();
    let known = known().into_keys();
    known.filter(|id| !with.contains(id)).collect()
}

fn ids(removal: &Removal) -> String {
    let ids: Vec<&str> = removal.claims.iter().map(ClaimId::as_str).collect();
    ids.join(" ")
}

fn listed(removals: &[Removal]) -> String {
    let mut text = String::new();
    for it in removals {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} ({}): {}", it.name, ids(it), it.what);
    }
    text
}

fn text(report: &Report<'_>, whole: bool) -> String {
    let mut text = String::new();
    for trial in report.removals {
        let removal = &trial.removal;
        let (story, world, expect) = (&removal.story, &removal.world, &removal.expect);
        let why = trial.why.clone().unwrap_or_default();
        let tripped: Vec<&str> = trial.oracles.iter().map(String::as_str).collect();
        let (head, tail) = match trial.found {
            Found::Shown => (
                "shown  ",
                format!("{expect} trips in {} of {}", trial.tripped, trial.runs),
            ),
            Found::NotRun => ("not run", why),
            Found::Unknown => (
                "unknown",
                "evidence is missing: try it again on a quiet machine".to_owned(),
            ),
            Found::Otherwise => (
                "FAIL   ",
                format!("expected {expect}, but this trips: {}", tripped.join(", ")),
            ),
            Found::Missed => (
                "FAIL   ",
                format!("holds all the same, {} runs", trial.runs),
            ),
            Found::Broken => (
                "FAIL   ",
                format!("fails with nothing removed: {}", tripped.join(", ")),
            ),
            Found::Unplayed => (
                "FAIL   ",
                format!("the player did not come to its end: {why}"),
            ),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{head} {}: {}\n          {}, {story} ({world}): {tail}",
            ids(removal),
            removal.what,
            removal.name
        );
    }
    let shown = |it: &&Trial| it.found == Found::Shown;
    let count = report.removals.iter().filter(shown).count();
    let always = |it: &&Trial| it.found == Found::Shown && it.tripped == it.runs;
    let always = report.removals.iter().filter(always).count();
    let all = report.removals.len();
    let _ = writeln!(
        text,
        "{count} of {all} removals shown, {always} of them with every seed"
    );
    if whole && !report.claims_without.is_empty() {
        let without: Vec<&str> = report.claims_without.iter().map(ClaimId::as_str).collect();
        let _ = writeln!(text, "no removal is written for: {}", without.join(" "));
    }
    text
}

fn ending(report: &Report<'_>, whole: bool) -> Ending {
    let of = |trial: &Trial| match trial.found {
        Found::Shown => Ending::Pass,
        Found::NotRun => Ending::NotRun,
        Found::Unknown => Ending::Unknown,
        Found::Otherwise | Found::Missed | Found::Broken | Found::Unplayed => Ending::Fail,
    };
    let all_written = !whole || report.claims_without.is_empty();
    let least = if all_written {
        Ending::Pass
    } else {
        Ending::NotRun
    };
    report.removals.iter().map(of).fold(least, Ending::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(found: Found, tripped: usize) -> Trial {
        let text = "[[removal]]\nname = 'deaf'\nclaims = ['D9']\nwhat = 'nobody listens'\n\
                    story = 'quiet-day'\nexpect = 'outage'\n\
                    [[removal.edit]]\nfile = 'a.rs'\nold = 'a'\nnew = 'REMOVED'\n";
        Trial {
            removal: Removal::parse(text).unwrap().remove(0),
            found,
            tripped,
            runs: 6,
            oracles: BTreeSet::from(["converges".to_owned()]),
            why: Some("no namespaces".to_owned()),
        }
    }

    /// Whatever is not shown is told with its reason, and only what is shown passes.
    #[test]
    fn removals_tell_what_became_of_each() {
        for (found, words, expected) in [
            (Found::Shown, "outage trips in 4 of 6", Ending::Pass),
            (Found::NotRun, "no namespaces", Ending::NotRun),
            (Found::Unknown, "evidence is missing", Ending::Unknown),
            (
                Found::Otherwise,
                "expected outage, but this trips: converges",
                Ending::Fail,
            ),
            (Found::Missed, "holds all the same", Ending::Fail),
            (Found::Broken, "fails with nothing removed", Ending::Fail),
            (
                Found::Unplayed,
                "not come to its end: no namespaces",
                Ending::Fail,
            ),
        ] {
            let removals = [trial(found, 4)];
            let report = Report {
                removals: &removals,
                claims_without: vec![ClaimId::try_from("F10".to_owned()).unwrap()],
            };
            let told = text(&report, false);
            assert!(told.contains(words), "{told}");
            assert_eq!(ending(&report, false), expected, "{found:?}");
            let whole = ending(&report, true);
            assert_eq!(whole, expected.max(Ending::NotRun), "a claim has none");
            assert!(text(&report, true).ends_with("is written for: F10\n"));
        }
    }

    /// A claim without a removal is no unknown word.
    #[test]
    fn removals_refuse_what_they_cannot_show() {
        let removals = [trial(Found::Shown, 6).removal];
        let asked = |word: &str| Args {
            wanted: vec![word.to_owned()],
            source: PathBuf::from("."),
            work: None,
            list: false,
            no_lab: false,
            jobs: None,
            json: false,
        };
        assert_eq!(wanted(&asked("D9"), &removals).unwrap().len(), 1);
        assert_eq!(wanted(&asked("deaf"), &removals).unwrap().len(), 1);
        let none = wanted(&asked("F10"), &removals).unwrap_err();
        assert!(matches!(none, Problem::NoRemoval { .. }), "{none}");
        let unknown = wanted(&asked("dead"), &removals).unwrap_err();
        assert!(
            matches!(unknown, Problem::UnknownRemoval { .. }),
            "{unknown}"
        );
    }
}
