//! A desk for virtual routers: drivers on a clock that jumps, a wire of memory, a kernel of leases.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use steadfast_core::effect::Failure;
use steadfast_core::vrrp::{Lists, Settings};
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::wire::vrrp::{Interval, Packet, RESIGNS, Sum, Sums, Version};
use steadfast_core::{Instant, MacAddr, PortId};
use steadfast_shell::env::{Clock, Frames, LinkEvent, Links, Sent};
use steadfast_shell::vrrp::{
    Done, Orders, Parts, Placed, RouterPlane, RouterStatus, Stands, Wish, orders, run,
};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;
use tokio::time::{sleep, sleep_until};

pub(crate) const LAN: PortId = PortId(0);
/// Frames that wait for a driver; no story sends so many.
const WAITING_MAX: usize = 4_096;

/// A router's world, and what happened in it.
pub(crate) struct Hands {
    started: tokio::time::Instant,
    waiting: RefCell<VecDeque<Vec<u8>>>,
    arrived: Notify,
    links: RefCell<VecDeque<LinkEvent>>,
    linked: Notify,
    held: Cell<bool>,
    let_go: Notify,
    pub(crate) done: RefCell<VecDeque<Done>>,
    pub(crate) finished: Notify,
    pub(crate) lease: Cell<Option<tokio::time::Instant>>,
    lease_time: Duration,
    pub(crate) takes: Cell<Duration>,
    pub(crate) refuses: Cell<bool>,
    /// It cannot withdraw.
    pub(crate) keeps: Cell<bool>,
    /// No frame leaves, whatever the lease.
    pub(crate) congested: Cell<bool>,
    pub(crate) wished: RefCell<Vec<(u64, Wish)>>,
    /// When, what priority, and whether it left.
    said: RefCell<Vec<(u64, u8, bool)>>,
    pub(crate) announced: RefCell<Vec<u64>>,
    other: RefCell<Option<Rc<Self>>>,
}

impl Hands {
    fn new(lease_time: Duration) -> Rc<Self> {
        let hands = Self {
            started: tokio::time::Instant::now(),
            waiting: RefCell::default(),
            arrived: Notify::new(),
            links: RefCell::new(VecDeque::from([LinkEvent {
                port: LAN,
                up: true,
            }])),
            linked: Notify::new(),
            held: Cell::new(false),
            let_go: Notify::new(),
            done: RefCell::default(),
            finished: Notify::new(),
            lease: Cell::new(None),
            lease_time,
            takes: Cell::new(Duration::from_millis(1)),
            refuses: Cell::new(false),
            keeps: Cell::new(false),
            congested: Cell::new(false),
            wished: RefCell::default(),
            said: RefCell::default(),
            announced: RefCell::default(),
            other: RefCell::default(),
        };
        Rc::new(hands)
    }

    pub(crate) fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).expect("a short story")
    }

    pub(crate) fn leased(&self) -> bool {
        self.lease
            .get()
            .is_some_and(|end| tokio::time::Instant::now() < end)
    }

    pub(crate) fn hold(&self, held: bool) {
        self.held.set(held);
        self.let_go.notify_waiters();
    }

    pub(crate) fn link(&self, port: PortId, up: bool) {
        self.links.borrow_mut().push_back(LinkEvent { port, up });
        self.linked.notify_one();
    }

    async fn still(&self) {
        while self.held.get() {
            self.let_go.notified().await;
        }
    }

    fn refresh(&self) {
        self.lease
            .set(Some(tokio::time::Instant::now() + self.lease_time));
    }
}

#[derive(Clone)]
struct Desk(Rc<Hands>);

impl Clock for Desk {
    fn now(&self) -> Instant {
        Instant::ORIGIN.after(self.0.started.elapsed())
    }

    async fn sleep_until(&self, deadline: Instant) {
        let span = deadline
            .since(Instant::ORIGIN)
            .min(Duration::from_secs(86_400));
        sleep_until(self.0.started + span).await;
        self.0.still().await;
    }
}

impl Frames for Desk {
    async fn ready(&mut self) -> io::Result<()> {
        while self.0.waiting.borrow().is_empty() {
            self.0.arrived.notified().await;
        }
        self.0.still().await;
        Ok(())
    }

    fn take(&mut self, frame: &mut Vec<u8>) -> Option<(PortId, Instant)> {
        frame.clear();
        frame.extend(self.0.waiting.borrow_mut().pop_front()?);
        Some((LAN, self.now()))
    }

