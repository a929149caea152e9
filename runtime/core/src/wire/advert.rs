//! The advertisement, version 1: the one message of the cluster.
//!
//! Every frame carries the sender's whole state (D1); the kind says why it was sent.

use core::time::Duration;

use crate::role::{ConfiguredRole, EffectiveRole};
use crate::{BootId, ClusterId, Epoch, MacAddr, NodeId, PortId};

/// Most nodes of a cluster, and so most echoes in an advertisement.
pub const NODES_MAX: usize = 32;
/// Most ports of a node, and so most MACs and heard paths.
pub const PORTS_MAX: usize = 16;

/// Why a frame was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The periodic advertisement.
    Advert,
    /// Answers a probe, or a frame whose sender is not yet proven.
    Answer,
    /// The sender has taken the role; repeated until the old active released it (D10).
    Claim,
    /// The sender does not take what it was offered.
    Decline,
    /// The sender lost its lease and owns nothing (D9).
    LetGo,
    /// The sender's lease now ends within V: whoever is READY may claim (D10).
    Offer,
    /// The sender wants to hand over: is the receiver able to serve (D10)?
    Prepare,
    /// Demands an answer (D7).
    Probe,
    /// The sender can serve, checked just now (D10).
    Ready,
    /// The sender has withdrawn after a hand-over.
    Released,
    /// Asks the active to hand over to the sender.
    Request,
}

/// What the kernel's lease guard reads at byte 15 of the frame (D9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleMark {
    /// Passes, refreshes nothing.
    Standby,
    /// Passes only while the lease lives, and refreshes it.
    Active,
    /// Passes only while the lease lives, and does not refresh it (D10).
    Offering,
}

/// One-bit facts about the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// The claim rests on consent, on proof that the old active's lease ended, or on a witness (D11).
    pub const WITNESSED: Self = Self(1);
    /// Service has not been interrupted since a claim nobody contested (D11).
    pub const UNINTERRUPTED: Self = Self(1 << 1);
    /// The kernel's fence was found whole at the last check (D9).
    pub const FENCE_WHOLE: Self = Self(1 << 2);
    /// Some other station was heard on a served segment within the last second (D12).
    pub const RECEPTION: Self = Self(1 << 3);
    /// The sender may serve: neither off, in maintenance, pacified, failed nor still listening.
    pub const ELIGIBLE: Self = Self(1 << 4);
    /// Maintenance is on (R3.4).
    pub const MAINTENANCE: Self = Self(1 << 5);
    /// The sender prefers to be active and its preempt policy allows it to ask (R3.2).
    pub const PREFERRED: Self = Self(1 << 6);

    /// Whether every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags with `other` set or cleared.
    #[must_use]
    pub const fn with(self, other: Self, on: bool) -> Self {
        if on {
            Self(self.0 | other.0)
        } else {
            Self(self.0 & !other.0)
        }
    }
}

/// Health of a node as a rank: 0 is whole, more is worse (D5, F16).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HealthClass(pub u8);

/// What the sender last heard from one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Echo {
    /// The node heard.
    pub node: NodeId,
    /// Its life, as last proven; 0 if none.
    pub boot: BootId,
    /// What that node must repeat as `response` to be believed (D3).
    pub challenge: u64,
    /// What that node demanded as `challenge`; 0 if nothing was heard.
    pub response: u64,
    /// The newest counter accepted on each path; paths never heard are absent. At most [`PORTS_MAX`].
    pub heard: Vec<Heard>,
}

/// The newest counter accepted on one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Heard {
    /// The path.
    pub path: PortId,
    /// The sender's counter.
    pub counter: u64,
}

/// An advertisement: who I am, what I hold, and what I heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Why this frame was sent.
    pub kind: Kind,
    /// What the lease guard reads.
    pub mark: RoleMark,
    /// One bit per group the sender is active in (D2).
    pub active_groups: u32,
    /// The cluster spoken to.
    pub cluster: ClusterId,
    /// The virtual router's number, 1 to 255.
    pub virtual_router: u8,
    /// Who sends.
    pub sender: NodeId,
    /// The path this copy was sent on; a copy moved to another path does not verify.
    pub path: PortId,
    /// The sender's life.
    pub boot: BootId,
    /// Counts the sender's messages in this life, one counter for all paths.
    pub counter: u64,
    /// What the operator set.
    pub configured: ConfiguredRole,
    /// What the sender is.
    pub effective: EffectiveRole,
    /// The sender's health.
    pub health: HealthClass,
    /// Priority after health, 0 to 255.
    pub priority: u8,
    /// One-bit facts.
    pub flags: Flags,
    /// Epoch of the sender's claim; of the newest claim it knows when it holds none.
    pub epoch: Epoch,
    /// Number of the hand-over this frame belongs to; 0 if none.
    pub handover: u64,
    /// Bit n is set when the sender's served port n is down.
    pub ports_down: u32,
    /// Time between the sender's advertisements; microseconds on the wire.
    pub interval: Duration,
    /// The sender's lease length; microseconds on the wire.
    pub lease: Duration,
    /// Digest of the shared configuration; a mismatch is shown and never a reason to be dead.
    pub config_digest: u64,
    /// Digest of the identity facts (R1.4).
    pub facts_digest: u64,
    /// Digest of the interface names and numbers (R7.1).
    pub interfaces_digest: u64,
    /// Software version: major, minor, patch in 8, 8 and 16 bits.
    pub version: u32,
    /// The sender's MAC on each port. At most [`PORTS_MAX`].
    pub macs: Vec<(PortId, MacAddr)>,
    /// One entry per configured peer. At most [`NODES_MAX`].
    pub echoes: Vec<Echo>,
}
