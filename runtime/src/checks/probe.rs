//! One run of a check: what is looked at, and what is wrong in words.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::age::Seen;
use super::{Probe, STACK_BYTES, connect, echo, route, script};
use crate::program::Stop;

/// Most processes that are looked at for a name.
const PROCESSES_MAX: usize = 65_536;

/// How long a program that was killed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_millis(250);

/// What a look found out: when the file changed last, where its age is asked for.
type Found = Result<Option<SystemTime>, String>;

/// What one run of a check leaves to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// A look that did not come back in its time; its answer is that of the run in which it comes.
    pending: Option<Receiver<Found>>,
    seen: Seen,
}

impl Probe {
    /// Runs it once; an error says what is wrong.
    pub(super) fn run(
        &self,
        timeout: Duration,
        stop: &Stop,
        memory: &mut Memory,
    ) -> Result<(), String> {
        match self {
            Self::Connect { to, speaks } => connect::run(*to, *speaks, timeout, stop),
            Self::Echo { to } => echo::run(*to, timeout, stop),
            // Killed it has a moment to be gone; one that is not has failed all the same.
            Self::Script { .. } => self
                .look_within(timeout, timeout + GONE_WITHIN, (stop, memory))
                .map(drop),
            Self::File { path, max_age } => {
                let found = self.look_within(timeout, timeout, (stop, &mut *memory))?;
                match (found, max_age) {
                    (Some(changed), Some(most)) => young(path, changed, *most, &mut memory.seen),
                    _ => Ok(()),
                }
            }
            Self::PidFile { .. } | Self::Process { .. } | Self::Route { .. } => {
                self.look_within(timeout, timeout, (stop, memory)).map(drop)
            }
        }
    }

    /// A look that the kernel may not let go again, as into a file system whose server is gone, or
    /// a program that waits for a dying disk: on a thread of its own, of which there is one at
    /// most.
    fn look_within(
        &self,
        timeout: Duration,
        patience: Duration,
        (stop, memory): (&Stop, &mut Memory),
    ) -> Found {
        let answer = match memory.pending.take() {
            Some(answer) => answer,
            None => self.begin_look(timeout, stop)?,
        };
        match answer.recv_timeout(patience) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => {
                memory.pending = Some(answer);
                Err(format!("no answer within {patience:?}"))
            }
            Err(RecvTimeoutError::Disconnected) => Err("ended without an answer".to_owned()),
        }
    }

    fn begin_look(&self, timeout: Duration, stop: &Stop) -> Result<Receiver<Found>, String> {
        let (told, answer) = sync_channel(1);
        let (probe, stop) = (self.clone(), stop.clone());
        let body = move || {
            // Nobody may want to know any more.
            let _ = told.send(probe.look(timeout, &stop));
        };
        let named = thread::Builder::new().name("look".to_owned());
        let started = named.stack_size(STACK_BYTES).spawn(body);
        started.map_err(|error| format!("no thread: {error}"))?;
        Ok(answer)
    }

    fn look(&self, timeout: Duration, stop: &Stop) -> Found {
        match self {
            Self::File { path, max_age } => return file(path, max_age.is_some()),
            Self::Process { name } => process(name),
            Self::PidFile { path } => pid_file(path),
            Self::Route { to, interface } => route::run(*to, interface.as_deref()),
            Self::Script { command } => script::run(command, timeout, stop),
            Self::Connect { .. } | Self::Echo { .. } => Ok(()),
        }?;
        Ok(None)
    }
}

/// Whether a file is there, and when it changed last, if that is asked for.
fn file(path: &Path, is_dated: bool) -> Found {
    let shown = path.display();
    let found = fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?;
    if !is_dated {
        return Ok(None);
    }
    let changed = found.modified();
    let changed = changed.map_err(|error| format!("{shown}: no time of change: {error}"))?;
    Ok(Some(changed))
}

fn young(path: &Path, changed: SystemTime, most: Duration, seen: &mut Seen) -> Result<(), String> {
    let age = seen.age(changed, Instant::now(), SystemTime::now);
    if age <= most {
        return Ok(());
    }
    let shown = path.display();
    Err(format!("{shown}: unchanged for {} s", age.as_secs()))
}

fn process(name: &str) -> Result<(), String> {
    let all = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    let is_it = |entry: io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        let number = path.file_name()?.to_str()?;
        number
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(())?;
        let called = fs::read_to_string(path.join("comm")).ok()?;
        (called.trim_end_matches('\n') == name && runs(&path)).then_some(())
    };
    let mut some = all.take(PROCESSES_MAX).filter_map(is_it);
    some.next().ok_or_else(|| format!("no process `{name}`"))
}

fn pid_file(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let number: Option<u32> = text
        .split_whitespace()
        .next()
        .and_then(|it| it.parse().ok());
    let number = number.ok_or_else(|| format!("{shown}: holds no process number"))?;
    if runs(&Path::new("/proc").join(number.to_string())) {
        return Ok(());
    }
    Err(format!("{shown}: process {number} does not run"))
}

/// Whether a process is there, and not only its remains.
fn runs(process: &Path) -> bool {
    let Ok(stat) = fs::read_to_string(process.join("stat")) else {
        return false;
    };
    // The name may hold anything; what follows its last bracket is the state.
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}
