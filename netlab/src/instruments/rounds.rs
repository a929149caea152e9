//! The observer's judgement: from answers to rounds of questions to who owns what.
//!
//! A round asks every gateway everything at once and has one time. Each question carries its
//! round's number (see `observer`), so an answer counts for the round that asked, however late it
//! comes within [`GRACE`]. A round is judged when its answers and those of the next one are in:
//!
//! * the first answer says that it answers, as of its round;
//! * [`MISSES`] rounds in a row without an answer say that it does not, as of the first of them: a
//!   frame lost now and then is no change, and a real stop is still dated to the round.
//!
//! The hard case is a takeover within one round: the old owner answered, gave up, and the new one
//! answered. That is no overlap. So where somebody else answered the same round *before* the new
//! owner did, and nothing in the next, the new one counts from the next round on. An old owner that
//! answered after the new one, or that answers again later, is told as the second owner it is.
//!
//! The limit: an overlap that lies between two rounds is not seen.

use core::time::Duration;
use std::collections::VecDeque;

use steadfast_core::Instant;

/// Rounds in a row without an answer that make a "no".
pub(super) const MISSES: u32 = 3;
/// How long answers are waited for; a live kernel under load needs up to 7 ms.
pub(super) const GRACE: Duration = Duration::from_millis(8);
/// Rounds that wait to be judged; beyond it the oldest is judged with what came.
pub(super) const OPEN_MAX: usize = 15;

/// A change of what a gateway answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// As of this round's time.
    pub(super) at: Instant,
    /// The index of the question.
    pub(super) question: usize,
    /// Whether it is answered now.
    pub(super) answered: bool,
}

/// What is known of the answers to a fixed list of questions.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    /// By question: what it is about; questions of one topic rival each other.
    topics: Vec<Option<u16>>,
    states: Vec<State>,
    open: VecDeque<Round>,
    /// Rounds further apart than this are not in a row.
    gap: Duration,
    /// The round that was judged last.
    judged_at: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    answered: bool,
    missed_count: u32,
    missed_since: Instant,
}

#[derive(Clone, Debug)]
struct Round {
    tag: u8,
    at: Instant,
    /// By question: when the answer came.
    answers: Vec<Option<Instant>>,
}

impl Ledger {
    /// Nobody answers anything yet. `topics` has one entry for each question: the virtual address
    /// it asks for, or none for a unit address.
    pub(super) fn new(topics: Vec<Option<u16>>) -> Self {
        Self {
            states: vec![State::default(); topics.len()],
            topics,
            open: VecDeque::with_capacity(OPEN_MAX + 1),
            gap: GRACE,
            judged_at: Instant::ORIGIN,
        }
    }

    /// The same with rounds so far from each other.
    pub(super) fn rounds_apart(&mut self, round: Duration) {
        self.gap = GRACE.max(round * 2);
    }

    /// A round was asked at this time, under this tag.
    pub(super) fn asked(&mut self, tag: u8, at: Instant) {
        self.open.push_back(Round {
            tag,
            at,
            answers: vec![None; self.topics.len()],
        });
    }

    /// An answer came; one that is older than [`GRACE`], or of a judged round, is ignored.
    pub(super) fn answered(&mut self, tag: u8, question: usize, at: Instant) {
        let asked = |round: &&mut Round| round.tag == tag && at.since(round.at) <= GRACE;
        let round = self.open.iter_mut().rev().find(asked);
        let answer = round.and_then(|round| round.answers.get_mut(question));
        if let Some(answer) = answer {
            answer.get_or_insert(at);
        }
    }

    /// Judges every round that is ripe, and gives what changed.
    pub(super) fn judge(&mut self, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        while let (Some(round), Some(next)) = (self.open.front(), self.open.get(1)) {
            let ripe = next.at.after(GRACE) <= now || self.open.len() > OPEN_MAX;
            if !ripe {
                break;
            }
            // Nobody was asked for a while: what was missed before is not "in a row" with now.
            if round.at.since(self.judged_at) > self.gap {
                self.states.iter_mut().for_each(|it| it.missed_count = 0);
            }
            self.judged_at = round.at;
            for question in 0..self.states.len() {
                let answer = round.answers[question];
                let succeeded = self.succeeded(question, round, next);
                let state = &mut self.states[question];
                let answered = answer.is_some();
                if let Some(at) = state.take(round.at, answered, succeeded) {
                    changes.push(Change {
                        at,
                        question,
                        answered,
                    });
                }
            }
            self.open.pop_front();
        }
        changes
    }

    /// Whether somebody had this before in this round and has it no more in the next.
    fn succeeded(&self, question: usize, round: &Round, next: &Round) -> bool {
        let (Some(topic), Some(at)) = (self.topics[question], round.answers[question]) else {
            return false;
        };
        let rivals = (0..self.topics.len())
            .filter(|rival| *rival != question && self.topics[*rival] == Some(topic));
        let mut earlier = rivals.filter(|rival| {
            let before = round.answers[*rival].is_some_and(|answer| answer <= at);
            self.states[*rival].answered && before && next.answers[*rival].is_none()
        });
        earlier.next().is_some()
    }
}

