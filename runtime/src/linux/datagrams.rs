//! The UDP port of advertisements, held for the daemon (R2.5).
//!
//! Advertisements in datagrams are sent and heard on the packet sockets ([`super::packet`]), as all
//! others are: the kernel's lease guard judges them there, and no packet filter of the host stands
//! in their way. What is left for a socket of UDP is this: that no other program sends from the
//! port, which the guard rests on; that the kernel does not answer "port unreachable"; and that
//! switches which send multicast only where somebody joined send it here. It hears nothing.
//!
//! The limit: an interface that is away when the daemon starts, or goes, is not joined again, which
//! only a switch that snoops and forgets would notice.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd as _;

use steadfast_core::wire::carriage::GROUP_IP;

use super::raw;

/// The port, as long as this lives.
#[derive(Debug)]
pub struct Datagrams(#[expect(dead_code, reason = "held, never used")] UdpSocket);

impl Datagrams {
    /// Holds the port, and joins the group on the interfaces that have these addresses.
    ///
    /// # Errors
    /// Another program has the port.
    pub fn hold(port: u16, units: &[Ipv4Addr]) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        let nothing = libc::sock_filter {
            code: (libc::BPF_RET | libc::BPF_K) as u16,
            jt: 0,
            jf: 0,
            k: 0,
        };
        raw::attach_filter(socket.as_fd(), &[nothing])?;
        for unit in units {
            if let Err(error) = socket.join_multicast_v4(&GROUP_IP, unit) {
                log::warn!("failed to join {GROUP_IP} where {unit} is: {error}");
            }
        }
        Ok(Self(socket))
    }
}
