//! Why the daemon does not start: each cause by name, with what helps.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::control::BindError;
use crate::linux::fence::FenceError;

/// Why the daemon does not start, or ended.
#[derive(Debug, Error)]
pub enum StartError {
    /// A virtual address is on this host already, and not ours.
    #[error(
        "virtual address {address} is on {interface} already and was not put there by steadfastd\
         {by}: it would answer whatever the role is; stop what holds it, or remove it with \
         `ip address del {address} dev {interface}`"
    )]
    AddressHeld {
        /// The address.
        address: IpAddr,
        /// Where it stands.
        interface: String,
        /// Who may have put it there, as a part of the sentence.
        by: String,
    },
    /// The control socket cannot be had.
    #[error(transparent)]
    Control(#[from] BindError),
    /// The driver's world ended.
    #[error("the driver ended: {0}")]
    Driver(#[source] io::Error),
    /// The fence cannot be installed.
    #[error(transparent)]
    Fence(#[from] FenceError),
    /// Something of the operating system is refused.
    #[error("failed to {what}: {error}{cure}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// Why not.
        error: io::Error,
        /// What helps.
        cure: &'static str,
    },
    /// Another program has the UDP port of heartbeats (R2.5).
    #[error(
        "UDP port {port} is held by another program: {error}; stop it, or give every node of the \
         cluster another [cluster] udp_port"
    )]
    PortHeld {
        /// The port.
        port: u16,
        /// What the kernel said.
        error: io::Error,
    },
    /// Another daemon runs.
    #[error(
        "{error}; stop it first, or give this one its own [daemon] runtime_dir ({})",
        folder.display()
    )]
    Running {
        /// Which.
        error: io::Error,
        /// The directory that is locked.
        folder: PathBuf,
    },
    /// A setting of the kernel makes the job impossible.
    #[error("{0}")]
    Setting(String),
}

impl StartError {
    /// Makes one from what the operating system said.
    pub fn refused(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            let cure = match error.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => {
                    " (run as root, or with CAP_NET_ADMIN and CAP_NET_RAW: \
                     see contrib/steadfastd.service)"
                }
                Some(libc::EROFS | libc::ENOSPC) => {
                    " (the disk is full or read-only: see [daemon] state_dir and runtime_dir)"
                }
                Some(_) | None => "",
            };
            Self::Refused { what, error, cure }
        }
    }
}
