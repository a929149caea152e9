//! A gateway as a machine: it boots, runs a daemon, is frozen, and loses its power.
//!
//! A boot is a first process ([`crate::enter`]) in a fresh network namespace, with its own boot id,
//! an uptime that starts at zero, and the state directory that every boot of this gateway shares.
//! That process is made beforehand, on a thread ([`Machine::ready`]), and a boot only wakes it.
//! The daemon is whatever program the [`Setup`] names. Machines know nothing of wires: who takes
//! the power away must first make everything stand still and the ports dark, or the dying sockets
//! say goodbye ([`crate::lab`]).
//!
//! The hard case is freezing: processes that start others while they are being stopped. They are
//! stopped in rounds until a round finds no new one. Limit: the kernel's part of a frozen box (ARP,
//! forwarding) goes on, so its wires are blocked as well; its clock cannot be stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::enter::{self, NODE_INIT, NodeEvent, NodeOrder, NodeSpec};
use crate::error::{Doing, LabError};
use crate::namespace::Namespace;
use crate::sys::{self, Child, Spawn};

/// Where the lab keeps what outlives a boot, one folder for each gateway.
const PLACE: &str = "/run/lab";
/// How often it is looked whether a first process is made.
const READY_ROUND: Duration = Duration::from_millis(1);
/// Most rounds of stopping processes; what starts others faster than that is not stopped whole, and
/// [`Machine::freeze`] says so.
const FREEZE_ROUNDS_MAX: usize = 100;

/// What a gateway runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The daemon and its arguments. It finds `/run/state`, `/run/steadfast` and `/run/etc`.
    pub argv: Vec<String>,
    /// What its environment has besides the lab's.
    pub env: BTreeMap<String, String>,
    /// What runs beside the daemon from each boot on, with arguments.
    pub others: Vec<Vec<String>>,
    /// What stands in `/run/etc`, by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether it is a foreign daemon that gives up where groups and owners cannot be changed: then
    /// such calls seem to succeed.
    pub foreign: bool,
    /// Whether the daemon turns forwarding on itself; else the kernel forwards from the start.
    pub forwards: bool,
}

/// What happened to a gateway's daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonEvent {
    /// It ended, with this code, or 128 and the signal.
    Ended(i32),
    /// It could not be started, for this errno.
    Refused(i32),
    /// It runs.
    Started,
}

/// What a daemon can be told without its knowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonOrder {
    /// Goes on after [`Self::Stop`].
    Cont,
    /// Is killed: a foreign one with all its processes, ours without the programs it runs.
    Kill,
    /// Is asked to end (SIGTERM).
    Quit,
    /// Is started, unless it runs.
    Start,
    /// Stands still: a foreign one with all its processes, ours without the programs it runs.
    Stop,
}

/// A gateway.
#[derive(Debug)]
pub struct Machine {
    name: String,
    setup: Setup,
    boots: u32,
    /// The first process of the next boot, as it is made.
    next: Option<JoinHandle<Result<Running, LabError>>>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    first: Child,
    control: OwnedFd,
    frozen: BTreeSet<i32>,
}

impl Machine {
    /// What it runs.
    pub const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// A machine without power, with an empty state directory.
    ///
    /// # Errors
    /// When its folders cannot be made.
    pub fn new(name: &str, setup: Setup) -> Result<Self, LabError> {
        let machine = Self {
            name: name.to_owned(),
            setup,
            boots: 0,
            next: None,
            running: None,
        };
        let make = || -> io::Result<()> {
            for folder in ["state", "run", "etc", "log"] {
                fs::create_dir_all(machine.place().join(folder))?;
            }
            for (file, content) in &machine.setup.files {
                write(&machine.place().join("etc").join(file), content)?;
            }
            Ok(())
        };
        make().doing(|| format!("make the folders of gateway {name}"))?;
        Ok(machine)
    }

