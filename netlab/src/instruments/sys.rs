//! The system calls of the instruments that no safe crate offers: packet sockets and priority.
//!
//! A packet socket sees whole Ethernet frames with the kernel's stamp of their arrival. Frames are
//! read in batches, so a reader may sleep: the stamps say when each came, whenever it is read.
//! Stamps are in the wall clock; [`Batch`] turns them into ages once per batch, so that a step of
//! the wall clock spoils one batch at most, and then by less than [`AGE_MAX`].
//!
//! The hard case is a socket that overflows: the kernel drops and counts, see
//! [`PacketSocket::dropped`]. The limit: of frames longer than [`SNAP`] only the beginning is seen.

#![expect(
    unsafe_code,
    reason = "packet sockets, batches and priorities have no safe wrapper"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use core::time::Duration;

use steadfast_core::MacAddr;

use super::filter::{self, Instruction};
use crate::sys::{has_carrier, is_set_up};

/// Frames of one batch; more wait for the next.
pub(super) const BATCH: usize = 64;
/// Bytes of a frame that are kept.
pub(super) const SNAP: usize = 2048;
/// A frame cannot have waited longer than this: an older stamp is a clock that was set.
pub(super) const AGE_MAX: Duration = Duration::from_secs(1);
/// Bytes before a frame of [`PacketSocket::open_all`] (`struct virtio_net_hdr`).
pub(crate) const VNET_LEN: usize = 10;
/// Frames sent by one call; more are sent by further calls.
const SEND_MAX: usize = 64;
/// What a socket may queue; the kernel grants twice that.
const QUEUE_BYTES: i32 = 4 << 20;
/// Above the gateways' daemons (50): who watches must not wait for whom it watches.
const FIFO_PRIORITY: i32 = 60;
/// `u64`s that hold the control message of a stamp.
const CONTROL_WORDS: usize = 8;

/// A socket that sends and sees whole Ethernet frames at one interface. It stays in the network
/// namespace it was opened in, whichever thread uses it.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    interface: String,
}

