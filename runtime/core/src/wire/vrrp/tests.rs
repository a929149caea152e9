//! Messages by reference bytes, and why bad ones are refused.

use proptest::prelude::*;

use super::*;
use crate::wire::ethernet;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const ALL: IpAddr = IpAddr::V4(GROUP);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|it| it.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|two| u8::try_from(two[0] * 16 + two[1]).unwrap())
        .collect()
}

fn advertisement(version: Version, virtual_id: u8, addresses: &[&str]) -> Advertisement {
    Advertisement {
        version,
        virtual_id,
        priority: 100,
        interval: Interval::new(version, 100).unwrap(),
        addresses: addresses.iter().map(|it| ip(it)).collect(),
    }
}

fn expect(version: Version, virtual_id: u8, ipv6: bool) -> Expect<'static> {
    Expect {
        version,
        virtual_id,
        ipv6,
        interval: Interval::new(version, 100).unwrap(),
        sums: Sums::Either,
        unicast: &[],
    }
}

fn packet(source: IpAddr, destination: IpAddr, message: &[u8]) -> Packet<'_> {
    Packet {
        source,
        destination,
        ttl: TTL,
        message,
    }
}

/// V01, V05: version 2 as others on the wire say it, byte for byte, and back.
#[test]
fn vrrp_version_2_is_summed_over_the_message() {
    let said = advertisement(Version::V2, 51, &["192.0.2.1"]);
    let golden = hex("213364010001b8c8c00002010000000000000000");
    assert_eq!(said.message(SOURCE, ALL, Sum::PseudoHeader), golden);
    let heard = packet(SOURCE, ALL, &golden).advertisement(&expect(Version::V2, 51, false));
    assert_eq!(heard, Ok(said));
}

/// V02, V06, V07: version 3 over IPv4 in both readings; each is understood by those who ask for it,
/// or for either.
#[test]
fn vrrp_version_3_over_ipv4_has_two_sums() {
    let said = advertisement(Version::V3, 52, &["192.0.2.4"]);
    let golden = [
        (Sum::PseudoHeader, "31346401006405d0c0000204"),
        (Sum::Message, "313464010064a861c0000204"),
    ];
    for (sum, text) in golden {
        let bytes = hex(text);
        assert_eq!(said.message(SOURCE, ALL, sum), bytes);
        for sums in [
            Sums::Either,
            Sums::Only(Sum::Message),
            Sums::Only(Sum::PseudoHeader),
        ] {
            let expected = Expect {
                sums,
                ..expect(Version::V3, 52, false)
            };
            let heard = packet(SOURCE, ALL, &bytes).advertisement(&expected);
            let understood = sums == Sums::Either || sums == Sums::Only(sum);
            assert_eq!(heard.is_ok(), understood, "{sum:?} by {sums:?}");
            assert!(understood || heard == Err(Refusal::Checksum));
        }
    }
}

/// V03, V08: over IPv6 the pseudo-header is always in the sum (RFC 8200 §8.1), whoever thinks
/// otherwise.
#[test]
fn vrrp_over_ipv6_needs_the_pseudo_header() {
    let said = advertisement(Version::V3, 53, &["fe80::53", "2001:db8:1::1"]);
    let (source, all) = (ip("fe80::2"), IpAddr::V6(GROUP6));
    let bytes = said.message(source, all, Sum::Message);
    assert_eq!(bytes[..8], hex("3135640200643fa5"));
    let expected = expect(Version::V3, 53, true);
    assert_eq!(
        packet(source, all, &bytes).advertisement(&expected),
        Ok(said)
    );
    let mut plain = bytes.clone();
    plain[6..8].fill(0);
    let sum = ndisc::plain_checksum(&plain);
    plain[6..8].copy_from_slice(&sum.to_be_bytes());
    let heard = packet(source, all, &plain).advertisement(&expected);
    assert_eq!(heard, Err(Refusal::Checksum));
}

/// A message with this change, summed anew: why it is refused.
fn refusal(version: Version, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), Refusal> {
    let (id, address) = match version {
        Version::V2 => (51, "192.0.2.1"),
        Version::V3 => (52, "192.0.2.4"),
    };
    let mut bytes = advertisement(version, id, &[address]).message(SOURCE, ALL, Sum::Message);
    change(&mut bytes);
    if bytes.len() >= HEADER_LEN {
        bytes[6..8].fill(0);
        let sum = ndisc::plain_checksum(&bytes);
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    }
    let heard = packet(SOURCE, ALL, &bytes).advertisement(&expect(version, id, false));
    heard.map(|_| ())
}

