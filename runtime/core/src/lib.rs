//! Steadfast's decisions and wire formats, as a function of their inputs.
//!
//! No clock, no entropy, no IO, no threads: the same inputs give the same effects on a gateway, in
//! a simulator and in the replay of a recorded incident. The contract of [`Node`]:
//!
//! - Same [`config::Config`], [`boot::Boot`] and sequence of `(Instant, Input)`: same sequence of
//!   effects. So a journal of the inputs *is* the reproduction.
//! - `now` never decreases; a lower one is treated as the last one and counted. A
//!   `DeadlineReached` that comes early or twice does nothing.
//! - [`Node::handle`] may be called any number of times before the effects are polled; it never
//!   fails, and never panics on any bytes.
//! - `Apply` and `Persist` are answered exactly once by `Completed`; a newer `Apply` of the same
//!   group supersedes an older. Nothing else is answered.
//! - Effects come in order. What depends on an `Apply` is emitted after its `Completed`: a node is
//!   `Promoting` until the kernel confirmed, and only then says that it is active.
//! - Every queue has a named bound; what is dropped is counted in the status.

mod announce;
pub mod boot;
pub mod config;
pub mod diagnosis;
pub mod effect;
pub mod hooks;
mod ids;
mod node;
mod peer;
pub mod rank;
pub mod role;
mod rules;
pub mod status;
mod suspicion;
mod time;
mod timer;
pub mod vrrp;
pub mod wire;

pub use ids::{
    BootId, CertificateMark, CheckId, ClusterId, Epoch, GroupId, MacAddr, NodeId, OpId, PortId,
    RequestId,
};
pub use node::{ConfigRefused, DEFAULT_GROUP, EFFECTS_MAX, Node, RAISED_MAX};
pub use rules::{Rule, Rules};
pub use time::Instant;
