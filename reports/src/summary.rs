//! `summary.json`: what was run and what came out, for tools.
//!
//! The shape is an interface. Keys may be added, none renamed or removed; what is empty beside
//! `results` is left out. No time of day and no path stands in it, so the same runs give the same
//! bytes in every process. [`crate::verbs::replay`] reads it back.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use steadfast_scenarios::Verdict;

use crate::cli::World;
use crate::problem::Problem;
use crate::runs::Run;
use crate::words;

/// Its name in a bundle.
pub(crate) const FILE: &str = "summary.json";

/// What was run and what came out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Every run, in the order of scenarios, then seeds.
    pub(crate) results: Vec<Record>,
    /// Stories that no protocol can end well, and the run that shows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) impossible: Vec<Theory>,
    /// What was not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) not_run: Vec<NotRun>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The scenario's name.
    pub(crate) scenario: String,
    /// The world's name.
    pub(crate) world: String,
    /// The seed.
    pub(crate) seed: u64,
    /// `pass`, `unknown` or `fail`.
    pub(crate) verdict: Verdict,
    /// The trace hash in hexadecimal; null if the run could not be played.
    pub(crate) trace: Option<String>,
    /// The longest interruption of through traffic after the first step, in milliseconds; null if
    /// none was measured.
    pub(crate) outage_ms: Option<f64>,
    /// The oracles that saw something wrong, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) oracles: Vec<String>,
}

/// An impossible story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Theory {
    /// The scenario's name.
    pub(crate) scenario: String,
    /// The world's name.
    pub(crate) world: String,
    /// The first seed that shows it; null if none of those tried does.
    pub(crate) seed: Option<u64>,
    /// The oracles that fail there.
    pub(crate) oracles: Vec<String>,
}

/// Something that was not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotRun {
    /// The scenario's name; null if it is about all of them.
    pub(crate) scenario: Option<String>,
    /// The world's name.
    pub(crate) world: String,
    /// Why.
    pub(crate) reason: String,
}

impl Summary {
    /// As text, with a newline at the end.
    pub(crate) fn to_json(&self) -> String {
        to_json(self)
    }

    /// Writes it into this folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Problem> {
        let path = folder.join(FILE);
        fs::write(&path, self.to_json()).map_err(Problem::writing(&path))
    }

    /// The run of this scenario and seed, if it is told here: of several worlds' the one with this
    /// trace, if there is one.
    pub(crate) fn record(&self, scenario: &str, seed: u64, trace: &str) -> Option<&Record> {
        let found = |record: &&Record| record.scenario == scenario && record.seed == seed;
        let mut same = self.results.iter().filter(found);
        let exact = |record: &&Record| record.trace.as_deref() == Some(trace);
        same.clone().find(exact).or_else(|| same.next())
    }
}

impl Record {
    /// Of a run in this world.
    pub(crate) fn of(run: &Run, world: World) -> Self {
        Self {
            scenario: run.scenario.clone(),
            world: world.name().to_owned(),
            seed: run.seed,
            verdict: run.verdict,
            trace: run.trace.map(|trace| trace.to_string()),
            outage_ms: run.outage.map(words::milliseconds),
            oracles: run.tripped().into_iter().map(str::to_owned).collect(),
        }
    }
}

/// Indented JSON with a newline at the end.
pub(crate) fn to_json<T: Serialize>(value: &T) -> String {
    // Writing to memory cannot fail, and every key is a string.
    let text = serde_json::to_string_pretty(value);
    debug_assert!(text.is_ok(), "a report was not serialisable");
    text.unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{judged, outcome};

    fn sample() -> Summary {
        let passed = Run::from(outcome("active-loses-power", 0));
        let unplayed = Run::unplayed("broken", 2, "a step is later than the end".to_owned());
        let runs = [
            passed,
            judged("quiet-day", 7, Verdict::Unknown, "converges"),
            unplayed,
        ];
        Summary {
            results: runs
                .iter()
                .map(|run| Record::of(run, World::Fast))
                .collect(),
            ..Summary::default()
        }
    }

    /// The shape that tools read, with what is empty left out.
    #[test]
    fn summary_json_shape_is_stable() {
        insta::assert_snapshot!(sample().to_json(), @r#"
        {
          "results": [
            {
              "scenario": "active-loses-power",
              "world": "fast",
              "seed": 0,
              "verdict": "pass",
              "trace": "0000000000000000abababababababababababababababababababababababab",
              "outage_ms": 11.25
            },
            {
              "scenario": "quiet-day",
              "world": "fast",
              "seed": 7,
              "verdict": "unknown",
              "trace": "0000000000000007abababababababababababababababababababababababab",
              "outage_ms": 11.25
            },
            {
              "scenario": "broken",
              "world": "fast",
              "seed": 2,
              "verdict": "fail",
              "trace": null,
              "outage_ms": null
            }
          ]
        }
        "#);
    }

    /// The whole shape, with everything a qualification adds.
    #[test]
    fn summary_json_shape_is_stable_for_a_qualification() {
        let (scenario, world) = ("split-serves-twice".to_owned(), "fast".to_owned());
        let oracles = vec!["at_most_one_active".to_owned()];
        let summary = Summary {
            results: Vec::new(),
            impossible: vec![Theory {
                scenario,
                world,
                seed: Some(3),
                oracles,
            }],
            not_run: vec![NotRun {
                scenario: None,
                world: "lab".to_owned(),
                reason: "needs the runtime".to_owned(),
            }],
        };
        insta::assert_snapshot!(summary.to_json(), @r#"
        {
          "results": [],
          "impossible": [
            {
              "scenario": "split-serves-twice",
              "world": "fast",
              "seed": 3,
              "oracles": [
                "at_most_one_active"
              ]
            }
          ],
          "not_run": [
            {
              "scenario": null,
              "world": "lab",
              "reason": "needs the runtime"
            }
          ]
        }
        "#);
    }

    /// What was written is read back by a replay.
    #[test]
    fn summary_reads_what_it_wrote() {
        let summary = sample();
        let read: Summary = serde_json::from_str(&summary.to_json()).unwrap();
        assert_eq!(read, summary);
        assert_eq!(
            read.record("quiet-day", 7, "").map(|it| it.verdict),
            Some(Verdict::Unknown)
        );
        assert_eq!(read.record("quiet-day", 8, ""), None);
    }
}
