//! The world as a model for the checker, and what it finds on the way.
//!
//! A violation ends its branch. The checker itself remembers one discovery for each property; the
//! model keeps one for each *class*, which is the property and the faults in order, and counts the
//! rest.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use stateright::{Model, Property};
use steadfast_core::role::EffectiveRole::{Active, Promoting, Standby};
use steadfast_core::{Instant, Node};

use super::fault::{Fault, gateway_name, tell_story};
use super::judge::Broken;
use super::run::Step;
use super::setup::{NODES_MAX, Setup};
use super::world::World;

/// Steps until a started world has settled; more is a fault of the setup.
const SETTLE_MAX: u32 = 20_000;
/// How long it settles: the periodic words have found their rhythm, the evidence is armed.
const SETTLE: Duration = Duration::from_secs(2);
/// How much later than the first one each gateway's daemon starts.
const STARTS: [Duration; NODES_MAX] = [
    Duration::ZERO,
    Duration::from_millis(36),
    Duration::from_millis(64),
];
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

/// Which faults strike.
#[derive(Clone, Debug)]
pub(super) enum Choice {
    /// Any, up to so many.
    UpTo(u8),
    /// These, in this order.
    Order(Vec<Fault>),
}

/// The model.
pub(super) struct Explorer {
    pub(super) setup: Setup,
    choice: Choice,
    pub(super) start: World,
    found: Mutex<BTreeMap<Class, Found>>,
    /// Steps in which the last of the faults struck.
    spent: AtomicU64,
    /// Unexcused kinds that nobody was told of yet, in words.
    news: Mutex<Vec<String>>,
}

