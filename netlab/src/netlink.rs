//! Talking to the kernel over netlink: a batch of requests in one message, and every answer.
//!
//! The kernel carries a batch out in the sender's own time, request by request, and answers each.
//! So one [`Netlink::ask`] is one system call to send and some to read: what belongs together (all
//! ports of a gateway going dark) happens within microseconds. A refused request is named by its
//! place in the batch. The hard case is the answer that never comes: [`PATIENCE`] ends the wait.

use std::io;

use netlink_sys::{Socket, SocketAddr};

use crate::namespace::Namespace;

/// Most requests sent at once: their answers must fit the socket's default buffer.
pub(crate) const BATCH_MAX: usize = 100;
/// How long an answer may take; RTNL is shared by the host, and 32 labs held it for 0.6 s.
const PATIENCE_SECS: i64 = 10;
/// What one read takes.
const ANSWERS: usize = 64 << 10;

const HEADER: usize = 16;
const REQUEST: u16 = 0x01;
const ACK: u16 = 0x04;
/// For requests that make something.
pub(crate) const CREATE: u16 = 0x400;
/// For requests that make something that must not be there yet.
pub(crate) const EXCL: u16 = 0x200;
/// For requests that add to the end of a list.
pub(crate) const APPEND: u16 = 0x800;
const ERROR: u16 = 2;

/// A netlink socket that stays in the network namespace where it was opened.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
}

/// One request: its type, its flags besides "answer me", and what it says.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) payload: Vec<u8>,
    /// Nothing answers the marks around a batch of packet filter requests.
    pub(crate) answered: bool,
}

impl Netlink {
    /// Opens a socket of this protocol in that namespace.
    pub(crate) fn open(namespace: &Namespace, protocol: isize) -> io::Result<Self> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(protocol)?;
            socket.bind_auto()?;
            socket.set_cap_ack(true)?;
            let wait = rustix::net::sockopt::Timeout::Recv;
            let patience = core::time::Duration::from_secs(PATIENCE_SECS.unsigned_abs());
            let fd = crate::sys::borrowed(&socket);
            rustix::net::sockopt::set_socket_timeout(fd, wait, Some(patience))?;
            Ok(socket)
        };
        let socket = namespace.run(open).map_err(io::Error::other)??;
        Ok(Self {
            socket,
            buffer: vec![0; ANSWERS],
        })
    }

    /// Has these carried out, in chunks; stops after the chunk in which one was refused.
    ///
    /// # Errors
    /// The place of the first refused request, and what the kernel says.
    pub(crate) fn ask(&mut self, requests: &[Request]) -> Result<(), (usize, io::Error)> {
        for (number, chunk) in requests.chunks(BATCH_MAX).enumerate() {
            let first = number * BATCH_MAX;
            self.ask_at_once(chunk)
                .map_err(|(place, error)| (first + place, error))?;
        }
        Ok(())
    }

    /// Has these carried out in one message, however many: for what must not be divided.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn ask_at_once(&mut self, requests: &[Request]) -> Result<(), (usize, io::Error)> {
        let mut message = Vec::new();
        for (place, request) in requests.iter().enumerate() {
            request.write(place, &mut message);
        }
        let kernel = SocketAddr::new(0, 0);
        self.socket
            .send_to(&message, &kernel, 0)
            .map_err(|error| (0, error))?;
        let mut waiting = requests.iter().filter(|request| request.answered).count();
        let mut refused: Option<(usize, io::Error)> = None;
        while waiting > 0 {
            let (length, _) = self.receive().map_err(|error| (0, error))?;
            let mut answers = self.buffer.get(..length).unwrap_or_default();
            while let Some((answer, rest)) = Answer::read(answers) {
                answers = rest;
                let known = requests.get(answer.place);
                if answer.errno != 0 && refused.is_none() {
                    let error = io::Error::from_raw_os_error(answer.errno);
                    refused = Some((answer.place, error));
                }
                match known {
                    Some(request) if request.answered => waiting -= 1,
                    // A refused mark refuses the whole batch, and nothing more is said.
                    Some(_) if answer.errno != 0 => waiting = 0,
                    Some(_) | None => {}
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn receive(&mut self) -> io::Result<(usize, SocketAddr)> {
        loop {
            match self.socket.recv_from(&mut &mut self.buffer[..], 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Request {
    /// A request that is answered.
    pub(crate) const fn new(kind: u16, flags: u16, payload: Vec<u8>) -> Self {
        Self {
            kind,
            flags,
            payload,
            answered: true,
        }
    }

    /// Writes it down; its place in the batch is its sequence number, counted from 1.
    fn write(&self, place: usize, out: &mut Vec<u8>) {
        let length = u32::try_from(HEADER + self.payload.len()).unwrap_or(u32::MAX);
        let flags = REQUEST | self.flags | if self.answered { ACK } else { 0 };
        let sequence = u32::try_from(place + 1).unwrap_or(u32::MAX);
        out.extend(length.to_ne_bytes());
        out.extend(self.kind.to_ne_bytes());
        out.extend(flags.to_ne_bytes());
        out.extend(sequence.to_ne_bytes());
        out.extend(0_u32.to_ne_bytes());
        out.extend(&self.payload);
        out.resize(out.len().next_multiple_of(4), 0);
    }
}

/// What the kernel says to one request.
struct Answer {
    place: usize,
    errno: i32,
}

impl Answer {
    /// The first answer in these bytes, and what follows. Other messages count as a place that no
    /// request has.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let word = |at: usize| {
            let word = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_ne_bytes(word))
        };
        let length = word(0)? as usize;
        let rest = bytes.get(length.next_multiple_of(4).max(HEADER)..);
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let sequence = word(8)? as usize;
        let code = word(HEADER).filter(|_| kind == ERROR)?;
        let answer = Self {
            place: sequence.wrapping_sub(1),
            errno: code.cast_signed().saturating_neg(),
        };
        Some((answer, rest.unwrap_or_default()))
    }
}
