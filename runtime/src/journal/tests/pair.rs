//! Two nodes on a cable and a LAN, in a hand-made world without clocks; the second is recorded.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use steadfast_core::boot::{Boot, Record};
use steadfast_core::config::{
    Config, Digests, Parts, PeerConfig, Policy, PortAction, PortConfig, Timing,
};
use steadfast_core::effect::{Effect, Input};
use steadfast_core::role::EffectiveRole;
use steadfast_core::wire::auth::{Key, KeyRing, Phase, Secret};
use steadfast_core::wire::carriage::Carriage;
use steadfast_core::{ClusterId, Instant, MacAddr, Node, NodeId, OpId, PortId};
use steadfast_shell::env::{Entry, Journal as _};

use super::super::{Counters, Origin, Recorder, Rescue, Settings};

pub(super) const SECRET: &[u8] = b"correct horse battery staple";
const CLUSTER: ClusterId = ClusterId([0x5f; 16]);
/// A cable and a LAN.
const PORTS: [u8; 2] = [0, 1];
const WIRE: Duration = Duration::from_micros(200);

fn node_id(place: usize) -> NodeId {
    NodeId(if place == 0 { 1 } else { 2 })
}

fn unit(place: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 1, 10 + node_id(place).0))
}

pub(super) fn keys(place: usize) -> KeyRing {
    let key = Key {
        id: 1,
        secret: Secret::new(SECRET).expect("a good secret"),
        phase: Phase::Enforce,
    };
    let nodes = [node_id(0), node_id(1)];
    KeyRing::new(CLUSTER, node_id(place), &nodes, vec![key]).expect("good keys")
}

pub(crate) fn config(place: usize) -> Config {
    let port = |id: u8| PortConfig {
        id: PortId(id),
        name: format!("eth{id}"),
        mac: MacAddr([2, 0, 0, 0, node_id(place).0, id]),
        direct: id == 0,
        heartbeat: true,
        secondary: false,
        watched: id == 1,
        units: if id == 1 {
            vec![(unit(place), 24)]
        } else {
            Vec::new()
        },
        virtuals: if id == 1 {
            vec![IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1))]
        } else {
            Vec::new()
        },
        virtual_mac: None,
        action: PortAction::Add,
        neighbour: None,
        via: None,
    };
    let parts = Parts {
        cluster: CLUSTER,
        virtual_router: 51,
        node: node_id(place),
        peers: vec![PeerConfig {
            node: node_id(1 - place),
            units: vec![(PortId(1), unit(1 - place))],
        }],
        ports: PORTS.map(port).to_vec(),
        timing: Timing::default(),
        policy: Policy::default(),
        witness: None,
        keys: keys(place),
        checks: Vec::new(),
        carriage: Carriage::default(),
        digests: Digests::default(),
    };
    Config::new(parts).expect("a sound configuration")
}

pub(crate) fn origin_boot(life: u8) -> Boot {
    Boot {
        now: Instant::ORIGIN,
        seed: [life; 32],
        kernel_boot: [life; 16],
        uptime: Duration::from_secs(20),
        restored: Record::default(),
    }
}

enum Arrival {
    Done(OpId),
    Frame(PortId, Vec<u8>),
    Link(PortId),
    Shutdown,
}

pub(super) struct Pair {
    nodes: [Option<Node>; 2],
    recorder: Option<Recorder>,
    /// In the order of time, then of sending.
    arrivals: Vec<(Instant, usize, Arrival)>,
    now: Instant,
}

impl Pair {
    pub(super) fn new(settings: Settings) -> Self {
        Self::with_lives(settings, 0)
    }

    /// As [`Self::new`], with other seeds.
    pub(super) fn with_lives(settings: Settings, lives: u8) -> Self {
        let boots = [origin_boot(lives * 2 + 1), origin_boot(lives * 2 + 2)];
        let second = config(1);
        let origin = Origin {
            build: "0.1.0 test",
            config: &second,
            text: "format = 1\n",
            boot: &boots[1],
        };
        let recorder = Recorder::start(settings, origin).expect("a thread");
        let [a, b] = boots;
        let mut arrivals = Vec::new();
        for place in 0..2 {
            for port in PORTS {
                arrivals.push((Instant::ORIGIN, place, Arrival::Link(PortId(port))));
            }
        }
        Self {
            nodes: [Some(Node::new(config(0), a)), Some(Node::new(second, b))],
            recorder: Some(recorder),
            arrivals,
            now: Instant::ORIGIN,
        }
    }

