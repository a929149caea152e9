//! The relay: wires whose frames pass through a thread that runs the simulators' own [`Link`].
//!
//! ```text
//!   gateway ── lan ═══ lan-a.r ─ packet ─► link, one for each way ─► packet ─ lan-a.i ═══ lan-a ┐
//!                        socket ◄──────────────────────────────────── socket                bridge
//! ```
//! Delay, jitter, duplicates and reordering are so the same arithmetic in the lab and in the
//! simulators, whatever a kernel's own impairment would make of them; cuts and loss stay the packet
//! filter's. The observer's questions pass beside the relay, by a rule of the packet filter: its
//! eyes must not wait for a thread.
//!
//! The hard case is a host that holds the thread up: then the wires are worse than the scenario
//! says, and beyond what instruments may be late ([`LATE_MIN`]) the run is told to be blind.
//!
//! The thread reads what came, lets the link say when it arrives, and sends what is due; heartbeats
//! of the daemons wait for nothing but the link. Frames that find no room, or are longer than a
//! packet socket keeps, are lost and counted.

use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use steadfast_core::MacAddr;
use steadfast_scenarios::Random;
use steadfast_scenarios::format::Verb;
use steadfast_scenarios::link::Link;

use super::verbs::{MACS_AT, hooks, needs_relay, permille};
use crate::error::{Doing, LabError};
use crate::ground::{Ground, Plug, Station};
use crate::instruments::{Frames, PacketSocket, VNET_LEN, run_first};
use crate::namespace::Namespace;
use crate::nft::{Hook, Nft, Rule, Test, Then};

/// Frames on their way; further ones are lost and counted.
const WAITING_MAX: usize = 65_536;
/// What a frame may be late: as much as instruments may be, and stalls of the host.
const LATE_MIN: Duration = crate::play::TOLERANCE;
/// The rules that let the observer's frames pass.
const TABLE: &str = "relay";
/// How long the thread waits at most before it looks whether it shall end.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes that all MACs of one observer share.
const OBSERVER_LEN: usize = 5;
/// Where the link's numbers come from.
const STREAM: &str = "relay";

/// A wire to relay: the names of its two inner ends, and whose questions pass at once.
#[derive(Clone, Debug)]
struct Span {
    /// Towards the machine.
    outer: String,
    /// Towards the switch.
    inner: String,
    /// The observer of its segment.
    observer: MacAddr,
}

/// Relays until it is dropped.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// By wire: from the machine, and to it.
    links: Mutex<Vec<[Link; 2]>>,
    ends: AtomicBool,
    lost: AtomicU64,
    /// How late a frame was sent at worst since somebody asked, in nanoseconds.
    late: AtomicU64,
}

impl Relay {
    /// Begins to relay a ground's gateways' wires, all in good order; nothing if it has plain ones.
    ///
    /// # Errors
    /// No right to open packet sockets.
    pub(crate) fn of(ground: &Ground) -> Result<Option<Self>, LabError> {
        let Some(seed) = ground.relayed() else {
            return Ok(None);
        };
        let segments = &ground.layout().segments;
        let plugs = ground.plugs().iter();
        let relayed = plugs.take_while(|plug| matches!(plug.station, Station::Gateway(..)));
        let span = |plug: &Plug| Span {
            outer: plug.outer(),
            inner: plug.inner(),
            observer: segments[plug.segment.index()].observer_mac(),
        };
        pass_observers(ground)?;
        let relay = Self::start(ground.switch(), relayed.map(span).collect(), seed);
        relay
            .map(Some)
            .doing(|| "relay the gateways' wires".to_owned())
    }

    fn start(at: &Namespace, spans: Vec<Span>, seed: u64) -> io::Result<Self> {
        let sockets = at.run(|| open(&spans)).map_err(io::Error::other)??;
        let links = spans
            .iter()
            .map(|_| [(); 2].map(|()| Link::quiet(Duration::ZERO)));
        let shared = Arc::new(Shared {
            links: Mutex::new(links.collect()),
            ends: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            late: AtomicU64::new(0),
        });
        let mut work = Work {
            shared: Arc::clone(&shared),
            sockets,
            spans,
            waiting: BTreeMap::new(),
            count: 0,
            random: Random::new(seed, STREAM),
            frames: Frames::default(),
            began: Instant::now(),
        };
        let thread = thread::Builder::new().name("relay".to_owned());
        let thread = Some(thread.spawn(move || work.run())?);
        Ok(Self { shared, thread })
    }

    /// Changes one way of a wire: 0 from the machine, 1 to it.
    fn change(&self, wire: usize, way: usize, change: impl FnOnce(&mut Link)) {
        if let Some(link) = self
            .shared
            .links()
            .get_mut(wire)
            .and_then(|it| it.get_mut(way))
        {
            change(link);
        }
    }

    /// By how much frames were later than their links say, since the last question; none if it was
    /// hardly so, which is [`LATE_MIN`].
    pub(crate) fn late(&self) -> Option<Duration> {
        let late = Duration::from_nanos(self.shared.late.swap(0, Ordering::Relaxed));
        (late > LATE_MIN).then_some(late)
    }

