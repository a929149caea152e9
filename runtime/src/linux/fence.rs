//! The kernel's fence: one nf_tables table that permits virtual addresses for a time (D9).
//!
//! Two elements with an end, `live` and `tail`, are all there is to it. With `live` the node owns
//! its virtual addresses; with `tail` it still carries packets but answers no question; with
//! neither it is fenced. An advertisement that says "active" refreshes both as it leaves, only
//! while `live` is there; so a dead or hung daemon's right ends by itself, and its sender learns
//! at that very send (`ENOBUFS`) that it is gone.
//!
//! The table belongs to a socket, so that a foreign `flush ruleset` passes it by, and a keeper
//! process holds that socket too, so that a killed daemon leaves the fence standing. Building it
//! anew is one transaction: at no instant is there no fence.
//!
//! The hard case is time. The kernel counts jiffies and is early by up to 6 ms, never late. An
//! offer may only shorten: what is left is read, and written back cut by the time that took.
//!
//! Before Linux 5.16 nothing can be judged as it leaves a device. There the hooks of ARP and IP
//! output take that part, and nothing refreshes the lease in passing: the daemon does, by
//! [`Fence::renew`], whenever it has said "active".
//!
//! Limit: Ethernet ports. Blocking: belongs on a thread of its own.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use log::warn;

use super::netlink::{Ack, Batch, Netlink, Refused};

mod absent;
mod build;
mod connections;
mod error;
mod guard;
mod keeper;
mod nftables;
mod output;
mod parts;
mod picture;
mod rules;
mod sources;
mod spec;
mod sys;
mod vrrp;

pub use error::{FenceError, LeaseError};
pub use keeper::{KEEPER_ARGUMENT, keeper_main};
pub use nftables::SOURCES_TABLE;
pub use picture::Counter;
pub use sources::{SourcePort, SourceSpec, Sources};
pub use spec::{FenceSpec, FenceSupport, Hooks, ServedPort};
pub use vrrp::{FencedRouter, ROUTERS_TABLE, RouterFence};

use absent::There;
use keeper::{Former, Keeper};
use picture::Picture;
use rules::{LIVE, TAIL, key, millis};

/// The table's name, in the netdev family.
pub const TABLE: &str = "steadfast";
/// `NETLINK_NETFILTER`.
const NETFILTER: i32 = 12;
/// The longest jiffy (HZ = 100): by so much a time read and one written may disagree.
const JIFFY_MAX: u64 = 10;

/// What a check found.
#[derive(Debug)]
pub enum Health {
    /// The fence does not stand, and could not be built again.
    Missing(FenceError),
    /// It was damaged, in this way, and stands again; lease and tail are gone, unless only the
    /// keeper was, or they were to be kept.
    Repaired(&'static str),
    /// As it was built.
    Whole,
}

/// A fence that stands. Dropping the value leaves it standing for as long as the keeper runs.
#[derive(Debug)]
pub struct Fence {
    netlink: Netlink,
    spec: FenceSpec,
    support: FenceSupport,
    there: There,
    built: Vec<Picture>,
    /// What rules had dropped at the last check.
    counted: Vec<Counter>,
    keeper: Keeper,
}

impl Fence {
    /// Builds the fence, or replaces that of an earlier life, in one transaction. A lease of an
    /// earlier life ends: the node is fenced until [`Self::arm`].
    ///
    /// # Errors
    /// Not allowed, not supported, or another daemon owns the fence.
    pub fn install(spec: &FenceSpec) -> Result<Self, FenceError> {
        let keeper_failed = |error| FenceError::Keeper { error };
        let former = Former::find(&spec.keeper_dir).map_err(keeper_failed)?;
        let inherited = former.as_ref().map(Former::socket).transpose();
        let mut netlink = match inherited.map_err(keeper_failed)?.flatten() {
            Some(socket) => Netlink::from_fd(socket),
            None => Netlink::open(NETFILTER),
        }
        .map_err(FenceError::socket)?;
        let waits = absent::can_wait(&mut netlink)?;
        let built = build::build(&mut netlink, spec, (waits, None))?;
        let mut support = built.support;
        support.refresh = build::can_refresh(&mut netlink)?;
        let socket = netlink.as_fd();
        let keeper = Keeper::start(&spec.keeper_program, &spec.keeper_dir, socket);
        let keeper = keeper.map_err(keeper_failed)?;
        if let Some(former) = former {
            // It may have died meanwhile; then there is nothing left to tell it.
            let _ = former.dismiss();
        }
        Ok(Self {
            netlink,
            // Built again it is of the same form: who renews the lease was settled by it.
            spec: FenceSpec {
                hooks: support.hooks(),
                ..spec.clone()
            },
            support,
            there: built.there,
            built: built.pictures,
            counted: Vec::new(),
            keeper,
        })
    }

