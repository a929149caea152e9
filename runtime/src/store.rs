//! The node's record on this machine's disk: [`steadfast_shell::record`] says what to do, and in
//! which order; here it is done.
//!
//! Nothing that is wrong with a disk prevents a start. What was found is noted, for people.

mod writer;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use steadfast_core::boot::Record;
use steadfast_shell::habits::Habits;
pub use steadfast_shell::record::{Problem, SLOT_BYTES_MAX, SLOTS};
use steadfast_shell::record::{Slot, Slots, Step, slot};

pub use writer::{MAILBOX_MAX, StoreHandle};

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
        write!(f, "{}: {}", self.path.display(), self.problem)
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
    slots: Slots,
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
        let (slots, opened) = Slots::open(SLOTS.map(|name| read_slot(&folder.join(name))));
        let notes = opened.problems.into_iter().map(|(name, problem)| Note {
            path: folder.join(name),
            problem,
        });
        restored.notes.extend(notes);
        restored.record = opened.record;
        let folder = folder.to_owned();
        (Self { folder, slots }, restored)
    }

    /// Replaces the older slot; the newer one stays until this one is durable.
    ///
    /// # Errors
    /// What the file system says: full, read-only, gone. The last record is still there.
    pub fn commit(&mut self, record: &Record) -> io::Result<()> {
        private_folder(&self.folder)?;
        for step in self.slots.steps(record, Habits::complete())? {
            if let Err(why) = self.perform(&step) {
                // Gives the room back; if that fails too, the next commit truncates the file.
                let _ = fs::remove_file(self.folder.join(self.slots.unfinished()));
                return Err(why);
            }
        }
        self.slots.committed();
        Ok(())
    }

    fn perform(&self, step: &Step) -> io::Result<()> {
        let path = |name: &str| self.folder.join(name);
        match step {
            Step::Rename { from, to } => fs::rename(path(from), path(to)),
            Step::Sync(name) => open_to_write(&path(name), false)?.sync_all(),
            Step::SyncFolder => File::open(&self.folder)?.sync_all(),
            Step::Write { name, bytes } => open_to_write(&path(name), true)?.write_all(bytes),
        }
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

/// Opens one of our files, never through a link; `anew` makes it, or empties it.
fn open_to_write(path: &Path, anew: bool) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(anew)
        .truncate(anew)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

#[cfg(test)]
pub(crate) mod tests;
