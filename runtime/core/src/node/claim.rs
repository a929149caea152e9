//! Taking the role and losing it: lease, addresses, announcement, in that order (D9, D20).
//!
//! A claim is `Promoting` until the kernel confirmed; only then does a frame say "active". The
//! hard case is the pause: a daemon that slept past its lease owns nothing, whatever it remembers,
//! so the first thing any input meets is [`Node::notice_gap`] (D15).

use super::{Claim, Node};
use crate::announce::refresh;
use crate::effect::{Alert, Failure, Forwarding};
use crate::peer::least_lateness;
use crate::role::{EffectiveRole, RoleEvent};
use crate::rules::Rule;
use crate::status::Cause;
use crate::timer::Timer;
use crate::wire::advert::Kind;
use crate::{Epoch, OpId, PortId};

/// Repetitions of a CLAIM, one a round, unless the old active confirms before (D10).
const CLAIMS_MAX: u32 = 30;

impl Node {
    /// Takes the role: asks the kernel for lease and addresses.
    pub(super) fn claim_role(&mut self, why: Cause, witnessed: bool, uninterrupted: bool) {
        if !self.turn(RoleEvent::Claimed, why) {
            return;
        }
        let epoch = Epoch(self.known.0.saturating_add(1));
        self.known = epoch;
        self.claim = Claim {
            epoch,
            witnessed,
            uninterrupted,
        };
        self.serve_on_proof(why);
        self.vacant_since = None;
        self.suspicion = None;
        self.relisten = None;
        self.timers.disarm(Timer::Round);
        self.timers.disarm(Timer::Relisten);
        self.timers.disarm(Timer::Silence);
        self.told.resumed = 0;
        // The intent first (D13): two nodes have nobody else to tell.
        if self.peers.len() > 1 {
            self.broadcast(Kind::Advert);
        }
        self.apply(Forwarding::Active { epoch });
        self.persist();
    }

    /// The kernel, or the store, has answered.
    pub(super) fn completed(&mut self, op: OpId, outcome: Result<(), Failure>) {
        if self.kernel.persisting == Some(op) {
            self.kernel.persisting = None;
            match outcome {
                Ok(()) => self.clear(|alert| *alert == Alert::StoreFailed),
                Err(_) => self.raise(Alert::StoreFailed),
            }
            return;
        }
        let Some((_, desired)) = self.kernel.pending.filter(|(pending, _)| *pending == op) else {
            return;
        };
        self.kernel.pending = None;
        match (desired, outcome) {
            (Forwarding::Active { .. }, Ok(())) => self.claim_applied(),
            (Forwarding::Offering { .. }, Ok(())) => self.offer_applied(),
            (Forwarding::Offering { .. }, Err(_)) => self.lose_lease(),
            (Forwarding::Standby, Ok(())) => self.withdrawn(),
            (Forwarding::Active { .. } | Forwarding::Standby, Err(why)) => self.apply_failed(why),
            (Forwarding::Tail, Ok(()) | Err(_)) => {}
        }
    }

    fn claim_applied(&mut self) {
        self.kernel.refreshed_at = self.now;
        self.kernel.fencing = None;
        self.kernel.owed = None;
        if self.role == EffectiveRole::Active {
            // An offer was taken back and the lease armed anew.
            self.broadcast(Kind::Advert);
            return;
        }
        let why = self.why;
        if !self.turn(RoleEvent::Applied, why) {
            return;
        }
        self.clear(|alert| *alert == Alert::ApplyFailed);
        self.taking = None;
        self.moved_at = Some(self.now);
        self.timers.disarm(Timer::Take);
        self.claims_left = CLAIMS_MAX;
        self.told.claim = self.counter + 1;
        self.broadcast(Kind::Claim);
        self.timers
            .arm(Timer::ClaimRepeat, self.now.after(self.config.timing.round));
        self.timers.arm(
            Timer::Advertise,
            self.now.after(self.config.timing.interval),
        );
        self.announcer.after_claim(self.now);
        self.arm_announcer();
        self.command_fulfilled();
    }

    pub(super) fn claim_repeat_due(&mut self) {
        self.claims_left = self.claims_left.saturating_sub(1);
        if self.role == EffectiveRole::Active && self.giving.is_none() && self.claims_left > 0 {
            self.broadcast(Kind::Claim);
            self.timers
                .arm(Timer::ClaimRepeat, self.now.after(self.config.timing.round));
        }
    }

    /// The kernel refused. If nobody knows what it holds this node is silent until it confirms the
    /// fence, which the next advertisement tick asks for (see `duty`). If it holds nothing, a giver
    /// is told so at once: it serves on, where it would else listen whether this node owns (D10).
    fn apply_failed(&mut self, why: Failure) {
        self.raise(Alert::ApplyFailed);
        if !self.turn(RoleEvent::ApplyFailed, Cause::ApplyFailed) {
            return;
        }
        let taking = self.taking.take();
        self.give_up_offers();
        self.announcer.stop();
        let kind = match why {
            Failure::Fenced if taking.is_some() => Kind::Decline,
            Failure::Fenced => Kind::LetGo,
            Failure::LeaseLapsed | Failure::Refused | Failure::Superseded => {
                self.kernel.fencing = Some(self.now.after(self.config.timing.lease));
                Kind::LetGo
            }
        };
        self.broadcast(kind);
    }

