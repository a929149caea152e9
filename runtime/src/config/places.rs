//! Where in the file a rule of the core was broken, and how to mend it.
//!
//! The core checks typed values and names what is wrong with them; it knows no file. Here each of
//! its [`ConfigError`]s finds the bytes that caused it: the value itself, the other value it
//! disagrees with, else the header it should stand under. One total match, so that a new rule of
//! the core does not compile until it has a place and a cure.

use std::net::IpAddr;
use std::time::Duration;

use steadfast_core::config::{ConfigError, Parts, Timing};
use steadfast_core::wire::advert::{NODES_MAX, PORTS_MAX};
use toml::Spanned;

use super::addresses::subnets;
use super::assemble::port_number;
use super::choices::least_lease;
use super::mistake::{Findings, Place};
use super::quantity::show;
use super::raw::{Port, Raw, byte};

/// Tells one broken rule.
pub(super) fn tell(error: &ConfigError, raw: &Raw, parts: &Parts, findings: &mut Findings) {
    let text = error.to_string();
    let timing = &parts.timing;
    match error {
        ConfigError::Interval(_)
        | ConfigError::DeadInterval(..)
        | ConfigError::Lease(..)
        | ConfigError::InitialWait(_)
        | ConfigError::Window(..) => times(error, raw, timing, text, findings),
        ConfigError::ForeignKeys => foreign_keys(raw, findings),
        ConfigError::VirtualTwice(name, address) => virtual_twice(raw, name, *address, findings),
        ConfigError::VirtualRouter => {
            let written = raw.cluster.virtual_router.as_ref();
            findings.wrong(
                &at(written, &raw.cluster.place),
                text,
                "write `virtual_router = 51`",
            );
        }
        ConfigError::Priority(_) => {
            let place = at(raw.node.priority.as_ref(), &raw.node.place);
            findings.wrong(&place, text, "write `priority = 100`; higher is better");
        }
        ConfigError::NodeIds(id) => node_ids(raw, id.0, findings),
        ConfigError::Nodes(_) => {
            let cure = "leave peers out, or make two clusters";
            findings.wrong(&beyond(raw), text, cure);
        }
        ConfigError::Ports(_) => ports(raw, findings),
        // Told where they are read.
        ConfigError::CheckNumbers(_) | ConfigError::Checks(_) => {}
        ConfigError::Unaddressed(_) | ConfigError::NoForm | ConfigError::UdpPort => {
            let cure = match error {
                ConfigError::Unaddressed(_) => "write its `addresses`, or list another transport",
                _ => "leave it out",
            };
            findings.wrong(&raw.cluster.place, text, cure);
        }
        ConfigError::NoHeartbeat => no_heartbeat(raw, text, findings),
        ConfigError::NothingServed => nothing_served(raw, text, findings),
        ConfigError::DirectServed(name) => direct_served(raw, name, text, findings),
        ConfigError::OutsideSubnet(name, address) => {
            outside_subnet((raw, parts), name, *address, text, findings);
        }
        ConfigError::WitnessUnknown(_)
        | ConfigError::WitnessServes
        | ConfigError::WitnessTerm(..) => witness(error, raw, text, findings),
        ConfigError::VirtualMac(name, _) => {
            findings.wrong(
                &station_place(raw, name),
                text,
                "leave `virtual_mac` out here",
            );
        }
        ConfigError::RouterOutside(name, _) => {
            let port = parts.ports.iter().find(|port| port.name == *name);
            let cure = subnets(port.map_or(&[], |port| &port.units));
            findings.wrong(&router_place(raw, name), text, cure);
        }
        ConfigError::RouterIdle(name) => {
            let cure = "list \"unicast\" among `transports`, leave `heartbeat` on, or remove `via`";
            findings.wrong(&router_place(raw, name), text, cure);
        }
        ConfigError::VirtualIsUnit(name, address) => {
            virtual_is_unit(raw, name, *address, text, findings);
        }
    }
}

/// Where a port's virtual MAC is asked for.
fn station_place(raw: &Raw, name: &str) -> Place {
    port_named(raw, name).map_or(0..0, |it| at(it.virtual_mac.as_ref(), &it.place))
}

/// Where a port's router is written.
fn router_place(raw: &Raw, name: &str) -> Place {
    port_named(raw, name).map_or(0..0, |it| at(it.via.as_ref(), &it.place))
}

fn port_named<'a>(raw: &'a Raw, name: &str) -> Option<&'a Port> {
    let named = |port: &&Port| {
        let interface = port.interface.as_ref();
        interface.is_some_and(|it| it.get_ref() == name)
    };
    raw.ports.iter().find(named)
}

fn virtual_is_unit(raw: &Raw, name: &str, address: IpAddr, text: String, findings: &mut Findings) {
    let other = peer_address(raw, address).map(|place| (place, "the same address"));
    let other = other.as_ref().map(|(place, label)| (place, *label));
    let cure = "give each node its own address and keep this one for both to share";
    findings.wrong_twice(&virtual_place(raw, name, address), other, text, cure);
}

