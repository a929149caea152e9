//! What a frame says, field by field, without any key.
//!
//! Our message is signed and not encrypted, so everything but the truth of its tag can be read: the
//! layout is that of `runtime/core/src/wire/advert.rs`, byte by byte, as the dissector in
//! `contrib/wireshark` has it. ARP and neighbour discovery are read by the core's own codecs,
//! probes by their protocol alone. A frame comes from a file that anybody may have made: whatever
//! is cut short or contradicts itself is told to be so and never panics. The limit: of lists that a
//! later version appends nothing is shown.

use std::net::{Ipv4Addr, Ipv6Addr};

use steadfast_core::wire::arp::{self, Arp};
use steadfast_core::wire::carriage::{self, Form};
use steadfast_core::wire::ethernet::{Frame, ethertype};

/// Bytes of the fixed part, from behind the EtherType on.
const FIXED_LEN: usize = 110;
const TAG_LEN: usize = 16;
const ECHO_LEN: usize = 25;
const GRANT_LEN: usize = 21;
const HEARD_LEN: usize = 9;
/// Bytes of one wait.
const WAIT_LEN: usize = 6;
const CERTIFICATE_LEN: usize = 8;
/// Echoes shown of one message; the rest is counted.
const ECHOES_SHOWN: usize = 4;

const KINDS: [&str; 11] = [
    "advert", "answer", "claim", "decline", "let-go", "offer", "prepare", "probe", "ready",
    "released", "request",
];
const MARKS: [&str; 3] = ["standby", "active", "offering"];
const CONFIGURED: [&str; 4] = ["active", "any", "off", "standby"];
const ROLES: [&str; 8] = [
    "active",
    "demoting",
    "failed",
    "off",
    "pacified",
    "promoting",
    "standby",
    "starting",
];
const FLAGS: [&str; 11] = [
    "witnessed",
    "uninterrupted",
    "fence whole",
    "reception",
    "eligible",
    "maintenance",
    "preferred",
    "commanded",
    "hears an active",
    "asks for a grant",
    "granted",
];

/// What a frame says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// One word: `advert`, `claim`, `arp`, `data`, …
    pub(crate) kind: &'static str,
    /// One line for people.
    pub(crate) text: String,
    /// Names and values.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// What of it others reckon with, if it is a message of ours.
    pub(crate) ours: Option<Ours>,
}

/// What a message of ours says of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ours {
    /// The sender's number.
    pub(crate) sender: u8,
    /// What the lease guard reads: 1 standby, 2 active, 3 offering.
    pub(crate) mark: u8,
    /// The lease that it speaks of, in nanoseconds.
    pub(crate) lease: u64,
}

/// Reads a frame.
pub(crate) fn decode(bytes: &[u8]) -> Decoded {
    let Some(frame) = Frame::parse(bytes) else {
        return plain("other", "cut short".to_owned());
    };
    let mut decoded = match frame.ethertype {
        ethertype::STEADFAST => ours(frame.payload),
        ethertype::ARP => address_question(frame.payload),
        ethertype::IPV4 => match carriage::look(bytes, carriage::UDP_PORT) {
            Some(look) => in_datagram(look.form, look.payload),
            None => ipv4(frame.payload),
        },
        ethertype::IPV6 => ipv6(frame.payload),
        other => plain("other", format!("EtherType {other:#06x}")),
    };
    let addresses = format!("{} to {}", mac(&frame.source.0), mac(&frame.destination.0));
    decoded.fields.push(("Ethernet", addresses));
    decoded
}

fn plain(kind: &'static str, text: String) -> Decoded {
    Decoded {
        kind,
        text,
        ..Decoded::default()
    }
}

/// A message of ours in a datagram (D4).
fn in_datagram(form: Form, payload: &[u8]) -> Decoded {
    let mut decoded = ours(payload);
    decoded.fields.push(("form", form.word().to_owned()));
    decoded
}