impl PacketSocket {
    /// Opens one at an interface of the calling thread's network namespace. `outgoing` says
    /// whether frames are seen too that this machine sends there.
    pub(super) fn open(
        interface: &str,
        filter: &[Instruction],
        outgoing: bool,
    ) -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the kernel just made it, nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let index = rustix::net::netdevice::name_to_index(&fd, interface)?;
        let index = i32::try_from(index).map_err(io::Error::other)?;
        attach(fd.as_fd(), filter)?;
        set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1_i32)?;
        let ignore = i32::from(!outgoing);
        set(
            fd.as_fd(),
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            &ignore,
        )?;
        let forced = set(
            fd.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            &QUEUE_BYTES,
        );
        forced.or_else(|_| set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, &QUEUE_BYTES))?;
        // SAFETY: all zeros are a valid value of this plain structure.
        let mut request: libc::packet_mreq = unsafe { zeroed() };
        request.mr_ifindex = index;
        request.mr_type = libc::PACKET_MR_PROMISC as u16;
        set(
            fd.as_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            &request,
        )?;
        // SAFETY: as above.
        let mut place: libc::sockaddr_ll = unsafe { zeroed() };
        place.sll_family = libc::AF_PACKET as u16;
        place.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        place.sll_ifindex = index;
        let length = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: the address is valid for the length told, and outlives the call.
        check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const place).cast(), length) })?;
        let interface = interface.to_owned();
        Ok(Self { fd, interface })
    }

    /// Opens one that sees everything that comes in, each frame behind [`VNET_LEN`] bytes that say
    /// which checksum is still to be made: so it can be sent on as it is, with them.
    pub(crate) fn open_all(interface: &str) -> io::Result<Self> {
        let socket = Self::open(interface, &filter::everything(), false)?;
        let (level, option) = (libc::SOL_PACKET, libc::PACKET_VNET_HDR);
        set(socket.fd.as_fd(), level, option, &1_i32)?;
        Ok(socket)
    }

    /// Opens one for somebody who sits beside this observer: it sees everything that comes in but
    /// what the observer is answered.
    pub(crate) fn beside(observer: MacAddr, interface: &str) -> io::Result<Self> {
        Self::open(interface, &filter::all_but(observer), false)
    }

    /// What waits, at most one batch; none for a frame that was not kept as a whole. With each, how
    /// long it has waited.
    pub(crate) fn take(&self, frames: &mut Frames) -> io::Result<Vec<(Option<Vec<u8>>, Duration)>> {
        self.receive(&mut frames.0)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let taken = |it: Caught<'_>| {
            let is_whole = it.length as usize == it.bytes.len();
            let age = it.stamp.and_then(|stamp| now.checked_sub(stamp));
            let age = age.filter(|age| *age <= AGE_MAX).unwrap_or_default();
            (is_whole.then(|| it.bytes.to_vec()), age)
        };
        Ok(frames.0.frames().map(taken).collect())
    }

    /// Sends one frame; 0 if the kernel does not take it.
    pub(crate) fn put(&self, frame: &[u8]) -> usize {
        self.send(&[frame])
    }

    /// Sends these frames in order and says how many the kernel took; it stops at the first that
    /// it refuses.
    pub(crate) fn send(&self, frames: &[impl AsRef<[u8]>]) -> usize {
        let mut done = 0;
        for chunk in frames.chunks(SEND_MAX) {
            // SAFETY: all zeros are a valid value of these plain structures.
            let mut parts: [libc::iovec; SEND_MAX] = unsafe { zeroed() };
            // SAFETY: as above.
            let mut headers: [libc::mmsghdr; SEND_MAX] = unsafe { zeroed() };
            for ((frame, part), header) in chunk.iter().zip(&mut parts).zip(&mut headers) {
                let frame = frame.as_ref();
                part.iov_base = frame.as_ptr().cast_mut().cast();
                part.iov_len = frame.len();
                header.msg_hdr.msg_iov = part;
                header.msg_hdr.msg_iovlen = 1;
            }
            let (fd, count) = (self.fd.as_raw_fd(), chunk.len() as u32);
            // SAFETY: `count` headers are filled in, each with one part that points at a frame
            // which is only read and outlives the call.
            let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, 0) };
            let sent = usize::try_from(sent).unwrap_or(0);
            done += sent;
            if sent < chunk.len() {
                break;
            }
        }
        done
    }

    /// Whether its interface has no carrier: nothing that is sent arrives anywhere.
    pub(super) fn is_dark(&self) -> bool {
        let (socket, name) = (self.fd.as_fd(), &self.interface);
        // Asking for carrier waits for the kernel's configuration lock.
        is_set_up(socket, name).is_ok_and(|up| !up)
            || has_carrier(socket, name).is_ok_and(|carrier| !carrier)
    }

    /// Fills the batch with what waits, without waiting itself, and says how many frames it got.
    pub(super) fn receive(&self, batch: &mut Batch) -> io::Result<usize> {
        batch.got.clear();
        let Batch { bytes, control, .. } = &mut *batch;
        // SAFETY: all zeros are a valid value of these plain structures.
        let mut parts: [libc::iovec; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut names: [libc::sockaddr_ll; BATCH] = unsafe { zeroed() };
        let rooms = bytes.chunks_exact_mut(SNAP).zip(control.iter_mut());
        for (at, (bytes, control)) in rooms.enumerate().take(BATCH) {
            parts[at].iov_base = bytes.as_mut_ptr().cast();
            parts[at].iov_len = SNAP;
            let header = &mut headers[at].msg_hdr;
            header.msg_name = (&raw mut names[at]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
            header.msg_iov = &raw mut parts[at];
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = size_of::<[u64; CONTROL_WORDS]>() as _;
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        let (fd, count) = (self.fd.as_raw_fd(), BATCH as u32);
        // SAFETY: every header points at rooms of the lengths told, which nobody else uses and
        // which outlive the call.
        let got = unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr(),
                count,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        let Ok(got) = usize::try_from(got) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        };
        for (header, name) in headers.iter().zip(&names).take(got) {
            batch.got.push(Got {
                length: header.msg_len,
                // SAFETY: the kernel filled in this header's control room.
                stamp: unsafe { stamp(&header.msg_hdr) },
                packet_type: name.sll_pkttype,
            });
        }
        Ok(got)
    }

    /// How many frames the kernel dropped since the last question because nobody read.
    pub(super) fn dropped(&self) -> io::Result<u32> {
        // SAFETY: all zeros are a valid value of this plain structure.
        let mut statistics: libc::tpacket_stats = unsafe { zeroed() };
        let mut length = size_of::<libc::tpacket_stats>() as u32;
        let (fd, option) = (self.fd.as_raw_fd(), libc::PACKET_STATISTICS);
        let room = (&raw mut statistics).cast();
        // SAFETY: the room has the length told and outlives the call.
        check(unsafe { libc::getsockopt(fd, libc::SOL_PACKET, option, room, &raw mut length) })?;
        Ok(statistics.tp_drops)
    }
}

/// Room for what a socket gives.
#[derive(Debug)]
pub(crate) struct Frames(Batch);

impl Default for Frames {
    fn default() -> Self {
        Self(Batch::new())
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Frames as they came out of a socket.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    control: Vec<[u64; CONTROL_WORDS]>,
    got: Vec<Got>,
}

#[derive(Clone, Copy, Debug)]
struct Got {
    length: u32,
    stamp: Option<Duration>,
    packet_type: u8,
}

/// A frame of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caught<'a> {
    /// Its first [`SNAP`] bytes.
    pub(super) bytes: &'a [u8],
    /// Its whole length.
    pub(super) length: u32,
    /// When it passed, in the wall clock; none if the kernel gave no stamp.
    pub(super) stamp: Option<Duration>,
    /// Whether it was meant for this interface's own address.
    pub(super) for_us: bool,
    /// Whether this machine sent it.
    pub(super) outgoing: bool,
}

impl Batch {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BATCH * SNAP],
            control: vec![[0; CONTROL_WORDS]; BATCH],
            got: Vec::with_capacity(BATCH),
        }
    }

    /// What was received last, in order.
    pub(super) fn frames(&self) -> impl Iterator<Item = Caught<'_>> {
        let rooms = self.bytes.chunks_exact(SNAP);
        self.got.iter().zip(rooms).map(|(got, room)| {
            let length = usize::try_from(got.length).unwrap_or(SNAP).min(SNAP);
            Caught {
                bytes: &room[..length],
                length: got.length,
                stamp: got.stamp,
                for_us: got.packet_type == libc::PACKET_HOST,
                outgoing: got.packet_type == libc::PACKET_OUTGOING,
            }
        })
    }
}

