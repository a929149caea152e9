//! Is the active dead? A burst of questions, and the count of what was answered (D7, D8).
//!
//! Each round asks three things: the daemon (an authenticated probe on every path), then on every
//! served segment the kernel, first for the *virtual* address and after it for the peer's *own*
//! (unit) address. Both answers come back on one path in order, so a unit answer with no virtual
//! answer before it means that the fence is closed there: delay cannot fool it, only the loss of
//! three virtual answers in a row while the unit answers arrive. The verdicts:
//!
//! * *lapsed*: three such answers in a row, on every armed segment that answers at all;
//! * *dead*: nobody answers, neither daemon nor kernel, for at least three rounds *sent* and W
//!   since the first of them, where the peer's own address answered lately: a living box would.
//!   Rounds are counted, never time alone: a judge that slept has asked nothing and knows nothing;
//! * *overdue*: no segment answered lately (or the peer's fence was not whole), and dead interval
//!   + L passed. Such a claim is provisional.
//!
//! A third party that hears the active vouches for it (D13): who is cut off from the active alone
//! would else claim beside it. It goes on asking, as often as the active advertises, for as long as
//! that lasts; a question that no third party's word answers is followed by a burst.
//!
//! A virtual answer anywhere vetoes: that kernel owns the address and forwards. The limit: a box
//! that is cut off in every direction looks exactly like a dead one.

use core::hash::{Hash, Hasher};
use core::time::Duration;

use crate::node::project::View;
use crate::{Instant, NodeId, PortId};

/// Answers in a row, or rounds in a row without any, that a verdict needs (facts: k = 3).
pub(crate) const ROUNDS_MIN: u32 = 3;
/// Rounds without an answer after which a segment says nothing any more.
const SILENT_ROUNDS: u32 = 5;
/// Rounds that a peer must outlive its cable's carrier to count as alive: of a box that loses its
/// power one port falls before the others, and its daemon may answer once more between them.
pub(crate) const OUTLIVED_ROUNDS: u32 = 3;
/// Rounds sent at full pace before an answering kernel slows the burst down.
const FAST_ROUNDS: u32 = OUTLIVED_ROUNDS + 1;
/// Slow pace, in rounds: asking a kernel that answers each millisecond is a flood (D8, paced).
pub(crate) const SLOW_FACTOR: u32 = 10;

/// Why the peer became suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Doubt {
    /// A direct cable to it lost its carrier.
    Carrier,
    /// Its advertisement is overdue.
    Silence,
}

/// What the burst found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
    /// Neither daemon nor kernel answers.
    Dead,
    /// The kernel answers and its lease has ended.
    Lapsed,
    /// Keep asking.
    Open,
    /// No evidence either way for dead interval + L.
    Overdue,
}

/// One served segment's part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tally {
    pub(crate) port: PortId,
    /// Both addresses answered within the second before the suspicion: what they say now counts.
    pub(crate) armed: bool,
    /// The own address did: a living box would answer here.
    pub(crate) answers: bool,
    virtual_since_unit: bool,
    closed_in_row: u32,
    counted_round: u32,
    answered_round: Option<u32>,
    virtual_round: Option<u32>,
}

impl Tally {
    /// `owned`, `own`: whether the virtual and the own address answered lately.
    pub(crate) fn new(port: PortId, owned: bool, own: bool) -> Self {
        Self {
            port,
            armed: owned && own,
            answers: own,
            virtual_since_unit: false,
            closed_in_row: 0,
            counted_round: 0,
            answered_round: None,
            virtual_round: None,
        }
    }
}

/// How a suspicion is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Terms {
    /// W: how long nothing must answer.
    pub(crate) window: Duration,
    /// Between two rounds.
    pub(crate) round: Duration,
    /// When the peer's lease has ended at the latest, if its fence works: pace up before.
    pub(crate) lapse_at: Instant,
    /// When silence alone decides.
    pub(crate) overdue_at: Instant,
    /// What a third party's word puts these two off by (D13).
    pub(crate) lease: Duration,
    pub(crate) patience: Duration,
    /// How long after a round the next one follows, if a third party's word answered it.
    pub(crate) pace: Duration,
    /// The peer's last word was that its fence is whole.
    pub(crate) fence_whole: bool,
    /// Rounds are counted, never time alone (D6).
    pub(crate) counted: bool,
    /// Whether anything but `overdue` may decide: kernel evidence, or two independent paths.
    pub(crate) fast: bool,
}

