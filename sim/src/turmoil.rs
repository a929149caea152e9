//! The world `turmoil`: the whole production shell, with exact faults, barriers and a disk that
//! forgets what was not synced.
//!
//! Every gateway and every segment is a turmoil host; a cable is a pair of them, so a pair that is
//! partitioned is a cable that is cut, and a host that crashes is a box without power (see
//! `crate::shelled`). turmoil's clocks go in steps of a millisecond, which is as long as a whole
//! takeover: so this world has a time of its own (`pace`). A step of turmoil's lasts a [`GRAIN`]
//! while something is on its way, and else until whatever is due next. A hop takes one step.
//!
//! The limit: within one grain nothing is ordered but by the order of hosts, and what takes less
//! than a grain takes one. Bounds are wider here by [`TOLERANCE`].

mod pace;

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use steadfast_core::{Instant, Rules};
use steadfast_scenarios::format::Plan;
use steadfast_scenarios::trace::Event;
use steadfast_shell::habits::Habits;
use steadfast_shell::record::{Problem, SLOTS, Slot, Step, slot};
use turmoil::barriers::{Barrier, Reaction, Triggered, trigger};
use turmoil::fs::shim::std::fs;
use turmoil::net::{TcpListener, TcpStream, UdpSocket};
use turmoil::{Builder, Sim};

use self::pace::Pace;
use crate::shelled::ground::Reached;
use crate::shelled::ground::{DATAGRAM_MAX, Ground, Host, Listener, Socket, Task};
use crate::shelled::hosts::{Guests, House};
use crate::shelled::set::Set;
use crate::stage::{Cost, Tap, WALL_ORIGIN};

/// What a hop takes, and a task that wakes another host's.
pub const GRAIN: Duration = Duration::from_micros(10);

/// How much later than elsewhere things may be here: sixteen hops, there and back and there again
/// through a switch twice, of two grains each.
pub const TOLERANCE: Duration = Duration::from_micros(320);

/// How often the cables of open streams are asked at least.
const STREAMS_ASKED: Duration = Duration::from_millis(1);
/// The shortest that a step takes.
const SOON: Duration = Duration::from_nanos(1);
/// turmoil's own step.
const TICK: Duration = Duration::from_millis(1);
/// What turmoil thinks that a message takes: at the next step it is there. With nothing at all it
/// would not be seen in flight.
const HOP: Duration = Duration::from_micros(1);
/// The port that all cables use.
const PORT: u16 = 700;
/// The port that all streams use.
const STREAM_PORT: u16 = 6973;
/// Datagrams that a host holds for a program that does not read; a lane holds more.
const SOCKET_MAX: usize = 8_192;
/// Where a gateway keeps its record.
const FOLDER: &str = "/state";

/// Plays a plan to its end; frames go to the tap, if there is one.
///
/// # Errors
/// A scenario whose configuration the product refuses, in its words; or turmoil's own refusal.
pub fn run(
    plan: &Plan,
    rules: Rules,
    habits: Habits,
    tap: Option<&Tap>,
    sink: &mut dyn FnMut(&Event),
) -> Result<Cost, String> {
    let mut theatre = Theatre::new(plan, rules, habits)?;
    theatre.set.record(tap);
    while theatre.step(sink)? {}
    Ok(theatre.end(sink))
}

/// A world in progress, for tests that do something at a barrier.
pub struct Theatre {
    sim: Sim<'static>,
    set: Set,
    ground: Turmoil,
    begun: bool,
    end: Instant,
}

impl Theatre {
    /// A world at its origin, everything dark.
    ///
    /// # Errors
    /// As [`run`].
    pub fn new(plan: &Plan, rules: Rules, habits: Habits) -> Result<Self, String> {
        Self::hosting(plan, rules, habits, Guests::default())
    }

    /// The same, with programs beside the daemons.
    pub(crate) fn hosting(
        plan: &Plan,
        rules: Rules,
        habits: Habits,
        guests: Guests<Turmoil>,
    ) -> Result<Self, String> {
        let set = Set::new(plan, rules, habits)?;
        let ground = Turmoil::default();
        // Every host begins.
        ground.pace.stir();
        let mut house = set.house(ground.clone());
        house.guests = guests;
        Ok(Self {
            sim: simulation(plan, &house, &ground.pace),
            set,
            ground,
            begun: false,
            end: plan.end(),
        })
    }

