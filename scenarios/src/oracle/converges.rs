//! After the last fault: one owner of everything, hosts and statuses agree, and it stays so.
//!
//! Judged from `within` after the last step that ran (or after `after`, if given) to the end. All
//! served segments have the same sole owner (F34), no neighbour entry points elsewhere, the owner's
//! status says active and no other running node's does. A later step begins anew: what was wrong
//! before it was its cause or its matter. Armed once that time began before the end.

use core::time::Duration;

use steadfast_core::{Instant, NodeId};

use super::at_most_one_active::scoped;
use super::kernel_matches_role::must_own;
use super::{Oracle, Report, Scene, Tally};
use crate::ids::SegmentId;
use crate::picture::Picture;
use crate::trace::{Event, EventKind, Holder};

/// Watches the peace after the last fault.
#[derive(Clone, Debug)]
pub struct Converges {
    scope: Option<SegmentId>,
    within: Duration,
    /// Whether the window says from when on.
    fixed: bool,
    settled_from: Instant,
    seen: Option<u64>,
    disagreement: Option<String>,
    tally: Tally,
}

impl Converges {
    /// One segment or all, `within` after the last step; after the window's opening if `fixed`.
    pub fn new(scope: Option<SegmentId>, within: Duration, fixed: bool) -> Self {
        let wait = if fixed { Duration::ZERO } else { within };
        Self {
            scope,
            within,
            fixed,
            settled_from: Instant::ORIGIN.after(wait),
            seen: None,
            disagreement: None,
            tally: Tally::new(),
        }
    }

    /// What is not yet as it shall be.
    fn look(&self, picture: &Picture) -> Option<String> {
        let names = picture.names();
        let mut agreed: Option<NodeId> = None;
        for segment in scoped(picture, self.scope) {
            let place = names.segment(segment);
            let Some(owner) = picture.sole_owner(segment) else {
                return Some(format!("{place} has no sole owner"));
            };
            match agreed {
                Some(other) if other != owner => {
                    let (owner, other) = (names.gateway(owner), names.gateway(other));
                    return Some(format!(
                        "{owner} owns {place}, {other} owns another segment"
                    ));
                }
                Some(_) | None => agreed = Some(owner),
            }
        }
        let owner = agreed?;
        self.stray_host(owner, picture)
            .or_else(|| stray_status(owner, picture))
    }

    fn stray_host(&self, owner: NodeId, picture: &Picture) -> Option<String> {
        let stray = picture.neighbours().find(|(host, _, holder)| {
            let segment = picture.segment_of(*host);
            let watched = self.scope.is_none() || self.scope == segment;
            watched && *holder != Holder::Nobody && *holder != Holder::Gateway(owner)
        });
        stray.map(|(host, ..)| {
            let names = picture.names();
            format!(
                "{} does not point at {}",
                names.host(host),
                names.gateway(owner)
            )
        })
    }
}

impl Oracle for Converges {
    fn hold(&mut self, from: Instant, to: Instant, scene: &Scene<'_>) {
        let from = from.max(self.settled_from);
        if from >= to {
            return;
        }
        self.tally.arm();
        if self.seen != Some(scene.picture.version()) {
            self.seen = Some(scene.picture.version());
            self.disagreement = self.look(scene.picture);
        }
        if let Some(text) = &self.disagreement {
            self.tally.wrong(from, to, || text.clone());
        }
    }

    fn observe(&mut self, event: &Event, _scene: &Scene<'_>) {
        if let EventKind::Step { done: true, .. } = event.kind
            && !self.fixed
        {
            self.settled_from = event.at.after(self.within);
            self.tally = Tally::new();
        }
    }

    fn finish(&mut self, _end: Instant, _scene: &Scene<'_>) -> Report {
        self.tally
            .report(format!("judged from {}", self.settled_from))
    }
}

fn stray_status(owner: NodeId, picture: &Picture) -> Option<String> {
    let wrong = picture
        .gateways()
        .iter()
        .filter(|view| view.runs())
        .find_map(|view| {
            let role = view.status.as_ref()?.role;
            let right = must_own(role) == Some(view.id == owner);
            (!right).then_some((view.id, role))
        });
    wrong.map(|(id, role)| format!("{} says {role:?}", picture.names().gateway(id)))
}

#[cfg(test)]
mod tests {
    use steadfast_core::role::EffectiveRole::{Active, Standby};

    use super::super::testing::{A, B, CLIENT, LAN, Tape};
    use super::super::{Finding, Verdict};
    use crate::trace::{EventKind, Holder};

    fn judged(tape: &Tape) -> Finding {
        tape.finding("converges", "oracle = \"converges\"\nwithin = \"500ms\"")
    }

    fn client(holder: Holder) -> EventKind {
        EventKind::Neighbour {
            host: CLIENT,
            address: 0,
            holder,
        }
    }

    fn failed_over() -> Tape {
        let mut tape = Tape::running(A);
        tape.says(A, Active)
            .says(B, Standby)
            .event(client(Holder::Gateway(A)));
        tape.at(1000).step("cut").owns(A, false).says(A, Standby);
        tape.at(1400)
            .owns(B, true)
            .says(B, Active)
            .event(client(Holder::Gateway(B)));
        tape
    }

    /// Everything agrees half a second after the fault, and stays so.
    #[test]
    fn converges_in_time_passes() {
        let finding = judged(&failed_over());
        assert_eq!((finding.verdict, finding.armed), (Verdict::Pass, true));
    }

    /// Each thing that does not agree fails: an owner too many, a host, a status.
    #[test]
    fn converges_disagreement_fails() {
        let mut tape = failed_over();
        tape.at(1600).owns_on(LAN, B, false).owns_on(LAN, A, true);
        assert_eq!(
            judged(&tape).first_violation.unwrap().text,
            "b owns wan, a owns another segment"
        );
        let mut tape = failed_over();
        tape.at(1600).event(client(Holder::Gateway(A)));
        assert_eq!(
            judged(&tape).first_violation.unwrap().text,
            "client does not point at b"
        );
        let mut tape = failed_over();
        tape.at(1600).says(A, Active);
        assert_eq!(judged(&tape).first_violation.unwrap().text, "a says Active");
    }

    /// It must stay: a relapse long after the fault fails.
    #[test]
    fn converges_relapse_fails() {
        let mut tape = failed_over();
        tape.at(2500).owns(B, false).at(2501).owns(B, true);
        let finding = judged(&tape);
        assert_eq!(
            (finding.verdict, finding.longest_ns),
            (Verdict::Fail, 1_000_000)
        );
    }

    /// What was wrong before a later step is not held against the end.
    #[test]
    fn converges_later_step_begins_anew() {
        let mut tape = failed_over();
        tape.at(1600)
            .owns(B, false)
            .at(2000)
            .step("heal")
            .at(2100)
            .owns(B, true);
        assert_eq!(judged(&tape).verdict, Verdict::Pass);
    }

    /// A run that ends before the bound proves nothing.
    #[test]
    fn converges_too_short_is_unknown() {
        let mut tape = Tape::running(A);
        tape.at(2900).step("cut");
        let finding = judged(&tape);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Unknown, false));
    }
}
