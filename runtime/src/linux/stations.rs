//! The devices on which a node's virtual addresses live: the ports, or macvlans above them (R5.5).
//!
//! A port with a virtual MAC has a device of its own for it, made behind the fence and before any
//! claim, and kept to the daemon's end: it is silent as long as the node has no lease (F38), and a
//! claim finds it there. It is known by its name, its port and its MAC, so a second look makes
//! nothing twice, and one that somebody removed is made again (F41).
//!
//! The hard case is a daemon that was killed: its device stays behind the fence, with its
//! addresses, and the next life takes it over. One whose port shall have none any more goes.
//!
//! The limit: a port that belongs to a bridge carries no such device; then there is no start.

use std::io;

use log::info;
use steadfast_core::MacAddr;
use steadfast_core::config::{Config, PortConfig};

use super::addresses::VirtualAddress;
use super::interfaces::{Interface, interfaces};
use super::macvlan;

/// A port on which clients are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Station {
    port: String,
    virtual_mac: Option<MacAddr>,
    ipv6: bool,
    virtuals: Vec<std::net::IpAddr>,
}

/// The served ports of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stations(Vec<Station>);

impl Stations {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        let served = config.ports.iter().filter(|port| port.served());
        let station = |port: &PortConfig| Station {
            port: port.name.clone(),
            virtual_mac: port.virtual_mac,
            ipv6: port.virtuals.iter().any(std::net::IpAddr::is_ipv6),
            virtuals: port.virtuals.clone(),
        };
        Self(served.map(station).collect())
    }

    /// Makes what is missing, and removes what is not wanted any more; a port that is not there has
    /// none. Gives the interfaces as they are then, and what could not be made.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn prepare(&self) -> io::Result<(Vec<Interface>, Vec<io::Error>)> {
        let mut there = interfaces()?;
        let mut failed = Vec::new();
        let mut removed = false;
        for device in left_behind(&there) {
            let wanted = |station: &Station| {
                let link = index(&station.port, &there);
                let named = |link| macvlan::port_name(&station.port, link) == device.name;
                station.virtual_mac.is_some()
                    && link.is_some_and(|link| link == device.iflink && named(link))
            };
            if self.0.iter().any(wanted) {
                continue;
            }
            removed = true;
            match macvlan::remove(device.index) {
                Ok(()) => info!("removed {}, left behind by an earlier life", device.name),
                Err(why) => failed.push(why),
            }
        }
        if removed {
            there = interfaces()?;
        }
        let mut changed = false;
        for station in &self.0 {
            let link = there.iter().find(|it| it.name == station.port);
            let (Some(mac), Some(link)) = (station.virtual_mac, link) else {
                continue;
            };
            let name = macvlan::port_name(&link.name, link.index);
            let known = there.iter().any(|it| it.name == name);
            let made = macvlan::ensure(&name, link, (mac, station.ipv6), &there);
            changed |= !known;
            match made.and_then(|_| port_settings(&station.port)) {
                Ok(()) if known => {}
                Ok(()) => info!("{name} on {} carries the virtual MAC {mac}", station.port),
                Err(why) => failed.push(why),
            }
        }
        let there = if changed { interfaces()? } else { there };
        Ok((there, failed))
    }

    /// Where each virtual address lives; one whose device is missing lives nowhere, until it is
    /// looked for again.
    pub fn places(&self, there: &[Interface]) -> Vec<VirtualAddress> {
        let of = |station: &Station| {
            let index = device(station, there)?;
            let virtuals = station.virtuals.clone();
            let at = move |address| VirtualAddress { index, address };
            Some(virtuals.into_iter().map(at))
        };
        self.0.iter().filter_map(of).flatten().collect()
    }

    /// The ports themselves, and the devices above them: where neighbours are known.
    pub fn links(&self, there: &[Interface]) -> Vec<u32> {
        let port = |station: &Station| index(&station.port, there);
        let device = |station: &Station| device(station, there);
        let both = |station: &Station| [port(station), device(station)];
        let mut links: Vec<u32> = self.0.iter().flat_map(both).flatten().collect();
        links.sort_unstable();
        links.dedup();
        links
    }
}

/// Removes every device of a virtual MAC, configured or left behind, while the fence still stands.
/// Says which.
///
/// # Errors
/// The kernel refuses, or does not answer.
pub fn remove_all() -> io::Result<Vec<String>> {
    let there = interfaces()?;
    let mut removed = Vec::new();
    for device in left_behind(&there) {
        macvlan::remove(device.index)?;
        removed.push(device.name.clone());
    }
    Ok(removed)
}

/// The devices of nodes' virtual MACs, by their names and stations.
fn left_behind(there: &[Interface]) -> impl Iterator<Item = &Interface> {
    let named = |it: &&Interface| it.name.starts_with(macvlan::PREFIX);
    there
        .iter()
        .filter(named)
        .filter(|it| macvlan::is_ours(it, it.iflink))
}

/// The port below neither answers for the addresses above it nor asks in their name (F40).
fn port_settings(port: &str) -> io::Result<()> {
    let settings = super::sysctl::Settings::of_kernel();
    match settings.under_station(port).into_iter().next() {
        None => Ok(()),
        Some(advice) => Err(io::Error::other(advice.to_string())),
    }
}

/// The device on which a port's addresses live.
fn device(station: &Station, there: &[Interface]) -> Option<u32> {
    if station.virtual_mac.is_none() {
        return index(&station.port, there);
    }
    above(&station.port, there).map(|it| it.index)
}

/// The device of a virtual MAC on a port, if there is one.
fn above<'a>(port: &str, there: &'a [Interface]) -> Option<&'a Interface> {
    let link = index(port, there)?;
    let name = macvlan::port_name(port, link);
    let is_ours = |it: &&Interface| it.name == name && it.iflink == link;
    there.iter().find(is_ours)
}

fn index(name: &str, there: &[Interface]) -> Option<u32> {
    there.iter().find(|it| it.name == name).map(|it| it.index)
}
