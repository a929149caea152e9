//! The pair as a model for the checker, and what it finds on the way.
//!
//! A violation ends its branch. The checker itself remembers one discovery for each property; the
//! model keeps one for each *class*, which is the property and the faults in order, and counts the
//! rest.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use stateright::{Model, Property};
use steadfast_core::role::EffectiveRole::{Active, Standby};
use steadfast_core::{Instant, Node};

use super::fault::{Fault, gateway_name};
use super::judge::Broken;
use super::pair::Pair;
use super::run::Step;
use super::setup::{NODES, Setup};

/// Steps until a started pair has settled; more is a fault of the setup.
const SETTLE_MAX: u32 = 20_000;
/// How long it settles: the periodic words have found their rhythm, the evidence is armed.
const SETTLE: Duration = Duration::from_secs(2);
/// How much later than the first the second gateway's daemon starts.
const SECOND: Duration = Duration::from_millis(36);
/// States looked at to retrace one story; beyond it the story stands without its steps.
const RETRACE_MAX: usize = 200_000;

/// A property, its theorem if there is one, and the faults in order.
pub(super) type Class = (Broken, Vec<Fault>);

/// Violations of one class.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Steps that led to one.
    pub(super) count: u64,
    /// The shortest story, the earliest among equals.
    pub(super) story: Vec<(Instant, Fault)>,
    /// How long after an advertisement of the active its first fault struck.
    pub(super) phase: Duration,
}

/// Names of the properties that guard against an exploration of nothing.
pub(super) const SOMETIMES: [&str; 3] = [
    "a dead active is succeeded",
    "a role is handed over",
    "a suspect proves alive",
];

/// The model.
pub(super) struct Explorer {
    pub(super) setup: Setup,
    start: Pair,
    found: Mutex<BTreeMap<Class, Found>>,
}

impl Explorer {
    /// The pair, run to a steady state: one active, one standby whose evidence is armed.
    pub(super) fn new(setup: Setup, faults: u8) -> Result<Self, String> {
        let start = settled(&setup, faults)?;
        let explorer = Self {
            setup,
            start,
            found: Mutex::default(),
        };
        if let Some(broken) = explorer.start.broken {
            explorer.keep(broken, &explorer.start);
        }
        Ok(explorer)
    }

    /// What was found so far, in order.
    pub(super) fn found(&self) -> BTreeMap<Class, Found> {
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The steps of a story, in words.
    pub(super) fn tell(&self, story: &[(Instant, Fault)]) -> Vec<String> {
        let mut pair = self.start.clone();
        let start = story.first().map_or(pair.now, |(at, _)| *at);
        let mut lines = Vec::new();
        for step in self.retrace(story) {
            pair = self.after(&pair, step);
            if pair.now >= start {
                let millis = pair.now.since(start).as_millis();
                let states: Vec<String> = (0..NODES).map(|place| outline(&pair, place)).collect();
                lines.push(format!("+{millis} ms {step}: {}", states.join(", ")));
            }
        }
        lines
    }

    /// Looks for the steps that lead to the violation with this story.
    fn retrace(&self, story: &[(Instant, Fault)]) -> Vec<Step> {
        let mut open: Vec<(Pair, Vec<Step>)> = vec![(self.start.clone(), Vec::new())];
        let mut known = BTreeSet::new();
        while let Some((pair, path)) = open.pop() {
            if pair.broken.is_some() && pair.story == story {
                return path;
            }
            let mut steps = Vec::new();
            self.actions(&pair, &mut steps);
            for step in steps.into_iter().rev() {
                let next = self.after(&pair, step);
                let told = next.story.len();
                let fits = story.get(..told) == Some(&next.story[..]);
                if fits && known.len() < RETRACE_MAX && known.insert((told, next.digest())) {
                    let path = path.iter().copied().chain([step]).collect();
                    open.push((next, path));
                }
            }
        }
        Vec::new()
    }

    fn after(&self, pair: &Pair, step: Step) -> Pair {
        let mut next = pair.clone();
        next.step(&self.setup, step);
        next.judge(&self.setup);
        for (own, before) in next.gateways.iter_mut().zip(&pair.gateways) {
            if own.kernel == before.kernel {
                own.kernel = Arc::clone(&before.kernel);
            }
        }
        next
    }

    fn keep(&self, broken: Broken, pair: &Pair) {
        let faults = pair.story.iter().map(|(_, fault)| *fault).collect();
        let fresh = Found {
            count: 0,
            story: pair.story.clone(),
            phase: pair.phase,
        };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = found.entry((broken, faults)).or_insert(fresh);
        entry.count += 1;
        if measure(&pair.story) < measure(&entry.story) {
            entry.story.clone_from(&pair.story);
            entry.phase = pair.phase;
        }
    }
}

impl Model for Explorer {
    type State = Pair;
    type Action = Step;

