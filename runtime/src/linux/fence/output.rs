//! The fence's rules where the kernel has no netdev egress (before 5.16): what ARP and IP may send.
//!
//! ```text
//! arp, output -500        @live? pass  ARP from a virtual address or MAC, or by its device: drop
//! ip, postrouting +500    RA, own or ending: drop  @live? pass  RA: drop
//!                         NA for virtual, by a virtual MAC's device: drop
//!                         @tail? pass  from virtual address: drop
//! ```
//!
//! These hooks see every packet that the kernel's ARP and IP send, whatever the device, so each
//! rule asks for a served port, or the device of its virtual MAC. IP is judged last, once addresses
//! have been translated. Transit needs no rule: it was dropped as it came in. A program whose
//! packet is dropped is told "operation not permitted".
//!
//! Limit: frames of packet sockets and bridged ones pass these hooks by. The daemon judges its own
//! ([`crate::linux::lease`]); what else writes whole frames with a virtual address is not fenced.

use super::nftables::{Base, Hook, Meta, Set, Word};
use super::rules::{
    ADVERTISE, Chain, ICMPV6, IPV4, IPV6, LIVE, PORTS, ROUTER_ADVERTISE, Rule, TAIL, VIP4, VIP6,
    VMAC, of_protocol, pass, plain, refuse, rule, timed,
};
use super::{FenceSpec, ServedPort};
use crate::linux::macvlan;

/// The sets of ARP's table.
pub(super) const ARP_SETS: [Set; 5] = [
    timed(LIVE),
    timed(TAIL),
    plain(VIP4, 7, 4),
    plain(VMAC, 9, 6),
    plain(PORTS, NAME_TYPE, NAME_LEN as u32),
];
/// The sets of IP's table.
pub(super) const IP_SETS: [Set; 5] = [
    timed(LIVE),
    timed(TAIL),
    plain(VIP4, 7, 4),
    plain(VIP6, 8, 16),
    plain(PORTS, NAME_TYPE, NAME_LEN as u32),
];

/// Behind the translation of sources, which is at 100.
const LAST: i32 = 500;
const FIRST: i32 = -500;
/// `IFNAMSIZ`: names are compared with their zeros.
const NAME_LEN: usize = 16;
/// Interface names, as programs print them.
const NAME_TYPE: u32 = 41;

/// The chain of ARP's table.
pub(super) fn arp() -> Vec<Chain> {
    // Behind hardware and protocol types, lengths and operation: MAC, address.
    let sender = |offset, len, set| {
        let load = Word::Payload(Base::Network, offset, len);
        [by_port(), vec![load, Word::IsIn(set)]].concat()
    };
    let rules = vec![
        rule(ARP, "lease", &[leased(LIVE), pass()]),
        rule(ARP, "out: from virtual", &[sender(14, 4, VIP4), refuse()]),
        rule(
            ARP,
            "out: from virtual MAC",
            &[sender(8, 6, VMAC), refuse()],
        ),
        rule(ARP, "out: by a virtual MAC", &[by_station(), refuse()]),
    ];
    vec![chain("out", Hook::ArpOutput, FIRST, rules)]
}

