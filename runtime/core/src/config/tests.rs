//! Each rule of a configuration broken on its own, and all of them reported together.

use core::net::IpAddr;
use core::time::Duration;

use super::witness::{Asks, TERM_MAX, Witness};
use super::{
    Config, ConfigError, Digests, Parts, PeerConfig, Policy, PortAction, PortConfig, Timing,
};
use crate::role::ConfiguredRole;
use crate::wire::auth::{Key, KeyRing, Phase, Secret};
use crate::wire::carriage::{Carriage, Form, Forms};
use crate::{ClusterId, MacAddr, NodeId, PortId};

const CLUSTER: ClusterId = ClusterId([7; 16]);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn port(id: u8, name: &str) -> PortConfig {
    PortConfig {
        id: PortId(id),
        name: name.to_owned(),
        mac: MacAddr([2, 0, 0, 0, 1, id]),
        direct: false,
        heartbeat: true,
        secondary: false,
        watched: true,
        units: Vec::new(),
        virtuals: Vec::new(),
        virtual_mac: None,
        action: PortAction::Add,
        neighbour: None,
        via: None,
    }
}

fn keys() -> KeyRing {
    let key = Key {
        id: 1,
        secret: Secret::new(b"correct horse battery staple").expect("a good secret"),
        phase: Phase::Enforce,
    };
    KeyRing::new(CLUSTER, NodeId(1), &[NodeId(2)], vec![key]).expect("good keys")
}

/// A cable and a LAN of both families: nothing wrong with it.
fn sound() -> Parts {
    let mut cable = port(0, "ha0");
    cable.direct = true;
    let mut lan = port(1, "lan0");
    lan.units = vec![(ip("10.0.1.2"), 24), (ip("fd00:1::2"), 64)];
    lan.virtuals = vec![ip("10.0.1.1"), ip("fd00:1::1")];
    Parts {
        cluster: CLUSTER,
        virtual_router: 51,
        node: NodeId(1),
        peers: vec![PeerConfig {
            node: NodeId(2),
            units: vec![(PortId(1), ip("10.0.1.3"))],
        }],
        ports: vec![cable, lan],
        timing: Timing::default(),
        policy: Policy::default(),
        witness: None,
        keys: keys(),
        checks: Vec::new(),
        carriage: Carriage::default(),
        digests: Digests::default(),
    }
}

