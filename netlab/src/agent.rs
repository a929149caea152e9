//! The product as the daemon under test: configured by a file, asked over its control socket.
//!
//! A daemon is not asked again and again what it is: it answers when its role has changed, so that
//! nothing is heard later than it was said, and two processors have better things to do.
//!
//! The socket is a file in a folder that the lab shares with the gateway, so it is reached from
//! outside although the gateway has its own mounts and network. HTTP is spoken by hand: one
//! request, one connection, read to its end. A daemon that is stopped or starved answers late, and
//! the world does not wait for it: every daemon is asked by a thread of its own, and so is every
//! command given.
//!
//! A role is told as of its own date, in the daemon's clock, whose beginning nobody knows. Each
//! answer shows it, late by the time the answer took; so after a change the daemon is asked a few
//! times more, and the earliest beginning counts ([`Beginning`]).
//!
//! A node may refuse a command, and a daemon may die over it: both are part of a story. A daemon
//! that does not know the request or denies the right to it has never put it to its node; a run in
//! which that happened proves nothing, and says so.

use core::time::Duration;
use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread;

use serde::Deserialize;
use steadfast_core::diagnosis::Trouble;
use steadfast_core::effect::Alert;
use steadfast_core::role::EffectiveRole;
use steadfast_core::{Epoch, Instant, MacAddr, NodeId, PortId};
use steadfast_scenarios::SegmentId;
use steadfast_scenarios::format::{Capability, CommandName, Gateway, Plan};

use crate::daemons::steadfast::{self, SOCKET};
use crate::daemons::{clocks, routers};
use crate::instruments::RunClock;
use crate::machine::Setup;
use crate::sys::run_early;
use crate::world::{Agent, Raised, Said};

/// How often a daemon that does not answer is asked again, and how often one that does at most.
const ASK_EVERY: Duration = Duration::from_millis(4);
/// How long a daemon may wait for a change before it answers all the same: what it finds wrong
/// around it is no change.
const CHANGE_WAIT: Duration = Duration::from_secs(1);
/// How often a daemon is asked again, at once, to know its clock better.
const LOOKS: usize = 3;
/// How long these answers may take together: who is slow tells nothing of its clock, and what was
/// answered first must not come to the world when its place in the order is gone.
const LOOKS_TOGETHER: Duration = Duration::from_millis(6);
/// How long an answer is waited for beyond that; one that is later is asked for again.
const STATUS_PATIENCE: Duration = Duration::from_millis(500);
/// Statuses that wait for the world, of each gateway; what is said beyond them is asked for again.
const STATUSES_MAX: usize = 64;
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
    /// What each gateway answered.
    answers: Vec<(NodeId, Receiver<Heard>)>,
    /// Commands that never reached a node: at most one for each that was given.
    unheard: (Sender<String>, Receiver<String>),
}

/// An answer, when it was here, and when its daemon's clock began.
struct Heard {
    at: Instant,
    began: Instant,
    answer: Box<Answer>,
}

/// When a daemon's clock began, in the run's time: no later than any answer that is given shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Beginning {
    began: Option<Instant>,
    /// What its clock showed last; a clock that shows less is another daemon's.
    shown: Instant,
}

impl Beginning {
    /// An answer was here at `at`, and gave `shown`.
    fn look(&mut self, at: Instant, shown: Instant) -> Instant {
        let began = at.before(shown.since(Instant::ORIGIN));
        let known = self.began.filter(|_| shown >= self.shown);
        let began = known.map_or(began, |known| known.min(began));
        *self = Self {
            began: Some(began),
            shown,
        };
        began
    }
}

/// The part of a status that the world needs.
#[derive(Deserialize)]
struct Answer {
    status: Status,
    /// What to ask with for the next change; a daemon of before this was built gives none.
    mark: Option<String>,
    daemon: Daemon,
    /// A daemon of before they had a word has none that can be read.
    #[serde(default)]
    troubles: Vec<Trouble>,
}

