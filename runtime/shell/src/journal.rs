//! The flight recorder's files (R14.2): what stands in them, how they are read, and their replay.
//!
//! The core is a function of its inputs, so the inputs *are* the reproduction: [`replay`] feeds
//! them to a fresh node and compares what comes out, bit for bit. Effects are kept for that
//! comparison; of a sent frame only a digest, since the replay makes the frame itself.
//!
//! Each file begins with the whole description of its life (build, configuration, boot), so each
//! can be read alone. No secret is ever written: keys come from the operator at the replay.
//!
//! The hard case is a loss: of entries (the disk is slower than the wire), of a tail (power cut),
//! of a byte. Each is found, named and stands in the stream where it happened; a replay ends there
//! and says so, instead of blaming the node.
//!
//! The limit: a node's inner state is not written down, so a life can be replayed only while its
//! first file still exists. Who writes the files, and how many of them, is a gateway's matter.

pub mod codec;
mod entry;
mod reader;
mod replay;
mod words;

pub use codec::ENTRY_BYTES_MAX;
pub use entry::{
    ConfigFacts, Hole, LifeFacts, PeerFacts, PortFacts, Stored, StoredEffect, StoredInput, Timed,
};
pub use reader::{FILE_BYTES_MAX, FILES_READ_MAX, Life, Reading, file_name, files, read};
pub use replay::{DecisionHash, Examination, Outcome, Turn, examine, replay, unexamined};
