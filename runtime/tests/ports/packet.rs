//! Frames in and out: what comes through, what does not, and what survives.

use std::net::Ipv4Addr;
use std::time::Duration;

use steadfast::linux::carrier::CarrierBoard;
use steadfast::linux::clock::{Monotonic, MonotonicClock};
use steadfast::linux::links::{LinkSpec, LinkWatch};
use steadfast::linux::packet::{FRAME_MAX, PacketPorts, PortCounters, PortSpec};
use steadfast_core::wire::advert::GROUP_MAC;
use steadfast_core::wire::carriage::{self, Route};
use steadfast_core::wire::ethernet::{self, ethertype};
use steadfast_core::{MacAddr, PortId};
use steadfast_shell::env::{Clock, Frames, Links, Sent};

use super::{DEADLINE, cable, next, port, settled};
use crate::common::{ip, runtime};
use crate::raw::send_raw;

const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const A: PortId = PortId(0);

fn open(specs: &[PortSpec]) -> PacketPorts {
    PacketPorts::open(specs, Monotonic::start(), &CarrierBoard::new()).expect("the ports open")
}

fn frame(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ethernet::header(&mut out, GROUP_MAC, OTHER, kind);
    out.extend_from_slice(payload);
    out.resize(out.len().max(60), 0);
    out
}

/// An IPv4 packet of a protocol, as far as the filter looks.
fn ipv4(protocol: u8) -> Vec<u8> {
    let mut payload = [0; 46];
    payload[0] = 0x45;
    payload[9] = protocol;
    frame(ethertype::IPV4, &payload)
}

/// An advertisement in a datagram to this port.
fn datagram(port: u16) -> Vec<u8> {
    let route = Route {
        station: MacAddr::BROADCAST,
        from: Ipv4Addr::new(192, 0, 2, 1),
        to: Ipv4Addr::BROADCAST,
        port,
    };
    carriage::datagram(&frame(ethertype::STEADFAST, &[1, 2, 1]), &route)
}

/// The same with the hop limit that a router leaves.
fn passed_on(mut frame: Vec<u8>) -> Vec<u8> {
    frame[22] = 254;
    frame
}

/// An IPv6 packet of a next header, whose payload begins with `first`.
fn ipv6(next_header: u8, first: u8) -> Vec<u8> {
    let mut payload = [0; 60];
    payload[0] = 0x60;
    payload[6] = next_header;
    payload[40] = first;
    frame(ethertype::IPV6, &payload)
}

fn counters(ports: &mut PacketPorts) -> PortCounters {
    ports.counters()[0].1
}

/// A heartbeat reaches the peer as it was sent, and is dated to when the kernel took it in: not
/// before it was sent, not after it was read.
#[test]
fn packet_frame_of_peer_arrives_with_its_age() {
    if !inside_own_namespace!("packet_frame_of_peer_arrives_with_its_age") {
        return;
    }
    cable("a0", "b0");
    runtime().block_on(async {
        let time = Monotonic::start();
        let board = CarrierBoard::new();
        let mut a = PacketPorts::open(&[port(0, "a0")], time, &board).unwrap();
        let mut b = open(&[port(7, "b0")]);
        let advert = frame(ethertype::STEADFAST, &[1, 1]);
        let clock = MonotonicClock::new(time).unwrap();
        let began = time.now();
        // The kernel begins to stamp some time after the first socket of the host asked for it.
        loop {
            let sent_at = time.now();
            assert!(sent_at.since(began) < DEADLINE, "never dated by the kernel");
            assert_eq!(b.send(PortId(7), &advert).await, Sent::Sent);
            let rested = sent_at.after(Duration::from_millis(20));
            clock.sleep_until(rested).await;
            let (port, at, received) = next(&mut a).await;
            println!("taken in {:?} after it was sent", at.since(sent_at));
            assert_eq!((port, &received), (A, &advert));
            assert!(at.after(Duration::from_millis(1)) >= sent_at, "too early");
            if at < rested {
                break;
            }
        }
    });
}

