//! Which frames an instrument's socket sees: classic BPF programs, written by hand.
//!
//! On two cores what is not looked at is the cheapest. Each program is a short list of tests on
//! fixed places of an Ethernet frame; the first that decides, decides. Offsets count from the
//! frame's first byte: 0 destination, 6 source, 12 EtherType, 14 header of IPv4 (20 bytes: nobody
//! in the lab sends options) or IPv6 (40 bytes), behind it what that carries.
//!
//! The limit: frames with a VLAN tag match nothing.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use steadfast_core::MacAddr;
use steadfast_core::wire::carriage::UDP_PORT;
use steadfast_core::wire::ethernet::ethertype;
use steadfast_scenarios::sight::CALL_PORT;

use super::PROBE_PORT;

/// One instruction of classic BPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) yes: u8,
    pub(super) no: u8,
    pub(super) value: u32,
}

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Bytes of a frame that events are read from.
const HEAD: u32 = 256;
const WHOLE: u32 = 0x4_0000;
const UDP: u32 = 17;
const ICMP: u32 = 1;
const ECHO_REPLY: u32 = 0;
const ICMPV6: u32 = 58;
const ECHO_REPLY_V6: u32 = 129;
const ROUTER_ADVERTISEMENT: u32 = 134;
const ADVERTISEMENT: u32 = 136;

/// The first four bytes of all MACs that the observer of a segment uses.
pub(super) fn prefix(mac: MacAddr) -> u32 {
    let [a, b, c, d, ..] = mac.0;
    u32::from_be_bytes([a, b, c, d])
}

/// ARP, and advertisements of neighbours, to any of the observer's MACs.
pub(super) fn answers(observer: MacAddr) -> Vec<Instruction> {
    vec![
        load(LOAD_WORD, 0),
        test(IF_EQUAL, prefix(observer), 0, 6),
        load(LOAD_HALF, 12),
        test(IF_EQUAL, u32::from(ethertype::ARP), 3, 0),
        test(IF_EQUAL, u32::from(ethertype::IPV6), 0, 3),
        load(LOAD_BYTE, 54),
        test(IF_EQUAL, ADVERTISEMENT, 0, 1),
        give(HEAD),
        give(0),
    ]
}

/// Everything but what the observer asks and is answered, which would be most of it.
pub(super) fn all_but(observer: MacAddr) -> Vec<Instruction> {
    vec![
        load(LOAD_WORD, 0),
        test(IF_EQUAL, prefix(observer), 3, 0),
        load(LOAD_WORD, 6),
        test(IF_EQUAL, prefix(observer), 1, 0),
        give(WHOLE),
        give(0),
    ]
}

/// Everything.
pub(super) fn everything() -> Vec<Instruction> {
    vec![give(WHOLE)]
}

/// Nothing.
pub(super) fn nothing() -> Vec<Instruction> {
    vec![give(0)]
}

/// Probes: datagrams to their port, and answered echoes.
pub(super) fn probes() -> Vec<Instruction> {
    vec![
        load(LOAD_HALF, 12),
        test(IF_EQUAL, u32::from(ethertype::IPV6), 8, 0),
        test(IF_EQUAL, u32::from(ethertype::IPV4), 0, 14),
        load(LOAD_BYTE, 23),
        test(IF_EQUAL, ICMP, 3, 0),
        test(IF_EQUAL, UDP, 0, 11),
        load(LOAD_HALF, 36),
        test(IF_EQUAL, u32::from(PROBE_PORT), 10, 9),
        load(LOAD_BYTE, 34),
        test(IF_EQUAL, ECHO_REPLY, 8, 7),
        load(LOAD_BYTE, 20),
        test(IF_EQUAL, ICMPV6, 3, 0),
        test(IF_EQUAL, UDP, 0, 4),
        load(LOAD_HALF, 56),
        test(IF_EQUAL, u32::from(PROBE_PORT), 3, 2),
        load(LOAD_BYTE, 54),
        test(IF_EQUAL, ECHO_REPLY_V6, 1, 0),
        give(0),
        give(HEAD),
    ]
}

