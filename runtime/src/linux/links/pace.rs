//! How often a port is looked at: as often as the kernel may be late to tell of it.
//!
//! The kernel tells of a lost carrier at once where the interface's link is another one (veth,
//! VLAN, macvlan). Where it is its own, as on network cards, it may hold the news back if any link
//! of the host changed within the last second. So the ports of a quiet gateway are looked at
//! rarely, and those that may be late often for as long as something else just changed.
//!
//! The limit: a change in another network namespace delays the news as well and raises no alarm
//! here; such a carrier is found after the pace without alarm.

use std::time::Duration;

/// A cable to a peer whose news may be late (D18: 2 to 10 ms): a dead peer is known by it.
const DIRECT_LATE: Duration = Duration::from_millis(4);
/// Any other port whose news may be late.
const LATE: Duration = Duration::from_millis(10);
/// A port whose news may be late, while they are likely to be.
const ALARMED: Duration = Duration::from_millis(2);
/// A cable to a peer of whose state the kernel tells at once: the poll is for lost events.
const DIRECT: Duration = Duration::from_millis(10);
/// The same for any other port.
const OTHER: Duration = Duration::from_millis(20);

/// How long news may be late after a link changed: the kernel sends them each second.
pub(super) const ALARM: Duration = Duration::from_millis(1200);
/// How often to ask which interface has a port's name, if no event says that it changed.
pub(super) const IDENTIFY: Duration = Duration::from_millis(250);

/// How long after one look at a port the next one is due.
pub(super) fn pace(direct: bool, may_be_late: bool, is_alarmed: bool) -> Duration {
    match (may_be_late, is_alarmed, direct) {
        (true, true, _) => ALARMED,
        (true, false, true) => DIRECT_LATE,
        (true, false, false) => LATE,
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
        for may_be_late in [false, true] {
            for is_alarmed in [false, true] {
                let other = pace(false, may_be_late, is_alarmed);
                let direct = pace(true, may_be_late, is_alarmed);
                assert!(direct <= other && direct <= Duration::from_millis(10));
                assert!(other <= Duration::from_millis(20));
                assert!(pace(false, may_be_late, true) <= other);
                assert!(pace(false, true, is_alarmed) <= other);
            }
        }
    }
}
