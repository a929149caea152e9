//! The language of nf_tables, as far as the fence speaks it: transactions, objects, expressions.
//!
//! A change is a transaction: all messages between begin and end are carried out together or not
//! at all, and packets see the old rules or the new ones. A rule is a list of expressions; each
//! loads into register 1, tests it, or says what becomes of the packet.
//!
//! Limit: one register, so nothing is compared with anything but a constant or a set. Numbers are
//! those of the kernel's `linux/netfilter/nf_tables.h`.

use std::borrow::Cow;

use super::super::netlink::{APPEND, Batch, CREATE, Message};

/// Messages, `NFT_MSG_*`.
pub(super) mod kind {
    pub(in super::super) const NEW_TABLE: u16 = 0;
    pub(in super::super) const GET_TABLE: u16 = 1;
    pub(in super::super) const DELETE_TABLE: u16 = 2;
    pub(in super::super) const NEW_CHAIN: u16 = 3;
    pub(in super::super) const GET_CHAIN: u16 = 4;
    pub(in super::super) const DELETE_CHAIN: u16 = 5;
    pub(in super::super) const NEW_RULE: u16 = 6;
    pub(in super::super) const GET_RULE: u16 = 7;
    pub(in super::super) const NEW_SET: u16 = 9;
    pub(in super::super) const GET_SET: u16 = 10;
    pub(in super::super) const NEW_ELEMENT: u16 = 12;
    pub(in super::super) const GET_ELEMENT: u16 = 13;
    pub(in super::super) const DELETE_ELEMENT: u16 = 14;
}

/// `nfgenmsg` of the netdev family.
pub(super) const FAMILY: [u8; 4] = [5, 0, 0, 0];
/// The same of both versions of IP.
const INET: [u8; 4] = [1, 0, 0, 0];
/// The same of ARP.
const ARP: [u8; 4] = [3, 0, 0, 0];
/// A table of both versions of IP: it translates what the machine begins.
pub const SOURCES_TABLE: &str = "steadfast-source";
/// A table of ARP: the fence's part where there is no netdev egress.
pub(super) const ARP_TABLE: &str = "steadfast-arp";
/// A table of both versions of IP: the other part there.
pub(super) const IP_TABLE: &str = "steadfast-ip";
/// The table vanishes with its owning socket, and nobody else may change it (Linux 5.13).
pub(super) const TABLE_OWNER: u32 = 0x2;
/// The table outlives its owner and may be adopted then (Linux 6.9).
pub(super) const TABLE_PERSIST: u32 = 0x4;
/// Elements of the set may end by themselves.
pub(super) const SET_TIMEOUT: u32 = 0x10;
/// Rules may add to the set.
pub(super) const SET_DYNAMIC: u32 = 0x20;
/// Where packets are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// As they come in on a device.
    Ingress,
    /// As they leave it, whoever made them (Linux 5.16).
    Egress,
    /// As the kernel's ARP sends them, on any device.
    ArpOutput,
    /// As IP sends them, on any device, once routed and translated.
    Postrouting,
}

impl Hook {
    /// `NF_NETDEV_INGRESS`, `NF_NETDEV_EGRESS`, `NF_ARP_OUT`, `NF_INET_POST_ROUTING`.
    const fn number(self) -> u32 {
        match self {
            Self::Ingress => 0,
            Self::Egress | Self::ArpOutput => 1,
            Self::Postrouting => POSTROUTING,
        }
    }

    fn place(self, device: &str) -> String {
        match self {
            Self::Ingress => format!("hook into ingress of port {device}"),
            Self::Egress => format!("hook into egress of port {device}"),
            Self::ArpOutput => "hook into the output of ARP".to_owned(),
            Self::Postrouting => "hook into the output of IP".to_owned(),
        }
    }
}

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const BATCH_FAMILY: [u8; 4] = [0, 0, 0, 10];
/// `NF_INET_POST_ROUTING`.
const POSTROUTING: u32 = 4;
const REGISTER: u32 = 1;
const ACCEPT: u32 = 1;
const DROP: u32 = 0;
/// Most elements of one message: 64 KiB hold no more than about 1500 of the longest.
const ELEMENTS_MAX: usize = 500;