/// A message of ours; see the head of this file for the layout.
fn ours(payload: &[u8]) -> Decoded {
    let broken = |what: &str| plain("broken", format!("our EtherType, {what}"));
    if payload.first() != Some(&1) || payload.len() < FIXED_LEN + TAG_LEN {
        return broken("but no message of version 1");
    }
    let word = |words: &[&'static str], at: usize| {
        let number = usize::from(payload[at]);
        number.checked_sub(1).and_then(|at| words.get(at).copied())
    };
    let (Some(kind), Some(role)) = (word(&KINDS, 2), word(&ROLES, 33)) else {
        return broken("of a kind or role that is not known");
    };
    let sender = payload[27];
    let (epoch, counter) = (number(payload, 50, 8), number(payload, 42, 8));
    let lease = number(payload, 74, 4);
    let mark = word(&MARKS, 1).unwrap_or("?");
    let text = format!(
        "{} of node {sender}, {role}, epoch {epoch}",
        kind.to_uppercase()
    );
    let mut fields = vec![
        ("Kind", kind.to_uppercase()),
        ("Sender", format!("node {sender}")),
        (
            "Role",
            format!(
                "{role}, configured {}",
                word(&CONFIGURED, 32).unwrap_or("?")
            ),
        ),
        ("Lease mark", format!("{mark}; lease {}", micros(lease))),
        ("Epoch", epoch.to_string()),
        ("Counter", format!("{counter} on path {}", payload[28])),
        (
            "Rank",
            format!("health class {}, priority {}", payload[80], payload[29]),
        ),
        ("Flags", flags(number(payload, 78, 2))),
    ];
    let (handover, down) = (number(payload, 58, 8), number(payload, 66, 4));
    if handover != 0 {
        fields.push(("Hand-over", format!("{handover:#x}")));
    }
    if down != 0 {
        fields.push(("Ports down", format!("{down:#b}")));
    }
    fields.push(("Interval", micros(number(payload, 70, 4))));
    fields.push(("Life", format!("boot {:#018x}", number(payload, 34, 8))));
    fields.extend(lists(payload));
    let ours = Some(Ours {
        sender,
        mark: payload[1],
        lease: lease.saturating_mul(1000),
    });
    Decoded {
        kind,
        text,
        fields,
        ours,
    }
}

