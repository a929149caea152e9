//! A virtual MAC: the addresses have a station of their own, which is nobody's and the owner's.

use core::time::Duration;

use steadfast_core::config::Parts;
use steadfast_core::effect::{Alert, Command, Effect};
use steadfast_core::role::EffectiveRole::{Active, Standby};
use steadfast_core::wire::announce;
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::{ConfigRefused, Instant, MacAddr};

use crate::setup::{A, B, LAN, WAN, address};
use crate::world::World;

/// Where a frame says what its sender is, and what an active says.
const MARK_AT: usize = 15;
const MARK_ACTIVE: u8 = 2;
const STATION: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 51]);

fn with_station(_: usize, parts: &mut Parts) {
    for port in parts.ports.iter_mut().filter(|port| port.served()) {
        port.virtual_mac = Some(STATION);
    }
}

/// ARP that was sent since the story began: by whom, from and to which station, what.
fn arps(world: &World) -> Vec<(usize, MacAddr, MacAddr, Arp)> {
    let arp = |(_, place, effect): &(_, usize, Effect)| {
        let Effect::Transmit { frame, .. } = effect else {
            return None;
        };
        let frame = Frame::parse(frame)?;
        let arp = (frame.ethertype == ethertype::ARP).then(|| Arp::parse(frame.payload))??;
        Some((*place, frame.source, frame.destination, arp))
    };
    world.log.iter().filter_map(arp).collect()
}

/// The standby asks for a virtual address at the virtual MAC and for the active's own at that; what
/// it announces after its claim comes from the virtual MAC, and everything else from its own.
#[test]
fn stations_are_asked_and_announced() {
    let mut world = World::settled(with_station);
    world.run(1_000);
    world.power_off(A);
    world.run_until(1_000, |world| world.roles().1 == Active);
    world.run(50);
    let virtuals = [LAN, WAN].map(|port| address(port, 1));
    let mut seen = (0, 0);
    for (place, source, destination, arp) in arps(&world) {
        let announces = arp.sender_ip == arp.target_ip;
        let owned = virtuals.contains(&arp.target_ip);
        if announces {
            assert_eq!((place, source, arp.sender_mac), (B, STATION, STATION));
            seen.0 += 1;
        } else {
            assert_ne!(source, STATION, "a question is the node's own: {arp:?}");
            assert_ne!(arp.sender_mac, STATION);
            let asked = [STATION, MacAddr::BROADCAST].contains(&destination);
            assert!(!owned || (place == B && asked), "{arp:?}");
            assert!(owned || destination != STATION, "{arp:?}");
            seen.1 += usize::from(owned);
        }
    }
    assert!(seen.0 > 0 && seen.1 > 0, "{seen:?}");
}

/// A frame from the virtual MAC is the active's to a standby. To the active it is somebody else's,
/// or its own that came back: it is told, announced against, and proves no reception.
#[test]
fn stations_of_the_other_are_a_rival_to_the_active_alone() {
    let mut world = World::settled(with_station);
    world.run(1_000);
    world.forget();
    world.inject(LAN, &announce::gratuitous_request(STATION, address(LAN, 1)));
    world.run(10);
    let told = |(_, place, effect): &(_, usize, Effect)| match effect {
        Effect::Alert(Alert::AddressConflict { .. }) => panic!("{place}: no other MAC is there"),
        Effect::Alert(Alert::StationUsed { port }) => Some((*place, port.0)),
        _ => None,
    };
    let told: Vec<_> = world.log.iter().filter_map(told).collect();
    assert_eq!(told, [(A, LAN)]);
    let again = arps(&world);
    assert!(
        again
            .iter()
            .any(|(place, source, ..)| (*place, *source) == (A, STATION))
    );
    assert!(
        again
            .iter()
            .all(|(place, source, ..)| *place == A || *source != STATION)
    );
}

