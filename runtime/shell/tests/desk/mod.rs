//! Two gateways on a desk: drivers on a clock that jumps, wires of memory, a kernel of one lease.
//!
//! Time passes only when nobody has anything to do, so every story is exact and takes no time. A
//! gateway can be held still: its driver does nothing until it is let go, while frames wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use steadfast_core::boot::{Boot, Record};
use steadfast_core::config::Timing;
use steadfast_core::config::{
    Config, Digests, Parts as Settings, PeerConfig, Policy, PortAction, PortConfig,
};
use steadfast_core::effect::{Alert, Effect, Failure, Forwarding, Input};
use steadfast_core::status::Status;
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::auth::{Key, KeyRing, Phase, Secret};
use steadfast_core::wire::carriage::Carriage;
use steadfast_core::{ClusterId, Instant, MacAddr, Node, NodeId, PortId};
use steadfast_shell::driver::{Outlets, run};
use steadfast_shell::env::{
    Clock, Dataplane, Entry, Env, Executor, Frames, Journal, LinkEvent, Links, Parts, Sent, Store,
};
use steadfast_shell::habits::Habits;
use steadfast_shell::orders::{Orders, orders};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

/// The served segment, and the direct cable.
pub(crate) const LAN: PortId = PortId(0);
const CABLE: PortId = PortId(1);
const CLUSTER: ClusterId = ClusterId([7; 16]);
/// Frames a gateway's sockets hold; further ones are lost, and no story sends so many.
const WAITING_MAX: usize = 4_096;

/// What a story holds of a gateway.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) hands: Rc<Hands>,
    pub(crate) orders: Orders,
    pub(crate) status: watch::Receiver<Arc<Status>>,
}

/// A frame that was tried: when, where, its bytes, what became of it.
pub(crate) type Tried = (Instant, PortId, Vec<u8>, Sent);

/// What a gateway's world is, and what happened in it.
#[derive(Default)]
pub(crate) struct Hands {
    started: Cell<Option<tokio::time::Instant>>,
    waiting: RefCell<VecDeque<(PortId, Instant, Vec<u8>)>>,
    arrived: Notify,
    held: Cell<bool>,
    let_go: Notify,
    lease_until: Cell<Option<Instant>>,
    links: RefCell<VecDeque<LinkEvent>>,
    pub(crate) apply_takes: Cell<Duration>,
    pub(crate) apply_fails: Cell<bool>,
    pub(crate) store_takes: Cell<Duration>,
    pub(crate) fence_damaged: Cell<bool>,
    pub(crate) applied: RefCell<Vec<(Instant, Forwarding)>>,
    pub(crate) stored: RefCell<Vec<Record>>,
    pub(crate) sent: RefCell<Vec<Tried>>,
    pub(crate) journal: RefCell<Vec<(Instant, String)>>,
    other: RefCell<Option<Rc<Self>>>,
}

impl Hands {
    pub(crate) fn now(&self) -> Instant {
        let started = self.started.get().unwrap_or_else(tokio::time::Instant::now);
        Instant::ORIGIN.after(started.elapsed())
    }

    /// Holds the driver still, or lets it go on.
    pub(crate) fn hold(&self, held: bool) {
        self.held.set(held);
        self.let_go.notify_waiters();
    }

    pub(crate) fn arrive(&self, port: PortId, frame: &[u8]) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() < WAITING_MAX {
            waiting.push_back((port, self.now(), frame.to_vec()));
        }
        self.arrived.notify_one();
    }

    /// The kernel takes the lease away.
    pub(crate) fn lapse(&self) {
        self.lease_until.set(None);
    }

    fn leased(&self) -> bool {
        self.lease_until.get().is_some_and(|end| self.now() < end)
    }

    async fn still(&self) {
        while self.held.get() {
            self.let_go.notified().await;
        }
    }
}

#[derive(Clone)]
struct Desk(Rc<Hands>);

struct Wooden;

impl Env for Wooden {
    type Clock = Desk;
    type Executor = Desk;
    type Frames = Desk;
    type Links = Desk;
    type Dataplane = Desk;
    type Store = Desk;
    type Journal = Desk;
}

