//! What this machine can do for a lab: every feature tried, and what to do about those that fail.
//!
//! Nothing is concluded from versions or settings. Inside a lab ([`examine`]) each feature is used
//! once in a namespace that is thrown away afterwards, so the answer is the kernel's own. From
//! outside ([`visit`]) the hosting program enters a lab for it, which is itself the first feature.
//!
//! The hard case is a feature that exists but not for us: a user who is not root is refused things
//! that the same kernel grants to root, and the cure says which. Limit: whether the kernel would
//! load a module on demand is not tried; running the doctor once as root does that.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::UdpSocket;
use std::path::Path;

use netlink_packet_core::Emitable;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use steadfast_scenarios::format::Capability;

use crate::error::LabError;
use crate::namespace::Namespace;
use crate::netlink::{CREATE, EXCL, Netlink, Request};
use crate::nft::{Hook, Nft, Rule, Test, Then};
use crate::sys;
use crate::visit::{self, Company};

/// What became of one feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was tried.
    pub feature: String,
    /// Whether it works, for us, here.
    pub works: bool,
    /// Whether the lab does without it.
    pub optional: bool,
    /// What was seen where it does not work.
    pub seen: String,
    /// What people can do about it; empty where it works.
    pub cure: String,
}

/// The hidden first argument of a worker that examines.
pub(crate) const LAB_DOCTOR: &str = "lab-doctor";

/// Examines in a lab of its own.
pub fn see() -> Vec<Finding> {
    visit(|| visit::visit(LAB_DOCTOR, &(), &Company::of(1)))
}

/// The worker.
pub(crate) fn main() -> std::process::ExitCode {
    visit::answer(|(): &(), _| examine())
}

/// What a feature is needed for, when it does not work.
const LOADS_MODULE: &str = "load the kernel module once as root (modprobe), or do without";
const AS_ROOT: &str = "run as root, or do without";

/// Tries everything, inside a lab: a fraction of a second.
pub fn examine() -> Vec<Finding> {
    let mut findings = vec![Finding::new("namespaces", false, Ok(()), "")];
    match Namespace::create("doctor") {
        Ok(net) => {
            links(&net, &mut findings);
            filters(&net, &mut findings);
        }
        Err(error) => {
            let refused = Err(io::Error::other(error));
            findings.push(Finding::new("named namespaces", false, refused, AS_ROOT));
        }
    }
    rights(&mut findings);
    tools(&mut findings);
    findings
}

/// As [`examine`], where `enter` runs it in a lab and gives back its findings: if nobody can enter,
/// that is the one finding.
pub fn visit(enter: impl FnOnce() -> Result<Vec<Finding>, LabError>) -> Vec<Finding> {
    enter().unwrap_or_else(|refused| {
        let cure = match &refused {
            LabError::Enter { cure, .. } => cure.clone(),
            LabError::Needs(_) | LabError::System { .. } => AS_ROOT.to_owned(),
        };
        let refused = Err(io::Error::other(refused));
        vec![Finding::new("namespaces", false, refused, &cure)]
    })
}

/// What scenarios can ask of a lab on this machine. What needs a daemon's help (commands, boots on
/// record) is offered by whoever knows the daemon.
pub fn offers(findings: &[Finding]) -> BTreeSet<Capability> {
    use Capability as C;
    let works = |feature: &str| findings.iter().any(|it| it.feature == feature && it.works);
    let mut offers = BTreeSet::new();
    if !works("namespaces") || !works("link bridge") || !works("link veth") {
        return offers;
    }
    offers.extend([
        C::Carrier,
        C::Foreigners,
        C::Injection,
        C::Power,
        C::Process,
        C::Ruleset,
        C::Stalls,
    ]);
    let filters = [
        "filter on the way in",
        "filter on the way out",
        "filter by count",
    ];
    if filters.into_iter().all(works) {
        // What a relay needs beside them is asked for where one is built.
        offers.extend([
            C::BoxFreeze,
            C::FrameFilter,
            C::Impairment,
            C::Silence,
            C::Switches,
        ]);
    }
    offers
}

impl Finding {
    fn new(feature: &str, optional: bool, tried: io::Result<()>, cure: &str) -> Self {
        let works = tried.is_ok();
        Self {
            feature: feature.to_owned(),
            works,
            optional,
            seen: tried
                .err()
                .map_or_else(String::new, |error| error.to_string()),
            cure: if works { "" } else { cure }.to_owned(),
        }
    }
}

