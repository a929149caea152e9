//! The kernel answers as the role says.
//!
//! A node that says `active` answers for all its virtual addresses on every served segment where
//! it is reachable (F34: never LAN here and WAN there); one that says anything else but `promoting`
//! or `demoting` answers for none (F39). They may differ for `within`: the kernel is ahead while a
//! claim completes, the daemon is late where a lease lapsed. A daemon that does not run says
//! nothing. Armed once a running node said `active` while reachable.
//!
//! The hard case is a word that comes late: on a busy host a status is heard long after the role
//! changed. A role counts from its own date. So what looked wrong until the very status came that
//! ends it was not, if its date is that of the change, give or take the allowance. That words come
//! in time at all is `status_truthful`'s.

use core::time::Duration;
use std::collections::BTreeMap;

use steadfast_core::role::EffectiveRole;
use steadfast_core::{Instant, NodeId};

use super::{Lag, Oracle, Report, Scene, Tally};
use crate::ids::SegmentId;
use crate::picture::{GatewayView, Picture};

/// Differences that are put in order at the end; further ones count as they end.
const FOUND_MAX: usize = 4_096;

/// A kernel and a role that differ.
#[derive(Clone, Debug)]
struct Wrong {
    segment: SegmentId,
    /// Since when.
    began: Instant,
    /// The date of the role that was said last and did not end it.
    said_since: Instant,
    lag: Lag,
    /// For longer than they may: from, to, and the words for it.
    found: Option<(Instant, Instant, String)>,
}

/// Compares kernels with roles.
#[derive(Clone, Debug)]
pub struct KernelMatchesRole {
    scope: Option<NodeId>,
    within: Duration,
    seen: Option<u64>,
    wrong: BTreeMap<NodeId, Wrong>,
    /// What was wrong and is over.
    found: Vec<(Instant, Instant, String)>,
    tally: Tally,
}

impl KernelMatchesRole {
    /// One gateway or all; they may differ for `within`.
    pub const fn new(scope: Option<NodeId>, within: Duration) -> Self {
        Self {
            scope,
            within,
            seen: None,
            wrong: BTreeMap::new(),
            found: Vec::new(),
            tally: Tally::new(),
        }
    }

    fn look(&mut self, now: Instant, picture: &Picture) {
        self.seen = Some(picture.version());
        for gateway in picture.gateways() {
            if self.scope.is_some_and(|scope| scope != gateway.id) {
                continue;
            }
            match self.mismatch(gateway, picture) {
                None => {
                    if let Some(wrong) = self.wrong.remove(&gateway.id) {
                        self.end(wrong, gateway, now);
                    }
                }
                Some(segment) => {
                    let said_since = since(gateway).unwrap_or_default();
                    let fresh = || Wrong {
                        segment,
                        began: now,
                        said_since,
                        lag: Lag::new(self.within),
                        found: None,
                    };
                    let wrong = self.wrong.entry(gateway.id).or_insert_with(fresh);
                    (wrong.segment, wrong.said_since) = (segment, said_since);
                }
            }
        }
    }

    /// They agree again: it was wrong, unless a word ended it whose date says otherwise.
    fn end(&mut self, wrong: Wrong, gateway: &GatewayView, now: Instant) {
        let around = wrong.began.before(self.within)..=wrong.began.after(self.within);
        let told_late = gateway.status.as_ref().is_some_and(|status| {
            let new = status.said_at == now && status.since > wrong.said_since;
            new && around.contains(&status.since)
        });
        let Some(found) = wrong.found.filter(|_| !told_late) else {
            return;
        };
        if self.found.len() < FOUND_MAX {
            self.found.push(found);
        } else {
            let (from, to, text) = found;
            self.tally.wrong(from, to, || text);
        }
    }

