//! The daemon among others: signals that order it about, and the service manager that watches it.
//!
//! Whatever may block stands on threads of its own. The watchdog is fed only when the driver has
//! published a status since: a driver that hangs is not kept alive by a thread that does not.

use std::io;
use std::sync::Arc;
use std::thread;

use log::{error, info, warn};
use sd_notify::NotifyState;
use steadfast_core::Instant;
use steadfast_core::effect::Alert;
use steadfast_core::status::Status;
use steadfast_shell::env::Executor as _;
use steadfast_shell::orders::{Order, Orders};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::report::Report;
use crate::control::{Daemon as _, role_word};
use crate::linux::environment::LocalTasks;

/// TERM and INT end the daemon in order, HUP reads the configuration again.
///
/// # Errors
/// Signals cannot be taken.
pub(super) fn listen(orders: &Orders, report: Arc<Report>) -> io::Result<()> {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt()];
    for kind in kinds {
        let end = signal(kind)?;
        LocalTasks.spawn("end signal", end_on(end, orders.clone()));
    }
    let hangup = signal(SignalKind::hangup())?;
    LocalTasks.spawn("reload signal", reload_on(hangup, orders.clone(), report));
    Ok(())
}

async fn end_on(mut signal: Signal, orders: Orders) {
    while signal.recv().await.is_some() {
        info!("asked to end: handing over");
        if orders.send(Order::Shutdown).await.is_err() {
            return;
        }
    }
}

async fn reload_on(mut signal: Signal, orders: Orders, report: Arc<Report>) {
    while signal.recv().await.is_some() {
        let (orders, report) = (orders.clone(), Arc::clone(&report));
        let body = move || reload(&orders, &report);
        // Reading files may take its time: not on the thread of heartbeats.
        if let Err(why) = thread::Builder::new().name("reload".to_owned()).spawn(body) {
            error!("failed to start a reload: {why}");
        }
    }
}

fn reload(orders: &Orders, report: &Report) {
    let answer = match report.order_reload(orders) {
        Ok(answer) => answer,
        Err(why) => {
            error!("the configuration is not taken, the old one stays in force:");
            // A line of the log is one line.
            let lines = why.lines().filter(|line| !line.trim().is_empty());
            lines.for_each(|line| error!("{line}"));
            return;
        }
    };
    match answer.blocking_recv() {
        Ok(Ok(())) => info!("the changed configuration is in force"),
        Ok(Err(why)) => error!("the configuration is not taken: {why}"),
        Err(_) => warn!("the daemon ended before it took the configuration"),
    }
}

/// Alerts, and each change of the role with its reason, go to the log; the service manager learns
/// that the daemon is ready, what it is, and, in time, that its driver still runs.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn tell(
    statuses: watch::Receiver<Arc<Status>>,
    alerts: mpsc::Receiver<(Instant, Alert)>,
    report: Arc<Report>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let body = move || runtime.block_on(tell_all(statuses, alerts, &report));
    thread::Builder::new()
        .name("service".to_owned())
        .spawn(body)?;
    Ok(())
}

async fn tell_all(
    mut statuses: watch::Receiver<Arc<Status>>,
    mut alerts: mpsc::Receiver<(Instant, Alert)>,
    report: &Report,
) {
    let beat = sd_notify::watchdog_enabled().map(|limit| limit / 3);
    let mut told = None;
    let mut fed = tokio::time::Instant::now();
    loop {
        let status = Arc::clone(&statuses.borrow_and_update());
        let (role, since, why) = (status.role, status.since, &status.why_text);
        if told != Some((role, since)) {
            let first = told.is_none();
            told = Some((role, since));
            let text = format!("{}: {why}", role_word(role));
            info!("{text}");
            let mut states = vec![NotifyState::Status(&text)];
            if first {
                states.push(NotifyState::Ready);
            }
            // Without a service manager there is nobody to tell.
            let _ = sd_notify::notify(&states);
        }
        if beat.is_some_and(|beat| fed.elapsed() >= beat) {
            fed = tokio::time::Instant::now();
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
        let ended = tokio::select! {
            biased;
            Some((at, alert)) = alerts.recv() => {
                warn!("alert: {}", report.alert(at, &alert));
                false
            }
            changed = statuses.changed() => changed.is_err(),
        };
        if ended {
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
            return;
        }
    }
}
