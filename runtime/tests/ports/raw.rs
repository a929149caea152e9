//! Frames that no well-behaved program sends.

#![expect(
    unsafe_code,
    reason = "sendto to a packet socket has no safe wrapper here"
)]

use std::os::fd::AsRawFd;

/// Sends a frame of any length past everything that would refuse it.
pub(crate) fn send_raw(name: &str, frame: &[u8]) {
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let (family, kind) = (
        rustix::net::AddressFamily::PACKET,
        rustix::net::SocketType::RAW,
    );
    let socket = rustix::net::socket_with(family, kind, flags, None).expect("a packet socket");
    let index =
        rustix::net::netdevice::name_to_index(&socket, name).expect("an interface of that name");
    // SAFETY: sockaddr_ll is plain data for which all zeros is valid.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = index.cast_signed();
    to.sll_halen = 6;
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: frame and address are live, and the lengths are their own.
    let sent = unsafe {
        let to = (&raw const to).cast();
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            to,
            len,
        )
    };
    assert_eq!(usize::try_from(sent), Ok(frame.len()), "raw frame sent");
}
