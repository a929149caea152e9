//! Stories of what the gateway itself begins, and in whose name it leaves (R5.3).

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use steadfast::linux::fence::{SOURCES_TABLE, SourcePort, SourceSpec, Sources};
use steadfast::linux::netlink::{Batch, Netlink};

use super::Story;
use super::frames;
use super::world::{CLIENT, CLIENT6, LAN_UNIT, LAN_UNIT6, LAN_VIRTUAL, LAN_VIRTUAL6, World};

pub(super) const STORIES: &[Story] = &[
    ("sources_datagrams_follow_the_role", datagrams),
    ("sources_tcp_is_translated_as_it_opens_alone", tcp),
    ("sources_peers_and_our_port_are_left_alone", left_alone),
    ("sources_change_spares_what_was_begun", change),
    ("sources_are_gone_with_their_daemon", gone),
];

const NETFILTER: i32 = 12;
const GET_TABLE: u16 = 10 << 8 | 1;
const INET: [u8; 4] = [1, 0, 0, 0];
const OURS: u16 = 6973;
/// Whom the stories call: the discard service.
const THERE: u16 = 9;
const TCP_LEN: usize = 20;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

fn spec() -> SourceSpec {
    SourceSpec {
        ports: vec![SourcePort {
            name: "lan0".to_owned(),
            names: vec![
                (LAN_UNIT.into(), LAN_VIRTUAL.into()),
                (LAN_UNIT6.into(), LAN_VIRTUAL6.into()),
            ],
        }],
        peers: Vec::new(),
        udp_port: OURS,
    }
}

fn own(like: IpAddr) -> SocketAddr {
    match like {
        IpAddr::V4(_) => SocketAddr::new(LAN_UNIT.into(), 0),
        IpAddr::V6(_) => SocketAddr::new(LAN_UNIT6.into(), 0),
    }
}

/// A program's socket that goes on for ever, at the port's own address: in these stories both
/// virtual addresses are there all the time, and a kernel might choose one by itself.
fn program(to: IpAddr) -> Socket {
    let socket = Socket::new(
        Domain::for_address(own(to)),
        Type::DGRAM,
        Some(Protocol::UDP),
    );
    let socket = socket.unwrap();
    socket.bind(&own(to).into()).unwrap();
    socket
}

/// In whose name this leaves the LAN port.
fn name_of(world: &World, socket: &Socket, to: SocketAddr, sent: &[u8]) -> IpAddr {
    socket.send_to(sent, &to.into()).unwrap();
    // A translation mends the sum in the header of TCP.
    let is_raw = socket.r#type().unwrap() == Type::RAW;
    let body = &sent[if is_raw { TCP_LEN } else { 0 }..];
    let from = Cell::new(None);
    let is_it = |frame: &[u8]| {
        let found = frames::holds(frame, body);
        if found {
            from.set(Some(source(frame)));
        }
        found
    };
    world.lan.hears(|_| false, is_it);
    from.get().expect("it left")
}

fn source(frame: &[u8]) -> IpAddr {
    let at = |place: usize, len: usize| frame.get(place..place + len).unwrap();
    match at(12, 2) {
        [0x08, 0x00] => IpAddr::from(<[u8; 4]>::try_from(at(26, 4)).unwrap()),
        _ => IpAddr::from(<[u8; 16]>::try_from(at(22, 16)).unwrap()),
    }
}

/// One socket, one name after the other.
fn datagrams() {
    let world = World::new();
    let mut sources = Sources::default();
    sources.settle(&spec(), false).unwrap();
    let pairs: [(IpAddr, IpAddr, IpAddr); 2] = [
        (CLIENT.into(), LAN_UNIT.into(), LAN_VIRTUAL.into()),
        (CLIENT6.into(), LAN_UNIT6.into(), LAN_VIRTUAL6.into()),
    ];
    let programs = pairs.map(|(to, ..)| program(to));
    for (round, serving) in [false, true, false, true].into_iter().enumerate() {
        sources.settle(&spec(), serving).unwrap();
        for ((to, own, name), socket) in pairs.iter().zip(&programs) {
            let body = format!("round {round} to {to}");
            let to = SocketAddr::new(*to, THERE);
            let expected = if serving { *name } else { *own };
            assert_eq!(
                name_of(&world, socket, to, body.as_bytes()),
                expected,
                "{body}"
            );
        }
    }
}

