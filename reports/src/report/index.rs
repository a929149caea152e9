//! `index.html`: all runs of a campaign on one page, with how outages lie over seeds and campaigns.
//!
//! Made from `summary.json`, from the history beside it, and from what lies in the folder: a run
//! has a link where its timeline was written, and nowhere else. Links are relative, so the folder
//! can be moved or packed up.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use steadfast_scenarios::Verdict;

use super::history::{self, Campaign};
use super::{TIMELINE, page};
use crate::cli::World;
use crate::problem::Problem;
use crate::summary::{self, NotRun, Record, Summary, Theory};
use crate::words;

/// Its name in a report's folder.
pub(crate) const FILE: &str = "index.html";
/// Runs named for who reads without scripts.
const NAMED: usize = 200;

/// What the page draws.
#[derive(Serialize)]
struct Data<'a> {
    runs: Vec<Row<'a>>,
    impossible: &'a [Theory],
    not_run: &'a [NotRun],
    campaigns: &'a [Campaign],
}

/// A run.
#[derive(Serialize)]
struct Row<'a> {
    s: &'a str,
    w: &'a str,
    n: u64,
    v: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    o: Option<f64>,
    /// Where its timeline is.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

/// Adds the campaign to the folder's history and writes the page.
pub(crate) fn write(folder: &Path, summary: &Summary) -> Result<PathBuf, Problem> {
    let campaigns = history::append(folder, Campaign::now(summary))?;
    put(folder, folder, summary, &campaigns)
}

/// Writes the page of a campaign that is over; its path, and the worst verdict in it.
pub(crate) fn rewrite(folder: &Path, out: Option<&Path>) -> Result<(PathBuf, Verdict), Problem> {
    let path = folder.join(summary::FILE);
    let text = fs::read_to_string(&path).map_err(Problem::reading(&path))?;
    let no_summary = |error: serde_json::Error| Problem::Read {
        path: path.clone(),
        reason: error.into(),
    };
    let summary: Summary = serde_json::from_str(&text).map_err(no_summary)?;
    let out = out.unwrap_or(folder);
    fs::create_dir_all(out).map_err(Problem::writing(out))?;
    let page = put(folder, out, &summary, &history::read(folder))?;
    Ok((page, worst(&summary)))
}

fn put<'a>(
    folder: &Path,
    out: &Path,
    summary: &'a Summary,
    campaigns: &[Campaign],
) -> Result<PathBuf, Problem> {
    let row = |record: &'a Record| Row {
        s: &record.scenario,
        w: &record.world,
        n: record.seed,
        v: record.verdict,
        o: record.outage_ms,
        at: link(folder, record),
    };
    let data = Data {
        runs: summary.results.iter().map(row).collect(),
        impossible: &summary.impossible,
        not_run: &summary.not_run,
        campaigns,
    };
    let count = words::counted(summary.results.len() as u64, "run");
    let path = out.join(FILE);
    let page = page::index(&count, worst(summary), named(summary), &data);
    fs::write(&path, page).map_err(Problem::writing(&path))?;
    Ok(path)
}

fn worst(summary: &Summary) -> Verdict {
    let verdicts = summary.results.iter().map(|record| record.verdict);
    verdicts.max().unwrap_or(Verdict::Unknown)
}

/// Where the timeline of a run lies, if there is one: beside the summary, in a folder of the run,
/// or among the failures of a qualification.
fn link(folder: &Path, record: &Record) -> Option<String> {
    let Record {
        scenario,
        world,
        seed,
        ..
    } = record;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !scenario.chars().all(plain) {
        return None;
    }
    let run = format!("{scenario}-{seed}");
    let lab = world == World::Lab.name();
    let fast = world == World::Fast.name();
    let places = [
        (!lab).then(|| format!("{run}.{TIMELINE}")),
        lab.then(|| format!("{run}/{TIMELINE}")),
        fast.then(|| format!("failures/{run}/{TIMELINE}")),
        (!fast && !lab).then(|| format!("failures/{run}-{world}/{TIMELINE}")),
        lab.then(|| format!("failures/{scenario}-lab-alone/{TIMELINE}")),
        lab.then(|| format!("failures/{scenario}-lab/{TIMELINE}")),
    ];
    places
        .into_iter()
        .flatten()
        .find(|place| folder.join(place).is_file())
}

/// What did not pass, for who reads without scripts.
fn named(summary: &Summary) -> String {
    let bad = summary
        .results
        .iter()
        .filter(|record| record.verdict != Verdict::Pass);
    let mut text = "<h2>Not passed</h2><ul>".to_owned();
    for it in bad.take(NAMED) {
        let (verdict, name) = (words::verdict(it.verdict), page::escaped(&it.scenario));
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "<li>{verdict}: {name}, {}, seed {}</li>",
            page::escaped(&it.world),
            it.seed
        );
    }
    text + "</ul>"
}
