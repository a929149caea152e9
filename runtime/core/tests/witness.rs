//! A pair and its witness on one segment: who is granted, for how long, and what follows (D14).
//!
//! Three nodes, honest kernels that confirm at once, one segment with a host that chatters, and a
//! clock that steps from event to event. Nobody's kernel can be asked here (no own address is
//! listed), so a silent active is overdue, never proven dead: it is grants alone that decide.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::boot::{Boot, Record};
use steadfast_core::config::witness::{Asks, Witness};
use steadfast_core::config::{
    Config, Digests, Isolation, Parts, PeerConfig, Policy, PortAction, PortConfig, Timing,
};
use steadfast_core::effect::{Command, Effect, Forwarding, Input};
use steadfast_core::role::{ConfiguredRole, EffectiveRole};
use steadfast_core::status::Cause;
use steadfast_core::wire::auth::{Key, KeyRing, Phase, Secret};
use steadfast_core::wire::carriage::Carriage;
use steadfast_core::wire::ethernet;
use steadfast_core::{ClusterId, Instant, MacAddr, Node, NodeId, PortId, RequestId};

const A: usize = 0;
const B: usize = 1;
const W: usize = 2;
const CLUSTER: ClusterId = ClusterId([0x3d; 16]);
const LAN: PortId = PortId(0);
/// Only the gateways have it, and it never has carrier.
const CABLE: PortId = PortId(1);
const FLIGHT: Duration = Duration::from_micros(50);
const CHATTER: Duration = Duration::from_millis(250);
/// Steps within one instant. Beyond it a node spins, and the story fails.
const TURNS_MAX: u32 = 2_000;
/// Lease + slack + four intervals, less that slack: what stands in no file.
const TERM: Duration = Duration::from_millis(700);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn id(place: usize) -> NodeId {
    NodeId(u8::try_from(place).expect("three nodes") + 1)
}

fn ports(place: usize) -> Vec<PortConfig> {
    let port = |number: PortId, name: &str| PortConfig {
        id: number,
        name: name.to_owned(),
        mac: MacAddr([2, 0, 0, 0, number.0, id(place).0]),
        direct: number == CABLE,
        heartbeat: true,
        secondary: false,
        watched: false,
        units: Vec::new(),
        virtuals: Vec::new(),
        virtual_mac: None,
        action: PortAction::Add,
        neighbour: None,
        via: None,
    };
    let mut lan = port(LAN, "lan0");
    if place == W {
        return vec![lan];
    }
    lan.virtuals = vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))];
    vec![lan, port(CABLE, "ha0")]
}

fn config(place: usize, isolation: Isolation) -> Config {
    let key = Key {
        id: 1,
        secret: Secret::new(b"correct horse battery staple").expect("a good secret"),
        phase: Phase::Enforce,
    };
    let all = [A, B, W].map(id);
    let others = [A, B, W].into_iter().filter(|other| *other != place);
    let parts = Parts {
        cluster: CLUSTER,
        virtual_router: 51,
        node: id(place),
        peers: others
            .map(|other| PeerConfig {
                node: id(other),
                units: Vec::new(),
            })
            .collect(),
        ports: ports(place),
        timing: Timing::default(),
        policy: Policy {
            configured: if place == W {
                ConfiguredRole::Off
            } else {
                ConfiguredRole::Any
            },
            isolation,
            ..Policy::default()
        },
        witness: Some(Witness {
            node: id(W),
            term: TERM,
            asks: Asks::Always,
        }),
        keys: KeyRing::new(CLUSTER, id(place), &all, vec![key]).expect("good keys"),
        checks: Vec::new(),
        carriage: Carriage::default(),
        digests: Digests::default(),
    };
    Config::new(parts).expect("a sound configuration")
}

enum Event {
    Arrived { to: usize, frame: Vec<u8> },
    Chatter,
}

struct World {
    now: Instant,
    queue: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    nodes: Vec<Option<Node>>,
    isolation: Isolation,
    lives: u8,
    /// From and to: nothing passes.
    cut: BTreeSet<(usize, usize)>,
    /// Steps within this instant.
    turns: u32,
}

