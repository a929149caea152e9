//! Fidelity: the same scenario files in several worlds, held against each other.
//!
//! A simulator that differs from real kernels proves something about another product. So the same
//! files are played in simulators and in the lab, many times each, and three things must agree:
//! the verdicts, the order in which things happen, and how long they take.
//!
//! ```text
//!  traces ─► moments (`moments`): what a reader would put on a time line, by name
//!        ├─► pairs: in which order two moments come, where a world is sure of it
//!        └─► intervals: from a step to each moment after it, as quantiles
//! ```
//! The gate stands in `compare`; runs of the lab can be kept (`kept`). The same seed boots its
//! gateways at the same time in every world, so that what follows from the phase of timers is the
//! same as well. The limit: moments closer to each other than [`RESOLUTION`] have no order, for the
//! observer of the lab asks in rounds.

mod compare;
mod kept;
mod moments;

use std::time::Duration;

pub(crate) use compare::{Against, Compared, compare};
pub(crate) use kept::{Kept, events};
pub(crate) use moments::{Sighting, sightings};

/// Moments closer to each other have no order.
pub(crate) const RESOLUTION: Duration = Duration::from_millis(2);
