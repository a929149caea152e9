//! Two nodes on a cable and a LAN, in a hand-made world without clocks; the second is recorded.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use steadfast_core::boot::{Boot, Record};
use steadfast_core::config::{
    Config, Digests, Parts, PeerConfig, Policy, PortAction, PortConfig, Timing,
};
use steadfast_core::effect::{Alert, Effect, Input};
use steadfast_core::wire::auth::{Key, KeyRing, Phase, Secret};
use steadfast_core::wire::carriage::Carriage;
use steadfast_core::{ClusterId, Instant, MacAddr, Node, NodeId, OpId, PortId};
use steadfast_shell::journal::codec::{self, MAGIC, Opening};
use steadfast_shell::journal::{ConfigFacts, LifeFacts};

/// The secret file of the pair.
pub(super) const SECRET_FILE: &str = "1 enforce text:correct horse battery staple\n";
const SECRET: &[u8] = b"correct horse battery staple";
const CLUSTER: ClusterId = ClusterId([0x5f; 16]);
pub(super) const LAN: PortId = PortId(0);
pub(super) const CABLE: PortId = PortId(2);
const PORTS: [PortId; 2] = [LAN, CABLE];
const WIRE: Duration = Duration::from_micros(200);

fn config(id: u8) -> Config {
    let unit = |id: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 1, 10 + id));
    let port = |port: PortId| {
        let served = port == LAN;
        PortConfig {
            id: port,
            name: format!("eth{port}"),
            mac: MacAddr([2, 0, 0, 0, id, port.0]),
            direct: !served,
            heartbeat: true,
            secondary: false,
            watched: served,
            units: served.then(|| (unit(id), 24)).into_iter().collect(),
            virtuals: served
                .then(|| IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1)))
                .into_iter()
                .collect(),
            virtual_mac: None,
            action: PortAction::Add,
            neighbour: None,
            via: None,
        }
    };
    let key = Key {
        id: 1,
        secret: Secret::new(SECRET).unwrap(),
        phase: Phase::Enforce,
    };
    let nodes = [NodeId(1), NodeId(2)];
    Config::new(Parts {
        cluster: CLUSTER,
        virtual_router: 51,
        node: NodeId(id),
        peers: vec![PeerConfig {
            node: NodeId(3 - id),
            units: vec![(PortId(0), unit(3 - id))],
        }],
        ports: PORTS.map(port).to_vec(),
        timing: Timing::default(),
        policy: Policy::default(),
        witness: None,
        keys: KeyRing::new(CLUSTER, NodeId(id), &nodes, vec![key]).unwrap(),
        checks: Vec::new(),
        carriage: Carriage::default(),
        digests: Digests::default(),
    })
    .unwrap()
}

fn boot(id: u8) -> Boot {
    Boot {
        now: Instant::ORIGIN,
        seed: [id; 32],
        kernel_boot: [id; 16],
        uptime: Duration::from_secs(20),
        restored: Record::default(),
    }
}

enum Arrival {
    Done(OpId),
    Frame(PortId, Vec<u8>),
    Link(PortId, bool),
}

/// The pair, and the journal of the second.
pub(super) struct Pair {
    nodes: [Option<Node>; 2],
    arrivals: Vec<(Instant, usize, Arrival)>,
    now: Instant,
    journal: Vec<u8>,
    /// Whose frames are lost, and on which port.
    lost: BTreeSet<(usize, PortId)>,
    /// Who stands still.
    frozen: BTreeSet<usize>,
}

impl Pair {
    pub(super) fn new() -> Self {
        let facts = LifeFacts {
            build: "0.1.0 test".to_owned(),
            now: Instant::ORIGIN,
            seed: [2; 32],
            kernel_boot: [2; 16],
            uptime: Duration::from_secs(20),
            restored: Record::default(),
            config: ConfigFacts::new(&config(2), ""),
        };
        let mut journal = MAGIC.to_vec();
        let opening = codec::opening(&Opening {
            part: 0,
            life: facts,
        });
        codec::frame(&opening, &mut journal);
        let links = (0..2).flat_map(|place| {
            PORTS.map(|port| (Instant::ORIGIN, place, Arrival::Link(port, true)))
        });
        Self {
            nodes: [1, 2].map(|id| Some(Node::new(config(id), boot(id)))),
            arrivals: links.collect(),
            now: Instant::ORIGIN,
            journal,
            lost: BTreeSet::new(),
            frozen: BTreeSet::new(),
        }
    }

