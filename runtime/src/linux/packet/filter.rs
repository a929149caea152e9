//! The filter that runs in the kernel: which frames are for a node, as a classic BPF program.
//!
//! It is written as questions with the places to go to by name; [`program`] turns names into
//! relative jumps. First whom the frame is for (not another station, not a VLAN of its own), then
//! what it is. The limit: IPv6 extension headers are not looked through; neighbour discovery has
//! none (RFC 4861), nor has VRRP.

use steadfast_core::wire::ethernet::ethertype;

/// Accept the whole frame: more bytes than any has.
const WHOLE: u32 = 0x4_0000;
/// Packet type "for another station", seen while the interface is promiscuous.
const OTHER_HOST: u32 = 3;
/// VLAN number within a tag; 0 means that the tag is for priority alone.
const VLAN_ID: u32 = 0x0fff;
/// VRRP and CARP.
const PROTOCOL_112: u32 = 112;
const ICMPV6: u32 = 58;
const UDP: u32 = 17;
/// How advertisements in datagrams begin: IPv4, five words (`steadfast_core::wire::carriage`).
const DATAGRAM_BEGINS: u32 = 0x45;
/// Router solicitation, the first message of neighbour discovery, to redirect, its last.
const ND_FIRST: u32 = 133;
const ND_LAST: u32 = 137;

const ETHERTYPE_AT: u32 = 12;
const IPV4_BEGIN_AT: u32 = 14;
const PIECE_AT: u32 = 14 + 6;
const PIECES: u32 = 0x3fff;
const HOPS_AT: u32 = 14 + 8;
/// No router passes this on: what is heard began on this segment.
const HOPS: u32 = 255;
/// What is heard may have come through routers.
const HOPS_LEFT: u32 = 1;
const UDP_FROM_AT: u32 = 14 + 20;
const UDP_TO_AT: u32 = UDP_FROM_AT + 2;
const IPV4_PROTOCOL_AT: u32 = 14 + 9;
const IPV6_NEXT_HEADER_AT: u32 = 14 + 6;
const ICMPV6_TYPE_AT: u32 = 14 + 40;

/// Where an instruction leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Accept,
    Drop,
    Kind,
    Next,
    Ipv4,
    Ipv6,
}

/// An instruction, with the name of its place if something leads to it.
type Line = (Option<To>, Step);

enum Step {
    /// Read a byte.
    Byte(u32),
    /// Read two bytes.
    Half(u32),
    /// Read what the kernel knows beside the frame.
    Known(libc::c_int),
    /// Keep only these bits.
    And(u32),
    /// Equal: there, otherwise there.
    Is(u32, To, To),
    /// Equal to the UDP port of advertisements, if there is one: there, otherwise there.
    IsPort(To, To),
    /// As many hops left as are asked for: there, otherwise there.
    HasHops(To, To),
    /// Equal or greater: there, otherwise there.
    AtLeast(u32, To, To),
    /// Greater: there, otherwise there.
    Above(u32, To, To),
    /// The answer: so many bytes.
    Answer(u32),
}

