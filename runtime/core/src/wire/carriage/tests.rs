//! Forms: the same bytes in each, and nothing else taken for them.

use proptest::prelude::*;

use super::*;

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn bare(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ethernet::header(&mut frame, STATION, OWN, ethertype::STEADFAST);
    frame.extend_from_slice(payload);
    frame
}

fn to(to: Ipv4Addr) -> Route {
    Route {
        station: STATION,
        from: Ipv4Addr::new(192, 0, 2, 1),
        to,
        port: UDP_PORT,
    }
}

/// wire: a datagram's payload is the frame's own, in every form
#[test]
fn carriage_opens_what_it_wrote() {
    let forms = [
        (Form::Multicast, GROUP_IP),
        (Form::Broadcast, Ipv4Addr::BROADCAST),
        (Form::Unicast, Ipv4Addr::new(192, 0, 2, 2)),
    ];
    for (form, address) in forms {
        let frame = bare(b"an odd number of bytes!");
        let sent = datagram(&frame, &to(address));
        assert_eq!(
            open(&sent, UDP_PORT),
            Some(Opened {
                form,
                hops: HOPS,
                frame
            })
        );
    }
}

/// wire: both checksums hold, so that hosts and tools on the way take it for what it is
#[test]
fn carriage_checksums_hold() {
    for payload in [&b"even"[..], b"odd"] {
        let sent = datagram(&bare(payload), &to(GROUP_IP));
        let (head, rest) = sent[HEADER_LEN..].split_at(IP_LEN);
        assert_eq!(checksum(&[head]), 0);
        let pseudo = [0, UDP, rest[4], rest[5]];
        assert_eq!(checksum(&[&head[12..], &pseudo, rest]), 0);
        assert_eq!(
            usize::from(u16::from_be_bytes([head[2], head[3]])),
            28 + payload.len()
        );
    }
}

/// wire: what came in pieces, what is no datagram of ours, and another port's are not ours
#[test]
fn carriage_refuses_other_datagrams() {
    let sent = datagram(&bare(b"payload"), &to(GROUP_IP));
    let changed = |at: usize, value: u8| {
        let mut bytes = sent.clone();
        bytes[at] = value;
        open(&bytes, UDP_PORT)
    };
    for (at, value) in [
        (12, 9),
        (14, 0x46),
        (20, 0x20),
        (21, 1),
        (23, 6),
        (35, 0),
        (37, 0),
        (39, 7),
        (39, 200),
    ] {
        assert_eq!(changed(at, value), None, "byte {at} is {value}");
    }
    assert_eq!(open(&sent, UDP_PORT + 1), None);
    assert!(changed(20, 0x40).is_some(), "not to be cut is no piece");
    let passed_on = changed(22, 253).map(|opened| opened.hops);
    assert_eq!(passed_on, Some(253), "who may hear it is the node's to say");
}

/// wire: the group's Ethernet address is that of its IP address
#[test]
fn carriage_group_is_one() {
    let [_, b, c, d] = GROUP_IP.octets();
    assert_eq!(GROUP_IP_MAC.0, [0x01, 0x00, 0x5e, b & 0x7f, c, d]);
}

proptest! {
    /// wire: no bytes make the opener panic, and what it yields is a frame of ours
    #[test]
    fn carriage_opens_anything(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Some(opened) = open(&bytes, UDP_PORT) {
            let frame = Frame::parse(&opened.frame).unwrap();
            prop_assert_eq!(frame.ethertype, ethertype::STEADFAST);
        }
    }

    /// wire: a datagram of any payload opens to it
    #[test]
    fn carriage_carries_any_payload(payload in prop::collection::vec(any::<u8>(), 0..1400)) {
        let frame = bare(&payload);
        let sent = datagram(&frame, &to(GROUP_IP));
        prop_assert_eq!(open(&sent, UDP_PORT).map(|it| it.frame), Some(frame));
    }
}

/// wire: what routers did to the class of service says nothing of whose it is
#[test]
fn carriage_does_not_look_at_the_class_of_service() {
    let mut sent = datagram(&bare(b"payload"), &to(Ipv4Addr::new(192, 0, 2, 2)));
    assert_eq!(sent[15], CLASS);
    for class in [0, 0xc3, 0xff] {
        sent[15] = class;
        assert!(open(&sent, UDP_PORT).is_some(), "{class:#x}");
    }
}
