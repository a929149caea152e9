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
//! lost, and the fence would drop it for ever. When the role goes, translations are forgotten:
//! the next packet begins anew, in the machine's own name (of a TCP connection, its end: nobody
//! knows it by that name). When the role comes, datagrams begin anew; TCP connections go on as they
//! began, for another name would end them.
//!
//! The table is gone with its socket, so a daemon that dies translates nothing any more, and the
//! next one forgets what was translated. Limits: from a daemon's hang to its end new connections
//! are still translated, and dropped at the fence; and a program that asked for the port's own
//! address is not heard.

use std::io;
use std::net::IpAddr;

use super::super::netlink::{Answer, Batch, Message, Netlink, attributes, find};
use super::build::commit;
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
const UDP: u8 = 17;
const VRRP: u8 = 112;
/// `AF_INET` and `AF_INET6`, which are also nf_tables' numbers of the protocols.
const INET: u8 = 2;
const INET6: u8 = 10;
/// An interface's name, zeros included (`IFNAMSIZ`).
const NAME_LEN: usize = 16;

/// `NFNL_SUBSYS_CTNETLINK`: one of the messages about connections.
const CONNECTIONS: u16 = 1 << 8;
const GET_CONNECTION: u16 = 1;
const DELETE_CONNECTION: u16 = 2;
/// `CTA_*` of a connection.
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
/// `CTA_FILTER_FLAG_CTA_IP_SRC`, `CTA_FILTER_FLAG_CTA_IP_DST`, `CTA_FILTER_FLAG_CTA_PROTO_NUM`.
const BY_SOURCE: u32 = 1;
const BY_DESTINATION: u32 = 2;
const BY_PROTOCOL: u32 = 8;

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

/// The table, while there is one.
#[derive(Debug, Default)]
pub struct Sources {
    spec: SourceSpec,
    /// The socket that owns the table.
    table: Option<Netlink>,
}

impl Sources {
    /// Whether there is anything to translate.
    pub fn is_needed(&self) -> bool {
        self.spec.pairs().next().is_some()
    }

    /// Makes the table as it shall be from now on, if it is not so already; `serving` says whether
    /// it translates at once.
    ///
    /// # Errors
    /// The kernel cannot translate, or another daemon owns the table. Nothing is translated then.
    pub fn set_up(&mut self, spec: &SourceSpec, serving: bool) -> Result<(), FenceError> {
        if self.spec == *spec && self.table.is_some() == self.is_needed() {
            return Ok(());
        }
        // What was translated and is not to be any more begins anew.
        let before = core::mem::replace(&mut self.spec, spec.clone());
        if self.table.take().is_some() {
            forget(&before, Begun::Translated).map_err(FenceError::socket)?;
        }
        if !self.is_needed() {
            return Ok(());
        }
        let mut netlink = Netlink::open(NETFILTER).map_err(FenceError::socket)?;
        let mut batch = nftables::begin();
        write(&mut batch, spec, serving);
        commit(&mut netlink, batch)?;
        self.table = Some(netlink);
        let stale = if serving {
            Begun::Plain
        } else {
            Begun::Translated
        };
        forget(spec, stale).map_err(FenceError::socket)
    }

    /// From now on what begins is translated.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn begin(&mut self) -> Result<(), FenceError> {
        if self.table.is_none() {
            return Ok(());
        }
        self.change(kind::NEW_ELEMENT)?;
        forget(&self.spec, Begun::Plain).map_err(FenceError::socket)
    }

    /// From now on what begins is not, and what was goes on in the machine's own name.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn end(&mut self) -> Result<(), FenceError> {
        if self.table.is_none() {
            return Ok(());
        }
        // An element that is not there is as wished.
        let ended = match self.change(kind::DELETE_ELEMENT) {
            Err(FenceError::Refused { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Ok(())
            }
            other => other,
        };
        ended.and(forget(&self.spec, Begun::Translated).map_err(FenceError::socket))
    }

    fn change(&mut self, kind: u16) -> Result<(), FenceError> {
        let Some(netlink) = &mut self.table else {
            return Ok(());
        };
        let mut batch = nftables::begin();
        nftables::elements(&mut batch, kind, SOURCES_TABLE, SERVING, &[key()]);
        commit(netlink, batch)
    }
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
        let translate = vec![Word::Octets(octets(name)), Word::Source(family(name))];
        let words = [leaves(port), from(unit), translate];
        rules.push(rule(
            &port.name,
            &format!("{unit} begins as {name}"),
            &words,
        ));
    }
    rules
}

