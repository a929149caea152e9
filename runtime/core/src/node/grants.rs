//! The witness's grants (D14): who asks, who grants, and what follows from having none.
//!
//! No message of its own carries them. A node that serves, or is about to claim without anybody's
//! consent, says so in its advertisement; the witness hears that as it hears everything, and its
//! answer names whom it granted, by the counter of the message that asked. So a term begins, for
//! the node, when it *sent* that message and, for the witness, when it *heard* it: whatever the way
//! takes, the node's term ends first.
//!
//! ```text
//!   a (active)  ── Advert 41, asks ──► w        w: a's until now + term
//!   a ◄── Answer: a, 41, term ── w              a: until sent(41) + term, less its lease
//!   b (a is dead) ── Probe 90, asks ──► w       w: a's still; then: b's
//! ```
//!
//! A node that owns the addresses must be able to lose them: it says "active" only while its grant
//! outlasts the lease which that word refreshes. Who holds no grant serves on as long as *every*
//! other gateway has heard it say so, within the dead interval: one that has heard it waits for
//! dead interval + L, and for a grant, before it claims. That is what a pair lives on while its
//! witness is away.
//!
//! The hard case is a role that moves by consent, or away from a lease that was seen to end, while
//! the old grant still runs. The new owner's claim is newer, and proven: the witness follows it at
//! once. The limit: with `isolation = "serve"` a node that reaches neither peer nor witness serves.

use core::time::Duration;
use std::collections::VecDeque;

use super::Node;
use super::project::{View, behind};
use crate::config::Isolation;
use crate::config::witness::{Asks, Witness};
use crate::peer::Peer;
use crate::role::EffectiveRole;
use crate::rules::Rule;
use crate::status::{Cause, WitnessStatus};
use crate::suspicion::{Suspicion, Verdict};
use crate::timer::Timer;
use crate::wire::advert::{Advert, Flags, Grant, Kind, RoleMark};
use crate::{BootId, Epoch, Instant, NodeId};

/// Messages whose time is remembered; older ones count as the oldest of these, or not at all.
const SENT_MAX: usize = 64;

/// What a node knows of grants: of its own, or as the witness of the one it gave.
#[derive(Clone, Debug, Default)]
pub(super) struct Grants {
    /// Until when this node may say "active" by its grant.
    serves_until: Option<Instant>,
    /// The first message that did not say so; none while this node says that it is granted.
    bare_since: Option<u64>,
    /// The first message since this node asks without a pause; answers to earlier ones are void:
    /// the witness may have granted to another meanwhile.
    asks_since: Option<u64>,
    /// Until when what was seen of the old active lets this node serve without a grant.
    proven_until: Option<Instant>,
    /// Who asked this node to take the role, and when it last said so by its own grant.
    vouched: Option<(NodeId, Instant)>,
    /// Who took this node's role, and until when it may live on this node's grant.
    lent: Option<(NodeId, Instant)>,
    /// When messages were sent.
    sent: VecDeque<(u64, Instant)>,
    given: Option<Given>,
}

/// The witness's grant.
#[derive(Clone, Copy, Debug)]
struct Given {
    node: NodeId,
    boot: BootId,
    counter: u64,
    epoch: Epoch,
    term: Duration,
    until: Instant,
}

impl Grants {
    /// A node that has granted nothing and was granted nothing.
    pub(super) fn new() -> Self {
        Self {
            bare_since: Some(0),
            ..Self::default()
        }
    }

    /// When a message with this counter was sent, or earlier.
    fn sent_at(&self, counter: u64) -> Option<Instant> {
        let until = self.sent.partition_point(|(sent, _)| *sent <= counter);
        until.checked_sub(1).map(|place| self.sent[place].1)
    }

