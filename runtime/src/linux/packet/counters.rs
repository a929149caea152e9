//! What is counted on ports, and a board on which the driver tells it to other threads.
//!
//! The driver alone counts, in plain numbers; now and then it copies them to the board, which is
//! read without a lock. The limit: two counters of a board may be of different moments.

use std::sync::atomic::{AtomicU64, Ordering};

use steadfast_core::PortId;

/// What was counted on a port since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames handed over.
    pub received: u64,
    /// Frames that passed the filter and found no room in the socket.
    pub dropped_by_kernel: u64,
    /// Frames longer than [`FRAME_MAX`], in or out.
    pub too_long: u64,
    /// Frames that left.
    pub sent: u64,
    /// Frames that the lease guard refused (D9).
    pub refused: u64,
    /// Frames for which there was no room, or that failed otherwise.
    pub no_room: u64,
    /// Frames that were not sent because the port had no carrier.
    pub no_carrier: u64,
    /// Times the port was opened again.
    pub reopened: u64,
    /// Times that failed; the interface was not there.
    pub reopen_failed: u64,
}

/// How many counters a port has.
const COUNTERS: usize = 9;

impl PortCounters {
    /// Every counter with its name.
    pub const fn named(&self) -> [(&'static str, u64); COUNTERS] {
        [
            ("received", self.received),
            ("dropped_by_kernel", self.dropped_by_kernel),
            ("too_long", self.too_long),
            ("sent", self.sent),
            ("refused", self.refused),
            ("no_room", self.no_room),
            ("no_carrier", self.no_carrier),
            ("reopened", self.reopened),
            ("reopen_failed", self.reopen_failed),
        ]
    }
}

/// The counters of all ports, for other threads.
#[derive(Debug, Default)]
pub struct CounterBoard(Vec<(PortId, [AtomicU64; COUNTERS])>);

impl CounterBoard {
    pub(super) fn new(ports: impl Iterator<Item = PortId>) -> Self {
        Self(ports.map(|port| (port, Default::default())).collect())
    }

    pub(super) fn publish(&self, port: PortId, counters: PortCounters) {
        let Some((_, places)) = self.0.iter().find(|(id, _)| *id == port) else {
            return;
        };
        for (place, (_, count)) in places.iter().zip(counters.named()) {
            place.store(count, Ordering::Relaxed);
        }
    }

    /// Every port's counters, as they were told last.
    pub fn ports(&self) -> impl Iterator<Item = (PortId, PortCounters)> {
        self.0.iter().map(|(id, places)| {
            let [a, b, c, d, e, f, g, h, i] =
                places.each_ref().map(|it| it.load(Ordering::Relaxed));
            let counters = PortCounters {
                received: a,
                dropped_by_kernel: b,
                too_long: c,
                sent: d,
                refused: e,
                no_room: f,
                no_carrier: g,
                reopened: h,
                reopen_failed: i,
            };
            (*id, counters)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the driver tells is what others read, counter by counter.
    #[test]
    fn counters_board_tells_each_in_its_place() {
        let board = CounterBoard::new([PortId(1), PortId(2)].into_iter());
        let told = PortCounters {
            received: 1,
            dropped_by_kernel: 2,
            too_long: 3,
            sent: 4,
            refused: 5,
            no_room: 6,
            no_carrier: 7,
            reopened: 8,
            reopen_failed: 9,
        };
        board.publish(PortId(2), told);
        let heard: Vec<_> = board.ports().collect();
        assert_eq!(
            heard,
            [(PortId(1), PortCounters::default()), (PortId(2), told)]
        );
    }
}
