//! Time as the core sees it: nanoseconds since an origin that the caller chose.
//!
//! The standard library's `Instant` cannot be written down, so a trace that used it could not be
//! replayed. This one is a plain number: it serialises, compares and hashes the same everywhere.
//! All arithmetic saturates; no input can make it panic.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in monotonic time: nanoseconds since the caller's origin.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Instant(u64);

impl Instant {
    /// The caller's origin.
    pub const ORIGIN: Self = Self(0);
    /// Later than every instant that can occur (584 years after the origin).
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// The instant this many nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant this many milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The instant `wait` later.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(nanos(wait)))
    }

    /// The instant `wait` earlier, or the origin.
    pub fn before(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(wait)))
    }

    /// Time that passed since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0 / 1_000_000;
        write!(f, "{}.{:03}s", millis / 1000, millis % 1000)
    }
}

fn nanos(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_arithmetic_saturates_at_both_ends() {
        assert_eq!(
            Instant::FAR_FUTURE.after(Duration::from_secs(1)),
            Instant::FAR_FUTURE
        );
        assert_eq!(
            Instant::ORIGIN.before(Duration::from_secs(1)),
            Instant::ORIGIN
        );
        assert_eq!(
            Instant::ORIGIN.since(Instant::from_millis(5)),
            Duration::ZERO
        );
        assert_eq!(Instant::from_millis(1500).to_string(), "1.500s");
    }
}
