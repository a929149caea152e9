//! Counts what was wrong, and how long.

use core::time::Duration;

use steadfast_core::Instant;

use super::{Report, Violation};

/// What an oracle has found so far. Violations that touch are one.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    armed: bool,
    first: Option<Violation>,
    latest: Option<(Instant, Instant)>,
    count: u32,
    longest: Duration,
}

impl Tally {
    /// Nothing found yet.
    pub const fn new() -> Self {
        Self {
            armed: false,
            first: None,
            latest: None,
            count: 0,
            longest: Duration::ZERO,
        }
    }

    /// The condition that the oracle watches for arose.
    pub const fn arm(&mut self) {
        self.armed = true;
    }

    /// Whether it arose.
    pub const fn armed(&self) -> bool {
        self.armed
    }

    /// Something was wrong from `from` until `until`. The text is made for the first one alone.
    pub fn wrong(&mut self, from: Instant, until: Instant, text: impl FnOnce() -> String) {
        self.armed = true;
        let (start, until) = match self.latest {
            Some((start, end)) if end >= from => (start, until.max(end)),
            Some(_) | None => {
                self.count += 1;
                (from, until)
            }
        };
        self.latest = Some((start, until));
        self.longest = self.longest.max(until.since(start));
        match &mut self.first {
            None => {
                let text = text();
                self.first = Some(Violation { from, until, text });
            }
            Some(first) if first.from == start => first.until = until,
            Some(_) => {}
        }
    }

    /// The report, with what was measured in words.
    pub fn report(&self, evidence: String) -> Report {
        Report {
            armed: self.armed,
            first: self.first.clone(),
            violation_count: self.count,
            longest: self.longest,
            evidence,
        }
    }
}

/// A disagreement that is allowed to last so long.
#[derive(Clone, Debug)]
pub struct Lag {
    within: Duration,
    since: Option<Instant>,
}

impl Lag {
    /// A disagreement may last `within`.
    pub const fn new(within: Duration) -> Self {
        Self {
            within,
            since: None,
        }
    }

    /// Whether there was disagreement from `from` until `to`; the part of it that lasted too long.
    pub fn hold(&mut self, wrong: bool, from: Instant, to: Instant) -> Option<(Instant, Instant)> {
        if !wrong {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(from);
        let late = from.max(since.after(self.within));
        (late < to).then_some((late, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Only what lasts longer than allowed counts, and agreement in between begins anew.
    #[test]
    fn lag_counts_only_what_lasts() {
        let mut lag = Lag::new(Duration::from_millis(10));
        assert_eq!(lag.hold(true, ms(0), ms(10)), None);
        assert_eq!(lag.hold(true, ms(10), ms(12)), Some((ms(10), ms(12))));
        assert_eq!(lag.hold(false, ms(12), ms(13)), None);
        assert_eq!(lag.hold(true, ms(13), ms(25)), Some((ms(23), ms(25))));
    }

    /// Pieces that touch are one violation, whose length is their sum.
    #[test]
    fn tally_joins_what_touches() {
        let mut tally = Tally::default();
        tally.wrong(ms(1), ms(2), || "first".to_owned());
        tally.wrong(ms(2), ms(5), || "same".to_owned());
        tally.wrong(ms(9), ms(10), || "second".to_owned());
        let report = tally.report(String::new());
        assert_eq!(report.violation_count, 2);
        assert_eq!(report.longest, Duration::from_millis(4));
        let first = report.first.unwrap();
        assert_eq!(
            (first.from, first.until, first.text.as_str()),
            (ms(1), ms(5), "first")
        );
    }
}
