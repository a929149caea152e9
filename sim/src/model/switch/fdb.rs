//! The forwarding database: which port each station was last heard on.
//!
//! A sorted list, searched by halves. Entries are judged by age when they are read, so no timer is
//! needed. Keyed by partition first: the halves of a split segment learn apart from each other.

use core::time::Duration;

use steadfast_core::{Instant, MacAddr};

/// Most stations known at once. When full, aged entries make room; if none is aged the station is
/// not learned, frames to it are flooded, and the refusal is counted by the switch.
pub const FDB_MAX: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    partition: u8,
    mac: MacAddr,
    port: usize,
    seen: Instant,
}

/// What became of an attempt to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// No room.
    Full,
    /// The station is known on another port, and moves are ignored.
    Moved,
    /// Learned or refreshed.
    Yes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fdb {
    entries: Vec<Entry>,
    pub(super) ageing: Duration,
    pub(super) ignore_moves: bool,
}

impl Fdb {
    pub(super) fn new(ageing: Duration) -> Self {
        Self {
            entries: Vec::new(),
            ageing,
            ignore_moves: false,
        }
    }

    pub(super) fn learn(
        &mut self,
        now: Instant,
        partition: u8,
        mac: MacAddr,
        port: usize,
    ) -> Learned {
        match self.search(partition, mac) {
            Ok(at) => {
                let aged = self.aged(now, &self.entries[at]);
                let entry = &mut self.entries[at];
                if entry.port != port && self.ignore_moves && !aged {
                    return Learned::Moved;
                }
                entry.port = port;
                entry.seen = now;
                Learned::Yes
            }
            Err(_) => self.insert(now, partition, mac, port),
        }
    }

    pub(super) fn port_of(&self, now: Instant, partition: u8, mac: MacAddr) -> Option<usize> {
        let entry = &self.entries[self.search(partition, mac).ok()?];
        (!self.aged(now, entry)).then_some(entry.port)
    }

    pub(super) fn flush(&mut self) {
        self.entries.clear();
    }

    pub(super) fn flush_port(&mut self, port: usize) {
        self.entries.retain(|entry| entry.port != port);
    }

    fn insert(&mut self, now: Instant, partition: u8, mac: MacAddr, port: usize) -> Learned {
        if self.entries.len() >= FDB_MAX {
            let ageing = self.ageing;
            self.entries.retain(|entry| now.since(entry.seen) < ageing);
        }
        if self.entries.len() >= FDB_MAX {
            return Learned::Full;
        }
        if let Err(at) = self.search(partition, mac) {
            let seen = now;
            self.entries.insert(
                at,
                Entry {
                    partition,
                    mac,
                    port,
                    seen,
                },
            );
        }
        Learned::Yes
    }

    fn aged(&self, now: Instant, entry: &Entry) -> bool {
        now.since(entry.seen) >= self.ageing
    }

    fn search(&self, partition: u8, mac: MacAddr) -> Result<usize, usize> {
        let wanted = (partition, mac);
        self.entries
            .binary_search_by(|entry| (entry.partition, entry.mac).cmp(&wanted))
    }
}