impl World {
    /// All three there, `a` serving.
    fn settled(isolation: Isolation) -> Self {
        let mut world = Self {
            now: Instant::ORIGIN,
            queue: BTreeMap::new(),
            sequence: 0,
            nodes: vec![None, None, None],
            isolation,
            lives: 0,
            cut: BTreeSet::new(),
            turns: 0,
        };
        world.schedule(CHATTER, Event::Chatter);
        for place in [W, A, B] {
            world.start(place);
        }
        world.run(ms(2_000));
        assert_eq!(
            world.roles(),
            [
                EffectiveRole::Active,
                EffectiveRole::Standby,
                EffectiveRole::Off
            ]
        );
        world
    }

    fn start(&mut self, place: usize) {
        self.lives += 1;
        let boot = Boot {
            now: self.now,
            seed: [self.lives; 32],
            kernel_boot: [self.lives; 16],
            uptime: ms(600_000),
            restored: Record::default(),
        };
        let node = Node::new(config(place, self.isolation), boot);
        self.nodes[place] = Some(node);
        self.tell(
            place,
            Input::LinkChanged {
                port: LAN,
                up: true,
            },
        );
    }

    fn roles(&self) -> [EffectiveRole; 3] {
        [A, B, W].map(|place| {
            let node = self.nodes[place].as_ref();
            node.map_or(EffectiveRole::Off, Node::role)
        })
    }

    fn role(&self, place: usize) -> EffectiveRole {
        self.roles()[place]
    }

    /// Whom a node says is granted, and for how long yet.
    fn granted(&self, place: usize) -> Option<(NodeId, Duration)> {
        let status = self.nodes[place].as_ref()?.status(self.now);
        let witness = status.witness.expect("a witness is configured");
        Some((witness.granted_to?, witness.remaining?))
    }

    fn why(&self, place: usize) -> Cause {
        self.nodes[place].as_ref().expect("it runs").reason().1
    }

    fn isolate(&mut self, place: usize) {
        for other in [A, B, W].into_iter().filter(|other| *other != place) {
            self.cut.extend([(place, other), (other, place)]);
        }
    }

