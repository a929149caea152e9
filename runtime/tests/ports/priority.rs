//! Precedence: whatever is refused, the thread goes on, and says what it has.

use std::time::{Duration, Instant};

use steadfast::linux::priority::{RUN_MAX, Scheduling, demotions, take_precedence, take_share};

/// As the kernel numbers policies (sched.h).
const ORDINARY: u32 = 0;
const FIFO: u32 = 1;

/// What is not granted is explained; and memory can be had afterwards, also where locking it is
/// limited.
#[test]
fn priority_refusals_are_explained_and_memory_can_be_had() {
    if !inside_own_namespace!("priority_refusals_are_explained_and_memory_can_be_had") {
        return;
    }
    let granted = take_precedence();
    println!("{granted:?}");
    let whole = granted.scheduling == Scheduling::Fifo && granted.memory_locked;
    assert!(whole || !granted.notes.is_empty(), "refused without a word");
    let large = vec![1_u8; 32 << 20];
    assert_eq!(std::hint::black_box(&large)[large.len() - 1], 1);
}

/// A heartbeat thread that runs away would stop a small gateway for good: it loses its precedence
/// instead, and is not killed.
#[test]
fn priority_runaway_thread_becomes_ordinary() {
    if !inside_own_namespace!("priority_runaway_thread_becomes_ordinary") {
        return;
    }
    if take_precedence().scheduling != Scheduling::Fifo {
        println!("not run: needs real-time scheduling (CAP_SYS_NICE)");
        return;
    }
    let start = Instant::now();
    while demotions() == 0 {
        let ran = start.elapsed();
        assert!(ran < Duration::from_secs(10), "still before all others");
        std::hint::spin_loop();
    }
    println!(
        "demoted after {:?}, at most {RUN_MAX:?} of running",
        start.elapsed()
    );
    assert_eq!(policy(), ORDINARY);
}

/// The policy of the calling thread, as the kernel tells it (field 41 of its `stat`).
fn policy() -> u32 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let policy = fields.split_whitespace().nth(38).expect("41 fields");
    policy.parse().expect("a number")
}

/// A thread that arms leases comes before ordinary ones, but not while it does what takes long. If
/// it runs away, it alone becomes ordinary: heartbeats still come first.
#[test]
fn priority_runaway_helper_costs_heartbeats_nothing() {
    if !inside_own_namespace!("priority_runaway_helper_costs_heartbeats_nothing") {
        return;
    }
    if take_precedence().scheduling != Scheduling::Fifo {
        println!("not run: needs real-time scheduling (CAP_SYS_NICE)");
        return;
    }
    let helper = || {
        let share = take_share();
        assert_eq!((share.scheduling(), policy()), (Scheduling::Fifo, FIFO));
        assert_eq!(share.at_ease(policy), ORDINARY);
        assert_eq!(policy(), FIFO, "as before");
        let start = Instant::now();
        while policy() == FIFO {
            assert!(start.elapsed() < Duration::from_secs(10), "still early");
        }
        assert_eq!(share.at_ease(policy), ORDINARY);
        assert_eq!(policy(), ORDINARY, "what was lost stays lost");
    };
    std::thread::scope(|scope| scope.spawn(helper).join().unwrap());
    assert_eq!((demotions(), policy()), (0, FIFO));
    // The helper's overrun bought nobody a longer run.
    let start = processor_time();
    while demotions() == 0 {
        assert!(
            processor_time() - start < RUN_MAX * 2,
            "later than {RUN_MAX:?}"
        );
    }
    assert_eq!(policy(), ORDINARY);
}

/// What the calling thread has run so far.
fn processor_time() -> Duration {
    let ran = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(ran.tv_sec).expect("not before the start");
    Duration::new(
        seconds,
        u32::try_from(ran.tv_nsec).expect("less than a second"),
    )
}
