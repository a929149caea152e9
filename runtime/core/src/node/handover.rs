//! Moving the role by consent: make before break, and never two owners (D10).
//!
//! ```text
//!  giver (active)                         taker (standby)
//!   PREPARE, each ms  ───────────────►    can I serve, and no worse than you?
//!                     ◄───────────────    READY (good for V)          or DECLINE
//!   lease := V; OFFER, each ms ──────►    within V of READY: claim
//!                     ◄───────────────    CLAIM, each ms
//!   lease away, tail V; forward            announce
//!   withdraw; RELEASED ──────────────►    CLAIM ends
//! ```
//! The giver's lease ends V after the offer whatever else is lost; the taker claims only within V
//! of its own READY, which was sent before. So when V and a round trip have passed, and the taker
//! declined or has been silent since V/2, the giver may arm its lease again ([`over`]). If the
//! taker still answers, the giver waits for its word: that word says whether it claims.

mod number;
mod over;
mod taker;
mod taking;

use super::Node;
use super::duty::PORT_DOWN;
use crate::config::PortConfig;
use crate::effect::{Alert, Command, Forwarding, Rejection};
use crate::peer::Peer;
use crate::role::{EffectiveRole, RoleEvent};
use crate::status::Cause;
use crate::timer::Timer;
use crate::wire::advert::{Flags, HealthClass, Kind};
use crate::{Instant, NodeId};

pub(super) use number::begun;
use number::number;
use over::Over;
use taker::Chain;
pub(super) use taking::{Recheck, Taking};

/// Rounds of PREPARE before the giver stops trying.
const PREPARES_MAX: u32 = 20;
/// For so long one that refused the role, and is no healthier since, is not offered it again by one
/// that serves well.
const REFUSED_FOR: core::time::Duration = core::time::Duration::from_secs(10);

/// Why the role is given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Reason {
    /// An operator's command: away from here.
    Command,
    /// The taker is healthier.
    Health,
    /// The taker is preferred, and the policy lets it ask.
    Preference,
    /// An operator's command at the taker.
    Request,
    /// The daemon ends.
    Shutdown,
}

/// The giver's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Giving {
    /// Asked the taker; everything is kept.
    Preparing {
        /// Number of this hand-over.
        id: u64,
        /// To whom.
        to: NodeId,
        /// Why.
        reason: Reason,
        /// Rounds left.
        left: u32,
        /// The taker is ready and the lease is being shortened.
        ready: bool,
        /// Who was asked before.
        chain: Chain,
    },
    /// The lease ends within V.
    Offering {
        /// Number of this hand-over.
        id: u64,
        /// To whom.
        to: NodeId,
        /// Why.
        reason: Reason,
        /// When the lease was shortened.
        at: Instant,
        /// The taker said no.
        declined: bool,
        /// What was asked since the offer was over.
        over: Over,
    },
}

impl Giving {
    /// To whom.
    pub(super) const fn to(&self) -> NodeId {
        match self {
            Self::Preparing { to, .. } | Self::Offering { to, .. } => *to,
        }
    }
}

impl Node {
    /// Whether the giver has shortened its lease.
    pub(super) fn offering(&self) -> bool {
        matches!(self.giving, Some(Giving::Offering { .. }))
    }

    pub(super) fn handover_number(&self) -> u64 {
        match (&self.giving, &self.taking) {
            (Some(Giving::Preparing { id, .. } | Giving::Offering { id, .. }), _) => *id,
            (None, Some(taking)) => taking.id,
            (None, None) => 0,
        }
    }

    /// Starts to give the role to a peer. False if there is nobody able to take it.
    pub(super) fn give(&mut self, place: usize, reason: Reason) -> bool {
        if self.role != EffectiveRole::Active || self.giving.is_some() {
            return false;
        }
        self.ask_to_take(place, reason, Chain::begun(self.now));
        true
    }

