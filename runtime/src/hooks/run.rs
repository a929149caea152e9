//! One run of a hook: its program, what it is told, and how it ended in words.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use steadfast_core::hooks::Call;

use super::guard::{GUARD_ARGUMENT, NOT_STARTED, TOO_LATE};
use super::{HookSpec, Whose, level_word};
use crate::program::{PATH, Stop, wait, words};

/// How much later than the daemon its guard ends a hook: who is awake says so.
const GUARD_LATER: Duration = Duration::from_millis(200);
/// How often it is looked whether a group that was ended is gone.
const GONE_LOOK: Duration = Duration::from_millis(50);

/// A run.
pub(super) struct Run {
    /// Of which list it is; a changed one numbers its runs anew.
    pub(super) list: u64,
    pub(super) number: u64,
    pub(super) call: Call,
    pub(super) spec: HookSpec,
    pub(super) whose: Whose,
    /// Then at the latest the program starts, on the kernel's clock in nanoseconds.
    pub(super) start_by: u64,
    pub(super) stop: Stop,
}

/// Its end.
pub(super) struct Ended {
    pub(super) list: u64,
    pub(super) number: u64,
    pub(super) name: String,
    pub(super) call: Call,
    pub(super) outcome: Result<(), String>,
}

impl Run {
    /// Until it has ended by itself, or nothing of its group runs any more.
    pub(super) fn carry_out(self) -> Ended {
        let outcome = self.watch();
        Ended {
            list: self.list,
            number: self.number,
            name: self.spec.name,
            call: self.call,
            outcome,
        }
    }

    fn watch(&self) -> Result<(), String> {
        let failed = |error| format!("failed to start its guard: {error}");
        let mut child = self.begin().map_err(failed)?;
        let longest = self.spec.timeout + GUARD_LATER + GUARD_LATER;
        let ended = wait(&child, longest, &self.stop);
        let pid = Pid::from_child(&child);
        // A guard that somebody killed has left its hook alone.
        let by_itself = matches!(ended, Ok(true)) && !was_killed(pid);
        if !by_itself {
            // While it is not buried its number is its own, and so is its group's.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let status = child.wait();
        if !by_itself {
            while has_members(pid) {
                thread::sleep(GONE_LOOK);
            }
        }
        let program = self.spec.command.first().map_or("", String::as_str);
        match (ended, status) {
            (Ok(true), Ok(status)) => verdict(program, status),
            (Ok(false), Ok(_)) => Err(format!("{program} was ended")),
            (Err(error), _) | (_, Err(error)) => Err(format!("{program}: {error}")),
        }
    }

    fn begin(&self) -> std::io::Result<Child> {
        let Whose { cluster, node, id } = &self.whose;
        let limit = self.spec.timeout + GUARD_LATER;
        Command::new("/proc/self/exe")
            .arg(GUARD_ARGUMENT)
            .arg(self.start_by.to_string())
            .arg(limit.as_millis().to_string())
            .args(&self.spec.command)
            .env_clear()
            .env("PATH", PATH)
            .env("STEADFAST_ROLE", level_word(self.call.level))
            .env("STEADFAST_EPOCH", self.call.epoch.to_string())
            .env("STEADFAST_AGAIN", u8::from(self.call.again).to_string())
            .env("STEADFAST_HOOK", &self.spec.name)
            .env("STEADFAST_CLUSTER", cluster)
            .env("STEADFAST_NODE", node)
            .env("STEADFAST_NODE_ID", id.to_string())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }
}

/// What the guard's end says of the program.
fn verdict(program: &str, status: ExitStatus) -> Result<(), String> {
    let is = |code: u8| status.code() == Some(code.into());
    if status.success() {
        return Ok(());
    }
    Err(if is(NOT_STARTED) {
        format!("{program} cannot be started, or ended with {NOT_STARTED}")
    } else if is(TOO_LATE) {
        format!("{program} was not started in time, or ended with {TOO_LATE}")
    } else {
        format!("{program} {}", words(status))
    })
}

/// Whether a child that has ended, and is not buried, was killed.
fn was_killed(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let status = waitid(WaitId::Pid(pid), options).ok().flatten();
    status.is_some_and(|status| status.killed() || status.dumped())
}

/// Whether anything of a process group still runs. Who is dead and not buried does not.
fn has_members(group: Pid) -> bool {
    let Ok(all) = fs::read_dir("/proc") else {
        return false;
    };
    let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let names = all.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut stats = names
        .filter(|name| is_number(name))
        .filter_map(|name| fs::read_to_string(format!("/proc/{name}/stat")).ok());
    stats.any(|stat| is_member(&stat, group))
}

/// Reads a line of `/proc/PID/stat` (proc(5)): after the name in brackets come state, parent and
/// process group.
fn is_member(stat: &str, group: Pid) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return false;
    };
    let mut fields = rest.split_ascii_whitespace();
    let runs = fields
        .next()
        .is_some_and(|state| !matches!(state, "Z" | "X"));
    let of = fields.nth(1).and_then(|field| field.parse::<i32>().ok());
    runs && of == Some(group.as_raw_nonzero().get())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names may hold brackets and spaces; the dead do not count.
    #[test]
    fn hook_group_members_are_found() {
        let group = Pid::from_raw(42).expect("a number");
        for (stat, member) in [
            ("7 (sh) S 1 42 42 0 -1", true),
            ("7 (a) b (c) D 1 42 42 0 -1", true),
            ("7 (sh) Z 1 42 42 0 -1", false),
            ("7 (42) S 42 41 42 0 -1", false),
            ("7 (sh", false),
            ("", false),
        ] {
            assert_eq!(is_member(stat, group), member, "{stat}");
        }
    }
}
