//! VRRP among others: our router and one of keepalived or FRR on a LAN, each in both roles.
//!
//! Who serves is what a station on the LAN finds out: which station answers for the address. Every
//! pair goes the same way: the better one serves, dies, and is back; ends in order; and nothing
//! that was heard was refused for its form. A machine without a peer's programs does not run its
//! stories, and says so; `LAB_REQUIRED=1` makes that a failure. FRR's stories run for root alone,
//! required or not.
//!
//! FRR serves with the virtual MAC on a device of its own, and will run only as a member of its
//! group: as root it gets its own view of a few files, and an ordinary user cannot give it one.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};

use super::common::{ip, ip_says};
use super::gateways::{Daemon, WAIT};
use super::routers::{Machine, machines, reached};

const KEEPALIVED: &str = "/usr/sbin/keepalived";
const ZEBRA: &str = "/usr/lib/frr/zebra";
const VRRPD: &str = "/usr/lib/frr/vrrpd";

/// What both routers are.
#[derive(Clone, Copy)]
struct Kind {
    version: u8,
    ipv6: bool,
}

const V2: Kind = Kind {
    version: 2,
    ipv6: false,
};
const V3: Kind = Kind {
    version: 3,
    ipv6: false,
};
const V6: Kind = Kind {
    version: 3,
    ipv6: true,
};

impl Kind {
    const fn address(self) -> &'static str {
        if self.ipv6 { "fe80::51" } else { "10.0.1.1" }
    }

    /// Version 2 counts in seconds.
    const fn interval(self) -> &'static str {
        if self.version == 2 { "1s" } else { "100ms" }
    }

    fn ours(self, priority: u8) -> String {
        format!(
            "[[vrrp]]\ninterface = \"lan0\"\nvirtual_router = 51\nversion = {}\n\
             priority = {priority}\ninterval = \"{}\"\nvirtual = [\"{}\"]\n",
            self.version,
            self.interval(),
            self.address()
        )
    }
}

/// Another router's processes.
struct Peer {
    group: Child,
    machine: u32,
    device: Option<&'static str>,
    log: PathBuf,
}

impl Peer {
    fn start(mut command: Command, machine: &Machine, device: Option<&'static str>) -> Self {
        command.process_group(0).stdin(Stdio::null());
        let path = machine.folder.join("peer.log");
        let log = fs::File::create(&path).expect("a log");
        command
            .stderr(log.try_clone().expect("a descriptor"))
            .stdout(log);
        Self {
            group: command.spawn().expect("the peer's program"),
            machine: machine.home.pid(),
            device,
            log: path,
        }
    }

    /// A signal to all of its processes at once.
    fn signal(&self, signal: Signal) {
        let group = Pid::from_child(&self.group);
        kill_process_group(group, signal).expect("processes to signal");
    }

    /// As a crash. What it left in the kernel goes as well, for it has no fence: the box is dead.
    /// A child of keepalived's leads a group of its own, and would resign if its parent died first.
    fn kill(mut self, machine: &Machine) {
        let child = fs::read_to_string(machine.folder.join("vrrp.pid")).ok();
        let child = child.and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
        if let Some(child) = child {
            kill_process(child, Signal::KILL).expect("a process to signal");
        }
        self.signal(Signal::KILL);
        self.group.wait().expect("a child");
        let deadline = Instant::now() + WAIT;
        while child.is_some_and(|child| test_kill_process(child).is_ok()) {
            assert!(Instant::now() < deadline, "a killed process stays");
        }
        assert_eq!(machine.home.pid(), self.machine);
        match self.device {
            Some(device) => machine.home.ip(&format!("link del {device}")),
            None => machine.forget(),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!(
                "the peer said:\n{}",
                fs::read_to_string(&self.log).unwrap_or_default()
            );
        }
        // It may have ended already.
        let group = Pid::from_child(&self.group);
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.group.wait();
    }
}

impl Machine {
    /// Removes the virtual address that a killed peer left.
    fn forget(&self) {
        for (family, address) in [("-4", "10.0.1.1/32"), ("-6", "fe80::51/128")] {
            if self.holds(address) {
                self.home
                    .ip(&format!("{family} addr del {address} dev lan0"));
            }
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("peer.log")).unwrap_or_default()
    }
}

/// Which programs are missing.
fn missing(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs
        .iter()
        .filter(|it| !Path::new(it).exists())
        .collect();
    if missing.is_empty() {
        return false;
    }
    println!("not run: needs {missing:?}");
    assert!(
        std::env::var_os("LAB_REQUIRED").is_none(),
        "peers are required"
    );
    true
}

/// FRR cannot be given its group's files without root.
fn is_ordinary_user() -> bool {
    let ordinary = !rustix::process::geteuid().is_root();
    if ordinary {
        println!("not run: needs root for FRR's groups");
    }
    ordinary
}

