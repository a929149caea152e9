//! The neighbour cache: which station answers for an address on a port, after Linux's.
//!
//! ```text
//! (none) -> Incomplete -> Reachable -> Stale -> Probing -> Reachable
//!              |  3 asks, 1 s apart                |  5 s, then 3 asks
//!              v                                   v
//!            Failed  <-----------------------------+      any packet starts anew
//! ```
//!
//! The hard case is a takeover: an entry follows an announcement at once, but a reply that names
//! another station within [`LOCKTIME`] of the last change is not believed, and an entry that was
//! being asked for when the port went dark stays unanswered until its next ask. That is why the
//! daemon deletes such entries on a claim and when carrier returns (D17).
//!
//! Limit: no confirmation by upper layers, so an entry in use is asked again every half minute.

use core::net::IpAddr;
use core::time::Duration;

use steadfast_core::{Instant, MacAddr, PortId};

/// Most entries (Linux's `gc_thresh3`). When full no entry is made: packets to new neighbours are
/// dropped and their questions go unanswered; both are counted by the kernel.
pub const NEIGHBOURS_MAX: usize = 1024;

/// Most packets that wait for one neighbour; the oldest makes room and is counted.
pub const WAITING_MAX: usize = 3;

/// Most asks before a neighbour is given up.
pub const ASKS_MAX: u8 = 3;

/// Time between asks.
pub const RETRANSMIT: Duration = Duration::from_secs(1);

/// How long a stale entry is used before it is asked again.
pub const DELAY: Duration = Duration::from_secs(5);

/// For how long after a change a reply that names another station is not believed.
pub const LOCKTIME: Duration = Duration::from_secs(1);

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NeighbourState {
    /// Gave no answer.
    Failed,
    /// Asked for; packets wait.
    Incomplete {
        /// Asks so far, 1 to [`ASKS_MAX`].
        asks: u8,
        /// When the next one is due.
        retry_at: Instant,
    },
    /// Used while stale; will be, or is being asked again at the known address.
    Probing {
        /// Where it was.
        mac: MacAddr,
        /// Asks so far, 0 to [`ASKS_MAX`].
        asks: u8,
        /// When the next one is due.
        retry_at: Instant,
    },
    /// Answered lately.
    Reachable {
        /// Where it is.
        mac: MacAddr,
        /// When it turns stale.
        until: Instant,
    },
    /// Known, but not confirmed lately.
    Stale {
        /// Where it was.
        mac: MacAddr,
    },
}

impl NeighbourState {
    /// Where packets to this neighbour go.
    pub const fn mac(self) -> Option<MacAddr> {
        match self {
            Self::Failed | Self::Incomplete { .. } => None,
            Self::Probing { mac, .. } | Self::Reachable { mac, .. } | Self::Stale { mac } => {
                Some(mac)
            }
        }
    }
}

/// How a neighbour was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It answered us: reachable. Another station than before is believed if `overrides`.
    Answer { overrides: bool },
    /// It announced itself or talked to others: changes an entry, makes none.
    Passing { overrides: bool },
    /// It asked us: makes an entry, always believed.
    Question,
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    /// No room for another neighbour: drop it.
    Full,
    /// Send it there.
    Send(MacAddr),
    /// It waits; ask for the neighbour.
    Ask,
    /// It waits.
    Wait,
}

/// An ask that fell due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) port: PortId,
    pub(super) ip: IpAddr,
    /// Where to ask; `None` asks everyone.
    pub(super) at: Option<MacAddr>,
    /// The first packet that waits, whose source a question for IPv4 names.
    pub(super) first_waiting: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    port: PortId,
    ip: IpAddr,
    state: NeighbourState,
    updated: Instant,
    waiting: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Neighbours {
    /// Sorted by port and address.
    entries: Vec<Entry>,
    reachable_time: Duration,
}

impl Neighbours {
    pub(super) fn new(reachable_time: Duration) -> Self {
        Self {
            entries: Vec::new(),
            reachable_time,
        }
    }

    pub(super) fn state(&self, now: Instant, port: PortId, ip: IpAddr) -> Option<NeighbourState> {
        let entry = &self.entries[self.search(port, ip).ok()?];
        Some(aged(entry.state, now))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PortId, IpAddr, NeighbourState)> {
        let entries = self.entries.iter();
        entries.map(|entry| (entry.port, entry.ip, entry.state))
    }

    /// Whether an entry for this neighbour exists or could be made.
    pub(super) fn has_room(&self, port: PortId, ip: IpAddr) -> bool {
        self.entries.len() < NEIGHBOURS_MAX || self.search(port, ip).is_ok()
    }

