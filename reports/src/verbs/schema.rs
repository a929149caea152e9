//! `steadfast schema`: the JSON Schema of scenario files, for editors and other tools.

use super::Streams;
use crate::ending::Ending;
use crate::problem::Problem;
use crate::summary;

/// Prints it.
pub(crate) fn run(streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    streams.print(&summary::to_json(&steadfast_scenarios::schema()))?;
    Ok(Ending::Pass)
}
