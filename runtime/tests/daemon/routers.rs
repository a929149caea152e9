//! Virtual routers of VRRP as they are shipped: two of them on a LAN, each in a namespace.
//!
//! A station on the LAN says whom it reaches: a closed port of an address that is owned refuses at
//! once, and nobody answers for one that is fenced.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::net::netdevice::name_to_index;
use rustix::process::Signal;
use serde_json::Value;
use steadfast::ctl::Client;

use super::common::{Far, ip, ip_says};
use super::gateways::{Daemon, WAIT, up};

/// How long nobody answers before it counts.
const SILENCE: Duration = Duration::from_millis(400);

/// A machine on the LAN, and its file.
pub(crate) struct Machine {
    number: u8,
    pub(crate) home: Far,
    pub(crate) folder: PathBuf,
}

/// The LAN with a station, and two machines on it.
pub(crate) fn machines() -> [Machine; 2] {
    ip("link add lan type bridge mcast_snooping 0");
    ip("addr add 10.0.1.9/24 dev lan");
    ip("link set lan addrgenmode none");
    ip("addr add fe80::9/64 dev lan nodad");
    ip("addr add 2001:db8:1::9/64 dev lan nodad");
    ip("link set lan up");
    [2, 3].map(Machine::new)
}

impl Machine {
    fn new(number: u8) -> Self {
        let home = Far::new();
        let near = format!("m{number}");
        plug(&near, &home, None);
        home.ip("link set lo up");
        home.ip(&format!("addr add 10.0.1.{number}/24 dev lan0"));
        home.ip(&format!("addr add fe80::{number}/64 dev lan0 nodad"));
        home.ip(&format!("addr add 2001:db8:1::{number}/64 dev lan0 nodad"));
        home.ip("link set lan0 addrgenmode none");
        home.ip("link set lan0 up");
        let name = format!("steadfast-router{number}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Self {
            number,
            home,
            folder,
        }
    }

    /// Writes its file and starts the daemon on it.
    pub(crate) fn start(&self, routers: &str) -> Daemon {
        self.start_as(routers, "")
    }

    /// The same, with more in its own section.
    fn start_as(&self, routers: &str, more: &str) -> Daemon {
        let file = self.folder.join("vrrp.toml");
        let run = self.folder.join("run");
        let text = format!(
            "format = 1\n{routers}\n[daemon]\nruntime_dir = \"{}\"\n{more}",
            run.display()
        );
        fs::write(&file, text).expect("a file");
        let mut command = self.home.command(env!("CARGO_BIN_EXE_steadfastd"));
        command.arg("--config").arg(file);
        Daemon::start(&mut command)
    }

    pub(crate) fn router(priority: u8) -> String {
        format!(
            "[[vrrp]]\ninterface = \"lan0\"\nvirtual_router = 51\npriority = {priority}\n\
             interval = \"100ms\"\nvirtual = [\"10.0.1.1\"]\n"
        )
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("run/control.sock")
    }

