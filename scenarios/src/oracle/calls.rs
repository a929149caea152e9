//! What a gateway itself begins leaves in the name that it shall have (R5.3).
//!
//! Each call of a step is to be seen on every served segment, from an address of that name and no
//! other. Armed once a watched gateway was made to call: then nothing seen is as wrong as a wrong
//! name. The limit: calls before the window that are seen in it count with it; leave some time
//! between.

use std::collections::BTreeSet;

use steadfast_core::{Instant, NodeId};

use super::{Oracle, Report, Scene, Tally};
use crate::format::Caller;
use crate::ids::SegmentId;
use crate::trace::{Event, EventKind, SourceKind};

/// The word of the step that makes a gateway call.
const CALL: &str = "call";

/// Watches in whose name gateways begin.
#[derive(Clone, Debug)]
pub struct Calls {
    scope: Option<NodeId>,
    from: Caller,
    /// When a gateway was made to call, and where it was heard since.
    made: Option<Instant>,
    heard: BTreeSet<SegmentId>,
    tally: Tally,
}

impl Calls {
    /// Of one gateway or all.
    pub const fn new(scope: Option<NodeId>, from: Caller) -> Self {
        Self {
            scope,
            from,
            made: None,
            heard: BTreeSet::new(),
            tally: Tally::new(),
        }
    }

    fn seen(
        &mut self,
        at: Instant,
        (gateway, segment): (NodeId, SegmentId),
        by: Caller,
        scene: &Scene<'_>,
    ) {
        if self.scope.is_some_and(|scope| scope != gateway) {
            return;
        }
        self.heard.insert(segment);
        if by != self.from {
            let names = scene.picture.names();
            let (name, place) = (names.gateway(gateway), names.segment(segment));
            let whose = match by {
                Caller::Own => "its own name",
                Caller::Virtual => "a virtual address's name",
            };
            let text = || format!("{name} began on {place} in {whose}");
            self.tally.wrong(at, at, text);
        }
    }

    /// Every served segment must have heard what was called.
    fn settle(&mut self, until: Instant, scene: &Scene<'_>) {
        let Some(made) = self.made.take() else {
            return;
        };
        for segment in scene.picture.served() {
            if !self.heard.contains(&segment) {
                let place = scene.picture.names().segment(segment);
                let text = || format!("nothing of a call was seen on {place}");
                self.tally.wrong(made, until, text);
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
            EventKind::VirtualSource {
                segment,
                gateway,
                what: SourceKind::Call,
            } => self.seen(event.at, (*gateway, *segment), Caller::Virtual, scene),
            EventKind::OwnSource { segment, gateway } => {
                self.seen(event.at, (*gateway, *segment), Caller::Own, scene);
            }
            _ => {}
        }
    }

    fn finish(&mut self, end: Instant, scene: &Scene<'_>) -> Report {
        let until = scene.window.closes().map_or(end, |closes| closes.min(end));
        self.settle(until, scene);
        self.tally.report(String::new())
    }
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
        tape.event(match by {
            Caller::Own => EventKind::OwnSource { segment, gateway },
            Caller::Virtual => EventKind::VirtualSource {
                segment,
                gateway,
                what: SourceKind::Call,
            },
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