#[derive(Deserialize)]
struct Status {
    role: EffectiveRole,
    since: Instant,
    epoch: Epoch,
    why_text: String,
    ports: Vec<Port>,
    /// A daemon of before they were told has none.
    #[serde(default)]
    open_alerts: Vec<Alert>,
    /// The same.
    recent_alerts: Option<Vec<Raised>>,
}

#[derive(Deserialize)]
struct Port {
    port: PortId,
    up: bool,
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
            answers: Vec::new(),
            unheard: channel(),
        }
    }

    /// The next answer of a gateway, if there is one; the first call starts the asking.
    fn answer(&mut self, gateway: NodeId, run: &Path) -> Option<Heard> {
        let known = self.answers.iter().find(|(id, _)| *id == gateway);
        if let Some((_, answers)) = known {
            return answers.try_recv().ok();
        }
        let (sender, answers) = sync_channel(STATUSES_MAX);
        let (socket, clock) = (run.join(SOCKET), self.clock);
        let body = move || keep_asking(&socket, clock, &sender);
        let named = thread::Builder::new().name("asker".to_owned());
        // Without it the oracles that need statuses never arm, which they say.
        if named.spawn(body).is_ok() {
            self.answers.push((gateway, answers));
        }
        None
    }
}

/// Asks one daemon for its status, and then for each change of it, until nobody wants to know.
fn keep_asking(socket: &Path, clock: RunClock, answers: &SyncSender<Heard>) {
    run_early();
    let mut known = String::new();
    let mut beginning = Beginning::default();
    loop {
        let begun = clock.now();
        let route = format!("/v1/status{known}");
        let patience = CHANGE_WAIT + STATUS_PATIENCE;
        // It was said when the answer was here, not when the question was put.
        let answer = hear(socket, &route, patience, clock, &mut beginning);
        match &answer {
            Some((at, _)) => look_again(socket, at.after(LOOKS_TOGETHER), clock, &mut beginning),
            // The next that answers may be another daemon, whatever its clock shows.
            None => beginning = Beginning::default(),
        }
        known = answer.as_ref().map_or_else(String::new, |(_, it)| {
            let wait = CHANGE_WAIT.as_millis();
            let mark = it.mark.as_deref();
            mark.map_or_else(String::new, |mark| format!("?after={mark}&wait={wait}"))
        });
        let heard = answer.zip(beginning.began).map(|((at, answer), began)| {
            let answer = Box::new(answer);
            answers.try_send(Heard { at, began, answer })
        });
        match heard {
            Some(Err(TrySendError::Disconnected(_))) => return,
            // The world has not heard it: it is asked for again.
            Some(Err(TrySendError::Full(_))) => known.clear(),
            Some(Ok(())) | None => {}
        }
        clock.sleep_until(begun.after(ASK_EVERY));
    }
}

/// Asks a few times more for the daemon's clock, at most until then.
fn look_again(socket: &Path, until: Instant, clock: RunClock, beginning: &mut Beginning) {
    for _ in 0..LOOKS {
        let left = until.since(clock.now());
        // The kernel takes no wait at all for a wait without end.
        if left.is_zero() || hear(socket, "/v1/status", left, clock, beginning).is_none() {
            return;
        }
    }
}

/// One status, when it was here, and what it shows of the daemon's clock.
fn hear(
    socket: &Path,
    route: &str,
    patience: Duration,
    clock: RunClock,
    beginning: &mut Beginning,
) -> Option<(Instant, Answer)> {
    let reply = ask(socket, "GET", route, "", patience).ok()?;
    let at = clock.now();
    let answer: Answer = serde_json::from_slice(&reply.body).ok()?;
    beginning.look(at, answer.daemon.now);
    Some((at, answer))
}

impl Agent for Steadfast {
    fn begin(&mut self, clock: RunClock) {
        self.clock = clock;
    }

    fn setup(&self, plan: &Plan, gateway: &Gateway) -> Result<Setup, String> {
        steadfast::setup(plan, gateway, &self.daemon.to_string_lossy())
    }