/// What a change to a sound configuration is refused for.
fn refused(change: impl FnOnce(&mut Parts)) -> Vec<ConfigError> {
    let mut parts = sound();
    change(&mut parts);
    Config::new(parts).err().unwrap_or_default()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The house's defaults are themselves a valid configuration.
#[test]
fn config_defaults_are_sound() {
    assert_eq!(refused(|_| {}), []);
    let config = Config::new(sound()).expect("sound");
    assert_eq!(config.port_index(PortId(1)), Some(1));
    assert_eq!(config.port_index(PortId(9)), None);
}

/// Intervals from 3.3 ms to 60 s, both included (R2.1).
#[test]
fn config_interval_has_both_bounds() {
    let with = |interval: Duration| {
        refused(|parts| {
            parts.timing.interval = interval;
            parts.timing.dead_interval = interval * 3 + ms(20);
            parts.timing.lease = interval * 3 + ms(20);
            parts.timing.offer = ms(10);
            parts.timing.tail = ms(10);
        })
    };
    let least = Duration::from_micros(3_300);
    let most = Duration::from_secs(60);
    assert_eq!(with(least), []);
    assert_eq!(with(most), []);
    for wrong in [least - Duration::from_nanos(1), most + ms(1)] {
        assert_eq!(with(wrong), [ConfigError::Interval(wrong)]);
    }
}

/// A dead interval that ends before the next advertisement can come would kill every peer.
#[test]
fn config_dead_interval_outlasts_an_interval() {
    let wrong = refused(|parts| parts.timing.dead_interval = ms(105));
    assert_eq!(wrong, [ConfigError::DeadInterval(ms(105), ms(105))]);
    assert_eq!(refused(|parts| parts.timing.dead_interval = ms(106)), []);
}

/// The kernel ends a lease up to 6 ms early: shorter than interval + slack + 8 ms, a healthy active
/// would lose it between two advertisements (D9).
#[test]
fn config_lease_outlasts_an_interval_and_the_kernels_haste() {
    let wrong = refused(|parts| parts.timing.lease = ms(112));
    assert_eq!(wrong, [ConfigError::Lease(ms(112), ms(113))]);
    assert_eq!(refused(|parts| parts.timing.lease = ms(113)), []);
}

/// The initial wait is off, or 10 s to 180 s (R12.2).
#[test]
fn config_initial_wait_is_off_or_in_range() {
    for good in [0, 10_000, 180_000] {
        assert_eq!(refused(|parts| parts.timing.initial_wait = ms(good)), []);
    }
    for wrong in [1, 9_999, 180_001] {
        let errors = refused(|parts| parts.timing.initial_wait = ms(wrong));
        assert_eq!(errors, [ConfigError::InitialWait(ms(wrong))]);
    }
}

/// Virtual router 0 does not exist; nor do priorities 0 (resigns) and 255 (owner) (RFC 9568
/// §5.2.4).
#[test]
fn config_router_number_and_priority_have_reserved_values() {
    let errors = refused(|parts| parts.virtual_router = 0);
    assert_eq!(errors, [ConfigError::VirtualRouter]);
    for wrong in [0, 255] {
        let errors = refused(|parts| parts.policy.priority = wrong);
        assert_eq!(errors, [ConfigError::Priority(wrong)]);
    }
    for good in [1, 254] {
        assert_eq!(refused(|parts| parts.policy.priority = good), []);
    }
}

/// Node ids are 1 to 254 and unique, this node's own included (R1.3).
#[test]
fn config_node_ids_are_unique_and_in_range() {
    for (own, peer, wrong) in [(2, 2, 2), (0, 2, 0), (1, 255, 255), (1, 0, 0)] {
        let errors = refused(|parts| {
            parts.node = NodeId(own);
            parts.peers[0].node = NodeId(peer);
        });
        let foreign = |error: &ConfigError| *error == ConfigError::ForeignKeys;
        let errors: Vec<ConfigError> = errors.into_iter().filter(|it| !foreign(it)).collect();
        assert_eq!(
            errors,
            [ConfigError::NodeIds(NodeId(wrong))],
            "own {own}, peer {peer}"
        );
    }
}

/// An advertisement has room for 32 nodes.
#[test]
fn config_holds_at_most_32_nodes() {
    let with = |count: u8| {
        refused(|parts| {
            let peer = |node| PeerConfig {
                node: NodeId(node),
                units: Vec::new(),
            };
            parts.peers = (2..2 + count).map(peer).collect();
        })
    };
    assert_eq!(with(31), []);
    assert_eq!(with(32), [ConfigError::Nodes(33)]);
}

/// Ports have their own number, below 16, and their own name.
#[test]
fn config_ports_are_told_apart() {
    let with = |id, name: &'static str| refused(|parts| parts.ports.push(port(id, name)));
    assert_eq!(with(2, "wan0"), []);
    assert_eq!(with(15, "wan0"), []);
    for (id, name) in [(1, "wan0"), (2, "lan0"), (16, "wan0")] {
        let errors = with(id, name);
        assert_eq!(
            errors,
            [ConfigError::Ports(name.to_owned())],
            "{id}, {name}"
        );
    }
}

/// A node without a way to be heard, or without anything to serve, is not a gateway.
#[test]
fn config_needs_a_heartbeat_path_and_a_served_port() {
    let mute = refused(|parts| {
        for port in &mut parts.ports {
            port.heartbeat = false;
        }
    });
    assert_eq!(mute, [ConfigError::NoHeartbeat]);
    let idle = refused(|parts| parts.ports[1].virtuals.clear());
    assert_eq!(idle, [ConfigError::NothingServed]);
}

/// A direct cable carries no production traffic: that is what makes it evidence (R2.4, D7).
#[test]
fn config_direct_cable_serves_nothing() {
    let errors = refused(|parts| parts.ports[1].direct = true);
    assert_eq!(errors, [ConfigError::DirectServed("lan0".to_owned())]);
}

/// A virtual address must lie in a subnet of its port, of its own family; a port without own
/// addresses has no subnet to compare with (R5.2).
#[test]
fn config_virtual_address_lies_in_a_subnet_of_its_port() {
    for wrong in ["10.0.2.1", "fd00:2::1"] {
        let errors = refused(|parts| parts.ports[1].virtuals.push(ip(wrong)));
        let expected = ConfigError::OutsideSubnet("lan0".to_owned(), ip(wrong));
        assert_eq!(errors, [expected]);
    }
    let edges = |virtuals: &[&str]| {
        refused(|parts| {
            parts.ports[1].units = vec![(ip("10.0.1.2"), 0), (ip("fd00:1::2"), 0)];
            parts.ports[1].virtuals = virtuals.iter().map(|text| ip(text)).collect();
        })
    };
    assert_eq!(edges(&["203.0.113.9", "2001:db8::9"]), [], "prefix 0");
    let linked = refused(|parts| parts.ports[1].virtuals.push(ip("fe80::77")));
    assert_eq!(linked, [], "every port is on a link");
    let unnumbered = refused(|parts| parts.ports[1].units.clear());
    assert_eq!(unnumbered, []);
}

/// Three addresses are needed: the virtual one is nobody's own, neither ours nor a peer's (R5.2).
#[test]
fn config_virtual_address_is_nobodys_own() {
    for taken in ["10.0.1.2", "10.0.1.3", "fd00:1::2"] {
        let errors = refused(|parts| parts.ports[1].virtuals.push(ip(taken)));
        let expected = ConfigError::VirtualIsUnit("lan0".to_owned(), ip(taken));
        assert_eq!(errors, [expected]);
    }
}

/// Everything that is wrong is said at once, each with the value and what is allowed: an operator
/// repairs a file once, not once an error.
#[test]
fn config_reports_all_errors_together() {
    let errors = refused(|parts| {
        parts.virtual_router = 0;
        parts.policy.priority = 0;
        parts.timing.lease = ms(1);
        parts.ports[0].name = "lan0".to_owned();
        parts.ports[1].virtuals = vec![ip("192.0.2.1")];
    });
    assert_eq!(
        errors,
        [
            ConfigError::Lease(ms(1), ms(113)),
            ConfigError::VirtualRouter,
            ConfigError::Priority(0),
            ConfigError::Ports("lan0".to_owned()),
            ConfigError::OutsideSubnet("lan0".to_owned(), ip("192.0.2.1")),
        ]
    );
    assert_eq!(
        errors[0].to_string(),
        "lease is 1ms; it must be at least interval + slack + 8 ms = 113ms"
    );
}

/// A window of nothing would spin, and one beyond the dead interval would outlive every decision.
#[test]
fn config_windows_are_neither_empty_nor_endless() {
    let zero = refused(|parts| parts.timing.round = Duration::ZERO);
    assert_eq!(zero, [ConfigError::Window("round", ms(0), ms(300))]);
    let long = refused(|parts| parts.timing.tail = ms(301));
    assert_eq!(long, [ConfigError::Window("tail", ms(301), ms(300))]);
}

/// Keys of another node would sign in its name and be refused by everybody.
#[test]
fn config_keys_are_the_nodes_own() {
    assert_eq!(
        refused(|parts| parts.node = NodeId(7)),
        [ConfigError::ForeignKeys]
    );
}

/// One address twice would be announced twice and withdrawn once.
#[test]
fn config_virtual_addresses_are_listed_once() {
    let errors = refused(|parts| {
        let port = parts.ports.iter_mut().find(|port| port.served()).unwrap();
        port.virtuals.push(port.virtuals[0]);
    });
    assert!(
        matches!(errors[..], [ConfigError::VirtualTwice(..)]),
        "{errors:?}"
    );
}

/// A witness is a peer, or this node if that serves nothing; its term outlasts lost answers (D14).
#[test]
fn config_witness_is_checked() {
    let with = |node: u8, term: Duration| {
        refused(|parts| {
            parts.witness = Some(Witness {
                node: NodeId(node),
                term,
                asks: Asks::Always,
            });
        })
    };
    let least = ms(300 + 5 + 3 * 100);
    assert_eq!(with(2, least), []);
    assert_eq!(with(2, TERM_MAX), []);
    for wrong in [least - ms(1), TERM_MAX + ms(1)] {
        assert_eq!(with(2, wrong), [ConfigError::WitnessTerm(wrong, least)]);
    }
    assert_eq!(with(3, least), [ConfigError::WitnessUnknown(NodeId(3))]);
    assert_eq!(with(1, least), [ConfigError::WitnessServes]);
    let usual = Witness::usual_term(&Timing::default());
    assert_eq!(usual, ms(700));
}

/// The witness itself has no virtual address, and needs none.
#[test]
fn config_witness_serves_nothing() {
    let witness = |parts: &mut Parts| {
        parts.witness = Some(Witness {
            node: NodeId(1),
            term: ms(700),
            asks: Asks::Always,
        });
        parts.ports[1].virtuals.clear();
    };
    let mut parts = sound();
    witness(&mut parts);
    parts.policy.configured = ConfiguredRole::Off;
    assert!(Config::new(parts).is_ok_and(|config| config.is_witness()));
    assert_eq!(refused(witness), [ConfigError::WitnessServes]);
}

/// A router stands on the port's own segment, and passes datagrams on that go to one node alone;
/// what lies beyond it is what lies in none of the port's subnets (R2.5).
#[test]
fn config_router_is_on_its_segment_and_has_work() {
    let through = |router: [u8; 4], forms: Forms| {
        refused(|parts| {
            parts.ports[1].via = Some(router.into());
            parts.carriage.forms = forms;
        })
    };
    let both = Forms::only(Form::Ethernet).and(Form::Unicast);
    let near = [10, 0, 1, 254];
    assert_eq!(through(near, both), []);
    let idle = ConfigError::RouterIdle("lan0".to_owned());
    assert_eq!(through(near, Forms::only(Form::Ethernet)), [idle]);
    let far = [10, 9, 1, 254];
    let outside = ConfigError::RouterOutside("lan0".to_owned(), far.into());
    assert_eq!(through(far, both), [outside]);

    let mut port = sound().ports.swap_remove(1);
    assert!(!port.is_beyond(far.into()), "it has no router");
    port.via = Some(near.into());
    assert!(port.is_beyond(far.into()));
    assert!(!port.is_beyond([10, 0, 1, 77].into()));
    port.units.clear();
    assert!(!port.is_beyond(far.into()), "nobody knows its subnets");
}
