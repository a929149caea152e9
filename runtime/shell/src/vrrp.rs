//! The driver of virtual routers: VRRP machines among sockets, links and a kernel (D19).
//!
//! ```text
//!  links, frames ──► machines ──► adverts, announcements ──► frames
//!  deadlines    ──►           ──► serve, withdraw ──► kernel ──► done
//! ```
//! One loop on one thread. Whatever woke it, it goes the same way as a node's driver: links and
//! orders, a bounded drain of every socket, answers of the kernel, and only then the deadlines that
//! had passed before the drain began (D6). So a router that stood still first hears who became
//! active meanwhile.
//!
//! The right to the addresses is a lease in the kernel (D9): it begins with [`Wish::Serve`], every
//! advertisement refreshes it as it leaves, and none leaves without it. Therefore a router that has
//! become active speaks when the kernel serves, not before. The hard case is an advertisement that
//! did not leave: the kernel is asked whether the lease is gone, and a router without one begins
//! anew as a backup, as if its link had been lost.
//!
//! The limit: nothing is recorded for a replay.

use std::future::Future;
use std::io;
use std::time::Duration;

use steadfast_core::effect::Failure;
use steadfast_core::vrrp::{Act, Input, Seat, State};
use steadfast_core::wire::ethernet::Frame;
use steadfast_core::wire::vrrp::Packet;
use steadfast_core::{Instant, PortId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::env::{Clock, Frames, LinkEvent, Links, Sent};

pub use steadfast_core::vrrp::{Done, Placed, RouterStatus, Stands, Wish};

/// Frames read in one turn; see [`crate::driver::DRAIN_MAX`].
const DRAIN_MAX: usize = 1_024;
/// A status is told at least so often.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// How long an end waits for the kernel to withdraw.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// Orders waiting; whoever orders beyond that waits.
const ORDERS_MAX: usize = 16;
/// Longest frame that is ever taken.
const FRAME_MAX: usize = 2_048;

/// The kernel, as routers need it: leases and addresses.
pub trait RouterPlane: 'static {
    /// Wishes something for the router at this place, and never waits. Wishes are carried out in
    /// their order; each is answered by [`Self::done`]. False if there is no room for it.
    fn wish(&mut self, router: usize, turn: u64, wish: Wish) -> bool;
    /// The next answer. Cancel safe.
    ///
    /// # Errors
    /// The kernel cannot be reached any more; the driver ends.
    fn done(&mut self) -> impl Future<Output = io::Result<Done>>;
}

/// What operators order.
#[derive(Debug)]
pub enum Order {
    /// The router at this place lets another one serve. Answered with whether it was active.
    Resign(usize, oneshot::Sender<bool>),
    /// All routers end in order, and the driver with them.
    Shutdown,
}

/// The orderers' end.
pub type Orders = mpsc::Sender<Order>;

/// A bounded channel for orders.
pub fn orders() -> (Orders, mpsc::Receiver<Order>) {
    mpsc::channel(ORDERS_MAX)
}

/// The world of the routers.
pub struct Parts<C, F, L, P> {
    /// Time.
    pub clock: C,
    /// Frames in and out.
    pub frames: F,
    /// Carrier.
    pub links: L,
    /// Leases and addresses.
    pub plane: P,
}

/// Runs virtual routers until they are ordered to end, or their world does.
///
/// # Errors
/// What the world says when frames, links or kernel cannot be had any more.
pub async fn run<C: Clock, F: Frames, L: Links, P: RouterPlane>(
    routers: Vec<Placed>,
    parts: Parts<C, F, L, P>,
    orders: mpsc::Receiver<Order>,
    status: watch::Sender<Vec<RouterStatus>>,
) -> io::Result<()> {
    let now = parts.clock.now();
    let driver = Driver {
        seats: routers.into_iter().map(|it| Seat::new(it, now)).collect(),
        parts,
        status,
        told: Instant::ORIGIN,
        frame: Vec::with_capacity(FRAME_MAX),
        stopped: false,
    };
    driver.drive(orders).await
}

struct Driver<C, F, L, P> {
    seats: Vec<Seat>,
    parts: Parts<C, F, L, P>,
    status: watch::Sender<Vec<RouterStatus>>,
    told: Instant,
    frame: Vec<u8>,
    stopped: bool,
}

impl<C: Clock, F: Frames, L: Links, P: RouterPlane> Driver<C, F, L, P> {
    async fn drive(mut self, mut orders: mpsc::Receiver<Order>) -> io::Result<()> {
        self.tell(true);
        while !self.stopped {
            let deadlines = self.seats.iter().filter_map(Seat::next_deadline);
            let deadline = deadlines.min().unwrap_or(Instant::FAR_FUTURE);
            let deadline = deadline.min(self.told.after(STATUS_EVERY));
            tokio::select! {
                biased;
                Some(order) = orders.recv() => self.order(order).await,
                event = self.parts.links.changed() => self.link(event?).await,
                ready = self.parts.frames.ready() => ready?,
                done = self.parts.plane.done() => self.done(done?).await,
                () = self.parts.clock.sleep_until(deadline) => {}
            }
            self.turn().await;
            self.tell(false);
        }
        self.end().await
    }

