//! TCP between gateways: the world's own streams, subject to the cables they run over.
//!
//! A world's streams know nothing of segments: turmoil loses what is written into a partition and
//! hangs for ever, madsim keeps it and waits for ever. So a stream runs from host to host, beside
//! all faults, and a [`Line`] stands for the cables: while its way is broken nothing is written and
//! no end is heard of, and a way that stays broken for the deadline kills both ends
//! ([`Lines::follow`], the one place). Bytes that were on their way when it broke arrive.
//!
//! The limit: the way is broken or whole; loss and delay of single frames slow no stream.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use steadfast_core::{Instant, PortId};
use steadfast_scenarios::SegmentId;
use steadfast_shell::streams::{Accepted, DEADLINE, Streams};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::Stage;
use super::env::Seated;
use super::ground::{Ground, Host, Listener as _};
use crate::stage::World;

/// Open streams of a world at once; further ones are refused.
const LINES_MAX: usize = 1_024;
/// What a stream begins with: which line it is.
const PRELUDE_LEN: usize = 8;

/// The cables under one stream.
#[derive(Debug)]
struct Line {
    /// Who opened it, and to whom.
    ends: [usize; 2],
    segment: usize,
    /// Since when nothing passes.
    broken_since: Cell<Option<Instant>>,
    dead: Cell<bool>,
    /// Whoever waits for it to be whole, or dead.
    waiting: RefCell<Vec<Waker>>,
}

impl Line {
    fn is_broken(&self) -> bool {
        self.broken_since.get().is_some()
    }

    /// An error if it is dead; else whoever asks is woken when that changes, or when it heals.
    fn alive(&self, cx: &Context<'_>) -> io::Result<()> {
        if self.dead.get() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Ok(())
    }

    fn wake(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// A line, and what both ends call it.
type Numbered = (u64, Rc<Line>);

/// All streams of a world; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    open: Rc<RefCell<Vec<Numbered>>>,
    opened: Rc<Cell<u64>>,
}

impl Lines {
    /// Brings every stream in line with its cables; those that are broken for too long die.
    pub(crate) fn follow(&self, stage: &World<'_>) {
        let mut open = self.open.borrow_mut();
        // Held by nobody else: both ends are gone.
        open.retain(|(_, line)| Rc::strong_count(line) > 1);
        for (_, line) in open.iter() {
            let passes = passes(stage, line.segment, line.ends);
            match (line.broken_since.get(), passes) {
                (None, false) => line.broken_since.set(Some(stage.now)),
                (Some(since), false) if stage.now.since(since) >= DEADLINE => {
                    line.dead.set(true);
                    line.wake();
                }
                (Some(_), true) => {
                    line.broken_since.set(None);
                    line.wake();
                }
                (None, true) | (Some(_), false) => {}
            }
        }
    }

    /// When the next stream dies, if nothing heals.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let open = self.open.borrow();
        let alive = open.iter().filter(|(_, line)| !line.dead.get());
        let due = alive.filter_map(|(_, line)| Some(line.broken_since.get()?.after(DEADLINE)));
        due.min()
    }

    /// Whether any stream is open: what its cables let pass may change with time alone.
    #[cfg_attr(madsim, allow(dead_code, reason = "madsim asks at every event"))]
    pub(crate) fn any(&self) -> bool {
        !self.open.borrow().is_empty()
    }

    fn open(&self, ends: [usize; 2], segment: usize, now: Instant) -> io::Result<Numbered> {
        let mut open = self.open.borrow_mut();
        if open.len() >= LINES_MAX {
            return Err(io::Error::other("too many streams"));
        }
        let number = self.opened.get();
        self.opened.set(number + 1);
        let line = Rc::new(Line {
            ends,
            segment,
            // Whole as soon as the world has looked.
            broken_since: Cell::new(Some(now)),
            dead: Cell::new(false),
            waiting: RefCell::default(),
        });
        open.push((number, Rc::clone(&line)));
        Ok((number, line))
    }

    fn find(&self, number: u64) -> Option<Rc<Line>> {
        let open = self.open.borrow();
        let (_, line) = open.iter().find(|(known, _)| *known == number)?;
        Some(Rc::clone(line))
    }
}

