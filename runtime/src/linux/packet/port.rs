//! One port: its socket, what is counted on it, and how it is opened again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll;
use rustix::net::netdevice::name_to_index;
use rustix::time::{ClockId, clock_gettime};
use steadfast_core::wire::advert::GROUP_MAC;
use steadfast_core::wire::announce::claims_to_own;
use steadfast_core::wire::carriage::{DATAGRAM_LEN, GROUP_IP_MAC};
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::wire::ndisc::{ALL_NODES, group_mac};
use steadfast_core::{Instant, MacAddr};
use steadfast_shell::env::Sent;

use super::{FRAME_MAX, PortCounters, PortSpec, filter};
use crate::linux::carrier::{CarrierBoard, Seen};
use crate::linux::clock::Monotonic;
use crate::linux::lease::LeaseGuard;
use crate::linux::raw;

/// At least this long between two attempts to open a port; attempts are counted, and go on for as
/// long as the interface is missing.
pub const REOPEN_SPACING: Duration = Duration::from_millis(20);

/// A frame is never taken to be older: the wall clock may have stepped.
const AGE_MAX: Duration = Duration::from_secs(1);
/// Room for frames that wait, bytes as the kernel counts: some 2000 advertisements.
const RECEIVE_ROOM: i32 = 1 << 20;
/// The band of network control, before all other traffic. More than 6 takes CAP_NET_ADMIN.
const HEARTBEAT_PRIORITY: i32 = 7;
/// Ethernet, as hardware types are numbered.
const ARPHRD_ETHER: u16 = 1;
/// Where VRRP speakers send to (RFC 9568 §5.1).
const VRRP_MACS: [MacAddr; 2] = [
    MacAddr([0x01, 0x00, 0x5e, 0x00, 0x00, 0x12]),
    MacAddr([0x33, 0x33, 0x00, 0x00, 0x00, 0x12]),
];
/// Where the lease guard reads what a frame of ours says of its sender.
const MARK_AT: usize = 15;
const MARK_ACTIVE: u8 = 2;
const MARK_OFFERING: u8 = 3;

#[derive(Debug)]
pub(super) struct Port {
    pub(super) spec: PortSpec,
    /// Its number among the ports, by which it is found when its socket has something.
    place: usize,
    socket: Option<Socket>,
    /// No attempt to open it before this.
    retry_at: Instant,
    /// When it was last seen without a waiting frame.
    empty_at: Instant,
    counters: PortCounters,
}

#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    index: u32,
}

/// What looking for a frame brought.
pub(super) enum Taken {
    /// Something that is not handed over; look again.
    Discarded,
    /// A frame.
    Frame {
        /// Its length.
        len: usize,
        /// When the kernel took it in.
        at: Instant,
    },
    /// Nothing waits.
    None,
}

impl Port {
    pub(super) fn new(spec: PortSpec, place: usize, now: Instant) -> Self {
        Self {
            spec,
            place,
            socket: None,
            retry_at: Instant::ORIGIN,
            empty_at: now,
            counters: PortCounters::default(),
        }
    }

    /// Opens the socket and lets `epoll` watch it.
    pub(super) fn open(&mut self, epoll: &OwnedFd) -> io::Result<()> {
        let fd = raw::packet_socket()?;
        let index = name_to_index(&fd, &self.spec.name)?;
        let request = raw::request_socket()?;
        let (kind, mac) = raw::hardware(request.as_fd(), &self.spec.name)?;
        if kind != ARPHRD_ETHER {
            return Err(io::Error::other("not an Ethernet interface"));
        }
        if mac != self.spec.mac {
            let (name, before) = (&self.spec.name, self.spec.mac);
            log::warn!("port {name}: its address is {mac}, configured as {before}");
        }
        self.prepare(fd.as_fd(), index)?;
        raw::bind_packet(fd.as_fd(), index)?;
        // The socket hears from here on; groups come last because they need the interface alone.
        for group in self.groups() {
            if let Err(error) = raw::join(fd.as_fd(), index, group) {
                log::warn!("port {}: failed to join {group}: {error}", self.spec.name);
            }
        }
        let data = epoll::EventData::new_u64(self.place as u64);
        epoll::add(epoll, &fd, data, epoll::EventFlags::IN)?;
        self.socket = Some(Socket { fd, index });
        Ok(())
    }

