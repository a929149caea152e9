//! Steadfast's decisions and wire formats, as a function of their inputs.
//!
//! No clock, no entropy, no IO, no threads: the same inputs give the same effects on a gateway, in
//! a simulator and in the replay of a recorded incident.

mod ids;
pub mod role;
mod time;
pub mod wire;

pub use ids::{BootId, ClusterId, Epoch, GroupId, MacAddr, NodeId, OpId, PortId, RequestId};
pub use time::Instant;
