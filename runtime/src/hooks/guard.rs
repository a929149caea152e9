//! A hook's guard: ends it in time, whatever becomes of the daemon.
//!
//! It is the daemon's own binary, run again with a hidden argument, in a process group that it
//! shares with the hook. A daemon that stands still ends nothing, and one that was killed neither;
//! the guard does, and goes with what it ends. It also starts nothing that was ordered long ago: a
//! daemon may have stood still between its decision and this. The limit: what has left the group
//! (`setsid`, a service that was started) is not its own any more.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::process::{Signal, getpgrp, kill_process_group};

use crate::linux::clock::boottime_nanos;
use crate::program::{Stop, wait};

/// The hidden argument: `steadfastd hook START_BY MILLISECONDS PROGRAM ARGUMENTS…` runs
/// [`guard_main`]; the first is a time on the kernel's clock, nanoseconds.
pub const GUARD_ARGUMENT: &str = "hook";
/// It was too late to start anything.
pub(super) const TOO_LATE: u8 = 125;
/// A program that could not be started, as shells say it.
pub(super) const NOT_STARTED: u8 = 127;
/// A program ended by a signal ends so much above it, as shells say it.
const SIGNALLED: i32 = 128;

/// Runs a program, for so long at most, and ends as it does. To be called first in `main`, as the
/// leader of its process group.
pub fn guard_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let mut number = || arguments.next()?.to_str()?.parse::<u64>().ok();
    let (start_by, millis) = (number(), number());
    let (Some(start_by), Some(millis), Some(program)) = (start_by, millis, arguments.next()) else {
        return ExitCode::from(NOT_STARTED);
    };
    // The daemon must outlive a machine without memory; a hook need not. Where this is refused the
    // hook is only worth as much as the daemon.
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    if boottime_nanos() > start_by {
        return ExitCode::from(TOO_LATE);
    }
    let Ok(mut child) = Command::new(program).args(arguments).spawn() else {
        return ExitCode::from(NOT_STARTED);
    };
    match wait(&child, Duration::from_millis(millis), &Stop::default()) {
        Ok(true) => {}
        Ok(false) | Err(_) => {
            // This process is of the group, too.
            let _ = kill_process_group(getpgrp(), Signal::KILL);
        }
    }
    let status = child.wait().ok();
    let code = status.and_then(|status| {
        let signalled = || Some(SIGNALLED + status.signal()?);
        status.code().or_else(signalled)
    });
    let code = code.and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(NOT_STARTED))
}