/// What events are made of: our own frames and datagrams, ARP, neighbour discovery, and IP from a
/// virtual address, but nothing that goes to the observer.
pub(super) fn sights(
    observer: MacAddr,
    virtual_mac: Option<MacAddr>,
    virtuals: &[RangeInclusive<IpAddr>],
) -> Vec<Instruction> {
    let station = |mac: MacAddr| {
        [
            load(LOAD_WORD, 0),
            test(IF_EQUAL, prefix(observer), 0, 1),
            give(0),
            load(LOAD_WORD, 6),
            test(IF_EQUAL, prefix(mac), 0, 1),
            give(HEAD),
        ]
    };
    let (v4, v6) = (sights_v4(virtuals), sights_v6(virtuals));
    let behind_v4 = u8::try_from(v4.len()).unwrap_or(u8::MAX);
    let head = [
        load(LOAD_WORD, 0),
        test(IF_EQUAL, prefix(observer), 5, 0),
        load(LOAD_HALF, 12),
        test(IF_EQUAL, u32::from(ethertype::STEADFAST), 4, 0),
        test(IF_EQUAL, u32::from(ethertype::ARP), 3, 0),
        test(IF_EQUAL, u32::from(ethertype::IPV4), 3, 0),
        test(IF_EQUAL, u32::from(ethertype::IPV6), 2 + behind_v4, 0),
        give(0),
        give(HEAD),
    ];
    let mut program: Vec<Instruction> = virtual_mac.into_iter().flat_map(station).collect();
    program.extend([&head[..], &v4, &v6].concat());
    program
}

/// Our datagrams, calls, and packets from these addresses.
fn sights_v4(virtuals: &[RangeInclusive<IpAddr>]) -> Vec<Instruction> {
    let mut part = vec![
        load(LOAD_HALF, 36),
        test(IF_EQUAL, u32::from(UDP_PORT), 1, 0),
        test(IF_EQUAL, u32::from(CALL_PORT), 0, 1),
        give(HEAD),
        load(LOAD_WORD, 26),
    ];
    part.extend(virtuals.iter().filter_map(range_v4).flatten());
    part.push(give(0));
    part
}

/// Neighbour discovery, routers', calls, and packets from these addresses.
fn sights_v6(virtuals: &[RangeInclusive<IpAddr>]) -> Vec<Instruction> {
    let mut part = vec![
        load(LOAD_BYTE, 54),
        test(IF_GREATER, ADVERTISEMENT, 2, 0),
        test(IF_AT_LEAST, ROUTER_ADVERTISEMENT, 0, 1),
        give(HEAD),
        load(LOAD_HALF, 56),
        test(IF_EQUAL, u32::from(CALL_PORT), 0, 1),
        give(HEAD),
    ];
    part.extend(virtuals.iter().filter_map(range_v6).flatten());
    part.push(give(0));
    part
}

/// Takes IPv4 whose source, which is loaded, is in the range.
fn range_v4(range: &RangeInclusive<IpAddr>) -> Option<[Instruction; 3]> {
    let (IpAddr::V4(start), IpAddr::V4(end)) = (range.start(), range.end()) else {
        return None;
    };
    Some([
        test(IF_AT_LEAST, u32::from(*start), 0, 2),
        test(IF_GREATER, u32::from(*end), 1, 0),
        give(HEAD),
    ])
}

/// Takes IPv6 whose source is in the range, of which the last four bytes alone differ.
fn range_v6(range: &RangeInclusive<IpAddr>) -> Option<[Instruction; 10]> {
    let (IpAddr::V6(start), IpAddr::V6(end)) = (range.start(), range.end()) else {
        return None;
    };
    let [a, b, c, first] = words(*start);
    let [.., last] = words(*end);
    Some([
        load(LOAD_WORD, 22),
        test(IF_EQUAL, a, 0, 8),
        load(LOAD_WORD, 26),
        test(IF_EQUAL, b, 0, 6),
        load(LOAD_WORD, 30),
        test(IF_EQUAL, c, 0, 4),
        load(LOAD_WORD, 34),
        test(IF_AT_LEAST, first, 0, 2),
        test(IF_GREATER, last, 1, 0),
        give(HEAD),
    ])
}

