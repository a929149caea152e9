//! What is done beside the driver: the kernel is made so, the fence is looked after, the record
//! is stored.
//!
//! Each worker does one thing at a time, always the newest that is wanted, for as long as it
//! takes. The fence is looked at once a second while nothing else is wanted (D9).

use std::rc::Rc;
use std::time::Duration;

use steadfast_core::boot::Record;
use steadfast_core::config::Config;
use steadfast_core::effect::{Failure, Forwarding};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::env::{Clock, Dataplane, Store};
use crate::mailbox::Mailbox;

/// Between two looks at the fence (D9).
pub(crate) const FENCE_CHECK_EVERY: Duration = Duration::from_secs(1);

/// A configuration for the dataplane, and where it says whether it took it.
pub(crate) type Swap = (Box<Config>, oneshot::Sender<Result<(), Failure>>);

/// Tells the driver what was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    found: Rc<std::cell::Cell<Option<bool>>>,
    told: Rc<Notify>,
}

impl Findings {
    /// The newest finding about the fence, once.
    pub(crate) fn take(&self) -> Option<bool> {
        self.found.take()
    }

    /// Waits until there may be one. Cancel safe.
    pub(crate) async fn ready(&self) {
        if self.found.get().is_none() {
            self.told.notified().await;
        }
    }

    /// A damage that the driver has not yet heard of is not hidden by a later good look.
    fn tell(&self, whole: bool) {
        let unheard = self.found.get().unwrap_or(true);
        self.found.set(Some(unheard && whole));
        self.told.notify_one();
    }
}

/// Makes the kernel so, for ever.
pub(crate) async fn keep_dataplane<C: Clock, D: Dataplane>(
    clock: C,
    mut dataplane: D,
    wishes: Mailbox<Forwarding>,
    mut swaps: mpsc::Receiver<Swap>,
    findings: Findings,
) {
    let mut look_at = clock.now();
    loop {
        if let Some((op, desired)) = wishes.take() {
            let outcome = dataplane.apply(desired).await;
            wishes.answer(op, outcome);
            continue;
        }
        tokio::select! {
            biased;
            () = wishes.ready() => {}
            Some((config, reply)) = swaps.recv() => {
                let outcome = dataplane.reconfigure(&config).await;
                // Whoever asked may have given up; the kernel has the configuration all the same.
                let _ = reply.send(outcome);
            }
            () = clock.sleep_until(look_at) => {
                findings.tell(dataplane.check_fence().await);
                look_at = clock.now().after(FENCE_CHECK_EVERY);
            }
        }
    }
}

/// Stores the newest record, for ever.
pub(crate) async fn keep_store<S: Store>(mut store: S, wishes: Mailbox<Record>) {
    loop {
        wishes.ready().await;
        if let Some((op, record)) = wishes.take() {
            let outcome = store.commit(&record).await;
            wishes.answer(op, outcome.map_err(|_| Failure::Refused));
        }
    }
}