fn outside_subnet(
    (raw, parts): (&Raw, &Parts),
    name: &str,
    address: IpAddr,
    text: String,
    findings: &mut Findings,
) {
    let known = parts.ports.iter().find(|port| port.name == *name);
    let cure = subnets(known.map_or(&[], |port| &port.units));
    findings.wrong(&virtual_place(raw, name, address), text, cure);
}

/// What is wrong with `[timing]`.
fn times(error: &ConfigError, raw: &Raw, timing: &Timing, text: String, findings: &mut Findings) {
    match error {
        ConfigError::Interval(_) => {
            findings.wrong(&time(raw, "interval"), text, "write `interval = \"100ms\"`");
        }
        ConfigError::DeadInterval(_, least) => {
            let usual = show(timing.interval.saturating_mul(3).max(*least * 2));
            let cure = format!("write `dead_interval = \"{usual}\"`, or leave it out");
            between(raw, "dead_interval", "interval", text, cure, findings);
        }
        ConfigError::Lease(..) => {
            let least = show(least_lease(timing.interval, timing.slack));
            let cure = format!("write `lease = \"{least}\"` or longer, or leave it out");
            between(raw, "lease", "interval", text, cure, findings);
        }
        ConfigError::InitialWait(_) => {
            let cure = "write `initial_wait = \"10s\"`; `\"0s\"` only if no peer can be booting";
            findings.wrong(&time(raw, "initial_wait"), text, cure);
        }
        ConfigError::Window(name, _, most) => {
            window(raw, name, *most, text, findings);
        }
        _ => {}
    }
}

/// The first peer beyond the most that are allowed.
fn beyond(raw: &Raw) -> Place {
    let first = raw.peers.get(NODES_MAX - 1);
    first.map_or(0..0, |peer| peer.place.clone())
}

/// What is wrong with `[witness]`; at its `node` unless it is the term.
fn witness(error: &ConfigError, raw: &Raw, text: String, findings: &mut Findings) {
    let written = raw.witness.as_ref();
    let named = written.map_or(0..0, |it| at(it.node.as_ref(), &it.place));
    match error {
        ConfigError::WitnessServes => {
            let cure = "leave `virtual` and `role` out of the witness's own file";
            findings.wrong(&named, text, cure);
        }
        ConfigError::WitnessTerm(_, least) => {
            let least = show(*least);
            let cure =
                format!("write `term = \"{least}\"` or longer (lease + slack + 3 intervals)");
            let term = written.and_then(|it| it.term.as_ref());
            findings.wrong(&at(term, &named), text, cure);
        }
        _ => {
            let cure = "list it as a `[[peer]]`; on the witness, list every gateway so";
            findings.wrong(&named, text, cure);
        }
    }
}

/// The value's place, else this one.
fn at<T>(written: Option<&Spanned<T>>, otherwise: &Place) -> Place {
    written.map_or_else(|| otherwise.clone(), Spanned::span)
}

/// Where a time is written, else the header of the times.
fn time(raw: &Raw, name: &str) -> Place {
    let times = &raw.timing.written;
    at(
        times.get(name).or(raw.policy.times.written.get(name)),
        &raw.timing.place,
    )
}

/// Two times disagree: points to the first if it is written, and to the second beside it.
fn between(
    raw: &Raw,
    first: &str,
    second: &str,
    text: String,
    cure: String,
    findings: &mut Findings,
) {
    let written = &raw.timing.written;
    match (written.get(first), written.get(second)) {
        (Some(one), Some(other)) => {
            let other = other.span();
            findings.wrong_twice(&one.span(), Some((&other, "with this")), text, cure);
        }
        (Some(one), None) => findings.wrong(&one.span(), text, cure),
        (None, other) => findings.wrong(&at(other, &raw.timing.place), text, cure),
    }
}

fn window(raw: &Raw, name: &str, most: Duration, text: String, findings: &mut Findings) {
    let cure = format!(
        "write `{name}` between 1ns and {}, or leave it out",
        show(most)
    );
    between(raw, name, "dead_interval", text, cure, findings);
}

fn foreign_keys(raw: &Raw, findings: &mut Findings) {
    let id = at(raw.cluster.id.as_ref(), &raw.cluster.place);
    let file = raw.cluster.secret_file.as_ref().map(Spanned::span);
    let file = file
        .as_ref()
        .map(|place| (place, "its `cluster` line names another id"));
    findings.wrong_twice(
        &id,
        file,
        "the secret file belongs to another cluster",
        "copy `id` and the secret file from the same node; or join with `steadfastctl init --join`",
    );
}

