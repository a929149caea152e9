//! Stories of packets: what passes with a lease, with a tail, and with neither.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast::linux::fence::{Counter, Fence, Health};
use steadfast_core::MacAddr;
use steadfast_scenarios::conformance::frames::router_advert;

use super::Story;
use super::frames::{self, VIRTUAL_MAC};
use super::world::{
    CLIENT, CLIENT6, LAN_UNIT, LAN_UNIT6, LAN_VIRTUAL, LAN_VIRTUAL6, LINK_VIRTUAL6, SERVER,
    SERVER6, WAN_UNIT, World,
};

pub(super) const STORIES: &[Story] = &[
    ("fence_arp_is_answered_with_the_lease_alone", arp),
    (
        "fence_neighbour_discovery_is_answered_with_the_lease_alone",
        discovery,
    ),
    ("fence_transit_needs_lease_or_tail", transit),
    (
        "fence_own_frames_of_virtual_addresses_stay_inside",
        own_frames,
    ),
    ("fence_packets_to_virtual_addresses_are_dropped", to_virtual),
    ("fence_router_advertisements_follow_the_role", routers),
];

fn dropped(fence: &mut Fence, rule: &str) -> u64 {
    let counters = fence.counters().unwrap();
    let counter = counters.into_iter().find(|counter| counter.rule == rule);
    counter.unwrap().packets
}

/// Fenced and in the tail the virtual address is silent; the unit address never is (`answers`
/// waits for it).
fn arp() {
    let world = World::new();
    let mut fence = world.fenced();
    assert!(!world.answers(LAN_VIRTUAL));
    fence.arm().unwrap();
    assert!(world.answers(LAN_VIRTUAL));
    fence.release_to_tail().unwrap();
    assert!(!world.answers(LAN_VIRTUAL));
    fence.close().unwrap();
    assert!(!world.answers(LAN_VIRTUAL));
    assert_eq!(
        dropped(&mut fence, "lan0 in: ARP for virtual"),
        3,
        "each question, at the door"
    );
    fence.unfence().unwrap();
    assert!(world.answers(LAN_VIRTUAL), "nothing is fenced any more");
}

/// The same for IPv6, link-local virtual addresses included.
fn discovery() {
    let world = World::new();
    let mut fence = world.fenced();
    for address in [LAN_VIRTUAL6, LINK_VIRTUAL6] {
        assert!(!world.answers6(address), "{address}");
        fence.arm().unwrap();
        assert!(world.answers6(address), "{address}");
        fence.release_to_tail().unwrap();
        assert!(!world.answers6(address), "{address}");
        fence.close().unwrap();
    }
    let at_the_door = dropped(&mut fence, "lan0 in: NS for virtual");
    assert_eq!(at_the_door, 4, "each question");
    fence.unfence().unwrap();
}

/// A fenced node routes nothing; with the lease, and in its tail, it does.
fn transit() {
    let world = World::new();
    let mut fence = world.fenced();
    let ways = [
        (SERVER.into(), CLIENT.into()),
        (SERVER6.into(), CLIENT6.into()),
    ];
    for (source, target) in ways {
        assert!(!world.forwards(source, target), "{target} while fenced");
        fence.arm().unwrap();
        assert!(world.forwards(source, target), "{target} with a lease");
        fence.release_to_tail().unwrap();
        assert!(world.forwards(source, target), "{target} in the tail");
        fence.close().unwrap();
    }
    // For this machine, on whichever port and address, or for a group: none of it is transit.
    let group: IpAddr = Ipv4Addr::new(224, 0, 0, 18).into();
    for target in [LAN_UNIT.into(), WAN_UNIT.into(), group] {
        let frame = frames::datagram(world.lan.mac, CLIENT.into(), target, b"x");
        world.lan.inject(&frame);
    }
    for target in [LAN_UNIT6, Ipv6Addr::from([0xff02, 0, 0, 0, 0, 0, 0, 1])] {
        let frame = frames::datagram(world.lan.mac, CLIENT6.into(), target.into(), b"x");
        world.lan.inject(&frame);
    }
    assert!(!world.answers(LAN_VIRTUAL));
    let counters = fence.counters().unwrap();
    for rule in ["lan0 in: IPv4 transit", "lan0 in: IPv6 transit"] {
        let counter = counters.iter().find(|counter| counter.rule == rule);
        assert_eq!(counter.unwrap().packets, 0, "{rule}");
    }
    for rule in ["wan0 in: IPv4 transit", "wan0 in: IPv6 transit"] {
        let counter = counters.iter().find(|counter| counter.rule == rule);
        assert_eq!(
            counter.unwrap().packets,
            1,
            "{rule}, and nothing else is taken for transit"
        );
    }
    assert!(matches!(fence.check(), Health::Whole));
    let transits = ["lan0", "wan0", "wan"].map(|port| fence.transits(port));
    assert_eq!(transits, [0, 2, 0], "as of the last check, by port");
    fence.unfence().unwrap();
}

