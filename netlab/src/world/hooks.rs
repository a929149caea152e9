//! What hooks say they do: lines on a pipe of each gateway, told when they are read.
//!
//! A pipe is opened before any gateway boots and read to the end of the run, so a program that
//! writes never waits for a reader. A line that no hook of the lab writes is told as a hole in the
//! evidence. Limit: the time is that of the reading, 2 ms after the writing at most while the world
//! does nothing else.

use std::fs::File;
use std::io::{ErrorKind, Read as _};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use steadfast_core::hooks::Level;
use steadfast_core::{Epoch, NodeId};
use steadfast_scenarios::format::Plan;
use steadfast_scenarios::trace::{EventKind, HookPhase};

use crate::daemons::programs::HOOK_PIPE;
use crate::error::{Doing as _, LabError};
use crate::lab::Lab;

/// Most bytes of a line; a longer one is none of ours.
const LINE_MAX: usize = 512;

/// The pipes of all gateways.
pub(super) struct Pipes(Vec<Pipe>);

struct Pipe {
    gateway: NodeId,
    file: File,
    /// What of a line was read.
    rest: Vec<u8>,
}

impl Pipes {
    /// One for each gateway, where the plan has hooks.
    ///
    /// # Errors
    /// When one cannot be made.
    pub(super) fn open(plan: &Plan, lab: &mut Lab) -> Result<Self, LabError> {
        let mut pipes = Vec::new();
        let gateways = plan.layout.gateways.iter();
        for gateway in gateways.filter(|_| !plan.cluster.hooks.is_empty()) {
            let Some(machine) = lab.machine(gateway.id) else {
                continue;
            };
            let path = machine.place().join("etc").join(HOOK_PIPE);
            let owner = Mode::RUSR | Mode::WUSR;
            // Open for writing as well, it has no end while nobody writes.
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let made = mknodat(CWD, &path, FileType::Fifo, owner, 0);
            let opened = made.and_then(|()| open(&path, flags, Mode::empty()));
            let opened = opened.map_err(std::io::Error::from);
            let file = opened.doing(|| format!("make {}", path.display()))?;
            pipes.push(Pipe {
                gateway: gateway.id,
                file: file.into(),
                rest: Vec::new(),
            });
        }
        Ok(Self(pipes))
    }

    /// What was said since the last call; what no hook says, in words.
    pub(super) fn read(&mut self) -> Vec<Result<EventKind, String>> {
        self.0.iter_mut().flat_map(Pipe::read).collect()
    }
}

impl Pipe {
    fn read(&mut self) -> Vec<Result<EventKind, String>> {
        let mut chunk = [0; LINE_MAX];
        let mut said = Vec::new();
        loop {
            match (&self.file).read(&mut chunk) {
                Ok(0) => return said,
                Ok(length) => self.rest.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return said,
                Err(error) => {
                    said.push(Err(format!(
                        "the hooks of {} are not heard: {error}",
                        self.gateway
                    )));
                    return said;
                }
            }
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                let told = told(self.gateway, line.trim_end());
                said.push(told.ok_or_else(|| format!("a hook of {} said {line:?}", self.gateway)));
            }
            if self.rest.len() > LINE_MAX {
                self.rest.clear();
                said.push(Err(format!("a hook of {} says no line", self.gateway)));
            }
        }
    }
}

/// What a line tells.
fn told(gateway: NodeId, line: &str) -> Option<EventKind> {
    let mut words = line.split(' ');
    let phase = match words.next()? {
        "began" => HookPhase::Began,
        "done" => HookPhase::Done,
        "failed" => HookPhase::Failed,
        _ => return None,
    };
    let hook = words.next()?.to_owned();
    let level = match words.next()? {
        "active" => Level::Active,
        "standby" => Level::Standby,
        _ => return None,
    };
    let epoch = Epoch(words.next()?.parse().ok()?);
    let again = words.next()? == "1";
    words.next().is_none().then_some(EventKind::Hook {
        gateway,
        hook,
        level,
        epoch,
        again,
        phase,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// lab: a hook's line is what it says, and no other line is
    #[test]
    fn hook_lines_are_read() {
        let expected = EventKind::Hook {
            gateway: NodeId(2),
            hook: "uplink".to_owned(),
            level: Level::Active,
            epoch: Epoch(7),
            again: true,
            phase: HookPhase::Began,
        };
        assert_eq!(told(NodeId(2), "began uplink active 7 1"), Some(expected));
        for line in [
            "",
            "began uplink active 7",
            "began uplink owner 7 0",
            "began uplink active x 0",
            "ended uplink active 7 0",
            "done uplink standby 7 0 0",
        ] {
            assert_eq!(told(NodeId(2), line), None, "{line}");
        }
    }
}
