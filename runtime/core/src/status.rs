//! What a node says about itself: every statement with *why* and *since when* (R9.2, F70).

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::check::Cost;
use crate::effect::Alert;
use crate::role::{ConfiguredRole, EffectiveRole};
use crate::wire::carriage::Form;
use crate::{BootId, CheckId, Epoch, Instant, NodeId, PortId};

/// Why a node is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The kernel confirmed lease and addresses.
    Applied,
    /// The kernel refused.
    ApplyFailed,
    /// Nobody else is there.
    Alone,
    /// Every node is pacified and the policy is to serve.
    AllPacified,
    /// Too many boots in too little uptime.
    BootLoop {
        /// Boots counted.
        boots: u32,
    },
    /// Too many restarts of the daemon in too little time.
    RestartLoop {
        /// Restarts counted.
        restarts: u32,
    },
    /// A peer claimed with this node's consent.
    ClaimHeard {
        /// The new active.
        peer: NodeId,
    },
    /// The first of the nodes present to serve.
    ColdStart,
    /// An operator's command.
    Commanded,
    /// After a failure, until an operator acts.
    FailurePolicy,
    /// A peer handed the role over.
    HandedOver {
        /// The old active.
        peer: NodeId,
    },
    /// Neither a peer nor any other station is heard.
    Isolated,
    /// The lease ended while the daemon did not run.
    LeaseLost {
        /// Milliseconds since the last refresh.
        gap_ms: u64,
    },
    /// Maintenance is on.
    Maintenance,
    /// Neither the witness's grant nor the consent of every peer lets this node serve (D14).
    NotGranted,
    /// A peer is active.
    PeerActive {
        /// Which.
        peer: NodeId,
    },
    /// The active peer's daemon and kernel stopped answering.
    PeerDead {
        /// Which.
        peer: NodeId,
    },
    /// The active peer's lease ended: its kernel answers, but not for the virtual addresses.
    PeerLapsed {
        /// Which.
        peer: NodeId,
    },
    /// The active peer gave the role up.
    PeerLetGo {
        /// Which.
        peer: NodeId,
    },
    /// The active peer was silent for dead interval + L and could not be asked.
    PeerOverdue {
        /// Which.
        peer: NodeId,
    },
    /// Serves again after its own pause, because nobody else does.
    Resumed,
    /// A rival active ranks higher.
    RivalWon {
        /// The rival.
        peer: NodeId,
    },
    /// The daemon is ending.
    ShuttingDown,
    /// The node has just started.
    Startup,
    /// The node grants claims, and never serves (D14).
    Witness,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied => f.write_str("the kernel confirmed lease and addresses"),
            Self::ApplyFailed => f.write_str("the kernel refused lease or addresses"),
            Self::Alone => f.write_str("no peer was heard within the initial wait"),
            Self::AllPacified => f.write_str("every node is pacified and the policy is to serve"),
            Self::BootLoop { boots } => write!(f, "{boots} boots within the boot window"),
            Self::RestartLoop { restarts } => {
                write!(
                    f,
                    "{restarts} restarts of the daemon within the boot window"
                )
            }
            Self::ClaimHeard { peer } => write!(f, "node {peer} took the role as agreed"),
            Self::ColdStart => f.write_str("best ranked of the nodes present, none was active"),
            Self::Commanded => f.write_str("an operator's command"),
            Self::FailurePolicy => f.write_str("after a failure, until an operator enables it"),
            Self::HandedOver { peer } => write!(f, "node {peer} handed the role over"),
            Self::Isolated => f.write_str("neither a peer nor any other station is heard"),
            Self::LeaseLost { gap_ms } => {
                write!(f, "the lease ended, {gap_ms} ms after its last refresh")
            }
            Self::Maintenance => f.write_str("maintenance is on"),
            Self::NotGranted => {
                f.write_str("neither the witness nor every peer lets this node serve")
            }
            Self::PeerActive { peer } => write!(f, "node {peer} is active"),
            Self::PeerDead { peer } => {
                write!(f, "neither daemon nor kernel of node {peer} answered")
            }
            Self::PeerLapsed { peer } => write!(f, "the lease of node {peer} ended"),
            Self::PeerLetGo { peer } => write!(f, "node {peer} gave the role up"),
            Self::PeerOverdue { peer } => {
                write!(
                    f,
                    "node {peer} was silent for the dead interval and its lease"
                )
            }
            Self::Resumed => f.write_str("its own pause is over and nobody else serves"),
            Self::RivalWon { peer } => write!(f, "node {peer} was active too and ranks higher"),
            Self::ShuttingDown => f.write_str("the daemon is ending"),
            Self::Startup => f.write_str("just started"),
            Self::Witness => f.write_str("it is the witness, which grants and never serves"),
        }
    }
}

/// How alive a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// Heard within the dead interval.
    Alive,
    /// Silent for longer, or found dead.
    Dead,
    /// Being asked.
    Suspect,
    /// Never heard in this life of the daemon.
    Unknown,
}

/// Most alerts that a status remembers.
pub const RECENT_ALERTS_MAX: usize = 16;

/// An alert that was raised. It may be over since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RecentAlert {
    /// Counts the alerts of this life, from 1.
    pub number: u64,
    /// When.
    pub at: Instant,
    /// What.
    pub alert: Alert,
}

