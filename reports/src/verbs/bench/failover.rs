//! `steadfast bench failover`: the race, fault by fault, against the daemons that are installed.
//!
//! Laps take turns, daemon by daemon, so that a machine that slows down slows all of them. A lap
//! whose evidence has a hole does not count and is told. The figures are those of namespaces: real
//! copper reports a lost link hundreds of milliseconds late, whatever the daemon. Two tables come
//! out: through traffic, and the addresses themselves. Limit: absolute figures drift between
//! machines; the ratio in one run counts.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use steadfast_netlab::bench::{self, Fault, Felt, Lap, Lapped};
use steadfast_netlab::daemons::Daemon;
use steadfast_netlab::race;

use crate::ending::Ending;
use crate::lab;
use crate::problem::Problem;
use crate::summary;
use crate::verbs::Streams;

/// The product's name in the tables.
const OURS: &str = "steadfast";

/// Whom to race, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Who else runs: keepalived, frr, ucarp, steadfast-vrrp (the product as a router of VRRP)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    peers: Vec<String>,
    /// Laps of each daemon under each fault
    #[arg(long, value_name = "N", default_value = "20")]
    runs: NonZeroU32,
    /// The faults [default: all]: power, freeze, lan, wan, handover, kill, stop
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    faults: Vec<String>,
    /// The advertisement interval in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100)]
    interval: u32,
    /// Write the figures as JSON into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The daemon under test [default: the one built from the same sources]
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
}

/// All figures.
#[derive(Serialize)]
struct Figures {
    /// What the machine itself costs, in ms.
    null_p95_ms: f64,
    /// Through traffic: one for each daemon and fault.
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    daemon: String,
    fault: &'static str,
    interval_ms: f64,
    runs: usize,
    void: usize,
    min_ms: f64,
    median_ms: f64,
    p95_ms: f64,
    max_ms: f64,
    lost: u32,
    address_median_ms: f64,
    address_max_ms: f64,
    address_lost: u32,
    connections_lost: u32,
    two_owner_ms: f64,
    no_owner_ms: f64,
    ratio_best_peer: Option<f64>,
    ratio_ci95: Option<[f64; 2]>,
}

/// Laps by daemon and fault.
type Laps = BTreeMap<(Fault, String), Vec<Option<Felt>>>;

/// Races and tells.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let faults = faults(&args.faults)?;
    let mut daemons = vec![OURS.to_owned()];
    for peer in &args.peers {
        if Daemon::named(peer).is_none() {
            let text =
                format!("{peer}: no such daemon; peers are keepalived, frr, ucarp, steadfast-vrrp");
            return Err(Problem::Bench(text));
        }
        daemons.push(peer.clone());
    }
    let program = lab::daemon(args.daemon.as_deref())?;
    let mut laps = Laps::new();
    for run in 0..args.runs.get() {
        for fault in &faults {
            for daemon in &daemons {
                let lap = Lap {
                    daemon: daemon.clone(),
                    program: program.clone(),
                    fault: *fault,
                    interval: Duration::from_millis(u64::from(args.interval)),
                    seed: u64::from(run),
                };
                let felt = match bench::run(&lap) {
                    Ok(Lapped::Counts(felt)) if !felt.blind => Some(*felt),
                    Ok(Lapped::Counts(_)) => {
                        tell(streams, run, *fault, daemon, "unknown: the host stalled")?;
                        None
                    }
                    Ok(Lapped::Void(why)) => {
                        tell(streams, run, *fault, daemon, &why)?;
                        None
                    }
                    Err(why) => return Err(Problem::Bench(why.to_string())),
                };
                laps.entry((*fault, daemon.clone())).or_default().push(felt);
            }
        }
        streams.note(&format!("round {} of {}\n", run + 1, args.runs))?;
    }
    let figures = sum_up(&laps, f64::from(args.interval));
    streams.print(&table(&figures))?;
    if let Some(path) = &args.json {
        fs::write(path, summary::to_json(&figures)).map_err(Problem::writing(path))?;
    }
    let counted = figures
        .rows
        .iter()
        .any(|row| row.daemon == OURS && row.runs > 0);
    Ok(if counted {
        Ending::Pass
    } else {
        Ending::Unknown
    })
}

fn tell(
    streams: &mut Streams<'_>,
    run: u32,
    fault: Fault,
    daemon: &str,
    why: &str,
) -> Result<(), Problem> {
    streams.note(&format!("{daemon}, {}, run {run}: {why}\n", fault.name()))
}

fn faults(names: &[String]) -> Result<Vec<Fault>, Problem> {
    if names.is_empty() {
        return Ok(Fault::ALL.to_vec());
    }
    let named = |name: &String| {
        let found = Fault::ALL.into_iter().find(|fault| fault.name() == name);
        found.ok_or_else(|| Problem::Bench(format!("{name}: no such fault")))
    };
    names.iter().map(named).collect()
}

fn sum_up(laps: &Laps, interval_ms: f64) -> Figures {
    let all = laps.values().flatten().flatten();
    let null = sorted(all.map(|felt| millis(felt.null_gap)));
    let mut rows: Vec<Row> = laps
        .iter()
        .map(|((fault, daemon), laps)| row(*fault, daemon, laps, interval_ms))
        .collect();
    for index in 0..rows.len() {
        if rows[index].daemon == OURS {
            let compared = compare(laps, &rows, &rows[index]);
            if let Some((ratio, interval)) = compared {
                rows[index].ratio_best_peer = Some(ratio);
                rows[index].ratio_ci95 = Some(interval);
            }
        }
    }
    Figures {
        null_p95_ms: quantile(&null, 0.95),
        rows,
    }
}