    /// Changes what stands in `/run/etc`, for a daemon that runs and for those that start later.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn rewrite(&mut self, files: BTreeMap<String, Vec<u8>>) -> Result<(), LabError> {
        let folder = self.place().join("etc");
        for (file, content) in &files {
            let path = folder.join(file);
            write(&path, content).doing(|| format!("write {}", path.display()))?;
        }
        self.setup.files = files;
        Ok(())
    }

    /// Where its folders stand outside of it: `state`, `run` (its `/run/steadfast`), `etc`, `log`.
    pub fn place(&self) -> PathBuf {
        Path::new(PLACE).join(&self.name)
    }

    /// What its daemon wrote, in all boots; bounded.
    pub fn log(&self) -> PathBuf {
        self.place().join("log/daemon.log")
    }

    /// Its first process, seen from the lab; `/proc/<pid>/root` is what the gateway sees.
    pub fn pid(&self) -> Option<Pid> {
        self.running.as_ref().map(|running| running.first.pid)
    }

    /// Whether it has power.
    pub const fn powered(&self) -> bool {
        self.running.is_some()
    }

    /// Begins to make the first process of its next boot, in this namespace.
    ///
    /// # Errors
    /// When no thread can be had; what goes wrong on it, [`Self::boot`] tells.
    pub fn ready(&mut self, net: &Namespace) -> Result<(), LabError> {
        if self.next.is_some() {
            return Ok(());
        }
        self.boots += 1;
        let (spec, run) = (self.spec(), self.place().join("run"));
        let making = || format!("make gateway {} ready", spec.name);
        let net = net.as_fd().try_clone_to_owned().doing(making)?;
        let thread = thread::Builder::new().name("ready".to_owned());
        let make = {
            let spec = spec.clone();
            move || first_process(&spec, &run, net.as_fd())
        };
        self.next = Some(thread.spawn(make).doing(making)?);
        Ok(())
    }

    /// Waits until the first process of its next boot is made, or cannot be.
    pub fn await_ready(&self) {
        while self.next.as_ref().is_some_and(|next| !next.is_finished()) {
            thread::sleep(READY_ROUND);
        }
    }

    /// Boots in this namespace; the daemon is not started yet. Does nothing with power on.
    ///
    /// # Errors
    /// The stage that failed, with a cure.
    pub fn boot(&mut self, net: &Namespace) -> Result<(), LabError> {
        if self.running.is_some() {
            return Ok(());
        }
        self.ready(net)?;
        let next = self.next.take().map(JoinHandle::join);
        self.running = match next {
            Some(Ok(made)) => Some(made?),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => None,
        };
        self.tell(NodeOrder::Boot);
        Ok(())
    }

    /// Everything on it dies at once, and is buried by a thread of its own: a kernel takes tens of
    /// milliseconds for that, and another box may lose its power at the same time. Freeze it and
    /// make its ports dark before.
    pub fn cut(&mut self) {
        // What was made for a boot that does not come stands in a namespace that is left, too.
        let (running, next) = (self.running.take(), self.next.take());
        if let Some(running) = &running {
            running.kill();
        }
        if running.is_some() || next.is_some() {
            let burial = thread::Builder::new().name("burial".to_owned());
            // Without a thread it is buried here and now: dropping does it.
            let _ = burial.spawn(move || (running, next.map(JoinHandle::join)));
        }
    }

    /// Orders the daemon about. Without power nothing happens.
    pub fn order(&mut self, order: DaemonOrder) {
        self.tell(match order {
            DaemonOrder::Cont => NodeOrder::Cont,
            DaemonOrder::Kill => NodeOrder::Kill,
            DaemonOrder::Quit => NodeOrder::Quit,
            DaemonOrder::Start => NodeOrder::Start,
            DaemonOrder::Stop => NodeOrder::Stop,
        });
    }

    fn tell(&self, order: NodeOrder) {
        let Some(running) = &self.running else {
            return;
        };
        // A first process that is gone obeys nobody, which its end tells.
        let _ = send(&running.control, &[order as u8], SendFlags::empty());
    }

    /// What happened to the daemon since the last call, and what `CLOCK_MONOTONIC` showed then, in
    /// nanoseconds; never waits.
    pub fn poll_event(&mut self) -> Option<(DaemonEvent, u64)> {
        let running = self.running.as_ref()?;
        let mut packet = [0; NodeEvent::LEN];
        let (length, _) = recv(&running.control, &mut packet[..], RecvFlags::DONTWAIT).ok()?;
        let (event, at) = NodeEvent::of(packet.get(..length)?)?;
        let event = match event {
            NodeEvent::Ended(code) => DaemonEvent::Ended(code),
            NodeEvent::Refused(errno) => DaemonEvent::Refused(errno),
            NodeEvent::Started(_) => DaemonEvent::Started,
        };
        Some((event, at))
    }

    /// Stops every process on it. Block its wires as well: its kernel goes on.
    ///
    /// # Errors
    /// When processes were started faster than they could be stopped.
    pub fn freeze(&mut self) -> Result<(), LabError> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let first = running.first.pid.as_raw_nonzero().get();
        for _ in 0..FREEZE_ROUNDS_MAX {
            let found: Vec<i32> = below(first)
                .into_iter()
                .filter(|pid| !running.frozen.contains(pid))
                .collect();
            if found.is_empty() {
                return Ok(());
            }
            for pid in found {
                signal(pid, Signal::STOP);
                running.frozen.insert(pid);
            }
        }
        Err(io::Error::other("its processes multiply")).doing(|| format!("freeze {}", self.name))
    }

    /// Lets every process go on, also those that were stopped before.
    pub fn thaw(&mut self) {
        if let Some(running) = &mut self.running {
            for pid in core::mem::take(&mut running.frozen) {
                signal(pid, Signal::CONT);
            }
        }
    }

    fn spec(&self) -> NodeSpec {
        NodeSpec {
            name: self.name.clone(),
            place: self.place(),
            boot_id: self.boot_id(),
            fresh_uptime: fs::exists("/proc/self/ns/time").unwrap_or(false),
            foreign: self.setup.foreign,
            argv: self.setup.argv.clone(),
            env: self.setup.env.clone(),
            others: self.setup.others.clone(),
        }
    }

    /// Another for each boot of each gateway of each lab, in the kernel's form.
    fn boot_id(&self) -> String {
        let kernel = fs::read("/proc/sys/kernel/random/uuid").unwrap_or_default();
        let mut hash = blake3::Hasher::new();
        hash.update(self.name.as_bytes());
        hash.update(&self.boots.to_be_bytes());
        hash.update(&kernel);
        let hex = hash.finalize().to_hex();
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        format!(
            "{}-{}-4{}-8{}-{}",
            part(0, 8),
            part(8, 12),
            part(13, 16),
            part(17, 20),
            part(20, 32)
        )
    }
}

