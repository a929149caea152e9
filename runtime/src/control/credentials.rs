//! The groups of a socket's peer: the one question about it that needs a system call by hand.
#![expect(
    unsafe_code,
    reason = "getsockopt(SO_PEERGROUPS) has no safe wrapper here"
)]

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Groups that are asked for; a peer in more than that many has none beyond its main group here.
const GROUPS_MAX: usize = 256;

/// The supplementary groups a peer had when it connected (socket(7), `SO_PEERGROUPS`).
///
/// # Errors
/// The kernel is older than 4.13, or the peer is in more groups than are asked for.
pub(super) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = [0 as libc::gid_t; GROUPS_MAX];
    let mut length = libc::socklen_t::try_from(size_of_val(&groups)).unwrap_or(0);
    // SAFETY: `groups` and `length` live through the call, and `length` is the size of `groups` in
    // bytes, so the kernel writes within it; the descriptor is borrowed and therefore open.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast::<c_void>(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let count = usize::try_from(length).unwrap_or(0) / size_of::<libc::gid_t>();
    Ok(groups.iter().take(count).copied().collect())
}