/// The core tells a pair of equal ids by the id alone: every place that has it after the first,
/// or the one place that is out of range.
fn node_ids(raw: &Raw, id: u8, findings: &mut Findings) {
    let own = raw.node.id.iter();
    let all: Vec<&Spanned<u64>> = own
        .chain(raw.peers.iter().filter_map(|peer| peer.id.as_ref()))
        .collect();
    let has = |it: &&&Spanned<u64>| byte(Some(it)) == Some(id);
    if id == 0 || id == 255 {
        for place in all.iter().filter(has) {
            let message = format!("node id {id} is out of range");
            findings.wrong(&place.span(), message, "ids lie between 1 and 254");
        }
        return;
    }
    let mut holders = all.iter().filter(has);
    let first = holders.next().map(|place| place.span());
    for place in holders {
        findings.wrong_twice(
            &place.span(),
            first.as_ref().map(|first| (first, "and here")),
            format!("node id {id} is used twice"),
            "give each node an id of its own, the same in every node's file",
        );
    }
}

/// Why a port clashes is seen from the file: names, numbers, or too many.
fn ports(raw: &Raw, findings: &mut Findings) {
    for (place, port) in raw.ports.iter().enumerate() {
        let Some(name) = &port.interface else {
            continue;
        };
        let number = port_number(port, place);
        let shown = at(port.number.as_ref(), &port.place);
        let mut earlier = raw.ports.iter().enumerate().take(place);
        let same_name = |(_, other): &(usize, &Port)| {
            other
                .interface
                .as_ref()
                .is_some_and(|it| it.get_ref() == name.get_ref())
        };
        let same_number = |(at, other): &(usize, &Port)| port_number(other, *at) == number;
        if let Some((_, other)) = earlier.clone().find(same_name) {
            let first = at(other.interface.as_ref(), &other.place);
            let message = format!("port `{}` is listed twice", name.get_ref());
            let cure = "put everything about an interface under one `[[port]]`";
            findings.wrong_twice(&name.span(), Some((&first, "and here")), message, cure);
        } else if let Some((_, other)) = earlier.find(same_number) {
            let first = at(other.number.as_ref(), &other.place);
            let message = format!("two ports have number {number}");
            let cure = "number all of them or none: without numbers their order counts";
            findings.wrong_twice(&shown, Some((&first, "and here")), message, cure);
        } else if usize::from(number.0) >= PORTS_MAX {
            let message = format!("port number {number} is out of range");
            let cure = format!("numbers lie between 0 and {}", PORTS_MAX - 1);
            findings.wrong(&shown, message, cure);
        } else if place >= PORTS_MAX {
            let message = format!("more than {PORTS_MAX} ports");
            findings.wrong(
                &port.place,
                message,
                "leave out ports that carry nothing shared",
            );
        }
    }
}

fn no_heartbeat(raw: &Raw, text: String, findings: &mut Findings) {
    let place = raw.ports.first().map_or(0..0, |port| port.place.clone());
    let off = raw.ports.iter().find_map(|port| port.heartbeat.as_ref());
    let place = at(off, &place);
    findings.wrong(
        &place,
        text,
        "write `heartbeat = \"primary\"` under one port at least",
    );
}

fn nothing_served(raw: &Raw, text: String, findings: &mut Findings) {
    let place = raw.ports.first().map_or(0..0, |port| port.place.clone());
    let cure = "write `virtual = [\"10.0.1.1\"]` under the port that clients are on";
    findings.wrong(&place, text, cure);
}

fn direct_served(raw: &Raw, name: &str, text: String, findings: &mut Findings) {
    let port = port_called(raw, name);
    let place = port.map_or(0..0, |port| at(port.virtuals.first(), &port.place));
    let direct = port
        .and_then(|port| port.direct.as_ref())
        .map(Spanned::span);
    let direct = direct.as_ref().map(|place| (place, "a direct cable"));
    let cure = "move `virtual` to the port clients are on, or remove `direct`";
    findings.wrong_twice(&place, direct, text, cure);
}

fn virtual_twice(raw: &Raw, name: &str, address: IpAddr, findings: &mut Findings) {
    let all = raw.ports.iter().flat_map(|port| &port.virtuals);
    let first = all
        .into_iter()
        .find(|it| *it.get_ref() == address)
        .map(Spanned::span);
    let again = port_called(raw, name)
        .and_then(|port| port.virtuals.iter().rfind(|it| *it.get_ref() == address));
    let place = at(again, &(0..0));
    findings.wrong_twice(
        &place,
        first.as_ref().map(|first| (first, "and here")),
        format!("virtual address {address} is listed twice"),
        "an address lives on one port; remove it from the other",
    );
}

fn port_called<'a>(raw: &'a Raw, name: &str) -> Option<&'a Port> {
    let called = |port: &&Port| {
        port.interface
            .as_ref()
            .is_some_and(|it| it.get_ref() == name)
    };
    raw.ports.iter().find(called)
}

fn virtual_place(raw: &Raw, name: &str, address: IpAddr) -> Place {
    let port = port_called(raw, name);
    let written = port.and_then(|port| port.virtuals.iter().find(|it| *it.get_ref() == address));
    at(written, &port.map_or(0..0, |port| port.place.clone()))
}

fn peer_address(raw: &Raw, address: IpAddr) -> Option<Place> {
    let lists = raw.peers.iter().flat_map(|peer| &peer.addresses);
    let mut all = lists.flat_map(|(_, list)| list);
    all.find(|it| *it.get_ref() == address).map(Spanned::span)
}
