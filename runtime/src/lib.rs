//! Steadfast on Linux: the backends of the shell, the configuration, the daemon and its control.

#[cfg(target_os = "linux")]
pub mod linux;
