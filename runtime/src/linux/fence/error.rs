//! Why the fence could not be built or changed, and what to do about it.

use std::borrow::Cow;
use std::io;

use thiserror::Error;

use super::super::netlink::Refused;
use super::TABLE;

/// The fence could not be built or changed.
#[derive(Debug, Error)]
pub enum FenceError {
    /// What was built does not read back as it was sent.
    #[error("failed to build the fence: {found} rules stand where {sent} were sent; {CURE_RIVAL}")]
    Differs {
        /// Rules found.
        found: usize,
        /// Rules sent.
        sent: usize,
    },
    /// The keeper cannot be started, asked or ended.
    #[error("failed to reach the fence's keeper: {error}; {CURE_KEEPER}")]
    Keeper {
        /// What failed.
        error: io::Error,
    },
    /// Packets cannot be judged as they leave.
    #[error("failed to {what}: Linux {release} has no nf_tables netdev egress; {CURE_EGRESS}")]
    NoEgress {
        /// Which hook.
        what: Cow<'static, str>,
        /// The running kernel.
        release: String,
    },
    /// Another living socket owns the table.
    #[error("failed to take over table netdev {TABLE}: socket {owner} owns it; {CURE_OWNED}")]
    Owned {
        /// The owner's netlink address.
        owner: u32,
    },
    /// The kernel refuses.
    #[error("failed to {what}: {error}{}; {}", detail(.text.as_ref()), cure(.error))]
    Refused {
        /// What was to be done.
        what: Cow<'static, str>,
        /// The kernel's errno.
        error: io::Error,
        /// The kernel's own words.
        text: Option<String>,
    },
    /// The kernel cannot be spoken to.
    #[error("failed to speak with nf_tables: {error}; {}", cure(.error))]
    Socket {
        /// What failed.
        error: io::Error,
    },
}

impl FenceError {
    /// Whether what was to be changed is not there: somebody removed the table.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Refused { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

/// The lease could not be changed.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// There is no lease any more: it ended, or was never there.
    #[error("the lease has ended")]
    Lapsed,
    /// The kernel refuses.
    #[error(transparent)]
    Fence(#[from] FenceError),
}

const CURE_EGRESS: &str =
    "use Linux 5.16 or newer with CONFIG_NETFILTER_EGRESS; a cluster can do with fence = \"auto\"";
const CURE_KEEPER: &str = "see that the runtime folder exists, is ours, and has a short path";
const CURE_OWNED: &str = "stop the other steadfastd of this network namespace";
const CURE_RIVAL: &str = "see which program changes nf_tables tables of the netdev family";

impl FenceError {
    pub(super) fn socket(error: io::Error) -> Self {
        Self::Socket { error }
    }

    /// The fence was removed on purpose.
    pub(in crate::linux) fn removed() -> Self {
        Self::socket(io::Error::other("the fence was removed"))
    }

    /// The running kernel cannot judge what leaves.
    pub(super) fn no_egress(what: Cow<'static, str>) -> Self {
        let release = rustix::system::uname();
        let release = release.release().to_string_lossy().into_owned();
        Self::NoEgress { what, release }
    }

    pub(super) fn refused(refused: Refused) -> Self {
        Self::Refused {
            what: refused.what,
            error: refused.error,
            text: refused.text,
        }
    }
}

fn detail(text: Option<&String>) -> String {
    text.map_or_else(String::new, |text| format!(" ({text})"))
}

fn cure(error: &io::Error) -> &'static str {
    let Some(errno) = rustix::io::Errno::from_io_error(error) else {
        return "try again";
    };
    match errno {
        rustix::io::Errno::PERM | rustix::io::Errno::ACCESS => {
            "run with CAP_NET_ADMIN, and stop any other steadfastd"
        }
        rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::PROTONOSUPPORT => {
            "use a kernel with nf_tables (CONFIG_NF_TABLES_NETDEV), Linux 5.16 or newer"
        }
        rustix::io::Errno::NOENT => "see that the port exists; reinstall the fence if it does",
        rustix::io::Errno::NOBUFS | rustix::io::Errno::NOMEM => "free memory",
        _ => "see the kernel's log",
    }
}
