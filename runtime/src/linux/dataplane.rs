//! The kernel on a thread of its own: lease, addresses and neighbours as one desired state.
//!
//! The driver's thread never takes a lock of the kernel's: a large ruleset load can hold the one of
//! nf_tables for a second, and heartbeats wait for nothing. So wishes cross to this thread one at a
//! time, in the order of D20: lease, neighbours, addresses; on the way down the lease goes first,
//! because without it the addresses are silent at once. The hard case is a failure half-way: then
//! everything is taken back, and the answer is a refusal.
//!
//! Addresses of a node with [`STAGED_MIN`] or more are installed once and stay (D17): the fence
//! keeps them silent, and a claim is one set element however many there are.

mod change;
mod look;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use log::{error, info, warn};
use steadfast_core::PortId;
use steadfast_core::config::Config;
use steadfast_core::diagnosis::Misled;
use steadfast_core::effect::{Failure, Forwarding};
use steadfast_shell::env::Dataplane;
use tokio::sync::oneshot;

use super::addresses::{AddressError, Addresses, VirtualAddress};
use super::carrier::CarrierBoard;
use super::clock::Monotonic;
use super::fence::{Fence, FenceSpec, FenceSupport, LeaseError};
use super::lease::{Lease, LeaseGuard};
use super::neighbours::Neighbours;
use super::priority::{Share, take_share};
use super::speaker::{Speaker, source_spec};
use super::stations::Stations;
use change::too_short;

/// From so many virtual addresses on they are installed ahead of a claim (D17).
pub const STAGED_MIN: usize = 64;
/// How much longer than a lease addresses last where they expire: some looks at the fence, each of
/// which lets them last anew.
const GRACE: Duration = Duration::from_secs(4);
/// Wishes on their way to the thread. The driver makes one at a time; a second place keeps a look
/// at the fence from waiting for it.
const WISHES_MAX: usize = 4;

/// What the kernel did, counted for status.
#[derive(Debug, Default)]
pub struct PlaneCounters {
    /// Wishes carried out.
    pub applied: AtomicU64,
    /// Wishes refused by the kernel.
    pub refused: AtomicU64,
    /// Times the fence was found damaged and set up again.
    pub repaired: AtomicU64,
    /// Renewals of the lease that found none any more or were refused, where the daemon renews it.
    pub lost_renewals: AtomicU64,
    /// Times in whose name this machine begins could not be made so (R5.3).
    pub sources_refused: AtomicU64,
    /// What came to served ports and should have gone to the active, by port.
    pub misled: Mutex<BTreeMap<PortId, Misled>>,
}

enum Wish {
    Apply(Forwarding, oneshot::Sender<Result<(), Failure>>),
    Check(oneshot::Sender<bool>),
    End(oneshot::Sender<()>),
    Reconfigure(Box<Config>, oneshot::Sender<Result<(), Failure>>),
}

/// The driver's end.
pub struct KernelPlane {
    wishes: SyncSender<Wish>,
    lease: Arc<Lease>,
    counters: Arc<PlaneCounters>,
}

/// Gives everything back: for the daemon's orderly end.
#[derive(Clone)]
pub struct Undo(SyncSender<Wish>);

impl Undo {
    /// Withdraws addresses and fence. Returns when it is done, or when the thread is gone.
    pub async fn all(self) {
        let (done, ended) = oneshot::channel();
        if self.0.try_send(Wish::End(done)).is_ok() {
            // A thread that is gone has nothing left to give back.
            let _ = ended.await;
        }
    }
}

impl KernelPlane {
    /// Starts the thread around an installed fence. `board` is told whether this gateway serves;
    /// `spec` says what a changed configuration means for the fence; `time` is the driver's.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        fence: Fence,
        addresses: Addresses,
        config: &Config,
        (time, board): (Monotonic, &CarrierBoard),
        spec: impl Fn(&Config) -> FenceSpec + Send + 'static,
    ) -> io::Result<Self> {
        let (wishes, received) = sync_channel(WISHES_MAX);
        let counters = Arc::new(PlaneCounters::default());
        let lease = Lease::start(fence, time, Arc::clone(&counters))?;
        let stations = Stations::of(config);
        let (there, mut failed) = stations.prepare()?;
        if let Some(why) = failed.pop() {
            return Err(why);
        }
        if let Err(least) = lease.suffices(&config.timing) {
            // Nothing is served yet: a refused start leaves nothing behind.
            lease.unfence().map_err(io::Error::other)?;
            return Err(io::Error::other(too_short(least)));
        }
        let mut plane = Plane {
            lease: Arc::clone(&lease),
            addresses,
            neighbours: Neighbours::open()?,
            places: stations.places(&there),
            links: stations.links(&there),
            stations,
            config: config.clone(),
            spec: Box::new(spec),
            speaker: None,
            speaks: false,
            serving: false,
            board: board.clone(),
            counters: Arc::clone(&counters),
            time,
        };
        plane.let_expire();
        if plane.is_staged() {
            plane.hold().map_err(io::Error::other)?;
        }
        plane.name_sources();
        let body = move || {
            let share = take_share();
            plane.serve(&received, share);
        };
        thread::Builder::new()
            .name("dataplane".to_owned())
            .spawn(body)?;
        Ok(Self {
            wishes,
            lease,
            counters,
        })
    }

    /// What the kernel did so far.
    pub fn counters(&self) -> Arc<PlaneCounters> {
        Arc::clone(&self.counters)
    }

    /// How the fence is made on this kernel.
    pub fn support(&self) -> FenceSupport {
        self.lease.support()
    }

    /// What the ports ask before they say "active" where the kernel cannot judge that, and tell.
    pub fn guard(&self) -> LeaseGuard {
        self.lease.guard()
    }

    /// For the end.
    pub fn undo(&self) -> Undo {
        Undo(self.wishes.clone())
    }

    async fn ask<T>(&self, wish: impl FnOnce(oneshot::Sender<T>) -> Wish) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.wishes.try_send(wish(reply)).ok()?;
        answer.await.ok()
    }
}

