//! What the daemon tells of itself, and how it reads its configuration again.
//!
//! Everything here is asked on control's thread and answered without the driver: counters are
//! atomics, the configuration stands behind a lock that the driver never takes.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use log::error;
use steadfast_core::config::Config;
use steadfast_core::effect::Alert;
use steadfast_core::status::Status;
use steadfast_core::{CheckId, Instant, NodeId, PortId};
use steadfast_shell::orders::{Order, Orders};
use tokio::sync::{oneshot, watch};

use super::certificate::CertificateWatch;
use super::{Machine, StartError, words};
use crate::checks::{CheckSpec, Checks};
use crate::config::{self, Change, Loaded};
use crate::control::{Daemon, DaemonFacts, ReloadAnswer, Settings, in_words};
use crate::hooks::{HookFacts, HookSpec, RoleHooks, Whose};
use crate::journal::Counters;
use crate::linux::clock::Monotonic;
use crate::linux::dataplane::PlaneCounters;
use crate::linux::packet::CounterBoard;
use crate::linux::priority::Granted;
use crate::store::Note;

/// Alerts remembered for status; the oldest is forgotten.
const ALERTS_TOLD_MAX: usize = 16;

/// The daemon, as control sees it.
pub(super) struct Report {
    path: PathBuf,
    time: Monotonic,
    loaded: Arc<Mutex<Loaded>>,
    /// Held from reading the file until its order is given.
    reloading: Mutex<()>,
    plane: Arc<PlaneCounters>,
    journal: Arc<Counters>,
    ports: Arc<CounterBoard>,
    alerts: Mutex<VecDeque<(Instant, String)>>,
    fence: String,
    notes: Vec<String>,
    granted: Mutex<Option<Granted>>,
    checks: Arc<Mutex<Option<Checks>>>,
    hooks: Arc<Mutex<Option<RoleHooks>>>,
    certificate: Arc<Mutex<Option<CertificateWatch>>>,
}

impl Report {
    /// At the start.
    pub(super) fn new(
        loaded: Loaded,
        time: Monotonic,
        (plane, journal, ports): (Arc<PlaneCounters>, Arc<Counters>, Arc<CounterBoard>),
        fence: String,
        restored: &[Note],
    ) -> Self {
        let words = loaded.notes.iter().map(|note| note.text.clone());
        let notes = words.chain(restored.iter().map(ToString::to_string));
        Self {
            path: loaded.path.clone(),
            time,
            plane,
            journal,
            ports,
            alerts: Mutex::default(),
            fence,
            notes: notes.collect(),
            granted: Mutex::new(None),
            checks: Arc::default(),
            hooks: Arc::default(),
            certificate: Arc::default(),
            loaded: Arc::new(Mutex::new(loaded)),
            reloading: Mutex::new(()),
        }
    }

    /// What the heartbeat thread was granted, once that is known.
    pub(super) fn granted(&self, granted: &Granted) {
        *lock(&self.granted) = Some(granted.clone());
    }

    /// Starts to run checks and hooks; a changed configuration changes them from now on.
    pub(super) fn run_programs(
        &self,
        orders: &Orders,
        statuses: watch::Receiver<Arc<Status>>,
    ) -> std::io::Result<()> {
        let beside = Beside::of(&lock(&self.loaded));
        let Beside {
            checks,
            hooks,
            whose,
            certificate,
        } = beside;
        *lock(&self.checks) = Some(Checks::start(&checks, orders)?);
        *lock(&self.certificate) = Some(CertificateWatch::start(certificate, orders)?);
        *lock(&self.hooks) = Some(RoleHooks::start(hooks, whose, statuses, self.time)?);
        Ok(())
    }

    /// The node serves no more: what checks run is ended, the hooks are told, and both are waited
    /// for.
    pub(super) fn end_programs(&self) {
        if let Some(checks) = lock(&self.checks).take() {
            checks.end();
        }
        let hooks = lock(&self.hooks).take();
        if let Some(hooks) = hooks {
            hooks.end();
        }
    }

    /// Where control listens, and whom it obeys.
    pub(super) fn control_settings(&self) -> Result<Settings, StartError> {
        let loaded = lock(&self.loaded);
        let mut settings = Settings::new(loaded.daemon.control_socket.clone());
        if let Some(name) = &loaded.daemon.control_group {
            let group = group(name).map_err(StartError::refused(
                "look up [daemon] control_group in /etc/group",
            ))?;
            settings.group = Some(group);
        }
        Ok(settings)
    }
}