    /// Runs the operator's command; its code and all it said.
    fn ctl(&self, line: &str) -> (Option<i32>, String) {
        let mut command = self.home.command(env!("CARGO_BIN_EXE_steadfastctl"));
        command.arg("--socket").arg(self.socket());
        let output = command.args(line.split_whitespace()).output();
        let output = output.expect("a command");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    pub(crate) fn status(&self) -> Value {
        let client = Client::new(self.socket()).expect("a client");
        client.read("/v1/vrrp").expect("a status")
    }

    pub(crate) fn holds(&self, address: &str) -> bool {
        let mut command = self.home.command("ip");
        let output = command.args(["-o", "addr", "show"]).output();
        let output = output.expect("iproute2");
        String::from_utf8_lossy(&output.stdout).contains(address)
    }

    /// Its links and addresses, as `ip` shows them.
    pub(crate) fn links(&self) -> String {
        let output = self.home.command("ip").args(["addr", "show"]).output();
        String::from_utf8_lossy(&output.expect("iproute2").stdout).into_owned()
    }

    pub(crate) fn mac(&self) -> String {
        let mut command = self.home.command("ip");
        let output = command.args(["-o", "link", "show", "lan0"]).output();
        let shown = String::from_utf8(output.expect("iproute2").stdout).expect("text");
        let mut words = shown.split_whitespace();
        words.find(|word| *word == "link/ether").expect("a station");
        words.next().expect("its address").to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A folder that stays harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Whether the station reaches an address by itself, asking anew who has it.
pub(crate) fn reached(address: &str) -> bool {
    ip("neigh flush dev lan");
    is_reached(address)
}

/// Whether it is reached at this machine.
fn reached_at(address: &str, machine: &Machine) -> bool {
    let mac = machine.mac();
    ip(&format!(
        "neigh replace {address} lladdr {mac} dev lan nud permanent"
    ));
    let reached = is_reached(address);
    ip(&format!("neigh del {address} dev lan"));
    reached
}

pub(crate) fn is_reached(address: &str) -> bool {
    let address = match address.parse::<IpAddr>().expect("an address") {
        IpAddr::V4(address) => SocketAddr::new(address.into(), 9),
        IpAddr::V6(address) => {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            let lan = name_to_index(&socket, "lan").expect("the station's port");
            SocketAddrV6::new(address, 9, 0, lan).into()
        }
    };
    match TcpStream::connect_timeout(&address, SILENCE) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
    }
}

/// Waits until the station reaches the address, and says at which MAC.
fn reached_when(address: &str) -> String {
    let deadline = Instant::now() + WAIT;
    while !reached(address) {
        assert!(Instant::now() < deadline, "nobody has {address}");
    }
    ip_says(&format!("neigh show {address} dev lan"))
}

/// The better one serves. It is killed: its address is silent where it stands and the other one
/// serves. It comes back and takes over in order.
#[test]
fn routers_take_over_from_a_dead_one_and_give_back() {
    if !inside_own_namespace!("routers_take_over_from_a_dead_one_and_give_back") {
        return;
    }
    let [a, b] = machines();
    let mut one = a.start(&Machine::router(200));
    one.says("IPv4: active: nobody better was heard in time");
    let mut other = b.start(&Machine::router(100));
    other.says("IPv4: backup");
    assert!(a.holds("10.0.1.1/32") && !b.holds("10.0.1.1/32"));
    assert!(reached_when("10.0.1.1").contains(&a.mac()));

    one.kill();
    other.says("IPv4: active: nobody better was heard in time");
    assert!(reached_when("10.0.1.1").contains(&b.mac()));
    assert!(a.holds("10.0.1.1/32"), "a killed daemon leaves it");
    assert!(!reached_at("10.0.1.1", &a), "its lease has ended");
    assert!(
        reached_at("10.0.1.2", &a),
        "its own address is no business of the fence"
    );

    let mut one = a.start(&Machine::router(200));
    one.says("IPv4: active");
    other.says("IPv4: backup: 10.0.1.2 speaks");
    assert!(reached_when("10.0.1.1").contains(&a.mac()));
    one.stop();
    other.says("IPv4: active");
    assert!(!a.holds("10.0.1.1/32"));
    other.stop();
    assert!(!b.holds("10.0.1.1/32"));
}

/// A router that stands still loses its lease before the other one takes over, and says nothing
/// when it goes on: it begins anew.
#[test]
fn routers_that_stand_still_own_nothing() {
    if !inside_own_namespace!("routers_that_stand_still_own_nothing") {
        return;
    }
    let [a, b] = machines();
    let mut one = a.start(&Machine::router(200));
    one.says("IPv4: active");
    let mut other = b.start(&Machine::router(100));
    other.says("IPv4: backup");
    one.signal(Signal::STOP);
    other.says("IPv4: active");
    assert!(!reached_at("10.0.1.1", &a), "its lease has ended");
    one.signal(Signal::CONT);
    one.says("its lease had ended: it was late");
    one.says("IPv4: active");
    other.says("IPv4: backup");
    assert!(reached_when("10.0.1.1").contains(&a.mac()));
    let status = a.status();
    let counters = status["routers"][0]["counters"].to_string();
    assert!(counters.contains("lease_lapsed"), "{status:#}");
}

/// An operator looks, and lets the other one serve; what cannot be is said with its cure.
#[test]
fn routers_obey_an_operator() {
    if !inside_own_namespace!("routers_obey_an_operator") {
        return;
    }
    let [a, b] = machines();
    let mut one = a.start(&Machine::router(200));
    one.says("IPv4: active: ");
    let mut other = b.start(&Machine::router(100));
    other.says("IPv4: backup");
    let (code, shown) = a.ctl("vrrp status");
    assert_eq!(code, Some(0), "{shown}");
    for part in [
        "lan0, virtual router 51, IPv4: ACTIVE",
        "VRRP 3, priority 200",
        "10.0.1.1",
    ] {
        assert!(shown.contains(part), "`{part}` in: {shown}");
    }
    let (code, said) = b.ctl("vrrp resign lan0 51");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("this router is not active"), "{said}");
    let (code, said) = a.ctl("vrrp resign lan0 52");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("no virtual router 52 on lan0 over IPv4"),
        "{said}"
    );
    let (code, said) = a.ctl("vrrp resign lan0 51");
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "resign: another router may serve now\n")
    );
    one.says("IPv4: backup: an operator let another router serve");
    other.says("IPv4: active");
}

