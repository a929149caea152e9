//! Sockets of another user, whom the lease guard must not take for the daemon.
#![expect(unsafe_code, reason = "setfsuid has no safe wrapper here")]

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::sys::packet_socket;

/// Opens a packet socket as another user; none where there is no other one.
pub(crate) fn packet_socket_of(user: u32, index: i32) -> io::Result<Option<OwnedFd>> {
    let own = rustix::process::geteuid().as_raw();
    // SAFETY: setfsuid() takes no pointers and concerns this thread alone.
    let set = |user: u32| unsafe { libc::syscall(libc::SYS_setfsuid, user) };
    set(user);
    // It says what was before, also when nothing was changed.
    let changed = set(user) == i64::from(user);
    let socket = packet_socket(index, Some(Duration::from_secs(1)));
    set(own);
    socket.map(|socket| changed.then_some(socket))
}
