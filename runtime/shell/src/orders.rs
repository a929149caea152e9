//! What operators and the world order from a running node, and how the answer comes back.
//!
//! Orders wait in one bounded channel; whoever orders waits for its own answer, never the driver.

use std::fmt;

use steadfast_core::CertificateMark;
use steadfast_core::config::Config;
use steadfast_core::effect::{Command, Rejection};
use tokio::sync::{mpsc, oneshot};

/// Orders waiting. Beyond this whoever orders waits, and is told that the node is busy in time.
pub const ORDERS_MAX: usize = 16;

/// Something a node is ordered to do.
#[derive(Debug)]
pub enum Order {
    /// The certificate that clients see was looked at (R5.6).
    CertificateRead {
        /// Which it is; none if the file names none, or it cannot be read.
        certificate: Option<CertificateMark>,
    },
    /// A check of the node's health was run (R4.2). One that the node does not have any more, or
    /// not yet, is passed over.
    Checked {
        /// Which, by its name.
        name: String,
        /// How it went; one that timed out has failed.
        passed: bool,
    },
    /// An operator's command (R3.4).
    Command {
        /// Which.
        command: Command,
        /// Where the answer goes; a dropped receiver is no error.
        reply: oneshot::Sender<Result<(), Rejection>>,
    },
    /// A changed configuration, checked by itself; the node says whether it can be taken while it
    /// runs. What is refused changes nothing.
    Reload {
        /// The whole new configuration.
        config: Box<Config>,
        /// Where the answer goes: an error says what needs a restart.
        reply: oneshot::Sender<Result<(), ReloadRefused>>,
    },
    /// Hand the role over, withdraw, end.
    Shutdown,
}

/// Why a changed configuration was not taken; the old one stays in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadRefused(pub String);

impl fmt::Display for ReloadRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The orderers' end.
pub type Orders = mpsc::Sender<Order>;

/// A bounded channel for orders.
pub fn orders() -> (Orders, mpsc::Receiver<Order>) {
    mpsc::channel(ORDERS_MAX)
}