impl Dataplane for KernelPlane {
    async fn apply(&mut self, desired: Forwarding) -> Result<(), Failure> {
        let outcome = self.ask(|reply| Wish::Apply(desired, reply)).await;
        outcome.unwrap_or(Err(Failure::Refused))
    }

    async fn reconfigure(&mut self, config: &Config) -> Result<(), Failure> {
        let config = Box::new(config.clone());
        let outcome = self.ask(|reply| Wish::Reconfigure(config, reply)).await;
        outcome.unwrap_or(Err(Failure::Refused))
    }

    async fn check_fence(&mut self) -> bool {
        self.ask(Wish::Check).await.unwrap_or(false)
    }
}

/// The thread's own.
struct Plane {
    lease: Arc<Lease>,
    addresses: Addresses,
    neighbours: Neighbours,
    stations: Stations,
    places: Vec<VirtualAddress>,
    /// Where neighbours of the served segments are known.
    links: Vec<u32>,
    config: Config,
    spec: Box<dyn Fn(&Config) -> FenceSpec + Send>,
    /// There with the first port that asks for it.
    speaker: Option<Speaker>,
    /// The machine begins in a virtual address's name.
    speaks: bool,
    serving: bool,
    board: CarrierBoard,
    counters: Arc<PlaneCounters>,
    time: Monotonic,
}

