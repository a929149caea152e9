//! Models of link, switch and kernel, and the deterministic worlds that run the production core.
//!
//! `model` holds what surrounds a node, pure and small; `stage` puts whole scenarios on it. `fast`
//! plays them on an event heap; `explore` tries every interleaving of a few faults.

pub mod campaign;
pub mod explore;
pub mod fast;
pub mod model;
mod shelled;
pub mod stage;
pub mod turmoil;
