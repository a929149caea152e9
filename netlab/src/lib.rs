//! The world lab.

pub mod instruments;
pub mod pcap;
pub mod race;
