//! `node-init`: the first process of a gateway. It gives the gateway its own mounts, name, boot id,
//! uptime and state, waits until it has power, then starts, stops and buries the daemon as it is
//! ordered. It is made before the power comes, because a kernel that makes mounts for labs side by
//! side takes up to a second and more for each, and a boot takes as long as it always does.
//!
//! Inside, the gateway finds `/run/state` (kept from boot to boot), `/run/steadfast` (emptied at
//! each boot; the world outside sees it too, for control sockets) and `/run/etc` (configuration).
//! Orders and events are one small packet each on a socket pair with the worker. As process 1 it
//! can signal everything on the gateway at once, so a daemon of many processes is stopped whole.
//!
//! The hard case is a daemon that writes without end: its output is kept up to [`LOG_BYTES_MAX`]
//! and then thrown away, counted, and never makes it wait. Limit: the wall clock and the monotonic
//! clock are the host's; only the clock since boot starts anew.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::mount_bind;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, kill_process_group, pidfd_open, waitpid,
};
use serde::{Deserialize, Serialize};

use super::{Stage, init};
use crate::instruments::RunClock;
use crate::sys;

/// Most bytes of a daemon's output that one boot keeps; what comes after is thrown away and counted
/// in the log's last line.
pub(crate) const LOG_BYTES_MAX: u64 = 4 << 20;
/// Most output read at one time; the rest is read in the next round.
const CHUNK: usize = 64 << 10;
/// Orphans that nobody announces are buried this often.
const BURIAL: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// What a gateway is made of, from the worker to its first process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// Its hostname.
    pub(crate) name: String,
    /// Where its state stands outside: `state`, `run`, `etc`, `log`.
    pub(crate) place: PathBuf,
    /// What `/proc/sys/kernel/random/boot_id` says.
    pub(crate) boot_id: String,
    /// Whether its clock since boot starts at zero.
    pub(crate) fresh_uptime: bool,
    /// Whether changes of groups and owners seem to succeed.
    pub(crate) foreign: bool,
    /// The daemon and its arguments.
    pub(crate) argv: Vec<String>,
    /// What its environment has besides ours.
    pub(crate) env: BTreeMap<String, String>,
    /// What runs beside the daemon from each boot on, with arguments.
    pub(crate) others: Vec<Vec<String>>,
}

/// What the worker wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Order {
    /// Power has come: the clock since boot starts.
    Boot = b'b',
    /// The stopped daemon goes on.
    Cont = b'c',
    /// The daemon is killed: a foreign one with all its processes, ours without the programs that
    /// it runs.
    Kill = b'k',
    /// The daemon is asked to end.
    Quit = b'q',
    /// The daemon is started, unless it runs.
    Start = b's',
    /// The daemon stands still: a foreign one with all its processes, ours without the programs
    /// that it runs, which have process groups of their own.
    Stop = b'z',
}

/// What happened to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It ended with this code, or 128 and the signal.
    Ended(i32),
    /// It could not be started, for this errno.
    Refused(i32),
    /// It runs, under this number on the gateway.
    Started(i32),
}

impl Order {
    fn of(byte: u8) -> Option<Self> {
        let all = [
            Self::Boot,
            Self::Cont,
            Self::Kill,
            Self::Quit,
            Self::Start,
            Self::Stop,
        ];
        all.into_iter().find(|order| *order as u8 == byte)
    }
}

impl Event {
    pub(crate) const LEN: usize = 13;

    /// With what `CLOCK_MONOTONIC` shows, in nanoseconds: whoever reads it reads it late.
    fn bytes(self, at: u64) -> [u8; Self::LEN] {
        let (tag, number) = match self {
            Self::Ended(code) => (b'e', code),
            Self::Refused(errno) => (b'r', errno),
            Self::Started(pid) => (b's', pid),
        };
        let mut packet = [tag; Self::LEN];
        packet[1..5].copy_from_slice(&number.to_ne_bytes());
        packet[5..].copy_from_slice(&at.to_ne_bytes());
        packet
    }

    /// What a packet says, and the clock then; nothing for one that no first process sends.
    pub(crate) fn of(packet: &[u8]) -> Option<(Self, u64)> {
        let (tag, rest) = packet.split_first()?;
        let (number, at) = rest.split_first_chunk()?;
        let number = i32::from_ne_bytes(*number);
        let at = u64::from_ne_bytes(at.try_into().ok()?);
        let event = match tag {
            b'e' => Self::Ended(number),
            b'r' => Self::Refused(number),
            b's' => Self::Started(number),
            _ => return None,
        };
        Some((event, at))
    }
}

