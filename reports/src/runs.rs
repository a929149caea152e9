//! One run, reduced to what reports need: campaigns keep millions of these.
//!
//! A run that could not be played at all fails under the oracle's name [`UNPLAYED`]: a scenario
//! that some seed cannot draw, or that the product refuses, is a defect and must not go unseen.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;
use std::{panic, process};

use steadfast_core::Instant;
use steadfast_scenarios::trace::TraceHash;
use steadfast_scenarios::{Finding, Scenario, Verdict};
use steadfast_sim::campaign::{self, Outcome};

use crate::cli::World;
use crate::ending::Ending;
use crate::problem::Problem;
use crate::summary::NotRun;
use crate::words;

/// What stands in an oracle's place when a run could not be played.
pub(crate) const UNPLAYED: &str = "scenario";
/// What stands in an oracle's place when the world gave up.
const OVERFLOWED: &str = "world";

/// Complaints shown for each run; more are counted.
const COMPLAINTS_SHOWN: usize = 5;

/// What a run amounted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The scenario's name.
    pub(crate) scenario: String,
    /// The seed.
    pub(crate) seed: u64,
    /// Over all findings.
    pub(crate) verdict: Verdict,
    /// Why the verdict is not `pass`; empty when it is.
    pub(crate) complaints: Vec<Complaint>,
    /// Which oracles watched, and whether what they watch for ever arose.
    pub(crate) armed: BTreeMap<String, bool>,
    /// Equal for equal runs; none if it could not be played.
    pub(crate) trace: Option<TraceHash>,
    /// The longest interruption of through traffic after the first step, if any was measured.
    pub(crate) outage: Option<Duration>,
    /// Simulated time; in the lab, real time.
    pub(crate) simulated: Duration,
    /// Whether the host stalled, so that not everything was seen.
    pub(crate) blind: bool,
    /// Whether a step of a run in the lab was due and found nobody to strike.
    pub(crate) struck_nobody: bool,
}

/// Something that an oracle holds against a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Complaint {
    /// The oracle.
    pub(crate) oracle: String,
    /// Where, when and what.
    pub(crate) text: String,
    /// Something wrong was seen; else evidence is missing.
    pub(crate) seen: bool,
    /// The longest time that something was wrong.
    pub(crate) longest: Duration,
    /// Since when something was wrong, if it was.
    pub(crate) since: Option<Instant>,
}

impl Run {
    /// Plays a scenario and keeps only the judgement.
    pub(crate) fn play(scenario: &Scenario, seed: u64, world: campaign::World) -> Self {
        let play = || campaign::play(scenario, seed, world.into());
        let played = marked(scenario, seed, world, play);
        Self::of(scenario, seed, played)
    }

    /// The same, and stores the trace in this file, and every frame at the gateways in that one.
    pub(crate) fn play_storing(
        scenario: &Scenario,
        seed: u64,
        world: campaign::World,
        path: &Path,
        capture: Option<&Path>,
    ) -> Result<Self, Problem> {
        let file = File::create(path).map_err(Problem::writing(path))?;
        let create = |path: &Path| File::create(path).map_err(Problem::writing(path));
        let capture = capture.map(create).transpose()?;
        let mut failed = None;
        let store = Store {
            file,
            failed: &mut failed,
        };
        let play = || match capture {
            None => campaign::play_storing(scenario, seed, world.into(), store),
            Some(frames) => {
                let frames = Box::new(BufWriter::new(frames));
                campaign::play_recording(scenario, seed, world.into(), store, frames)
            }
        };
        let played = marked(scenario, seed, world, play);
        match failed {
            Some(reason) => Err(Problem::Write {
                path: path.to_owned(),
                reason,
            }),
            None => Ok(Self::of(scenario, seed, played)),
        }
    }

    fn of(scenario: &Scenario, seed: u64, played: Result<Outcome, String>) -> Self {
        match played {
            Ok(outcome) => Self::from(outcome),
            Err(reason) => Self::unplayed(&scenario.plan().name, seed, reason),
        }
    }

    /// The run that could not be played.
    pub(crate) fn unplayed(scenario: &str, seed: u64, reason: String) -> Self {
        Self {
            scenario: scenario.to_owned(),
            seed,
            verdict: Verdict::Fail,
            complaints: vec![Complaint {
                oracle: UNPLAYED.to_owned(),
                text: reason,
                seen: false,
                longest: Duration::ZERO,
                since: None,
            }],
            armed: BTreeMap::new(),
            trace: None,
            outage: None,
            simulated: Duration::ZERO,
            blind: false,
            struck_nobody: false,
        }
    }

