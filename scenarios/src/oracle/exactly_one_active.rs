//! Exactly one gateway answers for every virtual address.
//!
//! From `after` + `within` until the end of the window nobody is without an owner and none has two,
//! but for the drain of a hand-over (D10). Two addresses may have different owners: that is
//! [`super::converges`]' matter. Armed once the window was open and any gateway was reachable.

use core::time::Duration;

use steadfast_core::Instant;

use super::at_most_one_active::{scoped, text};
use super::overlap::Overlaps;
use super::{Oracle, Report, Scene, Tally};
use crate::ids::SegmentId;

/// Watches for no owner, and for two.
#[derive(Clone, Debug)]
pub struct ExactlyOneActive {
    scope: Option<SegmentId>,
    overlaps: Overlaps,
    tally: Tally,
}

impl ExactlyOneActive {
    /// On one segment or on all; a hand-over may overlap for `drain`.
    pub const fn new(scope: Option<SegmentId>, drain: Duration) -> Self {
        Self {
            scope,
            overlaps: Overlaps::new(drain),
            tally: Tally::new(),
        }
    }
}

impl Oracle for ExactlyOneActive {
    fn hold(&mut self, from: Instant, to: Instant, scene: &Scene<'_>) {
        let picture = scene.picture;
        for segment in scoped(picture, self.scope) {
            let mut gateways = picture.gateways().iter();
            if gateways.any(|gateway| picture.reachable(segment, gateway.id)) {
                self.tally.arm();
            }
            if picture.unowned(segment) {
                let name = picture.names().segment(segment);
                let text = || format!("nobody answers for a virtual address on {name}");
                self.tally.wrong(from, to, text);
            }
            if let Some(excess) = self.overlaps.hold(segment, from, to, picture) {
                let text = || text(picture, segment, excess.address);
                self.tally.wrong(excess.from, to, text);
            }
        }
    }

    fn finish(&mut self, _end: Instant, _scene: &Scene<'_>) -> Report {
        self.tally.report(String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::testing::{A, B, LAN, Tape};

    const NAME: &str = "exactly_one_active";
    const AFTER_CUT: &str =
        "oracle = \"exactly_one_active\"\nafter = \"cut\"\nwithin = \"50ms\"\nhold = \"1s\"";

    /// The standby has all addresses within the bound and keeps them.
    #[test]
    fn exactly_one_active_in_time_passes() {
        let mut tape = Tape::running(A);
        tape.at(1000)
            .step("cut")
            .owns(A, false)
            .at(1050)
            .owns(B, true);
        let finding = tape.finding(NAME, AFTER_CUT);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Pass, true));
    }

    /// One millisecond late is late.
    #[test]
    fn exactly_one_active_late_fails() {
        let mut tape = Tape::running(A);
        tape.at(1000)
            .step("cut")
            .owns(A, false)
            .at(1051)
            .owns(B, true);
        let finding = tape.finding(NAME, AFTER_CUT);
        assert_eq!(finding.verdict, Verdict::Fail);
        assert_eq!(finding.longest_ns, 1_000_000);
    }

    /// One segment without an owner is enough to fail.
    #[test]
    fn exactly_one_active_half_owner_fails() {
        let mut tape = Tape::running(A);
        tape.at(1000).step("cut").owns_on(LAN, A, false);
        let finding = tape.finding(NAME, AFTER_CUT);
        assert_eq!(finding.verdict, Verdict::Fail);
        let text = finding.first_violation.unwrap().text;
        assert_eq!(text, "nobody answers for a virtual address on lan");
    }

    /// Two owners inside the window fail too.
    #[test]
    fn exactly_one_active_two_fail() {
        let mut tape = Tape::running(A);
        tape.at(1000)
            .step("cut")
            .at(1060)
            .owns(B, true)
            .at(1061)
            .owns(A, false);
        assert_eq!(tape.finding(NAME, AFTER_CUT).verdict, Verdict::Fail);
    }

    /// If the step never ran, the window never opened, and nothing is known.
    #[test]
    fn exactly_one_active_without_step_is_unknown() {
        let tape = Tape::running(A);
        let finding = tape.finding(NAME, AFTER_CUT);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Unknown, false));
    }
}
