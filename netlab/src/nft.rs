//! Packet filters, written for the kernel's nftables without any program's help.
//!
//! A lab filters at the switch, on devices: what comes in there left a machine, what goes out there
//! is on its way to one. A [`Table`] is replaced as a whole in one transaction, so faults that
//! change together change at one instant and never leave half of themselves.
//!
//! The hard case is "the first n matching frames": `numgen inc` counts evaluations, exactly, and a
//! rule that stands after the match drops while the count is below n. It starts anew when its table
//! is written anew, so such rules have tables of their own.
//! Limit: kernels before 5.16 have no egress hook on devices; then what goes *to* a machine cannot
//! be filtered, and [`crate::doctor`] says so.

use std::io;

use crate::error::{Doing, LabError};
use crate::namespace::Namespace;
use crate::netlink::{APPEND, CREATE, EXCL, Netlink, Request};

/// Netlink's number for the packet filter; see `linux/netlink.h`.
const NETLINK_NETFILTER: isize = 12;
const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const ANY_FAMILY: u8 = 0;
const INET: u8 = 1;
const NETDEV: u8 = 5;
const NESTED: u16 = 0x8000;
/// Addresses of one message when many are loaded: a list of attributes has 64 KiB at most.
const LOAD_CHUNK: usize = 2_000;
/// The set that says whether a table was sprung; see [`Then::Spring`].
const SPRUNG: &str = "sprung";
/// A set that rules add to; `NFT_SET_EVAL` in `linux/netfilter/nf_tables.h`.
const EVALUATED: u32 = 0x20;
/// What nft calls a key of four bytes.
const IPV4_ADDRESS: u32 = 7;

/// Which way a frame goes at the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hook {
    /// From the machine.
    In,
    /// To the machine.
    Out,
}

/// What a rule looks at; all of its tests must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// The frame has the first `len` of these bytes there.
    Begins { at: u32, bytes: [u8; 6], len: u32 },
    /// By chance, so many in a million.
    Chance(u32),
    /// Only the first so many that come to this test.
    First(u32),
    /// A frame has sprung this table ([`Then::Spring`]), at whatever device.
    Sprung,
    /// These bytes stand there, counted from the destination MAC.
    Is { at: u32, bytes: [u8; 2], len: u32 },
    /// Something else than the first `len` of these bytes stands there, counted from the
    /// destination MAC.
    Not { at: u32, bytes: [u8; 6], len: u32 },
}

/// What becomes of a frame that passes all tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It goes on, and no further rule of the chain looks at it.
    Accept,
    /// It is lost.
    Drop,
    /// It leaves at the interface of this index, at once; on the way in alone.
    Forward(u32),
    /// It goes on; [`Test::Sprung`] holds for all rules of its table from now on.
    Spring,
    /// The same, and it is lost.
    SpringAndDrop,
}

impl Then {
    /// Whether it needs the set that says a table was sprung.
    const fn springs(self) -> bool {
        matches!(self, Self::Spring | Self::SpringAndDrop)
    }
}

/// What to do with frames that pass all tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) device: String,
    pub(crate) hook: Hook,
    pub(crate) tests: Vec<Test>,
    pub(crate) then: Then,
}

/// Speaks to one namespace's packet filter.
#[derive(Debug)]
pub(crate) struct Nft {
    netlink: Netlink,
    name: String,
}

impl Nft {
    /// For this namespace.
    pub(crate) fn open(net: &Namespace) -> Result<Self, LabError> {
        let netlink = Netlink::open(net, NETLINK_NETFILTER);
        Ok(Self {
            netlink: netlink.doing(|| format!("open the packet filter of {}", net.name()))?,
            name: net.name().to_owned(),
        })
    }

    /// Makes a table hold exactly these rules; none at all, and it is gone.
    pub(crate) fn write(&mut self, table: &str, rules: &[Rule]) -> Result<(), LabError> {
        // Making what is there changes nothing, and then it can be deleted whether it was or not.
        let named = attribute(1, &text(table));
        let mut requests = vec![
            request(NEW_TABLE, CREATE, NETDEV, &named),
            request(DELETE_TABLE, 0, NETDEV, &named),
        ];
        if !rules.is_empty() {
            requests.push(request(NEW_TABLE, CREATE, NETDEV, &named));
        }
        if rules.iter().any(|rule| rule.then.springs()) {
            requests.push(new_sprung_set(table));
        }
        let mut chains: Vec<(&str, Hook)> = Vec::new();
        for rule in rules {
            let chain = (rule.device.as_str(), rule.hook);
            if !chains.contains(&chain) {
                chains.push(chain);
                requests.push(new_chain(table, chain.0, chain.1));
            }
            requests.push(new_rule(table, rule));
        }
        self.commit(requests)
            .doing(|| format!("write the table {table} in {}", self.name))
    }