    /// For comparing states.
    pub(super) fn project(&self, view: View, counter: u64) -> impl core::hash::Hash + use<> {
        let until = |at: Option<Instant>| at.map(|at| view.until(at));
        let given = self.given.map(|it| (it.node, view.until(it.until)));
        (
            until(self.serves_until),
            until(self.proven_until),
            self.bare_since.map(|since| behind(counter, since)),
            self.vouched.map(|(node, at)| (node, view.ago(at))),
            self.lent.map(|(node, until)| (node, view.until(until))),
            given,
        )
    }
}

impl Node {
    /// The witness, on a node that may ask it.
    fn witness(&self) -> Option<Witness> {
        let asks = !self.config.is_witness() && self.rules.keep(Rule::D14);
        self.config.witness.filter(|_| asks)
    }

    /// The other nodes that may serve: all but the witness.
    pub(super) fn gateways(&self) -> impl Iterator<Item = &Peer> {
        let witness = self.config.witness.map(|witness| witness.node);
        self.peers
            .iter()
            .filter(move |peer| Some(peer.node) != witness)
    }

    fn hears_witness(&self, witness: Witness) -> bool {
        let mut peers = self.peers.iter();
        peers.any(|peer| peer.node == witness.node && self.present(peer))
    }

    /// A grant is held that outlasts what a claim takes.
    fn granted(&self) -> bool {
        let least = self.now.after(self.config.timing.slack);
        self.grants.serves_until.is_some_and(|until| until > least)
    }

    /// The active asks this node to take the role, and says whether its grant outlasts its next
    /// word.
    pub(super) fn note_vouching(&mut self, place: usize) {
        let peer = &self.peers[place];
        let firm = self.witness().is_some() && peer.says(Flags::GRANTED);
        self.grants.vouched = firm.then_some((peer.node, self.now));
    }

    /// Until when what the giver last said of its grant lets its taker say "active": it was to
    /// outlast a word, and the lease of that.
    fn vouched_until(&self, giver: NodeId) -> Option<Instant> {
        let (_, at) = self.grants.vouched.filter(|(node, _)| *node == giver)?;
        let timing = &self.config.timing;
        let peer = self.peers.iter().find(|peer| peer.node == giver)?;
        let way = self.answered_after(peer).unwrap_or(timing.rtt_bound);
        Some(at.after((timing.interval + timing.slack).saturating_sub(way)))
    }

    /// This node asks, for itself or for the one that it gave the role to.
    fn asks_grant(&self) -> bool {
        self.asks_for_itself() || self.lends_grant()
    }

    /// Whoever took the role lives on this node's grant until it has its own: given back sooner, a
    /// third node that hears neither of the two could have it.
    fn lends_grant(&self) -> bool {
        let taker = |node| self.peers.iter().find(|peer| peer.node == node);
        self.grants.lent.is_some_and(|(node, until)| {
            self.now < until && taker(node).is_some_and(|peer| !peer.says(Flags::GRANTED))
        })
    }

    /// The taker has claimed: what it says by this node's grant may own for so long.
    pub(super) fn lend_grant(&mut self, to: NodeId) {
        let timing = &self.config.timing;
        let until = self
            .now
            .after(timing.interval + timing.slack + timing.lease);
        self.grants.lent = self.witness().map(|_| (to, until));
    }

    /// This node serves, or would if it were granted to.
    fn asks_for_itself(&self) -> bool {
        let holds = matches!(self.role, EffectiveRole::Active | EffectiveRole::Promoting);
        let found = |open: &Suspicion| open.found_at.is_some() && self.could_replace(open);
        let waits = matches!(self.role, EffectiveRole::Standby | EffectiveRole::Starting);
        // Who cannot act on the answer, or cannot hear it, would only keep others from it.
        let would = waits
            && (self.suspicion.as_ref().is_some_and(found)
                || self.vacant_since.is_some()
                || (self.relisten.is_some() && self.some_served_port_up()));
        self.witness()
            .is_some_and(|witness| holds || (would && self.hears_witness(witness)))
    }