/// Announcements leave with the lease alone; packets from a virtual address in the tail as well;
/// frames of the unit address always.
fn own_frames() {
    let world = World::new();
    let mut fence = world.fenced();
    let lan = &world.lan;
    let announcements = [
        frames::announcement(lan.mac, LAN_VIRTUAL),
        frames::advertisement(lan.mac, LAN_VIRTUAL6),
        frames::advertisement(lan.mac, LINK_VIRTUAL6),
        frames::ethernet(frames::STATION, VIRTUAL_MAC, 0x1235, b"virtual MAC"),
    ];
    let packets = [
        frames::datagram(frames::STATION, LAN_VIRTUAL.into(), CLIENT.into(), b"x"),
        frames::datagram(frames::STATION, LAN_VIRTUAL6.into(), CLIENT6.into(), b"x"),
    ];
    let unit = frames::advertisement(lan.mac, LAN_UNIT6);
    let out = |frames: &[Vec<u8>]| frames.iter().map(|f| lan.lets_out(f)).collect::<Vec<_>>();
    assert_eq!(
        (out(&announcements), out(&packets)),
        (vec![false; 4], vec![false; 2])
    );
    assert!(lan.lets_out(&unit));
    fence.arm().unwrap();
    assert_eq!(
        (out(&announcements), out(&packets)),
        (vec![true; 4], vec![true; 2])
    );
    fence.release_to_tail().unwrap();
    assert_eq!(
        (out(&packets), out(&announcements)),
        (vec![true; 2], vec![false; 4])
    );
    fence.close().unwrap();
    assert_eq!(
        (out(&announcements), out(&packets)),
        (vec![false; 4], vec![false; 2])
    );
    fence.unfence().unwrap();
}

/// Where a link-local address moves with the role, hosts are told of a router in its name alone,
/// and with the lease alone; a port without IPv6 addresses of the role says what it likes (F44).
fn routers() {
    let world = World::new();
    let mut fence = world.fenced();
    let (lan, wan) = (&world.lan, &world.wan);
    let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
    let says = |mac, from| router_advert(MacAddr(mac), from);
    let (moving, staying) = (says(lan.mac, LINK_VIRTUAL6), says(lan.mac, own));
    let out = |frame: &[u8]| lan.lets_out(frame);
    assert_eq!((out(&moving), out(&staying)), (false, false), "fenced");
    fence.arm().unwrap();
    assert_eq!((out(&moving), out(&staying)), (true, false), "active");
    let ending = |frame: &[u8]| {
        let mut frame = frame.to_vec();
        frame[60..62].copy_from_slice(&[0, 0]);
        frame
    };
    let (left, taken_back) = (ending(&moving), ending(&staying));
    assert_eq!((out(&left), out(&taken_back)), (false, true), "active");
    fence.release_to_tail().unwrap();
    assert_eq!((out(&moving), out(&staying)), (false, false), "tail");
    fence.close().unwrap();
    assert_eq!((out(&left), out(&taken_back)), (false, true), "fenced");
    assert!(wan.lets_out(&says(wan.mac, own)), "no IPv6 is served there");
    assert_eq!(dropped(&mut fence, "lan0 out: RA, own address"), 3);
    assert_eq!(dropped(&mut fence, "lan0 out: RA"), 2);
    assert_eq!(dropped(&mut fence, "lan0 out: RA, end of the role's"), 2);
    fence.unfence().unwrap();
}

/// A packet to a virtual address or MAC is counted and dropped without lease and tail; of a VLAN
/// above the port, nothing is.
fn to_virtual() {
    let world = World::new();
    let mut fence = world.fenced();
    let lan = &world.lan;
    let to_virtual = frames::datagram(lan.mac, CLIENT.into(), LAN_VIRTUAL.into(), b"x");
    let to_virtual6 = frames::datagram(lan.mac, CLIENT6.into(), LAN_VIRTUAL6.into(), b"x");
    let to_mac = frames::ethernet(VIRTUAL_MAC, frames::STATION, 0x1236, b"x");
    let tagged = [
        &lan.mac[..],
        &frames::STATION,
        &[0x81, 0, 0, 7],
        &to_virtual[12..],
    ]
    .concat();
    let untagged = [
        &lan.mac[..],
        &frames::STATION,
        &[0x81, 0, 0, 0],
        &to_virtual[12..],
    ]
    .concat();
    for frame in [&to_virtual, &to_virtual6, &to_mac, &tagged, &untagged] {
        lan.inject(frame);
    }
    assert!(!world.answers(LAN_VIRTUAL));
    let counters = fence.counters().unwrap();
    let of = |rule| {
        counters
            .iter()
            .find(|counter| counter.rule == rule)
            .unwrap()
            .packets
    };
    assert_eq!(of("lan0 in: IPv4 to virtual"), 2, "plain, and of VLAN 0");
    assert_eq!(of("lan0 in: IPv6 to virtual"), 1);
    assert_eq!(of("lan0 in: to virtual MAC"), 1);
    fence.arm().unwrap();
    for frame in [&to_virtual, &to_virtual6, &to_mac] {
        lan.inject(frame);
    }
    assert!(world.answers(LAN_VIRTUAL));
    let is_in = |counter: &&Counter| counter.rule.contains(" in: ");
    let after = fence.counters().unwrap();
    let (before, after) = (counters.iter().filter(is_in), after.iter().filter(is_in));
    assert!(before.eq(after), "nothing is dropped with a lease");
    fence.unfence().unwrap();
}
