//! The fence of virtual routers: a table that permits each one's addresses for a time (D9, D19).
//!
//! ```text
//! guard, egress -510   resignation: end the lease, pass
//!                      advertisement: in @live? refresh, pass; else drop
//! fence, ingress -500  ARP/NS for, or packet to, an address of a router not in @live: drop
//! fence, egress -500   ARP/NA from, or packet from, such an address: drop
//!                      both: to and from its virtual MAC, if it has one: drop
//!                      packet to an address of a router that accepts none, leased or not: drop
//! ```
//! It is another table than a cluster's, with a lease for each router: one element of `live`, keyed
//! by the router's place. Another router takes over when it has heard nothing for three intervals
//! and a skew; a lease lasts three intervals from the last advertisement that left, so a router
//! that hangs or dies owns nothing any more by then.
//!
//! No keeper holds this table. Where tables may outlive their owner (Linux 6.9) it does, and a
//! foreign flush passes it by; on older kernels nobody owns it, it outlives the daemon all the
//! same, and what a foreign flush removes is built again at the next check.
//!
//! The limit: a router's own addresses (priority 255) are not fenced, and packets that are routed
//! through this machine's own MAC are not either: as a router it may carry them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use log::warn;
use steadfast_core::MacAddr;
use steadfast_core::wire::vrrp::{PROTOCOL, RESIGNS, macs};

use super::super::netlink::{Ack, Batch, Netlink};
use super::build::{can_refresh, commit, lacks_egress, without};
use super::nftables::{
    self, Base, Hook, Meta, SET_DYNAMIC, SET_TIMEOUT, Set, TABLE_OWNER, TABLE_PERSIST, Word,
};
use super::picture::{self, Picture};
use super::rules::{
    ADVERTISE, ARP, Chain, ICMPV6, IPV4, IPV6, LIVE, Rule, SOLICIT, millis, of_protocol, of_type,
    pass, refuse, rule, vlans,
};
use super::{FenceError, FenceSupport, Health, NETFILTER};

/// The table's name, in the netdev family.
pub const ROUTERS_TABLE: &str = "steadfast-vrrp";
/// What a kernel lacks is left out, one thing at a time.
const TRIES_MAX: usize = 4;

/// Least milliseconds for a first word: a thread is to wake and to speak.
const FIRST_MIN: u64 = 30;

/// Older kernels may count what the guard removed as if it were there: room for many hand-overs.
const LEASES_SIZE: u32 = 65_535;

const LEASES: Set = Set {
    name: LIVE,
    flags: SET_TIMEOUT | SET_DYNAMIC,
    key_type: 4,
    key_len: 4,
    size: LEASES_SIZE,
};

/// A virtual router, as far as the fence knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FencedRouter {
    /// The link's name.
    pub interface: String,
    /// Its number.
    pub virtual_id: u8,
    /// Over IPv6.
    pub ipv6: bool,
    /// It has a station of its own, the virtual MAC.
    pub virtual_mac: bool,
    /// Packets to its addresses are taken in while it serves.
    pub accept: bool,
    /// Its addresses, without those that are this machine's own.
    pub addresses: Vec<IpAddr>,
    /// How long it may serve from the last advertisement that left. Whole milliseconds count.
    pub lease: Duration,
}

/// A fence that stands. Dropping the value leaves it standing.
#[derive(Debug)]
pub struct RouterFence {
    netlink: Netlink,
    routers: Vec<FencedRouter>,
    support: FenceSupport,
    built: Picture,
}

impl RouterFence {
    /// Builds the fence, or replaces that of an earlier life, in one transaction. No router has a
    /// lease: none serves until [`Self::arm`].
    ///
    /// # Errors
    /// Not allowed, not supported, a link is missing, or another daemon owns the table.
    pub fn install(routers: Vec<FencedRouter>) -> Result<Self, FenceError> {
        let mut netlink = Netlink::open(NETFILTER).map_err(FenceError::socket)?;
        let refresh = can_refresh(&mut netlink)?;
        let (support, built) = build(&mut netlink, &routers)?;
        let support = FenceSupport { refresh, ..support };
        Ok(Self {
            netlink,
            routers,
            support,
            built,
        })
    }