/// Whether frames pass both ways between two gateways on a segment.
fn passes(stage: &World<'_>, segment: usize, ends: [usize; 2]) -> bool {
    let [one, other] = ends.map(|station| stage.net.place(segment, station));
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    let Ok(number) = u8::try_from(segment) else {
        return false;
    };
    ends.iter().all(|station| stage.gateways[*station].runs())
        && stage
            .net
            .reachable(stage.now, SegmentId(number), one, other)
}

/// One end of a stream.
#[derive(Debug)]
pub(crate) struct Stream<S> {
    inner: S,
    line: Rc<Line>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.line.alive(cx)?;
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let ended = match &polled {
            Poll::Ready(Ok(())) => buf.filled().len() == before,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        // What the peer's kernel would say cannot be heard.
        if ended && self.line.is_broken() {
            return Poll::Pending;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.line.alive(cx)?;
        if self.line.is_broken() {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.alive(cx)?;
        if self.line.is_broken() {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<G: Ground> Streams for Seated<G> {
    type Stream = Stream<G::Stream>;

    async fn connect(&self, port: PortId, to: IpAddr) -> io::Result<Self::Stream> {
        let (segment, peer) = peer(&self.stage, self.station, port, to)?;
        let ends = [self.station, peer];
        let (number, line) = self.lines.open(ends, segment, self.ground.now())?;
        self.lines.follow(&self.stage.borrow());
        std::future::poll_fn(|cx| {
            line.alive(cx)?;
            if line.is_broken() {
                Poll::Pending
            } else {
                Poll::Ready(Ok::<(), io::Error>(()))
            }
        })
        .await?;
        let inner = self.ground.connect(Host::Gateway(peer)).await?;
        let mut stream = Stream { inner, line };
        stream.write_all(&number.to_be_bytes()).await?;
        stream.flush().await?;
        Ok(stream)
    }

    async fn accept(&self) -> io::Result<Accepted<Self::Stream>> {
        let mut listener = self.listener.lock().await;
        if listener.is_none() {
            *listener = Some(self.ground.listen().await?);
        }
        loop {
            let Some(listening) = listener.as_ref() else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            let mut inner = listening.accept().await?;
            let mut prelude = [0; PRELUDE_LEN];
            let read = inner.read_exact(&mut prelude).await;
            let number = u64::from_be_bytes(prelude);
            // Whoever opened it may be gone again.
            let (Ok(_), Some(line)) = (read, self.lines.find(number)) else {
                continue;
            };
            let (port, from) = opener(&self.stage, line.ends[0], line.segment)?;
            let stream = Stream { inner, line };
            return Ok(Accepted { port, from, stream });
        }
    }
}

/// Which segment a port is on, and which gateway has this address there.
fn peer(stage: &Stage, station: usize, port: PortId, to: IpAddr) -> io::Result<(usize, usize)> {
    let stage = stage.borrow();
    let gateways = &stage.plan.layout.gateways;
    let own = gateways.get(station).into_iter().flat_map(|it| &it.ports);
    let own = own.filter(|it| it.id == port).map(|it| it.segment).next();
    let segment = own.ok_or(io::ErrorKind::NotFound)?;
    let has =
        |it: &steadfast_scenarios::format::Port| it.segment == segment && it.units.contains(&to);
    let peer = gateways.iter().position(|it| it.ports.iter().any(has));
    // Nobody answers for an address that nobody has.
    Ok((segment.index(), peer.ok_or(io::ErrorKind::HostUnreachable)?))
}

/// The port a stream comes in on, and the address of who opened it.
fn opener(stage: &Stage, station: usize, segment: usize) -> io::Result<(PortId, IpAddr)> {
    let stage = stage.borrow();
    let ports = stage.plan.layout.gateways.get(station);
    let mut ports = ports.into_iter().flat_map(|it| &it.ports);
    let port = ports.find(|it| it.segment.index() == segment);
    let found = port.and_then(|it| Some((it.id, *it.units.first()?)));
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests;
