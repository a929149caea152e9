//! Requests about interfaces, addresses and routes: what a ground is built of, as values to send.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::Emitable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use steadfast_core::MacAddr;
use steadfast_scenarios::format::Version;

use crate::namespace::Namespace;
use crate::netlink::{CREATE, EXCL, Request};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const SET_LINK: u16 = 19;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;

/// The group of interfaces that change together, and that of all others.
const TOGETHER: u32 = 1;
const ALONE: u32 = 0;

/// How long members may take to answer a switch, in hundredths of a second: also how long it floods
/// after it began to listen.
const QUERY_RESPONSE: u64 = 10;

/// One end of a wire.
#[derive(Clone, Debug)]
pub(super) struct End<'a> {
    pub(super) index: u32,
    pub(super) name: &'a str,
    pub(super) mac: MacAddr,
}

/// Makes a bridge, up, with no spanning tree: a switch.
pub(super) fn bridge(index: u32, name: &str) -> Request {
    let mut message = named(index, name);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)])),
    ]));
    link(NEW_LINK, CREATE | EXCL, &message)
}

/// Makes a wire from here, plugged into a bridge or into nothing yet, to that namespace.
pub(super) fn wire(
    index: u32,
    here: &str,
    bridge: Option<u32>,
    there: &Namespace,
    end: &End<'_>,
) -> Request {
    let mut peer = named(end.index, end.name);
    peer.attributes.extend([
        LinkAttribute::Address(end.mac.0.to_vec()),
        LinkAttribute::NetNsFd(there.as_fd().as_raw_fd()),
    ]);
    let mut message = named(index, here);
    message
        .attributes
        .extend(bridge.map(LinkAttribute::Controller));
    message.attributes.push(pair(peer));
    link(NEW_LINK, CREATE | EXCL, &message)
}

/// Takes an interface away, and with one end of a wire the other.
pub(super) fn remove(index: u32) -> Request {
    link(DELETE_LINK, 0, &numbered(index))
}

/// Makes a short wire between a bridge, or nothing, and an end that lies beside it.
pub(super) fn patch(index: u32, name: &str, bridge: Option<u32>, inner: (u32, &str)) -> Request {
    let mut message = named(index, name);
    let plugged = bridge.map(LinkAttribute::Controller);
    message.attributes.extend(plugged);
    message.attributes.push(pair(named(inner.0, inner.1)));
    link(NEW_LINK, CREATE | EXCL, &message)
}

fn pair(peer: LinkMessage) -> LinkAttribute {
    LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ])
}

/// Sets an interface up or down.
pub(super) fn enable(index: u32, up: bool) -> Request {
    let mut message = numbered(index);
    message.header.change_mask = LinkFlags::Up;
    if up {
        message.header.flags = LinkFlags::Up;
    }
    link(SET_LINK, 0, &message)
}

/// Sets these interfaces up or down while the kernel lets nobody look: no event tells of one before
/// all are, and whoever asks waits. For that they form a group for a moment.
pub(super) fn enable_together(indexes: &[u32], up: bool) -> Vec<Request> {
    if let [index] = indexes {
        return vec![enable(*index, up)];
    }
    let enrol = |index: &u32, group: u32| {
        let mut message = numbered(*index);
        message.attributes.push(LinkAttribute::Group(group));
        link(SET_LINK, 0, &message)
    };
    let mut all = numbered(0);
    all.header.change_mask = LinkFlags::Up;
    if up {
        all.header.flags = LinkFlags::Up;
    }
    all.attributes.push(LinkAttribute::Group(TOGETHER));
    let mut requests: Vec<Request> = indexes.iter().map(|it| enrol(it, TOGETHER)).collect();
    requests.push(link(NEW_LINK, 0, &all));
    requests.extend(indexes.iter().map(|it| enrol(it, ALONE)));
    requests
}

/// Plugs an interface into another bridge.
pub(super) fn plug(index: u32, bridge: u32) -> Request {
    let mut message = numbered(index);
    message.attributes.push(LinkAttribute::Controller(bridge));
    link(SET_LINK, 0, &message)
}

/// Whether a bridge learns who is behind this port; one that does not floods, as a cable does.
pub(super) fn learn(index: u32, learns: bool) -> Request {
    let mut message = numbered(index);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Learning(
            learns,
        )])),
    ]));
    link(NEW_LINK, 0, &message)
}

/// Forgets everything that a bridge has learnt.
pub(super) fn forget(bridge: u32) -> Request {
    let mut message = numbered(bridge);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::FdbFlush])),
    ]));
    link(NEW_LINK, 0, &message)
}

/// Has a bridge listen for who joins which group. It asks for itself, because without anybody who
/// asks a bridge keeps flooding.
pub(super) fn snoop(bridge: u32, on: bool) -> Request {
    let mut message = numbered(bridge);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![
            InfoBridge::MulticastQueryResponseInterval(QUERY_RESPONSE),
            InfoBridge::MulticastSnooping(on),
            InfoBridge::MulticastQuerier(on),
        ])),
    ]));
    link(NEW_LINK, 0, &message)
}

/// Moves an interface to that namespace; its index, MAC and cable stay.
pub(super) fn carry(index: u32, there: &Namespace) -> Request {
    let mut message = numbered(index);
    let there = there.as_fd().as_raw_fd();
    message.attributes.push(LinkAttribute::NetNsFd(there));
    link(SET_LINK, 0, &message)
}

/// Gives an interface an address.
pub(super) fn address(index: u32, address: IpAddr) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = Version::of(address).prefix();
    message.header.index = index;
    message.attributes.extend([
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
    ]);
    Request::new(NEW_ADDRESS, CREATE | EXCL, bytes(&message))
}

/// Sends everything without a nearer way through this gateway.
pub(super) fn default_route(gateway: IpAddr) -> Request {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(gateway),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    let gateway = RouteAttribute::Gateway(gateway.into());
    message.attributes.push(gateway);
    Request::new(NEW_ROUTE, CREATE | EXCL, bytes(&message))
}

const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn numbered(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn named(index: u32, name: &str) -> LinkMessage {
    let mut message = numbered(index);
    let name = LinkAttribute::IfName(name.to_owned());
    message.attributes.push(name);
    message
}

fn link(kind: u16, flags: u16, message: &LinkMessage) -> Request {
    Request::new(kind, flags, bytes(message))
}

fn bytes(message: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}
