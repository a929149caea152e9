//! New connections: what a client notices that begins just now.
//!
//! Each 10 ms a host connects to another through the gateways, sends eight bytes and waits for them
//! to come back. A connection that is open may outlive a failover on retransmissions; one that
//! begins in the middle of it is what users see fail. Each counts with the time it took; one that
//! has not come back after [`PATIENCE`] has failed. It is a statistic of its own, no event: the
//! oracles know probes only.
//!
//! One thread does both ends; sockets that connect are made on it, so it must stand in the client's
//! namespace: `enter` takes it there. The limit: it looks each [`TURN`], times are as exact.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use steadfast_core::Instant;

use super::CONNECTION_PORT;
use super::recorder::{Desk, Instrument};

/// From one connection to the next.
const EVERY: Duration = Duration::from_millis(10);
/// A connection that takes longer has failed. Linux repeats a lost first packet after 1 s.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at what has come.
const TURN: Duration = Duration::from_millis(2);
/// Connections waited for at once, at either end: more than begin within [`PATIENCE`]. Beyond it
/// the client's oldest has failed, and the server leaves new ones in its queue.
const OPEN_MAX: usize = 320;
/// Connections kept in the log; later ones are not tried (an hour's worth).
const LOG_MAX: usize = 360_000;
/// What the listener queues.
const BACKLOG: i32 = 512;
/// What is exchanged.
const GREETING: [u8; 8] = *b"steadfst";

/// A connection that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// When it began.
    pub at: Instant,
    /// How long it took until the answer was there; none if it failed.
    pub took: Option<Duration>,
}

/// All connections tried so far, in the order in which they ended.
#[derive(Clone, Debug, Default)]
pub struct ConnectionLog {
    shared: Arc<Mutex<Vec<Connection>>>,
}

impl ConnectionLog {
    /// A copy of it.
    pub fn connections(&self) -> Vec<Connection> {
        let log = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        log.clone()
    }

    fn push(&self, connection: Connection) -> bool {
        let mut log = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(connection);
        log.len() < LOG_MAX
    }
}

/// Takes a thread into a namespace for the rest of its life.
pub type Enter = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// Opens one connection after the other.
pub struct Connections {
    enter: Option<Enter>,
    from: IpAddr,
    to: SocketAddr,
    listener: Socket,
    open: Vec<Attempt>,
    served: Vec<Socket>,
    log: ConnectionLog,
    room: bool,
}

#[derive(Debug)]
struct Attempt {
    socket: Socket,
    at: Instant,
    greeted: bool,
}

impl Connections {
    /// Opens the server's end, in the calling thread's namespace: that of the host `to`.
    ///
    /// # Errors
    /// When the address is not there.
    pub fn listen(to: IpAddr) -> io::Result<Socket> {
        let socket = Socket::new(
            Domain::for_address(SocketAddr::new(to, 0)),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(SocketAddr::new(to, CONNECTION_PORT)))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    /// Connects from the host `from`, in whose namespace `enter` puts the thread, to the listener.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn new(from: IpAddr, enter: Enter, listener: Socket) -> io::Result<Self> {
        let to = listener.local_addr()?.as_socket();
        Ok(Self {
            enter: Some(enter),
            from,
            to: to.ok_or(io::ErrorKind::Unsupported)?,
            listener,
            open: Vec::new(),
            served: Vec::new(),
            log: ConnectionLog::default(),
            room: true,
        })
    }

    /// What was tried so far, and later.
    pub fn log(&self) -> ConnectionLog {
        self.log.clone()
    }

    fn begin(&mut self, at: Instant) {
        if self.open.len() >= OPEN_MAX {
            self.open.remove(0);
            self.end(at, None);
        }
        match self.connect(at) {
            Ok(attempt) => self.open.push(attempt),
            // Refused at once, as when there is no route: a client would fail as well.
            Err(_) => self.end(at, None),
        }
    }

    fn connect(&self, at: Instant) -> io::Result<Attempt> {
        let domain = Domain::for_address(self.to);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // Closed by a reset: thousands of connections must leave no ports behind.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.bind(&SockAddr::from(SocketAddr::new(self.from, 0)))?;
        match socket.connect(&SockAddr::from(self.to)) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(Attempt {
            socket,
            at,
            greeted: false,
        })
    }

