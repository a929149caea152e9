//! The asynchronous driver around the core: inputs in, effects out, in the order of design D6.
//!
//! Everything of the outside stands in [`env`], as traits; so the same driver serves gateways and
//! simulators. [`driver::run`] is the loop, [`orders`] is how operators reach it,
//! [`record`] is what a store writes, and in which order, [`journal`] what the flight recorder
//! writes, and its replay; [`secret`] reads the keys for that. [`vrrp`] drives virtual routers,
//! which obey the RFCs of VRRP and no node.

pub mod digest;
pub mod driver;
pub mod env;
pub mod habits;
pub mod hex;
pub mod journal;
mod mailbox;
pub mod orders;
pub mod record;
mod reloads;
pub mod secret;
pub mod streams;
pub mod vrrp;
mod workers;
