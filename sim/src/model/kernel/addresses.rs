//! Ports, the addresses on them, and the routes that follow from those.
//!
//! Linux is a weak host: an address belongs to the machine, not to its port, so every look-up here
//! asks "is it ours" without saying where. Unit addresses bring a connected route; virtual ones
//! are /32 or /128 and bring none (facts: no route may appear or vanish with a takeover).

use core::net::IpAddr;

use steadfast_core::{MacAddr, PortId};

/// Most addresses of one machine, unit and virtual together; a further one is refused and counted.
pub const ADDRESSES_MAX: usize = 8192;

/// A port of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortConfig {
    /// Its number, the same on every node.
    pub id: PortId,
    /// Its own address.
    pub mac: MacAddr,
    /// The virtual MAC of the device above it, on which its virtual addresses live (R5.5).
    pub virtual_mac: Option<MacAddr>,
    /// Each unit address, and the virtual one in whose name the machine begins while it serves
    /// (R5.3).
    pub names: Vec<(IpAddr, IpAddr)>,
    /// Unit addresses with the length of their prefix in bits.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Whether it serves clients: the fence stands here (D9).
    pub served: bool,
    /// Whether advertisements leave here: the lease guard stands here (D9).
    pub heartbeat: bool,
    /// Whether packet sockets here ask for advertisements that came through a router, too.
    pub routed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Port {
    pub(super) config: PortConfig,
    pub(super) carrier: bool,
}

/// An address and where it was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Local {
    pub(super) address: IpAddr,
    pub(super) port: PortId,
    pub(super) is_virtual: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Route {
    network: IpAddr,
    prefix: u8,
    port: PortId,
}

/// Ports, local addresses and routes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Addresses {
    pub(super) ports: Vec<Port>,
    /// Sorted by address.
    locals: Vec<Local>,
    /// Longest prefix first.
    routes: Vec<Route>,
    pub(super) gateways: Vec<IpAddr>,
    ignores_linkdown: bool,
}

impl Addresses {
    pub(super) fn new(
        ports: Vec<PortConfig>,
        gateways: Vec<IpAddr>,
        ignores_linkdown: bool,
    ) -> Self {
        let mut locals = Vec::new();
        let mut routes = Vec::new();
        for port in &ports {
            for (address, prefix) in &port.addresses {
                locals.push(Local {
                    address: *address,
                    port: port.id,
                    is_virtual: false,
                });
                routes.push(Route {
                    network: *address,
                    prefix: *prefix,
                    port: port.id,
                });
            }
        }
        locals.sort_unstable();
        routes.sort_by_key(|route| core::cmp::Reverse(route.prefix));
        let carrier = true;
        let ports = ports.into_iter().map(|config| Port { config, carrier });
        Self {
            ports: ports.collect(),
            locals,
            routes,
            gateways,
            ignores_linkdown,
        }
    }

