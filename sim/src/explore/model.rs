//! The pair as a model for the checker, and what it finds on the way.

use std::collections::BTreeMap;

use std::sync::{Mutex, PoisonError};

use stateright::{Model, Property};
use steadfast_core::Instant;

use super::fault::Fault;
use super::judge::Broken;
use super::pair::Pair;
use super::run::Step;
use super::setup::Setup;

/// Steps until a started pair has settled; more is a fault of the setup.
const SETTLE_MAX: u32 = 20_000;

/// What kind of violation: the property, the theorem, and the kinds of faults in order.
pub(super) type Class = (Broken, Vec<Fault>);

/// Violations of one class.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// States in which it was met first.
    pub(super) count: u64,
    /// The story that is told: fewest faults, then shortest.
    pub(super) story: Vec<(Instant, Fault)>,
}

/// The model.
pub(super) struct Explorer {
    setup: Setup,
    start: Pair,
    pub(super) found: Mutex<BTreeMap<Class, Found>>,
}

impl Explorer {
    /// The pair, run to a steady state: one active, one standby whose evidence is armed.
    pub(super) fn new(setup: Setup, faults: u8) -> Result<Self, String> {
        let start = settled(&setup, faults)?;
        Ok(Self {
            setup,
            start,
            found: Mutex::default(),
        })
    }

    /// The steps of a story, in words: how the violation with this story comes about.
    pub(super) fn retrace(&self, story: &[(Instant, Fault)]) -> Vec<Step> {
        let mut open = vec![(self.start.clone(), Vec::new())];
        let mut known = std::collections::BTreeSet::new();
        while let Some((pair, path)) = open.pop() {
            if pair.broken.is_some() && pair.story == story {
                return path;
            }
            let mut steps = Vec::new();
            self.actions(&pair, &mut steps);
            steps.reverse();
            for step in steps {
                let Some(next) = self.next_state(&pair, step) else {
                    continue;
                };
                let told = next.story.len();
                let digest = (told, next.digest());
                if story.get(..told) == Some(&next.story[..]) && known.insert(digest) {
                    let mut path: Vec<Step> = path.clone();
                    path.push(step);
                    open.push((next, path));
                }
            }
        }
        Vec::new()
    }

    pub(super) fn tell_trace(&self, story: &[(Instant, Fault)]) {
        let mut pair = self.start.clone();
        for step in self.retrace(story) {
            pair = self.next_state(&pair, step).unwrap();
            let n = |i: usize| {
                pair.gateways[i]
                    .node
                    .as_ref()
                    .map(|n| (n.role(), n.suspects(), n.reason().1, n.epoch().0))
            };
            println!(
                "  {} {:?}: A {:?} {:?} B {:?} {:?} apply {:?} {:?} said {:b}",
                (pair.now.as_nanos() - 3_000_000_000) / 1_000_000,
                step,
                n(0),
                pair.gateways[0]
                    .kernel
                    .lease_end(pair.now)
                    .map(|at| at.since(pair.now).as_millis()),
                n(1),
                pair.gateways[1]
                    .kernel
                    .lease_end(pair.now)
                    .map(|at| at.since(pair.now).as_millis()),
                pair.gateways[0].apply.map(|a| a.1),
                pair.gateways[1].apply.map(|a| a.1),
                pair.wires.said
            );
        }
    }

    fn keep(&self, broken: Broken, pair: &Pair) {
        let mut kinds: Vec<Fault> = pair.story.iter().map(|(_, fault)| *fault).collect();
        kinds.dedup();
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = found.entry((broken, kinds));
        let entry = entry.or_insert_with(|| Found {
            count: 0,
            story: pair.story.clone(),
        });
        entry.count += 1;
        let length = |story: &[(Instant, Fault)]| match (story.first(), story.last()) {
            (Some((first, _)), Some((last, _))) => (last.since(*first), *first),
            _ => Default::default(),
        };
        if length(&pair.story) < length(&entry.story) {
            entry.story.clone_from(&pair.story);
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
        let mut next = pair.clone();
        next.step(&self.setup, step);
        next.judge(&self.setup);
        if let Some(broken) = next.broken {
            self.keep(broken, &next);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("frames in flight stay bounded", |_, pair: &Pair| {
                !pair.wires.overrun
            }),
            Property::always(
                "nothing is violated but what theory forbids",
                |_, pair: &Pair| pair.broken.is_none_or(|broken| broken.theorem.is_some()),
            ),
            Property::sometimes("a role is handed over", |_, pair: &Pair| {
                pair.watch.handover
            }),
            Property::sometimes("a dead active is succeeded", |_, pair: &Pair| {
                pair.watch.takeover
            }),
            Property::sometimes("a suspect proves alive", |_, pair: &Pair| {
                pair.watch.resolved
            }),
        ]
    }
}

/// Starts both gateways and lets them settle.
fn settled(setup: &Setup, faults: u8) -> Result<Pair, String> {
    use steadfast_core::role::EffectiveRole::{Active, Standby};
    let mut pair = Pair::new(setup, faults);
    pair.plug_in(setup);
    let enough = pair.now.after(core::time::Duration::from_millis(2_000));
    for _ in 0..SETTLE_MAX {
        let mut steps = Vec::new();
        pair.steps(&mut steps);
        let Some(step) = steps.first() else {
            return Err("the pair stands still at its start".to_owned());
        };
        pair.step(setup, *step);
        pair.judge(setup);
        pair.watch = Default::default();
        let role = |place: usize| pair.gateways[place].awake().map(|node| node.role());
        let calm = pair.wires.idle() && pair.gateways.iter().all(|it| it.apply.is_none());
        if pair.now >= enough && calm && role(0) == Some(Active) && role(1) == Some(Standby) {
            return Ok(pair);
        }
    }
    Err(format!("the pair does not settle: {pair:?}"))
}
