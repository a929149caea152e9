//! Never do two gateways answer for the same virtual address at the same time to the same observer.
//!
//! Two owners of an address corrupt neighbour caches and lose connections (R1.3, F64); the fence is
//! there so that this cannot happen (D9). The one allowance is the drain of a hand-over (D10), see
//! `overlap`. A gateway the observer cannot reach answers nothing, so a split segment is judged on
//! the observer's side alone: two actives on two sides of a cut are nobody's fault (D14).
//! Armed once two gateways are reachable on one segment at once.

use core::time::Duration;

use steadfast_core::Instant;

use super::overlap::Overlaps;
use super::{Oracle, Report, Scene, Tally};
use crate::ids::SegmentId;
use crate::picture::Picture;

/// Watches for two owners.
#[derive(Clone, Debug)]
pub struct AtMostOneActive {
    scope: Option<SegmentId>,
    overlaps: Overlaps,
    seen: Option<u64>,
    tally: Tally,
}

impl AtMostOneActive {
    /// On one segment or on all; a hand-over may overlap for `drain`.
    pub const fn new(scope: Option<SegmentId>, drain: Duration) -> Self {
        Self {
            scope,
            overlaps: Overlaps::new(drain),
            seen: None,
            tally: Tally::new(),
        }
    }

    fn arm(&mut self, picture: &Picture) {
        if self.tally.armed() || self.seen == Some(picture.version()) {
            return;
        }
        self.seen = Some(picture.version());
        let two = |segment: SegmentId| {
            let reachable = |id| picture.reachable(segment, id);
            picture
                .gateways()
                .iter()
                .filter(|gateway| reachable(gateway.id))
                .count()
                >= 2
        };
        if scoped(picture, self.scope).any(two) {
            self.tally.arm();
        }
    }
}

impl Oracle for AtMostOneActive {
    fn hold(&mut self, from: Instant, to: Instant, scene: &Scene<'_>) {
        let picture = scene.picture;
        self.arm(picture);
        for segment in scoped(picture, self.scope) {
            let Some(excess) = self.overlaps.hold(segment, from, to, picture) else {
                continue;
            };
            self.tally
                .wrong(excess.from, to, || text(picture, segment, excess.address));
        }
    }

    fn finish(&mut self, _end: Instant, _scene: &Scene<'_>) -> Report {
        self.tally.report(String::new())
    }
}

/// The served segments an oracle looks at.
pub(super) fn scoped(
    picture: &Picture,
    scope: Option<SegmentId>,
) -> impl Iterator<Item = SegmentId> + '_ {
    picture
        .served()
        .filter(move |segment| scope.is_none_or(|scope| scope == *segment))
}

