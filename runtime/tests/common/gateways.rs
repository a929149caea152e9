//! Two gateways in namespaces of their own, with the real daemon on each: LAN, WAN and a cable.
//!
//! ```text
//!   gw1  lan0 10.0.1.2 ──┐               ┌── lan0 10.0.1.3  gw2
//!        wan0 10.0.2.2 ──┼ lan  10.0.1.9 ┼── wan0 10.0.2.3
//!        ha0  ───────────┼ wan  10.0.2.9 ┼── ha0
//!             virtual: 10.0.1.1, 10.0.2.1
//! ```
//! The bridges `lan` and `wan` stand in the test's own namespace and have a station's address. What
//! a daemon says on standard error is what a story waits for; nothing is waited for longer than
//! [`WAIT`]. A gateway that is dropped takes its daemon and its keeper with it.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use steadfast::ctl::Client;

use super::common::{Far, ip, ip_says};

/// Longest wait for what must happen.
pub(crate) const WAIT: Duration = Duration::from_secs(15);
/// The virtual addresses of the pair, as `ip` shows them.
pub(crate) const VIRTUALS: [&str; 2] = ["10.0.1.1/32", "10.0.2.1/32"];

const SECRET: &str = "1 enforce 6b6e6f776e20746f206576657279207265616465722c206e6f7420726561";

/// The segments, with a gateway on each side.
pub(crate) fn pair() -> [Gateway; 2] {
    for (segment, third) in [("lan", 1), ("wan", 2)] {
        ip(&format!("link add {segment} type bridge"));
        ip(&format!("addr add 10.0.{third}.9/24 dev {segment}"));
        up(segment);
    }
    let gateways = [Gateway::new(1), Gateway::new(2)];
    let [a, b] = gateways.each_ref().map(|gateway| gateway.home.pid());
    ip(&format!(
        "link add ha0 netns {a} type veth peer name ha0 netns {b}"
    ));
    gateways
        .iter()
        .for_each(|gateway| gateway.home.ip("link set ha0 up"));
    gateways
}

/// Sets a device up, without IPv6.
pub(crate) fn up(name: &str) {
    let quiet = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
    fs::write(quiet, "1").expect("a setting");
    ip(&format!("link set {name} up"));
}

/// A gateway: its namespace, its folder, and what may run in it.
pub(crate) struct Gateway {
    pub(crate) id: u8,
    pub(crate) home: Far,
    pub(crate) folder: PathBuf,
}

impl Gateway {
    fn new(id: u8) -> Self {
        let home = Far::new();
        for (segment, port, third) in [("lan", "lan0", 1), ("wan", "wan0", 2)] {
            let (near, pid) = (format!("gw{id}-{segment}"), home.pid());
            ip(&format!(
                "link add {near} type veth peer name {port} netns {pid}"
            ));
            ip(&format!("link set {near} master {segment}"));
            up(&near);
            home.ip(&format!("addr add 10.0.{third}.{}/24 dev {port}", id + 1));
            home.ip(&format!("link set {port} up"));
        }
        home.ip("link set lo up");
        for near in ["lan", "wan"].map(|segment| format!("gw{id}-{segment}")) {
            let begun = Instant::now();
            // Until it has its queue, an interface drops what it is given without a word.
            while ip_says(&format!("link show {near}")).contains("qdisc noop ") {
                assert!(begun.elapsed() < WAIT, "{near} has no queue");
            }
        }
        let name = format!("steadfast-gw{id}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let gateway = Self { id, home, folder };
        gateway.write_secret(SECRET);
        gateway.configure(|text| text);
        gateway
    }

    /// The configuration's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("steadfast.toml")
    }

    /// Where its sockets are.
    pub(crate) fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    pub(crate) fn write_secret(&self, text: &str) {
        let path = self.folder.join("secret");
        fs::write(&path, format!("{text}\n")).expect("a secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    }

    /// Writes the configuration, changed by the story.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        fs::write(self.file(), change(self.configuration())).expect("a configuration");
    }

    fn configuration(&self) -> String {
        let (id, other) = (self.id, 3 - self.id);
        let (folder, run) = (self.folder.display(), self.run());
        let mut text = format!(
            "format = 1\n[cluster]\nid = \"5354454144464153544c414230303031\"\n\
             virtual_router = 51\nsecret_file = \"{folder}/secret\"\n\
             [node]\nid = {id}\nname = \"gw{id}\"\n\
             [[peer]]\nid = {other}\nname = \"gw{other}\"\n[peer.addresses]\n\
             lan0 = \"10.0.1.{0}\"\nwan0 = \"10.0.2.{0}\"\n",
            other + 1
        );
        for (number, port, third) in [(0, "lan0", 1), (1, "wan0", 2)] {
            let _ = write!(
                text,
                "[[port]]\ninterface = \"{port}\"\nnumber = {number}\n\
                 virtual = [\"10.0.{third}.1\"]\nneighbour = \"10.0.{third}.9\"\n"
            );
        }
        let _ = write!(
            text,
            "[[port]]\ninterface = \"ha0\"\nnumber = 2\ndirect = true\n\
             [timing]\ninitial_wait = \"0s\"\n\
             [daemon]\nstate_dir = \"{folder}/state\"\nruntime_dir = \"{}\"\n",
            run.display()
        );
        text
    }

    /// Starts the daemon.
    pub(crate) fn start(&self) -> Daemon {
        let mut command = self.home.command(env!("CARGO_BIN_EXE_steadfastd"));
        command.arg("--config").arg(self.file());
        Daemon::start(&mut command)
    }

    /// Starts it through other programs, named in front.
    pub(crate) fn start_by(&self, words: &[&str]) -> Daemon {
        let (first, rest) = words.split_first().expect("a program");
        let mut command = self.home.command(first);
        command
            .args(rest)
            .arg(env!("CARGO_BIN_EXE_steadfastd"))
            .arg("--config")
            .arg(self.file());
        Daemon::start(&mut command)
    }

    /// Runs the operator's command; whether it did, and all it said.
    pub(crate) fn ctl(&self, line: &str) -> (Option<i32>, String) {
        let mut command = self.home.command(env!("CARGO_BIN_EXE_steadfastctl"));
        command.arg("--socket").arg(self.run().join("control.sock"));
        let output = command
            .args(line.split_whitespace())
            .output()
            .expect("a command");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    /// Removes what is left, and says what that was.
    pub(crate) fn unfence(&self) -> (Option<i32>, String) {
        self.ctl(&format!("unfence --config {}", self.file().display()))
    }

    /// Status over the control socket.
    pub(crate) fn status(&self) -> Value {
        let client = Client::new(self.run().join("control.sock")).expect("a client");
        client.read("/v1/status").expect("a status")
    }

    /// Asks for the status until it is as wanted.
    pub(crate) fn status_when(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + WAIT;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "never: {what}: {status:#}");
        }
    }

