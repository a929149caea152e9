//! What a frame means that left a gateway: part of a hand-over, or sent as a virtual address.
//!
//! One reading for every world, of the bytes on the wire: ARP and neighbour discovery count with
//! the virtual addresses of their own segment, datagrams with those of any (a gateway may answer
//! there by the other port). Frames are read as anybody on the wire could: no key, no checks.
//!
//! The limit: IPv6 extension headers hide what follows them; such a packet is judged by its source.

use std::net::IpAddr;

use steadfast_core::NodeId;
use steadfast_core::wire::advert::Kind;
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::carriage;
use steadfast_core::wire::ethernet::{Frame, ethertype};

use crate::format::Layout;
use crate::ids::SegmentId;
use crate::trace::{Caller, EventKind, FrameKind, SourceKind};

const ICMPV6: u8 = 58;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// Where calls go, which step `call` has a gateway make: the discard service (RFC 863).
pub const CALL_PORT: u16 = 9;
const UDP: u8 = 17;

/// The kind of one of our own frames or datagrams.
pub fn kind(frame: &[u8]) -> Option<FrameKind> {
    let datagram = carriage::look(frame, carriage::UDP_PORT);
    // What a router passed on was seen when it left its sender.
    let datagram = datagram.filter(|look| look.hops == carriage::HOPS);
    let frame = Frame::parse(frame)?;
    let ours = (frame.ethertype == ethertype::STEADFAST).then_some(frame.payload);
    let payload = ours.or(datagram.map(|look| look.payload))?;
    Kind::from_byte(*payload.get(2)?).map(FrameKind::from)
}

/// The event that a frame makes which left this gateway's port on this segment, if it makes one.
pub fn event(
    layout: &Layout,
    segment: SegmentId,
    gateway: NodeId,
    frame: &[u8],
) -> Option<EventKind> {
    if let Some(kind) = kind(frame) {
        return kind.is_handover().then_some(EventKind::HandoverFrame {
            segment,
            kind,
            from: gateway,
        });
    }
    let frame = Frame::parse(frame)?;
    if let Some(from) = caller(&frame) {
        let place = (segment, gateway);
        return called(layout, place, from);
    }
    let what = source(layout, segment, &frame).or_else(|| station(layout, segment, &frame))?;
    Some(EventKind::VirtualSource {
        segment,
        gateway,
        what,
    })
}

/// Whatever else leaves from the virtual MAC moves it in every switch (F38).
fn station(layout: &Layout, segment: SegmentId, frame: &Frame<'_>) -> Option<SourceKind> {
    let virtual_mac = layout.segments.get(segment.index())?.virtual_mac?;
    (frame.source == virtual_mac).then_some(SourceKind::Station)
}

/// Who sent a call, if it is one.
fn caller(frame: &Frame<'_>) -> Option<IpAddr> {
    let packet = frame.payload;
    let (from, is_udp, port) = match frame.ethertype {
        ethertype::IPV4 => {
            let source = packet.get(12..)?.first_chunk::<4>()?;
            (IpAddr::from(*source), packet.get(9) == Some(&UDP), 22)
        }
        ethertype::IPV6 => {
            let source = packet.get(8..)?.first_chunk::<16>()?;
            (IpAddr::from(*source), packet.get(6) == Some(&UDP), 42)
        }
        _ => return None,
    };
    let to = packet.get(port..)?.first_chunk::<2>()?;
    (is_udp && u16::from_be_bytes(*to) == CALL_PORT).then_some(from)
}

