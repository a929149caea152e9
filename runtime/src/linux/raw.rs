//! The calls on ports and threads that have no safe form elsewhere: all unsafe code of this room.
//!
//! Each function owns its pointers: buffers come in as slices, descriptors as borrowed handles, and
//! what the kernel writes is copied into plain values before it is looked at. Nothing here decides
//! anything; errors are the kernel's, as they are.
//!
//! The limit: 64-bit Linux, where the kernel's time stamps are two 8-byte numbers.

#![expect(
    unsafe_code,
    reason = "packet sockets, interface requests and real-time scheduling have no safe wrapper"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use steadfast_core::MacAddr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes of an interface's name, the ending zero included (IFNAMSIZ).
const NAME_LEN: usize = 16;
/// Room for the control messages of one frame: a time stamp takes 32 bytes.
const CONTROL_LEN: usize = 64;

/// What is known of a received frame beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// Bytes that were written.
    pub(super) len: usize,
    /// The frame was longer than the buffer.
    pub(super) cut: bool,
    /// When the kernel took it in: wall time since 1970.
    pub(super) stamp: Option<Duration>,
}

/// A packet socket that hears nothing until it is bound.
pub(super) fn packet_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        flags,
        None,
    )?)
}

/// A datagram socket for requests about interfaces; it never carries anything.
pub(super) fn request_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        flags,
        None,
    )?)
}

/// Binds a packet socket to every frame of one interface.
pub(super) fn bind_packet(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let address = link_address(index, libc::ETH_P_ALL as u16);
    // SAFETY: the address is a live sockaddr_ll and the length is its own.
    check(unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            length::<libc::sockaddr_ll>(),
        )
    })
}

/// The interface a packet socket is bound to; 0 once that interface is gone.
pub(super) fn bound_index(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut address = link_address(0, 0);
    let mut len = length::<libc::sockaddr_ll>();
    // SAFETY: both pointers are to live values, and `len` says how many bytes may be written.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut address).cast(), &raw mut len) })?;
    Ok(u32::try_from(address.sll_ifindex).unwrap_or(0))
}

/// Sets an option that is one number.
pub(super) fn set_number(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: four bytes of a live number are read.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            length::<i32>(),
        )
    })
}

/// Lets the interface take in frames for a group address, while the socket lives.
pub(super) fn join(fd: BorrowedFd<'_>, index: u32, group: MacAddr) -> io::Result<()> {
    let [a, b, c, d, e, f] = group.0;
    let request = libc::packet_mreq {
        mr_ifindex: index.cast_signed(),
        mr_type: libc::PACKET_MR_MULTICAST as u16,
        mr_alen: 6,
        mr_address: [a, b, c, d, e, f, 0, 0],
    };
    // SAFETY: the request is live and the length is its own.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            length::<libc::packet_mreq>(),
        )
    })
}

/// Attaches a classic filter program; at most 4096 instructions, which the kernel checks.
pub(super) fn attach_filter(fd: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let request = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from the slice, which outlives the call, and
    // writes to none of them.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const request).cast(),
            length::<libc::sock_fprog>(),
        )
    })
}

/// Frames the kernel dropped for want of room since the last call.
pub(super) fn take_drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut stats = libc::tpacket_stats {
        tp_packets: 0,
        tp_drops: 0,
    };
    let mut len = length::<libc::tpacket_stats>();
    // SAFETY: both pointers are to live values, and `len` says how many bytes may be written.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut stats).cast(),
            &raw mut len,
        )
    })?;
    Ok(stats.tp_drops)
}

/// Takes the next frame without waiting; `WouldBlock` if there is none.
pub(super) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    #[repr(align(8))]
    struct Control([u8; CONTROL_LEN]);
    let mut control = Control([0; CONTROL_LEN]);
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: msghdr is plain data for which all zeros is a valid, empty message.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_LEN as _;
    // SAFETY: the message points to the live buffer and control bytes, with their lengths.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    Ok(Received {
        len: len.min(buffer.len()),
        cut: message.msg_flags & libc::MSG_TRUNC != 0,
        stamp: stamp(&message),
    })
}