    /// What this node says of grants in its next message; notes what follows from having said it.
    pub(super) fn say_grants(&mut self) {
        let Some(witness) = self.witness() else {
            return;
        };
        if self.asks_for_itself() {
            self.grants.asks_since.get_or_insert(self.counter);
        } else {
            // The witness takes it back when it hears this; this node does so now.
            self.grants.asks_since = None;
            self.grants.serves_until = None;
        }
        if self.is_firm() {
            self.grants.bare_since = None;
        } else if self.grants.bare_since.is_none() {
            self.grants.bare_since = Some(self.counter);
        }
        let longest = witness.term.max(self.config.timing.dead_interval);
        let spacing = longest / (SENT_MAX as u32 / 2);
        let last = self.grants.sent.back();
        if last.is_none_or(|(_, at)| self.now.since(*at) >= spacing) {
            self.grants.sent.push_back((self.counter, self.now));
            if self.grants.sent.len() > SENT_MAX {
                self.grants.sent.pop_front();
            }
        }
    }

    /// The grant outlasts the next message: until that one, peers may count on it.
    fn is_firm(&self) -> bool {
        let timing = &self.config.timing;
        let least = self.now.after(timing.interval + timing.slack);
        let serves = self.role == EffectiveRole::Active;
        serves && self.grants.serves_until.is_some_and(|until| until > least)
    }

    pub(super) fn grant_flags(&self, flags: Flags) -> Flags {
        let firm = self.grants.bare_since.is_none();
        flags
            .with(Flags::ASKS_GRANT, self.asks_grant())
            .with(Flags::GRANTED, self.witness().is_some() && firm)
    }

    /// An active whose grant was not renewed asks for its peers' answers with every word: what they
    /// have heard is what it may serve by.
    pub(super) fn asks_for_consent(&self) -> bool {
        let serves = self.role == EffectiveRole::Active && self.giving.is_none();
        self.witness().is_some() && serves && !self.is_firm()
    }

    /// A word of the witness: its grant is this node's, or no more.
    pub(super) fn grant_heard(&mut self, place: usize) {
        let peer = &self.peers[place];
        let Some(witness) = self.witness().filter(|it| it.node == peer.node) else {
            return;
        };
        let Some(grant) = peer.latest.as_ref().and_then(|latest| latest.grant) else {
            return;
        };
        if grant.node != self.config.node || grant.boot != self.boot {
            self.grants.serves_until = None;
            return;
        }
        if self
            .grants
            .asks_since
            .is_none_or(|since| grant.counter < since)
        {
            return;
        }
        let timing = &self.config.timing;
        let owned = timing.lease + timing.slack;
        let term = grant.term.min(witness.term).saturating_sub(owned);
        let until = self.grants.sent_at(grant.counter).map(|at| at.after(term));
        self.grants.serves_until = self.grants.serves_until.max(until);
        if until.is_some() {
            // The witness follows the claim: from now on its word alone counts.
            self.grants.proven_until = None;
        }
        let found = |open: &&Suspicion| open.found_at.is_some();
        if let Some(open) = self.suspicion.as_ref().filter(found)
            && self.granted()
        {
            // The verdict stands: it is for the next round to act, once all is drained (D6). Sooner
            // than a round after the last questions it would be none, and the grant given back.
            self.timers
                .arm(Timer::Round, open.judged_at().max(self.now));
        }
    }

    /// Until when every other gateway has heard this node say that it holds no grant, and so leaves
    /// it the role.
    fn consented_until(&self) -> Option<Instant> {
        let bare = self.grants.bare_since?;
        let timing = &self.config.timing;
        let wait = timing.dead_interval.saturating_sub(timing.slack);
        let until = |peer: &Peer| {
            let heard = peer.newest_heard(self.config.node, self.boot)?;
            let at = self.grants.sent_at(heard).filter(|_| heard >= bare)?;
            Some(at.after(wait))
        };
        // One that was never heard of has heard of nobody.
        let all: Option<Vec<Instant>> = self.gateways().map(until).collect();
        all?.into_iter().min()
    }

    /// Until when a grant, proof or consent lets this node serve, whichever is longest.
    fn serves_until(&self) -> Option<Instant> {
        let grants = &self.grants;
        let until = grants.serves_until.max(grants.proven_until);
        until.max(self.consented_until())
    }