/// A segment of TCP with these flags, as a kernel that forgot the connection would see it.
fn segment(port: u16, flags: u8, body: &[u8]) -> Vec<u8> {
    let head = [port.to_be_bytes(), THERE.to_be_bytes()].concat();
    let numbers = [0, 0, 0, 1, 0, 0, 0, 1];
    let rest = [0x50, flags, 0x20, 0, 0, 0, 0, 0];
    [&head[..], &numbers, &rest, body].concat()
}

fn tcp() {
    let world = World::new();
    let mut sources = Sources::default();
    sources.settle(&spec(), true).unwrap();
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).unwrap();
    let to = SocketAddr::new(CLIENT.into(), 0);
    let opened = segment(4001, SYN, b"it opens");
    assert_eq!(
        name_of(&world, &raw, to, &opened),
        IpAddr::from(LAN_VIRTUAL),
        "opened"
    );
    let goes_on = segment(4002, ACK, b"in its midst");
    assert_eq!(
        name_of(&world, &raw, to, &goes_on),
        IpAddr::from(LAN_UNIT),
        "goes on"
    );
    sources.settle(&spec(), false).unwrap();
    let later = segment(4003, SYN, b"as a standby");
    assert_eq!(
        name_of(&world, &raw, to, &later),
        IpAddr::from(LAN_UNIT),
        "a standby's"
    );
}

fn left_alone() {
    let world = World::new();
    let mut sources = Sources::default();
    let mut spec = spec();
    spec.peers.push(CLIENT.into());
    sources.settle(&spec, true).unwrap();
    let socket = program(CLIENT.into());
    let peer = SocketAddr::new(CLIENT.into(), THERE);
    assert_eq!(
        name_of(&world, &socket, peer, b"to a peer"),
        IpAddr::from(LAN_UNIT)
    );
    spec.peers.clear();
    sources.settle(&spec, true).unwrap();
    let socket = program(CLIENT.into());
    let ours = SocketAddr::new(CLIENT.into(), OURS);
    assert_eq!(
        name_of(&world, &socket, ours, b"to our port"),
        IpAddr::from(LAN_UNIT)
    );
    let group = SocketAddr::new(Ipv4Addr::new(224, 0, 0, 9).into(), THERE);
    socket.set_multicast_if_v4(&LAN_UNIT).unwrap();
    assert_eq!(
        name_of(&world, &socket, group, b"to a group"),
        IpAddr::from(LAN_UNIT)
    );
    let socket = program(CLIENT.into());
    assert_eq!(
        name_of(&world, &socket, peer, b"to a client"),
        IpAddr::from(LAN_VIRTUAL)
    );
}

/// A peer is added while connections go on; then the port asks for it no more.
fn change() {
    let world = World::new();
    let mut sources = Sources::default();
    sources.settle(&spec(), true).unwrap();
    let (socket, to) = (
        program(CLIENT.into()),
        SocketAddr::new(CLIENT.into(), THERE),
    );
    assert_eq!(
        name_of(&world, &socket, to, b"begun"),
        IpAddr::from(LAN_VIRTUAL)
    );
    let mut more = spec();
    more.peers.push(CLIENT.into());
    sources.settle(&more, true).unwrap();
    assert_eq!(
        name_of(&world, &socket, to, b"goes on"),
        IpAddr::from(LAN_VIRTUAL)
    );
    sources.settle(&SourceSpec::default(), true).unwrap();
    assert!(!table_is_there());
    assert_eq!(
        name_of(&world, &socket, to, b"begins anew"),
        IpAddr::from(LAN_UNIT)
    );
}

/// The next daemon forgets what the first one translated.
fn gone() {
    let world = World::new();
    let mut sources = Sources::default();
    sources.settle(&spec(), true).unwrap();
    assert!(table_is_there());
    let (socket, to) = (
        program(CLIENT.into()),
        SocketAddr::new(CLIENT.into(), THERE),
    );
    assert_eq!(
        name_of(&world, &socket, to, b"begun"),
        IpAddr::from(LAN_VIRTUAL)
    );
    drop(sources);
    assert!(!table_is_there());
    let mut next = Sources::default();
    next.settle(&spec(), false).unwrap();
    assert_eq!(
        name_of(&world, &socket, to, b"begins anew"),
        IpAddr::from(LAN_UNIT)
    );
}

fn table_is_there() -> bool {
    let mut netlink = Netlink::open(NETFILTER).unwrap();
    let mut question = Batch::new();
    question
        .message("look", GET_TABLE, 0, &INET)
        .put_text(1, SOURCES_TABLE);
    netlink.ask(question).is_ok()
}