    /// Springs a table that has rules which do, and says whether a frame had sprung it before.
    pub(crate) fn spring(&mut self, table: &str) -> Result<bool, LabError> {
        let element = nested(1, &nested(1, &attribute(1, &1_u32.to_be_bytes())));
        let payload = [
            attribute(1, &text(table)),
            attribute(2, &text(SPRUNG)),
            nested(3, &element),
        ];
        let add = request(NEW_ELEMENT, CREATE | EXCL, NETDEV, &payload.concat());
        match self.commit(vec![add]) {
            Ok(()) => Ok(false),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(true),
            Err(why) => Err(why).doing(|| format!("spring the table {table} in {}", self.name)),
        }
    }

    /// Deletes every table of every family, as `nft flush ruleset` does.
    pub(crate) fn flush(&mut self) -> Result<(), LabError> {
        self.commit(vec![request(DELETE_TABLE, 0, ANY_FAMILY, &[])])
            .doing(|| format!("flush the ruleset of {}", self.name))
    }

    /// Loads a set of so many addresses, in some hundred transactions: each holds the filter's lock
    /// and is about as large as an ordinary user's socket takes.
    pub(crate) fn load(&mut self, table: &str, elements: u32) -> Result<(), LabError> {
        let names = [attribute(1, &text(table)), attribute(2, &text("load"))].concat();
        let numbers = [(3, 0_u32), (4, IPV4_ADDRESS), (5, 4), (10, 1)];
        let numbers = numbers
            .iter()
            .flat_map(|(kind, value)| attribute(*kind, &value.to_be_bytes()));
        let set: Vec<u8> = names.iter().copied().chain(numbers).collect();
        let mut requests = vec![
            request(NEW_TABLE, CREATE, INET, &attribute(1, &text(table))),
            request(NEW_SET, CREATE, INET, &set),
        ];
        for first in (0..elements).step_by(LOAD_CHUNK) {
            let last = elements.min(first.saturating_add(LOAD_CHUNK as u32));
            let list: Vec<u8> = (first..last).flat_map(address_element).collect();
            let payload = [names.as_slice(), &nested(3, &list)].concat();
            requests.push(request(NEW_ELEMENT, CREATE, INET, &payload));
            self.commit(core::mem::take(&mut requests))
                .doing(|| format!("load a set in {}", self.name))?;
        }
        Ok(())
    }

    fn commit(&mut self, requests: Vec<Request>) -> io::Result<()> {
        let mark = |kind| Request {
            answered: false,
            ..request(kind, 0, ANY_FAMILY, &[])
        };
        let mut batch = vec![subsystem(mark(BATCH_BEGIN))];
        batch.extend(requests);
        batch.push(subsystem(mark(BATCH_END)));
        self.netlink.ask_at_once(&batch).map_err(|(_, error)| error)
    }
}

/// An element of a set of addresses: this number, as one.
fn address_element(number: u32) -> Vec<u8> {
    nested(1, &nested(1, &attribute(1, &number.to_be_bytes())))
}

/// The set that has one element if its table was sprung, and none before. Rules add to it.
fn new_sprung_set(table: &str) -> Request {
    let names = [attribute(1, &text(table)), attribute(2, &text(SPRUNG))].concat();
    let numbers = [(3, EVALUATED), (4, 0_u32), (5, 4), (10, 1)];
    let numbers = numbers
        .iter()
        .flat_map(|(kind, value)| attribute(*kind, &value.to_be_bytes()));
    request(
        NEW_SET,
        CREATE,
        NETDEV,
        &names.into_iter().chain(numbers).collect::<Vec<u8>>(),
    )
}

fn new_chain(table: &str, device: &str, hook: Hook) -> Request {
    let number: u32 = match hook {
        Hook::In => 0,
        Hook::Out => 1,
    };
    let hooked = [
        attribute(1, &number.to_be_bytes()),
        attribute(2, &0_u32.to_be_bytes()),
        attribute(3, &text(device)),
    ];
    let payload = [
        attribute(1, &text(table)),
        attribute(3, &text(&chain_name(device, hook))),
        nested(4, &hooked.concat()),
        attribute(7, &text("filter")),
    ];
    request(NEW_CHAIN, CREATE, NETDEV, &payload.concat())
}

fn new_rule(table: &str, rule: &Rule) -> Request {
    let tests = rule.tests.iter().flat_map(Test::expressions);
    let expressions: Vec<u8> = tests
        .chain(expression("counter", &[]))
        .chain(rule.then.expressions())
        .collect();
    let payload = [
        attribute(1, &text(table)),
        attribute(2, &text(&chain_name(&rule.device, rule.hook))),
        nested(4, &expressions),
    ];
    request(NEW_RULE, CREATE | APPEND, NETDEV, &payload.concat())
}

fn chain_name(device: &str, hook: Hook) -> String {
    let way = match hook {
        Hook::In => "in",
        Hook::Out => "out",
    };
    format!("{way}-{device}")
}

