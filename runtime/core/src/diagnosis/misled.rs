//! Neighbours that send through a gateway which does not serve (R14.1).
//!
//! After a takeover hosts learn the new owner's MAC from its announcements. Where a switch or the
//! host itself refuses those, the old entry stays, and packets to be passed on come to the gateway
//! that served before. Its fence drops and counts them. The same is seen where a host has this
//! gateway's own address for its router.
//!
//! What comes right after a takeover was on its way, and is no trouble: only what lasts is.
//!
//! The limit: packets *to* a virtual address are not counted, a switch may have flooded them; nor
//! is what came for another MAC.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Around, SETTLED, Trouble, TroubleKind, trouble};
use crate::Instant;
use crate::role::EffectiveRole;
use crate::status::{Liveness, Status};

/// Packets with a longer pause between them are of two occasions.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What the fence of one port dropped because it was to be passed on, noted from time to time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misled {
    /// As counted last; none before the first count.
    counted: Option<u64>,
    /// The first and the last time at which there were more, if there were.
    lasted: Option<(Instant, Instant)>,
    /// Packets in that time.
    packets: u64,
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
            Some((_, newest)) if now.since(*newest) < PAUSE_MAX => {
                *newest = now;
                self.packets = self.packets.saturating_add(more);
            }
            lasted => {
                *lasted = Some((now, now));
                self.packets = more;
            }
        }
    }

    /// So many packets in so long a time, if that is no matter of a moment and not over.
    fn lately(&self, now: Instant) -> Option<(u64, Duration)> {
        let (first, newest) = self.lasted?;
        let time = newest.since(first);
        (time >= SETTLED && now.since(newest) < PAUSE_MAX).then_some((self.packets, time))
    }
}

/// Ports of a standby to which packets come that the active should have.
pub(super) fn misled(status: &Status, around: &Around) -> Vec<Trouble> {
    let serves = |role| role == EffectiveRole::Active;
    let active = status
        .peers
        .iter()
        .find(|peer| peer.liveness == Liveness::Alive && peer.role.is_some_and(serves));
    let Some(active) = active.filter(|_| status.role == EffectiveRole::Standby) else {
        return Vec::new();
    };
    let told = |(port, misled): (&crate::PortId, &Misled)| {
        let (packets, time) = misled.lately(around.now)?;
        let (name, shown) = (around.node(active.node), around.port(*port));
        Some(trouble(
            TroubleKind::NeighboursMisled,
            format!(
                "{packets} packets to be passed on came to {shown} in {} s and were dropped: \
                 {name} serves, and some neighbour there still sends to this gateway's own MAC",
                time.as_secs()
            ),
            "clear that neighbour's ARP entry; if it comes back, its router is this gateway's own \
             address and must be the virtual one. Where hosts or switches refuse announcements, \
             use a virtual MAC",
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

    /// A counter read once a second, and what is told of it then.
    fn told(counters: &[u64]) -> Option<(u64, u64)> {
        let mut misled = Misled::default();
        let mut now = 0;
        for counter in counters {
            misled.note(at(now), *counter);
            now += 1_000;
        }
        let lately = misled.lately(at(now - 1_000));
        lately.map(|(packets, time)| (packets, time.as_secs()))
    }

    /// What was counted before anybody looked, and what was on its way, is no trouble.
    #[test]
    fn misled_is_what_lasts() {
        assert_eq!(told(&[7, 7, 7, 7, 7, 7, 7, 7]), None);
        assert_eq!(told(&[0, 5, 9, 9, 9, 9, 9, 9]), None, "a moment");
        assert_eq!(told(&[0, 1, 2, 3, 4, 5]), None, "four seconds");
        assert_eq!(told(&[0, 1, 2, 3, 4, 5, 6]), Some((6, 5)));
        assert_eq!(told(&[0, 1, 1, 1, 1, 1, 2]), Some((2, 5)), "a slow one");
    }

    /// A fence that was built anew counts from 0, and what pauses begins anew.
    #[test]
    fn misled_counts_each_occasion() {
        assert_eq!(told(&[90, 91, 92, 1, 2, 3, 4]), Some((6, 5)));
        let mut misled = Misled::default();
        for (time, counter) in [(0, 0), (1_000, 1), (6_000, 2)] {
            misled.note(at(time), counter);
        }
        assert_eq!(misled.lately(at(15_999)).map(|it| it.0), Some(2));
        assert_eq!(misled.lately(at(16_000)), None, "over");
        misled.note(at(16_000), 3);
        assert_eq!(misled.lately(at(16_000)), None, "another occasion");
    }
}