fn words(address: Ipv6Addr) -> [u32; 4] {
    let bits = address.to_bits();
    [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
}

const fn load(code: u16, offset: u32) -> Instruction {
    instruction(code, 0, 0, offset)
}

const fn test(code: u16, value: u32, yes: u8, no: u8) -> Instruction {
    instruction(code, yes, no, value)
}

const fn give(bytes: u32) -> Instruction {
    instruction(RETURN, 0, 0, bytes)
}

const fn instruction(code: u16, yes: u8, no: u8, value: u32) -> Instruction {
    Instruction {
        code,
        yes,
        no,
        value,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use steadfast_core::wire::arp::{Arp, Operation};
    use steadfast_core::wire::ethernet;

    const OBSERVER: MacAddr = MacAddr([2, 0x77, 0, 2, 0, 1]);
    const PEER: MacAddr = MacAddr([2, 0x77, 0, 0, 0, 1]);

    /// What the kernel would do, by the definition of classic BPF (Linux `filter.rst`).
    fn run(program: &[Instruction], frame: &[u8]) -> u32 {
        let (mut at, mut register) = (0_usize, 0_u32);
        loop {
            let step = program[at];
            let place = step.value as usize;
            let width = match step.code {
                LOAD_WORD => 4,
                LOAD_HALF => 2,
                _ => 1,
            };
            let jump = |holds: bool| usize::from(if holds { step.yes } else { step.no });
            at += 1;
            match step.code {
                RETURN => return step.value,
                IF_EQUAL => at += jump(register == step.value),
                IF_GREATER => at += jump(register > step.value),
                IF_AT_LEAST => at += jump(register >= step.value),
                _ => {
                    let Some(bytes) = frame.get(place..place + width) else {
                        return 0;
                    };
                    register = bytes
                        .iter()
                        .fold(0, |sum, byte| sum << 8 | u32::from(*byte));
                }
            }
        }
    }

    fn ipv4(protocol: u8, source: [u8; 4], carried: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        ethernet::header(&mut frame, PEER, PEER, ethertype::IPV4);
        let mut header = [0_u8; 20];
        header[0] = 0x45;
        header[9] = protocol;
        header[12..16].copy_from_slice(&source);
        frame.extend(header);
        frame.extend(carried);
        frame
    }

    fn ipv6(protocol: u8, source: Ipv6Addr, carried: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        ethernet::header(&mut frame, PEER, PEER, ethertype::IPV6);
        let mut header = [0_u8; 40];
        header[0] = 0x60;
        header[6] = protocol;
        header[8..24].copy_from_slice(&source.octets());
        frame.extend(header);
        frame.extend(carried);
        frame
    }

    fn arp(destination: MacAddr, source: MacAddr) -> Vec<u8> {
        let arp = Arp {
            operation: Operation::Reply,
            sender_mac: source,
            sender_ip: Ipv4Addr::new(10, 77, 0, 1),
            target_mac: destination,
            target_ip: Ipv4Addr::UNSPECIFIED,
        };
        arp.frame(destination, source)
    }

    /// Only the observer's own ARP reaches it: everything else would cost a wake-up's time.
    #[test]
    fn filter_answers_takes_arp_to_any_observer_mac() {
        let tagged = MacAddr([2, 0x77, 0, 2, 0, 9]);
        assert_ne!(run(&answers(OBSERVER), &arp(tagged, PEER)), 0);
        assert_eq!(run(&answers(OBSERVER), &arp(PEER, OBSERVER)), 0);
        assert_eq!(run(&answers(OBSERVER), &ipv4(17, [1; 4], &[0; 8])), 0);
        let mut advert = ipv6(58, Ipv6Addr::LOCALHOST, &[136; 24]);
        assert_eq!(run(&answers(OBSERVER), &advert), 0, "to another");
        advert[..6].copy_from_slice(&tagged.0);
        assert_ne!(run(&answers(OBSERVER), &advert), 0);
        advert[54] = 135;
        assert_eq!(run(&answers(OBSERVER), &advert), 0, "a question");
    }

    /// Datagrams to the probes' port and echo replies; no request, no other port.
    #[test]
    fn filter_probes_takes_datagrams_and_echo_replies() {
        let udp = |port: u16| {
            let [high, low] = port.to_be_bytes();
            ipv4(17, [1; 4], &[0, 0, high, low, 0, 0, 0, 0])
        };
        assert_ne!(run(&probes(), &udp(PROBE_PORT)), 0);
        assert_eq!(run(&probes(), &udp(PROBE_PORT + 1)), 0);
        assert_ne!(run(&probes(), &ipv4(1, [1; 4], &[0; 8])), 0);
        assert_eq!(run(&probes(), &ipv4(1, [1; 4], &[8; 8])), 0);
        assert_eq!(run(&probes(), &ipv4(6, [1; 4], &[0; 8])), 0);
        assert_eq!(run(&probes(), &arp(PEER, PEER)), 0);
        let from = Ipv6Addr::LOCALHOST;
        let udp = |port: u16| {
            let [high, low] = port.to_be_bytes();
            ipv6(17, from, &[0, 0, high, low, 0, 0, 0, 0])
        };
        assert_ne!(run(&probes(), &udp(PROBE_PORT)), 0);
        assert_eq!(run(&probes(), &udp(PROBE_PORT + 1)), 0);
        assert_ne!(run(&probes(), &ipv6(58, from, &[129; 8])), 0);
        assert_eq!(run(&probes(), &ipv6(58, from, &[128; 8])), 0);
        assert_eq!(run(&probes(), &ipv6(6, from, &[129; 8])), 0);
    }

    /// Our frames, ARP and datagrams from virtual addresses, both ends of a range included.
    #[test]
    fn filter_sights_takes_what_events_are_made_of() {
        let range = |last| {
            let ip = |last| IpAddr::V4(Ipv4Addr::new(10, 77, 0, last));
            ip(1)..=ip(last)
        };
        let v6 = |segment, last| Ipv6Addr::new(0xfd77, 0, 0, segment, 0, 0, 0, last);
        let range_v6 = |segment| IpAddr::V6(v6(segment, 1))..=IpAddr::V6(v6(segment, 3));
        let shared = MacAddr([0, 0, 0x5e, 0, 1, 51]);
        let ranges = [range(3), range(5), range_v6(0), range_v6(1)];
        let mut from_shared = Vec::new();
        ethernet::header(&mut from_shared, PEER, shared, 0x88cc);
        for (virtual_mac, taken) in [(None, false), (Some(shared), true)] {
            let program = sights(OBSERVER, virtual_mac, &ranges);
            assert_eq!(run(&program, &from_shared) != 0, taken);
            assert_eq!(run(&program, &arp(OBSERVER, shared)), 0, "to the observer");
        }
        let program = sights(OBSERVER, Some(shared), &ranges);
        let takes = |frame: &[u8]| run(&program, frame) != 0;
        let mut ours = Vec::new();
        ethernet::header(&mut ours, PEER, PEER, ethertype::STEADFAST);
        assert!(takes(&ours));
        assert!(takes(&arp(PEER, PEER)));
        assert!(!takes(&arp(OBSERVER, PEER)));
        for (last, taken) in [(0, false), (1, true), (3, true), (5, true), (6, false)] {
            assert_eq!(
                takes(&ipv4(17, [10, 77, 0, last], &[0; 8])),
                taken,
                "{last}"
            );
        }
        for (segment, last, taken) in [
            (0, 0, false),
            (0, 1, true),
            (1, 3, true),
            (1, 4, false),
            (2, 1, false),
        ] {
            let frame = ipv6(17, v6(segment, last), &[0; 8]);
            assert_eq!(takes(&frame), taken, "{segment} {last}");
        }
        assert!(takes(&ipv6(58, Ipv6Addr::LOCALHOST, &[134; 24])));
        assert!(takes(&ipv6(58, Ipv6Addr::LOCALHOST, &[135; 24])));
        assert!(!takes(&ipv6(58, Ipv6Addr::LOCALHOST, &[133; 24])));
        assert!(takes(&ipv6(58, Ipv6Addr::LOCALHOST, &[136; 24])));
        assert!(!takes(&ipv6(58, Ipv6Addr::LOCALHOST, &[143; 24])));
    }

    /// A recording leaves out the observer's chatter in both directions and nothing else.
    #[test]
    fn filter_recording_leaves_out_the_observer() {
        let takes = |frame: &[u8]| run(&all_but(OBSERVER), frame) != 0;
        assert!(takes(&arp(PEER, PEER)));
        assert!(!takes(&arp(OBSERVER, PEER)));
        assert!(!takes(&arp(PEER, OBSERVER)));
        assert_eq!(run(&nothing(), &arp(PEER, PEER)), 0);
    }
}
