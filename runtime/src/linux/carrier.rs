//! The newest state of each port, seen from two threads: written by the one that watches links,
//! read by the one that drives the node.
//!
//! One atomic word per port is both the state and its mailbox: a writer replaces it and marks it
//! unread, a reader takes the mark away. So nothing queues up, the newest state wins, and the
//! heartbeat thread never waits for a lock that a slower thread holds.
//!
//! The limit: a carrier that went and came back between two readings is seen as "up" once more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use steadfast_core::PortId;

/// Every number a port can have.
const PORTS: usize = 256;

const UNREAD: u64 = 1 << 63;
const KNOWN: u64 = 1 << 62;
const UP: u64 = 1 << 61;
/// The interface's index, 0 while it is missing.
const INDEX: u64 = 0xffff_ffff;

/// What was last seen of every port; clones show the same.
#[derive(Clone)]
pub struct CarrierBoard(Arc<Board>);

struct Board {
    ports: [AtomicU64; PORTS],
    serves: AtomicBool,
}

/// What was last seen of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// It is up and has carrier.
    pub up: bool,
    /// The index of the interface that has the port's name now; 0 if there is none.
    pub index: u32,
}

impl CarrierBoard {
    /// A board on which nothing is known yet.
    pub fn new() -> Self {
        Self(Arc::new(Board {
            ports: [const { AtomicU64::new(0) }; PORTS],
            serves: AtomicBool::new(false),
        }))
    }

    /// Says whether this gateway serves: it has no dead active to find then, and need not look at
    /// its cables as often.
    pub(super) fn serve(&self, serves: bool) {
        self.0.serves.store(serves, Ordering::Release);
    }

    /// Whether this gateway serves.
    pub(super) fn serves(&self) -> bool {
        self.0.serves.load(Ordering::Acquire)
    }

    /// What was last seen of a port; `None` until it was looked at.
    pub fn seen(&self, port: PortId) -> Option<Seen> {
        seen(self.word(port).load(Ordering::Acquire))
    }

    /// Writes what was seen. True if that is new, or `again` asks to tell it once more.
    pub(super) fn write(&self, port: PortId, now: Seen, again: bool) -> bool {
        let up = if now.up { UP } else { 0 };
        let word = KNOWN | up | u64::from(now.index);
        let before = self.word(port).load(Ordering::Acquire);
        let news = again || before & !UNREAD != word;
        if news {
            self.word(port).store(word | UNREAD, Ordering::Release);
        }
        news
    }

    /// Takes a port's news, if there are any.
    pub(super) fn take_news(&self, port: PortId) -> Option<Seen> {
        let before = self.word(port).fetch_and(!UNREAD, Ordering::AcqRel);
        if before & UNREAD == 0 {
            return None;
        }
        seen(before)
    }

    fn word(&self, port: PortId) -> &AtomicU64 {
        &self.0.ports[usize::from(port.0)]
    }
}

impl Default for CarrierBoard {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CarrierBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = (0..=u8::MAX).map(PortId);
        let known = ports.filter_map(|port| Some((port, self.seen(port)?)));
        f.debug_map().entries(known).finish()
    }
}

fn seen(word: u64) -> Option<Seen> {
    (word & KNOWN != 0).then_some(Seen {
        up: word & UP != 0,
        index: (word & INDEX) as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortId = PortId(3);

    fn up(index: u32) -> Seen {
        Seen { up: true, index }
    }

    /// The reader was slow: it learns the state of now, and only once.
    #[test]
    fn carrier_newest_state_wins_and_is_told_once() {
        let board = CarrierBoard::new();
        assert_eq!(board.seen(PORT), None, "nobody has looked yet");
        assert!(board.write(PORT, up(7), false));
        let down = Seen {
            up: false,
            index: 7,
        };
        assert!(board.write(PORT, down, false));
        assert_eq!(board.take_news(PORT), Some(down));
        assert_eq!(board.take_news(PORT), None);
        assert_eq!(board.seen(PORT), Some(down), "reading forgets nothing");
        assert_eq!(board.take_news(PortId(4)), None, "another port");
    }

    /// A poll that finds the same again is no news; an event that asks for it is.
    #[test]
    fn carrier_repetition_is_no_news_unless_asked_for() {
        let board = CarrierBoard::new();
        assert!(board.write(PORT, up(7), false));
        assert!(!board.write(PORT, up(7), false), "still unread, not new");
        assert_eq!(board.take_news(PORT), Some(up(7)));
        assert!(!board.write(PORT, up(7), false));
        assert_eq!(board.take_news(PORT), None);
        assert!(board.write(PORT, up(7), true));
        assert_eq!(board.take_news(PORT), Some(up(7)));
        assert!(board.write(PORT, up(8), false), "another interface");
    }
}