/// A node's view of itself and its peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// This life of the daemon.
    pub boot: BootId,
    /// Its time: of the last thing that it was told.
    pub at: Instant,
    /// What the operator set.
    pub configured: ConfiguredRole,
    /// What the node is.
    pub role: EffectiveRole,
    /// Since when.
    pub since: Instant,
    /// Why.
    pub why: Cause,
    /// The same in words.
    pub why_text: String,
    /// The claim it holds; the newest it knows of when it holds none.
    pub epoch: Epoch,
    /// The newest claim that it knows of.
    pub newest: Epoch,
    /// When another node was last heard to serve beside this one, or came back from a silence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rival_at: Option<Instant>,
    /// The claim rests on evidence or consent (D11).
    pub witnessed: bool,
    /// Health class; 0 is whole.
    pub health: u8,
    /// The kernel's fence is whole.
    pub fence_whole: bool,
    /// Maintenance is on.
    pub maintenance: bool,
    /// A node with the same configured role exists.
    pub same_role: bool,
    /// The ports.
    pub ports: Vec<PortStatus>,
    /// The checks of its own health (R4.2).
    pub checks: Vec<CheckStatus>,
    /// The peers.
    pub peers: Vec<PeerStatus>,
    /// The witness, if there is one (D14).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<WitnessStatus>,
    /// Alerts that were raised and whose cause lasts, the oldest first (R10.1).
    pub open_alerts: Vec<Alert>,
    /// The newest that were raised, the oldest first, whether their cause lasts or not. At most
    /// [`RECENT_ALERTS_MAX`].
    pub recent_alerts: Vec<RecentAlert>,
    /// How long ago a node of this cluster spoke that is not configured here, or seemed to; none if
    /// never (R14.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stranger: Option<Duration>,
    /// What was dropped, by reason.
    pub drops: Drops,
}

/// A port as the node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PortStatus {
    /// Which.
    pub port: PortId,
    /// Carrier.
    pub up: bool,
    /// Since when.
    pub since: Instant,
    /// Some other station was heard within the reception window (D12).
    pub receives: bool,
}

/// A check of the node's own health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckStatus {
    /// Which.
    pub check: CheckId,
    /// Its name.
    pub name: String,
    /// Whether it passes, by so many results in a row; none before the first.
    pub passes: Option<bool>,
    /// Since when.
    pub since: Instant,
    /// What its failure costs.
    pub cost: Cost,
}

/// A path to a peer, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PathStatus {
    /// The port.
    pub port: PortId,
    /// How long ago the peer was heard there; none if never in its present life.
    pub heard: Option<Duration>,
    /// Whether the peer hears this node there, by its own word; none while it says nothing.
    pub hears_us: Option<bool>,
    /// In which form it does; none while that is not known, or where only one may be used (D4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// It is active, its kernel answers there for its own address, and for no virtual one.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub withholds: bool,
    /// The peer is beyond the port's router: whether that answers (R2.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<bool>,
    /// The second longest round trip lately, of the peer's kernel, or of its daemon where the peer
    /// is beyond a router; none while nothing was measured (D7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<Duration>,
}

/// In what a peer is another than this node (R1.4, R7.1): shown, and never a reason to be dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differs {
    /// The certificate that clients see (R5.6), if this node has one.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub certificate: bool,
    /// The shared configuration.
    pub config: bool,
    /// The product's identity facts.
    pub facts: bool,
    /// Names and numbers of interfaces.
    pub interfaces: bool,
    /// The software's version.
    pub version: bool,
}

/// What a node knows of the witness's grant (D14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WitnessStatus {
    /// The witness.
    pub node: NodeId,
    /// It was heard within the dead interval.
    pub heard: bool,
    /// Who may serve by its grant: on a gateway itself or none, on the witness whoever holds it.
    pub granted_to: Option<NodeId>,
    /// For how long yet; a gateway counts without its lease, which must have ended by then.
    pub remaining: Option<Duration>,
}

/// A peer as the node sees it; a dead peer's facts carry their age (R9.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerStatus {
    /// Which.
    pub node: NodeId,
    /// How alive.
    pub liveness: Liveness,
    /// Its role as it last said; none for a peer that is dead or was never heard (F69).
    pub role: Option<EffectiveRole>,
    /// How old that word is.
    pub age: Option<Duration>,
    /// For how long it has said that it is active, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_for: Option<Duration>,
    /// Paths on which it was heard within the dead interval.
    pub paths_alive: u8,
    /// Segments on which its kernel can be asked (D8).
    pub segments_armed: u8,
    /// What it says now answers nothing of this node, and never has (R14.1).
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub answers_nothing: bool,
    /// How long ago a frame in its name did not verify; none if never (R14.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unverified: Option<Duration>,
    /// How often it was asked whether it lives: its word was late, or a direct cable lost its
    /// carrier. A peer that lives answers at once.
    pub suspected: u64,
    /// How late its word may come before that, by how late words came lately (D7).
    pub lateness: Duration,
    /// Every path, by port.
    pub paths: Vec<PathStatus>,
    /// In what it is another than this node, by its last word.
    pub differs: Differs,
}

/// What was dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drops {
    /// Frames that did not decode or verify.
    pub undecodable: u64,
    /// Of these, frames of this cluster whose key or tag does not fit.
    pub unverified: u64,
    /// Of these, frames of this cluster from nodes that are not configured.
    pub unknown_senders: u64,
    /// Frames older than the newest of their session.
    pub stale: u64,
    /// Authentic frames that came through a router, of peers that are not beyond one.
    pub beyond: u64,
    /// Authentic frames whose sender had not answered the challenge.
    pub unproven: u64,
    /// Frames the lease guard refused.
    pub refused: u64,
    /// Effects that did not fit the queue.
    pub effects: u64,
    /// Entries of own advertisements that did not fit the frame: ports, peers, or paths of an echo.
    pub left_out: u64,
    /// Calls with a time before the last one.
    pub backward_time: u64,
}
