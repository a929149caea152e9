//! A pacified gateway neither answers for a virtual address, nor announces one, nor forwards.
//!
//! Who is pacified is the world's reckoning from the boots it carried out (R12.1, D16), never the
//! node's word. With `all_pacified = "serve"` the rule rests while every powered gateway is
//! pacified: then the best of them shall serve. Armed once a gateway was pacified.

use steadfast_core::{Instant, NodeId};

use super::{Oracle, Report, Scene, Tally};
use crate::picture::Picture;
use crate::trace::{Caller, Event, EventKind, PowerState};

/// Watches the pacified.
#[derive(Clone, Debug)]
pub struct PacifiedStaysOut {
    scope: Option<NodeId>,
    may_serve: bool,
    tally: Tally,
}

impl PacifiedStaysOut {
    /// One gateway or all; `may_serve` when all are pacified.
    pub const fn new(scope: Option<NodeId>, may_serve: bool) -> Self {
        Self {
            scope,
            may_serve,
            tally: Tally::new(),
        }
    }

    /// Whether this gateway must stay out now.
    fn watched(&self, gateway: NodeId, picture: &Picture) -> bool {
        let barred = picture.gateway(gateway).is_some_and(|view| view.barred);
        let in_scope = self.scope.is_none_or(|scope| scope == gateway);
        barred && in_scope && !(self.may_serve && all_barred(picture))
    }

    fn wrong(&mut self, at: Instant, gateway: NodeId, picture: &Picture, what: &str) {
        let name = picture.names().gateway(gateway);
        self.tally
            .wrong(at, at, || format!("{name} is pacified and {what}"));
    }
}

impl Oracle for PacifiedStaysOut {
    fn hold(&mut self, from: Instant, to: Instant, scene: &Scene<'_>) {
        let picture = scene.picture;
        for gateway in picture.gateways().iter().filter(|gateway| gateway.barred) {
            if !self.watched(gateway.id, picture) {
                continue;
            }
            self.tally.arm();
            let answers = |segment| picture.answer_count(segment, gateway.id) > 0;
            if let Some(segment) = picture.served().find(|segment| answers(*segment)) {
                let (name, place) = (
                    picture.names().gateway(gateway.id),
                    picture.names().segment(segment),
                );
                let text = || format!("{name} is pacified and answers on {place}");
                self.tally.wrong(from, to, text);
            }
        }
    }

    fn observe(&mut self, event: &Event, scene: &Scene<'_>) {
        if !scene.window.contains(event.at) {
            return;
        }
        let picture = scene.picture;
        if let EventKind::VirtualSource { gateway, .. }
        | EventKind::Call {
            gateway,
            from: Caller::Virtual,
            ..
        } = event.kind
            && self.watched(gateway, picture)
        {
            self.wrong(
                event.at,
                gateway,
                picture,
                "sends in a virtual address's name",
            );
        }
        if let EventKind::ProbeReceived {
            via: Some(gateway), ..
        } = event.kind
            && self.watched(gateway, picture)
        {
            self.wrong(event.at, gateway, picture, "forwards");
        }
    }

    fn finish(&mut self, _end: Instant, _scene: &Scene<'_>) -> Report {
        self.tally.report(String::new())
    }
}

fn all_barred(picture: &Picture) -> bool {
    let mut powered = picture
        .gateways()
        .iter()
        .filter(|gateway| gateway.power == PowerState::Running);
    powered.all(|gateway| gateway.barred)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{A, B, LAN, Tape};
    use super::super::{Finding, Verdict};
    use crate::ids::StreamId;
    use crate::trace::{EventKind, SourceKind};

    fn judged(tape: &Tape) -> Finding {
        tape.finding("pacified_stays_out", "oracle = \"pacified_stays_out\"")
    }

    fn with_b_pacified() -> Tape {
        let mut tape = Tape::running(A);
        tape.at(1000).event(EventKind::Barred {
            gateway: B,
            barred: true,
        });
        tape
    }

    /// The pacified node stays out though the active dies.
    #[test]
    fn pacified_stays_out_of_a_failover_passes() {
        let mut tape = with_b_pacified();
        tape.at(1500).owns(A, false);
        let finding = judged(&tape);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Pass, true));
    }

    /// Answering, announcing and forwarding are each forbidden.
    #[test]
    fn pacified_acting_fails() {
        let mut tape = with_b_pacified();
        tape.at(1500).owns(A, false).owns(B, true);
        assert_eq!(judged(&tape).verdict, Verdict::Fail);
        let mut tape = with_b_pacified();
        let what = SourceKind::Announcement;
        tape.at(1500).event(EventKind::VirtualSource {
            segment: LAN,
            gateway: B,
            what,
        });
        assert_eq!(judged(&tape).verdict, Verdict::Fail);
        let mut tape = with_b_pacified();
        let sent_at = tape.now();
        let stream = StreamId(0);
        tape.event(EventKind::ProbeReceived {
            stream,
            seq: 0,
            sent_at,
            via: Some(B),
        });
        let text = judged(&tape).first_violation.unwrap().text;
        assert_eq!(text, "b is pacified and forwards");
    }

    /// When all are pacified the policy lets one serve; once released, a node may serve anyway.
    #[test]
    fn pacified_all_or_cleared_passes() {
        let mut tape = with_b_pacified();
        tape.at(1400).event(EventKind::Barred {
            gateway: A,
            barred: true,
        });
        tape.at(1500).owns(A, false).owns(B, true);
        assert_eq!(judged(&tape).verdict, Verdict::Pass);
        let mut tape = with_b_pacified();
        tape.at(1500).event(EventKind::Barred {
            gateway: B,
            barred: false,
        });
        tape.owns(A, false).owns(B, true);
        assert_eq!(judged(&tape).verdict, Verdict::Pass);
    }

    /// Nobody pacified: nothing proven.
    #[test]
    fn pacified_none_is_unknown() {
        assert_eq!(judged(&Tape::running(A)).verdict, Verdict::Unknown);
    }
}
