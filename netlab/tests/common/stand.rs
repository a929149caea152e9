//! A lab that stands, and what tests ask of it.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant as Clock};

use steadfast_core::{Instant, NodeId};
use steadfast_netlab::ground::Wiring;
use steadfast_netlab::lab::{BOOT_TIME, Lab, Told};
use steadfast_netlab::machine::{DaemonEvent, Setup};
use steadfast_scenarios::format::{Layout, Preset, Topology};

/// Most time that an event may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// After so long without a datagram none comes any more.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);
/// Where a run's time begins.
pub(crate) const ZERO: Instant = Instant::ORIGIN;
/// The first gateway.
pub(crate) const A: NodeId = NodeId(1);
/// The second gateway.
pub(crate) const B: NodeId = NodeId(2);

/// The network of a preset.
pub(crate) fn layout(preset: Preset) -> Layout {
    Layout::new(&Topology {
        preset,
        ..Topology::default()
    })
    .unwrap()
}

fn shell(script: &str) -> Setup {
    Setup {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        ..Setup::default()
    }
}

/// A lab whose gateways have booted and run this script.
pub(crate) fn booted(script: &str) -> Lab {
    wired(Wiring::PLAIN, script)
}

/// The same, with wires as they are wanted.
pub(crate) fn wired(wiring: Wiring, script: &str) -> Lab {
    prepared(wiring, script, |_| ())
}

/// The same, and something is there before the gateways get power.
pub(crate) fn prepared(wiring: Wiring, script: &str, before: impl FnOnce(&Lab)) -> Lab {
    let mut lab = Lab::build(&layout(Preset::Pair), wiring, |_| shell(script)).unwrap();
    before(&lab);
    for id in [A, B] {
        lab.power_on(id, ZERO).unwrap();
    }
    lab.settle(ZERO.after(BOOT_TIME)).unwrap();
    let mut left = vec![A, B];
    wait_for(
        || {
            for told in lab.poll_told() {
                if let Told::Daemon(id, event, _) = told {
                    assert_eq!(event, DaemonEvent::Started);
                    left.retain(|waiting| *waiting != id);
                }
            }
            left.is_empty().then_some(())
        },
        "the daemons",
    );
    lab
}

/// A socket on the client, and one on gateway a's lan port.
pub(crate) fn pair(lab: &Lab) -> (UdpSocket, UdpSocket) {
    let socket = |address: IpAddr| UdpSocket::bind((address, 0)).unwrap();
    let ground = lab.ground();
    let host = &ground.layout().hosts[0];
    let client = ground
        .host(host.id)
        .unwrap()
        .run(|| socket(host.addresses[0]))
        .unwrap();
    let unit = ground.layout().gateways[0].ports[0].units[0];
    let gateway = ground.gateway(A).unwrap().run(|| socket(unit)).unwrap();
    (client, gateway)
}

/// Sends so many numbered datagrams and gives back which arrived.
pub(crate) fn heard(from: &UdpSocket, to: &UdpSocket, count: u16) -> Vec<u16> {
    let address: SocketAddr = to.local_addr().unwrap();
    for number in 0..count {
        // A sender without a neighbour or carrier may be told so; then nothing arrives either.
        let _ = from.send_to(&number.to_be_bytes(), address);
    }
    to.set_read_timeout(Some(SILENCE)).unwrap();
    let mut arrived = Vec::new();
    let mut bytes = [0; 2];
    while arrived.len() < usize::from(count) && to.recv(&mut bytes).is_ok() {
        arrived.push(u16::from_be_bytes(bytes));
    }
    arrived
}

/// What a gateway itself sees of a port's carrier.
pub(crate) fn carrier(lab: &mut Lab, id: NodeId, port: &str) -> bool {
    let pid = lab.machine(id).unwrap().pid().unwrap().as_raw_nonzero();
    let path = format!("/proc/{pid}/root/sys/class/net/{port}/carrier");
    fs::read_to_string(path).unwrap().trim() == "1"
}

/// Waits until a file says something that is wanted.
pub(crate) fn wait_for<T>(mut look: impl FnMut() -> Option<T>, what: &str) -> T {
    let start = Clock::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::yield_now();
    }
}

/// Waits until this happened to gateway a's daemon.
pub(crate) fn wait_daemon(lab: &mut Lab, wanted: DaemonEvent) {
    let is = |told: &Told| matches!(told, Told::Daemon(A, event, _) if *event == wanted);
    let there = || lab.poll_told().iter().any(is).then_some(());
    wait_for(there, "a daemon");
}
