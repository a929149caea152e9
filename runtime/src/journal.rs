//! The flight recorder (R14.2): everything a node was told and what it wanted, bounded, on disk.
//!
//! What stands in the files, and the replay of a life, is the shell's:
//! [`steadfast_shell::journal`].
//!
//! ```text
//! driver ─ note ─► mailbox (bytes and entries bounded) ─► thread ─► journal-00000007.bin  1 MiB
//!                  full: counted, a gap in the stream               journal-00000008.bin  ...
//!                                                                   oldest deleted beyond 8
//! ```
//!
//! The limit: a node's inner state is not written down, so a life can be replayed only while its
//! first file still exists. At 10 advertisements a second on two paths a standby writes 6.5 kB/s
//! (measured), so 8 MiB hold about 20 minutes; whoever wants to replay a day sets the bounds to a
//! gigabyte.

mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Thread};
use std::time::Duration;

use steadfast_core::Instant;
use steadfast_core::boot::Boot;
use steadfast_core::config::Config;
use steadfast_shell::env::{Entry, Journal};
use steadfast_shell::journal::codec;
pub use steadfast_shell::journal::{
    ConfigFacts, DecisionHash, ENTRY_BYTES_MAX, Examination, FILE_BYTES_MAX, FILES_READ_MAX, Hole,
    Life, LifeFacts, Outcome, PeerFacts, PortFacts, Reading, Stored, StoredEffect, StoredInput,
    Timed, Turn, examine, file_name, files, read, replay,
};

/// Entries waiting for the disk. Beyond this an entry is lost and counted.
pub const MAILBOX_ENTRIES_MAX: usize = 8_192;
/// Bytes waiting for the disk, likewise: a minute and more of ordinary traffic.
pub const MAILBOX_BYTES_MAX: usize = 1024 * 1024;
/// From so many bytes on the disk's thread is woken at once. The smallest entries take nine bytes,
/// so that the mailbox holds twice as many of them.
const HURRY_BYTES: usize = MAILBOX_ENTRIES_MAX * 9 / 2;
/// Bytes of configuration text that are kept; the rest is cut off. A replay does not need it.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// How long [`Rescue::now`] waits for the disk.
pub const RESCUE_WAIT: Duration = Duration::from_millis(100);
/// How long [`Recorder::close`] waits for the disk.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Where and how much is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory; made if needed, closed to others (mode 0700).
    pub folder: PathBuf,
    /// Bytes of a file. A file is longer only if its opening and one entry alone are.
    pub file_bytes_max: u64,
    /// Files kept; at least 1.
    pub files_max: usize,
}

impl Settings {
    /// 8 files of 1 MiB in `folder`.
    pub const fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            file_bytes_max: 1024 * 1024,
            files_max: 8,
        }
    }
}

/// What a life began with.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Version and build id of the program.
    pub build: &'a str,
    /// The configuration as the node takes it; its keys are not written.
    pub config: &'a Config,
    /// The configuration file's text, for people. It must name secret files, not hold secrets.
    pub text: &'a str,
    /// Exactly what the node was made with.
    pub boot: &'a Boot,
}

/// What the recorder has done so far; for status.
#[derive(Debug, Default)]
pub struct Counters {
    written: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
    waiting_bytes: AtomicUsize,
    /// Lost since the last entry that got into the mailbox.
    unsaid: AtomicU64,
    /// What waits cannot wait for more. The word that wakes the thread may be taken by a wait of
    /// another kind.
    hurry: AtomicBool,
}

