//! The world `madsim`: the whole production shell, its ready tasks polled in random order.
//!
//! Built with `--cfg madsim` alone, never shipped. Every gateway and every segment is a madsim
//! node, a cable is a pair of them: clogged is cut, killed is without power (see
//! `crate::shelled`). madsim goes from event to event, picks among ready tasks by its seed, and
//! catches clocks, entropy and hash order by itself, so it is also an independent check of
//! determinism.
//!
//! madsim sleeps for a millisecond at least and sends nothing in less; so one of its milliseconds
//! is [`GRAIN`] of this world's time, and all times are scaled.
//!
//! The limit: its file system knows no power loss, so a disk here is a map on which every step is
//! durable at once; what is lost between write and sync is the business of `turmoil`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use madsim::net::{NetSim, TcpListener, TcpStream, UdpSocket};
use madsim::runtime::{Handle, NodeHandle};
use madsim::time;
use steadfast_core::{Instant, Rules};
use steadfast_scenarios::format::Plan;
use steadfast_scenarios::trace::Event;
use steadfast_shell::habits::Habits;
use steadfast_shell::record::{SLOTS, Slot, Step, slot};
use tokio::sync::Notify;

use crate::shelled::ground::{DATAGRAM_MAX, Ground, Host, Listener, Reached, Socket, Task};
use crate::shelled::hosts::{Guests, House};
use crate::shelled::set::Set;
use crate::stage::{Cost, Tap};

/// What one of madsim's milliseconds is here.
pub const GRAIN: Duration = Duration::from_micros(10);

/// How much later than elsewhere things may be here: sixteen crossings of six grains each.
pub const TOLERANCE: Duration = Duration::from_millis(1);

/// How many of madsim's nanoseconds make one of this world's.
const SCALE: u32 = 100;
/// What a datagram takes beside madsim's own two milliseconds, at least; in madsim's time.
const LATENCY_MIN: Duration = Duration::from_millis(1);
/// The same, at most.
const LATENCY_MAX: Duration = Duration::from_millis(4);
/// The port that all cables use.
const PORT: u16 = 700;
/// The port that all streams use.
const STREAM_PORT: u16 = 6973;
/// Longest sleep of the world's own task.
const NAP_MAX: Duration = Duration::from_secs(1);

/// Plays a plan to its end, in the madsim runtime that this is called in; frames go to the tap, if
/// there is one.
///
/// # Errors
/// A scenario whose configuration the product refuses, in its words.
pub async fn run(
    plan: &Plan,
    rules: Rules,
    habits: Habits,
    tap: Option<&Tap>,
    sink: &mut dyn FnMut(&Event),
) -> Result<Cost, String> {
    hosting(plan, rules, habits, Guests::default(), tap, sink).await
}

/// The same, with programs beside the daemons.
pub(crate) async fn hosting(
    plan: &Plan,
    rules: Rules,
    habits: Habits,
    guests: Guests<Madsim>,
    tap: Option<&Tap>,
    sink: &mut dyn FnMut(&Event),
) -> Result<Cost, String> {
    NetSim::current().update_config(|config| {
        config.packet_loss_rate = 0.0;
        config.send_latency = LATENCY_MIN..LATENCY_MAX;
    });
    let mut set = Set::new(plan, rules, habits)?;
    set.record(tap);
    let ground = Madsim::new();
    let mut house = set.house(ground.clone());
    house.guests = guests;
    let nodes = Nodes::new(plan, &house);
    loop {
        let now = ground.now();
        ground.planned.set(Instant::FAR_FUTURE);
        set.stage.borrow_mut().advance(now);
        nodes.follow(&mut set);
        set.tell(sink);
        if now >= plan.end() {
            break;
        }
        let next = set.stage.borrow().next_at();
        let next = next.into_iter().chain(set.next_deadline()).min();
        let next = next.unwrap_or(Instant::FAR_FUTURE);
        let next = next.min(plan.end()).min(now.after(NAP_MAX));
        ground.planned.set(next);
        tokio::select! {
            biased;
            () = ground.bell.notified() => {}
            () = ground.sleep_until(next) => {}
        }
    }
    Ok(set.end(sink))
}

thread_local! {
    /// What a node's first task is given: madsim wants it to be `Send`, and a house is not. Every
    /// run has a thread of its own.
    static HOUSE: RefCell<Option<House<Madsim>>> = const { RefCell::new(None) };
}

/// madsim's nodes.
struct Nodes {
    gateways: Vec<NodeHandle>,
    segments: Vec<NodeHandle>,
}

