//! What an operator wants to know of an interface: what it is made of, what it carries (R4.3).
//!
//! The kernel is asked when somebody wants to see, never in between. Speed and duplex come from
//! sysfs, everything else from one netlink answer. The limit: sysfs shows the interfaces of the
//! network namespace in which it was mounted; in another one these two are not known.

use std::fs;
use std::io;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::interfaces::interfaces;
use super::netlink::{Answer, Netlink, find, u32_of};
use super::rtnetlink::{self, NETLINK_ROUTE, RTM_GETLINK};

const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_STATS64: u16 = 23;
const IFLA_CARRIER_CHANGES: u16 = 35;

/// An interface as people see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Its number; none if it is not there.
    pub index: Option<u32>,
    /// What it is made of: `vlan`, `bond`, `bridge`, …; none of a plain one.
    pub kind: Option<String>,
    /// The number of a VLAN.
    pub vlan: Option<u16>,
    /// What it stands on (VLAN, macvlan).
    pub below: Option<String>,
    /// The ports of a bridge, the members of a bond.
    pub members: Vec<String>,
    /// The bridge or bond that it belongs to.
    pub master: Option<String>,
    /// Its hardware address.
    pub mac: Option<String>,
    /// Longest packet, bytes.
    pub mtu: Option<u32>,
    /// It is set up.
    pub up: bool,
    /// It has carrier.
    pub carrier: bool,
    /// How often carrier came or went since the interface was made.
    pub carrier_changes: Option<u32>,
    /// Megabits per second, where the driver says so.
    pub speed_mbit: Option<u32>,
    /// `full` or `half`, where the driver says so.
    pub duplex: Option<String>,
    /// Addresses that stay, with their prefix lengths.
    pub own: Vec<String>,
    /// Virtual addresses that are there now.
    pub virtuals: Vec<IpAddr>,
    /// What came in.
    pub received: Traffic,
    /// What went out.
    pub sent: Traffic,
}

/// One direction's counters since the interface was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Packets with an error.
    pub errors: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}

/// Of one link, what [`super::interfaces`] does not look at.
#[derive(Default)]
struct Details {
    index: u32,
    name: String,
    iflink: u32,
    kind: Option<String>,
    vlan: Option<u16>,
    master: Option<u32>,
    mtu: Option<u32>,
    carrier_changes: Option<u32>,
    received: Traffic,
    sent: Traffic,
}

/// The interfaces of these names, each with the device of its virtual MAC behind it.
///
/// # Errors
/// The kernel does not answer.
pub fn view<'a>(names: impl IntoIterator<Item = &'a str>) -> io::Result<Vec<View>> {
    let there = interfaces()?;
    let mut netlink = Netlink::open(NETLINK_ROUTE)?;
    let links =
        netlink.dump(|batch| drop(batch.message("list links", RTM_GETLINK, 0, &[0; 16])))?;
    let details: Vec<Details> = links.iter().filter_map(details).collect();
    let mut views = Vec::new();
    for name in names {
        let Some(found) = details.iter().find(|it| it.name == name) else {
            views.push(View {
                name: name.to_owned(),
                ..View::default()
            });
            continue;
        };
        let above = super::macvlan::port_name(name, found.index);
        let stands = |it: &&Details| it.name == above && it.iflink == found.index;
        let above = details.iter().find(stands);
        for one in [Some(found), above].into_iter().flatten() {
            let interface = there.iter().find(|it| it.index == one.index);
            views.push(of(one, &details, interface));
        }
    }
    Ok(views)
}

fn of(one: &Details, all: &[Details], known: Option<&super::interfaces::Interface>) -> View {
    let name_of = |index: u32| all.iter().find(|it| it.index == index);
    let name_of = |index: u32| name_of(index).map(|it| it.name.clone());
    let members = all.iter().filter(|it| it.master == Some(one.index));
    let stacked = matches!(one.kind.as_deref(), Some("vlan" | "macvlan"));
    let (speed_mbit, duplex) = speed(&one.name);
    let own = known.map(|it| it.own.iter().map(|(ip, bits)| format!("{ip}/{bits}")));
    View {
        name: one.name.clone(),
        index: Some(one.index),
        kind: one.kind.clone(),
        vlan: one.vlan,
        below: name_of(one.iflink).filter(|_| stacked),
        members: members.map(|it| it.name.clone()).collect(),
        master: one.master.and_then(name_of),
        mac: known.and_then(|it| it.mac).map(|mac| mac.to_string()),
        mtu: one.mtu,
        up: known.is_some_and(|it| it.up),
        carrier: known.is_some_and(|it| it.carrier),
        carrier_changes: one.carrier_changes,
        speed_mbit,
        duplex,
        own: own.into_iter().flatten().collect(),
        virtuals: known.map(|it| it.virtuals.clone()).unwrap_or_default(),
        received: one.received,
        sent: one.sent,
    }
}

fn details(answer: &Answer) -> Option<Details> {
    let link = rtnetlink::link(answer)?;
    let (_, attributes) = answer.body.split_first_chunk::<16>()?;
    let info = find(attributes, IFLA_LINKINFO).unwrap_or_default();
    let kind = find(info, IFLA_INFO_KIND).map(text);
    let data = find(info, IFLA_INFO_DATA).unwrap_or_default();
    let vlan =
        find(data, IFLA_VLAN_ID).and_then(|it| Some(u16::from_ne_bytes(it.try_into().ok()?)));
    let counters = find(attributes, IFLA_STATS64).unwrap_or_default();
    // rtnl_link_stats64: packets, bytes, errors and drops, each in and out.
    let at = |place: usize| {
        let octets = counters.get(place * 8..).and_then(|it| it.first_chunk());
        octets.map_or(0, |it| u64::from_ne_bytes(*it))
    };
    let traffic = |way: usize| Traffic {
        packets: at(way),
        bytes: at(2 + way),
        errors: at(4 + way),
        dropped: at(6 + way),
    };
    Some(Details {
        index: link.index,
        name: link.name,
        iflink: link.iflink,
        vlan: vlan.filter(|_| kind.as_deref() == Some("vlan")),
        kind,
        master: find(attributes, IFLA_MASTER).and_then(u32_of),
        mtu: find(attributes, IFLA_MTU).and_then(u32_of),
        carrier_changes: find(attributes, IFLA_CARRIER_CHANGES).and_then(u32_of),
        received: traffic(0),
        sent: traffic(1),
    })
}

fn text(octets: &[u8]) -> String {
    let end = octets.iter().position(|it| *it == 0);
    String::from_utf8_lossy(&octets[..end.unwrap_or(octets.len())]).into_owned()
}

/// As the driver says; a port without carrier, and many virtual ones, say nothing.
fn speed(name: &str) -> (Option<u32>, Option<String>) {
    let read = |what: &str| fs::read_to_string(format!("/sys/class/net/{name}/{what}")).ok();
    let speed = read("speed").and_then(|it| it.trim().parse().ok());
    let duplex = read("duplex").map(|it| it.trim().to_owned());
    (
        speed.filter(|it| *it != u32::MAX),
        duplex.filter(|it| it == "full" || it == "half"),
    )
}
