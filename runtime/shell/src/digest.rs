//! What peers compare: BLAKE3 over a written-down form of what must agree, cut to 64 bits.
//!
//! The form is text with a name before each value, so that it does not depend on how a compiler
//! lays out a type. What belongs to one node alone (role, priority, own addresses, name, what it
//! does after its own failure) is left out (R6.4). A difference is shown and never a reason to
//! believe a peer dead (D1).

use std::fmt::Write as _;
use std::time::Duration;

use steadfast_core::config::{Digests, Parts, Policy, PortConfig, Timing};
use steadfast_core::wire::carriage::{Carriage, Form};

/// The digests of a configuration; `facts` is that of the product's facts, 0 without any, and
/// `longest` the longest time-out of a hook, if there is one: by it an owner knows when no other's
/// can be under way.
pub fn digests(parts: &Parts, facts: u64, longest: Option<Duration>) -> Digests {
    let mut form = shared(parts);
    if let Some(longest) = longest {
        line(&mut form, "longest_hook", &longest.as_nanos().to_string());
    }
    Digests {
        config: of_bytes(form.as_bytes()),
        facts,
        interfaces: of_bytes(interfaces(parts).as_bytes()),
        version: version(),
    }
}

/// The first 64 bits of a BLAKE3 hash, big end first.
pub fn of_bytes(bytes: &[u8]) -> u64 {
    let hash = blake3::hash(bytes);
    let first = hash.as_bytes().iter().take(8);
    first.fold(0, |all, byte| (all << 8) | u64::from(*byte))
}

fn shared(parts: &Parts) -> String {
    let mut form = String::from("steadfast shared configuration 1\n");
    line(&mut form, "cluster", &crate::hex::encode(&parts.cluster.0));
    line(
        &mut form,
        "virtual_router",
        &parts.virtual_router.to_string(),
    );
    // What has always been so is not written: a node of before has the same digest.
    if parts.carriage != Carriage::default() {
        let forms: Vec<&str> = parts.carriage.forms.iter().map(Form::word).collect();
        line(&mut form, "transports", &forms.join(" "));
        line(&mut form, "udp_port", &parts.carriage.port.to_string());
    }
    let mut nodes: Vec<u8> = parts.peers.iter().map(|peer| peer.node.0).collect();
    nodes.push(parts.node.0);
    nodes.sort_unstable();
    line(&mut form, "nodes", &format!("{nodes:?}"));
    for port in in_order(&parts.ports) {
        let mut virtuals = port.virtuals.clone();
        virtuals.sort_unstable();
        let virtuals: Vec<String> = virtuals.iter().map(ToString::to_string).collect();
        line(&mut form, &format!("port {}", port.id), &virtuals.join(" "));
        if let Some(mac) = port.virtual_mac {
            line(&mut form, &format!("station {}", port.id), &mac.to_string());
        }
    }
    timing(&mut form, &parts.timing);
    policy(&mut form, &parts.policy);
    if let Some(witness) = &parts.witness {
        let term = witness.term.as_nanos();
        let text = format!("{} {term} {:?}", witness.node, witness.asks);
        line(&mut form, "witness", &text);
    }
    form
}

fn timing(form: &mut String, timing: &Timing) {
    let times = [
        ("interval", timing.interval),
        ("slack", timing.slack),
        ("w_carrier", timing.w_carrier),
        ("w_silence", timing.w_silence),
        ("dead_interval", timing.dead_interval),
        ("lease", timing.lease),
        ("offer", timing.offer),
        ("tail", timing.tail),
        ("rtt_bound", timing.rtt_bound),
        ("round", timing.round),
        ("initial_wait", timing.initial_wait),
        ("hold_down", timing.hold_down),
        ("preempt_delay", timing.preempt_delay),
    ];
    for (name, time) in times {
        line(form, name, &time.as_nanos().to_string());
    }
}

/// What all nodes must choose alike.
fn policy(form: &mut String, policy: &Policy) {
    line(form, "preempt", &format!("{:?}", policy.preempt));
    line(form, "isolation", &format!("{:?}", policy.isolation));
    line(form, "detection", &format!("{:?}", policy.detection));
    line(form, "all_pacified", &format!("{:?}", policy.all_pacified));
}

fn interfaces(parts: &Parts) -> String {
    let mut form = String::from("steadfast interfaces 1\n");
    for port in in_order(&parts.ports) {
        let uses = (port.direct, port.heartbeat, port.watched, port.served());
        line(
            &mut form,
            &format!("port {}", port.id),
            &format!("{} {uses:?}", port.name),
        );
        if port.secondary {
            line(&mut form, &format!("port {}", port.id), "secondary");
        }
    }
    form
}

fn in_order(ports: &[PortConfig]) -> Vec<&PortConfig> {
    let mut ports: Vec<&PortConfig> = ports.iter().collect();
    ports.sort_by_key(|port| port.id);
    ports
}

fn line(form: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(form, "{name} = {value}");
}

/// This release: major, minor, patch in 8, 8 and 16 bits.
fn version() -> u32 {
    let numbers = env!("CARGO_PKG_VERSION").split(['.', '-', '+']);
    let mut numbers = numbers.map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = |most: u32| numbers.next().unwrap_or(0).min(most);
    (next(0xff) << 24) | (next(0xff) << 16) | next(0xffff)
}
