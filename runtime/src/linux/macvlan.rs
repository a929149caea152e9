//! Virtual MACs: a device with a MAC of its own on a link (macvlan), for addresses whose station
//! must not change when they move (RFC 9568 §7.3, R5.5).
//!
//! It is made once and stays up: a device that comes up takes the kernel's configuration lock for
//! milliseconds, just when a role is taken. Being silent is the fence's business. Its mode is
//! private, so nothing passes between devices of one link, and it gives itself no address.
//!
//! The hard case is the kernel's weak host: every device of a link, and the link itself, would
//! answer for an address of any of them with its own MAC. Each answers for its own alone.
//!
//! The limit: a link that is the port of a bridge can carry no such device.

use std::fs;
use std::io;

use steadfast_core::MacAddr;

use super::interfaces::Interface;
use super::netlink::{Ack, Batch, CREATE, EXCLUSIVE, Netlink};
use super::rtnetlink::NETLINK_ROUTE;

const PROC: &str = "/proc/sys/net";
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_MACVLAN_MODE: u16 = 1;
const MODE_PRIVATE: u32 = 1;
const IFF_UP: u32 = 1;
const RTM_NEWROUTE: u16 = 24;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
/// `rtmsg`: IPv6, a prefix of 64 bits; table main, protocol static, scope link, unicast.
const ROUTE: [u8; 12] = [10, 64, 0, 0, 254, 4, 253, 1, 0, 0, 0, 0];
/// It gives itself no address (`IN6_ADDR_GEN_MODE_NONE`), nor takes one or a route that a router
/// advertises, which all nodes' devices would take alike; it answers and asks for its own alone,
/// and takes in what the routes would have come another way.
const SETTINGS: [(&str, &str); 5] = [
    ("ipv6/conf/*/addr_gen_mode", "1"),
    ("ipv6/conf/*/accept_ra", "0"),
    ("ipv6/conf/*/autoconf", "0"),
    ("ipv4/conf/*/arp_ignore", "1"),
    ("ipv4/conf/*/arp_announce", "2"),
];
/// Whether the sender of a packet would be reached by the way it came: clients are, but by the
/// link itself. What counts is the larger of this and the one of all devices; 2 asks whether it
/// would be reached at all.
const SENDERS: &str = "ipv4/conf/*/rp_filter";

/// What the names of nodes' devices begin with.
pub const PREFIX: &str = "vmac-";

/// What the device of a node's port is called, at most 15 bytes: filters and routers name it. It
/// has the port's name where that leaves room, else the port's number.
pub fn port_name(port: &str, link: u32) -> String {
    let short = format!("{PREFIX}{port}");
    if short.len() <= 15 {
        short
    } else {
        format!("{PREFIX}{link}")
    }
}

/// What the device of a virtual router is called: at most 15 bytes.
pub fn name(virtual_id: u8, ipv6: bool, link: u32) -> String {
    let family = if ipv6 { 6 } else { 4 };
    format!("vrrp{family}-{link}-{virtual_id}")
}

/// Makes the device on a link, unless it is there, and sets it up. Gives its number.
///
/// # Errors
/// The kernel refuses: not allowed, no macvlan, or a link that can carry none.
pub fn ensure(
    name: &str,
    link: &Interface,
    (mac, ipv6): (MacAddr, bool),
    there: &[Interface],
) -> io::Result<u32> {
    let known = there.iter().find(|it| it.name == name);
    if let Some(known) = known {
        let whole = known.iflink == link.index && known.mac == Some(mac);
        if !whole && !is_ours(known, link.index) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{name} is somebody else's interface; give it another name"),
            ));
        }
        if whole {
            settle(name, ipv6)?;
            if !known.up {
                set_up(known.index)?;
            }
            return finish(known.index, ipv6);
        }
        remove(known.index)?;
    }
    make(name, link.index, mac)?;
    let index = super::interfaces::interface(name)?.map(|it| it.index);
    let index = index.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    settle(name, ipv6)?;
    set_up(index)?;
    finish(index, ipv6)
}

fn finish(index: u32, ipv6: bool) -> io::Result<u32> {
    if ipv6 {
        reach_the_link(index)?;
    }
    Ok(index)
}

/// Whether it is a device of a virtual router's station on this link.
pub fn is_ours(device: &Interface, link: u32) -> bool {
    let station = |MacAddr(mac)| mac.starts_with(&[0x00, 0x00, 0x5e, 0x00]);
    device.iflink == link && device.index != link && device.mac.is_some_and(station)
}

