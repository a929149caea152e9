//! Ownership moves seldom, and where it must, it does.
//!
//! A move is a segment's addresses going from one sole owner to another, with or without a time
//! without any in between (F33). No segment may move more often than allowed, nor less often than
//! the story demands: where the role never moved, nothing was lost and nothing was shown. Armed
//! once a segment had a sole owner in the window.

use core::ops::RangeInclusive;
use std::collections::BTreeMap;

use steadfast_core::{Instant, NodeId};

use super::at_most_one_active::scoped;
use super::{Oracle, Report, Scene, Tally};
use crate::ids::SegmentId;

/// Counts moves.
#[derive(Clone, Debug)]
pub struct NoFlap {
    scope: Option<SegmentId>,
    moves: RangeInclusive<u32>,
    seen: Option<u64>,
    owners: BTreeMap<SegmentId, Owned>,
    tally: Tally,
}

#[derive(Clone, Copy, Debug)]
struct Owned {
    by: NodeId,
    moves: u32,
}

impl NoFlap {
    /// So many moves on one segment, or on each.
    pub const fn new(scope: Option<SegmentId>, moves: RangeInclusive<u32>) -> Self {
        Self {
            scope,
            moves,
            seen: None,
            owners: BTreeMap::new(),
            tally: Tally::new(),
        }
    }
}

impl Oracle for NoFlap {
    fn hold(&mut self, from: Instant, to: Instant, scene: &Scene<'_>) {
        let picture = scene.picture;
        if self.seen == Some(picture.version()) {
            return;
        }
        self.seen = Some(picture.version());
        for segment in scoped(picture, self.scope) {
            let Some(by) = picture.sole_owner(segment) else {
                continue;
            };
            self.tally.arm();
            let owned = self.owners.entry(segment).or_insert(Owned { by, moves: 0 });
            if owned.by == by {
                continue;
            }
            owned.by = by;
            owned.moves += 1;
            let (moves, max) = (owned.moves, *self.moves.end());
            if moves > max {
                let place = picture.names().segment(segment);
                let text = || format!("{place} moved {moves} times, allowed are {max}");
                self.tally.wrong(from, to, text);
            }
        }
    }

    fn finish(&mut self, end: Instant, scene: &Scene<'_>) -> Report {
        for (segment, owned) in &self.owners {
            let (moves, min) = (owned.moves, *self.moves.start());
            if moves < min {
                let place = scene.picture.names().segment(*segment);
                let text = || format!("{place} moved {moves} times, at least {min} are wanted");
                self.tally.wrong(end, end, text);
            }
        }
        let moves = self
            .owners
            .values()
            .map(|owned| owned.moves)
            .max()
            .unwrap_or(0);
        self.tally.report(format!("{moves} moves"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::testing::{A, B, Tape};

    const ONE: &str = "oracle = \"no_flap\"\nmax_moves = 1";

    /// One failover, with a gap, is one move; the same owner coming back is none.
    #[test]
    fn no_flap_one_move_passes() {
        let mut tape = Tape::running(A);
        tape.at(900).owns(A, false).at(950).owns(A, true);
        tape.at(1000).owns(A, false).at(1010).owns(B, true);
        let finding = tape.finding("no_flap", ONE);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Pass, true));
        assert_eq!(finding.evidence, "1 moves");
    }

    /// Nothing was lost, for nothing moved: that is no hand-over. A move too few is told.
    #[test]
    fn no_flap_that_never_moves_fails_where_it_must() {
        let must = "oracle = \"no_flap\"\nmax_moves = 1\nmin_moves = 1";
        let mut tape = Tape::running(A);
        tape.at(900).owns(A, true);
        let finding = tape.finding("no_flap", must);
        assert_eq!(finding.verdict, Verdict::Fail);
        let text = finding
            .first_violation
            .map(|first| first.text)
            .unwrap_or_default();
        assert!(text.contains("at least 1"), "{text}");
        tape.at(1000).owns(A, false).owns(B, true);
        assert_eq!(tape.finding("no_flap", must).verdict, Verdict::Pass);
    }

    /// There and back again are two.
    #[test]
    fn no_flap_ping_pong_fails() {
        let mut tape = Tape::running(A);
        tape.at(1000)
            .owns(A, false)
            .owns(B, true)
            .at(1500)
            .owns(B, false)
            .owns(A, true);
        assert_eq!(tape.finding("no_flap", ONE).verdict, Verdict::Fail);
    }

    /// Without any owner nothing could move.
    #[test]
    fn no_flap_without_owner_is_unknown() {
        assert_eq!(
            Tape::new().finding("no_flap", ONE).verdict,
            Verdict::Unknown
        );
    }
}
