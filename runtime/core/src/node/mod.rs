//! One node: everything it knows, and the one door in and out.
//!
//! [`Node::handle`] takes what happened, the effects come out of [`Node::poll_effect`] in order.
//! The rooms behind the door: `receive` reads frames, `send` builds them, `forms` finds out in
//! which form they pass, `ask` asks kernels and neighbours, `checks` hears of its own health,
//! `suspect` finds out whether the active is dead, `third` what others know of it, `turns` whose
//! turn it is to claim then, `claim` moves the role, `vacancy` decides who takes a role that nobody
//! has, `handover` moves it by consent, `dispute` ends two actives, `grants` asks the witness and
//! is it, `duty` does what is done without being asked, `episodes` raises alerts, `command` serves
//! operators, `reload` takes a new configuration, `report` tells, `project` serves those who
//! explore states.

mod ask;
mod bar;
mod beyond;
mod checks;
mod claim;
mod command;
mod dark;
mod dispute;
mod duty;
mod episodes;
mod fallen;
mod flaps;
pub(crate) mod forms;
mod grants;
mod handover;
pub(crate) mod project;
mod receive;
mod reload;
mod report;
mod send;
mod suspect;
mod third;
mod trips;
mod turns;
mod twin;
mod unread;
mod vacancy;

use core::net::IpAddr;
use std::collections::VecDeque;

use crate::announce::Announcer;
use crate::boot::{Boot, Record, enter};
use crate::config::Config;
use crate::effect::{Command, Effect, Forwarding, Input};
use crate::peer::{Peer, derive};
use crate::role::{EffectiveRole, RoleEvent};
use crate::rules::Rules;
use crate::status::{Cause, Drops, RecentAlert};
use crate::suspicion::Suspicion;
use crate::timer::{Timer, TimerTable};
use crate::wire::advert::{HealthClass, Kind};
use crate::wire::foreign::VirtualIds;
use crate::{BootId, CertificateMark, Epoch, Instant, OpId, RequestId};

use checks::Check;
use dispute::{Deafness, Dispute};
use episodes::Episode;
use flaps::Moves;
use grants::Grants;
use handover::{Giving, Recheck, Taking};
pub use reload::ConfigRefused;
use trips::Sent;
use twin::Twin;
use unread::Unread;
use vacancy::Relisten;

/// Effects waiting to be polled. Beyond this the oldest frame is dropped and counted; other
/// effects are never dropped, and there are only a handful of them per input.
pub const EFFECTS_MAX: usize = 4_096;

/// Alert episodes about strangers open at once. Beyond this no new one is opened: whoever floods a
/// segment with conflicts must not grow this node's memory. Episodes about the node and its peers
/// are few by nature and always open.
pub const RAISED_MAX: usize = 64;

/// The group every virtual router belongs to unless configured otherwise (D2).
pub const DEFAULT_GROUP: crate::GroupId = crate::GroupId(0);

/// The decisions of one gateway.
#[derive(Clone, Debug)]
pub struct Node {
    config: Config,
    rules: Rules,
    secret: [u8; 32],
    boot: BootId,
    now: Instant,
    started: Instant,
    uptime_at_start: core::time::Duration,
    role: EffectiveRole,
    since: Instant,
    why: Cause,
    claim: Claim,
    /// The newest claim heard of or made.
    known: Epoch,
    counter: u64,
    sent: Sent,
    ports: Vec<Port>,
    checks: Vec<Check>,
    peers: Vec<Peer>,
    timers: TimerTable,
    suspicion: Option<Suspicion>,
    giving: Option<Giving>,
    taking: Option<Taking>,
    recheck: Option<Recheck>,
    relisten: Option<Relisten>,
    grants: Grants,
    dispute: Option<Dispute>,
    /// Another node with this one's id (R1.3).
    twin: Option<Twin>,
    /// When another was last heard to serve beside this node, or came back from a silence. For
    /// others to act on, not for it.
    rival_at: Option<Instant>,
    /// At most one for each peer.
    deafness: Vec<Deafness>,
    unread: Unread,
    announcer: Announcer,
    kernel: Kernel,
    fence_whole: bool,
    certificate: Option<CertificateMark>,
    record: Record,
    vacant_since: Option<Instant>,
    /// When this node last noticed that it had stood still.
    woke_at: Option<Instant>,
    /// When, awake again, it first and last asked who is there before it took a vacant role.
    asked_awake: Option<(Instant, Instant)>,
    moved_at: Option<Instant>,
    moves: Moves,
    /// When this node's own health last became worse.
    worsened_at: Option<Instant>,
    /// A fault began that is not mended yet (R3.3).
    was_degraded: bool,
    /// And this node served when it began.
    failed_serving: bool,
    asked: Option<(RequestId, Command, Instant)>,
    claims_left: u32,
    told: Told,
    stopping: bool,
    /// The kernel does not hold yet what a new configuration says.
    reapply: bool,
    /// When kernels were asked in quiet times, while an answer is owed.
    asked_at: Option<Instant>,
    /// How often it asked as the active.
    asks: u16,
    raised: Vec<Episode>,
    alerts_told: VecDeque<RecentAlert>,
    /// Ids of virtual routers that were heard since the start, for who needs a free one.
    ids_heard: VirtualIds,
    effects: VecDeque<Effect>,
    /// The virtual addresses, in the order in which they are announced: many are sent in hundreds
    /// of chunks.
    virtuals: Vec<(usize, IpAddr)>,
    drops: Drops,
}

