//! How the stage reaches a shell, and how it has shells started.

use core::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use steadfast_core::effect::Command;
use steadfast_core::status::Status;
use steadfast_core::{Instant, PortId};
use steadfast_shell::orders::{Order as ShellOrder, Orders, orders};
use steadfast_shell::vrrp::{self, Order as RouterOrder};
use tokio::sync::{Notify, mpsc, oneshot};

use super::cables::{Cables, Packet};
use super::gate::Gate;
use super::routers::RouterEnd;
use crate::model::Frame;
use crate::stage::gateway::Order;
use crate::stage::players::{Players, Seat, Start};

/// What a running shell and the stage share; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desk {
    /// Stops and kills it.
    pub(crate) gate: Gate,
    /// Rings when frames may be waiting.
    pub(crate) heard: Rc<Notify>,
    /// Carriers seen, oldest first.
    pub(crate) links: Rc<RefCell<VecDeque<(PortId, bool)>>>,
    /// Rings when a carrier was seen.
    pub(crate) seen: Rc<Notify>,
    /// What it last said of itself, and when.
    pub(crate) status: Rc<RefCell<Option<(Instant, Status)>>>,
}

impl Desk {
    /// A carrier was seen.
    pub(crate) fn see_link(&self, port: PortId, up: bool) {
        self.links.borrow_mut().push_back((port, up));
        self.seen.notify_one();
    }
}

/// A start that a gateway's host has not taken yet.
#[derive(Debug)]
pub(crate) struct Pending {
    /// What to start.
    pub(crate) start: Start,
    /// What it shares with the stage.
    pub(crate) desk: Desk,
    /// What it is ordered.
    pub(crate) orders: Ordered,
}

/// Where a shell's orders come in.
#[derive(Debug)]
pub(crate) enum Ordered {
    /// Those of a node.
    Node(mpsc::Receiver<ShellOrder>),
    /// Those of virtual routers.
    Routers(mpsc::Receiver<RouterOrder>),
}

/// A gateway's door: where starts are put for its host.
#[derive(Debug, Default)]
pub(crate) struct Door {
    pending: RefCell<Option<Pending>>,
    bell: Notify,
}

impl Door {
    /// Waits for the next start. Cancel safe.
    pub(crate) async fn next(&self) -> Pending {
        loop {
            if let Some(pending) = self.pending.borrow_mut().take() {
                return pending;
            }
            self.bell.notified().await;
        }
    }
}

/// The stage's end of a shell.
#[derive(Debug)]
struct StageEnd {
    desk: Desk,
    orders: Orders,
}

impl Seat for StageEnd {
    fn order(&mut self, order: Order) {
        match order {
            Order::Certificate(certificate) => {
                self.send(ShellOrder::CertificateRead { certificate });
            }
            Order::Checked(name, passed) => self.send(ShellOrder::Checked { name, passed }),
            Order::Command(_, command) => self.command(command),
            // A shell looks at its fence itself.
            Order::Fence(_) => {}
            Order::Link(port, up) => self.desk.see_link(port, up),
            Order::Reload(config) => {
                let (reply, _) = oneshot::channel();
                self.send(ShellOrder::Reload { config, reply });
            }
            Order::Shutdown => self.send(ShellOrder::Shutdown),
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
        self.desk.status.borrow().clone()
    }
}

impl StageEnd {
    fn command(&self, command: Command) {
        // Nobody waits for the answer: what a command does is seen from outside.
        let (reply, _) = oneshot::channel();
        self.send(ShellOrder::Command { command, reply });
    }

    fn send(&self, order: ShellOrder) {
        // A full channel is an operator who is told that the node is busy.
        let _ = self.orders.try_send(order);
    }
}

/// The players of a world that runs shells.
#[derive(Debug)]
pub(crate) struct Cast {
    cables: Rc<Cables>,
    doors: Rc<Vec<Door>>,
    powers: Rc<RefCell<Vec<(usize, bool)>>>,
}

impl Cast {
    /// Players for these hosts. `powers` is what the world shall do with its hosts, in order.
    pub(crate) const fn new(
        cables: Rc<Cables>,
        doors: Rc<Vec<Door>>,
        powers: Rc<RefCell<Vec<(usize, bool)>>>,
    ) -> Self {
        Self {
            cables,
            doors,
            powers,
        }
    }
}

impl Cast {
    fn pend(&self, start: Start, desk: &Desk, orders: Ordered) {
        let door = &self.doors[start.station];
        *door.pending.borrow_mut() = Some(Pending {
            start,
            desk: desk.clone(),
            orders,
        });
        door.bell.notify_one();
    }
}

impl Players for Cast {
    fn start(&mut self, start: Start) -> Box<dyn Seat> {
        let desk = Desk::default();
        let count = start.routers.len();
        if count > 0 {
            let (orders, receiver) = vrrp::orders();
            self.pend(start, &desk, Ordered::Routers(receiver));
            return Box::new(RouterEnd {
                desk,
                orders,
                count,
            });
        }
        let (orders, receiver) = orders();
        self.pend(start, &desk, Ordered::Node(receiver));
        Box::new(StageEnd { desk, orders })
    }

    fn power(&mut self, station: usize, on: bool) {
        if !on {
            self.cables.up[station].clear();
            self.doors[station].pending.borrow_mut().take();
        }
        self.powers.borrow_mut().push((station, on));
    }

    fn carry_up(&mut self, station: usize, segment: usize, frame: &Frame) {
        self.cables.carry_up(Packet {
            segment,
            station,
            port: PortId(u8::try_from(segment).unwrap_or(u8::MAX)),
            frame: frame.clone(),
        });
    }

    fn carry_down(&mut self, segment: usize, station: usize, port: PortId, frame: &Frame) {
        self.cables.carry_down(Packet {
            segment,
            station,
            port,
            frame: frame.clone(),
        });
    }
}
