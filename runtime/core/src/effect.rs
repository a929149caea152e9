//! What goes into a node and what comes out of it.
//!
//! Effects say the state, not the step: an `Apply` carries everything the kernel should hold, the
//! newest wins, and doing it twice is doing it once.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::boot::Record;
use crate::wire::carriage::Form;
use crate::wire::foreign::ForeignSpeaker;
use crate::{
    CertificateMark, CheckId, Epoch, GroupId, Instant, MacAddr, NodeId, OpId, PortId, RequestId,
};

/// What a node is told.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The certificate that clients see while this node serves was looked at (R5.6).
    CertificateRead {
        /// Which it is; none if the file names none, or it cannot be read.
        certificate: Option<CertificateMark>,
    },
    /// A check of the node's own health was run (R4.2). One that timed out has failed.
    Checked {
        /// Which.
        check: CheckId,
        /// How it went.
        passed: bool,
    },
    /// An operator speaks.
    CommandReceived {
        /// Comes back in the reply.
        request: RequestId,
        /// What is wanted.
        command: Command,
    },
    /// Answers an `Apply` or a `Persist`, once.
    Completed {
        /// The number the effect carried.
        op: OpId,
        /// How it went.
        outcome: Result<(), Failure>,
    },
    /// A deadline has come, **and every heartbeat socket was drained since** (D6).
    DeadlineReached,
    /// The kernel's fence was looked at.
    FenceChecked {
        /// The table is complete and ours.
        whole: bool,
    },
    /// A whole Ethernet frame.
    FrameReceived {
        /// Where.
        port: PortId,
        /// The frame from its destination address on.
        frame: &'a [u8],
        /// When the kernel took it in; not later than now.
        at: Instant,
    },
    /// A port's carrier, by event or by poll; repetitions are harmless.
    LinkChanged {
        /// The port.
        port: PortId,
        /// Carrier is there.
        up: bool,
    },
    /// The daemon is asked to end: hand over, withdraw, say so.
    Shutdown,
    /// The lease guard dropped a frame this node sent as active (D9).
    TransmitRefused {
        /// Where.
        port: PortId,
    },
}

/// What a node wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Something people should know, once per episode (R10.1).
    Alert(Alert),
    /// Make the kernel so; answered once by `Completed`.
    Apply {
        /// Numbers the answer.
        op: OpId,
        /// Whose addresses.
        group: GroupId,
        /// The whole desired state.
        desired: Forwarding,
    },
    /// Write this to stable storage; answered once by `Completed`.
    Persist {
        /// Numbers the answer.
        op: OpId,
        /// The whole record.
        record: Record,
    },
    /// Answers a command.
    Reply {
        /// Whose.
        request: RequestId,
        /// How it went.
        result: Result<(), Rejection>,
    },
    /// Everything is given back: the daemon may end.
    Stopped,
    /// Send a frame.
    Transmit {
        /// Where.
        port: PortId,
        /// The whole Ethernet frame.
        frame: Vec<u8>,
    },
}

/// What the kernel shall hold for a group (D9, D10, D17).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forwarding {
    /// A fresh lease of length L, the addresses, and no dead neighbour entries. The only way to
    /// create a lease.
    Active {
        /// The claim this serves.
        epoch: Epoch,
    },
    /// The lease that is still there ends within this time; fails with `LeaseLapsed` without one.
    Offering {
        /// V.
        remaining: Duration,
    },
    /// No lease, no addresses beyond staged ones: fenced.
    Standby,
    /// No lease; for the configured tail, what is in flight is still forwarded.
    Tail,
}

/// Why an effect failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The lease to shorten had already ended.
    LeaseLapsed,
    /// The operating system refused, and nobody knows what it holds.
    Refused,
    /// It refused, and confirmed that it holds no lease: nothing was owned for longer than the
    /// attempt.
    Fenced,
    /// A newer effect of the same kind took its place.
    Superseded,
}

/// What an operator may ask (R3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// End the pacified state (R12.1).
    ClearPacified,
    /// Serve again after `on_failure = off`.
    Enable,
    /// Out of service, persisted.
    MaintenanceOff,
    /// Back into service.
    MaintenanceOn,
    /// Give the role to a peer.
    Release,
    /// Take the role from a peer.
    TakeOver,
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// A hand-over is under way.
    Busy,
    /// The node is not in a role in which this makes sense.
    NotNow,
    /// No peer is able to serve.
    NoPeer,
    /// The peer did not take the role in time.
    TimedOut,
    /// Messages to the peer and back take more than half of the time that an offer lasts.
    TooFar,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "a hand-over is under way; wait for it to end",
            Self::NotNow => "not possible in the present role; see status",
            Self::NoPeer => "no peer is able to serve; see status for why",
            Self::TimedOut => "the peer did not take the role in time; nothing has changed",
            Self::TooFar => {
                "the peer's answers take more than half of `offer`; nothing has changed"
            }
        })
    }
}

/// What people should know. Each is raised once per episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// A station that is no node of ours answers for a virtual address.
    AddressConflict {
        /// The address.
        address: IpAddr,
        /// Who answers.
        mac: MacAddr,
    },
    /// The kernel refused what the role demands.
    ApplyFailed,
    /// A check of this node's own health fails (R4.2).
    CheckFailed {
        /// Which.
        check: CheckId,
    },
    /// Another node sends with this node's id (R1.3).
    DuplicateNodeId,
    /// The kernel's fence was damaged.
    FenceDamaged,
    /// Somebody else uses this virtual router number (R5.4).
    ForeignSpeaker {
        /// Who.
        speaker: ForeignSpeaker,
        /// A number from 11 on that nobody was heard with when this was raised, if there is one.
        free: Option<u8>,
    },
    /// On a port a peer hears this node in another form alone than the most preferred (D4, R2.5).
    FormFallback {
        /// The port.
        port: PortId,
        /// The form that passes.
        form: Form,
    },
    /// A peer is dead.
    PeerDown {
        /// Which.
        peer: NodeId,
    },
    /// A peer lives again.
    PeerUp {
        /// Which.
        peer: NodeId,
    },
    /// The boot guard barred this node.
    Pacified,
    /// The role moved too often: it stays where it can serve (F33).
    RoleFlaps,
    /// This node has a fault and serves on: no peer is healthier (F32).
    ServingFaulty,
    /// This node serves although the boot guard bars every node.
    ServingPacified,
    /// Both nodes are configured with the same role (R1.3).
    SameRole {
        /// The other one.
        peer: NodeId,
    },
    /// Two actives were seen (F64).
    SplitBrain {
        /// The rival.
        peer: NodeId,
    },
    /// Somebody else sends from the virtual MAC while this node serves (R5.5).
    StationUsed {
        /// Where.
        port: PortId,
    },
    /// The record could not be stored.
    StoreFailed,
}
