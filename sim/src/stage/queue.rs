//! The event heap: what happens next, in one total order.
//!
//! Events at the same instant happen in the order in which they were scheduled, so a run is a
//! function of its scenario and seed and of nothing else.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use steadfast_core::Instant;

/// Most events waiting. A run that reaches it is cut short and judged `unknown`: something floods.
pub const EVENTS_MAX: usize = 1 << SLOT_BITS;
/// Of the lower half of a key, those that name the slot.
const SLOT_BITS: u32 = 20;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

/// When an event is due, the how manyth it was (44 bits: no run has ten million million), and in
/// which slot it lies, from the highest bits to the lowest: one comparison orders two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u128);

impl Key {
    fn new(at: Instant, number: u64, slot: usize) -> Self {
        let lower = number << SLOT_BITS | slot as u64;
        Self(u128::from(at.as_nanos()) << 64 | u128::from(lower))
    }

    const fn at(self) -> Instant {
        Instant::from_nanos((self.0 >> 64) as u64)
    }

    const fn slot(self) -> usize {
        (self.0 as u64 & SLOT_MASK) as usize
    }
}

/// Events by time, first scheduled first. The heap moves keys alone; events lie still.
#[derive(Clone, Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Key>>,
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    scheduled: u64,
    overflowed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
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
        let slot = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(slot) {
            Some(place) => *place = Some(event),
            None => self.slots.push(Some(event)),
        }
        let key = Key::new(at, self.scheduled, slot);
        self.heap.push(Reverse(key));
    }

    /// Takes the next event.
    pub(crate) fn pop(&mut self) -> Option<(Instant, T)> {
        let Reverse(key) = self.heap.pop()?;
        self.free.push(key.slot());
        let event = self.slots.get_mut(key.slot())?.take()?;
        Some((key.at(), event))
    }

    /// When the next event is due.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(key)| key.at())
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

    /// A slot that was left is used again, and whoever lies in it comes in its own turn.
    #[test]
    fn queue_uses_its_slots_again() {
        let mut queue = Queue::default();
        for turn in 0..100 {
            queue.push(Instant::from_millis(turn + 2), turn);
            queue.push(Instant::from_millis(1_000), turn);
            assert_eq!(queue.pop(), Some((Instant::from_millis(turn + 2), turn)));
        }
        assert_eq!(queue.slots.len(), 101);
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert!(rest.iter().map(|(_, turn)| *turn).eq(0..100));
        assert_eq!(queue.slots.len(), 101);
    }
}
