//! Oracles: what must be true of every run, judged on wire evidence.
//!
//! An oracle sees two things: that the picture stood still for a while ([`Oracle::hold`]) and that
//! an event happened ([`Oracle::observe`]). States are judged only over time that passed, so the
//! order of simultaneous events cannot matter. What a node says of itself is read by
//! [`kernel_matches_role`], [`status_truthful`], [`alerts`] and [`troubles`] alone, whose matter it
//! is, and by [`converges`], which wants all to agree.
//!
//! A finding passes, fails, or is `unknown`: an expectation whose condition never arose
//! (`armed = false`) has proven nothing.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::Instant;

use crate::picture::Picture;
use crate::trace::Event;

pub mod alerts;
pub mod at_most_one_active;
pub mod bounded;
pub mod calls;
pub mod converges;
pub mod exactly_one_active;
pub mod hooks_follow;
mod judge;
pub mod kernel_matches_role;
pub mod no_flap;
pub mod outage;
mod overlap;
pub mod pacified_stays_out;
pub mod standby_is_silent;
pub mod status_truthful;
mod tally;
#[cfg(test)]
pub(crate) mod testing;
pub mod troubles;
pub mod vip_owner_agrees;
mod window;

pub use judge::{Judge, judge};
pub use tally::{Lag, Tally};
pub use window::Window;

/// Watches one thing that must be true.
pub trait Oracle {
    /// Nothing changed from `from` until `to`; both lie inside the window.
    fn hold(&mut self, from: Instant, to: Instant, scene: &Scene<'_>) {
        let _ = (from, to, scene);
    }

    /// Something happened, and the picture already shows it. Told for every event of the run, also
    /// outside the window.
    fn observe(&mut self, event: &Event, scene: &Scene<'_>) {
        let _ = (event, scene);
    }

    /// The run is over; everything up to `end` was held.
    fn finish(&mut self, end: Instant, scene: &Scene<'_>) -> Report;
}

/// What an oracle looks at.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What the wire has shown.
    pub picture: &'a Picture,
    /// When the oracle is asked to look.
    pub window: &'a Window,
}

/// What an oracle saw, before its expectation is weighed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether the condition it watches for ever arose.
    pub armed: bool,
    /// The first thing that was wrong.
    pub first: Option<Violation>,
    /// How often something was wrong.
    pub violation_count: u32,
    /// The longest time something was wrong.
    pub longest: Duration,
    /// What was measured, in words.
    pub evidence: String,
}

/// Something that was wrong, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Since when.
    pub from: Instant,
    /// Until when it was seen.
    pub until: Instant,
    /// What, in words with names.
    pub text: String,
}

/// Right, wrong, or not to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As expected.
    Pass,
    /// The evidence does not suffice.
    Unknown,
    /// Not as expected.
    Fail,
}

impl Verdict {
    /// The verdict over all: fail before unknown before pass.
    pub fn of(findings: &[Finding]) -> Self {
        findings
            .iter()
            .map(|finding| finding.verdict)
            .max()
            .unwrap_or(Self::Unknown)
    }
}

/// An expectation, weighed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The oracle.
    pub oracle: String,
    /// The stream, segment, gateway or hook it looked at; empty for everything.
    pub scope: String,
    /// The place of its expectation in the plan; none for the ones that always watch.
    pub expectation: Option<usize>,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the condition it watches for ever arose.
    pub armed: bool,
    /// The first thing that was wrong, tolerated or not.
    pub first_violation: Option<Violation>,
    /// How often something was wrong.
    pub violation_count: u32,
    /// The longest time something was wrong, in nanoseconds.
    pub longest_ns: u64,
    /// What was measured, and why the verdict is not a plain one.
    pub evidence: String,
}
