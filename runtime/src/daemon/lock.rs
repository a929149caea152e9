//! One daemon for a runtime directory: a lock that the kernel drops with the process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Held for as long as the daemon lives.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock is the open file")] File);

impl Lock {
    /// Takes the lock of a directory; makes the directory if it is missing.
    ///
    /// # Errors
    /// Another daemon holds it (`WouldBlock`, its process id in the text), or the directory cannot
    /// be written.
    pub(super) fn take(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut file = options.open(folder.join("steadfastd.lock"))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            // The holder's number is a courtesy.
            let _ = file.read_to_string(&mut holder);
            let text = format!("steadfastd runs already, as process {}", holder.trim());
            return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self(file))
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
        assert!(Lock::take(&folder).is_ok());
        fs::remove_dir_all(&folder).unwrap();
    }
}
