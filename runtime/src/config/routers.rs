//! A file of virtual routers: a `[[vrrp]]` table for each, and the daemon's own settings.
//!
//! VRRP has no cluster, no secret and no peers, so such a file has none either; whoever wants both
//! on one machine runs two daemons with a file each. Keys have our names; keepalived's are
//! understood and noted. What the machine's interfaces say fills in the rest: the station's MAC,
//! and the address that messages come from.
//!
//! The hard case is an address that is the machine's own: who owns it has priority 255 and no other
//! (RFC 9568 §5.2.4), and it is neither added nor removed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use steadfast_core::MacAddr;
use steadfast_core::vrrp::{Lists, Settings};
use steadfast_core::wire::vrrp::{Interval, OWNER, Sum, Sums, Version};
use toml::Spanned;

use super::mistake::{Findings, Note, Place, Report, nearest};
use super::raw::{self, format};
use super::section::{Key, Section, Word};
use super::values::plain_address;
use super::{InterfaceFacts, Interfaces};

/// Most virtual routers of one file.
pub const ROUTERS_MAX: usize = 64;
/// A router serves for so many of its intervals after its last word: others take over later.
const INTERVALS_SERVED: u32 = 3;
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
    /// The link's own address on layer 2.
    pub mac: MacAddr,
    /// What it is set to.
    pub settings: Settings,
    /// Which of its addresses are the machine's own.
    pub own: Vec<IpAddr>,
    /// How long it serves after its last word.
    pub lease: Duration,
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

/// A router as far as it is known, and where that stands.
struct Written {
    interface: Option<Spanned<String>>,
    virtual_id: Option<Spanned<u64>>,
    addresses: Vec<Spanned<IpAddr>>,
    whole: Option<RouterConfig>,
}

fn router(
    mut section: Section<'_>,
    interfaces: &dyn Interfaces,
    findings: &mut Findings,
) -> Written {
    let before = findings.count();
    for key in [INTERFACE, ROUTER, VIRTUAL] {
        section.demand_any(key, &key.cure(), findings);
    }
    let interface = section.text(INTERFACE, findings);
    let virtual_id = section.number(ROUTER, (1, 255), findings);
    let version = section.number(VERSION, (2, 3), findings);
    let priority = section.number(PRIORITY, (1, 255), findings);
    let interval = section.span(INTERVAL, findings);
    let preempt = section.flag(Key::new("preempt", "true"), findings);
    let addresses = section.each(VIRTUAL, findings, plain_address);
    let sources = section.each(SOURCE, findings, plain_address);
    let sum = section.word(CHECKSUM, &SUMS, findings);
    let place = section.finish(&[], findings);
    let mut written = Written {
        interface,
        virtual_id,
        addresses,
        whole: None,
    };
    let (Some(interface), Some(id), Some(first)) = (
        &written.interface,
        &written.virtual_id,
        written.addresses.first(),
    ) else {
        return written;
    };
    let facts = look(interface, interfaces, findings);
    let version = spoken(version.as_ref());
    let listed: Vec<IpAddr> = written.addresses.iter().map(|it| *it.get_ref()).collect();
    let priority = priority.map_or(100, |it| u8::try_from(*it.get_ref()).unwrap_or(100));
    let own = own(&written.addresses, &facts, priority, findings);
    let ipv6 = first.get_ref().is_ipv6();
    let primary = primary(sources.first(), &facts, (ipv6, &own), interface, findings);
    let settings = Settings {
        version,
        virtual_id: u8::try_from(*id.get_ref()).unwrap_or_default(),
        priority,
        interval: centis(interval.as_ref(), version, findings),
        preempt: preempt.is_none_or(|it| *it.get_ref()),
        addresses: listed,
        primary,
        sum: sum.map_or(Sum::PseudoHeader, |it| *it.get_ref()),
        sums: Sums::Either,
        lists: match version {
            Version::V2 => Lists::Equal,
            Version::V3 => Lists::Counted,
        },
        answers_lower: version == Version::V3,
        unicast: Vec::new(),
    };
    if findings.count() == before {
        problems(&settings, &written, &place, findings);
    }
    written.whole = Some(RouterConfig {
        interface: interface.get_ref().clone(),
        mac: facts.mac,
        lease: settings.interval.span() * INTERVALS_SERVED,
        settings,
        own,
    });
    written
}

