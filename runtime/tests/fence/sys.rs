//! What the stories need of the operating system beyond safe wrappers: a namespace, raw sockets.
#![expect(
    unsafe_code,
    reason = "unshare and packet sockets have no safe wrapper here"
)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{self, Timeout};
use rustix::thread::UnshareFlags;

const ALL_PROTOCOLS: u16 = 0x0003;

/// Moves this process into a network namespace of its own.
pub(crate) fn enter_namespace() -> io::Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    let flags = if is_root {
        UnshareFlags::NEWNET
    } else {
        UnshareFlags::NEWNET | UnshareFlags::NEWUSER
    };
    // SAFETY: files are not unshared, and this process has one thread.
    unsafe { rustix::thread::unshare_unsafe(flags)? };
    if !is_root {
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    Ok(())
}

/// Opens a packet socket on an interface. It takes in what arrives there, and is waited for so
/// long; without a wait it only sends.
pub(crate) fn packet_socket(index: i32, wait: Option<Duration>) -> io::Result<OwnedFd> {
    let protocol = wait.map_or(0, |_| ALL_PROTOCOLS.to_be());
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: socket() takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let one: libc::c_int = 1;
    let (pointer, len) = (
        (&raw const one).cast(),
        libc::socklen_t::try_from(4).unwrap(),
    );
    let option = libc::PACKET_IGNORE_OUTGOING;
    // SAFETY: the pointer is to four readable bytes.
    let set = unsafe { libc::setsockopt(fd, libc::SOL_PACKET, option, pointer, len) };
    // SAFETY: all-zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
    address.sll_protocol = protocol;
    address.sll_ifindex = index;
    let len = libc::socklen_t::try_from(size_of_val(&address)).unwrap();
    // SAFETY: the pointer is to a whole sockaddr_ll.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    if set < 0 || bound < 0 {
        return Err(io::Error::last_os_error());
    }
    sockopt::set_socket_timeout(&socket, Timeout::Recv, wait)?;
    Ok(socket)
}