    /// What the recorder of the second wrote.
    pub(super) fn journal(self) -> Vec<u8> {
        self.journal
    }

    /// The first is gone at once, and its cable dark.
    pub(super) fn lose_power(&mut self) {
        self.nodes[0] = None;
        self.link(1, CABLE, false);
    }

    /// The cable is pulled, or plugged: both see it.
    pub(super) fn cable(&mut self, plugged: bool) {
        for place in 0..2 {
            self.silence(place, CABLE, !plugged);
            self.link(place, CABLE, plugged);
        }
    }

    /// A port loses its carrier, or gets it back.
    pub(super) fn port(&mut self, place: usize, up: bool) {
        for sender in 0..2 {
            self.silence(sender, LAN, !up);
        }
        self.link(place, LAN, up);
    }

    /// What a node sends on a port is lost, or no more.
    pub(super) fn silence(&mut self, place: usize, port: PortId, silent: bool) {
        if silent {
            self.lost.insert((place, port));
        } else {
            self.lost.remove(&(place, port));
        }
    }

    /// The first stands still, or goes on.
    pub(super) fn freeze(&mut self, frozen: bool) {
        if frozen {
            self.frozen.insert(0);
        } else {
            self.frozen.remove(&0);
        }
    }

    fn link(&mut self, place: usize, port: PortId, up: bool) {
        let at = self.now.after(Duration::from_millis(1));
        self.arrivals.push((at, place, Arrival::Link(port, up)));
    }

    /// Notes an alert that the second never raised.
    pub(super) fn falsify(&mut self) {
        self.note(&codec::effect(self.now, &Effect::Alert(Alert::Pacified)));
    }

    pub(super) fn run_until(&mut self, millis: u64) {
        let end = Instant::from_millis(millis);
        (0..2).for_each(|place| self.carry_out(place));
        while let Some(now) = self.next().filter(|at| *at <= end) {
            self.now = self.now.max(now);
            if let Some(due) = self.arrivals.iter().position(|(at, ..)| *at <= self.now) {
                let (at, place, arrival) = self.arrivals.remove(due);
                self.arrive(place, at, &arrival);
                continue;
            }
            for place in 0..2 {
                if self.deadline(place).is_some_and(|at| at <= self.now) {
                    self.handle(place, &Input::DeadlineReached);
                }
            }
        }
        self.now = self.now.max(end);
    }

    fn next(&self) -> Option<Instant> {
        let arrivals = self.arrivals.iter().map(|(at, ..)| *at);
        let deadlines = (0..2).filter_map(|place| self.deadline(place));
        arrivals.chain(deadlines).min()
    }

    fn deadline(&self, place: usize) -> Option<Instant> {
        let node = self.nodes[place].as_ref();
        node.filter(|_| !self.frozen.contains(&place))?
            .next_deadline()
    }

    fn arrive(&mut self, place: usize, at: Instant, arrival: &Arrival) {
        let input = match arrival {
            Arrival::Done(op) => Input::Completed {
                op: *op,
                outcome: Ok(()),
            },
            Arrival::Frame(port, frame) => Input::FrameReceived {
                port: *port,
                frame,
                at,
            },
            Arrival::Link(port, up) => Input::LinkChanged {
                port: *port,
                up: *up,
            },
        };
        self.handle(place, &input);
    }

    fn handle(&mut self, place: usize, input: &Input<'_>) {
        if self.nodes[place].is_none() || self.frozen.contains(&place) {
            return;
        }
        if place == 1 {
            self.note(&codec::input(self.now, input));
        }
        if let Some(node) = &mut self.nodes[place] {
            node.handle(self.now, input.clone());
        }
        self.carry_out(place);
    }

    fn carry_out(&mut self, place: usize) {
        while let Some(effect) = self.nodes[place].as_mut().and_then(Node::poll_effect) {
            if place == 1 {
                self.note(&codec::effect(self.now, &effect));
            }
            let later = self.now.after(WIRE);
            let (to, arrival) = match effect {
                Effect::Transmit { port, .. } if self.lost.contains(&(place, port)) => continue,
                Effect::Transmit { port, frame } => (1 - place, Arrival::Frame(port, frame)),
                Effect::Apply { op, .. } | Effect::Persist { op, .. } => (place, Arrival::Done(op)),
                Effect::Alert(_) | Effect::Reply { .. } | Effect::Stopped => continue,
            };
            self.arrivals.push((later, to, arrival));
        }
    }

    fn note(&mut self, body: &[u8]) {
        codec::frame(body, &mut self.journal);
    }
}
