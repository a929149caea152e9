//! What the processes of a gateway's daemon take: memory, and time of processors.
//!
//! Whose a process is its network namespace says, which every gateway has for itself. Time is the
//! scheduler's own count of nanoseconds, summed over threads; ticks would be too coarse for shares
//! of a tenth of a percent. Limit: what a process took that has ended meanwhile is lost, and what
//! the kernel does for it in interrupts is nobody's.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::fstat;
use serde::{Deserialize, Serialize};

use crate::enter::NODE_INIT;

/// What processes have taken so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes in memory: each process's own pages, and of shared ones the most that one has.
    pub resident: u64,
    /// Time of processors.
    pub processor: Duration,
}

/// What the daemon's processes in this network namespace have taken.
///
/// # Errors
/// When the namespace cannot be asked for its number.
pub(super) fn usage(net: impl AsFd) -> io::Result<Usage> {
    let (mut usage, mut shared) = (Usage::default(), 0);
    for process in processes(net)? {
        let (own, common) = resident(&process).unwrap_or_default();
        usage.resident += own;
        shared = shared.max(common);
        usage.processor += processor(&process);
    }
    usage.resident += shared;
    Ok(usage)
}

/// The daemon's processes in this network namespace, by their places in `/proc`.
///
/// # Errors
/// When the namespace cannot be asked for its number.
pub(crate) fn processes(net: impl AsFd) -> io::Result<Vec<PathBuf>> {
    let wanted = format!("net:[{}]", fstat(net)?.st_ino);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let process = entry.path();
        let inside = fs::read_link(process.join("ns/net"));
        if inside.is_ok_and(|it| it.as_os_str() == wanted.as_str()) && !is_ours(&process) {
            found.push(process);
        }
    }
    Ok(found)
}

/// Whether it is the gateway's first process, which is the lab's.
fn is_ours(process: &Path) -> bool {
    let words = fs::read(process.join("cmdline")).unwrap_or_default();
    let mut words = words.split(|byte| *byte == 0);
    words.nth(1) == Some(NODE_INIT.as_bytes())
}

/// Bytes of memory that a process has for itself, and that it shares.
fn resident(process: &Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(process.join("smaps_rollup")).ok()?;
    let sum = |prefix: &str| -> u64 {
        let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
        let kilobytes = lines.filter_map(|rest| rest.split_ascii_whitespace().nth(1)?.parse().ok());
        kilobytes.fold(0, |sum, it: u64| sum + it * 1_024)
    };
    Some((sum("Private_"), sum("Shared_")))
}

fn processor(process: &Path) -> Duration {
    let tasks = fs::read_dir(process.join("task"))
        .into_iter()
        .flatten()
        .flatten();
    let nanos = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This process is in its own namespace, takes memory, and more time the longer it works.
    #[test]
    fn cost_meter_sees_what_a_process_takes() {
        let net = fs::File::open("/proc/self/ns/net").unwrap();
        let before = processor(Path::new("/proc/self"));
        // Asking is work.
        while processor(Path::new("/proc/self")) == before {}
        let usage = usage(&net).unwrap();
        assert!(usage.resident > 100 << 10, "{usage:?}");
        assert!(usage.processor > Duration::ZERO);
        assert!(!is_ours(Path::new("/proc/self")));
    }
}
