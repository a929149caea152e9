//! The daemon; see [`steadfast::daemon`].

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use steadfast::config::File;
use steadfast::daemon::{self, Machine};
use steadfast::hooks::{GUARD_ARGUMENT, guard_main};
use steadfast::linux::fence::{KEEPER_ARGUMENT, keeper_main};
use steadfast::{config, logging};

const EXIT_CODES: &str = "\
Exit codes:
  0  ended as ordered
  1  could not start, or its world ended; standard error says why
  3  wrong usage, or a configuration with mistakes

Signals: TERM and INT hand the role over and end; HUP reads the configuration again (that of
virtual routers needs a restart).";

/// Keeps this gateway's virtual addresses alive.
///
/// With a file of `[[vrrp]]` tables it is a router of VRRP among others of any make.
#[derive(Debug, Parser)]
#[command(name = "steadfastd", version = steadfast::BUILD, after_help = EXIT_CODES)]
struct Arguments {
    /// The configuration file
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/steadfast/steadfast.toml"
    )]
    config: PathBuf,
    /// Grant claims and nothing else: refuse to start unless the file makes this node the witness
    #[arg(long)]
    witness: bool,
}

fn is_witness(file: &File) -> bool {
    match file {
        File::Node(loaded) => loaded.config.is_witness(),
        File::Routers(_) => false,
    }
}

fn main() -> ExitCode {
    let first = std::env::args_os().nth(1);
    if first.as_ref().is_some_and(|it| it == KEEPER_ARGUMENT) {
        return keeper_main();
    }
    if first.as_ref().is_some_and(|it| it == GUARD_ARGUMENT) {
        return guard_main(std::env::args_os().skip(2));
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(why) => {
            let code = if why.use_stderr() { 3 } else { 0 };
            // When even the terminal is gone, the code is all that can be told.
            let _ = why.print();
            return ExitCode::from(code);
        }
    };
    let machine = match Machine::look() {
        Ok(machine) => machine,
        Err(why) => {
            eprintln!("steadfastd: failed to look at the interfaces: {why}");
            return ExitCode::FAILURE;
        }
    };
    let loaded = match config::open(&arguments.config, &machine) {
        Ok(loaded) => loaded,
        Err(report) => {
            eprint!("{}", report.render(false));
            return ExitCode::from(3);
        }
    };
    if arguments.witness && !is_witness(&loaded) {
        eprintln!(
            "steadfastd: {} does not make this node the witness; write `[witness]` with `node` as \
             this node's own id, or leave `--witness` out",
            arguments.config.display()
        );
        return ExitCode::from(3);
    }
    let level = match &loaded {
        File::Node(loaded) => loaded.daemon.log,
        File::Routers(loaded) => loaded.log,
    };
    let log = match logging::init(level) {
        Ok(log) => log,
        Err(why) => {
            eprintln!("steadfastd: failed to start the log: {why}");
            return ExitCode::FAILURE;
        }
    };
    let ended = match loaded {
        File::Node(loaded) => daemon::run(*loaded),
        File::Routers(loaded) => daemon::routers::run(loaded),
    };
    log.flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("steadfastd: {why}");
            ExitCode::FAILURE
        }
    }
}
