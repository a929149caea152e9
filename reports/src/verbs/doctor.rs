//! `steadfast doctor`: what this machine can run in the lab, tried, not guessed.
//!
//! Each feature is tried inside a lab of its own and told with what was seen and what helps. A
//! feature that the lab does without is no failure. Ends with `fail` when something needed is
//! missing, so that a pipeline can ask first.

use super::Streams;
use crate::ending::Ending;
use crate::problem::Problem;
use crate::summary;

/// How to tell it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Examines and tells.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let findings = steadfast_netlab::doctor::see();
    if args.json {
        streams.print(&summary::to_json(&findings))?;
    } else {
        for finding in &findings {
            let word = match (finding.works, finding.optional) {
                (true, _) => "works",
                (false, true) => "absent",
                (false, false) => "MISSING",
            };
            let mut line = format!("{word:8} {}", finding.feature);
            if !finding.works {
                line.push_str(&format!(": {}; {}", finding.seen, finding.cure));
            }
            streams.print(&format!("{line}\n"))?;
        }
    }
    let lacking = findings.iter().any(|it| !it.works && !it.optional);
    Ok(if lacking { Ending::Fail } else { Ending::Pass })
}
