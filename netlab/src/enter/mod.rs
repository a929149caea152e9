//! Entering a lab: from an ordinary process to namespaces in which everything is ours.
//!
//! ```text
//!  outermost process ── clone3(new namespaces) ──► lab-init   process 1: own mounts, /proc, /run
//!      │  holds the leash (a pipe)                    └─ worker    any program: builds and plays
//!      ▼                                                  ├─ node-init   process 1 of gateway a
//!  its end, however it comes, ends the leash              │   └─ daemon
//!  and with it lab-init and every process below           └─ node-init   ...
//! ```
//! All of these are the program that hosts the lab, started again as `/proc/self/exe` with a hidden
//! first argument; so its `main` must call [`entry`] before anything else. An ordinary user gets a
//! user namespace in which they are root; root gets none, because some things are refused in one
//! (`LAB_USERNS=1` makes root go the user's way). Nothing is left behind, because names, mounts and
//! interfaces live in namespaces that end with their last process.
//!
//! The hard case is the machine that refuses. It is never guessed from settings: we try, and the
//! [`Stage`] that failed together with errno and the settings gives the [cure](LabError::Enter).
//!
//! Limit: one user and one group are mapped. Programs that change their user fail inside, or are
//! told a lie ([`crate::machine::Setup::foreign`]).

mod cure;
mod init;
mod node;
mod service;

use core::fmt;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitIdOptions, getegid, geteuid, getpid, waitid};
use rustix::thread::gettid;

use crate::bench::LAB_LAP;
use crate::cost::LAB_COST;
use crate::doctor::LAB_DOCTOR;
use crate::error::LabError;
use crate::play::LAB_PLAY;
use crate::soak::LAB_SOAK;
use crate::sys::{self, Child, Spawn};
pub(crate) use node::{Event as NodeEvent, Order as NodeOrder, Spec as NodeSpec};

/// The hidden first arguments of a program that hosts labs.
pub(crate) const LAB_INIT: &str = "lab-init";
pub(crate) const NODE_INIT: &str = "node-init";
pub(crate) const NODE_SERVICE: &str = "node-service";
/// Set to `1`, root enters through a user namespace as an ordinary user must.
pub const USERNS_VARIABLE: &str = "LAB_USERNS";
/// How a program is told that it runs inside a lab.
pub const INSIDE_VARIABLE: &str = "LAB_INSIDE";

/// What the program is when it starts with a hidden first argument: call this first thing in
/// `main`, with the arguments after the program's own name, and leave with the code if there is
/// one.
pub fn entry<I: IntoIterator<Item = OsString>>(args: I) -> Option<ExitCode> {
    let mut args = args.into_iter();
    let first = args.next()?;
    let rest = args.collect::<Vec<_>>();
    if first == LAB_INIT {
        return Some(init::main(&rest));
    }
    if first == LAB_PLAY {
        return Some(crate::play::main());
    }
    if first == LAB_DOCTOR {
        return Some(crate::doctor::main());
    }
    if first == LAB_LAP {
        return Some(crate::bench::main());
    }
    if first == LAB_SOAK {
        return Some(crate::soak::main());
    }
    if first == LAB_COST {
        return Some(crate::cost::main());
    }
    if first == NODE_SERVICE {
        return Some(service::main(&rest));
    }
    (first == NODE_INIT).then(|| node::main(&rest))
}

/// Whether this process runs inside a lab already.
pub fn inside() -> bool {
    std::env::var_os(INSIDE_VARIABLE).is_some()
}

/// A program to run as the worker of a new lab.
#[derive(Debug)]
pub struct Entrance {
    program: OsString,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    stdio: [Option<OwnedFd>; 3],
    user: bool,
}

impl Entrance {
    /// Runs this program; `/proc/self/exe` is the calling one.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            variables: vec![(INSIDE_VARIABLE.into(), "1".into())],
            stdio: [None, None, None],
            user: wants_user_namespace(),
        }
    }

    /// With one argument more.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With this in its environment, besides what we have in ours.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// With these as standard input, output and error; ours where absent.
    #[must_use]
    pub fn stdio(mut self, stdio: [Option<OwnedFd>; 3]) -> Self {
        self.stdio = stdio;
        self
    }

    /// Through a user namespace or not, whatever the default would be; without one only root.
    #[must_use]
    pub fn user_namespace(mut self, wanted: bool) -> Self {
        self.user = wanted || !geteuid().is_root();
        self
    }

    /// Makes the lab and starts the program in it: 2 ms.
    ///
    /// Called on the process's first thread, the kernel also ends the lab should that thread end;
    /// on other threads, whose end means nothing, the leash alone does it.
    ///
    /// # Errors
    /// [`LabError::Enter`] with a cure, when the machine refuses.
    pub fn enter(self) -> Result<Entered, LabError> {
        let user = self.user;
        let failed = |(stage, source): (Stage, io::Error)| LabError::Enter {
            cure: cure::cure(stage, &source, user),
            stage,
            source,
        };
        let (held, leash) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed((Stage::Clone, error.into())))?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&held).to_string();
        let hidden = ["steadfast-lab", LAB_INIT, "{report}", number.as_str()];
        let args = hidden.iter().map(sys::text);
        let stdio = self.stdio.each_ref();
        let mut namespaces = libc::CLONE_NEWNS
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC;
        if user {
            namespaces |= libc::CLONE_NEWUSER;
        }
        let spawn = Spawn {
            namespaces,
            map: user.then(|| (geteuid().as_raw(), getegid().as_raw())),
            dies_with_us: gettid() == getpid(),
            net: None,
            program: c"/proc/self/exe",
            args: args
                .chain([sys::text(&self.program)])
                .chain(self.args.iter().map(sys::text))
                .collect(),
            env: environment(&self.variables),
            stdio: stdio.map(|fd| fd.as_ref().map(AsFd::as_fd)),
            keep: vec![held.as_fd()],
        };
        let child = sys::spawn(&spawn).map_err(failed)?;
        Ok(Entered {
            child,
            _leash: leash,
        })
    }
}

