//! `steadfast cover`: what the catalogue claims to show, and what nobody shows.
//!
//! Every id that can be claimed has a line: how many stories show it, and what it means. One that
//! no story claims is a gap, and one without a removal is its author's word alone: `--strict` makes
//! an exit code of both. That the stories do fail without what they claim is shown by
//! `steadfast removals`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args as ClapArgs;
use serde::Serialize;
use steadfast_scenarios::claims::{ClaimId, known};

use super::Streams;
use crate::catalogue::{CATALOGUE, read};
use crate::ending::Ending;
use crate::problem::Problem;
use crate::removals::built_in;
use crate::summary::to_json;

/// What to tell.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct Args {
    /// Claims to tell of, with the stories that show them [default: all, with their number alone]
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// What stories claim: rules (D), field failures (F), requirements (R) [the default]
    #[arg(long)]
    claims: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Covered {
    id: ClaimId,
    what: String,
    shown_by: Vec<String>,
    removals: Vec<String>,
}

/// Tells it.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let all = covered()?;
    let wanted = wanted(args, all)?;
    let text = if args.json {
        to_json(&wanted)
    } else {
        text(&wanted, !args.ids.is_empty())
    };
    streams.print(&text)?;
    let is_whole = wanted
        .iter()
        .all(|it| !it.shown_by.is_empty() && !it.removals.is_empty());
    Ok(if is_whole {
        Ending::Pass
    } else {
        Ending::NotRun
    })
}

fn covered() -> Result<Vec<Covered>, Problem> {
    let mut stories: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for scenario in read(CATALOGUE)? {
        let plan = scenario.plan();
        for claim in &plan.claims {
            let shown = stories.entry(claim.clone()).or_default();
            shown.push(plan.name.clone());
        }
    }
    let removals = built_in()?;
    let of = |id: &ClaimId| {
        let of = removals.iter().filter(|it| it.claims.contains(id));
        of.map(|it| it.name.clone()).collect()
    };
    let covered = |(id, what): (ClaimId, String)| Covered {
        removals: of(&id),
        shown_by: stories.remove(id.as_str()).unwrap_or_default(),
        id,
        what,
    };
    Ok(known().into_iter().map(covered).collect())
}

/// Those that were asked for, in the order of the list.
fn wanted(args: &Args, mut all: Vec<Covered>) -> Result<Vec<Covered>, Problem> {
    for id in &args.ids {
        if !all.iter().any(|it| it.id.as_str() == id) {
            return Err(Problem::UnknownClaim { id: id.clone() });
        }
    }
    let asked = |it: &Covered| args.ids.iter().any(|id| id == it.id.as_str());
    all.retain(|it| args.ids.is_empty() || asked(it));
    Ok(all)
}

fn text(covered: &[Covered], names: bool) -> String {
    let mut text = String::from("claim  stories  removals  what it means\n");
    for it in covered {
        let count = match it.shown_by.len() {
            0 => "nobody".to_owned(),
            count => count.to_string(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<5}  {count:>7}  {:>8}  {}",
            it.id.as_str(),
            it.removals.len(),
            it.what
        );
        let shown_by = it.shown_by.iter().filter(|_| names);
        for name in shown_by {
            let _ = writeln!(text, "{:26}{name}", "");
        }
        for name in it.removals.iter().filter(|_| names) {
            let _ = writeln!(text, "{:26}without: {name}", "");
        }
    }
    let ids = |open: fn(&Covered) -> bool| {
        let open = covered.iter().filter(|it| open(it));
        open.map(|it| it.id.as_str()).collect::<Vec<&str>>()
    };
    let nobody = ids(|it| it.shown_by.is_empty());
    let word = ids(|it| it.removals.is_empty());
    let count = covered.len();
    let _ = if nobody.is_empty() {
        writeln!(text, "{count} claims, each shown by a story")
    } else {
        let (open, names) = (nobody.len(), nobody.join(" "));
        writeln!(text, "{count} claims, {open} shown by nobody: {names}")
    };
    if !word.is_empty() {
        let (open, names) = (word.len(), word.join(" "));
        let _ = writeln!(
            text,
            "{open} stand on their stories' word, without a removal: {names}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(args: &Args) -> (Result<Ending, Problem>, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut streams = Streams {
            out: &mut out,
            err: &mut err,
        };
        let ended = run(args, &mut streams);
        (ended, String::from_utf8(out).unwrap())
    }

    /// A claim is told with the stories that show it, and an id that means nothing is refused.
    #[test]
    fn cover_names_the_stories_of_a_claim() {
        let asked = |ids: &[&str]| Args {
            ids: ids.iter().map(|&id| id.to_owned()).collect(),
            ..Args::default()
        };
        let (ended, text) = told(&asked(&["F33", "D14"]));
        assert_eq!(ended.unwrap(), Ending::Pass);
        assert!(text.contains("flap-limit-holds-weights"), "{text}");
        assert!(
            text.ends_with("2 claims, each shown by a story\n"),
            "{text}"
        );
        let (refused, _) = told(&asked(&["F99"]));
        assert!(matches!(refused, Err(Problem::UnknownClaim { id }) if id == "F99"));
    }

    /// What nobody shows is said, and is no pass where proof is asked for.
    #[test]
    fn cover_tells_what_nobody_shows() {
        let gap = Covered {
            id: ClaimId::try_from("F99".to_owned()).unwrap(),
            what: "something".to_owned(),
            shown_by: Vec::new(),
            removals: Vec::new(),
        };
        let told = text(&[gap], false);
        assert!(
            told.contains("F99     nobody         0  something"),
            "{told}"
        );
        assert!(
            told.contains("1 claims, 1 shown by nobody: F99\n"),
            "{told}"
        );
        assert!(told.ends_with("1 stand on their stories' word, without a removal: F99\n"));
    }
}