impl Daemon for Report {
    fn facts(&self) -> DaemonFacts {
        let watch = lock(&self.certificate);
        let certificate = watch.as_ref().and_then(CertificateWatch::facts);
        let loaded = lock(&self.loaded);
        let now = self.time.now();
        let granted = lock(&self.granted).clone();
        let mut notes = self.notes.clone();
        notes.extend(granted.iter().flat_map(|granted| granted.notes.clone()));
        let port = |port: &config_core::PortConfig| (port.id.0, port.name.clone());
        let ports = &loaded.config.ports;
        let of = |wanted: fn(&config_core::PortConfig) -> bool| {
            let chosen = ports.iter().filter(|port| wanted(port));
            chosen.map(|port| port.id.0).collect()
        };
        DaemonFacts {
            now,
            pid: std::process::id(),
            build: crate::BUILD.to_owned(),
            uptime_s: now.as_nanos() / 1_000_000_000,
            config_path: self.path.clone(),
            fence: self.fence.clone(),
            scheduling: granted.map_or_else(String::new, |it| it.scheduling.to_string()),
            port_names: ports.iter().map(port).collect(),
            heartbeat_ports: of(|port| port.heartbeat),
            secondary_ports: of(|port| port.secondary),
            direct_ports: of(|port| port.direct),
            served_ports: of(config_core::PortConfig::served),
            watched_ports: of(|port| port.watched),
            station_ports: of(|port| port.virtual_mac.is_some()),
            dead_interval: loaded.config.timing.dead_interval,
            node_names: node_names(&loaded),
            notes,
            alerts: self.alerts(now),
            checks: lock(&self.checks)
                .as_ref()
                .map(Checks::said)
                .unwrap_or_default(),
            misled: lock(&self.plane.misled).clone(),
            hooks: self.hooks(),
            certificate,
            counters: self.counters(&loaded.config),
        }
    }

    fn config_text(&self) -> String {
        lock(&self.loaded).text.clone()
    }

    fn order_reload(&self, orders: &Orders) -> Result<ReloadAnswer, String> {
        let _one_by_one = lock(&self.reloading);
        let (config, beside, loaded) = self.load_config()?;
        let (reply, answer) = oneshot::channel();
        let sent = orders.blocking_send(Order::Reload { config, reply });
        sent.map_err(|_| "the daemon is ending".to_owned())?;
        self.with_beside(answer, beside, loaded)
    }
}

impl Report {
    /// The node's answer; once it has taken the configuration, that is the one in force, and its
    /// checks and hooks are run. Of a refused one they are not: what a node believes of a check
    /// must not outlive who tells it.
    fn with_beside(
        &self,
        answer: ReloadAnswer,
        beside: Beside,
        loaded: Loaded,
    ) -> Result<ReloadAnswer, String> {
        let (told, changed) = oneshot::channel();
        let known = Arc::clone(&self.loaded);
        let (checks, hooks) = (Arc::clone(&self.checks), Arc::clone(&self.hooks));
        let certificate = Arc::clone(&self.certificate);
        let body = move || {
            let Ok(outcome) = answer.blocking_recv() else {
                return;
            };
            if outcome.is_ok() {
                super::settings_after_reload(&loaded);
                *lock(&known) = loaded;
                beside.run(&checks, &hooks, &certificate);
            }
            // Whoever asked may have given up.
            let _ = told.send(outcome);
        };
        let started = thread::Builder::new()
            .name("reloaded".to_owned())
            .spawn(body);
        started.map_err(|why| format!("failed to start a thread: {why}"))?;
        Ok(changed)
    }

    /// Reads the file again, and checks it by itself and against what is in force.
    fn load_config(&self) -> Result<(Box<Config>, Beside, Loaded), String> {
        let machine = Machine::look().map_err(|why| format!("failed to see interfaces: {why}"))?;
        let loaded = config::load(&self.path, &machine).map_err(|report| report.render(false))?;
        let change = config::compare(&lock(&self.loaded), &loaded);
        match change {
            Change::Restart(what) => Err(format!(
                "a restart is needed for {}; nothing was changed",
                what.join(", ")
            )),
            Change::Live(_) | Change::Same => {
                let config = Box::new(loaded.config.clone());
                let beside = Beside::of(&loaded);
                Ok((config, beside, loaded))
            }
        }
    }
}

impl Report {
    /// The configuration in force.
    pub(super) fn config_in_force(&self) -> Config {
        lock(&self.loaded).config.clone()
    }