    /// Whether this node may arm its lease again.
    pub(super) fn may_serve_on(&self) -> bool {
        let yields = self.config.policy.isolation == Isolation::Yield;
        let until = self.serves_until();
        self.witness().is_none() || !yields || until.is_some_and(|until| until > self.now)
    }

    /// An active without grant and without consent gives the role up, if it yields in isolation.
    pub(super) fn consider_grant(&mut self) {
        let yields = self.config.policy.isolation == Isolation::Yield;
        let serves = self.role == EffectiveRole::Active && self.giving.is_none();
        if self.witness().is_none() || !yields || !serves {
            self.timers.disarm(Timer::Grant);
            return;
        }
        match self.serves_until().filter(|until| *until > self.now) {
            Some(until) => self.timers.arm(Timer::Grant, until),
            None => {
                self.timers.disarm(Timer::Grant);
                self.lose_role(Cause::NotGranted);
                self.broadcast(Kind::LetGo);
            }
        }
    }

    /// Whether a suspect found dead, or overdue, may be replaced as far as the witness goes.
    pub(super) fn witness_lets(&self, suspicion: &Suspicion, verdict: Verdict) -> bool {
        let Some(witness) = self.witness() else {
            return true;
        };
        let proven = match verdict {
            Verdict::Lapsed => true,
            Verdict::Dead => witness.asks == Asks::Unproven,
            Verdict::Open | Verdict::Overdue => false,
        };
        // One that held no grant may have served on this node's word, for so long.
        let peer = self.peers.iter().find(|peer| peer.node == suspicion.peer);
        let said = peer.is_some_and(|peer| peer.says(Flags::GRANTED));
        let word = peer.and_then(|peer| peer.heard_at);
        let patience = suspicion.terms.patience;
        let late = word.is_none_or(|word| self.now >= word.after(patience));
        proven || (self.granted() && (said || late)) || (late && self.serves_unasked())
    }

    /// Whether a role that is vacant, as far as can be heard, may be taken. That all are heard is
    /// consent only as long as it lets this node serve: who has just let go for want of it has not
    /// got it back.
    pub(super) fn witness_lets_vacancy(&self, all_heard: bool) -> bool {
        let soon = self.now.after(self.config.timing.slack);
        let consent = || all_heard && self.consented_until().is_some_and(|until| until > soon);
        self.witness().is_none() || self.granted() || self.serves_unasked() || consent()
    }

    /// There is no witness to ask, and the policy is to serve all the same.
    fn serves_unasked(&self) -> bool {
        let serves = self.config.policy.isolation == Isolation::Serve;
        serves && self.witness().is_some_and(|it| !self.hears_witness(it))
    }

    /// The grant that this node holds is of before: it owned nothing for a while, and the witness
    /// may have followed another's claim. What is asked from now on counts.
    pub(super) fn forget_grant(&mut self) {
        self.grants.serves_until = None;
        self.grants.proven_until = None;
        self.grants.asks_since = Some(self.counter + 1);
    }

    /// No other gateway can be claiming with success: they wait for the grant that this one holds.
    pub(super) fn bars_claims(&self) -> bool {
        let always = |witness: Witness| witness.asks == Asks::Always;
        self.witness().is_some_and(always) && self.granted()
    }

    /// A peer that claimed on proof or by consent since then, and reaches nobody, has given up.
    pub(super) fn none_serves_on_proof(&self, since: Instant) -> bool {
        let timing = &self.config.timing;
        let bound = since.after(timing.dead_interval + timing.lease);
        let yields = self.config.policy.isolation == Isolation::Yield;
        self.witness().is_none() || !yields || self.now >= bound
    }

