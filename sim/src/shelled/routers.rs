//! Virtual routers in the production driver: how the stage reaches them, and their kernel (D19).
//!
//! The plane is the product's thread in small: wishes are carried out in their order, each after
//! what it takes; once a second the table is looked at, and whoever served while it was gone is
//! told as if it had asked. A process that is stopped or killed meanwhile has not done it.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use steadfast_core::Instant;
use steadfast_core::effect::{Command, Failure};
use steadfast_core::status::Status;
use steadfast_core::vrrp::{Done, Placed, Wish};
use steadfast_shell::env::Clock as _;
use steadfast_shell::vrrp::{self, Order as RouterOrder, Orders, Parts, RouterPlane};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::env::Seated;
use super::ground::Ground;
use super::seat::Desk;
use crate::stage::gateway::Order;
use crate::stage::players::Seat;

/// How often the table is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The stage's end of a shell of routers.
#[derive(Debug)]
pub(crate) struct RouterEnd {
    pub(crate) desk: Desk,
    pub(crate) orders: Orders,
    pub(crate) count: usize,
}

impl Seat for RouterEnd {
    fn order(&mut self, order: Order) {
        match order {
            Order::Command(_, Command::Release) => (0..self.count).for_each(|place| {
                // Nobody waits for the answer: what it does is seen from outside.
                let (reply, _) = oneshot::channel();
                let _ = self.orders.try_send(RouterOrder::Resign(place, reply));
            }),
            Order::Link(port, up) => self.desk.see_link(port, up),
            Order::Shutdown => {
                let _ = self.orders.try_send(RouterOrder::Shutdown);
            }
            // A story about routers has nothing else to say.
            Order::Certificate(_)
            | Order::Checked(..)
            | Order::Command(..)
            | Order::Fence(_)
            | Order::Reload(_) => {}
        }
    }

    fn wake(&self) {
        self.desk.heard.notify_one();
    }

    fn stop(&self, stopped: bool) {
        self.desk.gate.stop(stopped);
    }

    fn end(&self) {
        self.desk.gate.kill();
    }

    fn status(&self) -> Option<(Instant, Status)> {
        None
    }
}

/// Runs the routers of one life of a daemon, to its orderly end.
pub(crate) async fn run<G: Ground>(
    seated: Seated<G>,
    placed: Vec<Placed>,
    orders: mpsc::Receiver<RouterOrder>,
) -> io::Result<()> {
    let plane = Plane {
        serving: vec![None; placed.len()],
        seated: seated.clone(),
        wishes: VecDeque::new(),
        due: None,
        look_at: seated.now().after(LOOK_EVERY),
        lost: VecDeque::new(),
        wished: Notify::new(),
    };
    let parts = Parts {
        clock: seated.clone(),
        frames: seated.clone(),
        links: seated.clone(),
        plane,
    };
    // A gateway of virtual routers has no role that anybody could be told of.
    let (status, _) = watch::channel(Vec::new());
    vrrp::run(placed, parts, orders, status).await
}

/// The kernel of a gateway, as its routers' driver reaches it.
struct Plane<G: Ground> {
    seated: Seated<G>,
    wishes: VecDeque<(usize, u64, Wish)>,
    /// When the first of them is done.
    due: Option<Instant>,
    look_at: Instant,
    /// By router: the turn in which it was last asked to serve, while it does.
    serving: Vec<Option<u64>>,
    /// Leases that were found gone.
    lost: VecDeque<Done>,
    wished: Notify,
}

impl<G: Ground> RouterPlane for Plane<G> {
    fn wish(&mut self, router: usize, turn: u64, wish: Wish) -> bool {
        self.wishes.push_back((router, turn, wish));
        let station = self.seated.station;
        self.seated
            .on_stage(|stage| stage.tell_router_wish(station, wish));
        self.wished.notify_one();
        true
    }

    async fn done(&mut self) -> io::Result<Done> {
        loop {
            if let Some(lost) = self.lost.pop_front() {
                return Ok(lost);
            }
            let station = self.seated.station;
            if self.due.is_none() && !self.wishes.is_empty() {
                let takes = |stage: &mut crate::stage::World<'static>| stage.apply_latency(station);
                let wait = self.seated.on_stage(takes);
                self.due = Some(self.seated.now().after(wait));
            }
            let until = self.due.map_or(self.look_at, |due| due.min(self.look_at));
            tokio::select! {
                biased;
                () = self.seated.sleep_until(until) => {}
                () = self.wished.notified() => continue,
            }
            let now = self.seated.now();
            if self.look_at <= now {
                self.look_at = now.after(LOOK_EVERY);
                self.look();
            }
            if self.due.is_some_and(|due| due <= now) {
                self.due = None;
                if let Some(wished) = self.wishes.pop_front() {
                    return Ok(self.obey(wished));
                }
            }
        }
    }
}

impl<G: Ground> Plane<G> {
    fn obey(&mut self, (router, turn, wish): (usize, u64, Wish)) -> Done {
        let station = self.seated.station;
        let outcome = self.seated.on_stage(|stage| {
            let outcome = stage.router_wish(station, router, wish);
            stage.observe();
            outcome
        });
        if let Some(serving) = self.serving.get_mut(router) {
            match (wish, outcome) {
                (Wish::Serve, Ok(())) => *serving = Some(turn),
                (Wish::Withdraw, _) | (Wish::Serve, Err(_)) => *serving = None,
                (Wish::Look, _) => {}
            }
        }
        Done {
            router,
            turn,
            wish,
            outcome,
        }
    }

    fn look(&mut self) {
        let station = self.seated.station;
        let mended = self.seated.on_stage(|stage| {
            let mended = stage.mend_router_fence(station);
            stage.observe();
            mended
        });
        let serving = self.serving.iter().enumerate().filter(|_| mended);
        self.lost.extend(serving.filter_map(|(router, turn)| {
            Some(Done {
                router,
                turn: (*turn)?,
                wish: Wish::Look,
                outcome: Err(Failure::LeaseLapsed),
            })
        }));
    }
}
