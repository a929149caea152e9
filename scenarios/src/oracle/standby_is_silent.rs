//! A standby sends nothing in a virtual address's name, and forwards nothing.
//!
//! A frame with a virtual source from the wrong gateway teaches switches and hosts the wrong way
//! (F38); a standby that forwards is a second gateway (R1.6), and one that says it is a router will
//! be asked to be one (F44). A gateway is a standby where the observer hears its unit address and
//! not the virtual ones. Frames are in flight: one that left within `within` before it begins to
//! answer or after it stopped is no fault, and after a hand-over it forwards for `drain` more
//! (D10). Who claimed, sent and lost its power within
//! `within` died before anybody could ask it: it was active for that long. Armed once a reachable
//! gateway stood by while another served.
//! Limit: at most [`PENDING_MAX`] doubtful frames wait for judgement; the next is judged at once.

use core::time::Duration;
use std::collections::VecDeque;

use steadfast_core::{Instant, NodeId};

use super::{Oracle, Report, Scene, Tally};
use crate::ids::SegmentId;
use crate::picture::Picture;
use crate::trace::{Caller, Event, EventKind, PowerState, SourceKind};

/// Most doubtful frames that wait for their sender to begin answering. What clients queued while
/// nobody answered comes at once: some hundred frames.
pub const PENDING_MAX: usize = 4_096;

/// Watches the standby's frames.
#[derive(Clone, Debug)]
pub struct StandbyIsSilent {
    scope: Option<NodeId>,
    within: Duration,
    drain: Duration,
    seen: Option<u64>,
    pending: VecDeque<Doubt>,
    tally: Tally,
}

/// A frame that a standby should not have sent, unless it is about to be active.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    at: Instant,
    gateway: NodeId,
    /// The wire; none for a forwarded probe.
    segment: Option<SegmentId>,
    what: &'static str,
    /// Its sender had claimed a moment ago, as far as was known then: who claims again has done so
    /// all the same.
    claimed: bool,
}

impl StandbyIsSilent {
    /// One gateway or all; frames are in flight for `within`, and for `drain` more when forwarded.
    pub const fn new(scope: Option<NodeId>, within: Duration, drain: Duration) -> Self {
        Self {
            scope,
            within,
            drain,
            seen: None,
            pending: VecDeque::new(),
            tally: Tally::new(),
        }
    }

    fn doubt(&mut self, doubt: Doubt, lag: Duration, scene: &Scene<'_>) {
        let picture = scene.picture;
        let in_scope = self.scope.is_none_or(|scope| scope == doubt.gateway);
        if !in_scope || !scene.window.contains(doubt.at) || excused(&doubt, lag, picture) {
            return;
        }
        if self.pending.len() >= PENDING_MAX {
            self.blame(doubt, picture);
        } else {
            self.pending.push_back(doubt);
        }
    }

    fn blame(&mut self, doubt: Doubt, picture: &Picture) {
        self.tally.wrong(doubt.at, doubt.at, || {
            let place = doubt
                .segment
                .map(|segment| picture.names().segment(segment));
            let place = place.map_or_else(String::new, |place| format!(" on {place}"));
            let name = picture.names().gateway(doubt.gateway);
            format!("{name} stands by and sent {}{place}", doubt.what)
        });
    }

    fn arm(&mut self, picture: &Picture) {
        if self.tally.armed() || self.seen == Some(picture.version()) {
            return;
        }
        self.seen = Some(picture.version());
        let stands_by = |segment: SegmentId| {
            let answers = |id| picture.answer_count(segment, id) > 0;
            let views = || picture.gateways().iter().map(|view| view.id);
            views().any(answers) && views().any(|id| !answers(id) && picture.reachable(segment, id))
        };
        if picture.served().any(stands_by) {
            self.tally.arm();
        }
    }
}

impl Oracle for StandbyIsSilent {
    fn hold(&mut self, _from: Instant, to: Instant, scene: &Scene<'_>) {
        self.arm(scene.picture);
        while let Some(doubt) = self.pending.front().copied() {
            if answers(&doubt, scene.picture) || self.died_active(&doubt, scene.picture) {
                self.pending.pop_front();
            } else if doubt.at.after(self.within) < to {
                self.pending.pop_front();
                self.blame(doubt, scene.picture);
            } else {
                break;
            }
        }
    }

