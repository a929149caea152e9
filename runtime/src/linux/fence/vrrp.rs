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

use std::net::IpAddr;
use std::time::Duration;

use log::warn;

use super::super::netlink::{Ack, Batch, Netlink};
use super::absent::{self, There};
use super::build::{can_refresh, commit, lacks_device, lacks_egress, without, write_chain};
use super::nftables::{self, SET_DYNAMIC, SET_TIMEOUT, Set, TABLE_OWNER, TABLE_PERSIST};
use super::picture::{self, Picture};
use super::rules::{Chain, LIVE, millis};
use super::{FenceError, FenceSupport, Health, NETFILTER};

mod rules;

use rules::chains;

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
    there: There,
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
        let waits = absent::can_wait(&mut netlink)?;
        let (support, there, built) = build(&mut netlink, &routers, waits)?;
        let support = FenceSupport { refresh, ..support };
        Ok(Self {
            netlink,
            routers,
            support,
            there,
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
        // Building it anew would end every lease, on no evidence.
        let followed = self.follow_devices();
        if let Err(why) = &followed {
            warn!("failed to follow the interfaces: {why}");
        }
        let damage = match followed {
            Err(FenceError::Socket { .. }) => None,
            _ => self.damage(),
        };
        let Some(damage) = damage else {
            return Health::Whole;
        };
        let FenceSupport { refresh, waits, .. } = self.support;
        match build(&mut self.netlink, &self.routers, waits) {
            Ok((support, there, built)) => {
                self.support = FenceSupport { refresh, ..support };
                self.there = there;
                self.built = built;
                Health::Repaired(damage)
            }
            Err(why) => Health::Missing(why),
        }
    }

    fn damage(&mut self) -> Option<&'static str> {
        match Picture::take(&mut self.netlink, ROUTERS_TABLE, &[]) {
            Ok(Some(found)) => found.damage(&self.built),
            Ok(None) => Some("table gone"),
            Err(why) => {
                warn!("failed to look at the fence: {why}");
                None
            }
        }
    }

    /// Interfaces that came are fenced, and those that went are forgotten, beside every lease.
    fn follow_devices(&mut self) -> Result<(), FenceError> {
        let now = There::look(self.support.waits, || chains(&self.routers))?;
        if now == self.there {
            return Ok(());
        }
        let chains = chains(&self.routers);
        let netlink = &mut self.netlink;
        let batch = now.follow(&self.there, (&mut *netlink, ROUTERS_TABLE), &chains)?;
        commit(netlink, batch)?;
        now.warn_of_missing(&chains);
        let built = confirm(netlink, &now.of(chains))?;
        if built.differs_in_chains_alone(&self.built) {
            self.built = built;
        }
        self.there = now;
        Ok(())
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
    waits: bool,
) -> Result<(FenceSupport, There, Picture), FenceError> {
    let mut support = FenceSupport {
        egress: true,
        fib: false,
        owner: true,
        persist: true,
        refresh: false,
        waits,
    };
    let (mut there, mut chains) = (There::default(), Vec::new());
    for _ in 0..TRIES_MAX {
        let mut batch = removal(netlink)?;
        // One that does not outlive its owner would let a killed daemon's addresses go.
        let flags = if support.persist {
            TABLE_OWNER | TABLE_PERSIST
        } else {
            0
        };
        there = There::look(waits, || self::chains(routers))?;
        chains = there.of(self::chains(routers));
        nftables::add_table(&mut batch, ROUTERS_TABLE, flags);
        nftables::add_set(&mut batch, ROUTERS_TABLE, &LEASES, 1);
        for chain in &chains {
            write_chain(&mut batch, ROUTERS_TABLE, chain);
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
        // Its device has gone since: it is looked for again.
        if lacks_device(&refused) && !waits {
            continue;
        }
        support = without(support, refused)?;
    }
    let picture = confirm(netlink, &chains)?;
    there.warn_of_missing(&self::chains(routers));
    Ok((support, there, picture))
}

/// Reads back what was built.
fn confirm(netlink: &mut Netlink, chains: &[Chain]) -> Result<Picture, FenceError> {
    let sent = chains.iter().map(|chain| chain.rules.len()).sum();
    let found = Picture::take(netlink, ROUTERS_TABLE, &[]).map_err(FenceError::socket)?;
    match found {
        Some(found) if found.rule_count == sent && found.chain_count == chains.len() => Ok(found),
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

#[cfg(test)]
mod tests;
