//! What the trial of statements needs of the operating system beyond safe wrappers.
#![expect(
    unsafe_code,
    reason = "asking for the state of a link has no safe wrapper here"
)]

use std::io;
use std::os::fd::AsRawFd;

use rustix::thread::CpuSet;

/// Keeps this process, and what it starts, on the processor where it is: what one processor is
/// given to do it does in order, so a frame that was sent first is dealt with first.
pub(crate) fn stay_on_one_processor() -> io::Result<()> {
    let mut here = CpuSet::new();
    here.set(rustix::thread::sched_getcpu());
    rustix::thread::sched_setaffinity(None, &here)?;
    Ok(())
}

/// Whether an interface has carrier. A change that waits in the kernel is worked off first.
pub(crate) fn has_carrier(name: &str) -> io::Result<bool> {
    const ETHTOOL_GLINK: u32 = 0x0a;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    let mut value = [ETHTOOL_GLINK, 0];
    // SAFETY: all-zero is a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    let number = libc::SIOCETHTOOL as libc::Ioctl;
    // SAFETY: the request names two live numbers, which the kernel may write.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), number, &raw mut request) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value[1] != 0)
}
