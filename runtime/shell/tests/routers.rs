//! Virtual routers on a desk: drivers on a clock that jumps, a wire of memory, a kernel of leases.

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
    Done, Order, Orders, Parts, Placed, RouterPlane, RouterStatus, Stands, Wish, orders, run,
};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, sleep_until};

const LAN: PortId = PortId(0);
/// Frames that wait for a driver; no story sends so many.
const WAITING_MAX: usize = 4_096;

/// A router's world, and what happened in it.
struct Hands {
    started: tokio::time::Instant,
    waiting: RefCell<VecDeque<Vec<u8>>>,
    arrived: Notify,
    links: RefCell<VecDeque<LinkEvent>>,
    linked: Notify,
    held: Cell<bool>,
    let_go: Notify,
    done: RefCell<VecDeque<Done>>,
    finished: Notify,
    lease: Cell<Option<tokio::time::Instant>>,
    lease_time: Duration,
    takes: Cell<Duration>,
    refuses: Cell<bool>,
    wished: RefCell<Vec<(u64, Wish)>>,
    /// When, what priority, and whether it left.
    said: RefCell<Vec<(u64, u8, bool)>>,
    announced: RefCell<Vec<u64>>,
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
            wished: RefCell::default(),
            said: RefCell::default(),
            announced: RefCell::default(),
            other: RefCell::default(),
        };
        Rc::new(hands)
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).expect("a short story")
    }

    fn leased(&self) -> bool {
        self.lease
            .get()
            .is_some_and(|end| tokio::time::Instant::now() < end)
    }

    fn hold(&self, held: bool) {
        self.held.set(held);
        self.let_go.notify_waiters();
    }

    fn link(&self, up: bool) {
        self.links
            .borrow_mut()
            .push_back(LinkEvent { port: LAN, up });
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
struct Running {
    hands: Rc<Hands>,
    orders: Orders,
    status: watch::Receiver<Vec<RouterStatus>>,
    ended: tokio::task::JoinHandle<io::Result<()>>,
}

impl Running {
    fn start(number: u8, priority: u8) -> Self {
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

    fn status(&self) -> RouterStatus {
        self.status.borrow()[0].clone()
    }

    /// Waits for a state, and gives when it was there, in milliseconds.
    async fn stands(&mut self, wanted: Stands) -> u64 {
        let told = self
            .status
            .wait_for(|all| all.first().is_some_and(|it| it.state == wanted));
        let told = tokio::time::timeout(Duration::from_secs(60), told).await;
        let all = told.expect("in time").expect("a driver that runs").clone();
        all[0].since.as_nanos() / 1_000_000
    }

    fn left(&self) -> Vec<(u64, u8)> {
        let said = self.hands.said.borrow();
        let left = said.iter().filter(|(.., left)| *left);
        left.map(|(at, priority, _)| (*at, *priority)).collect()
    }
}

fn wired(one: &Running, other: &Running) {
    *one.hands.other.borrow_mut() = Some(Rc::clone(&other.hands));
    *other.hands.other.borrow_mut() = Some(Rc::clone(&one.hands));
}

async fn on_a_desk(story: impl Future<Output = ()>) {
    LocalSet::new().run_until(story).await;
}

/// The one of higher priority serves, and says so when the kernel does, not before; the other
/// waits. Hosts are told four times.
#[tokio::test(start_paused = true)]
async fn routers_better_one_serves_and_speaks_when_the_kernel_does() {
    on_a_desk(async {
        let mut better = Running::start(2, 200);
        let mut other = Running::start(3, 100);
        wired(&better, &other);
        better.hands.takes.set(Duration::from_millis(20));
        // Three intervals and the skew of 56/256 of one; the desk's clock counts milliseconds.
        assert_eq!(better.stands(Stands::Active).await, 322);
        sleep(Duration::from_secs(6)).await;
        assert_eq!(other.status().state, Stands::Backup);
        assert_eq!(
            better.left()[..2],
            [(342, 200), (422, 200)],
            "when the kernel served"
        );
        assert_eq!(
            *better.hands.announced.borrow(),
            [342, 342, 355, 355, 1342, 1342, 5342, 5342]
        );
        assert!(better.status().serving && other.hands.wished.borrow().is_empty());
        assert_eq!(other.stands(Stands::Backup).await, 0);
    })
    .await;
}

/// Whoever is asked to end says so: the other takes over after its skew alone.
#[tokio::test(start_paused = true)]
async fn routers_end_in_order_and_the_other_takes_over_at_once() {
    on_a_desk(async {
        let mut better = Running::start(2, 200);
        let mut other = Running::start(3, 100);
        wired(&better, &other);
        better.stands(Stands::Active).await;
        sleep(Duration::from_secs(1)).await;
        let at = better.hands.millis();
        better.orders.send(Order::Shutdown).await.unwrap();
        let skew = 60;
        let taken = other.stands(Stands::Active).await;
        assert!((at + skew..at + skew + 2).contains(&taken), "{at}, {taken}");
        (&mut better.ended).await.unwrap().unwrap();
        assert_eq!(better.left().last().unwrap().1, RESIGNS);
        assert_eq!(
            better.hands.wished.borrow().last().unwrap().1,
            Wish::Withdraw
        );
        assert!(!better.hands.leased());
    })
    .await;
}

/// An operator lets another one serve; who is no active router has nothing to resign. With
/// preemption the better one comes back after its down interval.
#[tokio::test(start_paused = true)]
async fn routers_resign_by_order() {
    on_a_desk(async {
        let mut better = Running::start(2, 200);
        let mut other = Running::start(3, 100);
        wired(&better, &other);
        better.stands(Stands::Active).await;
        sleep(Duration::from_secs(1)).await;
        for (router, active) in [(&other, false), (&better, true)] {
            let (reply, answer) = oneshot::channel();
            router.orders.send(Order::Resign(0, reply)).await.unwrap();
            assert_eq!(answer.await, Ok(active));
        }
        other.stands(Stands::Active).await;
        let back = better.stands(Stands::Active).await;
        assert!(back > 1_600, "{back}");
        other.stands(Stands::Backup).await;
    })
    .await;
}

/// A router that stood still for longer than its lease hears first who serves now, and what it
/// says does not leave: it begins anew, and comes back in order.
#[tokio::test(start_paused = true)]
async fn routers_late_one_owns_nothing() {
    on_a_desk(async {
        let mut better = Running::start(2, 200);
        let mut other = Running::start(3, 100);
        wired(&better, &other);
        better.stands(Stands::Active).await;
        sleep(Duration::from_secs(1)).await;
        better.hands.hold(true);
        other.stands(Stands::Active).await;
        sleep(Duration::from_millis(500)).await;
        assert!(!better.hands.leased(), "its lease ended by itself");
        better.hands.hold(false);
        better.stands(Stands::Backup).await;
        assert_eq!(better.status().why, "its lease had ended: it was late");
        let lapsed = ("lease_lapsed".to_owned(), 1);
        assert!(
            better.status().counters.contains(&lapsed),
            "{:?}",
            better.status()
        );
        better.stands(Stands::Active).await;
        other.stands(Stands::Backup).await;
    })
    .await;
}

/// A kernel that refuses makes no silent half: nothing is said, and it is tried again a second
/// later.
#[tokio::test(start_paused = true)]
async fn routers_refused_by_the_kernel_try_again() {
    on_a_desk(async {
        let mut router = Running::start(2, 200);
        router.hands.refuses.set(true);
        router.stands(Stands::Active).await;
        router.stands(Stands::Initialize).await;
        assert_eq!(router.status().why, "the kernel refused the addresses");
        assert_eq!(router.left(), []);
        router.hands.refuses.set(false);
        let back = router.stands(Stands::Active).await;
        assert!((1_322..1_332 + 322).contains(&back), "{back}");
        sleep(Duration::from_millis(10)).await;
        assert!(router.status().serving || !router.left().is_empty());
    })
    .await;
}

/// A lost link ends it at once; when the link is back it waits as after a start.
#[tokio::test(start_paused = true)]
async fn routers_follow_their_link() {
    on_a_desk(async {
        let mut router = Running::start(2, 200);
        router.stands(Stands::Active).await;
        router.hands.link(false);
        router.stands(Stands::Initialize).await;
        sleep(Duration::from_millis(10)).await;
        assert!(!router.hands.leased());
        let at = router.hands.millis();
        router.hands.link(true);
        assert_eq!(router.stands(Stands::Active).await, at + 322);
    })
    .await;
}
