//! What stands in a journal, as values: the inputs whole, the effects as far as a replay needs.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::boot::{Boot, Record};
use steadfast_core::config::check::CheckConfig;
use steadfast_core::config::witness::Witness;
use steadfast_core::config::{
    Config, Digests, Parts, PeerConfig, Policy, PortAction, PortConfig, Timing,
};
use steadfast_core::effect::{Alert, Command, Effect, Failure, Forwarding, Input, Rejection};
use steadfast_core::wire::auth::KeyRing;
use steadfast_core::wire::carriage::Carriage;
use steadfast_core::{
    CertificateMark, CheckId, ClusterId, GroupId, Instant, MacAddr, NodeId, OpId, PortId, RequestId,
};

/// An entry and when it was noted.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// The driver's time.
    pub at: Instant,
    /// What was noted.
    pub what: Stored,
}

/// What was noted.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// The configuration was replaced while the node ran.
    Config(Box<ConfigFacts>),
    /// What the node wanted done.
    Effect(StoredEffect),
    /// The life ended in order.
    End,
    /// This many entries are missing here: there was no room for them.
    Gap(u64),
    /// Something is missing or damaged here; found while reading, never written.
    Hole(Hole),
    /// What the node was told.
    Input(StoredInput),
    /// The whole status, as JSON, after a change of role.
    Status(String),
}

/// What is wrong at a place of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hole {
    /// A byte is not what was written; the rest of the file is left out.
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it the bad entry begins.
        offset: usize,
    },
    /// Files of this life are missing here.
    Missing,
    /// The file ends in the middle of an entry, as it does after a power cut.
    Torn {
        /// The file.
        file: PathBuf,
        /// Where in it the cut entry begins.
        offset: usize,
    },
}

/// What a node was told; mirrors [`Input`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredInput {
    /// See [`Input::CertificateRead`].
    CertificateRead {
        /// Which.
        certificate: Option<CertificateMark>,
    },
    /// See [`Input::Checked`].
    Checked {
        /// Which.
        check: CheckId,
        /// How it went.
        passed: bool,
    },
    /// See [`Input::CommandReceived`].
    CommandReceived {
        /// Which request.
        request: RequestId,
        /// Which command.
        command: Command,
    },
    /// See [`Input::Completed`].
    Completed {
        /// Which effect.
        op: OpId,
        /// How it went.
        outcome: Result<(), Failure>,
    },
    /// See [`Input::DeadlineReached`].
    DeadlineReached,
    /// See [`Input::FenceChecked`].
    FenceChecked {
        /// Complete and ours.
        whole: bool,
    },
    /// See [`Input::FrameReceived`].
    FrameReceived {
        /// Where.
        port: PortId,
        /// The whole frame.
        frame: Vec<u8>,
        /// When the kernel took it in.
        at: Instant,
    },
    /// See [`Input::LinkChanged`].
    LinkChanged {
        /// The port.
        port: PortId,
        /// Carrier.
        up: bool,
    },
    /// See [`Input::Shutdown`].
    Shutdown,
    /// See [`Input::TransmitRefused`].
    TransmitRefused {
        /// Where.
        port: PortId,
    },
}

impl StoredInput {
    /// The stored form of an input.
    pub fn new(input: &Input<'_>) -> Self {
        match *input {
            Input::CertificateRead { certificate } => Self::CertificateRead { certificate },
            Input::CommandReceived { request, command } => {
                Self::CommandReceived { request, command }
            }
            Input::Checked { check, passed } => Self::Checked { check, passed },
            Input::Completed { op, outcome } => Self::Completed { op, outcome },
            Input::DeadlineReached => Self::DeadlineReached,
            Input::FenceChecked { whole } => Self::FenceChecked { whole },
            Input::FrameReceived { port, frame, at } => Self::FrameReceived {
                port,
                frame: frame.to_vec(),
                at,
            },
            Input::LinkChanged { port, up } => Self::LinkChanged { port, up },
            Input::Shutdown => Self::Shutdown,
            Input::TransmitRefused { port } => Self::TransmitRefused { port },
        }
    }