/// Kinds of interfaces and of queues.
fn links(net: &Namespace, findings: &mut Vec<Finding>) {
    let kinds = [
        (InfoKind::Bridge, "bridge", false),
        (InfoKind::Veth, "veth", false),
        (InfoKind::MacVlan, "macvlan", true),
        (InfoKind::Vlan, "vlan", true),
        (InfoKind::Dummy, "dummy", true),
        (InfoKind::Bond, "bond", true),
        (InfoKind::Vrf, "vrf", true),
    ];
    for (kind, name, optional) in kinds {
        let tried = ask(net, link(kind));
        // A kind that is there may still want more than its name; an unknown one is not supported.
        let absent = |error: &io::Error| error.raw_os_error() == Some(libc::EOPNOTSUPP);
        let tried = tried.or_else(|error| if absent(&error) { Err(error) } else { Ok(()) });
        let feature = format!("link {name}");
        findings.push(Finding::new(&feature, optional, tried, LOADS_MODULE));
    }
    let tried = ask(net, queue("netem"));
    let absent = |error: &io::Error| error.raw_os_error() == Some(libc::ENOENT);
    let tried = tried.or_else(|error| if absent(&error) { Err(error) } else { Ok(()) });
    findings.push(Finding::new("queue netem", true, tried, LOADS_MODULE));
}

fn ask(net: &Namespace, request: Request) -> io::Result<()> {
    let mut netlink = Netlink::open(net, NETLINK_ROUTE)?;
    netlink.ask(&[request]).map_err(|(_, error)| error)
}

fn link(kind: InfoKind) -> Request {
    let mut message = LinkMessage::default();
    let info = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]);
    message.attributes.push(info);
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    Request::new(16, CREATE | EXCL, bytes)
}

/// A queueing discipline for the loopback, by its name alone (RTM_NEWQDISC, `struct tcmsg`).
fn queue(kind: &str) -> Request {
    let mut bytes = vec![0; 4];
    for word in [1, 0, u32::MAX, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    let length = u16::try_from(4 + kind.len() + 1).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(1_u16.to_ne_bytes());
    bytes.extend(kind.as_bytes());
    bytes.push(0);
    Request::new(36, CREATE | EXCL, bytes)
}

/// What faults are made of.
fn filters(net: &Namespace, findings: &mut Vec<Finding>) {
    let rule = |hook, tests: &[Test]| Rule {
        device: "lo".to_owned(),
        hook,
        tests: tests.to_vec(),
        then: Then::Drop,
    };
    let arp = Test::Is {
        at: 12,
        bytes: [8, 6],
        len: 2,
    };
    let cases = [
        ("filter on the way in", rule(Hook::In, &[arp])),
        ("filter on the way out", rule(Hook::Out, &[arp])),
        (
            "filter by count",
            rule(Hook::In, &[Test::First(1), Test::Chance(1)]),
        ),
    ];
    for (feature, rule) in cases {
        let write = || -> Result<(), LabError> {
            Nft::open(net)?.write("doctor", std::slice::from_ref(&rule))
        };
        let tried = write().map_err(io::Error::other);
        findings.push(Finding::new(feature, false, tried, LOADS_MODULE));
    }
    let conntrack = || fs::read("/proc/sys/net/netfilter/nf_conntrack_max").map(drop);
    let tried = net.run(conntrack).map_err(io::Error::other).flatten();
    findings.push(Finding::new(
        "connection tracking",
        true,
        tried,
        LOADS_MODULE,
    ));
}

/// What root has and users often have not.
fn rights(findings: &mut Vec<Finding>) {
    let time = fs::metadata("/proc/self/ns/time").map(drop);
    let cure = "gateways' uptimes are the host's: use a kernel with CONFIG_TIME_NS";
    findings.push(Finding::new("time namespaces", true, time, cure));
    let tun = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun");
    findings.push(Finding::new("taps", true, tun.map(drop), AS_ROOT));
    let buffer = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        let size = 1 << 20;
        Ok(rustix::net::sockopt::set_socket_recv_buffer_size_force(
            &socket, size,
        )?)
    });
    findings.push(Finding::new("large receive buffers", true, buffer, AS_ROOT));
    let realtime = std::thread::spawn(sys::try_realtime).join();
    let realtime = realtime.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
    findings.push(Finding::new("real-time threads", true, realtime, AS_ROOT));
    let limit = getrlimit(Resource::Memlock).current;
    let locked = match limit {
        None => Ok(()),
        Some(bytes) => Err(io::Error::other(format!("at most {bytes} bytes"))),
    };
    findings.push(Finding::new(
        "locked memory",
        true,
        locked,
        "ulimit -l unlimited, or do without",
    ));
}

/// Programs that a lab can put under test or beside it.
fn tools(findings: &mut Vec<Finding>) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/lib/frr"].map(Into::into);
    let places: Vec<_> = std::env::split_paths(&path).chain(more).collect();
    for tool in [
        "keepalived",
        "zebra",
        "vrrpd",
        "conntrackd",
        "snmpd",
        "dumpcap",
        "radvd",
    ] {
        let there = |place: &std::path::PathBuf| Path::new(place).join(tool).is_file();
        let found = if places.iter().any(there) {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::NotFound))
        };
        let feature = format!("tool {tool}");
        findings.push(Finding::new(
            &feature,
            true,
            found,
            "install it, or do without",
        ));
    }
}