    fn offers(&self) -> BTreeSet<Capability> {
        let mut offers = BTreeSet::from([
            Capability::Certificates,
            Capability::Checks,
            Capability::Commands,
            Capability::Hooks,
            Capability::Reloads,
            Capability::Sources,
        ]);
        if clocks::library().is_some() {
            offers.insert(Capability::Clocks);
        }
        if routers::installed() {
            offers.insert(Capability::RouterAdverts);
        }
        offers
    }

    fn virtual_mac(&self, plan: &Plan, segment: SegmentId) -> Option<MacAddr> {
        plan.layout.segments.get(segment.index())?.virtual_mac
    }

    fn status(&mut self, gateway: NodeId, run: &Path) -> Option<(Instant, Said)> {
        let Heard { at, began, answer } = self.answer(gateway, run)?;
        let status = answer.status;
        let known = self.said.iter().find(|(id, since, said)| {
            *id == gateway && *since == status.since && said.role == status.role
        });
        // Each answer gives the same moment a little differently; the first one counts.
        let since = known.map_or_else(
            || began.after(status.since.since(Instant::ORIGIN)).min(at),
            |(_, _, said)| said.since,
        );
        let said = Said {
            role: status.role,
            since,
            epoch: status.epoch,
            why: status.why_text,
            alerts: status.open_alerts,
            raised: status.recent_alerts,
            ports: status.ports.iter().map(|it| (it.port, it.up)).collect(),
            troubles: answer.troubles,
        };
        self.said.retain(|(id, _, _)| *id != gateway);
        self.said.push((gateway, status.since, said.clone()));
        Some((at, said))
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
        post(&self.unheard.0, run, route, body.to_owned())
    }

    fn reload(&mut self, _: NodeId, run: &Path) -> Result<(), String> {
        post(&self.unheard.0, run, "/v1/reload", String::new())
    }

    fn unheard(&mut self) -> Option<String> {
        self.unheard.1.try_recv().ok()
    }
}

/// Gives an order, on a thread of its own; one that no node heard is told there.
pub(crate) fn post(
    unheard: &Sender<String>,
    run: &Path,
    route: &'static str,
    body: String,
) -> Result<(), String> {
    let socket = run.join(SOCKET);
    let unheard = unheard.clone();
    let body = move || {
        // What a node makes of it shows in the roles, and so does a daemon that dies over it.
        let answer = ask(&socket, "POST", route, &body, COMMAND_PATIENCE);
        let denied = |answer: &Reply| !matches!(answer.code, 200 | 409 | 503 | 504);
        if let Some(answer) = answer.ok().filter(denied) {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            // The world may be over by now.
            let _ = unheard.send(format!("{route}: {} {text}", answer.code));
        }
    };
    let started = thread::Builder::new()
        .name("command".to_owned())
        .spawn(body);
    started.map(drop).map_err(|why| why.to_string())
}

/// An answer to a request.
struct Reply {
    /// HTTP's status code.
    code: u16,
    body: Vec<u8>,
}

/// One request over a Unix socket, and its answer.
fn ask(
    socket: &Path,
    method: &str,
    route: &str,
    body: &str,
    patience: Duration,
) -> io::Result<Reply> {
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
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let body = answer.split_off(end.ok_or_else(cut)? + 4);
    let code = answer
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    let code = code.and_then(|code| str::from_utf8(code).ok()?.parse().ok());
    let code = code.ok_or_else(cut)?;
    Ok(Reply { code, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of several answers the one that took least tells when a clock began; one that shows less is
    /// of another daemon.
    #[test]
    fn agent_knows_a_daemons_clock_by_its_fastest_answer() {
        let millis = Instant::from_millis;
        let mut beginning = Beginning::default();
        assert_eq!(beginning.look(millis(1_009), millis(100)), millis(909));
        assert_eq!(beginning.look(millis(1_021), millis(120)), millis(901));
        assert_eq!(beginning.look(millis(1_050), millis(140)), millis(901));
        assert_eq!(beginning.look(millis(4_002), millis(2)), millis(4_000));
    }
}
