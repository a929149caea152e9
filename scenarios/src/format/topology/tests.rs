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
        Preset::Trio,
    ] {
        let topology = Topology {
            preset,
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
            .collect();
        let served = layout.segments.iter().filter(|segment| segment.served());
        let addresses: Vec<IpAddr> = ports
            .flat_map(|port| port.units.clone())
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
}
