//! What operators see of interfaces, and interfaces that are made anew under a running daemon.

use std::time::Instant;

use super::common::{ip, ip_says};
use super::gateways::{Gateway, WAIT, pair};
use super::routers::reached;

/// The LAN's port as the only port of a bridge, which has its address.
fn bridge(gateway: &Gateway) {
    for line in [
        "link add br0 type bridge forward_delay 0",
        "link set lan0 master br0",
        "addr add 10.0.1.2/24 dev br0",
        "link set br0 up",
    ] {
        gateway.home.ip(line);
    }
}

/// Each port with what it is for and what it is made of, the device of a virtual MAC behind its
/// port; a port that is not there says so. The same as JSON (R4.3).
#[test]
fn interfaces_are_shown_with_what_they_are_for() {
    if !inside_own_namespace!("interfaces_are_shown_with_what_they_are_for") {
        return;
    }
    let [gateway, _other] = pair();
    gateway.configure(|text| {
        text.replace(
            "virtual = [\"10.0.2.1\"]",
            "virtual = [\"10.0.2.1\"]\nvirtual_mac = true",
        )
    });
    let mut daemon = gateway.start();
    daemon.says("active:");
    let (code, told) = gateway.ctl("interfaces");
    assert_eq!(code, Some(0), "{told}");
    for line in [
        "lan0         up         serves, heartbeat, watched\n    link       veth, ",
        "addresses  10.0.1.2/24 ",
        " 10.0.1.1 (virtual)\n",
        "vmac-wan0    up         virtual MAC\n    link       macvlan, on wan0, ",
        "00:00:5e:00:01:33",
        "addresses  10.0.2.1 (virtual)\n",
        "ha0          up         heartbeat, direct cable\n",
    ] {
        assert!(told.contains(line), "`{line}` in:\n{told}");
    }
    gateway.home.ip("link set ha0 mtu 9000");
    gateway.home.ip("link set wan0 down");
    let (_, told) = gateway.ctl("interfaces");
    assert!(told.contains("wan0         SET DOWN"), "{told}");
    let (_, told) = gateway.ctl("interfaces --json");
    let answer: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let all = answer["interfaces"].as_array().expect("a list");
    let cable = all
        .iter()
        .find(|it| it["name"] == "ha0")
        .expect("the cable");
    assert_eq!(cable["mtu"], 9000);
    assert_eq!(cable["kind"], "veth");
    assert!(cable["sent"]["packets"].as_u64() > Some(0), "{cable}");
    daemon.stop();
}

/// A port that is a bridge is known as one; when somebody makes it anew, under another number, it
/// is bound again, and serves.
#[test]
fn interfaces_made_anew_are_bound_again() {
    if !inside_own_namespace!("interfaces_made_anew_are_bound_again") {
        return;
    }
    let [gateway, _other] = pair();
    gateway.home.ip("addr del 10.0.1.2/24 dev lan0");
    bridge(&gateway);
    gateway.configure(|text| text.replace("lan0", "br0"));
    let mut daemon = gateway.start();
    daemon.says("active:");
    let (_, told) = gateway.ctl("interfaces");
    assert!(told.contains("link       bridge, of lan0, "), "{told}");
    assert!(reached("10.0.1.1"));
    let before = known("10.0.1.1");
    gateway.home.ip("link del br0");
    daemon.says("port br0: its interface is missing");
    let (_, told) = gateway.ctl("interfaces");
    assert!(told.contains("br0          NOT THERE"), "{told}");
    bridge(&gateway);
    daemon.says("port br0: is interface");
    let deadline = Instant::now() + WAIT;
    while !reached("10.0.1.1") {
        assert!(Instant::now() < deadline, "{}", gateway.addresses());
    }
    assert_ne!(before, "", "somebody answered before");
    ip("neigh flush dev lan");
    daemon.stop();
}

fn known(address: &str) -> String {
    ip_says(&format!("neigh show {address} dev lan"))
}
