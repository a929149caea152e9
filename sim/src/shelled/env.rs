//! The stage as the production shell sees it: each trait of its environment, on the models.
//!
//! Time for what a kernel or a disk takes passes here, before the model is changed, as it does on
//! a gateway; so a process that is stopped or killed meanwhile has not done it. Everything that
//! changes a kernel lets the observer look at once, so that no overlap falls between two looks.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use steadfast_core::boot::Record;
use steadfast_core::config::Config;
use steadfast_core::effect::{Effect, Failure, Forwarding};
use steadfast_core::status::Status;
use steadfast_core::{Instant, PortId};
use steadfast_shell::env::{
    Clock, Dataplane, Entry, Env, Executor, Frames, Journal, LinkEvent, Links, Sent, Store,
};
use steadfast_shell::habits::Habits;
use steadfast_shell::record::{Slots, Step};
use tokio::sync::Mutex;

use super::Stage;
use super::ground::{Ground, Point, Reached};
use super::seat::Desk;
use super::streams::Lines;
use crate::model::kernel::Transmitted;
use crate::stage::World;

/// A gateway's place on the stage, in one life of its daemon.
pub(crate) struct Seated<G: Ground> {
    pub(crate) ground: G,
    pub(crate) stage: Stage,
    pub(crate) station: usize,
    pub(crate) life: u64,
    pub(crate) desk: Desk,
    pub(crate) habits: Habits,
    pub(crate) lines: Lines,
    /// Where its streams come in, once somebody waits for them.
    pub(crate) listener: Rc<Mutex<Option<G::Listener>>>,
}

impl<G: Ground> Clone for Seated<G> {
    fn clone(&self) -> Self {
        Self {
            ground: self.ground.clone(),
            stage: Rc::clone(&self.stage),
            station: self.station,
            life: self.life,
            desk: self.desk.clone(),
            habits: self.habits,
            lines: self.lines.clone(),
            listener: Rc::clone(&self.listener),
        }
    }
}

impl<G: Ground> Seated<G> {
    /// Does something on the stage, now.
    pub(crate) fn on_stage<T>(&self, act: impl FnOnce(&mut World<'static>) -> T) -> T {
        let mut stage = self.stage.borrow_mut();
        stage.now = stage.now.max(self.ground.now());
        let done = act(&mut stage);
        self.ground.due(stage.next_at());
        done
    }

    /// The hooks' thread hears every word of the node.
    pub(crate) fn hooks_hear(&self, status: &Status) {
        self.on_stage(|stage| stage.hooks_hear(self.station, status));
    }

    async fn sleep(&self, wait: Duration) {
        self.ground.sleep_until(self.ground.now().after(wait)).await;
    }

    async fn reached(&self, point: Point) {
        let gateway = self.station;
        self.ground.reached(Reached { gateway, point }).await;
    }
}

impl<G: Ground> Env for Seated<G> {
    type Clock = Self;
    type Executor = Self;
    type Frames = Self;
    type Links = Self;
    type Dataplane = Self;
    type Store = Disk<G>;
    type Journal = Self;
}

impl<G: Ground> Clock for Seated<G> {
    fn now(&self) -> Instant {
        self.ground.now()
    }

    async fn sleep_until(&self, deadline: Instant) {
        self.ground.sleep_until(deadline).await;
    }
}

impl<G: Ground> Executor for Seated<G> {
    fn spawn(&self, _name: &'static str, task: impl Future<Output = ()> + 'static) {
        let guarded = self.desk.gate.guard(task);
        self.ground.spawn(Box::pin(async move {
            // Nothing is what a task of a killed process comes to.
            let _ = guarded.await;
        }));
    }
}

impl<G: Ground> Frames for Seated<G> {
    async fn ready(&mut self) -> io::Result<()> {
        while !self.on_stage(|stage| stage.has_frames(self.station, self.life)) {
            self.desk.heard.notified().await;
        }
        Ok(())
    }

    fn take(&mut self, frame: &mut Vec<u8>) -> Option<(PortId, Instant)> {
        frame.clear();
        let (port, at, taken) = self.on_stage(|stage| stage.take_frame(self.station, self.life))?;
        frame.extend_from_slice(&taken);
        Some((port, at))
    }