/// Readies the gateway, then obeys until the worker hangs up or the power fails.
pub(super) fn main(args: &[OsString]) -> ExitCode {
    let [report, control, spec] = args else {
        return ExitCode::FAILURE;
    };
    let inherited = |number: &OsString| sys::inherited(&number.to_string_lossy());
    let (Ok(report), Ok(control)) = (inherited(report), inherited(control)) else {
        return ExitCode::FAILURE;
    };
    let spec = serde_json::from_str::<Spec>(&spec.to_string_lossy());
    let spec = spec.map_err(|error| (Stage::Identity, io::Error::other(error)));
    let node = spec.and_then(|spec| Node::ready(spec, control));
    match node {
        Ok(mut node) => {
            drop(report);
            node.obey();
            ExitCode::SUCCESS
        }
        Err(failed) => init::tell(report, &failed),
    }
}

struct Node {
    spec: Spec,
    control: OwnedFd,
    log: Log,
    daemon: Option<(Child, OwnedFd)>,
    /// Why its clock could not be started: then no daemon is.
    clockless: Option<io::Error>,
}

impl Node {
    fn ready(spec: Spec, control: OwnedFd) -> Result<Self, (Stage, io::Error)> {
        let at = |stage| move |error: io::Error| (stage, error);
        let kept = ["state", "run", "etc"].map(|name| File::open(spec.place.join(name)));
        let log = Log::open(&spec.place.join("log/daemon.log")).map_err(at(Stage::Identity))?;
        let hostname = CString::new(spec.name.clone()).unwrap_or_default();
        init::prepare(&hostname)?;
        let inside = ["/run/state", "/run/steadfast", "/run/etc"];
        for (kept, inside) in kept.into_iter().zip(inside) {
            show(kept, inside).map_err(at(Stage::Identity))?;
        }
        identity(&spec).map_err(at(Stage::Identity))?;
        if spec.foreign {
            pretend().map_err(at(Stage::Identity))?;
        }
        Ok(Self {
            spec,
            control,
            log,
            daemon: None,
            clockless: None,
        })
    }

    fn obey(&mut self) {
        loop {
            let (orders, ended, output) = self.wait();
            if output {
                self.log.read();
            }
            if ended {
                self.bury();
            }
            if orders && !self.order() {
                return;
            }
            self.bury_orphans();
        }
    }

    /// Waits, and says what there is: orders, an end of the daemon, output.
    fn wait(&self) -> (bool, bool, bool) {
        let mut fds = vec![
            PollFd::new(&self.control, PollFlags::IN),
            PollFd::new(&self.log.read, PollFlags::IN),
        ];
        if let Some((_, pidfd)) = &self.daemon {
            fds.push(PollFd::new(pidfd, PollFlags::IN));
        }
        // An interrupted wait looks as if nothing was there, which the next one mends.
        let _ = poll(&mut fds, Some(&BURIAL));
        let there = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        (there(0), there(2), there(1))
    }