    pub(super) fn role(&self, place: usize) -> EffectiveRole {
        self.nodes[place]
            .as_ref()
            .map_or(EffectiveRole::Off, Node::role)
    }

    pub(super) fn kill(&mut self, place: usize) {
        self.nodes[place] = None;
    }

    pub(super) fn shut_down(&mut self, place: usize) {
        self.arrivals.push((self.now, place, Arrival::Shutdown));
        self.run_until(self.now.after(Duration::from_secs(1)));
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        self.recorder.as_ref().expect("recording").counters()
    }

    pub(super) fn rescue(&self) -> Rescue {
        self.recorder.as_ref().expect("recording").rescue()
    }

    pub(super) fn close(mut self) -> bool {
        self.recorder.take().is_some_and(Recorder::close)
    }

    pub(super) fn run_until(&mut self, end: Instant) {
        for place in 0..2 {
            self.carry_out(place);
        }
        while let Some(now) = self.next().filter(|at| *at <= end) {
            self.now = self.now.max(now);
            if let Some(due) = self.arrivals.iter().position(|(at, ..)| *at <= self.now) {
                let (at, place, arrival) = self.arrivals.remove(due);
                self.arrive(place, at, arrival);
                continue;
            }
            for place in 0..2 {
                let node = self.nodes[place].as_ref();
                if node
                    .and_then(Node::next_deadline)
                    .is_some_and(|at| at <= self.now)
                {
                    self.handle(place, &Input::DeadlineReached);
                }
            }
        }
        self.now = self.now.max(end);
    }

    fn next(&self) -> Option<Instant> {
        let arrivals = self.arrivals.iter().map(|(at, ..)| *at);
        let nodes = self.nodes.iter().flatten();
        arrivals.chain(nodes.filter_map(Node::next_deadline)).min()
    }

    fn arrive(&mut self, place: usize, at: Instant, arrival: Arrival) {
        match arrival {
            Arrival::Done(op) => {
                let outcome = Ok(());
                self.handle(place, &Input::Completed { op, outcome });
            }
            Arrival::Frame(port, frame) => {
                let frame = frame.as_slice();
                self.handle(place, &Input::FrameReceived { port, frame, at });
            }
            Arrival::Link(port) => self.handle(place, &Input::LinkChanged { port, up: true }),
            Arrival::Shutdown => self.handle(place, &Input::Shutdown),
        }
    }

    fn handle(&mut self, place: usize, input: &Input<'_>) {
        let Some(node) = self.nodes[place].as_mut() else {
            return;
        };
        let role = node.role();
        if let (1, Some(recorder)) = (place, self.recorder.as_mut()) {
            recorder.note(self.now, Entry::Input(input));
        }
        node.handle(self.now, input.clone());
        if let (1, Some(recorder), true) = (place, self.recorder.as_mut(), node.role() != role) {
            recorder.note(self.now, Entry::Status(&node.status(self.now)));
        }
        self.carry_out(place);
    }

    fn carry_out(&mut self, place: usize) {
        while let Some(effect) = self.nodes[place].as_mut().and_then(Node::poll_effect) {
            if let (1, Some(recorder)) = (place, self.recorder.as_mut()) {
                recorder.note(self.now, Entry::Effect(&effect));
            }
            let later = self.now.after(WIRE);
            match effect {
                Effect::Transmit { port, frame } => {
                    self.arrivals
                        .push((later, 1 - place, Arrival::Frame(port, frame)));
                }
                Effect::Apply { op, .. } | Effect::Persist { op, .. } => {
                    self.arrivals.push((later, place, Arrival::Done(op)));
                }
                Effect::Stopped => self.nodes[place] = None,
                Effect::Alert(_) | Effect::Reply { .. } => {}
            }
        }
    }
}
