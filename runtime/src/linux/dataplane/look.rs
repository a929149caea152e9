//! What is looked at each second, and put right: the fence first, then devices and addresses.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use log::{error, warn};

use super::super::addresses::{AddressError, Tags, VirtualAddress};
use super::super::fence::Health;
use super::Plane;

impl Plane {
    /// Devices and places as they are now, and as they should be; whether they are.
    pub(super) fn look(&mut self) -> bool {
        match self.stations.prepare() {
            Ok((there, failed)) => {
                self.places = self.stations.places(&there);
                self.links = self.stations.links(&there);
                for why in &failed {
                    error!("failed to make the device of a virtual MAC: {why}");
                }
                failed.is_empty()
            }
            Err(why) => {
                error!("failed to look at the interfaces: {why}");
                false
            }
        }
    }

    /// Puts back whatever addresses are missing.
    pub(super) fn restore(&mut self) {
        if let Err(why) = self.hold() {
            error!("failed to restore the virtual addresses: {why}");
        }
    }

    pub(super) fn check(&mut self) -> bool {
        // A port that was made anew is fenced before anything is put on it.
        let whole = match self.lease.check() {
            Health::Whole => true,
            Health::Repaired(what) => {
                self.counters.repaired.fetch_add(1, Ordering::Relaxed);
                error!("the fence was damaged and is set up again: {what}");
                false
            }
            Health::Missing(why) => {
                error!("the fence is gone: {why}");
                // What expires is held on to all the same: the role is still ours.
                if self.serving {
                    self.restore();
                }
                return false;
            }
        };
        self.note_misled();
        let made = self.look();
        self.remove_strays();
        if self.serving || self.is_staged() {
            self.restore();
        }
        whole && made
    }

    /// Addresses of ours where none should be: on an interface that has another name now, which
    /// nothing fences, or left by an end of the role that could not remove them.
    fn remove_strays(&mut self) {
        if self.is_staged() || self.addresses.tags() != Tags::ByProtocol {
            return;
        }
        let removed = self.addresses.observe().map_err(AddressError::from);
        let removed = removed.and_then(|mut strays| {
            strays.retain(|place| !(self.serving && self.places.contains(place)));
            self.addresses.remove_all(&strays).map(|()| strays)
        });
        match removed {
            Ok(strays) => strays.iter().for_each(|VirtualAddress { index, address }| {
                warn!("removed {address} from interface {index}, where it should not be");
            }),
            Err(why) => error!("failed to look for stray virtual addresses: {why}"),
        }
    }

    /// Who sends through a gateway that does not serve is counted by the fence.
    fn note_misled(&self) {
        let now = self.time.now();
        let misled = self.counters.misled.lock();
        let mut misled = misled.unwrap_or_else(PoisonError::into_inner);
        for port in &self.config.ports {
            let counter = self.lease.transits(&port.name);
            misled.entry(port.id).or_default().note(now, counter);
        }
    }
}
