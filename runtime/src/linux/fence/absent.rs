//! Ports that are not there, on kernels whose chains cannot wait for a device.
//!
//! From Linux 6.16 on a chain may name a device that comes later. Before, the kernel refuses such a
//! chain, and with it the whole transaction; and it removes the chains of a device together with
//! the device. So the chains of a port that is missing are left out, and added as soon as the next
//! look finds it, in one transaction that touches no lease: one port that is gone must not open
//! the others, nor end the role.
//!
//! Limit: until that look, for up to a second, a port that was made anew is not fenced. Its
//! addresses are put back after that.

use std::collections::BTreeSet;
use std::io;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::super::netlink::Netlink;
use super::FenceError;
use super::build::commit;
use super::nftables::{self, Hook};
use super::rules::Chain;

/// Where it is tried out whether chains can wait: a table of its own, for a moment.
const TRIAL_TABLE: &str = "steadfast_waits";
/// No device has a space in its name.
const NO_DEVICE: &str = "steadfast none";

/// Names of devices that are not there, and whose chains are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Absent(BTreeSet<String>);

impl Absent {
    /// Which of the devices of these chains are missing now; none where chains can wait.
    pub(super) fn among(chains: &[Chain], can_wait: bool) -> Result<Self, FenceError> {
        if can_wait {
            return Ok(Self::default());
        }
        let flags = SocketFlags::CLOEXEC;
        let asked = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None);
        let asked = asked.map_err(|error| FenceError::socket(error.into()))?;
        let mut absent = BTreeSet::new();
        for chain in chains.iter().filter(|it| !it.device.is_empty()) {
            match name_to_index(&asked, &chain.device) {
                Ok(_) => {}
                Err(rustix::io::Errno::NODEV) => {
                    absent.insert(chain.device.clone());
                }
                Err(error) => return Err(FenceError::socket(error.into())),
            }
        }
        Ok(Self(absent))
    }

    /// These chains without those of missing devices.
    pub(super) fn without(&self, mut chains: Vec<Chain>) -> Vec<Chain> {
        chains.retain(|chain| !self.0.contains(&chain.device));
        chains
    }

    /// What is missing now or was then: the chains of all others stand as they did.
    pub(super) fn or(&self, then: &Self) -> Self {
        Self(self.0.union(&then.0).cloned().collect())
    }

    /// In words, which ports are not fenced.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        names.join(", ")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether this kernel takes a chain on a device that is not there.
pub(super) fn can_wait(netlink: &mut Netlink) -> Result<bool, FenceError> {
    // Two daemons may start together.
    let trial = format!("{TRIAL_TABLE}_{}", std::process::id());
    let mut batch = nftables::begin();
    nftables::add_table(&mut batch, &trial, 0);
    nftables::add_chain(&mut batch, (&trial, "waits"), (Hook::Ingress, 0, NO_DEVICE));
    match commit(netlink, batch) {
        Ok(()) => {}
        Err(FenceError::Refused { error, .. })
            if error.kind() != io::ErrorKind::PermissionDenied =>
        {
            return Ok(false);
        }
        Err(why) => return Err(why),
    }
    let mut batch = nftables::begin();
    nftables::delete_table(&mut batch, &trial);
    commit(netlink, batch)?;
    Ok(true)
}