    pub(super) fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.iter().find(|port| port.config.id == id)
    }

    pub(super) fn port_mut(&mut self, id: PortId) -> Option<&mut Port> {
        self.ports.iter_mut().find(|port| port.config.id == id)
    }

    /// The station at which a port answers for an address. A device above it answers for its own
    /// addresses and no other (`arp_ignore` = 1), and the port then does so too.
    pub(super) fn station_of(&self, port: PortId, address: IpAddr) -> Option<MacAddr> {
        let config = &self.port(port)?.config;
        let Some(above) = config.virtual_mac else {
            return Some(config.mac);
        };
        let from = self.locals.partition_point(|local| local.address < address);
        let here = self.locals[from..].iter();
        let mut here = here.take_while(|local| local.address == address);
        let local = here.find(|local| local.port == port)?;
        Some(if local.is_virtual { above } else { config.mac })
    }

    /// Whether questions leave a port in this address's name: under a device for virtual addresses
    /// only those that are the port's own do (`arp_announce` = 2).
    pub(super) fn asks_as(&self, port: PortId, address: IpAddr) -> bool {
        let above = self.port(port).and_then(|it| it.config.virtual_mac);
        above.is_none_or(|above| self.station_of(port, address).is_some_and(|it| it != above))
    }

    pub(super) fn is_local(&self, address: IpAddr) -> bool {
        self.local(address).is_some()
    }

    /// The first entry of an address, unit before virtual.
    pub(super) fn local(&self, address: IpAddr) -> Option<&Local> {
        let at = self.locals.partition_point(|local| local.address < address);
        self.locals.get(at).filter(|local| local.address == address)
    }

    /// Whether this very port carries the address: what a neighbour solicitation asks.
    pub(super) fn is_local_on(&self, port: PortId, address: IpAddr) -> bool {
        let from = self.locals.partition_point(|local| local.address < address);
        let same = self.locals[from..].iter();
        same.take_while(|local| local.address == address)
            .any(|local| local.port == port)
    }

    pub(super) fn add_virtual(&mut self, port: PortId, address: IpAddr) -> Added {
        let local = Local {
            address,
            port,
            is_virtual: true,
        };
        match self.locals.binary_search(&local) {
            Ok(_) => Added::Already,
            Err(_) if self.locals.len() >= ADDRESSES_MAX => Added::Full,
            Err(at) => {
                self.locals.insert(at, local);
                Added::Yes
            }
        }
    }

    pub(super) fn remove_virtual(&mut self, port: PortId, address: IpAddr) -> bool {
        let before = self.locals.len();
        self.locals
            .retain(|local| !(local.is_virtual && local.port == port && local.address == address));
        self.locals.len() != before
    }

    pub(super) fn virtuals(&self) -> impl Iterator<Item = (PortId, IpAddr)> {
        let locals = self.locals.iter().filter(|local| local.is_virtual);
        locals.map(|local| (local.port, local.address))
    }

    /// The port and next hop towards an address that is not ours.
    pub(super) fn route(&self, destination: IpAddr) -> Option<(PortId, IpAddr)> {
        if let Some(port) = self.connected(destination) {
            return Some((port, destination));
        }
        let same_version = |gateway: &&IpAddr| gateway.is_ipv4() == destination.is_ipv4();
        let gateway = *self.gateways.iter().find(same_version)?;
        Some((self.connected(gateway)?, gateway))
    }

    /// The unit address of a port from which it asks for `target`: of the same prefix if there is
    /// one, else the first of the same version.
    pub(super) fn source_for(&self, port: PortId, target: IpAddr) -> Option<IpAddr> {
        let own = &self.port(port)?.config.addresses;
        let mut same = own
            .iter()
            .filter(|(own, _)| own.is_ipv4() == target.is_ipv4());
        let near = same
            .clone()
            .find(|(own, prefix)| covers(*own, *prefix, target));
        near.or_else(|| same.next()).map(|(address, _)| *address)
    }

    /// All addresses on a port.
    pub(super) fn on(&self, port: PortId) -> impl Iterator<Item = IpAddr> {
        let here = self.locals.iter().filter(move |local| local.port == port);
        here.map(|local| local.address)
    }

    /// The link-local IPv6 address of a port, if it was given one.
    pub(super) fn link_local(&self, port: PortId) -> Option<IpAddr> {
        let own = self.port(port)?.config.addresses.iter();
        let mut local = own.filter(|(own, _)| match own {
            IpAddr::V4(_) => false,
            IpAddr::V6(own) => own.is_unicast_link_local(),
        });
        local.next().map(|(own, _)| *own)
    }

    fn connected(&self, destination: IpAddr) -> Option<PortId> {
        let usable = |route: &&Route| {
            covers(route.network, route.prefix, destination)
                && (!self.ignores_linkdown || self.port(route.port).is_some_and(|p| p.carrier))
        };
        self.routes.iter().find(usable).map(|route| route.port)
    }
}

/// What became of an address to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    Already,
    Full,
    Yes,
}

fn covers(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    let same = match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    same >= u32::from(prefix)
}
