//! Carrier, by event and by poll.

use std::time::{Duration, Instant};

use steadfast::linux::carrier::CarrierBoard;
use steadfast::linux::interfaces::interface;
use steadfast::linux::links::{LinkSpec, LinkWatch};
use steadfast_core::PortId;
use steadfast_shell::env::{LinkEvent, Links};

use super::{DEADLINE, cable};
use crate::common::{Far, ip, runtime};

const CABLE: PortId = PortId(0);
const LAN: PortId = PortId(1);

fn spec(id: PortId, name: &str) -> LinkSpec {
    LinkSpec {
        id,
        name: name.to_owned(),
        direct: id == CABLE,
    }
}

/// Waits until the port is told to be so.
async fn told(watch: &mut LinkWatch, port: PortId, up: bool) {
    let wanted = LinkEvent { port, up };
    let told = async { while watch.changed().await.expect("links are watched") != wanted {} };
    let told = tokio::time::timeout(DEADLINE, told).await;
    told.unwrap_or_else(|_| panic!("never told {wanted:?}"));
}

/// Every port is told of at the start, up or down, there or not.
#[test]
fn links_each_port_is_told_at_the_start() {
    if !inside_own_namespace!("links_each_port_is_told_at_the_start") {
        return;
    }
    cable("a0", "b0");
    let ports = [spec(CABLE, "a0"), spec(LAN, "missing")];
    runtime().block_on(async {
        let board = CarrierBoard::new();
        let mut watch = LinkWatch::start(&ports, &board).unwrap();
        told(&mut watch, CABLE, true).await;
        told(&mut watch, LAN, false).await;
        let index = interface("a0").unwrap().unwrap().index;
        assert_eq!(board.seen(CABLE).unwrap().index, index);
        assert_eq!(board.seen(LAN).unwrap().index, 0);
    });
}

/// Both ends have the same index, as on network cards: the kernel then holds the event of a lost
/// carrier back for up to a second. The poll finds it at once (D18); how soon is printed.
#[test]
fn links_lost_carrier_is_found_although_the_event_is_held_back() {
    if !inside_own_namespace!("links_lost_carrier_is_found_although_the_event_is_held_back") {
        return;
    }
    let far = Far::new();
    let pid = far.pid();
    for (name, index) in [("a0", 50), ("a1", 51)] {
        let peer = format!("peer name {name} index {index} netns {pid}");
        ip(&format!("link add {name} index {index} type veth {peer}"));
        far.ip(&format!("link set {name} up"));
        ip(&format!("link set {name} up"));
    }
    let ports = [spec(CABLE, "a0"), spec(LAN, "a1")];
    let found = interface("a0").unwrap().unwrap();
    assert_eq!(found.iflink, found.index, "as on a network card");
    runtime().block_on(async {
        let mut watch = LinkWatch::start(&ports, &CarrierBoard::new()).unwrap();
        told(&mut watch, CABLE, true).await;
        told(&mut watch, LAN, true).await;
        for round in 0..5 {
            for (port, name) in [(CABLE, "a0"), (LAN, "a1")] {
                let before = Instant::now();
                far.ip(&format!("link set {name} down"));
                let after = Instant::now();
                told(&mut watch, port, false).await;
                let (seen, most) = (after.elapsed(), before.elapsed());
                println!("round {round}: {name} found {seen:?} after, at most {most:?}");
                far.ip(&format!("link set {name} up"));
                told(&mut watch, port, true).await;
            }
        }
    });
}

/// An interface that is removed is down; one that is made under its name is up, with its index.
#[test]
fn links_interface_goes_and_comes_back() {
    if !inside_own_namespace!("links_interface_goes_and_comes_back") {
        return;
    }
    cable("a0", "b0");
    runtime().block_on(async {
        let board = CarrierBoard::new();
        let mut watch = LinkWatch::start(&[spec(CABLE, "a0")], &board).unwrap();
        told(&mut watch, CABLE, true).await;
        let before = board.seen(CABLE).unwrap().index;
        ip("link del a0");
        told(&mut watch, CABLE, false).await;
        ip("link add filler type veth peer name filler2");
        cable("a0", "b0");
        told(&mut watch, CABLE, true).await;
        let now = board.seen(CABLE).unwrap().index;
        assert_eq!(now, interface("a0").unwrap().unwrap().index);
        assert_ne!(now, before, "another interface of the same name");
    });
}

/// Carrier without being set up is no carrier: the operator took the port down.
#[test]
fn links_port_that_is_set_down_is_down() {
    if !inside_own_namespace!("links_port_that_is_set_down_is_down") {
        return;
    }
    cable("a0", "b0");
    runtime().block_on(async {
        let ports = [spec(LAN, "a0")];
        let mut watch = LinkWatch::start(&ports, &CarrierBoard::new()).unwrap();
        told(&mut watch, LAN, true).await;
        ip("link set a0 down");
        told(&mut watch, LAN, false).await;
        ip("link set a0 up");
        told(&mut watch, LAN, true).await;
    });
}

/// The thread ends with its handle, whatever it waits for: a daemon that stops does not hang.
#[test]
fn links_watch_ends_when_dropped() {
    let before = Instant::now();
    runtime().block_on(async {
        let watch = LinkWatch::start(&[], &CarrierBoard::new()).unwrap();
        drop(watch);
    });
    assert!(before.elapsed() < Duration::from_secs(2));
}
