//! The schedule: which step runs when, and on whom.
//!
//! A world asks [`Schedule::next_deadline`], tells of frames seen ([`Schedule::frame_seen`]) and
//! takes what is due with [`Schedule::poll`]. `active` and `standby` are resolved on the picture at
//! the moment the step runs, and stay what they were under the step's name. A step whose subject
//! does not exist then is due without one: the world tells it as not done, and every expectation
//! that hangs on it becomes `unknown`.

use steadfast_core::{Instant, NodeId, PortId};

use crate::format::{Layout, Moment, OnFrame, Plan, Step, Target, When, Who};
use crate::ids::SegmentId;
use crate::picture::Picture;
use crate::trace::FrameKind;

/// Follows a plan's steps through a run.
#[derive(Clone, Debug)]
pub struct Schedule {
    layout: Layout,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    step: Step,
    /// Whose frames set it off; anyone's when absent.
    sender: Option<Who>,
    state: State,
    subject: Option<Subject>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Ran then.
    Ran(Instant),
    /// Will run then.
    Timed(Instant),
    /// Waits for a step or a frame; so many matching frames were seen.
    Waiting(u32),
}

/// A step that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its place in the plan's steps.
    pub index: usize,
    /// What it acts on; none when there is no such gateway now.
    pub subject: Option<Subject>,
    /// The subject in words, for the trace.
    pub target: String,
    /// When it became due, at `now` or before.
    pub at: Instant,
}

/// What a step acts on, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A gateway, or all its ports.
    Gateway(NodeId),
    /// One port of a gateway.
    Port(NodeId, PortId),
    /// A switch or a cable.
    Segment(SegmentId),
}

impl Schedule {
    /// At the start of a run.
    pub fn new(plan: &Plan) -> Self {
        let entries = plan.steps.iter().map(|step| Entry {
            step: step.clone(),
            sender: sender(step, plan),
            state: match &step.when {
                When::At(Moment { step: None, offset }) => {
                    State::Timed(Instant::ORIGIN.after(offset.0))
                }
                When::At(_) | When::On(_) => State::Waiting(0),
            },
            subject: None,
        });
        Self {
            layout: plan.layout.clone(),
            entries: entries.collect(),
        }
    }

