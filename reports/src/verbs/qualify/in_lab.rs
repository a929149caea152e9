//! The part of a qualification that runs on real kernels.
//!
//! Each scenario is played once, a few side by side. A run whose evidence has a hole, because the
//! host stalled or the others kept the kernel from serving it, is looked at again at the end, alone;
//! what failed is never played again.

use std::path::Path;

use steadfast_scenarios::{Scenario, Verdict};

use super::{Campaign, LAB, line, result};
use crate::cli::World;
use crate::lab::{self, Bench, Lab, Wanted};
use crate::problem::Problem;
use crate::runs;
use crate::summary::{NotRun, Record};
use crate::verbs::Streams;
use crate::words::counted;

/// How often a run whose evidence has a hole is looked at again.
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
        daemon: Option<&Path>,
        streams: &mut Streams<'_>,
    ) -> Result<(), Problem> {
        let bench = Bench::set_up(daemon)?;
        streams.print("in the lab, on real kernels:\n")?;
        let mut wanted = Vec::new();
        for scenario in kept {
            match runs::not_run(scenario, World::Lab) {
                Some(not_run) => {
                    let lab = Lab::NotRun(not_run.reason);
                    streams.print(&self.tell_lab(scenario, lab, 0))?;
                }
                None => wanted.push(Wanted {
                    scenario,
                    seed: 0,
                    evidence: Some(self.bundle.evidence(scenario)?),
                }),
            }
        }
        let mut holes = Vec::new();
        bench.play_all(&wanted, lab::RUNS_AT_ONCE, |place, lab| {
            if has_hole(&lab) {
                holes.push(place);
                return Ok(());
            }
            self.take_lab(&wanted[place], lab, 0, streams)
        })?;
        for place in holes {
            let mut looks = 1;
            let mut lab = bench.play(&wanted[place]);
            while looks < LAB_SECOND_LOOKS && has_hole(&lab) {
                looks += 1;
                lab = bench.play(&wanted[place]);
            }
            self.take_lab(&wanted[place], lab, looks, streams)?;
        }
        self.sort_lab();
        Ok(())
    }

    /// Prints what became of it, and keeps the evidence of what did not pass.
    fn take_lab(
        &mut self,
        wanted: &Wanted<'_>,
        lab: Lab,
        looks: usize,
        streams: &mut Streams<'_>,
    ) -> Result<(), Problem> {
        let passed = match &lab {
            Lab::NotRun(_) => true,
            Lab::Run(run) => run.verdict == Verdict::Pass,
        };
        if passed && let Some(evidence) = &wanted.evidence {
            self.bundle.forget(evidence)?;
        }
        streams.print(&self.tell_lab(wanted.scenario, lab, looks))
    }

    /// Puts what the lab said in the order of names: two reports can be compared.
    fn sort_lab(&mut self) {
        let results = &mut self.summary.results;
        let ours = |record: &Record| record.world == World::Lab.name();
        let first = results.iter().position(ours).unwrap_or(results.len());
        results[first..].sort_by(|a, b| a.scenario.cmp(&b.scenario));
        if let Some(suite) = self.suites.get_mut(LAB) {
            suite.cases.sort_by(|a, b| a.name.cmp(&b.name));
        }
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
                    format!(
                        "{}  ({seen}, alone: its evidence had a hole)\n",
                        text.trim_end()
                    )
                } else {
                    text
                }
            }
        }
    }
}
