//! In which form messages travel on a port: what does not pass is replaced, what passes again is
//! used again, and nobody else can turn it (D4, R2.5).

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use steadfast_core::config::PeerConfig;
use steadfast_core::effect::{Alert, Command, Effect};
use steadfast_core::role::EffectiveRole::{Active, Standby};
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::carriage::{self, Form, Forms, UDP_PORT};
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::{MacAddr, NodeId, PortId};

use crate::look::is_ours;
use crate::setup::{A, B, CABLE, Change, LAN, WAN, address, mac};
use crate::world::World;

const ALL: Change = |_, parts| {
    parts.carriage.forms = Form::ALL.into_iter().fold(Forms::default(), Forms::and);
};
/// Where the router of the LAN is.
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 9, 0xfe]);
const UNICAST: Change = |_, parts| parts.carriage.forms = Forms::only(Form::Unicast);

fn form(world: &World, place: usize, port: u8) -> Option<Form> {
    let paths = &world.status(place).peers[0].paths;
    let found = paths.iter().find(|path| path.port == PortId(port));
    found.expect("a path for each port").form
}

/// The form of an advertisement; none of what is none.
fn form_of(frame: &[u8]) -> Option<Form> {
    let opened = carriage::open(frame, UDP_PORT).map(|opened| opened.form);
    opened.or(is_ours(frame).then_some(Form::Ethernet))
}

