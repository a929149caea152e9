//! Asking kernels and neighbours: what arms a segment, proves reception, and how long answers take.
//!
//! In quiet times a standby asks the active's kernel for the virtual address and for its own; the
//! active asks the one that would take over for its own address alone. So whoever has to find out
//! whether the other box lives knows before that a living one would answer (D8), and how long an
//! answer takes ([`super::trips`]). The hard case is
//! loss: an open question is asked again soon, else the loss of two frames would cost a takeover
//! its evidence. The limit: a path that becomes slow within a second is judged by the configured
//! windows.

use core::net::IpAddr;
use core::time::Duration;

use super::Node;
use super::handover::Giving;
use crate::peer::Peer;
use crate::role::EffectiveRole;
use crate::rules::Rule;
use crate::timer::Timer;
use crate::wire::advert::Flags;
use crate::{Instant, MacAddr};

/// Between two asks in quiet times, if all was answered (D8).
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// An open question is asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// So many questions to a virtual MAC go unanswered before everybody is asked.
const ASKS_ALONE: u16 = 3;

impl Node {
    /// Whom to ask on a port, and for what: the virtual address first, then the peer's own. Any
    /// virtual address shows an owner, so it is the one that was last answered for; as long as none
    /// is, each in turn: two nodes' lists may differ for a while, and one that lacks this node's
    /// first address owns the others all the same (F25).
    pub(super) fn questions(&self, place: usize, index: usize) -> Option<[(MacAddr, IpAddr); 2]> {
        let port = &self.config.ports[index];
        if !port.served() || !self.ports[index].up {
            return None;
        }
        let peer = &self.peers[place];
        let near = !self.is_beyond(index, peer);
        let station = peer.mac(port.id).filter(|_| near)?;
        let path = peer.paths.get(index)?;
        let pair = |address: &IpAddr| {
            let unit = peer.unit(port.id, address.is_ipv6())?;
            let owners = port.virtual_mac.unwrap_or(station);
            Some([(owners, *address), (station, unit)])
        };
        let owned = path.owned.filter(|owned| port.virtuals.contains(owned));
        if let Some(known) = owned.as_ref().and_then(pair) {
            return Some(known);
        }
        let turn = usize::from(path.turn).checked_rem(port.virtuals.len())?;
        let in_turn = || port.virtuals.iter().cycle().skip(turn);
        in_turn().take(port.virtuals.len()).find_map(pair)
    }

    /// In doubt a second virtual address is asked for beside the usual one, another each round: a
    /// list that was changed a moment ago may lack the one that was answered for until then.
    fn another(&self, place: usize, index: usize, usual: IpAddr) -> Option<IpAddr> {
        let (port, peer) = (&self.config.ports[index], &self.peers[place]);
        let turn = usize::from(peer.paths.get(index)?.turn);
        let turn = turn.checked_rem(port.virtuals.len())?;
        let in_turn = port.virtuals.iter().cycle().skip(turn);
        let mut all = in_turn.take(port.virtuals.len());
        let other = all.find(|it| **it != usual && peer.unit(port.id, it.is_ipv6()).is_some());
        other.copied()
    }

    /// The virtual address of a port was asked for; without an answer the next one's turn comes.
    fn asked_for_owner(&mut self, place: usize, index: usize) {
        if let Some(path) = self.peers[place].paths.get_mut(index) {
            path.turn = path.turn.wrapping_add(1);
        }
    }

    pub(super) fn ask_everywhere(&mut self, place: usize) {
        for index in 0..self.ports.len() {
            if let Some([(owners, owned), (station, own)]) = self.questions(place, index) {
                if self.asks_everybody(place, index) {
                    self.ask(index, MacAddr::BROADCAST, owned);
                }
                self.ask(index, owners, owned);
                if let Some(other) = self.another(place, index, owned) {
                    self.ask(index, owners, other);
                }
                self.ask(index, station, own);
                self.asked_for_owner(place, index);
            }
        }
    }

    /// Whether a question for a virtual address goes to everybody, too. A switch may lead a virtual
    /// MAC elsewhere: back to the port of whoever used it last, which may be this node, or to that
    /// of an impostor. So silence there is not yet a lapse: as soon as it looks like one everybody
    /// is asked. Who asks in no suspicion asks every second time, and seldom once it listens for
    /// long.
    fn asks_everybody(&self, place: usize, index: usize) -> bool {
        let port = &self.config.ports[index];
        if port.virtual_mac.is_none() {
            return false;
        }
        if let Some(suspicion) = &self.suspicion {
            return suspicion.closes(port.id);
        }
        let every = if self.listens_long() { 32 } else { 2 };
        let turn = self.peers[place].paths.get(index).map(|path| path.turn);
        turn.is_some_and(|turn| turn % every == 0)
    }

