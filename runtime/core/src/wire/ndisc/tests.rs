//! Neighbour discovery and MLD against reference bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::ethernet::HEADER_LEN;
use super::*;

const ASKER: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
const OWNER: MacAddr = MacAddr([2, 0, 0, 0, 0, 8]);
const VIRTUAL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const UNIT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn solicit() -> NeighbourSolicit {
    let (source, destination) = (UNIT, VIRTUAL);
    NeighbourSolicit {
        source,
        destination,
        target: VIRTUAL,
        link_layer: Some(ASKER),
    }
}

fn answer() -> NeighbourAdvert {
    NeighbourAdvert {
        source: VIRTUAL,
        destination: UNIT,
        target: VIRTUAL,
        router: false,
        solicited: true,
        overrides: true,
        link_layer: Some(OWNER),
    }
}

/// The payload of a frame after a change, its ICMPv6 checksum made right again.
fn changed(frame: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = frame[HEADER_LEN..].to_vec();
    change(&mut packet);
    packet[IP_LEN + 2..IP_LEN + 4].fill(0);
    let address = |at: usize| Ipv6Addr::from_octets(*packet[at..].first_chunk().unwrap());
    let sum = checksum(address(8), address(24), ICMPV6, &packet[IP_LEN..]);
    packet[IP_LEN + 2..IP_LEN + 4].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn solicitation_bytes_known_answer() {
    // Bytes and checksum were made by another implementation after RFC 4861 §4.3.
    let reference = "02000000000802000000000786dd6000000000203aff20010db8000000000000\
                     00000000000720010db80000000000000000000000018700ec68000000002001\
                     0db80000000000000000000000010101020000000007";
    let frame = solicit().frame(OWNER, ASKER);
    assert_eq!(hex(&frame), reference);
    assert_eq!(
        NeighbourSolicit::parse(&frame[HEADER_LEN..]),
        Some(solicit())
    );
    assert_eq!(NeighbourAdvert::parse(&frame[HEADER_LEN..]), None);
}

#[test]
fn advertisement_bytes_known_answer() {
    // Bytes and checksum were made by another implementation after RFC 4861 §4.4.
    let reference = "02000000000702000000000886dd6000000000203aff20010db8000000000000\
                     00000000000120010db800000000000000000000000788008a67600000002001\
                     0db80000000000000000000000010201020000000008";
    let frame = answer().frame(ASKER, OWNER);
    assert_eq!(hex(&frame), reference);
    let padded = [&frame[HEADER_LEN..], &[0; 9]].concat();
    assert_eq!(NeighbourAdvert::parse(&padded), Some(answer()));
    assert_eq!(NeighbourSolicit::parse(&padded), None);
}

#[test]
fn mld_reports_bytes_known_answer() {
    // Version 2 as Linux sends it, to all MLDv2 routers; version 1 to the group itself. Both carry
    // the router alert option, without which snooping switches look past them.
    let group = solicited_node(VIRTUAL);
    let version_2 = "33330000001602000000000786dd600000000024000100000000000000000000\
                     000000000000ff0200000000000000000000000000163a000502000001008f00\
                     6f890000000104000000ff0200000000000000000001ff000001";
    assert_eq!(
        hex(&mld2_report(ASKER, Ipv6Addr::UNSPECIFIED, group)),
        version_2
    );
    let version_1 = "3333ff00000102000000000786dd6000000000200001fe800000000000000000\
                     000000000007ff0200000000000000000001ff0000013a000502000001008300\
                     821900000000ff0200000000000000000001ff000001";
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);
    assert_eq!(hex(&mld1_report(ASKER, link_local, group)), version_1);
}

#[test]
fn solicited_node_takes_the_last_24_bits() {
    // The example of RFC 4291 §2.7.1.
    let address: Ipv6Addr = "4037::1:800:200e:8c6c".parse().unwrap();
    assert_eq!(solicited_node(address).to_string(), "ff02::1:ff0e:8c6c");
    let mac = group_mac(solicited_node(address));
    assert_eq!(mac.to_string(), "33:33:ff:0e:8c:6c");
}

#[test]
fn checksum_pads_an_odd_byte() {
    // 0x0102 + 0x0300, and the pseudo-header's length 3 and protocol 58 (RFC 1071 §1).
    let sum = checksum(Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, 58, &[1, 2, 3]);
    assert_eq!(sum, !(0x0102 + 0x0300 + 3 + 58));
}

#[test]
fn packet_from_beyond_a_router_is_ignored() {
    // Hop limit 254 has crossed a router: somebody far away pretends to be on the link.
    let frame = answer().frame(ASKER, OWNER);
    assert_eq!(
        NeighbourAdvert::parse(&changed(&frame, |p| p[7] = 254)),
        None
    );
    assert!(NeighbourAdvert::parse(&changed(&frame, |_| {})).is_some());
}

