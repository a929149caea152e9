//! The lab's half of a comparison: a scenario, with many seeds, on real kernels.
//!
//! Hours of it, so runs go side by side, whatever they are: beside a box that boots again others
//! may be late, and a run that was late has a hole in its evidence, or fails. What company may have
//! made of a run is played again, in less company if there are many such, as in a qualification;
//! who saw two owners or a speaking standby is not excused. What had the machine for itself is what
//! it is, and a run with a hole is left out.

use std::fs;
use std::path::{Path, PathBuf};

use steadfast_scenarios::{Scenario, Verdict};

use super::Args;
use crate::fidelity::{Against, Kept, events, sightings};
use crate::lab::company::in_company;
use crate::lab::{self, Bench, Lab, Wanted};
use crate::problem::Problem;

/// The runs of the lab that count; or what it needs to play this.
pub(super) fn in_lab(
    args: &Args,
    scenario: &Scenario,
    bench: &Bench,
) -> Result<Result<Against, String>, Problem> {
    let folder = Folder::new(&scenario.plan().name)?;
    let keep = args.keep.as_deref();
    let kept = keep.map(|it| Kept::open(it, scenario)).transpose()?;
    let mut taken = Taken {
        kept,
        against: Against::default(),
        needs: None,
    };
    let mut wanted = Vec::new();
    for seed in 0..args.repeats {
        if taken.known(seed)? {
            continue;
        }
        let evidence = taken.kept.as_ref();
        let passing = || folder.0.join(seed.to_string());
        let evidence = evidence.map_or_else(passing, |it| it.evidence(seed));
        fs::create_dir_all(&evidence).map_err(Problem::writing(&evidence))?;
        wanted.push(Wanted {
            scenario,
            seed,
            rival: None,
            evidence: Some(evidence),
        });
    }
    let take = |wanted: &Wanted<'_>, lab| taken.take(wanted, lab);
    in_company(bench, args.jobs.get(), wanted, is_company_s, take)?;
    let Taken { against, needs, .. } = taken;
    Ok(needs.map_or(Ok(against), Err))
}

/// Whether company may have made this of a run: its evidence has a hole, or it failed by being
/// late. What no lateness excuses stays as it is.
fn is_company_s(wanted: &Wanted<'_>, lab: &Lab) -> bool {
    let has_hole = matches!(lab, Lab::Run(run) if run.verdict == Verdict::Unknown);
    let failed = matches!(lab, Lab::Run(run) if run.verdict == Verdict::Fail);
    has_hole || lab::failed_late(lab).is_some() || failed && lab::goes_alone(wanted.scenario)
}

/// What there is so far.
struct Taken {
    kept: Option<Kept>,
    against: Against,
    needs: Option<String>,
}

impl Taken {
    /// Whether the run with this seed is kept; it counts now.
    fn known(&mut self, seed: u64) -> Result<bool, Problem> {
        let known = self.kept.as_ref().map(|it| it.load(seed)).transpose()?;
        let Some((verdict, events)) = known.flatten() else {
            return Ok(false);
        };
        self.against.verdicts.push(verdict);
        self.against.runs.push(sightings(&events));
        Ok(true)
    }

    /// A run has ended: it counts unless its evidence has a hole.
    fn take(&mut self, wanted: &Wanted<'_>, lab: Lab) -> Result<(), Problem> {
        let Wanted { seed, evidence, .. } = wanted;
        let Some(evidence) = evidence else {
            return Ok(());
        };
        let run = match lab {
            Lab::NotRun(why) => {
                self.needs.get_or_insert(why);
                // What an earlier run left there stays.
                let _ = fs::remove_dir(evidence);
                return Ok(());
            }
            Lab::Run(run) => run,
        };
        if run.verdict != Verdict::Unknown {
            let events = events(&evidence.join("trace.jsonl"))?;
            if let Some(kept) = &self.kept {
                kept.store(*seed, run.verdict, &events)?;
            }
            self.against.verdicts.push(run.verdict);
            self.against.runs.push(sightings(&events));
        }
        // Hours of frames and logs would fill a disk; those of a failure are wanted.
        if self.kept.is_none() || run.verdict != Verdict::Fail {
            let _ = fs::remove_dir_all(evidence);
        }
        Ok(())
    }
}

/// Where the lab's evidence lies meanwhile.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self, Problem> {
        let name = format!("steadfast-fidelity-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).map_err(Problem::writing(&path))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed lies in the temporary folder.
        let _ = fs::remove_dir_all(Path::new(&self.0));
    }
}
