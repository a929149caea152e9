//! The driver: one loop that gives a node its inputs, in the order that its judgement needs.
//!
//! Each turn begins with whatever woke it and then goes the same way: orders and links, a bounded
//! drain of every heartbeat socket, answers of kernel and store, and only then the deadline (D6).
//! A deadline is judged after a drain that began after it had passed; so a driver that woke late
//! first hears everything that was said meanwhile. After every input the node's effects are
//! carried out, in order; none of them waits: frames leave or are dropped, and what takes time is
//! put into a mailbox.
//!
//! The hard case is a frame that the lease guard refuses. It is the kernel's word that the role is
//! lost (D9), so the node hears it as soon as the frames of the same message have been tried,
//! before anything else.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use steadfast_core::boot::Record;
use steadfast_core::config::Config;
use steadfast_core::effect::{Alert, Effect, Forwarding, Input, Rejection};
use steadfast_core::status::{Cause, Status};
use steadfast_core::{Instant, Node, PortId, RequestId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::env::{Clock, Entry, Env, Executor, Frames, Journal, LinkEvent, Links, Parts, Sent};
use crate::mailbox::{Answers, Mailbox};
use crate::orders::{Order, ReloadRefused};
use crate::reloads::{Reloads, Reply, SWAPS_MAX, Taken, refuse};
use crate::workers::{Findings, keep_dataplane, keep_store};

/// Frames read in one turn. What is left is read in the next; a flood cannot keep a node from
/// judging, advertising or obeying.
pub const DRAIN_MAX: usize = 1_024;
/// Rounds of effects and their immediate consequences after one input. What is left is carried out
/// after the next.
const PUMP_MAX: usize = 8;
/// Commands that wait for their answer. Beyond this the oldest is told that the node is busy.
const REPLIES_MAX: usize = 32;
/// A status is told at least so often.
pub const STATUS_EVERY: Duration = Duration::from_millis(100);
/// How long an end waits for the last record to be stored.
const STORE_PATIENCE: Duration = Duration::from_secs(2);
/// Longest frame that is ever taken.
const FRAME_MAX: usize = 2_048;

/// What a driver tells the rest of the daemon.
pub struct Outlets {
    /// The newest status. Shared, so that nobody who reads one holds the lock for longer than it
    /// takes to count a reader: the driver would wait.
    pub status: watch::Sender<Arc<Status>>,
    /// Alerts as they are raised; what does not fit is dropped, and counted by the node's status.
    pub alerts: mpsc::Sender<(Instant, Alert)>,
}

/// Runs a node until it is ordered to end, or its world does.
///
/// # Errors
/// What the world says when frames or links cannot be had any more.
pub async fn run<E: Env>(
    node: Node,
    parts: Parts<E>,
    orders: mpsc::Receiver<Order>,
    outlets: Outlets,
) -> io::Result<()> {
    let answers = Answers::default();
    let kernel = Mailbox::new(answers.clone());
    let store = Mailbox::new(answers.clone());
    let findings = Findings::default();
    let (swaps, swapped) = mpsc::channel(SWAPS_MAX);
    let tending = keep_dataplane(
        parts.clock.clone(),
        parts.dataplane,
        kernel.clone(),
        swapped,
        findings.clone(),
    );
    parts.executor.spawn("dataplane", tending);
    parts
        .executor
        .spawn("store", keep_store(parts.store, store.clone()));
    let told = (node.reason(), Instant::ORIGIN);
    let (reloads, taken) = Reloads::new(swaps, parts.habits);
    let driver = Driver::<E> {
        node,
        clock: parts.clock,
        frames: parts.frames,
        links: parts.links,
        journal: parts.journal,
        executor: parts.executor,
        outlets,
        kernel,
        store,
        answers,
        findings,
        reloads,
        replies: BTreeMap::new(),
        requests: 0,
        told,
        stopped: false,
        frame: Vec::with_capacity(FRAME_MAX),
    };
    driver.drive(orders, taken).await
}

struct Driver<E: Env> {
    node: Node,
    clock: E::Clock,
    frames: E::Frames,
    links: E::Links,
    journal: E::Journal,
    executor: E::Executor,
    outlets: Outlets,
    kernel: Mailbox<Forwarding>,
    store: Mailbox<Record>,
    answers: Answers,
    findings: Findings,
    reloads: Reloads,
    replies: BTreeMap<RequestId, oneshot::Sender<Result<(), Rejection>>>,
    requests: u64,
    /// What the status last said, and when.
    told: ((Instant, Cause), Instant),
    stopped: bool,
    frame: Vec<u8>,
}

impl<E: Env> Driver<E> {
    async fn drive(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        mut taken: mpsc::Receiver<Taken>,
    ) -> io::Result<()> {
        self.pump().await;
        while !self.stopped {
            self.tell(false);
            let deadline = self.node.next_deadline().unwrap_or(Instant::FAR_FUTURE);
            tokio::select! {
                biased;
                Some(order) = orders.recv() => self.order(order).await,
                event = self.links.changed() => self.link(event?).await,
                Some(taken) = taken.recv() => self.reloaded(taken).await,
                ready = self.frames.ready() => ready?,
                () = self.answers.ready() => {}
                () = self.findings.ready() => {}
                () = self.clock.sleep_until(deadline) => {}
            }
            self.turn().await;
        }
        self.end().await;
        Ok(())
    }

    /// Sockets, answers, deadline: in this order, every time (D6).
    async fn turn(&mut self) {
        let began = self.clock.now();
        for _ in 0..DRAIN_MAX {
            let mut frame = core::mem::take(&mut self.frame);
            let Some((port, at)) = self.frames.take(&mut frame) else {
                self.frame = frame;
                break;
            };
            let input = Input::FrameReceived {
                port,
                frame: &frame,
                at,
            };
            self.give(input).await;
            self.frame = frame;
        }
        while let Some((op, outcome)) = self.answers.take() {
            self.give(Input::Completed { op, outcome }).await;
        }
        if let Some(whole) = self.findings.take() {
            self.give(Input::FenceChecked { whole }).await;
        }
        if self
            .node
            .next_deadline()
            .is_some_and(|deadline| deadline <= began)
        {
            self.give(Input::DeadlineReached).await;
        }
    }

    async fn order(&mut self, order: Order) {
        match order {
            Order::CertificateRead { certificate } => {
                self.give(Input::CertificateRead { certificate }).await;
            }
            Order::Checked { name, passed } => {
                if let Some(check) = self.node.check_id(&name) {
                    self.give(Input::Checked { check, passed }).await;
                }
            }
            Order::Command { command, reply } => {
                let request = RequestId(self.requests);
                self.requests += 1;
                if self.replies.len() >= REPLIES_MAX
                    && let Some((_, oldest)) = self.replies.pop_first()
                {
                    // A receiver that is gone has nobody to tell.
                    let _ = oldest.send(Err(Rejection::Busy));
                }
                self.replies.insert(request, reply);
                self.give(Input::CommandReceived { request, command }).await;
            }
            Order::Reload { config, reply } => self.reload(config, reply),
            Order::Shutdown => self.give(Input::Shutdown).await,
        }
    }

    /// What the node would refuse changes nothing; the rest goes to the dataplane first.
    fn reload(&mut self, config: Box<Config>, reply: Reply) {
        match self.node.accepts(&config) {
            Ok(()) => self.reloads.want(&self.executor, config, reply),
            Err(why) => refuse(reply, &why.to_string()),
        }
    }

    /// The dataplane has taken a configuration, or not.
    async fn reloaded(&mut self, taken: Taken) {
        let Taken {
            config,
            reply,
            outcome,
        } = taken;
        match outcome {
            Ok(()) => self.replace(*config, reply).await,
            Err(_) => refuse(reply, "the kernel refused the changed addresses"),
        }
        if let Some((config, reply)) = self.reloads.next() {
            self.reload(config, reply);
        }
    }

    async fn replace(&mut self, config: Config, reply: Reply) {
        let now = self.clock.now();
        self.journal.note(now, Entry::Replaced(&config));
        let outcome = self.node.replace_config(now, config);
        // Whoever asked may have given up; the configuration is in force all the same.
        let _ = reply.send(outcome.map_err(|why| ReloadRefused(why.to_string())));
        self.pump().await;
    }

    async fn link(&mut self, event: LinkEvent) {
        let LinkEvent { port, up } = event;
        self.give(Input::LinkChanged { port, up }).await;
    }

    async fn give(&mut self, input: Input<'_>) {
        let now = self.clock.now();
        self.journal.note(now, Entry::Input(&input));
        self.node.handle(now, input);
        self.pump().await;
    }

    /// Carries out the node's effects, and tells it at once of frames that were refused.
    async fn pump(&mut self) {
        for _ in 0..PUMP_MAX {
            let mut refused = Vec::new();
            while let Some(effect) = self.node.poll_effect() {
                let now = self.clock.now();
                self.journal.note(now, Entry::Effect(&effect));
                self.carry_out(now, effect, &mut refused).await;
            }
            if refused.is_empty() {
                break;
            }
            for port in refused {
                let now = self.clock.now();
                let input = Input::TransmitRefused { port };
                self.journal.note(now, Entry::Input(&input));
                self.node.handle(now, input);
            }
        }
        self.tell(true);
    }

    async fn carry_out(&mut self, now: Instant, effect: Effect, refused: &mut Vec<PortId>) {
        match effect {
            Effect::Alert(alert) => {
                // A full outlet means nobody reads alerts; the status shows them all the same.
                let _ = self.outlets.alerts.try_send((now, alert));
            }
            Effect::Apply { op, desired, .. } => self.kernel.wish(op, desired),
            Effect::Persist { op, record } => self.store.wish(op, record),
            Effect::Reply { request, result } => {
                if let Some(reply) = self.replies.remove(&request) {
                    let _ = reply.send(result);
                }
            }
            Effect::Stopped => self.stopped = true,
            Effect::Transmit { port, frame } => match self.frames.send(port, &frame).await {
                Sent::Refused => refused.push(port),
                Sent::Dropped | Sent::NoCarrier | Sent::Sent => {}
            },
        }
    }

    /// Publishes the status: at every change of the role or its reason, and every so often.
    fn tell(&mut self, changes_only: bool) {
        let now = self.clock.now();
        let (reason, at) = self.told;
        let changed = reason != self.node.reason() || at == Instant::ORIGIN;
        if !changed && (changes_only || now.since(at) < STATUS_EVERY) {
            return;
        }
        let status = self.node.status(now);
        if changed {
            self.journal.note(now, Entry::Status(&status));
        }
        self.told = (self.node.reason(), now);
        self.outlets.status.send_replace(Arc::new(status));
    }

    /// The node has given everything back; its last record may still be on the way to the disk.
    async fn end(&mut self) {
        self.tell(false);
        let patience = self.clock.now().after(STORE_PATIENCE);
        while self.store.is_busy() {
            tokio::select! {
                biased;
                () = self.answers.ready() => while self.answers.take().is_some() {},
                () = self.clock.sleep_until(patience) => return,
            }
        }
    }
}
