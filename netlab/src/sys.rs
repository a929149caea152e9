//! The few calls that no safe crate offers, each behind a safe function: all unsafe code of the
//! lab.
//!
//! [`spawn`] is the heart: one `clone3` from a process that may have threads makes a child in new
//! namespaces, and the child readies itself and becomes another program. Between the two only calls
//! that are safe in a signal handler are made, because other threads may have held any lock at that
//! moment: whatever needs memory was prepared before. How far it came is told over a pipe as
//! (stage, errno); the end of the pipe means that nothing failed.

#![expect(unsafe_code, reason = "namespaces are entered between clone and exec")]

use std::ffi::{CStr, CString, OsStr};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::enter::Stage;

/// A child in namespaces of its own.
#[derive(Debug)]
pub(crate) struct Spawn<'a> {
    /// `CLONE_NEW...` flags.
    pub(crate) namespaces: i32,
    /// Map this one user and group to root inside: needed with `CLONE_NEWUSER`.
    pub(crate) map: Option<(u32, u32)>,
    /// Whether it dies with the calling *thread*.
    pub(crate) dies_with_us: bool,
    /// The network namespace to stand in, if not the present or a new one.
    pub(crate) net: Option<BorrowedFd<'a>>,
    /// The program, by a path that is opened before anything is mounted.
    pub(crate) program: &'a CStr,
    /// Its arguments, the first being its name.
    pub(crate) args: Vec<CString>,
    /// Its environment, `NAME=value`.
    pub(crate) env: Vec<CString>,
    /// What becomes standard input, output and error; ours where absent.
    pub(crate) stdio: [Option<BorrowedFd<'a>>; 3],
    /// Descriptors that it inherits under their present numbers.
    pub(crate) keep: Vec<BorrowedFd<'a>>,
}

/// A child, as its parent holds it.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its number in our process namespace.
    pub(crate) pid: Pid,
    /// What can be waited for and signalled without mistaking it for another.
    pub(crate) pidfd: OwnedFd,
}

/// Starts a child. The program itself may go on reporting stages: it inherits the writing end of
/// the pipe under the number that replaces `{report}` in its arguments, and closes it when ready.
///
/// # Errors
/// The stage that failed, and what the kernel said; then no child is left.
pub(crate) fn spawn(spawn: &Spawn<'_>) -> Result<Child, (Stage, io::Error)> {
    let at_clone = |error: rustix::io::Errno| (Stage::Clone, error.into());
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(at_clone)?;
    let number = write.as_raw_fd().to_string();
    let own = |text: &CString| match text.to_str() {
        Ok("{report}") => CString::new(number.clone()).unwrap_or_default(),
        Ok(_) | Err(_) => text.clone(),
    };
    let args: Vec<CString> = spawn.args.iter().map(own).collect();
    let prepared = Prepared::new(spawn, &args, write.as_raw_fd());
    let mut pidfd: RawFd = -1;
    let request = CloneArgs {
        flags: (spawn.namespaces | libc::CLONE_PIDFD) as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    // SAFETY: the arguments live until the call returns; without CLONE_VM the child has its own
    // copy of all memory and only makes async-signal-safe calls in `become_program`.
    let pid =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const request, size_of::<CloneArgs>()) };
    if pid == 0 {
        // SAFETY: we are the child, which has one thread and never returns.
        unsafe { prepared.become_program() }
    }
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Err((Stage::Clone, io::Error::last_os_error()));
    };
    // SAFETY: clone3 succeeded, so it stored a descriptor that nobody else knows.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    drop(write);
    let mut message = Vec::new();
    let report = std::fs::File::from(read).take(8).read_to_end(&mut message);
    let child = Child { pid, pidfd };
    match (report, <[u8; 8]>::try_from(message)) {
        (Ok(_), Ok([s0, s1, s2, s3, e0, e1, e2, e3])) => {
            let stage = Stage::of(i32::from_ne_bytes([s0, s1, s2, s3]));
            let errno = i32::from_ne_bytes([e0, e1, e2, e3]);
            let _ =
                rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty());
            Err((stage, io::Error::from_raw_os_error(errno)))
        }
        (Ok(_), Err(_)) => Ok(child),
        (Err(error), _) => Err((Stage::Exec, error)),
    }
}

/// Text for [`Spawn`]; a text with a zero byte inside becomes empty, which no program accepts.
pub(crate) fn text(text: impl AsRef<OsStr>) -> CString {
    CString::new(text.as_ref().as_bytes()).unwrap_or_default()
}

/// Takes over a descriptor that our parent gave us by number.
///
/// # Errors
/// When no such descriptor is open.
pub(crate) fn inherited(number: &str) -> io::Result<OwnedFd> {
    let fd: RawFd = number.parse().map_err(io::Error::other)?;
    if fd <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: only looked at; the kernel answers whether it is open.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and our parent opened it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor whose owner only tells its number.
pub(crate) fn borrowed<T: AsRawFd>(owner: &T) -> BorrowedFd<'_> {
    // SAFETY: the owner holds it open for as long as it is borrowed.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

/// A request about an interface.
fn request(name: &str) -> libc::ifreq {
    // SAFETY: all zero bytes are a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request
}

/// Asks whether an interface is set up, in the namespace of this socket; unlike asking for carrier
/// this waits for no lock.
pub(crate) fn is_set_up(socket: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    let mut request = request(name);
    // SAFETY: the kernel writes flags into the request, which lives on.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: of the union the kernel has just filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(libc::c_int::from(flags) & libc::IFF_UP != 0)
}

/// Asks whether an interface has carrier, in the namespace of this socket. Asking also makes the
/// kernel carry out at once what it has put off for this interface.
pub(crate) fn has_carrier(socket: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    let mut value: [u32; 2] = [ETHTOOL_GLINK, 0];
    let mut request = request(name);
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request names a buffer of the size that ETHTOOL_GLINK fills, and both live on.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value[1] != 0)
}

