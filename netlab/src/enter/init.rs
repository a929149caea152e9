//! `lab-init`: the first process of a lab. It makes the mounts, starts the worker, buries orphans,
//! and leaves with the worker; with its end the kernel ends every process of the lab.
//!
//! A thread waits on the leash, which the outermost process holds: if that dies, even by SIGKILL,
//! the leash ends and so does the lab. Limit: `/sys` is renewed where that is allowed and is the
//! host's otherwise; nothing of the lab reads it.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, ExitCode};
use std::thread;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{WaitOptions, wait};

use super::Stage;
use crate::sys;

/// Leaves with this code when the leash ended or nothing could be started.
const LEASH_ENDED: u8 = 125;

/// Makes the mounts, runs the worker, and gives back its code.
pub(super) fn main(args: &[OsString]) -> ExitCode {
    let [report, leash, program, rest @ ..] = args else {
        return ExitCode::from(LEASH_ENDED);
    };
    let inherited = |number: &OsString| sys::inherited(&number.to_string_lossy());
    let (Ok(report), Ok(leash)) = (inherited(report), inherited(leash)) else {
        return ExitCode::from(LEASH_ENDED);
    };
    if let Err(failed) = prepare(c"steadfast-lab") {
        return tell(report, &failed);
    }
    let child = match Command::new(program).args(rest).spawn() {
        Ok(child) => child,
        Err(error) => return tell(report, &(Stage::Worker, error)),
    };
    if let Err(failed) = watch(leash) {
        return tell(report, &failed);
    }
    drop(report);
    outlive(child.id())
}

/// Own mounts, `/proc`, `/run` and hostname.
pub(super) fn prepare(hostname: &core::ffi::CStr) -> Result<(), (Stage, io::Error)> {
    let at = |stage| move |error: rustix::io::Errno| (stage, error.into());
    let everything = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", everything).map_err(at(Stage::Private))?;
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", safe, None).map_err(at(Stage::Proc))?;
    // The host's view serves as well: the lab itself reads nothing below /sys.
    let _ = mount("sysfs", "/sys", "sysfs", safe, None);
    let careful = MountFlags::NOSUID | MountFlags::NODEV;
    mount("run", "/run", "tmpfs", careful, Some(c"mode=0755")).map_err(at(Stage::Run))?;
    rustix::system::sethostname(hostname.to_bytes()).map_err(at(Stage::Hostname))
}

/// Says what failed to whoever started us.
pub(super) fn tell(report: OwnedFd, (stage, error): &(Stage, io::Error)) -> ExitCode {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    let message = [(*stage as i32).to_ne_bytes(), errno.to_ne_bytes()].concat();
    // Nobody is left to tell when the pipe is broken.
    let _ = std::fs::File::from(report).write_all(&message);
    ExitCode::from(LEASH_ENDED)
}

/// Ends everything when the leash ends.
fn watch(leash: OwnedFd) -> Result<(), (Stage, io::Error)> {
    let wait = move || {
        let mut leash = std::fs::File::from(leash);
        // Nothing is ever written to it: a byte, an end and an error mean the same.
        let _ = leash.read(&mut [0]);
        std::process::exit(i32::from(LEASH_ENDED));
    };
    let thread = thread::Builder::new().name("leash".to_owned()).spawn(wait);
    thread.map(drop).map_err(|error| (Stage::Worker, error))
}

/// Buries whoever dies, until the worker does.
fn outlive(worker: u32) -> ExitCode {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().unsigned_abs() == worker => {
                let killed = || 128 + status.terminating_signal().unwrap_or_default();
                let code = status.exit_status().unwrap_or_else(killed);
                return ExitCode::from(u8::try_from(code).unwrap_or(LEASH_ENDED));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return ExitCode::from(LEASH_ENDED),
        }
    }
}
