//! Changed configurations, on their way to the kernel and back.
//!
//! A configuration goes to the dataplane first: what a node says it serves must be fenced and ready
//! before it says so. That takes time, and the driver goes on meanwhile. One is under way at a
//! time, and the newest of those ordered meanwhile waits; so whoever orders twice gets what was
//! ordered last, however long the kernel takes.
//!
//! The hard case is a node that takes a role while its configuration is under way: the kernel has
//! been changed and the node refuses. The next reload mends that; whoever ordered is told.

use steadfast_core::config::Config;
use steadfast_core::effect::Failure;
use tokio::sync::{mpsc, oneshot};

use crate::env::Executor;
use crate::habits::Habits;
use crate::orders::ReloadRefused;
use crate::workers::Swap;

/// Configurations on their way to the dataplane.
pub(crate) const SWAPS_MAX: usize = 1;
/// Configurations on their way back.
const TAKEN_MAX: usize = 1;

/// Where the answer to a reload goes.
pub(crate) type Reply = oneshot::Sender<Result<(), ReloadRefused>>;

/// A configuration that somebody ordered.
pub(crate) type Wanted = (Box<Config>, Reply);

/// What the dataplane made of a configuration.
pub(crate) struct Taken {
    /// The configuration.
    pub(crate) config: Box<Config>,
    /// Who waits for an answer.
    pub(crate) reply: Reply,
    /// Whether the kernel has it now.
    pub(crate) outcome: Result<(), Failure>,
}

/// The driver's end.
pub(crate) struct Reloads {
    swaps: mpsc::Sender<Swap>,
    back: mpsc::Sender<Taken>,
    under_way: bool,
    waiting: Option<Wanted>,
    habits: Habits,
}

/// Tells an orderer why the old configuration stays in force. It may have given up waiting.
pub(crate) fn refuse(reply: Reply, why: &str) {
    let _ = reply.send(Err(ReloadRefused(why.to_owned())));
}

impl Reloads {
    /// Nothing is under way. What comes back comes out of the receiver.
    pub(crate) fn new(swaps: mpsc::Sender<Swap>, habits: Habits) -> (Self, mpsc::Receiver<Taken>) {
        let (back, taken) = mpsc::channel(TAKEN_MAX);
        let reloads = Self {
            swaps,
            back,
            under_way: false,
            waiting: None,
            habits,
        };
        (reloads, taken)
    }

    /// A configuration that the node would take is ordered.
    pub(crate) fn want(&mut self, executor: &impl Executor, config: Box<Config>, reply: Reply) {
        if self.under_way && self.habits.reloads_in_turn() {
            if let Some((_, older)) = self.waiting.replace((config, reply)) {
                refuse(older, "a newer configuration took its place");
            }
            return;
        }
        self.start(executor, (config, reply));
    }

    /// What was under way has come back. The one that waits is asked for anew, since the node may
    /// have changed its mind about it.
    pub(crate) fn next(&mut self) -> Option<Wanted> {
        self.under_way = false;
        self.waiting.take()
    }

    fn start(&mut self, executor: &impl Executor, (config, reply): Wanted) {
        self.under_way = true;
        let (swaps, back) = (self.swaps.clone(), self.back.clone());
        executor.spawn("reload", async move {
            let (done, taken) = oneshot::channel();
            // Whichever end is gone: the driver has ended, and nobody is left to answer.
            let _ = swaps.send((config.clone(), done)).await;
            let outcome = taken.await.unwrap_or(Err(Failure::Refused));
            let taken = Taken {
                config,
                reply,
                outcome,
            };
            let _ = back.send(taken).await;
        });
    }
}
