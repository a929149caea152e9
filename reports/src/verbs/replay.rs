//! `steadfast replay`: judges a stored trace again and says whether all is as recorded.
//!
//! The trace names its scenario and seed. The scenario file is taken from beside the trace
//! (`scenario.toml`, `SCENARIO.toml`), else from what is built in; the record from the nearest
//! `summary.json`, beside the trace or up to [`LEVELS_MAX`] folders above. The hash is of the
//! file's bytes, so a trace that was touched is found out even where its meaning stayed. The hard
//! case is a scenario that changed since: names that differ make the verdict meaningless, and are
//! told.
//! Bounds on time are as wide as the recorded world has them. Limits: [`TRACE_BYTES_MAX`]; what a
//! world knew beside its trace (that it overflowed, or was blind for a while) is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use steadfast_scenarios::trace::{self, EventKind, Names, TraceHash};
use steadfast_scenarios::{Finding, Judge, Plan, Scenario, Verdict};

use super::Streams;
use crate::bundle;
use crate::catalogue;
use crate::cli::World;
use crate::ending::Ending;
use crate::problem::Problem;
use crate::runs::{self, Complaint};
use crate::summary::{self, Record, Summary};
use crate::words;

/// Longest trace in bytes, because it is read as a whole; a longer one is refused.
const TRACE_BYTES_MAX: u64 = 4 << 30;
/// How many folders above the trace's own are searched for a summary.
const LEVELS_MAX: usize = 2;

/// What to judge again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A trace that `run --traces` or `qualify` wrote
    trace: PathBuf,
    /// The scenario file, if it is neither beside the trace nor built in
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
}

#[cfg(test)]
impl Args {
    /// This trace, and the scenario beside it.
    pub(crate) fn of(trace: PathBuf) -> Self {
        Self {
            trace,
            scenario: None,
        }
    }
}

/// Says hash and verdict, and whether they are as recorded. What failed and is recorded as failed
/// is as recorded, so this passes.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let (text, hash) = read(&args.trace)?;
    let broken = |reason| Problem::Trace {
        path: args.trace.clone(),
        reason,
    };
    let events = trace::read(&text).map_err(broken)?;
    let Some(EventKind::Names(names)) = events.first().map(|event| &event.kind) else {
        return Err(Problem::TraceOfNothing {
            path: args.trace.clone(),
        });
    };
    let scenario = scenario(&args.trace, args.scenario.as_deref(), names)?;
    let plan = scenario.resolve(names.seed)?;
    streams.print(&format!(
        "{} seed {}, {}\n",
        names.scenario,
        names.seed,
        scenario.file()
    ))?;
    if Names::of(&plan) != *names {
        let advice = "give the file it was made from with --scenario";
        streams.note(&format!(
            "the trace is of another version of the scenario: {advice}\n"
        ))?;
        return Ok(Ending::Unknown);
    }
    let record = recorded(&args.trace, names, &hash)?;
    let world = record.as_ref().map_or("", |record| record.world.as_str());
    let (verdict, complaints) = judge(&plan, world, &events);
    let compared = Compared {
        hash,
        verdict,
        complaints,
        record,
    };
    streams.print(&compared.text())?;
    Ok(compared.ending())
}

/// As that world judges: what it adds to bounds on time is added here.
pub(crate) fn findings(plan: &Plan, world: &str, events: &[trace::Event]) -> Vec<Finding> {
    let mut judge = Judge::tolerating(plan, tolerance(plan, world));
    events.iter().for_each(|event| judge.observe(event));
    judge.finish(plan.end())
}

fn judge(plan: &Plan, world: &str, events: &[trace::Event]) -> (Verdict, Vec<Complaint>) {
    let findings = findings(plan, world, events);
    let verdict = Verdict::of(&findings);
    (verdict, runs::complaints(&findings, verdict))
}

fn tolerance(plan: &Plan, world: &str) -> Duration {
    match World::named(world) {
        Some(World::Lab) => steadfast_netlab::play::tolerance(plan),
        Some(other) => other
            .simulated()
            .map_or(Duration::ZERO, |world| world.tolerance(plan)),
        None => Duration::ZERO,
    }
}

/// What is true now, and what was recorded.
struct Compared {
    hash: String,
    verdict: Verdict,
    complaints: Vec<Complaint>,
    record: Option<Record>,
}

impl Compared {
    fn ending(&self) -> Ending {
        match &self.record {
            None => Ending::Unknown,
            Some(record) if self.is_as(record) => Ending::Pass,
            Some(_) => Ending::Fail,
        }
    }

    fn is_as(&self, record: &Record) -> bool {
        self.verdict == record.verdict && Some(&self.hash) == record.trace.as_ref()
    }

    fn text(&self) -> String {
        let beside = |now: &str, recorded: Option<&str>| match recorded {
            None => format!("{now}, not recorded: no {} names this run", summary::FILE),
            Some(recorded) if recorded == now => format!("{now}, as recorded"),
            Some(recorded) => format!("{now}, NOT AS RECORDED\n    was  {recorded}"),
        };
        let record = self.record.as_ref();
        let hash = record.map(|record| record.trace.as_deref().unwrap_or("none"));
        let verdict = record.map(|record| words::verdict(record.verdict));
        let mut lines = vec![
            format!("trace    {}", beside(&self.hash, hash)),
            format!("verdict  {}", beside(words::verdict(self.verdict), verdict)),
        ];
        let complaint = |it: &Complaint| format!("         {}: {}", it.oracle, it.text);
        lines.extend(self.complaints.iter().map(complaint));
        lines.join("\n") + "\n"
    }
}