impl Explorer {
    /// The group, run to a steady state: one active, and standbys whose evidence is armed.
    pub(super) fn new(setup: Setup, choice: Choice) -> Result<Self, String> {
        let faults = match &choice {
            Choice::UpTo(faults) => usize::from(*faults),
            Choice::Order(order) => order.iter().filter(|fault| fault.costs()).count(),
        };
        let start = settled(&setup, u8::try_from(faults).unwrap_or(u8::MAX))?;
        let explorer = Self {
            setup,
            choice,
            start,
            found: Mutex::default(),
            spent: AtomicU64::new(0),
            news: Mutex::default(),
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

    /// Kinds of violations found so far that no theorem excuses.
    pub(super) fn kinds(&self) -> usize {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let excused = |(broken, _): &&Class| broken.theorem.is_some();
        found.keys().filter(|class| !excused(class)).count()
    }

    /// Unexcused kinds that were found since this was last asked, each by the story that showed it.
    pub(super) fn news(&self) -> Vec<String> {
        core::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Steps so far in which the last of the faults struck.
    pub(super) fn spent(&self) -> u64 {
        self.spent.load(Ordering::Relaxed)
    }

    /// The steps of a story, in words.
    pub(super) fn tell(&self, story: &[(Instant, Fault)]) -> Vec<String> {
        let mut world = self.start.clone();
        let start = story.first().map_or(world.now, |(at, _)| *at);
        let mut lines = Vec::new();
        for step in self.retrace(story) {
            world = self.after(&world, step);
            if world.now >= start {
                let millis = world.now.since(start).as_millis();
                let states: Vec<String> = world.places().map(|at| outline(&world, at)).collect();
                lines.push(format!("+{millis} ms {step}: {}", states.join(", ")));
            }
        }
        lines
    }

    /// Looks for the steps that lead to the violation with this story.
    fn retrace(&self, story: &[(Instant, Fault)]) -> Vec<Step> {
        let mut open: Vec<(World, Vec<Step>)> = vec![(self.start.clone(), Vec::new())];
        let mut known = BTreeSet::new();
        while let Some((world, path)) = open.pop() {
            if world.broken.is_some() && world.story == story {
                return path;
            }
            let mut steps = Vec::new();
            self.actions(&world, &mut steps);
            for step in steps.into_iter().rev() {
                let next = self.after(&world, step);
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

    fn after(&self, world: &World, step: Step) -> World {
        let mut next = world.clone();
        next.step(&self.setup, step);
        next.judge(&self.setup);
        for (own, before) in next.gateways.iter_mut().zip(&world.gateways) {
            if own.kernel == before.kernel {
                own.kernel = Arc::clone(&before.kernel);
            }
        }
        next
    }

    fn keep(&self, broken: Broken, world: &World) {
        let faults = world.story.iter().map(|(_, fault)| *fault).collect();
        let fresh = Found {
            count: 0,
            story: world.story.clone(),
            phase: world.phase,
        };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let class = (broken, faults);
        if broken.theorem.is_none() && !found.contains_key(&class) {
            let text = format!("{}: {}", broken.oracle, tell_story(&world.story));
            let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
            news.push(text);
        }
        let entry = found.entry(class).or_insert(fresh);
        entry.count += 1;
        if measure(&world.story) < measure(&entry.story) {
            entry.story.clone_from(&world.story);
            entry.phase = world.phase;
        }
    }
}

impl Model for Explorer {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![self.start.clone()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Step>) {
        if world.broken.is_some() {
            return;
        }
        world.steps(actions);
        let mut faults = Vec::new();
        if world.point {
            world.faults(&mut faults);
        }
        if let Choice::Order(order) = &self.choice {
            let next = order.get(world.story.len());
            faults.retain(|fault| next == Some(fault));
        }
        actions.extend(faults.into_iter().map(Step::Strike));
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let next = self.after(world, step);
        let is_last = match &self.choice {
            Choice::UpTo(_) => next.budget == 0,
            Choice::Order(order) => next.story.len() == order.len(),
        };
        if is_last && matches!(step, Step::Strike(_)) {
            self.spent.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(broken) = next.broken {
            self.keep(broken, &next);
        }
        Some(next)
    }

    /// The first one never fails unless the second does too, so the checker goes on to the end.
    fn properties(&self) -> Vec<Property<Self>> {
        let [succeeded, given, resolved] = SOMETIMES;
        vec![
            Property::always("frames in flight stay bounded", |_, world: &World| {
                !world.wires.overrun
            }),
            Property::always(
                "nothing is violated but what theory forbids",
                |_, world: &World| world.broken.is_none_or(|broken| broken.theorem.is_some()),
            ),
            Property::sometimes(succeeded, |_, world: &World| world.watch.takeover),
            Property::sometimes(given, |_, world: &World| world.watch.handover),
            Property::sometimes(resolved, |_, world: &World| world.watch.resolved),
        ]
    }
}

/// Starts the gateways, each a while after the one before so that no two speak in the same tick,
/// and lets them settle, always taking the first thing that can happen. Gateways that violate
/// something without any fault are where the exploration ends.
fn settled(setup: &Setup, faults: u8) -> Result<World, String> {
    let mut world = World::new(setup, faults);
    let begin = world.now;
    let enough = begin.after(SETTLE);
    for _ in 0..SETTLE_MAX {
        for (place, later) in world.places().zip(STARTS) {
            if world.now >= begin.after(later) && world.gateways[place].node.is_none() {
                world.start(setup, place);
            }
        }
        let mut steps = Vec::new();
        world.steps(&mut steps);
        let Some(step) = steps.first() else {
            return Err("the gateways stand still at their start".to_owned());
        };
        world.step(setup, *step);
        world.judge(setup);
        if world.broken.is_some() {
            return Ok(world);
        }
        world.watch = Default::default();
        let calm = world.wires.idle() && world.gateways.iter().all(|it| it.apply.is_none());
        if world.now >= enough && calm && has_roles(&world) {
            return Ok(world);
        }
    }
    Err(format!("the gateways do not settle: {world:?}"))
}

/// Whether the first gateway serves and all others stand by.
fn has_roles(world: &World) -> bool {
    let roles = world.gateways.iter().map(|it| it.awake().map(Node::role));
    let expected = [Active].into_iter().chain(core::iter::repeat(Standby));
    roles
        .zip(expected)
        .all(|(is, expected)| is == Some(expected))
}

/// How long a story is, and when it begins.
fn measure(story: &[(Instant, Fault)]) -> Option<(Duration, Instant)> {
    let ((first, _), (last, _)) = (story.first()?, story.last()?);
    Some((last.since(*first), *first))
}

/// A gateway in a few words.
fn outline(world: &World, place: usize) -> String {
    let gateway = &world.gateways[place];
    let name = gateway_name(place);
    let lease = match gateway.kernel.lease_end(world.now) {
        Some(end) => format!("lease {} ms", end.since(world.now).as_millis()),
        None => "no lease".to_owned(),
    };
    match &gateway.node {
        Some(node) if gateway.awake().is_some() => {
            let (role, why) = (node.role(), node.reason().1);
            match role {
                Promoting => format!("{name} {role:?} ({why}), {lease}"),
                _ => format!("{name} {role:?}, {lease}"),
            }
        }
        Some(node) => format!("{name} held as {:?}, {lease}", node.role()),
        None => format!("{name} without daemon, {lease}"),
    }
}