    /// What this kernel is able to do.
    #[must_use]
    pub const fn support(&self) -> FenceSupport {
        self.support
    }

    /// L, how long a lease lasts from its renewal.
    pub(super) const fn length(&self) -> Duration {
        self.spec.lease
    }

    /// The keeper's process number.
    #[must_use]
    pub fn keeper_id(&self) -> u32 {
        self.keeper.id()
    }

    /// Begins a fresh lease of length L, and the tail behind it. The only way to have a lease.
    ///
    /// # Errors
    /// The fence is damaged, or the kernel refuses.
    pub fn arm(&mut self) -> Result<(), FenceError> {
        let mut batch = nftables::begin();
        self.set_time(&mut batch, LIVE, millis(self.spec.lease));
        self.set_time(&mut batch, TAIL, rules::tail_after_refresh(&self.spec));
        self.commit(batch)
    }

    /// The lease that is still there lasts so long from now, and the tail behind it: L is what an
    /// advertisement gives it as it leaves, where the kernel can see that. One that ends later than
    /// this is shortened.
    ///
    /// # Errors
    /// `Lapsed` if there is no lease any more; nothing is changed then.
    pub fn renew(&mut self, remaining: Duration) -> Result<(), LeaseError> {
        let mut batch = nftables::begin();
        self.end_live(&mut batch);
        self.begin_live(&mut batch, millis(remaining).max(1));
        let tail = millis(remaining.saturating_add(self.spec.tail));
        self.set_time(&mut batch, TAIL, tail);
        self.commit_if_live(batch)
    }

    /// The lease that is still there ends within this time, and the tail behind it (D10).
    ///
    /// # Errors
    /// `Lapsed` if there is no lease any more; nothing is changed then.
    pub fn offer(&mut self, remaining: Duration) -> Result<(), LeaseError> {
        let read_at = Instant::now();
        let left = self.left_of(LIVE)?;
        // Written back as it was read, it would end later by the time in between.
        let late = millis(read_at.elapsed()).saturating_add(1 + JIFFY_MAX);
        let left = left.and_then(|left| left.checked_sub(late));
        let left = left.filter(|left| *left > 0).ok_or(LeaseError::Lapsed)?;
        let mut batch = nftables::begin();
        self.end_live(&mut batch);
        self.begin_live(&mut batch, millis(remaining).min(left).max(1));
        let tail = millis(remaining.saturating_add(self.spec.tail));
        self.set_time(&mut batch, TAIL, tail);
        self.commit_if_live(batch)
    }

    /// The lease ends now, and for the configured tail what is in flight is still carried (D10).
    ///
    /// # Errors
    /// `Lapsed` if there is no lease any more; there is no fresh tail then.
    pub fn release_to_tail(&mut self) -> Result<(), LeaseError> {
        let mut batch = nftables::begin();
        self.end_live(&mut batch);
        self.set_time(&mut batch, TAIL, millis(self.spec.tail));
        self.commit_if_live(batch)
    }

    /// Lease and tail end now: fenced. Nothing happens if there are none.
    ///
    /// # Errors
    /// The fence is damaged, or the kernel refuses.
    pub fn close(&mut self) -> Result<(), FenceError> {
        let mut batch = nftables::begin();
        for table in parts::tables(self.support) {
            nftables::empty_set(&mut batch, table, LIVE);
            nftables::empty_set(&mut batch, table, TAIL);
        }
        self.commit(batch)
    }

    /// How long the lease lasts from now, unless refreshed; none if there is none.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn lease_left(&mut self) -> Result<Option<Duration>, FenceError> {
        self.left(LIVE)
    }