/// A call of this gateway's own; none for one that it passes on.
fn called(
    layout: &Layout,
    (segment, gateway): (SegmentId, NodeId),
    ip: IpAddr,
) -> Option<EventKind> {
    let hosts = layout.hosts.iter().flat_map(|host| &host.addresses);
    let others = layout.gateways.iter().filter(|it| it.id != gateway);
    let ports = others.flat_map(|it| &it.ports);
    let mut foreign = ports.flat_map(|port| &port.units).chain(hosts);
    if foreign.any(|it| *it == ip) {
        return None;
    }
    let own = layout.gateways.iter().find(|it| it.id == gateway);
    let mut ports = own.into_iter().flat_map(|own| &own.ports);
    let port = ports.find(|port| port.segment == segment);
    let virtuals = layout.segments.get(segment.index());
    let from = if port.is_some_and(|port| port.units.contains(&ip)) {
        Caller::Own
    } else if virtuals.is_some_and(|it| it.virtuals.contains(&ip)) {
        Caller::Virtual
    } else {
        Caller::Other
    };
    let ipv6 = ip.is_ipv6();
    Some(EventKind::Call {
        segment,
        gateway,
        ipv6,
        from,
    })
}

fn source(layout: &Layout, segment: SegmentId, frame: &Frame<'_>) -> Option<SourceKind> {
    let ours = |ip: IpAddr| {
        let segment = layout.segments.get(segment.index());
        segment.is_some_and(|it| it.virtuals.contains(&ip))
    };
    let any = |ip: IpAddr| layout.segments.iter().any(|it| it.virtuals.contains(&ip));
    match frame.ethertype {
        ethertype::ARP => {
            let arp = Arp::parse(frame.payload)?;
            let to_all = arp.sender_ip == arp.target_ip
                || (arp.operation == Operation::Reply && frame.destination.is_group());
            ours(IpAddr::V4(arp.sender_ip)).then(|| resolution(to_all))
        }
        ethertype::IPV4 => {
            let source = IpAddr::from(*frame.payload.get(12..)?.first_chunk::<4>()?);
            any(source).then_some(SourceKind::Datagram)
        }
        ethertype::IPV6 => {
            let at = |place: usize| {
                let octets = frame.payload.get(place..)?.first_chunk::<16>()?;
                Some(IpAddr::from(*octets))
            };
            let source = at(8)?;
            let message = (frame.payload.get(6) == Some(&ICMPV6)).then(|| frame.payload.get(40));
            match message.flatten() {
                // One that lasts no time takes an earlier word back.
                Some(&ROUTER_ADVERTISEMENT) => {
                    (frame.payload.get(46..48) != Some(&[0, 0])).then_some(SourceKind::RouterAdvert)
                }
                Some(&NEIGHBOUR_ADVERTISEMENT) => {
                    ours(at(48)?).then(|| resolution(frame.destination.is_group()))
                }
                Some(&NEIGHBOUR_SOLICITATION) => ours(source).then(|| resolution(false)),
                _ => any(source).then_some(SourceKind::Datagram),
            }
        }
        _ => None,
    }
}