    /// Names of the oracles that complain, each once.
    pub(crate) fn complaining(&self) -> BTreeSet<&str> {
        self.complaints
            .iter()
            .map(|complaint| complaint.oracle.as_str())
            .collect()
    }

    /// Names of the oracles that saw something wrong, each once.
    pub(crate) fn tripped(&self) -> BTreeSet<&str> {
        let seen = self.complaints.iter().filter(|it| it.seen);
        seen.map(|complaint| complaint.oracle.as_str()).collect()
    }
}

impl From<Outcome> for Run {
    fn from(outcome: Outcome) -> Self {
        let armed = armed(&outcome.findings);
        let mut complaints = complaints(&outcome.findings, outcome.verdict);
        if outcome.cost.overflowed {
            let text = "the world had more to do at once than it holds".to_owned();
            complaints.insert(
                0,
                Complaint {
                    oracle: OVERFLOWED.to_owned(),
                    text,
                    seen: false,
                    longest: Duration::ZERO,
                    since: None,
                },
            );
        }
        Self {
            scenario: outcome.scenario,
            seed: outcome.seed,
            verdict: outcome.verdict,
            complaints,
            armed,
            trace: Some(outcome.trace),
            outage: outcome.outage,
            simulated: outcome.cost.simulated,
            blind: false,
            struck_nobody: false,
        }
    }
}

/// Which oracles watched, and whether what they watch for ever arose.
pub(crate) fn armed(findings: &[Finding]) -> BTreeMap<String, bool> {
    let mut armed = BTreeMap::new();
    for finding in findings {
        *armed.entry(finding.oracle.clone()).or_default() |= finding.armed;
    }
    armed
}

/// What explains the verdict over all: the findings that have the same, unless all is well.
pub(crate) fn complaints(findings: &[Finding], verdict: Verdict) -> Vec<Complaint> {
    let guilty = |finding: &&Finding| verdict != Verdict::Pass && finding.verdict == verdict;
    findings.iter().filter(guilty).map(complaint).collect()
}

/// Why a run did not pass, and the one command that repeats it; nothing if it did.
pub(crate) fn why(run: &Run, repeat: &str) -> Vec<String> {
    if run.verdict == Verdict::Pass {
        return Vec::new();
    }
    let shown = run.complaints.iter().take(COMPLAINTS_SHOWN);
    let mut lines: Vec<_> = shown
        .map(|complaint| format!("{}: {}", complaint.oracle, complaint.text))
        .collect();
    let hidden = run.complaints.len().saturating_sub(COMPLAINTS_SHOWN);
    if hidden > 0 {
        lines.push(format!("and {hidden} more"));
    }
    lines.push(format!("repeat: {repeat}"));
    lines
}

/// Why this world does not run it, if its file says so.
pub(crate) fn not_run(scenario: &Scenario, world: World) -> Option<NotRun> {
    let plan = scenario.plan();
    let reason = plan.worlds.get(world.name())?.skip.clone()?;
    let (scenario, world) = (Some(plan.name.clone()), world.name().to_owned());
    Some(NotRun {
        scenario,
        world,
        reason,
    })
}

/// Ends the process with the exit code of a failure when a run panics, after saying which run.
pub(crate) fn name_the_run_on_panic() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        usual(info);
        if let Some(command) = playing() {
            // If even this cannot be told, the exit code still tells of the failure.
            let _ = writeln!(io::stderr(), "repeat: {command}");
            process::exit(i32::from(Ending::Fail.code(false)));
        }
    }));
}

thread_local! {
    /// The scenario that this thread plays, the seed, and where.
    static PLAYING: RefCell<Option<(String, u64, World)>> = const { RefCell::new(None) };
}

/// The command that repeats the run which this thread plays.
fn playing() -> Option<String> {
    PLAYING.with(|playing| {
        let playing = playing.try_borrow().ok()?;
        let (name, seed, world) = playing.as_ref()?;
        Some(words::repeat(name, *world, *seed))
    })
}

fn marked<T>(
    scenario: &Scenario,
    seed: u64,
    world: campaign::World,
    play: impl FnOnce() -> T,
) -> T {
    let name = match scenario.plan().name.as_str() {
        name if crate::catalogue::named(name).is_some() => name,
        _ => scenario.file(),
    };
    PLAYING.with_borrow_mut(|playing| *playing = Some((name.to_owned(), seed, World::of(world))));
    let played = play();
    PLAYING.with_borrow_mut(|playing| *playing = None);
    played
}

