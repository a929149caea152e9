//! A mailbox for one wish: the newest wins, and whoever was overtaken is told so.
//!
//! The kernel and the store are asked for whole states, so only the newest matters, and one place
//! is room enough. The worker takes the wish out, carries it out for as long as that takes, and
//! answers; the driver never waits for it. The hard case is a wish that overtakes one not yet
//! begun: the older is answered `Superseded` at once, so that every operation is answered once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use steadfast_core::OpId;
use steadfast_core::effect::Failure;
use tokio::sync::Notify;

/// An operation and how it went.
pub(crate) type Answer = (OpId, Result<(), Failure>);

/// Both ends share it; clones are the same mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    wish: Rc<RefCell<Option<(OpId, T)>>>,
    wished: Rc<Notify>,
    /// Wishes made and not yet answered.
    open: Rc<Cell<usize>>,
    answers: Answers,
}

/// Where answers are put for the driver. At most one for each wish made, so never more than the
/// node has operations open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    waiting: Rc<RefCell<VecDeque<Answer>>>,
    answered: Rc<Notify>,
}

impl Answers {
    /// Puts an answer in.
    pub(crate) fn put(&self, answer: Answer) {
        self.waiting.borrow_mut().push_back(answer);
        self.answered.notify_one();
    }

    /// The oldest answer.
    pub(crate) fn take(&self) -> Option<Answer> {
        self.waiting.borrow_mut().pop_front()
    }

    /// Waits until there may be an answer. Cancel safe.
    pub(crate) async fn ready(&self) {
        if self.waiting.borrow().is_empty() {
            self.answered.notified().await;
        }
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self {
            wish: Rc::clone(&self.wish),
            wished: Rc::clone(&self.wished),
            open: Rc::clone(&self.open),
            answers: self.answers.clone(),
        }
    }
}

impl<T> Mailbox<T> {
    /// An empty mailbox whose answers go there.
    pub(crate) fn new(answers: Answers) -> Self {
        Self {
            wish: Rc::default(),
            wished: Rc::default(),
            open: Rc::default(),
            answers,
        }
    }

    /// Wishes for something; a wish that nobody has begun is overtaken.
    pub(crate) fn wish(&self, op: OpId, wish: T) {
        let older = self.wish.borrow_mut().replace((op, wish));
        self.open.set(self.open.get() + 1);
        if let Some((op, _)) = older {
            self.answer(op, Err(Failure::Superseded));
        }
        self.wished.notify_one();
    }

    /// Takes the newest wish, without waiting.
    pub(crate) fn take(&self) -> Option<(OpId, T)> {
        self.wish.borrow_mut().take()
    }

    /// Waits until there may be a wish. Cancel safe.
    pub(crate) async fn ready(&self) {
        if self.wish.borrow().is_none() {
            self.wished.notified().await;
        }
    }

    /// Whether a wish waits or is being carried out.
    pub(crate) fn is_busy(&self) -> bool {
        self.open.get() > 0
    }

    /// Answers a wish that was taken.
    pub(crate) fn answer(&self, op: OpId, outcome: Result<(), Failure>) {
        self.open.set(self.open.get().saturating_sub(1));
        self.answers.put((op, outcome));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wish nobody has begun is overtaken, and its operation is answered; the newest is taken.
    #[test]
    fn mailbox_newest_wins_and_the_older_is_answered() {
        let answers = Answers::default();
        let mailbox = Mailbox::new(answers.clone());
        mailbox.wish(OpId(1), "fence");
        mailbox.wish(OpId(2), "serve");
        assert_eq!(answers.take(), Some((OpId(1), Err(Failure::Superseded))));
        assert_eq!(mailbox.take(), Some((OpId(2), "serve")));
        assert_eq!(mailbox.take(), None);
        mailbox.answer(OpId(2), Ok(()));
        assert_eq!(answers.take(), Some((OpId(2), Ok(()))));
        assert_eq!(answers.take(), None);
        assert!(!mailbox.is_busy(), "every operation was answered");
    }

    /// A wish that is being carried out is not overtaken: both are answered by who carried them
    /// out.
    #[test]
    fn mailbox_a_wish_in_hand_is_not_overtaken() {
        let answers = Answers::default();
        let mailbox = Mailbox::new(answers.clone());
        mailbox.wish(OpId(1), "fence");
        assert!(mailbox.take().is_some());
        mailbox.wish(OpId(2), "serve");
        assert_eq!(answers.take(), None);
        assert_eq!(mailbox.take(), Some((OpId(2), "serve")));
    }
}
