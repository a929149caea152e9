//! `steadfast bench soak`: a long quiet run with all processors busy. Does anybody take over from
//! a living active?
//!
//! A takeover in a stretch in which the host itself stood still, or right after it, proves nothing
//! about the product: such are counted apart. If more than one part in a hundred of the time was
//! so, the whole run proves nothing and the verdict is `unknown`.

use std::fs;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use steadfast_netlab::soak::{self, Request, Soaked};

use crate::ending::Ending;
use crate::lab;
use crate::problem::Problem;
use crate::summary;
use crate::verbs::Streams;
use crate::words;

/// How often it is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// One part in so many may be stalled.
const STALLED_PART: u32 = 100;

/// How long, and how hard.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long each run lasts
    #[arg(long, value_name = "N", default_value = "60")]
    minutes: NonZeroU32,
    /// Times between advertisements in ms, a run for each
    #[arg(
        long,
        value_name = "MS",
        value_delimiter = ',',
        default_value = "100,10"
    )]
    intervals: Vec<NonZeroU32>,
    /// Threads that keep processors busy [default: one for each processor]
    #[arg(long, value_name = "N")]
    burners: Option<usize>,
    /// Write the figures as JSON here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The daemon under test [default: the one built from the same sources]
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
}

/// A run's figures.
#[derive(Debug, Serialize)]
struct Row {
    interval_ms: u32,
    burners: usize,
    minutes: f64,
    false_takeovers: u32,
    /// In stalled stretches, or right after them.
    excused_takeovers: u32,
    first_at_s: Option<f64>,
    stalls: u32,
    stalled_s: f64,
    longest_stall_ms: f64,
    wrong: Vec<String>,
    unproven: Vec<String>,
    verdict: &'static str,
}

/// Soaks and tells.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let program = lab::daemon(args.daemon.as_deref())?;
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let burners = args.burners.unwrap_or(processors);
    let lasting = Duration::from_secs(60) * args.minutes.get();
    let mut rows = Vec::new();
    let mut worst = Ending::Pass;
    for interval in &args.intervals {
        let request = Request {
            program: program.clone(),
            interval: Duration::from_millis(interval.get().into()),
            lasting,
            burners,
            seed: 0,
        };
        let soaked = soaked(&request, streams)?;
        let soaked = soaked.map_err(|why| Problem::Bench(format!("a soak: {why}")))?;
        let ending = ending(&soaked);
        worst = worst.max(ending);
        let row = Row::new(interval.get(), burners, &soaked, ending);
        streams.print(&row.text())?;
        rows.push(row);
    }
    if let Some(path) = &args.json {
        fs::write(path, summary::to_json(&rows)).map_err(Problem::writing(path))?;
    }
    Ok(worst)
}

/// Soaks, and tells meanwhile how far it is.
fn soaked(request: &Request, streams: &mut Streams<'_>) -> Result<Result<Soaked, String>, Problem> {
    let (sender, over) = channel();
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || {
            // Whoever waits for it is there until then.
            let _ = sender.send(soak::run(request));
        });
        loop {
            match over.recv_timeout(TELL_EVERY) {
                Ok(soaked) => return soaked.map_err(|why| Problem::Bench(why.to_string())),
                Err(RecvTimeoutError::Timeout) => {
                    let (passed, all) = (began.elapsed().as_secs() / 60, request.lasting);
                    let all = all.as_secs() / 60;
                    let interval = request.interval.as_millis();
                    streams.note(&format!("{interval} ms: {passed} of {all} minutes\n"))?;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Problem::Bench("a soak: it ended early".to_owned()));
                }
            }
        }
    })
}

/// A takeover that nothing excuses fails, whatever else was or was not seen.
fn ending(soaked: &Soaked) -> Ending {
    if soaked.takeovers > 0 {
        Ending::Fail
    } else if !soaked.unproven.is_empty()
        || soaked.stalled * STALLED_PART > soaked.watched
        || soaked.excused > 0
    {
        Ending::Unknown
    } else if soaked.wrong.is_empty() {
        Ending::Pass
    } else if soaked.stalls > 0 {
        // What they saw may be the stall's.
        Ending::Unknown
    } else {
        Ending::Fail
    }
}

impl Row {
    fn new(interval_ms: u32, burners: usize, soaked: &Soaked, ending: Ending) -> Self {
        Self {
            interval_ms,
            burners,
            minutes: soaked.watched.as_secs_f64() / 60.0,
            false_takeovers: soaked.takeovers,
            excused_takeovers: soaked.excused,
            first_at_s: soaked.first.map(|at| at.as_nanos() as f64 / 1e9),
            stalls: soaked.stalls,
            stalled_s: soaked.stalled.as_secs_f64(),
            longest_stall_ms: words::milliseconds(soaked.longest_stall),
            wrong: soaked.wrong.clone(),
            unproven: soaked.unproven.clone(),
            verdict: match ending {
                Ending::Pass | Ending::NotRun => "pass",
                Ending::Unknown => "unknown",
                Ending::Fail => "FAIL",
            },
        }
    }

    fn text(&self) -> String {
        let Self {
            interval_ms,
            burners,
            minutes,
            false_takeovers,
            excused_takeovers,
            stalls,
            stalled_s,
            longest_stall_ms,
            verdict,
            ..
        } = self;
        let first = self.first_at_s.map_or_else(String::new, |at| {
            format!(", the first {at:.3} s after the start")
        });
        let listed = |what: &str, list: &[String]| match list {
            [] => String::new(),
            list => format!("\n         {what}: {}", list.join(", ")),
        };
        let wrong = listed("complaining", &self.wrong);
        let wrong = wrong + &listed("not proven", &self.unproven);
        format!(
            "{verdict:7}  {interval_ms} ms, {minutes:.0} min, {burners} busy: {false_takeovers} \
             false takeovers{first}; {excused_takeovers} more in or after stalls of the host\n\
             {:9}the host stood still {stalls} times, {stalled_s:.1} s together, at most \
             {longest_stall_ms:.0} ms{wrong}\n",
            ""
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A takeover fails; one in a stall, or too many stalls, prove nothing; quiet passes.
    #[test]
    fn soak_verdict_knows_what_proves_nothing() {
        let quiet = Soaked {
            watched: Duration::from_secs(600),
            stalled: Duration::from_secs(5),
            ..Soaked::default()
        };
        let takeover = Soaked {
            takeovers: 1,
            ..quiet.clone()
        };
        let excused = Soaked {
            excused: 1,
            ..quiet.clone()
        };
        let stalled = Soaked {
            stalled: Duration::from_secs(7),
            ..quiet.clone()
        };
        let wrong = Soaked {
            wrong: vec!["no_flap".to_owned()],
            ..quiet.clone()
        };
        let unproven = Soaked {
            unproven: vec!["a daemon ended".to_owned()],
            ..quiet.clone()
        };
        assert_eq!(ending(&unproven), Ending::Unknown);
        assert_eq!(ending(&quiet), Ending::Pass);
        assert_eq!(ending(&takeover), Ending::Fail);
        assert_eq!(ending(&excused), Ending::Unknown);
        assert_eq!(ending(&stalled), Ending::Unknown);
        assert_eq!(ending(&wrong), Ending::Fail);
        let both = Soaked { stalls: 1, ..wrong };
        assert_eq!(ending(&both), Ending::Unknown);
        let text = Row::new(10, 2, &takeover, Ending::Fail).text();
        assert!(
            text.starts_with("FAIL     10 ms, 10 min, 2 busy: 1 false"),
            "{text}"
        );
    }
}
