//! A service that accepts a connection, and says what its protocol says first (R2.6).
//!
//! Without a protocol accepted is enough. With one the first line counts: a mail server greets with
//! its own word for "ready", and a web server is asked for the head of its first page, where
//! anything but its own failure (5xx) is an answer. The hard case is a service that trickles: every
//! byte waits for the same end. Limit: no encryption; where a service has only that, let it
//! connect.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::Speech;
use crate::program::Stop;

/// Bytes of a first line that are read; a longer one is judged by its beginning.
const LINE_MAX: usize = 512;
/// What of a line is shown when it is not what was expected.
const SHOWN_MAX: usize = 60;

pub(super) fn run(
    to: SocketAddr,
    speaks: Option<Speech>,
    timeout: Duration,
    _: &Stop,
) -> Result<(), String> {
    let until = Instant::now() + timeout;
    let stream = TcpStream::connect_timeout(&to, timeout);
    let mut stream = stream.map_err(|error| format!("{to}: {error}"))?;
    let Some(speech) = speaks else {
        return Ok(());
    };
    let told = |error: std::io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("{to}: no {} greeting within {timeout:?}", speech.word())
        }
        _ => format!("{to}: {error}"),
    };
    let line = first_line(&mut stream, speech, until).map_err(told)?;
    if speech.is_ready(&line) {
        return Ok(());
    }
    let shown: String = line.chars().take(SHOWN_MAX).collect();
    let word = speech.word();
    Err(format!(
        "{to}: no {word} service that is ready, but {shown:?}"
    ))
}

fn first_line(stream: &mut TcpStream, speech: Speech, until: Instant) -> std::io::Result<String> {
    let left = || {
        let left = until.saturating_duration_since(Instant::now());
        // None would be no limit at all.
        left.max(Duration::from_millis(1))
    };
    stream.set_write_timeout(Some(left()))?;
    stream.write_all(speech.question())?;
    let mut line = Vec::new();
    while line.len() < LINE_MAX && Instant::now() < until {
        stream.set_read_timeout(Some(left()))?;
        let mut room = [0; LINE_MAX];
        let count = stream.read(&mut room)?;
        let Some(new) = room.get(..count).filter(|new| !new.is_empty()) else {
            break;
        };
        line.extend_from_slice(new);
        if line.contains(&b'\n') {
            break;
        }
    }
    let whole = line.iter().position(|byte| *byte == b'\n');
    if whole.is_none() && line.len() < LINE_MAX && Instant::now() >= until {
        return Err(ErrorKind::TimedOut.into());
    }
    line.truncate(whole.unwrap_or(line.len()).min(LINE_MAX));
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

impl Speech {
    /// Who speaks first: a web server waits to be asked.
    const fn question(self) -> &'static [u8] {
        match self {
            Self::Http => b"HEAD / HTTP/1.0\r\n\r\n",
            Self::Imap | Self::Pop | Self::Smtp => b"",
        }
    }

    /// Whether this first line is of a service that is ready (RFC 9112 §4, RFC 3501 §7.1,
    /// RFC 1939 §4, RFC 5321 §4.2).
    fn is_ready(self, line: &str) -> bool {
        match self {
            Self::Http => {
                let rest = line.strip_prefix("HTTP/");
                let code = rest.and_then(|rest| rest.split_ascii_whitespace().nth(1));
                let code = code.and_then(|code| code.parse::<u16>().ok());
                code.is_some_and(|code| (100..500).contains(&code))
            }
            Self::Imap => line.starts_with("* OK") || line.starts_with("* PREAUTH"),
            Self::Pop => line.starts_with("+OK"),
            Self::Smtp => line.starts_with("220"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each protocol's own word for "ready", and its word for "not now".
    #[test]
    fn check_service_is_ready_by_its_first_line() {
        for (speech, ready, not) in [
            (
                Speech::Http,
                "HTTP/1.1 401 Unauthorized",
                "HTTP/1.1 503 Busy",
            ),
            (Speech::Http, "HTTP/1.0 200 OK", "220 mail"),
            (Speech::Imap, "* OK ready", "* BYE too many"),
            (Speech::Imap, "* PREAUTH ready", "+OK"),
            (Speech::Pop, "+OK ready", "-ERR locked"),
            (Speech::Smtp, "220 mail ESMTP", "421 shutting down"),
        ] {
            assert!(speech.is_ready(ready), "{ready}");
            assert!(!speech.is_ready(not), "{not}");
            assert!(!speech.is_ready(""), "{}", speech.word());
        }
    }
}