/// Tries to make the calling thread a real-time one, which it stays.
///
/// # Errors
/// What the kernel says.
pub(crate) fn try_realtime() -> io::Result<()> {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: only reads the parameter, and changes nothing but this thread's scheduling.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks that the calling thread waits for nobody but real-time ones; its children are as ordinary
/// as ever. Without it what it does may come late on a busy machine.
pub(crate) fn run_early() {
    let policy = libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK;
    let ordinary = libc::sched_param { sched_priority: 0 };
    // SAFETY: only reads the parameter, and changes nothing but this thread's scheduling.
    let reset = unsafe { libc::sched_setscheduler(0, policy, &raw const ordinary) == 0 };
    // SAFETY: plain numbers; 0 is the calling thread.
    let _ = reset && unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) == 0 };
}

/// Children started from now on stand in a time namespace of their own.
///
/// # Errors
/// What the kernel says.
pub(crate) fn new_time_namespace() -> io::Result<()> {
    // SAFETY: changes nothing but what later children see.
    match unsafe { libc::unshare(libc::CLONE_NEWTIME) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The program is started by a copy of this process, not by one that shares its memory until then:
/// kernels such as 6.1 refuse the latter a time namespace of its own (`EINVAL`).
pub(crate) fn by_a_copy(command: &mut Command) -> &mut Command {
    // SAFETY: nothing is done between fork and exec; that anything might be is what makes a copy.
    unsafe { command.pre_exec(|| Ok(())) }
}

/// Sends a signal to every process of our process namespace but ourselves; as the first process of
/// it, that is everybody. None being there is no error.
pub(crate) fn signal_everybody(signal: i32) {
    // SAFETY: kill has no memory effects.
    unsafe { libc::kill(-1, signal) };
}

/// Get link status; see `linux/ethtool.h`.
const ETHTOOL_GLINK: u32 = 0x0a;

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Everything the child needs, so that it need not ask for memory.
struct Prepared<'a> {
    program: &'a CStr,
    args: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    maps: Option<[(Stage, &'static CStr, CString); 3]>,
    dies_with_us: bool,
    net: Option<RawFd>,
    stdio: [Option<RawFd>; 3],
    keep: Vec<RawFd>,
    report: RawFd,
}

impl<'a> Prepared<'a> {
    fn new(spawn: &'a Spawn<'_>, args: &'a [CString], report: RawFd) -> Self {
        let pointers = |texts: &[CString]| {
            let pointers = texts.iter().map(|text| text.as_ptr());
            pointers.chain([std::ptr::null()]).collect()
        };
        let map = |id: u32| CString::new(format!("0 {id} 1")).unwrap_or_default();
        Self {
            program: spawn.program,
            args: pointers(args),
            env: pointers(&spawn.env),
            maps: spawn.map.map(|(user, group)| {
                [
                    (Stage::Setgroups, c"/proc/self/setgroups", c"deny".into()),
                    (Stage::GidMap, c"/proc/self/gid_map", map(group)),
                    (Stage::UidMap, c"/proc/self/uid_map", map(user)),
                ]
            }),
            dies_with_us: spawn.dies_with_us,
            net: spawn.net.map(|net| net.as_raw_fd()),
            stdio: spawn.stdio.map(|fd| fd.map(|fd| fd.as_raw_fd())),
            keep: spawn.keep.iter().map(AsRawFd::as_raw_fd).collect(),
            report,
        }
    }

    /// In the child: gets ready, and becomes the program or reports and ends.
    ///
    /// # Safety
    /// Only in a child that was just cloned, which has one thread.
    unsafe fn become_program(&self) -> ! {
        // SAFETY: passed on from the caller.
        let stage = unsafe { self.try_become() };
        // SAFETY: errno is this thread's own; write and _exit are async-signal-safe.
        unsafe {
            let message = [stage as i32, *libc::__errno_location()];
            libc::write(self.report, message.as_ptr().cast(), 8);
            libc::_exit(127)
        }
    }

    /// Returns the stage that failed; on success it does not return.
    ///
    /// # Safety
    /// As [`Self::become_program`].
    unsafe fn try_become(&self) -> Stage {
        // SAFETY: every call is async-signal-safe and every pointer outlives it; the strings were
        // made before the clone, and the arrays of pointers end with a null pointer.
        unsafe {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            for (stage, path, text) in self.maps.iter().flatten() {
                let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                let bytes = text.to_bytes();
                if fd < 0 || libc::write(fd, bytes.as_ptr().cast(), bytes.len()) < 0 {
                    return *stage;
                }
                libc::close(fd);
            }
            if self.dies_with_us && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                return Stage::DeathSignal;
            }
            if let Some(net) = self.net
                && libc::setns(net, libc::CLONE_NEWNET) < 0
            {
                return Stage::Net;
            }
            for (target, source) in (0..).zip(self.stdio) {
                if source.is_some_and(|source| libc::dup2(source, target) < 0) {
                    return Stage::Exec;
                }
            }
            for fd in self.keep.iter().chain([&self.report]) {
                libc::fcntl(*fd, libc::F_SETFD, 0);
            }
            libc::execve(self.program.as_ptr(), self.args.as_ptr(), self.env.as_ptr());
        }
        Stage::Exec
    }
}