/// The chain of IP's table.
pub(super) fn ip(spec: &FenceSpec) -> Vec<Chain> {
    let advertise = vec![
        Word::Meta(Meta::L4Protocol),
        Word::Is(vec![ICMPV6]),
        Word::Payload(Base::Transport, 0, 1),
        Word::Is(vec![ADVERTISE]),
        Word::Payload(Base::Transport, 8, 16),
        Word::IsIn(VIP6),
    ];
    let from = |protocol, offset, len, set| {
        let load = Word::Payload(Base::Network, offset, len);
        [
            by_port(),
            of_protocol(protocol),
            vec![load, Word::IsIn(set)],
        ]
        .concat()
    };
    let (kept, unleased): (Vec<_>, Vec<_>) = spec.served.iter().map(routers_kept_back).unzip();
    let mut rules: Vec<_> = kept.into_iter().flatten().collect();
    rules.push(rule(IP, "lease", &[leased(LIVE), pass()]));
    rules.extend(unleased.into_iter().flatten());
    rules.extend([
        rule(
            IP,
            "out: NA for virtual",
            &[by_port(), of_protocol(IPV6), advertise, refuse()],
        ),
        rule(IP, "out: by a virtual MAC", &[by_station(), refuse()]),
        rule(IP, "tail", &[leased(TAIL), pass()]),
        rule(
            IP,
            "out: IPv4 from virtual",
            &[from(IPV4, 12, 4, VIP4), refuse()],
        ),
        rule(
            IP,
            "out: IPv6 from virtual",
            &[from(IPV6, 8, 16, VIP6), refuse()],
        ),
    ]);
    vec![chain("out", Hook::Postrouting, LAST, rules)]
}

/// Which router advertisements never leave a port, and which do not without a lease; as
/// [`super::rules`] has it.
fn routers_kept_back(port: &ServedPort) -> (Vec<Rule>, Vec<Rule>) {
    let source = |word| vec![Word::Payload(Base::Network, 8, 16), word];
    let lifetime = |word| vec![Word::Payload(Base::Transport, 6, 2), word];
    let (lasts, ends) = (
        || lifetime(Word::IsNot(vec![0, 0])),
        || lifetime(Word::Is(vec![0, 0])),
    );
    let (mut kept, mut unleased) = (Vec::new(), Vec::new());
    for by in ways_out(port) {
        let advert = || {
            let kind = vec![
                Word::Meta(Meta::L4Protocol),
                Word::Is(vec![ICMPV6]),
                Word::Payload(Base::Transport, 0, 1),
                Word::Is(vec![ROUTER_ADVERTISE]),
            ];
            [by.clone(), of_protocol(IPV6), kind].concat()
        };
        let named = |name: &str, words: [Vec<Word>; 4]| rule(&port.name, name, &words);
        if port.moves_router() {
            let own = [advert(), lasts(), source(Word::IsNotIn(VIP6)), refuse()];
            let end = [advert(), ends(), source(Word::IsIn(VIP6)), refuse()];
            kept.push(named("out: RA, own address", own));
            kept.push(named("out: RA, end of the role's", end));
        }
        if port.speaks_ipv6() {
            unleased.push(named("out: RA", [advert(), lasts(), refuse(), Vec::new()]));
        }
    }
    (kept, unleased)
}

/// The devices by which something leaves a port: itself, and that of its virtual MAC.
fn ways_out(port: &ServedPort) -> Vec<Vec<Word>> {
    let name = padded(&port.name);
    let mut ways = vec![vec![Word::Meta(Meta::OutName), Word::Is(name)]];
    if !port.virtual_macs.is_empty() {
        ways.push(by_station());
    }
    ways
}

/// By a device of a virtual MAC: its name begins so.
fn by_station() -> Vec<Word> {
    let prefix = macvlan::PREFIX.as_bytes().to_vec();
    vec![Word::Meta(Meta::OutName), Word::Is(prefix)]
}

/// By a served port.
fn by_port() -> Vec<Word> {
    vec![Word::Meta(Meta::OutName), Word::IsIn(PORTS)]
}

/// A name as it is compared.
pub(super) fn padded(name: &str) -> Vec<u8> {
    let mut padded = name.as_bytes().to_vec();
    padded.resize(NAME_LEN, 0);
    padded
}

fn leased(set: &'static str) -> Vec<Word> {
    vec![Word::Meta(Meta::OutType), Word::IsIn(set)]
}

fn chain(name: &str, hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain {
        name: name.to_owned(),
        device: String::new(),
        hook,
        priority,
        rules,
    }
}

const ARP: &str = "ARP";
const IP: &str = "IP";
