//! The file as written: every value typed, each with its place, nothing yet compared.
//!
//! Whatever is missing or wrong is `None` here and a mistake in the findings, so that the rules
//! between values can still be checked on the rest. The vendors' words are accepted and noted
//! (`master` for active, `vrid` for virtual_router); they are never printed as ours.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use steadfast_core::boot::{BOOTS_MAX, RESTARTS_MAX};
use steadfast_core::config::{
    AllPacified, Detection, FLAP_LIMIT_MAX, Isolation, OnFailure, Preempt,
};
use steadfast_core::role::ConfiguredRole;
use toml::Spanned;
use toml::de::DeTable;

use super::checks::{self, Check};
use super::cluster::{self, Cluster};
use super::hooks::{self, Hook};
use super::mistake::{Findings, Place};
pub(super) use super::path::Action;
use super::path::Heartbeat;
use super::section::{Key, Section, Word};
use super::values::{address_with_prefix, each_of, plain_address};
use super::witness::{self, Witness};
use crate::linux::fence::Hooks;

/// The version of the format that is read and written.
pub const FORMAT: u64 = 1;
/// Most `[[port]]` and `[[peer]]` tables read; the core's own bounds are lower and told by name.
const TABLES_MAX: usize = 64;

/// The whole file.
pub(super) struct Raw {
    pub(super) cluster: Cluster,
    pub(super) node: Node,
    pub(super) peers: Vec<Peer>,
    pub(super) ports: Vec<Port>,
    pub(super) checks: Vec<Check>,
    pub(super) hooks: Vec<Hook>,
    pub(super) timing: Times,
    pub(super) policy: Policy,
    pub(super) witness: Option<Witness>,
    pub(super) daemon: Daemon,
    /// Nothing was wrong with ports and their addresses so far.
    pub(super) ports_whole: bool,
}

pub(super) struct Node {
    pub(super) place: Place,
    pub(super) id: Option<Spanned<u64>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) role: Option<Spanned<ConfiguredRole>>,
    pub(super) priority: Option<Spanned<u64>>,
    pub(super) preferred: Option<Spanned<bool>>,
    pub(super) facts_file: Option<Spanned<String>>,
}

pub(super) struct Peer {
    pub(super) place: Place,
    pub(super) id: Option<Spanned<u64>>,
    pub(super) name: Option<Spanned<String>>,
    /// By the name of this node's interface.
    pub(super) addresses: Vec<(Spanned<String>, Vec<Spanned<IpAddr>>)>,
}

pub(super) struct Port {
    pub(super) place: Place,
    pub(super) interface: Option<Spanned<String>>,
    pub(super) number: Option<Spanned<u64>>,
    pub(super) virtuals: Vec<Spanned<IpAddr>>,
    pub(super) addresses: Vec<Spanned<(IpAddr, u8)>>,
    pub(super) virtual_mac: Option<Spanned<bool>>,
    pub(super) action: Option<Spanned<Action>>,
    pub(super) neighbour: Option<Spanned<IpAddr>>,
    pub(super) via: Option<Spanned<IpAddr>>,
    pub(super) direct: Option<Spanned<bool>>,
    pub(super) watched: Option<Spanned<bool>>,
    pub(super) heartbeat: Option<Spanned<Heartbeat>>,
}

/// Durations, by key.
pub(super) struct Times {
    pub(super) place: Place,
    pub(super) written: BTreeMap<&'static str, Spanned<Duration>>,
}

pub(super) struct Policy {
    pub(super) preempt: Option<Spanned<Preempt>>,
    pub(super) on_failure: Option<Spanned<OnFailure>>,
    pub(super) isolation: Option<Spanned<Isolation>>,
    pub(super) detection: Option<Spanned<Detection>>,
    pub(super) all_pacified: Option<Spanned<AllPacified>>,
    pub(super) boot_limit: Option<Spanned<u64>>,
    pub(super) restart_limit: Option<Spanned<u64>>,
    pub(super) flap_limit: Option<Spanned<u64>>,
    pub(super) times: Times,
}

