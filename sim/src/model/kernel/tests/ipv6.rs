//! The same statements for IPv6, where it differs from IPv4.

use core::net::Ipv6Addr;

use steadfast_core::wire::announce;
use steadfast_core::wire::ndisc::{self, NeighbourAdvert, NeighbourSolicit};

use super::*;

const UNIT: &str = "fd00:1::2";
const VIRTUAL: &str = "fd00:1::1";
const ASKER: &str = "fd00:1::3";

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn gateway6() -> Kernel {
    let ports = vec![port(1, LAN, UNIT, true), port(1, WAN, "fd00:2::2", true)];
    let virtuals = vec![ip(VIRTUAL), ip("fd00:2::1")];
    let mut kernel = Kernel::new(KernelConfig::gateway(ports, FenceConfig::new(virtuals)));
    kernel.add_virtual(LAN, ip(VIRTUAL));
    kernel.add_virtual(WAN, ip("fd00:2::1"));
    kernel
}

fn client6() -> Kernel {
    let ports = vec![port(9, LAN, "fd00:1::9", false)];
    Kernel::new(KernelConfig::host(ports, vec![ip(VIRTUAL)]))
}

/// Asks one port's own station; the answer.
fn ask6(kernel: &mut Kernel, port: PortId, target: &str, sender: &str) -> Option<NeighbourAdvert> {
    let own = kernel.mac(port).unwrap();
    let frame = announce::ns_request(PEER, own, v6(sender), v6(target));
    let out = receive(kernel, ms(0), port, &frame);
    let (_, frame) = out.frames.first()?;
    let frame = ethernet::Frame::parse(frame).unwrap();
    let advert = NeighbourAdvert::parse(frame.payload).unwrap();
    assert_eq!(frame.source, own);
    assert_eq!(frame.destination.is_group(), !advert.solicited);
    Some(advert)
}

/// kernel: answers a solicitation for an address of that very port, to the asker alone, saying
/// that it is a router; unlike ARP, another port's address is not answered for.
#[test]
fn kernel_answers_solicitations_on_the_addresses_own_port() {
    let mut kernel = gateway6();
    kernel.arm(ms(0)).unwrap();
    for target in [UNIT, VIRTUAL] {
        let answer = ask6(&mut kernel, LAN, target, ASKER).unwrap();
        assert_eq!((answer.source, answer.target), (v6(target), v6(target)));
        assert_eq!(answer.destination, v6(ASKER));
        assert!(answer.router && answer.solicited && !answer.overrides);
        assert_eq!(ask6(&mut kernel, WAN, target, "fd00:2::3"), None);
    }
    // The answer went out through the cache: the asker will be asked to confirm itself.
    let state = kernel.neighbour(ms(0), LAN, ip(ASKER)).unwrap();
    assert!(matches!(
        state,
        NeighbourState::Probing {
            mac: PEER,
            asks: 0,
            ..
        }
    ));
}

/// kernel: `::` to one station is not answered, unless it looks like duplicate address detection,
/// which is answered to everybody. Unlike in ARP, a sender that is its own address is answered.
#[test]
fn kernel_solicitations_it_does_not_answer() {
    let mut kernel = gateway6();
    kernel.arm(ms(0)).unwrap();
    let nameless = NeighbourSolicit {
        source: Ipv6Addr::UNSPECIFIED,
        destination: v6(UNIT),
        target: v6(UNIT),
        link_layer: None,
    };
    let out = receive(&mut kernel, ms(0), LAN, &nameless.frame(mac(1, LAN), PEER));
    assert!(out.frames.is_empty());
    let detection = ask6(&mut kernel, LAN, UNIT, "::").unwrap();
    assert_eq!(detection.destination, ndisc::ALL_NODES);
    assert!(!detection.solicited && detection.overrides);
    assert_eq!(kernel.neighbours().count(), 0);
    assert!(ask6(&mut kernel, LAN, UNIT, VIRTUAL).is_some());
}

/// fence: standby drops solicitations for virtual addresses and its own advertisements of them;
/// a tail does too; packets follow lease and tail as in IPv4.
#[test]
fn fence_covers_neighbour_discovery_and_packets() {
    let announcement = announce::unsolicited_na(mac(1, LAN), v6(VIRTUAL));
    let packet = datagram(mac(1, LAN), ASKER, VIRTUAL);
    for (state, answers, delivers) in [(0, false, false), (1, true, true), (2, false, true)] {
        let mut kernel = gateway6();
        if state > 0 {
            kernel.arm(ms(0)).unwrap();
        }
        if state > 1 {
            kernel.release_to_tail(ms(0)).unwrap();
        }
        assert!(ask6(&mut kernel, LAN, UNIT, ASKER).is_some());
        let answer = ask6(&mut kernel, LAN, VIRTUAL, ASKER);
        assert_eq!(answer.is_some(), answers);
        let told = kernel.answers_for(ms(0), LAN, ip(VIRTUAL));
        assert_eq!(told, answers, "the observer agrees");
        assert!(kernel.answers_for(ms(0), LAN, ip(UNIT)));
        let sent = kernel.transmit(ms(0), LAN, &announcement) == Transmitted::Sent;
        assert_eq!(sent, answers);
        let delivered = receive(&mut kernel, ms(0), LAN, &packet).delivered.len();
        assert_eq!(delivered, usize::from(delivers));
        let mut out = Outbox::default();
        kernel.send_datagram(ms(0), ip(VIRTUAL), ip(ASKER), b"reply", &mut out);
        assert_eq!(out.frames.len(), usize::from(delivers));
    }
}

