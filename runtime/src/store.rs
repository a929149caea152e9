//! The node's one small record on disk: whatever happens to the disk, the daemon starts.
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
//! The limit: a disk that says "synced" and is not loses up to two records, and the boot guard
//! forgets as many boots.

mod slot;
mod writer;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use steadfast_core::boot::Record;

use slot::Slot;
pub use writer::{MAILBOX_MAX, StoreHandle};

/// Bytes of a slot that are read. A record has at most 16 boots of about 200 bytes each; a longer
/// file is not ours and is left out with [`Problem::Foreign`].
pub const SLOT_BYTES_MAX: usize = 16 * 1024;

/// File names of the two slots.
pub const SLOTS: [&str; 2] = ["record.a", "record.b"];

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

/// Something found when the store was opened, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file or directory.
    pub path: PathBuf,
    /// What is the matter with it.
    pub problem: Problem,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.problem {
            Problem::Empty => f.write_str("is empty and was left out"),
            Problem::Foreign => f.write_str("is no record of this program and was left out"),
            Problem::FutureVersion(version) => {
                write!(f, "was written by a later program (format {version})")
            }
            Problem::Torn => f.write_str("is damaged and was left out"),
            Problem::Unreadable(why) => write!(f, "cannot be read: {why}"),
        }
    }
}

/// What was found at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The newest whole record; the default if there is none.
    pub record: Record,
    /// What was left out, and why. Empty on a first start.
    pub notes: Vec<Note>,
}

/// The store of a directory.
#[derive(Debug)]
pub struct FileStore {
    folder: PathBuf,
    sequence: u64,
    /// The slot that is written next: never the newest whole one.
    next: usize,
}

impl FileStore {
    /// Opens the store and reads what it holds. Nothing that is wrong with the disk prevents a
    /// start: it is noted, and a disk that cannot be written says so at the first commit. The
    /// directory is made if needed and closed to others (mode 0700).
    pub fn open(folder: &Path) -> (Self, Restored) {
        let mut restored = Restored::default();
        if let Err(why) = private_folder(folder) {
            restored.notes.push(Note {
                path: folder.to_owned(),
                problem: Problem::Unreadable(why.to_string()),
            });
        }
        let mut store = Self {
            folder: folder.to_owned(),
            sequence: 0,
            next: 0,
        };
        let mut newest = None;
        for (place, name) in SLOTS.iter().enumerate() {
            let path = folder.join(name);
            match read_slot(&path) {
                Slot::Missing => {}
                Slot::Bad(problem) => restored.notes.push(Note { path, problem }),
                Slot::Future { version, sequence } => {
                    store.sequence = store.sequence.max(sequence);
                    let problem = Problem::FutureVersion(version);
                    restored.notes.push(Note { path, problem });
                }
                Slot::Whole { sequence, record } => {
                    store.sequence = store.sequence.max(sequence);
                    if newest.is_none_or(|best| sequence > best) {
                        newest = Some(sequence);
                        store.next = 1 - place;
                        restored.record = record;
                    }
                }
            }
        }
        (store, restored)
    }

    /// Replaces the older slot; the newer one stays until this one is durable.
    ///
    /// # Errors
    /// What the file system says: full, read-only, gone. The last record is still there.
    pub fn commit(&mut self, record: &Record) -> io::Result<()> {
        private_folder(&self.folder)?;
        let sequence = self.sequence.saturating_add(1);
        let text = slot::encode(sequence, record)?;
        let path = self.folder.join(SLOTS[self.next]);
        let temporary = path.with_extension("tmp");
        let written = write_through(&temporary, &text)
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| File::open(&self.folder)?.sync_all());
        if let Err(why) = written {
            // Gives the room back; if that fails too, the next commit truncates the file.
            let _ = fs::remove_file(&temporary);
            return Err(why);
        }
        self.sequence = sequence;
        self.next = 1 - self.next;
        Ok(())
    }
}

fn private_folder(folder: &Path) -> io::Result<()> {
    match fs::metadata(folder) {
        Ok(facts) if !facts.is_dir() => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        Ok(facts) if facts.permissions().mode() & 0o077 != 0 => {
            fs::set_permissions(folder, Permissions::from_mode(0o700))
        }
        Ok(_) => Ok(()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)
        }
        Err(why) => Err(why),
    }
}

fn read_slot(path: &Path) -> Slot {
    let mut bytes = Vec::new();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let read = opened.and_then(|file| {
        let most = u64::try_from(SLOT_BYTES_MAX).unwrap_or(u64::MAX);
        file.take(most.saturating_add(1)).read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => slot::decode(&bytes),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Slot::Missing,
        Err(why) => Slot::Bad(Problem::Unreadable(why.to_string())),
    }
}

fn write_through(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
pub(crate) mod tests;
