//! What the kernel remembers of connections that the machine itself began, and ending that.
//!
//! A gateway may track a million connections, so the kernel looks for the few that are meant. It is
//! not believed: each one is looked at again before it is ended. Its filter of IPv6 addresses is
//! one reason, which lets all pass but those that were named (`ipv6_addr_cmp` is zero for equal
//! ones); over IPv6 it is asked for what is translated, or for datagrams, and addresses are
//! compared here alone.

use std::io;
use std::net::IpAddr;

use super::super::netlink::{Answer, Batch, Message, Netlink, attributes, find};
use super::sources::{UDP, family, octets};

/// `NFNL_SUBSYS_CTNETLINK`: one of the messages about connections.
const CONNECTIONS: u16 = 1 << 8;
const GET: u16 = 1;
const DELETE: u16 = 2;
/// `CTA_*` of a connection.
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const STATUS_MASK: u16 = 26;
/// `CTA_TUPLE_*` within a tuple.
const ADDRESSES: u16 = 1;
const CARRIES: u16 = 2;
const TUPLE_ZONE: u16 = 3;
/// `CTA_FILTER_FLAG_CTA_IP_SRC`, `CTA_FILTER_FLAG_CTA_IP_DST`, `CTA_FILTER_FLAG_CTA_PROTO_NUM`.
const BY_SOURCE: u32 = 1;
const BY_DESTINATION: u32 = 2;
const BY_PROTOCOL: u32 = 8;
/// `IPS_SRC_NAT`.
const TRANSLATED: u32 = 0x10;

/// From which own address, answered to which, and what of it.
pub(super) type Owed = (IpAddr, IpAddr, Begun);

/// What the machine began, and the kernel remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Begun {
    /// Datagrams in its own name.
    Plain,
    /// Anything in a virtual address's.
    Translated,
}

/// Those that the kernel remembers.
///
/// # Errors
/// The kernel does not tell of connections.
pub(super) fn look(netlink: &mut Netlink, owed: Owed) -> io::Result<Vec<Answer>> {
    let mut found = netlink.dump(|batch| ask_for(batch, owed))?;
    found.retain(|it| is_meant(it, owed));
    Ok(found)
}

/// Ends the kernel's memory of these. One that cannot be ended does not keep the others.
///
/// # Errors
/// Some are remembered yet.
pub(super) fn forget(netlink: &mut Netlink, owed: Owed) -> io::Result<()> {
    let mut failed = None;
    for begun in look(netlink, owed)? {
        let mut batch = Batch::new();
        delete(&mut batch, owed.0, &begun);
        match netlink.ask(batch) {
            Ok(_) => {}
            // It has ended by itself.
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => failed = Some(why),
        }
    }
    failed.map_or(Ok(()), Err)
}

fn ask_for(batch: &mut Batch, (unit, answered, what): Owed) {
    let what_for = "list connections of this machine";
    let mut message = about(batch, what_for, GET, unit);
    let by_address = unit.is_ipv4();
    let datagrams = what == Begun::Plain;
    if by_address || datagrams {
        message.nest(TUPLE_ORIGINAL, |tuple| {
            if by_address {
                tuple.nest(ADDRESSES, |at| {
                    at.put(source_of(unit), &octets(unit));
                });
            }
            if datagrams {
                tuple.nest(CARRIES, |carries| {
                    carries.put(1, &[UDP]);
                });
            }
        });
        let original = u32::from(by_address) * BY_SOURCE + u32::from(datagrams) * BY_PROTOCOL;
        if by_address {
            message.nest(TUPLE_REPLY, |tuple| {
                tuple.nest(ADDRESSES, |at| {
                    at.put(destination_of(unit), &octets(answered));
                });
            });
        }
        message.nest(FILTER, |filter| {
            filter.put_u32(1, original);
            if by_address {
                filter.put_u32(2, BY_DESTINATION);
            }
        });
    }
    if !datagrams {
        message.put_be32(STATUS, TRANSLATED);
        message.put_be32(STATUS_MASK, TRANSLATED);
    }
}

/// Whether it is from this address, and answered to that.
fn is_meant(begun: &Answer, (unit, answered, what): Owed) -> bool {
    let facts = facts_of(begun);
    let within = |tuple| find(facts, tuple);
    let at = |tuple, place, ip| {
        let addresses = within(tuple).and_then(|tuple| find(tuple, ADDRESSES));
        addresses.and_then(|it| find(it, place)) == Some(&octets(ip)[..])
    };
    let carries = within(TUPLE_ORIGINAL).and_then(|tuple| find(tuple, CARRIES));
    let datagram = carries.and_then(|it| find(it, 1)) == Some(&[UDP]);
    at(TUPLE_ORIGINAL, source_of(unit), unit)
        && at(TUPLE_REPLY, destination_of(unit), answered)
        && (datagram || what == Begun::Translated)
}

/// It bears the connection's name, which was looked at: without one a kernel would end all.
fn delete(batch: &mut Batch, unit: IpAddr, begun: &Answer) {
    let facts = facts_of(begun);
    let mut message = about(batch, "forget a connection", DELETE, unit);
    message.nest(TUPLE_ORIGINAL, |copy| {
        copy_all(copy, find(facts, TUPLE_ORIGINAL).unwrap_or(&[]));
    });
    if let Some(zone) = find(facts, ZONE) {
        message.put(ZONE, zone);
    }
}

/// A tuple is two nests, of addresses and of ports, and maybe a zone.
fn copy_all(to: &mut Message<'_>, tuple: &[u8]) {
    for (kind, part) in attributes(tuple) {
        if kind == TUPLE_ZONE {
            to.put(kind, part);
            continue;
        }
        to.nest(kind, |copy| {
            for (kind, value) in attributes(part) {
                copy.put(kind, value);
            }
        });
    }
}

/// The family header comes first.
fn facts_of(begun: &Answer) -> &[u8] {
    begun.body.get(4..).unwrap_or(&[])
}

/// `CTA_IP_V4_SRC`, `CTA_IP_V6_SRC`.
const fn source_of(like: IpAddr) -> u16 {
    match like {
        IpAddr::V4(_) => 1,
        IpAddr::V6(_) => 3,
    }
}

/// `CTA_IP_V4_DST`, `CTA_IP_V6_DST`.
const fn destination_of(like: IpAddr) -> u16 {
    source_of(like) + 1
}

fn about<'a>(batch: &'a mut Batch, what: &'static str, kind: u16, unit: IpAddr) -> Message<'a> {
    batch.message(what, CONNECTIONS | kind, 0, &[family(unit), 0, 0, 0])
}