/// The newest version, unless the older one is written.
fn spoken(version: Option<&Spanned<u64>>) -> Version {
    match version.map(|it| *it.get_ref()) {
        Some(2) => Version::V2,
        _ => Version::V3,
    }
}

/// What the core has against these settings, at the key that says it.
fn problems(settings: &Settings, written: &Written, place: &Place, findings: &mut Findings) {
    for (field, why) in settings.problems() {
        let (key, at) = match field {
            "virtual_id" => (ROUTER, written.virtual_id.as_ref().map(Spanned::span)),
            "addresses" => (VIRTUAL, written.addresses.first().map(Spanned::span)),
            "interval" => (INTERVAL, None),
            "version" => (VERSION, None),
            _ => (PRIORITY, None),
        };
        let at = at.unwrap_or_else(|| place.clone());
        findings.wrong(&at, format!("`{}` {why}", key.name), key.cure());
    }
}

/// What the interface is; a stand-in when it is not there.
fn look(
    name: &Spanned<String>,
    interfaces: &dyn Interfaces,
    findings: &mut Findings,
) -> InterfaceFacts {
    if let Some(facts) = interfaces.interface(name.get_ref()) {
        if facts.mac == MacAddr::ZERO || facts.mac.is_group() {
            let message = format!("interface `{}` has no Ethernet address", name.get_ref());
            findings.wrong(&name.span(), message, "use an Ethernet interface");
        }
        return facts;
    }
    if interfaces.here() {
        let names = interfaces.names();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let cure = match nearest(name.get_ref(), &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("this machine has `{}`", known.join("`, `")),
        };
        let message = format!("there is no interface `{}`", name.get_ref());
        findings.wrong(&name.span(), message, cure);
    }
    InterfaceFacts {
        mac: MacAddr([2, 0, 0, 0, 0, 0]),
        units: Vec::new(),
    }
}

/// The addresses that are the machine's own. Only who owns them all may have any.
fn own(
    addresses: &[Spanned<IpAddr>],
    facts: &InterfaceFacts,
    priority: u8,
    findings: &mut Findings,
) -> Vec<IpAddr> {
    let mut own = Vec::new();
    for address in addresses {
        if facts
            .units
            .iter()
            .any(|(unit, _)| unit == address.get_ref())
        {
            own.push(*address.get_ref());
            if priority != OWNER {
                let message = format!("{} is this machine's own address", address.get_ref());
                let cure = "write `priority = 255` if it owns the address; else remove it from the \
                            interface";
                findings.wrong(&address.span(), message, cure);
            }
        }
    }
    own
}

/// Where messages come from: as written, else an owned address, else the first of the family.
fn primary(
    written: Option<&Spanned<IpAddr>>,
    facts: &InterfaceFacts,
    (ipv6, own): (bool, &[IpAddr]),
    interface: &Spanned<String>,
    findings: &mut Findings,
) -> IpAddr {
    let fits = |address: &IpAddr| match address {
        IpAddr::V4(_) => !ipv6,
        IpAddr::V6(address) => ipv6 && address.is_unicast_link_local(),
    };
    let units: Vec<IpAddr> = facts.units.iter().map(|(unit, _)| *unit).collect();
    if let Some(written) = written {
        if !units.is_empty() && !units.contains(written.get_ref()) {
            let (address, name) = (written.get_ref(), interface.get_ref());
            let message = format!("`source` {address} is no address of `{name}`");
            findings.wrong(
                &written.span(),
                message,
                "write one that it has, or leave it out",
            );
        }
        return *written.get_ref();
    }
    if let Some(found) = own.iter().chain(&units).find(|it| fits(it)) {
        return *found;
    }
    if !units.is_empty() {
        let what = if ipv6 { "link-local IPv6" } else { "IPv4" };
        let message = format!(
            "`{}` has no {what} address to speak from",
            interface.get_ref()
        );
        findings.wrong(&interface.span(), message, "give it one of its own");
    }
    if ipv6 {
        IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1])
    } else {
        IpAddr::from([192, 0, 2, 1])
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
            if !addresses.insert(*address.get_ref()) {
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
