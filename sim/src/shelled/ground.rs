//! What a world must offer so that shells can run in it: time, tasks, datagrams, a disk, barriers.

use core::fmt::Debug;
use core::future::Future;
use core::pin::Pin;
use std::io;

use steadfast_core::Instant;
use steadfast_shell::record::{Slot, Step};
use tokio::io::{AsyncRead, AsyncWrite};

/// A task.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// A place in a gateway's work at which a scenario may let something happen, exactly there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// The kernel serves, and nobody has been told yet: between claim and announcement.
    Claimed,
    /// The kernel is about to be asked to serve: between consent, or evidence, and claim.
    Consented,
    /// A record was written and is not synced yet.
    RecordWritten,
}

/// A [`Point`] of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The gateway's number, in the order of its scenario.
    pub gateway: usize,
    /// Where it is.
    pub point: Point,
}

/// A world, as the hosts in it see it.
pub(crate) trait Ground: Clone + 'static {
    /// Its datagrams.
    type Socket: Socket;
    /// Its streams, which know nothing of cables.
    type Stream: AsyncRead + AsyncWrite + Debug + Unpin + 'static;
    /// Where they come in.
    type Listener: Listener<Self::Stream>;
    /// The world's time.
    fn now(&self) -> Instant;
    /// Waits until then. Cancel safe.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()>;
    /// Starts a task on this host; it goes with it.
    fn spawn(&self, task: Task);
    /// Opens the socket that all cables of this host share.
    fn bind(&self) -> impl Future<Output = io::Result<Self::Socket>>;
    /// Takes streams on this host.
    fn listen(&self) -> impl Future<Output = io::Result<Self::Listener>>;
    /// Opens a stream to a host.
    fn connect(&self, to: Host) -> impl Future<Output = io::Result<Self::Stream>>;
    /// Reads both slots of a gateway's disk. Called on its host.
    fn read_record(&self, gateway: usize) -> [Slot; 2];
    /// Does a step on a gateway's disk. Called on its host.
    fn perform(&self, gateway: usize, step: &Step) -> io::Result<()>;
    /// Something was done on the stage; the next thing there is due then. A world that goes from
    /// event to event must not sleep beyond it.
    fn due(&self, next: Option<Instant>);
    /// A gateway has reached a point; waits there for as long as the scenario wants.
    fn reached(&self, at: Reached) -> impl Future<Output = ()>;
}

/// Datagrams between hosts.
pub(crate) trait Socket: 'static {
    /// Sends to a host. What cannot be delivered is lost, as on a wire.
    fn send(&self, to: Host, bytes: &[u8]) -> impl Future<Output = ()>;
    /// Waits for the next one. It need not be safe to cancel: whoever receives does nothing else.
    fn receive(&self) -> impl Future<Output = io::Result<Vec<u8>>>;
}

/// Streams that come in.
pub(crate) trait Listener<S>: 'static {
    /// Waits for the next one.
    fn accept(&self) -> impl Future<Output = io::Result<S>>;
}

/// A host of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// A gateway, by number.
    Gateway(usize),
    /// A segment, by number.
    Segment(usize),
}

/// Longest datagram: see `cables`.
pub(crate) const DATAGRAM_MAX: usize = 64 * 1024;