    /// In words, how it is made here.
    pub fn describe(&self) -> &'static str {
        if self.support.persist {
            "nf_tables lease for each router, refreshed by its advertisement as it leaves"
        } else {
            "nf_tables lease for each router, refreshed by its advertisement as it leaves; a \
             foreign flush ends every lease, and removes it for up to a second (no tables that \
             outlive their owner)"
        }
    }

    /// Begins a fresh lease of the router at this place: for as long as its first word may take.
    /// Each word makes it last the whole time.
    ///
    /// # Errors
    /// The fence is damaged, or the kernel refuses.
    pub fn arm(&mut self, router: usize) -> Result<(), FenceError> {
        let Some(lease) = self.routers.get(router).map(first_lease) else {
            return Ok(());
        };
        let key = key(router);
        let mut batch = nftables::begin();
        if !self.support.refresh {
            // Adding first makes sure that there is something to delete.
            nftables::timed_element(&mut batch, (ROUTERS_TABLE, LIVE), &key, (lease, lease));
            nftables::delete_element(&mut batch, (ROUTERS_TABLE, LIVE), &key);
        }
        nftables::timed_element(&mut batch, (ROUTERS_TABLE, LIVE), &key, (lease, lease));
        commit(&mut self.netlink, batch)
    }

    /// Ends the lease of the router at this place, if it has one.
    ///
    /// # Errors
    /// The fence is damaged, or the kernel refuses.
    pub fn close(&mut self, router: usize) -> Result<(), FenceError> {
        let key = key(router);
        let mut batch = nftables::begin();
        nftables::timed_element(&mut batch, (ROUTERS_TABLE, LIVE), &key, (1, 1));
        nftables::delete_element(&mut batch, (ROUTERS_TABLE, LIVE), &key);
        commit(&mut self.netlink, batch)
    }

    /// How long the lease of the router at this place lasts, unless refreshed; none if it has none.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn lease_left(&mut self, router: usize) -> Result<Option<Duration>, FenceError> {
        let left = picture::left(&mut self.netlink, (ROUTERS_TABLE, LIVE), &key(router));
        let left = left.map_err(FenceError::socket)?;
        Ok(left.map(Duration::from_millis))
    }

    /// Compares what stands with what was built, and builds it again if it differs; then no router
    /// has a lease.
    pub fn check(&mut self) -> Health {
        let damage = match Picture::take(&mut self.netlink, ROUTERS_TABLE, &[]) {
            Ok(Some(found)) => found.damage(&self.built),
            Ok(None) => Some("table gone"),
            // Building it anew would end every lease, on no evidence.
            Err(why) => {
                warn!("failed to look at the fence: {why}");
                None
            }
        };
        let Some(damage) = damage else {
            return Health::Whole;
        };
        match build(&mut self.netlink, &self.routers) {
            Ok((support, built)) => {
                let refresh = self.support.refresh;
                self.support = FenceSupport { refresh, ..support };
                self.built = built;
                Health::Repaired(damage)
            }
            Err(why) => Health::Missing(why),
        }
    }

    /// Removes a table that no daemon holds any more. Whether there was one.
    ///
    /// # Errors
    /// Not allowed, or a living daemon owns it.
    pub fn remove() -> Result<bool, FenceError> {
        let mut netlink = Netlink::open(NETFILTER).map_err(FenceError::socket)?;
        let found = picture::table(&mut netlink, ROUTERS_TABLE).map_err(FenceError::socket)?;
        let batch = removal(&mut netlink)?;
        commit(&mut netlink, batch)?;
        Ok(found.is_some())
    }

    /// Removes the table: nothing is fenced any more.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn unfence(mut self) -> Result<(), FenceError> {
        let batch = removal(&mut self.netlink)?;
        commit(&mut self.netlink, batch)
    }
}

fn build(
    netlink: &mut Netlink,
    routers: &[FencedRouter],
) -> Result<(FenceSupport, Picture), FenceError> {
    let mut support = FenceSupport {
        egress: true,
        fib: false,
        owner: true,
        persist: true,
        refresh: false,
    };
    let chains = chains(routers);
    for _ in 0..TRIES_MAX {
        let mut batch = removal(netlink)?;
        // One that does not outlive its owner would let a killed daemon's addresses go.
        let flags = if support.persist {
            TABLE_OWNER | TABLE_PERSIST
        } else {
            0
        };
        nftables::add_table(&mut batch, ROUTERS_TABLE, flags);
        nftables::add_set(&mut batch, ROUTERS_TABLE, &LEASES, 1);
        for chain in &chains {
            let at = (chain.hook, chain.priority, chain.device.as_str());
            nftables::add_chain(&mut batch, (ROUTERS_TABLE, &chain.name), at);
            for rule in &chain.rules {
                let place = (ROUTERS_TABLE, chain.name.as_str());
                nftables::add_rule(&mut batch, place, &rule.name, &rule.words);
            }
        }
        nftables::end(&mut batch);
        let refused = netlink
            .exchange(batch, Ack::Last)
            .map_err(FenceError::socket)?;
        let Some(refused) = refused.into_iter().next() else {
            break;
        };
        if lacks_egress(&refused) {
            return Err(FenceError::no_egress(refused.what));
        }
        support = without(support, refused)?;
    }
    let sent = chains.iter().map(|chain| chain.rules.len()).sum();
    let found = Picture::take(netlink, ROUTERS_TABLE, &[]).map_err(FenceError::socket)?;
    match found {
        Some(found) if found.rule_count == sent && found.chain_count == chains.len() => {
            Ok((support, found))
        }
        found => {
            let found = found.map_or(0, |it| it.rule_count);
            Err(FenceError::Differs { found, sent })
        }
    }
}

/// A begun transaction that deletes the table, if there is one that may be deleted.
fn removal(netlink: &mut Netlink) -> Result<Batch, FenceError> {
    let mut batch = nftables::begin();
    if let Some(table) = picture::table(netlink, ROUTERS_TABLE).map_err(FenceError::socket)? {
        let own = netlink.port().map_err(FenceError::socket)?;
        if table.flags & TABLE_OWNER != 0 && table.owner != 0 && table.owner != own {
            return Err(FenceError::Owned { owner: table.owner });
        }
        nftables::delete_table(&mut batch, ROUTERS_TABLE);
    }
    Ok(batch)
}

/// How long a router may take for its first word: others wait for three intervals of it.
fn first_lease(router: &FencedRouter) -> u64 {
    let whole = millis(router.lease).max(1);
    (whole / 3).max(FIRST_MIN).min(whole)
}

/// The key of a router's lease: its place.
fn key(router: usize) -> Vec<u8> {
    number(router).to_be_bytes().to_vec()
}

fn number(router: usize) -> u32 {
    u32::try_from(router).unwrap_or(u32::MAX)
}

/// Three chains for each link that has routers.
fn chains(routers: &[FencedRouter]) -> Vec<Chain> {
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

#[cfg(test)]
mod tests;