    /// Sockets, then deadlines (D6).
    async fn turn(&mut self) {
        let began = self.parts.clock.now();
        for _ in 0..DRAIN_MAX {
            let mut frame = core::mem::take(&mut self.frame);
            let taken = self.parts.frames.take(&mut frame);
            if let Some((port, _)) = taken {
                self.frame_taken(port, &frame).await;
            }
            self.frame = frame;
            if taken.is_none() {
                break;
            }
        }
        for place in 0..self.seats.len() {
            if self.seats[place]
                .next_deadline()
                .is_some_and(|it| it <= began)
            {
                let now = self.parts.clock.now();
                self.seats[place].deadline_reached(now);
                self.announce(place).await;
                self.pump(place).await;
            }
        }
    }

    async fn frame_taken(&mut self, port: PortId, bytes: &[u8]) {
        let Some(packet) = Frame::parse(bytes).as_ref().and_then(Packet::parse) else {
            return;
        };
        for place in 0..self.seats.len() {
            if self.seats[place].is_addressed(port, &packet) {
                let now = self.parts.clock.now();
                self.seats[place].give(now, Input::PacketReceived(packet));
                self.pump(place).await;
            }
        }
    }

    async fn link(&mut self, event: LinkEvent) {
        let LinkEvent { port, up } = event;
        for place in 0..self.seats.len() {
            let now = self.parts.clock.now();
            if self.seats[place].link_changed(now, port, up) {
                self.pump(place).await;
            }
        }
    }

    async fn order(&mut self, order: Order) {
        let now = self.parts.clock.now();
        match order {
            Order::Resign(place, reply) => {
                let active = self.seats.get_mut(place).is_some_and(|seat| {
                    let active = seat.state() == State::Active;
                    seat.give_for(now, Input::Resign, "an operator let another router serve");
                    active
                });
                // Whoever asked may have given up.
                let _ = reply.send(active);
                if place < self.seats.len() {
                    self.pump(place).await;
                }
            }
            Order::Shutdown => {
                for place in 0..self.seats.len() {
                    self.seats[place].give_for(now, Input::Stopped, "ordered to end");
                    self.pump(place).await;
                }
                self.stopped = true;
            }
        }
    }

    async fn done(&mut self, done: Done) {
        let now = self.parts.clock.now();
        let Some(seat) = self.seats.get_mut(done.router) else {
            return;
        };
        seat.done(now, &done);
        self.pump(done.router).await;
        self.announce(done.router).await;
    }

    /// Carries out what a machine wants, in order; whatever follows from that as well.
    async fn pump(&mut self, place: usize) {
        while let Some(act) = self.seats[place].next_act() {
            match act {
                Act::Say { frame, lease } => {
                    let port = self.seats[place].port();
                    let sent = self.parts.frames.send(port, &frame).await;
                    let now = self.parts.clock.now();
                    self.seats[place].said(now, sent == Sent::Sent, lease);
                }
                Act::Wish(turn, wish) => {
                    if !self.parts.plane.wish(place, turn, wish) {
                        let now = self.parts.clock.now();
                        let outcome = Err(Failure::Refused);
                        let (router, done) = (
                            place,
                            Done {
                                router: place,
                                turn,
                                wish,
                                outcome,
                            },
                        );
                        self.seats[router].done(now, &done);
                    }
                }
            }
        }
    }

    /// Tells hosts and switches where the addresses are, if that is due.
    async fn announce(&mut self, place: usize) {
        let now = self.parts.clock.now();
        let port = self.seats[place].port();
        for frame in self.seats[place].announcements(now) {
            // What is lost comes again with the next burst.
            let _ = self.parts.frames.send(port, &frame).await;
        }
    }

    /// Publishes the status: at every change of a state, and every so often.
    fn tell(&mut self, first: bool) {
        let now = self.parts.clock.now();
        let mut changed = false;
        for seat in &mut self.seats {
            changed |= seat.take_news();
        }
        if first || changed || now.since(self.told) >= STATUS_EVERY {
            self.told = now;
            let all = self.seats.iter().map(Seat::status).collect();
            self.status.send_replace(all);
        }
    }

    /// The resignations are said; the kernel gives the addresses back.
    async fn end(mut self) -> io::Result<()> {
        let patience = self.parts.clock.now().after(END_PATIENCE);
        while self.seats.iter().any(Seat::is_waiting) {
            tokio::select! {
                biased;
                done = self.parts.plane.done() => self.done(done?).await,
                () = self.parts.clock.sleep_until(patience) => break,
            }
        }
        self.tell(true);
        Ok(())
    }
}
