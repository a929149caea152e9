//! What stands in the kernel, read back: to see damage, and to count what was fenced.
//!
//! A picture is taken when the fence was built and compared with a new one at each check. It
//! leaves out what changes by itself: packet counters, reference counts, and the elements of
//! lease and tail. What it holds names which part is damaged.
//!
//! Limit: it shows that nothing was changed since it was first taken, so the builder compares the
//! first one's rule count with what it sent.

use std::collections::BTreeSet;
use std::io;

use super::super::netlink::{Answer, Batch, Netlink, attributes, find, u64_of};
use super::nftables::{FAMILY, about, comment_of, get_element, kind};

const FLAGS: u16 = 2;
const OWNER: u16 = 7;
const COUNTER: &[u8] = b"counter\0";

/// How many packets a rule has dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The port and what was dropped there, such as "lan0 in: ARP for virtual".
    pub rule: String,
    /// Packets since the fence was last built.
    pub packets: u64,
}

/// A table of our name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) flags: u32,
    /// The socket that owns it; 0 for none.
    pub(super) owner: u32,
}

/// Everything of the fence that does not change by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) table: Table,
    pub(super) chain_count: usize,
    pub(super) rule_count: usize,
    chains: blake3::Hash,
    rules: blake3::Hash,
    sets: blake3::Hash,
    elements: blake3::Hash,
    /// What its rules had counted then; no part of what it looks like.
    pub(super) counted: Vec<Counter>,
}

impl Picture {
    /// Takes a picture of the table of this name; none without one. `plain` are its sets whose
    /// elements stay.
    pub(super) fn take(
        netlink: &mut Netlink,
        name: &str,
        plain: &[&str],
    ) -> io::Result<Option<Self>> {
        let Some(table) = table(netlink, name)? else {
            return Ok(None);
        };
        let chains = list(netlink, kind::GET_CHAIN, name, None)?;
        let rules = list(netlink, kind::GET_RULE, name, None)?;
        let sets = list(netlink, kind::GET_SET, name, None)?;
        let mut members = blake3::Hasher::new();
        for set in plain {
            members.update(set.as_bytes());
            for key in keys(netlink, name, set)? {
                members.update(&key);
            }
        }
        Ok(Some(Self {
            table,
            chain_count: chains.len(),
            rule_count: rules.len(),
            // Name, handle, hook, policy, type.
            chains: digest(&chains, |kind| matches!(kind, 2..=5 | 7)),
            rules: digest_rules(&rules),
            // Name, flags, key length, handle.
            sets: digest(&sets, |kind| matches!(kind, 2 | 3 | 5 | 16)),
            elements: members.finalize(),
            counted: rules.iter().filter_map(counter_of).collect(),
        }))
    }

    /// What differs from what was built, or nothing.
    pub(super) fn damage(&self, built: &Self) -> Option<&'static str> {
        let parts = [
            (self.table == built.table, "table not ours"),
            (self.chains == built.chains, "chains changed"),
            (self.rules == built.rules, "rules changed"),
            (self.sets == built.sets, "sets changed"),
            (self.elements == built.elements, "addresses changed"),
        ];
        let found = parts.into_iter().find(|(is_same, _)| !is_same);
        found.map(|(_, damage)| damage)
    }
}

impl Picture {
    /// Whether it differs from what was built in chains and rules alone, if at all.
    pub(super) fn differs_in_chains_alone(&self, built: &Self) -> bool {
        let with_its_chains = Self {
            chains: built.chains,
            rules: built.rules,
            ..self.clone()
        };
        with_its_chains.damage(built).is_none()
    }
}

/// The table of this name, if there is one.
pub(super) fn table(netlink: &mut Netlink, name: &str) -> io::Result<Option<Table>> {
    let mut question = Batch::new();
    about(
        &mut question,
        "look for the table",
        (kind::GET_TABLE, 0),
        name,
    );
    let answers = match netlink.ask(question) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        answers => answers?,
    };
    Ok(answers.first().map(|answer| Table {
        flags: number(answer, FLAGS),
        owner: number(answer, OWNER),
    }))
}

/// The names of the chains that stand in a table.
pub(super) fn chain_names(netlink: &mut Netlink, name: &str) -> io::Result<BTreeSet<String>> {
    let chains = list(netlink, kind::GET_CHAIN, name, None)?;
    let text = |value: &[u8]| {
        let text = value.strip_suffix(&[0]).unwrap_or(value);
        String::from_utf8_lossy(text).into_owned()
    };
    let names = chains
        .iter()
        .filter_map(|chain| find(attributes_of(chain), 3));
    Ok(names.map(text).collect())
}

