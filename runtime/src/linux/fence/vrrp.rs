//! The fence of virtual routers: a table that permits each one's addresses for a time (D9, D19).
//!
//! ```text
//! guard, egress -510   resignation: pass    advertisement: in @live? refresh, pass; else drop
//! fence, ingress -500  ARP/NS for, or packet to, an address of a router not in @live: drop
//! fence, egress -500   ARP/NA from, or packet from, such an address: drop
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

use steadfast_core::wire::vrrp::{PROTOCOL, RESIGNS};

use super::super::netlink::{Ack, Batch, Netlink};
use super::build::{can_refresh, commit, without};
use super::nftables::{
    self, Base, Hook, Meta, SET_DYNAMIC, SET_TIMEOUT, Set, TABLE_OWNER, TABLE_PERSIST, Word,
};
use super::picture::{self, Picture};
use super::rules::{
    ADVERTISE, ARP, Chain, ICMPV6, IPV4, IPV6, LIVE, Rule, SOLICIT, TIMED_SIZE, millis,
    of_protocol, of_type, pass, refuse, rule, vlans,
};
use super::{FenceError, FenceSupport, Health, NETFILTER};

/// The table's name, in the netdev family.
pub const ROUTERS_TABLE: &str = "steadfast-vrrp";
/// What a kernel lacks is left out, one thing at a time.
const TRIES_MAX: usize = 4;

const LEASES: Set = Set {
    name: LIVE,
    flags: SET_TIMEOUT | SET_DYNAMIC,
    key_type: 4,
    key_len: 4,
    size: TIMED_SIZE,
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
             foreign flush removes it for up to a second (no tables that outlive their owner)"
        }
    }

    /// Begins a fresh lease of the router at this place.
    ///
    /// # Errors
    /// The fence is damaged, or the kernel refuses.
    pub fn arm(&mut self, router: usize) -> Result<(), FenceError> {
        let Some(lease) = self.routers.get(router).map(|it| millis(it.lease).max(1)) else {
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
            Err(_) => Some("fence not readable"),
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
        chains.push(chain("in", Hook::Ingress, -500, behind(rules(fence_in))));
        chains.push(chain("out", Hook::Egress, -500, behind(rules(fence_out))));
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
            &[ours(), byte(message_at + 2, RESIGNS), pass()],
        ),
        rule(link, &name("active, refresh"), &[ours(), refresh, pass()]),
        rule(link, &name("active without lease"), &[ours(), refuse()]),
    ]
}

fn fence_in(place: u32, router: &FencedRouter) -> Vec<Rule> {
    let rules = router.addresses.iter().flat_map(|address| {
        let (asked, to) = match address {
            IpAddr::V4(address) => {
                let address = address.octets().to_vec();
                let at = |offset| {
                    let load = Word::Payload(Base::Network, offset, 4);
                    vec![load, Word::Is(address.clone())]
                };
                (
                    [of_protocol(ARP), at(24)].concat(),
                    [of_protocol(IPV4), at(16)].concat(),
                )
            }
            IpAddr::V6(address) => {
                let address = address.octets().to_vec();
                let solicit = vec![
                    Word::Meta(Meta::L4Protocol),
                    Word::Is(vec![ICMPV6]),
                    Word::Payload(Base::Transport, 0, 1),
                    Word::Is(vec![SOLICIT]),
                    Word::Payload(Base::Transport, 8, 16),
                    Word::Is(address.clone()),
                ];
                let to = vec![Word::Payload(Base::Network, 24, 16), Word::Is(address)];
                (
                    [of_protocol(IPV6), solicit].concat(),
                    [of_protocol(IPV6), to].concat(),
                )
            }
        };
        [("asked for", asked), ("to", to)]
            .map(|(what, words)| fenced(place, router, &format!("in: {what} {address}"), words))
    });
    rules.collect()
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
    rules.collect()
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
