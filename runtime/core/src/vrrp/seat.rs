//! A virtual router at its place: the machine, what the kernel does for it, what it announces.
//!
//! What the machine wants to say while the kernel does not serve yet is kept, the newest of each
//! kind: a router that is active and silent for that moment says nothing untrue. A resignation
//! needs no lease and leaves at once.
//!
//! The hard case is a kernel that refuses: the router begins anew as a backup, though not at once,
//! or one that owns its addresses would try again and again without a pause.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use super::place::REFUSED;
use super::{Action, Done, Input, Placed, Router, RouterStatus, State, Wish};
use crate::effect::Failure;
use crate::wire::announce::{gratuitous_arp, unsolicited_na};
use crate::wire::vrrp::{Advertisement, Packet, RESIGNS, Version};
use crate::{Instant, PortId};

/// Bursts of announcements, from when the kernel serves.
const BURSTS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(13),
    Duration::from_secs(1),
    Duration::from_secs(5),
];
/// No word left for so many intervals, and others are about to take over.
const INTERVALS_UNSAID: u32 = 2;
/// After a refusal by the kernel, before the next try.
const RETRY: Duration = Duration::from_secs(1);

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Send a frame; one that needs the lease asks for it if it does not leave.
    Say {
        /// Its bytes.
        frame: Vec<u8>,
        /// Whether it leaves under the lease, and with it alone.
        lease: bool,
    },
    /// Wish something of the kernel.
    Wish(u64, Wish),
}

/// What the kernel does for the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    /// It was asked to serve.
    Asked,
    /// Nothing.
    Idle,
    /// It serves.
    Serves,
    /// It was asked to withdraw.
    Withdraws,
}

/// A router at its place.
#[derive(Clone, Debug)]
pub struct Seat {
    placed: Placed,
    machine: Router,
    kernel: Kernel,
    turn: u64,
    /// The kernel is asked whether the lease is there.
    looking: bool,
    /// What waits until the kernel serves.
    advert: Option<Advertisement>,
    to_announce: Vec<IpAddr>,
    /// Since when, and which burst is next.
    announcing: Option<(Instant, usize)>,
    acts: VecDeque<Act>,
    /// Its own link is up, and so is each that it cannot do without.
    link_up: bool,
    /// The links that are up.
    up: BTreeSet<PortId>,
    /// Its priority is no more than this.
    weakened: Option<u8>,
    /// When the kernel is asked again to withdraw.
    withdraw_at: Option<Instant>,
    /// Since when no word has left, although there were some to say.
    unsaid_since: Option<Instant>,
    /// When the machine is started again.
    resume_at: Option<Instant>,
    since: Instant,
    stood: State,
    why: String,
    news: bool,
    unsent: u64,
    lapsed: u64,
    kernel_refused: u64,
}

impl Seat {
    /// Not running: its link is not known to be up.
    pub fn new(placed: Placed, now: Instant) -> Self {
        Self {
            machine: Router::new(placed.settings.clone()),
            placed,
            kernel: Kernel::Idle,
            turn: 0,
            looking: false,
            advert: None,
            to_announce: Vec::new(),
            announcing: None,
            acts: VecDeque::new(),
            link_up: false,
            up: BTreeSet::new(),
            weakened: None,
            withdraw_at: None,
            unsaid_since: None,
            resume_at: None,
            since: now,
            stood: State::Initialize,
            why: "its link is not up yet".to_owned(),
            news: false,
            unsent: 0,
            lapsed: 0,
            kernel_refused: 0,
        }
    }

    /// Its link.
    pub const fn port(&self) -> PortId {
        self.placed.port
    }

    /// Where its machine stands.
    pub const fn state(&self) -> State {
        self.machine.state()
    }

    /// Whether the kernel owes an answer that an end waits for.
    pub fn is_waiting(&self) -> bool {
        matches!(self.kernel, Kernel::Asked | Kernel::Withdraws)
    }

    /// Whether a packet is for the router of this number, link and family.
    pub fn is_addressed(&self, port: PortId, packet: &Packet<'_>) -> bool {
        let settings = &self.placed.settings;
        port == self.placed.port
            && packet.source.is_ipv6() == settings.primary.is_ipv6()
            && packet.message.get(1) == Some(&settings.virtual_id)
    }

