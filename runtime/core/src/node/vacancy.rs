//! Who takes a role that nobody holds: at a cold start, after a release, after one's own pause.
//!
//! A node claims a vacant role when it ranks first among the nodes present and every other node
//! has said that it does not hold it; otherwise it waits: for the initial wait after boot and
//! link-up if some node was not heard (R12.2), and always for a first proof that it can receive
//! (R3.6, F13). The limit: two halves of a cluster that hear nothing of each other both find the
//! role vacant; what then happens is policy (D14).

use core::cmp::Ordering;

use super::Node;
use super::project::{View, behind};
use crate::Instant;
use crate::config::{Isolation, PortConfig};
use crate::peer::Peer;
use crate::rank::{Candidate, order};
use crate::role::{EffectiveRole, RoleEvent};
use crate::rules::Rule;
use crate::status::Cause;
use crate::timer::Timer;
use crate::wire::advert::{Flags, Kind};

/// How often a node that listens begins anew because it stood still (D6).
pub(super) const RESTARTS_MAX: u8 = 8;

/// A pause is over, the lease is lost, and this node listens (D15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Relisten {
    since: Instant,
    /// A peer that has heard this counter has spoken since.
    counter: u64,
    /// When it last asked.
    asked_at: Instant,
    /// How often it began anew because it had stood still.
    restarts: u8,
}

impl Relisten {
    /// For comparing states: how old the question is.
    pub(super) fn project(self, view: View, counter: u64) -> (u16, u64, u16, u8) {
        let (since, asked) = (view.ago(self.since), view.ago(self.asked_at));
        (since, behind(counter, self.counter), asked, self.restarts)
    }
}

impl Node {
    /// Whether this node may serve.
    pub(super) fn eligible(&self) -> bool {
        let role = matches!(
            self.role,
            EffectiveRole::Active
                | EffectiveRole::Promoting
                | EffectiveRole::Standby
                | EffectiveRole::Starting
        );
        role && self.relisten.is_none() && !self.stopping && self.some_served_port_up()
    }

    /// Nobody holds the role: is it for this node to take it?
    pub(super) fn consider_vacancy(&mut self) {
        let waiting = matches!(
            self.role,
            EffectiveRole::Standby | EffectiveRole::Starting | EffectiveRole::Pacified
        );
        if !waiting || self.suspicion.is_some() || self.taking.is_some() || self.relisten.is_some()
        {
            return;
        }
        if self.role_is_held() {
            self.vacant_since = None;
            return;
        }
        if self.role == EffectiveRole::Pacified {
            self.consider_serving_pacified();
            return;
        }
        let all_heard = self.gateways().all(|peer| self.present(peer));
        if !self.eligible() || !self.waited(all_heard) || !self.reception_allows(all_heard) {
            self.vacant_since = None;
            return;
        }
        // Slots are counted from when this node might claim: what lets it, lets others too.
        let since = *self.vacant_since.get_or_insert(self.now);
        // Whose receiver is dead never hears of facts, nor claims: another would have by then.
        let long = self.config.timing.dead_interval + self.config.timing.lease;
        if !self.facts_are_known() && self.now < since.after(long)
            || self.hears_of_then()
            || self.leaves_to_resume()
            || !self.witness_lets_vacancy(all_heard)
        {
            return;
        }
        let (ahead, since) = self.ahead_of_me(since);
        let ahead = ahead + usize::from(self.twin_ahead());
        let slot = self.config.timing.dead_interval * u32::try_from(ahead).unwrap_or(u32::MAX);
        // Where one way is always slower than the way round, somebody else always heard more.
        let misses = self.misses_a_word() && self.now < since.after(long);
        if ahead > 0 && self.now < since.after(slot) || misses {
            return;
        }
        let why = self.vacancy_cause(all_heard);
        self.turn(RoleEvent::Listened, why);
        self.claim_role(why, all_heard, all_heard);
    }