/// With a virtual MAC the station of the address stays the same when it moves, so no host learns
/// anything; where it is fenced, that station is silent.
#[test]
fn routers_with_a_virtual_mac_keep_their_station() {
    const STATION: &str = "00:00:5e:00:01:33";
    if !inside_own_namespace!("routers_with_a_virtual_mac_keep_their_station") {
        return;
    }
    let [a, b] = machines();
    let router = |priority| format!("{}virtual_mac = true\n", Machine::router(priority));
    let mut one = a.start(&router(200));
    one.says("IPv4: active: ");
    let mut other = b.start(&router(100));
    other.says("IPv4: backup");
    assert!(reached_when("10.0.1.1").contains(STATION));
    ip(&format!(
        "neigh replace 10.0.1.1 lladdr {STATION} dev lan nud permanent"
    ));
    assert!(is_reached("10.0.1.1"));

    one.kill();
    other.says("IPv4: active: ");
    let deadline = Instant::now() + WAIT;
    while !is_reached("10.0.1.1") {
        assert!(Instant::now() < deadline, "the station did not move");
    }
    let fdb = String::from_utf8(
        std::process::Command::new("bridge")
            .args(["fdb", "show", "br", "lan"])
            .output()
            .expect("iproute2")
            .stdout,
    );
    let fdb = fdb.expect("text");
    let learned = fdb
        .lines()
        .find(|line| line.contains(STATION) && !line.contains("permanent"));
    assert!(learned.is_some_and(|line| line.contains("m3")), "{fdb}");
    other.stop();
    assert!(!is_reached("10.0.1.1"), "nobody has it");
    assert!(!b.links().contains("vrrp4-"), "its device is gone");
    let unfence = format!("unfence --config {}", a.folder.join("vrrp.toml").display());
    let (code, said) = a.ctl(&unfence);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("removed the interface vrrp4-"), "{said}");
}

/// What a killed daemon left behind is removed by command, and not while one runs.
#[test]
fn routers_leftovers_are_removed_by_command() {
    if !inside_own_namespace!("routers_leftovers_are_removed_by_command") {
        return;
    }
    let [a, _b] = machines();
    let mut one = a.start(&Machine::router(200));
    one.says("IPv4: active: ");
    let unfence = format!("unfence --config {}", a.folder.join("vrrp.toml").display());
    let (code, said) = a.ctl(&unfence);
    assert_eq!(code, Some(1), "{said}");
    one.kill();
    assert!(a.holds("10.0.1.1/32"));
    let (code, said) = a.ctl(&unfence);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("removed 10.0.1.1 from lan0"), "{said}");
    assert!(said.contains("table netdev steadfast-vrrp"), "{said}");
    assert!(!a.holds("10.0.1.1/32"));
    let (code, said) = a.ctl(&unfence);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "nothing was there to remove\n")
    );
}

