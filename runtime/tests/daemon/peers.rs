//! Who else speaks VRRP: keepalived and FRR, started on a machine and ended in either way.
//!
//! FRR serves with the virtual MAC on a device of its own, and will run only as a member of its
//! group: as root it gets its own view of a few files, and an ordinary user cannot give it one.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};

use super::gateways::WAIT;
use super::routers::Machine;

pub(crate) const KEEPALIVED: &str = "/usr/sbin/keepalived";
pub(crate) const ZEBRA: &str = "/usr/lib/frr/zebra";
pub(crate) const VRRPD: &str = "/usr/lib/frr/vrrpd";

/// What both routers are.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) version: u8,
    pub(crate) ipv6: bool,
    /// One more address.
    pub(crate) second: Option<&'static str>,
    /// Ours.
    pub(crate) interval: &'static str,
    /// The other's interval, ms.
    pub(crate) theirs: u32,
}

pub(crate) const V2: Kind = Kind {
    version: 2,
    ipv6: false,
    second: None,
    interval: "1s",
    theirs: 1_000,
};
pub(crate) const V3: Kind = Kind {
    version: 3,
    interval: "100ms",
    theirs: 100,
    ..V2
};
pub(crate) const V6: Kind = Kind { ipv6: true, ..V3 };

impl Kind {
    pub(crate) const fn address(self) -> &'static str {
        if self.ipv6 { "fe80::51" } else { "10.0.1.1" }
    }

    /// Every address, with these around each.
    fn addresses(self, before: &str, after: &str) -> String {
        let all = [Some(self.address()), self.second];
        let all = all.into_iter().flatten();
        all.map(|it| format!("{before}{it}{after}")).collect()
    }

    pub(crate) fn ours(self, priority: u8) -> String {
        format!(
            "[[vrrp]]\ninterface = \"lan0\"\nvirtual_router = 51\nversion = {}\n\
             priority = {priority}\ninterval = \"{}\"\nvirtual = [{}]\n",
            self.version,
            self.interval,
            self.addresses("\"", "\",")
        )
    }
}

/// Another router's processes.
pub(crate) struct Peer {
    group: Child,
    machine: u32,
    pub(crate) device: Option<&'static str>,
    log: PathBuf,
}

impl Peer {
    pub(crate) fn start(
        mut command: Command,
        machine: &Machine,
        device: Option<&'static str>,
    ) -> Self {
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
    pub(crate) fn signal(&self, signal: Signal) {
        let group = Pid::from_child(&self.group);
        kill_process_group(group, signal).expect("processes to signal");
    }

    /// As a crash. What it left in the kernel goes as well, for it has no fence: the box is dead.
    /// A child of keepalived's leads a group of its own, and would resign if its parent died first.
    pub(crate) fn kill(mut self, machine: &Machine) {
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
    pub(crate) fn forget(&self) {
        for (family, address) in [
            ("-4", "10.0.1.1/32"),
            ("-6", "fe80::51/128"),
            ("-6", "2001:db8:1::1/128"),
        ] {
            if self.holds(address) {
                self.home
                    .ip(&format!("{family} addr del {address} dev lan0"));
            }
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("peer.log")).unwrap_or_default()
    }
}

/// Which programs are missing.
pub(crate) fn missing(programs: &[&str]) -> bool {
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
pub(crate) fn is_ordinary_user() -> bool {
    let ordinary = !rustix::process::geteuid().is_root();
    if ordinary {
        println!("not run: needs root for FRR's groups");
    }
    ordinary
}

pub(crate) fn keepalived(machine: &Machine, kind: Kind, priority: u8) -> Peer {
    let folder = machine.folder.display();
    let seconds = f64::from(kind.theirs) / 1_000.0;
    let prefix = if kind.ipv6 { 128 } else { 32 };
    let addresses = kind.addresses("    ", &format!("/{prefix} dev lan0\n"));
    let text = format!(
        "global_defs {{\n  vrrp_version {}\n  script_user root\n}}\n\
         vrrp_instance LAN {{\n  state BACKUP\n  interface lan0\n  virtual_router_id 51\n  \
         priority {priority}\n  advert_int {seconds}\n  virtual_ipaddress {{\n\
         {addresses}  }}\n}}\n",
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

pub(crate) fn frr(machine: &Machine, kind: Kind, priority: u8) -> Peer {
    let folder = machine.folder.display();
    let (device, mac, family, prefix) = if kind.ipv6 {
        ("vr6-51", "00:00:5e:00:02:33", "ipv6", 64)
    } else {
        ("vr4-51", "00:00:5e:00:01:33", "ip", 24)
    };
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
    for address in [Some(kind.address()), kind.second].into_iter().flatten() {
        let added = format!("addr add {address}/{prefix} dev {device}{nodad}");
        machine.home.ip(&added);
    }
    machine.home.ip(&format!("link set {device} up"));
    let millis = kind.theirs;
    let addresses = kind.addresses(&format!(" vrrp 51 {family} "), "\n");
    let text = format!(
        "interface lan0\n vrrp 51 version {}\n vrrp 51 priority {priority}\n \
         vrrp 51 advertisement-interval {millis}\n{addresses}!\n",
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