    fn observe(&mut self, event: &Event, scene: &Scene<'_>) {
        let at = event.at;
        if let EventKind::VirtualSource {
            segment,
            gateway,
            what,
        } = event.kind
        {
            let (what, lag) = match what {
                SourceKind::Announcement => ("an announcement", self.within),
                SourceKind::Arp => ("ARP or ND as a virtual address", self.within),
                SourceKind::Station => ("a frame from the virtual MAC", self.within),
                SourceKind::RouterAdvert => ("a router advertisement", self.within),
                SourceKind::Datagram => ("a datagram as a virtual address", self.forwarding()),
            };
            let doubt = Doubt {
                at,
                gateway,
                segment: Some(segment),
                what,
                claimed: self.claimed(gateway, at, scene.picture),
            };
            self.doubt(doubt, lag, scene);
        }
        if let EventKind::Call {
            segment,
            gateway,
            from: Caller::Virtual,
            ..
        } = event.kind
        {
            let doubt = Doubt {
                at,
                gateway,
                segment: Some(segment),
                what: "what it began as a virtual address",
                claimed: self.claimed(gateway, at, scene.picture),
            };
            self.doubt(doubt, self.within, scene);
        }
        if let EventKind::ProbeReceived {
            via: Some(gateway), ..
        } = event.kind
        {
            let doubt = Doubt {
                at,
                gateway,
                segment: None,
                what: "somebody's datagram",
                claimed: self.claimed(gateway, at, scene.picture),
            };
            self.doubt(doubt, self.forwarding(), scene);
        }
    }

    fn finish(&mut self, _end: Instant, scene: &Scene<'_>) -> Report {
        while let Some(doubt) = self.pending.pop_front() {
            self.blame(doubt, scene.picture);
        }
        self.tally.report(String::new())
    }
}

impl StandbyIsSilent {
    fn forwarding(&self) -> Duration {
        self.within.saturating_add(self.drain)
    }

    /// Whether it claimed so shortly before this that nobody could ask it since.
    fn claimed(&self, gateway: NodeId, at: Instant, picture: &Picture) -> bool {
        let claimed = picture.gateway(gateway).and_then(|view| view.claimed_at);
        claimed.is_some_and(|claimed| claimed <= at && at <= claimed.after(self.within))
    }

    /// Whether it sent this after its claim and lost its power before it could be asked.
    fn died_active(&self, doubt: &Doubt, picture: &Picture) -> bool {
        picture.gateway(doubt.gateway).is_some_and(|view| {
            let died = view
                .down_since
                .is_some_and(|down| down <= doubt.at.after(self.within));
            let claimed = doubt.claimed || self.claimed(doubt.gateway, doubt.at, picture);
            claimed && died && view.power == PowerState::Off
        })
    }
}

fn answers(doubt: &Doubt, picture: &Picture) -> bool {
    let owns = |segment| picture.answer_count(segment, doubt.gateway) > 0;
    match doubt.segment {
        Some(segment) => owns(segment),
        None => picture.served().any(owns),
    }
}

/// Whether it answers, stopped a moment ago, or cannot be asked.
fn excused(doubt: &Doubt, lag: Duration, picture: &Picture) -> bool {
    let id = doubt.gateway;
    let stopped_lately = |segment| {
        let stopped = picture.stopped_at(segment, id);
        stopped.is_some_and(|stopped| doubt.at <= stopped.after(lag))
    };
    let deaf = |segment| !picture.reachable(segment, id);
    let excuse = |segment| stopped_lately(segment) || deaf(segment);
    let unasked = match doubt.segment {
        Some(segment) => excuse(segment),
        None => picture.served().any(excuse),
    };
    answers(doubt, picture) || unasked
}

#[cfg(test)]
mod tests {
    use super::super::testing::{A, B, LAN, Tape};
    use super::super::{Finding, Verdict};
    use crate::ids::StreamId;
    use crate::trace::{EventKind, FrameKind, PowerState, SourceKind};

    fn judged(tape: &Tape) -> Finding {
        tape.finding("standby_is_silent", "oracle = \"standby_is_silent\"")
    }

    fn sends(gateway: steadfast_core::NodeId, what: SourceKind) -> EventKind {
        EventKind::VirtualSource {
            segment: LAN,
            gateway,
            what,
        }
    }

    fn forwards(tape: &mut Tape, gateway: steadfast_core::NodeId) {
        let (stream, sent_at) = (StreamId(0), tape.now());
        tape.event(EventKind::ProbeReceived {
            stream,
            seq: 0,
            sent_at,
            via: Some(gateway),
        });
    }