    /// Asks the neighbours of every served segment on which nobody else was heard so far.
    pub(super) fn ask_for_reception(&mut self) {
        if let Some(suspicion) = &self.suspicion {
            self.ask_for_others(suspicion.since);
        }
    }

    /// Asks the neighbours of every served segment on which nobody else was heard since then.
    pub(super) fn ask_for_others(&mut self, since: Instant) {
        let silent = |index: &usize| {
            self.config.ports[*index].served()
                && self.ports[*index].up
                && self.ports[*index].other_at < Some(since)
        };
        let silent: Vec<usize> = (0..self.ports.len()).filter(silent).collect();
        for index in silent {
            self.ask_neighbours(index);
        }
    }

    /// A kernel answered a question of ours. Only the peer's own hardware address counts as the
    /// peer: an answer from any other is an address conflict, never life.
    pub(super) fn kernel_answered(
        &mut self,
        index: usize,
        (station, at): (MacAddr, Instant),
        address: IpAddr,
    ) {
        let port = &self.config.ports[index];
        let id = port.id;
        let is_virtual = port.virtuals.contains(&address);
        let now = self.now;
        let answered = self.answerer(index, station, is_virtual);
        let Some(peer) = answered.and_then(|place| self.peers.get_mut(place)) else {
            return;
        };
        let is_unit = peer.unit(id, address.is_ipv6()) == Some(address);
        let node = peer.node;
        if let Some(path) = peer.paths.get_mut(index) {
            if is_virtual {
                path.virtual_at = Some(now);
                path.owned = Some(address);
                path.unanswered = 0;
                path.virtual_asked_at = None;
            } else if is_unit {
                path.unit_at = Some(now);
                if let Some(trip) = path.unit_asked.answered(at) {
                    path.round_trip.note(trip, at);
                }
            }
        }
        let dark = self.is_in_the_dark();
        if let Some(suspicion) = self.suspicion.as_mut().filter(|open| open.peer == node) {
            if is_virtual {
                suspicion.virtual_answered(id);
                if dark {
                    suspicion.owns_unheard(now);
                }
            } else if is_unit {
                suspicion.unit_answered(id);
            }
        }
        self.all_answered();
    }

    /// Whose kernel answers from this station. A virtual MAC is the owner's, whoever that is: the
    /// answer counts for the peer that was asked, which at worst keeps this node from claiming.
    fn answerer(&self, index: usize, station: MacAddr, is_virtual: bool) -> Option<usize> {
        let port = &self.config.ports[index];
        if port.virtual_mac == Some(station) {
            let suspect = self.suspicion.as_ref().map(|open| open.peer);
            let asked = suspect.or_else(|| self.giving.as_ref().map(Giving::to));
            let asked = asked.and_then(|node| self.peers.iter().position(|it| it.node == node));
            let owner = asked.or_else(|| self.active_peer());
            let gateway = || {
                let witness = self.config.witness.map(|witness| witness.node);
                let serves = |peer: &Peer| Some(peer.node) != witness;
                self.peers.iter().position(serves)
            };
            return owner.or_else(gateway).filter(|_| is_virtual);
        }
        let from = |peer: &Peer| peer.mac(port.id) == Some(station);
        self.peers.iter().position(from)
    }

    /// Nothing is open any more: the next question is not urgent, unless somebody has answered once
    /// and it is not known yet whether that is how long its answers take. A standby waits for the
    /// active alone: another standby may be far away, or never answer, and is asked again in its
    /// turn.
    fn all_answered(&mut self) {
        let Some(asked_at) = self.asked_at else {
            return;
        };
        let active = self.active_peer();
        let counts = |place: usize| self.role == EffectiveRole::Active || Some(place) == active;
        let is_open =
            |path: &crate::peer::Path| path.unit_asked.is_open() || path.virtual_asked_at.is_some();
        let mut peers = self.peers.iter().enumerate();
        if peers.any(|(place, peer)| counts(place) && peer.paths.iter().any(is_open)) {
            return;
        }
        let learns = |path: &crate::peer::Path| {
            path.unit_at >= Some(asked_at) && path.round_trip.is_learnt_soon()
        };
        let learns = |peer: &Peer| peer.paths.iter().any(learns);
        let wait = if self.peers.iter().any(learns) {
            ASK_AGAIN
        } else {
            ASK_INTERVAL
        };
        self.timers
            .arm(Timer::Ask, self.now.max(asked_at.after(wait)));
    }