    /// Frames that found no room.
    pub fn lost_count(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A relay that panicked has told so already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, Vec<[Link; 2]>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What only a relay can do to frames; the places are those of gateways' wires, which come first
/// among all.
///
/// # Errors
/// [`LabError::Needs`] where there is no relay and it is needed.
pub(super) fn impair(relay: Option<&Relay>, places: &[usize], verb: &Verb) -> Result<(), LabError> {
    let Verb::Impair {
        delay,
        jitter,
        duplicate,
        reorder,
        rate,
        way,
        ..
    } = verb
    else {
        return Ok(());
    };
    let Some(relay) = relay else {
        return match needs_relay(verb) {
            true => Err(LabError::Needs("a ground with relayed wires".to_owned())),
            false => Ok(()),
        };
    };
    for place in places {
        for (_, way) in hooks(*way) {
            relay.change(*place, way, |link| {
                (link.added, link.jitter) = (delay.0, jitter.0);
                link.set_rate(rate.map(|rate| rate.0));
                link.duplicate_permille = permille(*duplicate);
                link.reorder_permille = permille(*reorder);
            });
        }
    }
    Ok(())
}

/// What the thread works with.
struct Work {
    shared: Arc<Shared>,
    /// By wire: towards the machine, towards the switch.
    sockets: Vec<[PacketSocket; 2]>,
    spans: Vec<Span>,
    /// In the order in which they are due: wire, way and frame.
    waiting: BTreeMap<(Instant, u64), (usize, usize, Vec<u8>)>,
    count: u64,
    random: Random,
    frames: Frames,
    /// The links' time begins here.
    began: Instant,
}

impl Work {
    fn run(&mut self) {
        run_first();
        while !self.shared.ends.load(Ordering::Relaxed) {
            self.wait();
            for wire in 0..self.sockets.len() {
                for way in 0..2 {
                    self.take(wire, way);
                }
            }
            self.send();
        }
    }

    /// Until a frame comes, or one is due.
    fn wait(&self) {
        let due = self.waiting.keys().next().map(|(at, _)| *at);
        let left = due.map_or(LOOK, |at| {
            at.saturating_duration_since(Instant::now()).min(LOOK)
        });
        let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let fds = self.sockets.iter().flatten().map(PacketSocket::as_fd);
        let mut fds: Vec<PollFd<'_>> = fds.map(|fd: BorrowedFd<'_>| readable(fd)).collect();
        let left = Timespec {
            tv_sec: 0,
            tv_nsec: left.subsec_nanos().into(),
        };
        // Interrupted or not: what there is shows in a moment.
        let _ = poll(&mut fds, Some(&left));
    }

    /// Takes in what came at one end.
    fn take(&mut self, wire: usize, way: usize) {
        let shared = Arc::clone(&self.shared);
        let lose = || {
            shared.lost.fetch_add(1, Ordering::Relaxed);
        };
        // A socket whose interface is down has nothing.
        let Ok(batch) = self.sockets[wire][way].take(&mut self.frames) else {
            return;
        };
        let now = Instant::now();
        let mut links = shared.links();
        let link = &mut links[wire][way];
        for (frame, age) in batch {
            let observer = self.spans[wire].observer;
            if frame.as_ref().is_some_and(|it| is_observed(it, observer)) {
                continue;
            }
            let Some(frame) = frame.filter(|_| self.waiting.len() < WAITING_MAX) else {
                lose();
                continue;
            };
            let came = now.checked_sub(age).unwrap_or(now);
            let put = |delay: Duration| {
                self.count += 1;
                let due = (came + delay, self.count);
                self.waiting.insert(due, (wire, way, frame.clone()));
            };
            let at = steadfast_core::Instant::ORIGIN.after(came.duration_since(self.began));
            let bytes = frame.get(VNET_LEN..).unwrap_or_default();
            let passage = link.pass(at, bytes, &mut || self.random.draw());
            passage.delays().iter().copied().for_each(put);
        }
    }

    /// Sends what is due.
    fn send(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.waiting.first_entry() {
            if first.key().0 > now {
                return;
            }
            let late = now.duration_since(first.key().0).as_nanos();
            let late = u64::try_from(late).unwrap_or(u64::MAX);
            self.shared.late.fetch_max(late, Ordering::Relaxed);
            let (wire, way, frame) = first.remove();
            if self.sockets[wire][1 - way].put(&frame) == 0 {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// What is to an observer or from one goes from one end of the relay to the other in the kernel.
fn pass_observers(ground: &Ground) -> Result<(), LabError> {
    let segments = &ground.layout().segments;
    let plugs = ground.plugs().iter();
    let relayed = plugs.filter(|plug| plug.plugged != plug.index);
    let rules = relayed.flat_map(|plug| {
        let MacAddr(bytes) = segments[plug.segment.index()].observer_mac();
        let [to, from] = MACS_AT;
        let rule = |device, at, index| Rule {
            device,
            hook: Hook::In,
            tests: vec![Test::Begins {
                at,
                bytes,
                len: OBSERVER_LEN as u32,
            }],
            then: Then::Forward(index),
        };
        [
            rule(plug.outer(), to, plug.inner_index()),
            rule(plug.inner(), from, plug.index),
        ]
    });
    let rules: Vec<Rule> = rules.collect();
    let mut nft = Nft::open(ground.switch())?;
    let needs = "a packet filter that forwards between interfaces (nf_tables fwd)";
    let written = nft.write(TABLE, &rules);
    written.map_err(|_| LabError::Needs(needs.to_owned()))
}

fn open(spans: &[Span]) -> io::Result<Vec<[PacketSocket; 2]>> {
    let open = |name: &str| PacketSocket::open_all(name);
    let pair = |span: &Span| Ok([open(&span.outer)?, open(&span.inner)?]);
    spans.iter().map(pair).collect()
}

/// Whether a frame is to the observer or from it.
fn is_observed(frame: &[u8], observer: MacAddr) -> bool {
    let prefix = &observer.0[..OBSERVER_LEN];
    let is = |at: u32| {
        let at = VNET_LEN + at as usize;
        frame.get(at..at + OBSERVER_LEN) == Some(prefix)
    };
    MACS_AT.into_iter().any(is)
}
