//! A file of virtual routers: a `[[vrrp]]` table for each, and the daemon's own settings.
//!
//! VRRP has no cluster, no secret and no peers, so such a file has none either; whoever wants both
//! on one machine runs two daemons with a file each. Keys have our names; keepalived's are
//! understood and noted. What the machine's interfaces say fills in the rest: the station's MAC,
//! and the address that messages come from.
//!
//! The hard case is an address that is the machine's own: who owns it has priority 255 and no other
//! (RFC 9568 §5.2.4), and it is neither added nor removed ([`facts`]).

mod facts;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use steadfast_core::MacAddr;
use steadfast_core::vrrp::{PRIORITY_USUAL, Settings};
use steadfast_core::wire::vrrp::{Interval, Sum, Version, macs};
use toml::Spanned;

use super::Interfaces;
use super::mistake::{Findings, Note, Place, Report};
use super::raw::{self, byte, format};
use super::section::{Key, Section, Word};
use super::values::plain_address;
use facts::{check_addresses, check_owner, check_track, is_of_a_link, look, own, primary};

/// Most virtual routers of one file.
pub const ROUTERS_MAX: usize = 64;
/// Most addresses of one file: each is a rule that packets pass.
pub const ADDRESSES_MAX: usize = 4_096;
/// Between two messages, in nanoseconds: what a message can say.
const CENTISECOND: u128 = 10_000_000;

/// A file of virtual routers without mistakes.
#[derive(Debug)]
pub struct Routers {
    /// Each router.
    pub routers: Vec<RouterConfig>,
    /// Where sockets are.
    pub runtime_dir: PathBuf,
    /// The control socket.
    pub control_socket: PathBuf,
    /// Whose members may command, beside root.
    pub control_group: Option<String>,
    /// What is logged.
    pub log: log::LevelFilter,
    /// What is worth knowing and not wrong.
    pub notes: Vec<Note>,
    /// The file.
    pub path: PathBuf,
}

/// A virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// Its link.
    pub interface: String,
    /// The station that speaks and has the addresses: the link's own, or the virtual MAC.
    pub mac: MacAddr,
    /// Packets to its addresses are taken in while it serves (RFC 9568 §6.1, `Accept_Mode`).
    pub accept: bool,
    /// It is the virtual MAC, on a device of its own.
    pub virtual_mac: bool,
    /// The link's own station.
    pub link_mac: MacAddr,
    /// What it is set to.
    pub settings: Settings,
    /// Which of its addresses are the machine's own.
    pub own: Vec<IpAddr>,
    /// How long it serves after its last word.
    pub lease: Duration,
    /// Other interfaces that it needs.
    pub track: Vec<String>,
    /// How much its priority falls with each of them that is down; without this it does not run.
    pub track_weight: Option<u8>,
}

const SUMS: [Word<Sum>; 2] = [
    ("pseudo-header", Sum::PseudoHeader, None),
    ("message", Sum::Message, None),
];
const INTERFACE: Key = Key::new("interface", "\"lan0\"");
const ROUTER: Key = Key::new("virtual_router", "51").or(&["vrid", "virtual_router_id"]);
const VIRTUAL: Key = Key::new("virtual", "[\"10.0.1.1\"]").or(&["virtual_ipaddress"]);
const PRIORITY: Key = Key::new("priority", "100");
const INTERVAL: Key = Key::new("interval", "\"1s\"").or(&["advert_int", "advert_interval"]);
const VERSION: Key = Key::new("version", "3").or(&["vrrp_version"]);
const SOURCE: Key = Key::new("source", "\"10.0.1.2\"").or(&["mcast_src_ip"]);
const TRACK: Key = Key::new("track", "[\"wan0\"]").or(&["track_interface"]);
const CHECKSUM: Key = Key::new("checksum", "\"pseudo-header\"");
/// Sections of a node's file.
const OF_NODES: [&str; 6] = ["cluster", "node", "peer", "port", "timing", "policy"];

/// Whether a text is a file of virtual routers.
pub(super) fn are_in(text: &str) -> bool {
    let mut unheard = Findings::new("", text);
    raw::root(text, &mut unheard).is_some_and(|root| root.holds("vrrp"))
}