fn complaint(finding: &Finding) -> Complaint {
    let scope = match finding.scope.as_str() {
        "" => String::new(),
        scope => format!("{scope}: "),
    };
    let text = match &finding.first_violation {
        Some(violation) => format!("{scope}{} (since {})", violation.text, violation.from),
        None => format!("{scope}{}", finding.evidence),
    };
    Complaint {
        oracle: finding.oracle.clone(),
        text,
        seen: finding.first_violation.is_some(),
        longest: Duration::from_nanos(finding.longest_ns),
        since: finding.first_violation.as_ref().map(|it| it.from),
    }
}

/// A file that remembers why it could not be written.
struct Store<'a> {
    file: File,
    failed: &'a mut Option<io::Error>,
}

impl Write for Store<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        written.map_err(|reason| self.note(reason))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.flush();
        flushed.map_err(|reason| self.note(reason))
    }
}

impl Store<'_> {
    /// Keeps the reason, except for interruptions: those are tried again.
    fn note(&mut self, reason: io::Error) -> io::Error {
        let kind = reason.kind();
        if kind != io::ErrorKind::Interrupted {
            *self.failed = Some(reason);
        }
        kind.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{finding, outcome};

    /// A failed run is explained by what failed, not by what could not be told besides.
    #[test]
    fn run_complaints_are_those_of_the_verdict() {
        let mut played = outcome("x", 3);
        played.findings = vec![
            finding("outage", Verdict::Fail),
            finding("converges", Verdict::Unknown),
            finding("outage", Verdict::Fail),
        ];
        played.verdict = Verdict::Fail;
        let run = Run::from(played);
        assert_eq!(run.complaints.len(), 2);
        assert_eq!(run.complaining(), BTreeSet::from(["outage"]));
        assert_eq!(
            run.complaints[0].text,
            "out: 22 ms, allowed are 12 (since 3.000s)"
        );
    }

    /// A world that overflowed has findings, but none of them may stand as the reason alone.
    #[test]
    fn run_overflow_is_said_first() {
        let mut played = outcome("x", 3);
        played.verdict = Verdict::Unknown;
        played.cost.overflowed = true;
        assert_eq!(
            Run::from(played).complaining(),
            BTreeSet::from([OVERFLOWED])
        );
    }

    /// An oracle that sits several times was armed when any of its seats was.
    #[test]
    fn run_armed_anywhere_is_armed() {
        let mut played = outcome("x", 3);
        played.findings = ["outage", "outage", "no_flap"]
            .map(|name| finding(name, Verdict::Pass))
            .into();
        played.findings[0].armed = false;
        played.findings[2].armed = false;
        let armed = Run::from(played).armed;
        assert_eq!(
            armed,
            BTreeMap::from([("no_flap".into(), false), ("outage".into(), true)])
        );
    }

    /// The last words of a panic must name the run that is being played, and no earlier one.
    #[test]
    fn run_being_played_is_known_by_its_command() {
        let stored = crate::catalogue::CATALOGUE[0];
        let scenario = Scenario::parse(stored.file, stored.text).unwrap();
        let during = marked(&scenario, 5, campaign::World::Turmoil, playing);
        assert_eq!(during, Some(words::repeat(stored.name, World::Turmoil, 5)));
        assert_eq!(playing(), None);
    }

    /// A full disk is a problem of the machine, not a failed run.
    #[test]
    fn run_trace_that_cannot_be_stored_is_a_problem() {
        let scenario = crate::catalogue::open(crate::catalogue::CATALOGUE[0].name).unwrap();
        let full = Path::new("/dev/full");
        assert!(matches!(
            Run::play_storing(&scenario, 0, campaign::World::Fast, full, None),
            Err(Problem::Write { .. })
        ));
    }

    /// Sixteen streams that were all interrupted are one story, not a screen.
    #[test]
    fn run_text_counts_what_it_does_not_show() {
        let mut played = outcome("a", 1);
        played.verdict = Verdict::Fail;
        played.findings = vec![finding("outage", Verdict::Fail); 16];
        let lines = why(&Run::from(played), "a");
        assert_eq!(lines.len(), COMPLAINTS_SHOWN + 2);
        assert_eq!(lines[COMPLAINTS_SHOWN], "and 11 more");
    }
}
