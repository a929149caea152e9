//! Who is at the other end of a Unix socket, as it was when it connected.
//!
//! The hard case is a peer in another process namespace: a container's on its host, or the host's
//! in a container. It has a user and no process number here; the kernel then says 0, which a type
//! for process numbers cannot hold. So this is asked by hand, and 0 is an answer.
#![expect(
    unsafe_code,
    reason = "getsockopt(SO_PEERCRED, SO_PEERGROUPS) has no safe wrapper that fits"
)]

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::slice;

/// Groups that are asked for; a peer in more than that many has none beyond its main group here.
const GROUPS_MAX: usize = 256;

/// A peer's user, group and process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Its user, as seen here.
    pub(crate) uid: u32,
    /// Its main group.
    pub(crate) gid: u32,
    /// Its process; 0 if that is in another process namespace.
    pub(crate) pid: i32,
}

/// Whose socket the other end was when it connected (unix(7), `SO_PEERCRED`).
///
/// # Errors
/// The socket has no peer.
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let read = option(socket, libc::SO_PEERCRED, slice::from_mut(&mut peer))?;
    if read != size_of::<libc::ucred>() || peer.uid == u32::MAX {
        return Err(io::Error::from(io::ErrorKind::NotConnected));
    }
    let libc::ucred { pid, uid, gid } = peer;
    Ok(Credentials { uid, gid, pid })
}

/// The supplementary groups a peer had when it connected (socket(7), `SO_PEERGROUPS`).
///
/// # Errors
/// The kernel is older than 4.13, or the peer is in more groups than are asked for.
pub(crate) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = [0 as libc::gid_t; GROUPS_MAX];
    let read = option(socket, libc::SO_PEERGROUPS, &mut groups)?;
    let count = read / size_of::<libc::gid_t>();
    Ok(groups.iter().take(count).copied().collect())
}

/// Reads an option of the socket into plain numbers; how many bytes were written.
fn option<T: Copy>(socket: BorrowedFd<'_>, name: c_int, place: &mut [T]) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(size_of_val(place)).unwrap_or(0);
    // SAFETY: `place` and `length` live through the call, and `length` is the size of `place` in
    // bytes, so the kernel writes within it; callers pass types that may hold any bytes; the
    // descriptor is borrowed and therefore open.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            place.as_mut_ptr().cast::<c_void>(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(length).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Of two ends in one process, each is this process; what is no pair has no peer.
    #[test]
    fn credentials_name_the_other_end() {
        let (here, _there) = UnixStream::pair().unwrap();
        let peer = peer_credentials(here.as_fd()).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(peer.pid, own);
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert!(peer_groups(here.as_fd()).is_ok());
        let alone = std::os::unix::net::UnixDatagram::unbound().unwrap();
        assert!(peer_credentials(alone.as_fd()).is_err());
    }
}
