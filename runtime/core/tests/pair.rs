//! Two nodes, two honest kernels, three wires and one clock: the protocol's stories, told in
//! memory.
//!
//! Each story sets two gateways up, does something to them, and looks at what counts: who leases
//! the virtual addresses (never both, outside a hand-over), for how long nobody does, what the
//! nodes say, and what operators are told. A story is deterministic; it can be told again by its
//! name. The limit: one scheduler step has no width, so races inside a daemon are not seen here.

#[path = "pair/gateway.rs"]
mod gateway;
#[path = "pair/kernel.rs"]
mod kernel;
#[path = "pair/look.rs"]
mod look;
#[path = "pair/setup.rs"]
mod setup;
#[path = "pair/world.rs"]
mod world;

#[path = "pair/forms.rs"]
mod forms;
#[path = "pair/handover.rs"]
mod handover;
#[path = "pair/lease.rs"]
mod lease;
#[path = "pair/noise.rs"]
mod noise;
#[path = "pair/paths.rs"]
mod paths;
#[path = "pair/release.rs"]
mod release;
#[path = "pair/reload.rs"]
mod reload;
#[path = "pair/secrets.rs"]
mod secrets;
#[path = "pair/service.rs"]
mod service;
#[path = "pair/stalls.rs"]
mod stalls;
#[path = "pair/start.rs"]
mod start;
#[path = "pair/stations.rs"]
mod stations;
#[path = "pair/takeover.rs"]
mod takeover;
#[path = "pair/twins.rs"]
mod twins;
