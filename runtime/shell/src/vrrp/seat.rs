//! A virtual router at its place: the machine, what the kernel does for it, what it announces.
//!
//! What the machine wants to say while the kernel does not serve yet is kept, the newest of each
//! kind: a router that is active and silent for that moment says nothing untrue. A resignation
//! needs no lease and leaves at once.
//!
//! The hard case is a kernel that refuses: the router begins anew as a backup, though not at once,
//! or one that owns its addresses would try again and again without a pause.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use steadfast_core::effect::Failure;
use steadfast_core::vrrp::{Action, Input, Router, State};
use steadfast_core::wire::announce::{gratuitous_arp, unsolicited_na};
use steadfast_core::wire::vrrp::{Advertisement, Packet, RESIGNS, Version};
use steadfast_core::{Instant, PortId};

use super::{Done, Placed, REFUSED, RouterStatus, Wish};

/// Bursts of announcements, from when the kernel serves.
const BURSTS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(13),
    Duration::from_secs(1),
    Duration::from_secs(5),
];
/// After a refusal by the kernel, before the next try.
const RETRY: Duration = Duration::from_secs(1);

/// What the driver is to do.
pub(super) enum Act {
    /// Send a frame; one that needs the lease asks for it if it does not leave.
    Say { frame: Vec<u8>, lease: bool },
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

pub(super) struct Seat {
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
    link_up: bool,
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
    pub(super) fn new(placed: Placed, now: Instant) -> Self {
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

    pub(super) const fn port(&self) -> PortId {
        self.placed.port
    }

    pub(super) const fn state(&self) -> State {
        self.machine.state()
    }

    /// Whether the kernel owes an answer that an end waits for.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.kernel, Kernel::Asked | Kernel::Withdraws)
    }

    /// Whether a packet is for the router of this number, link and family.
    pub(super) fn is_addressed(&self, port: PortId, packet: &Packet<'_>) -> bool {
        let settings = &self.placed.settings;
        port == self.placed.port
            && packet.source.is_ipv6() == settings.primary.is_ipv6()
            && packet.message.get(1) == Some(&settings.virtual_id)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let burst = self.announcing.and_then(|(began, next)| {
            let wait = BURSTS.get(next)?;
            Some(began.after(*wait))
        });
        let own = [self.machine.next_deadline(), burst, self.resume_at];
        own.into_iter().flatten().min()
    }

    pub(super) fn deadline_reached(&mut self, now: Instant) {
        if self.resume_at.is_some_and(|at| at <= now) {
            self.resume_at = None;
            if self.link_up {
                self.give_for(now, Input::Started, "the kernel had refused; tried again");
            }
        }
        self.give(now, Input::DeadlineReached);
    }

    pub(super) fn link_changed(&mut self, now: Instant, up: bool) {
        if self.link_up == up {
            return;
        }
        self.link_up = up;
        self.resume_at = None;
        if up {
            self.give_for(now, Input::Started, "its link is up");
        } else {
            self.give_for(now, Input::LinkLost, "its link is down");
        }
    }

    /// Gives the machine what happened, and takes what it wants.
    pub(super) fn give(&mut self, now: Instant, input: Input<'_>) {
        let why = match &input {
            Input::PacketReceived(packet) => format!("{} speaks", packet.source),
            Input::DeadlineReached => "nobody better was heard in time".to_owned(),
            _ => "its settings are so".to_owned(),
        };
        self.give_for(now, input, &why);
    }

    /// The same, and a change of state is for this reason.
    pub(super) fn give_for(&mut self, now: Instant, input: Input<'_>, why: &str) {
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
        self.kernel = kernel;
        self.acts.push_back(Act::Wish(self.turn, wish));
    }

    fn say(&mut self, said: &Advertisement) {
        let (settings, mac) = (&self.placed.settings, self.placed.mac);
        let frame = said.frame(mac, settings.primary, settings.sum);
        let lease = said.priority != RESIGNS;
        self.acts.push_back(Act::Say { frame, lease });
    }

    pub(super) fn next_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// A frame left, or not.
    pub(super) fn said(&mut self, _now: Instant, sent: bool, lease: bool) {
        if sent {
            return;
        }
        self.unsent = self.unsent.saturating_add(1);
        if lease && self.kernel == Kernel::Serves && !self.looking && self.link_up {
            self.looking = true;
            self.acts.push_back(Act::Wish(self.turn, Wish::Look));
        }
    }

    /// The kernel has done what was wished, or not. What was wished before counts no more.
    pub(super) fn done(&mut self, now: Instant, done: &Done) {
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
            (Wish::Withdraw, _) => self.kernel = Kernel::Idle,
            (Wish::Look, Err(Failure::LeaseLapsed)) => {
                self.lapsed = self.lapsed.saturating_add(1);
                self.begin_anew(now, "its lease had ended: it was late");
                if self.link_up {
                    self.give_for(now, Input::Started, "its lease had ended: it was late");
                }
            }
            // There is a lease, or nobody knows: the next word tells.
            (Wish::Look, _) => self.looking = false,
        }
    }

    /// As if the link had been lost: nothing is said, everything is given back.
    fn begin_anew(&mut self, now: Instant, why: &str) {
        self.give_for(now, Input::LinkLost, why);
    }

    /// The frames of the burst that is due.
    pub(super) fn announcements(&mut self, now: Instant) -> Vec<Vec<u8>> {
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
    pub(super) fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.news)
    }

    pub(super) fn status(&self) -> RouterStatus {
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