impl Clock for Desk {
    fn now(&self) -> Instant {
        self.0.now()
    }

    async fn sleep_until(&self, deadline: Instant) {
        let wait = deadline
            .since(self.0.now())
            .min(Duration::from_secs(86_400));
        tokio::time::sleep(wait).await;
        self.0.still().await;
    }
}

impl Executor for Desk {
    fn spawn(&self, _name: &'static str, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }
}

impl Frames for Desk {
    async fn ready(&mut self) -> io::Result<()> {
        loop {
            self.0.still().await;
            if !self.0.waiting.borrow().is_empty() {
                return Ok(());
            }
            self.0.arrived.notified().await;
        }
    }

    fn take(&mut self, frame: &mut Vec<u8>) -> Option<(PortId, Instant)> {
        let (port, at, bytes) = self.0.waiting.borrow_mut().pop_front()?;
        frame.clear();
        frame.extend_from_slice(&bytes);
        Some((port, at))
    }

    async fn send(&mut self, port: PortId, frame: &[u8]) -> Sent {
        let ours = frame.get(12..14) == Some(&[0x88, 0xb5]);
        let mark = frame.get(15).copied().filter(|_| ours);
        let guarded = matches!(mark, Some(2 | 3));
        let sent = if guarded && !self.0.leased() {
            Sent::Refused
        } else {
            Sent::Sent
        };
        if sent == Sent::Sent {
            if mark == Some(2) {
                let lease = Duration::from_millis(300);
                self.0.lease_until.set(Some(self.0.now().after(lease)));
            }
            if let Some(other) = &*self.0.other.borrow() {
                other.arrive(port, frame);
            }
        }
        let noted = (self.0.now(), port, frame.to_vec(), sent);
        self.0.sent.borrow_mut().push(noted);
        sent
    }
}

impl Links for Desk {
    async fn changed(&mut self) -> io::Result<LinkEvent> {
        let next = self.0.links.borrow_mut().pop_front();
        match next {
            Some(event) => Ok(event),
            None => std::future::pending().await,
        }
    }
}

impl Dataplane for Desk {
    async fn apply(&mut self, desired: Forwarding) -> Result<(), Failure> {
        tokio::time::sleep(self.0.apply_takes.get()).await;
        if self.0.apply_fails.get() {
            return Err(Failure::Refused);
        }
        let now = self.0.now();
        self.0.applied.borrow_mut().push((now, desired));
        match desired {
            Forwarding::Active { .. } => {
                let end = now.after(Duration::from_millis(300));
                self.0.lease_until.set(Some(end));
            }
            Forwarding::Offering { remaining } if self.0.leased() => {
                self.0.lease_until.set(Some(now.after(remaining)));
            }
            Forwarding::Offering { .. } => return Err(Failure::LeaseLapsed),
            Forwarding::Standby | Forwarding::Tail => self.0.lease_until.set(None),
        }
        Ok(())
    }

    async fn reconfigure(&mut self, _config: &Config) -> Result<(), Failure> {
        Ok(())
    }

