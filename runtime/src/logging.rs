//! The log: lines to standard error, written by a thread of their own.
//!
//! Whoever logs puts a line into a bounded mailbox and goes on; a terminal or a journal that does
//! not read costs lines, never a heartbeat. Lost lines are counted, and the next line that gets
//! through is followed by one that says how many. Under systemd, where the journal reads standard
//! error, each line begins with its priority, `<3>` to `<7>` (sd-daemon(3)).
//!
//! The limit: what waits in the mailbox when the process is killed is lost.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Lines waiting to be written. Beyond this a line is lost and counted.
pub const LINES_MAX: usize = 1_024;
/// Bytes of a line. The rest is cut off, with a mark.
pub const LINE_BYTES_MAX: usize = 4_096;
/// How long [`LogHandle::flush`] waits for the reader of standard error.
pub const FLUSH_WAIT: Duration = Duration::from_secs(1);

const CUT: &str = " [cut]";

/// How a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `<4>text`: for the journal, which has times of its own.
    Journal,
    /// `warn: text`: for people and files.
    Plain,
}

impl Style {
    /// What fits standard error: the journal's, if `JOURNAL_STREAM` names the very file that
    /// standard error is (systemd.exec(5)).
    pub fn of_stderr() -> Self {
        let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        let Ok(facts) = rustix::fs::fstat(io::stderr()) else {
            return Self::Plain;
        };
        let is_journal = stream == format!("{}:{}", facts.st_dev, facts.st_ino);
        if is_journal {
            Self::Journal
        } else {
            Self::Plain
        }
    }
}

/// What remains in the program's hands.
#[derive(Clone, Debug)]
pub struct LogHandle {
    mailbox: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

enum Message {
    Line(String),
    Flush(Sender<()>),
}

struct Logger {
    handle: LogHandle,
    style: Style,
}

/// Makes standard error the log of this process, at `level` and above. The level may be changed
/// later (`log::set_max_level`): those who log are asked to ask for it first.
///
/// # Errors
/// There is a log already, or no thread can be made.
pub fn init(level: LevelFilter) -> io::Result<LogHandle> {
    let (logger, handle) = start(io::stderr(), Style::of_stderr())?;
    log::set_boxed_logger(Box::new(logger)).map_err(io::Error::other)?;
    log::set_max_level(level);
    Ok(handle)
}

impl LogHandle {
    /// Lines lost since the start.
    pub fn lost_count(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything logged so far is written, at most [`FLUSH_WAIT`]. False if it is not.
    pub fn flush(&self) -> bool {
        let (done, wait) = channel();
        self.mailbox.try_send(Message::Flush(done)).is_ok() && wait.recv_timeout(FLUSH_WAIT).is_ok()
    }
}

fn start(out: impl Write + Send + 'static, style: Style) -> io::Result<(Logger, LogHandle)> {
    let (mailbox, waiting) = sync_channel(LINES_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let handle = LogHandle { mailbox, lost };
    let counter = Arc::clone(&handle.lost);
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(out, &waiting, &counter, style))?;
    let logger = Logger {
        handle: handle.clone(),
        style,
    };
    Ok((logger, handle))
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = line(self.style, record.level(), &record.args().to_string());
        if self.handle.mailbox.try_send(Message::Line(line)).is_err() {
            self.handle.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {
        self.handle.flush();
    }
}

fn write_all(mut out: impl Write, waiting: &Receiver<Message>, lost: &AtomicU64, style: Style) {
    let mut told = 0;
    while let Ok(message) = waiting.recv() {
        match message {
            Message::Line(text) => {
                // Standard error is gone: there is nobody left to tell.
                let _ = out.write_all(text.as_bytes());
            }
            Message::Flush(done) => {
                let _ = out.flush();
                let _ = done.send(());
            }
        }
        let now = lost.load(Ordering::Relaxed);
        if now > told {
            let text = format!("{} lines of this log were lost", now - told);
            let _ = out.write_all(line(style, Level::Warn, &text).as_bytes());
            told = now;
        }
    }
}

/// One line: control characters would break it, or the terminal it is shown on.
fn line(style: Style, level: Level, text: &str) -> String {
    let mut line = match (style, level) {
        (Style::Journal, Level::Error) => "<3>".to_owned(),
        (Style::Journal, Level::Warn) => "<4>".to_owned(),
        (Style::Journal, Level::Info) => "<6>".to_owned(),
        (Style::Journal, Level::Debug | Level::Trace) => "<7>".to_owned(),
        (Style::Plain, _) => format!("{}: ", level.as_str().to_ascii_lowercase()),
    };
    for letter in text.chars() {
        if line.len() + CUT.len() + 8 > LINE_BYTES_MAX {
            line.push_str(CUT);
            break;
        }
        if letter.is_control() {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that takes nothing until it is told to, then says what it got.
    struct Gate(Receiver<()>, Sender<String>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // When the test has let go of the gate, everything passes.
            let _ = self.0.recv();
            let _ = self.1.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn warn(logger: &Logger, text: &str) {
        let args = format_args!("{text}");
        logger.log(&Record::builder().level(Level::Warn).args(args).build());
    }

    /// A reader that hangs costs lines, which are counted and told of; nobody who logs waits.
    #[test]
    fn log_reader_that_hangs_costs_lines_and_they_are_told_of() {
        let (open, gate) = channel();
        let (sink, lines) = channel();
        let gate = Gate(gate, sink);
        let (logger, handle) = start(gate, Style::Journal).expect("a thread");
        let sent = LINES_MAX + 50;
        for _ in 0..sent {
            warn(&logger, "text");
        }
        let lost = handle.lost_count();
        assert!(
            (49..=50).contains(&lost),
            "one may be in the writer's hands: {lost}"
        );
        drop(open);
        let expected = sent as u64 - lost + 1;
        let read = |_| lines.recv_timeout(Duration::from_secs(5)).expect("a line");
        let lines: Vec<String> = (0..expected).map(read).collect();
        let told = format!("<4>{lost} lines of this log were lost\n");
        let others = lines.iter().filter(|line| **line != "<4>text\n");
        assert_eq!(others.collect::<Vec<_>>(), [&told]);
        assert!(handle.flush(), "the reader reads again");
    }

    /// A name with a line break or an escape sequence in it stays one harmless line; a long one is
    /// cut.
    #[test]
    fn log_line_is_one_line_without_control_characters() {
        let line_of = |text: &str| line(Style::Plain, Level::Info, text);
        assert_eq!(line_of("a\nb\u{1b}[2J"), "info: a\\nb\\u{1b}[2J\n");
        let long = line_of(&"ü".repeat(LINE_BYTES_MAX));
        assert!(long.len() <= LINE_BYTES_MAX && long.ends_with(" [cut]\n"));
    }

    /// Levels become the priorities of syslog.
    #[test]
    fn log_priorities_are_those_of_syslog() {
        let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug];
        let lines = levels.map(|level| line(Style::Journal, level, "x"));
        assert_eq!(lines, ["<3>x\n", "<4>x\n", "<6>x\n", "<7>x\n"]);
    }
}
