//! What the fence shall be, and what this kernel is able to do for it.
//!
//! Limit: what a kernel is able to do is found out by trying ([`super::build`]), not written here.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use steadfast_core::MacAddr;

/// What the fence shall be. The whole of it, each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceSpec {
    /// Where advertisements leave: names of interfaces. On each stands the guard.
    pub heartbeat_ports: Vec<String>,
    /// Where clients are: on each stands the fence.
    pub served: Vec<ServedPort>,
    /// The UDP port of advertisements in datagrams, where there are any (R2.5).
    pub datagrams: Option<u16>,
    /// Where what leaves is judged.
    pub hooks: Hooks,
    /// L, how long the lease lasts from the last refresh. Whole milliseconds count.
    pub lease: Duration,
    /// How long packets in flight are carried after the lease.
    pub tail: Duration,
    /// A folder of our own that outlives the daemon, such as `/run/steadfast`; its path is short
    /// (at most 90 bytes), for a Unix socket stands in it.
    pub keeper_dir: PathBuf,
    /// The program that runs [`keeper_main`] when its first argument is [`KEEPER_ARGUMENT`];
    /// `/proc/self/exe` for the daemon's own.
    pub keeper_program: OsString,
}

/// Where the fence judges what leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hooks {
    /// As it leaves a device, where the kernel can do that; else where ARP and IP send it.
    #[default]
    Auto,
    /// As it leaves a device, or there is no fence.
    Egress,
    /// Where ARP and IP send it, as on kernels before 5.16.
    Output,
    /// The same in tables that nobody owns, as on kernels before 5.13: a flush takes them.
    Flushable,
}

/// A port on which clients are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedPort {
    /// The interface's name; of a virtual MAC's macvlan, the interface below it.
    pub name: String,
    /// The node's own addresses there: never fenced.
    pub units: Vec<IpAddr>,
    /// The virtual addresses there, link-local ones included.
    pub virtuals: Vec<IpAddr>,
    /// The virtual MACs there.
    pub virtual_macs: Vec<MacAddr>,
}

impl ServedPort {
    /// A link-local address moves with the role: hosts follow it as their router (F44).
    pub(super) fn moves_router(&self) -> bool {
        let linked = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        self.virtuals.iter().any(linked)
    }

    pub(super) fn speaks_ipv6(&self) -> bool {
        self.virtuals.iter().any(IpAddr::is_ipv6)
    }
}

/// What this kernel is able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FenceSupport {
    /// Packets are judged as they leave a device (Linux 5.16); else where ARP and IP send them.
    pub egress: bool,
    /// Transit is told by the routing table; else by the configured unit addresses.
    pub fib: bool,
    /// Tables can be owned (Linux 5.13): a foreign flush passes them by.
    pub owner: bool,
    /// Tables can outlive their owner (Linux 6.9), even a killed keeper.
    pub persist: bool,
    /// An element's time can be set anew in one step (Linux 6.12).
    pub refresh: bool,
    /// A chain can wait for its device (Linux 6.16); else a port that is made anew is fenced at the
    /// next look.
    pub waits: bool,
}

impl FenceSupport {
    /// What asks for this form and no other.
    pub(super) const fn hooks(self) -> Hooks {
        match (self.egress, self.owner) {
            (true, _) => Hooks::Egress,
            (false, true) => Hooks::Output,
            (false, false) => Hooks::Flushable,
        }
    }
}

impl fmt::Display for FenceSupport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without = [
            (
                self.fib,
                "transit is told by configured addresses (no fib expression)",
            ),
            (
                self.owner,
                "a foreign flush removes it, a dead daemon's for good (no owned tables)",
            ),
            (
                self.persist,
                "it needs its keeper to outlive the daemon (no persistent tables)",
            ),
            (
                self.refresh,
                "the lease is set anew in three steps (no refresh of elements)",
            ),
            (
                self.waits,
                "a port that was made anew is fenced within a second (no chain waits for it)",
            ),
        ];
        f.write_str(if self.egress {
            "nf_tables lease, refreshed by the advertisement as it leaves"
        } else {
            "nf_tables lease in the output of ARP and IP, refreshed by the daemon: frames of \
             packet sockets are not fenced (no netdev egress)"
        })?;
        without
            .iter()
            .filter(|(there, _)| !there)
            .try_for_each(|(_, what)| write!(f, "; {what}"))
    }
}
