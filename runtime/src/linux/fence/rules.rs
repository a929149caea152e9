//! The fence's rules, as data: what each hook of each port lets pass (D9).
//!
//! ```text
//! guard, heartbeat port, egress -510   active frame: in @live? refresh, pass; else drop, also in
//!                                      a datagram
//!                                      offering frame: in @live? pass; else drop
//!                                      (a served port: within its fence)
//! fence, served port, ingress -500     @live? pass  ARP/NS for virtual: drop  @tail? pass
//!                                      to virtual address or MAC, transit: drop
//! fence, served port, egress -500      RA, own or ending: drop  @live? pass  RA: drop
//!                                      ARP/NA from virtual, virtual MAC: drop
//!                                      @tail? pass  from virtual address: drop
//! ```
//!
//! The lease comes first, or right behind rules about routers and datagrams: that is what every
//! packet of an active node meets. A port that is served and carries heartbeats has one chain on
//! its way out: a second one would cost each packet some 30 ns.
//!
//! Router advertisements are what hosts choose their gateway by: without a lease none leaves a port
//! with virtual IPv6 addresses, and where one of them is link-local, none in the name of an address
//! that stays with the machine: hosts would follow the machine, not the role (F44). One that takes
//! such an address back may leave, one that takes the role's back may not.
//!
//! Verdicts equal those of the kernel model (`sim/src/model/kernel/fence.rs`). Transit is what came
//! to this machine's MAC and is routed on: the routing table is asked, so any address the machine
//! has, or gets later, stays reachable; without that question (`fib`) the unit addresses stand for
//! it.
//!
//! The hard case is VLAN tags. A device sees frames of the VLANs above it: they are none of its
//! business and pass, except those of VLAN 0, which the kernel takes for its own. Frames on the
//! way out are judged as written, whatever protocol their socket claims.
//!
//! Limit: Ethernet ports, whose type is the key of both sets. Kernels without netdev egress have
//! the part on the way in alone; for the rest see [`super::output`].

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::guard::{guard, within_fence};
use super::nftables::{Base, Hook, Meta, SET_DYNAMIC, SET_TIMEOUT, Set, Word};
use super::{FenceSpec, ServedPort, output};

/// The key of both sets: the device type Ethernet (`ARPHRD_ETHER`), as rules load it.
pub(super) fn key() -> Vec<u8> {
    1_u16.to_ne_bytes().to_vec()
}

pub(super) const LIVE: &str = "live";
pub(super) const TAIL: &str = "tail";
pub(super) const VIP4: &str = "vip4";
pub(super) const VIP6: &str = "vip6";
pub(super) const VMAC: &str = "vmac";
/// Names of served ports; in the tables alone that see every device.
pub(super) const PORTS: &str = "ports";
/// Rules about what is to be passed on, IPv4 and IPv6.
const TRANSIT: [&str; 2] = ["in: IPv4 transit", "in: IPv6 transit"];
const OWN4: &str = "own4";
const OWN6: &str = "own6";

/// Stale elements wait for the kernel's next cleaning, a second at most: room for as many claims as
/// fit between. The kernel makes room at once, eight bytes and more for each; with sixteen times as
/// many it has megabytes to clear while the daemon starts.
pub(super) const TIMED_SIZE: u32 = 4_096;
/// All sets. The first two hold lease and tail, the others addresses.
pub(super) const SETS: [Set; 7] = [
    timed(LIVE),
    timed(TAIL),
    plain(VIP4, 7, 4),
    plain(VIP6, 8, 16),
    plain(VMAC, 9, 6),
    plain(OWN4, 7, 4),
    plain(OWN6, 8, 16),
];

pub(super) const ARP: [u8; 2] = [0x08, 0x06];
pub(super) const IPV4: [u8; 2] = [0x08, 0x00];
pub(super) const IPV6: [u8; 2] = [0x86, 0xdd];
const VLAN_TYPES: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];
pub(super) const ICMPV6: u8 = 58;
pub(super) const ROUTER_ADVERTISE: u8 = 134;
pub(super) const SOLICIT: u8 = 135;
pub(super) const ADVERTISE: u8 = 136;
/// `PACKET_HOST`: the frame came to the device's own MAC.
const TO_HOST: u8 = 0;
/// `RTN_UNICAST`: neither ours, nor a group's.
const ROUTED_ON: u32 = 1;

