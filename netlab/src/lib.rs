//! The world lab: gateways, switches and cables out of Linux namespaces, on the real kernel.

pub mod agent;
pub mod bench;
pub mod cost;
pub mod daemons;
pub mod doctor;
pub mod enter;
mod error;
mod evidence;
pub mod eyes;
pub mod foreign;
pub mod ground;
pub mod instruments;
pub mod lab;
pub mod machine;
pub mod namespace;
mod netlink;
mod nft;
pub mod play;
pub mod race;
pub mod soak;
pub mod strangers;
mod sys;
pub mod virtual_routers;
mod visit;
pub mod wires;
pub mod world;

pub use enter::entry;
pub use error::LabError;
pub use namespace::Namespace;
pub use visit::Company;

/// The build id of the daemon that belongs to this lab: what `steadfastd --version` ends with.
pub const DAEMON_SOURCES: &str = env!("STEADFAST_SOURCES");