    fn run(&mut self, wait: Duration) {
        let end = self.now.after(wait);
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `done`; fails after `limit`.
    fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Duration {
        let (start, end) = (self.now, self.now.after(limit));
        while !done(self) {
            assert!(self.step(end), "not within {limit:?}: {:?}", self.roles());
        }
        self.now.since(start)
    }

    /// The next event or deadline until then, and never two owners.
    fn step(&mut self, end: Instant) -> bool {
        let deadline = |place: &usize| {
            let node = self.nodes[*place].as_ref()?;
            Some((node.next_deadline()?, *place))
        };
        let due = [A, B, W].iter().filter_map(deadline).min();
        let event = self.queue.keys().next().map(|(at, _)| *at);
        let next = due.map(|(at, _)| at).into_iter().chain(event).min();
        let Some(at) = next.filter(|at| *at <= end) else {
            return false;
        };
        self.turns = if at > self.now { 0 } else { self.turns + 1 };
        assert!(self.turns < TURNS_MAX, "no end at {at:?}: {due:?}");
        self.now = self.now.max(at);
        if event.is_some_and(|event| event <= at) {
            self.happen();
        } else if let Some((_, place)) = due {
            self.tell(place, Input::DeadlineReached);
        }
        let active = |role: &&EffectiveRole| **role == EffectiveRole::Active;
        assert!(
            self.roles().iter().filter(active).count() <= 1,
            "two owners at {:?}",
            self.now
        );
        true
    }

    fn happen(&mut self) {
        match self.queue.pop_first() {
            Some((_, Event::Arrived { to, frame })) => {
                let at = self.now;
                let input = Input::FrameReceived {
                    port: LAN,
                    frame: &frame,
                    at,
                };
                self.tell(to, input);
            }
            Some((_, Event::Chatter)) => {
                let mut frame = Vec::new();
                let host = MacAddr([2, 0, 0, 0, 0, 0xee]);
                ethernet::header(&mut frame, MacAddr([0xff; 6]), host, 0x0800);
                frame.resize(60, 0);
                for to in [A, B, W] {
                    let frame = frame.clone();
                    self.schedule(Duration::ZERO, Event::Arrived { to, frame });
                }
                self.schedule(CHATTER, Event::Chatter);
            }
            None => {}
        }
    }

    fn schedule(&mut self, wait: Duration, event: Event) {
        self.sequence += 1;
        self.queue
            .insert((self.now.after(wait), self.sequence), event);
    }

    fn tell(&mut self, place: usize, input: Input<'_>) {
        let now = self.now;
        let Some(node) = self.nodes[place].as_mut() else {
            return;
        };
        node.handle(now, input);
        let mut effects = 0;
        while let Some(effect) = self.nodes[place].as_mut().and_then(Node::poll_effect) {
            effects += 1;
            assert!(effects < TURNS_MAX, "no end at {now:?}: {effect:?}");
            self.carry_out(place, effect);
        }
    }

    fn carry_out(&mut self, place: usize, effect: Effect) {
        match effect {
            Effect::Transmit { frame, .. } => {
                for to in [A, B, W] {
                    if to != place && !self.cut.contains(&(place, to)) {
                        let frame = frame.clone();
                        self.schedule(FLIGHT, Event::Arrived { to, frame });
                    }
                }
            }
            Effect::Apply { op, desired, .. } => {
                assert!(place != W, "a witness asks its kernel for nothing");
                assert_ne!(desired, Forwarding::Tail, "nobody hands over here");
                self.confirm(place, op);
            }
            Effect::Persist { op, .. } => self.confirm(place, op),
            Effect::Alert(_) | Effect::Reply { .. } | Effect::Stopped => {}
        }
    }

    fn confirm(&mut self, place: usize, op: steadfast_core::OpId) {
        let now = self.now;
        if let Some(node) = self.nodes[place].as_mut() {
            let outcome = Ok(());
            node.handle(now, Input::Completed { op, outcome });
        }
    }
}

/// The active is granted and renewed; its own count ends before the witness's by a lease at least.
#[test]
fn witness_active_is_granted() {
    let mut world = World::settled(Isolation::Yield);
    for _ in 0..50 {
        world.run(ms(37));
        let (holder, of_witness) = world.granted(W).expect("a grant runs");
        let (own, of_active) = world.granted(A).expect("the active knows");
        assert_eq!((holder, own), (id(A), id(A)));
        assert!(of_active + ms(300) <= of_witness, "{of_active:?}");
        assert_eq!(world.granted(B), None);
    }
}

/// The witness is away: the active serves on its peer's word, and moves nothing.
#[test]
fn witness_away_pair_serves() {
    let mut world = World::settled(Isolation::Yield);
    world.nodes[W] = None;
    world.run(ms(20_000));
    assert_eq!(world.granted(A), None);
    assert_eq!(world.role(A), EffectiveRole::Active);
    assert_eq!(world.role(B), EffectiveRole::Standby);
}

/// Cut off from everybody, the active lets go before the other may claim; the other claims within
/// the term and what a slow question takes.
#[test]
fn witness_active_cut_off_yields_first() {
    let mut world = World::settled(Isolation::Yield);
    world.isolate(A);
    let let_go = world.run_until(ms(800), |world| world.role(A) != EffectiveRole::Active);
    assert!(let_go <= TERM - ms(300), "{let_go:?}");
    assert_eq!(world.why(A), Cause::NotGranted);
    let claimed = world.run_until(ms(800), |world| world.role(B) == EffectiveRole::Active);
    assert!(let_go + claimed <= TERM + ms(11), "{claimed:?}");
    world.run(ms(5_000));
    assert_eq!(world.role(A), EffectiveRole::Standby);
}

/// The same without a grant: first the witness is away, then the pair is cut. Nobody serves.
#[test]
fn witness_away_and_cut_off_nobody_serves() {
    let mut world = World::settled(Isolation::Yield);
    world.nodes[W] = None;
    world.run(ms(2_000));
    world.isolate(A);
    world.run_until(ms(300), |world| world.role(A) != EffectiveRole::Active);
    world.run(ms(20_000));
    assert_eq!(world.role(B), EffectiveRole::Standby);
    world.start(W);
    let claimed = world.run_until(ms(1_000), |world| world.role(B) == EffectiveRole::Active);
    assert!(claimed >= TERM, "granted {claimed:?} after its start");
}

/// With `isolation = "serve"` whoever reaches neither peer nor witness serves on: the operator's
/// choice, and not two owners, for the other one is dead.
#[test]
fn witness_away_and_peer_dead_serves() {
    let mut world = World::settled(Isolation::Serve);
    world.nodes[W] = None;
    world.nodes[B] = None;
    world.run(ms(20_000));
    assert_eq!(world.role(A), EffectiveRole::Active);
}

/// A witness that starts anew grants nothing for a term, except to who says that it holds a grant.
#[test]
fn witness_starts_anew() {
    let mut world = World::settled(Isolation::Yield);
    world.nodes[B] = None;
    world.run(ms(1_000));
    world.start(W);
    world.run(ms(150));
    assert_eq!(world.granted(W).map(|grant| grant.0), Some(id(A)));
    world.run(ms(5_000));
    assert_eq!(world.role(A), EffectiveRole::Active);
    // The same with an active that dies with it: the standby waits for the old life's grants.
    let mut world = World::settled(Isolation::Yield);
    world.nodes[A] = None;
    world.start(W);
    world.run(TERM - ms(1));
    assert_eq!(world.role(B), EffectiveRole::Standby);
    world.run_until(ms(100), |world| world.role(B) == EffectiveRole::Active);
}

/// The peer is dead and the witness is away for longer than a grant lasts: the active lets go. When
/// the witness is back, and no grant of its earlier life can run, whoever is there serves again.
#[test]
fn witness_returns_to_one_gateway() {
    let mut world = World::settled(Isolation::Yield);
    world.nodes[B] = None;
    world.run(ms(1_000));
    world.nodes[W] = None;
    world.run_until(ms(800), |world| world.role(A) != EffectiveRole::Active);
    world.run(ms(2_000));
    world.start(W);
    let back = world.run_until(ms(12_000), |world| world.role(A) == EffectiveRole::Active);
    assert!(back >= TERM, "{back:?}");
}

/// One gateway boots alone beside the witness: it serves after the initial wait.
#[test]
fn witness_boots_with_one_gateway() {
    let mut world = World::settled(Isolation::Yield);
    world.nodes[A] = None;
    world.nodes[B] = None;
    world.run(ms(5_000));
    world.start(B);
    let waited = world.run_until(ms(12_000), |world| world.role(B) == EffectiveRole::Active);
    assert!(waited >= ms(10_000), "{waited:?}");
}

/// A standby that hears neither of the others, and is heard by both, claims nothing without a
/// grant: the active need not step aside for it, and serves all the while.
#[test]
fn witness_deaf_standby_moves_nothing() {
    let mut world = World::settled(Isolation::Yield);
    world.cut.extend([(A, B), (W, B)]);
    let end = world.now.after(ms(5_000));
    while world.now < end {
        world.run(ms(1));
        assert_eq!(world.role(A), EffectiveRole::Active, "{:?}", world.now);
    }
}

/// Whoever cannot serve does not ask: it would keep the grant from whoever could, for good.
#[test]
fn witness_not_asked_by_who_is_out_of_service() {
    let mut world = World::settled(Isolation::Yield);
    world.isolate(A);
    world.run(ms(550));
    assert_eq!(world.role(B), EffectiveRole::Standby, "waits");
    let (request, command) = (RequestId(1), Command::MaintenanceOn);
    world.tell(B, Input::CommandReceived { request, command });
    world.run(ms(3_000));
    assert_eq!(world.role(B), EffectiveRole::Off);
    assert_eq!(world.granted(W), None, "by {:?}", world.roles());
}

/// Whoever is cut off from the others alternately, nobody ever serves beside another: each step of
/// this world asserts it.
#[test]
fn witness_cuts_in_turn() {
    let mut world = World::settled(Isolation::Yield);
    for turn in 0..60_u64 {
        let place = [A, B, W][usize::try_from(turn % 3).expect("a place")];
        world.isolate(place);
        world.run(ms(120 + turn * 23 % 900));
        world.cut.clear();
        world.run(ms(40 + turn * 31 % 700));
    }
    world.run(ms(12_000));
    let serving = [A, B].map(|place| world.role(place) == EffectiveRole::Active);
    assert!(serving[0] != serving[1], "{:?}", world.roles());
}

/// The witness has no cable, and nobody misses it there; the peer's own paths are all told.
#[test]
fn witness_paths_are_those_it_has() {
    let world = World::settled(Isolation::Yield);
    let status = world.nodes[A].as_ref().expect("it runs").status(world.now);
    let paths = |place: usize| {
        let peer = status.peers.iter().find(|peer| peer.node == id(place));
        let paths = &peer.expect("a peer").paths;
        paths.iter().map(|path| path.port).collect::<Vec<_>>()
    };
    assert_eq!((paths(B), paths(W)), (vec![LAN, CABLE], vec![LAN]));
}