/// Reads and checks such a file.
///
/// # Errors
/// Everything that is wrong, each with its place and cure.
pub(super) fn read(
    path: &Path,
    text: &str,
    interfaces: &dyn Interfaces,
) -> Result<Routers, Report> {
    let mut findings = Findings::new(&path.display().to_string(), text);
    let mut read = Routers {
        routers: Vec::new(),
        runtime_dir: PathBuf::new(),
        control_socket: PathBuf::new(),
        control_group: None,
        log: log::LevelFilter::Info,
        notes: Vec::new(),
        path: path.to_owned(),
    };
    if let Some(mut root) = raw::root(text, &mut findings)
        && format(&mut root, &mut findings)
    {
        for name in OF_NODES {
            if root.holds(name)
                && let Some((place, _)) = root.take(Key::new(name, ""), &mut findings)
            {
                let message = format!("`{name}` and `[[vrrp]]` are in one file");
                let cure = "keep `[[vrrp]]` in a file of its own and run a second steadfastd on it";
                findings.wrong(&place, message, cure);
            }
        }
        let tables = root.sections("vrrp", ROUTERS_MAX, &mut findings);
        let written: Vec<_> = tables
            .into_iter()
            .map(|table| router(table, interfaces, &mut findings))
            .collect();
        check_twice(&written, &mut findings);
        let mut addresses = written.iter().flat_map(|it| &it.addresses);
        if let Some(first) = addresses.nth(ADDRESSES_MAX) {
            let message = format!("more than {ADDRESSES_MAX} addresses in one file");
            findings.wrong(&first.span(), message, "leave some out");
        }
        read.routers = written.into_iter().filter_map(|it| it.whole).collect();
        daemon(
            root.section("daemon", &mut findings),
            &mut read,
            &mut findings,
        );
        root.finish(&[], &mut findings);
    }
    read.notes = findings.conclude()?;
    Ok(read)
}

/// A router as it is written.
struct Written {
    place: Place,
    interface: Option<Spanned<String>>,
    virtual_id: Option<Spanned<u64>>,
    addresses: Vec<Spanned<IpAddr>>,
    version: Option<Spanned<u64>>,
    priority: Option<Spanned<u64>>,
    interval: Option<Spanned<Duration>>,
    preempt: Option<Spanned<bool>>,
    sources: Vec<Spanned<IpAddr>>,
    sum: Option<Spanned<Sum>>,
    virtual_mac: Option<Spanned<bool>>,
    accept: Option<Spanned<bool>>,
    track: Vec<Spanned<String>>,
    track_weight: Option<Spanned<u64>>,
    /// What it is altogether, if enough of it is known.
    whole: Option<RouterConfig>,
}

impl Written {
    /// The link's name, as far as it is written.
    fn called(&self) -> Option<&str> {
        self.interface.as_ref().map(|name| name.get_ref().as_str())
    }
}

fn written(mut section: Section<'_>, findings: &mut Findings) -> Written {
    for key in [INTERFACE, ROUTER, VIRTUAL] {
        section.demand_any(key, &key.cure(), findings);
    }
    let flag = |section: &mut Section<'_>, name, findings: &mut Findings| {
        section.flag(Key::new(name, "true"), findings)
    };
    let weight = Key::new("track_weight", "50");
    Written {
        interface: section.text(INTERFACE, findings),
        virtual_id: section.number(ROUTER, (1, 255), findings),
        addresses: section.each(VIRTUAL, findings, plain_address),
        version: section.number(VERSION, (2, 3), findings),
        priority: section.number(PRIORITY, (1, 255), findings),
        interval: section.span(INTERVAL, findings),
        preempt: flag(&mut section, "preempt", findings),
        sources: section.each(SOURCE, findings, plain_address),
        sum: section.word(CHECKSUM, &SUMS, findings),
        virtual_mac: flag(&mut section, "virtual_mac", findings),
        accept: flag(&mut section, "accept", findings),
        track: section.each(TRACK, findings, |text| Ok(text.to_owned())),
        track_weight: section.number(weight, (1, 253), findings),
        place: section.finish(&[], findings),
        whole: None,
    }
}

fn router(section: Section<'_>, interfaces: &dyn Interfaces, findings: &mut Findings) -> Written {
    let before = findings.count();
    let mut written = written(section, findings);
    written.whole = whole(&written, interfaces, findings);
    if findings.count() == before
        && let Some(whole) = &written.whole
    {
        problems(&whole.settings, &written, findings);
    }
    written
}

/// What it is altogether; none while what it is called by is missing.
fn whole(
    written: &Written,
    interfaces: &dyn Interfaces,
    findings: &mut Findings,
) -> Option<RouterConfig> {
    let interface = written.interface.as_ref()?;
    let virtual_id = byte(written.virtual_id.as_ref())?;
    let ipv6 = written.addresses.first()?.get_ref().is_ipv6();
    let facts = look(interface, interfaces, findings);
    check_track(written, interface, interfaces, findings);
    check_owner(written, findings);
    check_addresses(&written.addresses, findings);
    let version = spoken(written.version.as_ref());
    let priority = byte(written.priority.as_ref()).unwrap_or(PRIORITY_USUAL);
    let own = own(&written.addresses, &facts, priority, findings);
    let interval = centis(written.interval.as_ref(), version, findings);
    let primary = primary(&written.sources, &facts, (ipv6, &own), interface, findings);
    let usual = Settings::usual(version, virtual_id, primary);
    let settings = Settings {
        priority,
        interval,
        preempt: says(written.preempt.as_ref(), usual.preempt),
        addresses: written.addresses.iter().map(|it| *it.get_ref()).collect(),
        sum: written.sum.as_ref().map_or(usual.sum, |it| *it.get_ref()),
        ..usual
    };
    let virtual_mac = says(written.virtual_mac.as_ref(), false);
    let mac = if virtual_mac {
        macs(virtual_id, ipv6).0
    } else {
        facts.mac
    };
    Some(RouterConfig {
        interface: interface.get_ref().clone(),
        mac,
        virtual_mac,
        accept: says(written.accept.as_ref(), true),
        link_mac: facts.mac,
        lease: settings.lease(),
        settings,
        own,
        track: written
            .track
            .iter()
            .map(|it| it.get_ref().clone())
            .collect(),
        track_weight: byte(written.track_weight.as_ref()),
    })
}

