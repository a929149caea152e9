//! The judge: seats every oracle that a plan asks for and weighs what they saw.
//!
//! A world feeds it event by event; [`judge`] does the same with a stored trace. Bounds that a file
//! leaves open come from the plan's configuration: the drain is V + tail, the lag between kernel
//! and role the dead interval.

use core::time::Duration;

use steadfast_core::{Instant, NodeId};

use super::alerts::Alerts;
use super::at_most_one_active::AtMostOneActive;
use super::bounded::Bounded;
use super::calls::Calls;
use super::converges::Converges;
use super::exactly_one_active::ExactlyOneActive;
use super::hooks_follow::HooksFollow;
use super::kernel_matches_role::KernelMatchesRole;
use super::no_flap::NoFlap;
use super::outage::Outage;
use super::pacified_stays_out::PacifiedStaysOut;
use super::standby_is_silent::StandbyIsSilent;
use super::status_truthful::StatusTruthful;
use super::troubles::Troubles;
use super::vip_owner_agrees::VipOwnerAgrees;
use super::{Finding, Oracle, Report, Scene, Verdict, Window};
use crate::format::{AllPacified, Allow, Check, Expectation, Plan, Span, hooks_outlived};
use crate::ids::{SegmentId, StreamId};
use crate::picture::Picture;
use crate::trace::{Event, EventKind, Names};

/// How long frames are in flight where a file does not say.
const FLIGHT: Duration = Duration::from_millis(5);
/// How long hosts may point elsewhere where a file does not say.
const BELIEF: Duration = Duration::from_secs(1);
/// How long hooks' own work may take where a file does not say.
const HOOK: Duration = Duration::from_millis(500);
/// How long a status may be wrong where a file does not say.
const STATUS: Duration = Duration::from_secs(1);

/// Judges a stored trace.
pub fn judge(plan: &Plan, events: &[Event]) -> Vec<Finding> {
    let mut judge = Judge::new(plan);
    events.iter().for_each(|event| judge.observe(event));
    let end = events.last().map_or(Instant::ORIGIN, |event| event.at);
    judge.finish(end)
}

/// Follows a run and judges it.
pub struct Judge {
    picture: Picture,
    seats: Vec<Seat>,
    blind: Option<String>,
}

/// An oracle and its task.
struct Seat {
    oracle: Box<dyn Oracle>,
    window: Window,
    expectation: Option<usize>,
    task: Expectation,
    /// What is added to the task's allowance.
    slack: Duration,
}

impl Judge {
    /// At the start of a run.
    pub fn new(plan: &Plan) -> Self {
        Self::tolerating(plan, Duration::ZERO)
    }

    /// The same, with this much added to every bound on time: what a world of real time needs.
    pub fn tolerating(plan: &Plan, tolerance: Duration) -> Self {
        let bench = Bench { plan, tolerance };
        let mut seats = Vec::new();
        for check in Check::ALWAYS {
            let name = check.name();
            let replaced =
                |task: &Expectation| task.check.name() == name && task.replaces_default();
            if !plan.expects.iter().any(replaced) {
                bench.seat(None, &Expectation::of(check), &mut seats);
            }
        }
        for (index, task) in plan.expects.iter().enumerate() {
            bench.seat(Some(index), task, &mut seats);
        }
        Self {
            picture: Picture::new(&Names::of(plan)),
            seats,
            blind: None,
        }
    }

    /// What the wire has shown so far.
    pub const fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Takes the next event.
    pub fn observe(&mut self, event: &Event) {
        self.advance(event.at);
        self.picture.observe(event);
        if let EventKind::Step {
            name, done: true, ..
        } = &event.kind
        {
            for seat in &mut self.seats {
                seat.window.step_ran(name, event.at);
            }
        }
        if let EventKind::Blind { since, why } = &event.kind {
            self.blind
                .get_or_insert_with(|| format!("blind since {since}: {why}"));
        }
        for seat in &mut self.seats {
            let scene = Scene {
                picture: &self.picture,
                window: &seat.window,
            };
            seat.oracle.observe(event, &scene);
        }
    }

