//! The asynchronous driver around the core: inputs in, effects out, in the order of design D6.
//!
//! Everything of the outside stands in [`env`], as traits; so the same driver serves gateways and
//! simulators. [`driver::run`] is the loop, [`orders`] is how operators reach it.

pub mod driver;
pub mod env;
mod mailbox;
pub mod orders;
mod workers;