/// A word about an address's MAC: to everybody, or between two.
const fn resolution(to_all: bool) -> SourceKind {
    if to_all {
        SourceKind::Announcement
    } else {
        SourceKind::Arp
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::format::{Family, Topology, Version};
    use steadfast_core::MacAddr;
    use steadfast_core::wire::announce::{gratuitous_arp, unsolicited_na};
    use steadfast_core::wire::ethernet;
    use steadfast_core::wire::ndisc::{NeighbourAdvert, NeighbourSolicit};

    const LAN: SegmentId = SegmentId(0);
    const A: NodeId = NodeId(1);

    fn layout() -> Layout {
        Layout::new(&Topology {
            family: Family::Both,
            ..Topology::default()
        })
        .unwrap()
    }

    fn seen(frame: &[u8]) -> Option<EventKind> {
        event(&layout(), LAN, A, frame)
    }

    fn source_kind(frame: &[u8]) -> Option<SourceKind> {
        match seen(frame) {
            Some(EventKind::VirtualSource { what, .. }) => Some(what),
            _ => None,
        }
    }

    fn virtual_v4(layout: &Layout, segment: usize) -> Ipv4Addr {
        match layout.segments[segment].first_virtual(Version::Ipv4) {
            Some(IpAddr::V4(ip)) => ip,
            other => panic!("{other:?}"),
        }
    }

    fn virtual_v6(layout: &Layout, segment: usize) -> Ipv6Addr {
        match layout.segments[segment].first_virtual(Version::Ipv6) {
            Some(IpAddr::V6(ip)) => ip,
            other => panic!("{other:?}"),
        }
    }

    /// Both gratuitous forms announce, an answer to one asker is ARP, a unit address is nothing.
    #[test]
    fn sight_arp_by_its_form() {
        let layout = layout();
        let mac = layout.gateways[0].ports[0].mac;
        let ip = virtual_v4(&layout, 0);
        for frame in gratuitous_arp(mac, ip) {
            assert_eq!(source_kind(&frame), Some(SourceKind::Announcement));
        }
        let mut arp = Arp {
            operation: Operation::Reply,
            sender_mac: mac,
            sender_ip: ip,
            target_mac: MacAddr([2; 6]),
            target_ip: Ipv4Addr::new(10, 77, 251, 1),
        };
        let answer = arp.frame(MacAddr([2; 6]), mac);
        assert_eq!(source_kind(&answer), Some(SourceKind::Arp));
        arp.sender_ip = Ipv4Addr::new(10, 77, 250, 1);
        assert_eq!(seen(&arp.frame(MacAddr([2; 6]), mac)), None);
    }

    /// Of neighbour discovery an advertisement to all announces, one to an asker and a question in
    /// the address's name are like ARP; a question for it by another is nothing.
    #[test]
    fn sight_neighbour_discovery_by_its_form() {
        let layout = layout();
        let mac = layout.gateways[0].ports[0].mac;
        let ip = virtual_v6(&layout, 0);
        let told = unsolicited_na(mac, ip);
        assert_eq!(source_kind(&told), Some(SourceKind::Announcement));
        let elsewhere = unsolicited_na(mac, virtual_v6(&layout, 1));
        assert_eq!(seen(&elsewhere), None, "an address of the other segment");
        let asker = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0x251, 1);
        let answer = NeighbourAdvert {
            source: ip,
            destination: asker,
            target: ip,
            router: true,
            solicited: true,
            overrides: true,
            link_layer: Some(mac),
        };
        let answer = answer.frame(MacAddr([2; 6]), mac);
        assert_eq!(source_kind(&answer), Some(SourceKind::Arp));
        let question = |source, target| {
            let it = NeighbourSolicit {
                source,
                destination: target,
                target,
                link_layer: Some(mac),
            };
            source_kind(&it.frame(MacAddr([2; 6]), mac))
        };
        assert_eq!(question(ip, asker), Some(SourceKind::Arp));
        assert_eq!(question(asker, ip), None);
    }

    /// Whatever leaves from the virtual MAC counts, what it is said to be first.
    #[test]
    fn sight_of_the_virtual_mac() {
        let layout = Layout::new(&Topology {
            virtual_mac: true,
            ..Topology::default()
        })
        .unwrap();
        let shared = layout.segments[0].virtual_mac.unwrap();
        let seen = |frame: &[u8]| match event(&layout, LAN, A, frame) {
            Some(EventKind::VirtualSource { what, .. }) => Some(what),
            _ => None,
        };
        let mut frame = Vec::new();
        ethernet::header(&mut frame, MacAddr([2; 6]), shared, 0x88cc);
        assert_eq!(seen(&frame), Some(SourceKind::Station));
        let [told, _] = gratuitous_arp(shared, virtual_v4(&layout, 0));
        assert_eq!(seen(&told), Some(SourceKind::Announcement));
        frame.clear();
        ethernet::header(&mut frame, shared, MacAddr([2; 6]), 0x88cc);
        assert_eq!(seen(&frame), None, "to it");
    }

    /// A datagram from a virtual address of either segment counts, one from a host does not.
    #[test]
    fn sight_datagram_by_its_source() {
        let layout = layout();
        let mac = MacAddr([2; 6]);
        let v4 = |ip: Ipv4Addr| {
            let mut frame = Vec::new();
            ethernet::header(&mut frame, mac, mac, ethertype::IPV4);
            frame.extend([0x45; 12]);
            frame.extend(ip.octets());
            frame.extend([0; 4]);
            source_kind(&frame)
        };
        let v6 = |ip: Ipv6Addr| {
            let mut frame = Vec::new();
            ethernet::header(&mut frame, mac, mac, ethertype::IPV6);
            frame.extend([0x60, 0, 0, 0, 0, 8, 17, 64]);
            frame.extend(ip.octets());
            frame.extend([0; 24]);
            source_kind(&frame)
        };
        for segment in [0, 1] {
            assert_eq!(v4(virtual_v4(&layout, segment)), Some(SourceKind::Datagram));
            assert_eq!(v6(virtual_v6(&layout, segment)), Some(SourceKind::Datagram));
        }
        for address in &layout.hosts[0].addresses {
            match *address {
                IpAddr::V4(ip) => assert_eq!(v4(ip), None),
                IpAddr::V6(ip) => assert_eq!(v6(ip), None),
            }
        }
    }

    /// A call tells in whose name it left; what a host sends to that port is no call.
    #[test]
    fn sight_call_by_its_source() {
        let layout = layout();
        let mac = MacAddr([2; 6]);
        let v4 = |ip: Ipv4Addr| {
            let mut frame = Vec::new();
            ethernet::header(&mut frame, mac, mac, ethertype::IPV4);
            frame.extend([0x45, 0, 0, 29, 0, 0, 0, 0, 64, UDP, 0, 0]);
            frame.extend(ip.octets());
            frame.extend([10, 77, 0, 9, 0x1b, 0x41, 0, 9, 0, 9, 0, 0, 0]);
            seen(&frame)
        };
        let v6 = |ip: Ipv6Addr| {
            let mut frame = Vec::new();
            ethernet::header(&mut frame, mac, mac, ethertype::IPV6);
            frame.extend([0x60, 0, 0, 0, 0, 9, UDP, 64]);
            frame.extend(ip.octets());
            frame.extend([0; 16]);
            frame.extend([0x1b, 0x41, 0, 9, 0, 9, 0, 0, 0]);
            seen(&frame)
        };
        let by = |ip: IpAddr, from| {
            let ipv6 = ip.is_ipv6();
            Some(EventKind::Call {
                segment: LAN,
                gateway: A,
                ipv6,
                from,
            })
        };
        let call = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => v4(ip),
            IpAddr::V6(ip) => v6(ip),
        };
        for ip in &layout.segments[0].virtuals {
            assert_eq!(call(*ip), by(*ip, Caller::Virtual));
        }
        for ip in &layout.gateways[0].ports[0].units {
            assert_eq!(call(*ip), by(*ip, Caller::Own));
        }
        let elsewhere = layout.segments[1].virtuals.iter();
        for ip in elsewhere.chain(&layout.gateways[0].ports[1].units) {
            assert_eq!(call(*ip), by(*ip, Caller::Other), "of the other segment");
        }
        let hosts = layout.hosts[0].addresses.iter();
        for ip in layout.gateways[1].ports[0].units.iter().chain(hosts) {
            assert_eq!(call(*ip), None, "passed on");
        }
    }

    /// Of our own frames only those of a hand-over are told; short ones are nothing.
    #[test]
    fn sight_own_frames_by_kind() {
        let of = |kind: Kind| {
            let mut frame = Vec::new();
            let mac = MacAddr([2; 6]);
            ethernet::header(&mut frame, mac, mac, ethertype::STEADFAST);
            let byte = (0..=u8::MAX).find(|byte| Kind::from_byte(*byte) == Some(kind));
            frame.extend([0, 0, byte.unwrap()]);
            seen(&frame)
        };
        let offer = EventKind::HandoverFrame {
            segment: LAN,
            kind: FrameKind::Offer,
            from: A,
        };
        assert_eq!(of(Kind::Offer), Some(offer));
        assert_eq!(of(Kind::Advert), None);
        assert_eq!(of(Kind::Probe), None);
        assert_eq!(seen(&[0; 15]), None);
    }
}
