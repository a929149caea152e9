//! A test's own network namespace: nothing of it touches the host, and nothing of it stays.
//!
//! A test starts itself again as a child process that lives in fresh namespaces: root takes a
//! network namespace alone, an ordinary user a user namespace around it. Where the kernel refuses,
//! the test says so and counts as not run.

#![expect(
    unsafe_code,
    reason = "a child enters namespaces between fork and exec"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Says to the child which test it is.
const INSIDE: &str = "STEADFAST_TEST_INSIDE";

/// Whether this is the child in its own namespace, so that the test may go on. In the parent the
/// child runs first, and must have run exactly this one test.
#[macro_export]
macro_rules! inside_own_namespace {
    ($test:literal) => {
        $crate::common::inside(concat!(module_path!(), "::", $test))
    };
}

/// See [`inside_own_namespace`].
pub(crate) fn inside(path: &str) -> bool {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == path) {
        ip("link set lo up");
        return true;
    }
    let test = path.split_once("::").map_or(path, |(_, test)| test);
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(INSIDE, path);
    let output = match enter_namespaces(&mut command).output() {
        Ok(output) => output,
        Err(error) => {
            println!("not run: needs user and network namespaces, or root: {error}");
            return false;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test} failed in its namespace");
    assert!(text.contains("1 passed"), "{test} is no test's name");
    false
}

/// Runs `ip` of iproute2, which must succeed; `arguments` are parted by blanks.
pub(crate) fn ip(arguments: &str) {
    let run = Command::new("ip")
        .args(arguments.split_whitespace())
        .status();
    let status = run.expect("this test needs iproute2");
    assert!(status.success(), "ip {arguments}");
}

/// What `ip` prints.
pub(crate) fn ip_says(arguments: &str) -> String {
    let run = Command::new("ip")
        .args(arguments.split_whitespace())
        .output();
    let output = run.expect("this test needs iproute2");
    assert!(output.status.success(), "ip {arguments}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A second network namespace: the other end of a cable.
pub(crate) struct Far(Child);

impl Far {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let mut command = Command::new("sleep");
        command.arg("60").stdout(Stdio::null());
        // SAFETY: between fork and exec the child makes one system call.
        unsafe { command.pre_exec(|| unshare(libc::CLONE_NEWNET)) };
        Self(command.spawn().expect("a namespace within ours"))
    }

    /// Names it to `ip link ... netns`.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// A program to run there.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-n", "-t", &self.pid().to_string()])
            .arg(program);
        command
    }

    /// Runs `ip` there.
    pub(crate) fn ip(&self, arguments: &str) {
        let mut command = self.command("ip");
        let status = command.args(arguments.split_whitespace()).status();
        let status = status.expect("this test needs nsenter of util-linux");
        assert!(status.success(), "far ip {arguments}");
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A runtime as the driver has one, on this thread.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

fn enter_namespaces(command: &mut Command) -> &mut Command {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/gid_map", format!("0 {} 1", group.as_raw())),
        ("/proc/self/uid_map", format!("0 {} 1", user.as_raw())),
    ];
    let enter = move || {
        if user.is_root() {
            return unshare(libc::CLONE_NEWNET);
        }
        unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)?;
        maps.iter()
            .try_for_each(|(path, map)| std::fs::write(path, map))
    };
    // SAFETY: the child has one thread; it makes system calls and writes files, no more.
    unsafe { command.pre_exec(enter) }
}

fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: a system call without pointers.
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
