//! The operator's command `steadfastctl`: asks the daemon over its control socket, and shows it.
//!
//! What is asked of a running daemon needs that daemon alone, no peer and no network (R11.2).
//! The rest (configuration, recordings, leftovers in the kernel) needs no daemon at all.
//! Exit codes: 0 done, 1 refused or damaged, 2 daemon not reachable, 3 wrong usage.

mod client;
mod config;
mod interfaces;
mod recording;
mod routers;
mod table;
mod unfence;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use serde_json::Value;

pub use client::{ANSWER_BYTES_MAX, Client, ClientError};

/// The socket asked when no other is given.
pub const SOCKET: &str = "/run/steadfast/control.sock";
/// The same of the daemon of virtual routers.
pub const ROUTERS_SOCKET: &str = "/run/steadfast-vrrp/control.sock";

/// The longest time between two looks of `status --watch`; a change of role is shown at once.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What the command found, as its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 0: done.
    Done,
    /// 1: the daemon or the kernel refused, a configuration has mistakes, a recording is damaged or
    /// replays differently.
    Refused,
    /// 2: no daemon answers.
    Unreachable,
    /// 3: wrong usage.
    Usage,
}

impl Verdict {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Unreachable => 2,
            Self::Usage => 3,
        }
    }
}

/// Looks at a gateway's failover and commands it.
#[derive(Debug, Parser)]
#[command(name = "steadfastctl", version, after_help = EXIT_CODES)]
struct Arguments {
    /// The daemon's control socket [default: /run/steadfast/control.sock; of `vrrp`,
    /// /run/steadfast-vrrp/control.sock]
    #[arg(long, global = true)]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused by the daemon or the kernel; a configuration with mistakes; a recording that is
     damaged, or replays differently
  2  no daemon answers at the socket
  3  wrong usage";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a configuration, and say what each fault costs with it.
    CheckConfig(config::CheckConfig),
    /// End the pacified state after repeated boots.
    ClearPacified,
    /// Serve again after a failure.
    Enable,
    /// Why this node is what it is, and what would change it.
    Explain {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a first configuration and its secret, or join another node's cluster.
    Init(Box<config::Init>),
    /// What this gateway's interfaces are, and what each is used for.
    Interfaces {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read the flight recorder's files.
    Journal {
        #[command(subcommand)]
        verb: recording::JournalVerb,
    },
    /// Take this node out of service, or back into it.
    Maintenance {
        /// On or off.
        state: Switch,
    },
    /// Give the role to a peer.
    Release,
    /// Read the configuration file again.
    Reload,
    /// Role, peers, ports and alerts.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Again each second, and when the role changes, until interrupted.
        #[arg(long)]
        watch: bool,
    },
    /// Take the role from a peer.
    Takeover,
    /// Remove what a killed daemon left in the kernel.
    Unfence(unfence::Unfence),
    /// Virtual routers of VRRP, whose daemon has a socket of its own.
    Vrrp {
        #[command(subcommand)]
        verb: routers::Verb,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Runs the command of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let verdict = run(arguments, &mut io::stdout(), &mut io::stderr());
    ExitCode::from(verdict.code())
}

/// Runs a command line; the first argument is the command's own name.
pub fn run(
    arguments: Vec<std::ffi::OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Verdict {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(why) => {
            let wrong = why.use_stderr();
            let text = why.render();
            // Whoever closed our output wants no more of it.
            let _ = if wrong {
                write!(err, "{text}")
            } else {
                write!(out, "{text}")
            };
            return if wrong { Verdict::Usage } else { Verdict::Done };
        }
    };
    let usual = match arguments.verb {
        Verb::Vrrp { .. } => ROUTERS_SOCKET,
        _ => SOCKET,
    };
    let socket = arguments.socket.unwrap_or_else(|| usual.into());
    let client = match Client::new(socket) {
        Ok(client) => client,
        Err(why) => return complain(err, &why),
    };
    match carry_out(arguments.verb, &client, out, err) {
        Ok(verdict) => verdict,
        Err(Trouble::Client(why)) => complain(err, &why),
        // The reader of our output is gone.
        Err(Trouble::Output(why)) if why.kind() == io::ErrorKind::BrokenPipe => Verdict::Done,
        Err(Trouble::Output(why)) => {
            let _ = writeln!(err, "error: {why}");
            Verdict::Refused
        }
    }
}

/// What ends a command early.
enum Trouble {
    Client(ClientError),
    Output(io::Error),
}

impl From<ClientError> for Trouble {
    fn from(why: ClientError) -> Self {
        Self::Client(why)
    }
}

impl From<io::Error> for Trouble {
    fn from(why: io::Error) -> Self {
        Self::Output(why)
    }
}

fn carry_out(
    verb: Verb,
    client: &Client,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<Verdict, Trouble> {
    match verb {
        Verb::CheckConfig(asked) => Ok(config::check(&asked, out, err)?),
        Verb::ClearPacified => order(client, out, "clear-pacified", "the boot guard lets go"),
        Verb::Enable => order(client, out, "enable", "this node may serve again"),
        Verb::Explain { json } => {
            let answer = client.read("/v1/explain")?;
            if json {
                writeln!(out, "{answer:#}")?;
            } else {
                table::explanation(&answer, out)?;
            }
            Ok(Verdict::Done)
        }
        Verb::Init(asked) => Ok(config::write(*asked, out, err)?),
        Verb::Interfaces { json } => {
            let answer = client.read("/v1/interfaces")?;
            if json {
                writeln!(out, "{answer:#}")?;
            } else {
                interfaces::print(&answer, out)?;
            }
            Ok(Verdict::Done)
        }
        Verb::Journal { verb } => Ok(recording::carry_out(&verb, out, err)?),
        Verb::Maintenance { state } => {
            let on = matches!(state, Switch::On);
            client.order("/v1/maintenance", &serde_json::json!({ "on": on }))?;
            writeln!(out, "maintenance is {}", if on { "on" } else { "off" })?;
            Ok(Verdict::Done)
        }
        Verb::Release => order(client, out, "release", "a peer has the role now"),
        Verb::Reload => order(client, out, "reload", "the new configuration is in force"),
        Verb::Status { json, watch } => status(client, json, watch, out),
        Verb::Takeover => order(client, out, "takeover", "this node has the role now"),
        Verb::Unfence(asked) => Ok(unfence::unfence(&asked, out, err)?),
        Verb::Vrrp { verb } => routers::carry_out(&verb, client, out),
    }
}

fn order(client: &Client, out: &mut dyn Write, verb: &str, done: &str) -> Result<Verdict, Trouble> {
    client.order(&format!("/v1/{verb}"), &Value::Null)?;
    writeln!(out, "{verb}: {done}")?;
    Ok(Verdict::Done)
}

fn status(
    client: &Client,
    json: bool,
    watch: bool,
    out: &mut dyn Write,
) -> Result<Verdict, Trouble> {
    let (mut route, mut known) = ("/v1/status".to_owned(), String::new());
    loop {
        let asked = Instant::now();
        let answer = client.read(&route)?;
        if watch && !json && io::stdout().is_terminal() {
            // Home, and clear to the end: no flicker.
            write!(out, "\x1b[H\x1b[J")?;
        }
        if json {
            writeln!(out, "{answer}")?;
        } else {
            table::status(&answer, out)?;
        }
        out.flush()?;
        if !watch {
            return Ok(Verdict::Done);
        }
        let mark = answer
            .get("mark")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if mark == known {
            // Nothing changed, yet it answered early: many wait, or it knows of no marks.
            std::thread::sleep(WATCH_INTERVAL.saturating_sub(asked.elapsed()));
        }
        mark.clone_into(&mut known);
        let wait = WATCH_INTERVAL.as_millis();
        if !known.is_empty() {
            route = format!("/v1/status?after={known}&wait={wait}");
        }
    }
}

fn complain(err: &mut dyn Write, why: &ClientError) -> Verdict {
    // Nothing is left to tell if standard error is gone.
    let _ = writeln!(err, "error: {why}\n cure: {}", why.cure());
    match why {
        ClientError::Refused { .. } => Verdict::Refused,
        ClientError::Unreachable { .. } | ClientError::Unclear(_) => Verdict::Unreachable,
    }
}
