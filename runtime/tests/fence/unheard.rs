//! Stories of words that no port can take: the cable that alone carries heartbeats is dark, or its
//! interface is gone. They keep a living lease, and no other.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use steadfast::linux::carrier::CarrierBoard;
use steadfast::linux::clock::Monotonic;
use steadfast::linux::dataplane::PlaneCounters;
use steadfast::linux::fence::Fence;
use steadfast::linux::lease::Lease;
use steadfast::linux::packet::{PacketPorts, PortSpec};
use steadfast_core::{MacAddr, PortId};
use steadfast_shell::env::{Frames, Sent};

use super::Story;
use super::frames::advert;
use super::world::{L, LAN_VIRTUAL, World, hooks};

pub(super) const STORIES: &[Story] = &[
    ("unheard_words_keep_a_living_lease", || kept("set ha0 down")),
    ("unheard_words_need_no_interface", || kept("del ha0")),
    ("unheard_words_do_not_undo_an_offer", offered),
];

const ACTIVE: u8 = 2;
const OFFERING: u8 = 3;
const STANDBY: u8 = 1;
const HA: PortId = PortId(3);
/// Until something surely has happened.
const PATIENCE: Duration = Duration::from_secs(5);

struct Gateway {
    world: World,
    lease: Arc<Lease>,
    ports: PacketPorts,
}

/// A gateway whose only heartbeat port, the cable's, has just become so.
fn gateway(change: &str) -> Gateway {
    let world = World::new();
    let mut spec = world.spec();
    spec.hooks = hooks();
    let fence = Fence::install(&spec).unwrap();
    let time = Monotonic::start();
    let lease = Lease::start(fence, time, Arc::new(PlaneCounters::default())).unwrap();
    let spec = PortSpec {
        id: HA,
        name: "ha0".to_owned(),
        mac: MacAddr(world.ha.mac),
        heartbeat: true,
        served: false,
        datagrams: None,
        routed: false,
    };
    let ports = PacketPorts::open(&[spec], time, &CarrierBoard::new()).unwrap();
    let ports = ports.guarded_by(lease.guard());
    let mut ip = Command::new("ip");
    let changed = ip.arg("link").args(change.split(' ')).status();
    assert!(changed.is_ok_and(|it| it.success()));
    Gateway {
        world,
        lease,
        ports,
    }
}

impl Gateway {
    async fn say(&mut self, mark: u8) -> Sent {
        self.ports.send(HA, &advert(mark)).await
    }
}

fn with_runtime(story: impl AsyncFnOnce()) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(story());
}

/// Without a lease they begin none; with one they renew it, and "active" alone does; once it has
/// ended their sender is told, and they begin none again.
fn kept(change: &str) {
    with_runtime(async || {
        let mut gateway = gateway(change);
        assert_eq!(gateway.say(ACTIVE).await, Sent::Refused, "no lease");
        gateway.lease.arm().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < 3 * L {
            assert_eq!(gateway.say(ACTIVE).await, Sent::NoCarrier);
            assert!(gateway.world.answers(LAN_VIRTUAL));
        }
        let begun = Instant::now();
        while gateway.world.answers(LAN_VIRTUAL) {
            for mark in [OFFERING, STANDBY] {
                gateway.say(mark).await;
            }
            assert!(begun.elapsed() < PATIENCE, "these renew nothing");
        }
        while gateway.say(ACTIVE).await != Sent::Refused {
            assert!(!gateway.world.answers(LAN_VIRTUAL), "nothing begins anew");
            assert!(begun.elapsed() < PATIENCE, "its sender must be told");
        }
        gateway.lease.unfence().unwrap();
    });
}

/// A lease that was promised to end does.
fn offered() {
    with_runtime(async || {
        let mut gateway = gateway("set ha0 down");
        gateway.lease.arm().unwrap();
        assert_eq!(gateway.say(ACTIVE).await, Sent::NoCarrier);
        let begun = Instant::now();
        gateway.lease.offer(L / 4).unwrap();
        while gateway.world.answers(LAN_VIRTUAL) {
            gateway.say(ACTIVE).await;
            assert!(begun.elapsed() < PATIENCE, "the offer holds");
        }
        gateway.lease.unfence().unwrap();
    });
}