pub(super) struct Daemon {
    pub(super) state_dir: Option<Spanned<String>>,
    pub(super) runtime_dir: Option<Spanned<String>>,
    pub(super) control_socket: Option<Spanned<String>>,
    pub(super) control_group: Option<Spanned<String>>,
    pub(super) certificate: Option<Spanned<String>>,
    pub(super) forward: Option<Spanned<bool>>,
    pub(super) fence: Option<Spanned<Hooks>>,
    pub(super) journal_bytes_max: Option<Spanned<u64>>,
    pub(super) log: Option<Spanned<log::LevelFilter>>,
}

/// Keys of `[timing]`.
pub(super) const TIMING: [Key; 11] = [
    Key::new("interval", "\"100ms\"").or(&["advert_interval", "advert_int", "heartbeat_interval"]),
    Key::new("slack", "\"5ms\""),
    Key::new("dead_interval", "\"300ms\"").or(&["dead_time", "deadtime"]),
    Key::new("lease", "\"300ms\""),
    Key::new("initial_wait", "\"10s\"").or(&["boot_delay"]),
    Key::new("w_carrier", "\"4ms\""),
    Key::new("w_silence", "\"20ms\""),
    Key::new("offer", "\"30ms\""),
    Key::new("tail", "\"30ms\""),
    Key::new("rtt_bound", "\"5ms\""),
    Key::new("round", "\"1ms\""),
];
/// Durations of `[policy]`.
pub(super) const POLICY_TIMES: [Key; 4] = [
    Key::new("preempt_delay", "\"10s\""),
    Key::new("hold_down", "\"10s\"").or(&["cooldown"]),
    Key::new("boot_window", "\"5min\""),
    Key::new("flap_window", "\"15min\""),
];
/// Keys that people look for under another header.
const ELSEWHERE: [(&str, &str); 16] = [
    ("transports", "[cluster]"),
    ("udp_port", "[cluster]"),
    ("profile", "[cluster]"),
    ("role", "[node]"),
    ("priority", "[node]"),
    ("preferred", "[node]"),
    ("virtual_router", "[cluster]"),
    ("secret_file", "[cluster]"),
    ("preempt", "[policy]"),
    ("preempt_delay", "[policy]"),
    ("hold_down", "[policy]"),
    ("interval", "[timing]"),
    ("dead_interval", "[timing]"),
    ("virtual", "[[port]]"),
    ("neighbour", "[[port]]"),
    ("via", "[[port]]"),
];
const ROLES: [Word<ConfiguredRole>; 12] = [
    ("any", ConfiguredRole::Any, None),
    ("active", ConfiguredRole::Active, None),
    ("standby", ConfiguredRole::Standby, None),
    ("off", ConfiguredRole::Off, None),
    ("master", ConfiguredRole::Active, Some("active")),
    ("primary", ConfiguredRole::Active, Some("active")),
    ("first", ConfiguredRole::Active, Some("active")),
    ("slave", ConfiguredRole::Standby, Some("standby")),
    ("backup", ConfiguredRole::Standby, Some("standby")),
    ("secondary", ConfiguredRole::Standby, Some("standby")),
    ("second", ConfiguredRole::Standby, Some("standby")),
    ("passive", ConfiguredRole::Standby, Some("standby")),
];
const PREEMPT: [Word<Preempt>; 3] = [
    ("never", Preempt::Never, None),
    ("prefer", Preempt::Prefer, None),
    ("priority", Preempt::Priority, None),
];
const ON_FAILURE: [Word<OnFailure>; 3] = [
    ("standby", OnFailure::Standby, None),
    ("configured", OnFailure::Configured, None),
    ("off", OnFailure::Off, None),
];
const ACTION: [Word<Action>; 3] = [
    ("add", Action::Add, None),
    ("set", Action::Set, None),
    ("ignore", Action::Ignore, None),
];
const ISOLATION: [Word<Isolation>; 2] = [
    ("serve", Isolation::Serve, None),
    ("yield", Isolation::Yield, None),
];
const DETECTION: [Word<Detection>; 3] = [
    ("fast", Detection::Fast, None),
    ("dead-interval", Detection::DeadInterval, None),
    (
        "dead_interval",
        Detection::DeadInterval,
        Some("dead-interval"),
    ),
];
const ALL_PACIFIED: [Word<AllPacified>; 2] = [
    ("serve", AllPacified::Serve, None),
    ("never", AllPacified::Never, None),
];
const FENCE: [Word<Hooks>; 4] = [
    ("auto", Hooks::Auto, None),
    ("egress", Hooks::Egress, None),
    ("output", Hooks::Output, None),
    ("flushable", Hooks::Flushable, None),
];
pub(super) const LOG: [Word<log::LevelFilter>; 7] = [
    ("off", log::LevelFilter::Off, None),
    ("error", log::LevelFilter::Error, None),
    ("warn", log::LevelFilter::Warn, None),
    ("info", log::LevelFilter::Info, None),
    ("debug", log::LevelFilter::Debug, None),
    ("trace", log::LevelFilter::Trace, None),
    ("warning", log::LevelFilter::Warn, Some("warn")),
];

