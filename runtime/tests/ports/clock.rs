//! Time and waiting, on the real kernel.

use std::time::Duration;

use steadfast::linux::clock::{Monotonic, MonotonicClock};
use steadfast_core::Instant;
use steadfast_shell::env::Clock;

use super::DEADLINE;
use crate::common::runtime;

const MS: Duration = Duration::from_millis(1);

/// A wait never ends early. How late it ends is printed: it depends on the machine.
#[test]
fn clock_waits_until_the_deadline_and_not_less() {
    runtime().block_on(async {
        let clock = MonotonicClock::new(Monotonic::start()).unwrap();
        let mut late = Vec::new();
        for _ in 0..100 {
            let deadline = clock.now().after(MS * 2);
            clock.sleep_until(deadline).await;
            assert!(clock.now() >= deadline, "woke early");
            late.push(clock.now().since(deadline));
        }
        late.sort();
        println!(
            "late: median {:?}, 99th {:?}, most {:?}",
            late[50], late[98], late[99]
        );
    });
}

/// What is past needs no wait, and the far future never comes.
#[test]
fn clock_past_is_at_once_and_far_future_never() {
    runtime().block_on(async {
        let clock = MonotonicClock::new(Monotonic::start()).unwrap();
        let past = clock.sleep_until(Instant::ORIGIN);
        tokio::time::timeout(DEADLINE, past).await.expect("at once");
        let never = clock.sleep_until(Instant::FAR_FUTURE);
        assert!(tokio::time::timeout(MS * 5, never).await.is_err());
    });
}

/// The driver drops a wait whenever something else happens: the timer it leaves, which may already
/// have rung, must neither wake nor keep asleep the one who uses it next.
#[test]
fn clock_dropped_wait_leaves_no_trace() {
    runtime().block_on(async {
        let clock = MonotonicClock::new(Monotonic::start()).unwrap();
        for round in 0..20 {
            let rung = clock.now().after(MS);
            let mut dropped = Box::pin(clock.sleep_until(rung));
            tokio::select! {
                biased;
                () = &mut dropped => {}
                () = tokio::task::yield_now() => {}
            }
            if round % 2 == 0 {
                // Let it ring unread.
                while clock.now() < rung {
                    tokio::task::yield_now().await;
                }
            }
            drop(dropped);
            let deadline = clock.now().after(MS * 2);
            let wait = clock.sleep_until(deadline);
            tokio::time::timeout(DEADLINE, wait)
                .await
                .expect("it rings");
            assert!(clock.now() >= deadline, "the old ring woke it");
        }
    });
}

/// Several waits at once, of one clock: each ends at its own time.
#[test]
fn clock_waits_side_by_side() {
    runtime().block_on(async {
        let clock = MonotonicClock::new(Monotonic::start()).unwrap();
        let start = clock.now();
        let wait = |ms: u32| {
            let clock = clock.clone();
            async move {
                clock.sleep_until(start.after(MS * ms)).await;
                clock.now()
            }
        };
        let (late, early) = tokio::join!(wait(20), wait(5));
        assert!(early >= start.after(MS * 5) && early < late);
    });
}
