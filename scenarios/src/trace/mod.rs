//! The trace: what happened in a run, as evidence that does not depend on the world.
//!
//! One JSON object a line, keys in a fixed order, whole numbers only, times in nanoseconds since
//! the start of the run. The trace hash is the BLAKE3 of those bytes, so `b3sum trace.jsonl` checks
//! it. Events are what an observer on the wire saw, or facts of the world (power, carrier); what a
//! node says of itself is marked as such ([`EventKind::Status`]) and only two oracles read it.

pub mod capture;
mod event;
mod names;
mod reader;
mod writer;

pub use event::{
    Caller, Event, EventKind, FrameKind, Holder, HookPhase, Outcome, PowerState, ProcessState,
    SourceKind,
};
pub use names::{GatewayName, HostName, Names, SegmentName};
pub use reader::{TraceError, read};
pub use writer::{TraceHash, TraceWriter};
