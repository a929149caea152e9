//! The secret file: the cluster's keys, oldest first, readable by their owner alone.
//!
//! ```text
//! # comments and blank lines are skipped
//! cluster 8c1f0a…            (optional) the cluster these keys belong to
//! 1 enforce 6d0c…            id 0 to 255, phase, secret in hexadecimal digits
//! 2 receive-only text:words  or as text, to the end of the line
//! ```
//!
//! Phases are those of [`steadfast_core::wire::auth`]: receive-only, permissive, enforce. A key is
//! changed in three steps on all nodes (its table says why), and old lines are deleted last. The
//! buffers are wiped after use; no message ever shows what stands in the file. The limit: the keys
//! that the core derives live in its memory as long as the node does.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use steadfast_core::ClusterId;
use steadfast_core::wire::auth::{KEYS_MAX, Key, KeyError, Phase, SECRET_LEN_MIN, Secret};
use zeroize::Zeroizing;

use super::{files, hex, raw};

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

/// The cure of what the core finds wrong with keys.
pub(super) fn cure(error: KeyError) -> String {
    match error {
        KeyError::DuplicateId(_) => "give each line of the secret file its own id".to_owned(),
        KeyError::EmptySecret | KeyError::ExampleSecret | KeyError::ShortSecret(_) => format!(
            "draw one with `steadfastctl init`, or write at least {SECRET_LEN_MIN} bytes that \
             nobody can guess; the same on every node"
        ),
        KeyError::NodeOutOfRange(_) => "node ids lie between 1 and 254".to_owned(),
        KeyError::NoSendingKey => "set the oldest key to `enforce`; a key change begins by adding \
                                   the new one as `receive-only`"
            .to_owned(),
        KeyError::TooManyKeys => {
            format!("delete the oldest lines; at most {KEYS_MAX} are needed at a time")
        }
        KeyError::TooManyNodes => "leave peers out; a cluster has at most 32 nodes".to_owned(),
    }
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

enum Line {
    Cluster(ClusterId),
    Key(Key),
}

fn read_line(line: &[u8]) -> Result<Line, (String, String)> {
    let form = "a key is written `1 enforce <hexadecimal digits>`";
    let (first, rest) = word(line);
    if first == b"cluster" {
        let id = std::str::from_utf8(rest).ok().and_then(raw::cluster_id);
        let id = id.ok_or((
            "the cluster's id is not 32 hexadecimal digits",
            "copy it again",
        ));
        return id.map(Line::Cluster).map_err(owned);
    }
    if rest.is_empty() {
        // A passphrase alone: name what is worst about it, then how a line is written.
        Secret::new(first).map_err(|error| (error.to_string(), cure(error)))?;
    }
    let id = std::str::from_utf8(first)
        .ok()
        .and_then(|id| id.parse().ok());
    let id: u8 = id
        .ok_or(("no key id between 0 and 255 at its beginning", form))
        .map_err(owned)?;
    let (phase, secret) = word(rest);
    let phase = match phase {
        b"receive-only" | b"receive_only" => Phase::ReceiveOnly,
        b"permissive" => Phase::Permissive,
        b"enforce" => Phase::Enforce,
        _ => {
            let cure = "phases are `receive-only`, `permissive` and `enforce`";
            return Err(owned(("unknown phase after the key id", cure)));
        }
    };
    let decoded = hex::decode(secret).map(Zeroizing::new);
    let bytes = match (secret.strip_prefix(b"text:"), &decoded) {
        (Some(text), _) => text,
        (None, Some(bytes)) => bytes,
        (None, None) => secret,
    };
    let checked = Secret::new(bytes).map_err(|error| (error.to_string(), cure(error)))?;
    if decoded.is_none() && !secret.starts_with(b"text:") {
        let message = "the secret is not an even number of hexadecimal digits";
        return Err(owned((
            message,
            "write `text:` before a secret that is text",
        )));
    }
    let secret = checked;
    Ok(Line::Key(Key { id, secret, phase }))
}

/// The first word, and what follows it.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace);
    let (first, rest) = line.split_at(end.unwrap_or(line.len()));
    (first, rest.trim_ascii_start())
}

fn owned((message, cure): (&str, &str)) -> (String, String) {
    (message.to_owned(), cure.to_owned())
}

#[cfg(test)]
mod tests;
