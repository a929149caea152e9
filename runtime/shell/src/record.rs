//! The node's one small record on disk, as steps: whatever happens to the disk, a daemon starts.
//!
//! Two slots are written in turn, so the last good record outlives any failure of the newest. A
//! slot is replaced as a whole: temporary file, sync, rename, sync of the directory. It reads
//!
//! ```text
//! steadfast-record 1 42          version and sequence: this line stays so in every version
//! <64 hex digits>                BLAKE3 of the first line and the last
//! {"boots":[..],..}              the record
//! ```
//!
//! The newest whole slot wins. The hard case is a slot of a *later* version, after a step back to
//! an older program: it cannot be read, but its sequence is believed, so that what the older
//! program writes is still the newest when the later one returns.
//!
//! No file is touched here. [`Slots::steps`] says what to do and in which order; a gateway does it
//! on its disk, a simulation on a file system that forgets what was not synced. The order *is* the
//! promise, so both do the same.
//!
//! The limit: a disk that says "synced" and is not loses up to two records, and the boot guard
//! forgets as many boots.

pub mod slot;

use std::fmt;
use std::io;

use steadfast_core::boot::Record;

use crate::habits::Habits;
pub use slot::Slot;

/// Bytes of a slot that are read. A record has at most 16 boots of about 200 bytes each; a longer
/// file is not ours and is left out with [`Problem::Foreign`].
pub const SLOT_BYTES_MAX: usize = 16 * 1024;

/// File names of the two slots.
pub const SLOTS: [&str; 2] = ["record.a", "record.b"];

/// File names that a slot has until it is whole.
pub const UNFINISHED: [&str; 2] = ["record.a.tmp", "record.b.tmp"];

/// Why a slot was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It has no bytes: a crash between creation and writing, on a disk that reorders.
    Empty,
    /// It does not begin like a record, or is far too long for one.
    Foreign,
    /// A later version of this program wrote it.
    FutureVersion(u32),
    /// It begins like a record, but its checksum or its content is wrong.
    Torn,
    /// The operating system refuses to read it, in its words.
    Unreadable(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty and was left out"),
            Self::Foreign => f.write_str("is no record of this program and was left out"),
            Self::FutureVersion(version) => {
                write!(f, "was written by a later program (format {version})")
            }
            Self::Torn => f.write_str("is damaged and was left out"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
        }
    }
}

/// Something to do in the store's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Give one file the name of another, in one step, replacing it.
    Rename {
        /// The file.
        from: &'static str,
        /// Its name from then on.
        to: &'static str,
    },
    /// Make this file's content durable.
    Sync(&'static str),
    /// Make the directory's names durable.
    SyncFolder,
    /// Make this file anew, with these bytes.
    Write {
        /// Its name.
        name: &'static str,
        /// Its content.
        bytes: Vec<u8>,
    },
}

/// Which slot holds the newest record, and which is written next.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    sequence: u64,
    /// The slot that is written next: never the newest whole one.
    next: usize,
}

/// What the two slots hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The newest whole record; the default if there is none.
    pub record: Record,
    /// Slots that were left out, and why. Empty on a first start.
    pub problems: Vec<(&'static str, Problem)>,
}

impl Slots {
    /// What was read of the slots, in the order of [`SLOTS`]. Nothing that is wrong with them
    /// prevents a start: it is told.
    pub fn open(read: [Slot; 2]) -> (Self, Opened) {
        let (mut slots, mut opened) = (Self::default(), Opened::default());
        let mut newest = None;
        for (place, (name, slot)) in SLOTS.into_iter().zip(read).enumerate() {
            match slot {
                Slot::Missing => {}
                Slot::Bad(problem) => opened.problems.push((name, problem)),
                Slot::Future { version, sequence } => {
                    slots.sequence = slots.sequence.max(sequence);
                    let problem = Problem::FutureVersion(version);
                    opened.problems.push((name, problem));
                }
                Slot::Whole { sequence, record } => {
                    slots.sequence = slots.sequence.max(sequence);
                    if newest.is_none_or(|best| sequence > best) {
                        newest = Some(sequence);
                        slots.next = 1 - place;
                        opened.record = record;
                    }
                }
            }
        }
        (slots, opened)
    }

    /// What to do, one after the other, so that the record survives a power cut from the last step
    /// on, and the older one until then. If a step fails, the rest is left and [`UNFINISHED`] may
    /// be removed; the next commit tries the same slot again.
    ///
    /// # Errors
    /// A record that is too long for a slot.
    pub fn steps(&self, record: &Record, habits: Habits) -> io::Result<Vec<Step>> {
        let bytes = slot::encode(self.sequence.saturating_add(1), record)?;
        let (name, to) = (UNFINISHED[self.next], SLOTS[self.next]);
        let all = [
            Step::Write { name, bytes },
            Step::Sync(name),
            Step::Rename { from: name, to },
            Step::SyncFolder,
        ];
        let kept = |step: &Step| {
            habits.syncs_records() || matches!(step, Step::Write { .. } | Step::Rename { .. })
        };
        Ok(all.into_iter().filter(kept).collect())
    }

    /// The file that an unfinished commit may have left.
    pub const fn unfinished(&self) -> &'static str {
        UNFINISHED[self.next]
    }

    /// Every step was done: the other slot is the older one now.
    pub const fn committed(&mut self) {
        self.sequence = self.sequence.saturating_add(1);
        self.next = 1 - self.next;
    }
}