/// What each dropping rule has counted.
pub(super) fn counters(netlink: &mut Netlink, name: &str) -> io::Result<Vec<Counter>> {
    let rules = list(netlink, kind::GET_RULE, name, None)?;
    Ok(rules.iter().filter_map(counter_of).collect())
}

/// Milliseconds until the element of lease or tail ends; none if it is not there. Asked for by its
/// key: that takes the kernel microseconds, and a list of the one element most of a millisecond,
/// which every hand-over would wait for.
pub(super) fn left(
    netlink: &mut Netlink,
    (name, set): (&str, &str),
    key: &[u8],
) -> io::Result<Option<u64>> {
    let mut question = Batch::new();
    get_element(&mut question, (name, set), key);
    let answers = match netlink.ask(question) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        answers => answers?,
    };
    let mut elements = answers.iter().flat_map(elements_of);
    Ok(elements.find_map(|element| find(element, 5).and_then(u64_of)))
}

fn keys(netlink: &mut Netlink, name: &str, set: &str) -> io::Result<Vec<Vec<u8>>> {
    let answers = list(netlink, kind::GET_ELEMENT, name, Some(set))?;
    let elements = answers.iter().flat_map(elements_of);
    let mut keys: Vec<_> = elements
        .filter_map(|element| Some(find(find(element, 1)?, 1)?.to_vec()))
        .collect();
    keys.sort_unstable();
    Ok(keys)
}

/// Everything of a kind in our table; the kernel is asked for that alone, older ones tell more.
fn list(
    netlink: &mut Netlink,
    kind: u16,
    name: &str,
    set: Option<&str>,
) -> io::Result<Vec<Answer>> {
    let mut answers = netlink.dump(|batch| {
        let mut question = about(batch, "list the fence", (kind, 0), name);
        if let Some(set) = set {
            question.put_text(2, set);
        }
    })?;
    let is_ours = |answer: &Answer| {
        let found = find(attributes_of(answer), 1);
        found.and_then(|found| found.strip_suffix(&[0])) == Some(name.as_bytes())
    };
    answers.retain(is_ours);
    Ok(answers)
}

/// The family header holds the generation, which every change in the system moves.
fn attributes_of(answer: &Answer) -> &[u8] {
    answer.body.get(FAMILY.len()..).unwrap_or(&[])
}

fn number(answer: &Answer, kind: u16) -> u32 {
    let value = find(attributes_of(answer), kind).and_then(|value| value.try_into().ok());
    value.map_or(0, u32::from_be_bytes)
}

fn elements_of(answer: &Answer) -> impl Iterator<Item = &[u8]> {
    let list = find(attributes_of(answer), 3).unwrap_or(&[]);
    attributes(list).map(|(_, element)| element)
}

fn digest(answers: &[Answer], counts: impl Fn(u16) -> bool) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for answer in answers {
        for (kind, value) in attributes(attributes_of(answer)) {
            if counts(kind) {
                update(&mut hasher, kind, value);
            }
        }
    }
    hasher.finalize()
}

/// Chain, handle, and every expression but what a counter has counted.
fn digest_rules(rules: &[Answer]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for rule in rules {
        for (kind, value) in attributes(attributes_of(rule)) {
            match kind {
                2 | 3 => update(&mut hasher, kind, value),
                4 => {
                    let plain = expressions(value).filter(|expression| !is_counter(expression));
                    plain.for_each(|expression| update(&mut hasher, kind, expression));
                }
                _ => {}
            }
        }
    }
    hasher.finalize()
}

fn update(hasher: &mut blake3::Hasher, kind: u16, value: &[u8]) {
    hasher.update(&kind.to_be_bytes());
    hasher.update(&(value.len() as u64).to_be_bytes());
    hasher.update(value);
}

fn expressions(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    attributes(list).map(|(_, expression)| expression)
}

fn is_counter(expression: &[u8]) -> bool {
    find(expression, 1) == Some(COUNTER)
}

fn counter_of(rule: &Answer) -> Option<Counter> {
    let body = attributes_of(rule);
    let counter = expressions(find(body, 4)?).find(|expression| is_counter(expression))?;
    Some(Counter {
        rule: comment_of(find(body, 7)?)?,
        packets: find(find(counter, 2)?, 2).and_then(u64_of)?,
    })
}
