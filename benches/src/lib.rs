//! A settled pair of nodes on perfect wires: what the benches measure.
//!
//! Frames arrive at once and kernels obey at once, so nothing but the node's own work is in a
//! figure. Time is a number that each round moves on by one interval.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use steadfast_core::boot::{Boot, Record};
use steadfast_core::config::{
    Config, Digests, Parts, PeerConfig, Policy, PortAction, PortConfig, Timing,
};
use steadfast_core::effect::{Effect, Input};
use steadfast_core::role::EffectiveRole;
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::auth::{Key, KeyRing, Phase, Secret};
use steadfast_core::wire::carriage::Carriage;
use steadfast_core::{ClusterId, Instant, MacAddr, Node, NodeId, PortId};

/// The cluster of the benches.
pub const CLUSTER: ClusterId = ClusterId([9; 16]);
/// Ports of a node: LAN, WAN, cable.
pub const PORTS: u8 = 3;
const CABLE: u8 = 2;
const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0xee, 0]);
/// Rounds of messages until nobody has more to say; a round takes an instant.
const TURNS_MAX: usize = 64;

/// Keys of node `own`.
///
/// # Panics
/// Never: the constants are sound.
pub fn keys(own: NodeId) -> KeyRing {
    let key = Key {
        id: 1,
        secret: Secret::new(b"a secret for figures alone").expect("long enough"),
        phase: Phase::Enforce,
    };
    KeyRing::new(CLUSTER, own, &[NodeId(1), NodeId(2)], vec![key]).expect("sound keys")
}

fn config(own: u8) -> Config {
    let address = |port: u8, last: u8| IpAddr::V4(Ipv4Addr::new(10, 0, port, last));
    let port = |id: u8| PortConfig {
        id: PortId(id),
        name: format!("port{id}"),
        mac: MacAddr([2, 0, 0, 0, own, id]),
        direct: id == CABLE,
        heartbeat: true,
        secondary: false,
        watched: id != CABLE,
        units: if id == CABLE {
            Vec::new()
        } else {
            vec![(address(id, own), 24)]
        },
        virtuals: if id == CABLE {
            Vec::new()
        } else {
            vec![address(id, 100)]
        },
        virtual_mac: None,
        action: PortAction::Add,
        neighbour: None,
        via: None,
    };
    let other = 3 - own;
    let parts = Parts {
        cluster: CLUSTER,
        virtual_router: 51,
        node: NodeId(own),
        peers: vec![PeerConfig {
            node: NodeId(other),
            units: (0..CABLE)
                .map(|id| (PortId(id), address(id, other)))
                .collect(),
        }],
        ports: (0..PORTS).map(port).collect(),
        timing: Timing {
            initial_wait: Duration::ZERO,
            ..Timing::default()
        },
        policy: Policy::default(),
        witness: None,
        keys: keys(NodeId(own)),
        checks: Vec::new(),
        carriage: Carriage::default(),
        digests: Digests::default(),
    };
    Config::new(parts).expect("a sound configuration")
}

/// Two nodes, and what each has sent and the other not yet read.
#[derive(Clone)]
pub struct Pair {
    /// The nodes; number 1 first.
    pub nodes: [Node; 2],
    /// The time.
    pub now: Instant,
}

impl Pair {
    /// One active, one standby, sessions proven.
    ///
    /// # Panics
    /// When the pair does not settle within ten seconds, which a test shows it does.
    pub fn settled() -> Self {
        let boot = |own: u8| Boot {
            now: Instant::ORIGIN,
            seed: [own; 32],
            kernel_boot: [own; 16],
            uptime: Duration::from_secs(100),
            restored: Record::default(),
        };
        let node = |own: u8| Node::new(config(own), boot(own));
        let mut pair = Self {
            nodes: [node(1), node(2)],
            now: Instant::ORIGIN,
        };
        for node in &mut pair.nodes {
            for port in 0..PORTS {
                node.handle(
                    Instant::ORIGIN,
                    Input::LinkChanged {
                        port: PortId(port),
                        up: true,
                    },
                );
            }
        }
        for _ in 0..100 {
            pair.round();
        }
        let roles = pair.nodes.each_ref().map(Node::role);
        assert_eq!(roles, [EffectiveRole::Active, EffectiveRole::Standby]);
        pair
    }

    /// One interval of both: chatter, deadlines, advertisements and whatever they lead to.
    /// Returns the number of frames.
    pub fn round(&mut self) -> usize {
        self.now = self.now.after(Duration::from_millis(100));
        let now = self.now;
        for node in &mut self.nodes {
            for port in 0..CABLE {
                let (port, frame) = (PortId(port), chatter());
                node.handle(
                    now,
                    Input::FrameReceived {
                        port,
                        frame: &frame,
                        at: now,
                    },
                );
            }
            node.handle(now, Input::DeadlineReached);
        }
        let mut frames = 0;
        for _ in 0..TURNS_MAX {
            let sent = [0, 1].map(|own| carry_out(&mut self.nodes[own], now));
            let count = sent[0].len() + sent[1].len();
            if count == 0 {
                break;
            }
            frames += count;
            for (own, sent) in sent.iter().enumerate() {
                for (port, frame) in sent {
                    let input = Input::FrameReceived {
                        port: *port,
                        frame,
                        at: now,
                    };
                    self.nodes[1 - own].handle(now, input);
                }
            }
        }
        frames
    }

    /// The frames of the active's next advertisement.
    pub fn advertisement(&self) -> Vec<(PortId, Vec<u8>)> {
        let mut active = self.nodes[0].clone();
        let now = self.now.after(Duration::from_millis(100));
        active.handle(now, Input::DeadlineReached);
        let mut sent = carry_out(&mut active, now);
        sent.retain(|(_, frame)| frame.get(12..14) == Some(&[0x88, 0xb5]));
        sent
    }
}

fn chatter() -> Vec<u8> {
    let arp = Arp {
        operation: Operation::Request,
        sender_mac: HOST,
        sender_ip: Ipv4Addr::new(10, 0, 0, 200),
        target_mac: MacAddr::ZERO,
        target_ip: Ipv4Addr::new(10, 0, 0, 201),
    };
    arp.frame(MacAddr::BROADCAST, HOST)
}

/// Obeys a node's effects at once and returns the frames it sent.
pub fn carry_out(node: &mut Node, now: Instant) -> Vec<(PortId, Vec<u8>)> {
    let mut sent = Vec::new();
    while let Some(effect) = node.poll_effect() {
        match effect {
            Effect::Apply { op, .. } | Effect::Persist { op, .. } => {
                node.handle(
                    now,
                    Input::Completed {
                        op,
                        outcome: Ok(()),
                    },
                );
            }
            Effect::Transmit { port, frame } => sent.push((port, frame)),
            Effect::Alert(_) | Effect::Reply { .. } | Effect::Stopped => {}
        }
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is measured is a working pair: it settles, and each round says something.
    #[test]
    fn bench_pair_settles_and_talks() {
        let mut pair = Pair::settled();
        assert!(pair.round() >= 6, "two nodes on three paths");
        assert_eq!(pair.advertisement().len(), 3);
    }
}