    /// The input again.
    pub fn input(&self) -> Input<'_> {
        match *self {
            Self::CertificateRead { certificate } => Input::CertificateRead { certificate },
            Self::CommandReceived { request, command } => {
                Input::CommandReceived { request, command }
            }
            Self::Checked { check, passed } => Input::Checked { check, passed },
            Self::Completed { op, outcome } => Input::Completed { op, outcome },
            Self::DeadlineReached => Input::DeadlineReached,
            Self::FenceChecked { whole } => Input::FenceChecked { whole },
            Self::FrameReceived {
                port,
                ref frame,
                at,
            } => Input::FrameReceived { port, frame, at },
            Self::LinkChanged { port, up } => Input::LinkChanged { port, up },
            Self::Shutdown => Input::Shutdown,
            Self::TransmitRefused { port } => Input::TransmitRefused { port },
        }
    }
}

/// What a node wanted done; mirrors [`Effect`], but for the bytes of frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredEffect {
    /// See [`Effect::Alert`].
    Alert(Alert),
    /// See [`Effect::Apply`].
    Apply {
        /// Its number.
        op: OpId,
        /// Whose addresses.
        group: GroupId,
        /// The desired state.
        desired: Forwarding,
    },
    /// See [`Effect::Persist`].
    Persist {
        /// Its number.
        op: OpId,
        /// The record.
        record: Record,
    },
    /// See [`Effect::Reply`].
    Reply {
        /// Whose.
        request: RequestId,
        /// How it went.
        result: Result<(), Rejection>,
    },
    /// See [`Effect::Stopped`].
    Stopped,
    /// See [`Effect::Transmit`].
    Transmit {
        /// Where.
        port: PortId,
        /// Bytes of the frame.
        length: u32,
        /// First 16 bytes of the frame's BLAKE3.
        digest: [u8; 16],
    },
}

impl StoredEffect {
    /// The stored form of an effect.
    pub fn new(effect: &Effect) -> Self {
        match effect {
            Effect::Alert(alert) => Self::Alert(*alert),
            Effect::Apply { op, group, desired } => Self::Apply {
                op: *op,
                group: *group,
                desired: *desired,
            },
            Effect::Persist { op, record } => Self::Persist {
                op: *op,
                record: record.clone(),
            },
            Effect::Reply { request, result } => Self::Reply {
                request: *request,
                result: *result,
            },
            Effect::Stopped => Self::Stopped,
            Effect::Transmit { port, frame } => Self::transmit(*port, frame),
        }
    }

    fn transmit(port: PortId, frame: &[u8]) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(frame).as_bytes()[..16]);
        Self::Transmit {
            port,
            length: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            digest,
        }
    }
}

/// What a life began with; everything `Node::new` takes, but for the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeFacts {
    /// Version and build id of the program.
    pub build: String,
    /// See [`Boot::now`].
    pub now: Instant,
    /// See [`Boot::seed`]. It tells this life's challenges, and is worth nothing after it.
    pub seed: [u8; 32],
    /// See [`Boot::kernel_boot`].
    pub kernel_boot: [u8; 16],
    /// See [`Boot::uptime`].
    pub uptime: Duration,
    /// See [`Boot::restored`].
    pub restored: Record,
    /// The configuration.
    pub config: ConfigFacts,
}

impl LifeFacts {
    /// What the node learned at its start.
    pub fn boot(&self) -> Boot {
        Boot {
            now: self.now,
            seed: self.seed,
            kernel_boot: self.kernel_boot,
            uptime: self.uptime,
            restored: self.restored.clone(),
        }
    }
}

/// A configuration without its keys; mirrors [`Parts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFacts {
    /// The file's text.
    pub text: String,
    /// See [`Parts::cluster`].
    pub cluster: ClusterId,
    /// See [`Parts::virtual_router`].
    pub virtual_router: u8,
    /// See [`Parts::node`].
    pub node: NodeId,
    /// See [`Parts::peers`].
    pub peers: Vec<PeerFacts>,
    /// See [`Parts::ports`].
    pub ports: Vec<PortFacts>,
    /// See [`Parts::checks`]; none in files of before there were any.
    #[serde(default)]
    pub checks: Vec<CheckConfig>,
    /// See [`Parts::timing`].
    pub timing: Timing,
    /// See [`Parts::policy`].
    pub policy: Policy,
    /// See [`Parts::witness`]; none in files of before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<Witness>,
    /// See [`Parts::carriage`]; as it always was in files of before there was a choice.
    #[serde(default)]
    pub carriage: Carriage,
    /// See [`Parts::digests`]: configuration, facts, interfaces.
    pub digests: [u64; 3],
    /// See [`Digests::version`].
    pub version: u32,
}

