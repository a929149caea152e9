//! One gateway: a box with a kernel, a store, and a daemon that may be running, stopped or dead.

use core::time::Duration;
use std::collections::VecDeque;

use steadfast_core::boot::{Boot, Record};
use steadfast_core::config::Config;
use steadfast_core::effect::{Failure, Forwarding, Input};
use steadfast_core::{Instant, Node, OpId, PortId};

use crate::kernel::Kernel;
use crate::setup::PORTS;

/// What waits for the daemon to read it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbox {
    /// One socket a port.
    frames: [VecDeque<(Instant, Vec<u8>)>; PORTS.len()],
    links: VecDeque<(u8, bool)>,
    completions: VecDeque<(OpId, Result<(), Failure>)>,
    refusals: VecDeque<u8>,
}

/// A gateway and everything that outlives its daemon.
pub(crate) struct Gateway {
    pub(crate) config: Config,
    pub(crate) kernel: Kernel,
    pub(crate) daemon: Option<Node>,
    pub(crate) stopped: bool,
    pub(crate) powered: bool,
    /// What the store holds.
    pub(crate) record: Record,
    pub(crate) carrier: [bool; PORTS.len()],
    /// The `Apply` that the kernel has not carried out yet.
    pub(crate) applying: Option<(OpId, Forwarding)>,
    /// How long the kernel takes, and its answer.
    pub(crate) apply_delay: Duration,
    pub(crate) answer_delay: Duration,
    /// Frames a socket holds while the daemon does not read; the newest are lost beyond it.
    pub(crate) socket_max: usize,
    /// How late the daemon wakes, every time.
    pub(crate) late: Duration,
    /// Which states the kernel refuses.
    pub(crate) refuses: fn(Forwarding) -> bool,
    /// And how. What is refused as [`Failure::Refused`] may be done all the same.
    pub(crate) refusal: Failure,
    /// It is.
    pub(crate) lies: bool,
    inbox: Inbox,
    /// Lives of the daemon, and of the box.
    pub(crate) lives: u8,
    boots: u8,
    booted_at: Instant,
}

impl Gateway {
    pub(crate) fn new(config: Config) -> Self {
        let timing = config.timing;
        Self {
            kernel: Kernel::new(timing.lease, timing.tail),
            config,
            daemon: None,
            stopped: false,
            powered: false,
            record: Record::default(),
            carrier: [false; PORTS.len()],
            applying: None,
            apply_delay: Duration::from_micros(100),
            answer_delay: Duration::from_micros(20),
            socket_max: 1_000,
            late: Duration::ZERO,
            refuses: |_| false,
            refusal: Failure::Refused,
            lies: false,
            inbox: Inbox::default(),
            lives: 0,
            boots: 0,
            booted_at: Instant::ORIGIN,
        }
    }

    /// The box boots: a new kernel, without a lease.
    pub(crate) fn boot(&mut self, now: Instant) {
        self.powered = true;
        self.boots += 1;
        self.booted_at = now;
        self.kernel = Kernel::new(self.config.timing.lease, self.config.timing.tail);
    }

    /// The daemon starts: a new life, from what the store holds.
    pub(crate) fn start(&mut self, now: Instant) {
        self.lives += 1;
        self.inbox = Inbox::default();
        self.stopped = false;
        let own = self.config.node.0;
        let boot = Boot {
            now,
            seed: [own.wrapping_mul(16).wrapping_add(self.lives); 32],
            kernel_boot: [own.wrapping_mul(16).wrapping_add(self.boots); 16],
            uptime: now.since(self.booted_at),
            restored: self.record.clone(),
        };
        self.daemon = Some(Node::new(self.config.clone(), boot));
        for port in PORTS {
            if self.is_up(port) {
                self.inbox.links.push_back((port, true));
            }
        }
    }

    /// The daemon is gone at once; what it had asked of the kernel and not got, too.
    pub(crate) fn kill(&mut self) {
        self.daemon = None;
        self.applying = None;
        self.inbox = Inbox::default();
    }

    /// Everything is gone at once.
    pub(crate) fn power_off(&mut self) {
        self.kill();
        self.powered = false;
        self.kernel = Kernel::new(self.config.timing.lease, self.config.timing.tail);
    }

    pub(crate) fn is_up(&self, port: u8) -> bool {
        self.powered && self.carrier[usize::from(port)]
    }

    /// The running daemon; none while it is stopped.
    pub(crate) fn awake(&mut self) -> Option<&mut Node> {
        self.daemon.as_mut().filter(|_| !self.stopped)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let daemon = self.daemon.as_ref().filter(|_| !self.stopped)?;
        daemon.next_deadline().map(|at| at.after(self.late))
    }

    pub(crate) fn receive(&mut self, now: Instant, port: u8, frame: Vec<u8>) {
        let socket = &mut self.inbox.frames[usize::from(port)];
        if self.daemon.is_some() && socket.len() < self.socket_max {
            socket.push_back((now, frame));
        }
    }

    pub(crate) fn link(&mut self, port: u8, up: bool) {
        self.carrier[usize::from(port)] = up;
        if self.daemon.is_some() {
            self.inbox.links.push_back((port, up));
        }
    }

    pub(crate) fn complete(&mut self, op: OpId, outcome: Result<(), Failure>) {
        self.inbox.completions.push_back((op, outcome));
    }

    pub(crate) fn refuse(&mut self, port: u8) {
        self.inbox.refusals.push_back(port);
    }

    /// Hands the daemon the next thing it should read, in the order of D6: refused sends (they are
    /// the result of a call), links, sockets one after the other, completions. False if nothing is
    /// left.
    pub(crate) fn read_one(&mut self, now: Instant) -> bool {
        let Some(daemon) = self.daemon.as_mut().filter(|_| !self.stopped) else {
            return false;
        };
        let inbox = &mut self.inbox;
        if let Some(port) = inbox.refusals.pop_front() {
            let port = PortId(port);
            daemon.handle(now, Input::TransmitRefused { port });
        } else if let Some((port, up)) = inbox.links.pop_front() {
            let port = PortId(port);
            daemon.handle(now, Input::LinkChanged { port, up });
        } else if let Some((port, (at, frame))) = PORTS
            .into_iter()
            .find_map(|port| Some((port, inbox.frames[usize::from(port)].pop_front()?)))
        {
            let (port, frame) = (PortId(port), frame.as_slice());
            daemon.handle(now, Input::FrameReceived { port, frame, at });
        } else if let Some((op, outcome)) = inbox.completions.pop_front() {
            daemon.handle(now, Input::Completed { op, outcome });
        } else {
            return false;
        }
        true
    }
}
