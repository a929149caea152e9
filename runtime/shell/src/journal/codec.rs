//! Journal entries as bytes, and back. What comes often is binary; what comes rarely is JSON.
//!
//! ```text
//! file   magic (8)  opening (an entry of kind Life)  entries ...
//! entry  length (4)  its complement (4)  sum (8)  body (length)
//! body   kind (1)  time in ns (8)  payload
//! frame  received: port (1)  taken in at, ns (8)  bytes        sent: port (1)  length (4)  digest
//! ```
//!
//! Numbers are little-endian; the sum is the beginning of the body's BLAKE3. The complement tells
//! a file that was cut from one in which a length was changed.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use steadfast_core::effect::{Effect, Input};
use steadfast_core::status::Status;
use steadfast_core::{Instant, PortId};

use super::entry::{ConfigFacts, LifeFacts, Stored, StoredEffect, StoredInput, Timed};

/// Bytes of an entry's body. A longer one is not written, and counted as lost.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024;

/// The first bytes of every file.
pub const MAGIC: &[u8; 8] = b"SFJRNL1\n";
const HEAD: usize = 16;
const FIXED: usize = 9;

const LIFE: u8 = 1;
const CONFIG: u8 = 2;
const GAP: u8 = 3;
const FRAME_IN: u8 = 4;
const INPUT: u8 = 5;
const DEADLINE: u8 = 6;
const FRAME_OUT: u8 = 7;
const EFFECT: u8 = 8;
const STATUS: u8 = 9;
const END: u8 = 10;

/// What a file begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The file's place among the files of its life, from 0.
    pub part: u64,
    /// What the life began with.
    pub life: LifeFacts,
}

/// The body of an input.
pub fn input(at: Instant, input: &Input<'_>) -> Vec<u8> {
    match *input {
        Input::FrameReceived {
            port,
            frame,
            at: taken,
        } => {
            let mut body = body(FRAME_IN, at, FIXED + frame.len());
            body.push(port.0);
            body.extend(taken.as_nanos().to_le_bytes());
            body.extend(frame);
            body
        }
        Input::DeadlineReached => body(DEADLINE, at, 0),
        Input::CertificateRead { .. }
        | Input::Checked { .. }
        | Input::CommandReceived { .. }
        | Input::Completed { .. }
        | Input::FenceChecked { .. }
        | Input::LinkChanged { .. }
        | Input::Shutdown
        | Input::TransmitRefused { .. } => json(INPUT, at, &StoredInput::new(input)),
    }
}

/// The body of an effect.
pub fn effect(at: Instant, effect: &Effect) -> Vec<u8> {
    stored_effect(at, &StoredEffect::new(effect))
}

/// The canonical bytes of a decision: its body, at no time.
pub fn decision(effect: &StoredEffect) -> Vec<u8> {
    stored_effect(Instant::ORIGIN, effect)
}

fn stored_effect(at: Instant, stored: &StoredEffect) -> Vec<u8> {
    if let StoredEffect::Transmit {
        port,
        length,
        digest,
    } = stored
    {
        let mut body = body(FRAME_OUT, at, 21);
        body.push(port.0);
        body.extend(length.to_le_bytes());
        body.extend(digest);
        return body;
    }
    json(EFFECT, at, stored)
}

/// The body of a status.
pub fn status(at: Instant, status: &Status) -> Vec<u8> {
    json(STATUS, at, status)
}

/// The body of a changed configuration.
pub fn config(at: Instant, facts: &ConfigFacts) -> Vec<u8> {
    json(CONFIG, at, facts)
}

/// The body of a gap.
pub fn gap(at: Instant, count: u64) -> Vec<u8> {
    let mut body = body(GAP, at, 8);
    body.extend(count.to_le_bytes());
    body
}

/// The body of an end in order.
pub fn end(at: Instant) -> Vec<u8> {
    body(END, at, 0)
}

/// The body of a file's opening.
pub fn opening(opening: &Opening) -> Vec<u8> {
    json(LIFE, opening.life.now, opening)
}

