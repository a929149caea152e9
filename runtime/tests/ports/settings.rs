//! Kernel settings: what is advised, and what is set.

use std::fs;

use steadfast::linux::sysctl::{Level, PortUse, Settings};

use crate::common::ip;

fn port(name: &str, virtual_mac: bool) -> PortUse {
    PortUse {
        name: name.to_owned(),
        virtual4: true,
        virtual6: true,
        virtual_mac,
    }
}

fn write(key: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{key}"), value).expect("a setting");
}

fn read(key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/sys/net/{key}")).expect("a setting");
    text.trim().to_owned()
}

/// A fresh namespace forwards nothing, and one that answers no ARP is refused: each is named with
/// its key. Put right, nothing is left to say.
#[test]
fn settings_that_stop_a_gateway_are_named() {
    if !inside_own_namespace!("settings_that_stop_a_gateway_are_named") {
        return;
    }
    ip("link add lan0 type veth peer name client");
    write("ipv4/ip_forward", "0");
    write("ipv6/conf/all/forwarding", "0");
    write("ipv4/conf/all/arp_ignore", "8");
    write("ipv6/conf/lan0/disable_ipv6", "1");
    let settings = Settings::of_kernel();
    let ports = [port("lan0", false)];
    let advice = [settings.check_forwarding(&ports), settings.check(&ports)].concat();
    let found: Vec<_> = advice
        .into_iter()
        .map(|advice| (advice.level, advice.key))
        .collect();
    let expected = [
        (Level::Warn, "ipv4/ip_forward"),
        (Level::Warn, "ipv6/conf/all/forwarding"),
        (Level::Refuse, "ipv4/conf/all/arp_ignore"),
        (Level::Refuse, "ipv6/conf/lan0/disable_ipv6"),
    ];
    assert_eq!(found, expected.map(|(level, key)| (level, key.to_owned())));
    write("ipv4/conf/all/arp_ignore", "0");
    write("ipv6/conf/lan0/disable_ipv6", "0");
    assert_eq!(settings.check(&ports), []);
    assert_eq!(settings.forward(&ports), []);
    assert_eq!(settings.check_forwarding(&ports), []);
    assert_eq!(read("ipv4/ip_forward"), "1");
    assert_eq!(read("ipv6/conf/all/forwarding"), "1");
    assert_eq!(settings.stop_forwarding(&ports), []);
    assert_eq!(read("ipv4/ip_forward"), "0");
    assert_eq!(read("ipv6/conf/all/forwarding"), "0");
}

/// What is set concerns our ports alone, and ARP announcements only where a virtual MAC stands.
#[test]
fn settings_are_set_on_our_ports_alone() {
    if !inside_own_namespace!("settings_are_set_on_our_ports_alone") {
        return;
    }
    ip("link add lan0 type veth peer name client");
    ip("link add wan0 type veth peer name server");
    let settings = Settings::of_kernel();
    let ports = [port("lan0", true), port("wan0", false), port("gone", true)];
    assert_eq!(settings.prepare(&ports), []);
    for family in ["ipv4", "ipv6"] {
        let dead = |name| read(&format!("{family}/conf/{name}/ignore_routes_with_linkdown"));
        assert_eq!(["lan0", "wan0", "client"].map(dead), ["1", "1", "0"]);
    }
    let announce = |name| read(&format!("ipv4/conf/{name}/arp_announce"));
    assert_eq!(["lan0", "wan0", "client"].map(announce), ["2", "0", "0"]);
}
