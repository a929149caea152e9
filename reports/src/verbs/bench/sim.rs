//! `steadfast bench sim`: how fast the world `fast` is, with everything on.
//!
//! Every frame is signed and verified, every hop modelled, every oracle watches. One thread, in
//! processor time, so that other work on the machine disturbs little. Each scenario is played
//! [`ROUNDS`] times, the scenarios taking turns; the median is told. Limit: the processor's clock
//! may change between rounds; compare figures of one run only.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use steadfast_scenarios::Scenario;
use steadfast_sim::campaign;

use crate::ending::Ending;
use crate::problem::Problem;
use crate::processor;
use crate::summary;
use crate::verbs::Streams;

/// What is played: name and text.
const COURSES: [(&str, &str); 3] = [
    ("pair-quiet", include_str!("../../../bench/pair-quiet.toml")),
    (
        "pair-probes-100Hz",
        include_str!("../../../bench/pair-probes-100hz.toml"),
    ),
    ("trio-quiet", include_str!("../../../bench/trio-quiet.toml")),
];
/// Times that each is played.
const ROUNDS: u64 = 5;

/// Where to write.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write the figures as JSON into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Figures {
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    simulated_s_per_cpu_s: f64,
    hop_events_per_s: f64,
}

/// One round of one course.
#[derive(Clone, Copy)]
struct Lap {
    simulated: Duration,
    hops: u64,
    cpu: Duration,
}

/// Plays all courses and tells.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let mut courses = Vec::new();
    for (name, text) in COURSES {
        let scenario = Scenario::parse(name, text).map_err(Box::new)?;
        courses.push((name, scenario, Vec::new()));
    }
    for round in 0..ROUNDS {
        for (name, scenario, laps) in &mut courses {
            laps.push(lap(name, scenario, round)?);
            streams.note(&format!("round {} of {ROUNDS}: {name}\n", round + 1))?;
        }
    }
    let rows = courses.iter().map(|(name, _, laps)| row(name, laps));
    let figures = Figures {
        rows: rows.collect(),
    };
    streams.print(&table(&figures))?;
    if let Some(path) = &args.json {
        fs::write(path, summary::to_json(&figures)).map_err(|reason| Problem::Write {
            path: path.clone(),
            reason,
        })?;
    }
    Ok(Ending::Pass)
}

fn lap(name: &str, scenario: &Scenario, seed: u64) -> Result<Lap, Problem> {
    let started = processor::time();
    let outcome = campaign::play(scenario, seed, campaign::World::Fast.into())
        .map_err(|why| Problem::Bench(format!("{name}: {why}")))?;
    if let Some(failure) = outcome.first_failure() {
        return Err(Problem::Bench(format!("{name}, seed {seed}: {failure}")));
    }
    Ok(Lap {
        simulated: outcome.cost.simulated,
        hops: outcome.cost.hops,
        cpu: processor::time().saturating_sub(started),
    })
}

fn row(name: &'static str, laps: &[Lap]) -> Row {
    let rate = |of: &dyn Fn(&Lap) -> f64| {
        let rates = laps.iter().map(|lap| of(lap) / lap.cpu.as_secs_f64());
        median(rates.collect())
    };
    Row {
        name,
        simulated_s_per_cpu_s: rate(&|lap| lap.simulated.as_secs_f64()),
        #[expect(clippy::cast_precision_loss, reason = "a rate, told to three digits")]
        hop_events_per_s: rate(&|lap| lap.hops as f64),
    }
}

/// The middle one; of an even number the upper of the two; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn table(figures: &Figures) -> String {
    let mut text = format!(
        "{:<20} {:>18} {:>16}\n",
        "course", "simulated s/CPU s", "hop events/s"
    );
    for row in &figures.rows {
        text.push_str(&format!(
            "{:<20} {:>18.0} {:>16.0}\n",
            row.name, row.simulated_s_per_cpu_s, row.hop_events_per_s
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every course is a sound scenario; one that is not would fail only when somebody measures.
    #[test]
    fn bench_courses_are_sound() {
        for (name, text) in COURSES {
            let scenario = Scenario::parse(name, text).unwrap();
            assert!(scenario.resolve(0).is_ok(), "{name}");
        }
    }

    /// The middle of an odd number of laps, whatever their order.
    #[test]
    fn bench_median_is_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).abs() < f64::EPSILON);
    }
}