/// V31 to V33, V35, V37, V39, V41, V42: every reason has its own name, whatever else would be wrong
/// further on.
#[test]
fn vrrp_bad_messages_are_refused_by_name() {
    use Refusal as R;
    use Version::{V2, V3};
    let set = |at: usize, byte: u8| move |bytes: &mut Vec<u8>| bytes[at] = byte;
    for kind in [0x01, 0x11, 0x21, 0x41, 0xf1] {
        assert_eq!(refusal(V3, set(0, kind)), Err(R::Version), "{kind:#x}");
    }
    assert_eq!(refusal(V2, set(0, 0x31)), Err(R::Version));
    for kind in [0x30, 0x32, 0x3f] {
        assert_eq!(refusal(V3, set(0, kind)), Err(R::Type), "{kind:#x}");
    }
    for id in [0, 99] {
        assert_eq!(refusal(V3, set(1, id)), Err(R::VirtualId));
    }
    for version in [V2, V3] {
        assert_eq!(refusal(version, set(3, 2)), Err(R::Count), "{version:?}");
        assert_eq!(refusal(version, set(3, 0)), Err(R::Count), "{version:?}");
        let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 4);
        assert_eq!(refusal(version, cut), Err(R::Count), "{version:?}");
        let short = |bytes: &mut Vec<u8>| bytes.truncate(7);
        assert_eq!(refusal(version, short), Err(R::Short), "{version:?}");
    }
    for kind in [1, 2, 7] {
        assert_eq!(refusal(V2, set(4, kind)), Err(R::Authentication));
    }
    assert_eq!(refusal(V2, set(5, 2)), Err(R::Interval), "not its own");
    assert_eq!(refusal(V2, set(5, 0)), Err(R::Interval));
    assert_eq!(refusal(V3, set(5, 0)), Err(R::Interval), "none at all");
}

/// V38, V40: what means nothing is ignored: octets of no authentication, and reserved bits, which
/// are no part of the interval.
#[test]
fn vrrp_bits_without_meaning_are_ignored() {
    let words = |bytes: &mut Vec<u8>| bytes[12..20].copy_from_slice(b"abcdefgh");
    assert_eq!(refusal(Version::V2, words), Ok(()));
    let mut bytes =
        advertisement(Version::V3, 52, &["192.0.2.4"]).message(SOURCE, ALL, Sum::Message);
    bytes[4] |= 0xf0;
    bytes[6..8].fill(0);
    let sum = ndisc::plain_checksum(&bytes);
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    let heard = packet(SOURCE, ALL, &bytes).advertisement(&expect(Version::V3, 52, false));
    assert_eq!(heard.unwrap().interval.centis(), 100);
}

/// V29, V30, V34, V45 to V47: one wrong bit of the sum, or none, another way, another hop limit:
/// each is refused.
#[test]
fn vrrp_damaged_and_stray_packets_are_refused() {
    let bytes = advertisement(Version::V3, 52, &["192.0.2.4"]).message(SOURCE, ALL, Sum::Message);
    let expected = expect(Version::V3, 52, false);
    let mut damaged = bytes.clone();
    damaged[7] ^= 1;
    assert_eq!(
        packet(SOURCE, ALL, &damaged).advertisement(&expected),
        Err(Refusal::Checksum)
    );
    for ttl in [254, 64, 1] {
        let far = Packet {
            ttl,
            ..packet(SOURCE, ALL, &bytes)
        };
        assert_eq!(far.advertisement(&expected), Err(Refusal::Ttl));
    }
    damaged[6..8].fill(0);
    assert_eq!(
        packet(SOURCE, ALL, &damaged).advertisement(&expected),
        Err(Refusal::Checksum)
    );
    let old = advertisement(Version::V2, 53, &["192.0.2.1"]).message(SOURCE, ALL, Sum::Message);
    let over6 = packet(ip("fe80::2"), IpAddr::V6(GROUP6), &old);
    let refused = over6.advertisement(&expect(Version::V2, 53, true));
    assert_eq!(refused, Err(Refusal::Version), "version 2 knows IPv4 alone");
    let own = ip("192.0.2.10");
    let direct = packet(SOURCE, own, &bytes);
    assert_eq!(direct.advertisement(&expected), Err(Refusal::Destination));
    let known = Expect {
        unicast: &[SOURCE],
        ..expected
    };
    assert!(direct.advertisement(&known).is_ok());
    let stranger = packet(ip("192.0.2.3"), own, &bytes);
    assert_eq!(stranger.advertisement(&known), Err(Refusal::Destination));
    let ipv6 = expect(Version::V3, 52, true);
    assert_eq!(
        packet(SOURCE, ALL, &bytes).advertisement(&ipv6),
        Err(Refusal::Version)
    );
}