fn says(written: Option<&Spanned<bool>>, otherwise: bool) -> bool {
    written.map_or(otherwise, |it| *it.get_ref())
}

/// The newest version, unless the older one is written.
fn spoken(version: Option<&Spanned<u64>>) -> Version {
    match version.map(|it| *it.get_ref()) {
        Some(2) => Version::V2,
        _ => Version::V3,
    }
}

/// What the core has against these settings, at the key that says it.
fn problems(settings: &Settings, written: &Written, findings: &mut Findings) {
    for (field, why) in settings.problems() {
        let (key, at) = match field {
            "virtual_id" => (ROUTER, written.virtual_id.as_ref().map(Spanned::span)),
            "addresses" => (VIRTUAL, written.addresses.first().map(Spanned::span)),
            "interval" => (INTERVAL, None),
            "version" => (VERSION, None),
            _ => (PRIORITY, None),
        };
        let at = at.unwrap_or_else(|| written.place.clone());
        findings.wrong(&at, format!("`{}` {why}", key.name), key.cure());
    }
}

/// The interval, in what messages can say.
fn centis(
    written: Option<&Spanned<Duration>>,
    version: Version,
    findings: &mut Findings,
) -> Interval {
    let span = written.map(|it| *it.get_ref());
    let wanted = match span.map(|it| it.as_nanos()) {
        None => Ok(Interval::SECOND),
        Some(nanos) if nanos.is_multiple_of(CENTISECOND) => {
            let centis = u16::try_from(nanos / CENTISECOND).unwrap_or(u16::MAX);
            Interval::new(version, centis)
        }
        Some(_) => Err("is told in hundredths of a second"),
    };
    if let (Err(why), Some(written)) = (wanted, written) {
        findings.wrong(
            &written.span(),
            format!("`interval`: {why}"),
            INTERVAL.cure(),
        );
    }
    wanted.unwrap_or(Interval::SECOND)
}

/// The same router, or the same address, twice.
fn check_twice(all: &[Written], findings: &mut Findings) {
    let mut routers = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for written in all {
        if let Some(whole) = &written.whole
            && let Some(id) = &written.virtual_id
        {
            let ipv6 = whole.settings.primary.is_ipv6();
            if !routers.insert((whole.interface.clone(), ipv6, *id.get_ref())) {
                let message = format!(
                    "virtual router {} is twice on `{}`",
                    id.get_ref(),
                    whole.interface
                );
                findings.wrong(
                    &id.span(),
                    message,
                    "give each router of a link its own number",
                );
            }
        }
        for address in &written.addresses {
            // A link-local one is another address on each link.
            let link = is_of_a_link(address.get_ref()).then(|| written.called());
            if !addresses.insert((link, *address.get_ref())) {
                let message = format!("virtual address {} is listed twice", address.get_ref());
                findings.wrong(
                    &address.span(),
                    message,
                    "an address is of one virtual router",
                );
            }
        }
    }
}

fn daemon(mut section: Section<'_>, read: &mut Routers, findings: &mut Findings) {
    let path = |written: Option<Spanned<String>>, default: &str| {
        PathBuf::from(written.map_or_else(|| default.to_owned(), Spanned::into_inner))
    };
    let folder = section.text(Key::new("runtime_dir", "\"/run/steadfast-vrrp\""), findings);
    read.runtime_dir = path(folder, "/run/steadfast-vrrp");
    let socket = Key::new("control_socket", "\"/run/steadfast-vrrp/control.sock\"");
    read.control_socket = match section.text(socket, findings) {
        Some(written) => PathBuf::from(written.into_inner()),
        None => read.runtime_dir.join("control.sock"),
    };
    let group = section.text(Key::new("control_group", "\"adm\""), findings);
    read.control_group = group.map(Spanned::into_inner);
    if let Some(level) = section.word(Key::new("log", "\"info\""), &raw::LOG, findings) {
        read.log = *level.get_ref();
    }
    section.finish(&[], findings);
}

#[cfg(test)]
mod tests;