impl Counters {
    /// Entries on disk.
    pub fn written_count(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Entries lost: no room in the mailbox, too long, or refused by the disk.
    pub fn lost_count(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Writes that the disk refused.
    pub fn failure_count(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn hurry(&self, writer: &Thread) {
        self.hurry.store(true, Ordering::Release);
        writer.unpark();
    }

    fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }
}

/// What goes from the driver to the writing thread.
struct Message {
    /// Entries lost right before this one.
    lost_before: u64,
    /// A role change: synced to the disk at once.
    important: bool,
    body: Vec<u8>,
}

/// The driver's end of the recorder. Dropping it closes it, as [`Recorder::close`] does: an
/// end by an error keeps its last entries too.
#[derive(Debug)]
pub struct Recorder {
    /// None once the recorder is closed.
    mailbox: Option<SyncSender<Message>>,
    counters: Arc<Counters>,
    done: Receiver<()>,
    /// The disk's thread, which lets entries gather.
    writer: Thread,
}

impl Recorder {
    /// Starts recording a life. A disk that refuses is no reason not to start: it shows in the
    /// counters.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn start(settings: Settings, origin: Origin<'_>) -> io::Result<Self> {
        let (mailbox, waiting) = sync_channel(MAILBOX_ENTRIES_MAX);
        let (finish, done) = sync_channel(1);
        let counters = Arc::new(Counters::default());
        let writer = writer::Writer::new(settings, life_facts(origin), Arc::clone(&counters));
        let writing = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                writer.run(&waiting);
                // Nobody may wait for this any more.
                let _ = finish.send(());
            })?;
        Ok(Self {
            mailbox: Some(mailbox),
            counters,
            done,
            writer: writing.thread().clone(),
        })
    }

    /// The counters; they outlive the recorder.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// For a panic, which no value outlives.
    pub fn rescue(&self) -> Rescue {
        Rescue {
            counters: self.counters(),
            writer: self.writer.clone(),
        }
    }

    /// Writes what waits and marks the life as ended in order. False if the disk did not manage
    /// that within [`CLOSE_WAIT`].
    pub fn close(mut self) -> bool {
        self.finish()
    }

    fn finish(&mut self) -> bool {
        let Some(mailbox) = self.mailbox.take() else {
            return true;
        };
        // The writer ends when it has read everything and nobody can add to it.
        drop(mailbox);
        self.counters.hurry(&self.writer);
        self.done.recv_timeout(CLOSE_WAIT).is_ok()
    }

    fn put(&self, body: Vec<u8>, important: bool) {
        let counters = &self.counters;
        let length = body.len();
        let waiting = counters.waiting_bytes.fetch_add(length, Ordering::AcqRel);
        let fits = length <= ENTRY_BYTES_MAX && waiting.saturating_add(length) <= MAILBOX_BYTES_MAX;
        let lost_before = counters.unsaid.swap(0, Ordering::AcqRel);
        let message = Message {
            lost_before,
            important,
            body,
        };
        let sent = |mailbox: &SyncSender<Message>| mailbox.try_send(message).is_ok();
        if !fits || !self.mailbox.as_ref().is_some_and(sent) {
            counters.waiting_bytes.fetch_sub(length, Ordering::AcqRel);
            counters
                .unsaid
                .fetch_add(lost_before.saturating_add(1), Ordering::AcqRel);
            counters.lose(1);
        }
        if important || waiting.saturating_add(length) > HURRY_BYTES {
            self.counters.hurry(&self.writer);
        }
    }
}

/// Lets the disk have what waits when the program is about to abort: a panic is what a flight
/// recorder is for.
#[derive(Clone, Debug)]
pub struct Rescue {
    counters: Arc<Counters>,
    writer: Thread,
}

impl Rescue {
    /// Wakes the disk's thread, and returns when it took everything, or after [`RESCUE_WAIT`].
    pub fn now(&self) {
        if thread::current().id() == self.writer.id() {
            return;
        }
        self.counters.hurry(&self.writer);
        for _ in 0..RESCUE_WAIT.as_millis() {
            if self.counters.waiting_bytes.load(Ordering::Acquire) == 0 {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Journal for Recorder {
    fn note(&mut self, at: Instant, entry: Entry<'_>) {
        match entry {
            Entry::Input(input) => self.put(codec::input(at, input), false),
            Entry::Effect(effect) => self.put(codec::effect(at, effect), false),
            // The file's text stays where the life began: the driver knows values alone.
            Entry::Replaced(config) => {
                self.put(codec::config(at, &ConfigFacts::new(config, "")), true);
            }
            Entry::Status(status) => self.put(codec::status(at, status), true),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // A disk that hangs has been given its time; the counters say what is missing.
        let _ = self.finish();
    }
}

fn life_facts(origin: Origin<'_>) -> LifeFacts {
    let Boot {
        now,
        seed,
        kernel_boot,
        uptime,
        restored,
    } = origin.boot;
    LifeFacts {
        build: origin.build.to_owned(),
        now: *now,
        seed: *seed,
        kernel_boot: *kernel_boot,
        uptime: *uptime,
        restored: restored.clone(),
        config: ConfigFacts::new(origin.config, cut(origin.text)),
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
pub(crate) mod tests;
