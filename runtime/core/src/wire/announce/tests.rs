//! Announcements against reference bytes.

use super::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 8]);
const VIRTUAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const VIRTUAL6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn gratuitous_arp_bytes_known_answer() {
    // Sender and target address are both the announced one; the reply names our MAC twice.
    let [request, reply] = gratuitous_arp(MAC, VIRTUAL).map(|frame| hex(&frame));
    let as_request = "ffffffffffff02000000000708060001080006040001020000000007c0000201\
                      000000000000c0000201";
    let as_reply = "ffffffffffff02000000000708060001080006040002020000000007c0000201\
                    020000000007c0000201";
    assert_eq!((&*request, &*reply), (as_request, as_reply));
}

#[test]
fn unsolicited_na_bytes_known_answer() {
    // Flags 0xa0: a router, overriding, and answering nobody; to all nodes.
    let reference = "33330000000102000000000786dd6000000000203aff20010db8000000000000\
                     000000000001ff02000000000000000000000000000188007924a00000002001\
                     0db80000000000000000000000010201020000000007";
    assert_eq!(hex(&unsolicited_na(MAC, VIRTUAL6)), reference);
}

#[test]
fn mld_report_joins_the_solicited_node_group() {
    // The group asked for is ff02::1:ff00:1, from the unspecified address.
    let frame = mld_report(MAC, VIRTUAL6);
    let group: Ipv6Addr = "ff02::1:ff00:1".parse().unwrap();
    assert!(frame.ends_with(&group.octets()));
    assert_eq!(frame[22..38], [0; 16]);
}

#[test]
fn arp_request_asks_one_node_only() {
    // The ask of D8 goes to the peer's MAC, so that no other node can answer first.
    let frame = arp_request(MAC, PEER, Ipv4Addr::new(192, 0, 2, 7), VIRTUAL);
    let reference = "02000000000802000000000708060001080006040001020000000007c0000207\
                     000000000000c0000201";
    assert_eq!(hex(&frame), reference);
}

#[test]
fn ns_request_from_no_address_looks_like_duplicate_detection() {
    // A kernel answers a nameless solicitation only when it is sent to the group.
    let frame = ns_request(MAC, PEER, Ipv6Addr::UNSPECIFIED, VIRTUAL6);
    let reference = "02000000000802000000000786dd6000000000183aff00000000000000000000\
                     000000000000ff0200000000000000000001ff00000187004ced000000002001\
                     0db8000000000000000000000001";
    assert_eq!(hex(&frame), reference);
}

#[test]
fn ns_request_from_the_unit_address_is_unicast() {
    // A plain solicitation carries our MAC, so the answer comes straight back.
    let unit = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
    let frame = ns_request(MAC, PEER, unit, VIRTUAL6);
    let (source, destination) = (unit, VIRTUAL6);
    let ask = NeighbourSolicit {
        source,
        destination,
        target: VIRTUAL6,
        link_layer: Some(MAC),
    };
    assert_eq!(NeighbourSolicit::parse(&frame[14..]), Some(ask));
}

/// What tells is the owner's alone, by whatever form; what asks may be said by anybody, and so may
/// all that is not about addresses, from the port's own MAC.
#[test]
fn claims_to_own_are_told_from_questions() {
    const STATION: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 0x33]);
    let claims = |bytes: &[u8]| claims_to_own(&Frame::parse(bytes).unwrap(), MAC);
    let [request, reply] = gratuitous_arp(MAC, VIRTUAL);
    for told in [&request, &reply, &unsolicited_na(MAC, VIRTUAL6)] {
        assert!(claims(told), "{}", hex(told));
    }
    for by_station in [station(STATION), mld_report(STATION, VIRTUAL6)] {
        assert!(claims(&by_station), "{}", hex(&by_station));
    }
    let unit = Ipv4Addr::new(192, 0, 2, 7);
    let unit6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
    let mut advert = Vec::new();
    ethernet::header(&mut advert, MacAddr::BROADCAST, MAC, ethertype::STEADFAST);
    for free in [
        arp_request(MAC, PEER, unit, VIRTUAL),
        arp_request(MAC, PEER, Ipv4Addr::UNSPECIFIED, VIRTUAL),
        ns_request(MAC, PEER, unit6, VIRTUAL6),
        ns_request(MAC, PEER, Ipv6Addr::UNSPECIFIED, VIRTUAL6),
        station(MAC),
        advert,
    ] {
        assert!(!claims(&free), "{}", hex(&free));
    }
}
