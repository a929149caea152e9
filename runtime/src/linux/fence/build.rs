//! Building the fence: what is sent to the kernel, and with which of its abilities.
//!
//! Everything goes into one transaction that deletes what stands and builds the new, so an
//! ability the kernel lacks costs a refused transaction and changes nothing: it is tried with all
//! of them and again without the one that was refused.
//!
//! Limit: abilities are recognised by the message that was refused, not by version numbers, which
//! distributions do not keep to.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::netlink::{Ack, Batch, Netlink, Refused};
use super::absent::There;
use super::nftables::{self, TABLE_OWNER, TABLE_PERSIST, kind};
use super::parts::{self, Part};
use super::picture::{self, Picture};
use super::rules::{self, LIVE, SETS, TAIL};
use super::{FenceError, FenceSpec, FenceSupport, Hooks};

/// One try for each ability that may be missing, and the one that works.
const TRIES_MAX: usize = 5;
/// Where element refresh is tried out: a table of its own, for a moment.
const TRIAL_TABLE: &str = "steadfast_trial";
/// Milliseconds; what is tried out must not end meanwhile.
const TRIAL_TIME: u64 = 100_000;

/// What was built.
pub(super) struct Built {
    pub(super) support: FenceSupport,
    pub(super) there: There,
    pub(super) pictures: Vec<Picture>,
}

/// Replaces whatever stands by the fence of this configuration, with so much of a lease in it.
pub(super) fn build(
    netlink: &mut Netlink,
    spec: &FenceSpec,
    (waits, left): (bool, Option<Duration>),
) -> Result<Built, FenceError> {
    let owner = spec.hooks != Hooks::Flushable;
    let mut support = FenceSupport {
        egress: owner && spec.hooks != Hooks::Output,
        fib: true,
        owner,
        persist: owner,
        refresh: false,
        waits,
    };
    let mut there = There::default();
    for _ in 0..TRIES_MAX {
        let mut batch = removal(netlink)?;
        there = There::look(waits, || parts::chains(spec, support))?;
        write(&mut batch, spec, (support, &there));
        if let Some(left) = left {
            lease(&mut batch, spec, support, left);
        }
        nftables::end(&mut batch);
        let exchanged = netlink.exchange(batch, Ack::Last);
        let refused = exchanged.map_err(FenceError::socket)?;
        let Some(refused) = refused.into_iter().next() else {
            break;
        };
        if spec.hooks == Hooks::Egress && lacks_egress(&refused) {
            return Err(FenceError::no_egress(refused.what));
        }
        // Its device has gone since: it is looked for again.
        if lacks_device(&refused) && !waits {
            continue;
        }
        support = without(support, refused)?;
    }
    let pictures = confirm(netlink, spec, (support, &there))?;
    there.warn_of_missing(&parts::chains(spec, support));
    Ok(Built {
        support,
        there,
        pictures,
    })
}

/// What is left of a lease, and the tail behind it, into sets that are new.
fn lease(batch: &mut Batch, spec: &FenceSpec, support: FenceSupport, left: Duration) {
    for table in parts::tables(support) {
        for (set, lasts) in [(LIVE, left), (TAIL, left.saturating_add(spec.tail))] {
            let time = rules::millis(lasts).max(1);
            nftables::timed_element(batch, (table, set), &rules::key(), (time, time));
        }
    }
}

/// A begun transaction that deletes the tables that are there, if they may be deleted.
pub(super) fn removal(netlink: &mut Netlink) -> Result<Batch, FenceError> {
    let mut batch = nftables::begin();
    for name in parts::ALL {
        if let Some(table) = picture::table(netlink, name).map_err(FenceError::socket)? {
            let own = netlink.port().map_err(FenceError::socket)?;
            if table.flags & TABLE_OWNER != 0 && table.owner != 0 && table.owner != own {
                return Err(FenceError::Owned { owner: table.owner });
            }
            nftables::delete_table(&mut batch, name);
        }
    }
    Ok(batch)
}

