//! Control: what operators ask and order, as HTTP with JSON over a Unix socket.
//!
//! It runs on a thread and an async runtime of its own, so that no request ever costs a heartbeat;
//! with the driver it shares a channel of orders and a watched status, nothing else.
//!
//! ```text
//! GET  /v1/status /v1/explain            whoever may connect
//! GET  /v1/status?after=MARK&wait=MS     likewise, when it changes (`follow.rs`)
//! GET  /v1/config                        root, the daemon's own user, the control group
//! POST /v1/takeover /v1/release /v1/maintenance {"on":true} /v1/enable /v1/clear-pacified
//!      /v1/reload /v1/shutdown           likewise
//! ```
//!
//! Virtual routers of VRRP have other routes on the same kind of socket (`routers.rs`).
//!
//! An error is `{"error": what, "cure": what to do}`: 400 not understood, 403 not permitted, 404
//! and 405 not there, 409 refused by the node, 413 too long, 503 the node has ended, 504 no answer
//! in time.
//!
//! The hard case is a socket that a dead daemon left behind, see [`Bound`]. The limit: who may
//! connect at all is decided by the mode of the socket, 0660.

mod diagnose;
mod explain;
mod follow;
mod routers;
mod routes;
mod socket;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::diagnosis::Misled;
use steadfast_core::role::EffectiveRole;
use steadfast_core::status::Status;
use steadfast_core::{Instant, PortId};
use steadfast_shell::orders::{Orders, ReloadRefused};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::daemon::CertificateFacts;
use crate::hooks::HookFacts;

pub use diagnose::diagnose;
pub use explain::{Explanation, PeerExplanation, explain};
pub(crate) use explain::{in_words, node_name, role_word};
pub use follow::FOLLOW_WAIT_MAX;
pub use routers::{RouterFacts, RoutersTold};
pub use socket::{BindError, Bound};
pub use steadfast_core::diagnosis::{Trouble, TroubleKind};

/// Bytes of a request's body. A longer one is refused with 413.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Connections at a time. Beyond this a client waits until another one is done.
pub const CONNECTIONS_MAX: usize = 32;
/// How long an answer may take; then the client is told so (504).
pub const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long a connection may live, idle or not; longer than any answer takes.
pub const CONNECTION_WAIT: Duration = Duration::from_secs(15);
/// Role changes remembered for explanations; the oldest is forgotten.
pub const HISTORY_MAX: usize = 16;

/// Where control listens, and whom it obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The socket's path; its directory must exist.
    pub socket: PathBuf,
    /// Members of this group may command too; the socket is given to it.
    pub group: Option<u32>,
    /// See [`ANSWER_WAIT`].
    pub answer_wait: Duration,
    /// See [`CONNECTION_WAIT`].
    pub connection_wait: Duration,
}

impl Settings {
    /// The usual waits, and no group.
    pub const fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            group: None,
            answer_wait: ANSWER_WAIT,
            connection_wait: CONNECTION_WAIT,
        }
    }
}

/// Where the answer to a reload comes from; a driver that ends gives none.
pub type ReloadAnswer = oneshot::Receiver<Result<(), ReloadRefused>>;

/// What control asks of the daemon around the node. Called on control's threads; may block briefly.
pub trait Daemon: Send + Sync + 'static {
    /// Facts for status.
    fn facts(&self) -> DaemonFacts;
    /// The configuration in force, as its file's text. Names secret files, holds no secrets.
    fn config_text(&self) -> String;
    /// Reads the configuration file again, checks it by itself and orders that it be taken. All in
    /// one step: of two callers the one that read later orders later, so the newest text stays.
    /// Waits while the node is busy with other orders.
    ///
    /// # Errors
    /// Everything that is wrong with it, for people.
    fn order_reload(&self, orders: &Orders) -> Result<ReloadAnswer, String>;
}

