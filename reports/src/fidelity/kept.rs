//! Runs of the lab that are kept: a whole catalogue takes hours there, and hours can be cut short.
//!
//! A run is a trace of only what moments are made of, in a file named by seed and verdict:
//! `DIR/BUILD/SCENARIO-HASH/SEED.VERDICT.jsonl`. Build id and hash say which daemon played what, so
//! a change of either plays it anew, and a change of a simulator does not. A run with a hole in its
//! evidence is not kept, so the next time it is played again; one that failed leaves all it has.

use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use steadfast_netlab::DAEMON_SOURCES;
use steadfast_scenarios::trace::{self, Event, EventKind, TraceWriter};
use steadfast_scenarios::{Scenario, Verdict};

use crate::problem::Problem;
use crate::words;

/// Digits of the hash of a scenario's text.
const HASH_DIGITS: usize = 12;

/// Where a scenario's runs are kept.
#[derive(Debug)]
pub(crate) struct Kept(PathBuf);

impl Kept {
    /// Below this folder; it is made.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn open(folder: &Path, scenario: &Scenario) -> Result<Self, Problem> {
        let hash = blake3::hash(scenario.to_toml().as_bytes()).to_hex();
        let name = format!("{}-{}", scenario.plan().name, &hash[..HASH_DIGITS]);
        let path = folder.join(DAEMON_SOURCES).join(name);
        fs::create_dir_all(&path).map_err(Problem::writing(&path))?;
        Ok(Self(path))
    }

    /// The run with this seed, if it is here.
    ///
    /// # Errors
    /// It is here and cannot be read.
    pub(crate) fn load(&self, seed: u64) -> Result<Option<(Verdict, Vec<Event>)>, Problem> {
        for verdict in [Verdict::Pass, Verdict::Fail] {
            let path = self.path(seed, verdict);
            if path.exists() {
                return Ok(Some((verdict, events(&path)?)));
            }
        }
        Ok(None)
    }

    /// Keeps a run, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn store(
        &self,
        seed: u64,
        verdict: Verdict,
        events: &[Event],
    ) -> Result<(), Problem> {
        let path = self.path(seed, verdict);
        let unfinished = path.with_extension("unfinished");
        let file = fs::File::create(&unfinished).map_err(Problem::writing(&unfinished))?;
        let mut writer = TraceWriter::storing(BufWriter::new(file));
        for event in events.iter().filter(|event| matters(event)) {
            writer.write(event);
        }
        writer.finish().map_err(Problem::writing(&unfinished))?;
        fs::rename(&unfinished, &path).map_err(Problem::writing(&path))
    }

    /// Where a run with this seed leaves its evidence; that of one that failed stays.
    pub(crate) fn evidence(&self, seed: u64) -> PathBuf {
        self.0.join(format!("{seed}.evidence"))
    }

    fn path(&self, seed: u64, verdict: Verdict) -> PathBuf {
        self.0.join(format!(
            "{seed}.{}.jsonl",
            words::verdict(verdict).to_lowercase()
        ))
    }
}

/// A stored trace.
///
/// # Errors
/// It cannot be read, or is none.
pub(crate) fn events(path: &Path) -> Result<Vec<Event>, Problem> {
    let text = fs::read_to_string(path).map_err(Problem::reading(path))?;
    let unreadable = |reason| Problem::Trace {
        path: path.to_owned(),
        reason,
    };
    trace::read(&text).map_err(unreadable)
}

/// Probes are most of a trace, and no moments.
const fn matters(event: &Event) -> bool {
    !matches!(
        event.kind,
        EventKind::ProbeReceived { .. } | EventKind::ProbeSent { .. } | EventKind::Reachable { .. }
    )
}

#[cfg(test)]
mod tests {
    use steadfast_core::Instant;

    use super::super::sightings;
    use super::*;
    use crate::catalogue;

    fn step(at: u64, name: &str) -> Event {
        let kind = EventKind::Step {
            name: name.to_owned(),
            verb: "link_down".to_owned(),
            target: "a".to_owned(),
            done: true,
            took: None,
        };
        Event::new(Instant::from_nanos(at), kind)
    }

    /// A run comes back with its verdict and its moments; another seed and another text do not.
    #[test]
    fn kept_runs_come_back_for_the_same_scenario_alone() {
        let folder = std::env::temp_dir().join(format!("steadfast-kept-{}", std::process::id()));
        let open = |name: &str| {
            let scenario = catalogue::open(name).expect("known");
            Kept::open(&folder, &scenario).expect("a folder")
        };
        let events = [step(7, "cut"), step(9, "mend")];
        open("active-loses-power")
            .store(3, Verdict::Fail, &events)
            .expect("kept");

        let again = open("active-loses-power");
        let (verdict, known) = again.load(3).expect("readable").expect("here");
        assert_eq!(verdict, Verdict::Fail);
        assert_eq!(sightings(&known), sightings(&events));
        assert!(again.load(4).expect("readable").is_none());
        let other = open("planned-release").load(3).expect("readable");
        assert!(other.is_none());
        fs::remove_dir_all(&folder).expect("ours");
    }
}