/// Whether there is a fence, whole or in parts.
pub(super) fn is_there(netlink: &mut Netlink) -> Result<bool, FenceError> {
    for name in parts::ALL {
        let found = picture::table(netlink, name).map_err(FenceError::socket)?;
        if found.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads back what was built.
pub(super) fn confirm(
    netlink: &mut Netlink,
    spec: &FenceSpec,
    (support, there): (FenceSupport, &There),
) -> Result<Vec<Picture>, FenceError> {
    let parts = parts::parts(spec, support, there);
    parts
        .iter()
        .map(|part| confirm_part(netlink, part))
        .collect()
}

fn confirm_part(netlink: &mut Netlink, part: &Part) -> Result<Picture, FenceError> {
    let (table, sent) = (part.table, part.rule_count());
    let found = Picture::take(netlink, table, &part.plain()).map_err(FenceError::socket)?;
    match found {
        Some(found) if found.rule_count == sent && found.chain_count == part.chains.len() => {
            Ok(found)
        }
        Some(found) => {
            let found = found.rule_count;
            Err(FenceError::Differs { found, sent })
        }
        None => Err(FenceError::Differs { found: 0, sent }),
    }
}

/// The transaction that makes one fence another, each with the ports that are there. Lease and tail
/// stand in sets that stay.
pub(super) fn change(
    (old, then): (&FenceSpec, &There),
    (new, now): (&FenceSpec, &There),
    support: FenceSupport,
) -> Batch {
    let mut batch = nftables::begin();
    let before = parts::parts(old, support, then);
    let after = parts::parts(new, support, now);
    for (before, after) in before.iter().zip(&after) {
        change_part(&mut batch, before, after);
    }
    batch
}

fn change_part(batch: &mut Batch, old: &Part, new: &Part) {
    let table = new.table;
    for ((set, before), (_, after)) in old.members.iter().zip(&new.members) {
        let only = |one: &BTreeSet<Vec<u8>>, other| one.difference(other).cloned().collect();
        let (gone, come): (Vec<_>, Vec<_>) = (only(before, after), only(after, before));
        nftables::elements(batch, kind::NEW_ELEMENT, table, set, &come);
        nftables::elements(batch, kind::DELETE_ELEMENT, table, set, &gone);
    }
    for chain in old.chains.iter().filter(|it| !new.chains.contains(it)) {
        nftables::delete_chain(batch, table, &chain.name);
    }
    for chain in new.chains.iter().filter(|it| !old.chains.contains(it)) {
        write_chain(batch, table, chain);
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

pub(super) fn write(batch: &mut Batch, spec: &FenceSpec, (support, there): (FenceSupport, &There)) {
    let flags = match (support.owner, support.persist) {
        (true, true) => TABLE_OWNER | TABLE_PERSIST,
        (true, false) => TABLE_OWNER,
        (false, _) => 0,
    };
    for part in parts::parts(spec, support, there) {
        let table = part.table;
        nftables::add_table(batch, table, flags);
        for (id, set) in (1..).zip(part.sets) {
            nftables::add_set(batch, table, set, id);
        }
        for (set, keys) in part.members {
            let keys: Vec<_> = keys.into_iter().collect();
            nftables::elements(batch, kind::NEW_ELEMENT, table, set, &keys);
        }
        for chain in part.chains {
            write_chain(batch, table, &chain);
        }
    }
}

pub(super) fn write_chain(batch: &mut Batch, table: &str, chain: &rules::Chain) {
    let at = (chain.hook, chain.priority, chain.device.as_str());
    nftables::add_chain(batch, (table, &chain.name), at);
    for rule in &chain.rules {
        nftables::add_rule(batch, (table, &chain.name), &rule.name, &rule.words);
    }
}

/// Whether what was refused is the hook that kernels before 5.16 do not have.
pub(super) fn lacks_egress(refused: &Refused) -> bool {
    let errno = rustix::io::Errno::from_io_error(&refused.error);
    refused.what.contains("egress") && errno == Some(rustix::io::Errno::OPNOTSUPP)
}

/// Whether what was refused is a chain whose device is not there.
pub(super) fn lacks_device(refused: &Refused) -> bool {
    let errno = rustix::io::Errno::from_io_error(&refused.error);
    refused.what.starts_with("hook into") && errno == Some(rustix::io::Errno::NOENT)
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
    if lacks_egress(&refused) && support.egress {
        return Ok(FenceSupport {
            egress: false,
            ..support
        });
    }
    Err(FenceError::refused(refused))
}
