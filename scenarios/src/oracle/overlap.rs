//! Two gateways answering for one address: the part that a hand-over does not excuse.
//!
//! One allowance only (D10): between an OFFER seen from an owner and its RELEASED, bounded by
//! `drain` from the OFFER and by `drain` from the beginning of the overlap, so that neither a lost
//! RELEASED nor a node that offers for ever can stretch it.

use core::time::Duration;
use std::collections::BTreeMap;

use steadfast_core::Instant;

use crate::ids::SegmentId;
use crate::picture::Picture;

/// Follows overlaps over time.
#[derive(Clone, Debug)]
pub(super) struct Overlaps {
    drain: Duration,
    began: BTreeMap<(SegmentId, u16), Instant>,
}

/// An overlap beyond what a hand-over excuses.
pub(super) struct Excess {
    /// The index of the address.
    pub(super) address: u16,
    /// From when on it is not excused.
    pub(super) from: Instant,
}

impl Overlaps {
    pub(super) const fn new(drain: Duration) -> Self {
        Self {
            drain,
            began: BTreeMap::new(),
        }
    }

    /// The first address that was contested on `segment` without excuse from `from` until `to`.
    pub(super) fn hold(
        &mut self,
        segment: SegmentId,
        from: Instant,
        to: Instant,
        picture: &Picture,
    ) -> Option<Excess> {
        if !picture.contested(segment) {
            if !self.began.is_empty() {
                self.began.retain(|(other, _), _| *other != segment);
            }
            return None;
        }
        let mut worst: Option<Excess> = None;
        for address in 0..picture.address_count(segment) {
            if picture.owners(segment, address).count() < 2 {
                self.began.remove(&(segment, address));
                continue;
            }
            let began = *self.began.entry((segment, address)).or_insert(from);
            let late = from.max(self.excused_until(segment, address, began, picture));
            if late < to && worst.as_ref().is_none_or(|worst| late < worst.from) {
                worst = Some(Excess {
                    address,
                    from: late,
                });
            }
        }
        worst
    }

    fn excused_until(
        &self,
        segment: SegmentId,
        address: u16,
        began: Instant,
        picture: &Picture,
    ) -> Instant {
        let offers = picture
            .owners(segment, address)
            .filter_map(|owner| picture.gateway(owner)?.offered_at);
        // Without an offer, or with one that is spent before the overlap began, nothing is excused.
        offers
            .max()
            .map_or(began, |offer| offer.min(began).after(self.drain))
    }
}
