//! Ports, clock, links, addresses and precedence, shown on the real kernel in own namespaces.

#[path = "../common/mod.rs"]
#[macro_use]
mod common;

mod addresses;
mod clock;
mod links;
mod packet;
mod priority;
mod raw;
mod settings;
mod streams;

use std::time::Duration;

use steadfast::linux::interfaces::interface;
use steadfast::linux::packet::{PacketPorts, PortSpec};
use steadfast_core::{Instant, PortId};
use steadfast_shell::env::Frames;

/// Longest wait for what must happen.
const DEADLINE: Duration = Duration::from_secs(5);

/// A port of any kind on an interface that is there, or will be.
fn port(id: u8, name: &str) -> PortSpec {
    let mac = interface(name)
        .expect("the kernel tells of interfaces")
        .and_then(|interface| interface.mac);
    PortSpec {
        id: PortId(id),
        name: name.to_owned(),
        mac: mac.unwrap_or_default(),
        heartbeat: true,
        served: true,
        datagrams: Some(6973),
        routed: false,
    }
}

/// A cable within one namespace, both ends up.
fn cable(a: &str, b: &str) {
    common::ip(&format!("link add {a} type veth peer name {b}"));
    // Without IPv6 the kernel itself stays silent on it.
    for end in [a, b] {
        let quiet = format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6");
        std::fs::write(quiet, "1").expect("a setting");
        common::ip(&format!("link set {end} up"));
    }
    settled(a);
    settled(b);
}

/// Waits until an interface that came up has its queue: until then what it is given is dropped
/// without a word. On a gateway the watcher of links makes the kernel do so (ETHTOOL_GLINK).
fn settled(name: &str) {
    let began = std::time::Instant::now();
    while common::ip_says(&format!("link show {name}")).contains("qdisc noop ") {
        assert!(began.elapsed() < DEADLINE, "{name} has no queue");
    }
}

/// The next frame on any port.
async fn next(ports: &mut PacketPorts) -> (PortId, Instant, Vec<u8>) {
    let found = async {
        let mut frame = Vec::new();
        loop {
            if let Some((port, at)) = ports.take(&mut frame) {
                return (port, at, frame);
            }
            ports.ready().await.expect("frames can be awaited");
        }
    };
    let found = tokio::time::timeout(DEADLINE, found).await;
    found.expect("a frame within the deadline")
}