    /// The addresses of this gateway, as `ip` shows them.
    pub(crate) fn addresses(&self) -> String {
        let mut command = self.home.command("ip");
        let output = command
            .args(["-o", "-4", "addr", "show"])
            .output()
            .expect("iproute2");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Whether it holds every virtual address; some alone are a failure.
    pub(crate) fn holds(&self) -> bool {
        let shown = self.addresses();
        let held = VIRTUALS.map(|address| shown.contains(address));
        assert_eq!(held[0], held[1], "both or none: {shown}");
        held[0]
    }

    /// Nothing of a daemon is left: no address, no table, no keeper, no lock, no socket.
    pub(crate) fn is_clean(&self) {
        assert!(!self.holds(), "no address is left");
        let left = ["control.sock", "keeper.sock", "steadfastd.lock"];
        for name in left.iter().map(|name| self.run().join(name)) {
            assert!(!name.exists(), "{} is left", name.display());
        }
        let (code, said) = self.unfence();
        assert_eq!(
            (code, said.as_str()),
            (Some(0), "nothing was there to remove\n")
        );
    }
}

/// A counter in a status.
pub(crate) fn count(status: &Value, name: &str) -> u64 {
    let found = status["daemon"]["counters"][name].as_u64();
    found.unwrap_or_else(|| panic!("no counter {name} in {status:#}"))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // A story may have left a broken one.
        self.configure(|text| text);
        let (_, said) = self.ctl(&format!(
            "unfence --force --config {}",
            self.file().display()
        ));
        if thread::panicking() {
            println!("gw{} left: {said}", self.id);
        }
        // A folder that stays harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A running daemon and what it said so far.
pub(crate) struct Daemon {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Daemon {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the daemon's program");
        let pipe = child.stderr.take().expect("a pipe");
        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let said = Vec::new();
        Self { child, lines, said }
    }

    /// Waits until it says this; gives the line. What came before is not looked at again.
    pub(crate) fn says(&mut self, text: &str) -> String {
        let deadline = Instant::now() + WAIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("`{text}` was never said:\n{}", self.said.join("\n"));
                }
            }
        }
    }

    /// The same, wherever among what it says.
    pub(crate) fn has_said(&mut self, text: &str) {
        if !self.said.iter().any(|line| line.contains(text)) {
            self.says(text);
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("a process to signal");
    }

    /// Waits until it has ended; gives its code and all that it said. A daemon closes its pipe when
    /// it ends (its keeper has no part in it).
    pub(crate) fn ends(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + WAIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("it does not end:\n{}", self.said.join("\n"));
                }
            }
        }
        let status = self.child.wait().expect("a child");
        (status, self.said.join("\n"))
    }

    /// As a crash.
    pub(crate) fn kill(self) {
        self.signal(rustix::process::Signal::KILL);
        let (status, said) = self.ends();
        assert!(!status.success(), "killed: {said}");
    }

    /// In order; it must succeed. Gives what it said.
    pub(crate) fn stop(self) -> String {
        self.signal(rustix::process::Signal::TERM);
        let (status, said) = self.ends();
        assert!(status.success(), "{status}: {said}");
        said
    }

    /// It must refuse to start, with this in what it says.
    pub(crate) fn refuses(self, code: i32, texts: &[&str]) {
        let (status, said) = self.ends();
        assert_eq!(status.code(), Some(code), "{said}");
        for text in texts {
            assert!(said.contains(text), "`{text}` in: {said}");
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("the daemon said:\n{}", self.said.join("\n"));
            self.lines.try_iter().for_each(|line| println!("{line}"));
        }
    }
}

/// All of a file.
pub(crate) fn text_of(path: &Path) -> String {
    let mut text = String::new();
    let mut file = fs::File::open(path).expect("a file");
    file.read_to_string(&mut text).expect("text");
    text
}
