//! The gateway of the statements, as interfaces: three ports whose far ends are packet sockets.
//!
//! The far ends are interfaces of the same namespace that have no address, answer nothing and
//! speak no IPv6. Settings are those of a gateway that the daemon prepared.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use steadfast::linux::interfaces::interfaces;
use steadfast::linux::macvlan;
use steadfast::linux::netlink::{Ack, Batch, CREATE, EXCLUSIVE, Netlink, REPLACE};
use steadfast::linux::sysctl::{PortUse, Settings};
use steadfast_scenarios::conformance::ground::{LAN, Place, STATION, places};

use super::namespace::packet_socket;
use super::sys::has_carrier;

/// How long a frame that must come may take.
const FRAME_WAIT: Duration = Duration::from_secs(2);
/// The longest wait for a worker of the kernel; beyond it the trial is broken.
const CHANGE_WAIT: Duration = Duration::from_secs(10);
const UP: u32 = 1;
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;

/// A port and its wire.
pub(crate) struct Port {
    pub(crate) place: Place,
    pub(crate) index: u32,
    /// Sends as a program on the gateway would.
    pub(crate) near: OwnedFd,
    /// The other end of the wire.
    pub(crate) far: OwnedFd,
    pub(crate) has_carrier: bool,
}

/// Builds every port, with its unit addresses.
pub(crate) fn ports() -> io::Result<Vec<Port>> {
    for (name, value) in [
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("ipv6/conf/all/forwarding", "1"),
        // No address by itself: what is there is what a statement says.
        ("ipv6/conf/default/addr_gen_mode", "1"),
    ] {
        set(name, value)?;
    }
    let mut route = Netlink::open(libc::NETLINK_ROUTE)?;
    let ports: io::Result<Vec<_>> = places()
        .into_iter()
        .map(|place| port(&mut route, place))
        .collect();
    let ports = ports?;
    let uses = ports.iter().map(|port| PortUse {
        name: port.place.name.to_owned(),
        virtual4: port.place.served,
        virtual6: port.place.served,
        virtual_mac: false,
    });
    let advice = Settings::of_kernel().prepare(&uses.collect::<Vec<_>>());
    assert!(advice.is_empty(), "{advice:?}");
    let units = ports.iter().flat_map(|port| port.place.units);
    // A link-local address has a route of its own per port: it is there with the others.
    let mut global = units.map(|(address, _)| address);
    global.try_for_each(|address| match address {
        _ if is_link_local(address) => Ok(()),
        address => await_use(address),
    })?;
    Ok(ports)
}

