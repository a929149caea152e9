//! The end of an offer that nobody took, or seems not to have taken: may the giver serve on?
//!
//! The giver's lease ended with the offer. Each round it asks the taker's daemon, which says
//! whether it claims, and the taker's kernel, which cannot lie about it: a kernel that answers for
//! a virtual address has the lease, whatever became of the CLAIM and of the daemon that sent it
//! (D8). The lease is armed again when the taker declined or has been silent, through [`ROUNDS`]
//! rounds.
//!
//! The hard case is the giver that stood still meanwhile: what was said before proves nothing about
//! now, and what it did not hear it may not have asked. It begins to ask anew (D6), some times: a
//! machine that is always late must serve at last. A taker that is silent here may have been heard
//! to claim by a third party, which then knows a newer epoch (D13): the giver leaves the role.
//! The limit: where nothing of the taker reaches anybody whom the giver hears, silence is all.

use super::Giving;
use crate::effect::{Forwarding, Rejection};
use crate::node::Node;
use crate::node::project::{View, behind};
use crate::node::vacancy::RESTARTS_MAX;
use crate::role::EffectiveRole;
use crate::rules::Rule;
use crate::status::Cause;
use crate::wire::advert::Kind;
use crate::{Epoch, Instant, NodeId};

/// Rounds asked without an answer before the lease is armed again; with the usual times they fit
/// between V and the bound of a round trip.
const ROUNDS: u32 = 3;

/// What was asked since the offer was over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::node) struct Over {
    /// The newest epoch known when the offer began.
    known: Epoch,
    rounds: u32,
    asked_at: Option<Instant>,
    /// The first question since then, or since the giver last stood still: a word of the taker
    /// that knows it was said behind it. On slow wires answers lag behind the newest ones for ever.
    question: Option<(u64, Instant)>,
    /// How often it began anew because the giver had stood still.
    restarts: u8,
}

type Projected = (u32, Option<u16>, Option<u64>, u8);

impl Over {
    /// Of an offer that begins while this is the newest epoch known.
    pub(super) fn begun(known: Epoch) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// Somebody has claimed since the offer began, as the newest epoch known now shows.
    pub(in crate::node) fn is_claimed(self, known: Epoch) -> bool {
        known > self.known
    }

    /// The counter of a question that was asked when the offer was over.
    pub(super) fn question(self) -> Option<u64> {
        self.question.map(|(counter, _)| counter)
    }

    /// For comparing states.
    pub(in crate::node) fn project(self, view: View, counter: u64) -> Projected {
        let asked = self.asked_at.map(|at| view.ago(at));
        let question = self.question();
        let question = question.map(|at| behind(counter, at));
        (self.rounds.min(ROUNDS), asked, question, self.restarts)
    }
}

impl Node {
    /// The offer is over, and its round is due.
    pub(super) fn offer_over(&mut self) {
        let timing = self.config.timing;
        let now = self.now;
        let Some(Giving::Offering {
            to,
            at,
            declined,
            over,
            ..
        }) = &mut self.giving
        else {
            return;
        };
        let ended = at.after(timing.offer);
        let due = over.asked_at.unwrap_or(ended).after(timing.round);
        if now > due.after(timing.slack) && over.restarts < RESTARTS_MAX {
            over.rounds = 0;
            over.restarts += 1;
            over.question = None;
            *declined = false;
        }
        let (to, at, declined, asked) = (*to, *at, *declined, over.rounds);
        let asked_since = over.question;
        let claimed = over.is_claimed(self.known) && self.rules.keep(Rule::D13);
        over.rounds = over.rounds.saturating_add(1);
        over.asked_at = Some(now);
        let place = self.peers.iter().position(|peer| peer.node == to);
        if let Some(place) = place.filter(|place| self.owns_since(*place, at)) {
            self.yield_to(place);
            return;
        }
        let taker = place.and_then(|place| self.peers.get(place));
        let trip = taker.map_or(timing.rtt_bound, |it| self.widened(it, timing.rtt_bound));
        let bound = ended.after(trip);
        if asked >= ROUNDS && now >= bound && self.may_take_back(to, at, declined) {
            if !declined && claimed {
                self.end_giving(Rejection::TimedOut);
                self.lose_lease();
                self.has_listened_since(asked_since);
            } else {
                self.note_refusal(declined);
                self.take_back();
            }
            return;
        }
        self.broadcast(Kind::Probe);
        let question = (self.counter, now);
        let mut since = now;
        if let Some(Giving::Offering { over, .. }) = &mut self.giving {
            (_, since) = *over.question.get_or_insert(question);
        }
        if let Some(place) = place {
            self.ask_everywhere(place);
        }
        if claimed {
            self.ask_for_others(since);
        }
    }

    /// The peer's kernel has answered for a virtual address since then, so it has the lease.
    fn owns_since(&self, place: usize, at: Instant) -> bool {
        let mut paths = self.peers[place].paths.iter();
        paths.any(|path| path.virtual_at >= Some(at))
    }

    /// The taker declined, or has been silent since V/2, or is dead.
    fn may_take_back(&self, to: NodeId, at: Instant, declined: bool) -> bool {
        let timing = &self.config.timing;
        let Some(peer) = self.peers.iter().find(|peer| peer.node == to) else {
            return true;
        };
        let heard_at = peer.heard_at.unwrap_or(Instant::ORIGIN);
        let silent =
            heard_at < at.after(timing.offer / 2) || self.now.since(heard_at) >= timing.offer;
        declined || (silent && self.none_serves_on_proof(at))
    }

    /// The taker itself said that it does not take what it was offered: one that is not heard, or
    /// whose words are lost, says nothing of what it can.
    fn note_refusal(&mut self, declined: bool) {
        let to = self.giving.as_ref().map(Giving::to).filter(|_| declined);
        let now = self.now;
        if let Some(peer) = self.peers.iter_mut().find(|peer| Some(peer.node) == to) {
            peer.refused_at = Some(now);
        }
    }

    /// Arms the lease again: an explicit claim of the same epoch.
    fn take_back(&mut self) {
        let epoch = self.claim.epoch;
        self.end_giving(Rejection::TimedOut);
        if self.role != EffectiveRole::Active {
            return;
        }
        if !self.may_serve_on() {
            self.lose_role(Cause::NotGranted);
            self.broadcast(Kind::LetGo);
            return;
        }
        self.kernel.refreshed_at = self.now;
        self.apply(Forwarding::Active { epoch });
    }
}
