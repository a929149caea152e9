//! Foreign redundancy protocols, recognised from reference bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::advert::Advert;
use crate::wire::auth::{Key, KeyRing, Phase, Secret};
use crate::wire::codec::DecodeError;
use crate::{ClusterId, NodeId, PortId};

const FROM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const FROM6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const VIRTUAL6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x53);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn speaker(protocol: ForeignProtocol, virtual_id: u8, priority: u8) -> ForeignSpeaker {
    let source = MacAddr([0, 0, 0x5e, 0, 1, virtual_id]);
    ForeignSpeaker {
        protocol,
        virtual_id,
        priority,
        source,
    }
}

fn recognised(frame: &[u8]) -> Option<ForeignSpeaker> {
    foreign_speaker(&Frame::parse(frame)?)
}

#[test]
fn vrrp2_bytes_known_answer() {
    // Checksum over the message alone, the zero password included (RFC 3768 §5.3.8).
    let speaker = speaker(ForeignProtocol::Vrrp2, 51, 100);
    let frame = speaker.frame(FROM, Ipv4Addr::new(192, 0, 2, 1));
    let reference = "01005e00001200005e00013308004500002800000000ff701951c0000202e000\
                     0012213364010001b8c8c00002010000000000000000";
    assert_eq!(hex(&frame), reference);
    assert_eq!(recognised(&frame), Some(speaker));
}

#[test]
fn vrrp3_bytes_known_answer() {
    // Checksum over the message alone, as RFC 9568 §5.2.8 reads for IPv4.
    let speaker = speaker(ForeignProtocol::Vrrp3, 52, 100);
    let frame = speaker.frame(FROM, Ipv4Addr::new(192, 0, 2, 4));
    let reference = "01005e00001200005e00013408004500002000000000ff701959c0000202e000\
                     0012313464010064a861c0000204";
    assert_eq!(hex(&frame), reference);
    assert_eq!(recognised(&frame), Some(speaker));
}

/// Another cluster's advertisement is whole but for its secret, and is recognised by what its
/// reader refuses it for.
#[test]
fn steadfast_of_another_cluster_is_a_speaker() {
    let speaker = speaker(ForeignProtocol::Steadfast, 51, 200);
    let frame = speaker.frame(FROM, FROM);
    let read = |cluster: [u8; 16]| {
        let (node, secret) = (NodeId(1), Secret::new(b"whose secret does not matter"));
        let key = Key {
            id: 1,
            secret: secret.unwrap(),
            phase: Phase::Enforce,
        };
        let keys = KeyRing::new(ClusterId(cluster), node, &[node], vec![key]).unwrap();
        Advert::decode(&frame, PortId(3), &keys).unwrap_err()
    };
    let error = read([7; 16]);
    assert_eq!(foreign_cluster(error, speaker.source), Some(speaker));
    let own = read(*b"another cluster.");
    assert_eq!(own, DecodeError::BadTag, "whole, by another secret");
    assert_eq!(foreign_cluster(own, speaker.source), None);
}

#[test]
fn vrrp3_over_ipv6_bytes_known_answer() {
    // Over IPv6 the pseudo-header always counts (RFC 8200 §8.1).
    let source = MacAddr([0, 0, 0x5e, 0, 2, 53]);
    let frame = vrrp3_frame6(source, (53, 200), FROM6, VIRTUAL6);
    let reference = "33330000001200005e00023586dd60000000001870fffe800000000000000000\
                     000000000002ff0200000000000000000000000000123135c80100640971fe80\
                     0000000000000000000000000053";
    assert_eq!(hex(&frame), reference);
    let expected = ForeignSpeaker {
        source,
        ..speaker(ForeignProtocol::Vrrp3, 53, 200)
    };
    assert_eq!(recognised(&frame), Some(expected));
}

#[test]
fn carp_is_not_vrrp2_with_seven_addresses() {
    // CARP's authlen stands where VRRP counts addresses; only the length tells them apart, and
    // Ethernet padding must not lengthen the message.
    let speaker = speaker(ForeignProtocol::Carp, 51, 0);
    let mut frame = speaker.frame(FROM, Ipv4Addr::UNSPECIFIED);
    let reference = "01005e00001200005e00013308004500003800000000ff701941c0000202e000\
                     0012213300070001dec400000000000000000000000000000000000000000000\
                     000000000000";
    assert_eq!(hex(&frame), reference);
    frame.extend_from_slice(&[0; 8]);
    assert_eq!(recognised(&frame), Some(speaker));
    frame[17] += 8;
    assert_eq!(
        recognised(&frame).map(|other| other.protocol),
        Some(ForeignProtocol::Vrrp2)
    );
}

#[test]
fn other_frames_are_nobody() {
    // A false alarm would send an operator after a speaker that does not exist.
    let frame = speaker(ForeignProtocol::Vrrp2, 51, 100).frame(FROM, FROM);
    let nobody = |what: &str, change: fn(&mut Vec<u8>)| {
        let mut frame = frame.clone();
        change(&mut frame);
        assert_eq!(recognised(&frame), None, "{what}");
    };
    nobody("protocol 113", |f| f[23] = 113);
    nobody("EtherType of ARP", |f| f[13] = 6);
    nobody("IPv4 in an IPv6 frame", |f| {
        f[12..14].copy_from_slice(&[0x86, 0xdd]);
    });
    nobody("IP version 5", |f| f[14] = 0x55);
    nobody("header of 16 bytes", |f| f[14] = 0x44);
    nobody("later fragment", |f| f[21] = 1);
    nobody("first fragment", |f| f[20] = 0x20);
    nobody("message version 4", |f| f[34] = 0x41);
    nobody("total below the header", |f| f[17] = 10);
    nobody("total beyond the frame", |f| f[16] = 1);
    nobody("message of 7 bytes", |f| f[17] = 27);
    let frame6 = vrrp3_frame6(MacAddr::ZERO, (53, 200), FROM6, VIRTUAL6);
    for length in 0..frame6.len() {
        assert_eq!(recognised(&frame6[..length]), None, "{length} bytes");
    }
}

/// The lowest id from 11 on that nobody was heard with; where all are taken, none.
#[test]
fn foreign_ids_that_are_free() {
    let mut ids = VirtualIds::default();
    assert_eq!((ids.free(51), ids.free(11)), (Some(11), Some(12)));
    for id in [1, 11, 13, 128, 255] {
        ids.note(id);
        assert!(ids.has(id) && !ids.has(id ^ 2), "{id}");
    }
    assert_eq!((ids.free(51), ids.free(12)), (Some(12), Some(14)));
    for id in 0..255 {
        ids.note(id);
    }
    assert_eq!(ids.free(51), None);
    assert_eq!(VirtualIds::default().free(0), Some(11));
}

proptest! {
    // No bytes of anybody panic.
    #[test]
    fn random_packets_never_panic(mut packet in vec(any::<u8>(), 0..120), six: bool) {
        let (head, protocol, kind) = if six { (0x60, 6, 40) } else { (0x45, 9, 20) };
        for (at, byte) in [(0, head), (protocol, PROTOCOL), (kind, 0x21)] {
            packet.get_mut(at).into_iter().for_each(|place| *place = byte);
        }
        let ethertype = if six { ethertype::IPV6 } else { ethertype::IPV4 };
        let (destination, source) = (GROUP_MAC, MacAddr::ZERO);
        let frame = Frame { destination, source, ethertype, payload: &packet };
        if let Some(speaker) = foreign_speaker(&frame) {
            prop_assert!(speaker.protocol != ForeignProtocol::Vrrp3);
        }
    }
}