    /// How long the tail lasts from now; none if there is none.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn tail_left(&mut self) -> Result<Option<Duration>, FenceError> {
        self.left(TAIL)
    }

    /// Compares what stands with what was built, and repairs it, keeper included.
    pub fn check(&mut self) -> Health {
        self.check_keeping(None)
    }

    /// As [`Self::check`]; what is set up again begins with so much of a lease, and the tail behind
    /// it. No packet meets the fence without it: both are one transaction.
    pub fn check_keeping(&mut self, left: Option<Duration>) -> Health {
        let damage = match self.follow_devices() {
            Ok(()) => self.damage(),
            Err(why) => {
                warn!("failed to follow the ports: {why}");
                // Building it anew would end the lease, on no evidence.
                let is_known = !matches!(why, FenceError::Socket { .. });
                is_known.then(|| self.damage()).flatten()
            }
        };
        if let Some(damage) = damage {
            return match self.rebuild(left) {
                Ok(()) => Health::Repaired(damage),
                Err(why) => Health::Missing(why),
            };
        }
        if self.keeper.is_running() {
            return Health::Whole;
        }
        let (program, folder) = (&self.spec.keeper_program, &self.spec.keeper_dir);
        match Keeper::start(program, folder, self.netlink.as_fd()) {
            Ok(keeper) => {
                self.keeper = keeper;
                Health::Repaired("keeper gone")
            }
            Err(error) => Health::Missing(FenceError::Keeper { error }),
        }
    }

    /// Ports that came are fenced, and those that went are forgotten, beside a lease that lasts.
    /// What is not as it was built but for that is left to the check.
    fn follow_devices(&mut self) -> Result<(), FenceError> {
        let (spec, support) = (&self.spec, self.support);
        let now = There::look(support.waits, || parts::chains(spec, support))?;
        if now == self.there {
            return Ok(());
        }
        let chains = parts::chains(spec, support);
        let netlink = &mut self.netlink;
        let batch = now.follow(&self.there, (&mut *netlink, TABLE), &chains)?;
        build::commit(netlink, batch)?;
        let built = build::confirm(netlink, spec, (support, &now))?;
        let mut pairs = built.iter().zip(&self.built);
        if pairs.all(|(now, then)| now.differs_in_chains_alone(then)) {
            self.built = built;
        }
        now.warn_of_missing(&chains);
        self.there = now;
        Ok(())
    }

    fn damage(&mut self) -> Option<&'static str> {
        let parts = parts::parts(&self.spec, self.support, &self.there);
        self.counted.clear();
        let mut pairs = parts.iter().zip(&self.built);
        pairs.find_map(|(part, built)| {
            match Picture::take(&mut self.netlink, part.table, &part.plain()) {
                Ok(Some(found)) => {
                    let damage = found.damage(built);
                    self.counted.extend(found.counted);
                    damage
                }
                Ok(None) => Some("table gone"),
                // Building it anew would end the lease, on no evidence.
                Err(why) => {
                    warn!("failed to look at the fence: {why}");
                    None
                }
            }
        })
    }

    /// Packets to be passed on that came to a port without lease and tail, and were dropped: as of
    /// the last check, since the fence was last built.
    pub fn transits(&self, port: &str) -> u64 {
        let of_port = |counter: &&Counter| rules::is_transit(&counter.rule, port);
        let packets = self.counted.iter().filter(of_port);
        packets.map(|counter| counter.packets).sum()
    }

    /// Builds the fence anew, whatever stands there. Lease and tail end.
    ///
    /// # Errors
    /// As [`Self::install`].
    pub fn reinstall(&mut self) -> Result<(), FenceError> {
        self.rebuild(None)
    }

    fn rebuild(&mut self, left: Option<Duration>) -> Result<(), FenceError> {
        let FenceSupport { refresh, waits, .. } = self.support;
        let built = build::build(&mut self.netlink, &self.spec, (waits, left))?;
        self.support = FenceSupport {
            refresh,
            ..built.support
        };
        self.there = built.there;
        self.built = built.pictures;
        Ok(())
    }

    /// Makes the fence that of a changed configuration, in one transaction and without touching
    /// lease or tail. The keeper stays where it is.
    ///
    /// # Errors
    /// As [`Self::install`]; the fence is then as before.
    pub fn update(&mut self, spec: &FenceSpec) -> Result<(), FenceError> {
        self.follow_devices()?;
        let support = self.support;
        let there = There::look(support.waits, || {
            let of = |spec| parts::chains(spec, support);
            [of(&self.spec), of(spec)].concat()
        })?;
        let batch = build::change((&self.spec, &there), (spec, &there), support);
        build::commit(&mut self.netlink, batch)?;
        self.built = build::confirm(&mut self.netlink, spec, (support, &there))?;
        self.there = There::look(support.waits, || parts::chains(spec, support))?;
        let spec = spec.clone();
        self.spec = FenceSpec {
            keeper_dir: std::mem::take(&mut self.spec.keeper_dir),
            keeper_program: std::mem::take(&mut self.spec.keeper_program),
            hooks: self.spec.hooks,
            ..spec
        };
        Ok(())
    }

    /// What each rule has dropped since the fence was last built.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn counters(&mut self) -> Result<Vec<Counter>, FenceError> {
        let mut counters = Vec::new();
        for table in parts::tables(self.support) {
            let counted = picture::counters(&mut self.netlink, table);
            counters.extend(counted.map_err(FenceError::socket)?);
        }
        Ok(counters)
    }

    /// Removes the table and ends the keeper: nothing is fenced any more.
    ///
    /// # Errors
    /// The kernel refuses, or the keeper does not leave.
    pub fn unfence(mut self) -> Result<(), FenceError> {
        let batch = build::removal(&mut self.netlink)?;
        build::commit(&mut self.netlink, batch)?;
        let dismissed = self.keeper.dismiss();
        dismissed.map_err(|error| FenceError::Keeper { error })
    }

    fn left(&mut self, set: &str) -> Result<Option<Duration>, FenceError> {
        Ok(self.left_of(set)?.map(Duration::from_millis))
    }

    /// The same in milliseconds.
    fn left_of(&mut self, set: &str) -> Result<Option<u64>, FenceError> {
        let left = picture::left(&mut self.netlink, (TABLE, set), &key());
        left.map_err(FenceError::socket)
    }

    fn set_time(&self, batch: &mut Batch, set: &'static str, left: u64) {
        let left = left.max(1);
        for table in parts::tables(self.support) {
            if !self.support.refresh {
                // Adding first makes sure that there is something to delete.
                nftables::timed_element(batch, (table, set), &key(), (left, left));
                nftables::delete_element(batch, (table, set), &key());
            }
            nftables::timed_element(batch, (table, set), &key(), (left, left));
        }
    }

    /// Refused with `ENOENT` where the lease has ended.
    fn end_live(&self, batch: &mut Batch) {
        for table in parts::tables(self.support) {
            nftables::delete_element(batch, (table, LIVE), &key());
        }
    }

    /// Behind [`Self::end_live`].
    fn begin_live(&self, batch: &mut Batch, left: u64) {
        for table in parts::tables(self.support) {
            nftables::timed_element(batch, (table, LIVE), &key(), (left, left));
        }
    }

    fn commit(&mut self, batch: Batch) -> Result<(), FenceError> {
        build::commit(&mut self.netlink, batch)
    }

    /// Commits a batch that begins by deleting the lease: it fails as a whole without one.
    fn commit_if_live(&mut self, mut batch: Batch) -> Result<(), LeaseError> {
        nftables::end(&mut batch);
        let exchanged = self.netlink.exchange(batch, Ack::Last);
        let refused = exchanged.map_err(FenceError::socket)?;
        let ends = 1..=parts::tables(self.support).len();
        match refused.into_iter().next() {
            None => Ok(()),
            Some(Refused { index, error, .. })
                if ends.contains(&index) && error.kind() == io::ErrorKind::NotFound =>
            {
                Err(LeaseError::Lapsed)
            }
            Some(refused) => Err(FenceError::refused(refused).into()),
        }
    }
}

/// Removes a fence that no daemon holds any more: its table, and the keeper in this folder
/// (`steadfastctl unfence`). Whether there was one.
///
/// # Errors
/// Not allowed, or a living daemon owns the fence.
pub fn remove(keeper_dir: &Path) -> Result<bool, FenceError> {
    let keeper_failed = |error| FenceError::Keeper { error };
    let former = Former::find(keeper_dir).map_err(keeper_failed)?;
    let inherited = former.as_ref().map(Former::socket).transpose();
    let mut netlink = match inherited.map_err(keeper_failed)?.flatten() {
        Some(socket) => Netlink::from_fd(socket),
        None => Netlink::open(NETFILTER),
    }
    .map_err(FenceError::socket)?;
    let was_there = build::is_there(&mut netlink)?;
    let batch = build::removal(&mut netlink)?;
    build::commit(&mut netlink, batch)?;
    if let Some(former) = former {
        former.dismiss().map_err(keeper_failed)?;
        Former::forget(keeper_dir).map_err(keeper_failed)?;
    }
    Ok(was_there)
}

#[cfg(test)]
mod tests;
