//! The recorder's thread: entries into files, files into a ring.
//!
//! Entries that wait are written together, and the thread lets them gather for [`WRITE_SPACING`]:
//! with ten milliseconds between advertisements waking for each of them would cost as much as the
//! advertisements. What is important, and a mailbox that fills, does not wait. A write that fails
//! is undone (the file is cut back to its last whole entry), its entries are lost and counted, and
//! a gap says so as soon as the disk takes something again. Role changes and finished files are
//! synced, other entries are the page cache's: a killed daemon loses the last [`WRITE_SPACING`] at
//! most, a power cut the last half minute or so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use steadfast_core::Instant;
use steadfast_shell::journal::codec::{self, MAGIC, Opening};

use super::{Counters, LifeFacts, Message, Settings, file_name, files};

/// Entries written at once; more wait for the next turn.
const BATCH_MAX: usize = 256;
/// How long entries gather before they are written.
const WRITE_SPACING: Duration = Duration::from_millis(50);

pub(super) struct Writer {
    settings: Settings,
    counters: Arc<Counters>,
    life: LifeFacts,
    part: u64,
    open: Option<Open>,
    /// Framed entries of this batch, not yet in the file.
    buffer: Vec<u8>,
    buffered: u64,
    /// Entries lost that no gap has told of yet.
    untold: u64,
    last_at: Instant,
}

/// The file being written.
struct Open {
    file: File,
    /// Up to here the file holds whole entries.
    length: u64,
    /// The length of the opening: a file with more than that can be left.
    opening: u64,
}

impl Writer {
    pub(super) fn new(settings: Settings, life: LifeFacts, counters: Arc<Counters>) -> Self {
        Self {
            last_at: life.now,
            settings,
            counters,
            life,
            part: 0,
            open: None,
            buffer: Vec::new(),
            buffered: 0,
            untold: 0,
        }
    }

    /// Writes until the recorder is closed and the mailbox is empty.
    pub(super) fn run(mut self, waiting: &Receiver<Message>) {
        while let Ok(first) = waiting.recv() {
            let hurry = self.counters.hurry.swap(false, Ordering::AcqRel);
            if !first.important && !hurry {
                // Until then, or until the recorder says that it cannot wait.
                thread::park_timeout(WRITE_SPACING);
            }
            let mut messages = std::iter::once(first).chain(waiting.try_iter()).peekable();
            while messages.peek().is_some() {
                self.write_some(messages.by_ref().take(BATCH_MAX));
            }
        }
        self.untold += self.counters.unsaid.swap(0, Ordering::AcqRel);
        let end = codec::end(self.last_at);
        self.add(&end);
        self.flush();
        self.sync();
    }

    fn write_some(&mut self, messages: impl Iterator<Item = Message>) {
        let (mut important, mut length) = (false, 0);
        for message in messages {
            important |= message.important;
            length += message.body.len();
            self.take(message);
        }
        self.flush();
        let waiting = &self.counters.waiting_bytes;
        waiting.fetch_sub(length, Ordering::AcqRel);
        if important {
            self.sync();
        }
    }

    fn take(&mut self, message: Message) {
        let Message {
            lost_before, body, ..
        } = message;
        self.untold += lost_before;
        self.last_at = codec::time_of(&body);
        self.add(&body);
    }

    fn add(&mut self, body: &[u8]) {
        let room = self.settings.file_bytes_max;
        if let Some(open) = &self.open {
            let used = open.length + self.buffer.len() as u64;
            if used > open.opening && used + body.len() as u64 > room {
                self.flush();
                self.sync();
                self.open = None;
            }
        }
        if self.untold > 0 {
            let gap = codec::gap(self.last_at, self.untold);
            codec::frame(&gap, &mut self.buffer);
        }
        codec::frame(body, &mut self.buffer);
        self.buffered += 1;
        if self.untold > 0 {
            // The gap must be on disk before it counts as told.
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let result = self.write();
        self.buffer.clear();
        let count = std::mem::take(&mut self.buffered);
        if result.is_ok() {
            self.untold = 0;
            self.counters.written.fetch_add(count, Ordering::Relaxed);
        } else {
            self.untold += count;
            self.counters.lose(count);
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.open.is_none() {
            self.open = Some(self.start_file()?);
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        if let Err(why) = open.file.write_all(&self.buffer) {
            let back = open.file.set_len(open.length);
            let start = SeekFrom::Start(open.length);
            if back.and(open.file.seek(start).map(|_| ())).is_err() {
                // What stands there now is torn; a fresh file is not.
                self.open = None;
            }
            return Err(why);
        }
        open.length += self.buffer.len() as u64;
        Ok(())
    }

    fn start_file(&mut self) -> io::Result<Open> {
        let folder = &self.settings.folder;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let existing = files(folder)?;
        let number = existing.last().map_or(0, |(number, _)| number + 1);
        let keep = self.settings.files_max.max(1) - 1;
        let old = existing.len().saturating_sub(keep);
        for (_, path) in existing.iter().take(old) {
            // One that cannot be deleted is tried again with the next file.
            let _ = fs::remove_file(path);
        }
        let path = folder.join(file_name(number));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let opening = codec::opening(&Opening {
            part: self.part,
            life: self.life.clone(),
        });
        let mut bytes = MAGIC.to_vec();
        codec::frame(&opening, &mut bytes);
        if let Err(why) = file.write_all(&bytes) {
            // A file without an opening is of no use to anybody.
            let _ = fs::remove_file(&path);
            return Err(why);
        }
        self.part += 1;
        let length = bytes.len() as u64;
        Ok(Open {
            file,
            length,
            opening: length,
        })
    }

    fn sync(&mut self) {
        if let Some(open) = &self.open
            && open.file.sync_data().is_err()
        {
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}
