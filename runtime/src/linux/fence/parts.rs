//! What the fence consists of on this kernel: its tables, with their sets, elements and chains.
//!
//! Where packets can be judged as they leave a device (netdev egress, Linux 5.16) one table does it
//! all ([`super::rules`]). Where they cannot, its hooks on the way in stay, and two more tables
//! judge what ARP and IP send ([`super::output`]). A set belongs to its table, so each has a lease
//! and a tail of its own; they are always set together, in one transaction.

use std::collections::BTreeSet;

use super::absent::There;
use super::nftables::{ARP_TABLE, IP_TABLE, Set};
use super::rules::{self, Chain, LIVE, TAIL, TransitBy};
use super::{FenceSpec, FenceSupport, TABLE, output};

/// Every table the fence may have left behind.
pub(super) const ALL: [&str; 3] = [TABLE, ARP_TABLE, IP_TABLE];

/// A table, whole.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) table: &'static str,
    /// Lease and tail first.
    pub(super) sets: &'static [Set],
    pub(super) chains: Vec<Chain>,
    pub(super) members: Vec<(&'static str, BTreeSet<Vec<u8>>)>,
}

impl Part {
    fn new(
        spec: &FenceSpec,
        table: &'static str,
        sets: &'static [Set],
        chains: Vec<Chain>,
    ) -> Self {
        let is_there = |name: &str| sets.iter().any(|set| set.name == name);
        let members = rules::members(spec).into_iter();
        Self {
            table,
            sets,
            chains,
            members: members.filter(|(set, _)| is_there(set)).collect(),
        }
    }

    /// How many rules it has.
    pub(super) fn rule_count(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }

    /// Its sets whose elements stay.
    pub(super) fn plain(&self) -> Vec<&'static str> {
        let names = self.sets.iter().map(|set| set.name);
        names.filter(|set| ![LIVE, TAIL].contains(set)).collect()
    }
}

/// Everything the fence needs, but for the chains of devices that are missing.
pub(super) fn parts(spec: &FenceSpec, support: FenceSupport, there: &There) -> Vec<Part> {
    let mut parts = whole(spec, support);
    for part in &mut parts {
        part.chains = there.of(std::mem::take(&mut part.chains));
    }
    parts
}

/// The chains of every port, there or not.
pub(super) fn chains(spec: &FenceSpec, support: FenceSupport) -> Vec<Chain> {
    let parts = whole(spec, support).into_iter();
    parts.flat_map(|part| part.chains).collect()
}

fn whole(spec: &FenceSpec, support: FenceSupport) -> Vec<Part> {
    let transit = transit_by(support);
    if support.egress {
        let chains = rules::chains(spec, transit);
        return vec![Part::new(spec, TABLE, &rules::SETS, chains)];
    }
    let within = rules::chains_in(spec, transit);
    vec![
        Part::new(spec, TABLE, &rules::SETS, within),
        Part::new(spec, ARP_TABLE, &output::ARP_SETS, output::arp()),
        Part::new(spec, IP_TABLE, &output::IP_SETS, output::ip(spec)),
    ]
}

/// The tables in which a lease stands.
pub(super) const fn tables(support: FenceSupport) -> &'static [&'static str] {
    if support.egress { &[TABLE] } else { &ALL }
}

fn transit_by(support: FenceSupport) -> TransitBy {
    if support.fib {
        TransitBy::Fib
    } else {
        TransitBy::Units
    }
}