    async fn send(&mut self, _: PortId, bytes: &[u8]) -> Sent {
        let hands = &self.0;
        let frame = Frame::parse(bytes).expect("a frame");
        if frame.ethertype == ethertype::ARP {
            hands.announced.borrow_mut().push(hands.millis());
            return Sent::Sent;
        }
        let packet = Packet::parse(&frame).expect("a message");
        let priority = packet.message[2];
        let leaves = priority == RESIGNS || hands.leased();
        if leaves && hands.congested.get() {
            hands.refresh();
            return Sent::Dropped;
        }
        hands
            .said
            .borrow_mut()
            .push((hands.millis(), priority, leaves));
        if !leaves {
            return Sent::Dropped;
        }
        if priority != RESIGNS {
            hands.refresh();
        }
        if let Some(other) = hands.other.borrow().as_ref() {
            let mut waiting = other.waiting.borrow_mut();
            assert!(waiting.len() < WAITING_MAX, "more than a story says");
            waiting.push_back(bytes.to_vec());
            other.arrived.notify_one();
        }
        Sent::Sent
    }
}

impl Links for Desk {
    async fn changed(&mut self) -> io::Result<LinkEvent> {
        loop {
            if let Some(event) = self.0.links.borrow_mut().pop_front() {
                return Ok(event);
            }
            self.0.linked.notified().await;
        }
    }
}

impl RouterPlane for Desk {
    fn wish(&mut self, router: usize, turn: u64, wish: Wish) -> bool {
        let hands = Rc::clone(&self.0);
        hands.wished.borrow_mut().push((hands.millis(), wish));
        spawn_local(async move {
            sleep(hands.takes.get()).await;
            let outcome = match wish {
                Wish::Look if hands.leased() => Ok(()),
                Wish::Look => Err(Failure::LeaseLapsed),
                Wish::Serve if hands.refuses.get() => Err(Failure::Refused),
                Wish::Serve => {
                    hands.refresh();
                    Ok(())
                }
                Wish::Withdraw if hands.keeps.get() => Err(Failure::Refused),
                Wish::Withdraw => {
                    hands.lease.set(None);
                    Ok(())
                }
            };
            let done = Done {
                router,
                turn,
                wish,
                outcome,
            };
            hands.done.borrow_mut().push_back(done);
            hands.finished.notify_one();
        });
        true
    }

    async fn done(&mut self) -> io::Result<Done> {
        loop {
            if let Some(done) = self.0.done.borrow_mut().pop_front() {
                return Ok(done);
            }
            self.0.finished.notified().await;
        }
    }
}

/// A router that runs.
pub(crate) struct Running {
    pub(crate) hands: Rc<Hands>,
    pub(crate) orders: Orders,
    status: watch::Receiver<Vec<RouterStatus>>,
    pub(crate) ended: tokio::task::JoinHandle<io::Result<()>>,
}

impl Running {
    pub(crate) fn start(number: u8, priority: u8) -> Self {
        Self::tracking(number, priority, &[], None)
    }

    pub(crate) fn tracking(
        number: u8,
        priority: u8,
        tracked: &[PortId],
        weight: Option<u8>,
    ) -> Self {
        let interval = Interval::new(Version::V3, 10).expect("a tenth");
        let hands = Hands::new(interval.span() * 3);
        let settings = Settings {
            version: Version::V3,
            virtual_id: 51,
            priority,
            interval,
            preempt: true,
            addresses: vec![IpAddr::from([10, 0, 1, 1])],
            primary: IpAddr::from([10, 0, 1, number]),
            sum: Sum::PseudoHeader,
            sums: Sums::Either,
            lists: Lists::Counted,
            answers_lower: true,
            unicast: Vec::new(),
        };
        assert_eq!(settings.problems(), []);
        let placed = Placed {
            port: LAN,
            interface: "lan0".to_owned(),
            mac: MacAddr([2, 0, 0, 0, 0, number]),
            settings,
            tracked: tracked
                .iter()
                .map(|port| (*port, "wan0".to_owned()))
                .collect(),
            weight,
        };
        let desk = Desk(Rc::clone(&hands));
        let parts = Parts {
            clock: desk.clone(),
            frames: desk.clone(),
            links: desk.clone(),
            plane: desk,
        };
        let (orders, received) = orders();
        let (told, status) = watch::channel(Vec::new());
        let ended = spawn_local(run(vec![placed], parts, received, told));
        Self {
            hands,
            orders,
            status,
            ended,
        }
    }

    pub(crate) fn status(&self) -> RouterStatus {
        self.status.borrow()[0].clone()
    }

    /// Waits for a state, and gives when it was there, in milliseconds.
    pub(crate) async fn stands(&mut self, wanted: Stands) -> u64 {
        let told = self
            .status
            .wait_for(|all| all.first().is_some_and(|it| it.state == wanted));
        let told = tokio::time::timeout(Duration::from_secs(60), told).await;
        let all = told.expect("in time").expect("a driver that runs").clone();
        all[0].since.as_nanos() / 1_000_000
    }

    pub(crate) fn left(&self) -> Vec<(u64, u8)> {
        let said = self.hands.said.borrow();
        let left = said.iter().filter(|(.., left)| *left);
        left.map(|(at, priority, _)| (*at, *priority)).collect()
    }
}

pub(crate) fn wired(one: &Running, other: &Running) {
    *one.hands.other.borrow_mut() = Some(Rc::clone(&other.hands));
    *other.hands.other.borrow_mut() = Some(Rc::clone(&one.hands));
}
