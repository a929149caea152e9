//! Which frames an instrument's socket sees: classic BPF programs, written by hand.
//!
//! On two cores what is not looked at is the cheapest. Each program is a short list of tests on
//! fixed places of an Ethernet frame; the first that decides, decides. Offsets count from the
//! frame's first byte: 0 destination, 6 source, 12 EtherType, 14 IPv4 header (20 bytes: nobody in
//! the lab sends options), 34 what IPv4 carries.
//!
//! The limit: frames with a VLAN tag match nothing.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use steadfast_core::MacAddr;
use steadfast_core::wire::carriage::UDP_PORT;
use steadfast_core::wire::ethernet::ethertype;

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

/// The first four bytes of all MACs that the observer of a segment uses.
pub(super) fn prefix(mac: MacAddr) -> u32 {
    let [a, b, c, d, ..] = mac.0;
    u32::from_be_bytes([a, b, c, d])
}

/// ARP to any of the observer's MACs.
pub(super) fn answers(observer: MacAddr) -> Vec<Instruction> {
    vec![
        load(LOAD_HALF, 12),
        test(IF_EQUAL, u32::from(ethertype::ARP), 0, 3),
        load(LOAD_WORD, 0),
        test(IF_EQUAL, prefix(observer), 0, 1),
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
        test(IF_EQUAL, u32::from(ethertype::IPV4), 0, 7),
        load(LOAD_BYTE, 23),
        test(IF_EQUAL, ICMP, 3, 0),
        test(IF_EQUAL, UDP, 0, 4),
        load(LOAD_HALF, 36),
        test(IF_EQUAL, u32::from(PROBE_PORT), 3, 2),
        load(LOAD_BYTE, 34),
        test(IF_EQUAL, ECHO_REPLY, 1, 0),
        give(0),
        give(HEAD),
    ]
}

/// What events are made of: our own frames and datagrams, ARP, and IPv4 from a virtual address, but
/// nothing that goes to the observer.
pub(super) fn sights(observer: MacAddr, virtuals: &[RangeInclusive<Ipv4Addr>]) -> Vec<Instruction> {
    let mut program = vec![
        load(LOAD_WORD, 0),
        test(IF_EQUAL, prefix(observer), 3, 0),
        load(LOAD_HALF, 12),
        test(IF_EQUAL, u32::from(ethertype::STEADFAST), 2, 0),
        test(IF_EQUAL, u32::from(ethertype::ARP), 1, 2),
        give(0),
        give(HEAD),
        test(IF_EQUAL, u32::from(ethertype::IPV4), 0, 4),
        load(LOAD_HALF, 36),
        test(IF_EQUAL, u32::from(UDP_PORT), 0, 1),
        give(HEAD),
        load(LOAD_WORD, 26),
    ];
    // Another protocol skips the load and still holds its EtherType, which is below any address.
    for range in virtuals {
        program.extend([
            test(IF_AT_LEAST, u32::from(*range.start()), 0, 2),
            test(IF_GREATER, u32::from(*range.end()), 1, 0),
            give(HEAD),
        ]);
    }
    program.push(give(0));
    program
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
    }

    /// Our frames, ARP and datagrams from virtual addresses, both ends of a range included.
    #[test]
    fn filter_sights_takes_what_events_are_made_of() {
        let range = |last| Ipv4Addr::new(10, 77, 0, 1)..=Ipv4Addr::new(10, 77, 0, last);
        let program = sights(OBSERVER, &[range(3), range(5)]);
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
        let mut other = Vec::new();
        ethernet::header(&mut other, PEER, PEER, ethertype::IPV6);
        other.extend([0; 60]);
        assert!(!takes(&other));
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
