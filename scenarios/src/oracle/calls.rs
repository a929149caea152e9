//! What a gateway itself begins leaves in the name that it shall have (R5.3).
//!
//! Each call of a step is to be seen on every served segment, over each version of IP, from an
//! address of that name and no other. Armed once a watched gateway was made to call: then nothing
//! seen is as wrong as a wrong name. The limit: calls before the window that are seen in it count
//! with it; leave some time between.

use std::collections::BTreeSet;

use steadfast_core::{Instant, NodeId};

use super::{Oracle, Report, Scene, Tally};
use crate::format::Version;
use crate::ids::SegmentId;
use crate::trace::{Caller, Event, EventKind};

/// The word of the step that makes a gateway call.
const CALL: &str = "call";

/// Watches in whose name gateways begin.
#[derive(Clone, Debug)]
pub struct Calls {
    scope: Option<NodeId>,
    from: Caller,
    /// When a gateway was made to call, and where it was heard since.
    made: Option<Instant>,
    heard: BTreeSet<(SegmentId, bool)>,
    /// Over IPv6, or not: of which versions calls are.
    versions: Vec<bool>,
    tally: Tally,
}

impl Calls {
    /// Of one gateway or all, over these versions of IP.
    pub fn new(scope: Option<NodeId>, from: Caller, versions: &[Version]) -> Self {
        let versions = versions.iter().map(|it| *it == Version::Ipv6);
        Self {
            scope,
            from,
            made: None,
            heard: BTreeSet::new(),
            versions: versions.collect(),
            tally: Tally::new(),
        }
    }

    fn seen(
        &mut self,
        at: Instant,
        call: (NodeId, SegmentId, bool),
        by: Caller,
        scene: &Scene<'_>,
    ) {
        let (gateway, segment, ipv6) = call;
        if self.scope.is_some_and(|scope| scope != gateway) {
            return;
        }
        self.heard.insert((segment, ipv6));
        if by != self.from {
            let names = scene.picture.names();
            let (name, place) = (names.gateway(gateway), names.segment(segment));
            let whose = match by {
                Caller::Other => "a name that is not of this segment",
                Caller::Own => "its own name",
                Caller::Virtual => "a virtual address's name",
            };
            let text = || format!("{name} began on {place} in {whose}{}", over(ipv6));
            self.tally.wrong(at, at, text);
        }
    }

    /// Every served segment must have heard what was called.
    fn settle(&mut self, until: Instant, scene: &Scene<'_>) {
        let Some(made) = self.made.take() else {
            return;
        };
        for segment in scene.picture.served() {
            for ipv6 in self.versions.iter().copied() {
                if !self.heard.contains(&(segment, ipv6)) {
                    let place = scene.picture.names().segment(segment);
                    let text = || format!("nothing of a call was seen on {place}{}", over(ipv6));
                    self.tally.wrong(made, until, text);
                }
            }
        }
        self.heard.clear();
    }
}

impl Oracle for Calls {
    fn observe(&mut self, event: &Event, scene: &Scene<'_>) {
        if !scene.window.contains(event.at) {
            return;
        }
        match &event.kind {
            EventKind::Step {
                verb, target, done, ..
            } if verb == CALL && *done => {
                let names = scene.picture.names();
                let watched = |scope| names.gateway(scope) == *target;
                if self.scope.is_none_or(watched) {
                    self.settle(event.at, scene);
                    self.made = Some(event.at);
                    self.tally.arm();
                }
            }
            EventKind::Call {
                segment,
                gateway,
                ipv6,
                from,
            } => self.seen(event.at, (*gateway, *segment, *ipv6), *from, scene),
            _ => {}
        }
    }

    fn finish(&mut self, end: Instant, scene: &Scene<'_>) -> Report {
        let until = scene.window.closes().map_or(end, |closes| closes.min(end));
        self.settle(until, scene);
        self.tally.report(String::new())
    }
}

const fn over(ipv6: bool) -> &'static str {
    if ipv6 { " over IPv6" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{A, B, LAN, Tape, WAN};
    use super::super::{Finding, Verdict};
    use super::*;

    fn judged(tape: &Tape, from: &str) -> Finding {
        let text = format!("oracle = \"calls\"\nscope = \"a\"\nfrom = \"{from}\"");
        tape.finding("calls", &text)
    }

    fn call(tape: &mut Tape, at: u64) {
        tape.at(at).event(EventKind::Step {
            name: "call".to_owned(),
            verb: CALL.to_owned(),
            target: "a".to_owned(),
            done: true,
            took: None,
        });
    }

    fn heard(tape: &mut Tape, segment: SegmentId, gateway: NodeId, by: Caller) {
        tape.event(EventKind::Call {
            segment,
            gateway,
            ipv6: false,
            from: by,
        });
    }

    fn called(by: Caller) -> Tape {
        let mut tape = Tape::running(A);
        call(&mut tape, 1000);
        tape.at(1001);
        heard(&mut tape, LAN, A, by);
        heard(&mut tape, WAN, A, by);
        tape
    }

    /// A call in the right name passes, one in the other fails; another gateway's is nothing.
    #[test]
    fn calls_by_their_name() {
        let mut tape = called(Caller::Virtual);
        heard(&mut tape, LAN, B, Caller::Own);
        assert_eq!(judged(&tape, "virtual").verdict, Verdict::Pass);
        let wrong = judged(&tape, "own");
        assert_eq!(wrong.verdict, Verdict::Fail);
        assert_eq!(judged(&called(Caller::Own), "own").verdict, Verdict::Pass);
        let strange = judged(&called(Caller::Other), "own");
        assert_eq!(strange.verdict, Verdict::Fail, "of another segment");
    }

    /// Where both versions are spoken, silence over one of them fails.
    #[test]
    fn calls_unseen_over_ipv6() {
        let judged = |tape: &Tape| {
            let expect = "oracle = \"calls\"\nscope = \"a\"\nfrom = \"own\"";
            let both = "[topology]\nfamily = \"both\"";
            tape.finding_with("calls", both, expect).verdict
        };
        let mut tape = called(Caller::Own);
        assert_eq!(judged(&tape), Verdict::Fail);
        for segment in [LAN, WAN] {
            tape.event(EventKind::Call {
                segment,
                gateway: A,
                ipv6: true,
                from: Caller::Own,
            });
        }
        assert_eq!(judged(&tape), Verdict::Pass);
    }

    /// A call of which one segment sees nothing fails; without any call nothing is proven.
    #[test]
    fn calls_unseen_or_never_made() {
        let mut tape = Tape::running(A);
        call(&mut tape, 1000);
        tape.at(1001);
        heard(&mut tape, LAN, A, Caller::Own);
        assert_eq!(judged(&tape, "own").verdict, Verdict::Fail);
        let mut tape = called(Caller::Own);
        call(&mut tape, 2000);
        assert_eq!(judged(&tape, "own").verdict, Verdict::Fail, "the second");
        let finding = judged(&Tape::running(A), "own");
        assert_eq!((finding.verdict, finding.armed), (Verdict::Unknown, false));
    }
}