/// kernel: packet sockets see neighbour discovery before the fence, and no other IPv6 traffic.
#[test]
fn kernel_packet_sockets_see_neighbour_discovery() {
    let mut kernel = gateway6();
    let frame = announce::ns_request(PEER, mac(1, LAN), v6(ASKER), v6(VIRTUAL));
    assert_eq!(receive(&mut kernel, ms(0), LAN, &frame).captured.len(), 1);
    let packet = datagram(mac(1, LAN), ASKER, UNIT);
    assert!(
        receive(&mut kernel, ms(0), LAN, &packet)
            .captured
            .is_empty()
    );
}

/// kernel: asks the solicited-node group, believes the answer, and follows an unsolicited
/// advertisement with the override flag at once; a stranger's makes no entry.
#[test]
fn kernel_resolves_and_follows_an_unsolicited_advertisement() {
    let news = announce::unsolicited_na(OTHER, v6(VIRTUAL));
    let mut stranger = client6();
    receive(&mut stranger, ms(0), LAN, &news);
    assert_eq!(stranger.neighbours().count(), 0);

    let (mut kernel, mut gateway) = (client6(), gateway6());
    gateway.arm(ms(0)).unwrap();
    let mut out = Outbox::default();
    kernel.ping(ms(0), ip("fd00:1::9"), ip(VIRTUAL), (4, b"six"), &mut out);
    let question = out.frames.pop().unwrap().1;
    let group = ndisc::group_mac(ndisc::solicited_node(v6(VIRTUAL)));
    assert_eq!(question[..6], group.0);
    let answer = receive(&mut gateway, ms(0), LAN, &question)
        .frames
        .pop()
        .unwrap()
        .1;
    let request = receive(&mut kernel, ms(0), LAN, &answer)
        .frames
        .pop()
        .unwrap()
        .1;
    let echo = receive(&mut gateway, ms(0), LAN, &request)
        .frames
        .pop()
        .unwrap()
        .1;
    let delivered = receive(&mut kernel, ms(0), LAN, &echo)
        .delivered
        .pop()
        .unwrap();
    assert_eq!(
        (delivered.echo_sequence(), delivered.payload()),
        (Some(4), &b"six"[..])
    );
    let state = kernel.neighbour(ms(0), LAN, ip(VIRTUAL)).unwrap();
    assert!(matches!(state, NeighbourState::Reachable { mac: known, .. } if known == mac(1, LAN)));

    receive(&mut kernel, ms(1), LAN, &news);
    let state = kernel.neighbour(ms(1), LAN, ip(VIRTUAL)).unwrap();
    assert_eq!(state.mac(), Some(OTHER));
}

/// kernel: confirms a stale neighbour by an answer that does not repeat the station's address.
#[test]
fn kernel_confirms_a_neighbour_by_a_bare_answer() {
    let (mut kernel, mut gateway) = (client6(), gateway6());
    gateway.arm(ms(0)).unwrap();
    let news = announce::unsolicited_na(mac(1, LAN), v6(VIRTUAL));
    let mut out = Outbox::default();
    kernel.send_datagram(ms(0), ip("fd00:1::9"), ip("fd00:2::9"), b"x", &mut out);
    receive(&mut kernel, ms(0), LAN, &news);
    kernel.send_datagram(ms(0), ip("fd00:1::9"), ip("fd00:2::9"), b"x", &mut out);
    let due = kernel.next_change(ms(0)).unwrap();
    out.clear();
    kernel.tick(due, &mut out);
    let question = out.frames.pop().unwrap().1;
    assert_eq!(question[..6], mac(1, LAN).0, "asked alone");
    gateway.arm(due).unwrap();
    let answer = receive(&mut gateway, due, LAN, &question)
        .frames
        .pop()
        .unwrap()
        .1;
    receive(&mut kernel, due, LAN, &answer);
    let state = kernel.neighbour(due, LAN, ip(VIRTUAL)).unwrap();
    assert!(matches!(state, NeighbourState::Reachable { mac: known, .. } if known == mac(1, LAN)));
    assert_eq!(kernel.next_change(due), None);
}

/// kernel: forwards IPv6 one hop shorter, and counts the packet whose hops are used up.
#[test]
fn kernel_forwards_ipv6() {
    let mut kernel = gateway6();
    kernel.arm(ms(0)).unwrap();
    let question = announce::ns_request(PEER, mac(1, WAN), v6("fd00:2::9"), v6("fd00:2::2"));
    receive(&mut kernel, ms(0), WAN, &question);
    let mut frame = datagram(mac(1, LAN), "fd00:1::9", "fd00:2::9");
    let (at, out) = receive(&mut kernel, ms(0), LAN, &frame)
        .frames
        .pop()
        .unwrap();
    assert_eq!((at, &out[..6], out[14 + 7]), (WAN, &PEER.0[..], 63));
    frame[14 + 7] = 1;
    assert!(receive(&mut kernel, ms(0), LAN, &frame).frames.is_empty());
    assert_eq!(kernel.counters().hops_count, 1);
}
