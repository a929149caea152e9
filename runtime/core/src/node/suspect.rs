//! Finding out whether the active is dead: what starts a suspicion, what feeds it, what ends it.
//!
//! The counting is [`Suspicion`]'s; this room asks the questions and hands the answers over. A
//! verdict is reached only in [`Node::round_due`], that is, after every socket was drained (D6).

use core::time::Duration;

use super::Node;
use crate::config::{Detection, Isolation, PortConfig};
use crate::peer::Peer;
use crate::role::EffectiveRole;
use crate::rules::Rule;
use crate::status::Cause;
use crate::suspicion::{Doubt, OUTLIVED_ROUNDS, Suspicion, Tally, Terms, Verdict};
use crate::timer::Timer;
use crate::wire::advert::{Flags, Kind};
use crate::{Instant, NodeId};

/// How long before the peer was last heard an answer of its kernel still arms its segment (D8).
pub(super) const ARMED_WITHIN: Duration = Duration::from_millis(1_000);
/// Rounds at full pace of a verdict that waits for proof of reception; then each tenth.
const FAST_ROUNDS_MAX: u32 = 64;

impl Node {
    /// The peer that holds the role, as far as this node knows.
    pub(super) fn active_peer(&self) -> Option<usize> {
        let holds = |place: &usize| {
            let peer = &self.peers[*place];
            peer.says_active() && !peer.dead
        };
        let epoch = |place: &usize| {
            self.peers[*place]
                .latest
                .as_ref()
                .map(|latest| latest.epoch)
        };
        (0..self.peers.len()).filter(holds).max_by_key(epoch)
    }

    /// A peer was heard: its next advertisement is awaited, if it is the active.
    pub(super) fn watch(&mut self, place: usize, was_active: bool) {
        if self.active_peer() != Some(place) {
            if was_active && self.active_peer().is_none() {
                self.timers.disarm(Timer::Silence);
            }
            return;
        }
        let node = self.peers[place].node;
        if self
            .suspicion
            .as_ref()
            .is_some_and(|open| open.peer != node)
        {
            self.suspicion = None;
            self.timers.disarm(Timer::Round);
        }
        if !was_active {
            self.peers[place].forget_ownership();
            self.timers.arm(Timer::Ask, self.now);
        }
        self.await_word(place);
    }

    fn await_word(&mut self, place: usize) {
        let peer = &self.peers[place];
        let (Some(heard_at), Some(latest)) = (peer.heard_at, &peer.latest) else {
            return;
        };
        let timing = &self.config.timing;
        let wait = match self.config.policy.detection {
            Detection::Fast => latest.interval + peer.lateness(timing.slack),
            Detection::DeadInterval => timing.dead_interval,
        };
        self.timers.arm(Timer::Silence, heard_at.after(wait));
    }

    /// Whoever comes to stand by awaits the active's word, also if that fell due before: what a
    /// dead active said last must not hold the role for ever. A cable whose carrier that word did
    /// not outlive counts now: while this node did not stand by, nobody asked.
    pub(super) fn consider_silence(&mut self) {
        let Some(place) = self.active_peer() else {
            return;
        };
        if self.role != EffectiveRole::Standby || self.suspicion.is_some() {
            return;
        }
        if self.timers.at(Timer::Silence).is_none() {
            self.await_word(place);
        }
        let peer = &self.peers[place];
        let about = |word| self.cable_lost_about(peer, word);
        if peer.heard_at.is_some_and(about) {
            self.cable_lost();
        }
    }

    /// Whether a cable has lost its carrier, and a peer's word did not outlive it.
    pub(super) fn cable_lost_about(&self, peer: &Peer, word: Instant) -> bool {
        let mut ports = self.config.ports.iter().zip(&self.ports);
        ports.any(|(config, port)| {
            config.direct && !port.up && word < self.outlived_at(peer, port.since)
        })
    }

    /// From when on a peer's word shows that it outlived the loss of a carrier.
    fn outlived_at(&self, peer: &Peer, lost: Instant) -> Instant {
        let round = self.config.timing.round;
        // Where round trips are longer, what comes sooner was on its way before.
        lost.after(self.widened(peer, round).max(round * OUTLIVED_ROUNDS))
    }

    /// The active's advertisement is overdue.
    pub(super) fn silence_due(&mut self) {
        if let Some(place) = self.active_peer() {
            self.suspect(place, Doubt::Silence);
        }
    }

    /// A direct cable lost its carrier.
    pub(super) fn cable_lost(&mut self) {
        if self.config.policy.detection == Detection::DeadInterval {
            return;
        }
        if let Some(place) = self.active_peer() {
            self.suspect(place, Doubt::Carrier);
        }
    }

