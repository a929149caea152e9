//! Pure models of what surrounds a node: wires, switches, and the kernel's network stack.
//!
//! A world owns the models, the clock and the event queue; a model is a value that takes a whole
//! Ethernet frame and a time and says what leaves, where and when. Nothing here reads a clock or
//! draws a number on its own, so every world (and the explorer, which clones them by the thousand)
//! gets the same behaviour from the same calls.
//!
//! The hard case is the kernel: a lease that runs on while the daemon is stopped, and a fence in
//! front of the address answers. Its tests are titled as statements about Linux.
//!
//! Limit: no bandwidth, no queues in wires or switches, no fragmentation.

use std::sync::Arc;

pub mod kernel;
pub mod switch;

pub use steadfast_scenarios::link;
pub use steadfast_scenarios::link::Uncompared;

/// A whole Ethernet frame, shared by every place it is flooded to.
pub type Frame = Arc<[u8]>;
