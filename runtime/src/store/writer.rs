//! The store behind a mailbox: a disk that takes seconds never holds up a heartbeat.
//!
//! One thread writes. What waits in the mailbox when it is free is answered together: only the
//! newest record is written, for it replaces the older ones anyway.

use std::future::Future;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use steadfast_core::boot::Record;
use steadfast_shell::env::Store;
use tokio::sync::oneshot;

use super::FileStore;

/// Commits waiting. Beyond this a commit fails with [`io::ErrorKind::WouldBlock`]: the disk hangs.
pub const MAILBOX_MAX: usize = 8;

struct Commit {
    record: Record,
    reply: oneshot::Sender<io::Result<()>>,
}

/// The driver's end of the store.
#[derive(Debug)]
pub struct StoreHandle {
    mailbox: Option<SyncSender<Commit>>,
    thread: Option<JoinHandle<()>>,
}

impl StoreHandle {
    /// Starts the writing thread. It ends when the handle is dropped and the mailbox is empty.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn start(store: FileStore) -> io::Result<Self> {
        let (mailbox, waiting) = sync_channel(MAILBOX_MAX);
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write_all(store, &waiting))?;
        Ok(Self {
            mailbox: Some(mailbox),
            thread: Some(thread),
        })
    }

    /// Writes what waits and ends the thread; blocks until the disk has answered.
    pub fn close(mut self) {
        self.mailbox = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed where it happened; nothing is left to do here.
            let _ = thread.join();
        }
    }

    fn hand_over(&self, record: &Record) -> io::Result<oneshot::Receiver<io::Result<()>>> {
        let (reply, answer) = oneshot::channel();
        let record = record.clone();
        let mailbox = self.mailbox.as_ref().ok_or_else(ended)?;
        match mailbox.try_send(Commit { record, reply }) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("the disk hangs: {MAILBOX_MAX} commits wait for it"),
            )),
            Err(TrySendError::Disconnected(_)) => Err(ended()),
        }
    }
}

impl Store for StoreHandle {
    fn commit(&mut self, record: &Record) -> impl Future<Output = io::Result<()>> {
        let handed = self.hand_over(record);
        async move { handed?.await.unwrap_or_else(|_| Err(ended())) }
    }
}

fn write_all(mut store: FileStore, waiting: &Receiver<Commit>) {
    while let Ok(first) = waiting.recv() {
        let mut commits = vec![first];
        commits.extend(waiting.try_iter().take(MAILBOX_MAX));
        let result = commits
            .last()
            .map_or(Ok(()), |newest| store.commit(&newest.record));
        for commit in commits {
            let answer = match &result {
                Ok(()) => Ok(()),
                Err(why) => Err(io::Error::new(why.kind(), why.to_string())),
            };
            // Nobody waits any more: the record is written all the same.
            let _ = commit.reply.send(answer);
        }
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the store has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that hangs: the mailbox fills up to its bound, then commits fail at once and the
    /// driver goes on; so they do when the writer is gone.
    #[test]
    fn store_hanging_disk_fails_commits_at_once() {
        let (mailbox, waiting) = sync_channel(MAILBOX_MAX);
        let handle = StoreHandle {
            mailbox: Some(mailbox),
            thread: None,
        };
        let record = Record::default();
        let taken: Vec<_> = (0..MAILBOX_MAX)
            .map(|_| handle.hand_over(&record).expect("room"))
            .collect();
        let why = handle.hand_over(&record).expect_err("full");
        assert_eq!(why.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(waiting.try_iter().count(), taken.len());
        drop(waiting);
        let why = handle.hand_over(&record).expect_err("ended");
        assert_eq!(why.kind(), io::ErrorKind::BrokenPipe);
    }
}
