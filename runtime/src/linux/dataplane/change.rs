//! A changed configuration, and the daemon's orderly end, as the kernel's thread carries them out.
//!
//! The fence changes first and goes last: at no instant does an address stand without it. Addresses
//! that a standby holds ready and shall not hold any more go before the fence lets them speak.
//!
//! A configuration is taken whole. Where the kernel refuses a part of it, the one before is put
//! back, for the node goes on by that.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use log::error;
use steadfast_core::config::Config;
use steadfast_core::effect::Failure;

use super::super::addresses::VirtualAddress;
use super::super::stations::{Stations, remove_all};
use super::Plane;

impl Plane {
    pub(super) fn reconfigure(&mut self, config: &Config) -> Result<(), Failure> {
        let before = self.config.clone();
        let changed = self.change_to(config);
        if changed.is_err() && self.change_to(&before).is_err() {
            error!(
                "failed to put the configuration before back; `steadfastctl reload` tries again"
            );
        }
        changed
    }

    fn change_to(&mut self, config: &Config) -> Result<(), Failure> {
        if let Err(least) = self.lease.suffices(&config.timing) {
            error!("{}", too_short(least));
            return Err(Failure::Refused);
        }
        let virtuals = config.ports.iter().flat_map(|port| &port.virtuals);
        let virtuals: BTreeSet<IpAddr> = virtuals.copied().collect();
        self.remove_ready(&virtuals)?;
        let spec = (self.spec)(config);
        if let Err(why) = self.lease.update(&spec) {
            error!("failed to change the fence: {why}");
            return Err(Failure::Refused);
        }
        let stations = Stations::of(config);
        let (there, failed) = stations.prepare().map_err(|why| {
            error!("failed to look at the interfaces: {why}");
            Failure::Refused
        })?;
        for why in failed {
            error!("failed to make the device of a virtual MAC: {why}");
        }
        let older = core::mem::replace(&mut self.places, stations.places(&there));
        self.links = stations.links(&there);
        self.stations = stations;
        self.config = config.clone();
        self.let_expire();
        let held: Vec<_> = if self.serving || self.is_staged() {
            self.places.clone()
        } else {
            Vec::new()
        };
        let gone: Vec<_> = older
            .into_iter()
            .filter(|place| !held.contains(place))
            .collect();
        let removed = self.addresses.remove_all(&gone);
        self.addresses.configure(virtuals);
        let outcome = removed.and_then(|()| self.addresses.add_all(&held));
        if self.serving && !self.is_staged() {
            self.await_usable();
        }
        self.name_sources();
        outcome.map_err(|why| {
            error!("failed to change the virtual addresses: {why}");
            Failure::Refused
        })
    }

    /// Addresses that are held ready and are none of these go while the fence still silences them.
    fn remove_ready(&mut self, virtuals: &BTreeSet<IpAddr>) -> Result<(), Failure> {
        if self.serving || !self.is_staged() {
            return Ok(());
        }
        let (held, gone): (Vec<VirtualAddress>, Vec<_>) = core::mem::take(&mut self.places)
            .into_iter()
            .partition(|place| virtuals.contains(&place.address));
        self.places = held;
        self.addresses.remove_all(&gone).map_err(|why| {
            error!("failed to remove virtual addresses: {why}");
            Failure::Refused
        })
    }

    pub(super) fn end(mut self) {
        // Before the fence goes: what is still translated would leave in a name that a peer owns.
        if let Some(speaker) = self.speaker.take() {
            speaker.end();
        }
        if let Err(why) = self.addresses.remove_all(&self.places) {
            error!("failed to withdraw the virtual addresses: {why}");
        }
        if let Err(why) = remove_all() {
            error!("failed to remove the device of a virtual MAC: {why}");
        }
        if let Err(why) = self.lease.unfence() {
            error!("failed to remove the fence: {why}");
        }
    }
}

/// What is wrong with a lease that does not last from one word to the next.
pub(super) fn too_short(least: Duration) -> String {
    format!(
        "the lease is too short for a kernel without netdev egress, where the daemon renews it; \
         set `lease` of [timing] to {} ms at least",
        least.as_millis() + u128::from(!least.subsec_nanos().is_multiple_of(1_000_000))
    )
}