/// The file's root table; none when it is no TOML at all.
pub(super) fn root<'a>(text: &'a str, findings: &mut Findings) -> Option<Section<'a>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = error.span().unwrap_or(0..0);
        let message = error
            .message()
            .lines()
            .next()
            .unwrap_or("not TOML")
            .to_owned();
        findings.wrong(
            &place,
            message,
            "TOML is `key = value` under `[header]` lines",
        );
    }
    errors
        .is_empty()
        .then(|| Section::new("", 0..0, table.into_inner()))
}

/// Reads the file; none when it is no TOML at all.
pub(super) fn read(text: &str, findings: &mut Findings) -> Option<Raw> {
    let mut root = root(text, findings)?;
    if !format(&mut root, findings) {
        return None;
    }
    let cluster = cluster::read(root.section("cluster", findings), &ELSEWHERE, findings);
    let node = node(root.section("node", findings), findings);
    let before = findings.count();
    let peers = root.sections("peer", TABLES_MAX, findings);
    let peers = peers.into_iter().map(|one| peer(one, findings)).collect();
    let ports = root.sections("port", TABLES_MAX, findings);
    let ports = ports.into_iter().map(|one| port(one, findings)).collect();
    let ports_whole = findings.count() == before;
    let checks = checks::read(&mut root, &ELSEWHERE, findings);
    let hooks = hooks::read(&mut root, &ELSEWHERE, findings);
    let timing = timing(root.section("timing", findings), findings);
    let policy = policy(root.section("policy", findings), findings);
    let witness = witness::read(&mut root, &ELSEWHERE, findings);
    let daemon = daemon(root.section("daemon", findings), findings);
    root.finish(&ELSEWHERE, findings);
    Some(Raw {
        cluster,
        node,
        peers,
        ports,
        checks,
        hooks,
        timing,
        policy,
        witness,
        daemon,
        ports_whole,
    })
}

/// A number that fits a byte; what does not was told before.
pub(super) fn byte(number: Option<&Spanned<u64>>) -> Option<u8> {
    number.and_then(|number| u8::try_from(*number.get_ref()).ok())
}

pub(super) fn format(root: &mut Section<'_>, findings: &mut Findings) -> bool {
    let before = findings.count();
    let key = Key::new("format", "1");
    let version = root.number(key, (0, u64::MAX >> 1), findings);
    match version {
        Some(version) if *version.get_ref() == FORMAT => return true,
        Some(version) => findings.wrong(
            &version.span(),
            format!("format {} is not known here", version.get_ref()),
            format!("write `format = {FORMAT}`, or install the release that wrote this file"),
        ),
        None if findings.count() == before => {
            findings.wrong(
                &(0..0),
                "missing key `format`",
                "begin the file with `format = 1`",
            );
            return true;
        }
        None => {}
    }
    false
}

