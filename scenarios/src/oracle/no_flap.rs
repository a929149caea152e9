//! Ownership moves seldom.
//!
//! A move is a segment's addresses going from one sole owner to another, with or without a time
//! without any in between (F33). The segment with most moves counts. Armed once a segment had a
//! sole owner in the window.

use std::collections::BTreeMap;

use steadfast_core::{Instant, NodeId};

use super::at_most_one_active::scoped;
use super::{Oracle, Report, Scene, Tally};
use crate::ids::SegmentId;

/// Counts moves.
#[derive(Clone, Debug)]
pub struct NoFlap {
    scope: Option<SegmentId>,
    max_moves: u32,
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
    /// At most so many moves on one segment, or on each.
    pub const fn new(scope: Option<SegmentId>, max_moves: u32) -> Self {
        Self {
            scope,
            max_moves,
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
            let (moves, max) = (owned.moves, self.max_moves);
            if moves > max {
                let place = picture.names().segment(segment);
                let text = || format!("{place} moved {moves} times, allowed are {max}");
                self.tally.wrong(from, to, text);
            }
        }
    }

    fn finish(&mut self, _end: Instant, _scene: &Scene<'_>) -> Report {
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