    /// The world's time.
    pub fn now(&self) -> Instant {
        self.ground.now()
    }

    /// On to when something is due next, and all that is due then; false at the end of the plan.
    ///
    /// # Errors
    /// turmoil's: a host's program failed.
    pub fn step(&mut self, sink: &mut dyn FnMut(&Event)) -> Result<bool, String> {
        let now = if core::mem::replace(&mut self.begun, true) {
            self.next_at()
        } else {
            Instant::ORIGIN
        };
        self.ground.pace.reach(now);
        self.set.stage.borrow_mut().advance(now);
        self.follow();
        self.set.tell(sink);
        if now >= self.end {
            return Ok(false);
        }
        if self.ground.pace.settle() || self.in_flight() {
            self.sim.step().map_err(|why| why.to_string())?;
        }
        Ok(true)
    }

    /// When the next step is: a grain later, or when something is due if nothing goes on.
    fn next_at(&self) -> Instant {
        let now = self.now();
        if self.ground.pace.is_stirred() || self.in_flight() {
            return now.after(GRAIN);
        }
        let stage = self.set.stage.borrow().next_at();
        let due = stage
            .into_iter()
            .chain(self.ground.pace.next_at())
            .chain(self.set.next_deadline())
            .min()
            .unwrap_or(Instant::FAR_FUTURE);
        let due = if self.set.streams() {
            due.min(now.after(STREAMS_ASKED))
        } else {
            due
        };
        due.min(self.end).max(now.after(SOON))
    }

    /// Whether anything is on its way from host to host.
    fn in_flight(&self) -> bool {
        let mut any = false;
        self.sim.links(|mut links| {
            any = links.any(|mut link| link.next().is_some());
        });
        any
    }

    /// Tells the end, and what the run cost.
    pub fn end(self, sink: &mut dyn FnMut(&Event)) -> Cost {
        self.set.end(sink)
    }

    /// Stops whoever reaches this point next, exactly there, until the guard is dropped.
    pub fn hold(at: Reached) -> Hold {
        let wanted = move |reached: &Reached| *reached == at;
        Hold(Barrier::build(Reaction::Suspend, wanted))
    }

    /// A box loses power, now.
    pub fn power_off(&mut self, gateway: usize) {
        self.set.stage.borrow_mut().power_off(gateway);
        self.follow();
    }

    /// A box gets power: it boots.
    pub fn power_on(&mut self, gateway: usize) {
        self.set.stage.borrow_mut().power_on(gateway);
    }

    /// turmoil's hosts follow their boxes: a crash loses tasks, sockets and what was not synced.
    /// Its pairs follow the cables.
    fn follow(&mut self) {
        for (gateway, on) in self.set.power_changes() {
            self.ground.pace.stir();
            let name = host_name(Host::Gateway(gateway));
            if on {
                self.sim.bounce(name);
            } else {
                self.sim.crash(name);
            }
        }
        for (from, to, cut) in self.set.cut_changes() {
            if cut {
                self.sim.partition_oneway(host_name(from), host_name(to));
            } else {
                self.sim.repair_oneway(host_name(from), host_name(to));
            }
        }
    }
}

/// A barrier that waits for its [`Reached`].
pub struct Hold(Barrier<Reached>);

impl Hold {
    /// Steps a world until somebody stands at the barrier; none if its plan ends before.
    ///
    /// # Errors
    /// As [`Theatre::step`].
    pub fn step_until_reached(
        &mut self,
        theatre: &mut Theatre,
        sink: &mut dyn FnMut(&Event),
    ) -> Result<Option<Triggered<Reached>>, String> {
        loop {
            let mut waiting = std::pin::pin!(self.0.wait());
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            if let std::task::Poll::Ready(reached) = waiting.as_mut().poll(&mut cx) {
                return Ok(reached);
            }
            if !theatre.step(sink)? {
                return Ok(None);
            }
        }
    }
}

