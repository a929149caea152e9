//! Programs that are run for an operator: waiting for their end, for so long, and words for it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::linux::clock::timespec;

/// Where programs are looked for.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often it is noticed that a program is not wanted any more.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// Whether what is run is still wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// It is not wanted any more.
    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// It is not wanted from now on.
    pub(crate) fn end(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Whether it ended in time; it is not buried yet.
pub(crate) fn wait(child: &Child, timeout: Duration, stop: &Stop) -> std::io::Result<bool> {
    let end = Instant::now() + timeout;
    let ends = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || stop.is_over() {
            return Ok(false);
        }
        let left = timespec(left.min(STOP_LOOK));
        match poll(&mut [PollFd::new(&ends, PollFlags::IN)], Some(&left)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

/// How it ended.
pub(crate) fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
