//! `steadfast check`: says what is wrong with scenario files, without running them.
//!
//! A file is read with every parameter at its ends, and the product's own configuration check must
//! accept each gateway that it makes. Two files must not give themselves the same name. Limits:
//! [`FILES_MAX`], [`DEPTH_MAX`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use miette::Report;
use steadfast_core::Rules;
use steadfast_scenarios::Scenario;
use steadfast_scenarios::trace::Event;
use steadfast_sim::stage::World;

use super::Streams;
use crate::ending::Ending;
use crate::problem::Problem;
use crate::words::counted;

/// Most files at once; more are refused.
const FILES_MAX: usize = 10_000;
/// Most folders below each other; deeper ones are refused: a link probably leads back up.
const DEPTH_MAX: usize = 16;

/// What to check.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scenario files, or folders of them (all `.toml` below)
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
}

/// Checks all files, and says `ok` or what is wrong for each.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let mut files = Vec::new();
    for path in &args.paths {
        collect(path, 0, &mut files)?;
    }
    let mut names: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut wrong_count = 0;
    for path in &files {
        let checked = check(path)?.and_then(|name| unique(name, path, &mut names));
        match checked {
            Ok(()) => streams.print(&format!("ok    {}\n", path.display()))?,
            Err(report) => {
                wrong_count += 1;
                streams.print(&format!("FAIL  {}\n", path.display()))?;
                streams.note(&format!("{report:?}\n"))?;
            }
        }
    }
    if files.is_empty() {
        streams.note("nothing was checked: no scenario file (.toml) is there\n")?;
        return Ok(Ending::Unknown);
    }
    let files = counted(files.len() as u64, "file");
    streams.print(&format!("{files}, {wrong_count} wrong\n"))?;
    Ok(if wrong_count == 0 {
        Ending::Pass
    } else {
        Ending::Fail
    })
}

/// The scenario's name, or what is wrong with the file.
fn check(path: &Path) -> Result<Result<String, Report>, Problem> {
    let text = fs::read_to_string(path).map_err(Problem::reading(path))?;
    let scenario = match Scenario::parse(&path.to_string_lossy(), &text) {
        Ok(scenario) => scenario,
        Err(error) => return Ok(Err(error.into())),
    };
    let mut ignore = |_: &Event| {};
    let refused = World::new(scenario.plan(), Rules::complete(), Box::new(&mut ignore)).err();
    Ok(match refused {
        Some(reason) => Err(Report::msg(format!(
            "failed to configure the gateways: {reason}"
        ))),
        None => Ok(scenario.plan().name.clone()),
    })
}

fn unique(name: String, path: &Path, names: &mut BTreeMap<String, PathBuf>) -> Result<(), Report> {
    match names.get(&name) {
        Some(other) => {
            let other = other.display();
            Err(Report::msg(format!(
                "the name `{name}` is taken by {other}; choose another"
            )))
        }
        None => {
            names.insert(name, path.to_owned());
            Ok(())
        }
    }
}

/// A file as it is, however it is called; of a folder all `.toml` files below, sorted.
fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Problem> {
    if depth > DEPTH_MAX {
        let what = format!("the folders below {}", path.display());
        return Err(Problem::TooMuch {
            what,
            max: DEPTH_MAX as u64,
        });
    }
    if files.len() >= FILES_MAX {
        return Err(Problem::TooMuch {
            what: "all files".to_owned(),
            max: FILES_MAX as u64,
        });
    }
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut inside = Vec::new();
    for entry in fs::read_dir(path).map_err(Problem::reading(path))? {
        inside.push(entry.map_err(Problem::reading(path))?.path());
    }
    inside.sort();
    for path in inside {
        if path.is_dir()
            || path
                .extension()
                .is_some_and(|extension| extension == "toml")
        {
            collect(&path, depth + 1, files)?;
        }
    }
    Ok(())
}
