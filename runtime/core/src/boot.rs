//! What a node learns once, at start, and the guard against boot loops (D16, R12).
//!
//! A loop is counted in *uptime*: wall clocks lie after a power cut. The record of the current boot
//! is written at once and its uptime raised at 10, 30, 60, 120 and 300 s and when the window is
//! over, so after a cut the record says how long the box lived at least. Reboots and daemon
//! restarts are told apart by the kernel's boot id, and each has its limit: a daemon that dies
//! again and again is no better than a box that does. The limit of this guard: a box whose store
//! cannot be written forgets its boots.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Epoch, Instant};

/// Boots remembered; the oldest is forgotten. More than any sensible limit of the guard.
pub const BOOTS_MAX: usize = 16;

/// Restarts of the daemon remembered; the oldest is forgotten. More than any sensible limit.
pub const RESTARTS_MAX: usize = 16;

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
    /// The daemon's starts in this boot after a life that did not end in order, as uptimes in
    /// seconds, oldest first; at most [`RESTARTS_MAX`]. A life that ends in order ends the row.
    #[serde(default)]
    pub restarts: Vec<u64>,
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

/// Enters the current start into a record, and keeps its lists bounded.
pub fn enter(record: &mut Record, kernel_boot: [u8; 16], uptime: Duration) {
    let Record {
        boots, restarts, ..
    } = record;
    if let Some(last) = boots
        .last_mut()
        .filter(|last| last.kernel_boot == kernel_boot)
    {
        last.starts = last.starts.saturating_add(1);
        if last.clean {
            restarts.clear();
        } else {
            if restarts.len() >= RESTARTS_MAX {
                restarts.drain(..=restarts.len() - RESTARTS_MAX);
            }
            restarts.push(uptime.as_secs());
        }
        last.clean = false;
        last.uptime_s = last.uptime_s.max(uptime.as_secs());
        return;
    }
    restarts.clear();
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

/// How many restarts of the daemon lie within the window, if that is more than `limit`: a loop.
/// `now` is the uptime.
pub fn restart_loop(restarts: &[u64], limit: u32, window: Duration, now: Duration) -> Option<u32> {
    let since = now.saturating_sub(window).as_secs();
    let within = restarts.iter().filter(|at| **at >= since).count();
    let count = u32::try_from(within).unwrap_or(u32::MAX);
    (count > limit).then_some(count)
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
        let mut record = Record::default();
        for _ in 0..5 {
            enter(&mut record, [7; 16], Duration::from_secs(3));
        }
        let boots = &record.boots;
        assert_eq!(boots.len(), 1, "five starts in one boot are one boot");
        assert_eq!(boots[0].starts, 5);
        for id in 0..40 {
            enter(&mut record, [id; 16], Duration::ZERO);
        }
        assert_eq!(record.boots.len(), BOOTS_MAX, "the list is bounded");
    }

    /// The sixth restart within five minutes is one too many; a life that ended in order, another
    /// boot, and restarts that are long ago count nothing.
    #[test]
    fn boot_guard_bars_a_daemon_that_dies_again_and_again() {
        let mut record = Record::default();
        let mut start = |uptime_s: u64, boot: u8, clean: bool| {
            enter(&mut record, [boot; 16], Duration::from_secs(uptime_s));
            let now = Duration::from_secs(uptime_s);
            let found = restart_loop(&record.restarts, 5, WINDOW, now);
            if let Some(last) = record.boots.last_mut() {
                last.clean = clean;
            }
            (found, record.restarts.len())
        };
        for number in 0..6 {
            let restarts = usize::try_from(number).unwrap_or_default();
            assert_eq!(start(10 + number, 1, false), (None, restarts));
        }
        assert_eq!(start(16, 1, false), (Some(6), 6));
        assert_eq!(start(400, 1, true), (None, 7), "all but one are long ago");
        assert_eq!(start(401, 1, false), (None, 0), "it ended in order");
        assert_eq!(start(402, 1, false), (None, 1));
        assert_eq!(start(1, 2, false), (None, 0), "another boot");
        for _ in 0..40 {
            start(2, 2, false);
        }
        assert_eq!(record.restarts.len(), RESTARTS_MAX, "the list is bounded");
    }
}
