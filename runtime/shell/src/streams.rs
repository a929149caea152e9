//! TCP between nodes: what a node needs of it, and what every world must keep.
//!
//! A stream lives on one port's segment and dies with it. TCP itself may wait for a peer that is
//! gone for a quarter of an hour, so every stream has a deadline: one whose bytes are not
//! acknowledged for [`DEADLINE`], or whose peer is silent for as long though asked, ends at both
//! ends with [`io::ErrorKind::TimedOut`], a second later at the most. A cut that heals before takes
//! time and no byte. A peer whose process ends says so at once; one without power says nothing.
//!
//! The limit: an end tells nothing about what the peer has read. Whoever needs to know has the peer
//! answer.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use steadfast_core::PortId;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long a stream lives without hearing of its peer.
pub const DEADLINE: Duration = Duration::from_secs(3);
/// How much later the kernel may find that out: it asks silent peers once a second.
pub const DEADLINE_GRAIN: Duration = Duration::from_secs(1);

/// A stream that somebody else opened.
#[derive(Debug)]
pub struct Accepted<S> {
    /// The port it came in on.
    pub port: PortId,
    /// Who opened it: a peer's own address, or a stranger's.
    pub from: IpAddr,
    /// The stream.
    pub stream: S,
}

/// Opens streams to peers, and takes theirs.
pub trait Streams: Clone + 'static {
    /// An open stream; what is written leaves at a flush, and dropping it ends it.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Opens a stream over this port to a peer's own address on its segment.
    ///
    /// # Errors
    /// `TimedOut` when the peer cannot be reached within [`DEADLINE`], `ConnectionRefused` when
    /// nobody listens there, `NotFound` when the node has no such port, or what the kernel says.
    fn connect(&self, port: PortId, to: IpAddr) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Waits for the next stream on any port; of several that wait at once, one is served.
    ///
    /// # Errors
    /// Streams cannot be taken any more.
    fn accept(&self) -> impl Future<Output = io::Result<Accepted<Self::Stream>>>;
}
