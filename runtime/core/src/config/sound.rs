//! The rules between the fields of a configuration: times, nodes, ports, addresses.
//!
//! Each function names everything that is wrong in its part; none stops at the first.

use core::net::IpAddr;
use core::time::Duration;

use super::{ConfigError, Parts, PortConfig, Timing};
use crate::wire::advert::{NODES_MAX, PORTS_MAX};
use crate::wire::carriage::{Form, Forms};
use crate::{MacAddr, NodeId};

pub(super) fn check_timing(timing: &Timing, errors: &mut Vec<ConfigError>) {
    let beat = timing.interval.saturating_add(timing.slack);
    if timing.interval < Duration::from_micros(3_300) || timing.interval > Duration::from_secs(60) {
        errors.push(ConfigError::Interval(timing.interval));
    }
    if timing.dead_interval <= beat {
        errors.push(ConfigError::DeadInterval(timing.dead_interval, beat));
    }
    let least = beat.saturating_add(Duration::from_millis(8));
    if timing.lease < least {
        errors.push(ConfigError::Lease(timing.lease, least));
    }
    let windows = [
        ("round", timing.round),
        ("offer", timing.offer),
        ("tail", timing.tail),
        ("rtt_bound", timing.rtt_bound),
        ("w_carrier", timing.w_carrier),
        ("w_silence", timing.w_silence),
    ];
    for (name, window) in windows {
        if window.is_zero() || window > timing.dead_interval {
            errors.push(ConfigError::Window(name, window, timing.dead_interval));
        }
    }
    let wait = timing.initial_wait;
    if !wait.is_zero() && !(Duration::from_secs(10)..=Duration::from_secs(180)).contains(&wait) {
        errors.push(ConfigError::InitialWait(wait));
    }
}

pub(super) fn check_nodes(parts: &Parts, errors: &mut Vec<ConfigError>) {
    if parts.virtual_router == 0 {
        errors.push(ConfigError::VirtualRouter);
    }
    if parts.keys.own() != parts.node || parts.keys.cluster() != parts.cluster {
        errors.push(ConfigError::ForeignKeys);
    }
    if parts.policy.priority == 0 || parts.policy.priority == 255 {
        errors.push(ConfigError::Priority(parts.policy.priority));
    }
    let mut ids: Vec<NodeId> = parts.peers.iter().map(|peer| peer.node).collect();
    ids.push(parts.node);
    if ids.len() > NODES_MAX {
        errors.push(ConfigError::Nodes(ids.len()));
    }
    ids.sort_unstable();
    for (place, id) in ids.iter().enumerate() {
        let twice = place > 0 && ids.get(place - 1) == Some(id);
        if twice || id.0 == 0 || id.0 == 255 {
            errors.push(ConfigError::NodeIds(*id));
        }
    }
}

pub(super) fn check_ports(parts: &Parts, errors: &mut Vec<ConfigError>) {
    for (place, port) in parts.ports.iter().enumerate() {
        let clash = |other: &PortConfig| other.id == port.id || other.name == port.name;
        let twice = parts.ports.iter().take(place).any(clash);
        if twice || place >= PORTS_MAX || usize::from(port.id.0) >= PORTS_MAX {
            errors.push(ConfigError::Ports(port.name.clone()));
        }
        if port.direct && port.served() {
            errors.push(ConfigError::DirectServed(port.name.clone()));
        }
        check_virtuals(parts, port, errors);
        check_router(parts, port, errors);
    }
    if parts.carriage.forms.first().is_none() {
        errors.push(ConfigError::NoForm);
    }
    if parts.carriage.forms == Forms::only(Form::Unicast) {
        let reached = |(_, unit): &(_, IpAddr)| unit.is_ipv4();
        let unlisted = parts
            .peers
            .iter()
            .filter(|peer| !peer.units.iter().any(reached));
        errors.extend(unlisted.map(|peer| ConfigError::Unaddressed(peer.node)));
    }
    if parts.carriage.port == 0 {
        errors.push(ConfigError::UdpPort);
    }
    if !parts.ports.iter().any(|port| port.heartbeat) {
        errors.push(ConfigError::NoHeartbeat);
    }
    if !parts.ports.iter().any(PortConfig::served) && !super::witness::is_witness(parts) {
        errors.push(ConfigError::NothingServed);
    }
}

fn check_router(parts: &Parts, port: &PortConfig, errors: &mut Vec<ConfigError>) {
    let Some(via) = port.via else {
        return;
    };
    if port.is_beyond(via) {
        errors.push(ConfigError::RouterOutside(port.name.clone(), via));
    }
    if !parts.carriage.forms.has(Form::Unicast) || !port.heartbeat {
        errors.push(ConfigError::RouterIdle(port.name.clone()));
    }
}

fn check_virtuals(parts: &Parts, port: &PortConfig, errors: &mut Vec<ConfigError>) {
    if let Some(mac) = port.virtual_mac {
        let own = parts.ports.iter().any(|port| port.mac == mac);
        if own || mac.is_group() || mac == MacAddr::ZERO || !port.served() {
            errors.push(ConfigError::VirtualMac(port.name.clone(), mac));
        }
    }
    for (place, address) in port.virtuals.iter().enumerate() {
        let others = parts.ports.iter().take_while(|other| other.id != port.id);
        let earlier = others
            .flat_map(|other| &other.virtuals)
            .chain(&port.virtuals[..place]);
        if earlier.into_iter().any(|other| other == address) {
            errors.push(ConfigError::VirtualTwice(port.name.clone(), *address));
        }
        let inside = |(unit, prefix): &(IpAddr, u8)| same_subnet(*unit, *prefix, *address);
        // Every port has the link's own subnet (RFC 4291 §2.5.6), listed or not.
        let linked = matches!(address, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if !linked && !port.units.is_empty() && !port.units.iter().any(inside) {
            errors.push(ConfigError::OutsideSubnet(port.name.clone(), *address));
        }
        let own = port.units.iter().any(|(unit, _)| unit == address);
        let peers = parts.peers.iter().flat_map(|peer| &peer.units);
        if own || peers.clone().any(|(_, unit)| unit == address) {
            errors.push(ConfigError::VirtualIsUnit(port.name.clone(), *address));
        }
    }
}

pub(super) fn same_subnet(unit: IpAddr, prefix: u8, other: IpAddr) -> bool {
    match (unit, other) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let shift = 32_u32.saturating_sub(u32::from(prefix));
            (u32::from(a) ^ u32::from(b))
                .checked_shr(shift)
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let shift = 128_u32.saturating_sub(u32::from(prefix));
            (u128::from(a) ^ u128::from(b))
                .checked_shr(shift)
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}
