//! The one thing of the keeper that has no safe wrapper: letting go of inherited descriptors.
#![expect(unsafe_code, reason = "no safe wrapper closes descriptors by number")]

use std::io;

/// Closes every descriptor from this number on (Linux 5.9). To be called before any is opened:
/// what the process was started with beyond its standard ones belongs to nobody in it.
pub(super) fn close_inherited(first: u32) -> io::Result<()> {
    // SAFETY: no object of this process holds a descriptor yet, so none is closed behind one.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if closed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
