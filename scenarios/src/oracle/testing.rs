//! Hand-made traces for the oracles' tests: a pair of gateways, told in one line an event.

use core::ops::Range;

use steadfast_core::role::EffectiveRole;
use steadfast_core::{Epoch, Instant, NodeId};

use super::{Finding, judge};
use crate::format::{Plan, Scenario};
use crate::ids::{HostId, SegmentId, StreamId};
use crate::trace::{Event, EventKind, FrameKind, Names, PowerState, ProcessState};

/// The first gateway.
pub(crate) const A: NodeId = NodeId(1);
/// The second gateway.
pub(crate) const B: NodeId = NodeId(2);
/// The clients' segment.
pub(crate) const LAN: SegmentId = SegmentId(0);
/// The servers' segment.
pub(crate) const WAN: SegmentId = SegmentId(1);
/// The host on the LAN.
pub(crate) const CLIENT: HostId = HostId(0);

/// When a hand-made run ends, in milliseconds.
const END: u64 = 3000;

/// A trace in the making.
pub(crate) struct Tape {
    now: Instant,
    events: Vec<Event>,
    seq: u32,
}

impl Tape {
    /// Both gateways are off.
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::ORIGIN,
            events: Vec::new(),
            seq: 0,
        }
    }

    /// Both run and are reachable, this one owns everything.
    pub(crate) fn running(active: NodeId) -> Self {
        let mut tape = Self::new();
        tape.up(A).up(B).owns(active, true);
        tape
    }

    pub(crate) fn at(&mut self, millis: u64) -> &mut Self {
        self.now = Instant::from_millis(millis);
        self
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn event(&mut self, kind: EventKind) -> &mut Self {
        self.events.push(Event::new(self.now, kind));
        self
    }

    pub(crate) fn up(&mut self, gateway: NodeId) -> &mut Self {
        self.event(EventKind::Power {
            gateway,
            state: PowerState::Running,
        });
        self.event(EventKind::Process {
            gateway,
            state: ProcessState::Running,
        });
        self.reachable(gateway, true)
    }

    pub(crate) fn reachable(&mut self, gateway: NodeId, reachable: bool) -> &mut Self {
        for segment in [LAN, WAN] {
            self.event(EventKind::Reachable {
                segment,
                gateway,
                reachable,
            });
        }
        self
    }

    pub(crate) fn owns(&mut self, gateway: NodeId, answered: bool) -> &mut Self {
        self.owns_on(LAN, gateway, answered)
            .owns_on(WAN, gateway, answered)
    }

    pub(crate) fn owns_on(
        &mut self,
        segment: SegmentId,
        gateway: NodeId,
        answered: bool,
    ) -> &mut Self {
        self.event(EventKind::Owner {
            segment,
            gateway,
            address: 0,
            answered,
        })
    }

    pub(crate) fn says(&mut self, gateway: NodeId, role: EffectiveRole) -> &mut Self {
        self.says_as_of(self.now, gateway, role)
    }

    /// The same with an earlier date, in milliseconds.
    pub(crate) fn says_since(
        &mut self,
        gateway: NodeId,
        role: EffectiveRole,
        ms: u64,
    ) -> &mut Self {
        self.says_as_of(Instant::from_millis(ms), gateway, role)
    }

    fn says_as_of(&mut self, since: Instant, gateway: NodeId, role: EffectiveRole) -> &mut Self {
        let why = "as told".to_owned();
        self.event(EventKind::Status {
            gateway,
            role,
            since,
            epoch: Epoch(1),
            why,
        })
    }

    pub(crate) fn frame(&mut self, kind: FrameKind, from: NodeId) -> &mut Self {
        self.event(EventKind::HandoverFrame {
            segment: LAN,
            kind,
            from,
        })
    }

    pub(crate) fn step(&mut self, name: &str) -> &mut Self {
        self.step_told(name, true)
    }

    pub(crate) fn step_told(&mut self, name: &str, done: bool) -> &mut Self {
        let (name, verb, target) = (name.to_owned(), "kill".to_owned(), "a".to_owned());
        self.event(EventKind::Step {
            name,
            verb,
            target,
            done,
            took: None,
        })
    }

    pub(crate) fn sent(&mut self, millis: u64, seq: u32) -> &mut Self {
        self.at(millis).event(EventKind::ProbeSent {
            stream: StreamId(0),
            seq,
        })
    }

    pub(crate) fn arrived(&mut self, millis: u64, seq: u32, sent: u64) -> &mut Self {
        let (stream, sent_at) = (StreamId(0), Instant::from_millis(sent));
        self.at(millis).event(EventKind::ProbeReceived {
            stream,
            seq,
            sent_at,
            via: Some(A),
        })
    }

    /// A probe each millisecond, each arriving `delay` milliseconds later.
    pub(crate) fn probes(&mut self, sending: Range<u64>, delay: u64) -> &mut Self {
        for millis in sending {
            let seq = self.seq;
            self.seq += 1;
            self.sent(millis, seq).arrived(millis + delay, seq, millis);
        }
        self
    }

    /// A probe each `step` milliseconds, each arriving at once.
    pub(crate) fn probes_every(&mut self, sending: Range<u64>, step: usize) -> &mut Self {
        for millis in sending.step_by(step) {
            self.probes(millis..millis + 1, 0);
        }
        self
    }

    /// A probe each millisecond, none of which arrives.
    pub(crate) fn lost(&mut self, sending: Range<u64>) -> &mut Self {
        for millis in sending {
            let seq = self.seq;
            self.seq += 1;
            self.sent(millis, seq);
        }
        self
    }

    /// From then on the probes go through this gateway.
    pub(crate) fn carried_by(&mut self, gateway: NodeId, millis: u64) -> &mut Self {
        let from = Instant::from_millis(millis);
        for event in self.events.iter_mut().filter(|event| event.at >= from) {
            if let EventKind::ProbeReceived { via, .. } = &mut event.kind {
                *via = Some(gateway);
            }
        }
        self
    }

    /// The events in the order of their times.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = self.events.clone();
        events.sort_by_key(|event| event.at);
        events
    }

    /// What oracles find, and the plan's expectation is this alone.
    pub(crate) fn findings(&self, expect: &str) -> Vec<Finding> {
        self.judged(&plan(expect))
    }

    fn judged(&self, plan: &Plan) -> Vec<Finding> {
        let mut events = vec![Event::new(
            Instant::ORIGIN,
            EventKind::Names(Names::of(plan)),
        )];
        events.extend(self.events());
        events.push(Event::new(Instant::from_millis(END), EventKind::End));
        judge(plan, &events)
    }

    /// What the expectation's oracle finds.
    pub(crate) fn finding(&self, oracle: &str, expect: &str) -> Finding {
        Self::expected(oracle, self.findings(expect))
    }

    /// The same where gateways are configured with this line of `[cluster]`.
    pub(crate) fn finding_with(&self, oracle: &str, cluster: &str, expect: &str) -> Finding {
        Self::expected(oracle, self.judged(&plan_with(cluster, expect)))
    }

    fn expected(oracle: &str, findings: Vec<Finding>) -> Finding {
        let findings = findings.into_iter();
        let mut expected =
            findings.filter(|finding| finding.oracle == oracle && finding.expectation == Some(0));
        expected.next().expect("the oracle must be seated")
    }
}

/// A pair, two steps named `cut` and `heal`, and this expectation.
pub(crate) fn plan(expect: &str) -> Plan {
    plan_with("", expect)
}

fn plan_with(cluster: &str, expect: &str) -> Plan {
    let text = format!(
        "format = 1\nname = \"tape\"\ntitle = \"hand-made\"\nduration = \"{END}ms\"\n\
         [cluster]\n{cluster}\n\
         [[step]]\nname = \"cut\"\nat = \"1s\"\ndo = \"kill\"\ntarget = \"a\"\n\
         [[step]]\nname = \"heal\"\nat = \"2s\"\ndo = \"start\"\ntarget = \"a\"\n\
         [[expect]]\n{expect}\n"
    );
    Scenario::parse("tape.toml", &text)
        .expect("the plan must be right")
        .plan()
        .clone()
}
