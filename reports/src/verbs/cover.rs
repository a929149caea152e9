//! `steadfast cover`: what the catalogue claims to show, and what nobody shows.
//!
//! Every id that can be claimed has a line: how many stories show it, and what it means. One that
//! no story claims is a gap, which `--strict` makes an exit code. The limit stands with the claims
//! (`steadfast_scenarios::claims`): they are their authors' word.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args as ClapArgs;
use serde::Serialize;
use steadfast_scenarios::claims::{ClaimId, known};

use super::Streams;
use crate::catalogue::{CATALOGUE, read};
use crate::ending::Ending;
use crate::problem::Problem;
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
    let is_whole = wanted.iter().all(|it| !it.shown_by.is_empty());
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
    let covered = |(id, what): (ClaimId, String)| Covered {
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
    let mut text = String::from("claim  stories  what it means\n");
    for it in covered {
        let count = match it.shown_by.len() {
            0 => "nobody".to_owned(),
            count => count.to_string(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<5}  {count:>7}  {}", it.id.as_str(), it.what);
        let shown_by = it.shown_by.iter().filter(|_| names);
        for name in shown_by {
            let _ = writeln!(text, "{:16}{name}", "");
        }
    }
    let open = covered.iter().filter(|it| it.shown_by.is_empty());
    let open: Vec<&str> = open.map(|it| it.id.as_str()).collect();
    let _ = match open.as_slice() {
        [] => writeln!(text, "{} claims, each shown by a story", covered.len()),
        open => writeln!(
            text,
            "{} claims, {} shown by nobody: {}",
            covered.len(),
            open.len(),
            open.join(" ")
        ),
    };
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
        };
        let told = text(&[gap], false);
        assert!(told.contains("F99     nobody  something"), "{told}");
        assert!(told.ends_with("1 claims, 1 shown by nobody: F99\n"));
    }
}
