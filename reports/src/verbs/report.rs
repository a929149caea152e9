//! `steadfast report`: what a run left behind, as pages that a person wants to look at.
//!
//! Takes a bundle (a folder with `trace.jsonl`) or a trace, and writes beside it, or where told:
//! `timeline.html`, `why.md` and `perfetto.json`. A folder that holds a `summary.json` and no trace
//! gets the index over its runs. The exit code is the run's verdict.

use std::fs;
use std::path::PathBuf;

use super::Streams;
use crate::bundle;
use crate::ending::Ending;
use crate::problem::Problem;
use crate::report::{self, PERFETTO, Place, TIMELINE, WHY};

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder with a `trace.jsonl`, a trace, or a folder with a `summary.json`
    #[arg(value_name = "BUNDLE|TRACE")]
    run: PathBuf,
    /// Where to write [default: beside the trace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the paths and the verdict as JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Writes the pages and says where they are.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let has_trace = !args.run.is_dir() || args.run.join(bundle::TRACE).is_file();
    let (files, ending) = if has_trace {
        let to = place(args);
        let verdict = report::write(&args.run, None, &to)?;
        (
            [TIMELINE, WHY, PERFETTO].map(|name| to.file(name)).to_vec(),
            Ending::from(verdict),
        )
    } else {
        let (path, verdict) = report::index::rewrite(&args.run, args.out.as_deref())?;
        (vec![path], Ending::from(verdict))
    };
    let shown = files.iter().map(|path| path.display().to_string());
    if args.json {
        let code = ending.code(false);
        let all = serde_json::json!({"files": shown.collect::<Vec<_>>(), "exit_code": code});
        streams.print(&format!("{all}\n"))?;
    } else {
        streams.print(&shown.map(|path| path + "\n").collect::<String>())?;
    }
    Ok(ending)
}

/// A bundle is a folder of its own; a trace lies among others, unless it is called `trace.jsonl`.
fn place(args: &Args) -> Place {
    let folder = args
        .out
        .clone()
        .unwrap_or_else(|| report::folder_of(&args.run));
    let name = args.run.file_name().unwrap_or_default().to_string_lossy();
    match name.strip_suffix(".trace.jsonl") {
        Some(run) if args.out.is_none() && !fs::metadata(&args.run).is_ok_and(|it| it.is_dir()) => {
            Place::among(&folder, run)
        }
        Some(_) | None => Place::folder(&folder),
    }
}