    /// This node stood still a moment ago: what it hears of a vacancy is of then (D6).
    pub(super) fn is_dazed(&self) -> bool {
        let while_others_listen = self.config.timing.w_silence * 2;
        let lately = |at: Instant| self.now.since(at) < while_others_listen;
        self.woke_at.is_some_and(lately)
    }

    /// Some peer is active, is becoming so, or may be (an unproven frame says so; D3).
    fn role_is_held(&mut self) -> bool {
        if let Some(place) = self.active_peer() {
            let peer = self.peers[place].node;
            self.turn(RoleEvent::Listened, Cause::PeerActive { peer });
            return true;
        }
        let timing = self.config.timing;
        let claims_unproven = |peer: &Peer| {
            let recent = |at: Instant| self.now.since(at) < timing.dead_interval;
            peer.unproven_active_at.is_some_and(recent)
                && self.now < self.started.after(timing.initial_wait)
        };
        self.peers
            .iter()
            .any(|peer| self.promotes(peer) || claims_unproven(peer))
            || self.unread_may_hold()
            || self.heard_by_others(None)
            || self.twin_holds()
    }

    /// A peer that is present has the role or is taking it.
    pub(super) fn promotes(&self, peer: &Peer) -> bool {
        let latest = peer.latest.as_ref();
        let holds = |role| matches!(role, EffectiveRole::Promoting | EffectiveRole::Active);
        latest.is_some_and(|latest| holds(latest.effective)) && self.present(peer)
    }

    /// Whoever lost its lease listens for `W_silence`, then serves on (D15). A peer claims in the
    /// first half of that time or leaves the role to it: one that slept and wakes just then would
    /// else claim in the same moment. One that stood still itself knows of no halves: it leaves it.
    fn leaves_to_resume(&self) -> bool {
        let timing = &self.config.timing;
        let listens = |peer: &Peer| {
            self.present(peer)
                && !peer.says(Flags::ELIGIBLE)
                && peer.effective(EffectiveRole::Standby)
        };
        let its_turn = |at: Instant| {
            let gone = self.now.since(at);
            let halves = gone >= timing.w_silence / 2;
            self.is_dazed() || halves && gone < timing.w_silence + timing.dead_interval
        };
        let mut peers = self.peers.iter().filter(|peer| listens(peer));
        peers.any(|peer| peer.let_go_at.is_some_and(its_turn))
    }

    /// This node has just woken, and somebody whom it counts as present has not spoken since: what
    /// it knows of a vacancy is of then, and more may wait in its sockets (D6). It asks, and does
    /// not judge before each of them has answered, or not within `W_silence`. A machine that is
    /// late again and again must serve at last: after a dead interval lateness is how it is.
    fn hears_of_then(&mut self) -> bool {
        let Some(woke) = self.woke_at.filter(|_| self.rules.keep(Rule::D6)) else {
            return false;
        };
        let enough = woke.after(self.config.timing.w_silence);
        let is_of_then = |peer: &Peer| self.present(peer) && peer.heard_at < Some(woke);
        if self.now >= enough || !self.gateways().any(is_of_then) {
            self.asked_awake = None;
            return false;
        }
        // Input by input it wakes anew until its deadlines were looked at. What it asked longer ago
        // was about another vacancy.
        let bound = self.config.timing.dead_interval;
        let asked = self.asked_awake;
        let asked = asked.filter(|(_, last)| self.now.since(*last) < bound);
        let first = asked.map_or(self.now, |(first, _)| first);
        if self.now >= first.after(bound) {
            return false;
        }
        if asked.is_none_or(|(_, last)| self.now.since(last) >= self.config.timing.round) {
            self.asked_awake = Some((first, self.now));
            self.broadcast(Kind::Probe);
            // Nothing else may wake it then.
            self.timers.arm(Timer::Relisten, enough);
        }
        true
    }

    pub(super) fn present(&self, peer: &Peer) -> bool {
        peer.heard_within(self.now, self.config.timing.dead_interval)
    }

