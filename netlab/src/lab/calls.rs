//! What a gateway's own programs begin (R5.3).
//!
//! A program asks for no address of its own: its kernel chooses one. It calls from the same port
//! each time, so to the kernel later calls to a host go on with the first.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use steadfast_scenarios::sight::CALL_PORT;

/// Where calls come from.
const FROM: u16 = 6_975;

/// Sends one datagram from the calling thread's namespace. A host that no route leads to now
/// hears nothing: that shows in what expectations wait for.
pub(super) fn call(host: IpAddr) -> io::Result<()> {
    let to = SocketAddr::new(host, CALL_PORT);
    let any: IpAddr = match host {
        IpAddr::V4(_) => [0; 4].into(),
        IpAddr::V6(_) => [0_u16; 8].into(),
    };
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    if host.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SocketAddr::new(any, FROM).into())?;
    socket.set_nonblocking(true)?;
    let _ = socket.send_to(&[0], &to.into());
    Ok(())
}
