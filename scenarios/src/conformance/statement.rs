//! A statement about Linux: what is done to a machine, step by step, and what must be observed.
//!
//! A step is an [`Act`] and the [`Observation`] that it must lead to: every frame that left the
//! machine, and what a program on it was told. Both are plain values, so that two kinds of machine
//! can be held against the same words. The hard case is time: a step may mark the beginning of an
//! interval, a rest lasts until so long after the mark, and a step that must have ended within a
//! time of the mark says so; where it did not, the statement was not tried.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use steadfast_core::{MacAddr, PortId};

use super::frames;
use super::ground::{Station, mac, unit, virtuals};
use super::sight::Seen;

/// How long the lease lasts in a statement that is about its end.
pub const SHORT_LEASE: Duration = Duration::from_millis(800);
/// How long the tail lasts there.
pub const SHORT_TAIL: Duration = Duration::from_millis(600);
/// How long the lease lasts in all others: no statement takes as long.
pub(super) const LONG_LEASE: Duration = Duration::from_secs(60);
/// How long the tail lasts there.
pub(super) const LONG_TAIL: Duration = Duration::from_secs(30);
/// After its time, how long until something is surely over: jiffies are early, never late.
pub const SURELY: Duration = Duration::from_millis(30);

/// What is done to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A virtual address is put on a port.
    Add(PortId, IpAddr),
    /// The lease begins, for its full length.
    Arm,
    /// Seconds may pass until the machine reports that it listens to a group on a port.
    AwaitReport(PortId, Ipv6Addr),
    /// A port's carrier comes or goes.
    Carrier(PortId, bool),
    /// Lease and tail end.
    Close,
    /// Neighbours without an address are forgotten.
    ForgetDead,
    /// The neighbour cache is looked at.
    Look(PortId, IpAddr),
    /// The lease is shortened to this.
    Offer(Duration),
    /// A frame arrives on a port.
    Receive(PortId, Vec<u8>),
    /// The lease ends and leaves its tail.
    Release,
    /// A virtual address is taken off a port.
    Remove(PortId, IpAddr),
    /// Nothing, until so long after the mark.
    Rest(Duration),
    /// A program sends a datagram from one of the machine's addresses.
    Send(IpAddr, IpAddr),
    /// A program sends a whole frame.
    Transmit(PortId, Vec<u8>),
}

/// What an act led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The frames that left, in order of their values.
    pub frames: Vec<Seen>,
    /// What a program on the machine was told.
    pub told: Told,
}

/// What a program on the machine was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// What the neighbour cache says.
    Entry(Option<Entry>),
    /// The lease was not there to be changed.
    Lapsed,
    /// All is well.
    #[default]
    Nothing,
    /// The frame did not leave (`ENOBUFS`).
    Refused,
    /// Whether the report came.
    Reported(bool),
}

/// An entry of the neighbour cache, in the kernel's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its state.
    pub state: EntryState,
    /// Where the neighbour is, if that is known.
    pub mac: Option<MacAddr>,
}

/// States of a neighbour entry that was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Used while stale; to be asked again soon.
    Delay,
    /// Gave no answer.
    Failed,
    /// Asked for.
    Incomplete,
    /// Being asked again.
    Probe,
    /// Answered lately.
    Reachable,
    /// Known, but not confirmed.
    Stale,
}

/// One act, and what it must lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub act: Act,
    /// What must be observed.
    pub wanted: Observation,
    /// Whether time is counted from here.
    pub marks: bool,
    /// When it must have ended, counted from before the mark; later it says nothing.
    pub by: Option<Duration>,
}

/// A statement about Linux.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its name, unique: area, condition, variant.
    pub name: &'static str,
    /// What it says, and why that matters.
    pub says: &'static str,
    /// Where that is written: an RFC, or the place in the kernel.
    pub source: &'static str,
    /// How long lease and tail last.
    pub lease: (Duration, Duration),
    /// Whether the LAN's virtual addresses are at [`STATION`], on a device above the port.
    ///
    /// [`STATION`]: super::ground::STATION
    pub stationed: bool,
    /// Whether the kernel judges frames as they leave a device (netdev egress, Linux 5.16).
    pub egress: bool,
    /// In this order.
    pub steps: Vec<Step>,
}

impl Statement {
    /// One without steps, and with a lease that does not end by itself.
    pub const fn new(name: &'static str, says: &'static str, source: &'static str) -> Self {
        Self {
            name,
            says,
            source,
            lease: (LONG_LEASE, LONG_TAIL),
            stationed: false,
            egress: true,
            steps: Vec::new(),
        }
    }

    /// The same where the kernel has no netdev egress; none where a program sends whole frames,
    /// which that kernel does not judge.
    pub fn without_egress(&self) -> Option<Self> {
        let sends = |step: &Step| matches!(step.act, Act::Transmit(..));
        (!self.steps.iter().any(sends)).then(|| Self {
            egress: false,
            ..self.clone()
        })
    }

    /// The lease is short.
    #[must_use]
    pub fn briefly(mut self) -> Self {
        self.lease = (SHORT_LEASE, SHORT_TAIL);
        self
    }

    /// The LAN has a virtual MAC.
    #[must_use]
    pub fn with_station(mut self) -> Self {
        self.stationed = true;
        self
    }

