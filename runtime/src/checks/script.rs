//! A program that says by its end whether all is well.
//!
//! It runs in a process group of its own, without input or output and with a plain environment.
//! When it has ended, or has not in time, the whole group is killed: what it started must not pile
//! up.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::program::{PATH, Stop, wait, words};

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