/// A suspicion under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Suspicion {
    pub(crate) peer: NodeId,
    pub(crate) doubt: Doubt,
    pub(crate) since: Instant,
    pub(crate) terms: Terms,
    pub(crate) segments: Vec<Tally>,
    pub(crate) round: u32,
    /// From when on the daemon's word ends it, if a carrier began it: as the window, that is fixed
    /// here, whatever is learnt of round trips meanwhile.
    pub(crate) outlived_at: Instant,
    unanswered: u32,
    unanswered_since: Instant,
    /// When the last round was sent that was answered.
    answered_at: Instant,
    last_round_at: Instant,
    restarted: bool,
    /// A third party's word has answered, and sets the pace (D13).
    vouched: bool,
    /// Since when the verdict has stood.
    pub(crate) found_at: Option<Instant>,
}

impl Suspicion {
    pub(crate) fn new(
        now: Instant,
        peer: NodeId,
        doubt: Doubt,
        terms: Terms,
        segments: Vec<Tally>,
    ) -> Self {
        Self {
            peer,
            doubt,
            since: now,
            terms,
            segments,
            round: 0,
            outlived_at: now,
            unanswered: 0,
            unanswered_since: now,
            answered_at: now,
            last_round_at: now,
            restarted: false,
            vouched: false,
            found_at: None,
        }
    }

    /// Notes that a round was sent.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.round = self.round.saturating_add(1);
        if self.unanswered == 0 {
            self.unanswered_since = now;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.last_round_at = now;
    }

    /// Nothing could be heard until now: what went unanswered proves nothing. A window that long
    /// ways have widened is `left` then, or one of those ways: whoever delays frames delays this
    /// one, too, and buys a dead interval in all (D7).
    pub(crate) fn heard(&mut self, left: Duration) {
        self.answered();
        let window = self.terms.window;
        self.terms.window = window.min(left.max(window / 2));
    }

    /// The daemon spoke, though too soon to prove that it outlived its cable. What its kernel
    /// showed until now is none of a dead daemon's: it may be about to arm its lease again.
    pub(crate) fn spoke(&mut self) {
        self.answered();
        for tally in &mut self.segments {
            tally.closed_in_row = 0;
            tally.counted_round = self.round;
        }
    }

    /// A third party has just heard the active: it lives, and nothing that went unanswered here
    /// says otherwise (D13). Its word is worth what the daemon's own is, and counting goes on from
    /// now. When to ask again.
    pub(crate) fn vouched(&mut self, now: Instant) -> Instant {
        self.spoke();
        self.vouched = true;
        let terms = &mut self.terms;
        terms.lapse_at = terms.lapse_at.max(now.after(terms.lease));
        terms.overdue_at = terms.overdue_at.max(now.after(terms.patience));
        let soon = now.after(terms.round);
        self.last_round_at.after(terms.pace).max(soon)
    }

    fn answered(&mut self) {
        self.unanswered = 0;
        self.answered_at = self.last_round_at;
    }

    /// The peer's kernel answered for a virtual address: it owns, and its box lives.
    pub(crate) fn virtual_answered(&mut self, port: PortId) {
        let round = self.round;
        self.answered();
        if let Some(tally) = self.segments.iter_mut().find(|tally| tally.port == port) {
            tally.virtual_since_unit = true;
            tally.closed_in_row = 0;
            tally.answered_round = Some(round);
            tally.virtual_round = Some(round);
        }
    }

    /// The same where the peer's words cannot reach this node: its kernel's answer is all there is
    /// to hear of it, so counting goes on from now.
    pub(crate) fn owns_unheard(&mut self, now: Instant) {
        let terms = &mut self.terms;
        terms.lapse_at = terms.lapse_at.max(now.after(terms.lease));
        terms.overdue_at = terms.overdue_at.max(now.after(terms.patience));
    }

    /// Whether a segment begins to look as if the lease had lapsed.
    pub(crate) fn closes(&self, port: PortId) -> bool {
        let mut segments = self.segments.iter();
        segments.any(|tally| tally.port == port && tally.closed_in_row > 0)
    }

    /// The peer's kernel answered for the peer's own address: its box lives.
    pub(crate) fn unit_answered(&mut self, port: PortId) {
        let round = self.round;
        self.answered();
        if let Some(tally) = self.segments.iter_mut().find(|tally| tally.port == port) {
            tally.answered_round = Some(round);
            if !tally.virtual_since_unit && tally.counted_round < round {
                tally.closed_in_row = tally.closed_in_row.saturating_add(1);
                tally.counted_round = round;
            }
            tally.virtual_since_unit = false;
        }
    }