    /// The role is gone at once: the kernel is told to fence, and once it has, the peers are told.
    pub(super) fn lose_role(&mut self, why: Cause) {
        if !self.turn(RoleEvent::Lost, why) {
            return;
        }
        self.give_up_offers();
        self.announcer.stop();
        self.claim.uninterrupted = false;
        self.timers.disarm(Timer::TailEnd);
        self.fence(self.config.timing.lease);
    }

    /// The lease ended (D9, D15): says so, then listens before it serves again.
    pub(super) fn lose_lease(&mut self) {
        if self.role != EffectiveRole::Active {
            return;
        }
        let gap = self.now.since(self.kernel.refreshed_at);
        let gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
        if !self.rules.keep(Rule::D15) {
            let epoch = self.claim.epoch;
            self.giving = None;
            self.apply(Forwarding::Active { epoch });
            return;
        }
        self.lose_role(Cause::LeaseLost { gap_ms });
        self.forget_grant();
        self.listen_again();
    }

    /// First thing on every input: has this daemon slept past its lease (D15)?
    pub(super) fn notice_gap(&mut self) {
        let rules = self.rules;
        let gap = self.now.since(self.kernel.refreshed_at);
        self.notice_interruption(gap);
        if self.role == EffectiveRole::Active
            && gap >= self.config.timing.lease
            && !self.offering()
            && rules.keep(Rule::D9)
            && !matches!(self.kernel.pending, Some((_, Forwarding::Active { .. })))
        {
            self.lose_lease();
        }
    }

    /// A word came so late that a peer may have asked whether this box lives. Until the peers have
    /// heard a later one and stand by, this service counts as interrupted (D11): a rival that
    /// claims has proof that this box stood still.
    fn notice_interruption(&mut self, gap: core::time::Duration) {
        let timing = &self.config.timing;
        // No silence may have shown it dead sooner to one that heard the words before.
        let judged = least_lateness(timing.slack) + timing.w_silence;
        let overdue = timing.interval + timing.slack.min(judged);
        if self.role == EffectiveRole::Active && gap > overdue && !self.offering() {
            self.claim.uninterrupted = false;
            self.told.resumed = self.counter + 1;
        }
    }

    /// The lease guard dropped a frame that said "active". Refused on every port it was sent on,
    /// the lease is gone (D9).
    pub(super) fn transmit_refused(&mut self, port: PortId) {
        if self.config.port_index(port).is_none() {
            return;
        }
        self.drops.refused += 1;
        self.kernel.refused_on |= 1 << port.0;
        let all = self.kernel.refused_on & self.kernel.sent_on == self.kernel.sent_on;
        if !all || self.role != EffectiveRole::Active || self.kernel.pending.is_some() {
            return;
        }
        if !self.offering() {
            self.lose_lease();
        }
    }

    /// The kernel holds nothing any more.
    fn withdrawn(&mut self) {
        self.kernel.fencing = None;
        if let Some(kind) = self.kernel.owed.take() {
            self.broadcast(kind);
        }
        if self.role == EffectiveRole::Demoting {
            let why = self.why;
            self.turn(RoleEvent::Withdrawn, why);
            self.broadcast(Kind::Released);
            self.after_release();
        }
        if self.role == EffectiveRole::Failed && self.some_served_port_up() {
            self.turn(RoleEvent::Recovered, Cause::Applied);
        }
        self.stop_if_asked();
    }

    /// After a hand-over this node stands by, or leaves service, as the reason demands.
    fn after_release(&mut self) {
        if let Some(why) = self.out_of_service() {
            self.turn(RoleEvent::Retired, why);
        }
        for peer in &mut self.peers {
            peer.forget_ownership();
        }
        self.timers.arm(Timer::Ask, self.now);
        // It yielded to a kernel whose daemon was not heard, and which nobody may refresh: as long
        // as that answers it owns the role, and the silence of its daemon makes no vacancy.
        let ends = self.stopping || self.active_peer().is_some();
        if self.role == EffectiveRole::Standby && !ends {
            self.listen_again();
        }
    }

    pub(super) fn arm_announcer(&mut self) {
        match self.announcer.due() {
            Some(due) => self.timers.arm(Timer::Announce, due),
            None if self.role == EffectiveRole::Active => {
                let next = self.now.after(refresh(self.virtuals.len()));
                self.timers.arm(Timer::Announce, next);
            }
            None => self.timers.disarm(Timer::Announce),
        }
    }
}
