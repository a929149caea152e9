//! The daemon as it is shipped, on gateways made of namespaces: pairs, ends, reloads, refusals.
//!
//! Each story has its own namespaces and folders and tells what an operator would see: addresses as
//! `ip` shows them, lines of the log, answers of `steadfastctl`. Run one story:
//! `cargo test -p steadfast --test daemon -- NAME`. The limit: times are those of a busy test
//! machine; what they must be is judged elsewhere.

#[path = "../common/mod.rs"]
#[macro_use]
mod common;
#[path = "../common/gateways.rs"]
mod gateways;

mod alone;
mod answers;
mod diagnosis;
mod duo;
mod hooks;
mod interfaces;
mod interop;
mod peers;
mod refusals;
mod reload;
mod routers;
mod stations;
mod vrrp_cases;
