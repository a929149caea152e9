//! Two gateways as an operator would set them up: a direct cable, a LAN and a WAN.

use core::net::{IpAddr, Ipv4Addr};

use steadfast_core::config::{
    Config, Digests, Parts, PeerConfig, Policy, PortAction, PortConfig, Timing,
};
use steadfast_core::wire::auth::{Key, KeyRing, Phase, Secret};
use steadfast_core::wire::carriage::Carriage;
use steadfast_core::{ClusterId, MacAddr, NodeId, PortId};

/// The direct cable.
pub(crate) const CABLE: u8 = 0;
/// The served segments.
pub(crate) const LAN: u8 = 1;
pub(crate) const WAN: u8 = 2;
/// Every port.
pub(crate) const PORTS: [u8; 3] = [CABLE, LAN, WAN];

/// The gateways by place: `A` is node 1, `B` is node 2.
pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;

const CLUSTER: ClusterId = ClusterId([0x5f; 16]);

/// What a story changes in the configuration of the gateway at a place.
pub(crate) type Change = fn(usize, &mut Parts);

/// The node id of the gateway at `place`.
pub(crate) fn node(place: usize) -> NodeId {
    NodeId(if place == A { 1 } else { 2 })
}

/// The hardware address of a gateway's port.
pub(crate) fn mac(place: usize, port: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, node(place).0, port])
}

/// The host that lives on a served segment.
pub(crate) fn host_mac(port: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0xee, port])
}

/// Address 1 of a segment is virtual, 11 and 12 are the gateways', 100 is the host's.
pub(crate) fn address(port: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, port, last)
}

/// The own address of the gateway at `place` on a segment.
pub(crate) fn unit(place: usize, port: u8) -> Ipv4Addr {
    address(port, 10 + node(place).0)
}

pub(crate) fn config(place: usize, change: Change) -> Config {
    let other = 1 - place;
    let units = [LAN, WAN].map(|port| (PortId(port), IpAddr::V4(unit(other, port))));
    let mut parts = Parts {
        cluster: CLUSTER,
        virtual_router: 51,
        node: node(place),
        peers: vec![PeerConfig {
            node: node(other),
            units: units.to_vec(),
        }],
        ports: PORTS.map(|port| port_config(place, port)).to_vec(),
        timing: Timing::default(),
        policy: Policy::default(),
        witness: None,
        keys: keys(place),
        checks: Vec::new(),
        carriage: Carriage::default(),
        digests: Digests::default(),
    };
    change(place, &mut parts);
    Config::new(parts).expect("the story's configuration is sound")
}

fn port_config(place: usize, port: u8) -> PortConfig {
    let served = port != CABLE;
    let only_served = |ip: Ipv4Addr| served.then_some(IpAddr::V4(ip));
    PortConfig {
        id: PortId(port),
        name: ["ha0", "lan0", "wan0"][usize::from(port)].to_owned(),
        mac: mac(place, port),
        direct: !served,
        heartbeat: true,
        secondary: false,
        watched: served,
        units: only_served(unit(place, port))
            .map(|ip| (ip, 24))
            .into_iter()
            .collect(),
        virtuals: only_served(address(port, 1)).into_iter().collect(),
        virtual_mac: None,
        action: PortAction::Add,
        neighbour: only_served(address(port, 100)),
        via: None,
    }
}

pub(crate) fn keys(place: usize) -> KeyRing {
    keys_of(place, b"correct horse battery staple")
}

/// Keys of another secret, under the same number.
pub(crate) fn other_keys(place: usize) -> KeyRing {
    keys_of(place, b"wrong zebra charger paperclip")
}

fn keys_of(place: usize, secret: &[u8]) -> KeyRing {
    let key = Key {
        id: 1,
        secret: Secret::new(secret).expect("a good secret"),
        phase: Phase::Enforce,
    };
    let nodes = [node(A), node(B)];
    KeyRing::new(CLUSTER, node(place), &nodes, vec![key]).expect("good keys")
}