#[test]
fn packet_that_breaks_rfc_4861_is_ignored() {
    // Each of these a kernel ignores too (RFC 4861 §7.1); taking it as an answer would make this
    // node see life, or an owner, where there is none.
    let frame = answer().frame(ASKER, OWNER);
    let ignored = |what: &str, change: fn(&mut Vec<u8>)| {
        assert_eq!(
            NeighbourAdvert::parse(&changed(&frame, change)),
            None,
            "{what}"
        );
    };
    ignored("version", |p| p[0] = 0x40);
    ignored("next header", |p| p[6] = 17);
    ignored("code", |p| p[41] = 1);
    ignored("multicast target", |p| p[48] = 0xff);
    ignored("option of length 0", |p| p[65] = 0);
    ignored("option beyond the end", |p| p[65] = 2);
    ignored("solicited and to a group", |p| p[24] = 0xff);
    let mut bad_sum = frame[HEADER_LEN..].to_vec();
    bad_sum[42] ^= 1;
    assert_eq!(NeighbourAdvert::parse(&bad_sum), None);
}

#[test]
fn nameless_solicitation_must_be_duplicate_detection() {
    // From `::` only the solicited-node group may be asked, and no MAC may be given (§7.1.1).
    let (source, destination) = (Ipv6Addr::UNSPECIFIED, solicited_node(VIRTUAL));
    let good = NeighbourSolicit {
        source,
        destination,
        link_layer: None,
        ..solicit()
    };
    let parse = |ask: NeighbourSolicit| NeighbourSolicit::parse(&ask.frame(OWNER, ASKER)[14..]);
    assert_eq!(parse(good), Some(good));
    assert_eq!(
        parse(NeighbourSolicit {
            link_layer: Some(ASKER),
            ..good
        }),
        None
    );
    assert_eq!(
        parse(NeighbourSolicit {
            destination: VIRTUAL,
            ..good
        }),
        None
    );
}

#[test]
fn unknown_options_are_skipped() {
    // A nonce (RFC 3971) or anything newer in front must not hide the MAC.
    let mut message = message(ADVERT, 0x20, VIRTUAL, None);
    message.extend_from_slice(&[14, 1, 1, 2, 3, 4, 5, 6, 2, 1, 2, 0, 0, 0, 0, 8]);
    let frame = icmp_frame(ASKER, OWNER, VIRTUAL, ALL_NODES, message);
    let advert = NeighbourAdvert::parse(&frame[HEADER_LEN..]).unwrap();
    assert_eq!(advert.link_layer, Some(OWNER));
}

#[test]
fn packet_cut_anywhere_is_ignored() {
    // No length of a cut packet may be read or panic.
    let frame = answer().frame(ASKER, OWNER);
    for length in HEADER_LEN..frame.len() {
        assert_eq!(
            NeighbourAdvert::parse(&frame[HEADER_LEN..length]),
            None,
            "{length} bytes"
        );
    }
}

proptest! {
    // What is built is what is read.
    #[test]
    fn neighbour_packets_round_trip(
        addresses: [u128; 2],
        flags: [bool; 3],
        mac in any::<Option<[u8; 6]>>(),
    ) {
        let [target, source] = addresses.map(|bits| Ipv6Addr::from_bits(bits >> 8 | 1));
        let destination = if flags[1] { UNIT } else { ALL_NODES };
        let link_layer = mac.map(MacAddr);
        let [router, solicited, overrides] = flags;
        let ask = NeighbourSolicit { source, destination, target, link_layer };
        let advert = NeighbourAdvert {
            source,
            destination,
            target,
            router,
            solicited,
            overrides,
            link_layer,
        };
        prop_assert_eq!(NeighbourAdvert::parse(&advert.frame(ASKER, OWNER)[14..]), Some(advert));
        prop_assert_eq!(NeighbourSolicit::parse(&ask.frame(OWNER, ASKER)[14..]), Some(ask));
    }

    // A message of any bytes under a good checksum never panics; what is read has its own kind.
    #[test]
    fn random_messages_never_panic(mut bytes in vec(any::<u8>(), 4..90), advert: bool) {
        bytes[..4].copy_from_slice(&[if advert { ADVERT } else { SOLICIT }, 0, 0, 0]);
        let frame = icmp_frame(ASKER, OWNER, VIRTUAL, UNIT, bytes);
        let solicits = NeighbourSolicit::parse(&frame[14..]).is_some();
        let adverts = NeighbourAdvert::parse(&frame[14..]).is_some();
        let mistaken = if advert { solicits } else { adverts };
        prop_assert!(!mistaken);
    }
}
