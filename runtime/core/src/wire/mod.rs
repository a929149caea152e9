//! Frames as bytes: what this crate builds, and what it understands of the frames of others.

pub mod advert;
pub mod arp;
pub mod ethernet;
