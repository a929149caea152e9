//! A gateway box: its kernel, its daemon, its disk and its power.
//!
//! A daemon is either the production core in [`Turns`], behind the order that the production shell
//! keeps (D6): stop, links, a bounded drain of every heartbeat socket, completions, and only then
//! the deadline. Or it has a [`Seat`]: the production shell itself, whose tasks run elsewhere. A
//! stopped daemon's sockets fill up and its effects wait, while the kernel model runs on. What the
//! kernel is asked to do happens a moment later, on a thread of its own, newest wish first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use steadfast_core::boot::Record;
use steadfast_core::config::Config;
use steadfast_core::diagnosis::Misled;
use steadfast_core::effect::{Command, Failure, Forwarding};
use steadfast_core::{CertificateMark, Instant, Node, OpId, PortId, RequestId};

use super::checks::Fate;
use super::hooks::{Follower, Programs, Work};
use super::players::Seat;
use super::vrrp::Routers;
use crate::model::Frame;
use crate::model::kernel::Kernel;

/// Frames a socket holds for a daemon that does not read; further ones are dropped and counted.
/// The default of Linux's receive buffer holds about as many of ours.
pub(crate) const SOCKET_FRAMES_MAX: usize = 256;

/// Frames read from one socket in one turn (D6); what is left is read in the next.
pub(crate) const DRAIN_MAX: usize = SOCKET_FRAMES_MAX;

/// Power of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    /// Dark.
    Off,
    /// Booting: ports dark, no kernel.
    Booting,
    /// Running.
    On,
}

/// How a box's disk behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Disk {
    /// Writes fail.
    Failing,
    /// Works.
    #[default]
    Ok,
    /// Writes take seconds.
    Slow,
    /// A write that power loss cuts off leaves nothing of it readable: the record before it counts,
    /// as the shell keeps two. As any write here is whole or not there, that is what `Ok` does too.
    Torn,
}

/// How the kernel carries out what it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ApplyMode {
    /// It refuses whatever it is asked.
    Failing,
    /// It serves and says that it refuses; it refuses all else.
    Lying,
    /// At once.
    #[default]
    Ok,
    /// It refuses to serve, and holds nothing then.
    Refusing,
    /// After so long.
    Slow(core::time::Duration),
}

/// Something for the daemon that is not a frame.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// The certificate was looked at.
    Certificate(Option<CertificateMark>),
    /// A check, by its name, passed or not.
    Checked(String, bool),
    /// An operator's command.
    Command(RequestId, Command),
    /// The fence was looked at.
    Fence(bool),
    /// A port's carrier was seen.
    Link(PortId, bool),
    /// The file was changed and is to be read again.
    Reload(Box<Config>),
    /// The daemon shall end.
    Shutdown,
}

/// An effect that waits for its thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting<T> {
    /// Its number.
    pub op: OpId,
    /// What is wanted.
    pub wish: T,
}

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    /// Which start of a daemon this is; events for an earlier one are void.
    pub life: u64,
    /// When it was started.
    pub started: Instant,
    /// Stopped, and does not know it.
    pub stopped: bool,
    /// One socket per port.
    pub sockets: Vec<VecDeque<(Instant, Frame)>>,
    /// Frames the sockets had no room for.
    pub overrun: u64,
    /// What the fence counted when it was looked at.
    pub misled: BTreeMap<PortId, Misled>,
    /// Who decides.
    pub body: Body,
}

/// Who decides in a daemon, and how it is reached.
#[derive(Debug)]
pub(crate) enum Body {
    /// Virtual routers of the production core, given their turns by the stage (D19).
    Routers(Box<Routers>),
    /// The production shell, whose tasks run in another world's executor.
    Seat(Box<dyn Seat>),
    /// The production core, given its turns by the stage.
    Turns(Box<Turns>),
}

/// The production core, and what waits for its next turn.
#[derive(Debug)]
pub(crate) struct Turns {
    /// The daemon's life, see [`Daemon::life`].
    pub life: u64,
    /// The decisions.
    pub node: Node,
    /// Other inputs, in order.
    pub orders: VecDeque<Order>,
    /// Answers of the kernel and the store.
    pub completions: VecDeque<(OpId, Result<(), Failure>)>,
    /// The newest wish for the kernel.
    pub apply: Option<Waiting<Forwarding>>,
    /// The newest record to store.
    pub persist: Option<Waiting<Record>>,
    /// The newest configuration, on its way to the kernel.
    pub reload: Option<Box<Config>>,
    /// When the daemon will next look.
    pub wake_at: Option<Instant>,
}

impl Daemon {
    /// A daemon that has just started.
    pub(crate) fn new(body: Body, life: u64, started: Instant, ports: usize) -> Self {
        Self {
            life,
            started,
            stopped: false,
            sockets: vec![VecDeque::new(); ports],
            overrun: 0,
            misled: BTreeMap::new(),
            body,
        }
    }

    /// What waits for the core's next turn, if this is a core.
    pub(crate) fn turns(&mut self) -> Option<&mut Turns> {
        match &mut self.body {
            Body::Routers(_) | Body::Seat(_) => None,
            Body::Turns(turns) => Some(turns),
        }
    }

