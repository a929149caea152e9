//! The taker's side of a hand-over: re-check, READY, claim within V.
//!
//! Whoever gives the role because a port of its own is lost may only be the first to know: a switch
//! that dies takes the carrier of both, one a few milliseconds after the other. So before READY the
//! taker asks its neighbours on the giver's lost ports and waits for a word. A segment whose
//! neighbours all keep silent counts as whole if it still has carrier after [`RECHECK_WITHIN`]. The
//! limit: a switch that dies and leaves the carrier on.

use core::time::Duration;

use super::number::{begun, names};
use crate::config::PortConfig;
use crate::node::Node;
use crate::node::project::{View, behind};
use crate::role::EffectiveRole;
use crate::rules::Rule;
use crate::status::Cause;
use crate::timer::Timer;
use crate::wire::advert::Kind;
use crate::{Instant, NodeId};

/// How long after the first PREPARE a neighbour's word is waited for: the longest period of
/// carrier polls (D18), and half of what the giver asks for.
const RECHECK_WITHIN: Duration = Duration::from_millis(10);

/// The taker's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::node) struct Taking {
    pub(in crate::node) id: u64,
    from: NodeId,
    ready_at: Instant,
}

impl Taking {
    /// For comparing states: how old the hand-over and the readiness are.
    pub(in crate::node) fn project(self, view: View, sent: &impl Fn(NodeId) -> u64) -> (u64, u16) {
        (
            behind(sent(self.from), begun(self.id)),
            view.ago(self.ready_at),
        )
    }
}

/// A READY that waits for a word on the giver's lost ports (D10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::node) struct Recheck {
    id: u64,
    since: Instant,
}

impl Recheck {
    /// For comparing states: how long it has waited.
    pub(in crate::node) fn project(self, view: View) -> u16 {
        view.ago(self.since)
    }
}

impl Node {
    /// The active asks whether this node can serve.
    pub(in crate::node) fn prepare_received(&mut self, place: usize) {
        let Some(latest) = &self.peers[place].latest else {
            return;
        };
        let (from, id, health) = (latest.sender, latest.handover, latest.health);
        let lost = latest.ports_down;
        if !names(id, self.config.node) {
            return;
        }
        let able = self.role == EffectiveRole::Standby
            && self.eligible()
            && self.health() <= health
            && !self.record.maintenance;
        if !able {
            self.broadcast(Kind::Decline);
            return;
        }
        if !self.rules.keep(Rule::D10) {
            self.claim_role(Cause::HandedOver { peer: from }, true, true);
            return;
        }
        if !self.rechecked(id, lost) {
            return;
        }
        let known = self
            .taking
            .filter(|taking| taking.id == id && taking.from == from);
        if known.is_none() {
            self.taking = Some(Taking {
                id,
                from,
                ready_at: self.now,
            });
            self.timers
                .arm(Timer::Take, self.now.after(self.config.timing.offer));
        }
        self.broadcast(Kind::Ready);
    }

    /// The role is offered: take it if this node's readiness is not older than V.
    pub(in crate::node) fn offer_received(&mut self, place: usize) {
        let Some(latest) = &self.peers[place].latest else {
            return;
        };
        let (from, id) = (latest.sender, latest.handover);
        let serves = matches!(self.role, EffectiveRole::Promoting | EffectiveRole::Active);
        if serves || !names(id, self.config.node) {
            return;
        }
        let fits = |taking: &Taking| taking.id == id && taking.from == from;
        let ready = self
            .taking
            .filter(fits)
            .filter(|taking| self.now.since(taking.ready_at) < self.config.timing.offer);
        if ready.is_some() && self.eligible() {
            self.timers.disarm(Timer::Take);
            self.claim_role(Cause::HandedOver { peer: from }, true, true);
        } else {
            self.taking = None;
            self.broadcast(Kind::Decline);
        }
    }

    /// READY, and no OFFER within V. A giver that died in between may have cut its lease: ask now.
    pub(in crate::node) fn offer_overdue(&mut self) {
        self.taking = None;
        self.silence_due();
    }

    /// Whether this node still has, where the giver has lost a port, what it believes it has.
    fn rechecked(&mut self, id: u64, lost: u32) -> bool {
        let now = self.now;
        let recheck = self
            .recheck
            .filter(|open| open.id == id)
            .unwrap_or(Recheck { id, since: now });
        self.recheck = Some(recheck);
        if now >= recheck.since.after(RECHECK_WITHIN) {
            return true;
        }
        let places = self.config.ports.iter().zip(&self.ports).enumerate();
        let unproven = |(config, port): (&PortConfig, &crate::node::Port)| {
            config.served()
                && port.up
                && lost & (1 << config.id.0) != 0
                && port.foreign_at < Some(recheck.since)
        };
        let open: Vec<usize> = places
            .filter(|(_, facts)| unproven(*facts))
            .map(|(index, _)| index)
            .collect();
        for index in &open {
            self.ask_neighbours(*index);
        }
        open.is_empty()
    }
}
