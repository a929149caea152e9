//! One run of a hook: its program, what it is told, and how it ended in words.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use steadfast_core::hooks::Call;

use super::guard::{GUARD_ARGUMENT, NOT_STARTED};
use super::{HookSpec, Whose, level_word};
use crate::program::{PATH, Stop, wait, words};

/// How much later than the daemon its guard ends a hook: who is awake says so.
const GUARD_LATER: Duration = Duration::from_millis(200);

/// A run.
pub(super) struct Run {
    /// Of which list it is; a changed one numbers its runs anew.
    pub(super) list: u64,
    pub(super) number: u64,
    pub(super) hook: usize,
    pub(super) call: Call,
    pub(super) spec: HookSpec,
    pub(super) whose: Whose,
    pub(super) stop: Stop,
}

/// Its end, once nothing of it runs any more.
pub(super) struct Ended {
    pub(super) list: u64,
    pub(super) number: u64,
    pub(super) hook: usize,
    pub(super) name: String,
    pub(super) call: Call,
    pub(super) outcome: Result<(), String>,
}

impl Run {
    /// Until its end, or until it is stopped.
    pub(super) fn carry_out(self) -> Ended {
        let outcome = self.watch();
        Ended {
            list: self.list,
            number: self.number,
            hook: self.hook,
            name: self.spec.name,
            call: self.call,
            outcome,
        }
    }

    fn watch(&self) -> Result<(), String> {
        let program = self.spec.command.first().map_or("", String::as_str);
        let mut child = self
            .begin()
            .map_err(|error| format!("failed to start its guard: {error}"))?;
        let longest = self.spec.timeout + GUARD_LATER + GUARD_LATER;
        let began = Instant::now();
        let ended = wait(&child, longest, &self.stop);
        if !matches!(ended, Ok(true)) {
            // While it is not buried its number is its own, and so is its group's.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        }
        let status = child.wait();
        match (ended, status) {
            (Ok(true), Ok(status)) if status.success() => Ok(()),
            (Ok(true), Ok(status)) if status.code() == Some(NOT_STARTED.into()) => {
                Err(format!("{program} cannot be started"))
            }
            (Ok(true), Ok(status)) => Err(format!("{program} {}", words(status))),
            (Ok(false), Ok(_)) if began.elapsed() < self.spec.timeout => {
                Err(format!("{program} was ended: it is not wanted any more"))
            }
            (Ok(false), Ok(_)) => Err(format!("{program}: no end within {:?}", self.spec.timeout)),
            (Err(error), _) | (_, Err(error)) => Err(format!("{program}: {error}")),
        }
    }

    fn begin(&self) -> std::io::Result<Child> {
        let Whose { cluster, node, id } = &self.whose;
        let limit = self.spec.timeout + GUARD_LATER;
        Command::new("/proc/self/exe")
            .arg(GUARD_ARGUMENT)
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