    /// The initial wait runs from boot and from link-up, and is void when every peer is heard, or
    /// was since: then nobody is left of whom this node could not know yet, unless it is itself
    /// that is cut off. Who is missing must have been so for a dead interval and a lease; who is
    /// there has said that it does not hold the role.
    fn waited(&self, all_heard: bool) -> bool {
        if all_heard {
            return true;
        }
        let timing = &self.config.timing;
        let served = self.config.ports.iter().zip(&self.ports);
        let links = served.filter(|(config, port)| config.served() && port.up);
        let from = links
            .map(|(_, port)| port.since)
            .max()
            .unwrap_or(self.started);
        let least = timing.dead_interval + timing.lease;
        let from = from.max(self.started);
        let met = self.peers.iter().all(|peer| peer.heard_at >= Some(from)) && self.hears_since();
        (met || self.now >= from.after(timing.initial_wait.max(least)))
            && self.peers.iter().all(|peer| {
                let gone = |at: Instant| self.now >= at.after(least);
                self.present(peer) || peer.heard_at.is_none_or(gone)
            })
    }

    /// A station was heard on a served port after each peer that is missing had been silent for a
    /// dead interval: it is they that are gone, and not this node.
    fn hears_since(&self) -> bool {
        let missing = self.peers.iter().filter(|peer| !self.present(peer));
        let last = missing.filter_map(|peer| peer.heard_at).max();
        let since = last.map(|at| at.after(self.config.timing.dead_interval));
        let served = self.config.ports.iter().zip(&self.ports);
        let hears = |(config, port): (&PortConfig, &super::Port)| {
            config.served() && port.up && port.other_at >= since
        };
        served.into_iter().any(hears)
    }

    /// No claim before this node has shown that it can receive (D12). Hearing every peer shows it.
    /// The first frame of a stranger only shows that peers can be heard from now on: whoever is
    /// there must have had its time to be heard (F13).
    fn reception_allows(&self, all_heard: bool) -> bool {
        if all_heard || !self.rules.keep(Rule::D12) {
            return true;
        }
        let timing = &self.config.timing;
        let least = timing.dead_interval + timing.lease;
        let listened = |port: &super::Port| {
            let long = |at: Instant| self.now >= at.after(least);
            port.hears_since.is_some_and(long)
        };
        let stale_is_enough = self.config.policy.isolation == Isolation::Serve;
        let served = self.config.ports.iter().zip(&self.ports);
        let enough = |(config, port): (&PortConfig, &super::Port)| {
            config.served() && listened(port) && (stale_is_enough || self.port_receives(port))
        };
        served.into_iter().any(enough)
    }

    /// Whether any served segment was heard since its carrier came.
    pub(super) fn has_received(&self) -> bool {
        let served = self.config.ports.iter().zip(&self.ports);
        let heard = |(config, port): (&PortConfig, &super::Port)| {
            config.served() && port.up && port.hears_since.is_some()
        };
        served.into_iter().any(heard) || !self.rules.keep(Rule::D12)
    }

    /// Every able peer that is present has heard what this node now is. Two nodes that decide on
    /// older facts of each other could both rank first.
    fn facts_are_known(&mut self) -> bool {
        if self.told.facts != (self.health(), self.eligible()) {
            self.broadcast(Kind::Advert);
        }
        let (own, boot, counter) = (self.config.node, self.boot, self.told.counter);
        let knows = |peer: &Peer| {
            !self.present(peer) || !peer.says(Flags::ELIGIBLE) || peer.has_heard(own, boot, counter)
        };
        self.told.facts == (self.health(), self.eligible())
            && (self.peers.iter().all(knows) || !self.rules.keep(Rule::D5))
    }

    /// How many nodes that are present should rather serve, and since when they can: the role has
    /// been vacant since `since`, but the newest of them must have had its time to claim.
    fn ahead_of_me(&self, since: Instant) -> (usize, Instant) {
        if !self.rules.keep(Rule::D5) {
            return (0, since);
        }
        let better = |peer: &&Peer| self.present(peer) && self.should_rather(peer);
        let ahead = || self.peers.iter().filter(better);
        let newest = ahead().filter_map(|peer| peer.alive_since).max();
        let unread = self.unread_ahead();
        let ahead = ahead().count() + unread;
        // Who cannot be read does not say that it still waits: its slot begins with its wait's end.
        let waits = self.unread_wait_ends().filter(|_| unread > 0);
        let newest = newest.max(waits);
        (ahead, newest.map_or(since, |at| at.max(since)))
    }