/// The device of the LAN's virtual MAC, as the daemon makes it.
pub(crate) fn station() -> io::Result<u32> {
    let there = interfaces()?;
    let name = places().into_iter().find(|it| it.port == LAN);
    let name = name.map_or("", |it| it.name);
    let link = there.iter().find(|it| it.name == name);
    let link = link.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let device = macvlan::port_name(name, link.index);
    let advice = Settings::of_kernel().under_station(name);
    assert!(advice.is_empty(), "{advice:?}");
    macvlan::ensure(&device, link, (STATION, true), &there)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

impl Port {
    /// The name of the interface at the other end of the wire.
    pub(crate) fn far_name(&self) -> String {
        far_name(&self.place)
    }

    /// Sets the far end up or down: that is the port's carrier.
    pub(crate) fn set_carrier(&mut self, up: bool) -> io::Result<()> {
        let mut route = Netlink::open(libc::NETLINK_ROUTE)?;
        let mut batch = Batch::new();
        let far = index_of(&self.far_name())?;
        set_up(&mut batch, far, up);
        must(&mut route, batch)?;
        self.has_carrier = up;
        self.await_carrier()?;
        // That its wire was cut is said to a socket by the next call; here it is known.
        rustix::net::sockopt::socket_error(&self.far)?.ok();
        Ok(())
    }

    /// Waits until the kernel has worked off a change of carrier, on both ends: before it has, an
    /// interface may drop what it is given without a word.
    fn await_carrier(&self) -> io::Result<()> {
        await_that("carrier changes", || {
            let near = has_carrier(self.place.name)?;
            Ok(near == self.has_carrier && has_carrier(&self.far_name())? == self.has_carrier)
        })
    }
}

/// Waits until an address that was added is in use: for an IPv6 one that is the work of a worker
/// of the kernel, even without duplicate detection. Before, it is nobody's.
pub(crate) fn await_use(address: IpAddr) -> io::Result<()> {
    const GET_ROUTE: u16 = 26;
    const LOCAL: u8 = 2;
    let IpAddr::V6(address) = address else {
        return Ok(());
    };
    let mut route = Netlink::open(libc::NETLINK_ROUTE)?;
    await_that("an address is put to use", || {
        let header = [10, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut batch = Batch::new();
        batch
            .message("find a route", GET_ROUTE, 0, &header)
            .put(1, &address.octets());
        let found = route.ask(batch)?;
        // The kind of a route stands at byte 7 of its header.
        let kind = found.first().and_then(|answer| answer.body.get(7));
        Ok(kind == Some(&LOCAL))
    })
}

fn await_that(what: &str, mut is_so: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let begun = Instant::now();
    while !is_so()? {
        if begun.elapsed() > CHANGE_WAIT {
            return Err(io::Error::other(format!("never: {what}")));
        }
        // The kernel's workers need this very processor.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn far_name(place: &Place) -> String {
    format!("{}far", place.name)
}

/// An interface with a wire to another one.
fn port(route: &mut Netlink, place: Place) -> io::Result<Port> {
    let (name, far) = (place.name, far_name(&place));
    let mut batch = Batch::new();
    batch
        .message(
            format!("create {name}"),
            NEW_LINK,
            CREATE | EXCLUSIVE,
            &[0; 16],
        )
        .put_text(3, name)
        .put(1, &place.mac.0)
        .nest(18, |info| {
            info.put_text(1, "veth").nest(2, |data| {
                data.nest(1, |peer| {
                    peer.put_header(&[0; 16]).put_text(3, &far);
                });
            });
        });
    must(route, batch)?;
    set(&format!("ipv6/conf/{far}/disable_ipv6"), "1")?;
    set(&format!("ipv4/conf/{far}/arp_ignore"), "8")?;
    let index = index_of(name)?;
    let far_index = index_of(&far)?;
    let mut batch = Batch::new();
    set_up(&mut batch, index, true);
    set_up(&mut batch, far_index, true);
    for (address, prefix) in place.units {
        put_address(&mut batch, index, address, prefix);
    }
    must(route, batch)?;
    let socket = |index: u32| packet_socket(i32::try_from(index).unwrap(), Some(FRAME_WAIT));
    let port = Port {
        place,
        index,
        near: socket(index)?,
        far: socket(far_index)?,
        has_carrier: true,
    };
    port.await_carrier()?;
    Ok(port)
}

fn set(name: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/{name}"), value)
}

fn must(route: &mut Netlink, batch: Batch) -> io::Result<()> {
    let refused = route.exchange(batch, Ack::Each)?;
    match refused.into_iter().next() {
        None => Ok(()),
        Some(one) => Err(io::Error::other(format!("{}: {}", one.what, one.error))),
    }
}

fn set_up(batch: &mut Batch, index: u32, up: bool) {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&(if up { UP } else { 0 }).to_ne_bytes());
    header[12..16].copy_from_slice(&UP.to_ne_bytes());
    batch.message(format!("set {index} up: {up}"), NEW_LINK, 0, &header);
}

fn put_address(batch: &mut Batch, index: u32, address: IpAddr, prefix: u8) {
    let (family, octets) = match address {
        IpAddr::V4(address) => (2, address.octets().to_vec()),
        IpAddr::V6(address) => (10, address.octets().to_vec()),
    };
    let without_detection = 2;
    let header = [
        &[family, prefix, without_detection, 0][..],
        &index.to_ne_bytes(),
    ]
    .concat();
    let what = format!("add {address}");
    batch
        .message(what, NEW_ADDRESS, CREATE | REPLACE, &header)
        .put(2, &octets)
        .put(1, &octets);
}

fn index_of(name: &str) -> io::Result<u32> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}