fn simulation(plan: &Plan, house: &House<Turmoil>, pace: &Pace) -> Sim<'static> {
    let mut builder = Builder::new();
    builder
        .epoch(UNIX_EPOCH + WALL_ORIGIN)
        .min_message_latency(HOP)
        .max_message_latency(HOP)
        .rng_seed(plan.seed)
        .simulation_duration(Duration::MAX)
        .tick_duration(TICK)
        .udp_capacity(SOCKET_MAX);
    let mut sim = builder.build();
    for gateway in 0..plan.layout.gateways.len() {
        let (house, pace) = (house.clone(), pace.clone());
        sim.host(host_name(Host::Gateway(gateway)), move || {
            let program = pace.watch(house.clone().gateway(gateway));
            async move { program.await.map_err(Into::into) }
        });
    }
    for segment in 0..plan.layout.segments.len() {
        let (house, pace) = (house.clone(), pace.clone());
        sim.host(host_name(Host::Segment(segment)), move || {
            let program = pace.watch(house.clone().segment(segment));
            async move { program.await.map_err(Into::into) }
        });
    }
    sim
}

fn host_name(host: Host) -> String {
    match host {
        Host::Gateway(number) => format!("gateway-{number}"),
        Host::Segment(number) => format!("segment-{number}"),
    }
}

/// turmoil, as the hosts in it see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turmoil {
    pace: Pace,
}

impl Ground for Turmoil {
    type Socket = UdpSocket;
    type Stream = TcpStream;
    type Listener = TcpListener;

    fn now(&self) -> Instant {
        self.pace.now()
    }

    async fn sleep_until(&self, at: Instant) {
        self.pace.sleep_until(at).await;
    }

    fn spawn(&self, task: Task) {
        tokio::task::spawn_local(self.pace.watch(task));
    }

    async fn bind(&self) -> io::Result<UdpSocket> {
        UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, PORT)).await
    }

    async fn listen(&self) -> io::Result<TcpListener> {
        TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, STREAM_PORT)).await
    }

    async fn connect(&self, to: Host) -> io::Result<TcpStream> {
        TcpStream::connect((host_name(to), STREAM_PORT)).await
    }

    fn read_record(&self, _gateway: usize) -> [Slot; 2] {
        // A box's first boot finds no folder; a folder that is not durable is made again.
        let _ = fs::create_dir_all(FOLDER).and_then(|()| fs::sync_dir("/"));
        SLOTS.map(read_slot)
    }

    fn perform(&self, _gateway: usize, step: &Step) -> io::Result<()> {
        match step {
            Step::Rename { from, to } => fs::rename(path(from), path(to)),
            Step::Sync(name) => {
                let file = fs::OpenOptions::new().write(true).open(path(name))?;
                file.sync_all()
            }
            Step::SyncFolder => fs::sync_dir(FOLDER),
            Step::Write { name, bytes } => fs::File::create(path(name))?.write_all(bytes),
        }
    }

    fn due(&self, _next: Option<Instant>) {
        // The stage is asked before every step.
    }

    async fn reached(&self, at: Reached) {
        trigger(at).await;
    }
}

impl Listener<TcpStream> for TcpListener {
    async fn accept(&self) -> io::Result<TcpStream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Socket for UdpSocket {
    async fn send(&self, to: Host, bytes: &[u8]) {
        let address = SocketAddr::new(turmoil::lookup(host_name(to)), PORT);
        // A host without power refuses at once, where a wire would only be silent.
        let _ = self.send_to(bytes, address).await;
    }

    async fn receive(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; DATAGRAM_MAX];
        let (length, _) = self.recv_from(&mut bytes).await?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

fn read_slot(name: &'static str) -> Slot {
    let mut bytes = Vec::new();
    let read = fs::File::open(path(name)).and_then(|mut file| file.read_to_end(&mut bytes));
    match read {
        Ok(_) => slot::decode(&bytes),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Slot::Missing,
        Err(why) => Slot::Bad(Problem::Unreadable(why.to_string())),
    }
}
