//! Linux: the kernel's interfaces that the daemon uses, each in a room of its own.

pub mod addresses;
pub mod carrier;
pub mod clock;
pub(crate) mod credentials;
pub mod datagrams;
pub mod dataplane;
pub mod environment;
pub mod fence;
pub mod interfaces;
pub mod lease;
pub mod links;
pub mod macvlan;
pub mod neighbours;
pub mod netlink;
pub mod packet;
pub mod plane;
pub mod priority;
mod raw;
pub mod routers;
mod rtnetlink;
pub mod softirqs;
mod speaker;
pub mod stations;
pub mod streams;
pub mod sysctl;
pub mod view;
