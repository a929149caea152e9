//! What a world must be able to do for a verb, or for what a file sets up.

use serde::{Deserialize, Serialize};

/// What a world must be able to do, in words for `not run: needs …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Slow and failing kernel effects.
    ApplyFaults,
    /// Boots, with their record.
    Boots,
    /// A box that stands still, kernel included.
    BoxFreeze,
    /// Carrier that comes and goes.
    Carrier,
    /// Certificates that the product shows.
    Certificates,
    /// Checks of a gateway's own health.
    Checks,
    /// Wall clocks that are wrong.
    Clocks,
    /// Operator's commands.
    Commands,
    /// Disks that fail.
    DiskFaults,
    /// Foreign redundancy protocols and machines.
    Foreigners,
    /// Chosen frames seen or lost.
    FrameFilter,
    /// Programs that follow the role.
    Hooks,
    /// Loss, delay, jitter, duplicates, reordering, bandwidth.
    Impairment,
    /// Frames made by an attacker.
    Injection,
    /// A status that lies.
    Lies,
    /// Power that comes and goes.
    Power,
    /// Daemons that are started, killed and ended.
    Process,
    /// Configurations that change while a daemon runs.
    Reloads,
    /// Programs that say on every gateway that it is a router.
    RouterAdverts,
    /// A packet filter that others change.
    Ruleset,
    /// Frames that vanish without carrier loss, each way on its own.
    Silence,
    /// What a gateway itself begins, in a virtual address's name.
    Sources,
    /// Daemons that are stopped, stalled or starved.
    Stalls,
    /// Switches that die, split, filter and delay.
    Switches,
    /// Gateways that are virtual routers of VRRP.
    VirtualRouters,
}
