//! The part of a qualification that runs on real kernels.
//!
//! Each scenario is played once, a few side by side. What they take from each other is nobody's
//! fault, so two kinds of runs are looked at again at the end, alone: those whose evidence has a
//! hole, because the host stalled or the kernel was busy with the others, and those that failed by
//! being late beside others. The line of such a run says so, and the evidence of the failure is
//! kept. What failed alone is never played again, and no company excuses a second owner, a standby
//! that speaks or a pacified node that serves.

use std::path::Path;

use steadfast_scenarios::{Scenario, Verdict};

use super::{Campaign, LAB, line, result};
use crate::cli::World;
use crate::lab::{self, Bench, Lab, Played, Wanted};
use crate::problem::Problem;
use crate::runs;
use crate::summary::{NotRun, Record};
use crate::verbs::Streams;
use crate::words::counted;

/// How often a run whose evidence has a hole is looked at again.
const LAB_SECOND_LOOKS: u64 = 2;

/// A run that is looked at again, alone.
struct SecondLook {
    place: usize,
    /// It failed beside others, or saw danger through a hole: the evidence of that is kept.
    failed: bool,
    /// In words.
    why: String,
}

impl SecondLook {
    /// Whether and why this run is looked at again.
    fn at(played: &Played) -> Option<Self> {
        let (failed, why) = match lab::failed_late(&played.lab).filter(|_| played.beside) {
            Some(oracles) => (true, format!("beside others it was late: {oracles}")),
            None => (saw_danger(&played.lab), hole(&played.lab)?),
        };
        let place = played.place;
        Some(Self { place, failed, why })
    }
}

/// Whether the evidence of a run has a hole: then it says neither yes nor no.
fn has_hole(lab: &Lab) -> bool {
    matches!(lab, Lab::Run(run) if run.verdict == Verdict::Unknown)
}

/// Whether an oracle that nothing excuses saw something wrong, if only with a hole in the evidence.
fn saw_danger(lab: &Lab) -> bool {
    let Lab::Run(run) = lab else { return false };
    let mut complaints = run.complaints.iter();
    complaints.any(|it| it.seen && lab::SAFETY.contains(&it.oracle.as_str()))
}

/// What the hole in the evidence of a run is, if there is one.
fn hole(lab: &Lab) -> Option<String> {
    let Lab::Run(run) = lab else { return None };
    let seen = run.complaints.first().map(|it| it.text.as_str());
    has_hole(lab).then(|| seen.unwrap_or("nothing was proven").to_owned())
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
                    streams.print(&self.tell_lab(scenario, lab, ""))?;
                }
                None => wanted.push(Wanted {
                    scenario,
                    seed: 0,
                    rival: None,
                    evidence: Some(self.bundle.evidence(scenario, "lab")?),
                }),
            }
        }
        let mut again = Vec::new();
        bench.play_all(&wanted, lab::RUNS_AT_ONCE, lab::goes_alone, |played| {
            let wanted = &wanted[played.place];
            match SecondLook::at(&played) {
                Some(look) => {
                    again.push(look);
                    Ok(())
                }
                None => self.take_lab(wanted, played.lab, "", streams),
            }
        })?;
        for look in again {
            self.look_again(&bench, &look, &wanted[look.place], streams)?;
        }
        self.sort_lab();
        Ok(())
    }

    fn look_again(
        &mut self,
        bench: &Bench,
        look: &SecondLook,
        wanted: &Wanted<'_>,
        streams: &mut Streams<'_>,
    ) -> Result<(), Problem> {
        let mut wanted = wanted.clone();
        if look.failed {
            wanted.evidence = Some(self.bundle.evidence(wanted.scenario, "lab-alone")?);
        }
        let mut looks = 1;
        let mut lab = bench.play(&wanted);
        while looks < LAB_SECOND_LOOKS && has_hole(&lab) {
            looks += 1;
            lab = bench.play(&wanted);
        }
        let seen = counted(looks, "second look");
        let note = format!("  ({seen}, alone: {})", look.why);
        self.take_lab(&wanted, lab, &note, streams)
    }

    /// Prints what became of it, and keeps the evidence of what did not pass.
    fn take_lab(
        &mut self,
        wanted: &Wanted<'_>,
        lab: Lab,
        note: &str,
        streams: &mut Streams<'_>,
    ) -> Result<(), Problem> {
        let passed = match &lab {
            Lab::NotRun(_) => true,
            Lab::Run(run) => run.verdict == Verdict::Pass,
        };
        if passed && let Some(evidence) = &wanted.evidence {
            self.bundle.forget(evidence)?;
        }
        streams.print(&self.tell_lab(wanted.scenario, lab, note))
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

    /// What became of a scenario in the lab, and a note on it; what to print.
    fn tell_lab(&mut self, scenario: &Scenario, lab: Lab, note: &str) -> String {
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
                match text.split_once('\n') {
                    Some((first, rest)) => format!("{first}{note}\n{rest}"),
                    None => text,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::Run;
    use crate::testing::{judged, outcome};

    /// Being late beside others is looked at again; a second owner is not, nor what was not played.
    #[test]
    fn qualify_second_look_is_for_what_time_excuses() {
        let fail = |oracle: &str| Lab::Run(judged("a", 0, Verdict::Fail, oracle));
        let late = lab::failed_late;
        assert_eq!(late(&fail("outage")), Some("outage".to_owned()));
        for oracle in lab::SAFETY {
            assert_eq!(late(&fail(oracle)), None, "{oracle}");
        }
        assert_eq!(late(&Lab::Run(outcome("a", 0).into())), None);
        let unplayed = Run::unplayed("a", 0, "no namespace".to_owned());
        assert_eq!(late(&Lab::Run(unplayed)), None);
        let unknown = Lab::Run(judged("a", 0, Verdict::Unknown, "outage"));
        assert!(has_hole(&unknown) && late(&unknown).is_none());
    }
}