/// A gateway forwards; what it forwards must not wake the daemon: 20,000 packets bring nothing.
#[test]
fn packet_flood_of_ip_stays_in_the_kernel() {
    if !inside_own_namespace!("packet_flood_of_ip_stays_in_the_kernel") {
        return;
    }
    cable("a0", "b0");
    runtime().block_on(async {
        let mut a = open(&[port(0, "a0")]);
        let mut b = open(&[port(0, "b0")]);
        for packet in [ipv4(6), ipv4(17), ipv6(17, 0), ipv6(58, 128)] {
            for _ in 0..5000 {
                assert_eq!(b.send(A, &packet).await, Sent::Sent);
            }
        }
        let last = frame(ethertype::ARP, &[]);
        assert_eq!(b.send(A, &last).await, Sent::Sent);
        assert_eq!(next(&mut a).await.2, last);
        let counted = counters(&mut a);
        assert_eq!((counted.received, counted.dropped_by_kernel), (1, 0));
    });
}

/// What a node understands comes through, its neighbours in the number space do not.
#[test]
fn packet_filter_lets_through_what_a_node_understands() {
    if !inside_own_namespace!("packet_filter_lets_through_what_a_node_understands") {
        return;
    }
    cable("a0", "b0");
    let tagged = |tag: u16| {
        let mut payload = tag.to_be_bytes().to_vec();
        payload.extend_from_slice(&ethertype::STEADFAST.to_be_bytes());
        frame(0x8100, &payload)
    };
    let yes = [
        frame(ethertype::STEADFAST, &[]),
        frame(ethertype::ARP, &[]),
        ipv4(112),
        datagram(6973),
        ipv6(112, 0),
        ipv6(58, 133),
        ipv6(58, 137),
    ];
    let mut to_another = frame(ethertype::STEADFAST, &[]);
    to_another[..6].copy_from_slice(&OTHER.0);
    let no = [
        frame(0x88b6, &[]),
        ipv4(17),
        datagram(6974),
        passed_on(datagram(6973)),
        ipv6(58, 132),
        ipv6(58, 138),
        ipv6(17, 135),
        tagged(5),
        to_another,
    ];
    runtime().block_on(async {
        let mut a = open(&[port(0, "a0")]);
        let mut b = open(&[port(0, "b0")]);
        for sent in no.iter().chain(&yes) {
            assert_eq!(b.send(A, sent).await, Sent::Sent);
        }
        assert_eq!(b.send(A, &tagged(7 << 13)).await, Sent::Sent);
        for expected in &yes {
            assert_eq!(&next(&mut a).await.2, expected);
        }
        let priority = next(&mut a).await.2;
        assert_eq!(priority[12..14], ethertype::STEADFAST.to_be_bytes());
    });
}

/// A node never hears itself: an own frame would look like a second node of its name.
#[test]
fn packet_own_frames_are_not_received() {
    if !inside_own_namespace!("packet_own_frames_are_not_received") {
        return;
    }
    cable("a0", "b0");
    runtime().block_on(async {
        let mut a = open(&[port(0, "a0")]);
        let mut b = open(&[port(0, "b0")]);
        let (own, answer) = (
            frame(ethertype::STEADFAST, b"own"),
            frame(ethertype::STEADFAST, b"answer"),
        );
        assert_eq!(a.send(A, &own).await, Sent::Sent);
        assert_eq!(next(&mut b).await.2, own);
        assert_eq!(b.send(A, &answer).await, Sent::Sent);
        assert_eq!(next(&mut a).await.2, answer);
    });
}