    /// Remembers an alert, and says it in words.
    pub(super) fn alert(&self, at: Instant, alert: &Alert) -> String {
        let names = node_names(&lock(&self.loaded));
        let name = |node: NodeId| {
            let known = names.get(&node.0).cloned();
            known.unwrap_or_else(|| format!("node {node}"))
        };
        let check = |check: CheckId| check_name(&lock(&self.loaded).config, check);
        let port = |port| port_name(&lock(&self.loaded).config, port);
        let words = words::alert(alert, name, check, port);
        let mut alerts = lock(&self.alerts);
        if alerts.len() >= ALERTS_TOLD_MAX {
            alerts.pop_front();
        }
        alerts.push_back((at, words.clone()));
        words
    }

    /// The newest first. Episodes end without a word, so an alert is told with its age.
    fn alerts(&self, now: Instant) -> Vec<String> {
        let alerts = lock(&self.alerts);
        let told = alerts.iter().rev();
        told.map(|(at, words)| format!("{} ago: {words}", in_words(now.since(*at))))
            .collect()
    }

    fn hooks(&self) -> Vec<HookFacts> {
        let hooks = lock(&self.hooks);
        hooks.as_ref().map(RoleHooks::told).unwrap_or_default()
    }

    fn counters(&self, config: &Config) -> BTreeMap<String, u64> {
        use std::sync::atomic::Ordering::Relaxed;
        let counters = [
            ("kernel_applied", self.plane.applied.load(Relaxed)),
            ("kernel_refused", self.plane.refused.load(Relaxed)),
            ("fence_repaired", self.plane.repaired.load(Relaxed)),
            (
                "lease_renewals_lost",
                self.plane.lost_renewals.load(Relaxed),
            ),
            ("sources_refused", self.plane.sources_refused.load(Relaxed)),
            ("journal_written", self.journal.written_count()),
            ("journal_lost", self.journal.lost_count()),
            ("journal_failed", self.journal.failure_count()),
        ];
        let mut all: BTreeMap<String, u64> = counters
            .map(|(name, count)| (name.to_owned(), count))
            .into();
        for (id, counted) in self.ports.ports() {
            let name = port_name(config, id);
            let counted = counted
                .named()
                .map(|(what, count)| (format!("{name}_{what}"), count));
            all.extend(counted);
        }
        all
    }
}

/// What a configuration says of programs beside the node.
struct Beside {
    checks: Vec<CheckSpec>,
    hooks: Vec<HookSpec>,
    whose: Whose,
    certificate: Option<PathBuf>,
}

impl Beside {
    fn of(loaded: &Loaded) -> Self {
        Self {
            checks: loaded.checks.clone(),
            hooks: loaded.hooks.clone(),
            whose: Whose {
                cluster: loaded.names.cluster.clone(),
                node: loaded.names.node.clone(),
                id: loaded.config.node.0,
            },
            certificate: loaded.daemon.certificate.clone(),
        }
    }

    fn run(
        self,
        checks: &Mutex<Option<Checks>>,
        hooks: &Mutex<Option<RoleHooks>>,
        certificate: &Mutex<Option<CertificateWatch>>,
    ) {
        if let Some(watch) = lock(certificate).as_ref()
            && let Err(why) = watch.replace(self.certificate)
        {
            error!("failed to look at the changed certificate: {why}");
        }
        if let Some(checks) = lock(checks).as_ref()
            && let Err(why) = checks.replace(&self.checks)
        {
            error!("failed to start the changed checks: {why}");
        }
        if let Some(hooks) = lock(hooks).as_ref()
            && let Err(why) = hooks.replace(self.hooks, self.whose)
        {
            error!("failed to take the changed hooks: {why}");
        }
    }
}

fn port_name(config: &Config, id: PortId) -> String {
    let found = config.ports.iter().find(|port| port.id == id);
    found.map_or_else(|| format!("port {id}"), |port| port.name.clone())
}

fn check_name(config: &Config, id: CheckId) -> String {
    let found = config.checks.iter().find(|check| check.id == id);
    found.map_or_else(|| id.to_string(), |check| check.name.clone())
}

/// How the nodes are called, by id.
fn node_names(loaded: &Loaded) -> BTreeMap<u8, String> {
    let peers = loaded.names.peers.iter();
    let mut names: BTreeMap<u8, String> = peers.map(|(id, name)| (id.0, name.clone())).collect();
    names.insert(loaded.config.node.0, loaded.names.node.clone());
    names
}

use steadfast_core::config as config_core;

/// A lock whose holder panicked still holds whole values: each is replaced in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of a group of this host.
pub(super) fn group(name: &str) -> std::io::Result<u32> {
    let text = std::fs::read_to_string("/etc/group")?;
    let number = |line: &str| {
        let mut parts = line.split(':');
        (parts.next() == Some(name)).then(|| parts.nth(1)?.parse().ok())?
    };
    let missing = || std::io::Error::other(format!("there is no group `{name}`"));
    text.lines().find_map(number).ok_or_else(missing)
}
