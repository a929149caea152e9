//! A route of the kernel to an address: an uplink's protocol daemon has put one there.
//!
//! The kernel is asked where it would send to the address, so a table of a million routes costs one
//! question. A route that refuses (unreachable, blackhole, prohibit) is none.

use std::net::IpAddr;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

use crate::linux::netlink::{Batch, Netlink, find, u32_of};

const NETLINK_ROUTE: i32 = 0;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
/// The header of a message about a route.
const HEADER_LEN: usize = 12;

pub(super) fn run(to: IpAddr, interface: Option<&str>) -> Result<(), String> {
    let found = ask(to).map_err(|error| format!("no route to {to}: {error}"))?;
    let Some(name) = interface else {
        return Ok(());
    };
    let request = socket(AddressFamily::INET, SocketType::DGRAM, None);
    let request = request.map_err(|error| format!("no socket: {error}"))?;
    let index = name_to_index(&request, name).map_err(|error| format!("{name}: {error}"))?;
    if found == Some(index) {
        return Ok(());
    }
    Err(format!("the route to {to} does not lead out of {name}"))
}

/// The interface the route leads out of.
fn ask(to: IpAddr) -> std::io::Result<Option<u32>> {
    let (family, octets): (u8, Vec<u8>) = match to {
        IpAddr::V4(to) => (libc::AF_INET as u8, to.octets().to_vec()),
        IpAddr::V6(to) => (libc::AF_INET6 as u8, to.octets().to_vec()),
    };
    let mut header = [0; HEADER_LEN];
    header[0] = family;
    header[1] = u8::try_from(octets.len() * 8).unwrap_or(u8::MAX);
    let mut question = Batch::new();
    question
        .message("look for a route", RTM_GETROUTE, 0, &header)
        .put(RTA_DST, &octets);
    let answers = Netlink::open(NETLINK_ROUTE)?.ask(question)?;
    let route = answers
        .first()
        .and_then(|answer| answer.body.get(HEADER_LEN..));
    Ok(route
        .and_then(|route| find(route, RTA_OIF))
        .and_then(u32_of))
}
