//! The world lab: gateways, switches and cables out of Linux namespaces, on the real kernel.

pub mod enter;
mod error;
pub mod namespace;
mod sys;

pub use enter::entry;
pub use error::LabError;
pub use namespace::Namespace;