impl State {
    /// Takes a round's outcome; gives the time of the change if that made one.
    fn take(&mut self, at: Instant, answered: bool, succeeded: bool) -> Option<Instant> {
        if answered {
            self.missed_count = 0;
            if self.answered || succeeded {
                return None;
            }
            self.answered = true;
            return Some(at);
        }
        if !self.answered {
            return None;
        }
        if self.missed_count == 0 {
            self.missed_since = at;
        }
        self.missed_count += 1;
        if self.missed_count < MISSES {
            return None;
        }
        self.answered = false;
        self.missed_count = 0;
        Some(self.missed_since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: usize = 0;
    const B: usize = 1;

    /// Plays rounds of 1 ms; each says who answers and after how many microseconds.
    fn play(rounds: &[&[(usize, u64)]]) -> Vec<(u64, usize, bool)> {
        let mut ledger = Ledger::new(vec![Some(0), Some(0)]);
        let mut changes = Vec::new();
        for (number, answers) in (0_u64..).zip(rounds) {
            let at = Instant::from_millis(number);
            let tag = (number % 16) as u8;
            ledger.asked(tag, at);
            for (question, micros) in *answers {
                let came = at.after(Duration::from_micros(*micros));
                ledger.answered(tag, *question, came);
            }
            changes.extend(ledger.judge(at));
        }
        let end = Instant::from_millis(1_000);
        changes.extend(ledger.judge(end));
        let plain = |it: Change| (it.at.as_nanos() / 1_000_000, it.question, it.answered);
        changes.into_iter().map(plain).collect()
    }

    const ONLY_A: &[(usize, u64)] = &[(A, 50)];
    const ONLY_B: &[(usize, u64)] = &[(B, 60)];
    const NONE: &[(usize, u64)] = &[];

    /// Two answers lost in a row are no change.
    #[test]
    fn rounds_lost_answers_are_no_change() {
        let seen = play(&[ONLY_A, NONE, NONE, ONLY_A, NONE, ONLY_A, ONLY_A]);
        assert_eq!(seen, [(0, A, true)]);
    }

    /// A stop is told after the third miss and dated to the first.
    #[test]
    fn rounds_stop_is_dated_to_the_first_miss() {
        let seen = play(&[ONLY_A, ONLY_A, NONE, NONE, NONE, NONE, ONLY_B, ONLY_B]);
        assert_eq!(seen, [(0, A, true), (2, A, false), (6, B, true)]);
    }

    /// The old owner answered first and then no more: a takeover within a round is no overlap.
    #[test]
    fn rounds_takeover_within_a_round_is_no_overlap() {
        let both: &[(usize, u64)] = &[(A, 50), (B, 400)];
        let seen = play(&[ONLY_A, both, ONLY_B, ONLY_B, ONLY_B, ONLY_B]);
        let mut seen = seen;
        seen.sort_unstable();
        assert_eq!(seen, [(0, A, true), (2, A, false), (2, B, true)]);
    }

    /// The old owner answered after the new one: they were two, and it is told.
    #[test]
    fn rounds_overlap_within_a_round_is_told() {
        let both: &[(usize, u64)] = &[(B, 50), (A, 400)];
        let seen = play(&[ONLY_A, both, ONLY_B, ONLY_B, ONLY_B, ONLY_B]);
        assert_eq!(seen, [(0, A, true), (1, B, true), (2, A, false)]);
    }

    /// Two owners that go on are told from the first round on, lost answers or not.
    #[test]
    fn rounds_two_owners_are_not_hidden_by_lost_answers() {
        let both: &[(usize, u64)] = &[(A, 50), (B, 400)];
        let seen = play(&[ONLY_A, both, both, ONLY_B, both, both, both]);
        assert_eq!(seen, [(0, A, true), (1, B, true)]);
        // Lost in the very round after: from that round on.
        let seen = play(&[ONLY_A, both, ONLY_B, both, both, both, both]);
        assert_eq!(seen, [(0, A, true), (2, B, true)]);
    }

    /// The switch was dark for a while, and with it the observer: a stop is dated to the first
    /// question after it, not to one that was lost as it went dark.
    #[test]
    fn rounds_stop_over_a_dark_switch_is_dated_to_its_end() {
        let mut ledger = Ledger::new(vec![Some(0)]);
        let mut changes = Vec::new();
        for number in (0..10_u64).chain(500..510) {
            let at = Instant::from_millis(number);
            ledger.asked((number % 16) as u8, at);
            if number < 8 {
                ledger.answered((number % 16) as u8, A, at);
            }
            changes.extend(ledger.judge(at));
        }
        changes.extend(ledger.judge(Instant::from_millis(1_000)));
        let stop = changes.iter().find(|it| !it.answered).unwrap();
        assert_eq!(stop.at, Instant::from_millis(500));
    }

    /// An answer counts for the round that asked it, not for the one in which it came.
    #[test]
    fn rounds_late_answer_counts_for_its_question() {
        let late: &[(usize, u64)] = &[(A, 5_500)];
        let seen = play(&[ONLY_A, late, NONE, NONE, NONE, NONE]);
        assert_eq!(seen, [(0, A, true), (2, A, false)]);
    }
}