    fn suspect(&mut self, place: usize, doubt: Doubt) {
        let stands_by = matches!(self.role, EffectiveRole::Standby | EffectiveRole::Starting);
        if !stands_by {
            return;
        }
        let w_carrier = self.window(&self.peers[place], self.config.timing.w_carrier);
        if let Some(running) = self
            .suspicion
            .as_mut()
            .filter(|running| running.doubt != doubt)
        {
            running.terms.window = running.terms.window.min(w_carrier);
        }
        if self.suspicion.is_some() {
            return;
        }
        let terms = self.terms(place, doubt);
        self.peers[place].suspected += 1;
        let peer = self.peers[place].node;
        let segments = self.tallies(place);
        let outlived_at = self.outlived_at(&self.peers[place], self.now);
        let mut suspicion = Suspicion::new(self.now, peer, doubt, terms, segments);
        suspicion.outlived_at = outlived_at;
        self.suspicion = Some(suspicion);
        if self.rules.keep(Rule::D7) {
            self.send_round();
        } else {
            self.take_over(place, Verdict::Dead);
        }
    }

    fn terms(&self, place: usize, doubt: Doubt) -> Terms {
        let timing = &self.config.timing;
        let peer = &self.peers[place];
        let lease = peer
            .latest
            .as_ref()
            .map_or(timing.lease, |latest| latest.lease);
        let heard_at = peer.heard_at.unwrap_or(self.now);
        let mut overdue = timing.dead_interval + lease;
        if !self.rules.keep(Rule::D8) {
            overdue = timing.dead_interval;
        }
        Terms {
            window: match doubt {
                Doubt::Carrier => self.window(peer, timing.w_carrier),
                Doubt::Silence => self.window(peer, timing.w_silence),
            },
            round: timing.round,
            lapse_at: heard_at.after(lease),
            overdue_at: heard_at.after(overdue),
            lease,
            patience: overdue,
            pace: peer
                .latest
                .as_ref()
                .map_or(timing.interval, |latest| latest.interval),
            fence_whole: peer.says(Flags::FENCE_WHOLE),
            counted: self.rules.keep(Rule::D6),
            fast: self.rules.keep(Rule::D8),
        }
    }

    /// The segments on which the peer's kernel can be asked, armed if it answered within the second
    /// before the peer was last heard: a slow interval must not disarm what was armed at its death.
    fn tallies(&self, place: usize) -> Vec<Tally> {
        if !self.rules.keep(Rule::D8) {
            return Vec::new();
        }
        let heard_at = self.peers[place].heard_at.unwrap_or(self.now);
        let lately = |at: Option<Instant>| at.is_some_and(|at| at.after(ARMED_WITHIN) >= heard_at);
        let askable = |(index, port): (usize, &PortConfig)| {
            self.questions(place, index)?;
            let path = self.peers[place].paths.get(index)?;
            let (owned, own) = (lately(path.virtual_at), lately(path.unit_at));
            Some(Tally::new(port.id, owned, own))
        };
        self.config
            .ports
            .iter()
            .enumerate()
            .filter_map(askable)
            .collect()
    }

    /// One round: the daemon on every path, then the kernel on every served segment.
    fn send_round(&mut self) {
        let Some(suspicion) = &self.suspicion else {
            return;
        };
        let Some(place) = self
            .peers
            .iter()
            .position(|peer| peer.node == suspicion.peer)
        else {
            return;
        };
        let before = self.effects.len();
        self.broadcast(Kind::Probe);
        if self.rules.keep(Rule::D8) {
            self.ask_everywhere(place);
        }
        self.ask_for_reception();
        let asked = self.effects.len() > before;
        let now = self.now;
        if let Some(suspicion) = &mut self.suspicion {
            if asked {
                suspicion.sent(now);
            }
            let next = suspicion.next_round().max(now.after(suspicion.terms.round));
            self.timers.arm(Timer::Round, next);
        }
    }

    /// A round is due: judge what was answered, else ask again.
    pub(super) fn round_due(&mut self, due: Instant) {
        let late = self.now.since(due);
        let Some(suspicion) = &mut self.suspicion else {
            return;
        };
        if self.rules.keep(Rule::D6) {
            let timing = &self.config.timing;
            suspicion.woke(self.now, late, timing.slack, timing.dead_interval);
        }
        let peer = suspicion.peer;
        let verdict = suspicion.judge(self.now);
        let place = self
            .peers
            .iter()
            .position(|candidate| candidate.node == peer);
        let (Some(place), Some(found_at)) = (place, self.found_at(verdict)) else {
            self.send_round();
            return;
        };
        if self.another_serves(peer) {
            self.peers[place].dead = true;
            self.suspicion = None;
            self.timers.disarm(Timer::Round);
            self.timers.disarm(Timer::Silence);
            return;
        }
        let slot = self.suspicion.as_ref().map(|open| self.slot(open, verdict));
        let turn = found_at.after(slot.unwrap_or_default());
        // A kernel that never confirms must not keep the others waiting for ever.
        let bound = turn.after(self.config.timing.dead_interval);
        if self.now < turn || (self.now < bound && self.another_promotes(peer)) {
            self.send_round();
            let soon = self.now.after(self.config.timing.round);
            self.timers.arm(Timer::Round, turn.max(soon));
        } else if !self.take_over(place, verdict) {
            self.send_round();
            let soon = self
                .suspicion
                .as_ref()
                .is_some_and(|open| open.round < FAST_ROUNDS_MAX);
            let factor = if soon { 1 } else { 10 };
            let wait = self.config.timing.round * factor;
            self.timers.arm(Timer::Round, self.now.after(wait));
        }
    }