    /// Carries one order out; false when the worker has hung up.
    fn order(&mut self) -> bool {
        let mut byte = [0];
        let length = match recv(&self.control, &mut byte[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return true,
            Err(_) => return false,
        };
        match Order::of(byte[0]) {
            _ if length == 0 => return false,
            None => {}
            Some(Order::Boot) => {
                self.clockless = start_clock(&self.spec).err();
                self.start_others();
            }
            Some(Order::Cont) => self.halt(Signal::CONT),
            Some(Order::Kill) => self.halt(Signal::KILL),
            Some(Order::Quit) => self.quit(),
            Some(Order::Start) => self.start(),
            Some(Order::Stop) => self.halt(Signal::STOP),
        }
        true
    }

    fn start(&mut self) {
        if self.daemon.is_some() {
            return;
        }
        let started = self.spawn();
        if let Err(error) = &started {
            self.log.refused(&self.spec.argv, error);
        }
        self.tell(match &started {
            Ok((child, _)) => Event::Started(child.id().cast_signed()),
            Err(error) => Event::Refused(error.raw_os_error().unwrap_or(libc::EINVAL)),
        });
        self.daemon = started.ok();
    }

    /// Starts what runs beside the daemon; what cannot be started is told in the log.
    fn start_others(&mut self) {
        for argv in &self.spec.others {
            if let Err(error) = self.launch(argv) {
                self.log.refused(argv, &error);
            }
        }
    }

    fn spawn(&self) -> io::Result<(Child, OwnedFd)> {
        if let Some(errno) = self.clockless.as_ref().map(io::Error::raw_os_error) {
            return Err(io::Error::from_raw_os_error(errno.unwrap_or(libc::EIO)));
        }
        let child = self.launch(&self.spec.argv)?;
        let pid = Pid::from_child(&child);
        Ok((child, pidfd_open(pid, PidfdFlags::empty())?))
    }

    fn launch(&self, argv: &[String]) -> io::Result<Child> {
        let [program, args @ ..] = argv else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        sys::by_a_copy(&mut Command::new(program))
            .args(args)
            .envs(&self.spec.env)
            .current_dir("/run/state")
            .stdin(Stdio::null())
            .stdout(self.log.write.try_clone()?)
            .stderr(self.log.write.try_clone()?)
            // One that signals its process group must not meet whoever started the lab.
            .process_group(0)
            .spawn()
    }

    fn quit(&self) {
        if let Some((child, _)) = &self.daemon {
            // It may have ended this moment, which its pidfd tells.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
    }

    fn bury(&mut self) {
        let Some((child, _)) = &mut self.daemon else {
            return;
        };
        let Ok(Some(status)) = child.try_wait() else {
            return;
        };
        let killed = || 128 + status.signal().unwrap_or_default();
        let code = status.code().unwrap_or_else(killed);
        self.daemon = None;
        self.log.read();
        self.tell(Event::Ended(code));
    }

    /// Stops the daemon, lets it go on, or kills it.
    fn halt(&self, signal: Signal) {
        if self.spec.foreign {
            sys::signal_everybody(signal.as_raw());
        } else if let Some((child, _)) = &self.daemon {
            // As above.
            let _ = kill_process_group(Pid::from_child(child), signal);
        }
    }

    /// Buries whoever was left to us; never the daemon, whose end is told.
    fn bury_orphans(&self) {
        let own = self.daemon.as_ref().map(|(child, _)| child.id());
        let children = fs::read_to_string("/proc/self/task/1/children").unwrap_or_default();
        let numbers = children.split_ascii_whitespace();
        for number in numbers.filter_map(|number| number.parse::<u32>().ok()) {
            if own != Some(number) {
                // Those that live are buried in a later round.
                let _ = waitpid(Pid::from_raw(number.cast_signed()), WaitOptions::NOHANG);
            }
        }
    }

    fn tell(&self, event: Event) {
        // A worker that is gone takes us with it in a moment; a full queue means it does not read.
        let at = RunClock::start().origin();
        let _ = send(&self.control, &event.bytes(at), SendFlags::DONTWAIT);
    }
}

/// Shows a place of the world outside on the gateway.
fn show(kept: io::Result<File>, inside: &str) -> io::Result<()> {
    let kept = kept?;
    fs::create_dir_all(inside)?;
    let source = format!("/proc/self/fd/{}", kept.as_fd().as_raw_fd());
    Ok(mount_bind(source, inside)?)
}

/// A boot id of its own.
fn identity(spec: &Spec) -> io::Result<()> {
    fs::write("/run/boot_id", format!("{}\n", spec.boot_id))?;
    Ok(mount_bind(
        "/run/boot_id",
        "/proc/sys/kernel/random/boot_id",
    )?)
}

/// An uptime of its own, for all that is started from now on.
fn start_clock(spec: &Spec) -> io::Result<()> {
    if !spec.fresh_uptime {
        return Ok(());
    }
    sys::new_time_namespace()?;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // Minus `now`, written with nanoseconds that count upwards.
    let (seconds, nanos) = match now.tv_nsec {
        0 => (-now.tv_sec, 0),
        nanos => (-now.tv_sec - 1, 1_000_000_000 - nanos),
    };
    fs::write(
        "/proc/self/timens_offsets",
        format!("boottime {seconds} {nanos}\n"),
    )
}

/// Where only one user exists, changing to another is refused, and some daemons give up then. From
/// now on it seems to succeed and does nothing.
fn pretend() -> io::Result<()> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    let calls = [
        libc::SYS_setgroups,
        libc::SYS_fchown,
        libc::SYS_fchownat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lchown,
    ];
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(io::Error::other)?;
    let filter = SeccompFilter::new(
        calls.into_iter().map(|call| (call, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(0),
        arch,
    );
    let filter: BpfProgram = filter
        .and_then(TryInto::try_into)
        .map_err(io::Error::other)?;
    apply_filter(&filter).map_err(io::Error::other)
}

/// What the daemon writes.
struct Log {
    file: File,
    kept: u64,
    lost: u64,
    read: OwnedFd,
    write: OwnedFd,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read, true)?;
        Ok(Self {
            file: OpenOptions::new().create(true).append(true).open(path)?,
            kept: 0,
            lost: 0,
            read,
            write,
        })
    }

    /// Notes that a program cannot be started.
    fn refused(&mut self, argv: &[String], error: &io::Error) {
        let program = argv.first().map_or("", String::as_str);
        let _ = writeln!(self.file, "cannot start {program}: {error}");
    }

    /// Takes what there is, up to some chunks at a time.
    fn read(&mut self) {
        let mut chunk = vec![0; CHUNK];
        let Ok(length @ 1..) = rustix::io::read(&self.read, &mut chunk) else {
            return;
        };
        let room = LOG_BYTES_MAX.saturating_sub(self.kept);
        let kept = usize::try_from(room).unwrap_or(usize::MAX).min(length);
        let written = chunk
            .get(..kept)
            .map_or(Ok(()), |text| self.file.write_all(text));
        self.kept += kept as u64;
        let failed = if written.is_err() { kept } else { 0 };
        self.lost += (length - kept + failed) as u64;
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.lost > 0 {
            // The last words; a full disk may lose them too.
            let _ = writeln!(self.file, "... and {} bytes not kept", self.lost);
        }
    }
}
