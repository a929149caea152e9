//! Building the fence: what is sent to the kernel, and with which of its abilities.
//!
//! Everything goes into one transaction that deletes what stands and builds the new, so an
//! ability the kernel lacks costs a refused transaction and changes nothing: it is tried with all
//! of them and again without the one that was refused.
//!
//! Limit: abilities are recognised by the message that was refused, not by version numbers, which
//! distributions do not keep to.

use std::collections::BTreeSet;

use super::super::netlink::{Ack, Batch, Netlink, Refused};
use super::nftables::{self, TABLE_OWNER, TABLE_PERSIST, kind};
use super::picture::{self, Picture};
use super::rules::{self, LIVE, SETS, TransitBy};
use super::{FenceError, FenceSpec, FenceSupport, TABLE};

/// One try for each ability that may be missing, and the one that works.
const TRIES_MAX: usize = 4;
/// Where element refresh is tried out: a table of its own, for a moment.
const TRIAL_TABLE: &str = "steadfast_trial";
/// Milliseconds; what is tried out must not end meanwhile.
const TRIAL_TIME: u64 = 100_000;

/// Replaces whatever stands by the fence of this configuration.
pub(super) fn build(
    netlink: &mut Netlink,
    spec: &FenceSpec,
) -> Result<(FenceSupport, Picture), FenceError> {
    let mut support = FenceSupport {
        egress: true,
        fib: true,
        owner: true,
        persist: true,
        refresh: false,
    };
    for _ in 0..TRIES_MAX {
        let mut batch = removal(netlink)?;
        write(&mut batch, spec, support);
        nftables::end(&mut batch);
        let exchanged = netlink.exchange(batch, Ack::Last);
        let refused = exchanged.map_err(FenceError::socket)?;
        let Some(refused) = refused.into_iter().next() else {
            break;
        };
        support = without(support, refused)?;
    }
    let picture = confirm(netlink, spec, transit_by(support))?;
    Ok((support, picture))
}

/// A begun transaction that deletes the table, if there is one that may be deleted.
pub(super) fn removal(netlink: &mut Netlink) -> Result<Batch, FenceError> {
    let mut batch = nftables::begin();
    if let Some(table) = picture::table(netlink, TABLE).map_err(FenceError::socket)? {
        let own = netlink.port().map_err(FenceError::socket)?;
        if table.flags & TABLE_OWNER != 0 && table.owner != 0 && table.owner != own {
            return Err(FenceError::Owned { owner: table.owner });
        }
        nftables::delete_table(&mut batch, TABLE);
    }
    Ok(batch)
}

/// Reads back what was built.
pub(super) fn confirm(
    netlink: &mut Netlink,
    spec: &FenceSpec,
    by: TransitBy,
) -> Result<Picture, FenceError> {
    let chains = rules::chains(spec, by);
    let sent = chains.iter().map(|chain| chain.rules.len()).sum();
    let found = Picture::take(netlink, TABLE, &rules::PLAIN).map_err(FenceError::socket)?;
    match found {
        Some(found) if found.rule_count == sent && found.chain_count == chains.len() => Ok(found),
        Some(found) => {
            let found = found.rule_count;
            Err(FenceError::Differs { found, sent })
        }
        None => Err(FenceError::Differs { found: 0, sent }),
    }
}

/// The transaction that makes one fence another. Lease and tail stand in sets that stay.
pub(super) fn change(old: &FenceSpec, new: &FenceSpec, by: TransitBy) -> Batch {
    let mut batch = nftables::begin();
    for ((set, before), (_, after)) in rules::members(old).into_iter().zip(rules::members(new)) {
        let only = |one: &BTreeSet<Vec<u8>>, other| one.difference(other).cloned().collect();
        let (gone, come): (Vec<_>, Vec<_>) = (only(&before, &after), only(&after, &before));
        nftables::elements(&mut batch, kind::NEW_ELEMENT, TABLE, set, &come);
        nftables::elements(&mut batch, kind::DELETE_ELEMENT, TABLE, set, &gone);
    }
    let (before, after) = (rules::chains(old, by), rules::chains(new, by));
    for chain in before.iter().filter(|chain| !after.contains(chain)) {
        nftables::delete_chain(&mut batch, TABLE, &chain.name);
    }
    for chain in after.iter().filter(|chain| !before.contains(chain)) {
        write_chain(&mut batch, chain);
    }
    batch
}

