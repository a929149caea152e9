//! Steadfast on Linux: the backends of the shell, the configuration, the daemon and its control.

pub mod config;
pub mod control;
pub mod ctl;
pub mod journal;
pub mod linux;
pub mod logging;
pub mod store;
