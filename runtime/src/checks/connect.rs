//! A host that accepts a connection: its service is up (R2.6).
//!
//! Accepted is enough; the connection is closed at once, with nothing said.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::program::Stop;

pub(super) fn run(to: SocketAddr, timeout: Duration, _: &Stop) -> Result<(), String> {
    TcpStream::connect_timeout(&to, timeout)
        .map(drop)
        .map_err(|error| format!("{to}: {error}"))
}
