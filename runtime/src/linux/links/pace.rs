//! How often a port is looked at: as often as the kernel may be late to tell of it.
//!
//! The kernel tells of a lost carrier at once where the interface's link is another one (veth,
//! VLAN, macvlan). Where it is its own, as on network cards, it may hold the news back if any link
//! of the host changed within the last second. So the ports of a quiet gateway are looked at
//! rarely, and those that may be late often for as long as something else just changed.
//!
//! Ports are looked at on one grid of times, and each pace is twice the next shorter one: a waking
//! costs more than a look, so what is due is looked at in the same one.
//!
//! The limit: a change in another network namespace delays the news as well and raises no alarm
//! here; such a carrier is found after the pace without alarm.

use std::time::Duration;

use steadfast_core::Instant;

/// A cable to a peer whose news may be late (D18: 2 to 10 ms): a dead peer is known by it.
const DIRECT_LATE: Duration = Duration::from_millis(4);
/// The same where the peers have nothing to lose: this gateway serves. And any other port.
const LATE: Duration = Duration::from_millis(8);
/// A port whose news may be late, while they are likely to be.
const ALARMED: Duration = Duration::from_millis(2);
/// A cable to a peer of whose state the kernel tells at once: the poll is for lost events.
const DIRECT: Duration = Duration::from_millis(8);
/// The same for any other port.
const OTHER: Duration = Duration::from_millis(16);

/// How long news may be late after a link changed: the kernel sends them each second.
pub(super) const ALARM: Duration = Duration::from_millis(1200);
/// How often to ask which interface has a port's name, if no event says that it changed.
pub(super) const IDENTIFY: Duration = Duration::from_millis(250);

/// What decides how often a port is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks {
    /// It is a cable to a peer.
    pub(super) direct: bool,
    /// The kernel may hold its news back.
    pub(super) may_be_late: bool,
    /// Some link changed just now.
    pub(super) is_alarmed: bool,
    /// This gateway serves.
    pub(super) serves: bool,
}

/// When the next look at a port is due: the next time on the grid of its pace.
pub(super) fn next_look(now: Instant, looks: Looks) -> Instant {
    let step = u64::try_from(pace(looks).as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(
        (now.as_nanos() / step)
            .saturating_add(1)
            .saturating_mul(step),
    )
}

/// How long after one look at a port the next one is due.
fn pace(looks: Looks) -> Duration {
    match (looks.may_be_late, looks.is_alarmed, looks.direct) {
        (true, true, _) => ALARMED,
        (true, false, true) if !looks.serves => DIRECT_LATE,
        (true, false, _) => LATE,
        (false, _, true) => DIRECT,
        (false, _, false) => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cable is never looked at less often than another port, nor any port in an alarm less
    /// often than without; and none less often than the papers allow.
    #[test]
    fn pace_grows_with_what_may_be_missed() {
        for bits in 0..8 {
            let [may_be_late, is_alarmed, serves] = [1, 2, 4].map(|bit| bits & bit != 0);
            let looks = Looks {
                direct: false,
                may_be_late,
                is_alarmed,
                serves,
            };
            let other = pace(looks);
            let direct = pace(Looks {
                direct: true,
                ..looks
            });
            assert!(direct <= other && direct <= Duration::from_millis(10));
            assert!(other <= Duration::from_millis(20));
            let with = |change: fn(&mut Looks)| {
                let mut changed = looks;
                change(&mut changed);
                pace(changed)
            };
            assert!(with(|it| it.is_alarmed = true) <= other);
            assert!(with(|it| it.may_be_late = true) <= other);
            assert!(with(|it| it.serves = false) <= other);
        }
    }

    /// Whatever was looked at when, what is due at the same pace is due together.
    #[test]
    fn pace_keeps_ports_together() {
        let looks = Looks {
            direct: true,
            may_be_late: true,
            is_alarmed: false,
            serves: false,
        };
        let serves = Looks {
            serves: true,
            ..looks
        };
        let due = |micros: u64, looks| {
            let now = Instant::from_nanos(micros * 1_000);
            next_look(now, looks).as_nanos() / 1_000
        };
        assert_eq!(due(0, looks), 4_000);
        assert_eq!(due(3_999, looks), 4_000);
        assert_eq!(due(4_000, looks), 8_000);
        assert_eq!(due(1_234, serves), 8_000, "with every second of the other");
    }
}
