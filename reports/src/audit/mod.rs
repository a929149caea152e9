//! The determinism audit: a run must be a function of its scenario and its seed, and of nothing
//! else. So it is played twice, in processes that differ in all that must not matter, and the
//! traces are compared byte for byte.
//!
//! ```text
//!  surroundings "bare"   empty environment, folder /, one thread  ─► traces ─┐
//!  surroundings "rich"   crowded environment, another folder,                ├─► first difference
//!                        all processors, another build if named   ─► traces ─┘
//! ```
//! Address layout and hash seeds are drawn anew by the kernel and the standard library for every
//! process. What could not be varied is said, never left out in silence.
//!
//! The limit: what both processes share (kernel, processor, file system) is not varied.

mod difference;
pub(crate) mod sample;
mod surroundings;

pub(crate) use difference::{Compared, compare};
pub(crate) use surroundings::{Surroundings, address_layouts_differ};
