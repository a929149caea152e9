//! What a run leaves behind for people: a timeline, the reasons, and a file for trace viewers.
//!
//! ```text
//!  trace.jsonl ─┐             ┌─► timeline ─┬─► page       timeline.html
//!  scenario ────┼─► evidence ─┤             └─► perfetto   perfetto.json
//!  run.pcapng ──┘   (capture, └─► why                      why.md
//!                    decode)
//!  summary.json ─┬─► index                                 index.html
//!  history.jsonl ┘
//! ```
//! Every file stands alone: no page loads anything, neither from the network nor from beside it.
//! The same evidence gives the same bytes, except for the history, which tells when campaigns were.

mod capture;
mod decode;
mod evidence;
pub(crate) mod history;
pub(crate) mod index;
mod page;
mod perfetto;
mod timeline;
mod why;

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::World;
use crate::problem::Problem;
use evidence::Evidence;
pub(crate) use evidence::folder_of;
use steadfast_scenarios::Verdict;

/// The page of a run.
pub(crate) const TIMELINE: &str = "timeline.html";
/// For trace viewers.
pub(crate) const PERFETTO: &str = "perfetto.json";
/// The reasons, backwards.
pub(crate) const WHY: &str = "why.md";

/// Where the files of a report go.
pub(crate) struct Place {
    folder: PathBuf,
    prefix: String,
}

impl Place {
    /// Into a folder of the run's own.
    pub(crate) fn folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            prefix: String::new(),
        }
    }

    /// Into a folder of many runs: each file's name begins with the run's.
    pub(crate) fn among(folder: &Path, run: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            prefix: format!("{run}."),
        }
    }

    /// A file of the report.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}{name}", self.prefix))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Problem> {
        let path = self.file(name);
        fs::write(&path, text).map_err(Problem::writing(&path))
    }
}

/// Writes timeline, reasons and trace events of a run, which is a trace or a folder that holds one;
/// the verdict that they show.
pub(crate) fn write(run: &Path, world: Option<World>, to: &Place) -> Result<Verdict, Problem> {
    let evidence = Evidence::open(run, world)?;
    let timeline = timeline::of(&evidence);
    fs::create_dir_all(&to.folder).map_err(Problem::writing(&to.folder))?;
    to.write(TIMELINE, &page::timeline(&timeline))?;
    to.write(PERFETTO, &perfetto::document(&timeline))?;
    to.write(WHY, &why::document(&evidence, &timeline))?;
    Ok(evidence.verdict)
}
