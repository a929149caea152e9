//! The event heap: what happens next, in one total order.
//!
//! Events at the same instant happen in the order in which they were scheduled, so a run is a
//! function of its scenario and seed and of nothing else.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use steadfast_core::Instant;

/// Most events waiting. A run that reaches it is cut short and judged `unknown`: something floods.
pub const EVENTS_MAX: usize = 1 << 20;

#[derive(Clone, Debug)]
struct Entry<T> {
    at: Instant,
    number: u64,
    event: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Events by time, first scheduled first.
#[derive(Clone, Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    scheduled: u64,
    overflowed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            scheduled: 0,
            overflowed: false,
        }
    }
}

impl<T> Queue<T> {
    /// Schedules an event. Beyond [`EVENTS_MAX`] it is dropped and the queue says so for good.
    pub(crate) fn push(&mut self, at: Instant, event: T) {
        if self.heap.len() >= EVENTS_MAX {
            self.overflowed = true;
            return;
        }
        self.scheduled += 1;
        self.heap.push(Reverse(Entry {
            at,
            number: self.scheduled,
            event,
        }));
    }

    /// Takes the next event.
    pub(crate) fn pop(&mut self) -> Option<(Instant, T)> {
        self.heap
            .pop()
            .map(|Reverse(entry)| (entry.at, entry.event))
    }

    /// When the next event is due.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes the next event that is due at this time.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, T)> {
        self.next_at().filter(|at| *at <= now)?;
        self.pop()
    }

    /// Whether an event was ever dropped.
    pub(crate) const fn overflowed(&self) -> bool {
        self.overflowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal times keep the order of scheduling: nothing depends on the heap's inner layout.
    #[test]
    fn queue_orders_by_time_then_by_scheduling() {
        let mut queue = Queue::default();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b')] {
            queue.push(Instant::from_millis(at), event);
        }
        let order: String = std::iter::from_fn(|| queue.pop())
            .map(|(_, event)| event)
            .collect();
        assert_eq!(order, "abcd");
    }
}
