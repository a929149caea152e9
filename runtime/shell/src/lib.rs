//! The asynchronous driver around the core: inputs in, effects out, in the order of design D6.
//!
//! Everything of the outside stands in [`env`]; so the same driver serves gateways and simulators.

pub mod env;
pub mod orders;
