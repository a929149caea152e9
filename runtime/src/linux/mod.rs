//! Linux: the kernel's interfaces that the daemon uses, each in a room of its own.

pub mod fence;
pub mod netlink;