/// What this node holds, or last held (D11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Claim {
    epoch: Epoch,
    witnessed: bool,
    uninterrupted: bool,
}

/// What the peers were last told about this node's rank, and the first message that said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Told {
    facts: (HealthClass, bool),
    counter: u64,
    /// The first message that said "active" for the present claim.
    claim: u64,
    /// The first message after a pause that a peer may have noticed; 0 if there was none.
    resumed: u64,
}

/// A port's own facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Port {
    up: bool,
    since: Instant,
    /// When another station was last heard.
    foreign_at: Option<Instant>,
    /// When a station other than the suspected peer was last heard.
    other_at: Option<Instant>,
    /// When another station was first heard since the carrier came.
    first_heard: Option<Instant>,
    /// In which forms messages went out lately (D4).
    trials: forms::Trials,
    /// The way to peers on other segments (R2.5).
    router: beyond::Router,
    /// Since when other stations are heard, without a silence of a second between; nothing before
    /// the first since the carrier came (R3.6).
    hears_since: Option<Instant>,
}

impl Port {
    /// A port without carrier.
    fn new(now: Instant) -> Self {
        Self {
            up: false,
            since: now,
            foreign_at: None,
            other_at: None,
            first_heard: None,
            trials: forms::Trials::default(),
            router: beyond::Router::default(),
            hears_since: None,
        }
    }
}

/// What was asked of the kernel, and what is believed of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kernel {
    next_op: u64,
    pending: Option<(OpId, Forwarding)>,
    persisting: Option<OpId>,
    /// When the last frame left that refreshed the lease.
    refreshed_at: Instant,
    /// The fence was asked for and is not confirmed. Until it is, or until this instant, when a
    /// lease has ended by itself, the node says nothing: who owns nothing must be right (D9).
    fencing: Option<Instant>,
    /// What it says then.
    owed: Option<Kind>,
    /// Ports the newest guarded message was sent on, and those that refused it.
    sent_on: u32,
    refused_on: u32,
}

impl Kernel {
    /// A kernel of which nothing was asked yet.
    const fn new(now: Instant) -> Self {
        Self {
            next_op: 1,
            pending: None,
            persisting: None,
            refreshed_at: now,
            fencing: None,
            owed: None,
            sent_on: 0,
            refused_on: 0,
        }
    }
}

impl Node {
    /// A node that has just started.
    pub fn new(config: Config, boot: Boot) -> Self {
        Self::with_rules(config, boot, Rules::complete())
    }

    /// A node that keeps only some rules; for tests that show what a rule is for.
    pub fn with_rules(config: Config, boot: Boot, rules: Rules) -> Self {
        let ports = vec![Port::new(boot.now); config.ports.len()];
        let secret = boot.seed;
        let peers = config
            .peers
            .iter()
            .map(|peer| Peer::new(peer.node, peer.units.clone(), ports.len(), &secret))
            .collect();
        let mut record = boot.restored;
        enter(&mut record, boot.kernel_boot, boot.uptime);
        let mut node = Self {
            boot: BootId(derive(&secret, b"boot", 0)),
            rules,
            secret,
            now: boot.now,
            started: boot.now,
            uptime_at_start: boot.uptime,
            role: EffectiveRole::Starting,
            since: boot.now,
            why: Cause::Startup,
            claim: Claim::default(),
            known: record.epoch,
            counter: 0,
            sent: Sent::default(),
            checks: vec![Check::new(boot.now); config.checks.len()],
            ports,
            peers,
            timers: TimerTable::default(),
            suspicion: None,
            giving: None,
            taking: None,
            recheck: None,
            relisten: None,
            grants: Grants::new(),
            unread: Unread::default(),
            dispute: None,
            twin: None,
            rival_at: None,
            deafness: Vec::new(),
            announcer: Announcer::default(),
            kernel: Kernel::new(boot.now),
            fence_whole: true,
            certificate: None,
            record,
            vacant_since: None,
            woke_at: None,
            asked_awake: None,
            moved_at: None,
            moves: Moves::default(),
            worsened_at: None,
            was_degraded: false,
            failed_serving: false,
            asked: None,
            claims_left: 0,
            told: Told::default(),
            stopping: false,
            reapply: false,
            asked_at: None,
            asks: 0,
            raised: Vec::new(),
            alerts_told: VecDeque::new(),
            ids_heard: VirtualIds::default(),
            effects: VecDeque::new(),
            virtuals: send::in_turn(&config),
            drops: Drops::default(),
            config,
        };
        node.start();
        node
    }

