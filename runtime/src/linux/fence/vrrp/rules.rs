//! What each packet of a virtual router meets on its link, on the way in and on the way out.
//!
//! Limit: an address that two routers of one link share is fenced by the lease of each.

use std::collections::BTreeSet;
use std::net::IpAddr;

use steadfast_core::MacAddr;
use steadfast_core::wire::vrrp::{PROTOCOL, RESIGNS, macs};

use super::super::nftables::{Base, Hook, Meta, Word};
use super::super::rules::{
    ADVERTISE, ARP, Chain, ICMPV6, IPV4, IPV6, LIVE, Rule, SOLICIT, millis, of_protocol, of_type,
    pass, refuse, rule, vlans,
};
use super::FencedRouter;

/// Three chains for each link that has routers.
pub(super) fn chains(routers: &[FencedRouter]) -> Vec<Chain> {
    let links: BTreeSet<&str> = routers.iter().map(|it| it.interface.as_str()).collect();
    let mut chains = Vec::new();
    for link in links {
        let there = || (0..).zip(routers).filter(|(_, it)| it.interface == link);
        let rules = |of: fn(u32, &FencedRouter) -> Vec<Rule>| -> Vec<Rule> {
            there()
                .flat_map(|(place, router)| of(place, router))
                .collect()
        };
        let chain = |way: &str, hook, priority, rules| Chain {
            name: format!("{link}_{way}"),
            device: link.to_owned(),
            hook,
            priority,
            rules,
        };
        let behind = |rest: Vec<Rule>| vlans(link).chain(rest).collect();
        chains.push(chain("guard", Hook::Egress, -510, rules(guard)));
        let taken = [rules(asked), discovered(routers, link), rules(to)].concat();
        chains.push(chain("in", Hook::Ingress, -500, behind(taken)));
        let said = [words_pass(link), rules(fence_out)].concat();
        chains.push(chain("out", Hook::Egress, -500, behind(said)));
    }
    chains
}

fn guard(place: u32, router: &FencedRouter) -> Vec<Rule> {
    // Where the message begins, behind Ethernet and IP without options.
    let (ethertype, protocol_at, message_at) = if router.ipv6 {
        (IPV6, 14 + 6, 14 + 40)
    } else {
        (IPV4, 14 + 9, 14 + 20)
    };
    let byte = |at, value: u8| vec![Word::Payload(Base::Link, at, 1), Word::Is(vec![value])];
    let ours = || {
        let protocol = byte(protocol_at, PROTOCOL);
        let virtual_id = byte(message_at + 1, router.virtual_id);
        [of_type(ethertype), protocol, virtual_id].concat()
    };
    let end = vec![Word::Number(place), Word::Delete(LIVE)];
    let refresh = vec![
        Word::Number(place),
        Word::IsIn(LIVE),
        Word::Update(LIVE, millis(router.lease).max(1)),
    ];
    let name = |what: &str| format!("{} {what}", title(router));
    let link = &router.interface;
    vec![
        rule(
            link,
            &name("resigns"),
            &[ours(), byte(message_at + 2, RESIGNS), end, pass()],
        ),
        rule(link, &name("active, refresh"), &[ours(), refresh, pass()]),
        rule(link, &name("active without lease"), &[ours(), refuse()]),
    ]
}

/// Questions for its addresses.
fn asked(place: u32, router: &FencedRouter) -> Vec<Rule> {
    let rules = router.addresses.iter().map(|address| {
        let words = match address {
            IpAddr::V4(address) => {
                let target = Word::Payload(Base::Network, 24, 4);
                let address = Word::Is(address.octets().to_vec());
                [of_protocol(ARP), vec![target, address]].concat()
            }
            IpAddr::V6(address) => {
                let target = Word::Payload(Base::Transport, 8, 16);
                let address = Word::Is(address.octets().to_vec());
                [discovery(SOLICIT), vec![target, address]].concat()
            }
        };
        fenced(place, router, &format!("in: asked for {address}"), words)
    });
    rules.collect()
}