/// Makes the first process of a gateway; its `/run/steadfast`, seen from outside, is emptied.
fn first_process(spec: &NodeSpec, run: &Path, net: BorrowedFd<'_>) -> Result<Running, LabError> {
    let emptied = fs::remove_dir_all(run).and_then(|()| fs::create_dir(run));
    emptied.doing(|| format!("empty {}", run.display()))?;
    let text = serde_json::to_string(spec).map_err(io::Error::other);
    let text = text.doing(|| "write a gateway's description".to_owned())?;
    let (control, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .doing(|| "make a socket pair".to_owned())?;
    let number = theirs.as_raw_fd().to_string();
    let args = ["steadfast-lab", NODE_INIT, "{report}", &number, &text];
    let spawn = Spawn {
        namespaces: libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC,
        map: None,
        // The lab's own end takes everybody along, whichever thread made this one.
        dies_with_us: false,
        net: Some(net),
        program: c"/proc/self/exe",
        args: args.into_iter().map(sys::text).collect(),
        env: enter::environment(&[]),
        stdio: [None, None, None],
        keep: vec![theirs.as_fd()],
    };
    let first = sys::spawn(&spawn).map_err(|(stage, source)| LabError::Enter {
        cure: format!("gateway {} could not boot", spec.name),
        stage,
        source,
    })?;
    Ok(Running {
        first,
        control,
        frozen: BTreeSet::new(),
    })
}

impl Running {
    fn kill(&self) {
        // It fails only if it is gone already.
        let _ = rustix::process::pidfd_send_signal(&self.first.pidfd, Signal::KILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        // So does this.
        let _ = waitid(
            WaitId::PidFd(self.first.pidfd.as_fd()),
            WaitIdOptions::EXITED,
        );
    }
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

/// A process and all that descend from it.
fn below(first: i32) -> Vec<i32> {
    let mut found = vec![first];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        next += 1;
        let tasks = fs::read_dir(format!("/proc/{pid}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            let numbers = children.split_ascii_whitespace();
            found.extend(numbers.filter_map(|it| it.parse::<i32>().ok()));
        }
    }
    found
}

/// Writes a file for its owner alone; what begins like a script can be run.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mode = if content.starts_with(b"#!") {
        0o700
    } else {
        0o600
    };
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
