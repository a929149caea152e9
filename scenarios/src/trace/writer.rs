//! Writes a trace and hashes it on the way.
//!
//! Campaigns need the hash alone, a million events a second of it. So lines are put together in
//! one reused buffer, hashed in large pieces (BLAKE3 is fast only there), and stored only when the
//! caller gave a place. Storing is the caller's IO: an error is kept and told by
//! [`TraceWriter::finish`]; the hash is right even then.

use core::fmt;
use serde::{Deserialize, Serialize};

use std::io::{self, Write};

use super::{Event, EventKind};

/// Bytes gathered before they are hashed and written.
const PIECE: usize = 64 * 1024;

/// The BLAKE3 of a trace's bytes; equal exactly when two runs were equal event by event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceHash(pub [u8; 32]);

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes events in their order.
pub struct TraceWriter<W: Write> {
    store: Option<W>,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    count: u64,
    failed: Option<io::Error>,
}

impl TraceWriter<io::Sink> {
    /// Hashes and stores nothing.
    pub fn hash_only() -> Self {
        Self::with_store(None)
    }
}

impl<W: Write> TraceWriter<W> {
    /// Hashes and stores.
    pub fn storing(store: W) -> Self {
        Self::with_store(Some(store))
    }

    fn with_store(store: Option<W>) -> Self {
        Self {
            store,
            buffer: Vec::with_capacity(PIECE + 1024),
            hasher: blake3::Hasher::new(),
            count: 0,
            failed: None,
        }
    }

    /// Adds one event.
    pub fn write(&mut self, event: &Event) {
        push_line(&mut self.buffer, event);
        self.count += 1;
        if self.buffer.len() >= PIECE {
            self.flush();
        }
    }

    /// How many events were written.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The hash of all events, or the first error in storing them.
    pub fn finish(mut self) -> io::Result<TraceHash> {
        self.flush();
        if let Some(store) = &mut self.store
            && self.failed.is_none()
        {
            store.flush()?;
        }
        match self.failed {
            None => Ok(TraceHash(*self.hasher.finalize().as_bytes())),
            Some(error) => Err(error),
        }
    }

    fn flush(&mut self) {
        self.hasher.update(&self.buffer);
        if let Some(store) = &mut self.store
            && self.failed.is_none()
        {
            self.failed = store.write_all(&self.buffer).err();
        }
        self.buffer.clear();
    }
}

/// Appends `{"at":…,"event":…}` and a newline.
///
/// The probes are most of a trace and are put together by hand; all others go through serde, whose
/// opening brace becomes the comma after the time. A test compares both ways.
fn push_line(buffer: &mut Vec<u8>, event: &Event) {
    buffer.extend_from_slice(b"{\"at\":");
    push_number(buffer, event.at.as_nanos());
    if let EventKind::ProbeSent { stream, seq } = event.kind {
        buffer.extend_from_slice(b",\"event\":\"probe_sent\",\"stream\":");
        push_number(buffer, u64::from(stream.0));
        buffer.extend_from_slice(b",\"seq\":");
        push_number(buffer, u64::from(seq));
        buffer.extend_from_slice(b"}\n");
        return;
    }
    let brace = buffer.len();
    // Writing to memory cannot fail, and every key is a string.
    if serde_json::to_writer(&mut *buffer, &event.kind).is_err() {
        debug_assert!(false, "an event was not serialisable");
    }
    if let Some(byte) = buffer.get_mut(brace) {
        *byte = b',';
    }
    buffer.push(b'\n');
}

fn push_number(buffer: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    buffer.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests;
