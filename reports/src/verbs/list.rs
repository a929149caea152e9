//! `steadfast list`: the scenarios that are built in.

use steadfast_scenarios::Scenario;

use super::Streams;
use crate::catalogue::{self, CATALOGUE, IMPOSSIBLE};
use crate::ending::Ending;
use crate::problem::Problem;

/// Prints one line for each: name, title, and what is special about it.
pub(crate) fn run(streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let kept = catalogue::read(CATALOGUE)?;
    let impossible = catalogue::read(IMPOSSIBLE)?;
    let all = kept.iter().chain(&impossible);
    let width = all
        .map(|scenario| scenario.plan().name.len())
        .max()
        .unwrap_or(0);
    for scenario in &kept {
        let note = if scenario.plan().long { " [long]" } else { "" };
        streams.print(&line(scenario, width, note))?;
    }
    for scenario in &impossible {
        streams.print(&line(scenario, width, " [impossible]"))?;
    }
    Ok(Ending::Pass)
}

fn line(scenario: &Scenario, width: usize, note: &str) -> String {
    let plan = scenario.plan();
    format!("{:width$}  {}{note}\n", plan.name, plan.title)
}