    /// Where `frame`, whole but for its destination, goes; if that is not known it is kept, and
    /// `dropped` counts a packet that made room for it.
    pub(super) fn resolve(
        &mut self,
        now: Instant,
        (port, ip): (PortId, IpAddr),
        frame: &[u8],
        dropped: &mut u64,
    ) -> Resolution {
        let at = match self.search(port, ip) {
            Ok(at) => at,
            Err(_) if self.entries.len() >= NEIGHBOURS_MAX => return Resolution::Full,
            Err(at) => {
                self.insert(at, now, (port, ip), NeighbourState::Failed);
                at
            }
        };
        let entry = &mut self.entries[at];
        match aged(entry.state, now) {
            NeighbourState::Probing { mac, .. } | NeighbourState::Reachable { mac, .. } => {
                Resolution::Send(mac)
            }
            NeighbourState::Stale { mac } => {
                entry.delay(now, mac);
                Resolution::Send(mac)
            }
            NeighbourState::Incomplete { .. } => {
                entry.keep(frame, dropped);
                Resolution::Wait
            }
            NeighbourState::Failed => {
                let retry_at = now.after(RETRANSMIT);
                entry.state = NeighbourState::Incomplete { asks: 1, retry_at };
                entry.updated = now;
                entry.keep(frame, dropped);
                Resolution::Ask
            }
        }
    }

    /// Notes that a frame was sent to a neighbour: a stale one is asked again soon.
    pub(super) fn note_use(&mut self, now: Instant, port: PortId, ip: IpAddr) {
        let Ok(at) = self.search(port, ip) else {
            return;
        };
        let entry = &mut self.entries[at];
        if let NeighbourState::Stale { mac } = aged(entry.state, now) {
            entry.delay(now, mac);
        }
    }

    /// Notes that `mac` was heard for `ip`, and returns the packets that waited for it.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        (port, ip): (PortId, IpAddr),
        mac: MacAddr,
        heard: Heard,
    ) -> Vec<Vec<u8>> {
        let at = match (self.search(port, ip), heard) {
            (Ok(at), _) => at,
            (Err(at), Heard::Question) if self.entries.len() < NEIGHBOURS_MAX => {
                self.insert(at, now, (port, ip), NeighbourState::Stale { mac });
                return Vec::new();
            }
            (Err(_), Heard::Answer { .. } | Heard::Passing { .. } | Heard::Question) => {
                return Vec::new();
            }
        };
        let reachable_time = self.reachable_time;
        let entry = &mut self.entries[at];
        let known = aged(entry.state, now).mac();
        let Some(state) = entry.believes(now, mac, heard, reachable_time) else {
            return Vec::new();
        };
        let same_kind = core::mem::discriminant(&state) == core::mem::discriminant(&entry.state);
        if known != Some(mac) || !same_kind {
            entry.updated = now;
        }
        entry.state = state;
        core::mem::take(&mut entry.waiting)
    }

    /// Whether a station other than the known one may replace it by a reply.
    pub(super) fn is_unlocked(&self, now: Instant, port: PortId, ip: IpAddr) -> bool {
        let unlocked = |at: usize| now.since(self.entries[at].updated) > LOCKTIME;
        self.search(port, ip).is_ok_and(unlocked)
    }

    /// Deletes what has no address; counts the packets that waited.
    pub(super) fn forget_dead(&mut self, dropped: &mut u64) {
        self.retain(dropped, |entry| entry.state.mac().is_some());
    }

    /// Deletes the entries of a port that lost its carrier; counts the packets that waited.
    pub(super) fn flush_port(&mut self, port: PortId, dropped: &mut u64) {
        self.retain(dropped, |entry| entry.port != port);
    }

    /// Takes the asks that are due; gives up neighbours that were asked often enough.
    pub(super) fn take_due(&mut self, now: Instant, dropped: &mut u64, asks: &mut Vec<Ask>) {
        for entry in &mut self.entries {
            let (asked, at, retry_at) = match entry.state {
                NeighbourState::Incomplete { asks, retry_at } => (asks, None, retry_at),
                NeighbourState::Probing {
                    mac,
                    asks,
                    retry_at,
                } => (asks, Some(mac), retry_at),
                NeighbourState::Failed
                | NeighbourState::Reachable { .. }
                | NeighbourState::Stale { .. } => continue,
            };
            if now < retry_at {
                continue;
            }
            entry.ask_again(now, asked, at);
            if entry.state == NeighbourState::Failed {
                *dropped += entry.waiting.len() as u64;
                entry.waiting.clear();
                continue;
            }
            asks.push(Ask {
                port: entry.port,
                ip: entry.ip,
                at,
                first_waiting: entry.waiting.first().cloned(),
            });
        }
    }

    /// When the next ask is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = |entry: &Entry| match entry.state {
            NeighbourState::Incomplete { retry_at, .. }
            | NeighbourState::Probing { retry_at, .. } => Some(retry_at),
            NeighbourState::Failed
            | NeighbourState::Reachable { .. }
            | NeighbourState::Stale { .. } => None,
        };
        self.entries.iter().filter_map(due).min()
    }

    /// The clock stood still for this long.
    pub(super) fn resume(&mut self, paused: Duration) {
        for entry in &mut self.entries {
            entry.updated = entry.updated.after(paused);
            match &mut entry.state {
                NeighbourState::Incomplete { retry_at: at, .. }
                | NeighbourState::Probing { retry_at: at, .. }
                | NeighbourState::Reachable { until: at, .. } => *at = at.after(paused),
                NeighbourState::Failed | NeighbourState::Stale { .. } => {}
            }
        }
    }

    fn retain(&mut self, dropped: &mut u64, keep: impl Fn(&Entry) -> bool) {
        self.entries.retain(|entry| {
            let kept = keep(entry);
            if !kept {
                *dropped += entry.waiting.len() as u64;
            }
            kept
        });
    }

    fn insert(
        &mut self,
        at: usize,
        now: Instant,
        (port, ip): (PortId, IpAddr),
        state: NeighbourState,
    ) {
        let entry = Entry {
            port,
            ip,
            state,
            updated: now,
            waiting: Vec::new(),
        };
        self.entries.insert(at, entry);
    }

    fn search(&self, port: PortId, ip: IpAddr) -> Result<usize, usize> {
        let wanted = (port, ip);
        self.entries
            .binary_search_by(|entry| (entry.port, entry.ip).cmp(&wanted))
    }
}