    fn start(&mut self) {
        if !self.bar_at_start()
            && let Some(why) = self.out_of_service()
        {
            self.turn(RoleEvent::Retired, why);
        }
        self.fence(self.config.timing.lease);
        self.persist();
        self.timers.arm(Timer::Advertise, self.now);
        self.timers.arm(Timer::Ask, self.now);
        self.arm_uptime();
    }

    /// Takes one input. Infallible, and never panics on any bytes. A `now` before the last one is
    /// treated as the last one and counted.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "an input is handed over, once"
    )]
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.advance(now);
        self.notice_gap();
        // Before anything is said: a word that refreshes the lease must not outlast the grant.
        self.consider_grant();
        match input {
            Input::CertificateRead { certificate } => self.certificate = certificate,
            Input::Checked { check, passed } => self.checked(check, passed),
            Input::CommandReceived { request, command } => self.command(request, command),
            Input::Completed { op, outcome } => self.completed(op, outcome),
            Input::DeadlineReached => self.deadlines(),
            Input::FenceChecked { whole } => self.fence_checked(whole),
            Input::FrameReceived { port, frame, at } => self.frame_received(port, frame, at),
            Input::LinkChanged { port, up } => self.link_changed(port, up),
            Input::Shutdown => self.shutdown(),
            Input::TransmitRefused { port } => self.transmit_refused(port),
        }
        self.settle();
    }

    fn advance(&mut self, now: Instant) {
        if now < self.now {
            self.drops.backward_time += 1;
        }
        self.now = self.now.max(now);
        let late = |due: Instant| self.now.since(due) > self.config.timing.slack;
        if self.timers.next().is_some_and(late) {
            self.woke_at = Some(self.now);
        }
    }

    /// The next effect, in order.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When `DeadlineReached` is wanted, if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Bounded by the number of timers: each is taken once; what re-arms itself in the past waits
    /// for the next call.
    fn deadlines(&mut self) {
        for _ in 0..2 * crate::timer::COUNT {
            let Some((timer, due)) = self.timers.take_expired(self.now) else {
                return;
            };
            match timer {
                Timer::Advertise => self.advertise_due(due),
                Timer::Announce => self.announce_due(),
                Timer::Ask => self.ask_due(),
                Timer::ClaimRepeat => self.claim_repeat_due(),
                Timer::Give => self.give_due(),
                // Considered after every input.
                Timer::Grant => {}
                Timer::Relisten => self.relisten_due(),
                Timer::Round => self.round_due(due),
                Timer::Silence => self.silence_due(),
                Timer::TailEnd => self.tail_over(),
                Timer::Take => self.offer_overdue(),
                Timer::Uptime => self.uptime_due(),
            }
        }
    }

    /// After every input: what follows from what is now known.
    fn settle(&mut self) {
        self.consider_relisten();
        self.consider_bar();
        self.consider_silence();
        self.consider_vacancy();
        self.consider_giving();
        self.say_whether_faulty();
        self.say_whether_held();
        self.consider_ready();
        self.consider_isolation();
        self.consider_grant();
    }

    /// Moves the role, if `event` moves it. Whoever calls says why.
    fn turn(&mut self, event: RoleEvent, why: Cause) -> bool {
        let Some(role) = self.role.on(event) else {
            return false;
        };
        let serves = |role: EffectiveRole| role == EffectiveRole::Active;
        if serves(role) != serves(self.role) {
            self.moves.note(self.now);
        }
        self.role = role;
        self.since = self.now;
        self.why = why;
        true
    }

    fn emit(&mut self, effect: Effect) {
        if self.effects.len() >= EFFECTS_MAX {
            self.drops.effects += 1;
            let frame = |effect: &Effect| matches!(effect, Effect::Transmit { .. });
            if let Some(oldest) = self.effects.iter().position(frame) {
                self.effects.remove(oldest);
            }
        }
        self.effects.push_back(effect);
    }

    /// Asks the kernel for the fence, until it confirms; meanwhile, but for this long at most, the
    /// node is silent.
    fn fence(&mut self, silent: core::time::Duration) {
        if self.config.is_witness() {
            // It never owns anything, and its host's traffic is none of its business.
            self.stop_if_asked();
            return;
        }
        let until = self.now.after(silent);
        self.kernel.fencing = self.kernel.fencing.max(Some(until));
        self.apply(Forwarding::Standby);
    }

    fn apply(&mut self, desired: Forwarding) {
        let op = self.next_op();
        self.kernel.pending = Some((op, desired));
        self.emit(Effect::Apply {
            op,
            group: DEFAULT_GROUP,
            desired,
        });
    }

    fn persist(&mut self) {
        let op = self.next_op();
        self.record.epoch = self.known;
        self.kernel.persisting = Some(op);
        self.emit(Effect::Persist {
            op,
            record: self.record.clone(),
        });
    }

    fn next_op(&mut self) -> OpId {
        let op = OpId(self.kernel.next_op);
        self.kernel.next_op += 1;
        op
    }
}
