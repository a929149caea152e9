//! The world lab: gateways, switches and cables out of Linux namespaces.

pub mod daemons;