impl Plane {
    /// Takeovers wait for `apply`, which is short: many addresses are staged. The rest is not.
    fn serve(mut self, wishes: &Receiver<Wish>, share: Share) {
        // An answer nobody waits for any more is no error: the kernel is as wished all the same.
        while let Ok(wish) = wishes.recv() {
            match wish {
                Wish::Apply(desired, reply) => {
                    let outcome = self.apply(desired);
                    let counter = match outcome {
                        Ok(()) => &self.counters.applied,
                        Err(_) => &self.counters.refused,
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                    let claimed = outcome.is_ok() && matches!(desired, Forwarding::Active { .. });
                    self.board.serve(self.serving);
                    let _ = reply.send(outcome);
                    self.speak_as(desired);
                    if claimed && self.is_staged() {
                        share.at_ease(|| self.restore());
                    }
                }
                Wish::Check(reply) => {
                    let _ = reply.send(share.at_ease(|| self.check()));
                }
                Wish::End(done) => {
                    share.at_ease(|| self.end());
                    let _ = done.send(());
                    return;
                }
                Wish::Reconfigure(config, reply) => {
                    let _ = reply.send(share.at_ease(|| self.reconfigure(&config)));
                }
            }
        }
    }

    fn apply(&mut self, desired: Forwarding) -> Result<(), Failure> {
        match desired {
            Forwarding::Active { .. } => self.activate(),
            Forwarding::Offering { remaining } => {
                self.lease.offer(remaining).map_err(|why| match why {
                    LeaseError::Lapsed => Failure::LeaseLapsed,
                    LeaseError::Fence(why) => {
                        error!("failed to shorten the lease: {why}");
                        Failure::Refused
                    }
                })
            }
            Forwarding::Standby => {
                self.serving = false;
                // A fence that a flush takes may be gone, and the way to it long: nothing answers
                // for an address that is not there.
                let early = (!self.lease.support().owner).then(|| self.withdraw());
                let fenced = self.lease.close();
                // What was taken in before the fence closed may wait for a neighbour's answer, and
                // would leave when a port comes back seconds later.
                self.forget_unresolved();
                let withdrawn = early.unwrap_or_else(|| self.withdraw());
                let fenced = fenced
                    .or_else(|_| self.lease.close_anew())
                    .map_err(|why| why.to_string());
                fenced.and(withdrawn).map_err(|why| {
                    error!("failed to withdraw: {why}");
                    Failure::Refused
                })
            }
            Forwarding::Tail => {
                // Without a lease there is nothing to leave a tail of: fenced already.
                match self.lease.release_to_tail() {
                    Ok(()) => Ok(()),
                    Err(LeaseError::Lapsed) => {
                        info!("the lease had ended before the hand-over did");
                        Ok(())
                    }
                    Err(LeaseError::Fence(why)) => {
                        error!("failed to let the lease go: {why}");
                        Err(Failure::Refused)
                    }
                }
            }
        }
    }

    fn activate(&mut self) -> Result<(), Failure> {
        if let Err(why) = self.lease.arm() {
            error!("failed to arm the lease: {why}");
            return Err(self.let_go());
        }
        self.serving = true;
        self.forget_unresolved();
        // Staged ones are there, and looked at as soon as the role is taken.
        if !self.is_staged()
            && let Err(why) = self.hold_somewhere()
        {
            error!("failed to add the virtual addresses: {why}");
            return Err(self.let_go());
        }
        if !self.is_staged() {
            self.await_usable();
        }
        Ok(())
    }

    /// The lease is taken back, and what the kernel holds then. An answer that was lost may stand
    /// for a lease that is there, so only the confirmed end of it counts.
    fn let_go(&mut self) -> Failure {
        self.serving = false;
        match self.lease.close() {
            Ok(()) => Failure::Fenced,
            Err(why) => {
                error!("failed to take the lease back: {why}; it ends by itself");
                Failure::Refused
            }
        }
    }

    /// What is announced must be usable: else the first packets to it are lost. A fresh lease and
    /// an offer that is taken must not run out over it.
    fn await_usable(&mut self) {
        let timing = &self.config.timing;
        let longest = (timing.lease / 4).min(timing.offer / 3);
        match self.addresses.await_usable(&self.places, longest) {
            Ok(0) => {}
            Ok(late) => warn!("{late} virtual addresses are not routed to this machine yet"),
            Err(why) => warn!("failed to look whether the virtual addresses are usable: {why}"),
        }
    }

    /// Neighbours of the served segments that are being asked for, or did not answer, and whatever
    /// waits for them.
    fn forget_unresolved(&mut self) {
        if let Err(why) = self.neighbours.forget_unresolved(&self.links) {
            // They cost a client a second at worst; the role does not wait for them.
            warn!("failed to forget dead neighbours: {why}");
        }
    }

    /// In whose name the machine begins, from the configuration. No claim waits for it, and where
    /// the kernel cannot do it the role moves all the same.
    fn name_sources(&mut self) {
        let spec = source_spec(&self.config);
        if self.speaker.is_none() && !spec.ports.is_empty() {
            match Speaker::start(Arc::clone(&self.counters)) {
                Ok(speaker) => self.speaker = Some(speaker),
                Err(why) => error!("failed to start the thread for `action`: {why}"),
            }
        }
        if let Some(speaker) = &self.speaker {
            speaker.configure(spec);
            speaker.serve(self.speaks);
        }
    }

    /// The role has it, or has it no more. In the tail the peer owns the name.
    fn speak_as(&mut self, desired: Forwarding) {
        match desired {
            Forwarding::Active { .. } => self.speaks = self.serving,
            Forwarding::Offering { .. } => {}
            Forwarding::Standby | Forwarding::Tail => self.speaks = false,
        }
        if let Some(speaker) = &self.speaker {
            speaker.serve(self.speaks);
        }
    }

    /// A fence that a flush removes keeps no address silent on a standby: without owned tables
    /// however many are added at the claim.
    fn is_staged(&self) -> bool {
        let counts = self.config.ports.iter().map(|port| port.virtuals.len());
        self.lease.support().owner && counts.sum::<usize>() >= STAGED_MIN
    }

    /// Where the kernel has no netdev egress addresses go by themselves, unless they are staged:
    /// those the claim relies on, and tables that a flush passes by keep them silent.
    fn let_expire(&mut self) {
        if !self.lease.support().egress {
            let lifetime = self.config.timing.lease + GRACE;
            let lifetime = (!self.is_staged()).then_some(lifetime);
            self.addresses.expire_after(lifetime);
        }
    }

    fn hold(&mut self) -> Result<(), AddressError> {
        self.addresses.add_all(&self.places)
    }

    /// The same, where a device may be gone since it was looked for.
    fn hold_somewhere(&mut self) -> Result<(), AddressError> {
        self.hold().or_else(|_| {
            self.look();
            self.hold()
        })
    }

    fn withdraw(&mut self) -> Result<(), String> {
        if self.is_staged() {
            return Ok(());
        }
        let gone = self.addresses.remove_all(&self.places);
        gone.map_err(|why| why.to_string())
    }
}