    /// The judge woke so late (D6). More than a round: while it slept it asked nothing, and an
    /// answer that came may be lost, so that time is none of the window. More than `slack`: what
    /// was outstanding proves nothing; once in a suspicion always. Both for at most `within`: a
    /// judge that is always late would else never judge.
    pub(crate) fn woke(&mut self, now: Instant, late: Duration, slack: Duration, within: Duration) {
        let early = now < self.since.after(within);
        if late > slack && (early || !self.restarted) {
            self.restarted = true;
            self.unanswered = 0;
        } else if late > self.terms.round && early {
            self.unanswered_since = self.unanswered_since.after(late);
        }
    }

    /// What the answers so far amount to. All sockets were drained since the round was due.
    pub(crate) fn judge(&self, now: Instant) -> Verdict {
        if self.vetoed() {
            return Verdict::Open;
        }
        if self.lapsed() && self.terms.fast {
            return Verdict::Lapsed;
        }
        let terms = &self.terms;
        let window = terms.window;
        let counted = self.unanswered >= ROUNDS_MIN
            && now >= self.unanswered_since.after(window)
            && now >= self.judged_at();
        // Without the rule, time alone: a judge that slept finds everybody silent.
        let silent = if terms.counted {
            counted
        } else {
            now >= self.answered_at.after(window)
        };
        let answers = self.segments.iter().any(|tally| tally.answers);
        if silent && answers && self.terms.fast && self.terms.fence_whole {
            return Verdict::Dead;
        }
        let owns_nothing = self.unanswered >= ROUNDS_MIN || self.closed(|_| true);
        if now >= self.terms.overdue_at && owns_nothing {
            return Verdict::Overdue;
        }
        Verdict::Open
    }

    fn lapsed(&self) -> bool {
        self.closed(|tally| tally.armed)
    }

    /// Every one of these segments that answers at all shows a closed fence, and at least one does.
    /// One that was never armed proves no lapse, but a box that lives and owns nothing must not
    /// hold the role for ever: once overdue, that is enough.
    fn closed(&self, counts: impl Fn(&Tally) -> bool) -> bool {
        let answering = |tally: &&Tally| counts(tally) && self.recent(tally.answered_round);
        let mut segments = self.segments.iter().filter(answering).peekable();
        segments.peek().is_some() && segments.all(|tally| tally.closed_in_row >= ROUNDS_MIN)
    }

    fn vetoed(&self) -> bool {
        let owns = |tally: &Tally| self.recent(tally.virtual_round) && tally.closed_in_row == 0;
        self.segments.iter().any(owns) && self.unanswered < ROUNDS_MIN
    }

    fn recent(&self, round: Option<u32>) -> bool {
        round.is_some_and(|round| self.round.saturating_sub(round) < SILENT_ROUNDS)
    }

    /// For comparing states: the count so far, relative to the round.
    pub(crate) fn project(&self, view: View, out: &mut impl Hasher) {
        let terms = &self.terms;
        (
            self.doubt,
            terms.window,
            terms.fence_whole,
            view.ago(self.since),
        )
            .hash(out);
        (view.until(terms.lapse_at), view.until(terms.overdue_at)).hash(out);
        view.until(self.outlived_at).hash(out);
        (
            self.round.min(FAST_ROUNDS + 1),
            self.unanswered.min(ROUNDS_MIN),
            (self.restarted, self.vouched),
        )
            .hash(out);
        (
            view.ago(self.unanswered_since),
            view.ago(self.last_round_at),
        )
            .hash(out);
        let past = |round: u32| self.round.saturating_sub(round).min(SILENT_ROUNDS);
        for tally in &self.segments {
            (tally.port, tally.armed, tally.answers).hash(out);
            (
                tally.virtual_since_unit,
                tally.closed_in_row.min(ROUNDS_MIN),
                past(tally.counted_round),
            )
                .hash(out);
            (
                tally.answered_round.map(past),
                tally.virtual_round.map(past),
            )
                .hash(out);
        }
    }

    /// From when what was asked last may be judged.
    pub(crate) fn judged_at(&self) -> Instant {
        self.last_round_at.after(self.terms.round)
    }

    /// When to send the next round, or judge again.
    pub(crate) fn next_round(&self) -> Instant {
        let terms = &self.terms;
        let soon = self.judged_at();
        let answered = self.unanswered <= 1 && self.round > FAST_ROUNDS;
        let closing = self.segments.iter().any(|tally| tally.closed_in_row > 0);
        let lead = terms.round * (SLOW_FACTOR + 2);
        if self.vouched || !answered || closing || soon.after(lead) >= terms.lapse_at {
            return soon;
        }
        let slow = self.last_round_at.after(terms.round * SLOW_FACTOR);
        slow.min(terms.lapse_at.before(lead)).max(soon)
    }
}

#[cfg(test)]
mod tests;
