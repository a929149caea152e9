//! The wires of a layout: who is at the end of each, its numbers and its names.

use steadfast_core::{MacAddr, NodeId, PortId};
use steadfast_scenarios::format::Layout;
use steadfast_scenarios::{HostId, SegmentId};

use super::Wiring;

const GATEWAYS: u32 = 100;
const HOSTS: u32 = 10_000;
const SPARES: u32 = 20_000;
/// Added to a wire's index where it is relayed: the end in the bridge, and that towards the relay.
const PLUGGED: u32 = 100_000;
pub(super) const INNER: u32 = 200_000;
/// Added to a wire's index at a gateway's end where the two differ.
const FAR: u32 = 300_000;

/// Who is at the end of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Station {
    /// A gateway's port.
    Gateway(NodeId, PortId),
    /// A host.
    Host(HostId),
    /// The free outlet of a switched segment: the observer's and strangers'.
    Spare,
}

/// A wire, as the switch sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plug {
    /// Who is at its other end.
    pub station: Station,
    /// What it is plugged into.
    pub segment: SegmentId,
    /// Its index at the switch.
    pub index: u32,
    /// Its index at its other end: the same, unless news of its carrier are to be prompt.
    pub far: u32,
    /// Its name at the switch.
    pub name: String,
    /// The index of what is plugged into the bridge: the same, unless the wire is relayed.
    pub plugged: u32,
    /// The MAC at its other end.
    pub mac: MacAddr,
}

impl Plug {
    /// The end at which a machine's frames show first, before any relay has touched them.
    pub(crate) fn near(&self) -> String {
        match self.plugged == self.index {
            true => self.name.clone(),
            false => self.outer(),
        }
    }

    /// A relayed wire's end at the relay, towards the machine.
    pub(crate) fn outer(&self) -> String {
        format!("{}.r", self.name)
    }

    /// The index of [`Plug::inner`].
    pub(crate) const fn inner_index(&self) -> u32 {
        self.index + INNER
    }

    /// A relayed wire's end at the relay, towards the switch.
    pub(crate) fn inner(&self) -> String {
        format!("{}.i", self.name)
    }
}

/// Every wire of a layout: gateways, hosts, then one spare outlet for each switch.
pub(super) fn plugs(layout: &Layout, wiring: Wiring) -> Vec<Plug> {
    let segment = |id: SegmentId| &layout.segments[id.index()];
    let mut plugs = Vec::new();
    for gateway in &layout.gateways {
        let index = |port: PortId| GATEWAYS * u32::from(gateway.id.0) + 10 + u32::from(port.0);
        plugs.extend(gateway.ports.iter().map(|port| Plug {
            station: Station::Gateway(gateway.id, port.id),
            segment: port.segment,
            index: index(port.id),
            far: index(port.id) + if wiring.prompt { FAR } else { 0 },
            plugged: index(port.id) + wiring.relayed.map_or(0, |_| PLUGGED),
            name: format!("{}-{}", segment(port.segment).name, gateway.name),
            mac: port.mac,
        }));
    }
    plugs.extend(layout.hosts.iter().map(|host| Plug {
        station: Station::Host(host.id),
        segment: host.segment,
        index: HOSTS + u32::from(host.id.0),
        far: HOSTS + u32::from(host.id.0),
        plugged: HOSTS + u32::from(host.id.0),
        name: format!("{}-h{}", segment(host.segment).name, host.id),
        mac: host.mac,
    }));
    let served = layout.segments.iter().filter(|segment| segment.served());
    plugs.extend(served.map(|segment| Plug {
        station: Station::Spare,
        segment: segment.id,
        index: SPARES + u32::from(segment.id.0),
        far: SPARES + u32::from(segment.id.0),
        plugged: SPARES + u32::from(segment.id.0),
        name: format!("{}-x", segment.name),
        mac: segment.observer_mac(),
    }));
    plugs
}