/// Says who answers for what.
pub(super) fn text(picture: &Picture, segment: SegmentId, address: u16) -> String {
    let names = picture.names();
    let owners: Vec<String> = picture
        .owners(segment, address)
        .map(|owner| names.gateway(owner))
        .collect();
    format!(
        "{} answer for virtual address {address} on {}",
        owners.join(" and "),
        names.segment(segment)
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{A, B, Tape};
    use super::super::{Finding, Verdict};
    use crate::trace::{EventKind, FrameKind, PowerState};

    const NAME: &str = "at_most_one_active";

    fn finding(tape: &Tape) -> Finding {
        tape.finding(NAME, &format!("oracle = \"{NAME}\""))
    }

    /// One owner after the other, with a gap: right.
    #[test]
    fn at_most_one_active_failover_passes() {
        let mut tape = Tape::running(A);
        tape.at(1000).owns(A, false).at(1012).owns(B, true);
        let finding = finding(&tape);
        assert_eq!(finding.verdict, Verdict::Pass);
        assert!(finding.armed);
    }

    /// Two owners for 3 ms: wrong, from the moment the second answers.
    #[test]
    fn at_most_one_active_overlap_fails() {
        let mut tape = Tape::running(A);
        tape.at(1000).owns(B, true).at(1003).owns(A, false);
        let finding = finding(&tape);
        assert_eq!(finding.verdict, Verdict::Fail);
        assert_eq!(finding.longest_ns, 3_000_000);
        let violation = finding.first_violation.unwrap();
        assert_eq!(violation.from.as_nanos(), 1_000_000_000);
        assert_eq!(
            violation.text,
            "a and b answer for virtual address 0 on lan"
        );
    }

    /// An overlap without length, told in either order, was never there.
    #[test]
    fn at_most_one_active_same_instant_passes() {
        let mut tape = Tape::running(A);
        tape.at(1000).owns(B, true).owns(A, false);
        assert_eq!(finding(&tape).verdict, Verdict::Pass);
    }

    /// The drain of a hand-over is allowed (D10): OFFER, overlap, RELEASED.
    #[test]
    fn at_most_one_active_drain_passes() {
        let mut tape = Tape::running(A);
        tape.at(1000)
            .frame(FrameKind::Offer, A)
            .at(1002)
            .owns(B, true);
        tape.at(1032).owns(A, false).frame(FrameKind::Released, A);
        assert_eq!(finding(&tape).verdict, Verdict::Pass);
    }

    /// The giver dies while it drains: its last answer stands until the next question, and is
    /// excused as long as the drain was.
    #[test]
    fn at_most_one_active_giver_dies_while_draining_passes() {
        let off = EventKind::Power {
            gateway: A,
            state: PowerState::Off,
        };
        let mut tape = Tape::running(A);
        tape.at(1000).frame(FrameKind::Offer, A);
        tape.at(1001).owns(B, true).at(1002).event(off.clone());
        tape.at(1003).owns(A, false);
        assert_eq!(finding(&tape).verdict, Verdict::Pass);
        let mut tape = Tape::running(A);
        tape.at(1000).frame(FrameKind::Offer, A);
        tape.at(1001).owns(B, true).at(1002).event(off);
        tape.at(1100).owns(A, false);
        assert_eq!(finding(&tape).verdict, Verdict::Fail);
    }

    /// A drain longer than V + tail is no drain: wrong from the bound on.
    #[test]
    fn at_most_one_active_long_drain_fails() {
        let mut tape = Tape::running(A);
        tape.at(1000)
            .frame(FrameKind::Offer, A)
            .at(1002)
            .owns(B, true);
        tape.at(1100).owns(A, false);
        let violation = finding(&tape).first_violation.unwrap();
        assert_eq!(violation.from.as_nanos(), 1_060_000_000);
    }

    /// Offering again and again does not stretch the drain beyond its bound from the overlap's
    /// beginning.
    #[test]
    fn at_most_one_active_endless_offers_fail() {
        let mut tape = Tape::running(A);
        tape.at(1000)
            .frame(FrameKind::Offer, A)
            .at(1002)
            .owns(B, true);
        for at in [1020, 1040, 1060] {
            tape.at(at).frame(FrameKind::Offer, A);
        }
        tape.at(1070).owns(A, false);
        let violation = finding(&tape).first_violation.unwrap();
        assert_eq!(violation.from.as_nanos(), 1_062_000_000);
    }

    /// After RELEASED nothing is left to drain; an OFFER by one who owns nothing offers nothing.
    #[test]
    fn at_most_one_active_released_or_hollow_offer_fails() {
        let mut tape = Tape::running(A);
        tape.at(1000)
            .frame(FrameKind::Offer, A)
            .frame(FrameKind::Released, A);
        tape.at(1002).owns(B, true).at(1004).owns(A, false);
        assert_eq!(finding(&tape).verdict, Verdict::Fail);
        let mut tape = Tape::running(A);
        tape.at(1000)
            .frame(FrameKind::Offer, B)
            .at(1002)
            .owns(B, true);
        tape.at(1004).owns(A, false);
        assert_eq!(finding(&tape).verdict, Verdict::Fail);
    }

    /// With one gateway alone nothing could overlap: nothing is proven.
    #[test]
    fn at_most_one_active_alone_is_unknown() {
        let mut tape = Tape::new();
        tape.up(A).owns(A, true);
        let finding = finding(&tape);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Unknown, false));
    }
}
