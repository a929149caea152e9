//! When an oracle is asked to look.
//!
//! A window opens at a time or when a step ran, and closes likewise. If the step never ran the
//! window never opens, and the expectation is `unknown`.

use core::time::Duration;

use steadfast_core::Instant;

use crate::format::{Expectation, Moment, Span};

/// From when until when an oracle looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    after: Moment,
    until: Option<Moment>,
    /// Closes so long after it opened.
    hold: Option<Span>,
    /// Opens so much later than `after`.
    grace: Duration,
    opens: Option<Instant>,
    closes: Option<Instant>,
}

impl Window {
    /// The whole run.
    pub fn whole() -> Self {
        Self {
            after: Moment::default(),
            until: None,
            hold: None,
            grace: Duration::ZERO,
            opens: Some(Instant::ORIGIN),
            closes: None,
        }
    }

    /// As an expectation says; it opens `grace` later.
    pub fn of(expectation: &Expectation, grace: Duration) -> Self {
        let mut window = Self {
            after: expectation.after.clone().unwrap_or_default(),
            until: expectation.until.clone(),
            hold: expectation.hold,
            grace,
            opens: None,
            closes: None,
        };
        window.settle(None, Instant::ORIGIN);
        window
    }

    /// A step ran.
    pub fn step_ran(&mut self, name: &str, at: Instant) {
        self.settle(Some(name), at);
    }

    /// When it opens; none as long as that is not known.
    pub const fn opens(&self) -> Option<Instant> {
        self.opens
    }

    /// When it closes; none as long as that is not known, and then it is open to the end.
    pub const fn closes(&self) -> Option<Instant> {
        self.closes
    }

    /// Whether it is open at this instant.
    pub fn contains(&self, at: Instant) -> bool {
        self.opens.is_some_and(|opens| opens <= at) && self.closes.is_none_or(|end| at < end)
    }

    /// The part of a time that lies inside; none if that is empty.
    pub fn clip(&self, from: Instant, to: Instant) -> Option<(Instant, Instant)> {
        let from = from.max(self.opens?);
        let to = self.closes.map_or(to, |closes| to.min(closes));
        (from < to).then_some((from, to))
    }

    fn settle(&mut self, step: Option<&str>, at: Instant) {
        if self.opens.is_none() && self.after.step.as_deref() == step {
            self.opens = Some(at.after(self.after.offset.0).after(self.grace));
        }
        if let Some(until) = &self.until
            && self.closes.is_none()
            && until.step.as_deref() == step
        {
            self.closes = Some(at.after(until.offset.0));
        }
        if let (Some(opens), Some(hold), None) = (self.opens, self.hold, self.closes) {
            self.closes = Some(opens.after(hold.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Check;

    fn expectation(after: &str, until: Option<&str>) -> Expectation {
        let expectation = Expectation::of(Check::PacifiedStaysOut).after(after.parse().unwrap());
        match until {
            Some(until) => expectation.until(until.parse().unwrap()),
            None => expectation,
        }
    }

    /// A window that hangs on a step is closed until the step ran, then open from its offset on.
    #[test]
    fn window_opens_with_its_step() {
        let mut window = Window::of(&expectation("cut + 5ms", Some("heal")), Duration::ZERO);
        let (start, end) = (Instant::ORIGIN, Instant::from_millis(100));
        assert_eq!(window.clip(start, end), None);
        window.step_ran("other", Instant::from_millis(1));
        assert_eq!(window.clip(start, end), None);
        window.step_ran("cut", Instant::from_millis(10));
        assert_eq!(
            window.clip(start, end),
            Some((Instant::from_millis(15), end))
        );
        window.step_ran("heal", Instant::from_millis(50));
        let inside = (Instant::from_millis(15), Instant::from_millis(50));
        assert_eq!(window.clip(start, end), Some(inside));
        assert!(window.contains(Instant::from_millis(15)));
        assert!(!window.contains(Instant::from_millis(50)));
    }

    /// `hold` counts from when the window really opens, grace included.
    #[test]
    fn window_hold_counts_from_opening() {
        let mut held = expectation("10ms", None);
        held.hold = Some(Span::millis(20));
        let window = Window::of(&held, Duration::from_millis(5));
        assert_eq!(window.opens(), Some(Instant::from_millis(15)));
        assert_eq!(window.closes(), Some(Instant::from_millis(35)));
    }
}
