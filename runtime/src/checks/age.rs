//! How long a file has been as it is, whatever is done to the wall clock (F10).
//!
//! A file's own time of change is of the wall clock, and so is its age as most tools work it out:
//! who sets a clock forth by an hour makes every file an hour older, and every gateway sick. Here a
//! change is what is seen: a time of change other than that of the last look, whichever it is. It
//! is no older than that look was, whatever its date says, and ages by a clock that nobody sets.
//!
//! The hard case is the first look, before any change was seen: then the file's time against the
//! wall clock is all there is, and a time in the future counts as now.
//!
//! Limit: while clocks are set an age is known to within one look. A clock that was wrong at the
//! first look leaves that age wrong until the file changes.

use std::time::{Duration, Instant, SystemTime};

/// What was seen of a file's time of change, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen(Option<Since>);

#[derive(Clone, Copy, Debug)]
struct Since {
    /// The file's time of change.
    changed: SystemTime,
    /// When it was first seen.
    seen: Instant,
    /// How old it was then.
    old: Duration,
    /// When it was looked at last.
    looked: Instant,
}

impl Seen {
    /// The age of a file whose time of change is this, at `now`. The wall clock is asked as a
    /// change is seen, and believed as far as the last look goes back.
    pub(super) fn age(
        &mut self,
        changed: SystemTime,
        now: Instant,
        wall: impl FnOnce() -> SystemTime,
    ) -> Duration {
        let since = match self.0 {
            Some(since) if since.changed == changed => Since {
                looked: now,
                ..since
            },
            before => {
                // It changed behind the last look, whatever its date says.
                let most = before.map(|before| now.saturating_duration_since(before.looked));
                let old = wall().duration_since(changed).unwrap_or_default();
                Since {
                    changed,
                    seen: now,
                    old: most.map_or(old, |most| old.min(most)),
                    looked: now,
                }
            }
        };
        self.0 = Some(since);
        since.old + now.saturating_duration_since(since.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

    /// The clock that files are stamped with goes by the real time, and is set twice.
    #[test]
    fn check_age_of_a_file_counts_from_its_last_change_whatever_the_clock_shows() {
        let (start, epoch) = (Instant::now(), SystemTime::UNIX_EPOCH + YEARS);
        let mut seen = Seen::default();
        let mut age = |changed, after, wall: SystemTime| seen.age(changed, start + after, || wall);
        assert_eq!(
            age(epoch, Duration::ZERO, epoch + SECOND * 7),
            SECOND * 7,
            "as it was found"
        );
        for wall in [epoch + YEARS, epoch - YEARS] {
            assert_eq!(
                age(epoch, SECOND * 3, wall),
                SECOND * 10,
                "a clock that is set ages nothing"
            );
        }
        let touched = epoch + YEARS;
        assert_eq!(
            age(touched, SECOND * 4, epoch - YEARS),
            Duration::ZERO,
            "a change is a change"
        );
        assert_eq!(age(touched, SECOND * 6, touched + YEARS), SECOND * 2);
        let back = epoch - YEARS;
        assert_eq!(
            age(back, SECOND * 8, epoch),
            SECOND * 2,
            "as is one of an earlier date, behind the last look"
        );
        assert_eq!(
            age(back, SECOND * 70, epoch),
            SECOND * 64,
            "and it ages again"
        );
    }

    /// A check that is run once a minute, of a file that was touched for the last time soon after.
    #[test]
    fn check_age_of_a_file_is_that_of_its_date_between_two_looks() {
        let (start, epoch) = (Instant::now(), SystemTime::UNIX_EPOCH + YEARS);
        let mut seen = Seen::default();
        assert_eq!(seen.age(epoch, start, || epoch), Duration::ZERO);
        let (touched, minute) = (epoch + SECOND * 5, SECOND * 60);
        let age = seen.age(touched, start + minute, || epoch + minute);
        assert_eq!(age, SECOND * 55);
    }

    #[test]
    fn check_age_of_a_file_from_the_future_is_none_at_first() {
        let (start, epoch) = (Instant::now(), SystemTime::UNIX_EPOCH + YEARS);
        let mut seen = Seen::default();
        assert_eq!(seen.age(epoch + YEARS, start, || epoch), Duration::ZERO);
        assert_eq!(seen.age(epoch + YEARS, start + SECOND, || epoch), SECOND);
    }
}
