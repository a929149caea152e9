//! The secret file: the cluster's keys, oldest first, readable by their owner alone.
//!
//! Its lines are the shell's: [`steadfast_shell::secret`]. The buffers are wiped after use; no
//! message ever shows what stands in the file. The limit: the keys that the core derives live in
//! its memory as long as the node does.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use steadfast_core::ClusterId;
use steadfast_core::wire::auth::{Key, KeyError};
use steadfast_shell::hex;
pub(super) use steadfast_shell::secret::cure;
use steadfast_shell::secret::{Line, read_line};
use zeroize::Zeroizing;

use super::files;

/// Largest secret file; a larger one is refused.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a secret that [`generate`] draws.
const SECRET_BYTES: usize = 32;
/// Read and written by the owner alone.
pub(super) const MODE: u32 = 0o600;

/// What a secret file holds.
pub struct Secrets {
    /// From oldest to newest.
    pub keys: Vec<Key>,
    /// Whose keys they are, if the file says so.
    pub cluster: Option<ClusterId>,
    /// Tells two contents apart, and nothing else about them.
    pub(super) print: Print,
}

/// A hash of a secret file under a key of its own; kept in memory only, never shown.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Print([u8; 32]);

impl std::fmt::Debug for Print {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Print(..)")
    }
}

/// Why a secret file cannot be used. Neither text shows what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFault {
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub cure: String,
    /// The file is not there.
    pub missing: bool,
}

impl SecretFault {
    fn new(message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            cure: cure.into(),
            missing: false,
        }
    }
}

/// Reads and checks a secret file: its owner and mode, and every line.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(path: &Path) -> Result<Secrets, Vec<SecretFault>> {
    let mut text = Zeroizing::new(Vec::new());
    let unreadable = |error: &io::Error| vec![unreadable(path, error)];
    let mut file = files::open(path).map_err(|error| unreadable(&error))?;
    let facts = file.metadata().map_err(|error| unreadable(&error))?;
    let mut faults = guarded(path, facts.mode(), facts.uid());
    files::read(&mut file, FILE_BYTES_MAX, &mut text).map_err(|error| unreadable(&error))?;
    match parse(path, &text) {
        Ok(secrets) if faults.is_empty() => Ok(secrets),
        Ok(_) => Err(faults),
        Err(more) => {
            faults.extend(more);
            Err(faults)
        }
    }
}

/// A new secret file's text: one key of 32 random bytes, enforced.
///
/// # Errors
/// The system has no entropy.
pub fn generate(cluster: ClusterId) -> io::Result<Zeroizing<String>> {
    let mut random = Zeroizing::new([0_u8; SECRET_BYTES]);
    getrandom::fill(&mut *random).map_err(io::Error::other)?;
    let secret = Zeroizing::new(hex::encode(&*random));
    let id = hex::encode(&cluster.0);
    Ok(Zeroizing::new(format!(
        "# Steadfast: the secret of one cluster. Every node of it has the same file.\n\
         # Copy it over a channel you trust; its owner alone may read it (mode 0600).\n\
         # A key: id, phase (receive-only, permissive, enforce), secret. Oldest first.\n\
         cluster {id}\n1 enforce {}\n",
        secret.as_str()
    )))
}

/// Keys that nobody knows: for checks on a machine that has no secret file.
///
/// # Errors
/// The system has no entropy.
pub(super) fn unknown_to_all() -> io::Result<Secrets> {
    let text = generate(ClusterId([0xff; 16]))?;
    let secrets = parse(Path::new("-"), text.as_bytes());
    let mut secrets = secrets.map_err(|_| io::Error::other("failed to draw a secret"))?;
    secrets.cluster = None;
    Ok(secrets)
}

fn unreadable(path: &Path, error: &io::Error) -> SecretFault {
    let shown = path.display();
    let message = format!("failed to read secret file {shown}: {error}");
    match error.kind() {
        io::ErrorKind::NotFound => SecretFault {
            message: format!("secret file {shown} is missing"),
            cure: "copy it from the other node, or draw one with `steadfastctl init`".to_owned(),
            missing: true,
        },
        io::ErrorKind::PermissionDenied => SecretFault::new(message, "run this as its owner"),
        io::ErrorKind::InvalidInput => {
            let message = format!("secret file {shown} is not a regular file");
            SecretFault::new(message, "name a plain file")
        }
        io::ErrorKind::FileTooLarge => {
            let message = format!("secret file {shown} is larger than {FILE_BYTES_MAX} bytes");
            SecretFault::new(message, "one line for each key is enough")
        }
        _ => SecretFault::new(message, "look at the disk it is on"),
    }
}

/// The owner alone, and the owner is root or whoever reads.
fn guarded(path: &Path, mode: u32, owner: u32) -> Vec<SecretFault> {
    let shown = path.display();
    let mut faults = Vec::new();
    if mode & 0o077 != 0 {
        let message = format!(
            "secret file {shown} has mode {:04o}: others than its owner can use it",
            mode & 0o7777
        );
        let cure = format!("run `chmod 600 {shown}`; if others read it, draw a new secret");
        faults.push(SecretFault::new(message, cure));
    }
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        let message = format!("secret file {shown} belongs to user {owner}");
        let cure = format!("run `chown root {shown}`");
        faults.push(SecretFault::new(message, cure));
    }
    faults
}

fn parse(path: &Path, text: &[u8]) -> Result<Secrets, Vec<SecretFault>> {
    let mut secrets = Secrets {
        keys: Vec::new(),
        cluster: None,
        print: Print(blake3::derive_key(
            "steadfast 2026 secret file, compared on reload",
            text,
        )),
    };
    let mut faults = Vec::new();
    for (place, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        match read_line(line) {
            Ok(Line::Cluster(id)) => secrets.cluster = Some(id),
            Ok(Line::Key(key)) => secrets.keys.push(key),
            Err((message, cure)) => {
                let message = format!("{}, line {}: {message}", path.display(), place + 1);
                faults.push(SecretFault::new(message, cure));
            }
        }
    }
    if secrets.keys.is_empty() && faults.is_empty() {
        let message = format!("secret file {} is empty", path.display());
        faults.push(SecretFault::new(message, cure(KeyError::EmptySecret)));
    }
    if faults.is_empty() {
        Ok(secrets)
    } else {
        Err(faults)
    }
}

#[cfg(test)]
mod tests;