/// Packets to its addresses and its station. Who accepts none drops them, leased or not.
fn to(place: u32, router: &FencedRouter) -> Vec<Rule> {
    let rules = router.addresses.iter().map(|address| {
        let words = match address {
            IpAddr::V4(address) => {
                let to = Word::Payload(Base::Network, 16, 4);
                [
                    of_protocol(IPV4),
                    vec![to, Word::Is(address.octets().to_vec())],
                ]
                .concat()
            }
            IpAddr::V6(address) => {
                let to = Word::Payload(Base::Network, 24, 16);
                [
                    of_protocol(IPV6),
                    vec![to, Word::Is(address.octets().to_vec())],
                ]
                .concat()
            }
        };
        let what = format!("in: to {address}");
        if router.accept {
            fenced(place, router, &what, words)
        } else {
            let name = format!("{} {what}", title(router));
            rule(&router.interface, &name, &[words, refuse()])
        }
    });
    rules
        .chain(of_station(place, router, "in: to", 0))
        .collect()
}

/// A message of neighbour discovery.
fn discovery(kind: u8) -> Vec<Word> {
    let words = vec![
        Word::Meta(Meta::L4Protocol),
        Word::Is(vec![ICMPV6]),
        Word::Payload(Base::Transport, 0, 1),
        Word::Is(vec![kind]),
    ];
    [of_protocol(IPV6), words].concat()
}

/// Where no packets are accepted neighbour discovery still is (RFC 9568 §6.1, `Accept_Mode`).
fn discovered(routers: &[FencedRouter], link: &str) -> Vec<Rule> {
    let strict = |it: &FencedRouter| it.interface == link && it.ipv6 && !it.accept;
    if !routers.iter().any(strict) {
        return Vec::new();
    }
    [SOLICIT, ADVERTISE]
        .map(|kind| rule(link, "in: neighbour discovery", &[discovery(kind), pass()]))
        .into()
}

/// What has the router's own station there, counted from the frame's begin.
fn of_station(place: u32, router: &FencedRouter, what: &str, at: u32) -> Option<Rule> {
    let (MacAddr(mac), _) = macs(router.virtual_id, router.ipv6);
    let words = vec![Word::Payload(Base::Link, at, 6), Word::Is(mac.to_vec())];
    let what = format!("{what} the virtual MAC");
    router
        .virtual_mac
        .then(|| fenced(place, router, &what, words))
}

/// VRRP's own packets were judged by the guard: a resignation leaves without a lease.
fn words_pass(link: &str) -> Vec<Rule> {
    let of = |ethertype, at| {
        let protocol = vec![Word::Payload(Base::Link, at, 1), Word::Is(vec![PROTOCOL])];
        rule(link, "out: VRRP", &[of_type(ethertype), protocol, pass()])
    };
    vec![of(IPV4, 14 + 9), of(IPV6, 14 + 6)]
}

fn fence_out(place: u32, router: &FencedRouter) -> Vec<Rule> {
    let rules = router.addresses.iter().flat_map(|address| {
        let (told, from) = match address {
            IpAddr::V4(address) => {
                let address = address.octets().to_vec();
                let at = |offset| {
                    let load = Word::Payload(Base::Link, offset, 4);
                    vec![load, Word::Is(address.clone())]
                };
                (
                    [of_type(ARP), at(28)].concat(),
                    [of_type(IPV4), at(26)].concat(),
                )
            }
            IpAddr::V6(address) => {
                let address = address.octets().to_vec();
                let advertise = vec![
                    Word::Payload(Base::Link, 20, 1),
                    Word::Is(vec![ICMPV6]),
                    Word::Payload(Base::Link, 54, 1),
                    Word::Is(vec![ADVERTISE]),
                    Word::Payload(Base::Link, 62, 16),
                    Word::Is(address.clone()),
                ];
                let from = vec![Word::Payload(Base::Link, 22, 16), Word::Is(address)];
                (
                    [of_type(IPV6), advertise].concat(),
                    [of_type(IPV6), from].concat(),
                )
            }
        };
        [("tells of", told), ("from", from)]
            .map(|(what, words)| fenced(place, router, &format!("out: {what} {address}"), words))
    });
    rules
        .chain(of_station(place, router, "out: from", 6))
        .collect()
}

/// What is dropped while the router has no lease.
fn fenced(place: u32, router: &FencedRouter, what: &str, words: Vec<Word>) -> Rule {
    let unleased = vec![Word::Number(place), Word::IsNotIn(LIVE)];
    let name = format!("{} {what}", title(router));
    rule(&router.interface, &name, &[words, unleased, refuse()])
}

fn title(router: &FencedRouter) -> String {
    let family = if router.ipv6 { 6 } else { 4 };
    format!("vrrp {} v{family}", router.virtual_id)
}