    /// Asks one, of those that are asked in turn.
    fn ask_to_take(&mut self, place: usize, reason: Reason, chain: Chain) {
        let to = self.peers[place].node;
        let id = number(self.counter + 1, to);
        if reason == Reason::Health {
            self.moved_at = Some(self.now);
        }
        let left = self.prepares(place);
        self.giving = Some(Giving::Preparing {
            id,
            to,
            reason,
            left,
            ready: false,
            chain: chain.with(place),
        });
        self.broadcast(Kind::Prepare);
        // Should it go dark over this, its kernel will have answered a moment before.
        self.ask_everywhere(place);
        self.timers
            .arm(Timer::Give, self.now.after(self.config.timing.round));
    }

    /// So many rounds of PREPARE, and more where an answer takes its time.
    fn prepares(&self, place: usize) -> u32 {
        let timing = &self.config.timing;
        let trip = self.far_trip(&self.peers[place]);
        let rounds = trip.as_micros() / timing.round.as_micros().max(1);
        PREPARES_MAX.saturating_add(u32::try_from(rounds).unwrap_or(u32::MAX))
    }

    pub(super) fn give_due(&mut self) {
        let round = self.config.timing.round;
        match self.giving {
            Some(Giving::Preparing {
                id,
                to,
                reason,
                left,
                ready,
                chain,
            }) => {
                if left == 0 && !ready {
                    self.pass_on(self.why_unready(to, reason));
                    return;
                }
                let left = left.saturating_sub(1);
                self.giving = Some(Giving::Preparing {
                    id,
                    to,
                    reason,
                    left,
                    ready,
                    chain,
                });
                if !ready {
                    self.broadcast(Kind::Prepare);
                }
                self.timers.arm(Timer::Give, self.now.after(round));
            }
            Some(Giving::Offering { at, .. }) => {
                if self.now < at.after(self.config.timing.offer) {
                    self.broadcast(Kind::Offer);
                } else {
                    self.offer_over();
                }
                if self.offering() {
                    self.timers.arm(Timer::Give, self.now.after(round));
                }
            }
            None => {}
        }
    }

    fn end_giving(&mut self, why: Rejection) {
        self.note_unready();
        self.giving = None;
        self.timers.disarm(Timer::Give);
        if self.stopping || self.out_of_service().is_some() {
            self.leave_service();
        }
        self.refuse_command(why);
    }

    /// Whatever was offered is void.
    pub(super) fn give_up_offers(&mut self) {
        self.giving = None;
        self.timers.disarm(Timer::Give);
        self.refuse_command(Rejection::NotNow);
    }

    /// The taker can serve: shorten the lease, then offer.
    pub(super) fn ready_received(&mut self, place: usize) {
        let Some(Giving::Preparing {
            id,
            to,
            reason,
            left,
            ready: false,
            chain,
        }) = self.giving
        else {
            return;
        };
        let Some(latest) = &self.peers[place].latest else {
            return;
        };
        if latest.sender != to || latest.handover != id {
            return;
        }
        if reason == Reason::Health && latest.health >= self.health() {
            self.pass_on(Rejection::NoPeer);
            return;
        }
        if self.is_too_far(place, reason) {
            return;
        }
        self.giving = Some(Giving::Preparing {
            id,
            to,
            reason,
            left,
            ready: true,
            chain,
        });
        self.apply(Forwarding::Offering {
            remaining: self.config.timing.offer,
        });
    }

    /// The lease now ends within V.
    pub(super) fn offer_applied(&mut self) {
        let Some(Giving::Preparing {
            id,
            to,
            reason,
            ready: true,
            ..
        }) = self.giving
        else {
            return;
        };
        let at = self.now;
        self.forget_grant();
        self.giving = Some(Giving::Offering {
            id,
            to,
            reason,
            at,
            declined: false,
            over: Over::begun(self.known),
        });
        self.broadcast(Kind::Offer);
        self.timers
            .arm(Timer::Give, self.now.after(self.config.timing.round));
    }