/// Mirrors [`PeerConfig`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerFacts {
    /// See [`PeerConfig::node`].
    pub node: NodeId,
    /// See [`PeerConfig::units`].
    pub units: Vec<(PortId, IpAddr)>,
}

/// Mirrors [`PortConfig`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortFacts {
    /// See [`PortConfig::id`].
    pub id: PortId,
    /// See [`PortConfig::name`].
    pub name: String,
    /// See [`PortConfig::mac`].
    pub mac: MacAddr,
    /// See [`PortConfig::direct`].
    pub direct: bool,
    /// See [`PortConfig::heartbeat`].
    pub heartbeat: bool,
    /// See [`PortConfig::secondary`]; a journal of before has none.
    #[serde(default)]
    pub secondary: bool,
    /// See [`PortConfig::watched`].
    pub watched: bool,
    /// See [`PortConfig::units`].
    pub units: Vec<(IpAddr, u8)>,
    /// See [`PortConfig::virtuals`].
    pub virtuals: Vec<IpAddr>,
    /// See [`PortConfig::virtual_mac`]; a journal of before has none.
    #[serde(default)]
    pub virtual_mac: Option<MacAddr>,
    /// Whether [`PortConfig::action`] is [`PortAction::Set`]; a journal of before has none.
    #[serde(default)]
    pub sets: bool,
    /// See [`PortConfig::neighbour`].
    pub neighbour: Option<IpAddr>,
    /// See [`PortConfig::via`]; a journal of before has none.
    #[serde(default)]
    pub via: Option<Ipv4Addr>,
}

impl ConfigFacts {
    /// What of a configuration may be written down.
    pub fn new(config: &Config, text: &str) -> Self {
        let peers = config.peers.iter().map(|peer| PeerFacts {
            node: peer.node,
            units: peer.units.clone(),
        });
        let Digests {
            config: shared,
            facts,
            interfaces,
            version,
        } = config.digests;
        Self {
            text: text.to_owned(),
            cluster: config.cluster,
            virtual_router: config.virtual_router,
            node: config.node,
            peers: peers.collect(),
            ports: config.ports.iter().map(port_facts).collect(),
            checks: config.checks.clone(),
            timing: config.timing,
            policy: config.policy,
            witness: config.witness,
            carriage: config.carriage,
            digests: [shared, facts, interfaces],
            version,
        }
    }

    /// The configuration's fields again, with the keys the operator gives.
    pub fn parts(&self, keys: KeyRing) -> Parts {
        let peers = self.peers.iter().map(|peer| PeerConfig {
            node: peer.node,
            units: peer.units.clone(),
        });
        let [config, facts, interfaces] = self.digests;
        Parts {
            cluster: self.cluster,
            virtual_router: self.virtual_router,
            node: self.node,
            peers: peers.collect(),
            ports: self.ports.iter().map(port_config).collect(),
            checks: self.checks.clone(),
            timing: self.timing,
            policy: self.policy,
            witness: self.witness,
            carriage: self.carriage,
            keys,
            digests: Digests {
                config,
                facts,
                interfaces,
                version: self.version,
            },
        }
    }
}

fn port_facts(port: &PortConfig) -> PortFacts {
    PortFacts {
        id: port.id,
        name: port.name.clone(),
        mac: port.mac,
        direct: port.direct,
        heartbeat: port.heartbeat,
        secondary: port.secondary,
        watched: port.watched,
        units: port.units.clone(),
        virtuals: port.virtuals.clone(),
        virtual_mac: port.virtual_mac,
        sets: port.action == PortAction::Set,
        neighbour: port.neighbour,
        via: port.via,
    }
}

fn port_config(port: &PortFacts) -> PortConfig {
    PortConfig {
        id: port.id,
        name: port.name.clone(),
        mac: port.mac,
        direct: port.direct,
        heartbeat: port.heartbeat,
        secondary: port.secondary,
        watched: port.watched,
        units: port.units.clone(),
        virtuals: port.virtuals.clone(),
        virtual_mac: port.virtual_mac,
        action: if port.sets {
            PortAction::Set
        } else {
            PortAction::Add
        },
        neighbour: port.neighbour,
        via: port.via,
    }
}
