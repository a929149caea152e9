//! Processor time of this process: what work costs, whatever else runs on the machine.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time so far, all threads together.
pub(crate) fn time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    /// A clock that stood still would make everything look free.
    #[test]
    fn processor_time_counts_work() {
        let before = time();
        let sum = (0..50_000_000_u64).fold(0, |sum, number| black_box(sum ^ number));
        assert!(time() > before, "{sum} took no time");
    }
}