fn row(fault: Fault, daemon: &str, laps: &[Option<Felt>], interval_ms: f64) -> Row {
    let counted: Vec<&Felt> = laps.iter().flatten().collect();
    let of = |value: fn(&Felt) -> Duration| sorted(counted.iter().map(|it| millis(value(it))));
    let through = of(|felt| felt.through);
    let addresses = of(|felt| felt.addresses);
    let sum = |value: fn(&Felt) -> u32| counted.iter().map(|felt| value(felt)).sum();
    Row {
        daemon: daemon.to_owned(),
        fault: fault.name(),
        interval_ms,
        runs: counted.len(),
        void: laps.len() - counted.len(),
        min_ms: quantile(&through, 0.0),
        median_ms: quantile(&through, 0.5),
        p95_ms: quantile(&through, 0.95),
        max_ms: quantile(&through, 1.0),
        lost: sum(|felt| felt.through_lost),
        address_median_ms: quantile(&addresses, 0.5),
        address_max_ms: quantile(&addresses, 1.0),
        address_lost: sum(|felt| felt.addresses_lost),
        connections_lost: sum(|felt| felt.connections_lost),
        two_owner_ms: quantile(&of(|felt| felt.two_owners), 1.0),
        no_owner_ms: quantile(&of(|felt| felt.no_owner), 1.0),
        ratio_best_peer: None,
        ratio_ci95: None,
    }
}

/// Our median over the best peer's under the same fault, with its bootstrap interval.
fn compare(laps: &Laps, rows: &[Row], ours: &Row) -> Option<(f64, [f64; 2])> {
    let rivals = rows
        .iter()
        .filter(|row| row.fault == ours.fault && row.daemon != OURS && row.runs > 0);
    let best = rivals.min_by(|a, b| a.median_ms.total_cmp(&b.median_ms))?;
    let values = |daemon: &str| {
        let found = laps
            .iter()
            .find(|((fault, name), _)| fault.name() == ours.fault && name == daemon);
        let felt = found
            .into_iter()
            .flat_map(|(_, laps)| laps.iter().flatten());
        sorted(felt.map(|felt| millis(felt.through)))
    };
    let (mine, theirs) = (values(OURS), values(&best.daemon));
    if ours.runs == 0 || best.median_ms <= 0.0 {
        return None;
    }
    Some((
        ours.median_ms / best.median_ms,
        race::interval(&mine, &theirs),
    ))
}

fn table(figures: &Figures) -> String {
    let mut text = format!(
        "namespaces and veth; null gap p95 {:.1} ms\n\
         {:<9} {:<11} {:>4} {:>4} {:>8} {:>8} {:>8} {:>8} {:>6} {:>9} {:>9} \
         {:>5} {:>5} {:>8} {:>8}  {}\n",
        figures.null_p95_ms,
        "fault",
        "daemon",
        "runs",
        "void",
        "min",
        "median",
        "p95",
        "max",
        "lost",
        "vip med",
        "vip max",
        "lost",
        "conn",
        "2 owners",
        "0 owners",
        "ratio (95 %)"
    );
    for row in &figures.rows {
        let ratio = match (row.ratio_best_peer, row.ratio_ci95) {
            (Some(ratio), Some([low, high])) => format!("{ratio:.3} ({low:.3} to {high:.3})"),
            (Some(_), None) | (None, _) => String::new(),
        };
        text.push_str(&format!(
            "{:<9} {:<11} {:>4} {:>4} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>6} {:>9.1} {:>9.1} \
             {:>5} {:>5} {:>8.1} {:>8.1}  {ratio}\n",
            row.fault,
            row.daemon,
            row.runs,
            row.void,
            row.min_ms,
            row.median_ms,
            row.p95_ms,
            row.max_ms,
            row.lost,
            row.address_median_ms,
            row.address_max_ms,
            row.address_lost,
            row.connections_lost,
            row.two_owner_ms,
            row.no_owner_ms
        ));
    }
    text
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which this share lies, between neighbours in proportion; zero of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    race::quantile(sorted, share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn felt(through: u64) -> Option<Felt> {
        Some(Felt {
            null_gap: Duration::from_millis(2),
            through: Duration::from_millis(through),
            ..Felt::default()
        })
    }

    /// A lap that does not count is told as void and moves no figure; the ratio is ours over the
    /// best peer's.
    #[test]
    fn failover_rows_count_what_counts() {
        let mut laps = Laps::new();
        laps.insert(
            (Fault::Power, OURS.to_owned()),
            vec![felt(6), None, felt(8)],
        );
        laps.insert(
            (Fault::Power, "keepalived".to_owned()),
            vec![felt(300), felt(400)],
        );
        laps.insert((Fault::Power, "frr".to_owned()), vec![felt(70)]);
        let figures = sum_up(&laps, 100.0);
        let ours = figures.rows.iter().find(|row| row.daemon == OURS).unwrap();
        assert_eq!((ours.runs, ours.void), (2, 1));
        assert!((ours.median_ms - 7.0).abs() < 1e-9);
        assert!((ours.ratio_best_peer.unwrap() - 0.1).abs() < 1e-9);
        assert!((figures.null_p95_ms - 2.0).abs() < 1e-9);
    }

    /// A name nobody knows is refused before anything runs.
    #[test]
    fn failover_unknown_fault_is_refused() {
        assert!(faults(&["power".to_owned(), "meteor".to_owned()]).is_err());
        assert_eq!(faults(&[]).unwrap().len(), Fault::ALL.len());
    }
}
