//! The world lab: gateways, switches and cables out of Linux namespaces.

pub mod daemons;
pub mod instruments;
pub mod pcap;
pub mod race;