    /// The run ended then: all findings, in the order of the expectations, the ones that always
    /// watch first.
    pub fn finish(mut self, end: Instant) -> Vec<Finding> {
        self.advance(end);
        let strange = self.picture.strange_count();
        if strange > 0 {
            self.blind
                .get_or_insert_with(|| format!("{strange} events are unknown or out of order"));
        }
        let (picture, blind) = (&self.picture, self.blind.as_deref());
        let weigh = |seat: &mut Seat| {
            let scene = Scene {
                picture,
                window: &seat.window,
            };
            let report = seat.oracle.finish(end, &scene);
            seat.weigh(report, blind)
        };
        self.seats.iter_mut().map(weigh).collect()
    }

    fn advance(&mut self, to: Instant) {
        let from = self.picture.now();
        if to <= from {
            return;
        }
        for seat in &mut self.seats {
            if let Some((from, to)) = seat.window.clip(from, to) {
                let scene = Scene {
                    picture: &self.picture,
                    window: &seat.window,
                };
                seat.oracle.hold(from, to, &scene);
            }
        }
    }
}

impl Seat {
    fn weigh(&self, report: Report, blind: Option<&str>) -> Finding {
        let tolerated = report.first.is_some()
            && self.task.allow.is_some_and(|allow| match allow {
                Allow::Any => true,
                Allow::UpTo(span) => report.longest <= span.0.saturating_add(self.slack),
            });
        let demands = self.expectation.is_some() && self.task.allow.is_none();
        let verdict = if blind.is_some() {
            Verdict::Unknown
        } else if report.first.is_some() && !tolerated {
            Verdict::Fail
        } else if demands && !report.armed {
            Verdict::Unknown
        } else {
            Verdict::Pass
        };
        let reason = self.task.reason.as_deref().filter(|_| tolerated);
        let unarmed = (!report.armed).then(|| "never armed".to_owned());
        let notes = [
            Some(report.evidence).filter(|evidence| !evidence.is_empty()),
            reason.map(|reason| format!("tolerated: {reason}")),
            blind.map(str::to_owned),
            unarmed,
        ];
        Finding {
            oracle: self.task.check.name().to_owned(),
            scope: self.task.scope.clone().unwrap_or_default(),
            expectation: self.expectation,
            verdict,
            armed: report.armed,
            first_violation: report.first,
            violation_count: report.violation_count,
            longest_ns: u64::try_from(report.longest.as_nanos()).unwrap_or(u64::MAX),
            evidence: notes.into_iter().flatten().collect::<Vec<_>>().join("; "),
        }
    }
}

/// Makes oracles from expectations.
struct Bench<'a> {
    plan: &'a Plan,
    tolerance: Duration,
}

