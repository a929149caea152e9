//! What a frame means that left a gateway: part of a hand-over, or sent as a virtual address.
//!
//! The same reading as the simulated world's, of the same bytes: ARP counts with the virtual
//! addresses of its own segment, datagrams with those of any (a gateway may answer there by the
//! other port). Frames are read as anybody on the wire could: no key, no checks.

use std::net::Ipv4Addr;

use steadfast_core::NodeId;
use steadfast_core::wire::advert::Kind;
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::carriage;
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_scenarios::SegmentId;
use steadfast_scenarios::format::Layout;
use steadfast_scenarios::trace::{EventKind, FrameKind, SourceKind};

/// The event that a frame makes which left this gateway's port on this segment, if it makes one.
pub(super) fn sight(
    layout: &Layout,
    segment: SegmentId,
    gateway: NodeId,
    frame: &[u8],
) -> Option<EventKind> {
    let datagram = carriage::look(frame, carriage::UDP_PORT);
    let frame = Frame::parse(frame)?;
    let ours = (frame.ethertype == ethertype::STEADFAST).then_some(frame.payload);
    if let Some(payload) = ours.or(datagram.map(|(_, payload)| payload)) {
        let kind = Kind::from_byte(*payload.get(2)?).map(FrameKind::from)?;
        return is_handover(kind).then_some(EventKind::HandoverFrame {
            segment,
            kind,
            from: gateway,
        });
    }
    source(layout, segment, &frame).map(|what| EventKind::VirtualSource {
        segment,
        gateway,
        what,
    })
}

fn source(layout: &Layout, segment: SegmentId, frame: &Frame<'_>) -> Option<SourceKind> {
    match frame.ethertype {
        ethertype::ARP => {
            let ours = &layout.segments.get(segment.index())?.virtuals;
            let arp = Arp::parse(frame.payload).filter(|arp| ours.contains(&arp.sender_ip))?;
            let told = arp.sender_ip == arp.target_ip
                || (arp.operation == Operation::Reply && frame.destination.is_group());
            Some(if told {
                SourceKind::Announcement
            } else {
                SourceKind::Arp
            })
        }
        ethertype::IPV4 => {
            let [a, b, c, d] = *frame.payload.get(12..)?.first_chunk::<4>()?;
            let ip = Ipv4Addr::new(a, b, c, d);
            let mut segments = layout.segments.iter();
            segments
                .any(|segment| segment.virtuals.contains(&ip))
                .then_some(SourceKind::Datagram)
        }
        _ => None,
    }
}

const fn is_handover(kind: FrameKind) -> bool {
    match kind {
        FrameKind::Claim
        | FrameKind::Decline
        | FrameKind::Offer
        | FrameKind::Prepare
        | FrameKind::Ready
        | FrameKind::Released => true,
        FrameKind::Advert
        | FrameKind::Answer
        | FrameKind::Arp
        | FrameKind::LetGo
        | FrameKind::Ndisc
        | FrameKind::Probe
        | FrameKind::Request
        | FrameKind::Vrrp => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::MacAddr;
    use steadfast_core::wire::announce::gratuitous_arp;
    use steadfast_core::wire::ethernet;
    use steadfast_scenarios::format::Topology;

    const LAN: SegmentId = SegmentId(0);
    const A: NodeId = NodeId(1);

    fn layout() -> Layout {
        Layout::new(&Topology::default()).unwrap()
    }

    fn seen(frame: &[u8]) -> Option<EventKind> {
        sight(&layout(), LAN, A, frame)
    }

    fn source_kind(frame: &[u8]) -> Option<SourceKind> {
        match seen(frame) {
            Some(EventKind::VirtualSource { what, .. }) => Some(what),
            _ => None,
        }
    }

    /// Both gratuitous forms announce, an answer to one asker is ARP, a unit address is nothing.
    #[test]
    fn sight_arp_by_its_form() {
        let mac = layout().gateways[0].ports[0].mac;
        let ip = layout().segments[0].virtuals[0];
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
        arp.sender_ip = layout().gateways[0].ports[0].unit.unwrap();
        assert_eq!(seen(&arp.frame(MacAddr([2; 6]), mac)), None);
    }

    /// A datagram from a virtual address of either segment counts, one from a host does not.
    #[test]
    fn sight_datagram_by_its_source() {
        let layout = layout();
        let from = |ip: Ipv4Addr| {
            let mut frame = Vec::new();
            let mac = MacAddr([2; 6]);
            ethernet::header(&mut frame, mac, mac, ethertype::IPV4);
            frame.extend([0x45; 12]);
            frame.extend(ip.octets());
            frame.extend([0; 4]);
            source_kind(&frame)
        };
        assert_eq!(
            from(layout.segments[0].virtuals[0]),
            Some(SourceKind::Datagram)
        );
        assert_eq!(
            from(layout.segments[1].virtuals[0]),
            Some(SourceKind::Datagram)
        );
        assert_eq!(from(layout.hosts[0].address), None);
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