/// Sends a whole frame out of an interface, without waiting.
pub(super) fn send(fd: BorrowedFd<'_>, index: u32, kind: u16, frame: &[u8]) -> io::Result<()> {
    let address = link_address(index, kind);
    // SAFETY: frame and address are live, and the lengths are their own.
    let sent = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT,
            (&raw const address).cast(),
            length::<libc::sockaddr_ll>(),
        )
    };
    usize::try_from(sent)
        .map(drop)
        .map_err(|_| io::Error::last_os_error())
}

/// Whether an interface is up and has carrier, as its driver says now; a pending change of the
/// kernel's view is worked off first, and its event sent (D18).
pub(super) fn link_detected(fd: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    const ETHTOOL_GLINK: u32 = 0x0a;
    let mut value = [ETHTOOL_GLINK, 0];
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    // SAFETY: the request names an ethtool_value (two u32), which is live and may be written.
    check(unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::SIOCETHTOOL as libc::Ioctl,
            &raw mut request,
        )
    })?;
    Ok(value[1] != 0)
}

/// Whether an interface is set up and running, by its flags: the kernel's view, which may be late.
pub(super) fn is_running(fd: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    const WANTED: i32 = libc::IFF_UP | libc::IFF_RUNNING;
    let mut request = interface_request(name)?;
    // SAFETY: the kernel writes into the live request only.
    check(unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::SIOCGIFFLAGS as libc::Ioctl,
            &raw mut request,
        )
    })?;
    // SAFETY: every member of the union is plain data, and this one was written by the call.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    Ok(flags & WANTED == WANTED)
}

/// The hardware type (1 is Ethernet) and address of an interface.
pub(super) fn hardware(fd: BorrowedFd<'_>, name: &str) -> io::Result<(u16, MacAddr)> {
    let mut request = interface_request(name)?;
    // SAFETY: the kernel writes into the live request only.
    check(unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::SIOCGIFHWADDR as libc::Ioctl,
            &raw mut request,
        )
    })?;
    // SAFETY: every member of the union is plain data, and this one was written by the call.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    let [a, b, c, d, e, f, ..] = address.sa_data.map(libc::c_char::cast_unsigned);
    Ok((address.sa_family, MacAddr([a, b, c, d, e, f])))
}

/// Puts the calling thread on the FIFO scheduler; its children start as ordinary ones.
pub(super) fn schedule_fifo(priority: i32) -> io::Result<()> {
    // SAFETY: sched_param is plain data for which all zeros is valid.
    let mut parameters: libc::sched_param = unsafe { zeroed() };
    parameters.sched_priority = priority;
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameters are live; 0 names the calling thread.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) })
}

/// Threads with precedence at once.
const PRECEDENTS_MAX: usize = 4;
/// They lose it when the process gets the signal; 0 is none, and the first speaks heartbeats.
static PRECEDENTS: [AtomicI32; PRECEDENTS_MAX] = [const { AtomicI32::new(0) }; PRECEDENTS_MAX];
static DEMOTIONS: AtomicU32 = AtomicU32::new(0);

/// From now on the signal of a real-time overrun (SIGXCPU) makes the calling thread an ordinary
/// one if it is the one that ran, and does nothing else. The kernel gives the signal to who ran;
/// given to another, it takes all down.
pub(super) fn demote_on_overrun(speaks: bool) -> io::Result<()> {
    extern "C" fn demote(_: libc::c_int) {
        // SAFETY: errno is this thread's own; it is put back for what the signal interrupted.
        let errno = unsafe { *libc::__errno_location() };
        let running = rustix::thread::gettid().as_raw_nonzero().get();
        let is_running = |thread: &AtomicI32| thread.load(Ordering::Acquire) == running;
        let is_known = PRECEDENTS.iter().any(is_running);
        for (place, thread) in PRECEDENTS.iter().enumerate() {
            let id = thread.load(Ordering::Acquire);
            if id == 0 || (is_known && id != running) {
                continue;
            }
            thread.store(0, Ordering::Release);
            DEMOTIONS.fetch_add(u32::from(place == 0), Ordering::AcqRel);
            // It may be gone, and the signal has nobody to tell.
            let _ = schedule_ordinary(id);
        }
        // Refused, it is as the kernel left it: a second longer.
        let _ = restore_limit();
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = errno };
    }
    let id = rustix::thread::gettid().as_raw_nonzero().get();
    if speaks {
        PRECEDENTS[0].store(id, Ordering::Release);
    } else {
        let free = |thread: &&AtomicI32| {
            let taken = thread.compare_exchange(0, id, Ordering::AcqRel, Ordering::Acquire);
            taken.is_ok()
        };
        if !PRECEDENTS[1..].iter().any(|thread| free(&thread)) {
            return Err(io::Error::other("too many threads with precedence"));
        }
    }
    // SAFETY: sigaction is plain data for which all zeros is valid.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = demote as extern "C" fn(libc::c_int) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler touches atomics and makes one system call; the action is live.
    check(unsafe { libc::sigaction(libc::SIGXCPU, &raw const action, std::ptr::null_mut()) })
}

