//! The taker's side of a hand-over: re-check, READY, claim within V.
//!
//! Whoever gives the role because a port of its own is lost may only be the first to know: a switch
//! that dies takes the carrier of both, one a few milliseconds after the other. So before READY the
//! taker asks its neighbours on the giver's lost ports and waits for a word. A segment whose
//! neighbours all keep silent counts as whole if it still has carrier after [`RECHECK_WITHIN`]. A
//! giver that loses another port meanwhile says so in its OFFER; then that one is asked about too,
//! and a taker that has lost it as well declines. The limit: a switch that dies and leaves the
//! carrier on.

use core::time::Duration;

use super::number::{begun, names};
use crate::config::PortConfig;
use crate::node::Node;
use crate::node::project::{View, behind};
use crate::role::EffectiveRole;
use crate::rules::Rule;
use crate::status::Cause;
use crate::timer::Timer;
use crate::wire::advert::{HealthClass, Kind};
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
    from: NodeId,
    /// The giver's lost ports, one bit each.
    lost: u32,
    /// Those of them that it lost after it had asked.
    grown: u32,
    since: Instant,
    /// READY was said.
    passed: bool,
}

impl Recheck {
    /// For comparing states: how long it has waited.
    pub(in crate::node) fn project(self, view: View) -> (u16, u32, u32, bool) {
        (view.ago(self.since), self.lost, self.grown, self.passed)
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
        if !self.able_to_take(health) {
            self.broadcast(Kind::Decline);
            return;
        }
        self.note_vouching(place);
        if !self.rules.keep(Rule::D10) {
            self.claim_role(Cause::HandedOver { peer: from }, true, true);
            return;
        }
        if self.rechecked(from, id, lost) {
            self.say_ready(from, id);
        }
    }

    /// No worse than the giver, and free.
    fn able_to_take(&self, health: HealthClass) -> bool {
        self.role == EffectiveRole::Standby
            && self.eligible()
            && self.health() <= health
            && !self.record.maintenance
    }

    fn say_ready(&mut self, from: NodeId, id: u64) {
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
        let (from, id, lost) = (latest.sender, latest.handover, latest.ports_down);
        // What this node has lost since it was ready counts as well.
        let no_worse = self.health() <= latest.health;
        let serves = matches!(self.role, EffectiveRole::Promoting | EffectiveRole::Active);
        if serves || !names(id, self.config.node) {
            return;
        }
        let fits = |taking: &Taking| taking.id == id && taking.from == from;
        let ready = self
            .taking
            .filter(fits)
            .filter(|taking| self.now.since(taking.ready_at) < self.config.timing.offer);
        if ready.is_some() && self.eligible() && no_worse {
            // If not, the OFFER comes again in a moment.
            let rechecked = self.rechecked(from, id, lost);
            if !self.lost_it_too() {
                if rechecked {
                    self.timers.disarm(Timer::Take);
                    self.claim_role(Cause::HandedOver { peer: from }, true, true);
                }
                return;
            }
        }
        self.taking = None;
        self.broadcast(Kind::Decline);
    }

    /// The giver has left the role before it offered it: nothing will be offered, and the role is
    /// as vacant as after any LET-GO.
    pub(in crate::node) fn consider_giver_gone(&mut self, place: usize) {
        let giver = &self.peers[place];
        let asked = self.taking.is_some_and(|taking| taking.from == giver.node);
        if asked && self.role == EffectiveRole::Standby && !giver.says_active() {
            self.taking = None;
            self.timers.disarm(Timer::Take);
        }
    }

    /// A port that the giver lost after it had asked is lost here as well: nothing is gained.
    fn lost_it_too(&self) -> bool {
        let grown = self.recheck.map_or(0, |recheck| recheck.grown);
        grown & self.ports_down() != 0
    }

    /// READY, and no OFFER within V. A giver that died in between may have cut its lease: ask now.
    pub(in crate::node) fn offer_overdue(&mut self) {
        self.taking = None;
        self.silence_due();
    }

    /// Whether this node still has, where the giver has lost a port, what it believes it has.
    fn rechecked(&mut self, from: NodeId, id: u64, lost: u32) -> bool {
        let now = self.now;
        let known = self.recheck.filter(|open| open.id == id);
        let mut recheck = known.unwrap_or(Recheck {
            id,
            from,
            lost,
            grown: 0,
            since: now,
            passed: false,
        });
        let more = lost & !recheck.lost;
        if more != 0 {
            recheck.lost |= more;
            recheck.grown |= more;
            recheck.since = now;
            recheck.passed = false;
        }
        let open = self.unproven(recheck);
        recheck.passed |= open.is_empty() || now >= recheck.since.after(RECHECK_WITHIN);
        self.recheck = Some(recheck);
        if !recheck.passed {
            for index in open {
                self.ask_neighbours(index);
            }
        }
        recheck.passed
    }

    /// The served ports, lost to the giver, on which nobody was heard since it asked.
    fn unproven(&self, recheck: Recheck) -> Vec<usize> {
        let unproven = |(config, port): (&PortConfig, &crate::node::Port)| {
            config.served()
                && port.up
                && recheck.lost & (1 << config.id.0) != 0
                && port.foreign_at < Some(recheck.since)
        };
        let places = self.config.ports.iter().zip(&self.ports).enumerate();
        let open = places.filter(|(_, facts)| unproven(*facts));
        open.map(|(index, _)| index).collect()
    }

    /// A neighbour has spoken where the giver lost a port: READY does not wait for the next
    /// PREPARE.
    pub(in crate::node) fn consider_ready(&mut self) {
        let Some(open) = self.recheck.filter(|open| !open.passed) else {
            return;
        };
        if self.now >= open.since.after(RECHECK_WITHIN * 2) {
            self.recheck = None;
            return;
        }
        let giver = self.peers.iter().find(|peer| peer.node == open.from);
        let asks = giver
            .and_then(|peer| peer.latest.as_ref())
            .filter(|latest| latest.handover == open.id)
            .is_some_and(|latest| self.able_to_take(latest.health));
        if asks && self.unproven(open).is_empty() {
            self.recheck = Some(Recheck {
                passed: true,
                ..open
            });
            self.say_ready(open.from, open.id);
        }
    }
}