/// V58: CARP poses as version 2 with priority 0 and seven addresses: it is named, and no
/// resignation.
#[test]
fn vrrp_carp_is_no_resignation() {
    let mut bytes = vec![0x21, 51, 0, 7, 0, 1, 0, 0];
    bytes.extend([0x5a; 28]);
    let sum = ndisc::plain_checksum(&bytes);
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    let heard = packet(SOURCE, ALL, &bytes).advertisement(&expect(Version::V2, 51, false));
    assert_eq!(heard, Err(Refusal::Carp));
    // Seven addresses of version 2 are 44 bytes.
    let addresses: Vec<String> = (1..=7).map(|it| format!("192.0.2.{it}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let seven = advertisement(Version::V2, 51, &addresses).message(SOURCE, ALL, Sum::Message);
    assert_eq!(seven.len(), 44);
    let heard = packet(SOURCE, ALL, &seven).advertisement(&expect(Version::V2, 51, false));
    assert_eq!(heard.unwrap().addresses.len(), 7);
}

/// V36: the message is as long as IP says: what Ethernet pads is none of it.
#[test]
fn vrrp_padding_of_ethernet_is_cut_off() {
    let message = advertisement(Version::V3, 52, &["192.0.2.4"]).message(SOURCE, ALL, Sum::Message);
    let frame = frame(Ipv4Addr::new(192, 0, 2, 2), &message);
    let padded = [&frame[..], &[0xff; 14]].concat();
    let parsed = Frame::parse(&padded).unwrap();
    let packet = Packet::parse(&parsed).unwrap();
    assert_eq!((packet.source, packet.destination), (SOURCE, ALL));
    assert_eq!((packet.ttl, packet.message), (TTL, &message[..]));
}

fn frame(from: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + message.len()).unwrap().to_be_bytes();
    let mut header = [0x45, 0xc0, length[0], length[1], 0, 1, 0, 0, TTL, PROTOCOL]
        .into_iter()
        .chain([0; 2])
        .chain(from.octets())
        .chain(GROUP.octets())
        .collect::<Vec<u8>>();
    let sum = ndisc::plain_checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let (own, group) = macs(52, false);
    let mut frame = Vec::new();
    ethernet::header(&mut frame, group, own, ethertype::IPV4);
    [frame, header, message.to_vec()].concat()
}

/// Each version's own limits.
#[test]
fn vrrp_intervals_are_what_a_version_can_say() {
    for (version, good, bad) in [
        (Version::V2, [100, 200, 25_500], [0, 150, 25_600]),
        (Version::V3, [1, 100, 4_095], [0, 4_096, u16::MAX]),
    ] {
        for centis in good {
            let interval = Interval::new(version, centis).unwrap();
            assert_eq!(
                interval.span(),
                Duration::from_millis(u64::from(centis) * 10)
            );
        }
        for centis in bad {
            assert!(Interval::new(version, centis).is_err(), "{centis}");
        }
    }
}

proptest! {
    /// No bytes panic, and what is understood is what its sender would say.
    #[test]
    fn vrrp_any_bytes_are_heard_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ipv6 in any::<bool>(),
        ttl in any::<u8>(),
    ) {
        let (source, all) = if ipv6 {
            (ip("fe80::2"), IpAddr::V6(GROUP6))
        } else {
            (SOURCE, ALL)
        };
        for version in [Version::V2, Version::V3] {
            let packet = Packet { source, destination: all, ttl, message: &bytes };
            let _ = packet.advertisement(&expect(version, 52, ipv6));
        }
        let frame = Frame { destination: MacAddr([0; 6]), source: MacAddr([0; 6]),
            ethertype: if ipv6 { 0x86dd } else { 0x0800 }, payload: &bytes };
        let _ = Packet::parse(&frame);
    }

    /// What is said is heard.
    #[test]
    fn vrrp_messages_come_back(
        id in 1..=255_u8, priority in any::<u8>(), centis in 1..=4_095_u16, count in 1..=20_u8,
        ipv6 in any::<bool>(), pseudo in any::<bool>(),
    ) {
        let (source, all) = if ipv6 {
            (ip("fe80::2"), IpAddr::V6(GROUP6))
        } else {
            (SOURCE, ALL)
        };
        let net = if ipv6 { "fe80::" } else { "10.0.0." };
        let address = |last: u8| ip(&format!("{net}{last}"));
        let said = Advertisement {
            version: Version::V3,
            virtual_id: id,
            priority,
            interval: Interval::new(Version::V3, centis).unwrap(),
            addresses: (1..=count).map(address).collect(),
        };
        let sum = if pseudo { Sum::PseudoHeader } else { Sum::Message };
        let message = said.message(source, all, sum);
        let heard = packet(source, all, &message).advertisement(&expect(Version::V3, id, ipv6));
        prop_assert_eq!(heard, Ok(said));
    }
}
