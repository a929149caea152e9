//! A slot of the store as bytes, and back; no file is touched here.

use std::io;

use steadfast_core::boot::Record;

use super::{Problem, SLOT_BYTES_MAX};

const MAGIC: &str = "steadfast-record";
const VERSION: u32 = 1;

/// What the bytes of a slot are.
#[derive(Debug, PartialEq, Eq)]
pub enum Slot {
    /// Left out.
    Bad(Problem),
    /// Written by a later program.
    Future {
        /// Its version.
        version: u32,
        /// Believed, see the store's doc.
        sequence: u64,
    },
    /// There is none.
    Missing,
    /// A record.
    Whole {
        /// Grows with each commit.
        sequence: u64,
        /// What was committed.
        record: Record,
    },
}

/// The bytes of a slot.
///
/// # Errors
/// A record that is too long for a slot.
pub fn encode(sequence: u64, record: &Record) -> io::Result<Vec<u8>> {
    let head = format!("{MAGIC} {VERSION} {sequence}");
    let body = serde_json::to_string(record)?;
    let text = format!("{head}\n{}\n{body}\n", checksum(&head, &body)).into_bytes();
    if text.len() > SLOT_BYTES_MAX {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(text)
}

/// What the bytes are; any bytes are something.
pub fn decode(bytes: &[u8]) -> Slot {
    if bytes.is_empty() {
        return Slot::Bad(Problem::Empty);
    }
    if bytes.len() > SLOT_BYTES_MAX {
        return Slot::Bad(Problem::Foreign);
    }
    let begins = bytes.starts_with(MAGIC.as_bytes()) || MAGIC.as_bytes().starts_with(bytes);
    if !begins {
        return Slot::Bad(Problem::Foreign);
    }
    let torn = Slot::Bad(Problem::Torn);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return torn;
    };
    let mut lines = text.split('\n');
    let head = lines.next().unwrap_or_default();
    let Some((version, sequence)) = head_of(head) else {
        return torn;
    };
    // A head that ends the file may be half a number.
    let Some(sum) = lines.next() else {
        return torn;
    };
    if version > VERSION {
        return Slot::Future { version, sequence };
    }
    let (Some(body), Some(""), None) = (lines.next(), lines.next(), lines.next()) else {
        return torn;
    };
    if version != VERSION || sum != checksum(head, body) {
        return torn;
    }
    match serde_json::from_str(body) {
        Ok(record) => Slot::Whole { sequence, record },
        Err(_) => torn,
    }
}

fn head_of(head: &str) -> Option<(u32, u64)> {
    let (version, sequence) = head
        .strip_prefix(MAGIC)?
        .strip_prefix(' ')?
        .split_once(' ')?;
    Some((version.parse().ok()?, sequence.parse().ok()?))
}

fn checksum(head: &str, body: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head.as_bytes());
    hasher.update(b"\n");
    hasher.update(body.as_bytes());
    hasher.finalize().to_hex().to_string()
}
