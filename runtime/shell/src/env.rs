//! What the shell needs of the world it runs in: one trait for each thing, and nothing of Linux.
//!
//! The same driver runs on a gateway and in simulators, so everything that can be slow, fail or
//! differ stands here. Futures are not `Send`: the driver lives on one thread, and whatever may
//! block (netlink, disks) lives on others, behind these traits. The rule for implementors: no
//! method may hold up the caller's thread; what needs time is awaited.

use std::future::Future;
use std::io;

use steadfast_core::boot::Record;
use steadfast_core::config::Config;
use steadfast_core::effect::{Failure, Forwarding};
use steadfast_core::{Instant, PortId};

use crate::habits::Habits;

/// A world, as the types it is made of.
pub trait Env: 'static {
    /// Time.
    type Clock: Clock;
    /// Tasks beside the driver.
    type Executor: Executor;
    /// Frames in and out.
    type Frames: Frames;
    /// Carrier.
    type Links: Links;
    /// Lease, addresses, neighbours.
    type Dataplane: Dataplane;
    /// Stable storage.
    type Store: Store;
    /// The flight recorder.
    type Journal: Journal;
}

/// The parts of a world, handed over to the driver.
pub struct Parts<E: Env> {
    /// Time.
    pub clock: E::Clock,
    /// Tasks beside the driver.
    pub executor: E::Executor,
    /// Frames in and out.
    pub frames: E::Frames,
    /// Carrier.
    pub links: E::Links,
    /// Lease, addresses, neighbours.
    pub dataplane: E::Dataplane,
    /// Stable storage.
    pub store: E::Store,
    /// The flight recorder.
    pub journal: E::Journal,
    /// What the shell does by habit: everything, outside of tests.
    pub habits: Habits,
}

/// Monotonic time from an origin of the world's choice, the same for all of its parts.
pub trait Clock: Clone + 'static {
    /// Now. Never decreases.
    fn now(&self) -> Instant;
    /// Waits until then, to within well below a millisecond. Cancel safe.
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()>;
}

/// Runs tasks beside the driver, on its thread.
pub trait Executor: Clone + 'static {
    /// Starts a task. The name is for people.
    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + 'static);
}

/// Whole Ethernet frames in and out of the node's ports.
pub trait Frames: 'static {
    /// Waits until a frame may be waiting on some port. Cancel safe.
    ///
    /// # Errors
    /// The world cannot receive any more; the driver ends.
    fn ready(&mut self) -> impl Future<Output = io::Result<()>>;
    /// Takes the next waiting frame, port by port, without waiting; none when all are drained.
    /// `frame` is cleared first. The instant is the one at which the kernel took the frame in.
    fn take(&mut self, frame: &mut Vec<u8>) -> Option<(PortId, Instant)>;
    /// Sends a frame; never waits for room.
    fn send(&mut self, port: PortId, frame: &[u8]) -> impl Future<Output = Sent>;
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// No room, or an error that says nothing about the lease; counted.
    Dropped,
    /// The port has no carrier.
    NoCarrier,
    /// The lease guard refused it (D9): the frame said active or offering, and no lease lives.
    Refused,
    /// It left.
    Sent,
}

/// Carrier of the node's ports, by event and by poll (D18).
pub trait Links: 'static {
    /// The next change; at the start, one for each port. Repetitions are harmless. Cancel safe.
    ///
    /// # Errors
    /// Links cannot be watched any more; the driver ends.
    fn changed(&mut self) -> impl Future<Output = io::Result<LinkEvent>>;
}

/// A port's carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    /// Which port.
    pub port: PortId,
    /// Carrier is there.
    pub up: bool,
}

/// What the kernel holds for the group: the lease, the addresses, the neighbours (D9, D17).
pub trait Dataplane: 'static {
    /// Makes the kernel so. The driver asks for one thing at a time, always the newest.
    fn apply(&mut self, desired: Forwarding) -> impl Future<Output = Result<(), Failure>>;
    /// Takes a changed configuration: from now on `apply` means its addresses and times, and what
    /// is served now is brought in line, without a moment in which nothing is fenced.
    fn reconfigure(&mut self, config: &Config) -> impl Future<Output = Result<(), Failure>>;
    /// Looks whether the fence is complete and ours, and repairs it if it is not. True if it was
    /// found whole.
    fn check_fence(&mut self) -> impl Future<Output = bool>;
}

/// Stable storage of the node's record.
pub trait Store: 'static {
    /// Writes the record; it survives a power cut from then on, the older one until then.
    ///
    /// # Errors
    /// What the storage says.
    fn commit(&mut self, record: &Record) -> impl Future<Output = io::Result<()>>;
}

/// The flight recorder: everything a replay needs. Never waits; what does not fit is counted.
pub trait Journal: 'static {
    /// Notes what happened.
    fn note(&mut self, at: Instant, entry: Entry<'_>);
}

/// What the flight recorder is told.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// An input, just before the node takes it.
    Input(&'a steadfast_core::effect::Input<'a>),
    /// An effect, as it is carried out.
    Effect(&'a steadfast_core::effect::Effect),
    /// A changed configuration, just before the node is asked to take it.
    Replaced(&'a Config),
    /// The role changed: the status from then on.
    Status(&'a steadfast_core::status::Status),
}
