//! In whose name the machine itself begins: a table that translates its own connections (R5.3).
//!
//! ```text
//! postrouting, just before the operator's own translations, for what leaves a port that `set`s:
//!   in @serving, from the port's own address, not to a peer, a group or our UDP port, not VRRP:
//!   from now on in the name of the virtual address
//! ```
//! A service that clients know by the virtual address shall also be seen by it when it speaks
//! first: a mail server that delivers, a resolver that asks. The kernel would choose the port's own
//! address. What peers say to each other stays with the machines, and so does what is routed
//! through them: its source is never the port's own.
//!
//! The hard case is what was begun. The kernel keeps a translation for as long as packets follow
//! each other, so a program with one long-lived socket would go on in a name that this machine has
//! lost, and the fence would drop it for ever. When the role goes, translations are forgotten: the
//! next packet begins anew, in the machine's own name (of a TCP connection, its end: nobody knows
//! it by that name). When the role comes, datagrams begin anew; TCP connections go on as they
//! began, for another name would end them. What could not be forgotten is owed, and tried again.
//!
//! The table is gone with its socket, so a daemon that dies begins nothing more in that name, and
//! the next one forgets what was translated. Limits: from a daemon's hang to its end new
//! connections are still translated, and dropped at the fence; a program that asked for the port's
//! own address is translated as well; and a service that answers a datagram so late that the
//! kernel has forgotten the question answers in the virtual name.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use super::super::netlink::{Batch, Netlink};
use super::build::commit;
use super::connections::{self, Begun, Owed};
use super::nftables::{self, Base, Meta, SOURCES_TABLE, Set, TABLE_OWNER, Word, kind};
use super::rules::{Rule, key, plain, rule};
use super::{FenceError, NETFILTER};

const CHAIN: &str = "begin";
/// The operator's own source translations are at 100; the first one that matches counts.
const PRIORITY: i32 = 90;
const SERVING: &str = "serving";
const PEERS4: &str = "peers4";
const PEERS6: &str = "peers6";
const SETS: [Set; 3] = [
    plain(SERVING, 21, 2),
    plain(PEERS4, 7, 4),
    plain(PEERS6, 8, 16),
];
const TCP: u8 = 6;
const FIN_SYN_RST_ACK: u8 = 0x17;
const SYN: u8 = 0x02;
pub(super) const UDP: u8 = 17;
const VRRP: u8 = 112;
/// `AF_INET` and `AF_INET6`, which are also nf_tables' numbers of the protocols.
const INET: u8 = 2;
const INET6: u8 = 10;
/// An interface's name, zeros included (`IFNAMSIZ`).
const NAME_LEN: usize = 16;

/// Which ports begin in a virtual address's name, and where they do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSpec {
    /// The ports. None: there is no table.
    pub ports: Vec<SourcePort>,
    /// The peers' own addresses.
    pub peers: Vec<IpAddr>,
    /// Our own UDP port, whoever is asked there.
    pub udp_port: u16,
}

/// A port that begins in a virtual address's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePort {
    /// The interface's name.
    pub name: String,
    /// Each own address of the machine there, and the virtual one that it becomes.
    pub names: Vec<(IpAddr, IpAddr)>,
}

impl SourceSpec {
    /// Which own address becomes which virtual one.
    fn pairs(&self) -> impl Iterator<Item = (&SourcePort, IpAddr, IpAddr)> {
        self.ports.iter().flat_map(|port| {
            let names = port.names.iter();
            names.map(move |(unit, name)| (port, *unit, *name))
        })
    }
}

/// The table, while there is one, and what is to be forgotten yet.
#[derive(Debug, Default)]
pub struct Sources {
    spec: SourceSpec,
    serving: bool,
    /// The socket that owns the table.
    table: Option<Netlink>,
    owed: BTreeSet<Owed>,
}

impl Sources {
    /// Makes it so: these ports, translated now or not. Called again with the same it does what
    /// failed before.
    ///
    /// # Errors
    /// The kernel cannot translate or forget, or another daemon owns the table. Without a table
    /// nothing is translated.
    pub fn settle(&mut self, spec: &SourceSpec, serving: bool) -> Result<(), FenceError> {
        let needed = spec.pairs().next().is_some();
        let made = if self.spec != *spec || self.table.is_some() != needed {
            self.rebuild(spec, serving, needed)
        } else if needed && self.serving != serving {
            self.change(serving)
        } else {
            Ok(())
        };
        // Also where the table could not be made: then nothing is translated any more.
        let forgotten = self.forget_owed().map_err(FenceError::socket);
        made.and(forgotten)
    }