    /// Every virtual address is put where it lives.
    #[must_use]
    pub fn held(self) -> Self {
        let acts = virtuals().map(|(port, address)| Act::Add(port, address));
        acts.into_iter().fold(self, Self::quietly)
    }

    /// Every virtual address is there, and the lease: the machine is active.
    #[must_use]
    pub fn active(self) -> Self {
        self.held().quietly(Act::Arm)
    }

    /// This leads to nothing that is seen or told.
    #[must_use]
    pub fn quietly(self, act: Act) -> Self {
        self.when(act, [])
    }

    /// This makes frames leave.
    #[must_use]
    pub fn when(self, act: Act, frames: impl Into<Vec<Seen>>) -> Self {
        self.step(act, frames.into(), Told::Nothing)
    }

    /// Of this a program is told, and nothing leaves.
    #[must_use]
    pub fn told(self, act: Act, told: Told) -> Self {
        self.step(act, Vec::new(), told)
    }

    /// A frame from a station's wire makes frames leave.
    #[must_use]
    pub fn hears(self, from: Station, frame: Vec<u8>, frames: impl Into<Vec<Seen>>) -> Self {
        self.when(Act::Receive(from.port, frame), frames)
    }

    /// A station asks the machine's port for an address, and is answered.
    #[must_use]
    pub fn answers(self, station: Station, target: IpAddr) -> Self {
        let question = frames::question(station, target);
        self.hears(station, question, [Seen::answer(station, target)])
    }

    /// A station asks the machine's port for an address, in vain.
    #[must_use]
    pub fn ignores(self, station: Station, target: IpAddr) -> Self {
        let question = frames::question(station, target);
        self.hears(station, question, [])
    }

    /// A station introduces itself by asking for a unit address: from now on it is known.
    #[must_use]
    pub fn knows(self, station: Station, like: IpAddr) -> Self {
        self.answers(station, unit(station.port, like))
    }

    /// A packet between stations passes, a hop shorter.
    #[must_use]
    pub fn forwards(self, from: Station, to: Station, like: IpAddr) -> Self {
        let ends = (from.like(like), to.like(like));
        let sent = frames::datagram(from, mac(from.port), ends, frames::HOPS);
        let passed = Seen::datagram(to, ends, frames::HOPS - 1);
        self.hears(from, sent, [passed])
    }

    /// A packet between stations does not pass.
    #[must_use]
    pub fn holds_back(self, from: Station, to: Station, like: IpAddr) -> Self {
        let ends = (from.like(like), to.like(like));
        let sent = frames::datagram(from, mac(from.port), ends, frames::HOPS);
        self.hears(from, sent, [])
    }

    /// The neighbour cache knows this of a station.
    #[must_use]
    pub fn entry(self, of: Station, like: IpAddr, found: Option<(EntryState, MacAddr)>) -> Self {
        let entry = found.map(|(state, mac)| Entry {
            state,
            mac: Some(mac),
        });
        self.told(Act::Look(of.port, of.like(like)), Told::Entry(entry))
    }

    /// The neighbour cache has an entry without an address.
    #[must_use]
    pub fn dark(self, of: Station, like: IpAddr, state: EntryState) -> Self {
        let entry = Some(Entry { state, mac: None });
        self.told(Act::Look(of.port, of.like(like)), Told::Entry(entry))
    }

    /// Nothing is done and nothing leaves until so long after the mark.
    #[must_use]
    pub fn rests(self, until: Duration) -> Self {
        self.quietly(Act::Rest(until))
    }

    /// Time is counted from the last step on.
    #[must_use]
    pub fn mark(mut self) -> Self {
        if let Some(last) = self.steps.last_mut() {
            last.marks = true;
        }
        self
    }

    /// The last step counts if it ended within this time of the mark.
    #[must_use]
    pub fn by(mut self, limit: Duration) -> Self {
        if let Some(last) = self.steps.last_mut() {
            last.by = Some(limit);
        }
        self
    }

    /// See [`Self::when`] and [`Self::told`].
    #[must_use]
    pub fn step(mut self, act: Act, frames: Vec<Seen>, told: Told) -> Self {
        self.steps.push(Step {
            act,
            wanted: Observation::new(frames, told),
            marks: false,
            by: None,
        });
        self
    }
}

impl Observation {
    /// Puts frames in order. Reports of groups are left out.
    pub fn new(mut frames: Vec<Seen>, told: Told) -> Self {
        frames.retain(|seen| seen.what != super::What::Report);
        frames.sort_unstable();
        Self { frames, told }
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.frames.is_empty(), self.told) {
            (true, Told::Nothing) => return f.write_str("nothing"),
            (_, Told::Nothing) => {}
            (_, told) => write!(f, "{told:?} ")?,
        }
        let frames = self.frames.iter();
        frames
            .into_iter()
            .try_for_each(|seen| write!(f, "[{seen}]"))
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receive(port, frame) => describe(f, "receive", *port, frame),
            Self::Transmit(port, frame) => describe(f, "transmit", *port, frame),
            other => write!(f, "{other:?}"),
        }
    }
}

fn describe(f: &mut fmt::Formatter<'_>, verb: &str, port: PortId, frame: &[u8]) -> fmt::Result {
    match Seen::read(port, frame) {
        Some(seen) => write!(f, "{verb} [{seen}]"),
        None => write!(f, "{verb} {frame:?} on port {port}"),
    }
}
