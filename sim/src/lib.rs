//! Models of link, switch and kernel, and the deterministic worlds that run the production core.
//!
//! `model` holds what surrounds a node, pure and small. `fast` plays whole scenarios on an event
//! heap; `explore` tries every interleaving of a few faults.

pub mod campaign;
pub mod explore;
pub mod fast;
pub mod model;
