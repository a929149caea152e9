//! The node's deadlines: one slot per timer, so arming twice moves and never duplicates.

use crate::Instant;

/// What a deadline is for. Declaration order breaks ties: duties before decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    /// The next periodic advertisement.
    Advertise,
    /// The next announcement of a burst.
    Announce,
    /// The next ask of the active peer's kernel in quiet times (D8).
    Ask,
    /// The next repetition of a CLAIM (D10).
    ClaimRepeat,
    /// The next frame, or the end, of a hand-over this node gives (D10).
    Give,
    /// The end of what lets this node serve: its grant, or its peers' consent (D14).
    Grant,
    /// The end of this node's readiness to take (D10).
    Take,
    /// The end of forwarding after a hand-over (D10).
    TailEnd,
    /// The next round after the lease was lost (D15).
    Relisten,
    /// The next round of a confirm burst, or its verdict (D7, D8).
    Round,
    /// The active peer's advertisement is overdue.
    Silence,
    /// The next uptime to record (D16).
    Uptime,
}

/// How many timers there are.
pub(crate) const COUNT: usize = 12;

const ALL: [Timer; COUNT] = [
    Timer::Advertise,
    Timer::Announce,
    Timer::Ask,
    Timer::ClaimRepeat,
    Timer::Give,
    Timer::Grant,
    Timer::Take,
    Timer::TailEnd,
    Timer::Relisten,
    Timer::Round,
    Timer::Silence,
    Timer::Uptime,
];

/// All deadlines of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct TimerTable {
    slots: [Option<Instant>; COUNT],
}

impl TimerTable {
    /// Sets the deadline of `timer`, replacing an earlier one.
    pub(crate) fn arm(&mut self, timer: Timer, at: Instant) {
        self.slots[timer as usize] = Some(at);
    }

    /// Forgets the deadline of `timer`.
    pub(crate) fn disarm(&mut self, timer: Timer) {
        self.slots[timer as usize] = None;
    }

    /// The deadline of `timer`.
    pub(crate) fn at(&self, timer: Timer) -> Option<Instant> {
        self.slots[timer as usize]
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.slots.iter().flatten().min().copied()
    }

    /// Takes the earliest deadline that has come, with the time it was due.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<(Timer, Instant)> {
        let due = |timer: &Timer| {
            self.at(*timer)
                .filter(|at| *at <= now)
                .map(|at| (at, *timer))
        };
        let (at, timer) = ALL.iter().filter_map(due).min()?;
        self.disarm(timer);
        Some((timer, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_expire_earliest_first_and_once() {
        let mut table = TimerTable::default();
        table.arm(Timer::Silence, Instant::from_millis(3));
        table.arm(Timer::Advertise, Instant::from_millis(5));
        table.arm(Timer::Advertise, Instant::from_millis(2));
        let now = Instant::from_millis(4);
        assert_eq!(table.next(), Some(Instant::from_millis(2)));
        assert_eq!(
            table.take_expired(now),
            Some((Timer::Advertise, Instant::from_millis(2)))
        );
        assert_eq!(
            table.take_expired(now),
            Some((Timer::Silence, Instant::from_millis(3)))
        );
        assert_eq!(table.take_expired(now), None);
    }

    #[test]
    fn timers_have_one_slot_each() {
        for (place, timer) in ALL.iter().enumerate() {
            assert_eq!(*timer as usize, place, "{timer:?} stands at its own slot");
        }
    }
}