impl Nodes {
    fn new(plan: &Plan, house: &House<Madsim>) -> Self {
        HOUSE.set(Some(house.clone()));
        let node = |host: Host| {
            let handle = Handle::current();
            let node = handle.create_node();
            node.ip(address(host).ip())
                .init(move || async move {
                    let Some(house) = HOUSE.with_borrow(Clone::clone) else {
                        return;
                    };
                    let ended = match host {
                        Host::Gateway(number) => house.gateway(number).await,
                        Host::Segment(number) => house.segment(number).await,
                    };
                    assert!(ended.is_ok(), "{host:?}: {ended:?}");
                })
                .build()
        };
        let gateways = 0..plan.layout.gateways.len();
        let segments = 0..plan.layout.segments.len();
        Self {
            gateways: gateways.map(|it| node(Host::Gateway(it))).collect(),
            segments: segments.map(|it| node(Host::Segment(it))).collect(),
        }
    }

    fn of(&self, host: Host) -> &NodeHandle {
        match host {
            Host::Gateway(number) => &self.gateways[number],
            Host::Segment(number) => &self.segments[number],
        }
    }

    /// Nodes follow their boxes, pairs their cables.
    fn follow(&self, set: &mut Set) {
        let handle = Handle::current();
        for (gateway, on) in set.power_changes() {
            let node = self.gateways[gateway].id();
            // A restart alone leaves the sockets of the life before.
            handle.kill(node);
            if on {
                handle.restart(node);
            }
        }
        let net = NetSim::current();
        for (from, to, cut) in set.cut_changes() {
            let (from, to) = (self.of(from).id(), self.of(to).id());
            if cut {
                net.clog_link(from, to);
            } else {
                net.unclog_link(from, to);
            }
        }
    }
}

fn address(host: Host) -> SocketAddr {
    let byte = |number: usize| u8::try_from(number + 1).unwrap_or(u8::MAX);
    let ip = match host {
        Host::Gateway(number) => Ipv4Addr::new(10, 0, 0, byte(number)),
        Host::Segment(number) => Ipv4Addr::new(10, 0, 1, byte(number)),
    };
    SocketAddr::new(IpAddr::V4(ip), PORT)
}

/// Files by gateway and name; every step is durable at once.
type Disks = Rc<RefCell<BTreeMap<(usize, &'static str), Vec<u8>>>>;

/// madsim, as the nodes in it see it.
#[derive(Clone)]
pub(crate) struct Madsim {
    disks: Disks,
    /// Until when the world's own task sleeps.
    planned: Rc<Cell<Instant>>,
    bell: Rc<Notify>,
}

impl Madsim {
    fn new() -> Self {
        Self {
            disks: Rc::default(),
            planned: Rc::new(Cell::new(Instant::ORIGIN)),
            bell: Rc::default(),
        }
    }
}

impl Ground for Madsim {
    type Socket = UdpSocket;
    type Stream = TcpStream;
    type Listener = TcpListener;

    fn now(&self) -> Instant {
        Instant::ORIGIN.after(time::TimeHandle::current().elapsed() / SCALE)
    }

    async fn sleep_until(&self, at: Instant) {
        while self.now() < at {
            let wait = at.since(self.now()).min(NAP_MAX);
            time::sleep(wait * SCALE).await;
        }
    }

    fn spawn(&self, task: Task) {
        madsim::task::spawn_local(task);
    }

    async fn bind(&self) -> io::Result<UdpSocket> {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await
    }

    async fn listen(&self) -> io::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, STREAM_PORT)).await
    }

    async fn connect(&self, to: Host) -> io::Result<TcpStream> {
        TcpStream::connect((address(to).ip(), STREAM_PORT)).await
    }

    fn read_record(&self, gateway: usize) -> [Slot; 2] {
        let disks = self.disks.borrow();
        SLOTS.map(|name| {
            let bytes = disks.get(&(gateway, name));
            bytes.map_or(Slot::Missing, |bytes| slot::decode(bytes))
        })
    }

    fn perform(&self, gateway: usize, step: &Step) -> io::Result<()> {
        let mut disks = self.disks.borrow_mut();
        match step {
            Step::Rename { from, to } => {
                let bytes = disks.remove(&(gateway, *from));
                let bytes = bytes.ok_or(io::ErrorKind::NotFound)?;
                disks.insert((gateway, *to), bytes);
            }
            Step::Sync(_) | Step::SyncFolder => {}
            Step::Write { name, bytes } => {
                disks.insert((gateway, *name), bytes.clone());
            }
        }
        Ok(())
    }

    fn due(&self, next: Option<Instant>) {
        if next.is_some_and(|next| next < self.planned.get()) {
            self.bell.notify_one();
        }
    }

    async fn reached(&self, _at: Reached) {}
}

impl Listener<TcpStream> for TcpListener {
    async fn accept(&self) -> io::Result<TcpStream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Socket for UdpSocket {
    async fn send(&self, to: Host, bytes: &[u8]) {
        // A node that is gone refuses, where a wire would only be silent.
        let _ = self.send_to(address(to), bytes).await;
    }

    async fn receive(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; DATAGRAM_MAX];
        let (length, _) = self.recv_from(&mut bytes).await?;
        bytes.truncate(length);
        Ok(bytes)
    }
}
