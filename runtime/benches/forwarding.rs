//! What the fence costs a packet that is forwarded: nanoseconds beside a gateway without it.
//!
//! Frames for a server behind the gateway go onto the LAN's wire, one after the other. A wire
//! between two devices of one kernel is no wire: the gateway does its work within the call that
//! sends the frame. So the time from call to call is the whole way's. Each round times every form
//! of the gateway in turn, in batches of which the last of the quickest tenth counts, for whatever
//! else runs disturbs many of them and not all; what is printed is the middle one of the rounds'
//! differences, with the least and the greatest.
//!
//! Run it: `cargo bench -p steadfast --bench forwarding`, as root or where user namespaces are.
//! Limit: it is this processor's figure, of a kernel that guards its jumps as this one does; the
//! packets are IPv4, and nothing but the fence filters them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program whose purpose is its print, and that has failed where it cannot go on"
)]

#[path = "../tests/fence/frames.rs"]
#[expect(dead_code, reason = "stories use all of it")]
mod frames;
#[path = "../tests/fence/sys.rs"]
mod sys;
#[path = "../tests/fence/user.rs"]
mod user;
#[path = "../tests/fence/world.rs"]
#[expect(dead_code, reason = "stories use all of it")]
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use steadfast::linux::carrier::CarrierBoard;
use steadfast::linux::clock::Monotonic;
use steadfast::linux::fence::{Fence, KEEPER_ARGUMENT, keeper_main};
use steadfast::linux::packet::{PacketPorts, PortSpec};
use steadfast_core::{MacAddr, PortId};

use world::{CLIENT, SERVER, World};

/// Frames that are timed together.
const BATCH: u32 = 500;
/// How many such.
const BATCHES: usize = 200;
/// One in so many is taken for one that nothing disturbed.
const QUIET: usize = 10;
const ROUNDS: usize = 15;
/// With its headers the least that Ethernet knows.
const BODY: [u8; 26] = [0x5f; 26];
/// No lease ends while it is measured.
const LEASE: Duration = Duration::from_secs(3_600);

/// A form of the gateway.
struct Form {
    name: &'static str,
    fence: bool,
    datagrams: bool,
    ports: bool,
}

const FORMS: [Form; 4] = [
    Form {
        name: "no fence",
        fence: false,
        datagrams: false,
        ports: false,
    },
    Form {
        name: "fence",
        fence: true,
        datagrams: false,
        ports: false,
    },
    Form {
        name: "fence, advertisements in datagrams",
        fence: true,
        datagrams: true,
        ports: false,
    },
    Form {
        name: "fence, and the daemon's sockets",
        fence: true,
        datagrams: false,
        ports: true,
    },
];

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(KEEPER_ARGUMENT) {
        return keeper_main();
    }
    if let Err(error) = sys::enter_namespace() {
        println!("not run: needs root or user namespaces: {error}");
        return ExitCode::from(2);
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let _within = runtime.enter();
    let mut world = World::new();
    for (port, name) in [
        (&mut world.lan, "lan0"),
        (&mut world.wan, "wan0"),
        (&mut world.ha, "ha0"),
    ] {
        let far = format!("{name}far");
        port.near = sys::packet_socket(world::index_of(name), None).unwrap();
        port.far = sys::packet_socket(world::index_of(&far), None).unwrap();
    }
    let mut rounds: [Vec<f64>; FORMS.len()] = Default::default();
    for _ in 0..ROUNDS {
        for (form, found) in FORMS.iter().zip(&mut rounds) {
            found.push(measured(&world, form));
        }
    }
    let [plain, ..] = &rounds;
    println!(
        "a packet's way through, ns, {ROUNDS} rounds in one kernel: median (least to greatest)"
    );
    println!("{:<36} {}", FORMS[0].name, summary(plain.clone()));
    for (form, found) in FORMS.iter().zip(&rounds).skip(1) {
        let more = found
            .iter()
            .zip(plain)
            .map(|(with, without)| with - without);
        println!("{:<36} {} more", form.name, summary(more.collect()));
    }
    ExitCode::SUCCESS
}

/// Whether a frame put onto the LAN's wire leaves by the WAN: else nothing would be measured.
fn forwards(world: &World) -> bool {
    // Of the device's numbers the tenth counts packets that left.
    let sent = || -> u64 {
        let devices = std::fs::read_to_string("/proc/self/net/dev").unwrap();
        let mut lines = devices
            .lines()
            .filter_map(|line| line.trim().strip_prefix("wan0:"));
        let numbers = lines.next().expect("the port is there");
        numbers.split_whitespace().nth(9).unwrap().parse().unwrap()
    };
    let before = sent();
    for _ in 0..BATCH {
        world.lan.inject(&frame(world));
    }
    sent() - before >= u64::from(BATCH)
}

fn frame(world: &World) -> Vec<u8> {
    frames::datagram(world.lan.mac, CLIENT.into(), SERVER.into(), &BODY)
}

/// Nanoseconds for a frame through a gateway of this form.
fn measured(world: &World, form: &Form) -> f64 {
    let mut spec = world.spec();
    spec.lease = LEASE;
    spec.datagrams = spec.datagrams.filter(|_| form.datagrams);
    let fence = form.fence.then(|| {
        let mut fence = Fence::install(&spec).unwrap();
        fence.arm().unwrap();
        fence
    });
    let ports = form.ports.then(|| open(world));
    assert!(forwards(world), "{}: the gateway forwards", form.name);
    let found = timed(world);
    drop(ports);
    if let Some(mut fence) = fence {
        assert!(
            fence.lease_left().unwrap().is_some(),
            "the lease held meanwhile"
        );
        fence.unfence().unwrap();
    }
    found
}

/// The sockets that the daemon has.
fn open(world: &World) -> PacketPorts {
    let ports = [
        ("lan0", &world.lan),
        ("wan0", &world.wan),
        ("ha0", &world.ha),
    ];
    let spec = |(number, (name, port)): (u8, (&str, &world::Port))| PortSpec {
        id: PortId(number),
        name: name.to_owned(),
        mac: MacAddr(port.mac),
        heartbeat: true,
        served: name != "ha0",
        datagrams: None,
        routed: false,
    };
    let specs: Vec<PortSpec> = (1..).zip(ports).map(spec).collect();
    PacketPorts::open(&specs, Monotonic::start(), &CarrierBoard::new()).unwrap()
}

fn timed(world: &World) -> f64 {
    let frame = frame(world);
    let batch = || {
        let began = Instant::now();
        for _ in 0..BATCH {
            world.lan.inject(&frame);
        }
        began.elapsed().as_nanos() as f64 / f64::from(BATCH)
    };
    let mut nanos: Vec<f64> = (0..BATCHES).map(|_| batch()).collect();
    nanos.sort_by(f64::total_cmp);
    nanos[BATCHES / QUIET]
}

fn summary(mut nanos: Vec<f64>) -> String {
    nanos.sort_by(f64::total_cmp);
    let (least, greatest) = (nanos[0], nanos[nanos.len() - 1]);
    format!(
        "{:6.0} ({least:.0} to {greatest:.0})",
        nanos[nanos.len() / 2]
    )
}
