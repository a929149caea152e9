//! Ports that are not there, on kernels whose chains cannot wait for a device.
//!
//! From Linux 6.16 on a chain may name a device that comes later. Before, the kernel refuses such a
//! chain, and with it the whole transaction; and it removes the chains of a device together with
//! the device. So the chains of a port that is missing are left out, and added as soon as the next
//! look finds it, in one transaction that touches no lease: one port that is gone must not open
//! the others, nor end the role.
//!
//! The hard cases leave the name as it was: a device made anew between two looks has lost its
//! chains, and one that got another name keeps them. So devices are known by number, and what
//! stands is asked of the kernel. Names are looked up by netlink: an ioctl would have the kernel
//! start a helper to load a module of that name.
//!
//! Limit: until that look, for up to a second, a port that was made anew is not fenced, though its
//! addresses may be back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use log::warn;

use super::super::netlink::{Batch, Netlink};
use super::super::rtnetlink::{self, NETLINK_ROUTE};
use super::FenceError;
use super::build::write_chain;
use super::nftables::{self, Hook};
use super::picture;
use super::rules::Chain;

/// Where it is tried out whether chains can wait: a table that one transaction makes and removes.
const TRIAL_TABLE: &str = "steadfast_waits";
const NO_DEVICE: &str = "sf-no-device";

/// Which devices are there, each by its number; nothing is known where chains can wait for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct There(Option<BTreeMap<String, u32>>);

impl There {
    /// Looks for the devices of these chains, which are not made where chains can wait.
    pub(super) fn look(
        waits: bool,
        chains: impl FnOnce() -> Vec<Chain>,
    ) -> Result<Self, FenceError> {
        if waits {
            return Ok(Self(None));
        }
        let names: BTreeSet<String> = chains().into_iter().map(|chain| chain.device).collect();
        let mut netlink = Netlink::open(NETLINK_ROUTE).map_err(FenceError::socket)?;
        let mut there = BTreeMap::new();
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            match netlink.ask(rtnetlink::link_of(&name)) {
                Ok(answers) => {
                    let found = answers.first().and_then(rtnetlink::link);
                    there.extend(found.map(|link| (name, link.index)));
                }
                Err(why) if why.raw_os_error() == Some(libc::ENODEV) => {}
                Err(why) => return Err(FenceError::socket(why)),
            }
        }
        Ok(Self(Some(there)))
    }

    /// The number of the device, if it is there; any where chains can wait, or name none.
    fn number(&self, device: &str) -> Option<u32> {
        let Some(there) = self.0.as_ref().filter(|_| !device.is_empty()) else {
            return Some(0);
        };
        there.get(device).copied()
    }

    /// These chains without those of devices that are missing.
    pub(super) fn of(&self, mut chains: Vec<Chain>) -> Vec<Chain> {
        chains.retain(|chain| self.number(&chain.device).is_some());
        chains
    }

    /// Says which of the devices of these chains are missing.
    pub(super) fn warn_of_missing(&self, chains: &[Chain]) {
        let missing = chains.iter().map(|chain| chain.device.as_str());
        let missing: BTreeSet<&str> = missing.filter(|it| self.number(it).is_none()).collect();
        if !missing.is_empty() {
            let names = missing.into_iter().collect::<Vec<_>>().join(", ");
            warn!("not fenced while there is no such interface: {names}");
        }
    }

    /// The transaction that follows devices which came, went or were made anew since `then`. What
    /// stands of them is deleted: the kernel has not removed the chains of one that was renamed.
    pub(super) fn follow(
        &self,
        then: &Self,
        (netlink, table): (&mut Netlink, &str),
        chains: &[Chain],
    ) -> Result<Batch, FenceError> {
        let stand = picture::chain_names(netlink, table).map_err(FenceError::socket)?;
        let moved = |chain: &&Chain| then.number(&chain.device) != self.number(&chain.device);
        let mut batch = nftables::begin();
        for chain in chains
            .iter()
            .filter(moved)
            .filter(|it| stand.contains(&it.name))
        {
            nftables::delete_chain(&mut batch, table, &chain.name);
        }
        for chain in self.of(chains.iter().filter(moved).cloned().collect()) {
            write_chain(&mut batch, table, &chain);
        }
        Ok(batch)
    }
}

/// Whether this kernel takes a chain on a device that is not there. Whatever else it refuses is not
/// told here: building will.
pub(super) fn can_wait(netlink: &mut Netlink) -> Result<bool, FenceError> {
    // Two daemons may start together.
    let trial = format!("{TRIAL_TABLE}_{}", std::process::id());
    let mut batch = nftables::begin();
    nftables::add_table(&mut batch, &trial, 0);
    nftables::add_chain(&mut batch, (&trial, "waits"), (Hook::Ingress, 0, NO_DEVICE));
    nftables::delete_table(&mut batch, &trial);
    match super::build::commit(netlink, batch) {
        Ok(()) => Ok(true),
        Err(FenceError::Refused { error, .. })
            if error.kind() != io::ErrorKind::PermissionDenied =>
        {
            Ok(false)
        }
        Err(why) => Err(why),
    }
}
