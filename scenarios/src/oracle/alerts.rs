//! A node tells people what they must know, in time, and once (R10.1, R14.1).
//!
//! An alert is a node's own word, and its word is the matter here: that it comes, from whom it
//! must, and not again and again while its cause lasts (F22). In a window of its own, an alert must
//! be raised within the time allowed, and no node raises it more often than allowed; `max = 0` says
//! that nobody may. Armed once the window has begun.
//!
//! The limits: what an alert is about beside its name is not looked at; and in the lab alerts are
//! read from the status, so one that is over within a tenth of a second may not be seen.

use core::time::Duration;
use std::collections::BTreeMap;

use steadfast_core::{Instant, NodeId};

use super::{Oracle, Report, Scene, Tally};
use crate::format::AlertName;
use crate::trace::{Event, EventKind};

/// Counts one alert.
#[derive(Clone, Debug)]
pub struct Alerts {
    scope: Option<NodeId>,
    alert: AlertName,
    within: Option<Duration>,
    max: u32,
    begun: Option<Instant>,
    first: Option<Instant>,
    raised: BTreeMap<NodeId, u32>,
    tally: Tally,
}

impl Alerts {
    /// One gateway's alert of this name, or anybody's: at the latest so long after the window's
    /// beginning, and at most so often.
    pub const fn new(
        scope: Option<NodeId>,
        alert: AlertName,
        within: Option<Duration>,
        max: u32,
    ) -> Self {
        Self {
            scope,
            alert,
            within,
            max,
            begun: None,
            first: None,
            raised: BTreeMap::new(),
            tally: Tally::new(),
        }
    }

    /// From when the alert may be late.
    fn late_from(&self) -> Option<Instant> {
        Some(self.begun?.after(self.within?))
    }
}

impl Oracle for Alerts {
    fn hold(&mut self, from: Instant, _to: Instant, _scene: &Scene<'_>) {
        self.begun.get_or_insert(from);
        self.tally.arm();
    }

    fn observe(&mut self, event: &Event, scene: &Scene<'_>) {
        let EventKind::Alert {
            gateway,
            alert,
            raised: true,
        } = &event.kind
        else {
            return;
        };
        let meant = self.alert.is(alert) && self.scope.is_none_or(|scope| scope == *gateway);
        if !meant || !scene.window.contains(event.at) {
            return;
        }
        self.first.get_or_insert(event.at);
        let count = self.raised.entry(*gateway).or_insert(0);
        *count += 1;
        let (count, max, name) = (*count, self.max, self.alert);
        if count > max {
            let who = scene.picture.names().gateway(*gateway);
            let text = || format!("{who} raised {name} {count} times, allowed are {max}");
            self.tally.wrong(event.at, event.at, text);
        }
    }

    fn finish(&mut self, end: Instant, scene: &Scene<'_>) -> Report {
        let name = self.alert;
        let whose = self.scope.map(|id| scene.picture.names().gateway(id));
        let whose = whose.map_or_else(|| "nobody".to_owned(), |who| format!("not {who}"));
        let late = self
            .late_from()
            .filter(|late| self.first.is_none_or(|first| first > *late));
        if self.max > 0 && self.first.is_none() {
            self.tally
                .wrong(end, end, || format!("{whose} raised {name}"));
        } else if let Some((late, first)) = late.zip(self.first).filter(|_| self.max > 0) {
            let text = || format!("{name} was first raised {:?} late", first.since(late));
            self.tally.wrong(late, first, text);
        }
        let all: u32 = self.raised.values().sum();
        self.tally.report(format!("{name} raised {all} times"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::testing::{A, B, Tape};
    use crate::trace::EventKind;

    const TOLD: &str =
        "oracle = \"alerts\"\nalert = \"peer_down\"\nafter = \"1s\"\nwithin = \"400ms\"";

    fn raise(tape: &mut Tape, at: u64, gateway: steadfast_core::NodeId, alert: &str) {
        tape.at(at).event(EventKind::Alert {
            gateway,
            alert: alert.to_owned(),
            raised: true,
        });
    }

    const DOWN: &str = "PeerDown { peer: NodeId(1) }";

    /// Raised in time, once.
    #[test]
    fn alerts_in_time_pass() {
        let mut tape = Tape::running(A);
        raise(&mut tape, 900, B, DOWN);
        raise(&mut tape, 1300, B, DOWN);
        let finding = tape.finding("alerts", TOLD);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Pass, true));
        assert_eq!(finding.evidence, "peer_down raised 1 times");
    }

    /// Nobody's, another's, another alert, or before the window: it was not told.
    #[test]
    fn alerts_that_do_not_come_fail() {
        let mut tape = Tape::running(A);
        raise(&mut tape, 900, B, DOWN);
        raise(&mut tape, 1100, B, "PeerUp { peer: NodeId(1) }");
        assert_eq!(tape.finding("alerts", TOLD).verdict, Verdict::Fail);
        raise(&mut tape, 1200, B, DOWN);
        let whose = format!("{TOLD}\nscope = \"a\"");
        let finding = tape.finding("alerts", &whose);
        assert_eq!(finding.verdict, Verdict::Fail);
        let text = finding
            .first_violation
            .map(|it| it.text)
            .unwrap_or_default();
        assert!(text.contains("not a raised peer_down"), "{text}");
    }

    /// Late, and again and again.
    #[test]
    fn alerts_late_or_repeated_fail() {
        let mut tape = Tape::running(A);
        raise(&mut tape, 1500, B, DOWN);
        assert_eq!(tape.finding("alerts", TOLD).verdict, Verdict::Fail);
        let any = "oracle = \"alerts\"\nalert = \"peer_down\"";
        assert_eq!(tape.finding("alerts", any).verdict, Verdict::Pass);
        raise(&mut tape, 1600, B, DOWN);
        assert_eq!(tape.finding("alerts", any).verdict, Verdict::Fail);
        let twice = format!("{any}\nmax = 2");
        assert_eq!(tape.finding("alerts", &twice).verdict, Verdict::Pass);
    }

    /// Where none may come, none passes and any fails.
    #[test]
    fn alerts_that_must_not_come_fail() {
        let none = "oracle = \"alerts\"\nalert = \"peer_down\"\nmax = 0";
        let mut tape = Tape::running(A);
        assert_eq!(tape.finding("alerts", none).verdict, Verdict::Pass);
        raise(&mut tape, 1500, B, DOWN);
        assert_eq!(tape.finding("alerts", none).verdict, Verdict::Fail);
    }
}
