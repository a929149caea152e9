//! `steadfast bench cost`: what daemons take while nothing happens, and what their claims are like.
//!
//! Laps take turns, daemon by daemon, so that a machine that slows down slows all of them. A lap
//! that proves nothing is told and does not count. Memory is each process's own pages and, once,
//! the most that one of them shares. Time is the scheduler's, of the daemon's processes alone: what
//! the kernel does for them is not in it. A packet's way is timed at its sender, so what another
//! daemon's takes less is what the product's fence and sockets take.
//!
//! A claim lasts from the frame that claims to the first announcement of the last address, as the
//! wire has it. The product claims when its kernel has the addresses, VRRP before that; so the time
//! from the fault is told as well, detection included. Where each address is a router of its own,
//! the product has one stream for the 510 of both segments, the others a router for each of 255.
//!
//! Limit: figures of namespaces; the ratio to the best peer of the same run counts, with its
//! bootstrap interval.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use steadfast_netlab::cost::{self, Found, Lap, METERED, Subject};
use steadfast_netlab::daemons::Daemon;
use steadfast_netlab::race;

use crate::ending::Ending;
use crate::lab;
use crate::problem::Problem;
use crate::summary;
use crate::verbs::Streams;

/// Whom to measure, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Who else: keepalived, frr, steadfast-vrrp (the product as a router of VRRP); ucarp counts in
    /// whole seconds and takes part in nothing of this
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    peers: Vec<String>,
    /// Laps of each daemon for each figure
    #[arg(long, value_name = "N", default_value = "5")]
    runs: NonZeroU32,
    /// The figures [default: all]: quiet, fast, routers, claim-2, claim-100, claim-1000,
    /// claim-4000, forward, silence
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    figures: Vec<String>,
    /// Write the figures as JSON here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The product's daemon [default: the one built from the same sources]
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
}

/// A kind of lap, and what is read from it.
struct Kind {
    name: &'static str,
    subject: Subject,
    interval: Duration,
    /// On each of two segments.
    addresses: u16,
    routers: bool,
    read: &'static [Figure],
}

/// A figure of a lap.
struct Figure {
    text: &'static str,
    unit: &'static str,
    of: fn(&Found) -> Option<f64>,
}

const TENTH: Duration = Duration::from_millis(100);
const HUNDREDTH: Duration = Duration::from_millis(10);

/// Everything that is measured.
const KINDS: [Kind; 9] = [
    Kind {
        read: &[
            Figure {
                text: "resident memory, active, 100 ms",
                unit: "MB",
                of: |found| quiet(found).map(|(active, _)| megabytes(active.resident)),
            },
            Figure {
                text: "resident memory, standby, 100 ms",
                unit: "MB",
                of: |found| quiet(found).map(|(_, standby)| megabytes(standby.resident)),
            },
        ],
        ..Kind::quiet("quiet", TENTH, 1)
    },
    Kind {
        read: SHARES,
        ..Kind::quiet("fast", HUNDREDTH, 1)
    },
    Kind {
        read: &[
            Figure {
                text: "processor, active, 255 routers, 100 ms",
                ..SHARES[0]
            },
            Figure {
                text: "processor, standby, 255 routers, 100 ms",
                ..SHARES[1]
            },
        ],
        routers: true,
        ..Kind::quiet("routers", TENTH, 255)
    },
    Kind::claim("claim-2", TENTH, 1),
    Kind::claim("claim-100", TENTH, 50),
    Kind::claim("claim-1000", TENTH, 500),
    Kind::claim("claim-4000", TENTH, 2_000),
    Kind {
        subject: Subject::Forward,
        read: &[Figure {
            text: "a packet's way through, fence included",
            unit: "ns",
            of: |found| match *found {
                Found::Forward { nanos } => Some(nanos),
                Found::Quiet { .. } | Found::Claim { .. } => None,
            },
        }],
        ..Kind::quiet("forward", TENTH, 1)
    },
    Kind {
        read: &[Figure {
            text: "longest silence while claiming 4000, 10 ms",
            unit: "ms",
            of: |found| claim(found).map(|it| it[2]),
        }],
        ..Kind::claim("silence", HUNDREDTH, 2_000)
    },
];

