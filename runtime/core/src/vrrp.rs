//! A virtual router of VRRP: the machine of RFC 3768, 5798 and 9568, §6.4 of each (D19).
//!
//! ```text
//!              started, priority 255
//!  Initialize ───────────────────────────────► Active
//!     ▲  │ started                              ▲   │ a higher priority is heard
//!     │  └──────────────► Backup ───────────────┘   │
//!     │                     ▲    the down timer     │
//!     │                     └───────────────────────┘
//!     └── stopped, or the link is lost: from anywhere
//! ```
//!
//! It speaks to routers of other makes, so nothing but the RFC decides. What we know beside may
//! only make it weaker: lower its priority ([`Input::Weakened`]), or have it resign.
//!
//! The hard case is time in version 3: the down timer counts in the interval of whoever is active,
//! which a backup learns from each advertisement that it obeys, while it advertises with its own;
//! a resignation (priority 0) teaches nothing. In version 2 all share one interval, and skew is
//! parts of a second. Products are taken before quotients, in nanoseconds.
//!
//! The limit: two owners (priority 255) of one address are a mistake that VRRP cannot solve.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use crate::Instant;
use crate::wire::vrrp::{
    Advertisement, Expect, Interval, OWNER, Packet, REFUSALS, RESIGNS, Refusal, Version,
};

pub use place::{Done, Placed, RouterStatus, Stands, Wish};
pub use seat::{Act, Seat};
pub use settings::{Lists, PRIORITY_USUAL, Settings};

mod place;
mod seat;
mod settings;

/// Down after so many intervals without a word, and skew (RFC 9568 §6.1).
const INTERVALS_DOWN: u32 = 3;
/// Skew is parts of so many.
const SKEW_PARTS: u32 = 256;
/// Words that wait to be said; further ones are dropped and counted.
const WORDS_MAX: usize = 64;

/// Where the machine stands (RFC 9568 §6.4; older texts say Master for Active).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Serves.
    Active,
    /// Waits for the active router to fall silent.
    Backup,
    /// Not running.
    Initialize,
}

/// What may happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// The deadline has come.
    DeadlineReached,
    /// The link is lost: nothing can be said any more.
    LinkLost,
    /// A VRRP packet came in.
    PacketReceived(Packet<'a>),
    /// Another router shall serve now; the machine goes on as a backup.
    Resign,
    /// Other settings for the same router; its version and id stay.
    SettingsReplaced(Settings),
    /// The link is there and the router shall run.
    Started,
    /// The router shall end in order.
    Stopped,
    /// Its priority is no more than this, or is its own again.
    Weakened(Option<u8>),
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say this.
    Advertise(Advertisement),
    /// Announce these addresses to hosts and switches.
    Announce(Vec<IpAddr>),
    /// Own the addresses, forward for them.
    Serve,
    /// Own nothing.
    Withdraw,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The next own word.
    Advertise,
    /// A word of the active router.
    Down,
    /// That of a backup with a higher priority, after a resignation.
    Skew,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    wait: Wait,
    began: Instant,
    end: Instant,
}

/// A virtual router on one link, of one family.
#[derive(Clone, Debug)]
pub struct Router {
    settings: Settings,
    state: State,
    /// The active router's interval, as far as is known.
    learned: Interval,
    timer: Option<Timer>,
    weakened: Option<u8>,
    actions: VecDeque<Action>,
    refused: [u64; REFUSALS],
    lists_differ: u64,
    intervals_differ: u64,
    other_owners: u64,
    reflected: u64,
    unsaid: u64,
}