/// The words of a rule. All work on register 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Accept,
    Counter,
    Drop,
    /// Loads what the routing table calls the destination (`RTN_*`, four bytes, host order).
    FibDestinationType,
    Is(Vec<u8>),
    IsIn(&'static str),
    IsNot(Vec<u8>),
    IsNotIn(&'static str),
    Mask(Vec<u8>),
    Meta(Meta),
    /// Loads a number.
    Number(u32),
    /// Loads these bytes.
    Octets(Vec<u8>),
    /// Loads bytes of the packet: base, offset, length.
    Payload(Base, u32, u32),
    /// What follows in the connection is from the address in the register (`NFPROTO_*`).
    Source(u8),
    /// Takes the register out of a set, if it is there.
    Delete(&'static str),
    /// Puts the register into a set, for so many milliseconds from now.
    Update(&'static str, u64),
}

/// What is known about a packet beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    Protocol = 1,
    OutName = 7,
    InType = 8,
    OutType = 9,
    SocketUser = 10,
    NetworkProtocol = 15,
    L4Protocol = 16,
    PacketType = 19,
}

/// Where an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// A named set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) flags: u32,
    /// How programs shall print keys; the kernel does not look at it.
    pub(super) key_type: u32,
    pub(super) key_len: u32,
    /// Most elements; 0 for no limit.
    pub(super) size: u32,
}

/// Begins a transaction.
pub(super) fn begin() -> Batch {
    let mut batch = Batch::new();
    batch.control("begin a transaction", BATCH_BEGIN, &BATCH_FAMILY);
    batch
}

/// Ends a transaction: without this the kernel only tries it.
pub(super) fn end(batch: &mut Batch) {
    batch.control("end a transaction", BATCH_END, &BATCH_FAMILY);
}

/// A message about something of a table. Every kind names its table in attribute 1.
pub(super) fn about<'a>(
    batch: &'a mut Batch,
    what: impl Into<Cow<'static, str>>,
    (kind, flags): (u16, u16),
    table: &str,
) -> Message<'a> {
    let family = match table {
        SOURCES_TABLE | IP_TABLE => &INET,
        ARP_TABLE => &ARP,
        _ => &FAMILY,
    };
    let mut message = batch.message(what, SUBSYSTEM | kind, flags, family);
    message.put_text(1, table);
    message
}

pub(super) fn add_table(batch: &mut Batch, table: &str, flags: u32) {
    let kind = (kind::NEW_TABLE, CREATE);
    about(batch, format!("create table {table}"), kind, table).put_be32(2, flags);
}

pub(super) fn delete_table(batch: &mut Batch, table: &str) {
    let kind = (kind::DELETE_TABLE, 0);
    about(batch, format!("delete table {table}"), kind, table);
}

pub(super) fn add_set(batch: &mut Batch, table: &str, set: &Set, id: u32) {
    let kind = (kind::NEW_SET, CREATE);
    about(batch, format!("create set {}", set.name), kind, table)
        .put_text(2, set.name)
        .put_be32(3, set.flags)
        .put_be32(4, set.key_type)
        .put_be32(5, set.key_len)
        .nest(9, |size| {
            if set.size > 0 {
                size.put_be32(1, set.size);
            }
        })
        .put_be32(10, id);
}

/// Adds or removes plain elements.
pub(super) fn elements(batch: &mut Batch, kind: u16, table: &str, set: &str, keys: &[Vec<u8>]) {
    for keys in keys.chunks(ELEMENTS_MAX) {
        let what = format!("change elements of set {set}");
        about(batch, what, (kind, CREATE), table)
            .put_text(2, set)
            .nest(3, |list| {
                for key in keys {
                    list.nest(1, |element| put_key(element, key));
                }
            });
    }
}

