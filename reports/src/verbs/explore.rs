//! `steadfast explore`: every interleaving of a few faults on the production core.
//!
//! It ends with what was looked at, what was left out, what theory forbids and was met, and each
//! counterexample as a story. A counterexample's scenario file is written into a folder on demand.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use serde::Serialize;
use steadfast_core::Rules;
use steadfast_sim::explore::{Group, PROJECTED_AWAY, Progress, Report, explore};

use super::Streams;
use crate::ending::Ending;
use crate::problem::Problem;
use crate::summary;

/// How to explore.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many gateways: 2 with a direct cable, or 3 on the served segments alone
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=3))]
    nodes: u8,
    /// Most faults in one story, 0 to 3; 3 takes many minutes and several GiB. With three
    /// gateways 2 take an hour and more, and 3 are out of reach
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=3))]
    faults: u8,
    /// Worker threads; one makes two explorations equal in everything
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Write each counterexample's scenario file into this folder
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// The report for machines.
#[derive(Serialize)]
struct Json<'a> {
    nodes: u8,
    faults: u8,
    states: u64,
    unique: u64,
    depth: u64,
    horizon: &'a str,
    complete: bool,
    spent: u64,
    projected_away: &'a [&'a str],
    residues: Vec<(String, u64, &'a str)>,
    violations: Vec<(String, u64, &'a str)>,
    violation_kinds: usize,
    sometimes: &'a [(&'static str, bool)],
}

/// Explores and tells.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let threads = args
        .jobs
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let mut told = Instant::now();
    let mut progress = |now: Progress| {
        for story in &now.news {
            let _ = streams.note(&format!("found {story}\n"));
        }
        if told.elapsed().as_secs() >= 5 {
            told = Instant::now();
            let text = format!(
                "{} states, {} differ, depth {}, {} kinds of violation\n",
                now.states, now.unique, now.depth, now.kinds
            );
            // Progress that cannot be shown is no reason to stop.
            let _ = streams.note(&text);
        }
    };
    let group = Group::of(args.nodes).unwrap_or(Group::Pair);
    let report = explore(
        group,
        args.faults,
        threads,
        Rules::complete(),
        &mut progress,
    )
    .map_err(Problem::Explore)?;
    if args.json {
        streams.print(&summary::to_json(&json(&report)))?;
    } else {
        streams.print(&words(&report))?;
    }
    if let Some(folder) = &args.write {
        write_stories(&report, folder)?;
    }
    Ok(if report.passed() {
        Ending::Pass
    } else if report.violation_kinds > 0 {
        Ending::Fail
    } else {
        Ending::Unknown
    })
}

fn json(report: &Report) -> Json<'_> {
    let residue = |it: &'_ steadfast_sim::explore::Residue| it.theorem.name().to_owned();
    Json {
        nodes: report.group.nodes(),
        faults: report.faults,
        states: report.states,
        unique: report.unique,
        depth: report.depth,
        horizon: &report.horizon,
        complete: report.complete,
        spent: report.spent,
        projected_away: &PROJECTED_AWAY,
        residues: report
            .residues
            .iter()
            .map(|it| (residue(it), it.count, &*it.story))
            .collect(),
        violations: report
            .violations
            .iter()
            .map(|it| (it.oracle.name().to_owned(), it.count, &*it.story))
            .collect(),
        violation_kinds: report.violation_kinds,
        sometimes: &report.sometimes,
    }
}

fn words(report: &Report) -> String {
    let mut lines = vec![
        format!("nodes      {}", report.group.nodes()),
        format!("faults     {}", report.faults),
        format!(
            "states     {} reached, {} differ",
            report.states, report.unique
        ),
        format!("depth      {}", report.depth),
        format!("horizon    {}", report.horizon),
        format!("complete   {}", if report.complete { "yes" } else { "no" }),
        format!("spent      the last fault struck {} times", report.spent),
        "seen to happen:".to_owned(),
    ];
    lines.extend(
        report
            .sometimes
            .iter()
            .map(|(name, seen)| format!("  {} {name}", if *seen { "yes" } else { "NO " })),
    );
    lines.push("not told apart, or left out:".to_owned());
    lines.extend(PROJECTED_AWAY.iter().map(|text| format!("  - {text}")));
    for it in &report.residues {
        let name = it.theorem.name();
        lines.push(format!(
            "as theory says: {name}, {} times; simplest: {}",
            it.count, it.story
        ));
    }
    for it in &report.violations {
        lines.push(format!(
            "VIOLATION of {}, {} times: {}",
            it.oracle.name(),
            it.count,
            it.story
        ));
        lines.extend(it.steps.iter().map(|step| format!("    {step}")));
    }
    let verdict = match (report.violation_kinds, report.passed()) {
        (0, true) => "pass: nothing is violated but what theory forbids".to_owned(),
        (0, false) => "unknown: not complete, or something never happened".to_owned(),
        (kinds, _) => format!("fail: {kinds} kinds of violation"),
    };
    lines.push(verdict);
    lines.push(String::new());
    lines.join("\n")
}

fn write_stories(report: &Report, folder: &PathBuf) -> Result<(), Problem> {
    fs::create_dir_all(folder).map_err(|error| Problem::Explore(error.to_string()))?;
    for (number, it) in report.violations.iter().enumerate() {
        let file = folder.join(format!("explored-{}-{}.toml", it.oracle.name(), number + 1));
        fs::write(&file, &it.scenario)
            .map_err(|error| Problem::Explore(format!("{}: {error}", file.display())))?;
    }
    Ok(())
}