const LINES: [Line; 34] = [
    (None, Step::Known(libc::SKF_AD_PKTTYPE)),
    (None, Step::Is(OTHER_HOST, To::Drop, To::Next)),
    (None, Step::Known(libc::SKF_AD_VLAN_TAG_PRESENT)),
    (None, Step::Is(0, To::Kind, To::Next)),
    (None, Step::Known(libc::SKF_AD_VLAN_TAG)),
    (None, Step::And(VLAN_ID)),
    (None, Step::Is(0, To::Kind, To::Drop)),
    (Some(To::Kind), Step::Half(ETHERTYPE_AT)),
    (
        None,
        Step::Is(ethertype::STEADFAST as u32, To::Accept, To::Next),
    ),
    (None, Step::Is(ethertype::ARP as u32, To::Accept, To::Next)),
    (None, Step::Is(ethertype::IPV4 as u32, To::Ipv4, To::Next)),
    (None, Step::Is(ethertype::IPV6 as u32, To::Ipv6, To::Drop)),
    (Some(To::Ipv4), Step::Byte(IPV4_PROTOCOL_AT)),
    (None, Step::Is(PROTOCOL_112, To::Accept, To::Next)),
    (None, Step::Is(UDP, To::Next, To::Drop)),
    (None, Step::Byte(IPV4_BEGIN_AT)),
    (None, Step::Is(DATAGRAM_BEGINS, To::Next, To::Drop)),
    (None, Step::Half(PIECE_AT)),
    (None, Step::And(PIECES)),
    (None, Step::Is(0, To::Next, To::Drop)),
    (None, Step::Byte(HOPS_AT)),
    (None, Step::HasHops(To::Next, To::Drop)),
    (None, Step::Half(UDP_FROM_AT)),
    (None, Step::IsPort(To::Next, To::Drop)),
    (None, Step::Half(UDP_TO_AT)),
    (None, Step::IsPort(To::Accept, To::Drop)),
    (Some(To::Ipv6), Step::Byte(IPV6_NEXT_HEADER_AT)),
    (None, Step::Is(PROTOCOL_112, To::Accept, To::Next)),
    (None, Step::Is(ICMPV6, To::Next, To::Drop)),
    (None, Step::Byte(ICMPV6_TYPE_AT)),
    (None, Step::AtLeast(ND_FIRST, To::Next, To::Drop)),
    (None, Step::Above(ND_LAST, To::Drop, To::Accept)),
    (Some(To::Accept), Step::Answer(WHOLE)),
    (Some(To::Drop), Step::Answer(0)),
];

/// No port of UDP: two bytes never read as this.
const NO_PORT: u32 = u32::MAX;

/// What a port hears in datagrams.
#[derive(Clone, Copy)]
struct Heard {
    port: u32,
    hops: u32,
}

/// The program as the kernel takes it; advertisements in datagrams to this UDP port pass, `routed`
/// those that came through a router, too.
pub(super) fn program(datagrams: Option<u16>, routed: bool) -> Vec<libc::sock_filter> {
    let heard = Heard {
        port: datagrams.map_or(NO_PORT, u32::from),
        hops: if routed { HOPS_LEFT } else { HOPS },
    };
    let instruction = |(at, (_, step)): (usize, &Line)| instruction(at, step, heard);
    LINES.iter().enumerate().map(instruction).collect()
}

fn instruction(at: usize, step: &Step, heard: Heard) -> libc::sock_filter {
    let load = |size: u32, k: u32| plain(libc::BPF_LD | size | libc::BPF_ABS, k);
    match *step {
        Step::Byte(offset) => load(libc::BPF_B, offset),
        Step::Half(offset) => load(libc::BPF_H, offset),
        Step::Known(what) => load(libc::BPF_W, (libc::SKF_AD_OFF + what).cast_unsigned()),
        Step::And(bits) => plain(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits),
        Step::Is(value, yes, no) => jump(at, libc::BPF_JEQ, value, (yes, no)),
        Step::IsPort(yes, no) => jump(at, libc::BPF_JEQ, heard.port, (yes, no)),
        Step::HasHops(yes, no) => jump(at, libc::BPF_JGE, heard.hops, (yes, no)),
        Step::AtLeast(value, yes, no) => jump(at, libc::BPF_JGE, value, (yes, no)),
        Step::Above(value, yes, no) => jump(at, libc::BPF_JGT, value, (yes, no)),
        Step::Answer(bytes) => plain(libc::BPF_RET | libc::BPF_K, bytes),
    }
}

