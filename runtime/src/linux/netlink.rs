//! A small blocking netlink socket: batches out, answers in; generic over the protocol.
//!
//! The kernel handles a netlink message inside the sender's own system call, so every answer is
//! queued before `send` returns and a blocking read of answers waits for nothing. A batch goes
//! out in one system call: for rtnetlink that halves the cost of each address, for nf_tables it
//! is what makes a change atomic.
//!
//! The hard case is silent loss. A dump read with a short buffer is cut without an error, so
//! reads use [`READ_LEN`] and refuse truncation; a dump during a change is marked, and repeated;
//! acknowledgements that overflow the receive buffer would hide results, so the buffer is large
//! and error texts are asked for without the echo of the request.
//!
//! Limit: one exchange at a time, no multicast events. A socket that was shared or inherited may
//! hold answers to somebody else's questions; they are told apart by sequence number.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{RecvFlags, SendFlags};

mod message;

pub use message::{Attributes, Batch, Message, NESTED, attributes, find, u16_of, u32_of, u64_of};

/// The message is a question or a change (`NLM_F_REQUEST`); set on every message by itself.
pub const REQUEST: u16 = 0x1;
/// Answer even if all is well (`NLM_F_ACK`); set by [`Ack`].
pub const ACK: u16 = 0x4;
/// Replace what exists (`NLM_F_REPLACE`).
pub const REPLACE: u16 = 0x100;
/// Fail if it exists (`NLM_F_EXCL`).
pub const EXCLUSIVE: u16 = 0x200;
/// Tell everything (`NLM_F_DUMP`).
pub const DUMP: u16 = 0x300;
/// Create what does not exist (`NLM_F_CREATE`).
pub const CREATE: u16 = 0x400;
/// Put behind the others (`NLM_F_APPEND`).
pub const APPEND: u16 = 0x800;

/// Bytes of one read. The kernel makes dumps as large as the largest read it has seen, 32 KiB at
/// most, and cuts what does not fit.
pub const READ_LEN: usize = 64 * 1024;
/// Bytes of the receive buffer asked for; without privilege the system's limit stands instead.
const RECEIVE_BUFFER_LEN: usize = 4 * 1024 * 1024;
/// Bytes of the longest message: a fence of 4096 virtual routers' addresses takes nine megabytes.
const SEND_BUFFER_LEN: usize = 16 << 20;
/// Longest wait for an answer. Answers are there when `send` returns: beyond it something is lost.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Most datagrams read for one exchange; beyond it the exchange fails.
const DATAGRAMS_MAX: usize = 65_536;
/// How long a dump that changes run into is taken again before it fails. A thousand IPv6 addresses
/// that were just added are changed once more each, by a worker of the kernel, for some 10 ms.
const DUMP_TRIES_FOR: Duration = Duration::from_millis(100);
/// The same for a list whose reader repairs what it missed, and would rather go on.
const LOOSE_TRIES_MAX: usize = 8;
/// Dumps taken at once; before each further one the changes get time, and maybe this very CPU.
const DUMP_TRIES_AT_ONCE: usize = 3;
const DUMP_PAUSE: Duration = Duration::from_millis(1);
const HEADER_LEN: usize = 16;
const KIND_ERROR: u16 = 2;
const KIND_DONE: u16 = 3;
const DUMP_INTERRUPTED: u16 = 0x10;
const CAPPED: u16 = 0x100;
const HAS_TEXT: u16 = 0x200;
const TEXT: u16 = 1;

/// A netlink socket.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Which messages of a batch are to be acknowledged. Refusals always come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Every one: for protocols where each message stands alone (rtnetlink).
    Each,
    /// The last one: for protocols where a batch is one transaction (nf_tables).
    Last,
}

/// One message of a batch, refused.
#[derive(Debug)]
pub struct Refused {
    /// Its place in the batch.
    pub index: usize,
    /// What it would have done, as named when it was written.
    pub what: Cow<'static, str>,
    /// Why.
    pub error: io::Error,
    /// The kernel's own words, where it has any.
    pub text: Option<String>,
}

/// What one dump listed.
struct Dump {
    answers: Vec<Answer>,
    /// No change ran into it.
    is_whole: bool,
}

/// A message of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Message type.
    pub kind: u16,
    /// What follows the netlink header: the family's header, then attributes.
    pub body: Vec<u8>,
}

impl Netlink {
    /// Opens a socket of a protocol (`NETLINK_ROUTE`, `NETLINK_NETFILTER`) in this thread's
    /// network namespace.
    ///
    /// # Errors
    /// The kernel does not know the protocol, or has no memory.
    pub fn open(protocol: i32) -> io::Result<Self> {
        let mut socket = netlink_sys::Socket::new(protocol as isize)?;
        // Older kernels do not know these two; answers are then longer, and without texts.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        socket.bind_auto()?;
        Self::from_fd(socket.as_fd().try_clone_to_owned()?)
    }