/// The time in a body.
pub fn time_of(body: &[u8]) -> Instant {
    let bytes = body.get(1..FIXED).and_then(|bytes| bytes.try_into().ok());
    Instant::from_nanos(bytes.map_or(0, u64::from_le_bytes))
}

/// Appends a body, framed.
pub fn frame(body: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(sum(body));
    out.extend(body);
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole body, and what follows it.
    Body(&'a [u8], &'a [u8]),
    /// Not what was written.
    Damaged,
    /// Nothing: the end.
    Nothing,
    /// The beginning of an entry, or the zeros a file system leaves after a power cut.
    Torn,
}

/// Takes the next entry apart.
pub fn unframe(bytes: &[u8]) -> Piece<'_> {
    if bytes.is_empty() {
        return Piece::Nothing;
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Piece::Torn;
    };
    let [a, b, c, d, e, f, g, h, expected @ ..] = *head;
    let length = u32::from_le_bytes([a, b, c, d]);
    if length != !u32::from_le_bytes([e, f, g, h]) {
        let zeros = bytes.iter().all(|byte| *byte == 0);
        return if zeros { Piece::Torn } else { Piece::Damaged };
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let Some((body, rest)) = rest.split_at_checked(length) else {
        return Piece::Torn;
    };
    if sum(body) == expected {
        Piece::Body(body, rest)
    } else if rest.is_empty() && body.ends_with(&[0; 16]) {
        Piece::Torn
    } else {
        Piece::Damaged
    }
}

/// The opening in a body.
pub fn read_opening(body: &[u8]) -> Option<Opening> {
    let (kind, _, payload) = split(body)?;
    if kind == LIFE {
        from_json(payload)
    } else {
        None
    }
}

/// The entry in a body; none if it is no entry this program knows.
pub fn read(body: &[u8]) -> Option<Timed> {
    let (kind, at, payload) = split(body)?;
    let what = match kind {
        CONFIG => Stored::Config(from_json(payload)?),
        GAP => Stored::Gap(u64::from_le_bytes(payload.try_into().ok()?)),
        FRAME_IN => Stored::Input(read_frame(payload)?),
        INPUT => Stored::Input(from_json(payload)?),
        DEADLINE => Stored::Input(StoredInput::DeadlineReached),
        FRAME_OUT => Stored::Effect(read_transmit(payload)?),
        EFFECT => Stored::Effect(from_json(payload)?),
        STATUS => Stored::Status(String::from_utf8(payload.to_vec()).ok()?),
        END => Stored::End,
        _ => return None,
    };
    Some(Timed { at, what })
}

fn read_frame(payload: &[u8]) -> Option<StoredInput> {
    let ([port, nanos @ ..], frame) = payload.split_first_chunk::<FIXED>()?;
    Some(StoredInput::FrameReceived {
        port: PortId(*port),
        frame: frame.to_vec(),
        at: Instant::from_nanos(u64::from_le_bytes(*nanos)),
    })
}

fn read_transmit(payload: &[u8]) -> Option<StoredEffect> {
    let ([port, a, b, c, d], digest) = payload.split_first_chunk::<5>()?;
    Some(StoredEffect::Transmit {
        port: PortId(*port),
        length: u32::from_le_bytes([*a, *b, *c, *d]),
        digest: digest.try_into().ok()?,
    })
}

fn split(body: &[u8]) -> Option<(u8, Instant, &[u8])> {
    let ([kind, ..], payload) = body.split_first_chunk::<FIXED>()?;
    Some((*kind, time_of(body), payload))
}

fn body(kind: u8, at: Instant, room: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(FIXED + room);
    body.push(kind);
    body.extend(at.as_nanos().to_le_bytes());
    body
}

/// None of the types written here can fail to serialise: no maps, no foreign implementations. An
/// empty payload, if one ever did, is found by the reader as an entry it does not know.
fn json<T: Serialize>(kind: u8, at: Instant, value: &T) -> Vec<u8> {
    let mut body = body(kind, at, 128);
    if serde_json::to_writer(&mut body, value).is_err() {
        body.truncate(FIXED);
    }
    body
}

fn from_json<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

fn sum(body: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake3::hash(body).as_bytes()[..8]);
    sum
}