    /// A claim on proof, but without consent: the witness needs a moment to follow it. No longer
    /// than a grant would last: it may follow at once, not be heard, and grant again behind that.
    /// One that was given the role has the giver's grant for that moment.
    pub(super) fn serve_on_proof(&mut self, why: Cause) {
        let proven = matches!(why, Cause::PeerLapsed { .. } | Cause::PeerDead { .. });
        let timing = &self.config.timing;
        let term = self.config.witness.map_or(Duration::ZERO, |it| it.term);
        let granted = term.saturating_sub(timing.lease + timing.slack);
        let until = self.now.after(timing.dead_interval.min(granted));
        self.grants.proven_until = match why {
            Cause::HandedOver { peer } => self.vouched_until(peer),
            _ => proven.then_some(until),
        };
    }

    /// As the witness: a gateway spoke. True if it asked, and wants to know.
    pub(super) fn consider_granting(&mut self, place: usize) -> bool {
        if !self.config.is_witness() {
            return false;
        }
        let Some(latest) = self.peers[place].latest.clone() else {
            return false;
        };
        let asks = latest.flags.has(Flags::ASKS_GRANT);
        let holds = |given: &Given| given.node == latest.sender;
        // A new life owns nothing of the old one's, and who does not ask owns nothing at all.
        let over = !asks || self.given().is_some_and(|it| it.boot != latest.boot);
        if self.given().as_ref().is_some_and(holds) && over {
            self.grants.given = None;
        }
        let term = self.config.witness.map(|witness| witness.term);
        // Who does not claim may ask for another, whose claim must count as newer.
        let before = self.given().filter(holds);
        let before = before.filter(|_| !claims(&latest)).map(|it| it.epoch);
        if let Some(term) = term.filter(|_| asks && self.may_grant(&latest)) {
            self.grants.given = Some(Given {
                node: latest.sender,
                boot: latest.boot,
                counter: latest.counter,
                epoch: before.unwrap_or(latest.epoch),
                term,
                until: self.now.after(term),
            });
        }
        asks
    }

    /// The grant that runs.
    fn given(&self) -> Option<Given> {
        self.grants.given.filter(|given| self.now < given.until)
    }

    /// Whether the one that asks may have the grant, or have it renewed.
    fn may_grant(&self, asked: &Advert) -> bool {
        let claims = claims(asked);
        let proven = claims && asked.flags.has(Flags::WITNESSED);
        if let Some(given) = self.given() {
            return given.node == asked.sender || (proven && asked.epoch > given.epoch);
        }
        // Grants of this daemon's earlier life may still run, and it does not know whose.
        let term = self
            .config
            .witness
            .map_or(Duration::ZERO, |witness| witness.term);
        let knows = self.now >= self.started.after(term);
        let serves = |peer: &Peer| {
            peer.node != asked.sender
                && peer.says_active()
                && self.present(peer)
                && !(claims
                    && peer
                        .latest
                        .as_ref()
                        .is_some_and(|it| it.epoch < asked.epoch))
        };
        (knows || asked.flags.has(Flags::GRANTED)) && !self.peers.iter().any(serves)
    }

    /// What a witness's next message says of its grant.
    pub(super) fn grant_said(&self) -> Option<Grant> {
        let given = self.given()?;
        Some(Grant {
            node: given.node,
            boot: given.boot,
            counter: given.counter,
            term: given.term,
        })
    }

    /// For people.
    pub(super) fn witness_status(&self, now: Instant) -> Option<WitnessStatus> {
        let witness = self.config.witness?;
        let given = self.grants.given.filter(|given| now < given.until);
        let until = self.grants.serves_until.filter(|until| *until > now);
        Some(WitnessStatus {
            node: witness.node,
            heard: self.config.is_witness() || self.hears_witness(witness),
            granted_to: if self.config.is_witness() {
                given.map(|given| given.node)
            } else {
                until.map(|_| self.config.node)
            },
            remaining: if self.config.is_witness() {
                given.map(|given| given.until.since(now))
            } else {
                until.map(|until| until.since(now))
            },
        })
    }
}

/// It serves, or begins to.
fn claims(asked: &Advert) -> bool {
    asked.mark != RoleMark::Standby || asked.effective == EffectiveRole::Promoting
}
