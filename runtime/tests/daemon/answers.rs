//! What a router of VRRP says and answers as RFC 9568 §6.4 wants it, seen by a station on its LAN:
//! announcements, questions, packets to the address, packets to be routed on.

use std::io::Read as _;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use steadfast_core::MacAddr;
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::wire::ndisc::NeighbourAdvert;

use super::common::{Far, ip};
use super::gateways::WAIT;
use super::routers::{Machine, is_reached, machines, reached};

/// All frames, for a packet socket.
const EVERYTHING: u16 = 0x0003;
const STATION: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 0x33]);
const STATION6: MacAddr = MacAddr([0, 0, 0x5e, 0, 2, 0x33]);

/// Hears every frame of this namespace.
struct Ear(Socket);

impl Ear {
    fn new() -> Self {
        let kind = Protocol::from(i32::from(EVERYTHING.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(kind)).expect("a packet socket");
        let timeout = Some(Duration::from_millis(100));
        socket.set_read_timeout(timeout).expect("a time-out");
        Self(socket)
    }

    /// Waits for a frame of which this can be made.
    fn hears<T>(&mut self, what: &str, wanted: impl Fn(&Frame<'_>) -> Option<T>) -> T {
        let deadline = Instant::now() + WAIT;
        let mut bytes = [0; 2048];
        loop {
            assert!(Instant::now() < deadline, "never heard: {what}");
            let Ok(len) = self.0.read(&mut bytes) else {
                continue;
            };
            let found = Frame::parse(&bytes[..len]).as_ref().and_then(&wanted);
            if let Some(found) = found {
                return found;
            }
        }
    }
}

fn routers(more: &str) -> String {
    format!(
        "{}virtual_mac = true\n{more}[[vrrp]]\ninterface = \"lan0\"\nvirtual_router = 51\n\
         priority = 200\ninterval = \"100ms\"\nvirtual = [\"fe80::51\"]\n\
         virtual_mac = true\n{more}",
        Machine::router(200)
    )
}

/// V48, V49: whoever becomes active announces each address from the virtual MAC.
#[test]
fn answers_announce_at_the_virtual_mac() {
    if !inside_own_namespace!("answers_announce_at_the_virtual_mac") {
        return;
    }
    let [a, _b] = machines();
    let mut ear = Ear::new();
    let _one = a.start(&routers(""));
    let (source, arp) = ear.hears("gratuitous ARP", |frame| {
        let arp = Arp::parse(frame.payload).filter(|_| frame.ethertype == ethertype::ARP)?;
        (arp.sender_ip == arp.target_ip).then_some((frame.source, arp))
    });
    assert_eq!((source, arp.sender_mac), (STATION, STATION));
    assert_eq!(arp.operation, Operation::Request);
    assert_eq!(arp.sender_ip.octets(), [10, 0, 1, 1]);
    let (source, advert) = ear.hears("an unsolicited advertisement", |frame| {
        let of_type = frame.ethertype == ethertype::IPV6;
        let advert = NeighbourAdvert::parse(frame.payload).filter(|_| of_type)?;
        (!advert.solicited).then_some((frame.source, advert))
    });
    let virtual6: Ipv6Addr = "fe80::51".parse().expect("an address");
    assert_eq!((source, advert.link_layer), (STATION6, Some(STATION6)));
    assert!(advert.router && advert.overrides);
    assert_eq!(advert.target, virtual6);
}

/// V50, V51: only the active answers, and with the virtual MAC alone.
#[test]
fn answers_questions_with_the_virtual_mac_alone() {
    if !inside_own_namespace!("answers_questions_with_the_virtual_mac_alone") {
        return;
    }
    let [a, b] = machines();
    let mut one = a.start(&routers(""));
    one.says("IPv4: active: ");
    one.says("IPv6: active: ");
    let lower = routers("").replace("priority = 200", "priority = 100");
    let mut other = b.start(&lower);
    other.says("IPv6: backup");
    let mut ear = Ear::new();
    assert!(reached("10.0.1.1"));
    let mac = ear.hears("an answer", |frame| {
        let arp = Arp::parse(frame.payload).filter(|_| frame.ethertype == ethertype::ARP)?;
        let answers = arp.operation == Operation::Reply && arp.sender_ip.octets() == [10, 0, 1, 1];
        // A reply to itself is an announcement.
        (answers && arp.sender_ip != arp.target_ip).then_some(arp.sender_mac)
    });
    assert_eq!(mac, STATION);
    ip("-6 neigh flush dev lan");
    assert!(is_reached("fe80::51"));
    let shown = super::common::ip_says("-6 neigh show fe80::51 dev lan");
    assert!(shown.contains("00:00:5e:00:02:33"), "{shown}");
    one.stop();
    other.says("IPv4: active: ");
    other.stop();
    assert!(!reached("10.0.1.1"), "who has ended answers nothing");
}

/// V52: who accepts no packets is still found, and takes none in.
#[test]
fn answers_no_packets_where_none_are_accepted() {
    if !inside_own_namespace!("answers_no_packets_where_none_are_accepted") {
        return;
    }
    let [a, _b] = machines();
    let mut one = a.start(&routers("accept = false\n"));
    one.says("IPv4: active: ");
    for (address, station) in [
        ("10.0.1.1", "00:00:5e:00:01:33"),
        ("fe80::51", "00:00:5e:00:02:33"),
    ] {
        let deadline = Instant::now() + WAIT;
        loop {
            assert!(!is_reached(address), "{address} takes packets in");
            let shown = super::common::ip_says(&format!("neigh show {address} dev lan"));
            if shown.contains(station) {
                break;
            }
            assert!(Instant::now() < deadline, "{address} is not found: {shown}");
        }
    }
}

/// V53: what comes to the virtual MAC to be routed on is routed by the active alone.
#[test]
fn answers_route_for_the_virtual_mac_when_active() {
    if !inside_own_namespace!("answers_route_for_the_virtual_mac_when_active") {
        return;
    }
    let [a, _b] = machines();
    let beyond = Far::new();
    let (home, pid) = (&a.home, beyond.pid());
    home.ip(&format!(
        "link add far0 type veth peer name near0 netns {pid}"
    ));
    home.ip("addr add 10.0.2.2/24 dev far0");
    home.ip("link set far0 up");
    beyond.ip("link set lo up");
    beyond.ip("addr add 10.0.2.9/24 dev near0");
    beyond.ip("link set near0 up");
    beyond.ip("route add default via 10.0.2.2");
    let forward = "echo 1 >/proc/sys/net/ipv4/ip_forward";
    let status = home.command("sh").args(["-c", forward]).status();
    assert!(status.expect("a shell").success());
    ip("route add 10.0.2.0/24 via 10.0.1.1");
    ip("neigh replace 10.0.1.1 lladdr 00:00:5e:00:01:33 dev lan nud permanent");
    // Three seconds and more as a backup.
    let slow = routers("").replace("interval = \"100ms\"", "interval = \"1s\"");
    let mut one = a.start(&slow);
    one.says("IPv4: backup");
    assert!(!is_reached("10.0.2.9"), "a backup routes nothing");
    one.says("IPv4: active: ");
    let deadline = Instant::now() + WAIT;
    while !is_reached("10.0.2.9") {
        assert!(Instant::now() < deadline, "the active routes nothing");
    }
}
