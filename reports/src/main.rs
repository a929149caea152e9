//! The `steadfast` command: campaigns over scenarios, their evidence and their reports.
//!
//! ```text
//!  catalogue ─┐                 ┌─► text for people, JSON for tools
//!  files ─────┴─► runs ─► pool ─┴─► bundle: summary.json, junit.xml, traces
//! ```
//! Thin on purpose: what a run is and whether it was right is decided below, in the worlds and the
//! oracles. One file per verb stands in `verbs`. The hard case is the exit code, on which other
//! people's pipelines stand: see [`ending::Ending`]. What a world or
//! this machine cannot run is said to be not run, never counted as passed.

mod audit;
mod bundle;
mod catalogue;
mod cli;
mod ending;
mod fidelity;
mod junit;
mod lab;
mod pool;
mod problem;
mod processor;
mod progress;
mod removals;
mod report;
mod runs;
mod summary;
mod tally;
#[cfg(test)]
mod testing;
mod verbs;
mod words;

use std::env;
use std::io;
use std::process::ExitCode;

use miette::Report;

use ending::Ending;
use problem::Problem;
use verbs::Streams;

fn main() -> ExitCode {
    // Inside a lab this program is something else.
    if let Some(code) = steadfast_netlab::entry(env::args_os().skip(1)) {
        return code;
    }
    runs::name_the_run_on_panic();
    let cli = match cli::parse(env::args_os()) {
        Ok(cli) => cli,
        Err(wrong) => {
            let code = if wrong.use_stderr() {
                Ending::USAGE
            } else {
                Ending::Pass.code(false)
            };
            // When even the terminal is gone, the code is all that can be told.
            let _ = wrong.print();
            return ExitCode::from(code);
        }
    };
    let mut streams = Streams {
        out: &mut io::stdout().lock(),
        err: &mut io::stderr(),
    };
    let ended = verbs::run(&cli, &mut streams);
    let ended = ended.and_then(|ending| {
        streams.out.flush().map_err(Problem::Print)?;
        Ok(ending)
    });
    match ended {
        Ok(ending) => ExitCode::from(ending.code(cli.strict)),
        // Whoever read the output has gone, and has not seen the end.
        Err(problem) if problem.is_closed_pipe() => ExitCode::from(Ending::Unknown.code(false)),
        Err(problem) => {
            let _ = writeln!(streams.err, "{:?}", Report::new(problem));
            ExitCode::from(Ending::USAGE)
        }
    }
}