fn keepalived(machine: &Machine, kind: Kind, priority: u8) -> Peer {
    let folder = machine.folder.display();
    let seconds = if kind.version == 2 { "1" } else { "0.1" };
    let address = kind.address();
    let prefix = if kind.ipv6 { 128 } else { 32 };
    let text = format!(
        "global_defs {{\n  vrrp_version {}\n  script_user root\n}}\n\
         vrrp_instance LAN {{\n  state BACKUP\n  interface lan0\n  virtual_router_id 51\n  \
         priority {priority}\n  advert_int {seconds}\n  virtual_ipaddress {{\n    \
         {address}/{prefix} dev lan0\n  }}\n}}\n",
        kind.version
    );
    let file = machine.folder.join("keepalived.conf");
    fs::write(&file, text).expect("a file");
    let mut command = machine.home.command(KEEPALIVED);
    command.args(["-n", "-l", "-D", "-P"]);
    command.arg(format!("--use-file={}", file.display()));
    for (option, name) in [("-p", "parent"), ("-r", "vrrp"), ("-c", "checkers")] {
        command.arg(option).arg(format!("{folder}/{name}.pid"));
    }
    Peer::start(command, machine, None)
}

fn frr(machine: &Machine, kind: Kind, priority: u8) -> Peer {
    let folder = machine.folder.display();
    let (device, mac, family, prefix) = if kind.ipv6 {
        ("vr6-51", "00:00:5e:00:02:33", "ipv6", 64)
    } else {
        ("vr4-51", "00:00:5e:00:01:33", "ip", 24)
    };
    let address = kind.address();
    machine.home.ip(&format!(
        "link add {device} link lan0 type macvlan mode bridge"
    ));
    machine
        .home
        .ip(&format!("link set {device} addrgenmode none"));
    // Else the kernel answers for the device's address on the link below it, whoever serves.
    let strict = "echo 1 >/proc/sys/net/ipv4/conf/lan0/arp_ignore";
    let status = machine.home.command("sh").args(["-c", strict]).status();
    assert!(status.expect("a shell").success());
    machine.home.ip(&format!("link set {device} address {mac}"));
    let nodad = if kind.ipv6 { " nodad" } else { "" };
    machine
        .home
        .ip(&format!("addr add {address}/{prefix} dev {device}{nodad}"));
    machine.home.ip(&format!("link set {device} up"));
    let millis = if kind.version == 2 { 1_000 } else { 100 };
    let text = format!(
        "interface lan0\n vrrp 51 version {}\n vrrp 51 priority {priority}\n \
         vrrp 51 advertisement-interval {millis}\n vrrp 51 {family} {address}\n!\n",
        kind.version
    );
    fs::write(machine.folder.join("vrrpd.conf"), text).expect("a file");
    // Its own view of who is in its group, and of folders that it insists on.
    let script = format!(
        "set -e\nmount --make-rprivate /\n\
         sed 's/^frrvty:.*/frrvty:x:0:root/' /etc/group >{folder}/group\n\
         mount --bind {folder}/group /etc/group\n\
         mkdir -p {folder}/etc\ntouch {folder}/etc/vtysh.conf\n\
         mount --bind {folder}/etc /etc/frr\nmount -t tmpfs none /var/tmp\ncd {folder}\n\
         for name in zebra vrrpd; do\n\
         file=/dev/null\n[ $name = zebra ] || file={folder}/vrrpd.conf\n\
         /usr/lib/frr/$name -u root -g root --vty_socket {folder} -z {folder}/zserv.api \
         -i {folder}/$name.pid -f $file --log stdout &\n\
         until [ -S {folder}/zserv.api ]; do sleep 0.02; done\n\
         done\nwait\n"
    );
    let mut command = machine.home.command("unshare");
    command.args(["-m", "sh", "-c", &script]);
    Peer::start(command, machine, Some(device))
}

type Start = fn(&Machine, Kind, u8) -> Peer;

/// Which station the address is found at.
fn holder(kind: Kind) -> Option<String> {
    if kind.ipv6 {
        ip("-6 neigh flush dev lan");
    }
    if !reached(kind.address()) {
        return None;
    }
    let shown = ip_says(&format!("neigh show {} dev lan", kind.address()));
    let mut words = shown.split_whitespace();
    words.find(|word| *word == "lladdr")?;
    words.next().map(str::to_owned)
}

/// Waits until the address is at a station of the first, and says so twice in a row.
fn serves(who: &str, kind: Kind, wanted: impl Fn(&str) -> bool, peer: &Machine) {
    let deadline = Instant::now() + WAIT;
    let mut found = None;
    let mut often = 0;
    while often < 2 {
        assert!(
            Instant::now() < deadline,
            "{who} does not serve: {found:?}; there:\n{}the peer's log:\n{}",
            peer.links(),
            peer.log()
        );
        found = holder(kind);
        often = if found.as_deref().is_some_and(&wanted) {
            often + 1
        } else {
            0
        };
    }
}

/// What our router counted of words that it did not understand: nothing.
fn understood(machine: &Machine) {
    let status = machine.status();
    let counters = status["routers"][0]["counters"].to_string();
    for word in ["refused", "other_", "own_words"] {
        assert!(!counters.contains(word), "{status:#}");
    }
}

