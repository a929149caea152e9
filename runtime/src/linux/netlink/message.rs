//! Netlink messages as bytes: written into batches, read as attributes.
//!
//! A message is a header, a header of its family, and attributes: length, type, value, padded to
//! four bytes. Lengths are written when a message or a nest ends, so nothing is counted by hand.
//!
//! Reading never fails: what has no sensible length ends the iteration. Limit: an attribute holds
//! less than 64 KiB; a nest that would grow beyond is a bug of the caller, and asserted.

use std::borrow::Cow;

use super::{ACK, Ack, DUMP, REQUEST};

/// Marks an attribute that holds attributes (`NLA_F_NESTED`).
pub const NESTED: u16 = 0x8000;
const KIND_MASK: u16 = 0x3fff;

/// Messages to be sent together.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    names: Vec<Cow<'static, str>>,
    controls: Vec<usize>,
}

/// A message being written; ends with the value.
#[derive(Debug)]
pub struct Message<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
}

/// A batch ready to be sent.
pub(super) struct Plan {
    pub(super) bytes: Vec<u8>,
    pub(super) starts: Vec<usize>,
    pub(super) names: Vec<Cow<'static, str>>,
    /// The message whose answer ends the exchange.
    pub(super) last: usize,
    controls: Vec<usize>,
}

impl Plan {
    pub(super) fn is_control(&self, index: usize) -> bool {
        self.controls.contains(&index)
    }
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// No message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Begins a message. `what` names it in errors ("add address 10.0.1.1 to lan0"); `family` is
    /// the header that comes before the attributes. `REQUEST` is added to the flags.
    pub fn message(
        &mut self,
        what: impl Into<Cow<'static, str>>,
        kind: u16,
        flags: u16,
        family: &[u8],
    ) -> Message<'_> {
        let start = self.bytes.len();
        self.starts.push(start);
        self.names.push(what.into());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(family);
        pad(&mut self.bytes);
        Message {
            bytes: &mut self.bytes,
            start,
        }
    }

    /// Begins a message that frames others (a transaction's begin and end): not acknowledged, and
    /// an error that names it is one of the whole batch.
    pub fn control(
        &mut self,
        what: impl Into<Cow<'static, str>>,
        kind: u16,
        family: &[u8],
    ) -> Message<'_> {
        self.controls.push(self.starts.len());
        self.message(what, kind, 0, family)
    }

    /// Nothing to send without a message that can be acknowledged.
    pub(super) fn finish(mut self, ack: Ack) -> Option<Plan> {
        let all = 0..self.starts.len();
        let last = all.clone().rfind(|index| !self.controls.contains(index))?;
        for index in all {
            let wanted = match ack {
                Ack::Each => !self.controls.contains(&index),
                Ack::Last => index == last,
            };
            if wanted {
                self.add_flags(index, ACK);
            }
        }
        Some(Plan {
            bytes: self.bytes,
            starts: self.starts,
            names: self.names,
            last,
            controls: self.controls,
        })
    }

    /// The bytes of a single question, as a dump.
    pub(super) fn finish_dump(mut self) -> (Vec<u8>, Vec<usize>) {
        debug_assert_eq!(self.len(), 1, "a dump is one question");
        self.add_flags(0, DUMP);
        (self.bytes, self.starts)
    }

    fn add_flags(&mut self, index: usize, flags: u16) {
        let at = self.starts[index] + 6;
        let old = u16_of(&self.bytes[at..at + 2]).unwrap_or(0);
        self.bytes[at..at + 2].copy_from_slice(&(old | flags).to_ne_bytes());
    }
}

impl Message<'_> {
    /// Adds an attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let at = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(at)
    }

    /// Adds a number in network byte order, as nf_tables writes them.
    pub fn put_be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Adds a number in network byte order.
    pub fn put_be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Adds a number in the host's byte order, as rtnetlink writes them.
    pub fn put_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Adds a text with its closing zero.
    pub fn put_text(&mut self, kind: u16, text: &str) -> &mut Self {
        let at = self.open(kind);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.close(at)
    }

    /// Adds a bare header, as stands before the attributes of a nested message.
    pub fn put_header(&mut self, header: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(header);
        pad(self.bytes);
        self
    }

    /// Adds an attribute that holds what `write` writes.
    pub fn nest(&mut self, kind: u16, write: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.open(kind | NESTED);
        write(self);
        self.close(at)
    }

    fn open(&mut self, kind: u16) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        at
    }

    fn close(&mut self, at: usize) -> &mut Self {
        let len = u16::try_from(self.bytes.len() - at);
        let len = len.expect("an attribute stays below 64 KiB");
        self.bytes[at..at + 2].copy_from_slice(&len.to_ne_bytes());
        pad(self.bytes);
        self
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        let len = u32::try_from(self.bytes.len() - self.start).unwrap_or(u32::MAX);
        self.bytes[self.start..self.start + 4].copy_from_slice(&len.to_ne_bytes());
    }
}

/// The attributes in these bytes; flags are taken off their types.
#[must_use]
pub fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes(bytes)
}

/// The first attribute of a type.
#[must_use]
pub fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| value)
}

/// A number of two bytes in the host's byte order; none unless there are exactly two.
#[must_use]
pub fn u16_of(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

/// A number of four bytes in the host's byte order; none unless there are exactly four.
#[must_use]
pub fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// A number of eight bytes in network byte order; none unless there are exactly eight.
#[must_use]
pub fn u64_of(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// See [`attributes`].
#[derive(Clone, Debug)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16_of(self.0.get(0..2)?)?);
        let kind = u16_of(self.0.get(2..4)?)? & KIND_MASK;
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(aligned(len)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// Netlink counts in steps of four bytes.
pub(super) const fn aligned(len: usize) -> usize {
    len.saturating_add(3) & !3
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(aligned(bytes.len()), 0);
}