fn plain(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

fn jump(at: usize, test: u32, k: u32, (yes, no): (To, To)) -> libc::sock_filter {
    libc::sock_filter {
        jt: distance(at, yes),
        jf: distance(at, no),
        ..plain(libc::BPF_JMP | test | libc::BPF_K, k)
    }
}

/// Instructions that are skipped on the way from `at`; the program has fewer than 256.
fn distance(at: usize, to: To) -> u8 {
    let place = LINES.iter().position(|(name, _)| *name == Some(to));
    place.map_or(0, |place| (place - at - 1) as u8)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use steadfast_core::MacAddr;
    use steadfast_core::wire::carriage::{self, Route};
    use steadfast_core::wire::ethernet;

    use super::*;

    const PORT: u16 = 6973;

    /// What the kernel does with a program, for an untagged frame to this host (filter.txt of the
    /// kernel's documentation).
    fn runs(program: &[libc::sock_filter], frame: &[u8]) -> u32 {
        let (mut at, mut held) = (0, 0);
        loop {
            let it = program[at];
            at += 1;
            let code = u32::from(it.code);
            let (from, size) = (it.k as usize, code & (libc::BPF_H | libc::BPF_B));
            match code & 7 {
                libc::BPF_LD if it.k >= libc::SKF_AD_OFF.cast_unsigned() => held = 0,
                libc::BPF_LD => {
                    let size = if size == libc::BPF_B { 1 } else { 2 };
                    let Some(bytes) = frame.get(from..from + size) else {
                        return 0;
                    };
                    held = bytes
                        .iter()
                        .fold(0, |all, byte| all << 8 | u32::from(*byte));
                }
                libc::BPF_ALU => held &= it.k,
                libc::BPF_JMP => {
                    let yes = match code & 0xf0 {
                        libc::BPF_JEQ => held == it.k,
                        libc::BPF_JGE => held >= it.k,
                        libc::BPF_JGT => held > it.k,
                        other => panic!("jump {other:#x}"),
                    };
                    at += usize::from(if yes { it.jt } else { it.jf });
                }
                libc::BPF_RET => return it.k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    /// An advertisement in a datagram, with some of its bytes changed.
    fn datagram(changes: &[(usize, u8)]) -> Vec<u8> {
        let mut frame = Vec::new();
        let (to, from) = (MacAddr([2; 6]), MacAddr([4; 6]));
        ethernet::header(&mut frame, to, from, ethertype::STEADFAST);
        frame.extend_from_slice(&[7; 60]);
        let route = Route {
            station: to,
            from: Ipv4Addr::new(10, 0, 0, 1),
            to: Ipv4Addr::new(10, 0, 0, 2),
            port: PORT,
        };
        let mut frame = carriage::datagram(&frame, &route);
        for (at, byte) in changes {
            frame[*at] = *byte;
        }
        frame
    }

    /// Datagrams on their port pass, whatever class of service routers gave them; what a router
    /// passed on is heard where one is named alone; pieces and other versions are nobody's.
    #[test]
    fn filter_hears_datagrams_as_configured() {
        let heard = |changes: &[(usize, u8)]| {
            let frame = datagram(changes);
            [(Some(PORT), true), (Some(PORT), false), (None, true)]
                .map(|(port, routed)| runs(&program(port, routed), &frame) == WHOLE)
        };
        assert_eq!(heard(&[]), [true, true, false]);
        assert_eq!(
            heard(&[(15, 0)]),
            [true, true, false],
            "its class rewritten"
        );
        assert_eq!(heard(&[(15, 0xc3)]), [true, true, false], "congestion");
        assert_eq!(heard(&[(22, 254)]), [true, false, false], "passed on");
        assert_eq!(heard(&[(22, 1)]), [true, false, false], "at its last hop");
        assert_eq!(heard(&[(22, 0)]), [false; 3]);
        assert_eq!(heard(&[(20, 0x20)]), [false; 3], "a piece");
        assert_eq!(heard(&[(20, 0x40)]), [true, true, false], "not to be cut");
        assert_eq!(heard(&[(14, 0x46)]), [false; 3], "with options");
        assert_eq!(heard(&[(23, 6)]), [false; 3], "not UDP");
        assert_eq!(heard(&[(37, 0)]), [false; 3], "another port");
        for kind in [ethertype::STEADFAST, ethertype::ARP] {
            let mut frame = Vec::new();
            ethernet::header(&mut frame, MacAddr([2; 6]), MacAddr([4; 6]), kind);
            assert_eq!(runs(&program(None, false), &frame), WHOLE);
        }
    }

    /// The kernel only jumps forward; a wrong name would lead to a place before the jump.
    #[test]
    fn filter_every_jump_leads_forward_to_its_place() {
        for (at, (_, step)) in LINES.iter().enumerate() {
            let (Step::Is(_, yes, no)
            | Step::IsPort(yes, no)
            | Step::HasHops(yes, no)
            | Step::AtLeast(_, yes, no)
            | Step::Above(_, yes, no)) = step
            else {
                continue;
            };
            for to in [*yes, *no] {
                let place = at + 1 + usize::from(distance(at, to));
                assert!(place < LINES.len());
                let named = LINES[place].0 == Some(to);
                assert!(named || to == To::Next, "line {at} leads to {place}");
            }
        }
    }
}
