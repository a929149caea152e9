//! A program that says by its end whether all is well.
//!
//! It runs in a process group of its own, without input or output and with a plain environment. If
//! it has not ended in time the whole group is killed: what it started must not pile up.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::Stop;
use crate::linux::clock::timespec;

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often a check that is not wanted any more is noticed.
const STOP_LOOK: Duration = Duration::from_millis(100);

pub(super) fn run(command: &[String], timeout: Duration, stop: &Stop) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no program")?;
    let started = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = started.map_err(|error| format!("{program}: {error}"))?;
    let ended = wait(&mut child, timeout, stop);
    if !matches!(ended, Ok(Some(_))) {
        kill(&mut child);
    }
    match ended {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("{program}: {}", words(status))),
        Ok(None) => Err(format!("{program}: no end within {timeout:?}")),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// Its end; none if it did not come in time.
fn wait(child: &mut Child, timeout: Duration, stop: &Stop) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + timeout;
    let process = Pid::from_child(child);
    let ends = pidfd_open(process, PidfdFlags::empty())?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || stop.is_over() {
            return Ok(None);
        }
        let left = timespec(left.min(STOP_LOOK));
        match poll(&mut [PollFd::new(&ends, PollFlags::IN)], Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn kill(child: &mut Child) {
    // A group that has ended by itself meanwhile is as good.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