fn node(mut section: Section<'_>, findings: &mut Findings) -> Node {
    let cure = "write a number between 1 and 254 that no other node of the cluster has";
    section.demand("id", cure, findings);
    Node {
        id: section.number(Key::new("id", "1"), (0, 255), findings),
        name: section.text(Key::new("name", "\"gw1\""), findings),
        role: section.word(
            Key::new("role", "\"any\"").or(&["mode", "state"]),
            &ROLES,
            findings,
        ),
        priority: section.number(Key::new("priority", "100"), (0, 255), findings),
        preferred: section.flag(Key::new("preferred", "true"), findings),
        facts_file: section.text(Key::new("facts_file", "\"/etc/steadfast/facts\""), findings),
        place: section.finish(&ELSEWHERE, findings),
    }
}

fn peer(mut section: Section<'_>, findings: &mut Findings) -> Peer {
    let cure = "write the peer's own id, as in its file under `[node]`";
    section.demand("id", cure, findings);
    let id = section.number(Key::new("id", "2"), (0, 255), findings);
    let name = section.text(Key::new("name", "\"gw2\""), findings);
    let addresses = section.section("addresses", findings);
    let mut by_port = Vec::new();
    for (interface, place, value) in addresses.rest() {
        let key = Key::new("addresses", "{ lan0 = \"10.0.1.3\" }");
        let list = each_of(key, value, findings, plain_address);
        by_port.push((Spanned::new(place, interface), list));
    }
    Peer {
        place: section.finish(&ELSEWHERE, findings),
        id,
        name,
        addresses: by_port,
    }
}

fn port(mut section: Section<'_>, findings: &mut Findings) -> Port {
    let cure = "write the name `ip link` shows, like `interface = \"lan0\"`";
    section.demand("interface", cure, findings);
    let virtuals = Key::new("virtual", "[\"10.0.1.1\"]").or(&[
        "virtual_ip",
        "virtual_ipaddress",
        "vip",
        "floating_ip",
        "service_ip",
    ]);
    let neighbour = Key::new("neighbour", "\"10.0.1.50\"").or(&["neighbor"]);
    let mut asked = section.each(neighbour, findings, plain_address);
    if let Some(second) = asked.get(1) {
        let cure = "keep the one that is always on";
        findings.wrong(&second.span(), "`neighbour` is one address", cure);
    }
    let via = Key::new("via", "\"10.0.1.254\"").or(&["gateway", "router"]);
    let mut through = section.each(via, findings, plain_address);
    if let Some(second) = through.get(1) {
        let cure = "keep the one router that leads to the peers on other segments";
        findings.wrong(&second.span(), "`via` is one address", cure);
    }
    Port {
        interface: section.text(Key::new("interface", "\"lan0\""), findings),
        number: section.number(Key::new("number", "0"), (0, 255), findings),
        virtuals: section.each(virtuals, findings, plain_address),
        addresses: section.each(
            Key::new("address", "\"10.0.1.2/24\""),
            findings,
            address_with_prefix,
        ),
        virtual_mac: section.flag(
            Key::new("virtual_mac", "true").or(&["use_vmac", "vmac"]),
            findings,
        ),
        action: section.word(Key::new("action", "\"add\""), &ACTION, findings),
        neighbour: (!asked.is_empty()).then(|| asked.swap_remove(0)),
        via: (!through.is_empty()).then(|| through.swap_remove(0)),
        direct: section.flag(Key::new("direct", "true"), findings),
        watched: section.flag(Key::new("watched", "true"), findings),
        heartbeat: Heartbeat::read(&mut section, findings),
        place: section.finish(&ELSEWHERE, findings),
    }
}