    /// The first segment where the gateway's kernel does not do what its role says.
    fn mismatch(&mut self, gateway: &GatewayView, picture: &Picture) -> Option<SegmentId> {
        let role = gateway.status.as_ref().filter(|_| gateway.runs())?.role;
        let owns = must_own(role)?;
        for segment in picture.served() {
            if !picture.reachable(segment, gateway.id) {
                continue;
            }
            if owns {
                self.tally.arm();
            }
            let count = picture.answer_count(segment, gateway.id);
            let wanted = if owns {
                usize::from(picture.address_count(segment))
            } else {
                0
            };
            if count != wanted {
                return Some(segment);
            }
        }
        None
    }
}

impl Oracle for KernelMatchesRole {
    fn hold(&mut self, from: Instant, to: Instant, scene: &Scene<'_>) {
        let picture = scene.picture;
        if self.seen != Some(picture.version()) {
            self.look(from, picture);
        }
        for (gateway, wrong) in &mut self.wrong {
            if let Some((from, to)) = wrong.lag.hold(true, from, to) {
                let found = wrong.found.get_or_insert_with(|| {
                    let text = text(picture, *gateway, wrong.segment);
                    (from, to, text)
                });
                found.1 = to;
            }
        }
    }

    fn finish(&mut self, _end: Instant, _scene: &Scene<'_>) -> Report {
        let open = core::mem::take(&mut self.wrong).into_values();
        self.found.extend(open.filter_map(|wrong| wrong.found));
        self.found.sort();
        for (from, to, text) in self.found.drain(..) {
            self.tally.wrong(from, to, || text);
        }
        self.tally.report(String::new())
    }
}

/// Whether this role demands all addresses, none, or either.
pub(super) const fn must_own(role: EffectiveRole) -> Option<bool> {
    match role {
        EffectiveRole::Active => Some(true),
        EffectiveRole::Demoting | EffectiveRole::Promoting => None,
        EffectiveRole::Failed
        | EffectiveRole::Off
        | EffectiveRole::Pacified
        | EffectiveRole::Standby
        | EffectiveRole::Starting => Some(false),
    }
}

fn since(gateway: &GatewayView) -> Option<Instant> {
    gateway.status.as_ref().map(|status| status.since)
}

fn text(picture: &Picture, gateway: NodeId, segment: SegmentId) -> String {
    let role = picture
        .gateway(gateway)
        .and_then(|view| Some(view.status.as_ref()?.role));
    format!(
        "{} says {} and answers for {} of {} virtual addresses on {}",
        picture.names().gateway(gateway),
        role.map_or_else(
            || "nothing".to_owned(),
            |role| format!("{role:?}").to_lowercase()
        ),
        picture.answer_count(segment, gateway),
        picture.address_count(segment),
        picture.names().segment(segment)
    )
}

#[cfg(test)]
mod tests {
    use steadfast_core::role::EffectiveRole::{Active, Promoting, Standby, Starting};

    use super::super::testing::{A, B, LAN, Tape};
    use super::super::{Finding, Verdict};
    use crate::trace::{EventKind, ProcessState};

    fn judged(tape: &Tape) -> Finding {
        let expect = "oracle = \"kernel_matches_role\"\nwithin = \"300ms\"";
        tape.finding("kernel_matches_role", expect)
    }

