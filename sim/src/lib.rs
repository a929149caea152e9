//! Models of link, switch and kernel, and the deterministic worlds that run the production core.
//!
//! `model` holds what surrounds a node, pure and small; `stage` puts whole scenarios on it. `fast`
//! plays them on an event heap, `turmoil` and `madsim` with the whole shell in hosts of their own;
//! `explore` tries every interleaving of a few faults.

pub mod campaign;
pub mod conformance;
pub mod explore;
pub mod fast;
#[cfg(madsim)]
pub mod madsim;
pub mod model;
mod shelled;
pub mod stage;
#[cfg(not(madsim))]
pub mod turmoil;

pub use shelled::ground::{Point, Reached};