/// Over IPv6 and with a version each: routers of one link do not get into each other's way.
#[test]
fn routers_of_both_families_and_versions_share_a_link() {
    if !inside_own_namespace!("routers_of_both_families_and_versions_share_a_link") {
        return;
    }
    let [a, b] = machines();
    let routers = |priority: u8| {
        format!(
            "{}[[vrrp]]\ninterface = \"lan0\"\nvirtual_router = 51\npriority = {}\n\
             interval = \"100ms\"\nvirtual = [\"fe80::51\", \"2001:db8::1\"]\n\
             [[vrrp]]\ninterface = \"lan0\"\nvirtual_router = 52\nversion = 2\n\
             priority = {}\nvirtual = [\"10.0.1.52\"]\n",
            Machine::router(priority),
            255 - priority,
            priority,
        )
    };
    let mut one = a.start(&routers(200));
    let mut other = b.start(&routers(100));
    other.says("virtual router 51, IPv6: active");
    one.says("virtual router 52, IPv4: active");
    let deadline = Instant::now() + WAIT;
    let settled = |machine: &Machine| -> Vec<String> {
        let status = machine.status();
        let routers = status["routers"].as_array().expect("a list").iter();
        routers
            .map(|it| it["state"].as_str().expect("a word").to_owned())
            .collect()
    };
    loop {
        let states = (settled(&a), settled(&b));
        let wanted = (
            ["active", "backup", "active"].map(str::to_owned).to_vec(),
            ["backup", "active", "backup"].map(str::to_owned).to_vec(),
        );
        if states == wanted {
            break;
        }
        assert!(Instant::now() < deadline, "{states:?}");
    }
    assert!(a.holds("10.0.1.1/32") && a.holds("10.0.1.52/32"));
    assert!(b.holds("fe80::51/128") && b.holds("2001:db8::1/128"));
    one.stop();
    other.says("virtual router 52, IPv4: active");
    other.stop();
    assert!(!b.holds("10.0.1.1/32") && !b.holds("fe80::51/128"));
}

/// A lost link ends it, and it goes on when the link is back; an interface that vanished and came
/// back under another number, as the same station, is the same link.
#[test]
fn routers_follow_their_link_and_its_name() {
    if !inside_own_namespace!("routers_follow_their_link_and_its_name") {
        return;
    }
    let [a, _b] = machines();
    let mut one = a.start(&Machine::router(200));
    one.says("IPv4: active");
    let near = format!("m{}", a.number);
    ip(&format!("link set {near} down"));
    one.says("IPv4: not running: its link is down");
    assert!(a.holds("10.0.1.2/24") && !a.holds("10.0.1.1/32"));
    ip(&format!("link set {near} up"));
    one.says("IPv4: active: ");
    assert!(reached_when("10.0.1.1").contains(&a.mac()));

    let mac = a.mac();
    ip(&format!("link del {near}"));
    one.says("IPv4: not running: its link is down");
    a.home.ip("link add other0 type veth peer name other1");
    plug(&near, &a.home, Some(&mac));
    a.home.ip("addr add 10.0.1.2/24 dev lan0");
    a.home.ip("link set lan0 up");
    one.says("IPv4: active: ");
    assert!(a.holds("10.0.1.1/32"));
    assert!(reached_when("10.0.1.1").contains(&mac));
}

/// A cable from the LAN to a machine; the far end may have this station.
fn plug(near: &str, home: &Far, mac: Option<&str>) {
    let pid = home.pid();
    let mac = mac.map_or_else(String::new, |mac| format!("address {mac} "));
    ip(&format!(
        "link add {near} type veth peer name lan0 {mac}netns {pid}"
    ));
    ip(&format!("link set {near} master lan"));
    up(near);
}

/// What cannot be begun leaves nothing behind; a second daemon is refused; a hang-up ends nothing.
#[test]
fn routers_refuse_and_go_on() {
    if !inside_own_namespace!("routers_refuse_and_go_on") {
        return;
    }
    let [a, _b] = machines();
    let half = format!("{}virtual_mac = true\n", Machine::router(200));
    a.start_as(&half, "control_group = \"no such group\"\n")
        .refuses(1, &["control_group", "no such group"]);
    assert!(!a.links().contains("vrrp4-"), "{}", a.links());
    let unfence = format!("unfence --config {}", a.folder.join("vrrp.toml").display());
    let (code, said) = a.ctl(&unfence);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "nothing was there to remove\n")
    );

    let mut one = a.start(&Machine::router(200));
    one.says("IPv4: active: ");
    let elsewhere = a.folder.join("elsewhere");
    let text = fs::read_to_string(a.folder.join("vrrp.toml")).expect("a file");
    let run = a.folder.join("run");
    let text = text.replace(&run.display().to_string(), &elsewhere.display().to_string());
    let file = a.folder.join("second.toml");
    fs::write(&file, text).expect("a file");
    let mut command = a.home.command(env!("CARGO_BIN_EXE_steadfastd"));
    command.arg("--config").arg(file);
    Daemon::start(&mut command).refuses(1, &["runs here already", "one file holds all"]);
    one.signal(Signal::HUP);
    one.says("needs a restart");
    assert!(reached_when("10.0.1.1").contains(&a.mac()));
}
