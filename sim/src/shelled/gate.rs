//! A process's gate: its tasks pass only while the process runs.
//!
//! A stopped process's tasks are not polled, and know nothing of it; its kernel goes on. The gate
//! remembers who was turned away and wakes them all when the process goes on. A killed process's
//! tasks are dropped where they stand, the next time somebody wakes them: at once.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::rc::Rc;

/// The gate of one life of one process; clones are the same gate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Rc<State>);

#[derive(Debug, Default)]
struct State {
    stopped: Cell<bool>,
    killed: Cell<bool>,
    turned_away: RefCell<Vec<Waker>>,
}

impl Gate {
    /// The process is stopped, or goes on.
    pub(crate) fn stop(&self, stopped: bool) {
        self.0.stopped.set(stopped);
        if !stopped {
            self.wake();
        }
    }

    /// The process ends; nothing of it is polled again.
    pub(crate) fn kill(&self) {
        self.0.killed.set(true);
        self.wake();
    }

    /// The same task, subject to this gate. It ends early, with nothing, if the process is killed.
    pub(crate) fn guard<F: Future>(&self, task: F) -> Guarded<F> {
        Guarded {
            gate: self.clone(),
            task: Some(Box::pin(task)),
        }
    }

    fn wake(&self) {
        for waker in self.0.turned_away.take() {
            waker.wake();
        }
    }

    /// Every pending task is woken by a kill, whatever it waits for.
    fn remember(&self, waker: &Waker) {
        let mut known = self.0.turned_away.borrow_mut();
        if !known.iter().any(|it| it.will_wake(waker)) {
            known.push(waker.clone());
        }
    }
}

/// A task behind a gate.
pub(crate) struct Guarded<F> {
    gate: Gate,
    task: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Guarded<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.gate.0.killed.get() {
            self.task = None;
        }
        let stopped = self.gate.0.stopped.get();
        let Some(task) = self.task.as_mut() else {
            return Poll::Ready(None);
        };
        let polled = if stopped {
            Poll::Pending
        } else {
            task.as_mut().poll(cx)
        };
        match polled {
            Poll::Ready(output) => {
                self.task = None;
                Poll::Ready(Some(output))
            }
            Poll::Pending => {
                self.gate.remember(cx.waker());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::task::{Context, Poll, Waker};
    use std::pin::pin;

    use super::*;

    fn poll<F: Future>(task: Pin<&mut F>) -> Poll<F::Output> {
        task.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// A stopped process makes no step, and makes it when it goes on.
    #[test]
    fn gate_stopped_task_waits_and_goes_on() {
        let gate = Gate::default();
        let mut task = pin!(gate.guard(async { 7 }));
        gate.stop(true);
        assert_eq!(poll(task.as_mut()), Poll::Pending);
        gate.stop(false);
        assert_eq!(poll(task.as_mut()), Poll::Ready(Some(7)));
    }

    /// A killed process's task is dropped, stopped or not, and says that it did not finish.
    #[test]
    fn gate_killed_task_is_dropped_where_it_stands() {
        let gate = Gate::default();
        let held = Rc::new(());
        let inside = Rc::clone(&held);
        let mut task = pin!(gate.guard(async move {
            core::future::pending::<()>().await;
            drop(inside);
        }));
        assert!(poll(task.as_mut()).is_pending());
        gate.stop(true);
        gate.kill();
        assert_eq!(poll(task.as_mut()), Poll::Ready(None));
        assert_eq!(Rc::strong_count(&held), 1, "what it held was dropped");
    }
}