    pub(super) fn decline_received(&mut self, place: usize) {
        let peer = self.peers[place].node;
        let said = self.peers[place].latest.as_ref();
        // Whoever takes part in none says so of whatever it was asked.
        let of = |id: u64| said.is_none_or(|latest| [0, id].contains(&latest.handover));
        match &mut self.giving {
            Some(Giving::Preparing { id, to, ready, .. }) if *to == peer && of(*id) => {
                if *ready {
                    // It was ready, and nothing was offered yet: the lease stays as it was.
                    let epoch = self.claim.epoch;
                    self.apply(Forwarding::Active { epoch });
                }
                self.pass_on(Rejection::NoPeer);
            }
            Some(Giving::Offering {
                id, to, declined, ..
            }) if *to == peer && of(*id) => *declined = true,
            Some(Giving::Preparing { .. } | Giving::Offering { .. }) | None => {}
        }
    }

    /// During an offer every word of the taker tells whether it claims (it is not active yet).
    pub(super) fn giver_meets_word(&mut self, place: usize) {
        let (peer, own, boot) = (&self.peers[place], self.config.node, self.boot);
        let Some(Giving::Offering {
            to, declined, over, ..
        }) = &mut self.giving
        else {
            return;
        };
        let Some(latest) = &peer.latest else {
            return;
        };
        let idle = latest.effective != EffectiveRole::Promoting && latest.handover == 0;
        let asked = over.question();
        let current = asked.is_some_and(|counter| peer.has_heard(own, boot, counter));
        if *to == peer.node && idle && current {
            *declined = true;
        }
    }

    /// The taker has claimed: lease away at once, forward for the tail, then withdraw.
    pub(super) fn yield_to(&mut self, place: usize) {
        let peer = self.peers[place].node;
        self.giving = None;
        self.timers.disarm(Timer::Give);
        self.announcer.stop();
        if self.turn(RoleEvent::Yielded, Cause::ClaimHeard { peer }) {
            self.lend_grant(peer);
            self.apply(Forwarding::Tail);
            self.timers
                .arm(Timer::TailEnd, self.now.after(self.config.timing.tail));
            self.command_fulfilled();
        }
    }

    pub(super) fn tail_over(&mut self) {
        if self.role == EffectiveRole::Demoting {
            self.fence(core::time::Duration::ZERO);
        }
    }

    /// A standby asks for the role: by an operator's command, or because policy prefers it.
    pub(super) fn request_received(&mut self, place: usize) {
        if self.role != EffectiveRole::Active || self.giving.is_some() {
            return;
        }
        let peer = &self.peers[place];
        let commanded = peer.says(Flags::COMMANDED);
        let Some(other) = super::vacancy::peer_candidate(peer) else {
            return;
        };
        let own = self.candidate();
        let better = crate::rank::order(&other, &own, self.config.policy.preempt).is_lt();
        let settled = self.now.since(self.since) >= self.config.timing.hold_down;
        let reason = if commanded {
            Reason::Request
        } else {
            Reason::Preference
        };
        let settled = settled && !self.holds_role();
        if other.health <= own.health && (commanded || (better && settled && !self.same_role(peer)))
        {
            self.give(place, reason);
        }
    }

    /// What a standby sends instead of an advertisement while it wants the role (R3.2).
    pub(super) fn wants_role(&self) -> bool {
        use crate::config::Preempt;
        let Some(place) = self.active_peer() else {
            return false;
        };
        if self.role != EffectiveRole::Standby || !self.eligible() || self.taking.is_some() {
            return false;
        }
        if matches!(self.asked, Some((_, Command::TakeOver, _))) {
            return true;
        }
        let timing = &self.config.timing;
        let peer = &self.peers[place];
        let waited = |at: Instant| self.now.since(at) >= timing.preempt_delay;
        let mut own = self.candidate();
        own.incumbent = false;
        let better = super::vacancy::peer_candidate(peer).is_some_and(|other| {
            crate::rank::order(&own, &other, self.config.policy.preempt).is_lt()
        });
        self.config.policy.preempt != Preempt::Never
            && better
            && !self.holds_role()
            && !self.same_role(peer)
            && self.receives()
            && waited(self.since)
            && self.ports_are_settled()
            && peer.alive_since.is_some_and(waited)
            && peer.has_heard(
                self.config.node,
                self.boot,
                self.counter.saturating_sub(2).max(1),
            )
    }