/// Shares of a processor.
const SHARES: &[Figure] = &[
    Figure {
        text: "processor, active, 10 ms",
        unit: "%",
        of: |found| quiet(found).map(|(active, _)| share(active.processor)),
    },
    Figure {
        text: "processor, standby, 10 ms",
        unit: "%",
        of: |found| quiet(found).map(|(_, standby)| share(standby.processor)),
    },
];
const LASTED: &[Figure] = &[
    Figure {
        text: "claim to the last announcement",
        unit: "ms",
        of: |found| claim(found).map(|it| it[0]),
    },
    Figure {
        text: "fault to the last announcement",
        unit: "ms",
        of: |found| claim(found).map(|it| it[1]),
    },
];

impl Kind {
    const fn quiet(name: &'static str, interval: Duration, addresses: u16) -> Self {
        Self {
            name,
            subject: Subject::Quiet,
            interval,
            addresses,
            routers: false,
            read: SHARES,
        }
    }

    const fn claim(name: &'static str, interval: Duration, addresses: u16) -> Self {
        Self {
            name,
            subject: Subject::Claim,
            interval,
            addresses,
            routers: false,
            read: LASTED,
        }
    }
}

fn quiet(found: &Found) -> Option<(cost::Usage, cost::Usage)> {
    match *found {
        Found::Quiet { active, standby } => Some((active, standby)),
        Found::Claim { .. } | Found::Forward { .. } => None,
    }
}

/// How long it lasted, alone and from the fault on, and the longest silence, in ms.
fn claim(found: &Found) -> Option<[f64; 3]> {
    match *found {
        Found::Claim {
            lasted,
            since_fault,
            silence,
            ..
        } => Some([lasted, since_fault, silence].map(millis)),
        Found::Quiet { .. } | Found::Forward { .. } => None,
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn share(time: Duration) -> f64 {
    100.0 * time.as_secs_f64() / METERED.as_secs_f64()
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

/// A figure of a daemon.
#[derive(Debug, Serialize)]
struct Row {
    lap: &'static str,
    figure: &'static str,
    unit: &'static str,
    daemon: &'static str,
    runs: usize,
    void: usize,
    median: f64,
    max: f64,
    /// The product's median by the best peer's, and where it lies in 95 of 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_best_peer: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_ci95: Option<[f64; 2]>,
}

/// What was found, by the kind's place and the daemon's.
type Laps = BTreeMap<(usize, usize), Vec<Option<Found>>>;

/// Measures and tells.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let kinds = kinds(&args.figures)?;
    let mut daemons = vec![Daemon::Steadfast];
    for peer in &args.peers {
        let named = Daemon::named(peer);
        let named = named.ok_or_else(|| Problem::UnknownDaemon(peer.clone()))?;
        // The product takes part in any case.
        if !daemons.contains(&named) {
            daemons.push(named);
        }
    }
    let program = lab::daemon(args.daemon.as_deref())?;
    let mut laps = Laps::new();
    for round in 0..args.runs.get() {
        for (at, kind) in kinds.iter().enumerate() {
            for (who, daemon) in daemons.iter().enumerate() {
                let found = lap(kind, *daemon, &program, round)?;
                if let Err(why) = &found {
                    let (name, kind) = (daemon.name(), kind.name);
                    streams.note(&format!("{name}, {kind}, run {round}: {why}\n"))?;
                }
                laps.entry((at, who)).or_default().push(found.ok());
            }
        }
        streams.note(&format!("round {} of {}\n", round + 1, args.runs))?;
    }
    let rows = sum_up(&kinds, &daemons, &laps);
    streams.print(&table(&rows))?;
    if let Some(path) = &args.json {
        fs::write(path, summary::to_json(&rows)).map_err(Problem::writing(path))?;
    }
    let ours = rows.iter().filter(|row| row.daemon == daemons[0].name());
    Ok(
        match ours.clone().count() > 0 && ours.clone().all(|row| row.runs > 0) {
            true => Ending::Pass,
            false => Ending::Unknown,
        },
    )
}

fn kinds(names: &[String]) -> Result<Vec<&'static Kind>, Problem> {
    if names.is_empty() {
        return Ok(KINDS.iter().collect());
    }
    let named = |name: &String| {
        let known = KINDS.iter().find(|kind| kind.name == name);
        known.ok_or_else(|| Problem::Bench(format!("{name}: no such figure")))
    };
    names.iter().map(named).collect()
}

fn lap(
    kind: &Kind,
    daemon: Daemon,
    program: &Path,
    round: u32,
) -> Result<Result<Found, String>, Problem> {
    let lap = Lap {
        daemon,
        program: program.to_owned(),
        subject: kind.subject,
        interval: kind.interval,
        addresses: kind.addresses,
        routers: kind.routers,
        seed: u64::from(round),
    };
    cost::run(&lap).map_err(|why| Problem::Bench(why.to_string()))
}

fn sum_up(kinds: &[&'static Kind], daemons: &[Daemon], laps: &Laps) -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        for figure in kind.read {
            let of = |who: usize| {
                let found = laps.get(&(at, who)).into_iter().flatten().flatten();
                sorted(found.filter_map(figure.of))
            };
            let values: Vec<Vec<f64>> = (0..daemons.len()).map(of).collect();
            for (who, daemon) in daemons.iter().enumerate() {
                let all = laps.get(&(at, who)).map_or(0, Vec::len);
                let (runs, ratio) = (values[who].len(), ratio(&values).filter(|_| who == 0));
                rows.push(Row {
                    lap: kind.name,
                    figure: figure.text,
                    unit: figure.unit,
                    daemon: daemon.name(),
                    runs,
                    void: all - runs,
                    median: race::quantile(&values[who], 0.5),
                    max: race::quantile(&values[who], 1.0),
                    ratio_best_peer: ratio.map(|(ratio, _)| ratio),
                    ratio_ci95: ratio.map(|(_, interval)| interval),
                });
            }
        }
    }
    rows
}

