//! Steadfast on Linux: the backends of the shell, the configuration, the daemon and its control.

pub mod checks;
pub mod config;
pub mod control;
pub mod ctl;
pub mod daemon;
pub mod hooks;
pub mod journal;
pub mod linux;
pub mod logging;
mod program;
pub mod store;

/// Which build this is: version and a digest of its sources.
pub const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("STEADFAST_SOURCES"));
