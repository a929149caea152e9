//! A role that moves too often stays where it can serve (F33).
//!
//! Two gateways that each find the other better, in turn, would pass the role to and fro for as
//! long as what misleads them lasts. So each remembers when it took the role and when it let it go;
//! after more than `flap_limit` of that within `flap_window` it neither asks for the role nor gives
//! it away for a preference or for weights, until fewer moves are that young.
//!
//! What leaves clients unserved still moves it: a death, a lost port, a check that is a fault, and
//! an operator. The limit: a daemon that starts again has forgotten what was before.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use super::Node;
use crate::Instant;
use crate::config::{FLAP_LIMIT_MAX, Policy};
use crate::effect::Alert;

/// When this node took the role or let it go, oldest first; at most one more than any limit.
#[derive(Clone, Debug, Default)]
pub(super) struct Moves(VecDeque<Instant>);

impl Moves {
    pub(super) fn note(&mut self, now: Instant) {
        self.0.push_back(now);
        if self.0.len() > FLAP_LIMIT_MAX as usize + 1 {
            self.0.pop_front();
        }
    }

    /// Until when the role stays, as far as it moved up to now; none if it moved seldom enough.
    fn held_until(&self, policy: &Policy) -> Option<Instant> {
        if policy.flap_limit == 0 {
            return None;
        }
        let place = self
            .0
            .len()
            .checked_sub(policy.flap_limit.min(FLAP_LIMIT_MAX) as usize + 1)?;
        self.0.get(place).map(|at| at.after(policy.flap_window))
    }

    /// All of it, if it can decide anything.
    pub(super) fn project(&self, policy: &Policy, out: &mut impl Hasher) {
        if policy.flap_limit > 0 {
            self.0.hash(out);
        }
    }
}

impl Node {
    /// Whether the role moved too often to move for a preference or for weights.
    pub(super) fn holds_role(&self) -> bool {
        let until = self.moves.held_until(&self.config.policy);
        until.is_some_and(|until| self.now < until)
    }

    /// Says when that begins (R10.1).
    pub(super) fn say_whether_held(&mut self) {
        if self.holds_role() {
            self.raise(Alert::RoleFlaps);
        } else {
            self.clear(|alert| *alert == Alert::RoleFlaps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn moved(seconds: &[u64]) -> Moves {
        let mut moves = Moves::default();
        for second in seconds {
            moves.note(Instant::from_millis(second * 1_000));
        }
        moves
    }

    fn policy(flap_limit: u32) -> Policy {
        Policy {
            flap_limit,
            flap_window: Duration::from_secs(60),
            ..Policy::default()
        }
    }

    /// As many moves as the limit are not too many; one more is, until all but so many are old.
    #[test]
    fn flaps_hold_after_more_moves_than_the_limit() {
        let until = |seconds: &[u64], limit| {
            let until = moved(seconds).held_until(&policy(limit));
            until.map(|at| at.as_nanos() / 1_000_000_000)
        };
        assert_eq!(until(&[], 2), None);
        assert_eq!(until(&[1, 5], 2), None);
        assert_eq!(until(&[1, 5, 9], 2), Some(61));
        assert_eq!(until(&[1, 5, 9, 20], 2), Some(65));
        assert_eq!(until(&[1, 5, 9, 20], 0), None, "no limit");
        assert_eq!(until(&[1, 5, 9, 20], 4), None);
    }

    /// However often it moves, no more is remembered than the highest limit needs.
    #[test]
    fn flaps_are_remembered_up_to_the_highest_limit() {
        let seconds: Vec<u64> = (0..500).collect();
        let moves = moved(&seconds);
        assert_eq!(moves.0.len(), 101);
        let until = moves.held_until(&policy(FLAP_LIMIT_MAX));
        assert_eq!(until, Some(Instant::from_millis((399 + 60) * 1_000)));
        let beyond = moves.held_until(&policy(u32::MAX));
        assert_eq!(beyond, until, "no limit is higher");
    }
}