    async fn send(&mut self, port: PortId, frame: &[u8]) -> Sent {
        let sent = self.on_stage(|stage| {
            let sent = stage.transmit(self.station, port, frame);
            stage.observe();
            sent
        });
        match sent {
            Transmitted::Dropped => Sent::Dropped,
            Transmitted::NoCarrier => Sent::NoCarrier,
            Transmitted::Refused => Sent::Refused,
            Transmitted::Sent => Sent::Sent,
        }
    }
}

impl<G: Ground> Links for Seated<G> {
    async fn changed(&mut self) -> io::Result<LinkEvent> {
        loop {
            if let Some((port, up)) = self.desk.links.borrow_mut().pop_front() {
                return Ok(LinkEvent { port, up });
            }
            self.desk.seen.notified().await;
        }
    }
}

impl<G: Ground> Dataplane for Seated<G> {
    async fn apply(&mut self, desired: Forwarding) -> Result<(), Failure> {
        let serves = matches!(desired, Forwarding::Active { .. });
        let wait = self.on_stage(|stage| stage.apply_latency(self.station));
        self.sleep(wait).await;
        if serves {
            self.reached(Point::Consented).await;
        }
        let outcome = self.on_stage(|stage| {
            let outcome = stage.apply(self.station, desired);
            stage.observe();
            outcome
        });
        if serves && outcome.is_ok() {
            self.reached(Point::Claimed).await;
        }
        outcome
    }

    async fn reconfigure(&mut self, config: &Config) -> Result<(), Failure> {
        let wait = self.on_stage(|stage| stage.apply_latency(self.station));
        self.sleep(wait).await;
        self.on_stage(|stage| stage.reconfigure(self.station, config))
    }

    async fn check_fence(&mut self) -> bool {
        self.on_stage(|stage| {
            let whole = stage.check_fence(self.station);
            stage.observe();
            whole
        })
    }
}

impl<G: Ground> Journal for Seated<G> {
    fn note(&mut self, at: Instant, entry: Entry<'_>) {
        match entry {
            Entry::Effect(Effect::Alert(alert)) => {
                self.on_stage(|stage| stage.tell_alert(self.station, *alert));
            }
            Entry::Effect(Effect::Apply { desired, .. }) => {
                self.on_stage(|stage| stage.tell_asked(self.station, *desired));
            }
            Entry::Status(status) => {
                *self.desk.status.borrow_mut() = Some((at, status.clone()));
                self.on_stage(|stage| stage.tell_status(self.station));
            }
            Entry::Effect(_) | Entry::Input(_) | Entry::Replaced(_) => {}
        }
    }
}

/// A gateway's disk, and the record on it.
pub(crate) struct Disk<G: Ground> {
    seated: Seated<G>,
    slots: Slots,
}

impl<G: Ground> Disk<G> {
    /// Reads what the disk holds. A disk that never held anything gets what the box was delivered
    /// with.
    pub(crate) async fn open(seated: Seated<G>, delivered: &Record) -> (Self, Record) {
        let (slots, opened) = Slots::open(seated.ground.read_record(seated.station));
        let mut disk = Self { seated, slots };
        let first = disk
            .seated
            .on_stage(|stage| stage.unpacks(disk.seated.station));
        if !first || *delivered == Record::default() {
            return (disk, opened.record);
        }
        // A box is delivered with its record synced, whatever its shell does later.
        let steps = disk.slots.steps(delivered, Habits::complete());
        let done = steps.and_then(|steps| {
            let ground = &disk.seated.ground;
            let mut steps = steps.iter();
            steps.try_for_each(|step| ground.perform(disk.seated.station, step))
        });
        if done.is_ok() {
            disk.slots.committed();
        }
        (disk, delivered.clone())
    }
}

impl<G: Ground> Store for Disk<G> {
    async fn commit(&mut self, record: &Record) -> io::Result<()> {
        let seated = &self.seated;
        for step in self.slots.steps(record, seated.habits)? {
            if seated.on_stage(|stage| stage.disk_fails(seated.station)) {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            seated.ground.perform(seated.station, &step)?;
            if matches!(step, Step::Write { .. }) {
                seated.reached(Point::RecordWritten).await;
                let wait = seated.on_stage(|stage| stage.persist_latency(seated.station));
                seated.sleep(wait).await;
            }
        }
        self.slots.committed();
        seated.on_stage(|stage| stage.persisted(seated.station, record));
        Ok(())
    }
}