/// The settings as they should be: others may have changed them, as a manager of devices does
/// with each that appears.
fn settle(name: &str, ipv6: bool) -> io::Result<()> {
    for (setting, value) in SETTINGS {
        set(&setting.replace('*', name), value)?;
    }
    set(
        &format!("ipv6/conf/{name}/disable_ipv6"),
        if ipv6 { "0" } else { "1" },
    )?;
    let of_all = format!("{PROC}/{}", SENDERS.replace('*', "all"));
    let strict = fs::read_to_string(of_all).is_ok_and(|it| it.trim() == "1");
    set(&SENDERS.replace('*', name), if strict { "2" } else { "0" })
}

/// A family that the kernel has not needs no setting.
fn set(setting: &str, value: &str) -> io::Result<()> {
    let path = format!("{PROC}/{setting}");
    if fs::read_to_string(&path).is_ok_and(|found| found.trim() == value) {
        return Ok(());
    }
    match fs::write(&path, value) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(io::Error::new(
            why.kind(),
            format!("failed to set {path}: {why}"),
        )),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes a device; one that is gone is removed.
///
/// # Errors
/// The kernel refuses.
pub fn remove(index: u32) -> io::Result<()> {
    let mut batch = Batch::new();
    let what = format!("remove interface {index}");
    drop(batch.message(what, RTM_DELLINK, 0, &header(index, 0)));
    carry_out(batch, libc::ENODEV)
}

fn make(name: &str, link: u32, mac: MacAddr) -> io::Result<()> {
    let mut batch = Batch::new();
    let what = format!("make interface {name}");
    let mut message = batch.message(what, RTM_NEWLINK, CREATE | EXCLUSIVE, &header(0, 0));
    message
        .put_text(IFLA_IFNAME, name)
        .put_u32(IFLA_LINK, link)
        .put(IFLA_ADDRESS, &mac.0)
        .nest(IFLA_LINKINFO, |info| {
            info.put_text(IFLA_INFO_KIND, "macvlan")
                .nest(IFLA_INFO_DATA, |data| {
                    data.put_u32(IFLA_MACVLAN_MODE, MODE_PRIVATE);
                });
        });
    drop(message);
    carry_out(batch, 0)
}

fn set_up(index: u32) -> io::Result<()> {
    let mut batch = Batch::new();
    let what = format!("set interface {index} up");
    drop(batch.message(what, RTM_NEWLINK, 0, &header(index, IFF_UP)));
    carry_out(batch, 0)
}

/// A way to link-local stations: the device has no address whose prefix would bring one.
fn reach_the_link(index: u32) -> io::Result<()> {
    let mut batch = Batch::new();
    let what = format!("add the link-local route of interface {index}");
    let mut message = batch.message(what, RTM_NEWROUTE, CREATE | EXCLUSIVE, &ROUTE);
    message
        .put(
            RTA_DST,
            &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        )
        .put_u32(RTA_OIF, index);
    drop(message);
    carry_out(batch, libc::EEXIST)
}

/// Sends it; `fine` is no failure.
fn carry_out(batch: Batch, fine: i32) -> io::Result<()> {
    let answers = Netlink::open(NETLINK_ROUTE)?.exchange(batch, Ack::Each)?;
    let failed = answers
        .into_iter()
        .find(|one| one.error.raw_os_error() != Some(fine));
    match failed {
        None => Ok(()),
        Some(one) => {
            let cure = match one.error.raw_os_error() {
                Some(libc::EOPNOTSUPP) => "; this kernel has no macvlan devices",
                Some(libc::EADDRINUSE) => "; another device there has this MAC",
                Some(libc::EBUSY) => "; a port of a bridge can carry none",
                Some(_) | None => "",
            };
            let text = format!("failed to {}: {}{cure}", one.what, one.error);
            Err(io::Error::new(one.error.kind(), text))
        }
    }
}

/// `ifinfomsg`: these flags, and no others changed.
fn header(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&flags.to_ne_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel takes names of 15 bytes at most.
    #[test]
    fn macvlan_names_fit() {
        assert_eq!(name(51, false, 2), "vrrp4-2-51");
        assert!(name(255, true, 99_999).len() <= 15);
        assert_eq!(port_name("lan0", 2), "vmac-lan0");
        assert_eq!(
            port_name("enp65s0f1np1", 2),
            "vmac-2",
            "no room for its name"
        );
    }
}
