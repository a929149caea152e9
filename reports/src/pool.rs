//! Spreads independent work over threads and hands the results back in order.
//!
//! Threads take the next number each and answer through one bounded channel; the caller's thread
//! puts the answers in order. So what the caller makes of them cannot depend on how many threads
//! there were or which was faster. The hard case is one slow piece at the head: the others may run
//! ahead by [`AHEAD_MAX`] and then wait, so that memory stays bounded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

/// Answers on their way; a thread that finds the channel full waits.
const CHANNEL_DEPTH: usize = 256;
/// How far threads may be ahead of the first missing answer; beyond it they wait.
const AHEAD_MAX: u64 = 1 << 16;
/// How long a thread that is too far ahead sleeps before it looks again.
const NAP: Duration = Duration::from_millis(1);

/// Does `work` for 0, 1, … `count - 1` on so many threads and gives each result to `take` in that
/// order, on the caller's thread. The first error of `take` stops everything and is returned.
pub(crate) fn in_order<R: Send, E>(
    count: u64,
    threads: usize,
    work: impl Fn(u64) -> R + Sync,
    take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let shared = Shared {
        count,
        next: AtomicU64::new(0),
        taken: AtomicU64::new(0),
    };
    let (sender, results) = mpsc::sync_channel(CHANNEL_DEPTH);
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let sender = sender.clone();
            let (shared, work) = (&shared, &work);
            scope.spawn(move || shared.work(work, &sender));
        }
        drop(sender);
        let ended = shared.put_in_order(results, take);
        // Nobody waits for a result that will not be taken.
        shared.taken.store(u64::MAX, Ordering::Relaxed);
        ended
    })
}

struct Shared {
    count: u64,
    next: AtomicU64,
    taken: AtomicU64,
}

impl Shared {
    fn work<R>(&self, work: impl Fn(u64) -> R, sender: &SyncSender<(u64, R)>) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return;
            }
            while number >= self.taken.load(Ordering::Relaxed).saturating_add(AHEAD_MAX) {
                thread::sleep(NAP);
            }
            if sender.send((number, work(number))).is_err() {
                return;
            }
        }
    }

    /// Takes the receiver, so that it is gone when this ends and no thread keeps sending.
    fn put_in_order<R, E>(
        &self,
        results: Receiver<(u64, R)>,
        mut take: impl FnMut(R) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut early = BTreeMap::new();
        let mut expected = 0;
        for (number, result) in results {
            early.insert(number, result);
            while let Some(result) = early.remove(&expected) {
                take(result)?;
                expected += 1;
                self.taken.store(expected, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first pieces take longest, so other threads are ahead; the order must not show it.
    #[test]
    fn pool_results_come_in_order_whatever_the_threads() {
        for threads in [1, 2, 7] {
            let mut taken = Vec::new();
            let slow_start = |number: u64| {
                thread::sleep(Duration::from_millis(8_u64.saturating_sub(number)));
                number * number
            };
            let take = |result| {
                taken.push(result);
                Ok::<(), ()>(())
            };
            assert_eq!(in_order(100, threads, slow_start, take), Ok(()));
            assert_eq!(
                taken,
                (0..100).map(|number| number * number).collect::<Vec<u64>>()
            );
        }
    }

    /// The head of the work is slow: the others stop at the bound instead of filling memory, and
    /// nothing is lost.
    #[test]
    fn pool_slow_head_bounds_what_runs_ahead() {
        let count = AHEAD_MAX + 1000;
        let furthest = AtomicU64::new(0);
        let ahead_at_head = AtomicU64::new(0);
        let work = |number: u64| {
            if number == 0 {
                while furthest.load(Ordering::Relaxed) + 1 < AHEAD_MAX {
                    thread::sleep(NAP);
                }
                thread::sleep(NAP * 20);
                ahead_at_head.store(furthest.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            furthest.fetch_max(number, Ordering::Relaxed);
        };
        let mut taken = 0;
        let take = |()| {
            taken += 1;
            Ok::<(), ()>(())
        };
        assert_eq!(in_order(count, 3, work, take), Ok(()));
        assert_eq!(taken, count);
        assert_eq!(ahead_at_head.into_inner(), AHEAD_MAX - 1);
    }

    /// Somebody who cannot take any more stops the threads, also those that wait.
    #[test]
    fn pool_error_stops_the_work() {
        let done = AtomicU64::new(0);
        let work = |number: u64| {
            done.fetch_add(1, Ordering::Relaxed);
            number
        };
        let take = |number| if number == 3 { Err("full") } else { Ok(()) };
        assert_eq!(in_order(u64::MAX / 2, 2, work, take), Err("full"));
        assert!(done.into_inner() < AHEAD_MAX, "the threads went on");
    }
}