/// A trace and its hash.
pub(crate) fn read(path: &Path) -> Result<(String, String), Problem> {
    let length = fs::metadata(path).map_err(Problem::reading(path))?.len();
    if length > TRACE_BYTES_MAX {
        return Err(Problem::TooMuch {
            what: format!("a trace of {length} bytes"),
            max: TRACE_BYTES_MAX,
        });
    }
    let text = fs::read_to_string(path).map_err(Problem::reading(path))?;
    let hash = TraceHash(*blake3::hash(text.as_bytes()).as_bytes());
    Ok((text, hash.to_string()))
}

/// The scenario that the trace names: as given, beside the trace, or built in.
pub(crate) fn scenario(
    trace: &Path,
    given: Option<&Path>,
    names: &Names,
) -> Result<Scenario, Problem> {
    let folder = trace.parent().unwrap_or(Path::new(""));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    // The name comes from the trace, so it must not lead out of the folder.
    let own = names
        .scenario
        .chars()
        .all(plain)
        .then(|| format!("{}.toml", names.scenario));
    let beside = [Some(bundle::SCENARIO.to_owned()), own];
    let beside = beside.into_iter().flatten().map(|name| folder.join(name));
    let found = given
        .map(Path::to_owned)
        .or_else(|| beside.into_iter().find(|path| path.is_file()));
    let Some(path) = found else {
        return catalogue::open(&names.scenario);
    };
    let text = fs::read_to_string(&path).map_err(Problem::reading(&path))?;
    Ok(Scenario::parse(&path.to_string_lossy(), &text)?)
}

/// What the nearest summary says of this run. One that is no summary of ours is passed over.
pub(crate) fn recorded(trace: &Path, names: &Names, hash: &str) -> Result<Option<Record>, Problem> {
    let folder = trace.parent().unwrap_or(Path::new(""));
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let folder = folder.canonicalize().map_err(Problem::reading(folder))?;
    for folder in folder.ancestors().take(1 + LEVELS_MAX) {
        let Ok(text) = fs::read_to_string(folder.join(summary::FILE)) else {
            continue;
        };
        let summary = serde_json::from_str::<Summary>(&text).unwrap_or_default();
        if let Some(record) = summary.record(&names.scenario, names.seed, hash) {
            return Ok(Some(record.clone()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::Run;
    use crate::testing::judged;

    fn compared(record: Option<Record>) -> Compared {
        let run = judged("quiet-day", 7, Verdict::Fail, "outage");
        let now = Record::of(&run, World::Fast);
        Compared {
            hash: now.trace.unwrap(),
            verdict: now.verdict,
            complaints: run.complaints,
            record,
        }
    }

    fn record(verdict: Verdict) -> Record {
        Record::of(&judged("quiet-day", 7, verdict, "outage"), World::Fast)
    }

    /// A failure that was recorded as one is as recorded: the replay passes.
    #[test]
    fn replay_as_recorded_passes_whatever_the_verdict() {
        let same = compared(Some(record(Verdict::Fail)));
        assert_eq!(same.ending(), Ending::Pass);
        insta::assert_snapshot!(same.text(), @r"
        trace    0000000000000007abababababababababababababababababababababababab, as recorded
        verdict  FAIL, as recorded
                 outage: out: 22 ms, allowed are 12 (since 3.000s)
        ");
    }

    /// Another verdict, another trace, and a run that had none: each is told with what it was.
    #[test]
    fn replay_other_than_recorded_fails() {
        let other_verdict = compared(Some(record(Verdict::Pass)));
        let other_trace = compared(Some(Record {
            trace: Some("00".repeat(32)),
            ..record(Verdict::Fail)
        }));
        let unplayed = Run::unplayed("quiet-day", 7, "refused".to_owned());
        let no_trace = compared(Some(Record::of(&unplayed, World::Fast)));
        let all = [&other_verdict, &other_trace, &no_trace];
        assert_eq!(all.map(Compared::ending), [Ending::Fail; 3]);
        insta::assert_snapshot!(all.map(Compared::text).concat(), @r"
        trace    0000000000000007abababababababababababababababababababababababab, as recorded
        verdict  FAIL, NOT AS RECORDED
            was  pass
                 outage: out: 22 ms, allowed are 12 (since 3.000s)
        trace    0000000000000007abababababababababababababababababababababababab, NOT AS RECORDED
            was  0000000000000000000000000000000000000000000000000000000000000000
        verdict  FAIL, as recorded
                 outage: out: 22 ms, allowed are 12 (since 3.000s)
        trace    0000000000000007abababababababababababababababababababababababab, NOT AS RECORDED
            was  none
        verdict  FAIL, as recorded
                 outage: out: 22 ms, allowed are 12 (since 3.000s)
        ");
    }

    /// Nothing to compare with is neither right nor wrong.
    #[test]
    fn replay_without_record_is_unknown() {
        let alone = compared(None);
        assert_eq!(alone.ending(), Ending::Unknown);
        assert!(
            alone.text().contains("no summary.json names this run"),
            "{}",
            alone.text()
        );
    }
}
