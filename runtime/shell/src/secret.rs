//! The lines of a secret file: the cluster's keys, oldest first.
//!
//! ```text
//! # comments and blank lines are skipped
//! cluster 8c1f0a…            (optional) the cluster these keys belong to
//! 1 enforce 6d0c…            id 0 to 255, phase, secret in hexadecimal digits
//! 2 receive-only text:words  or as text, to the end of the line
//! ```
//!
//! Phases are those of [`steadfast_core::wire::auth`]: receive-only, permissive, enforce. A key is
//! changed in three steps on all nodes (its table says why), and old lines are deleted last. What
//! was decoded is wiped after use. Who may read such a file is asked by whoever opens it.

use steadfast_core::ClusterId;
use steadfast_core::wire::auth::{KEYS_MAX, Key, KeyError, Phase, SECRET_LEN_MIN, Secret};
use zeroize::Zeroizing;

use crate::hex;

/// What a line says.
#[derive(Clone, Debug)]
pub enum Line {
    /// Whose keys they are.
    Cluster(ClusterId),
    /// One more key, newer than those above.
    Key(Key),
}

/// Reads a line that is neither blank nor a comment.
///
/// # Errors
/// What is wrong with it, and the cure; neither shows what is in it.
pub fn read_line(line: &[u8]) -> Result<Line, (String, String)> {
    let form = "a key is written `1 enforce <hexadecimal digits>`";
    let (first, rest) = word(line);
    if first == b"cluster" {
        let id = std::str::from_utf8(rest).ok().and_then(cluster_id);
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

/// The cure of what the core finds wrong with keys.
pub fn cure(error: KeyError) -> String {
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

/// 128 bits as hexadecimal digits, not all 0.
pub fn cluster_id(text: &str) -> Option<ClusterId> {
    let bytes = hex::decode(text.trim().as_bytes())?;
    let id: [u8; 16] = bytes.as_slice().try_into().ok()?;
    (id != [0; 16]).then_some(ClusterId(id))
}