    /// A peer beside the suspect says that it serves: it took back what it had offered, or won.
    /// What was said before the suspicion is of then; what is offered may be gone with its giver.
    fn another_serves(&self, suspect: NodeId) -> bool {
        let since = self.suspicion.as_ref().map(|open| open.since);
        let fresh = |peer: &Peer| self.present(peer) && peer.heard_at > since;
        let serves = |peer: &Peer| peer.node != suspect && peer.serves() && fresh(peer);
        self.rules.keep(Rule::D13) && self.peers.iter().any(serves)
    }

    /// Since when the verdict has stood; none while it is open.
    fn found_at(&mut self, verdict: Verdict) -> Option<Instant> {
        let now = self.now;
        let suspicion = self.suspicion.as_mut()?;
        if verdict == Verdict::Open {
            suspicion.found_at = None;
            return None;
        }
        Some(*suspicion.found_at.get_or_insert(now))
    }

    /// The active is found dead: claim, if this node may.
    fn take_over(&mut self, place: usize, verdict: Verdict) -> bool {
        let peer = self.peers[place].node;
        let (why, witnessed) = match verdict {
            Verdict::Dead => (Cause::PeerDead { peer }, true),
            Verdict::Lapsed => (Cause::PeerLapsed { peer }, true),
            Verdict::Overdue => (Cause::PeerOverdue { peer }, false),
            Verdict::Open => return false,
        };
        let may = |suspicion: &Suspicion| self.may_take_over(suspicion, verdict);
        if !self.suspicion.as_ref().is_some_and(may) {
            return false;
        }
        self.peers[place].dead = true;
        self.suspicion = None;
        self.timers.disarm(Timer::Round);
        self.claim_role(why, witnessed, false);
        true
    }

    /// A served segment on which some other station was heard *since* the suspicion began (D12):
    /// a node that has just gone deaf would else find everybody dead. Without one, an isolated
    /// node serves only if its policy says so, and late: nobody hears it meanwhile.
    fn may_take_over(&self, suspicion: &Suspicion, verdict: Verdict) -> bool {
        if !self.eligible()
            || self.heard_by_others(Some(suspicion.peer))
            || !self.witness_lets(suspicion, verdict)
        {
            return false;
        }
        let late = verdict == Verdict::Overdue || self.now >= suspicion.terms.overdue_at;
        let serves_alone = self.config.policy.isolation == Isolation::Serve && late;
        let lapsed = verdict == Verdict::Lapsed;
        let connected = |index: usize| {
            self.config.ports[index].served() && (lapsed || self.hears_others(index, suspicion))
        };
        let proven = (0..self.ports.len()).any(|index| self.ports[index].up && connected(index));
        proven || !self.rules.keep(Rule::D12) || (serves_alone && self.has_received())
    }

    /// Whether this node could replace a suspect if it were let (D14).
    pub(super) fn could_replace(&self, suspicion: &Suspicion) -> bool {
        let hears = |(index, port): (usize, &super::Port)| {
            let served = self.config.ports[index].served();
            port.up && served && self.hears_others(index, suspicion)
        };
        let connected = self.ports.iter().enumerate().any(hears)
            || self.config.policy.isolation == Isolation::Serve
            || !self.rules.keep(Rule::D12);
        connected && self.eligible() && !self.heard_by_others(Some(suspicion.peer))
    }

    /// Whether a station other than the suspect was heard on a port since the suspicion began.
    pub(super) fn hears_others(&self, index: usize, suspicion: &Suspicion) -> bool {
        self.ports[index]
            .other_at
            .is_some_and(|at| at >= suspicion.since)
    }

    /// The peer's daemon spoke: it lives. After a cable lost its carrier it must have outlived that
    /// for three rounds (where round trips are longer, for two of them): until then it is asked.
    /// One that says that it is active no more is suspected of nothing.
    pub(super) fn end_suspicion(&mut self, place: usize, at: Instant) {
        let peer = &self.peers[place];
        let (node, active) = (peer.node, peer.says_active());
        let Some(suspicion) = self.suspicion.as_mut().filter(|it| it.peer == node) else {
            return;
        };
        let outlived = at >= suspicion.outlived_at;
        if suspicion.doubt == Doubt::Silence || outlived || !active {
            self.suspicion = None;
            self.timers.disarm(Timer::Round);
        } else {
            suspicion.spoke();
        }
    }
}
