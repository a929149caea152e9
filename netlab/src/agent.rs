//! The product as the daemon under test: configured by a file, asked over its control socket.
//!
//! The socket is a file in a folder that the lab shares with the gateway, so it is reached from
//! outside although the gateway has its own mounts and network. HTTP is spoken by hand: one
//! request, one connection, read to its end. A daemon that is stopped answers nothing, and the
//! world goes on: a status has [`STATUS_PATIENCE`], a command waits on a thread of its own.

use core::time::Duration;
use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use serde::Deserialize;
use steadfast_core::role::EffectiveRole;
use steadfast_core::{Epoch, Instant, NodeId};
use steadfast_scenarios::format::{Capability, CommandName, Gateway, Plan};

use crate::daemons::steadfast::{self, SOCKET};
use crate::instruments::RunClock;
use crate::machine::Setup;
use crate::world::{Agent, Said};

/// How long the world waits for a status; one that is late is asked for again.
const STATUS_PATIENCE: Duration = Duration::from_millis(8);
/// How long a command may take; the daemon itself gives up after ten seconds.
const COMMAND_PATIENCE: Duration = Duration::from_secs(15);
/// Longest answer that is read.
const ANSWER_MAX: u64 = 1 << 20;

/// Steadfast.
pub struct Steadfast {
    daemon: PathBuf,
    clock: RunClock,
    /// What each gateway last said, and the time it gave in its own clock.
    said: Vec<(NodeId, Instant, Said)>,
}

/// The part of a status that the world needs.
#[derive(Deserialize)]
struct Answer {
    status: Status,
    daemon: Daemon,
}

#[derive(Deserialize)]
struct Status {
    role: EffectiveRole,
    since: Instant,
    epoch: Epoch,
    why_text: String,
}

#[derive(Deserialize)]
struct Daemon {
    now: Instant,
}

impl Steadfast {
    /// Runs this `steadfastd`.
    pub fn new(daemon: impl Into<PathBuf>) -> Self {
        Self {
            daemon: daemon.into(),
            clock: RunClock::start(),
            said: Vec::new(),
        }
    }

    /// The run begins: its time is this clock's.
    pub fn begin(&mut self, clock: RunClock) {
        self.clock = clock;
    }
}

impl Agent for Steadfast {
    fn setup(&self, plan: &Plan, gateway: &Gateway) -> Result<Setup, String> {
        steadfast::setup(plan, gateway, &self.daemon.to_string_lossy())
    }

    fn offers(&self) -> BTreeSet<Capability> {
        BTreeSet::from([Capability::Commands])
    }

    fn status(&mut self, gateway: NodeId, run: &Path) -> Option<Said> {
        let answer = ask(&run.join(SOCKET), "GET", "/v1/status", "", STATUS_PATIENCE).ok()?;
        let Answer { status, daemon } = serde_json::from_slice(&answer).ok()?;
        let known = self.said.iter().find(|(id, since, said)| {
            *id == gateway && *since == status.since && said.role == status.role
        });
        // Each answer gives the same moment a little differently; the first one counts.
        let since = known.map_or_else(
            || self.clock.now().before(daemon.now.since(status.since)),
            |(_, _, said)| said.since,
        );
        let said = Said {
            role: status.role,
            since,
            epoch: status.epoch,
            why: status.why_text,
        };
        self.said.retain(|(id, _, _)| *id != gateway);
        self.said.push((gateway, status.since, said.clone()));
        Some(said)
    }

    fn command(&mut self, _: NodeId, run: &Path, command: CommandName) -> Result<(), String> {
        let (route, body) = match command {
            CommandName::ClearPacified => ("/v1/clear-pacified", ""),
            CommandName::Enable => ("/v1/enable", ""),
            CommandName::MaintenanceOff => ("/v1/maintenance", "{\"on\": false}"),
            CommandName::MaintenanceOn => ("/v1/maintenance", "{\"on\": true}"),
            CommandName::Release => ("/v1/release", ""),
            CommandName::Takeover => ("/v1/takeover", ""),
        };
        let socket = run.join(SOCKET);
        let body = move || {
            // What became of it shows in the roles.
            let _ = ask(&socket, "POST", route, body, COMMAND_PATIENCE);
        };
        let started = thread::Builder::new()
            .name("command".to_owned())
            .spawn(body);
        started.map(drop).map_err(|why| why.to_string())
    }
}

/// One request over a Unix socket; the body of a good answer.
fn ask(
    socket: &Path,
    method: &str,
    route: &str,
    body: &str,
    patience: Duration,
) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    write!(
        stream,
        "{method} {route} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let good = answer.starts_with(b"HTTP/1.1 200");
    match end {
        Some(end) if good => Ok(answer.split_off(end + 4)),
        Some(_) | None => Err(io::Error::other("the daemon refused")),
    }
}