    /// When the next step runs whose time is known.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.times().map(|(_, at)| at).min()
    }

    /// All steps not yet run whose time is known, with that time: for bursts of probes.
    pub fn times(&self) -> impl Iterator<Item = (usize, Instant)> + '_ {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(|(index, entry)| match entry.state {
            State::Timed(at) => Some((index, at)),
            State::Ran(_) | State::Waiting(_) => None,
        })
    }

    /// Whether any step waits for a frame now: if not, frames need not be told.
    pub fn wants_frames(&self) -> bool {
        let waits = |entry: &Entry| match (&entry.step.when, entry.state) {
            (When::On(on), State::Waiting(_)) => self.ran(on.after.as_deref()),
            (When::On(_) | When::At(_), _) => false,
        };
        self.entries.iter().any(waits)
    }

    /// Steps that the first frame of a kind sets off at once, whoever sends it, if that frame may
    /// come by `until`: for worlds that must be ready for it. Gives back each one's place in the
    /// plan, the kind of frame, and its subject as it is now.
    pub fn expectant(
        &self,
        until: Instant,
        picture: &Picture,
    ) -> impl Iterator<Item = (usize, FrameKind, Subject)> {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(move |(index, entry)| {
            let (State::Waiting(0), When::On(on)) = (entry.state, &entry.step.when) else {
                return None;
            };
            let at_once = on.wait.0.is_zero() && on.count == 1 && entry.sender.is_none();
            let subject = self.foreseen(&entry.step.target, picture)?;
            (at_once && self.begun(on.after.as_deref(), until))
                .then_some((index, on.frame, subject))
        })
    }

    /// Whether a step still waits for its first frame, which is of this kind.
    pub fn expects(&self, index: usize, kind: FrameKind) -> bool {
        self.entries.get(index).is_some_and(|entry| {
            let waits = entry.state == State::Waiting(0);
            waits && matches!(&entry.step.when, When::On(on) if on.frame == kind)
        })
    }

    /// Tells of a frame seen on a wire, and the gateway whose port it left.
    pub fn frame_seen(&mut self, at: Instant, kind: FrameKind, from: NodeId, picture: &Picture) {
        for index in 0..self.entries.len() {
            let Some(entry) = self.entries.get(index) else {
                continue;
            };
            let (State::Waiting(seen), When::On(on)) = (entry.state, &entry.step.when) else {
                continue;
            };
            if on.frame != kind || !self.wanted(entry, on, from, picture) {
                continue;
            }
            let state = if seen + 1 >= on.count {
                State::Timed(at.after(on.wait.0))
            } else {
                State::Waiting(seen + 1)
            };
            if let Some(entry) = self.entries.get_mut(index) {
                entry.state = state;
            }
        }
    }

    /// The next step that is due at `now`, earliest first, in the file's order at one instant.
    #[must_use]
    pub fn poll(&mut self, now: Instant, picture: &Picture) -> Option<Due> {
        let due = self.times().filter(|(_, at)| *at <= now);
        let (index, at) = due.min_by_key(|(index, at)| (*at, *index))?;
        let entry = self.entries.get(index)?;
        let (name, target) = (entry.step.name.clone(), entry.step.target.clone());
        let subject = self.subject(&target, picture);
        for follower in &mut self.entries {
            if let When::At(moment) = &follower.step.when
                && moment.step.as_ref() == Some(&name)
            {
                follower.state = State::Timed(now.after(moment.offset.0));
            }
        }
        let words = subject.map_or_else(|| target.to_string(), |subject| self.words(subject));
        let entry = self.entries.get_mut(index)?;
        entry.state = State::Ran(now);
        entry.subject = subject;
        Some(Due {
            index,
            subject,
            target: words,
            at,
        })
    }

    /// Whether a frame from this gateway counts now.
    fn wanted(&self, entry: &Entry, on: &OnFrame, from: NodeId, picture: &Picture) -> bool {
        let sent = |who: &Who| self.gateway(who, picture) == Some(from);
        self.ran(on.after.as_deref()) && entry.sender.as_ref().is_none_or(sent)
    }

    /// Whether the step that must run before did, if there must be one.
    fn ran(&self, before: Option<&str>) -> bool {
        before.is_none_or(|name| {
            let step = self.entries.iter().find(|entry| entry.step.name == *name);
            step.is_some_and(|entry| matches!(entry.state, State::Ran(_)))
        })
    }

    /// The same, or it will have by then.
    fn begun(&self, before: Option<&str>, until: Instant) -> bool {
        let by_then = |name: &str| {
            let step = self.entries.iter().find(|entry| entry.step.name == *name);
            step.is_some_and(|entry| matches!(entry.state, State::Timed(at) if at <= until))
        };
        self.ran(before) || before.is_some_and(by_then)
    }

    /// Whom a step would act on now; of a step before it that did not run yet, the same.
    fn foreseen(&self, target: &Target, picture: &Picture) -> Option<Subject> {
        if let Target::Gateway(Who::Same(name)) = target
            && let Some(entry) = self.entries.iter().find(|it| it.step.name == *name)
            && !matches!(entry.state, State::Ran(_))
        {
            return self.subject(&entry.step.target, picture);
        }
        self.subject(target, picture)
    }

    fn subject(&self, target: &Target, picture: &Picture) -> Option<Subject> {
        match target {
            Target::Gateway(who) => self.gateway(who, picture).map(Subject::Gateway),
            Target::Port(who, port) => {
                let id = self.gateway(who, picture)?;
                let gateway = self
                    .layout
                    .gateways
                    .iter()
                    .find(|gateway| gateway.id == id)?;
                let port = gateway.ports.iter().find(|it| it.name == *port)?;
                Some(Subject::Port(id, port.id))
            }
            Target::Segment(name) => self
                .layout
                .segment(name)
                .map(|segment| Subject::Segment(segment.id)),
        }
    }

    fn gateway(&self, who: &Who, picture: &Picture) -> Option<NodeId> {
        match who {
            Who::Active => picture.active(),
            Who::Named(name) => self.layout.gateway(name).map(|gateway| gateway.id),
            Who::Same(step) => {
                let entry = self.entries.iter().find(|entry| entry.step.name == *step)?;
                match entry.subject? {
                    Subject::Gateway(id) | Subject::Port(id, _) => Some(id),
                    Subject::Segment(_) => None,
                }
            }
            Who::Standby => picture.standby(),
        }
    }

    fn words(&self, subject: Subject) -> String {
        let gateway = |id| self.layout.gateways.iter().find(|gateway| gateway.id == id);
        let name = |id| gateway(id).map_or_else(String::new, |gateway| gateway.name.clone());
        match subject {
            Subject::Gateway(id) => name(id),
            Subject::Port(id, port) => {
                let found = gateway(id).and_then(|it| it.ports.iter().find(|it| it.id == port));
                format!(
                    "{}.{}",
                    name(id),
                    found.map_or("", |port| port.name.as_str())
                )
            }
            Subject::Segment(id) => {
                let found = self.layout.segments.get(id.index());
                found.map_or_else(String::new, |segment| segment.name.clone())
            }
        }
    }
}

/// Whose frames set a step off. The plan was checked, so the name parses.
fn sender(step: &Step, plan: &Plan) -> Option<Who> {
    match &step.when {
        When::At(_) => None,
        When::On(on) => Who::parse(on.from.as_ref()?, &plan.layout, &plan.steps).ok(),
    }
}

#[cfg(test)]
mod tests;
