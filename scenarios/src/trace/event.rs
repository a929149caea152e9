//! Events: the words of a trace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::diagnosis::TroubleKind;
use steadfast_core::hooks::Level;
use steadfast_core::role::EffectiveRole;
use steadfast_core::wire::advert::Kind;
use steadfast_core::{Epoch, Instant, NodeId, PortId};

use super::Names;
use crate::ids::{HostId, SegmentId, StreamId};

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When; never before the event above.
    pub at: Instant,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// This happened then.
    pub const fn new(at: Instant, kind: EventKind) -> Self {
        Self { at, kind }
    }
}

/// What happened. States are told when they change; at the start nothing answers, nothing is
/// reachable, every gateway is off, and no neighbour entry exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A node raised or cleared an alert.
    Alert {
        /// The node.
        gateway: NodeId,
        /// Its name for the episode.
        alert: String,
        /// Raised, or cleared.
        raised: bool,
    },
    /// A daemon's wish, and how its kernel took it.
    Apply {
        /// The node.
        gateway: NodeId,
        /// Whether it wished to serve.
        serve: bool,
        /// How it went.
        outcome: Outcome,
    },
    /// The world declares a gateway barred by its boot record (R12.1), or free again. Reckoned from
    /// the boots it carried out, never from what the node says.
    Barred {
        /// The gateway.
        gateway: NodeId,
        /// Barred, or free.
        barred: bool,
    },
    /// The world's own evidence has a hole: the host stalled, a capture dropped. No verdict but
    /// `unknown` can stand on it.
    Blind {
        /// Since when.
        since: Instant,
        /// Why.
        why: String,
    },
    /// What a gateway itself began left it (R5.3).
    Call {
        /// The wire.
        segment: SegmentId,
        /// Whose port it left.
        gateway: NodeId,
        /// Over IPv6.
        ipv6: bool,
        /// In whose name.
        from: Caller,
    },
    /// A port's carrier came or went.
    Carrier {
        /// The gateway.
        gateway: NodeId,
        /// Its port.
        port: PortId,
        /// Came, or went.
        up: bool,
    },
    /// The run is over.
    End,
    /// A box stood still, kernel included, or goes on.
    Frozen {
        /// The gateway.
        gateway: NodeId,
        /// Stands still, or goes on.
        frozen: bool,
    },
    /// A frame of a hand-over was seen on a wire: prepare, ready, offer, decline, claim, released.
    HandoverFrame {
        /// The wire.
        segment: SegmentId,
        /// Which frame.
        kind: FrameKind,
        /// The gateway whose port it left.
        from: NodeId,
    },
    /// What a daemon holds, where a story asks for it: at each step, and at the end.
    Holds {
        /// Where it runs.
        gateway: NodeId,
        /// Bytes that its sockets have not been read of.
        unread: u64,
        /// Its memory, in bytes; none in a world without processes.
        resident: Option<u64>,
    },
    /// A hook's program began, or ended by itself. One that is ended says nothing more.
    Hook {
        /// Where it runs.
        gateway: NodeId,
        /// Its name.
        hook: String,
        /// What it was told that the node is.
        level: Level,
        /// The claim that it was told of.
        epoch: Epoch,
        /// Whether it was told that all hooks have run for this before.
        again: bool,
        /// Began, or ended.
        phase: HookPhase,
    },
    /// A run begins: what the numbers are called.
    Names(Names),
    /// A host's neighbour entry for a virtual address changed.
    Neighbour {
        /// The host.
        host: HostId,
        /// The index of the virtual address on its segment.
        address: u16,
        /// Where it points now.
        holder: Holder,
    },
    /// The observer asked a gateway's own MAC for a virtual address, and the answer changed. A
    /// world that asks in rounds gives all answers of a round one time.
    Owner {
        /// Where.
        segment: SegmentId,
        /// Who was asked.
        gateway: NodeId,
        /// The index of the virtual address.
        address: u16,
        /// Whether it answered.
        answered: bool,
    },
    /// What a node's status says of a peer.
    PeerStatus {
        /// The node that says it.
        gateway: NodeId,
        /// The peer.
        peer: NodeId,
        /// The role shown; none when it says it does not know.
        role: Option<EffectiveRole>,
        /// The age shown, in nanoseconds; none when it was never heard.
        age: Option<u64>,
    },
    /// What a node's status says of a port's carrier changed.
    PortStatus {
        /// The node.
        gateway: NodeId,
        /// Its port.
        port: PortId,
        /// Whether it says that there is carrier.
        up: bool,
    },
    /// A gateway's power changed.
    Power {
        /// The gateway.
        gateway: NodeId,
        /// What it is now.
        state: PowerState,
    },
    /// A probe reached its destination (or, for a virtual address, its answer came back).
    ProbeReceived {
        /// The stream.
        stream: StreamId,
        /// Its number in the stream.
        seq: u32,
        /// When it was sent.
        sent_at: Instant,
        /// The gateway whose MAC was the source on the last wire, if any was.
        via: Option<NodeId>,
    },
    /// A probe was sent.
    ProbeSent {
        /// The stream.
        stream: StreamId,
        /// Its number in the stream, counted from 0 without gaps.
        seq: u32,
    },
    /// A daemon runs, is stopped or is gone.
    Process {
        /// The gateway.
        gateway: NodeId,
        /// What it is now.
        state: ProcessState,
    },
    /// The observer asked a gateway's own MAC for its unit address, and the answer changed.
    Reachable {
        /// Where.
        segment: SegmentId,
        /// Who was asked.
        gateway: NodeId,
        /// Whether it answered.
        reachable: bool,
    },
    /// From now on a node's status lies, or no more.
    RoleLie {
        /// The node.
        gateway: NodeId,
        /// What it says.
        role: Option<EffectiveRole>,
    },
    /// What a node's status says of itself. A claim, not evidence.
    Status {
        /// The node.
        gateway: NodeId,
        /// The role it says it has.
        role: EffectiveRole,
        /// Since when it says so.
        since: Instant,
        /// The epoch it says.
        epoch: Epoch,
        /// Why it says so.
        why: String,
    },
    /// A step of the scenario ran.
    Step {
        /// Its name.
        name: String,
        /// Its verb.
        verb: String,
        /// What it acted on, after resolving `active` and the like.
        target: String,
        /// Whether it could run: there may have been no active to act on.
        done: bool,
        /// How long it took until all of it was done, in nanoseconds; none where steps take no
        /// time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        took: Option<u64>,
    },
    /// Where a switch sends frames for the virtual MAC changed.
    SwitchPort {
        /// The switch.
        segment: SegmentId,
        /// Behind whose port it believes it to be.
        holder: Holder,
    },
    /// A node found something wrong around it, or finds it no more (R14.1).
    Trouble {
        /// The node.
        gateway: NodeId,
        /// What, in a word.
        kind: TroubleKind,
        /// What, in words; empty when it is over.
        problem: String,
        /// Found, or over.
        found: bool,
    },
    /// A frame with a virtual source or sender left a gateway.
    VirtualSource {
        /// The wire.
        segment: SegmentId,
        /// Whose port it left.
        gateway: NodeId,
        /// What it was.
        what: SourceKind,
    },
}