    /// When [`Self::deadline_reached`] is next due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let burst = self.announcing.and_then(|(began, next)| {
            let wait = BURSTS.get(next)?;
            Some(began.after(*wait))
        });
        let own = [
            self.machine.next_deadline(),
            burst,
            self.resume_at,
            self.withdraw_at,
        ];
        own.into_iter().flatten().min()
    }

    /// Time has come for what is due; [`Self::announcements`] is asked beside it.
    pub fn deadline_reached(&mut self, now: Instant) {
        if self.withdraw_at.is_some_and(|at| at <= now) {
            self.wish(Wish::Withdraw, Kernel::Withdraws);
        }
        if self.resume_at.is_some_and(|at| at <= now) {
            self.resume_at = None;
            if self.link_up {
                self.give_for(now, Input::Started, "tried again");
            }
        }
        self.give(now, Input::DeadlineReached);
    }

    /// A link came or went. Whether that is any of its business.
    pub fn link_changed(&mut self, now: Instant, port: PortId, up: bool) -> bool {
        let tracked = self.placed.tracked.iter().any(|(it, _)| *it == port);
        if port != self.placed.port && !tracked {
            return false;
        }
        if up {
            self.up.insert(port);
        } else {
            self.up.remove(&port);
        }
        let lost = self.lost_link();
        if self.link_up != lost.is_none() {
            self.link_up = lost.is_none();
            self.resume_at = None;
            match lost {
                None => self.give_for(now, Input::Started, "its link is up"),
                // What it can still say it says: others need not wait for its silence.
                Some(why) if self.up.contains(&self.placed.port) => {
                    self.give_for(now, Input::Stopped, &why);
                }
                Some(why) => self.give_for(now, Input::LinkLost, &why),
            }
        }
        self.weaken(now);
        true
    }

    /// Why it may not run, if so.
    fn lost_link(&self) -> Option<String> {
        if !self.up.contains(&self.placed.port) {
            return Some("its link is down".to_owned());
        }
        let mut down = self.down();
        let (_, name) = down.next().filter(|_| self.placed.weight.is_none())?;
        Some(format!("{name}, which it tracks, is down"))
    }

    /// The tracked links that are down.
    fn down(&self) -> impl Iterator<Item = &(PortId, String)> {
        self.placed
            .tracked
            .iter()
            .filter(|(port, _)| !self.up.contains(port))
    }

    /// Lowers its priority by what the links that are down weigh.
    fn weaken(&mut self, now: Instant) {
        let Some(weight) = self.placed.weight else {
            return;
        };
        let down = u8::try_from(self.down().count()).unwrap_or(u8::MAX);
        let own = self.placed.settings.priority;
        let most = (down > 0).then(|| own.saturating_sub(weight.saturating_mul(down)).max(1));
        if most != self.weakened {
            self.weakened = most;
            self.news = true;
            self.give_for(now, Input::Weakened(most), "a link that it tracks changed");
        }
    }

    /// Gives the machine what happened, and takes what it wants.
    pub fn give(&mut self, now: Instant, input: Input<'_>) {
        let why = match &input {
            Input::PacketReceived(packet) => format!("{} speaks", packet.source),
            Input::DeadlineReached => "nobody better was heard in time".to_owned(),
            _ => "its settings are so".to_owned(),
        };
        self.give_for(now, input, &why);
    }

    /// The same, and a change of state is for this reason.
    pub fn give_for(&mut self, now: Instant, input: Input<'_>, why: &str) {
        self.machine.handle(now, input);
        while let Some(action) = self.machine.poll_action() {
            self.act(action);
        }
        let state = self.machine.state();
        if state != self.stood {
            (self.stood, self.since, self.news) = (state, now, true);
            why.clone_into(&mut self.why);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Advertise(said) if said.priority == RESIGNS => self.say(&said),
            Action::Advertise(said) => match self.kernel {
                Kernel::Serves => self.say(&said),
                Kernel::Asked => self.advert = Some(said),
                Kernel::Idle | Kernel::Withdraws => {}
            },
            Action::Announce(addresses) => self.to_announce.extend(addresses),
            Action::Serve => self.wish(Wish::Serve, Kernel::Asked),
            Action::Withdraw => {
                self.advert = None;
                self.to_announce.clear();
                self.announcing = None;
                self.wish(Wish::Withdraw, Kernel::Withdraws);
            }
        }
    }

    fn wish(&mut self, wish: Wish, kernel: Kernel) {
        self.turn += 1;
        self.looking = false;
        self.withdraw_at = None;
        self.unsaid_since = None;
        self.kernel = kernel;
        self.acts.push_back(Act::Wish(self.turn, wish));
    }

    fn say(&mut self, said: &Advertisement) {
        let (settings, mac) = (&self.placed.settings, self.placed.mac);
        let frame = said.frame(mac, settings.primary, settings.sum);
        let lease = said.priority != RESIGNS;
        self.acts.push_back(Act::Say { frame, lease });
    }

    /// What is to be done next, in order.
    pub fn next_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// A frame left, or not.
    pub fn said(&mut self, now: Instant, sent: bool, lease: bool) {
        if sent {
            self.unsaid_since = None;
            return;
        }
        self.unsent = self.unsent.saturating_add(1);
        if lease && self.kernel == Kernel::Serves && self.link_up {
            self.unsaid_since.get_or_insert(now);
            if !core::mem::replace(&mut self.looking, true) {
                self.acts.push_back(Act::Wish(self.turn, Wish::Look));
            }
        }
    }

    /// The lease lives, and yet a word did not leave: each one refreshed it on its way to a queue
    /// that was full.
    fn congested(&mut self, now: Instant) {
        self.looking = false;
        let longest = self.placed.settings.interval.span() * INTERVALS_UNSAID;
        if self.unsaid_since.is_some_and(|at| now.since(at) >= longest) {
            self.begin_anew(now, "its words do not leave: the link is congested");
            self.resume_at = Some(now.after(RETRY));
        }
    }

    /// The kernel has done what was wished, or not. What was wished before counts no more.
    pub fn done(&mut self, now: Instant, done: &Done) {
        if done.turn != self.turn {
            return;
        }
        match (done.wish, done.outcome) {
            (Wish::Serve, Ok(())) => {
                (self.kernel, self.news) = (Kernel::Serves, true);
                if let Some(said) = self.advert.take() {
                    self.say(&said);
                }
                self.announcing = Some((now, 0));
            }
            (Wish::Serve, Err(_)) => {
                self.kernel_refused = self.kernel_refused.saturating_add(1);
                self.begin_anew(now, "the kernel refused the addresses");
                self.resume_at = Some(now.after(RETRY));
            }
            (Wish::Withdraw, Ok(())) => self.kernel = Kernel::Idle,
            (Wish::Withdraw, Err(_)) => {
                self.kernel_refused = self.kernel_refused.saturating_add(1);
                self.withdraw_at = Some(now.after(RETRY));
            }
            (Wish::Look, Err(Failure::LeaseLapsed)) => {
                self.lapsed = self.lapsed.saturating_add(1);
                self.begin_anew(now, "its lease had ended: it was late");
                if self.link_up {
                    self.give_for(now, Input::Started, "its lease had ended: it was late");
                }
            }
            // There is a lease, or nobody knows.
            (Wish::Look, _) => self.congested(now),
        }
    }

    /// As if the link had been lost: nothing is said, everything is given back.
    fn begin_anew(&mut self, now: Instant, why: &str) {
        self.give_for(now, Input::LinkLost, why);
    }

    /// The frames of the burst that is due.
    pub fn announcements(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let Some((began, next)) = self.announcing else {
            return Vec::new();
        };
        if BURSTS.get(next).is_none_or(|wait| now < began.after(*wait)) {
            return Vec::new();
        }
        self.announcing = (next + 1 < BURSTS.len()).then_some((began, next + 1));
        let mac = self.placed.mac;
        let mut frames = Vec::new();
        for address in &self.to_announce {
            match address {
                IpAddr::V4(address) => frames.extend(gratuitous_arp(mac, *address)),
                IpAddr::V6(address) => frames.push(unsolicited_na(mac, *address)),
            }
        }
        frames
    }

    /// Whether something is new since the last question.
    pub fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.news)
    }

    /// What is told of it.
    pub fn status(&self) -> RouterStatus {
        let (machine, settings) = (&self.machine, &self.placed.settings);
        let counted = [
            ("unsent", self.unsent),
            ("lease_lapsed", self.lapsed),
            ("kernel_refused", self.kernel_refused),
            ("other_addresses", machine.lists_differ()),
            ("other_interval", machine.intervals_differ()),
            ("other_owner", machine.other_owners()),
            ("own_words_heard", machine.reflected()),
            ("words_dropped", machine.unsaid()),
        ];
        let refused = REFUSED.map(|(name, why)| (name, machine.refused(why)));
        let counters = counted.into_iter().chain(refused);
        RouterStatus {
            interface: self.placed.interface.clone(),
            virtual_router: settings.virtual_id,
            family: if settings.primary.is_ipv6() { 6 } else { 4 },
            version: match settings.version {
                Version::V2 => 2,
                Version::V3 => 3,
            },
            state: machine.state().into(),
            since: self.since,
            why: self.why.clone(),
            priority: machine.priority(),
            serving: self.kernel == Kernel::Serves,
            addresses: settings.addresses.clone(),
            counters: counters
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
        }
    }
}
