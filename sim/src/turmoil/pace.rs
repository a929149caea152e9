//! The pace of the world `turmoil`: when its next step is.
//!
//! turmoil's clocks go on by the same length in every step, and all its hosts are run in each. But
//! most of the time nothing is due anywhere; so the time of this world is not turmoil's. Sleeps are
//! kept here ([`Pace::sleep_until`]), a step lasts a grain while something is on its way, and
//! else until whatever is due next.
//!
//! The hard case is to know that nothing goes on. A task may wake one of a host that has had its
//! turn in this step, and turmoil tells of no wakes. So every task is wrapped ([`Pace::watch`]):
//! each wake, whoever it is for, stirs the world, and one that was stirred is stepped again a grain
//! later. Datagrams and streams in flight are turmoil's to tell.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use steadfast_core::Instant;

/// The time of a world, and who waits for what of it; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(Rc<State>);

#[derive(Debug, Default)]
struct State {
    now: Cell<Instant>,
    sleepers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    numbered: Cell<u64>,
    stirred: Arc<AtomicBool>,
}

impl Pace {
    /// The world's time.
    pub(super) fn now(&self) -> Instant {
        self.0.now.get()
    }

    /// It is then, and everybody wakes who sleeps no longer.
    pub(super) fn reach(&self, now: Instant) {
        self.0.now.set(now);
        let due = {
            let mut sleepers = self.0.sleepers.borrow_mut();
            let later = sleepers.split_off(&(now.after(core::time::Duration::from_nanos(1)), 0));
            core::mem::replace(&mut *sleepers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// When the next sleeper wakes.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let sleepers = self.0.sleepers.borrow();
        sleepers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Something happened that tasks have not seen.
    pub(super) fn stir(&self) {
        self.0.stirred.store(true, Ordering::Relaxed);
    }

    /// Whether anything was stirred since the last call.
    pub(super) fn settle(&self) -> bool {
        self.0.stirred.swap(false, Ordering::Relaxed)
    }

    /// Whether anything was stirred since it settled.
    pub(super) fn is_stirred(&self) -> bool {
        self.0.stirred.load(Ordering::Relaxed)
    }

    /// Waits until then.
    pub(super) async fn sleep_until(&self, at: Instant) {
        let number = self.0.numbered.get();
        self.0.numbered.set(number + 1);
        let nap = Nap {
            state: &self.0,
            key: (at, number),
        };
        poll_fn(|cx| nap.poll(cx)).await;
    }

    /// The same task; whenever it is woken, that stirs the world.
    pub(super) fn watch<F: Future>(&self, task: F) -> Watched<F> {
        Watched {
            stirred: Arc::clone(&self.0.stirred),
            known: None,
            task: Box::pin(task),
        }
    }
}

/// One sleep; who sleeps no more, or is gone, is forgotten.
struct Nap<'a> {
    state: &'a State,
    key: (Instant, u64),
}

impl Nap<'_> {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let (at, _) = self.key;
        if self.state.now.get() >= at {
            return Poll::Ready(());
        }
        let mut sleepers = self.state.sleepers.borrow_mut();
        sleepers.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Nap<'_> {
    fn drop(&mut self) {
        self.state.sleepers.borrow_mut().remove(&self.key);
    }
}

/// A task whose wakes are seen.
pub(super) struct Watched<F> {
    stirred: Arc<AtomicBool>,
    /// The waker it was last polled with, and what stands for it.
    known: Option<(Waker, Waker)>,
    task: Pin<Box<F>>,
}

/// A waker that stirs the world first.
struct Stirring {
    stirred: Arc<AtomicBool>,
    waker: Waker,
}

impl Wake for Stirring {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.stirred.store(true, Ordering::Relaxed);
        self.waker.wake_by_ref();
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self {
            stirred,
            known,
            task,
        } = &mut *self;
        if !known
            .as_ref()
            .is_some_and(|(waker, _)| waker.will_wake(cx.waker()))
        {
            let waker = cx.waker().clone();
            let stirring = Stirring {
                stirred: Arc::clone(stirred),
                waker: waker.clone(),
            };
            *known = Some((waker, Waker::from(Arc::new(stirring))));
        }
        let Some((_, waker)) = known else {
            return Poll::Pending;
        };
        task.as_mut().poll(&mut Context::from_waker(waker))
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    /// A sleeper wakes when its time has come and not before, and that stirs the world; one that
    /// is gone is waited for no more.
    #[test]
    fn pace_sleepers_wake_in_time_and_stir() {
        let pace = Pace::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut late = pin!(pace.watch(pace.sleep_until(at(5))));
        assert!(late.as_mut().poll(&mut cx).is_pending());
        {
            let mut gone = pin!(pace.sleep_until(at(2)));
            assert!(gone.as_mut().poll(&mut cx).is_pending());
            assert_eq!(pace.next_at(), Some(at(2)));
        }
        assert_eq!(pace.next_at(), Some(at(5)));
        pace.reach(at(4));
        assert!(!pace.settle(), "nobody was woken");
        pace.reach(at(5));
        assert!(pace.is_stirred() && pace.settle() && !pace.settle());
        assert!(late.as_mut().poll(&mut cx).is_ready());
        assert_eq!(pace.next_at(), None);
    }
}