/// What the sender heard from others.
fn lists(payload: &[u8]) -> Vec<(&'static str, String)> {
    let total = number(payload, 4, 2) as usize;
    let fixed = number(payload, 30, 2) as usize;
    let stop = total.saturating_sub(TAG_LEN);
    let Some(mut rest) = payload.get(fixed..stop).filter(|_| fixed >= FIXED_LEN) else {
        return vec![("Lists", "its lengths contradict each other".to_owned())];
    };
    let (mut echoes, mut hidden) = (Vec::new(), 0);
    while let Some((head, behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let Some(list) = behind.get(..length) else {
            echoes.push(("Lists", "one contradicts its length".to_owned()));
            break;
        };
        if head[0] == 3 && length >= GRANT_LEN {
            echoes.push(("Grants", grant(list)));
        }
        if head[0] == 5 && length >= CERTIFICATE_LEN {
            let mark = number(list, 0, 8);
            echoes.push(("Certificate", format!("SHA-256 begins with {mark:016X}")));
        }
        if head[0] == 4 {
            echoes.push(("Waited", waits(list)));
        }
        if head[0] == 2 && length >= ECHO_LEN {
            if echoes.len() < ECHOES_SHOWN {
                echoes.push(("Heard", echo(list)));
            } else {
                hidden += 1;
            }
        }
        rest = &behind[length..];
    }
    if hidden > 0 {
        echoes.push(("Heard", format!("and {hidden} more nodes")));
    }
    echoes
}

/// Whom the witness lets serve (D14).
fn grant(list: &[u8]) -> String {
    let (node, counter) = (list[0], number(list, 9, 8));
    let term = micros(number(list, 17, 4));
    format!("node {node}, for {term} from its message {counter}")
}

/// How long ago peers beyond a router were heard (D7).
fn waits(list: &[u8]) -> String {
    let wait = |it: &[u8]| {
        let time = micros(number(it, 2, 4));
        format!("{time} since node {} on path {}", it[0], it[1])
    };
    let all: Vec<_> = list.chunks_exact(WAIT_LEN).map(wait).collect();
    all.join(", ")
}

fn echo(list: &[u8]) -> String {
    let node = list[0];
    let heard = list[ECHO_LEN..].chunks_exact(HEARD_LEN);
    let heard: Vec<_> = heard
        .map(|it| format!("{} on path {}", number(it, 1, 8), it[0]))
        .collect();
    if heard.is_empty() {
        return format!("nothing from node {node}");
    }
    format!("node {node}: newest counters {}", heard.join(", "))
}

fn address_question(payload: &[u8]) -> Decoded {
    let Some(it) = Arp::parse(payload) else {
        return plain("arp", "ARP, not understood".to_owned());
    };
    let text = match it.operation {
        arp::Operation::Request if it.sender_ip == it.target_ip => {
            format!("ARP announces {}", it.sender_ip)
        }
        arp::Operation::Request => format!("ARP who has {}?", it.target_ip),
        arp::Operation::Reply => {
            format!("ARP {} is at {}", it.sender_ip, mac(&it.sender_mac.0))
        }
    };
    let fields = vec![
        (
            "Sender",
            format!("{} at {}", it.sender_ip, mac(&it.sender_mac.0)),
        ),
        (
            "Target",
            format!("{} at {}", it.target_ip, mac(&it.target_mac.0)),
        ),
    ];
    let announces = it.sender_ip == it.target_ip;
    let kind = if announces { "announce" } else { "arp" };
    Decoded {
        kind,
        text,
        fields,
        ours: None,
    }
}

fn ipv4(payload: &[u8]) -> Decoded {
    let Some((head, _)) = payload.split_first_chunk::<20>() else {
        return plain("data", "IPv4, cut short".to_owned());
    };
    let address = |at: usize| Ipv4Addr::new(head[at], head[at + 1], head[at + 2], head[at + 3]);
    let (from, to) = (address(12), address(16));
    let (kind, name) = match head[9] {
        1 => ("data", "ICMP".to_owned()),
        6 => ("data", "TCP".to_owned()),
        17 => ("data", "UDP".to_owned()),
        112 => ("foreign", "VRRP or CARP".to_owned()),
        other => ("data", format!("IPv4 protocol {other}")),
    };
    plain(kind, format!("{name} {from} to {to}"))
}

fn ipv6(payload: &[u8]) -> Decoded {
    let Some((head, rest)) = payload.split_first_chunk::<40>() else {
        return plain("data", "IPv6, cut short".to_owned());
    };
    let address = |at: usize| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&head[at..at + 16]);
        Ipv6Addr::from(bytes)
    };
    let (from, to) = (address(8), address(24));
    let (kind, name) = match (head[6], rest.first()) {
        (58, Some(135)) => ("arp", "neighbour solicitation"),
        (58, Some(136)) => ("announce", "neighbour advertisement"),
        (58, Some(128 | 129)) => ("data", "ICMPv6 echo"),
        (58, _) => ("other", "ICMPv6"),
        (0, _) => ("other", "IPv6 hop-by-hop (multicast listener report)"),
        (17, _) => ("data", "UDP"),
        _ => ("data", "IPv6"),
    };
    plain(kind, format!("{name} {from} to {to}"))
}

/// A number of up to eight bytes, big endian. The caller has checked that it is there.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let bytes = bytes.get(at..at + length).unwrap_or_default();
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn micros(micros: u64) -> String {
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}

