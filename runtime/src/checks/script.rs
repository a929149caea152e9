//! A program that says by its end whether all is well.
//!
//! It runs in a process group of its own, without input or output and with a plain environment.
//! When it has ended, or has not in time, the whole group is killed: what it started must not pile
//! up.

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
    let ended = wait(&child, timeout, stop);
    // While it is not buried its number is its own, and so is its group's. A group that has ended
    // by itself is as good.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let status = child.wait();
    match (ended, status) {
        (Ok(true), Ok(status)) if status.success() => Ok(()),
        (Ok(true), Ok(status)) => Err(format!("{program}: {}", words(status))),
        (Ok(false), Ok(_)) => Err(format!("{program}: no end within {timeout:?}")),
        (Err(error), _) | (_, Err(error)) => Err(format!("{program}: {error}")),
    }
}

/// Whether it ended in time; it is not buried yet.
fn wait(child: &Child, timeout: Duration, stop: &Stop) -> std::io::Result<bool> {
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

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
