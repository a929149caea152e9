//! Presets spelt out: nobody shares an address, and what cannot be wired is refused.

use std::collections::BTreeSet;

use super::*;

/// No two stations share an address or a MAC, however many virtual addresses there are.
#[test]
fn layout_addresses_are_unique() {
    for preset in [
        Preset::Pair,
        Preset::PairNoCable,
        Preset::PairTwoCables,
        Preset::PairWitness,
        Preset::PairFarWitness,
        Preset::PairRouted,
        Preset::Trio,
        Preset::TrioWitness,
        Preset::Group,
    ] {
        let topology = Topology {
            preset,
            nodes: (preset == Preset::Group).then_some(16),
            family: Family::Both,
            virtual_addresses: VIRTUALS_MAX / 2,
            router_adverts: true,
            hosts: vec!["x@lan".to_owned(), "y@wan".to_owned()],
            ..Topology::default()
        };
        let layout = Layout::new(&topology).unwrap();
        let ports = layout.gateways.iter().flat_map(|gateway| &gateway.ports);
        let macs: Vec<MacAddr> = ports
            .clone()
            .map(|port| port.mac)
            .chain(layout.hosts.iter().map(|host| host.mac))
            .chain(layout.segments.iter().map(Segment::observer_mac))
            .chain(layout.segments.iter().map(Segment::router_mac))
            .chain(ports.clone().map(Port::router_mac))
            .collect();
        let served = layout.segments.iter().filter(|segment| segment.served());
        let addresses: Vec<IpAddr> = ports
            .clone()
            .flat_map(|port| port.units.clone())
            .chain(routers(&layout))
            .chain(layout.hosts.iter().flat_map(|host| host.addresses.clone()))
            .chain(served.clone().flat_map(|it| it.observers.clone()))
            .chain(served.flat_map(|segment| segment.virtuals.clone()))
            .collect();
        assert_eq!(macs.iter().collect::<BTreeSet<_>>().len(), macs.len());
        assert_eq!(
            addresses.iter().collect::<BTreeSet<_>>().len(),
            addresses.len()
        );
    }
}

/// Each address of a router once.
fn routers(layout: &Layout) -> Vec<IpAddr> {
    let ports = layout.gateways.iter().flat_map(|gateway| &gateway.ports);
    let routers: BTreeSet<Ipv4Addr> = ports.filter_map(|port| port.router).collect();
    routers.into_iter().map(IpAddr::V4).collect()
}

/// Beyond a router every port is on a network of its own, and reaches the others through it.
#[test]
fn layout_beyond_a_router_everybody_is_alone() {
    for (preset, beyond) in [
        (Preset::PairFarWitness, &["w"][..]),
        (Preset::PairRouted, &["a", "b"]),
    ] {
        let topology = Topology {
            preset,
            ..Topology::default()
        };
        let layout = Layout::new(&topology).unwrap();
        let network = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets()[1],
            IpAddr::V6(_) => unreachable!("the family is IPv4"),
        };
        let mut found = Vec::new();
        for gateway in &layout.gateways {
            for port in gateway.ports.iter().filter(|port| port.router.is_some()) {
                let (own, router) = (port.units[0], port.router.unwrap());
                assert_eq!(network(own), network(router.into()), "{}", gateway.name);
                if port.beyond {
                    found.push(gateway.name.as_str());
                }
                let others = layout.gateways.iter().filter(|it| it.name != gateway.name);
                let others = others.flat_map(|it| &it.ports);
                let others = others.filter(|it| it.segment == port.segment);
                for other in others.filter(|it| port.beyond || it.beyond) {
                    assert_ne!(network(own), network(other.units[0]));
                }
            }
        }
        assert_eq!(found, beyond);
    }
}

/// Which segments carry heartbeats, and which of these are counted on: one is left, for everybody.
#[test]
fn layout_leaves_everybody_a_path() {
    let ranked = |without: &[&str], ranked: &[&str], preset| {
        let named = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Layout::new(&Topology {
            preset,
            secondary: named(ranked),
            no_heartbeats: named(without),
            ..Topology::default()
        })
    };
    let why = |without, second, preset| ranked(without, second, preset).unwrap_err();
    assert!(why(&[], &["dmz"], Preset::Pair).contains("`dmz`, which is no segment"));
    let left = "one must be left";
    assert!(why(&[], &["lan", "wan", "ha"], Preset::Pair).contains(left));
    assert!(why(&["lan", "wan"], &["ha"], Preset::Pair).contains(left));
    assert!(why(&["ha"], &[], Preset::Pair).contains("`ha`, which is not a switched segment"));
    assert!(why(&["lan", "wan"], &[], Preset::Trio).contains("`a` without a heartbeat path"));
    assert!(why(&["lan"], &[], Preset::PairWitness).contains("`w` without a heartbeat path"));
    let layout = ranked(&["lan", "wan"], &[], Preset::Pair).expect("the cable is left");
    let carry: Vec<bool> = layout.segments.iter().map(|it| it.heartbeats).collect();
    assert_eq!(carry, [false, false, true]);
    let layout = ranked(&[], &["wan", "ha"], Preset::Pair).expect("one is left");
    let secondary: Vec<bool> = layout.segments.iter().map(|it| it.secondary).collect();
    assert_eq!(secondary, [false, true, true]);
}

/// A mistake in the topology is named, not worked around.
#[test]
fn layout_mistakes_are_named() {
    let refusal = |hosts: &[&str]| {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        Layout::new(&Topology {
            hosts,
            ..Topology::default()
        })
        .expect_err("must be refused")
    };
    assert!(refusal(&["x"]).contains("name@segment"));
    assert!(refusal(&["x@dmz"]).contains("`dmz` is not a switched segment"));
    assert!(refusal(&["x@ha"]).contains("`ha` is not a switched segment"));
    assert!(refusal(&["client@wan"]).contains("taken twice"));
    let none = Topology {
        virtual_addresses: 0,
        ..Topology::default()
    };
    assert!(Layout::new(&none).is_err());
    let many = Topology {
        family: Family::Both,
        virtual_addresses: VIRTUALS_MAX / 2 + 1,
        ..Topology::default()
    };
    assert!(Layout::new(&many).unwrap_err().contains("1 to 2048"));
    let deaf = Topology {
        router_adverts: true,
        ..Topology::default()
    };
    assert!(Layout::new(&deaf).unwrap_err().contains("IPv6"));
    let routed = Topology {
        preset: Preset::PairRouted,
        family: Family::Ipv6,
        ..Topology::default()
    };
    assert!(Layout::new(&routed).unwrap_err().contains("with IPv4"));
}

/// A group has as many gateways as it says, and only a group says so.
#[test]
fn layout_of_a_group_says_how_many_there_are() {
    let layout = |preset, nodes| {
        let topology = Topology {
            preset,
            nodes,
            ..Topology::default()
        };
        let layout = Layout::new(&topology)?;
        Ok::<String, String>(layout.gateways.into_iter().map(|it| it.name).collect())
    };
    assert_eq!(layout(Preset::Group, Some(5)).as_deref(), Ok("abcde"));
    assert_eq!(layout(Preset::Group, Some(16)).map(|it| it.len()), Ok(16));
    for (preset, nodes) in [
        (Preset::Group, None),
        (Preset::Group, Some(1)),
        (Preset::Group, Some(17)),
        (Preset::Trio, Some(3)),
    ] {
        assert!(layout(preset, nodes).unwrap_err().contains("`nodes`"));
    }
}