pub(super) fn transit_by(support: FenceSupport) -> TransitBy {
    if support.fib {
        TransitBy::Fib
    } else {
        TransitBy::Units
    }
}

/// Carries out a begun transaction; an empty one is none.
pub(super) fn commit(netlink: &mut Netlink, mut batch: Batch) -> Result<(), FenceError> {
    nftables::end(&mut batch);
    let exchanged = netlink.exchange(batch, Ack::Last);
    let refused = exchanged.map_err(FenceError::socket)?;
    let first = refused.into_iter().next();
    first.map_or(Ok(()), |refused| Err(FenceError::refused(refused)))
}

/// Whether an element's time can be set anew: one half gone is set, then all of it, then read.
pub(super) fn can_refresh(netlink: &mut Netlink) -> Result<bool, FenceError> {
    // Two daemons may start together.
    let trial = format!("{TRIAL_TABLE}_{}", std::process::id());
    let mut batch = nftables::begin();
    nftables::add_table(&mut batch, &trial, 0);
    nftables::add_set(&mut batch, &trial, &SETS[0], 1);
    commit(netlink, batch)?;
    let key = rules::key();
    for left in [TRIAL_TIME / 2, TRIAL_TIME] {
        let mut batch = nftables::begin();
        let times = (TRIAL_TIME, left);
        nftables::timed_element(&mut batch, (trial.as_str(), LIVE), &key, times);
        commit(netlink, batch)?;
    }
    let left = picture::left(netlink, (trial.as_str(), LIVE), &key).map_err(FenceError::socket)?;
    let mut batch = nftables::begin();
    nftables::delete_table(&mut batch, &trial);
    commit(netlink, batch)?;
    Ok(left.is_some_and(|left| left > TRIAL_TIME / 2))
}

pub(super) fn write(batch: &mut Batch, spec: &FenceSpec, support: FenceSupport) {
    let flags = match (support.owner, support.persist) {
        (true, true) => TABLE_OWNER | TABLE_PERSIST,
        (true, false) => TABLE_OWNER,
        (false, _) => 0,
    };
    nftables::add_table(batch, TABLE, flags);
    for (id, set) in (1..).zip(&SETS) {
        nftables::add_set(batch, TABLE, set, id);
    }
    for (set, keys) in rules::members(spec) {
        let keys: Vec<_> = keys.into_iter().collect();
        nftables::elements(batch, kind::NEW_ELEMENT, TABLE, set, &keys);
    }
    for chain in rules::chains(spec, transit_by(support)) {
        write_chain(batch, &chain);
    }
}

fn write_chain(batch: &mut Batch, chain: &rules::Chain) {
    let at = (chain.hook, chain.priority, chain.device.as_str());
    nftables::add_chain(batch, (TABLE, &chain.name), at);
    for rule in &chain.rules {
        nftables::add_rule(batch, (TABLE, &chain.name), &rule.name, &rule.words);
    }
}

/// What is left to try after this refusal.
pub(super) fn without(support: FenceSupport, refused: Refused) -> Result<FenceSupport, FenceError> {
    let errno = rustix::io::Errno::from_io_error(&refused.error);
    let unknown = [
        rustix::io::Errno::OPNOTSUPP,
        rustix::io::Errno::INVAL,
        rustix::io::Errno::NOENT,
    ];
    if !errno.is_some_and(|errno| unknown.contains(&errno)) {
        return Err(FenceError::refused(refused));
    }
    let what = refused.what.clone();
    if what.starts_with("create table") && support.owner {
        let owner = support.persist; // First without persistence, then without an owner.
        return Ok(FenceSupport {
            persist: false,
            owner,
            ..support
        });
    }
    if what.contains("transit") && support.fib {
        return Ok(FenceSupport {
            fib: false,
            ..support
        });
    }
    if what.contains("egress") && errno == Some(rustix::io::Errno::OPNOTSUPP) {
        let release = rustix::system::uname();
        let release = release.release().to_string_lossy().into_owned();
        return Err(FenceError::NoEgress { what, release });
    }
    Err(FenceError::refused(refused))
}
