//! `history.jsonl`: what campaigns came to, one line each, so that a figure has a past.
//!
//! A campaign appends its line to the report's folder and drops the oldest beyond [`LINES_MAX`]. It
//! is the one file of a report that tells a time of day. A line that cannot be read is passed over
//! and goes with the next campaign: a history is a convenience and never a reason to fail.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use steadfast_scenarios::Verdict;

use crate::problem::Problem;
use crate::summary::Summary;

/// Its name in a report's folder.
pub(crate) const FILE: &str = "history.jsonl";
/// Most lines kept; with the next one the oldest goes.
const LINES_MAX: usize = 200;

/// What a campaign came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Campaign {
    /// When it ended, in seconds since 1970.
    pub(crate) at: u64,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) unknown: usize,
    /// The worst outage in milliseconds, by `WORLD/SCENARIO`; absent where none was measured.
    pub(crate) worst: BTreeMap<String, f64>,
}

impl Campaign {
    /// Of these runs, ended now.
    pub(crate) fn now(summary: &Summary) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self::at(since.map_or(0, |since| since.as_secs()), summary)
    }

    fn at(at: u64, summary: &Summary) -> Self {
        let count = |verdict| {
            summary
                .results
                .iter()
                .filter(|it| it.verdict == verdict)
                .count()
        };
        let mut worst = BTreeMap::new();
        for record in &summary.results {
            if let Some(outage) = record.outage_ms {
                let key = format!("{}/{}", record.world, record.scenario);
                let known = worst.entry(key).or_insert(outage);
                *known = outage.max(*known);
            }
        }
        Self {
            at,
            passed: count(Verdict::Pass),
            failed: count(Verdict::Fail),
            unknown: count(Verdict::Unknown),
            worst,
        }
    }
}

/// All campaigns of a folder, the oldest first.
pub(crate) fn read(folder: &Path) -> Vec<Campaign> {
    let text = fs::read_to_string(folder.join(FILE)).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Adds a campaign; all of them.
pub(crate) fn append(folder: &Path, campaign: Campaign) -> Result<Vec<Campaign>, Problem> {
    let mut all = read(folder);
    all.push(campaign);
    all.drain(..all.len().saturating_sub(LINES_MAX));
    // Writing to memory cannot fail, and every key is a string.
    let line = |it: &Campaign| serde_json::to_string(it).unwrap_or_default() + "\n";
    let text: String = all.iter().map(line).collect();
    let path = folder.join(FILE);
    fs::write(&path, text).map_err(Problem::writing(&path))?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::World;
    use crate::summary::Record;
    use crate::testing::{judged, outcome};

    /// The worst of each scenario counts, and two hundred campaigns are all that is kept.
    #[test]
    fn history_keeps_the_newest_campaigns() {
        let folder = std::env::temp_dir().join(format!("steadfast-history-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let runs = [
            outcome("a", 0).into(),
            judged("a", 1, Verdict::Fail, "outage"),
        ];
        let results = runs
            .iter()
            .map(|run| Record::of(run, World::Fast))
            .collect();
        let summary = Summary {
            results,
            ..Summary::default()
        };
        fs::write(folder.join(FILE), "no campaign\n").unwrap();
        for at in 0..LINES_MAX as u64 + 3 {
            append(&folder, Campaign::at(at, &summary)).unwrap();
        }
        let all = read(&folder);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((all.len(), all[0].at), (LINES_MAX, 3));
        assert_eq!((all[0].passed, all[0].failed), (1, 1));
        assert_eq!(all[0].worst, BTreeMap::from([("fast/a".to_owned(), 11.25)]));
    }
}