    /// This node in the order of D5.
    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            health: self.health(),
            incumbent: self.role == EffectiveRole::Active,
            preferred: self.config.policy.preferred,
            priority: self.config.policy.priority,
            node: self.config.node,
        }
    }

    fn vacancy_cause(&self, all_heard: bool) -> Cause {
        let let_go = |peer: &&Peer| {
            peer.latest
                .as_ref()
                .is_some_and(|latest| latest.kind == Kind::LetGo)
        };
        if let Some(peer) = self.peers.iter().find(let_go) {
            Cause::PeerLetGo { peer: peer.node }
        } else if all_heard {
            Cause::ColdStart
        } else {
            Cause::Alone
        }
    }

    /// The lease is lost: tell everyone, and ask who serves (D15).
    pub(super) fn listen_again(&mut self) {
        let before = self.relisten.map(|relisten| relisten.restarts);
        self.relisten = Some(Relisten {
            since: self.now,
            counter: self.counter + 1,
            asked_at: self.now,
            restarts: before.map_or(0, |restarts| restarts.saturating_add(1)),
        });
        self.broadcast(Kind::LetGo);
        self.relisten_due();
    }

    /// Asks the daemons, and the kernels of those that may have died or stand still in office.
    pub(super) fn relisten_due(&mut self) {
        let (now, round) = (self.now, self.config.timing.round);
        let Some(mut relisten) = self.relisten else {
            return;
        };
        if !self.kept_asking(relisten) {
            // It stood still again: the silence of that time was its own (D6), and the others
            // count its turn from here.
            self.listen_again();
            return;
        }
        relisten.asked_at = now;
        self.relisten = Some(relisten);
        self.broadcast(Kind::Probe);
        for place in 0..self.peers.len() {
            self.ask_everywhere(place);
        }
        let mut peers = self.peers.iter();
        if peers.any(|peer| peer.effective(EffectiveRole::Promoting)) {
            self.ask_for_others(relisten.since);
        }
        self.timers.arm(Timer::Relisten, now.after(round));
    }

    /// What was asked each round since then, before this node came to listen, counts.
    pub(super) fn has_listened_since(&mut self, asked: Option<(u64, Instant)>) {
        if let (Some(relisten), Some((counter, since))) = (&mut self.relisten, asked) {
            (relisten.counter, relisten.since) = (counter, since);
            self.consider_relisten();
        }
    }

    /// Who serves now? A peer that claims ends it. A kernel that answers for a virtual address
    /// serves, whatever became of its daemon: this node listens on. Else, when all have answered,
    /// or after `W_silence`, this node goes on; of several that listen the best ranked goes first.
    pub(super) fn consider_relisten(&mut self) {
        let Some(relisten) = self.relisten else {
            return;
        };
        let (own, boot) = (self.config.node, self.boot);
        let spoke = |peer: &&Peer| peer.has_heard(own, boot, relisten.counter);
        // What a peer said before this node last spoke as the active was settled then.
        let since = |peer: &Peer| peer.heard_at > Some(self.kernel.refreshed_at);
        let heard = |peer: &&Peer| {
            peer.heard_within(self.now, self.config.timing.dead_interval) && since(peer)
        };
        let mut lately = self.peers.iter().filter(heard);
        let served = lately.any(Peer::says_active) || self.twin_serves();
        if served || self.role != EffectiveRole::Standby {
            self.relisten = None;
            self.timers.disarm(Timer::Relisten);
            return;
        }
        let answered = self.gateways().filter(spoke).count();
        let all_answered = answered == self.gateways().count();
        let ahead = self.ahead_in_listening();
        let may_serve =
            |peer: &Peer| peer.says(Flags::ELIGIBLE) || peer.effective(EffectiveRole::Demoting);
        let all = all_answered && ahead == 0 && !self.peers.iter().any(may_serve);
        let fallen = |peer: &Peer| self.has_fallen(peer, relisten.since);
        let waited = (self.now >= self.listens_until(relisten, ahead)
            || self.gateways().all(fallen))
            && (!self.is_sick_in_the_dark() || self.listens_long());
        // Who is taking the role says so, or is silent for so long that its kernel alone counts.
        let mut lately = self.peers.iter().filter(heard);
        let taken = lately.any(|peer| peer.effective(EffectiveRole::Promoting) && !fallen(peer));
        // Where one way is always slower than the way round, somebody else always heard more.
        let missed = self.misses_a_word() && !self.listens_long();
        let free = self.kept_asking(relisten)
            && !taken
            && !missed
            && !self.heard_by_others(None)
            && self.twin_would_have_spoken(relisten.since)
            && self.witness_lets_vacancy(all_answered)
            && (all_answered || self.none_serves_on_proof(relisten.since));
        if free && (all || waited) && self.some_served_port_up() && !self.stopping {
            self.relisten = None;
            self.timers.disarm(Timer::Relisten);
            self.claim_role(Cause::Resumed, all_answered, false);
        }
    }

    /// It has listened for longer than any lease lasts that nobody refreshes.
    pub(super) fn listens_long(&self) -> bool {
        let bound = self.config.timing.dead_interval + self.config.timing.lease;
        let since = self.relisten.map(|relisten| relisten.since);
        since.is_some_and(|since| self.now.since(since) > bound)
    }

    /// Whether it has not stood still since it last asked. A machine that is late again and again
    /// must serve at last: after [`RESTARTS_MAX`] lateness is how it is.
    fn kept_asking(&self, relisten: Relisten) -> bool {
        let timing = &self.config.timing;
        let due = relisten.asked_at.after(timing.round);
        relisten.restarts >= RESTARTS_MAX || self.now <= due.after(timing.slack)
    }

    /// `W_silence` after the last answer for a virtual address, longer where answers take longer,
    /// and once more for each that goes first.
    fn listens_until(&self, relisten: Relisten, ahead: usize) -> Instant {
        let paths = self.peers.iter().flat_map(|peer| &peer.paths);
        let owned = paths.filter_map(|path| path.virtual_at).max();
        let since = owned.map_or(relisten.since, |at| at.max(relisten.since));
        let turns = u32::try_from(ahead + 1).unwrap_or(u32::MAX);
        let window = self.widened_for(self.config.timing.w_silence, |_| true);
        since.after(window.saturating_mul(turns))
    }

    /// How many that are present lost their lease too, listen as this node does, and rank above it.
    fn ahead_in_listening(&self) -> usize {
        let own = self.candidate();
        let preempt = self.config.policy.preempt;
        let first = |peer: &&Peer| {
            self.present(peer)
                && !peer.says(Flags::ELIGIBLE)
                && peer.effective(EffectiveRole::Standby)
                && peer_candidate(peer)
                    .is_some_and(|other| order(&other, &own, preempt) == Ordering::Less)
        };
        self.peers.iter().filter(first).count()
    }

    /// An isolated node under `isolation = yield` gives the role up (D14).
    pub(super) fn consider_isolation(&mut self) {
        if self.role == EffectiveRole::Active
            && self.config.policy.isolation == Isolation::Yield
            && self.giving.is_none()
            && self.isolated()
        {
            self.lose_role(Cause::Isolated);
            self.broadcast(Kind::LetGo);
        }
    }
}

/// A peer in the order of D5, as it last said.
pub(super) fn peer_candidate(peer: &Peer) -> Option<Candidate> {
    let latest = peer.latest.as_ref()?;
    Some(Candidate {
        health: latest.health,
        incumbent: peer.says_active(),
        preferred: latest.flags.has(Flags::PREFERRED),
        priority: latest.priority,
        node: peer.node,
    })
}
