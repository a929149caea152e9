//! The programs of hosts: a gateway's network card and daemon, a segment's switch.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use steadfast_core::boot::Boot;
use steadfast_core::status::Status;
use steadfast_core::{Node, Rules};
use steadfast_shell::driver::{self, Outlets};
use steadfast_shell::env::{Executor, Parts};
use steadfast_shell::habits::Habits;
use tokio::sync::{mpsc, watch};

use super::Stage;
use super::cables::{Cables, Lane, Packet};
use super::env::{Disk, Seated};
use super::ground::{Ground, Host, Socket, Task};
use super::routers;
use super::seat::{Door, Ordered, Pending};
use super::streams::Lines;

/// Alerts on their way to nobody: the journal has told of them already.
const ALERTS_MAX: usize = 64;

/// What every host of a world knows.
#[derive(Clone)]
pub(crate) struct House<G: Ground> {
    pub(crate) ground: G,
    pub(crate) stage: Stage,
    pub(crate) cables: Rc<Cables>,
    pub(crate) doors: Rc<Vec<Door>>,
    pub(crate) rules: Rules,
    pub(crate) habits: Habits,
    pub(crate) lines: Lines,
    pub(crate) guests: Guests<G>,
}

/// A program that runs beside every daemon, in its process; for tests.
pub(crate) type Guest<G> = Rc<dyn Fn(Seated<G>) -> Task>;

/// At most one guest for each gateway.
pub(crate) struct Guests<G: Ground>(Rc<BTreeMap<usize, Guest<G>>>);

impl<G: Ground> Clone for Guests<G> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<G: Ground> Default for Guests<G> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

#[cfg(test)]
impl<G: Ground> Guests<G> {
    /// These, by gateway.
    pub(crate) fn of(guests: impl IntoIterator<Item = (usize, Guest<G>)>) -> Self {
        Self(Rc::new(guests.into_iter().collect()))
    }
}

impl<G: Ground> House<G> {
    /// A gateway: its card runs while it has power, daemons come and go.
    ///
    /// # Errors
    /// No socket.
    pub(crate) async fn gateway(self, station: usize) -> io::Result<()> {
        let socket = Rc::new(self.ground.bind().await?);
        let heard = self.clone().hears(station, Rc::clone(&socket));
        self.ground.spawn(Box::pin(heard));
        let cables = Rc::clone(&self.cables);
        self.ground.spawn(Box::pin(async move {
            talk(&cables.up[station], &*socket, |packet| {
                Host::Segment(packet.segment)
            })
            .await;
        }));
        loop {
            let pending = self.doors[station].next().await;
            // One daemon for each start: an earlier one that was killed must not hold this up.
            let daemon = self.clone().daemon(pending);
            self.ground.spawn(Box::pin(daemon));
        }
    }

    /// What comes in over a gateway's cables goes to its kernel. A card that cannot receive any
    /// more is a host that is gone.
    async fn hears(self, station: usize, socket: Rc<G::Socket>) {
        while let Ok(bytes) = socket.receive().await {
            let mut stage = self.stage.borrow_mut();
            stage.now = stage.now.max(self.ground.now());
            for packet in Packet::all_in(&bytes) {
                stage.gateway_receives(station, packet.port, &packet.frame);
                stage.observe();
            }
            self.ground.due(stage.next_at());
        }
    }

    /// A segment: what comes in goes through its switch, now and when its links say.
    ///
    /// # Errors
    /// No socket, or one that cannot receive any more.
    pub(crate) async fn segment(self, segment: usize) -> io::Result<()> {
        let socket = Rc::new(self.ground.bind().await?);
        let (cables, out) = (Rc::clone(&self.cables), Rc::clone(&socket));
        self.ground.spawn(Box::pin(async move {
            talk(&cables.down[segment], &*out, |packet| {
                Host::Gateway(packet.station)
            })
            .await;
        }));
        loop {
            let bytes = socket.receive().await?;
            let now = self.ground.now();
            let mut stage = self.stage.borrow_mut();
            stage.now = stage.now.max(now);
            for packet in Packet::all_in(&bytes) {
                stage.segment_receives(segment, packet.station, &packet.frame);
            }
            stage.advance(now);
            self.ground.due(stage.next_at());
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
            lines: self.lines.clone(),
            listener: Rc::default(),
        };
        let guest = self.guests.0.get(&station).cloned();
        let rules = self.rules;
        let life = gate.guard(async move {
            let orders = match orders {
                Ordered::Node(orders) => orders,
                Ordered::Routers(orders) => {
                    return routers::run(seated, start.routers, orders).await;
                }
            };
            let (disk, restored) = Disk::open(seated.clone(), &start.delivered).await;
            let boot = Boot {
                now: seated.ground.now(),
                seed: start.seed,
                kernel_boot: start.kernel_boot,
                uptime: start.uptime,
                restored,
            };
            let node = Node::with_rules(start.config, boot, rules);
            let (status, said) = watch::channel(Arc::new(node.status(seated.ground.now())));
            Executor::spawn(&seated, "status", listen(seated.clone(), said));
            if let Some(guest) = guest {
                Executor::spawn(&seated, "guest", guest(seated.clone()));
            }
            let (alerts, _unread) = mpsc::channel(ALERTS_MAX);
            let parts = parts(seated, disk);
            driver::run(node, parts, orders, Outlets { status, alerts }).await
        });
        if life.await.is_some() {
            let mut stage = self.stage.borrow_mut();
            stage.now = stage.now.max(self.ground.now());
            stage.daemon_ended(station);
            self.ground.due(stage.next_at());
        }
        // Whatever it had begun ends with it.
        gate.kill();
    }
}

/// Sends what leaves a host, in order, for ever.
async fn talk<S: Socket>(lane: &Lane, socket: &S, to: impl Fn(&Packet) -> Host) {
    loop {
        lane.ready().await;
        while let Some((host, bytes)) = lane.take(&to) {
            socket.send(host, &bytes).await;
        }
    }
}

/// Keeps what a daemon last said of itself.
async fn listen<G: Ground>(seated: Seated<G>, mut said: watch::Receiver<Arc<Status>>) {
    while said.changed().await.is_ok() {
        let status = Status::clone(&said.borrow_and_update());
        seated.hooks_hear(&status);
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
        habits: seated.habits,
        journal: seated,
    }
}