    /// Quiet times: ask the other's kernel, and a neighbour on every segment that is silent, so
    /// that reception stays proven (D8, D12).
    pub(super) fn ask_due(&mut self) {
        for path in self.peers.iter_mut().flat_map(|peer| &mut peer.paths) {
            path.unit_asked.close();
            path.virtual_asked_at = None;
            if self.suspicion.is_some() {
                path.unit_asked.forget();
            }
        }
        let asked = self.suspicion.is_none() && self.rules.keep(Rule::D8) && self.ask_quietly();
        self.asked_at = asked.then_some(self.now);
        let wait = if asked { ASK_AGAIN } else { ASK_INTERVAL };
        self.timers.arm(Timer::Ask, self.now.after(wait));
        for index in 0..self.ports.len() {
            let silent = self.ports[index].foreign_at;
            let silent = silent.is_none_or(|at| self.now.since(at) >= ASK_INTERVAL);
            if silent && self.ports[index].up && self.config.ports[index].served() {
                self.ask_neighbours(index);
            }
        }
    }

    /// Whom the active asks: who would take over from it, and each second time another in turn. How
    /// long their answers take is how long it waits before it takes one for deaf.
    fn asked_in_turn(&mut self) -> Option<usize> {
        self.asks = self.asks.wrapping_add(1);
        let turn = usize::from(self.asks / 2);
        let others: Vec<usize> = self.takers();
        let first = others.first().copied();
        let next = || others.get(1 + turn.checked_rem(others.len() - 1)?).copied();
        first.map(|first| match self.asks % 2 {
            0 => first,
            _ => next().unwrap_or(first),
        })
    }

    /// Whom a standby asks beside the active: one of those that would take over in its place, each
    /// in turn. How long their answers take is how long their claims are on the way (D13).
    fn rival_in_turn(&mut self, active: usize) -> Option<usize> {
        self.asks = self.asks.wrapping_add(1);
        let rival = |place: &usize| {
            let peer = &self.peers[*place];
            *place != active && self.present(peer) && peer.says(Flags::ELIGIBLE)
        };
        let rivals: Vec<usize> = (0..self.peers.len()).filter(rival).collect();
        let turn = usize::from(self.asks).checked_rem(rivals.len())?;
        rivals.get(turn).copied()
    }

    /// A standby asks the active for both addresses, the virtual one first; everybody asks another
    /// for its own. False if nobody could be asked.
    fn ask_quietly(&mut self) -> bool {
        if self.role == EffectiveRole::Active {
            let other = self.asked_in_turn();
            return other.is_some_and(|place| self.ask_quietly_of(place, false));
        }
        let Some(active) = self.active_peer() else {
            return false;
        };
        let asked = self.ask_quietly_of(active, true);
        if let Some(rival) = self.rival_in_turn(active) {
            self.ask_quietly_of(rival, false);
        }
        asked
    }

    /// Asks one peer on every segment for its own address, and for a virtual one before it where it
    /// is the owner.
    fn ask_quietly_of(&mut self, place: usize, owns: bool) -> bool {
        let mut asked = false;
        for index in 0..self.ports.len() {
            let Some([(owners, owned), (station, own)]) = self.questions(place, index) else {
                continue;
            };
            if owns {
                self.ask(index, owners, owned);
                let path = &self.peers[place].paths[index];
                if owners != station && path.unanswered >= ASKS_ALONE {
                    self.ask(index, MacAddr::BROADCAST, owned);
                }
                self.asked_for_owner(place, index);
            }
            self.ask(index, station, own);
            let path = &mut self.peers[place].paths[index];
            path.virtual_asked_at = owns.then_some(self.now);
            path.unanswered = if owns {
                path.unanswered.saturating_add(1)
            } else {
                0
            };
            if let Some(trip) = path.unit_asked.ask(self.now) {
                path.round_trip.note(trip, self.now);
            }
            asked = true;
        }
        asked
    }

    pub(super) fn ask_neighbours(&mut self, index: usize) {
        let id = self.config.ports[index].id;
        let near = self
            .peers
            .iter()
            .filter(|peer| !self.is_beyond(index, peer));
        let units = near.filter_map(|peer| peer.unit(id, false));
        let targets: Vec<IpAddr> = self.config.ports[index]
            .neighbour
            .into_iter()
            .chain(units)
            .collect();
        for target in targets {
            self.ask(index, MacAddr::BROADCAST, target);
        }
    }
}