    /// Opens the port again if its interface came back, or is another one than before.
    pub(super) fn mend(&mut self, epoll: &OwnedFd, time: Monotonic, board: &CarrierBoard) {
        let watched = board.seen(self.spec.id).map_or(0, |seen| seen.index);
        let bound = self.socket.as_ref().map(|socket| socket.index);
        if bound.is_some_and(|bound| watched == 0 || watched == bound) {
            return;
        }
        let now = time.now();
        if now < self.retry_at {
            return;
        }
        self.retry_at = now.after(REOPEN_SPACING);
        self.close();
        match self.open(epoll) {
            Ok(()) => {
                self.counters.reopened += 1;
                self.empty_at = now;
                log::info!("port {}: opened again", self.spec.name);
            }
            Err(error) => {
                self.counters.reopen_failed += 1;
                if !is_absent(&error) {
                    log::warn!("port {}: failed to open it again: {error}", self.spec.name);
                }
            }
        }
    }

    pub(super) fn take(&mut self, buffer: &mut [u8], time: Monotonic) -> Taken {
        let Some(socket) = &self.socket else {
            return Taken::None;
        };
        let asked_at = time.now();
        let received = match raw::receive(socket.fd.as_fd(), buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.empty_at = asked_at;
                return Taken::None;
            }
            Err(error) => {
                self.doubt(&error);
                return Taken::Discarded;
            }
        };
        if received.cut {
            self.counters.too_long += 1;
            return Taken::Discarded;
        }
        self.counters.received += 1;
        let at = time.now().before(age(received.stamp));
        Taken::Frame {
            len: received.len,
            at: at.max(self.empty_at),
        }
    }

    /// Nothing waited then.
    pub(super) fn was_empty(&mut self, at: Instant) {
        self.empty_at = at;
    }

    /// As [`Self::send`] under a lease: judged where the kernel does not do that, and a word that
    /// nothing can take to the wire keeps the lease as if it had left.
    pub(super) fn send_guarded(
        &mut self,
        frame: &[u8],
        seen: Option<Seen>,
        (guard, now): (&LeaseGuard, Instant),
    ) -> Sent {
        let mark = self.mark(kind(frame), frame);
        if guard.judges() && !guard.permits(now) {
            // As the kernel does: without a lease nothing says active or offering, nor that an
            // address is here; only the former tells its sender of the role.
            let claims = |frame| claims_to_own(&frame, self.spec.mac);
            if mark.is_some() {
                self.counters.refused += 1;
                return Sent::Refused;
            }
            if Frame::parse(frame).is_some_and(claims) {
                self.counters.refused += 1;
                return Sent::Dropped;
            }
        }
        let sent = self.send(frame, seen);
        if mark != Some(MARK_ACTIVE) {
            return sent;
        }
        match sent {
            Sent::Sent if guard.judges() => guard.said_active(now),
            Sent::Sent => guard.was_renewed(now),
            Sent::NoCarrier if !guard.permits(now) => {
                self.counters.refused += 1;
                return Sent::Refused;
            }
            Sent::NoCarrier => guard.said_active(now),
            Sent::Dropped | Sent::Refused => {}
        }
        sent
    }

    pub(super) fn send(&mut self, frame: &[u8], seen: Option<Seen>) -> Sent {
        let Some(socket) = &self.socket else {
            self.counters.no_carrier += 1;
            return Sent::NoCarrier;
        };
        if frame.len() > FRAME_MAX {
            self.counters.too_long += 1;
            return Sent::Dropped;
        }
        if seen.is_some_and(|seen| !seen.up) {
            self.counters.no_carrier += 1;
            return Sent::NoCarrier;
        }
        let kind = kind(frame);
        match raw::send(socket.fd.as_fd(), socket.index, kind, frame) {
            Ok(()) => {
                self.counters.sent += 1;
                Sent::Sent
            }
            Err(error) => self.not_sent(&error, kind, frame),
        }
    }

    pub(super) fn counters(&mut self) -> PortCounters {
        self.count_drops();
        self.counters
    }

    /// Everything of the socket that must be right before it hears the first frame.
    fn prepare(&self, fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
        raw::attach_filter(fd, &filter::program(self.spec.datagrams, self.spec.routed))?;
        raw::set_number(fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        raw::set_number(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        let room = |name| raw::set_number(fd, libc::SOL_SOCKET, name, RECEIVE_ROOM);
        // Beyond net.core.rmem_max takes CAP_NET_ADMIN in the first namespace.
        room(libc::SO_RCVBUFFORCE).or_else(|_| room(libc::SO_RCVBUF))?;
        if self.spec.heartbeat {
            let first =
                raw::set_number(fd, libc::SOL_SOCKET, libc::SO_PRIORITY, HEARTBEAT_PRIORITY);
            if let Err(error) = first {
                log::warn!("interface {index}: no priority for heartbeats: {error}");
            }
        }
        Ok(())
    }

    /// The groups this port must hear; a network card drops the others.
    fn groups(&self) -> Vec<MacAddr> {
        let mut groups = Vec::new();
        if self.spec.heartbeat {
            groups.push(GROUP_MAC);
        }
        if self.spec.datagrams.is_some() {
            groups.push(GROUP_IP_MAC);
        }
        if self.spec.served {
            groups.extend(VRRP_MACS);
            groups.push(group_mac(ALL_NODES));
        }
        groups
    }

    fn not_sent(&mut self, error: &io::Error, kind: u16, frame: &[u8]) -> Sent {
        match error.raw_os_error() {
            Some(libc::ENOBUFS) if self.mark(kind, frame).is_some() => {
                self.counters.refused += 1;
                Sent::Refused
            }
            Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => {
                self.doubt(error);
                self.counters.no_carrier += 1;
                Sent::NoCarrier
            }
            Some(_) | None => {
                self.counters.no_room += 1;
                Sent::Dropped
            }
        }
    }

    /// What a frame says that leaves under a lease alone: active, or offering (D9). The only
    /// datagrams that are sent are advertisements.
    fn mark(&self, kind: u16, frame: &[u8]) -> Option<u8> {
        let mark = match kind {
            ethertype::STEADFAST => frame.get(MARK_AT),
            ethertype::IPV4 if self.spec.datagrams.is_some() => frame.get(MARK_AT + DATAGRAM_LEN),
            _ => None,
        };
        mark.copied()
            .filter(|mark| [MARK_ACTIVE, MARK_OFFERING].contains(mark))
    }

    /// An error said that the interface is down or gone. Down is no reason to close the socket: it
    /// goes on when the interface is up again.
    fn doubt(&mut self, error: &io::Error) {
        let Some(socket) = &self.socket else {
            return;
        };
        let bound = raw::bound_index(socket.fd.as_fd()).unwrap_or(0);
        if bound != socket.index {
            log::warn!("port {}: its interface is gone: {error}", self.spec.name);
            self.close();
        }
    }

    fn close(&mut self) {
        self.count_drops();
        self.socket = None;
    }

    fn count_drops(&mut self) {
        if let Some(socket) = &self.socket {
            let drops = raw::take_drops(socket.fd.as_fd()).unwrap_or(0);
            self.counters.dropped_by_kernel += u64::from(drops);
        }
    }
}

/// Whether an interface is not there.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENODEV | libc::ENXIO | libc::ENETDOWN)
    )
}

fn kind(frame: &[u8]) -> u16 {
    let bytes = frame.get(12..14).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u16::from_be_bytes)
}

/// How long ago a frame came in, by the wall clock it was stamped with.
fn age(stamp: Option<Duration>) -> Duration {
    let now = clock_gettime(ClockId::Realtime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let now = Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0));
    let age = stamp.map_or(Duration::ZERO, |stamp| now.saturating_sub(stamp));
    age.min(AGE_MAX)
}
