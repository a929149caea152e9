//! TCP between nodes on the real kernel: bound to a port, and dead by its deadline.
//!
//! A stream is tied to its port's interface (`SO_BINDTODEVICE`), so that another way is another
//! stream. `TCP_USER_TIMEOUT` ends one whose bytes are not acknowledged, keep-alive questions each
//! second find out a silent peer. The hard case is the error: the kernel ends a stream with what it
//! last heard of the way, an unreachable neighbour say; for who reads it is out of time.
//!
//! The limit: nothing is listened on before every port's interface is there. A peer that lives and
//! reads nothing for the deadline, with its window full, counts as gone.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::net::sockopt;
use steadfast_core::PortId;
use steadfast_shell::streams::{Accepted, DEADLINE, DEADLINE_GRAIN, Streams};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// Streams that wait to be accepted; the kernel refuses further ones.
const BACKLOG: u32 = 16;
/// Questions to a silent peer before it counts as gone; the user timeout comes first.
const QUESTIONS_MAX: u32 = 16;

/// A port that streams run over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPort {
    /// The port.
    pub id: PortId,
    /// The interface's name.
    pub name: String,
    /// The node's own address there.
    pub own: IpAddr,
}

/// Streams over some ports; clones are the same. Must be used inside a tokio runtime with IO.
#[derive(Clone, Debug)]
pub struct TcpStreams(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    ports: Vec<StreamPort>,
    number: u16,
    listeners: RefCell<Vec<(PortId, TcpListener)>>,
    /// Who is asked first for the next stream, so that none is kept waiting by another.
    turn: Cell<usize>,
}

impl TcpStreams {
    /// Over these ports, each with this TCP port number at both ends.
    pub fn new(ports: Vec<StreamPort>, number: u16) -> Self {
        Self(Rc::new(Shared {
            ports,
            number,
            listeners: RefCell::default(),
            turn: Cell::new(0),
        }))
    }

    /// Listens on all ports, once.
    fn listen(&self) -> io::Result<()> {
        if !self.0.listeners.borrow().is_empty() {
            return Ok(());
        }
        let mut listeners = Vec::new();
        for port in &self.0.ports {
            let socket = socket(port)?;
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::new(port.own, self.0.number))?;
            listeners.push((port.id, socket.listen(BACKLOG)?));
        }
        *self.0.listeners.borrow_mut() = listeners;
        Ok(())
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(PortId, TcpStream, IpAddr)>> {
        let listeners = self.0.listeners.borrow();
        let first = self.0.turn.get();
        for place in (0..listeners.len()).map(|it| (first + it) % listeners.len()) {
            let (port, listener) = &listeners[place];
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                self.0.turn.set(place + 1);
                let (stream, from) = accepted?;
                return Poll::Ready(Ok((*port, stream, from.ip())));
            }
        }
        Poll::Pending
    }
}

/// A socket on a port's interface.
fn socket(port: &StreamPort) -> io::Result<TcpSocket> {
    let socket = match port.own {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind_device(Some(port.name.as_bytes()))?;
    Ok(socket)
}

/// Gives a stream its deadline.
fn hurry(stream: &TcpStream) -> io::Result<()> {
    let millis = u32::try_from(DEADLINE.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, millis)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, DEADLINE_GRAIN)?;
    sockopt::set_tcp_keepintvl(stream, DEADLINE_GRAIN)?;
    sockopt::set_tcp_keepcnt(stream, QUESTIONS_MAX)?;
    sockopt::set_tcp_nodelay(stream, true)?;
    Ok(())
}

impl Streams for TcpStreams {
    type Stream = Stream;

    async fn connect(&self, port: PortId, to: IpAddr) -> io::Result<Stream> {
        let port = self.0.ports.iter().find(|it| it.id == port);
        let port = port.ok_or(io::ErrorKind::NotFound)?;
        let socket = socket(port)?;
        socket.bind(SocketAddr::new(port.own, 0))?;
        let connecting = socket.connect(SocketAddr::new(to, self.0.number));
        let connected = timeout(DEADLINE, connecting).await;
        let stream = connected.map_err(|_| io::ErrorKind::TimedOut)?;
        let stream = stream.map_err(out_of_time)?;
        hurry(&stream)?;
        Ok(Stream(stream))
    }

    async fn accept(&self) -> io::Result<Accepted<Stream>> {
        self.listen()?;
        let (port, stream, from) = poll_fn(|cx| self.poll_accept(cx)).await?;
        hurry(&stream)?;
        let stream = Stream(stream);
        Ok(Accepted { port, from, stream })
    }
}

/// An open stream.
#[derive(Debug)]
pub struct Stream(TcpStream);

/// What the kernel last heard of the way is why it was too long.
fn out_of_time(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            io::Error::new(io::ErrorKind::TimedOut, error)
        }
        _ => error,
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, buf));
        Poll::Ready(read.map_err(out_of_time))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0).poll_write(cx, bytes));
        Poll::Ready(written.map_err(out_of_time))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