    /// Takes over an open netlink socket, such as another process passed on.
    ///
    /// # Errors
    /// It is no socket.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        if sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_BUFFER_LEN).is_err() {
            sockopt::set_socket_recv_buffer_size(&fd, RECEIVE_BUFFER_LEN)?;
        }
        // A transaction is one message, and the kernel takes none that is longer than this.
        if sockopt::set_socket_send_buffer_size_force(&fd, SEND_BUFFER_LEN).is_err() {
            sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER_LEN)?;
        }
        sockopt::set_socket_timeout(&fd, Timeout::Recv, Some(ANSWER_WAIT))?;
        let buffer = vec![0; READ_LEN];
        // Somebody else's numbers must not look like ours: begin where few do.
        let sequence = std::process::id().rotate_left(12);
        let mut netlink = Self {
            fd,
            sequence,
            buffer,
        };
        netlink.drain();
        Ok(netlink)
    }

    /// The address the kernel knows this socket by (its "port id").
    ///
    /// # Errors
    /// It is no netlink socket.
    pub fn port(&self) -> io::Result<u32> {
        let address = rustix::net::getsockname(&self.fd)?;
        Ok(SocketAddrNetlink::try_from(address)?.pid())
    }

    /// Sends a batch in one system call and reads what became of each message. An empty list
    /// means that all were carried out.
    ///
    /// # Errors
    /// The batch did not reach the kernel, or its answers did not come back: what was done is not
    /// known.
    pub fn exchange(&mut self, batch: Batch, ack: Ack) -> io::Result<Vec<Refused>> {
        self.run(batch, ack, &mut Vec::new())
    }

    /// Sends one question and returns its answers.
    ///
    /// # Errors
    /// What the kernel says; what the socket says.
    pub fn ask(&mut self, question: Batch) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        let refused = self.run(question, Ack::Last, &mut answers)?;
        refused
            .into_iter()
            .next()
            .map_or(Ok(answers), |refused| Err(refused.error))
    }

    /// Asks for everything of a kind; `write` writes the one question, which becomes a dump.
    ///
    /// # Errors
    /// What the kernel says; `EINTR` if changes ran into it again and again for 100 ms.
    pub fn dump(&mut self, write: impl Fn(&mut Batch)) -> io::Result<Vec<Answer>> {
        let start = Instant::now();
        for tried in 1.. {
            let tried_enough = start.elapsed() > DUMP_TRIES_FOR;
            let dump = self.dump_once(&write)?;
            if dump.is_whole {
                return Ok(dump.answers);
            }
            if tried_enough {
                break;
            }
            pause_after(tried);
        }
        Err(io::Error::from(rustix::io::Errno::INTR))
    }

    /// Like [`Netlink::dump`], for lists whose reader repairs what it missed: if changes ran into
    /// [`LOOSE_TRIES_MAX`] dumps, it is what any of them listed, and may lack what every one of
    /// them missed. Entries may come twice.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn dump_loosely(&mut self, write: impl Fn(&mut Batch)) -> io::Result<Vec<Answer>> {
        let mut listed = Vec::new();
        for tried in 1..=LOOSE_TRIES_MAX {
            let dump = self.dump_once(&write)?;
            if dump.is_whole {
                return Ok(dump.answers);
            }
            listed.extend(dump.answers);
            pause_after(tried);
        }
        Ok(listed)
    }

    fn dump_once(&mut self, write: impl Fn(&mut Batch)) -> io::Result<Dump> {
        let mut question = Batch::new();
        write(&mut question);
        let (mut bytes, starts) = question.finish_dump();
        let first = self.send(&mut bytes, &starts)?;
        self.read_dump(first)
    }

    /// Writes sequence numbers and sends; returns the first number.
    fn send(&mut self, bytes: &mut [u8], starts: &[usize]) -> io::Result<u32> {
        let count = u32::try_from(starts.len()).unwrap_or(u32::MAX);
        let first = self.sequence;
        self.sequence = self.sequence.wrapping_add(count);
        for (index, &start) in (0..).zip(starts) {
            let number = first.wrapping_add(index);
            bytes[start + 8..start + 12].copy_from_slice(&number.to_ne_bytes());
        }
        let sent = rustix::net::send(&self.fd, bytes, SendFlags::empty())?;
        if sent == bytes.len() {
            Ok(first)
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    fn run(
        &mut self,
        batch: Batch,
        ack: Ack,
        answers: &mut Vec<Answer>,
    ) -> io::Result<Vec<Refused>> {
        let Some(mut plan) = batch.finish(ack) else {
            return Ok(Vec::new());
        };
        let first = self.send(&mut plan.bytes, &plan.starts)?;
        let mut refused = Vec::new();
        for _ in 0..DATAGRAMS_MAX {
            let mut is_over = false;
            self.receive(|kind, flags, sequence, body| {
                let index = sequence.wrapping_sub(first) as usize;
                if index >= plan.names.len() {
                    return; // An answer to somebody else's question.
                }
                if kind != KIND_ERROR {
                    answers.push(Answer {
                        kind,
                        body: body.to_vec(),
                    });
                    return;
                }
                let what = plan.names[index].clone();
                let refusal = refusal(index, what, flags, body);
                // A refusal of a control message is one of the whole batch, and the only answer.
                is_over |= index == plan.last || (refusal.is_some() && plan.is_control(index));
                refused.extend(refusal);
            })?;
            if is_over {
                return Ok(refused);
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Reads a dump to its end.
    fn read_dump(&mut self, wanted: u32) -> io::Result<Dump> {
        let mut dump = Dump {
            answers: Vec::new(),
            is_whole: true,
        };
        for _ in 0..DATAGRAMS_MAX {
            let mut over = None;
            self.receive(|kind, flags, sequence, body| {
                if sequence != wanted {
                    return;
                }
                dump.is_whole &= flags & DUMP_INTERRUPTED == 0;
                match kind {
                    KIND_DONE | KIND_ERROR => over = Some(code_of(body)),
                    _ => dump.answers.push(Answer {
                        kind,
                        body: body.to_vec(),
                    }),
                }
            })?;
            match over {
                Some(0) => return Ok(dump),
                Some(errno) if errno == rustix::io::Errno::INTR.raw_os_error() => {
                    dump.is_whole = false;
                    return Ok(dump);
                }
                Some(errno) => return Err(io::Error::from_raw_os_error(errno)),
                None => {}
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Reads one datagram and gives each message: type, flags, sequence number, what follows.
    fn receive(&mut self, mut each: impl FnMut(u16, u16, u32, &[u8])) -> io::Result<()> {
        let (_, len, from) = loop {
            match rustix::net::recvfrom(&self.fd, &mut self.buffer[..], RecvFlags::TRUNC) {
                Err(rustix::io::Errno::INTR) => {}
                read => break read?,
            }
        };
        if len > self.buffer.len() {
            return Err(io::Error::other(
                "a netlink answer was longer than the buffer",
            ));
        }
        let from = from.and_then(|address| SocketAddrNetlink::try_from(address).ok());
        if from.is_none_or(|address| address.pid() == 0) {
            messages(&self.buffer[..len], &mut each);
        }
        Ok(())
    }

    /// Throws away answers that a former holder of the socket did not read.
    fn drain(&mut self) {
        for _ in 0..DATAGRAMS_MAX {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            match rustix::net::recv(&self.fd, &mut self.buffer[..], flags) {
                Ok(_) | Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn messages(mut bytes: &[u8], each: &mut impl FnMut(u16, u16, u32, &[u8])) {
    while let Some(header) = bytes.first_chunk::<HEADER_LEN>() {
        let len = u32_of(&header[0..4]).unwrap_or(0) as usize;
        let Some(body) = bytes.get(HEADER_LEN..len) else {
            return; // The kernel does not write such a length.
        };
        let (kind, flags) = (u16_of(&header[4..6]), u16_of(&header[6..8]));
        let sequence = u32_of(&header[8..12]).unwrap_or(0);
        each(kind.unwrap_or(0), flags.unwrap_or(0), sequence, body);
        bytes = bytes.get(message::aligned(len)..).unwrap_or(&[]);
    }
}

/// Gives a change that a dump ran into time to end.
fn pause_after(tried: usize) {
    if tried >= DUMP_TRIES_AT_ONCE {
        thread::sleep(DUMP_PAUSE);
    }
}

/// The positive errno of an acknowledgement; 0 is consent.
fn code_of(body: &[u8]) -> i32 {
    let code = body
        .first_chunk()
        .map_or(0, |code| i32::from_ne_bytes(*code));
    code.checked_neg().unwrap_or(i32::MAX).max(0)
}

fn refusal(index: usize, what: Cow<'static, str>, flags: u16, body: &[u8]) -> Option<Refused> {
    let code = code_of(body);
    (code != 0).then(|| Refused {
        index,
        what,
        error: io::Error::from_raw_os_error(code),
        text: text_of(flags, body),
    })
}

/// The kernel's words behind the echo of the request, of which only the header came back if the
/// socket could be told so.
fn text_of(flags: u16, body: &[u8]) -> Option<String> {
    if flags & HAS_TEXT == 0 {
        return None;
    }
    let echoed = u32_of(body.get(4..8)?)? as usize;
    let echoed = if flags & CAPPED == 0 {
        echoed
    } else {
        HEADER_LEN
    };
    let text = find(body.get(4 + message::aligned(echoed)..)?, TEXT)?;
    let text = text.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests;