/// A lab in progress. Dropping it ends every process inside.
#[derive(Debug)]
pub struct Entered {
    child: Child,
    _leash: OwnedFd,
}

impl Entered {
    /// The lab's first process, seen from outside.
    pub const fn pid(&self) -> Pid {
        self.child.pid
    }

    /// Waits for the worker and gives back its exit code; 128 and the signal if it was killed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(self) -> io::Result<i32> {
        let exited = WaitIdOptions::EXITED;
        let status = loop {
            match waitid(
                rustix::process::WaitId::PidFd(self.child.pidfd.as_fd()),
                exited,
            ) {
                Ok(status) => break status,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };

        let signal = |status: &rustix::process::WaitIdStatus| status.terminating_signal();
        Ok(status.as_ref().map_or(0, |status| {
            let killed = || 128 + signal(status).unwrap_or_default();
            status.exit_status().unwrap_or_else(killed)
        }))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Both fail only where the lab has ended and was waited for.
        let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, Signal::KILL);
        let pidfd = rustix::process::WaitId::PidFd(self.child.pidfd.as_fd());
        let _ = waitid(pidfd, WaitIdOptions::EXITED);
    }
}

/// How far an entrance came: what failed, when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Stage {
    /// Making the namespaces.
    Clone = 1,
    /// Giving up the right to change groups.
    Setgroups,
    /// Mapping our group.
    GidMap,
    /// Mapping our user.
    UidMap,
    /// Asking to die with the parent.
    DeathSignal,
    /// Entering a network namespace.
    Net,
    /// Becoming the hosting program.
    Exec,
    /// Making all mounts private.
    Private,
    /// A fresh `/proc`.
    Proc,
    /// An own `/run`.
    Run,
    /// A hostname.
    Hostname,
    /// What a gateway's own state, time and identity are made of.
    Identity,
    /// Starting the worker.
    Worker,
}

impl Stage {
    const ALL: [Self; 13] = [
        Self::Clone,
        Self::Setgroups,
        Self::GidMap,
        Self::UidMap,
        Self::DeathSignal,
        Self::Net,
        Self::Exec,
        Self::Private,
        Self::Proc,
        Self::Run,
        Self::Hostname,
        Self::Identity,
        Self::Worker,
    ];

    /// The stage of this number, as a child reported it; a number that is none counts as the last.
    pub(crate) fn of(number: i32) -> Self {
        let known = Self::ALL.into_iter().find(|stage| *stage as i32 == number);
        known.unwrap_or(Self::Worker)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clone => "making namespaces",
            Self::Setgroups => "writing setgroups",
            Self::GidMap => "writing gid_map",
            Self::UidMap => "writing uid_map",
            Self::DeathSignal => "asking to die with the parent",
            Self::Net => "entering the network namespace",
            Self::Exec => "starting the hosting program again",
            Self::Private => "making mounts private",
            Self::Proc => "mounting proc",
            Self::Run => "mounting /run",
            Self::Hostname => "setting the hostname",
            Self::Identity => "giving the gateway its state and identity",
            Self::Worker => "starting the worker",
        })
    }
}

/// Whether we enter through a user namespace.
fn wants_user_namespace() -> bool {
    let asked = std::env::var_os(USERNS_VARIABLE).is_some_and(|value| value == OsStr::new("1"));
    asked || !geteuid().is_root()
}

/// Our environment with changes.
pub(crate) fn environment(changes: &[(OsString, OsString)]) -> Vec<CString> {
    let kept = std::env::vars_os().filter(|(name, _)| changes.iter().all(|(new, _)| new != name));
    let line = |(name, value): (OsString, OsString)| {
        let mut line = name;
        line.push("=");
        line.push(value);
        sys::text(line)
    };
    kept.chain(changes.iter().cloned()).map(line).collect()
}