    fn rebuild(
        &mut self,
        spec: &SourceSpec,
        serving: bool,
        needed: bool,
    ) -> Result<(), FenceError> {
        let fresh = self.table.is_none();
        if needed {
            let mut netlink = match self.table.take() {
                Some(netlink) => netlink,
                None => usable(spec).map_err(FenceError::socket)?,
            };
            let mut batch = nftables::begin();
            if !fresh {
                nftables::delete_table(&mut batch, SOURCES_TABLE);
            }
            write(&mut batch, spec, serving);
            commit(&mut netlink, batch)?;
            self.table = Some(netlink);
        } else {
            self.table = None;
        }
        let pairs = |spec: &SourceSpec| -> BTreeSet<(IpAddr, IpAddr)> {
            spec.pairs().map(|(_, unit, name)| (unit, name)).collect()
        };
        let (before, after) = (pairs(&self.spec), pairs(spec));
        for (unit, name) in before.difference(&after) {
            self.owe(*unit, *name, false);
        }
        let moved = fresh || self.serving != serving;
        for pair in after.iter().filter(|pair| moved || !before.contains(pair)) {
            self.owe(pair.0, pair.1, serving);
        }
        self.spec = spec.clone();
        self.serving = serving;
        Ok(())
    }

    fn change(&mut self, serving: bool) -> Result<(), FenceError> {
        let Some(netlink) = &mut self.table else {
            return Ok(());
        };
        let kind = if serving {
            kind::NEW_ELEMENT
        } else {
            kind::DELETE_ELEMENT
        };
        let mut batch = nftables::begin();
        nftables::elements(&mut batch, kind, SOURCES_TABLE, SERVING, &[key()]);
        let changed = commit(netlink, batch);
        if changed.is_err() {
            // What stands is not known: it goes, and the next try builds it anew.
            self.table = None;
        }
        let serves = serving && changed.is_ok();
        self.serving = serves;
        let pairs: Vec<_> = self
            .spec
            .pairs()
            .map(|(_, unit, name)| (unit, name))
            .collect();
        for (unit, name) in pairs {
            self.owe(unit, name, serves);
        }
        changed
    }

    /// The role has come, or gone: what was owed for the other is not any more.
    fn owe(&mut self, unit: IpAddr, name: IpAddr, serving: bool) {
        self.owed.remove(&owed(unit, name, !serving));
        self.owed.insert(owed(unit, name, serving));
    }

    fn forget_owed(&mut self) -> io::Result<()> {
        if self.owed.is_empty() {
            return Ok(());
        }
        let mut netlink = Netlink::open(NETFILTER)?;
        let mut failed = None;
        self.owed
            .retain(|owed| match connections::forget(&mut netlink, *owed) {
                Ok(()) => false,
                Err(why) => {
                    failed = Some(why);
                    true
                }
            });
        failed.map_or(Ok(()), Err)
    }
}

/// What of a pair is to be forgotten when the role comes, or goes.
const fn owed(unit: IpAddr, name: IpAddr, serving: bool) -> Owed {
    if serving {
        (unit, unit, Begun::Plain)
    } else {
        (unit, name, Begun::Translated)
    }
}

/// A socket for a new table, where the kernel also tells of connections: what it could not forget
/// it must not begin.
fn usable(spec: &SourceSpec) -> io::Result<Netlink> {
    let mut netlink = Netlink::open(NETFILTER)?;
    if let Some((_, unit, name)) = spec.pairs().next() {
        connections::look(&mut netlink, (unit, name, Begun::Translated))?;
    }
    Ok(netlink)
}