fn flags(bits: u64) -> String {
    let set = FLAGS
        .iter()
        .enumerate()
        .filter(|(at, _)| bits >> at & 1 == 1);
    let words: Vec<_> = set.map(|(_, word)| *word).collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

fn mac(bytes: &[u8; 6]) -> String {
    let [a, b, c, d, e, f] = bytes;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use steadfast_core::role::{ConfiguredRole, EffectiveRole};
    use steadfast_core::wire::advert::{
        Advert, Echo, Flags, GROUP_MAC, Grant, HealthClass, Heard, Kind, RoleMark, Wait,
    };
    use steadfast_core::wire::auth::{Key, KeyRing, Phase, Secret};
    use steadfast_core::{BootId, CertificateMark, ClusterId, Epoch, MacAddr, NodeId, PortId};

    /// A claim as the core itself encodes and signs it.
    fn claim() -> Vec<u8> {
        let secret = Secret::new(b"a secret that is long enough for this").unwrap();
        let keys = vec![Key {
            id: 1,
            secret,
            phase: Phase::Enforce,
        }];
        let cluster = ClusterId([7; 16]);
        let ring = KeyRing::new(cluster, NodeId(2), &[NodeId(1)], keys).unwrap();
        let heard = vec![Heard {
            path: PortId(1),
            counter: 41,
        }];
        let advert = Advert {
            kind: Kind::Claim,
            mark: RoleMark::Active,
            active_groups: 1,
            cluster,
            virtual_router: 9,
            sender: NodeId(2),
            path: PortId(1),
            boot: BootId(0x55),
            counter: 1234,
            configured: ConfiguredRole::Any,
            effective: EffectiveRole::Active,
            health: HealthClass(16),
            priority: 100,
            flags: Flags(5),
            epoch: Epoch(3),
            handover: 0xabc,
            ports_down: 2,
            interval: Duration::from_millis(100),
            lease: Duration::from_millis(300),
            config_digest: 0,
            facts_digest: 0,
            interfaces_digest: 0,
            version: 1,
            macs: vec![(PortId(0), MacAddr([2; 6]))],
            echoes: vec![Echo {
                node: NodeId(1),
                heard,
                ..Echo::default()
            }],
            grant: Some(Grant {
                node: NodeId(1),
                boot: BootId(9),
                counter: 41,
                term: Duration::from_millis(700),
            }),
            waits: vec![Wait {
                node: NodeId(1),
                path: PortId(2),
                time: Duration::from_micros(41_300),
            }],
            certificate: Some(CertificateMark(0x6171_a91d_dfc5_ee45)),
        };
        let mut frame = Vec::new();
        advert.encode(GROUP_MAC, MacAddr([2; 6]), &ring, &mut frame);
        frame
    }

    /// What the core wrote is read back without its key, field by field.
    #[test]
    fn decode_reads_a_claim_of_the_core_without_its_key() {
        let read = decode(&claim());
        assert_eq!(
            (read.kind, read.text.as_str()),
            ("claim", "CLAIM of node 2, active, epoch 3")
        );
        assert_eq!(
            read.ours,
            Some(Ours {
                sender: 2,
                mark: 2,
                lease: 300_000_000
            })
        );
        let fields: Vec<_> = read
            .fields
            .iter()
            .map(|(name, it)| format!("{name}: {it}"))
            .collect();
        insta::assert_snapshot!(fields.join("\n"), @r"
        Kind: CLAIM
        Sender: node 2
        Role: active, configured any
        Lease mark: active; lease 300.000 ms
        Epoch: 3
        Counter: 1234 on path 1
        Rank: health class 16, priority 100
        Flags: witnessed, fence whole
        Hand-over: 0xabc
        Ports down: 0b10
        Interval: 100.000 ms
        Life: boot 0x0000000000000055
        Heard: node 1: newest counters 41 on path 1
        Grants: node 1, for 700.000 ms from its message 41
        Waited: 41.300 ms since node 1 on path 2
        Certificate: SHA-256 begins with 6171A91DDFC5EE45
        Ethernet: 02:02:02:02:02:02 to 03:53:46:00:00:01
        ");
    }

    /// Whatever is cut off or flipped is told and never panics.
    #[test]
    fn decode_damaged_frames_never_panics() {
        let whole = claim();
        for length in 0..whole.len() {
            let _ = decode(&whole[..length]);
        }
        for at in 0..whole.len() {
            let mut frame = whole.clone();
            frame[at] = !frame[at];
            let _ = decode(&frame);
        }
        assert_eq!(decode(&whole[..60]).kind, "broken");
        assert_eq!(decode(&[0; 3]).kind, "other");
    }
}
