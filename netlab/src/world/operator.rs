//! What operators do: commands over the control socket, and changed files.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use steadfast_core::Instant;
use steadfast_scenarios::Subject;
use steadfast_scenarios::format::{CommandName, Span, Verb};

use super::{Agent, Eyes, World};
use crate::daemons::clocks::CLOCK_FILE;
use crate::daemons::programs::{check_file, fails_file, hang_file, takes_file};
use crate::daemons::steadfast::{CERTIFICATE, certificate};
use crate::error::{Doing as _, LabError};

impl<A: Agent + ?Sized, E: Eyes> World<'_, A, E> {
    pub(super) fn command(&mut self, subject: Subject, verb: &Verb, now: Instant) {
        let (Subject::Gateway(id), Verb::Command { command }) = (subject, verb) else {
            return;
        };
        let Some(run) = self.lab.machine(id).map(|it| it.place().join("run")) else {
            return;
        };
        // A daemon that does not obey shows in what expectations wait for.
        let obeyed = self.agent.command(id, &run, *command).is_ok();
        if obeyed && *command == CommandName::ClearPacified {
            let changes = self.reckonings.cleared(id);
            self.tell_barred(now, changes);
        }
    }

    pub(super) fn reload(&mut self, subject: Subject, verb: &Verb) -> Result<(), LabError> {
        let (Subject::Gateway(id), Verb::Reload(changes)) = (subject, verb) else {
            return Ok(());
        };
        let gateways = &self.plan.layout.gateways;
        let Some(gateway) = gateways.iter().find(|it| it.id == id) else {
            return Ok(());
        };
        let changed = changes.made_to(self.plan, &gateway.name);
        let setup = self.agent.setup(&changed, gateway);
        let mut setup = setup.map_err(LabError::Needs)?;
        // How a check goes is no part of a changed configuration.
        let checks = &self.plan.cluster.checks;
        for check in checks {
            setup.files.remove(&check_file(&check.name));
        }
        setup.files.remove(CLOCK_FILE);
        let Some(machine) = self.lab.machine(id) else {
            return Ok(());
        };
        machine.rewrite(setup.files)?;
        let run = machine.place().join("run");
        // One that takes it late, or not, shows in what expectations wait for.
        let _ = self.agent.reload(id, &run);
        Ok(())
    }

    /// A check fails, hangs, or passes: what it looks at goes, never ends, or comes back.
    pub(super) fn set_check(&mut self, subject: Subject, verb: &Verb) -> Result<(), LabError> {
        let (
            Subject::Gateway(id),
            Verb::Check {
                check,
                passes,
                hangs,
            },
        ) = (subject, verb)
        else {
            return Ok(());
        };
        let Some(machine) = self.lab.machine(id) else {
            return Ok(());
        };
        let folder = machine.place().join("etc");
        let file = folder.join(check_file(check));
        put(&folder.join(hang_file(check)), *hangs)?;
        put(&file, *passes)
    }

    /// The certificate's file is another one, or gone.
    pub(super) fn set_certificate(
        &mut self,
        subject: Subject,
        verb: &Verb,
    ) -> Result<(), LabError> {
        let (Subject::Gateway(id), Verb::Certificate { shows }) = (subject, verb) else {
            return Ok(());
        };
        let Some(machine) = self.lab.machine(id) else {
            return Ok(());
        };
        let folder = machine.place().join("etc");
        let file = folder.join(CERTIFICATE);
        if shows.is_empty() {
            return put(&file, false);
        }
        // Whoever looks this moment must not find half of it.
        let made = folder.join("renewed");
        fs::write(&made, certificate(shows))
            .and_then(|()| fs::rename(&made, &file))
            .doing(|| format!("change {}", file.display()))
    }

    /// A gateway's wall clock is set, or goes faster or slower.
    pub(super) fn set_clock(&mut self, subject: Subject, verb: &Verb) -> Result<(), LabError> {
        let Subject::Gateway(id) = subject else {
            return Ok(());
        };
        let place = self.place(id);
        let (Some(moved), Some(machine)) = (self.clocks[place].moved(verb), self.lab.machine(id))
        else {
            return Ok(());
        };
        self.clocks[place] = moved;
        let folder = machine.place().join("etc");
        let file = folder.join(CLOCK_FILE);
        // Whoever looks this moment must not find half of it.
        let made = folder.join("clock-set");
        fs::write(&made, moved.words())
            .and_then(|()| fs::rename(&made, &file))
            .doing(|| format!("change {}", file.display()))
    }

    /// How runs of a hook go that begin from now on.
    pub(super) fn set_hook(&mut self, subject: Subject, verb: &Verb) -> Result<(), LabError> {
        let (Subject::Gateway(id), Verb::Hook { hook, takes, fails }) = (subject, verb) else {
            return Ok(());
        };
        let Some(machine) = self.lab.machine(id) else {
            return Ok(());
        };
        let folder = machine.place().join("etc");
        let file = folder.join(takes_file(hook));
        // A program that begins this moment must not find half of it.
        let made = folder.join("takes");
        fs::write(&made, seconds(*takes))
            .and_then(|()| fs::rename(&made, &file))
            .doing(|| format!("change {}", file.display()))?;
        put(&folder.join(fails_file(hook)), *fails)
    }
}

/// How long a hook works, in the words of `sleep`.
fn seconds(takes: Span) -> String {
    format!("{}.{:06}\n", takes.0.as_secs(), takes.0.subsec_micros())
}

/// Whether a file is there from now on.
fn put(file: &Path, there: bool) -> Result<(), LabError> {
    let done = if there {
        fs::write(file, "")
    } else {
        match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    done.doing(|| format!("change {}", file.display()))
}