/// What only the daemon knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DaemonFacts {
    /// The time at the driver's clock; ages are counted from it.
    pub now: Instant,
    /// Process id.
    pub pid: u32,
    /// Version and build id.
    pub build: String,
    /// Seconds since the daemon's start.
    pub uptime_s: u64,
    /// The configuration file.
    pub config_path: PathBuf,
    /// How the kernel's fence is made, in words.
    pub fence: String,
    /// Which scheduling the daemon was granted, in words.
    pub scheduling: String,
    /// Names of the ports, by number.
    pub port_names: BTreeMap<u8, String>,
    /// Ports on which nodes speak.
    pub heartbeat_ports: BTreeSet<u8>,
    /// Of those, the ones that nobody counts on.
    pub secondary_ports: BTreeSet<u8>,
    /// Ports that are cables to a peer.
    pub direct_ports: BTreeSet<u8>,
    /// Ports with virtual addresses.
    pub served_ports: BTreeSet<u8>,
    /// Ports whose loss makes this node worse.
    pub watched_ports: BTreeSet<u8>,
    /// Ports with a virtual MAC.
    pub station_ports: BTreeSet<u8>,
    /// After so long a silent peer is down.
    pub dead_interval: Duration,
    /// Names of the nodes, by id, this one included.
    pub node_names: BTreeMap<u8, String>,
    /// What was noticed at the start: restored records, configuration words, missing support.
    pub notes: Vec<String>,
    /// The last alerts in words, each with its age; the newest first.
    pub alerts: Vec<String>,
    /// What each check of this node's health said last, by its name.
    pub checks: BTreeMap<String, String>,
    /// What served ports were sent that the active should have had; told as a trouble.
    #[serde(skip)]
    pub misled: BTreeMap<PortId, Misled>,
    /// The hooks that follow the role, in their order.
    pub hooks: Vec<HookFacts>,
    /// The certificate that clients see while this node serves, if the file names one.
    #[serde(default)]
    pub certificate: Option<CertificateFacts>,
    /// Counters of journal, log and links, by name.
    pub counters: BTreeMap<String, u64>,
}

/// A change of role, for explanations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// When.
    pub at: Instant,
    /// To what.
    pub role: EffectiveRole,
    /// Why, in words.
    pub why: String,
}

/// What every request sees.
#[derive(Clone)]
struct Shared {
    orders: Orders,
    status: watch::Receiver<Arc<Status>>,
    daemon: Arc<dyn Daemon>,
    history: Arc<Mutex<VecDeque<Change>>>,
    answer_wait: Duration,
    /// Places of those that wait for a change.
    followers: Arc<Semaphore>,
}

impl Shared {
    fn history(&self) -> Vec<Change> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.iter().cloned().collect()
    }

    fn remember(&self, status: &Status) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let known = history.back();
        if known.is_some_and(|last| (last.at, last.role) == (status.since, status.role)) {
            return;
        }
        if history.len() >= HISTORY_MAX {
            history.pop_front();
        }
        history.push_back(Change {
            at: status.since,
            role: status.role,
            why: status.why_text.clone(),
        });
    }
}

/// Control, running.
#[derive(Debug)]
pub struct Control {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<io::Result<()>>,
}

impl Control {
    /// Serves a bound socket on a thread of its own. Threads inherit the scheduling of whoever
    /// starts them: start control before the driver's thread is raised.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn start(
        bound: Bound,
        orders: Orders,
        status: watch::Receiver<Arc<Status>>,
        daemon: Arc<dyn Daemon>,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let shared = Shared {
            orders,
            status,
            daemon,
            history: Arc::default(),
            answer_wait: bound.settings().answer_wait,
            followers: Arc::new(Semaphore::new(follow::FOLLOWERS_MAX)),
        };
        let thread = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || serve(&bound, shared, stopped))?;
        Ok(Self { stop, thread })
    }

    /// Stops listening, removes the socket and ends; requests under way are given up.
    ///
    /// # Errors
    /// What ended control earlier, if anything did.
    pub fn stop(self) -> io::Result<()> {
        // A closed channel: control has ended already, and says below why.
        let _ = self.stop.send(());
        let panicked = |_| io::Error::other("control panicked");
        self.thread.join().unwrap_or_else(|why| Err(panicked(why)))
    }
}

fn serve(bound: &Bound, shared: Shared, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()?;
    let result = runtime.block_on(async {
        let gate = bound.listen()?;
        let app = routes::router(shared.clone(), bound.rights());
        let app = app.into_make_service_with_connect_info::<socket::Peer>();
        tokio::select! {
            biased;
            _ = stopped => Ok(()),
            result = async { axum::serve(gate, app).await } => result,
            () = watch_roles(shared) => Ok(()),
        }
    });
    // A reload that still reads files is not waited for.
    runtime.shutdown_background();
    result
}

/// Remembers changes of role; never returns, so that control outlives the driver.
async fn watch_roles(shared: Shared) {
    let mut status = shared.status.clone();
    loop {
        let newest = Arc::clone(&status.borrow_and_update());
        shared.remember(&newest);
        if status.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests;
