//! Neighbours that send through a gateway which does not serve (R14.1).
//!
//! After a takeover hosts learn the new owner's MAC from its announcements. Where a switch or the
//! host itself refuses those, the old entry stays, and packets to be passed on come to the gateway
//! that served before. Its fence drops and counts them. The same is seen where a host has this
//! gateway's own address for its router.
//!
//! What comes right after a takeover was on its way, and is no trouble: only what lasts is. Nor is
//! what came while nobody served: time counts from when somebody else was heard to.
//!
//! The limit: packets *to* a virtual address are not counted, a switch may have flooded them; nor
//! is what came for another MAC.

use core::time::Duration;

use super::{Around, SETTLED, Trouble, TroubleKind, trouble};
use crate::Instant;
use crate::role::EffectiveRole;
use crate::status::{Liveness, PeerStatus, Status};

/// Packets with a longer pause between them are of two occasions.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What the fence of one port dropped because it was to be passed on, noted from time to time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Misled {
    /// As counted last; none before the first count.
    counted: Option<u64>,
    /// The first and the last time at which there were more, if there were.
    lasted: Option<(Instant, Instant)>,
}

impl Misled {
    /// Takes the fence's counter. It begins again at 0 when the fence is built anew.
    pub fn note(&mut self, now: Instant, counter: u64) {
        let before = self.counted.replace(counter);
        let more = before.map_or(0, |before| counter.checked_sub(before).unwrap_or(counter));
        if more == 0 {
            return;
        }
        match &mut self.lasted {
            Some((_, newest)) if now.since(*newest) < PAUSE_MAX => *newest = now,
            lasted => *lasted = Some((now, now)),
        }
    }

    /// For how long packets have come since then, if that is no matter of a moment and not over.
    fn lately(&self, now: Instant, since: Instant) -> Option<Duration> {
        let (first, newest) = self.lasted?;
        let time = newest.since(first.max(since));
        (time >= SETTLED && now.since(newest) < PAUSE_MAX).then_some(time)
    }
}

/// Ports to which packets come that another gateway, which is active, should have.
pub(super) fn misled(status: &Status, around: &Around) -> Vec<Trouble> {
    let serves = matches!(
        status.role,
        EffectiveRole::Active | EffectiveRole::Promoting | EffectiveRole::Demoting
    );
    let alive = |peer: &&PeerStatus| peer.liveness == Liveness::Alive;
    let mut alive = status.peers.iter().filter(alive);
    let active = alive.find_map(|peer| Some((peer.node, peer.active_for?)));
    let Some((active, time)) = active.filter(|_| !serves) else {
        return Vec::new();
    };
    let since = around.now.before(time);
    let told = |(port, misled): (&crate::PortId, &Misled)| {
        let time = misled.lately(around.now, since)?;
        let (name, shown) = (around.node(active), around.port(*port));
        Some(trouble(
            TroubleKind::NeighboursMisled,
            format!(
                "packets to be passed on have come to {shown} for {} s and were dropped: {name} \
                 serves, and some neighbour there still sends to this gateway's own MAC",
                time.as_secs()
            ),
            "clear that neighbour's ARP or neighbour entry; if it comes back, its router is this \
             gateway's own address and must be the virtual one. Where hosts or switches refuse \
             announcements, use a virtual MAC",
        ))
    };
    around.misled.iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN.after(Duration::from_millis(millis))
    }

    /// A counter read once a second, and for how many seconds it is told then to have grown.
    fn told(counters: &[u64]) -> Option<u64> {
        let mut misled = Misled::default();
        let mut now = 0;
        for counter in counters {
            misled.note(at(now), *counter);
            now += 1_000;
        }
        let lately = misled.lately(at(now - 1_000), Instant::ORIGIN);
        lately.map(|time| time.as_secs())
    }

    /// What was counted before anybody looked, and what was on its way, is no trouble.
    #[test]
    fn misled_is_what_lasts() {
        assert_eq!(told(&[7, 7, 7, 7, 7, 7, 7, 7]), None);
        assert_eq!(told(&[0, 5, 9, 9, 9, 9, 9, 9]), None, "a moment");
        assert_eq!(told(&[0, 1, 2, 3, 4, 5]), None, "four seconds");
        assert_eq!(told(&[0, 1, 2, 3, 4, 5, 6]), Some(5));
        assert_eq!(told(&[0, 1, 1, 1, 1, 1, 2]), Some(5), "a slow one");
    }

    /// A fence that was built anew counts from 0, what pauses begins anew, and what came before
    /// somebody served does not count.
    #[test]
    fn misled_counts_each_occasion() {
        assert_eq!(told(&[90, 91, 92, 1, 2, 3, 4]), Some(5));
        let mut misled = Misled::default();
        for (time, counter) in [(0, 0), (1_000, 1), (6_000, 2)] {
            misled.note(at(time), counter);
        }
        let lately = |misled: &Misled, now| misled.lately(at(now), Instant::ORIGIN);
        assert_eq!(misled.lately(at(6_000), at(1_001)), None, "nobody served");
        assert!(lately(&misled, 15_999).is_some());
        assert_eq!(lately(&misled, 16_000), None, "over");
        misled.note(at(16_000), 3);
        assert_eq!(lately(&misled, 16_000), None, "another occasion");
    }
}
