//! The folder that a qualification leaves behind.
//!
//! ```text
//!  steadfast-report/
//!    summary.json   junit.xml   index.html   history.jsonl (of campaigns, this one last)
//!    failures/SCENARIO-SEED/trace.jsonl    for each failing run, with
//!                           scenario.toml  the file it was made from,
//!                           run.pcapng     every frame at its gateways, and for people
//!                           timeline.html, why.md, perfetto.json
//!    failures/SCENARIO-lab/  the same of a run in the lab that did not pass (SCENARIO-lab-alone
//!                            where it was late beside others and played again), with
//!                           NAME.log       what each daemon said
//! ```
//! An older report in the same place is replaced: its failures are removed, but only from a folder
//! that holds a summary or nothing, so no other data is lost by a wrong `--report`. Limits:
//! [`TRACES_MAX`], [`TRACES_EACH_MAX`]; a failing run beyond them stands in the summary alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use steadfast_scenarios::Scenario;
use steadfast_sim::campaign;

use crate::cli::World;
use crate::junit::{self, Suite};
use crate::problem::Problem;
use crate::report::{self, Place};
use crate::runs::Run;
use crate::summary::{self, Summary};

/// Most traces stored in all: a trace takes megabytes. Later failing runs have none.
const TRACES_MAX: usize = 100;
/// Most traces stored of one scenario, so that one that always fails leaves room for others.
pub(crate) const TRACES_EACH_MAX: usize = 4;
/// The results for build servers.
const JUNIT: &str = "junit.xml";
/// Folder of the failing runs.
const FAILURES: &str = "failures";
/// A failing run's trace.
pub(crate) const TRACE: &str = "trace.jsonl";
/// Every frame at its gateways.
const CAPTURE: &str = "run.pcapng";
/// The file it was made from.
pub(crate) const SCENARIO: &str = "scenario.toml";

/// A report in the making.
#[derive(Debug)]
pub(crate) struct Bundle {
    folder: PathBuf,
    traces: usize,
}

impl Bundle {
    /// Makes the folder, or takes the place of an older report.
    pub(crate) fn create(folder: &Path) -> Result<Self, Problem> {
        fs::create_dir_all(folder).map_err(Problem::writing(folder))?;
        let summary = folder.join(summary::FILE);
        let empty = fs::read_dir(folder)
            .map_err(Problem::reading(folder))?
            .next()
            .is_none();
        if !empty && !summary.is_file() {
            let text = "the folder holds something else than a report; choose another --report";
            let reason = io::Error::new(io::ErrorKind::AlreadyExists, text);
            return Err(Problem::Write {
                path: folder.to_owned(),
                reason,
            });
        }
        let failures = folder.join(FAILURES);
        if failures.exists() {
            fs::remove_dir_all(&failures).map_err(Problem::writing(&failures))?;
        }
        let junit = folder.join(JUNIT);
        if junit.exists() {
            fs::remove_file(&junit).map_err(Problem::writing(&junit))?;
        }
        // A report that is cut short must not look like the older one; and what was begun is known
        // again as a report.
        Summary::default().write(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            traces: 0,
        })
    }

    /// Plays a failing run again and stores its trace and scenario. None when there are enough.
    pub(crate) fn store(
        &mut self,
        scenario: &Scenario,
        seed: u64,
        world: campaign::World,
    ) -> Result<Option<Run>, Problem> {
        if self.traces >= TRACES_MAX {
            return Ok(None);
        }
        self.traces += 1;
        let name = match world {
            campaign::World::Fast => format!("{}-{seed}", scenario.plan().name),
            other => format!("{}-{seed}-{}", scenario.plan().name, other.name()),
        };
        let folder = self.folder.join(FAILURES).join(name);
        fs::create_dir_all(&folder).map_err(Problem::writing(&folder))?;
        let file = folder.join(SCENARIO);
        fs::write(&file, scenario.to_toml()).map_err(Problem::writing(&file))?;
        let (trace, capture) = (folder.join(TRACE), folder.join(CAPTURE));
        let run = Run::play_storing(scenario, seed, world, &trace, Some(&capture))?;
        if run.trace.is_some() {
            report::write(&folder, Some(World::of(world)), &Place::folder(&folder))?;
        }
        Ok(Some(run))
    }

    /// A folder for the evidence of a run in the lab, which cannot be played again alike.
    pub(crate) fn evidence(&self, scenario: &Scenario, what: &str) -> Result<PathBuf, Problem> {
        let name = format!("{}-{what}", scenario.plan().name);
        let folder = self.folder.join(FAILURES).join(name);
        fs::create_dir_all(&folder).map_err(Problem::writing(&folder))?;
        let file = folder.join(SCENARIO);
        fs::write(&file, scenario.to_toml()).map_err(Problem::writing(&file))?;
        Ok(folder)
    }

    /// Nothing was wrong: the evidence is not kept.
    pub(crate) fn forget(&self, evidence: &Path) -> Result<(), Problem> {
        fs::remove_dir_all(evidence).map_err(Problem::writing(evidence))?;
        // The last one takes the folder of failures with it.
        let _ = fs::remove_dir(self.folder.join(FAILURES));
        Ok(())
    }

    /// Writes what all runs amount to.
    pub(crate) fn finish(self, summary: &Summary, suites: &[Suite]) -> Result<PathBuf, Problem> {
        let path = self.folder.join(JUNIT);
        fs::write(&path, junit::document(suites)).map_err(Problem::writing(&path))?;
        summary.write(&self.folder)?;
        self.show_lab();
        report::index::write(&self.folder, summary)?;
        Ok(self.folder)
    }

    /// Pages for the evidence that the lab left. What ended too early to be shown has none, and the
    /// index no link to it.
    fn show_lab(&self) {
        let kept = fs::read_dir(self.folder.join(FAILURES))
            .into_iter()
            .flatten()
            .flatten();
        for folder in kept.map(|entry| entry.path()) {
            if folder.join(TRACE).is_file() && !folder.join(report::TIMELINE).is_file() {
                let _ = report::write(&folder, Some(World::Lab), &Place::folder(&folder));
            }
        }
    }
}
