//! Everything a run left behind, read once: trace, scenario, record, findings, capture.
//!
//! The trace is judged again exactly as `steadfast replay` does, with the tolerance of its world,
//! so a report says no more than the evidence does. What is missing (the scenario changed since, no
//! summary, no capture) is told on every page instead of guessed ([`Evidence::told`]).

use std::path::{Path, PathBuf};

use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::trace::{self, Event, EventKind, Names};
use steadfast_scenarios::{Finding, Plan, Verdict};

use super::capture::{self, Capture};
use crate::bundle;
use crate::cli::World;
use crate::problem::Problem;
use crate::verbs::replay;
use crate::words;

/// Everything a run left behind.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// What the numbers are called.
    pub(crate) names: Names,
    /// In the order of the trace.
    pub(crate) events: Vec<Event>,
    /// The line of each event in the trace, from 1.
    pub(crate) lines: Vec<u32>,
    /// The scenario, if it is the one that the trace is of.
    pub(crate) plan: Option<Plan>,
    /// The world, if a summary names this run.
    pub(crate) world: Option<World>,
    /// What oracles found; nothing without the scenario.
    pub(crate) findings: Vec<Finding>,
    /// Over all findings.
    pub(crate) verdict: Verdict,
    /// The BLAKE3 of the trace.
    pub(crate) hash: String,
    /// The frames, if they were recorded.
    pub(crate) capture: Capture,
    /// What is missing.
    pub(crate) told: Vec<String>,
}

impl Evidence {
    /// Of a trace, or of the one in this folder. The world is that of the summary unless given: a
    /// report is written before the summary that will name its run.
    pub(crate) fn open(path: &Path, world: Option<World>) -> Result<Self, Problem> {
        let trace = if path.is_dir() {
            path.join(bundle::TRACE)
        } else {
            path.to_owned()
        };
        let (text, hash) = replay::read(&trace)?;
        let broken = |reason| Problem::Trace {
            path: trace.clone(),
            reason,
        };
        let events = trace::read(&text).map_err(broken)?;
        let Some(EventKind::Names(names)) = events.first().map(|event| &event.kind) else {
            return Err(Problem::TraceOfNothing { path: trace });
        };
        let names = names.clone();
        let full = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.is_empty());
        let lines = full
            .map(|(at, _)| u32::try_from(at + 1).unwrap_or(u32::MAX))
            .collect();
        let plan = replay::scenario(&trace, None, &names)?.resolve(names.seed)?;
        let record = replay::recorded(&trace, &names, &hash)?;
        let world = world.or_else(|| record.and_then(|record| World::named(&record.world)));
        let capture = Capture::open(&capture::beside(&trace), &events);
        let mut evidence = Self {
            events,
            lines,
            plan: (Names::of(&plan) == names).then_some(plan),
            names,
            world,
            findings: Vec::new(),
            verdict: Verdict::Unknown,
            hash,
            capture,
            told: Vec::new(),
        };
        evidence.judge();
        Ok(evidence)
    }

    fn judge(&mut self) {
        self.told.extend(self.capture.told.iter().cloned());
        let Some(plan) = &self.plan else {
            let text = "the scenario changed since this trace was made: it is not judged";
            return self.told.push(text.to_owned());
        };
        if self.world.is_none() {
            let text = "no summary names this run: its world is not known, and bounds are exact";
            self.told.push(text.to_owned());
        }
        let world = self.world.map_or("", World::name);
        self.findings = replay::findings(plan, world, &self.events);
        self.verdict = Verdict::of(&self.findings);
    }

    /// When the run ended.
    pub(crate) fn end(&self) -> Instant {
        self.events.last().map_or(Instant::ORIGIN, |event| event.at)
    }

    /// The first step that was carried out: its place among the events, and its name.
    pub(crate) fn first_step(&self) -> Option<(usize, &str)> {
        let mut events = self.events.iter().enumerate();
        events.find_map(|(at, event)| match &event.kind {
            EventKind::Step {
                name, done: true, ..
            } => Some((at, name.as_str())),
            _ => None,
        })
    }

    /// A gateway's place among the gateways.
    pub(crate) fn place(&self, id: NodeId) -> Option<usize> {
        self.names
            .gateways
            .iter()
            .position(|gateway| gateway.id == id)
    }

    /// One line for people.
    pub(crate) fn title(&self) -> String {
        let plan = self.plan.as_ref();
        plan.map_or_else(|| self.names.scenario.clone(), |plan| plan.title.clone())
    }

    /// The one command that repeats it.
    pub(crate) fn repeat(&self) -> String {
        let world = self.world.unwrap_or(World::Fast);
        words::repeat(&self.names.scenario, world, self.names.seed)
    }
}

/// The folder of a trace, or the folder itself.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    if path.is_dir() {
        return path.to_owned();
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}
