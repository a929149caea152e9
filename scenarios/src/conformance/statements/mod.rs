//! The statements, by area; each says where it is written.
//!
//! "facts" in a source are measurements on Linux 6.18; kernel files are named without their line,
//! as these move.

mod arp;
mod falsehoods;
mod fence;
mod ipv6;
mod lease;
mod neighbours;
mod packets;
mod stations;

use super::Statement;

pub use falsehoods::falsehoods;

/// Every statement.
pub fn statements() -> Vec<Statement> {
    [
        arp::statements(),
        neighbours::statements(),
        fence::statements(),
        lease::statements(),
        packets::statements(),
        ipv6::statements(),
        stations::statements(),
    ]
    .concat()
}
