//! A configuration read again by a running daemon: taken whole or not at all, and never at the
//! price of a heartbeat.

use std::time::Duration;

use rustix::process::Signal;
use steadfast::linux::carrier::CarrierBoard;
use steadfast::linux::clock::Monotonic;
use steadfast::linux::interfaces::interface;
use steadfast::linux::packet::{PacketPorts, PortSpec};
use steadfast_core::wire::advert::GROUP_MAC;
use steadfast_core::{Instant, PortId};
use steadfast_shell::env::Frames as _;

use crate::common::runtime;
use crate::gateways::{WAIT, pair, text_of};

/// The interval of the pair, and a half: two advertisements are never further apart.
const GAP_MAX: Duration = Duration::from_millis(150);

/// A file with a mistake changes nothing and is told with its line; a file that needs a restart
/// likewise; a sound one is in force at once. On the wire no advertisement is missing, and the
/// journal replays across the reload.
#[test]
fn reload_is_whole_or_not_at_all_and_silent_on_the_wire() {
    if !inside_own_namespace!("reload_is_whole_or_not_at_all_and_silent_on_the_wire") {
        return;
    }
    let [gateway, _other] = pair();
    let mut daemon = gateway.start();
    daemon.says("active:");
    let mut wire = Wire::tap("gw1-lan");

    gateway.configure(|text| text.replace("virtual_router = 51", "virtual_router = 5x1"));
    daemon.signal(Signal::HUP);
    daemon.says("the configuration is not taken, the old one stays in force");
    daemon.says("steadfast.toml:4:");
    gateway.configure(|text| text.replace("virtual_router = 51", "virtual_router = 52"));
    daemon.signal(Signal::HUP);
    daemon.says("a restart is needed for the virtual router's number");
    let (code, said) = gateway.ctl("reload");
    assert_eq!(code, Some(1));
    assert!(said.contains("a restart is needed"), "{said}");
    assert!(gateway.holds());

    gateway.configure(|text| {
        let text = text.replace("[\"10.0.1.1\"]", "[\"10.0.1.1\", \"10.0.1.7\"]");
        text.replace("name = \"gw1\"", "name = \"north\"")
    });
    daemon.signal(Signal::HUP);
    daemon.says("the changed configuration is in force");
    assert!(
        gateway.addresses().contains("10.0.1.7/32"),
        "{}",
        gateway.addresses()
    );
    let (_, told) = gateway.ctl("status");
    assert!(told.starts_with("north (node 1): ACTIVE since"), "{told}");
    gateway.configure(|text| text);
    let (code, said) = gateway.ctl("reload");
    assert_eq!(code, Some(0), "{said}");
    assert!(
        !gateway.addresses().contains("10.0.1.7/32"),
        "{}",
        gateway.addresses()
    );

    let heard = wire.adverts();
    let gaps = heard.windows(2).map(|pair| pair[1].since(pair[0]));
    let worst = gaps.max().expect("advertisements");
    assert!(
        worst < GAP_MAX,
        "{worst:?} between two of {} advertisements",
        heard.len()
    );
    daemon.stop();
    gateway.is_clean();
    let journal = gateway.folder.join("state/journal");
    let file = gateway.file();
    let line = format!(
        "journal replay {} --config {}",
        journal.display(),
        file.display()
    );
    let (code, said) = gateway.ctl(&line);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("equal: "), "{said}");
    let (_, said) = gateway.ctl(&format!("journal show {}", journal.display()));
    assert_eq!(said.matches("configuration replaced").count(), 2, "{said}");
    assert!(text_of(&file).contains("[\"10.0.1.1\"]"));
}

/// The log's level is part of what a reload brings: at `error` it is silent about its own end.
#[test]
fn reload_brings_the_level_of_the_log() {
    if !inside_own_namespace!("reload_brings_the_level_of_the_log") {
        return;
    }
    let [gateway, _other] = pair();
    let mut daemon = gateway.start();
    daemon.says("active:");
    daemon.signal(Signal::HUP);
    daemon.says("info: the changed configuration is in force");
    gateway.configure(|text| text.replace("[daemon]\n", "[daemon]\nlog = \"error\"\n"));
    let (code, said) = gateway.ctl("reload");
    assert_eq!(code, Some(0), "{said}");
    daemon.signal(Signal::TERM);
    let (status, said) = daemon.ends();
    assert!(status.success(), "{said}");
    assert!(!said.contains("asked to end"), "{said}");
    gateway.is_clean();
}

/// A gateway's wire, heard from the other end.
struct Wire {
    ports: PacketPorts,
    runtime: tokio::runtime::Runtime,
    opened: Instant,
    time: Monotonic,
}

impl Wire {
    fn tap(name: &str) -> Self {
        let runtime = runtime();
        let time = Monotonic::start();
        let mac = interface(name).expect("interfaces").and_then(|one| one.mac);
        let spec = PortSpec {
            id: PortId(0),
            name: name.to_owned(),
            mac: mac.unwrap_or_default(),
            heartbeat: true,
            served: false,
            datagrams: None,
            routed: false,
        };
        let entered = runtime.enter();
        let ports = PacketPorts::open(&[spec], time, &CarrierBoard::new()).expect("a socket");
        drop(entered);
        let opened = time.now();
        Self {
            ports,
            runtime,
            opened,
            time,
        }
    }

    /// When the kernel took in each advertisement since the tap was opened, up to one that came
    /// after this call.
    fn adverts(&mut self) -> Vec<Instant> {
        let mut heard = vec![self.opened];
        let asked = self.time.now();
        let ports = &mut self.ports;
        let listening = async {
            let mut frame = Vec::new();
            loop {
                while let Some((_, at)) = ports.take(&mut frame) {
                    if frame.starts_with(&GROUP_MAC.0) {
                        heard.push(at);
                        if at > asked {
                            return;
                        }
                    }
                }
                ports.ready().await.expect("frames can be awaited");
            }
        };
        let within = async { tokio::time::timeout(WAIT, listening).await };
        self.runtime.block_on(within).expect("advertisements go on");
        heard
    }
}