    /// Every served port that is up has been so for the preempt delay, and has passed frames for as
    /// long: a link that comes and goes moves nothing, nor does a switch that does not forward yet
    /// (F17). One on which nobody is ever heard has said so in its health by then.
    fn ports_are_settled(&self) -> bool {
        let delay = self.config.timing.preempt_delay;
        let waited = |at: Instant| self.now.since(at) >= delay;
        let settled = |(config, port): (&PortConfig, &super::Port)| {
            let passes = match port.first_heard {
                Some(at) => waited(at),
                None => self.silent(port) && waited(port.since),
            };
            !config.served() || !port.up || passes
        };
        self.config.ports.iter().zip(&self.ports).all(settled)
    }

    /// Gives the role to a healthier peer, at most once per dead interval (D10).
    pub(super) fn consider_giving(&mut self) {
        if self.role != EffectiveRole::Active || self.giving.is_some() {
            return;
        }
        let own = self.health();
        // With no more than weights against it this node can serve.
        let (held, timing) = (self.holds_role(), &self.config.timing);
        if own.0 == 0 || (own.0 < PORT_DOWN && held) {
            return;
        }
        let lately = |at: Instant| self.now.since(at) < timing.dead_interval;
        if self.moved_at.is_some_and(lately) {
            return;
        }
        let spares = self.serves_well();
        // A fault that both have makes no difference between them, and weights move nothing then.
        let faults = |class: HealthClass| class.0 / PORT_DOWN;
        let fewer = |peer: &Peer| {
            let latest = peer.latest.as_ref();
            latest.is_some_and(|it| faults(it.health) < faults(own))
        };
        let better = |place: &usize| {
            let peer = &self.peers[*place];
            self.is_healthier(*place, own)
                && !(spares && self.has_refused(peer))
                && (!held || fewer(peer))
        };
        let Some(place) = self.takers().into_iter().find(better) else {
            return;
        };
        let peer = &self.peers[place];
        // A segment that comes back is seen by one node before the other: what looks like a
        // healthier peer may only be the first to know.
        let settled = |at: Instant| {
            self.worsened_at >= Some(at) || self.now.since(at) >= timing.dead_interval
        };
        // The same when this node hears again after it was deaf: its own silent segments are proven
        // one by one. A lost port is a fact at once.
        let fact = fewer(peer)
            || peer
                .alive_since
                .is_some_and(|at| self.now.since(at) >= timing.dead_interval);
        if fact && peer.improved_at.is_none_or(settled) {
            self.give(place, Reason::Health);
        }
    }

    /// Nothing but weights is against this node: no port is lost, and no segment silent.
    fn serves_well(&self) -> bool {
        let mut ports = self.config.ports.iter().zip(&self.ports);
        let silent = ports.any(|(config, port)| config.served() && self.silent(port));
        self.health().0 < PORT_DOWN && !silent
    }

    /// It was offered the role lately, and said that it does not take it. Each such offer is a gap
    /// of some milliseconds, so one that serves well does not try it over and over.
    fn has_refused(&self, peer: &Peer) -> bool {
        let lately = |at: &Instant| self.now.since(*at) < REFUSED_FOR;
        let refused = peer.refused_at.filter(lately);
        refused.is_some_and(|at| peer.improved_at.is_none_or(|better| better < at))
    }

    /// An active with a fault serves on where no peer is healthier, and says so (F32, F33).
    pub(super) fn say_whether_faulty(&mut self) {
        let own = self.health();
        let better = |place: usize| self.is_healthier(place, own);
        let taken = || self.takers().into_iter().any(better);
        let serves = self.role == EffectiveRole::Active;
        if serves && own.0 >= PORT_DOWN && !taken() {
            self.raise(Alert::ServingFaulty);
        } else {
            self.clear(|alert| *alert == Alert::ServingFaulty);
        }
    }
}