impl Entry {
    fn keep(&mut self, frame: &[u8], dropped: &mut u64) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.remove(0);
            *dropped += 1;
        }
        self.waiting.push(frame.to_vec());
    }

    fn delay(&mut self, now: Instant, mac: MacAddr) {
        self.state = NeighbourState::Probing {
            mac,
            asks: 0,
            retry_at: now.after(DELAY),
        };
    }

    fn ask_again(&mut self, now: Instant, asks: u8, at: Option<MacAddr>) {
        let retry_at = now.after(RETRANSMIT);
        let asks = asks + 1;
        self.state = match at {
            _ if asks > ASKS_MAX => NeighbourState::Failed,
            Some(mac) => NeighbourState::Probing {
                mac,
                asks,
                retry_at,
            },
            None => NeighbourState::Incomplete { asks, retry_at },
        };
        if self.state == NeighbourState::Failed {
            self.updated = now;
        }
    }

    /// The state after hearing `mac`, or `None` if that is not believed (`neigh_update`).
    fn believes(
        &self,
        now: Instant,
        mac: MacAddr,
        heard: Heard,
        reachable_time: Duration,
    ) -> Option<NeighbourState> {
        let current = aged(self.state, now);
        let moves = current.mac().is_some_and(|known| known != mac);
        let (answered, overrides) = match heard {
            Heard::Answer { overrides } => (true, overrides),
            Heard::Passing { overrides } => (false, overrides),
            Heard::Question => (false, true),
        };
        if moves && !overrides {
            let NeighbourState::Reachable { mac: known, .. } = current else {
                return None;
            };
            // Another station's word against a confirmed one: for IPv6 that casts doubt
            // (RFC 4861 7.2.5, `NEIGH_UPDATE_F_WEAK_OVERRIDE`).
            let doubted = self.ip.is_ipv6();
            return doubted.then_some(NeighbourState::Stale { mac: known });
        }
        if answered {
            let until = now.after(reachable_time);
            return Some(NeighbourState::Reachable { mac, until });
        }
        if current.mac() == Some(mac) {
            return Some(current);
        }
        Some(NeighbourState::Stale { mac })
    }
}

fn aged(state: NeighbourState, now: Instant) -> NeighbourState {
    match state {
        NeighbourState::Reachable { mac, until } if now >= until => NeighbourState::Stale { mac },
        NeighbourState::Failed
        | NeighbourState::Incomplete { .. }
        | NeighbourState::Probing { .. }
        | NeighbourState::Reachable { .. }
        | NeighbourState::Stale { .. } => state,
    }
}
