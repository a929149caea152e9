//! Frames as bytes: what this crate builds, and what it understands of the frames of others.

pub mod advert;
pub mod announce;
pub mod arp;
pub mod auth;
pub mod carriage;
pub mod codec;
pub mod ethernet;
pub mod foreign;
pub mod ndisc;
pub mod vrrp;