/// Kinds of frames that steps wait for, lose or forge.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// The periodic advertisement.
    Advert,
    /// Answers a probe.
    Answer,
    /// Any ARP frame.
    Arp,
    /// The sender has taken the role.
    Claim,
    /// The sender does not take what it was offered.
    Decline,
    /// The sender lost its lease.
    LetGo,
    /// A neighbour solicitation or advertisement.
    Ndisc,
    /// Whoever is READY may claim.
    Offer,
    /// The sender wants to hand over.
    Prepare,
    /// Demands an answer.
    Probe,
    /// The sender can serve.
    Ready,
    /// The sender has withdrawn after a hand-over.
    Released,
    /// Asks the active to hand over.
    Request,
    /// A VRRP advertisement.
    Vrrp,
}

impl FrameKind {
    /// Whether it is part of a hand-over, or of a claim.
    pub const fn is_handover(self) -> bool {
        match self {
            Self::Claim
            | Self::Decline
            | Self::Offer
            | Self::Prepare
            | Self::Ready
            | Self::Released => true,
            Self::Advert
            | Self::Answer
            | Self::Arp
            | Self::LetGo
            | Self::Ndisc
            | Self::Probe
            | Self::Request
            | Self::Vrrp => false,
        }
    }
}

impl From<Kind> for FrameKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Advert => Self::Advert,
            Kind::Answer => Self::Answer,
            Kind::Claim => Self::Claim,
            Kind::Decline => Self::Decline,
            Kind::LetGo => Self::LetGo,
            Kind::Offer => Self::Offer,
            Kind::Prepare => Self::Prepare,
            Kind::Probe => Self::Probe,
            Kind::Ready => Self::Ready,
            Kind::Released => Self::Released,
            Kind::Request => Self::Request,
        }
    }
}

/// What a hook's program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookPhase {
    /// It begins.
    Began,
    /// It has pointed, or taken away, what it is for, and ends.
    Done,
    /// It ends without.
    Failed,
}

/// Where a neighbour entry or a switch's table points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// To this gateway.
    Gateway(NodeId),
    /// Nowhere.
    Nobody,
    /// To a machine that is no gateway.
    Other,
}

/// How a kernel took a daemon's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not yet answered.
    Asked,
    /// As wished.
    Done,
    /// Refused.
    Failed,
    /// A newer wish took its place.
    Superseded,
}

/// A gateway's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerState {
    /// On, its kernel not yet up.
    Booting,
    /// Off.
    Off,
    /// Up.
    Running,
}

/// A daemon's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// Gone.
    Killed,
    /// Runs.
    Running,
    /// There, and standing still.
    Stopped,
}

/// In whose name a gateway began something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// Nobody's who should: another segment's, or an address that no story gave it.
    #[schemars(skip)]
    Other,
    /// Its own, of the port.
    Own,
    /// A virtual address's of the segment.
    Virtual,
}

/// What a frame with a virtual source was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Gratuitous ARP or unsolicited neighbour advertisement.
    Announcement,
    /// An ARP or ND answer or question.
    Arp,
    /// A datagram from a virtual address.
    Datagram,
    /// A router advertisement, whatever its source.
    RouterAdvert,
    /// Any other frame from the virtual MAC.
    Station,
}