/// Forms in which a gateway sent on the LAN since the log had so many entries.
fn sent_since(world: &World, place: usize, from: usize) -> Vec<Form> {
    let sent = world.log[from..].iter().filter_map(|(_, by, effect)| {
        let Effect::Transmit { port, frame } = effect else {
            return None;
        };
        (*by == place && *port == PortId(LAN)).then(|| form_of(frame))?
    });
    let mut forms: Vec<Form> = sent.collect();
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// While the first form passes no other is sent, and the cable, which has no address, knows no
/// other.
#[test]
fn forms_are_the_first_one_while_it_passes() {
    let mut world = World::settled(ALL);
    world.run(3_000);
    let from = world.log.len();
    world.run(10_000);
    for place in [A, B] {
        assert_eq!(sent_since(&world, place, from), [Form::Ethernet]);
        assert_eq!(form(&world, place, LAN), Some(Form::Ethernet));
        assert_eq!(form(&world, place, CABLE), Some(Form::Ethernet));
    }
}

/// Each form is found when all before it are dropped on the LAN, said once, and left again when a
/// better one passes; the role never moves.
#[test]
fn forms_fall_back_and_come_back() {
    for expected in [Form::Multicast, Form::Broadcast, Form::Unicast] {
        let mut world = World::settled(ALL);
        world.run(3_000);
        world.loss = match expected {
            Form::Multicast => |_, port, frame| port == LAN && is_before(frame, Form::Multicast),
            Form::Broadcast => |_, port, frame| port == LAN && is_before(frame, Form::Broadcast),
            _ => |_, port, frame| port == LAN && is_before(frame, Form::Unicast),
        };
        world.run(1_500);
        assert_eq!(world.alerts(A), [], "a better one was hardly tried");
        world.run(6_500);
        for place in [A, B] {
            assert_eq!(form(&world, place, LAN), Some(expected), "{place}");
            assert_eq!(form(&world, place, WAN), Some(Form::Ethernet));
            let port = PortId(LAN);
            let told = Alert::FormFallback {
                port,
                form: expected,
            };
            let alerts = world.alerts(place);
            assert_eq!(alerts.iter().filter(|alert| **alert == told).count(), 1);
        }
        world.heal();
        world.run(8_000);
        for place in [A, B] {
            assert_eq!(
                form(&world, place, LAN),
                Some(Form::Ethernet),
                "{expected:?}"
            );
        }
        assert_eq!(world.roles(), (Active, Standby));
    }
}

/// Whether it is an advertisement in a more preferred form.
fn is_before(frame: &[u8], form: Form) -> bool {
    form_of(frame).is_some_and(|it| it < form)
}

/// Only datagrams to each peer alone may be used: whoever never heard the other asks its kernel
/// where it is. A hand-over needs every message of it.
#[test]
fn forms_unicast_alone_finds_the_peer() {
    let mut world = World::settled(UNICAST);
    world.run(3_000);
    assert_eq!(world.roles(), (Active, Standby));
    world.command(A, Command::Release);
    world.run(1_000);
    assert_eq!(world.roles(), (Standby, Active));
    assert_eq!(form(&world, A, LAN), Some(Form::Unicast));
    assert_eq!(
        world.alerts(A),
        [],
        "it is the only one, so it is no fallback"
    );
}

/// Whoever sends an old message of the peer again from its own station does not draw the peer's
/// messages to itself.
#[test]
fn forms_replay_does_not_move_the_peers_station() {
    let mut world = World::settled(UNICAST);
    world.run(3_000);
    let last = world
        .log
        .iter()
        .rev()
        .find_map(|(_, by, effect)| match effect {
            Effect::Transmit { port, frame } if *by == B && *port == PortId(LAN) => {
                form_of(frame).map(|_| frame.clone())
            }
            _ => None,
        });
    let thief = MacAddr([2, 0, 0, 0, 0xbb, 9]);
    let mut copy = last.expect("B advertises");
    copy[6..12].copy_from_slice(&thief.0);
    world.inject(LAN, &copy);
    let from = world.log.len();
    world.run(1_000);
    let drawn = world.log[from..].iter().any(|(_, _, effect)| match effect {
        Effect::Transmit { frame, .. } => {
            Frame::parse(frame).is_some_and(|it| it.destination == thief)
        }
        _ => false,
    });
    assert!(!drawn, "messages go to the thief");
    assert_eq!(form(&world, A, LAN), Some(Form::Unicast));
}

/// An advertisement that says "active" passes the guard in a datagram as it does in a frame: an
/// active that can say so by datagrams alone keeps its lease, and its address.
#[test]
fn forms_datagrams_keep_the_lease() {
    let mut world = World::settled(ALL);
    world.run(2_000);
    world.loss = |_, port, frame| port == CABLE || form_of(frame) == Some(Form::Ethernet);
    world.run(20_000);
    assert_eq!(world.roles(), (Active, Standby));
    assert_eq!(form(&world, B, LAN), Some(Form::Multicast));
}

/// A datagram to the port that is no advertisement, or that a router passed on, is nobody's.
#[test]
fn forms_foreign_datagrams_are_ignored() {
    let mut world = World::settled(ALL);
    let before = world.status(B).drops;
    let mut frame = Vec::new();
    steadfast_core::wire::ethernet::header(
        &mut frame,
        MacAddr::BROADCAST,
        MacAddr([2, 0, 0, 0, 0xbb, 9]),
        ethertype::STEADFAST,
    );
    frame.extend_from_slice(b"not of ours");
    let route = carriage::Route {
        station: MacAddr::BROADCAST,
        from: address(LAN, 77),
        to: Ipv4Addr::BROADCAST,
        port: UDP_PORT,
    };
    let mut datagram = carriage::datagram(&frame, &route);
    world.inject(LAN, &datagram);
    world.run(1);
    assert_eq!(world.status(B).drops.undecodable, before.undecodable + 1);
    datagram[22] = 64;
    world.inject(LAN, &datagram);
    world.run(1);
    assert_eq!(world.status(B).drops.undecodable, before.undecodable + 1);
    assert_eq!(world.roles(), (Active, Standby));
}

/// What a peer on this segment said is not heard through a router, however true it is: whoever may
/// send from elsewhere could else send its words again (RFC 5082).
#[test]
fn forms_near_peer_is_not_heard_through_a_router() {
    let mut world = World::settled(|place, parts| {
        UNICAST(place, parts);
        parts.ports[usize::from(LAN)].via = Some(address(LAN, 254));
    });
    world.run(3_000);
    let from = world.log.len();
    world.loss = |_, port, _| port != CABLE;
    world.run(200);
    let lost = world.log[from..]
        .iter()
        .find_map(|(_, by, effect)| match effect {
            Effect::Transmit { port, frame } if *by == B && *port == PortId(LAN) => {
                form_of(frame).map(|_| frame.clone())
            }
            _ => None,
        });
    let mut passed_on = lost.expect("B advertises, and A does not hear it");
    world.heal();
    let before = world.status(A).drops;
    passed_on[22] = 254;
    world.inject(LAN, &passed_on);
    world.run(1);
    let after = world.status(A).drops;
    assert_eq!(after.beyond, before.beyond + 1);
    assert_eq!(after.stale, before.stale);
}

/// What a peer beyond the router needs is sent to it alone: the near peer hears each message once,
/// in the form that passes best, and a worse one is found and told as on any port.
#[test]
fn forms_of_near_peers_are_their_own_beside_one_beyond_a_router() {
    const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
    let mut world = World::settled(|place, parts| {
        ALL(place, parts);
        let lan = usize::from(LAN);
        parts.timing.initial_wait = Duration::ZERO;
        parts.ports[lan].via = Some(address(LAN, 254));
        parts.peers.push(PeerConfig {
            node: NodeId(77),
            units: vec![(PortId(LAN), FAR)],
        });
    });
    for gateway in [A, B] {
        let own = mac(gateway, LAN);
        let answer = Arp {
            operation: Operation::Reply,
            sender_mac: ROUTER,
            sender_ip: address(LAN, 254),
            target_mac: own,
            target_ip: Ipv4Addr::UNSPECIFIED,
        };
        world.inject(LAN, &answer.frame(own, ROUTER));
    }
    world.run(3_000);
    let from = world.log.len();
    world.run(1_000);
    let (mut near, mut far) = (Vec::new(), 0);
    for (_, by, effect) in &world.log[from..] {
        let Effect::Transmit { port, frame } = effect else {
            continue;
        };
        let parsed = Frame::parse(frame).expect("a frame");
        match form_of(frame) {
            Some(_) if *by != A || *port != PortId(LAN) => {}
            Some(Form::Unicast) if parsed.destination == ROUTER => far += 1,
            Some(form) => near.push(form),
            None => {}
        }
    }
    let advertised = near.iter().filter(|form| **form == Form::Ethernet).count();
    assert_eq!(near.len(), advertised, "{near:?}");
    assert!(advertised >= 9 && far >= advertised, "{advertised}, {far}");
    world.loss = |_, port, frame| port == LAN && is_before(frame, Form::Broadcast);
    world.run(8_000);
    let port = PortId(LAN);
    let fell = |it: &Alert| matches!(it, Alert::FormFallback { port: at, .. } if *at == port);
    assert!(world.alerts(A).iter().any(fell), "{:?}", world.alerts(A));
}

/// Nobody behind a router can make this node say anything: a message in its own name from an
/// earlier life, and one that does not verify, are not listened to.
#[test]
fn forms_strangers_behind_a_router_raise_no_alarm() {
    let mut world = World::settled(|place, parts| {
        UNICAST(place, parts);
        parts.ports[usize::from(LAN)].via = Some(address(LAN, 254));
    });
    let from = world.log.len();
    world.run(300);
    let own = world.log[from..].iter().find_map(|(_, by, effect)| {
        let Effect::Transmit { port, frame } = effect else {
            return None;
        };
        let said = *by == A && *port == PortId(LAN) && form_of(frame).is_some();
        said.then(|| frame.clone())
    });
    let mut own = own.expect("A advertises");
    // From a station beyond, with another hop limit; a life that is over, as far as A can tell.
    own[..6].copy_from_slice(&mac(A, LAN).0);
    own[6..12].copy_from_slice(&ROUTER.0);
    own[22] = 60;
    world.kill(A);
    world.start(A);
    world.run(3_000);
    world.forget();
    let before = world.status(A).drops;
    world.inject(LAN, &own);
    let last = own.len() - 1;
    own[last] ^= 1;
    world.inject(LAN, &own);
    world.run(1);
    let after = world.status(A).drops;
    assert_eq!(after.beyond, before.beyond + 2);
    assert_eq!(after.unverified, before.unverified);
    assert_eq!(world.alerts(A), []);
}
