//! What a node that joins takes over from the other's file, as it is written there.

use std::net::IpAddr;

use toml::Spanned;

use super::draft::{Witness, quoted};
use super::{InitOptions, InitPeer};
use crate::config::raw::{Raw, byte};
use crate::config::witness::Witness as Written;

/// The other file's `[witness]`, as it says it.
pub(super) fn witness(written: &Written, text: &str) -> Option<Witness> {
    let places = [
        ("node", written.node.as_ref().map(Spanned::span)),
        ("term", written.term.as_ref().map(Spanned::span)),
        ("asks", written.asks.as_ref().map(Spanned::span)),
    ];
    let slice = |place: std::ops::Range<usize>| text.get(place).unwrap_or_default().to_owned();
    let key = |(name, place): (&'static str, Option<_>)| Some((name, slice(place?)));
    Some(Witness {
        node: byte(written.node.as_ref())?,
        keys: places.into_iter().filter_map(key).collect(),
    })
}

/// The nodes beside the one that joins: the file's own node, and its peers.
pub(super) fn others(options: &InitOptions, raw: &Raw) -> Vec<InitPeer> {
    let told = |id: u8| options.peers.iter().find(|peer| peer.id == id);
    let mut others = Vec::new();
    let mut add = |id: Option<u8>, name: Option<&Spanned<String>>, known: Vec<(String, IpAddr)>| {
        let Some(id) = id.filter(|id| *id != options.node_id) else {
            return;
        };
        let addresses = match told(id) {
            Some(peer) if !peer.addresses.is_empty() && known.is_empty() => peer.addresses.clone(),
            Some(_) | None => known,
        };
        let name = name.map_or_else(|| format!("gw{id}"), |name| name.get_ref().clone());
        others.push(InitPeer {
            id,
            name,
            addresses,
        });
    };
    let own = raw.ports.iter().flat_map(|port| {
        let interface = port.interface.as_ref().map(|it| it.get_ref().clone());
        let each = move |unit: &Spanned<(IpAddr, u8)>| Some((interface.clone()?, unit.get_ref().0));
        port.addresses.iter().filter_map(each).collect::<Vec<_>>()
    });
    add(
        byte(raw.node.id.as_ref()),
        raw.node.name.as_ref(),
        own.collect(),
    );
    for peer in &raw.peers {
        let addresses = peer.addresses.iter().flat_map(|(interface, list)| {
            let each = |ip: &Spanned<IpAddr>| (interface.get_ref().clone(), *ip.get_ref());
            list.iter().map(each).collect::<Vec<_>>()
        });
        add(
            byte(peer.id.as_ref()),
            peer.name.as_ref(),
            addresses.collect(),
        );
    }
    others
}

/// The other file's checks and hooks, by kind and name: they are of its node alone.
pub(super) fn left_out(raw: &Raw) -> Vec<String> {
    let checks = raw.checks.iter().map(|it| ("check", it.name()));
    let hooks = raw.hooks.iter().map(|it| ("hook", it.name()));
    let all = checks.chain(hooks);
    all.map(|(kind, name)| format!("{kind} {name}")).collect()
}

/// What the other file says of times and policy, as it says it. `on_failure` is each node's own.
pub(super) fn kept(raw: &Raw, text: &str) -> Vec<(&'static str, String)> {
    let slice = |place: std::ops::Range<usize>| text.get(place).unwrap_or_default().to_owned();
    let times = raw.timing.written.iter().chain(&raw.policy.times.written);
    let mut kept: Vec<(&'static str, String)> = times
        .map(|(name, value)| (*name, slice(value.span())))
        .collect();
    let policy = &raw.policy;
    if let Some(preempt) = &policy.preempt {
        let word = format!("{:?}", preempt.get_ref()).to_lowercase();
        kept.push(("preempt", quoted(&word)));
    }
    let places = [
        ("isolation", policy.isolation.as_ref().map(Spanned::span)),
        ("detection", policy.detection.as_ref().map(Spanned::span)),
        (
            "all_pacified",
            policy.all_pacified.as_ref().map(Spanned::span),
        ),
        ("boot_limit", policy.boot_limit.as_ref().map(Spanned::span)),
        (
            "restart_limit",
            policy.restart_limit.as_ref().map(Spanned::span),
        ),
        ("flap_limit", policy.flap_limit.as_ref().map(Spanned::span)),
    ];
    let written = |(name, place): (&'static str, Option<_>)| Some((name, slice(place?)));
    kept.extend(places.into_iter().filter_map(written));
    kept
}
