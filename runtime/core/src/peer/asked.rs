//! Which question an answer belongs to (D7).
//!
//! A kernel's answer does not say what it answers. An open question is asked again soon, so an
//! answer that comes after that may be to either, and whoever took it for one to the newest would
//! find the way short where it is long:
//!
//! ```text
//!   asked ──────── again ── answer ─────────── answer
//!     └───── the way ────────┘
//!                   └────── the way ────────────┘
//! ```
//!
//! So answers are counted down, and the one that leaves nothing open times the newest question. The
//! hard case is a lost frame: fewer answers come than were asked for. By the next question there
//! was time enough for all of them, so the first one was to the newest. The limit: a way longer
//! than the time between two quiet questions is taken for shorter than it is.

use core::time::Duration;

use crate::Instant;

/// What was asked of one kernel in quiet times, for the peer's own address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    /// The newest question was not answered yet, and nothing was asked elsewhere since.
    open: bool,
    last: Option<Instant>,
    /// Questions without an answer so far.
    unanswered: u8,
    /// The first answer since the newest question, while others may follow.
    answered_at: Option<Instant>,
}

impl Asked {
    /// One more question; what is known now of how long the answer to the one before took.
    pub(crate) fn ask(&mut self, now: Instant) -> Option<Duration> {
        let before = self.answered_at.take().zip(self.last);
        if before.is_some() {
            self.unanswered = 0;
        }
        self.open = true;
        self.last = Some(now);
        self.unanswered = self.unanswered.saturating_add(1);
        before.map(|(answered, last)| answered.since(last))
    }

    /// An answer, and how long it took, if that is known.
    pub(crate) fn answered(&mut self, at: Instant) -> Option<Duration> {
        self.open = false;
        self.unanswered = self.unanswered.checked_sub(1)?;
        if self.unanswered > 0 {
            self.answered_at.get_or_insert(at);
            return None;
        }
        self.answered_at = None;
        self.last.map(|last| at.since(last))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Others are asked now: nobody waits for this answer.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// More is asked than is counted here: answers tell nothing of the way until the next question.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN.after(Duration::from_millis(millis))
    }

    fn ms(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    /// One question, one answer; a second answer is to nothing.
    #[test]
    fn asked_once() {
        let mut asked = Asked::default();
        assert_eq!(asked.answered(at(1)), None);
        assert_eq!(asked.ask(at(10)), None);
        assert!(asked.is_open());
        assert_eq!(asked.answered(at(13)), ms(3));
        assert!(!asked.is_open());
        assert_eq!(asked.answered(at(14)), None);
        assert_eq!(asked.ask(at(500)), None);
    }

    /// A way longer than the pause before the second question, or the third, is timed all the same.
    #[test]
    fn asked_again_before_the_answer() {
        let mut asked = Asked::default();
        for millis in [0, 100, 200] {
            assert_eq!(asked.ask(at(millis)), None);
        }
        assert_eq!(asked.answered(at(250)), None);
        assert!(!asked.is_open());
        assert_eq!(asked.answered(at(350)), None);
        assert_eq!(asked.answered(at(450)), ms(250));
    }

    /// The first question, or its answer, was lost: the one answer was to the second.
    #[test]
    fn asked_again_after_a_loss() {
        let mut asked = Asked::default();
        asked.ask(at(0));
        asked.ask(at(100));
        assert_eq!(asked.answered(at(103)), None);
        assert_eq!(asked.ask(at(600)), ms(3));
        assert_eq!(asked.answered(at(604)), ms(4));
    }

    /// After a suspicion, in which more was asked, the next question is the first.
    #[test]
    fn asked_anew_after_a_suspicion() {
        let mut asked = Asked::default();
        asked.ask(at(0));
        asked.forget();
        assert!(!asked.is_open());
        assert_eq!(asked.answered(at(2)), None);
        asked.ask(at(100));
        assert_eq!(asked.answered(at(105)), ms(5));
    }
}