    fn init_states(&self) -> Vec<Pair> {
        vec![self.start.clone()]
    }

    fn actions(&self, pair: &Pair, actions: &mut Vec<Step>) {
        if pair.broken.is_some() {
            return;
        }
        pair.steps(actions);
        let mut faults = Vec::new();
        if pair.point {
            pair.faults(&mut faults);
        }
        actions.extend(faults.into_iter().map(Step::Strike));
    }

    fn next_state(&self, pair: &Pair, step: Step) -> Option<Pair> {
        let next = self.after(pair, step);
        if let Some(broken) = next.broken {
            self.keep(broken, &next);
        }
        Some(next)
    }

    /// The first one never fails unless the second does too, so the checker goes on to the end.
    fn properties(&self) -> Vec<Property<Self>> {
        let [succeeded, given, resolved] = SOMETIMES;
        vec![
            Property::always("frames in flight stay bounded", |_, pair: &Pair| {
                !pair.wires.overrun
            }),
            Property::always(
                "nothing is violated but what theory forbids",
                |_, pair: &Pair| pair.broken.is_none_or(|broken| broken.theorem.is_some()),
            ),
            Property::sometimes(succeeded, |_, pair: &Pair| pair.watch.takeover),
            Property::sometimes(given, |_, pair: &Pair| pair.watch.handover),
            Property::sometimes(resolved, |_, pair: &Pair| pair.watch.resolved),
        ]
    }
}

/// Starts both gateways, the second a while after the first so that they do not speak in the same
/// tick, and lets them settle, always taking the first thing that can happen. A pair that violates
/// something without any fault is where the exploration ends.
fn settled(setup: &Setup, faults: u8) -> Result<Pair, String> {
    let mut pair = Pair::new(setup, faults);
    pair.start(setup, 0);
    let (second, enough) = (pair.now.after(SECOND), pair.now.after(SETTLE));
    for _ in 0..SETTLE_MAX {
        if pair.now >= second && pair.gateways[1].node.is_none() {
            pair.start(setup, 1);
        }
        let mut steps = Vec::new();
        pair.steps(&mut steps);
        let Some(step) = steps.first() else {
            return Err("the pair stands still at its start".to_owned());
        };
        pair.step(setup, *step);
        pair.judge(setup);
        if pair.broken.is_some() {
            return Ok(pair);
        }
        pair.watch = Default::default();
        let role = |place: usize| pair.gateways[place].awake().map(Node::role);
        let calm = pair.wires.idle() && pair.gateways.iter().all(|it| it.apply.is_none());
        if pair.now >= enough && calm && role(0) == Some(Active) && role(1) == Some(Standby) {
            return Ok(pair);
        }
    }
    Err(format!("the pair does not settle: {pair:?}"))
}

/// How long a story is, and when it begins.
fn measure(story: &[(Instant, Fault)]) -> Option<(Duration, Instant)> {
    let ((first, _), (last, _)) = (story.first()?, story.last()?);
    Some((last.since(*first), *first))
}

/// A gateway in a few words.
fn outline(pair: &Pair, place: usize) -> String {
    let gateway = &pair.gateways[place];
    let name = gateway_name(place);
    let lease = match gateway.kernel.lease_end(pair.now) {
        Some(end) => format!("lease {} ms", end.since(pair.now).as_millis()),
        None => "no lease".to_owned(),
    };
    match &gateway.node {
        Some(node) if gateway.awake().is_some() => format!("{name} {:?}, {lease}", node.role()),
        Some(node) => format!("{name} held as {:?}, {lease}", node.role()),
        None => format!("{name} without daemon, {lease}"),
    }
}