fn times(section: &mut Section<'_>, keys: &[Key], findings: &mut Findings) -> Times {
    let mut written = BTreeMap::new();
    for key in keys {
        if let Some(span) = section.span(*key, findings) {
            written.insert(key.name, span);
        }
    }
    Times {
        place: section.place.clone(),
        written,
    }
}

fn timing(mut section: Section<'_>, findings: &mut Findings) -> Times {
    let times = times(&mut section, &TIMING, findings);
    section.finish(&ELSEWHERE, findings);
    times
}

fn policy(mut section: Section<'_>, findings: &mut Findings) -> Policy {
    let times = times(&mut section, &POLICY_TIMES, findings);
    let preempt = preempt(&mut section, findings);
    let policy = Policy {
        preempt,
        on_failure: section.word(Key::new("on_failure", "\"standby\""), &ON_FAILURE, findings),
        isolation: section.word(Key::new("isolation", "\"serve\""), &ISOLATION, findings),
        detection: section.word(Key::new("detection", "\"fast\""), &DETECTION, findings),
        all_pacified: section.word(
            Key::new("all_pacified", "\"serve\""),
            &ALL_PACIFIED,
            findings,
        ),
        boot_limit: section.number(
            Key::new("boot_limit", "3"),
            (1, BOOTS_MAX as u64 - 1),
            findings,
        ),
        restart_limit: section.number(
            Key::new("restart_limit", "5"),
            (1, RESTARTS_MAX as u64 - 1),
            findings,
        ),
        flap_limit: section.number(
            Key::new("flap_limit", "6"),
            (0, FLAP_LIMIT_MAX.into()),
            findings,
        ),
        times,
    };
    section.finish(&ELSEWHERE, findings);
    policy
}

/// `preempt`, or what other products call its opposite.
fn preempt(section: &mut Section<'_>, findings: &mut Findings) -> Option<Spanned<Preempt>> {
    let opposite = Key::new("nopreempt", "true");
    let before = section
        .holds("nopreempt")
        .then(|| section.flag(opposite, findings));
    let written = section.word(Key::new("preempt", "\"never\""), &PREEMPT, findings);
    section.forget("nopreempt");
    let flag = before.flatten();
    if let (Some(flag), Some(written)) = (&flag, &written) {
        findings.wrong_twice(
            &flag.span(),
            Some((&written.span(), "and here")),
            "`nopreempt` and `preempt` say the same thing twice",
            "keep `preempt`",
        );
    }
    let Some(flag) = flag else {
        return written;
    };
    let (ours, meaning) = if *flag.get_ref() {
        ("never", Preempt::Never)
    } else {
        ("priority", Preempt::Priority)
    };
    let text = format!(
        "`nopreempt = {}` is understood as `preempt = \"{ours}\"`",
        flag.get_ref()
    );
    findings.note(&flag.span(), "nopreempt", text);
    written.or_else(|| Some(Spanned::new(flag.span(), meaning)))
}

pub(super) fn daemon(mut section: Section<'_>, findings: &mut Findings) -> Daemon {
    let daemon = Daemon {
        state_dir: section.text(Key::new("state_dir", "\"/var/lib/steadfast\""), findings),
        runtime_dir: section.text(Key::new("runtime_dir", "\"/run/steadfast\""), findings),
        control_socket: section.text(
            Key::new("control_socket", "\"/run/steadfast/control.sock\""),
            findings,
        ),
        control_group: section.text(Key::new("control_group", "\"adm\""), findings),
        certificate: section.text(
            Key::new("certificate", "\"/etc/ssl/gateway.pem\"").or(&["certificate_file", "cert"]),
            findings,
        ),
        forward: section.flag(Key::new("forward", "true"), findings),
        fence: section.word(Key::new("fence", "\"auto\""), &FENCE, findings),
        journal_bytes_max: section.number(
            Key::new("journal_bytes_max", "8388608"),
            (65_536, 1 << 40),
            findings,
        ),
        log: section.word(Key::new("log", "\"info\""), &LOG, findings),
    };
    section.finish(&ELSEWHERE, findings);
    daemon
}