/// How transit is told from what is for this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransitBy {
    /// The routing table says.
    Fib,
    /// What is not for a unit address.
    Units,
}

/// A chain with its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: String,
    pub(super) device: String,
    pub(super) hook: Hook,
    pub(super) priority: i32,
    pub(super) rules: Vec<Rule>,
}

/// A rule: its name, which is shown and counted under, and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) words: Vec<Word>,
}

/// Every chain the fence needs.
pub(super) fn chains(spec: &FenceSpec, transit: TransitBy) -> Vec<Chain> {
    let is_served = |name: &String| spec.served.iter().any(|port| port.name == *name);
    let unserved = spec.heartbeat_ports.iter().filter(|name| !is_served(name));
    let guards = unserved.map(|port| guard(spec, port));
    let fences = spec
        .served
        .iter()
        .flat_map(|port| [fence_in(port, transit), fence_out(spec, port)]);
    guards.chain(fences).collect()
}

/// Those on the way in alone.
pub(super) fn chains_in(spec: &FenceSpec, transit: TransitBy) -> Vec<Chain> {
    let served = spec.served.iter();
    served.map(|port| fence_in(port, transit)).collect()
}

/// The elements of each address set.
pub(super) fn members(spec: &FenceSpec) -> [(&'static str, BTreeSet<Vec<u8>>); 6] {
    let virtuals = || spec.served.iter().flat_map(|port| &port.virtuals);
    let units = || spec.served.iter().flat_map(|port| &port.units);
    let macs = spec.served.iter().flat_map(|port| &port.virtual_macs);
    let names = spec.served.iter().map(|port| &port.name);
    [
        (VIP4, virtuals().filter_map(v4).collect()),
        (VIP6, virtuals().filter_map(v6).collect()),
        (VMAC, macs.map(|mac| mac.0.to_vec()).collect()),
        (OWN4, units().filter_map(v4).collect()),
        (OWN6, units().filter_map(v6).collect()),
        (PORTS, names.map(|name| output::padded(name)).collect()),
    ]
}

/// Whole milliseconds, cut.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How long the tail lasts from a refresh of the lease.
pub(super) fn tail_after_refresh(spec: &FenceSpec) -> u64 {
    millis(spec.lease.saturating_add(spec.tail))
}

fn fence_in(port: &ServedPort, transit: TransitBy) -> Chain {
    let name = &port.name;
    let within = |set| vec![Word::Meta(Meta::InType), Word::IsIn(set)];
    let network = |protocol, offset, len, set| {
        let load = Word::Payload(Base::Network, offset, len);
        [of_protocol(protocol), vec![load, Word::IsIn(set)]].concat()
    };
    let solicit = vec![
        Word::Meta(Meta::L4Protocol),
        Word::Is(vec![ICMPV6]),
        Word::Payload(Base::Transport, 0, 1),
        Word::Is(vec![SOLICIT]),
        Word::Payload(Base::Transport, 8, 16),
        Word::IsIn(VIP6),
    ];
    let to_mac = vec![Word::Payload(Base::Link, 0, 6), Word::IsIn(VMAC)];
    let mut rules = vec![rule(name, "lease", &[within(LIVE), pass()])];
    rules.extend(vlans(name));
    rules.extend([
        rule(
            name,
            "in: ARP for virtual",
            &[network(ARP, 24, 4, VIP4), refuse()],
        ),
        rule(
            name,
            "in: NS for virtual",
            &[of_protocol(IPV6), solicit, refuse()],
        ),
        rule(name, "tail", &[within(TAIL), pass()]),
        rule(
            name,
            "in: IPv4 to virtual",
            &[network(IPV4, 16, 4, VIP4), refuse()],
        ),
        rule(
            name,
            "in: IPv6 to virtual",
            &[network(IPV6, 24, 16, VIP6), refuse()],
        ),
        rule(name, "in: to virtual MAC", &[to_mac, refuse()]),
    ]);
    rules.extend(transits(name, transit));
    Chain {
        name: format!("{name}_in"),
        device: name.clone(),
        hook: Hook::Ingress,
        priority: -500,
        rules,
    }
}

/// Whether a rule drops what came to this port to be passed on.
pub(super) fn is_transit(rule: &str, port: &str) -> bool {
    let what = rule.strip_prefix(port).and_then(|it| it.strip_prefix(' '));
    what.is_some_and(|what| TRANSIT.contains(&what))
}

/// What came to our MAC, and is neither for this machine nor for a group.
fn transits(name: &str, by: TransitBy) -> [Rule; 2] {
    let to_host = || vec![Word::Meta(Meta::PacketType), Word::Is(vec![TO_HOST])];
    let routed = |own, (offset, len), group: [u8; 2]| match by {
        TransitBy::Fib => vec![
            Word::FibDestinationType,
            Word::Is(ROUTED_ON.to_ne_bytes().to_vec()),
        ],
        TransitBy::Units => vec![
            Word::Payload(Base::Network, offset, 1),
            Word::Mask(vec![group[0]]),
            Word::IsNot(vec![group[1]]),
            Word::Payload(Base::Network, offset, len),
            Word::IsNotIn(own),
        ],
    };
    let v4 = routed(OWN4, (16, 4), [0xf0, 0xe0]);
    let v6 = routed(OWN6, (24, 16), [0xff, 0xff]);
    [
        rule(
            name,
            TRANSIT[0],
            &[to_host(), of_protocol(IPV4), v4, refuse()],
        ),
        rule(
            name,
            TRANSIT[1],
            &[to_host(), of_protocol(IPV6), v6, refuse()],
        ),
    ]
}

/// The lease of what leaves a served port, and before it what is asked of advertisements.
fn leased_out(spec: &FenceSpec, name: &str) -> Vec<Rule> {
    let live = vec![Word::Meta(Meta::OutType), Word::IsIn(LIVE)];
    if spec.heartbeat_ports.iter().any(|port| port == name) {
        return within_fence(spec, name, &live);
    }
    vec![rule(name, "lease", &[live, pass()])]
}

fn fence_out(spec: &FenceSpec, port: &ServedPort) -> Chain {
    let name = &port.name;
    let within = |set| vec![Word::Meta(Meta::OutType), Word::IsIn(set)];
    let written = |protocol: [u8; 2], offset, len, set| {
        let load = Word::Payload(Base::Link, offset, len);
        [of_type(protocol), vec![load, Word::IsIn(set)]].concat()
    };
    let advertise = vec![
        Word::Payload(Base::Link, 20, 1),
        Word::Is(vec![ICMPV6]),
        Word::Payload(Base::Link, 54, 1),
        Word::Is(vec![ADVERTISE]),
        Word::Payload(Base::Link, 62, 16),
        Word::IsIn(VIP6),
    ];
    let from_mac = vec![Word::Payload(Base::Link, 6, 6), Word::IsIn(VMAC)];
    let mut rules = Vec::new();
    let [own, end, any] = routers_kept_back(port);
    rules.extend(own.into_iter().chain(end));
    rules.extend(leased_out(spec, name));
    rules.extend(vlans(name));
    rules.extend(any);
    rules.extend([
        rule(
            name,
            "out: ARP from virtual",
            &[written(ARP, 28, 4, VIP4), refuse()],
        ),
        rule(
            name,
            "out: NA for virtual",
            &[of_type(IPV6), advertise, refuse()],
        ),
        rule(name, "out: from virtual MAC", &[from_mac, refuse()]),
        rule(name, "tail", &[within(TAIL), pass()]),
        rule(
            name,
            "out: IPv4 from virtual",
            &[written(IPV4, 26, 4, VIP4), refuse()],
        ),
        rule(
            name,
            "out: IPv6 from virtual",
            &[written(IPV6, 22, 16, VIP6), refuse()],
        ),
    ]);
    Chain {
        name: format!("{name}_out"),
        device: name.clone(),
        hook: Hook::Egress,
        priority: -500,
        rules,
    }
}

/// Which router advertisements never leave a port, and which do not without a lease: where a
/// link-local address moves with the role, none that makes hosts use the machine's own, and none
/// that makes them leave the role's (a router daemon says so when it ends); without a lease, none
/// that makes them use anything.
fn routers_kept_back(port: &ServedPort) -> [Option<Rule>; 3] {
    let name = &port.name;
    let is_advert = || {
        let kind = [
            Word::Payload(Base::Link, 20, 1),
            Word::Is(vec![ICMPV6]),
            Word::Payload(Base::Link, 54, 1),
            Word::Is(vec![ROUTER_ADVERTISE]),
        ];
        [of_type(IPV6), kind.to_vec()].concat()
    };
    let source = |word| vec![Word::Payload(Base::Link, 22, 16), word];
    let lifetime = |word| vec![Word::Payload(Base::Link, 60, 2), word];
    let (lasts, ends) = (Word::IsNot(vec![0, 0]), Word::Is(vec![0, 0]));
    let lasts = lifetime(lasts);
    let own = [
        is_advert(),
        lasts.clone(),
        source(Word::IsNotIn(VIP6)),
        refuse(),
    ];
    let end = [
        is_advert(),
        lifetime(ends),
        source(Word::IsIn(VIP6)),
        refuse(),
    ];
    let any = [is_advert(), lasts, refuse()];
    let (moves, speaks) = (port.moves_router(), port.speaks_ipv6());
    [
        moves.then(|| rule(name, "out: RA, own address", &own)),
        moves.then(|| rule(name, "out: RA, end of the role's", &end)),
        speaks.then(|| rule(name, "out: RA", &any)),
    ]
}

/// Frames of a VLAN other than 0 belong to the device above.
pub(super) fn vlans(name: &str) -> impl Iterator<Item = Rule> {
    VLAN_TYPES.into_iter().map(move |vlan| {
        let number = vec![
            Word::Payload(Base::Link, 14, 2),
            Word::Mask(vec![0x0f, 0xff]),
            Word::IsNot(vec![0, 0]),
        ];
        rule(name, "other VLAN", &[of_type(vlan), number, pass()])
    })
}

/// What the kernel takes the packet for.
pub(super) fn of_protocol(protocol: [u8; 2]) -> Vec<Word> {
    vec![Word::Meta(Meta::Protocol), Word::Is(protocol.to_vec())]
}

/// What stands in the frame.
pub(super) fn of_type(ethertype: [u8; 2]) -> Vec<Word> {
    vec![
        Word::Payload(Base::Link, 12, 2),
        Word::Is(ethertype.to_vec()),
    ]
}

pub(super) fn pass() -> Vec<Word> {
    vec![Word::Accept]
}

pub(super) fn refuse() -> Vec<Word> {
    vec![Word::Counter, Word::Drop]
}

pub(super) fn rule(port: &str, name: &str, parts: &[Vec<Word>]) -> Rule {
    Rule {
        name: format!("{port} {name}"),
        words: parts.concat(),
    }
}

fn v4(address: &IpAddr) -> Option<Vec<u8>> {
    match address {
        IpAddr::V4(address) => Some(address.octets().to_vec()),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: &IpAddr) -> Option<Vec<u8>> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address.octets().to_vec()),
    }
}

pub(super) const fn timed(name: &'static str) -> Set {
    Set {
        name,
        flags: SET_TIMEOUT | SET_DYNAMIC,
        key_type: 21,
        key_len: 2,
        size: TIMED_SIZE,
    }
}

pub(super) const fn plain(name: &'static str, key_type: u32, key_len: u32) -> Set {
    Set {
        name,
        flags: 0,
        key_type,
        key_len,
        size: 0,
    }
}