/// Ours is the better one, and theirs stands in for it when it dies and when it ends.
fn ours_better(start: Start, kind: Kind) {
    let [a, b] = machines();
    let mac = a.mac();
    let ours = |found: &str| found == mac;
    let theirs = |found: &str| found != mac;
    let mut one = a.start(&kind.ours(200));
    one.says(": active: ");
    let _peer = start(&b, kind, 100);
    serves("ours", kind, ours, &b);
    one.kill();
    serves("theirs, after ours died", kind, theirs, &b);
    let mut one = a.start(&kind.ours(200));
    one.says(": active: ");
    serves("ours, back again", kind, ours, &b);
    understood(&a);
    one.stop();
    serves("theirs, after ours ended", kind, theirs, &b);
}

/// Theirs is the better one, and ours stands in for it when it dies and when it ends.
fn theirs_better(start: Start, kind: Kind) {
    let [a, b] = machines();
    let mac = a.mac();
    let ours = |found: &str| found == mac;
    let theirs = |found: &str| found != mac;
    let peer = start(&b, kind, 200);
    let mut one: Daemon = a.start(&kind.ours(100));
    one.says(": backup");
    serves("theirs", kind, theirs, &b);
    peer.kill(&b);
    one.says(": active: nobody better was heard in time");
    serves("ours, after theirs died", kind, ours, &b);
    let peer = start(&b, kind, 200);
    one.says(": backup: ");
    serves("theirs, back again", kind, theirs, &b);
    understood(&a);
    peer.signal(Signal::TERM);
    one.says(": active: ");
    if let Some(device) = peer.device {
        // FRR leaves it up when it ends, and its kernel answers on.
        b.home.ip(&format!("link del {device}"));
    }
    serves("ours, after theirs ended", kind, ours, &b);
    one.stop();
}

#[test]
fn interop_keepalived_v2_stands_in_for_ours() {
    if missing(&[KEEPALIVED]) || !inside_own_namespace!("interop_keepalived_v2_stands_in_for_ours")
    {
        return;
    }
    ours_better(keepalived, V2);
}

#[test]
fn interop_keepalived_v2_is_the_better_one() {
    if missing(&[KEEPALIVED]) || !inside_own_namespace!("interop_keepalived_v2_is_the_better_one") {
        return;
    }
    theirs_better(keepalived, V2);
}

#[test]
fn interop_keepalived_v3_stands_in_for_ours() {
    if missing(&[KEEPALIVED]) || !inside_own_namespace!("interop_keepalived_v3_stands_in_for_ours")
    {
        return;
    }
    ours_better(keepalived, V3);
}

#[test]
fn interop_keepalived_v3_is_the_better_one() {
    if missing(&[KEEPALIVED]) || !inside_own_namespace!("interop_keepalived_v3_is_the_better_one") {
        return;
    }
    theirs_better(keepalived, V3);
}

#[test]
fn interop_keepalived_ipv6_stands_in_for_ours() {
    if missing(&[KEEPALIVED])
        || !inside_own_namespace!("interop_keepalived_ipv6_stands_in_for_ours")
    {
        return;
    }
    ours_better(keepalived, V6);
}

#[test]
fn interop_keepalived_ipv6_is_the_better_one() {
    if missing(&[KEEPALIVED]) || !inside_own_namespace!("interop_keepalived_ipv6_is_the_better_one")
    {
        return;
    }
    theirs_better(keepalived, V6);
}

#[test]
fn interop_frr_v2_stands_in_for_ours() {
    if missing(&[ZEBRA, VRRPD])
        || is_ordinary_user()
        || !inside_own_namespace!("interop_frr_v2_stands_in_for_ours")
    {
        return;
    }
    ours_better(frr, V2);
}

#[test]
fn interop_frr_v2_is_the_better_one() {
    if missing(&[ZEBRA, VRRPD])
        || is_ordinary_user()
        || !inside_own_namespace!("interop_frr_v2_is_the_better_one")
    {
        return;
    }
    theirs_better(frr, V2);
}

#[test]
fn interop_frr_v3_stands_in_for_ours() {
    if missing(&[ZEBRA, VRRPD])
        || is_ordinary_user()
        || !inside_own_namespace!("interop_frr_v3_stands_in_for_ours")
    {
        return;
    }
    ours_better(frr, V3);
}

#[test]
fn interop_frr_v3_is_the_better_one() {
    if missing(&[ZEBRA, VRRPD])
        || is_ordinary_user()
        || !inside_own_namespace!("interop_frr_v3_is_the_better_one")
    {
        return;
    }
    theirs_better(frr, V3);
}

#[test]
fn interop_frr_ipv6_stands_in_for_ours() {
    if missing(&[ZEBRA, VRRPD])
        || is_ordinary_user()
        || !inside_own_namespace!("interop_frr_ipv6_stands_in_for_ours")
    {
        return;
    }
    ours_better(frr, V6);
}

#[test]
fn interop_frr_ipv6_is_the_better_one() {
    if missing(&[ZEBRA, VRRPD])
        || is_ordinary_user()
        || !inside_own_namespace!("interop_frr_ipv6_is_the_better_one")
    {
        return;
    }
    theirs_better(frr, V6);
}
