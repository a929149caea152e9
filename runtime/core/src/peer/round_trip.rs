//! How long answers took lately: wide at once, narrow by and by (D7).
//!
//! The hard case is the single late answer. It may be a box that stood still, which says nothing of
//! the way, so it is the second longest that counts. The limit: a way that becomes longer is known
//! with its second answer.

use core::time::Duration;

use crate::Instant;

/// See [`RoundTrip::note`].
const NARROWED_BY: u32 = 32;
/// See [`RoundTrip::note`].
const NARROWED_EVERY: Duration = Duration::from_millis(500);
/// Answers that come within this are one event.
const TOGETHER: Duration = Duration::from_millis(20);

/// The two longest round trips lately. The second counts: a single answer may come late because a
/// box stood still, and many that come at once because a router asked for their receiver first; a
/// path that is slow shows it twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RoundTrip {
    longest: Duration,
    second: Duration,
    /// The longest of those that came together last.
    newest: Duration,
    begun_at: Option<Instant>,
    narrowed_at: Option<Instant>,
}

impl RoundTrip {
    /// One more sample. What was measured before shrinks by a part in [`NARROWED_BY`] each
    /// [`NARROWED_EVERY`] at most, so windows widen at once and narrow to half in 11 to 22 s,
    /// however often is asked.
    pub(crate) fn note(&mut self, sample: Duration, now: Instant) {
        let over = |at: Option<Instant>, time| at.is_none_or(|at| now.since(at) >= time);
        if over(self.narrowed_at, NARROWED_EVERY) {
            self.narrowed_at = Some(now);
            self.longest -= self.longest / NARROWED_BY;
            self.second -= self.second / NARROWED_BY;
        }
        if over(self.begun_at, TOGETHER) {
            [self.longest, self.second] = self.two_longest();
            self.newest = sample;
            self.begun_at = Some(now);
        } else {
            self.newest = self.newest.max(sample);
        }
    }

    fn two_longest(self) -> [Duration; 2] {
        if self.newest > self.longest {
            [self.newest, self.longest]
        } else {
            [self.longest, self.second.max(self.newest)]
        }
    }

    /// One answer came, and the next will tell more.
    pub(crate) fn is_learnt_soon(self) -> bool {
        let [longest, second] = self.two_longest();
        second.is_zero() && !longest.is_zero()
    }

    /// The longest that was no single event.
    pub(crate) fn usual_longest(self) -> Duration {
        let [_, second] = self.two_longest();
        second
    }

    /// The longest, be it the only one.
    pub(crate) fn longest(self) -> Duration {
        let [longest, _] = self.two_longest();
        longest
    }
}
