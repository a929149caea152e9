//! The advertisement, version 1: the one message of the cluster.
//!
//! Every frame carries the sender's whole state (D1); the kind says why it was sent. Numbers are
//! big endian; offsets count from the start of the Ethernet frame. A receiver skips what it does
//! not know: fixed bytes beyond those below, and TLVs of another type.
//!
//! ```text
//!   0  6  destination MAC: GROUP_MAC, or the receiver's own
//!   6  6  source MAC
//!  12  2  EtherType 0x88b5
//!        -- from here to the tag everything is signed --
//!  14  1  version = 1
//!  15  1  mark: 1 standby, 2 active, 3 offering; read by the kernel's lease guard (D9)
//!  16  1  kind: 1 advert, 2 answer, 3 claim, 4 decline, 5 let go, 6 offer, 7 prepare, 8 probe,
//!         9 ready, 10 released, 11 request
//!  17  1  key id
//!  18  2  length, from byte 14 to the end of the tag; at most 1400; padding may follow
//!  20  4  groups the sender is active in, bit n is group n (D2)
//!  24 16  cluster
//!  40  1  virtual router, 1 to 255
//!  41  1  sender, 1 to 254
//!  42  1  path
//!  43  1  priority
//!  44  2  fixed length, from byte 14 to the first TLV; 110, or more in a later version
//!  46  1  configured role: 1 active, 2 any, 3 off, 4 standby
//!  47  1  effective role: 1 active, 2 demoting, 3 failed, 4 off, 5 pacified, 6 promoting,
//!         7 standby, 8 starting
//!  48  8  boot, never 0
//!  56  8  counter
//!  64  8  epoch
//!  72  8  hand-over, 0 if none
//!  80  4  ports down, bit n is port n
//!  84  4  interval, microseconds
//!  88  4  lease, microseconds
//!  92  2  flags
//!  94  1  health class
//!  95  1  0; ignored
//!  96  8  digest of the shared configuration
//! 104  8  digest of the identity facts
//! 112  8  digest of the interface names
//! 120  4  software version: major, minor, patch in 8, 8 and 16 bits
//! 124     TLVs: type 1 byte, length of the value 2 bytes, value
//!         type 1, MACs: up to 16 times  port 1, MAC 6
//!         type 2, echo of one node, up to 32 of them:
//!                 node 1, boot 8, challenge 8, response 8, up to 16 times  path 1, counter 8
//!         type 3, the witness's grant (D14):  node 1, boot 8, counter 8, term 4 (microseconds)
//!         type 4, up to 16 times  node 1, path 1, how long ago it was last heard there 4
//!                 (microseconds); said of peers beyond a router, whose way is timed so (D7)
//!         type 5, first bytes of the SHA-256 of the certificate that clients see 8 (R5.6)
//! end 16  tag: HMAC-SHA256, first 16 bytes (see `auth`)
//! ```
//!
//! Times are cut to whole microseconds, and to 71 minutes at most.

use core::time::Duration;

use crate::role::{ConfiguredRole, EffectiveRole};
use crate::{BootId, CertificateMark, ClusterId, Epoch, MacAddr, NodeId, PortId};

/// Where advertisements go when no single receiver is meant (D4): a group address that we
/// administer ourselves (bits 0 and 1 of the first byte). Snooping prunes only the groups of IP
/// (01:00:5e and 33:33) and floods other multicast (RFC 4541 §2.1.2), and bridges keep back only
/// 01:80:c2; so this one reaches every port without a membership report.
pub const GROUP_MAC: MacAddr = MacAddr([0x03, 0x53, 0x46, 0x00, 0x00, 0x01]);
/// Most nodes of a cluster, and so most echoes in an advertisement.
pub const NODES_MAX: usize = 32;
/// Most ports of a node, and so most MACs and heard paths.
pub const PORTS_MAX: usize = 16;
/// Most waits in an advertisement; further ones are not said.
pub const WAITS_MAX: usize = 16;

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
    /// The claim rests on consent, on proof that the old active's lease ended, or on a witness
    /// (D11).
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
    /// The sender asks on an operator's behalf (R3.4).
    pub const COMMANDED: Self = Self(1 << 7);
    /// The sender itself hears a peer that is active (D13).
    pub const HEARS_ACTIVE: Self = Self(1 << 8);
    /// The sender asks the witness for its grant, or for it again (D14).
    pub const ASKS_GRANT: Self = Self(1 << 9);
    /// The sender serves by the witness's grant, which is good beyond its next message (D14).
    pub const GRANTED: Self = Self(1 << 10);

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
    /// The newest counter accepted on each path; paths never heard are absent. At most
    /// [`PORTS_MAX`].
    pub heard: Vec<Heard>,
}

/// The witness's word that one node may serve, and no other (D14): for a term that begins when that
/// node sent the message with this counter, in this life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Who may serve.
    pub node: NodeId,
    /// Its life.
    pub boot: BootId,
    /// The message with which it asked last.
    pub counter: u64,
    /// For how long from then; microseconds on the wire.
    pub term: Duration,
}

/// How long ago a node was last heard on one path, when the message left that says so. The counter
/// of what was heard is in the echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wait {
    /// Who was heard.
    pub node: NodeId,
    /// The path.
    pub path: PortId,
    /// How long ago; microseconds on the wire.
    pub time: Duration,
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
    /// What the sender has granted, if it is the witness (D14).
    pub grant: Option<Grant>,
    /// How long the newest messages of peers beyond a router have waited for this one. At most
    /// [`WAITS_MAX`].
    pub waits: Vec<Wait>,
    /// The certificate that clients see while the sender serves (R5.6); none if its file names
    /// none, or it cannot be read.
    pub certificate: Option<CertificateMark>,
}

impl Advert {
    /// The newest message of a node, in that life, that the sender has heard on any path.
    pub fn newest_echoed(&self, node: NodeId, boot: BootId) -> Option<u64> {
        let of_life = |echo: &&Echo| echo.node == node && echo.boot == boot;
        let echo = self.echoes.iter().find(of_life)?;
        echo.heard.iter().map(|heard| heard.counter).max()
    }

    /// The newest message of a node, in that life, that the sender has heard on a path.
    pub fn heard_counter(&self, node: NodeId, boot: BootId, path: PortId) -> Option<u64> {
        let of_life = |echo: &&Echo| echo.node == node && echo.boot == boot;
        let echo = self.echoes.iter().find(of_life)?;
        let there = echo.heard.iter().find(|heard| heard.path == path)?;
        Some(there.counter)
    }
}