/// The product's median by that of the best peer.
fn ratio(values: &[Vec<f64>]) -> Option<(f64, [f64; 2])> {
    let (ours, peers) = values.split_first()?;
    let median = |values: &Vec<f64>| race::quantile(values, 0.5);
    let measured = peers.iter().filter(|it| !it.is_empty() && median(it) > 0.0);
    let best = measured.min_by(|a, b| median(a).total_cmp(&median(b)))?;
    (!ours.is_empty()).then(|| (median(ours) / median(best), race::interval(ours, best)))
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "costs in namespaces\n{:11} {:44} {:15} {:>5} {:>10} {:>10}  ratio to the best peer\n",
        "lap", "figure", "daemon", "runs", "median", "max"
    );
    for row in rows {
        let runs = match row.void {
            0 => row.runs.to_string(),
            void => format!("{}+{void}", row.runs),
        };
        let (median, max) = match row.runs {
            0 => ("-".to_owned(), "-".to_owned()),
            _ => (
                format!("{:.2} {}", row.median, row.unit),
                format!("{:.2}", row.max),
            ),
        };
        let ratio = match (row.ratio_best_peer, row.ratio_ci95) {
            (Some(ratio), Some([low, high])) => format!("  {ratio:.2} ({low:.2} to {high:.2})"),
            _ => String::new(),
        };
        text += &format!(
            "{:11} {:44} {:15} {runs:>5} {median:>10} {max:>10}{ratio}\n",
            row.lap, row.figure, row.daemon
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lasted: u64) -> Option<Found> {
        Some(Found::Claim {
            count: 2,
            lasted: Duration::from_micros(lasted),
            since_fault: Duration::from_millis(20),
            silence: Duration::from_millis(9),
        })
    }

    /// Laps that prove nothing are counted and move no figure; the ratio is to the best peer.
    #[test]
    fn cost_rows_count_what_counts() {
        let kinds = kinds(&["claim-2".to_owned()]).unwrap();
        let daemons = [Daemon::Steadfast, Daemon::Keepalived, Daemon::Frr];
        let mut laps = Laps::new();
        laps.insert((0, 0), vec![found(900), None, found(1_100)]);
        laps.insert((0, 1), vec![found(2_000), found(2_000)]);
        laps.insert((0, 2), vec![None]);
        let rows = sum_up(&kinds, &daemons, &laps);
        assert_eq!(rows.len(), 6, "two figures of three daemons");
        assert_eq!((rows[0].runs, rows[0].void), (2, 1));
        assert!((rows[0].median - 1.0).abs() < 1e-9);
        assert!((rows[0].ratio_best_peer.unwrap() - 0.5).abs() < 1e-9);
        assert_eq!((rows[2].runs, rows[2].ratio_best_peer), (0, None));
        let text = table(&rows);
        assert!(text.contains("0.50 (0.45 to 0.55)"), "{text}");
        assert!(text.lines().last().unwrap().contains('-'), "{text}");
    }

    /// A name nobody knows is refused before anything runs.
    #[test]
    fn cost_unknown_figure_is_refused() {
        assert!(kinds(&["weight".to_owned()]).is_err());
        assert_eq!(kinds(&[]).unwrap().len(), KINDS.len());
    }
}