impl Then {
    fn expressions(self) -> Vec<u8> {
        match self {
            Self::Accept => immediate(0, &nested(2, &attribute(1, &1_u32.to_be_bytes()))),
            Self::Drop => immediate(0, &nested(2, &attribute(1, &0_u32.to_be_bytes()))),
            Self::Forward(index) => [
                immediate(1, &attribute(1, &index.to_ne_bytes())),
                expression("fwd", &attribute(1, &1_u32.to_be_bytes())),
            ]
            .concat(),
            Self::Spring => {
                let add = [
                    attribute(1, &text(SPRUNG)),
                    attribute(3, &0_u32.to_be_bytes()),
                    attribute(4, &1_u32.to_be_bytes()),
                ];
                [element(), expression("dynset", &add.concat())].concat()
            }
            Self::SpringAndDrop => [Self::Spring.expressions(), Self::Drop.expressions()].concat(),
        }
    }
}

/// A value into a register.
fn immediate(register: u32, data: &[u8]) -> Vec<u8> {
    let register = attribute(1, &register.to_be_bytes());
    expression("immediate", &[register, nested(2, data)].concat())
}

/// The one element of [`SPRUNG`], into register 1.
fn element() -> Vec<u8> {
    immediate(1, &attribute(1, &1_u32.to_be_bytes()))
}

impl Test {
    /// What the kernel computes: a value into register 1, then a comparison that ends the rule.
    fn expressions(&self) -> Vec<u8> {
        match *self {
            Self::Chance(parts) => [numbers(1_000_000, 1), below(parts)].concat(),
            Self::First(count) => [numbers(u32::MAX, 0), below(count)].concat(),
            Self::Sprung => {
                let lookup = [
                    attribute(1, &text(SPRUNG)),
                    attribute(2, &1_u32.to_be_bytes()),
                ];
                [element(), expression("lookup", &lookup.concat())].concat()
            }
            Self::Is { at, bytes, len } => {
                let wanted = bytes.get(..len as usize).unwrap_or(&bytes);
                [load(at, len), compare(0, wanted)].concat()
            }
            Self::Begins { at, bytes, len } => {
                let wanted = bytes.get(..len as usize).unwrap_or(&bytes);
                [load(at, len), compare(0, wanted)].concat()
            }
            Self::Not { at, bytes, len } => {
                let unwanted = bytes.get(..len as usize).unwrap_or(&bytes);
                [load(at, len), compare(1, unwanted)].concat()
            }
        }
    }
}

/// A number below `modulus`: the next one (0), or one by chance (1).
fn numbers(modulus: u32, kind: u32) -> Vec<u8> {
    let numgen = [
        attribute(1, &1_u32.to_be_bytes()),
        attribute(2, &modulus.to_be_bytes()),
        attribute(3, &kind.to_be_bytes()),
    ];
    expression("numgen", &numgen.concat())
}

/// Whether the number is less than that: comparing is bytewise, so it is turned round first.
fn below(bound: u32) -> Vec<u8> {
    let turn = [(1, 1_u32), (2, 1), (3, 1), (4, 4), (5, 4)];
    let turn: Vec<u8> = turn
        .iter()
        .flat_map(|(kind, value)| attribute(*kind, &value.to_be_bytes()))
        .collect();
    [
        expression("byteorder", &turn),
        compare(2, &bound.to_be_bytes()),
    ]
    .concat()
}

/// Bytes of the frame, counted from its destination MAC.
fn load(at: u32, len: u32) -> Vec<u8> {
    let payload = [(1, 1_u32), (2, 0), (3, at), (4, len)];
    let payload: Vec<u8> = payload
        .iter()
        .flat_map(|(kind, value)| attribute(*kind, &value.to_be_bytes()))
        .collect();
    expression("payload", &payload)
}

/// Equal (0), different (1), less (2).
fn compare(how: u32, value: &[u8]) -> Vec<u8> {
    let compare = [
        attribute(1, &1_u32.to_be_bytes()),
        attribute(2, &how.to_be_bytes()),
        nested(3, &attribute(1, value)),
    ];
    expression("cmp", &compare.concat())
}

fn expression(name: &str, data: &[u8]) -> Vec<u8> {
    nested(1, &[attribute(1, &text(name)), nested(2, data)].concat())
}

fn request(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Request {
    let mut payload = vec![family, 0, 0, 0];
    payload.extend(attributes);
    Request::new(kind, flags, payload)
}

/// The marks of a batch say which subsystem it is for.
fn subsystem(mut mark: Request) -> Request {
    mark.payload = vec![ANY_FAMILY, 0, 0, 10];
    mark
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn nested(kind: u16, content: &[u8]) -> Vec<u8> {
    attribute(kind | NESTED, content)
}

fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + content.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(4 + content.len().next_multiple_of(4));
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
