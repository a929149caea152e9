//! The part of a qualification that runs on real kernels.
//!
//! Each scenario is played once, some side by side, because a run mostly waits. A run whose
//! evidence has a hole, because the host stalled, is looked at again alone; what failed is never
//! played again.

use std::path::Path;

use steadfast_scenarios::{Scenario, Verdict};

use super::{Campaign, LAB, line, result};
use crate::cli::{self, World};
use crate::lab::{self, Lab};
use crate::pool;
use crate::problem::Problem;
use crate::runs;
use crate::summary::{NotRun, Record};
use crate::verbs::Streams;
use crate::words::counted;

/// How often a run in the lab whose evidence has a hole is looked at again, alone: the host stalled
/// while runs went side by side. What failed is never played again.
const LAB_SECOND_LOOKS: usize = 2;

impl Campaign {
    /// Plays each scenario once on real kernels, some side by side; prints a line for each.
    pub(super) fn visit_lab(
        &mut self,
        kept: &[Scenario],
        daemon: &Path,
        streams: &mut Streams<'_>,
    ) -> Result<(), Problem> {
        streams.print("in the lab, on real kernels:\n")?;
        let skipped = |scenario: &Scenario| runs::not_run(scenario, World::Lab);
        let work = |number: u64| {
            let scenario = usize::try_from(number).ok().and_then(|at| kept.get(at))?;
            Some(match skipped(scenario) {
                Some(not_run) => Lab::NotRun(not_run.reason),
                None => lab::run(scenario, 0, daemon, None),
            })
        };
        let mut played = Vec::new();
        let take = |lab: Option<Lab>| {
            played.extend(lab);
            Ok::<(), Problem>(())
        };
        let threads = cli::threads(None) * lab::RUNS_EACH;
        pool::in_order(kept.len() as u64, threads, work, take)?;
        for (scenario, lab) in kept.iter().zip(played) {
            let text = self.tell_lab(scenario, lab, daemon);
            streams.print(&text)?;
        }
        Ok(())
    }

    /// What became of a scenario in the lab; what to print of it.
    fn tell_lab(&mut self, scenario: &Scenario, lab: Lab, daemon: &Path) -> String {
        let name = scenario.plan().name.clone();
        let mut looks = 0;
        let mut lab = lab;
        while looks < LAB_SECOND_LOOKS
            && matches!(&lab, Lab::Run(run) if run.verdict == Verdict::Unknown)
        {
            looks += 1;
            lab = lab::run(scenario, 0, daemon, None);
        }
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