/// The limit of the process, in microseconds; 0 is none yet.
static RUN_LIMIT: AtomicU64 = AtomicU64::new(0);

/// From now on no real-time thread of the process runs for longer without a wait.
pub(super) fn limit_runs(micros: u64) -> io::Result<()> {
    RUN_LIMIT.store(micros, Ordering::Release);
    restore_limit()
}

/// With every signal the kernel allows a second more, to all threads.
fn restore_limit() -> io::Result<()> {
    // SAFETY: rlimit is plain data for which all zeros is valid.
    let mut limit: libc::rlimit = unsafe { zeroed() };
    // SAFETY: a system call that is allowed in signal handlers; the kernel writes the live limit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_RTTIME, &raw mut limit) })?;
    limit.rlim_cur = RUN_LIMIT.load(Ordering::Acquire).min(limit.rlim_max);
    // SAFETY: as above, and only reads it.
    check(unsafe { libc::setrlimit(libc::RLIMIT_RTTIME, &raw const limit) })
}

/// The calling thread needs no watching any more.
pub(super) fn forget_precedent() {
    let id = rustix::thread::gettid().as_raw_nonzero().get();
    for thread in &PRECEDENTS {
        // Another's place stays as it is.
        let _ = thread.compare_exchange(id, 0, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Whether the calling thread still has the precedence that it took.
pub(super) fn is_precedent() -> bool {
    let id = rustix::thread::gettid().as_raw_nonzero().get();
    PRECEDENTS.iter().any(|it| it.load(Ordering::Acquire) == id)
}

/// Puts a thread (0: the calling one) back among ordinary ones.
pub(super) fn schedule_ordinary(thread: i32) -> io::Result<()> {
    // SAFETY: sched_param is plain data for which all zeros is valid.
    let parameters: libc::sched_param = unsafe { zeroed() };
    let policy = libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK;
    // SAFETY: a system call that is allowed in signal handlers, on live parameters.
    check(unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) })
}

/// How often the thread that speaks heartbeats lost its precedence by that signal.
pub(super) fn demotions() -> u32 {
    DEMOTIONS.load(Ordering::Acquire)
}

/// Registers a descriptor with the runtime this is called on.
///
/// # Errors
/// The descriptor cannot be watched.
///
/// # Panics
/// Outside of a tokio runtime with IO.
pub(super) fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open, stays the same descriptor and is closed only with the AsyncFd.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// The time stamp among a message's control messages.
fn stamp(message: &libc::msghdr) -> Option<Duration> {
    // SAFETY: the header describes control bytes that the kernel has filled in.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    for _ in 0..CONTROL_LEN / size_of::<libc::cmsghdr>() {
        // SAFETY: the pointer is null or to a whole header within the control bytes.
        let header = unsafe { next.as_ref() }?;
        if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_TIMESTAMPNS {
            // SAFETY: the kernel puts a timespec behind a header of this type.
            let time = unsafe {
                libc::CMSG_DATA(next)
                    .cast::<libc::timespec>()
                    .read_unaligned()
            };
            let seconds = u64::try_from(time.tv_sec).ok()?;
            return Some(Duration::new(seconds, u32::try_from(time.tv_nsec).ok()?));
        }
        // SAFETY: as above; the macro checks the end of the control bytes.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    None
}

fn link_address(index: u32, kind: u16) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: kind.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    }
}

fn interface_request(name: &str) -> io::Result<libc::ifreq> {
    if name.is_empty() || name.len() >= NAME_LEN {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: ifreq is plain data for which all zeros is valid.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

fn length<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