    fn end(&mut self, at: Instant, took: Option<Duration>) {
        self.room = self.log.push(Connection { at, took });
    }

    /// The client's end: greets what is connected, and reads what came back.
    fn progress(&mut self, now: Instant) {
        let open = core::mem::take(&mut self.open);
        for mut attempt in open {
            match attempt.step() {
                Ok(true) => self.end(attempt.at, Some(now.since(attempt.at))),
                Ok(false) if now.since(attempt.at) < PATIENCE => self.open.push(attempt),
                Ok(false) | Err(_) => self.end(attempt.at, None),
            }
        }
    }

    /// The server's end: gives every greeting back.
    fn serve(&mut self) {
        while self.served.len() < OPEN_MAX {
            let Ok((socket, _)) = self.listener.accept() else {
                break;
            };
            if socket.set_nonblocking(true).is_ok() {
                self.served.push(socket);
            }
        }
        self.served.retain_mut(|socket| {
            let mut bytes = [0; GREETING.len()];
            match socket.read(&mut bytes) {
                // It goes when the client closes it.
                Ok(count @ 1..) => socket.write_all(&bytes[..count]).is_ok(),
                Ok(0) => false,
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            }
        });
    }
}

impl Attempt {
    /// Whether all is done; an error when it failed.
    fn step(&mut self) -> io::Result<bool> {
        if !self.greeted {
            // A socket that has just connected takes eight bytes whole.
            match self.socket.write_all(&GREETING) {
                Ok(()) => self.greeted = true,
                Err(error) => return unless_early(error),
            }
        }
        let mut bytes = [0; GREETING.len()];
        match self.socket.read(&mut bytes) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(error) => unless_early(error),
        }
    }
}

/// Not connected yet, or nothing there yet, is no failure.
fn unless_early(error: io::Error) -> io::Result<bool> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => Ok(false),
        _ => Err(error),
    }
}

impl core::fmt::Debug for Connections {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connections")
            .field("from", &self.from)
            .field("to", &self.to)
            .field("open", &self.open.len())
            .finish_non_exhaustive()
    }
}

impl Instrument for Connections {
    fn name(&self) -> &'static str {
        "connections"
    }

    fn run(&mut self, desk: &Desk) -> io::Result<()> {
        if let Some(enter) = self.enter.take() {
            enter()?;
        }
        let clock = desk.clock();
        let mut due = clock.now();
        while !desk.stopped() {
            let now = clock.now();
            if now >= due && self.room {
                self.begin(now);
                due = now.after(EVERY);
            }
            self.serve();
            self.progress(clock.now());
            clock.sleep_until(now.after(TURN));
        }
        let _ = self.listener.shutdown(Shutdown::Both);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Recorder, RunClock, Setup};
    use super::*;

    /// Over a whole path every connection gets its answer, and one to nowhere fails.
    #[test]
    fn connections_are_counted_with_their_time() {
        let mut recorder = Recorder::new(Setup::new(RunClock::start()));
        let listener = Connections::listen(IpAddr::from([127, 0, 0, 77])).unwrap();
        let here: Enter = Box::new(|| Ok(()));
        let from = IpAddr::from([127, 0, 0, 78]);
        let whole = Connections::new(from, here, listener).unwrap();
        let elsewhere = Connections::listen(IpAddr::from([127, 0, 0, 79])).unwrap();
        let mut broken = Connections::new(from, Box::new(|| Ok(())), elsewhere).unwrap();
        broken.to.set_port(1);
        let (good, bad) = (whole.log(), broken.log());
        recorder.start(whole).unwrap();
        recorder.start(broken).unwrap();
        let clock = recorder.desk().clock();
        let deadline = clock.now().after(Duration::from_secs(20));
        while good.connections().len() < 10 || bad.connections().len() < 10 {
            assert!(clock.now() < deadline, "{good:?} {bad:?}");
            clock.sleep_until(clock.now().after(TURN));
        }
        assert!(recorder.stop(Duration::from_secs(5)).unfinished.is_empty());
        assert!(good.connections().iter().all(|it| it.took.is_some()));
        assert!(bad.connections().iter().all(|it| it.took.is_none()));
    }
}
