//! Whether frames wait behind ordinary programs: on kernels before 6.5 they may, under load.
//!
//! There the kernel's threads for deferred work (`ksoftirqd`) take received frames over once there
//! are many, are ordinary threads, and nothing else handles frames until they had their turn. All
//! that a judge goes by is late then, answers of living kernels too, while the judge itself runs
//! before everybody: two may own an address for as long. Played on 6.1, where it goes away with
//! threads that run in real time. What is found is told, with its cure; a daemon does not change
//! how its host schedules the kernel's threads by itself.
//!
//! Limit: in a container these threads cannot be seen, and nothing is said.

use std::fs;
use std::path::Path;

/// The first version whose kernel handles frames at once again, whatever these threads do.
const AT_ONCE_SINCE: (u32, u32) = (6, 5);
/// What their names begin with.
const NAME: &str = "ksoftirqd/";
/// Of the fields behind a thread's name the one that says how it is scheduled (`policy`).
const POLICY_AT: usize = 38;
/// `SCHED_OTHER`.
const ORDINARY: &str = "0";

/// What is to be said of this host, if anything.
pub fn note() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let late = version(&release).is_some_and(|version| version < AT_ONCE_SINCE);
    (late && has_ordinary_threads(Path::new("/proc"))).then(|| {
        format!(
            "on this kernel ({}) frames may wait behind ordinary programs when it is busy: let \
             its ksoftirqd threads run in real time (chrt --fifo --pid 49 PID, for each of pgrep \
             ^ksoftirqd/)",
            release.trim()
        )
    })
}

/// Major and minor of a release such as `6.1.0-57-cloud-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|other: char| !other.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

fn has_ordinary_threads(processes: &Path) -> bool {
    let processes = fs::read_dir(processes).into_iter().flatten().flatten();
    let stats = processes.filter_map(|it| fs::read_to_string(it.path().join("stat")).ok());
    stats.into_iter().any(|stat| is_ordinary_thread(&stat))
}

/// Whether a line of `/proc/PID/stat` is one of these threads, and an ordinary one.
fn is_ordinary_thread(stat: &str) -> bool {
    let named = stat
        .split_once('(')
        .and_then(|(_, rest)| rest.rsplit_once(") "));
    named.is_some_and(|(name, fields)| {
        name.starts_with(NAME) && fields.split(' ').nth(POLICY_AT) == Some(ORDINARY)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of this kernel, with field 41 last but eleven.
    fn stat(name: &str, policy: u32) -> String {
        let before = "S 2 0 0 0 -1 69238848 0 0 0 0 0 21 0 0 20 0 1 0 7 0 0 \
                      18446744073709551615 0 0 0 0 0 0 0 2147483647 0 1 0 0 17 0 49";
        format!("14 ({name}) {before} {policy} 0 0 0 0 0 0 0 0 0 0 0\n")
    }

    /// Versions are read from what distributions write behind them, or not at all.
    #[test]
    fn softirqs_versions_are_read_from_releases() {
        assert_eq!(version("6.1.0-57-cloud-amd64\n"), Some((6, 1)));
        assert_eq!(version("5.15-generic"), Some((5, 15)));
        assert_eq!(version("6.18.44"), Some((6, 18)));
        assert_eq!(version("unknown"), None);
    }

    /// Only these threads count, and only while they are ordinary ones.
    #[test]
    fn softirqs_only_ordinary_ksoftirqd_count() {
        assert!(is_ordinary_thread(&stat("ksoftirqd/0", 0)));
        assert!(!is_ordinary_thread(&stat("ksoftirqd/0", 1)), "SCHED_FIFO");
        assert!(!is_ordinary_thread(&stat("kthreadd", 0)));
        assert!(!is_ordinary_thread("nonsense"));
        assert!(!is_ordinary_thread("14 (ksoftirqd/0) S 2"));
    }
}