/// Puts a filter on any socket: what it does not accept, the socket never sees.
pub(super) fn attach(fd: BorrowedFd<'_>, filter: &[Instruction]) -> io::Result<()> {
    let mut program: Vec<libc::sock_filter> = filter
        .iter()
        .map(|it| libc::sock_filter {
            code: it.code,
            jt: it.yes,
            jf: it.no,
            k: it.value,
        })
        .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Asks that the calling thread runs before everybody else; says whether that was granted. Without
/// it instruments are late on a busy machine, and say so.
pub(crate) fn run_first() -> bool {
    // SAFETY: all zeros are a valid value of this plain structure.
    let mut parameter: libc::sched_param = unsafe { zeroed() };
    parameter.sched_priority = FIFO_PRIORITY;
    // SAFETY: the parameter outlives the call; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) == 0 }
}

/// The stamp among a message's control data.
///
/// # Safety
/// The header's control room must have been filled in by the kernel and still be there.
unsafe fn stamp(header: &libc::msghdr) -> Option<Duration> {
    // SAFETY: the macros walk within the room whose length the kernel wrote; a stamp's data is a
    // timespec, perhaps unaligned.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while !at.is_null() {
            let kind = ((*at).cmsg_level, (*at).cmsg_type);
            if kind == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
                let data = libc::CMSG_DATA(at).cast::<libc::timespec>();
                let time = data.read_unaligned();
                let seconds = u64::try_from(time.tv_sec).ok()?;
                let nanos = u32::try_from(time.tv_nsec).ok()?;
                return Some(Duration::new(seconds, nanos));
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    None
}

fn set<T>(fd: BorrowedFd<'_>, level: i32, option: i32, value: &T) -> io::Result<()> {
    let (pointer, length) = ((&raw const *value).cast(), size_of::<T>() as u32);
    // SAFETY: the value is valid for its own size and outlives the call; callers pass the plain
    // structure that the option wants.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, pointer, length) })?;
    Ok(())
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
