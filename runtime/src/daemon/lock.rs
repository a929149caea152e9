//! One daemon for a runtime directory: a lock that the kernel drops with the process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The file's name in the runtime directory.
const NAME: &str = "steadfastd.lock";
/// Tries against an older daemon that removes its file just then. Beyond it the daemon does not
/// start.
const TRIES_MAX: u32 = 8;

/// Held for as long as the daemon lives; dropping it removes the file.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    /// The lock itself: the kernel drops it with the descriptor.
    #[expect(dead_code, reason = "the lock is the open file")]
    file: File,
}

impl Lock {
    /// Takes the lock of a directory; makes the directory if it is missing.
    ///
    /// # Errors
    /// Another daemon holds it (`WouldBlock`, its process id in the text), or the directory cannot
    /// be written.
    pub(crate) fn take(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(NAME);
        for _ in 0..TRIES_MAX {
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600);
            let mut file = options.open(&path)?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                let mut holder = String::new();
                // The holder's number is a courtesy.
                let _ = file.read_to_string(&mut holder);
                let text = format!("steadfastd runs already, as process {}", holder.trim());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
            }
            if !is_at(&file, &path) {
                // Its holder removed it between our opening and our locking it.
                continue;
            }
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())?;
            return Ok(Self { path, file });
        }
        Err(io::Error::other(
            "the lock's file is removed again and again",
        ))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still held, so that nobody holds a file that is gone. One that cannot be
        // removed is locked again by the next.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(found)) => (held.dev(), held.ino()) == (found.dev(), found.ino()),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second daemon is refused and told who the first is; when the first has gone, it starts.
    #[test]
    fn lock_is_for_one() {
        let folder = std::env::temp_dir().join(format!("steadfast-lock-{}", std::process::id()));
        let first = Lock::take(&folder).unwrap();
        let refused = Lock::take(&folder).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(
            refused
                .to_string()
                .contains(&std::process::id().to_string())
        );
        drop(first);
        assert!(!folder.join(NAME).exists(), "nothing is left");
        assert!(Lock::take(&folder).is_ok());
        fs::remove_dir_all(&folder).unwrap();
    }
}