impl Router {
    /// A router that does not run yet.
    pub const fn new(settings: Settings) -> Self {
        let learned = settings.interval;
        Self {
            settings,
            state: State::Initialize,
            learned,
            timer: None,
            weakened: None,
            actions: VecDeque::new(),
            refused: [0; REFUSALS],
            lists_differ: 0,
            intervals_differ: 0,
            other_owners: 0,
            reflected: 0,
            unsaid: 0,
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Its priority now: what it was given, or less. 1 to 255.
    pub fn priority(&self) -> u8 {
        let own = self.settings.priority;
        self.weakened.map_or(own, |most| own.min(most).max(1))
    }

    fn owns(&self) -> bool {
        self.settings.priority == OWNER
    }

    /// When [`Input::DeadlineReached`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timer.map(|timer| timer.end)
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How many packets were ignored for this reason.
    pub const fn refused(&self, why: Refusal) -> u64 {
        self.refused[why as usize]
    }

    /// How many advertisements named other addresses than ours.
    pub const fn lists_differ(&self) -> u64 {
        self.lists_differ
    }

    /// How many advertisements that were obeyed had another interval than ours (version 3).
    pub const fn intervals_differ(&self) -> u64 {
        self.intervals_differ
    }

    /// How many advertisements said that somebody else owns our addresses as well.
    pub const fn other_owners(&self) -> u64 {
        self.other_owners
    }

    /// How many of our own words came back.
    pub const fn reflected(&self) -> u64 {
        self.reflected
    }

    /// How many words found no room, since nobody took them.
    pub const fn unsaid(&self) -> u64 {
        self.unsaid
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::DeadlineReached => self.deadline_reached(now),
            Input::LinkLost => self.stop(false),
            Input::PacketReceived(packet) => self.packet_received(now, &packet),
            Input::Resign => self.resign(now),
            Input::SettingsReplaced(settings) => self.replace(now, settings),
            Input::Started => self.start(now),
            Input::Stopped => self.stop(true),
            Input::Weakened(most) => self.weaken(now, most),
        }
    }

    fn start(&mut self, now: Instant) {
        match self.state {
            State::Active | State::Backup => {}
            State::Initialize => {
                self.learned = self.settings.interval;
                if self.priority() == OWNER {
                    self.become_active(now);
                } else {
                    self.become_backup(now);
                }
            }
        }
    }

    fn stop(&mut self, orderly: bool) {
        match self.state {
            State::Active => {
                if orderly {
                    self.advertise(RESIGNS);
                }
                self.act(Action::Withdraw);
            }
            State::Backup | State::Initialize => {}
        }
        self.state = State::Initialize;
        self.timer = None;
    }

    fn resign(&mut self, now: Instant) {
        match self.state {
            State::Active => {
                self.advertise(RESIGNS);
                self.act(Action::Withdraw);
                // Whoever takes over needs its skew alone; this router waits for the whole, and not
                // by the clock of somebody who was active before it.
                self.learned = self.settings.interval;
                self.become_backup(now);
            }
            State::Backup | State::Initialize => {}
        }
    }

    fn deadline_reached(&mut self, now: Instant) {
        if self.next_deadline().is_none_or(|at| now < at) {
            return;
        }
        match self.state {
            State::Active => {
                self.advertise(self.priority());
                self.arm(now, Wait::Advertise);
            }
            State::Backup => self.become_active(now),
            State::Initialize => self.timer = None,
        }
    }

    fn become_active(&mut self, now: Instant) {
        self.state = State::Active;
        self.act(Action::Serve);
        self.advertise(self.priority());
        self.act(Action::Announce(self.settings.addresses.clone()));
        self.arm(now, Wait::Advertise);
    }

    fn become_backup(&mut self, now: Instant) {
        self.state = State::Backup;
        self.arm(now, Wait::Down);
    }

    fn packet_received(&mut self, now: Instant, packet: &Packet<'_>) {
        let settings = &self.settings;
        let expect = Expect {
            version: settings.version,
            virtual_id: settings.virtual_id,
            ipv6: settings.primary.is_ipv6(),
            interval: settings.interval,
            sums: settings.sums,
            unicast: &settings.unicast,
        };
        match packet.advertisement(&expect) {
            // A switch that reflects, or a loop: no other router.
            Ok(_) if packet.source == self.settings.primary => {
                self.reflected = self.reflected.saturating_add(1);
            }
            // Two owners of one address: VRRP lets neither yield (RFC 9568 §7.1).
            Ok(heard) if self.owns() && heard.priority == OWNER => {
                self.other_owners = self.other_owners.saturating_add(1);
            }
            Ok(heard) if self.agrees(&heard) => self.heard(now, &heard, packet.source),
            Ok(_) => {}
            Err(why) => {
                let count = &mut self.refused[why as usize];
                *count = count.saturating_add(1);
            }
        }
    }

    /// Whether its addresses are ours, or may be others.
    fn agrees(&mut self, heard: &Advertisement) -> bool {
        let theirs: BTreeSet<&IpAddr> = heard.addresses.iter().collect();
        let same = theirs == self.settings.addresses.iter().collect();
        if !same {
            self.lists_differ = self.lists_differ.saturating_add(1);
        }
        same || match self.settings.lists {
            Lists::Counted => true,
            // Who owns the addresses knows them (RFC 3768 §7.1).
            Lists::Equal => heard.priority == OWNER,
        }
    }

    fn heard(&mut self, now: Instant, heard: &Advertisement, source: IpAddr) {
        match self.state {
            State::Active => self.heard_as_active(now, heard, source),
            State::Backup => self.heard_as_backup(now, heard),
            State::Initialize => {}
        }
    }

    /// RFC 9568 §6.4.2.
    fn heard_as_backup(&mut self, now: Instant, heard: &Advertisement) {
        if heard.priority == RESIGNS {
            self.arm(now, Wait::Skew);
        } else if !self.settings.preempt || heard.priority >= self.priority() {
            self.learn(heard);
            self.arm(now, Wait::Down);
        }
    }

    /// RFC 9568 §6.4.3. Of two with the same priority the one with the higher address stays.
    fn heard_as_active(&mut self, now: Instant, heard: &Advertisement, source: IpAddr) {
        let own = (self.priority(), self.settings.primary);
        if heard.priority == RESIGNS {
            self.advertise(self.priority());
            self.arm(now, Wait::Advertise);
        } else if (heard.priority, source) > own {
            self.learn(heard);
            self.act(Action::Withdraw);
            self.become_backup(now);
        } else if self.settings.answers_lower {
            // So that bridges learn again who it is; its own cadence goes on.
            self.advertise(self.priority());
        }
    }

    fn learn(&mut self, heard: &Advertisement) {
        match self.settings.version {
            Version::V2 => {}
            Version::V3 => {
                let differs = heard.interval != self.settings.interval;
                self.intervals_differ = self.intervals_differ.saturating_add(differs.into());
                self.learned = heard.interval;
            }
        }
    }

    fn weaken(&mut self, now: Instant, most: Option<u8>) {
        let before = self.priority();
        self.weakened = most;
        if self.priority() != before {
            self.retime(now);
        }
    }

    fn replace(&mut self, now: Instant, settings: Settings) {
        let before: BTreeSet<IpAddr> = self.settings.addresses.iter().copied().collect();
        let added = settings.addresses.iter().copied();
        let added: Vec<IpAddr> = added.filter(|it| !before.contains(it)).collect();
        let same = before.len() == settings.addresses.len() && added.is_empty();
        if self.learned == self.settings.interval {
            // Nobody has taught another one.
            self.learned = settings.interval;
        }
        self.settings = settings;
        if self.state == State::Active && !same {
            self.act(Action::Serve);
            if !added.is_empty() {
                self.act(Action::Announce(added));
            }
        }
        self.retime(now);
    }

    /// The timer of a state, counted anew from where it began.
    fn retime(&mut self, now: Instant) {
        let Some(timer) = self.timer else {
            return;
        };
        match self.state {
            State::Backup if self.priority() == OWNER => self.become_active(now),
            State::Active | State::Backup => {
                let end = timer.began.after(self.length(timer.wait)).max(now);
                self.timer = Some(Timer { end, ..timer });
            }
            State::Initialize => {}
        }
    }

    fn advertise(&mut self, priority: u8) {
        let settings = &self.settings;
        self.act(Action::Advertise(Advertisement {
            version: settings.version,
            virtual_id: settings.virtual_id,
            priority,
            interval: settings.interval,
            addresses: settings.addresses.clone(),
        }));
    }

    /// Of what a router owns the newest word counts, and what it owns no more it neither announces
    /// nor advertises, unless to resign; what is said must find room.
    fn act(&mut self, action: Action) {
        if action == Action::Serve {
            self.actions.retain(|it| !matches!(it, Action::Withdraw));
        } else if action == Action::Withdraw {
            self.actions.retain(|it| match it {
                Action::Advertise(said) => said.priority == RESIGNS,
                Action::Announce(_) | Action::Serve | Action::Withdraw => false,
            });
        }
        if matches!(action, Action::Serve | Action::Withdraw) {
            self.actions.push_back(action);
            return;
        }
        if self.actions.len() >= WORDS_MAX {
            self.unsaid = self.unsaid.saturating_add(1);
            return;
        }
        self.actions.push_back(action);
    }

    fn arm(&mut self, now: Instant, wait: Wait) {
        let end = now.after(self.length(wait));
        let began = now;
        self.timer = Some(Timer { wait, began, end });
    }

    fn length(&self, wait: Wait) -> Duration {
        match wait {
            Wait::Advertise => self.settings.interval.span(),
            Wait::Down => self.down(),
            Wait::Skew => self.skew(),
        }
    }

    /// How long a backup waits for a word.
    fn down(&self) -> Duration {
        let interval = match self.settings.version {
            Version::V2 => self.settings.interval,
            Version::V3 => self.learned,
        };
        interval.span() * INTERVALS_DOWN + self.skew()
    }

    /// How much longer: the less, the higher its priority.
    fn skew(&self) -> Duration {
        let whole = match self.settings.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.learned.span(),
        };
        whole * (SKEW_PARTS - u32::from(self.priority())) / SKEW_PARTS
    }
}

#[cfg(test)]
mod tests;