/// A frame beyond the bound is counted and skipped; the one behind it is found in the same search.
#[test]
fn packet_too_long_frame_is_counted_and_skipped() {
    if !inside_own_namespace!("packet_too_long_frame_is_counted_and_skipped") {
        return;
    }
    cable("a0", "b0");
    ip("link set a0 mtu 9000");
    ip("link set b0 mtu 9000");
    runtime().block_on(async {
        let mut a = open(&[port(0, "a0")]);
        let mut b = open(&[port(0, "b0")]);
        let long = frame(ethertype::STEADFAST, &[0; FRAME_MAX]);
        assert_eq!(b.send(A, &long).await, Sent::Dropped);
        assert_eq!(counters(&mut b).too_long, 1);
        send_raw("b0", &long);
        let short = frame(ethertype::STEADFAST, b"short");
        assert_eq!(b.send(A, &short).await, Sent::Sent);
        assert_eq!(next(&mut a).await.2, short);
        assert_eq!(counters(&mut a).too_long, 1);
    });
}

/// An interface that is removed and made again under its name is the port again, by itself.
#[test]
fn packet_port_survives_its_interface() {
    if !inside_own_namespace!("packet_port_survives_its_interface") {
        return;
    }
    cable("a0", "b0");
    runtime().block_on(async {
        let time = Monotonic::start();
        let clock = MonotonicClock::new(time).unwrap();
        let board = CarrierBoard::new();
        let mut a = PacketPorts::open(&[port(0, "a0")], time, &board).unwrap();
        let advert = frame(ethertype::STEADFAST, &[1, 1]);
        for round in 0..3 {
            ip("link del a0");
            assert_eq!(a.take(&mut Vec::new()), None);
            assert_eq!(a.send(A, &advert).await, Sent::NoCarrier);
            cable("a0", "b0");
            let mut b = open(&[port(0, "b0")]);
            let again = async {
                while a.send(A, &advert).await != Sent::Sent {
                    clock
                        .sleep_until(time.now().after(Duration::from_millis(1)))
                        .await;
                }
            };
            tokio::time::timeout(DEADLINE, again)
                .await
                .expect("open again");
            assert_eq!(next(&mut b).await.2, advert);
            assert_eq!(b.send(A, &advert).await, Sent::Sent);
            assert_eq!(next(&mut a).await.2, advert);
            assert_eq!(counters(&mut a).reopened, round + 1);
        }
    });
}

/// The name moved to another interface while the old one lives on: no error tells, the watcher
/// does, and the port goes where its name is.
#[test]
fn packet_port_follows_its_name_to_another_interface() {
    if !inside_own_namespace!("packet_port_follows_its_name_to_another_interface") {
        return;
    }
    cable("a0", "b0");
    runtime().block_on(async {
        let board = CarrierBoard::new();
        let time = Monotonic::start();
        let mut a = PacketPorts::open(&[port(0, "a0")], time, &board).unwrap();
        let link = LinkSpec {
            id: A,
            name: "a0".to_owned(),
            direct: true,
        };
        ip("link set a0 down");
        ip("link set a0 name spare");
        cable("a0", "b1");
        let mut watch = LinkWatch::start(&[link], &board).unwrap();
        let up = async { while !watch.changed().await.unwrap().up {} };
        tokio::time::timeout(DEADLINE, up).await.expect("carrier");
        let mut b = open(&[port(0, "b1")]);
        let advert = frame(ethertype::STEADFAST, &[1, 1]);
        assert_eq!(a.send(A, &advert).await, Sent::Sent);
        assert_eq!(next(&mut b).await.2, advert);
        assert_eq!(counters(&mut a).reopened, 1);
        drop(watch);
    });
}

/// A port whose interface is missing at the start is no reason not to start.
#[test]
fn packet_missing_interface_is_opened_once_it_is_there() {
    if !inside_own_namespace!("packet_missing_interface_is_opened_once_it_is_there") {
        return;
    }
    runtime().block_on(async {
        let time = Monotonic::start();
        let clock = MonotonicClock::new(time).unwrap();
        let mut a = PacketPorts::open(&[port(0, "a0")], time, &CarrierBoard::new()).unwrap();
        let advert = frame(ethertype::STEADFAST, &[1, 1]);
        assert_eq!(a.send(A, &advert).await, Sent::NoCarrier);
        cable("a0", "b0");
        let opened = async {
            while a.send(A, &advert).await != Sent::Sent {
                clock
                    .sleep_until(time.now().after(Duration::from_millis(1)))
                    .await;
            }
        };
        tokio::time::timeout(DEADLINE, opened).await.expect("open");
        assert!(counters(&mut a).reopen_failed >= 1);
    });
}

