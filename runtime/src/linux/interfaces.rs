//! What the interfaces of this host are: names, numbers, hardware, carrier and own addresses.
//!
//! Read in one go, for the check of a configuration and for the start; who wants to follow changes
//! uses [`super::links`]. Virtual addresses, which move, are told apart from the host's own by
//! their tag ([`super::addresses`]), so a restart after a crash does not take them for its own.
//!
//! The limit: links and addresses are two questions; what changes between them may not fit.

use std::io;
use std::net::IpAddr;

use steadfast_core::MacAddr;

use super::addresses::{ROUTERS_TAG, TAG};
use super::netlink::Netlink;
use super::rtnetlink::{self, NETLINK_ROUTE, RTM_GETADDR, RTM_GETLINK};

/// Hardware type of Ethernet (ARPHRD_ETHER).
const ETHERNET: u16 = 1;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number in this network namespace, from 1.
    pub index: u32,
    /// Its hardware address, if it has one of Ethernet's length.
    pub mac: Option<MacAddr>,
    /// It speaks Ethernet; the loopback and tunnels do not.
    pub ethernet: bool,
    /// It is set up.
    pub up: bool,
    /// It is set up and has carrier.
    pub carrier: bool,
    /// The interface below it (VLAN, macvlan) or at the other end (veth); its own index if neither.
    /// Where it is its own, events of lost carrier come late (D18).
    pub iflink: u32,
    /// Addresses that stay: with prefix lengths, without virtual ones.
    pub own: Vec<(IpAddr, u8)>,
    /// Virtual addresses that carry our tag.
    pub virtuals: Vec<IpAddr>,
}

/// Every interface of this thread's network namespace, in the kernel's order.
///
/// # Errors
/// The kernel does not answer.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut netlink = Netlink::open(NETLINK_ROUTE)?;
    let links =
        netlink.dump(|batch| drop(batch.message("list links", RTM_GETLINK, 0, &[0; 16])))?;
    let mut found: Vec<_> = links.iter().filter_map(rtnetlink::link).map(bare).collect();
    let addresses =
        netlink.dump(|batch| drop(batch.message("list addresses", RTM_GETADDR, 0, &[0; 8])))?;
    for fact in addresses.iter().filter_map(rtnetlink::address) {
        let Some(interface) = found.iter_mut().find(|one| one.index == fact.index) else {
            continue;
        };
        if matches!(fact.protocol, Some(TAG | ROUTERS_TAG)) {
            interface.virtuals.push(fact.address);
        } else {
            interface.own.push((fact.address, fact.prefix));
        }
    }
    Ok(found)
}

/// The interface of a name; none if there is no such.
///
/// # Errors
/// The kernel does not answer.
pub fn interface(name: &str) -> io::Result<Option<Interface>> {
    let mut all = interfaces()?.into_iter();
    Ok(all.find(|interface| interface.name == name))
}

fn bare(link: rtnetlink::LinkFact) -> Interface {
    Interface {
        name: link.name,
        index: link.index,
        mac: link.mac,
        ethernet: link.hardware == ETHERNET,
        up: link.up,
        carrier: link.carrier,
        iflink: link.iflink,
        own: Vec::new(),
        virtuals: Vec::new(),
    }
}