    /// The owner may announce, answer and forward; around a failover frames are in flight.
    #[test]
    fn standby_is_silent_failover_passes() {
        let mut tape = Tape::running(A);
        tape.event(sends(A, SourceKind::Arp));
        forwards(tape.at(500), A);
        tape.at(1000)
            .owns(A, false)
            .at(1004)
            .event(sends(A, SourceKind::Arp));
        tape.at(1010)
            .event(sends(B, SourceKind::Announcement))
            .at(1014)
            .owns(B, true);
        let finding = judged(&tape);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Pass, true));
    }

    /// An announcement, an answer and a datagram by the standby each fail.
    #[test]
    fn standby_is_silent_sending_fails() {
        for what in [
            SourceKind::Announcement,
            SourceKind::Arp,
            SourceKind::Datagram,
        ] {
            let mut tape = Tape::running(A);
            tape.at(1000).event(sends(B, what));
            assert_eq!(judged(&tape).verdict, Verdict::Fail, "{what:?}");
        }
    }

    /// A standby that forwards is a second gateway, even if it answers for nothing.
    #[test]
    fn standby_is_silent_forwarding_fails() {
        let mut tape = Tape::running(A);
        forwards(tape.at(1000), B);
        let text = judged(&tape).first_violation.unwrap().text;
        assert_eq!(text, "b stands by and sent somebody's datagram");
    }

    /// The old active forwards what is in flight for the drain (D10), and no longer; it announces
    /// nothing.
    #[test]
    fn standby_is_silent_drain_forwards_only() {
        let mut tape = Tape::running(A);
        tape.at(1000).owns(A, false).owns(B, true);
        forwards(tape.at(1060), A);
        assert_eq!(judged(&tape).verdict, Verdict::Pass);
        forwards(tape.at(1070), A);
        assert_eq!(judged(&tape).verdict, Verdict::Fail);
        let mut tape = Tape::running(A);
        tape.at(1000).owns(A, false).owns(B, true);
        tape.at(1030).event(sends(A, SourceKind::Announcement));
        assert_eq!(judged(&tape).verdict, Verdict::Fail);
    }

    /// Who claimed, announced and lost its power at once was active, if nobody could ask it; who
    /// did so without a claim, or long after it, was not.
    #[test]
    fn standby_is_silent_dead_claimer_passes() {
        let dies_claiming = |claims: &[u64], dies_at: u64| {
            let mut tape = Tape::running(A);
            tape.at(900).frame(FrameKind::Offer, A);
            for at in claims.iter().filter(|at| **at <= 1002) {
                tape.at(*at).frame(FrameKind::Claim, B);
            }
            let off = EventKind::Power {
                gateway: B,
                state: PowerState::Off,
            };
            tape.at(1002).event(sends(B, SourceKind::Announcement));
            for at in claims.iter().filter(|at| **at > 1002) {
                tape.at(*at).frame(FrameKind::Claim, B);
            }
            tape.at(dies_at).event(off).at(1100);
            judged(&tape).verdict
        };
        let dies = |claims: Option<u64>, dies_at| dies_claiming(claims.as_slice(), dies_at);
        assert_eq!(
            dies_claiming(&[1001, 1004], 1006),
            Verdict::Pass,
            "claims again"
        );
        assert_eq!(dies(Some(1001), 1003), Verdict::Pass);
        assert_eq!(dies(None, 1003), Verdict::Fail);
        assert_eq!(dies(Some(1001), 1090), Verdict::Fail, "asked in vain first");
        assert_eq!(dies(Some(900), 1003), Verdict::Fail, "of an older claim");
    }

    /// A gateway that cannot be asked may well be active on its side of a cut.
    #[test]
    fn standby_is_silent_unreachable_is_not_judged() {
        let mut tape = Tape::running(A);
        tape.at(1000)
            .reachable(B, false)
            .event(sends(B, SourceKind::Arp));
        assert_eq!(judged(&tape).verdict, Verdict::Pass);
    }

    /// With no standby there is no silence to prove.
    #[test]
    fn standby_is_silent_alone_is_unknown() {
        let mut tape = Tape::new();
        tape.up(A).owns(A, true);
        assert_eq!(judged(&tape).verdict, Verdict::Unknown);
    }
}
