//! A virtual MAC on real gateways: it is where the role is, and hosts keep what they know.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::common::{ip, ip_says};
use super::gateways::{Gateway, WAIT, pair};
use super::routers::{is_reached, reached};

/// Of virtual router 51.
const STATION: &str = "00:00:5e:00:01:33";
const DEVICE: &str = "vmac-lan0";

/// Both gateways, with a virtual MAC on the LAN.
fn gateways() -> [Gateway; 2] {
    let gateways = pair();
    for gateway in &gateways {
        gateway.configure(|text| with_station(&text));
    }
    gateways
}

fn with_station(text: &str) -> String {
    text.replace(
        "virtual = [\"10.0.1.1\"]",
        "virtual = [\"10.0.1.1\"]\nvirtual_mac = true",
    )
}

/// What `ip` says of the device; nothing if it is not there.
fn device(gateway: &Gateway) -> Option<String> {
    let mut command = gateway.home.command("ip");
    let output = command.args(["-o", "addr", "show", "dev", DEVICE]).output();
    let output = output.expect("iproute2");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(shown)
}

fn number(gateway: &Gateway) -> u32 {
    let shown = device(gateway).expect("the device");
    let number = shown
        .split(':')
        .next()
        .and_then(|it| it.trim().parse().ok());
    number.unwrap_or_else(|| panic!("no number: {shown}"))
}

fn setting(gateway: &Gateway, key: &str) -> String {
    let path = format!("/proc/sys/net/ipv4/conf/{key}");
    let output = gateway.home.command("cat").arg(&path).output();
    let output = output.expect("a setting");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What the station in the middle knows of the virtual address.
fn known() -> String {
    ip_says("neigh show 10.0.1.1 dev lan")
}

pub(crate) fn waits_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The address is on a device of its own whose MAC both gateways have; a host that never hears of
/// the change reaches the new owner, and none learns a gateway's own MAC, not even from a gateway
/// that asks for it (F40). In the end nothing is left.
#[test]
fn stations_move_with_the_role_and_hosts_keep_what_they_know() {
    if !inside_own_namespace!("stations_move_with_the_role_and_hosts_keep_what_they_know") {
        return;
    }
    let [a, b] = gateways();
    let mut first = a.start();
    first.says("active:");
    let mut second = b.start();
    second.says("standby:");
    assert!(device(&a).expect("a device").contains("10.0.1.1/32"));
    assert!(!device(&b).expect("a device").contains("10.0.1.1/32"));
    for (key, value) in [
        ("lan0/arp_ignore", "1"),
        ("lan0/arp_announce", "2"),
        ("vmac-lan0/arp_ignore", "1"),
        ("vmac-lan0/rp_filter", "0"),
        ("wan0/arp_announce", "0"),
    ] {
        assert_eq!(setting(&a, key), value, "{key}");
    }
    assert!(reached("10.0.1.1"));
    assert!(known().contains(STATION), "{}", known());
    // A host that believes no announcement.
    ip(&format!(
        "neigh replace 10.0.1.1 lladdr {STATION} dev lan nud permanent"
    ));
    let (code, said) = a.ctl("release");
    assert_eq!(code, Some(0), "{said}");
    second.says("active:");
    assert!(is_reached("10.0.1.1"));
    ip("neigh del 10.0.1.1 dev lan");
    assert!(reached("10.0.1.1"));
    // The new owner asks for the host with the first packet to it, in nobody's name but its own.
    b.home.ip("neigh flush dev lan0");
    assert!(is_reached("10.0.1.1"));
    assert!(known().contains(STATION), "{}", known());
    first.stop();
    second.stop();
    for gateway in [&a, &b] {
        assert_eq!(device(gateway), None);
        gateway.is_clean();
    }
}

/// Somebody removes the device: within a second or so it is there again with its address. A killed
/// daemon leaves it behind the fence, and the next one takes the same; a reload keeps it (F41).
#[test]
fn stations_are_made_again_kept_and_found() {
    if !inside_own_namespace!("stations_are_made_again_kept_and_found") {
        return;
    }
    let [gateway, _other] = gateways();
    let mut daemon = gateway.start();
    daemon.says("active:");
    gateway.home.ip(&format!("link del {DEVICE}"));
    waits_for("the device is made again", || {
        device(&gateway).is_some_and(|it| it.contains("10.0.1.1/32"))
    });
    assert!(reached("10.0.1.1"));
    let made = number(&gateway);
    // A manager of devices has its own ideas of each that appears (F40).
    let change = "cd /proc/sys/net/ipv4/conf; echo 0 >lan0/arp_ignore; echo 0 >lan0/arp_announce; \
                  echo 1 >vmac-lan0/rp_filter; echo 0 >vmac-lan0/arp_ignore";
    let status = gateway.home.command("sh").args(["-c", change]).status();
    assert!(status.expect("a shell").success());
    waits_for("the settings are put right", || {
        let keys = [
            "lan0/arp_ignore",
            "lan0/arp_announce",
            "vmac-lan0/rp_filter",
        ];
        keys.map(|key| setting(&gateway, key)) == ["1", "2", "0"]
    });

    gateway.configure(|text| {
        with_station(&text).replace("[\"10.0.1.1\"]", "[\"10.0.1.1\", \"10.0.1.7\"]")
    });
    daemon.signal(Signal::HUP);
    daemon.says("the changed configuration is in force");
    assert!(device(&gateway).expect("a device").contains("10.0.1.7/32"));
    gateway.configure(|text| text);
    daemon.signal(Signal::HUP);
    daemon.says("a restart is needed for virtual MACs");
    assert_eq!(number(&gateway), made);

    daemon.kill();
    assert_eq!(number(&gateway), made, "it stays behind the fence");
    waits_for("it is silent once the lease is over", || {
        !reached("10.0.1.1")
    });
    gateway.configure(|text| with_station(&text));
    let mut daemon = gateway.start();
    daemon.says("active:");
    assert_eq!(number(&gateway), made, "the same is used again");
    assert!(!device(&gateway).expect("a device").contains("10.0.1.7/32"));
    daemon.kill();
    gateway.configure(|text| text);
    let mut daemon = gateway.start();
    daemon.says("removed vmac-lan0, left behind by an earlier life");
    daemon.says("active:");
    assert!(reached("10.0.1.1"));
    assert!(!known().contains(STATION), "{}", known());
    daemon.stop();
}

/// What a killed daemon left is removed on demand; a port of a bridge can carry no station, and
/// the daemon says so before it touches anything else.
#[test]
fn stations_are_unfenced_and_refused_on_a_bridge_port() {
    if !inside_own_namespace!("stations_are_unfenced_and_refused_on_a_bridge_port") {
        return;
    }
    let [gateway, other] = gateways();
    let mut daemon = gateway.start();
    daemon.says("active:");
    daemon.kill();
    let (code, said) = gateway.unfence();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("removed the interface vmac-lan0"), "{said}");
    assert_eq!(device(&gateway), None);
    other.home.ip("link add br0 type bridge");
    other.home.ip("link set lan0 master br0");
    let daemon = other.start();
    daemon.refuses(
        1,
        &[
            "a port of a bridge can carry none",
            "the fence is removed again",
        ],
    );
    other.is_clean();
}
