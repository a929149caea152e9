//! Stories of a configuration that the kernel's side takes while it serves or stands by: whole, or
//! not at all, and no address speaks that the fence no longer knows.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use steadfast::linux::addresses::Addresses;
use steadfast::linux::carrier::CarrierBoard;
use steadfast::linux::clock::Monotonic;
use steadfast::linux::dataplane::{KernelPlane, STAGED_MIN};
use steadfast::linux::fence::{Fence, FenceSpec};
use steadfast_core::config::{
    Config, Digests, Parts, PeerConfig, Policy, PortAction, PortConfig, Timing,
};
use steadfast_core::effect::{Failure, Forwarding};
use steadfast_core::wire::auth::{Key, KeyRing, Phase, Secret};
use steadfast_core::wire::carriage::Carriage;
use steadfast_core::{ClusterId, Epoch, MacAddr, NodeId, PortId};
use steadfast_shell::env::Dataplane as _;

use super::Story;
use super::guarded::with_runtime;
use super::world::{CLIENT, LAN_UNIT, LAN_UNIT6, World, hooks};

pub(super) const STORIES: &[Story] = &[
    ("changed_in_part_is_put_back", put_back),
    ("changed_standby_forgets_before_it_is_unfenced", forgets),
    ("changed_name_of_an_interface_takes_its_address", renamed),
];

/// The LAN with these virtual addresses, and a peer.
fn config(world: &World, virtuals: Vec<IpAddr>) -> Config {
    let (cluster, own, other) = (ClusterId([7; 16]), NodeId(1), NodeId(2));
    let key = Key {
        id: 1,
        secret: Secret::new(b"correct horse battery staple").unwrap(),
        phase: Phase::Enforce,
    };
    let lan = PortConfig {
        id: PortId(1),
        name: "lan0".to_owned(),
        mac: MacAddr(world.lan.mac),
        direct: false,
        heartbeat: true,
        secondary: false,
        watched: true,
        units: vec![(LAN_UNIT.into(), 24), (LAN_UNIT6.into(), 64)],
        virtuals,
        virtual_mac: None,
        action: PortAction::Add,
        neighbour: None,
        via: None,
    };
    let parts = Parts {
        cluster,
        virtual_router: 51,
        node: own,
        peers: vec![PeerConfig {
            node: other,
            units: vec![(PortId(1), CLIENT.into())],
        }],
        ports: vec![lan],
        checks: Vec::new(),
        timing: Timing::default(),
        policy: Policy::default(),
        witness: None,
        carriage: Carriage::default(),
        keys: KeyRing::new(cluster, own, &[own, other], vec![key]).unwrap(),
        digests: Digests::default(),
    };
    Config::new(parts).unwrap()
}

/// The kernel's side under this configuration; each new fence is shown before it is built.
fn plane(world: &World, config: &Config, show: impl Fn() + Send + 'static) -> KernelPlane {
    let mut base = world.spec();
    base.hooks = hooks();
    base.served.truncate(1);
    let spec = move |config: &Config| -> FenceSpec {
        show();
        let mut spec = base.clone();
        spec.served[0]
            .virtuals
            .clone_from(&config.ports[0].virtuals);
        spec
    };
    let fence = Fence::install(&spec(config)).unwrap();
    let addresses = Addresses::open(config.ports[0].virtuals.clone()).unwrap();
    let board = CarrierBoard::new();
    KernelPlane::start(fence, addresses, config, (Monotonic::start(), &board), spec).unwrap()
}

fn virtual_address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 1, last)
}

/// Whether the LAN has this address.
fn has(last: u8) -> bool {
    let mut ip = Command::new("ip");
    let shown = ip
        .args(["-o", "-4", "addr", "show", "dev", "lan0"])
        .output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    shown.contains(&format!(" {}/32 ", virtual_address(last)))
}

/// The kernel takes one address and refuses the next. The node goes on by the configuration before,
/// so that is what the kernel holds, all of it and nothing else; then the change is asked for anew.
fn put_back() {
    with_runtime(async || {
        let world = World::new();
        let older = config(&world, vec![virtual_address(7).into()]);
        let refused = "fd00:1::8".parse().unwrap();
        let newer = config(&world, vec![virtual_address(8).into(), refused]);
        let mut plane = plane(&world, &older, || {});
        let epoch = Epoch(1);
        plane.apply(Forwarding::Active { epoch }).await.unwrap();
        assert!(has(7));
        let ipv6 = "/proc/sys/net/ipv6/conf/lan0/disable_ipv6";
        fs::write(ipv6, "1").unwrap();
        assert_eq!(plane.reconfigure(&newer).await, Err(Failure::Refused));
        assert!(has(7) && !has(8));
        assert!(world.answers(virtual_address(7)));
        fs::write(ipv6, "0").unwrap();
        assert_eq!(plane.reconfigure(&newer).await, Ok(()));
        assert!(!has(7) && has(8));
        plane.undo().all().await;
    });
}

/// A standby that holds its addresses ready removes those that it shall not hold any more while the
/// fence still silences them: the active may serve them yet.
fn forgets() {
    with_runtime(async || {
        let world = World::new();
        let ready = || (100_u8..).take(STAGED_MIN);
        let of = |all: Vec<u8>| {
            let all = all.into_iter().map(|last| virtual_address(last).into());
            config(&world, all.collect())
        };
        let older = of(ready().chain([90]).collect());
        let seen = Arc::new(AtomicUsize::new(0));
        let there = Arc::clone(&seen);
        let mut plane = plane(&world, &older, move || {
            there.store(usize::from(has(90)) + 1, Ordering::Relaxed);
        });
        assert!(has(90) && has(100));
        assert!(!world.answers(virtual_address(90)));
        assert_eq!(plane.reconfigure(&of(ready().collect())).await, Ok(()));
        assert_eq!(
            seen.load(Ordering::Relaxed),
            1,
            "gone before the fence changed"
        );
        assert!(!has(90) && has(100));
        plane.undo().all().await;
    });
}

/// Somebody gives the interface another name. Its address is no port's any more, so it goes at the
/// next look, and does not stay behind when the role moves on.
fn renamed() {
    with_runtime(async || {
        let world = World::new();
        let config = config(&world, vec![virtual_address(7).into()]);
        let mut plane = plane(&world, &config, || {});
        let epoch = Epoch(1);
        plane.apply(Forwarding::Active { epoch }).await.unwrap();
        let rename = |from: &str, to: &str| {
            for words in [vec!["set", from, "down"], vec!["set", from, "name", to]] {
                let done = Command::new("ip").arg("link").args(words).status();
                assert!(done.is_ok_and(|it| it.success()));
            }
        };
        rename("lan0", "spare0");
        plane.check_fence().await;
        let shown = Command::new("ip").args(["-o", "-4", "addr"]).output();
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        assert!(!shown.contains("10.0.1.7"), "{shown}");
        plane.undo().all().await;
    });
}