    /// A failover in which both kernels and roles go together, each a little late.
    #[test]
    fn kernel_matches_role_failover_passes() {
        let mut tape = Tape::running(A);
        tape.says(A, Active).says(B, Standby);
        tape.at(1000).owns(A, false).at(1200).says(A, Standby);
        tape.at(1001)
            .says(B, Promoting)
            .at(1002)
            .owns(B, true)
            .at(1003)
            .says(B, Active);
        let finding = judged(&tape);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Pass, true));
    }

    /// A standby that answers after a link flap is the field's failure F39.
    #[test]
    fn kernel_matches_role_answering_standby_fails() {
        let mut tape = Tape::running(A);
        tape.says(A, Active)
            .says(B, Standby)
            .at(1000)
            .owns_on(LAN, B, true);
        let finding = judged(&tape);
        assert_eq!(finding.verdict, Verdict::Fail);
        let violation = finding.first_violation.unwrap();
        assert_eq!(violation.from.as_nanos(), 1_300_000_000);
        let text = "b says standby and answers for 1 of 1 virtual addresses on lan";
        assert_eq!(violation.text, text);
    }

    /// An active that owns one segment of two is F34.
    #[test]
    fn kernel_matches_role_half_active_fails() {
        let mut tape = Tape::running(A);
        tape.says(A, Active).at(1000).owns_on(LAN, A, false);
        assert_eq!(judged(&tape).verdict, Verdict::Fail);
    }

    /// A status that is heard late is no lie of the kernel's: the role counts from its own date. A
    /// date long after the change, or long before it, is none.
    #[test]
    fn kernel_matches_role_late_word_counts_from_its_date() {
        for (since, verdict) in [
            (1010, Verdict::Pass),
            (1400, Verdict::Fail),
            (600, Verdict::Fail),
        ] {
            let mut tape = Tape::running(A);
            tape.says(A, Active).says(B, Standby);
            tape.at(1000).owns(A, false);
            tape.at(1500).says_since(A, Standby, since);
            assert_eq!(judged(&tape).verdict, verdict, "since {since}");
        }
    }

    /// Words that end nothing excuse nothing, however close to the beginning their dates are.
    #[test]
    fn kernel_matches_role_word_that_ends_nothing_excuses_nothing() {
        let mut tape = Tape::running(A);
        tape.says(A, Active).says(B, Standby);
        tape.at(1000).owns_on(LAN, A, false);
        tape.at(1100).says(A, Standby).at(1200).says(A, Active);
        tape.at(3000).owns_on(LAN, A, true);
        assert_eq!(judged(&tape).verdict, Verdict::Fail);

        let mut tape = Tape::running(A);
        tape.says(A, Active).says(B, Starting);
        tape.at(1000)
            .owns_on(LAN, B, true)
            .at(1100)
            .says(B, Standby);
        tape.at(1700).owns_on(LAN, B, false);
        assert_eq!(judged(&tape).verdict, Verdict::Fail);
    }

    /// Two nodes that are wrong at the same time are one violation, as long as both.
    #[test]
    fn kernel_matches_role_two_at_once_are_one_as_long_as_both() {
        let mut tape = Tape::running(A);
        tape.says(A, Active).says(B, Standby);
        tape.at(1000).owns_on(LAN, A, false);
        tape.at(1500).owns_on(LAN, B, true);
        tape.at(2000).owns_on(LAN, B, false);
        tape.at(2500).owns_on(LAN, A, true);
        let finding = judged(&tape);
        assert_eq!(
            (finding.verdict, finding.violation_count),
            (Verdict::Fail, 1)
        );
        let violation = finding.first_violation.unwrap();
        assert_eq!(violation.from.as_nanos(), 1_300_000_000);
        assert_eq!(violation.until.as_nanos(), 2_500_000_000);
    }

    /// A stopped daemon says nothing; its lease may lapse without blame. When it goes on it has as
    /// long again to notice.
    #[test]
    fn kernel_matches_role_stopped_daemon_passes() {
        let mut tape = Tape::running(A);
        tape.says(A, Active).says(B, Standby);
        tape.at(1000).event(EventKind::Process {
            gateway: A,
            state: ProcessState::Stopped,
        });
        tape.at(1300).owns(A, false);
        tape.at(2000).event(EventKind::Process {
            gateway: A,
            state: ProcessState::Running,
        });
        tape.at(2010).says(A, Standby);
        assert_eq!(judged(&tape).verdict, Verdict::Pass);
    }

    /// Where nobody says active nothing is proven.
    #[test]
    fn kernel_matches_role_without_status_is_unknown() {
        assert_eq!(judged(&Tape::running(A)).verdict, Verdict::Unknown);
    }
}