/// Adds an element that ends by itself, `left` milliseconds from now; with element refresh (Linux
/// 6.12) also to one that is there.
pub(super) fn timed_element(
    batch: &mut Batch,
    (table, set): (&str, &str),
    key: &[u8],
    (timeout, left): (u64, u64),
) {
    let what = format!("set the time of {set}");
    about(batch, what, (kind::NEW_ELEMENT, CREATE), table)
        .put_text(2, set)
        .nest(3, |list| {
            list.nest(1, |element| {
                put_key(element, key);
                element.put_be64(4, timeout).put_be64(5, left);
            });
        });
}

/// Removes an element; refused with `ENOENT` if it is not there any more.
pub(super) fn delete_element(batch: &mut Batch, (table, set): (&str, &str), key: &[u8]) {
    let what = format!("end {set}");
    about(batch, what, (kind::DELETE_ELEMENT, 0), table)
        .put_text(2, set)
        .nest(3, |list| {
            list.nest(1, |element| put_key(element, key));
        });
}

/// Asks for an element; refused with `ENOENT` if it is not there.
pub(super) fn get_element(batch: &mut Batch, (table, set): (&str, &str), key: &[u8]) {
    about(batch, format!("read {set}"), (kind::GET_ELEMENT, 0), table)
        .put_text(2, set)
        .nest(3, |list| {
            list.nest(1, |element| put_key(element, key));
        });
}

/// Removes all elements of a set, if any.
pub(super) fn empty_set(batch: &mut Batch, table: &str, set: &str) {
    let what = format!("empty set {set}");
    about(batch, what, (kind::DELETE_ELEMENT, 0), table).put_text(2, set);
}

/// A chain at a hook; one that sees every device names none.
pub(super) fn add_chain(
    batch: &mut Batch,
    (table, chain): (&str, &str),
    (hook, priority, device): (Hook, i32, &str),
) {
    about(batch, hook.place(device), (kind::NEW_CHAIN, CREATE), table)
        .put_text(3, chain)
        .nest(4, |at| {
            at.put_be32(1, hook.number())
                .put(2, &priority.to_be_bytes());
            if !device.is_empty() {
                at.put_text(3, device);
            }
        })
        .put_be32(5, ACCEPT)
        .put_text(7, "filter");
}

/// A chain that sees the first packet of each connection as it leaves the machine.
pub(super) fn add_source_chain(batch: &mut Batch, (table, chain): (&str, &str), priority: i32) {
    let what = "translate what this machine begins";
    about(batch, what, (kind::NEW_CHAIN, CREATE), table)
        .put_text(3, chain)
        .nest(4, |at| {
            at.put_be32(1, POSTROUTING).put(2, &priority.to_be_bytes());
        })
        .put_be32(5, ACCEPT)
        .put_text(7, "nat");
}

pub(super) fn delete_chain(batch: &mut Batch, table: &str, chain: &str) {
    let what = format!("delete chain {chain}");
    about(batch, what, (kind::DELETE_CHAIN, 0), table).put_text(3, chain);
}

/// Appends a rule; its name is the comment that `nft list` shows.
pub(super) fn add_rule(
    batch: &mut Batch,
    (table, chain): (&str, &str),
    name: &str,
    words: &[Word],
) {
    let what = format!("add rule {name:?} to chain {chain}");
    about(batch, what, (kind::NEW_RULE, CREATE | APPEND), table)
        .put_text(2, chain)
        .nest(4, |list| words.iter().for_each(|word| put_word(list, word)))
        .put(7, &comment(name));
}

/// User data of a rule: type 0, length, text, zero.
fn comment(name: &str) -> Vec<u8> {
    let text = &name.as_bytes()[..name.len().min(200)];
    let len = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[0, len], text, &[0]].concat()
}

