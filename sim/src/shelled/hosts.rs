//! The programs of hosts: a gateway's network card and daemon, a segment's switch.

use std::io;
use std::rc::Rc;

use steadfast_core::boot::Boot;
use steadfast_core::status::Status;
use steadfast_core::{Node, Rules};
use steadfast_shell::driver::{self, Outlets};
use steadfast_shell::env::{Executor, Parts};
use steadfast_shell::habits::Habits;
use tokio::sync::{mpsc, watch};

use super::Stage;
use super::cables::{Cables, Packet};
use super::env::{Disk, Seated};
use super::ground::{Ground, Host, Socket};
use super::seat::{Door, Pending};

/// Alerts on their way to nobody: the journal has told of them already.
const ALERTS_MAX: usize = 64;

/// What every host of a world knows.
#[derive(Clone)]
pub(crate) struct House<G> {
    pub(crate) ground: G,
    pub(crate) stage: Stage,
    pub(crate) cables: Rc<Cables>,
    pub(crate) doors: Rc<Vec<Door>>,
    pub(crate) rules: Rules,
    pub(crate) habits: Habits,
}

impl<G: Ground> House<G> {
    /// A gateway: its card runs while it has power, daemons come and go.
    ///
    /// # Errors
    /// No socket.
    pub(crate) async fn gateway(self, station: usize) -> io::Result<()> {
        let socket = self.ground.bind().await?;
        let card = self.clone().card(station, socket);
        self.ground.spawn(Box::pin(async move {
            // A card that cannot receive any more is a host that is gone.
            let _ = card.await;
        }));
        loop {
            let pending = self.doors[station].next().await;
            // One daemon for each start: an earlier one that was killed must not hold this up.
            let daemon = self.clone().daemon(pending);
            self.ground.spawn(Box::pin(daemon));
        }
    }

    /// Frames between the wire and the gateway's kernel, both ways.
    async fn card(self, station: usize, socket: G::Socket) -> io::Result<()> {
        loop {
            tokio::select! {
                biased;
                bytes = socket.receive() => {
                    if let Some(packet) = Packet::parse(&bytes?) {
                        let mut stage = self.stage.borrow_mut();
                        stage.now = stage.now.max(self.ground.now());
                        stage.gateway_receives(station, packet.port, &packet.frame);
                        stage.observe();
                    }
                }
                () = self.cables.up[station].ready() => {}
            }
            while let Some(packet) = self.cables.up[station].take() {
                let to = Host::Segment(packet.segment);
                socket.send(to, &packet.to_bytes()).await;
            }
        }
    }

    /// A segment: what comes in goes through its switch, now and when its links say.
    ///
    /// # Errors
    /// No socket, or one that cannot receive any more.
    pub(crate) async fn segment(self, segment: usize) -> io::Result<()> {
        let socket = self.ground.bind().await?;
        loop {
            tokio::select! {
                biased;
                bytes = socket.receive() => {
                    if let Some(packet) = Packet::parse(&bytes?) {
                        let now = self.ground.now();
                        let mut stage = self.stage.borrow_mut();
                        stage.now = stage.now.max(now);
                        stage.segment_receives(segment, packet.station, &packet.frame);
                        stage.advance(now);
                    }
                }
                () = self.cables.down[segment].ready() => {}
            }
            while let Some(packet) = self.cables.down[segment].take() {
                let to = Host::Gateway(packet.station);
                socket.send(to, &packet.to_bytes()).await;
            }
        }
    }

    /// One life of a daemon, from its start to its end.
    async fn daemon(self, pending: Pending) {
        let Pending {
            start,
            desk,
            orders,
        } = pending;
        let (station, gate) = (start.station, desk.gate.clone());
        let seated = Seated {
            ground: self.ground.clone(),
            stage: Rc::clone(&self.stage),
            station,
            life: start.life,
            desk: desk.clone(),
            habits: self.habits,
        };
        let rules = self.rules;
        let life = gate.guard(async move {
            let (disk, restored) = Disk::open(seated.clone(), &start.delivered).await;
            let boot = Boot {
                now: seated.ground.now(),
                seed: start.seed,
                kernel_boot: start.kernel_boot,
                uptime: start.uptime,
                restored,
            };
            let node = Node::with_rules(start.config, boot, rules);
            let (status, said) = watch::channel(node.status(seated.ground.now()));
            Executor::spawn(&seated, "status", listen(seated.clone(), said));
            let (alerts, _unread) = mpsc::channel(ALERTS_MAX);
            let parts = parts(seated, disk);
            driver::run(node, parts, orders, Outlets { status, alerts }).await
        });
        if life.await.is_some() {
            let mut stage = self.stage.borrow_mut();
            stage.now = stage.now.max(self.ground.now());
            stage.daemon_ended(station);
        }
        // Whatever it had begun ends with it.
        gate.kill();
    }
}

/// Keeps what a daemon last said of itself.
async fn listen<G: Ground>(seated: Seated<G>, mut said: watch::Receiver<Status>) {
    while said.changed().await.is_ok() {
        let status = said.borrow_and_update().clone();
        *seated.desk.status.borrow_mut() = Some((seated.ground.now(), status));
    }
}

fn parts<G: Ground>(seated: Seated<G>, disk: Disk<G>) -> Parts<Seated<G>> {
    Parts {
        clock: seated.clone(),
        executor: seated.clone(),
        frames: seated.clone(),
        links: seated.clone(),
        dataplane: seated.clone(),
        store: disk,
        journal: seated,
    }
}