fn write(batch: &mut Batch, spec: &SourceSpec, serving: bool) {
    nftables::add_table(batch, SOURCES_TABLE, TABLE_OWNER);
    for (id, set) in (1..).zip(&SETS) {
        nftables::add_set(batch, SOURCES_TABLE, set, id);
    }
    let all = |ipv4: bool| {
        let mut keys: Vec<Vec<u8>> = spec
            .peers
            .iter()
            .filter(|peer| peer.is_ipv4() == ipv4)
            .map(|peer| octets(*peer))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    };
    let serving = if serving { vec![key()] } else { Vec::new() };
    for (set, keys) in [
        (SERVING, serving),
        (PEERS4, all(true)),
        (PEERS6, all(false)),
    ] {
        nftables::elements(batch, kind::NEW_ELEMENT, SOURCES_TABLE, set, &keys);
    }
    nftables::add_source_chain(batch, (SOURCES_TABLE, CHAIN), PRIORITY);
    for rule in rules(spec) {
        nftables::add_rule(batch, (SOURCES_TABLE, CHAIN), &rule.name, &rule.words);
    }
}

fn rules(spec: &SourceSpec) -> Vec<Rule> {
    let ours = vec![
        Word::Meta(Meta::L4Protocol),
        Word::Is(vec![UDP]),
        Word::Payload(Base::Transport, 2, 2),
        Word::Is(spec.udp_port.to_be_bytes().to_vec()),
        Word::Accept,
    ];
    let mut rules = vec![rule("any", "our own datagrams", &[ours])];
    for (port, unit, name) in spec.pairs() {
        let translate = || vec![Word::Octets(octets(name)), Word::Source(family(name))];
        let named = |what: &str| format!("{what} of {unit} as {name}");
        let (opens, others) = (opens_tcp(), others());
        let tcp = [leaves(port), from(unit), opens, translate()];
        let rest = [leaves(port), from(unit), others, translate()];
        rules.push(rule(&port.name, &named("TCP"), &tcp));
        rules.push(rule(&port.name, &named("the rest"), &rest));
    }
    rules
}

/// The first packet of a TCP connection: to a kernel that tracks only from now on, or has
/// forgotten, one in its midst is new as well, and another name would end it.
fn opens_tcp() -> Vec<Word> {
    vec![
        Word::Meta(Meta::L4Protocol),
        Word::Is(vec![TCP]),
        Word::Payload(Base::Transport, 13, 1),
        Word::Mask(vec![FIN_SYN_RST_ACK]),
        Word::Is(vec![SYN]),
    ]
}

/// Neither TCP nor what routers say to each other.
fn others() -> Vec<Word> {
    let is_not = |protocol| [Word::Meta(Meta::L4Protocol), Word::IsNot(vec![protocol])];
    [is_not(TCP), is_not(VRRP)].concat()
}

/// It leaves there while this machine serves.
fn leaves(port: &SourcePort) -> Vec<Word> {
    let mut name = port.name.clone().into_bytes();
    name.resize(NAME_LEN, 0);
    vec![
        Word::Meta(Meta::OutName),
        Word::Is(name),
        Word::Meta(Meta::OutType),
        Word::IsIn(SERVING),
    ]
}

/// It is from this address of the machine, and neither to a peer nor to a group, a broadcast or
/// another link-local address.
fn from(unit: IpAddr) -> Vec<Word> {
    let version = vec![
        Word::Meta(Meta::NetworkProtocol),
        Word::Is(vec![family(unit)]),
    ];
    let begins = |at, mask: Vec<u8>, with: &[u8]| {
        vec![
            Word::Payload(Base::Network, at, u32::try_from(mask.len()).unwrap_or(0)),
            Word::Mask(mask),
            Word::IsNot(with.to_vec()),
        ]
    };
    let (source, destination, len, peers) = match unit {
        IpAddr::V4(_) => (12, 16, 4, PEERS4),
        IpAddr::V6(_) => (8, 24, 16, PEERS6),
    };
    let unicast = match unit {
        // 224 and above.
        IpAddr::V4(_) => begins(destination, vec![0xe0], &[0xe0]),
        IpAddr::V6(_) => [
            begins(destination, vec![0xff], &[0xff]),
            begins(destination, vec![0xff, 0xc0], &[0xfe, 0x80]),
        ]
        .concat(),
    };
    let ends = vec![
        Word::Payload(Base::Network, source, len),
        Word::Is(octets(unit)),
        Word::Payload(Base::Network, destination, len),
        Word::IsNotIn(peers),
    ];
    [version, unicast, ends].concat()
}

pub(super) const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => INET,
        IpAddr::V6(_) => INET6,
    }
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
