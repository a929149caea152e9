//! The part of a qualification that runs on real kernels.
//!
//! Each scenario is played once, one after the other. A run whose evidence has a hole, because the
//! host stalled, is looked at again at the end; what failed is never played again.

use std::path::Path;

use steadfast_scenarios::{Scenario, Verdict};

use super::{Campaign, LAB, line, result};
use crate::cli::World;
use crate::lab::{self, Lab};
use crate::pool;
use crate::problem::Problem;
use crate::runs;
use crate::summary::{NotRun, Record};
use crate::verbs::Streams;
use crate::words::counted;

/// How often a run in the lab whose evidence has a hole is looked at again, at the end: the host
/// stalled. What failed is never played again.
const LAB_SECOND_LOOKS: usize = 2;

/// Whether the evidence of a run has a hole: then it says neither yes nor no.
fn has_hole(lab: &Lab) -> bool {
    matches!(lab, Lab::Run(run) if run.verdict == Verdict::Unknown)
}

impl Campaign {
    /// Plays each scenario once on real kernels; prints a line for each.
    pub(super) fn visit_lab(
        &mut self,
        kept: &[Scenario],
        daemon: &Path,
        streams: &mut Streams<'_>,
    ) -> Result<(), Problem> {
        streams.print("in the lab, on real kernels:\n")?;
        let threads = lab::RUNS_AT_ONCE;
        let skipped = |scenario: &Scenario| runs::not_run(scenario, World::Lab);
        let work = |number: u64| {
            let scenario = usize::try_from(number).ok().and_then(|at| kept.get(at))?;
            Some(match skipped(scenario) {
                Some(not_run) => Lab::NotRun(not_run.reason),
                None => lab::run(scenario, 0, daemon, None, threads > 1),
            })
        };
        let mut holes = Vec::new();
        let mut scenarios = kept.iter();
        let take = |lab: Option<Lab>| {
            let (Some(lab), Some(scenario)) = (lab, scenarios.next()) else {
                return Ok(());
            };
            if has_hole(&lab) {
                holes.push(scenario);
                return Ok(());
            }
            streams.print(&self.tell_lab(scenario, lab, 0))
        };
        pool::in_order(kept.len() as u64, threads, work, take)?;
        for scenario in holes {
            let mut looks = 1;
            let mut lab = lab::run(scenario, 0, daemon, None, false);
            while looks < LAB_SECOND_LOOKS && has_hole(&lab) {
                looks += 1;
                lab = lab::run(scenario, 0, daemon, None, false);
            }
            streams.print(&self.tell_lab(scenario, lab, looks))?;
        }
        Ok(())
    }

    /// What became of a scenario in the lab, after so many second looks; what to print of it.
    fn tell_lab(&mut self, scenario: &Scenario, lab: Lab, looks: usize) -> String {
        let name = scenario.plan().name.clone();
        match lab {
            Lab::NotRun(reason) => {
                let world = World::Lab.name().to_owned();
                let scenario = Some(name);
                self.leave_out(
                    LAB,
                    NotRun {
                        scenario,
                        world,
                        reason,
                    },
                )
            }
            Lab::Run(run) => {
                self.worst = self.worst.max(run.verdict.into());
                self.summary.results.push(Record::of(&run, World::Lab));
                self.push_case(LAB, name.clone(), result(&run, World::Lab));
                let text = line(&name, self.width, std::slice::from_ref(&run), World::Lab);
                if looks > 0 {
                    let seen = counted(looks as u64, "second look");
                    format!("{}  ({seen}: the host had stalled)\n", text.trim_end())
                } else {
                    text
                }
            }
        }
    }
}