/// Down and up again is not gone: the socket stays, says "no carrier", and goes on.
#[test]
fn packet_port_that_is_down_says_so_and_goes_on() {
    if !inside_own_namespace!("packet_port_that_is_down_says_so_and_goes_on") {
        return;
    }
    cable("a0", "b0");
    runtime().block_on(async {
        let mut a = open(&[port(0, "a0")]);
        let mut b = open(&[port(0, "b0")]);
        let advert = frame(ethertype::STEADFAST, &[1, 1]);
        ip("link set a0 down");
        assert_eq!(a.send(A, &advert).await, Sent::NoCarrier);
        assert_eq!(a.take(&mut Vec::new()), None);
        ip("link set a0 up");
        settled("a0");
        settled("b0");
        assert_eq!(a.send(A, &advert).await, Sent::Sent);
        assert_eq!(next(&mut b).await.2, advert);
        assert_eq!(b.send(A, &advert).await, Sent::Sent);
        assert_eq!(next(&mut a).await.2, advert);
        assert_eq!(counters(&mut a).reopened, 0);
    });
}

/// A port that hears without end does not keep the others' frames waiting.
#[test]
fn packet_ports_take_turns() {
    if !inside_own_namespace!("packet_ports_take_turns") {
        return;
    }
    cable("a0", "b0");
    cable("a1", "b1");
    runtime().block_on(async {
        let mut a = open(&[port(0, "a0"), port(1, "a1")]);
        let mut b = open(&[port(0, "b0"), port(1, "b1")]);
        let advert = frame(ethertype::STEADFAST, &[1, 1]);
        for _ in 0..100 {
            assert_eq!(b.send(PortId(0), &advert).await, Sent::Sent);
        }
        assert_eq!(b.send(PortId(1), &advert).await, Sent::Sent);
        let first = [next(&mut a).await.0, next(&mut a).await.0];
        assert!(first.contains(&PortId(1)), "heard {first:?} first");
    });
}

/// A guard in the kernel drops what says active or offering: the sender learns that it was refused.
/// What says standby leaves, and an ARP frame the guard drops says nothing about the lease.
#[test]
fn packet_refused_by_a_guard_is_told_from_no_room() {
    if !inside_own_namespace!("packet_refused_by_a_guard_is_told_from_no_room") {
        return;
    }
    cable("a0", "b0");
    let hook = "type filter hook egress device a0 priority -500;";
    let guard = "ether type 0x88b5 @ll,120,8 2-3 drop; ether type { arp, ip } drop;";
    let table = format!("table netdev guard {{\nchain out {{\n{hook} {guard}\n}}\n}}\n");
    let nft = std::process::Command::new("nft").arg(table).status();
    let Ok(status) = nft else {
        println!("not run: needs nft");
        return;
    };
    assert!(status.success(), "a kernel with netdev egress hooks (5.16)");
    runtime().block_on(async {
        let mut a = open(&[port(0, "a0")]);
        let outcomes = [
            (ethertype::STEADFAST, 1, Sent::Sent),
            (ethertype::STEADFAST, 2, Sent::Refused),
            (ethertype::STEADFAST, 3, Sent::Refused),
            (ethertype::ARP, 2, Sent::Dropped),
            (ethertype::IPV4, 2, Sent::Dropped),
        ];
        for (kind, mark, outcome) in outcomes {
            let sent = a.send(A, &frame(kind, &[1, mark])).await;
            assert_eq!(sent, outcome, "{kind:#x} marked {mark}");
        }
        assert_eq!(a.send(A, &datagram(6973)).await, Sent::Refused);
        let counted = counters(&mut a);
        assert_eq!((counted.sent, counted.refused, counted.no_room), (1, 3, 2));
    });
}