/// Switches see the station with the first frame of each burst, and every ten seconds: a switch
/// that drops announcements, or has forgotten it, would lead clients nowhere.
#[test]
fn stations_are_shown_to_switches() {
    let mut world = World::settled(with_station);
    let begun = world.now;
    world.run(60_000);
    let shown = |(at, place, effect): &(Instant, usize, Effect)| {
        let Effect::Transmit { port, frame } = effect else {
            return None;
        };
        let frame = Frame::parse(frame)?;
        let ours = frame.ethertype == ethertype::RARP && frame.source == STATION;
        ours.then_some((*at, *place, port.0))
    };
    let shown: Vec<_> = world.log.iter().filter_map(shown).collect();
    assert!(shown.iter().all(|(_, place, _)| *place == A), "{shown:?}");
    let of = |port| shown.iter().filter(move |(.., it)| *it == port);
    for port in [LAN, WAN] {
        let times: Vec<_> = of(port).map(|(at, ..)| *at).collect();
        assert!(times.len() >= 6, "{times:?}");
        let mut last = begun;
        for at in times {
            assert!(at.since(last) <= Duration::from_millis(10_001), "{shown:?}");
            last = at;
        }
    }
}

/// A switch that was led astray sends what is for the station elsewhere, just as the active's
/// daemon stands still: the peer's own address is answered for and the virtual one is not.
/// Everybody is asked as well, so that is no lapse, and nobody claims beside it.
#[test]
fn stations_led_astray_are_no_lapse() {
    let mut world = World::settled(with_station);
    world.run(2_000);
    world.loss = |_, _, bytes| Frame::parse(bytes).expect("a frame").destination == STATION;
    world.stop(A);
    world.run(150);
    world.thaw(A);
    world.run(2_000);
    assert_eq!(world.watch.both, [], "never both");
    assert_eq!(world.roles(), (Active, Standby));
}

/// Its taker claimed and was killed before anybody heard of it, and the switch leads the station
/// back to the giver: the giver asks everybody, is answered, and does not serve beside the other.
#[test]
fn stations_of_a_dead_taker_are_found_by_asking_everybody() {
    let mut world = World::settled(with_station);
    world.loss = |from, _, bytes| {
        let frame = Frame::parse(bytes).expect("a frame");
        let claims = frame.ethertype == ethertype::STEADFAST && bytes[MARK_AT] == MARK_ACTIVE;
        frame.destination == STATION || (from == B && claims)
    };
    world.command(A, Command::Release);
    world.run_until(1_000, |world| world.roles().1 == Active);
    world.kill(B);
    world.run(1_000);
    let both = world.watch.longest_with_both();
    assert!(both <= Duration::from_millis(30), "beyond V: {both:?}");
    assert_eq!(world.roles().0, Active, "once the other's lease is over");
    let asked = |(place, _, destination, arp): &(usize, MacAddr, MacAddr, Arp)| {
        let everybody = *destination == MacAddr::BROADCAST;
        *place == A && everybody && arp.operation == Operation::Request
    };
    assert!(arps(&world).iter().any(asked));
}

/// Nothing from the virtual MAC comes through: the standby says so, and claims nothing for it.
#[test]
fn stations_that_are_not_heard_are_told() {
    let withheld = |world: &World| {
        let status = world.status(B);
        let path = status.peers[0].paths.iter().find(|it| it.port.0 == LAN);
        path.expect("a path").withholds
    };
    let mut world = World::settled(with_station);
    world.run(3_000);
    assert!(!withheld(&world));
    world.loss = |_, port, bytes| {
        let from = Frame::parse(bytes).expect("a frame").source;
        port == LAN && from == STATION
    };
    world.run(5_000);
    assert!(withheld(&world));
    assert_eq!(world.roles(), (Active, Standby));
    world.loss = |_, _, _| false;
    world.run_for(Duration::from_secs(1));
    assert!(!withheld(&world));
}

/// Another station would have to be learnt by every host: a reload does not do that.
#[test]
fn stations_change_at_a_restart_alone() {
    let mut world = World::settled(with_station);
    let refused = world.reload(A, |_, _| {});
    assert_eq!(refused, Err(ConfigRefused::VirtualMac));
    assert_eq!(world.reload(A, with_station), Ok(()));
}
