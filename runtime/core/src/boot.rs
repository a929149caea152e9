//! What a node learns once, at start, and the guard against boot loops (D16, R12).
//!
//! A loop is counted in *uptime*: wall clocks lie after a power cut. The record of the current boot
//! is written at once and its uptime raised at 10, 30, 60, 120 and 300 s and when the window is
//! over, so after a cut the record says how long the box lived at least. Reboots and daemon
//! restarts are told apart by the kernel's boot id. The limit of this guard: a box whose store
//! cannot be written forgets its boots.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Epoch, Instant};

/// Boots remembered; the oldest is forgotten. More than any sensible limit of the guard.
pub const BOOTS_MAX: usize = 16;

/// Uptimes at which the record of this boot is renewed, in seconds.
pub const UPTIME_MARKS: [u64; 5] = [10, 30, 60, 120, 300];

/// Everything a node learns once: the only place entropy and persisted state enter.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The time of the start.
    pub now: Instant,
    /// Entropy: the daemon's life and its challenges are derived from it. Never used twice.
    pub seed: [u8; 32],
    /// The kernel's boot id.
    pub kernel_boot: [u8; 16],
    /// How long the kernel has been up.
    pub uptime: Duration,
    /// What the store held; the default if it held nothing.
    pub restored: Record,
}

/// What survives a restart: one small record, replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Boots, oldest first, this one included; at most [`BOOTS_MAX`].
    pub boots: Vec<BootRecord>,
    /// The newest claim this node made or heard of.
    pub epoch: Epoch,
    /// Maintenance is on (R3.4).
    pub maintenance: bool,
    /// Out of service after a failure, until an operator acts (R3.3).
    pub retired: bool,
}

/// One boot of the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRecord {
    /// The kernel's boot id.
    pub kernel_boot: [u8; 16],
    /// The uptime it reached at least, in seconds.
    pub uptime_s: u64,
    /// The daemon was stopped in order.
    pub clean: bool,
    /// The guard barred the node in this boot.
    pub pacified: bool,
    /// Starts of the daemon in this boot.
    pub starts: u32,
}

/// What the guard decides about a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clearance {
    /// Serve.
    Cleared,
    /// Barred: this many unclean boots, this one included, within so many seconds of uptime.
    Pacified {
        /// Unclean boots in a row.
        boots: u32,
        /// Their uptimes, summed.
        uptime_s: u64,
    },
}

/// Enters the current start into `boots`, oldest first, and keeps the list bounded.
pub fn enter(boots: &mut Vec<BootRecord>, kernel_boot: [u8; 16], uptime: Duration) {
    if let Some(last) = boots
        .last_mut()
        .filter(|last| last.kernel_boot == kernel_boot)
    {
        last.starts = last.starts.saturating_add(1);
        last.clean = false;
        last.uptime_s = last.uptime_s.max(uptime.as_secs());
        return;
    }
    if boots.len() >= BOOTS_MAX {
        boots.drain(..=boots.len() - BOOTS_MAX);
    }
    boots.push(BootRecord {
        kernel_boot,
        uptime_s: uptime.as_secs(),
        clean: false,
        pacified: false,
        starts: 1,
    });
}

/// Judges a list whose last entry is the current boot: more than `limit` boots, this one and the
/// unclean ones right before it, whose uptimes sum to less than `window`, are a loop. A pacified
/// boot is left by a clean reboot after the window, or by an operator (who clears the list).
pub fn clearance(boots: &[BootRecord], limit: u32, window: Duration) -> Clearance {
    let Some((current, past)) = boots.split_last() else {
        return Clearance::Cleared;
    };
    let window_s = window.as_secs();
    if let Some(previous) = past.last().filter(|previous| previous.pacified) {
        if !(previous.clean && previous.uptime_s >= window_s) {
            return Clearance::Pacified {
                boots: 1,
                uptime_s: previous.uptime_s,
            };
        }
        return Clearance::Cleared;
    }
    if current.pacified {
        return Clearance::Pacified {
            boots: 1,
            uptime_s: current.uptime_s,
        };
    }
    let mut count = 1_u32;
    let mut uptime_s = 0_u64;
    for boot in past.iter().rev().take_while(|boot| !boot.clean) {
        uptime_s = uptime_s.saturating_add(boot.uptime_s);
        if uptime_s >= window_s {
            break;
        }
        count = count.saturating_add(1);
        if count > limit {
            return Clearance::Pacified {
                boots: count,
                uptime_s,
            };
        }
    }
    Clearance::Cleared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(id: u8, uptime_s: u64, clean: bool) -> BootRecord {
        BootRecord {
            kernel_boot: [id; 16],
            uptime_s,
            clean,
            pacified: false,
            starts: 1,
        }
    }

    const WINDOW: Duration = Duration::from_secs(300);

    #[test]
    fn boot_guard_bars_the_fourth_unclean_boot_within_five_minutes() {
        // Three short lives before this one: four boots within the window, more than three.
        let boots = [
            boot(1, 60, false),
            boot(2, 60, false),
            boot(3, 60, false),
            boot(4, 0, false),
        ];
        let barred = Clearance::Pacified {
            boots: 4,
            uptime_s: 180,
        };
        assert_eq!(clearance(&boots, 3, WINDOW), barred);
        assert_eq!(clearance(&boots[1..], 3, WINDOW), Clearance::Cleared);
    }

    #[test]
    fn boot_guard_counts_uptime_and_clean_reboots_end_a_streak() {
        let slow = [
            boot(1, 120, false),
            boot(2, 120, false),
            boot(3, 120, false),
            boot(4, 0, false),
        ];
        assert_eq!(
            clearance(&slow, 3, WINDOW),
            Clearance::Cleared,
            "360 s is no loop"
        );
        let commanded = [
            boot(1, 10, false),
            boot(2, 10, false),
            boot(3, 10, true),
            boot(4, 0, false),
        ];
        assert_eq!(
            clearance(&commanded, 3, WINDOW),
            Clearance::Cleared,
            "a commanded reboot"
        );
    }

    #[test]
    fn boot_guard_pacified_leaves_only_by_a_clean_reboot_after_the_window() {
        let pacified = |uptime_s, clean| BootRecord {
            pacified: true,
            ..boot(4, uptime_s, clean)
        };
        for (uptime_s, clean, barred) in [
            (10, false, true),
            (10, true, true),
            (300, false, true),
            (300, true, false),
        ] {
            let boots = [pacified(uptime_s, clean), boot(5, 0, false)];
            let verdict = clearance(&boots, 3, WINDOW);
            assert_eq!(
                verdict != Clearance::Cleared,
                barred,
                "{uptime_s} s, clean {clean}"
            );
        }
    }

    #[test]
    fn boot_guard_tells_daemon_restarts_from_reboots() {
        let mut boots = Vec::new();
        for _ in 0..5 {
            enter(&mut boots, [7; 16], Duration::from_secs(3));
        }
        assert_eq!(boots.len(), 1, "five starts in one boot are one boot");
        assert_eq!(boots[0].starts, 5);
        for id in 0..40 {
            enter(&mut boots, [id; 16], Duration::ZERO);
        }
        assert_eq!(boots.len(), BOOTS_MAX, "the list is bounded");
    }
}