/// It leaves there while this machine serves, and is no word of routers to each other.
fn leaves(port: &SourcePort) -> Vec<Word> {
    let mut name = port.name.clone().into_bytes();
    name.resize(NAME_LEN, 0);
    vec![
        Word::Meta(Meta::OutName),
        Word::Is(name),
        Word::Meta(Meta::OutType),
        Word::IsIn(SERVING),
        Word::Meta(Meta::L4Protocol),
        Word::IsNot(vec![VRRP]),
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

/// What the machine began, and the kernel remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    /// Datagrams in its own name.
    Plain,
    /// Anything in a virtual address's.
    Translated,
}

/// Ends the kernel's memory of it.
fn forget(spec: &SourceSpec, what: Begun) -> io::Result<()> {
    let mut netlink = Netlink::open(NETFILTER)?;
    for (_, unit, name) in spec.pairs() {
        let (answered, protocol) = match what {
            Begun::Plain => (unit, Some(UDP)),
            Begun::Translated => (name, None),
        };
        for begun in netlink.dump(|batch| ask_for(batch, unit, answered, protocol))? {
            let mut batch = Batch::new();
            delete(&mut batch, unit, &begun);
            match netlink.ask(batch) {
                // It has ended by itself.
                Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                other => drop(other?),
            }
        }
    }
    Ok(())
}

/// The connections from one address that are answered to another. The kernel looks for them: a
/// gateway may have a million.
fn ask_for(batch: &mut Batch, unit: IpAddr, answered: IpAddr, protocol: Option<u8>) {
    let [source, destination] = match unit {
        IpAddr::V4(_) => [1, 2],
        IpAddr::V6(_) => [3, 4],
    };
    let what = "list connections of this machine";
    let mut message = about(batch, what, GET_CONNECTION, unit);
    message.nest(TUPLE_ORIGINAL, |tuple| {
        tuple.nest(1, |at| {
            at.put(source, &octets(unit));
        });
        if let Some(protocol) = protocol {
            tuple.nest(2, |carries| {
                carries.put(1, &[protocol]);
            });
        }
    });
    message.nest(TUPLE_REPLY, |tuple| {
        tuple.nest(1, |at| {
            at.put(destination, &octets(answered));
        });
    });
    let original = protocol.map_or(BY_SOURCE, |_| BY_SOURCE | BY_PROTOCOL);
    message.nest(FILTER, |filter| {
        filter.put_u32(1, original).put_u32(2, BY_DESTINATION);
    });
}

fn delete(batch: &mut Batch, unit: IpAddr, begun: &Answer) {
    let facts = begun.body.get(4..).unwrap_or(&[]);
    let mut message = about(batch, "forget a connection", DELETE_CONNECTION, unit);
    if let Some(tuple) = find(facts, TUPLE_ORIGINAL) {
        message.nest(TUPLE_ORIGINAL, |copy| copy_all(copy, tuple));
    }
    if let Some(zone) = find(facts, ZONE) {
        message.put(ZONE, zone);
    }
}

/// The parts of a tuple are two nests, of addresses and of ports.
fn copy_all(to: &mut Message<'_>, tuple: &[u8]) {
    for (kind, part) in attributes(tuple) {
        to.nest(kind, |copy| {
            for (kind, value) in attributes(part) {
                copy.put(kind, value);
            }
        });
    }
}

fn about<'a>(batch: &'a mut Batch, what: &'static str, kind: u16, unit: IpAddr) -> Message<'a> {
    batch.message(what, CONNECTIONS | kind, 0, &[family(unit), 0, 0, 0])
}

const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => INET,
        IpAddr::V6(_) => INET6,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