    /// The shell's seat, if this is a shell.
    pub(crate) fn seat(&mut self) -> Option<&mut (dyn Seat + 'static)> {
        match &mut self.body {
            Body::Seat(seat) => Some(seat.as_mut()),
            Body::Routers(_) | Body::Turns(_) => None,
        }
    }

    /// When it will next look, and which life of a daemon it is, unless a shell sees to that.
    pub(crate) fn wakes(&mut self) -> Option<(&mut Option<Instant>, u64)> {
        match &mut self.body {
            Body::Routers(routers) => Some(routers.wakes()),
            Body::Seat(_) => None,
            Body::Turns(turns) => Some((&mut turns.wake_at, turns.life)),
        }
    }

    /// Something for it that is not a frame.
    pub(crate) fn order(&mut self, order: Order) {
        match &mut self.body {
            Body::Routers(routers) => routers.order(order),
            Body::Seat(seat) => seat.order(order),
            Body::Turns(turns) => turns.orders.push_back(order),
        }
    }

    /// A frame has come in on a port.
    pub(crate) fn push_frame(&mut self, index: usize, at: Instant, frame: Frame) {
        match self.sockets.get_mut(index) {
            Some(socket) if socket.len() < SOCKET_FRAMES_MAX => socket.push_back((at, frame)),
            Some(_) | None => self.overrun += 1,
        }
    }
}

impl Turns {
    /// A core that has just started.
    pub(crate) fn body(node: Node, life: u64) -> Body {
        Body::Turns(Box::new(Self {
            life,
            node,
            orders: VecDeque::new(),
            completions: VecDeque::new(),
            apply: None,
            persist: None,
            reload: None,
            wake_at: None,
        }))
    }
}

/// A process before its node's first moment, or after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It has decided for the last time; another may be wanted already.
    Ending { life: u64, again: bool },
    /// It has decided nothing yet.
    Starting { life: u64 },
}

/// A box.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Its kernel; a fresh one each boot.
    pub kernel: Kernel,
    /// Power.
    pub power: Power,
    /// Standing still since then.
    pub frozen: Option<Instant>,
    /// While frozen its kernel's clock stands still too.
    pub clock_stands: bool,
    /// The daemon, while there is one.
    pub daemon: Option<Daemon>,
    /// Its process, while it is there and decides nothing.
    pub passage: Option<Passage>,
    /// What the disk holds.
    pub stored: Record,
    /// How the disk behaves.
    pub disk: Disk,
    /// How the kernel carries out wishes.
    pub apply: ApplyMode,
    /// The checks of its health that fail, by place.
    pub failing: BTreeMap<usize, Fate>,
    /// Checks that hang, whose results come when their time is over.
    pub awaited: BTreeSet<usize>,
    /// When each check is run next.
    pub check_at: Vec<Instant>,
    /// The hooks of its daemon, until its process is gone.
    pub hooks: Option<Follower>,
    /// What hooks run, also those of a daemon that is gone.
    pub programs: Programs,
    /// What the certificate's file shows; there is none when empty.
    pub certificate: String,
    /// How its hooks go, by place; the others take a moment and go well.
    pub works: BTreeMap<usize, Work>,
    /// Counts boots: the kernel's boot id.
    pub boot: u64,
    /// When it was last powered on.
    pub booted_at: Instant,
    /// Counts starts of the daemon.
    pub lives: u64,
    /// Its disk is in use: what it was delivered with was written.
    pub unpacked: bool,
    /// It reboots as soon as its daemon has ended.
    pub reboots: bool,
    /// When the kernel next changes by itself, as scheduled.
    pub tick_at: Option<Instant>,
}

impl Gateway {
    /// A dark box.
    pub(crate) fn new(kernel: Kernel, stored: Record) -> Self {
        Self {
            kernel,
            power: Power::Off,
            frozen: None,
            clock_stands: false,
            daemon: None,
            passage: None,
            stored,
            disk: Disk::default(),
            apply: ApplyMode::default(),
            failing: BTreeMap::new(),
            awaited: BTreeSet::new(),
            check_at: Vec::new(),
            hooks: None,
            programs: Programs::new(),
            certificate: String::new(),
            works: BTreeMap::new(),
            boot: 0,
            booted_at: Instant::ORIGIN,
            lives: 0,
            unpacked: false,
            reboots: false,
            tick_at: None,
        }
    }

    /// Whether its kernel takes part in the world.
    pub(crate) fn runs(&self) -> bool {
        self.power == Power::On && self.frozen.is_none()
    }

    /// The daemon, if it is there and not stopped.
    pub(crate) fn awake(&mut self, life: Option<u64>) -> Option<&mut Daemon> {
        if !self.runs() {
            return None;
        }
        self.daemon
            .as_mut()
            .filter(|daemon| !daemon.stopped && life.is_none_or(|life| life == daemon.life))
    }
    /// The core's turns, if there is one that is not stopped.
    pub(crate) fn turns(&mut self, life: Option<u64>) -> Option<&mut Turns> {
        self.awake(life).and_then(Daemon::turns)
    }
}