/// The text of [`comment`].
pub(super) fn comment_of(user_data: &[u8]) -> Option<String> {
    let text = user_data.get(2..)?.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn put_key(element: &mut Message<'_>, key: &[u8]) {
    element.nest(1, |data| {
        data.put(1, key);
    });
}

fn put_word(list: &mut Message<'_>, word: &Word) {
    match word {
        Word::Accept => put_verdict(list, ACCEPT),
        Word::Counter => expression(list, "counter", |_| {}),
        Word::Drop => put_verdict(list, DROP),
        Word::FibDestinationType => expression(list, "fib", |fib| {
            fib.put_be32(1, REGISTER).put_be32(2, 3).put_be32(3, 2);
        }),
        Word::Is(value) => put_compare(list, 0, value),
        Word::IsIn(set) => put_lookup(list, set, 0),
        Word::IsNot(value) => put_compare(list, 1, value),
        Word::IsNotIn(set) => put_lookup(list, set, 1),
        Word::Mask(mask) => expression(list, "bitwise", |bits| {
            bits.put_be32(1, REGISTER).put_be32(2, REGISTER);
            bits.put_be32(3, u32::try_from(mask.len()).unwrap_or(0));
            put_data(bits, 4, mask);
            put_data(bits, 5, &vec![0; mask.len()]);
        }),
        Word::Meta(key) => expression(list, "meta", |meta| {
            meta.put_be32(2, *key as u32).put_be32(1, REGISTER);
        }),
        Word::Number(number) => put_value(list, &number.to_be_bytes()),
        Word::Octets(octets) => put_value(list, octets),
        Word::Source(family) => expression(list, "nat", |translate| {
            let family = u32::from(*family);
            translate
                .put_be32(1, 0)
                .put_be32(2, family)
                .put_be32(3, REGISTER);
        }),
        Word::Payload(base, offset, len) => expression(list, "payload", |load| {
            load.put_be32(1, REGISTER).put_be32(2, *base as u32);
            load.put_be32(3, *offset).put_be32(4, *len);
        }),
        Word::Delete(set) => expression(list, "dynset", |delete| {
            delete.put_text(1, set).put_be32(3, 2).put_be32(4, REGISTER);
        }),
        Word::Update(set, millis) => expression(list, "dynset", |update| {
            update.put_text(1, set).put_be32(3, 1).put_be32(4, REGISTER);
            update.put_be64(6, *millis);
        }),
    }
}

fn expression(list: &mut Message<'_>, name: &str, write: impl FnOnce(&mut Message<'_>)) {
    list.nest(1, |element| {
        element.put_text(1, name).nest(2, write);
    });
}

fn put_data(expression: &mut Message<'_>, kind: u16, value: &[u8]) {
    expression.nest(kind, |data| {
        data.put(1, value);
    });
}

fn put_value(list: &mut Message<'_>, value: &[u8]) {
    expression(list, "immediate", |immediate| {
        immediate.put_be32(1, REGISTER);
        put_data(immediate, 2, value);
    });
}

fn put_verdict(list: &mut Message<'_>, code: u32) {
    expression(list, "immediate", |immediate| {
        immediate.put_be32(1, 0).nest(2, |data| {
            data.nest(2, |verdict| {
                verdict.put_be32(1, code);
            });
        });
    });
}

fn put_compare(list: &mut Message<'_>, operation: u32, value: &[u8]) {
    expression(list, "cmp", |compare| {
        compare.put_be32(1, REGISTER).put_be32(2, operation);
        put_data(compare, 3, value);
    });
}

fn put_lookup(list: &mut Message<'_>, set: &str, flags: u32) {
    expression(list, "lookup", |lookup| {
        lookup.put_text(1, set).put_be32(2, REGISTER);
        if flags != 0 {
            lookup.put_be32(5, flags);
        }
    });
}