impl Bench<'_> {
    fn seat(&self, expectation: Option<usize>, task: &Expectation, seats: &mut Vec<Seat>) {
        let mut add = |oracle, grace, task: &Expectation| {
            seats.push(Seat {
                oracle,
                window: Window::of(task, grace),
                expectation,
                slack: self.slack(task),
                task: task.clone(),
            });
        };
        let scope = task.scope.as_deref();
        if let Check::Outage { max, lost_max } = &task.check {
            // Without a scope, every stream.
            for (stream, id) in self.plan.traffic.iter().zip((0..).map(StreamId)) {
                if scope.is_none_or(|scope| scope == stream.name) {
                    let outage = Outage::new(id, self.bound(*max), *lost_max);
                    add(
                        Box::new(outage),
                        Duration::ZERO,
                        &task.clone().on(&stream.name),
                    );
                }
            }
            return;
        }
        let mut grace = Duration::ZERO;
        if let Check::ExactlyOneActive { within } = &task.check {
            grace = self.bound(*within);
        }
        if let Check::Converges { within } = &task.check
            && task.after.is_some()
        {
            grace = self.bound(*within);
        }
        add(self.oracle(task), grace, task);
    }

    fn oracle(&self, task: &Expectation) -> Box<dyn Oracle> {
        let cluster = &self.plan.cluster;
        let drain = cluster.offer.0.saturating_add(cluster.tail.0);
        let (segment, gateway) = (self.segment(task), self.gateway(task));
        match &task.check {
            Check::Alerts { alert, within, max } => {
                let within = within.map(|within| self.bound(within));
                Box::new(Alerts::new(gateway, *alert, within, max.unwrap_or(1)))
            }
            Check::Troubles {
                trouble,
                within,
                never,
                only,
            } => {
                let within = within.map(|within| self.bound(within));
                Box::new(Troubles::new(gateway, *trouble, within, (*never, *only)))
            }
            Check::AtMostOneActive { drain: own } => {
                let drain = self.within(*own, drain);
                Box::new(AtMostOneActive::new(segment, drain))
            }
            Check::Bounded {
                unread_max,
                grown_max,
            } => Box::new(Bounded::new(gateway, *unread_max, *grown_max)),
            Check::Calls { from } => {
                let versions = self.plan.layout.family.versions();
                Box::new(Calls::new(gateway, *from, versions))
            }
            Check::Converges { within } => Box::new(Converges::new(
                segment,
                self.bound(*within),
                task.after.is_some(),
            )),
            Check::ExactlyOneActive { .. } => Box::new(ExactlyOneActive::new(
                segment,
                drain.saturating_add(self.tolerance),
            )),
            Check::HooksFollow { within } => Box::new(self.hooks_follow(task, *within)),
            Check::KernelMatchesRole { within } => {
                let within = self.within(*within, cluster.dead_interval.0);
                Box::new(KernelMatchesRole::new(gateway, within))
            }
            Check::NoFlap {
                max_moves,
                min_moves,
            } => Box::new(NoFlap::new(segment, *min_moves..=*max_moves)),
            Check::Outage { max, lost_max } => {
                Box::new(Outage::new(StreamId(0), self.bound(*max), *lost_max))
            }
            Check::PacifiedStaysOut => {
                let may_serve = cluster.all_pacified == AllPacified::Serve;
                Box::new(PacifiedStaysOut::new(gateway, may_serve))
            }
            Check::StandbyIsSilent { within } => {
                let within = self.within(*within, FLIGHT);
                Box::new(StandbyIsSilent::new(gateway, within, drain))
            }
            Check::StatusTruthful { within } => {
                Box::new(StatusTruthful::new(gateway, self.within(*within, STATUS)))
            }
            Check::VipOwnerAgrees { within } => {
                Box::new(VipOwnerAgrees::new(segment, self.within(*within, BELIEF)))
            }
        }
    }

    fn hooks_follow(&self, task: &Expectation, within: Option<Span>) -> HooksFollow {
        let hooks = &self.plan.cluster.hooks;
        let usual = hooks_outlived(hooks).saturating_add(HOOK);
        let names = hooks.iter().map(|hook| hook.name.clone());
        let within = self.within(within, usual);
        HooksFollow::new(task.scope.as_deref(), names.collect(), within)
    }

    /// What a measured time may be longer than allowed. A time without an owner is a latency as
    /// others are; one with two owners is a fault of the product, and nothing is added to it.
    fn slack(&self, task: &Expectation) -> Duration {
        match task.check {
            Check::ExactlyOneActive { .. } => self.tolerance,
            _ => Duration::ZERO,
        }
    }

    fn bound(&self, span: Span) -> Duration {
        span.0.saturating_add(self.tolerance)
    }

    fn within(&self, own: Option<Span>, usual: Duration) -> Duration {
        own.map_or(usual, |span| span.0)
            .saturating_add(self.tolerance)
    }

    fn segment(&self, task: &Expectation) -> Option<SegmentId> {
        self.plan
            .layout
            .segment(task.scope.as_deref()?)
            .map(|segment| segment.id)
    }

    fn gateway(&self, task: &Expectation) -> Option<NodeId> {
        self.plan
            .layout
            .gateway(task.scope.as_deref()?)
            .map(|gateway| gateway.id)
    }
}

#[cfg(test)]
mod tests;