    async fn check_fence(&mut self) -> bool {
        !self.0.fence_damaged.get()
    }
}

impl Store for Desk {
    async fn commit(&mut self, record: &Record) -> io::Result<()> {
        tokio::time::sleep(self.0.store_takes.get()).await;
        self.0.stored.borrow_mut().push(record.clone());
        Ok(())
    }
}

impl Journal for Desk {
    fn note(&mut self, at: Instant, entry: Entry<'_>) {
        let text = match entry {
            Entry::Input(Input::FrameReceived { .. }) => "frame".to_owned(),
            Entry::Input(Input::DeadlineReached) => "deadline".to_owned(),
            Entry::Input(other) => format!("{other:?}"),
            Entry::Effect(Effect::Transmit { .. }) => return,
            Entry::Effect(other) => format!("{other:?}"),
            Entry::Replaced(_) => "configuration replaced".to_owned(),
            Entry::Status(status) => format!("{:?}", status.role),
        };
        self.0.journal.borrow_mut().push((at, text));
    }
}

fn config(own: u8, change: impl FnOnce(&mut Settings)) -> Config {
    let other = 3 - own;
    let unit = |node: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, 10 + node));
    let port = |id: PortId| PortConfig {
        id,
        name: format!("port{id}"),
        mac: MacAddr([2, 0, 0, 0, own, id.0]),
        direct: id == CABLE,
        heartbeat: true,
        secondary: false,
        watched: id == LAN,
        units: if id == LAN {
            vec![(unit(own), 24)]
        } else {
            Vec::new()
        },
        virtuals: if id == LAN {
            vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))]
        } else {
            Vec::new()
        },
        virtual_mac: None,
        action: PortAction::Add,
        neighbour: None,
        via: None,
    };
    let key = Key {
        id: 1,
        secret: Secret::new(b"correct horse battery staple").unwrap(),
        phase: Phase::Enforce,
    };
    let nodes = [NodeId(1), NodeId(2)];
    let mut settings = Settings {
        cluster: CLUSTER,
        virtual_router: 51,
        node: NodeId(own),
        peers: vec![PeerConfig {
            node: NodeId(other),
            units: vec![(LAN, unit(other))],
        }],
        ports: vec![port(LAN), port(CABLE)],
        timing: Timing::default(),
        policy: Policy::default(),
        witness: None,
        keys: KeyRing::new(CLUSTER, NodeId(own), &nodes, vec![key]).unwrap(),
        checks: Vec::new(),
        carriage: Carriage::default(),
        digests: Digests::default(),
    };
    change(&mut settings);
    Config::new(settings).unwrap()
}

/// A configuration as the desk's gateways have it, changed.
pub(crate) fn changed(own: u8, change: impl FnOnce(&mut Settings)) -> Config {
    config(own, change)
}

/// A gateway whose driver runs from now on.
pub(crate) fn gateway(own: u8) -> (Gateway, JoinHandle<io::Result<()>>) {
    let hands = Rc::new(Hands::default());
    hands.started.set(Some(tokio::time::Instant::now()));
    for port in [LAN, CABLE] {
        hands
            .links
            .borrow_mut()
            .push_back(LinkEvent { port, up: true });
    }
    let boot = Boot {
        now: Instant::ORIGIN,
        seed: [own; 32],
        kernel_boot: [own; 16],
        uptime: Duration::from_secs(5),
        restored: Record::default(),
    };
    let node = Node::new(config(own, |_| {}), boot);
    let desk = || Desk(Rc::clone(&hands));
    let parts = Parts::<Wooden> {
        clock: desk(),
        executor: desk(),
        frames: desk(),
        links: desk(),
        dataplane: desk(),
        store: desk(),
        journal: desk(),
        habits: Habits::complete(),
    };
    let (status_sender, status) = watch::channel(Arc::new(node.status(Instant::ORIGIN)));
    let (alerts, _unread) = mpsc::channel::<(Instant, Alert)>(64);
    let outlets = Outlets {
        status: status_sender,
        alerts,
    };
    let (orders, received) = orders();
    let task = tokio::task::spawn_local(run(node, parts, received, outlets));
    let gateway = Gateway {
        hands,
        orders,
        status,
    };
    (gateway, task)
}

/// Two gateways, wired to each other.
pub(crate) fn pair() -> (Gateway, Gateway) {
    let (one, _) = gateway(1);
    let (two, _) = gateway(2);
    one.hands.other.replace(Some(Rc::clone(&two.hands)));
    two.hands.other.replace(Some(Rc::clone(&one.hands)));
    (one, two)
}

/// Somebody on the served segment speaks: proof that it is heard (D12).
pub(crate) fn chatter(gateway: &Gateway) {
    let arp = Arp {
        operation: Operation::Request,
        sender_mac: MacAddr([2, 0, 0, 0, 0xee, 0]),
        sender_ip: Ipv4Addr::new(10, 0, 0, 100),
        target_mac: MacAddr::ZERO,
        target_ip: Ipv4Addr::new(10, 0, 0, 101),
    };
    let frame = arp.frame(MacAddr::BROADCAST, MacAddr([2, 0, 0, 0, 0xee, 0]));
    gateway.hands.arrive(LAN, &frame);
}
