//! The world `explore`: every interleaving of a few faults, on the production core.
//!
//! Two or three production [`steadfast_core::Node`]s, each on a kernel model, the paths between
//! them, and the model checker stateright, which tries every order of decisive events and every
//! fault at every place. It proves for a small world what a campaign can only make likely. There is
//! no horizon in time: states are compared relative to now, so the exploration is complete when
//! every behaviour has met itself again.
//!
//! The hard case is what theory forbids. A violation is counted under a theorem only if the state
//! itself remembers that all evidence was blinded; whatever else is violated is a counterexample,
//! with its story, its steps, and a scenario file.
//!
//! Limits: [`PROJECTED_AWAY`], which every report prints.

mod fault;
mod glimpse;
mod judge;
mod model;
mod run;
mod setup;
mod story;
mod wires;
mod world;

use core::time::Duration;
use std::thread;

use stateright::{Checker, Model};
use steadfast_core::{Instant, Rules};

pub use fault::{Fault, Way};
pub use judge::{Oracle, Theorem};
pub use setup::Group;

use fault::tell_story;
use model::{Choice, Class, Explorer, Found, SOMETIMES};
use setup::Setup;

/// Most faults that are explored: with more the states do not fit into a machine.
pub const FAULTS_MAX: u8 = 3;
/// Most counterexamples told with steps and file; further ones are counted.
pub const TOLD_MAX: usize = 64;
/// Between two calls of the progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// What the exploration does not tell apart, or leaves out.
pub const PROJECTED_AWAY: [&str; 14] = [
    "absolute time, uptime, counters of drops, alerts and records: compared relative, or not",
    "restarts, boots and proofs of a new life: sessions are proven at the start and stay so",
    "counters and epochs further apart than 17 and 3 are equally far apart",
    "evidence older than the period in which the world repeats: armed segments stay armed unless \
     a takeover disarms them, and no segment is found silent (D12, D14)",
    "time between two ticks of 4 ms, and delays: a frame arrives in the tick in which it was sent",
    "the order of frames that decide nothing, of copies, and of messages that repeat the last one",
    "faults in an instant in which nothing happens: they strike after each decisive frame, kernel \
     action, advertisement, probe round, change of role, suspicion or lease, and each 48 ms",
    "stalls and freezes longer than 240 ms: they last for ever; a killed daemon is one stopped \
     for ever",
    "the second of two segments that no fault has told apart",
    "slow, refused and lost effects: a kernel does what it is asked before time passes",
    "hosts, switches, announcements, flows and IPv6: who is told of a takeover is for `fast`",
    "operators, preemption and configuration: the policies are the defaults",
    "whose silence it was: while one of two owners does not hear the other, and for a dead \
     interval and a lease after, both count under total loss; so does nobody, whoever is not heard",
    "when questions and announcements are next due",
];

/// How far an exploration has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// States reached, known ones included.
    pub states: u64,
    /// States that differ.
    pub unique: u64,
    /// Steps of the longest shortest path so far.
    pub depth: u64,
    /// Kinds of violations found so far that no theorem excuses.
    pub kinds: usize,
    /// Those that nobody was told of yet, each by the story that showed it first.
    pub news: Vec<String>,
}

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who was explored.
    pub group: Group,
    /// Most faults in one story.
    pub faults: u8,
    /// States reached, known ones included.
    pub states: u64,
    /// States that differ.
    pub unique: u64,
    /// Steps to the farthest state: on the shortest way, or on the one that was taken where the
    /// search goes deep first (three faults of a pair, two of three nodes).
    pub depth: u64,
    /// How far the exploration looks.
    pub horizon: String,
    /// Every state within the horizon was looked at.
    pub complete: bool,
    /// Steps in which the last of the faults struck: with none, the faults in that order were not
    /// looked at.
    pub spent: u64,
    /// Violations that no protocol avoids, by theorem.
    pub residues: Vec<Residue>,
    /// Violations of other kinds, the simplest first; at most [`TOLD_MAX`].
    pub violations: Vec<Counterexample>,
    /// Kinds of such violations, untold ones included.
    pub violation_kinds: usize,
    /// What must happen somewhere, or the exploration proves nothing; and whether it did.
    pub sometimes: Vec<(&'static str, bool)>,
}

impl Report {
    /// Complete, all faults struck somewhere, not vacuous, and nothing violated but what theory
    /// forbids.
    pub fn passed(&self) -> bool {
        let struck = self.faults == 0 || self.spent > 0;
        self.complete
            && struck
            && self.violation_kinds == 0
            && self.sometimes.iter().all(|(_, seen)| *seen)
    }
}

/// What theory forbids, met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residue {
    /// The theorem.
    pub theorem: Theorem,
    /// Steps that led to such a state.
    pub count: u64,
    /// The simplest story, in words.
    pub story: String,
}

/// A violation.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// What does not hold.
    pub oracle: Oracle,
    /// Steps that led to a violation of this kind.
    pub count: u64,
    /// The faults and when they strike, times from the first one.
    pub faults: Vec<(Duration, Fault)>,
    /// The same in words.
    pub story: String,
    /// Step by step, from the first fault on.
    pub steps: Vec<String>,
    /// The scenario file.
    pub scenario: String,
}

/// Explores the group with up to `faults` faults (at most [`FAULTS_MAX`]). With one thread two
/// explorations are equal in everything; with more, only the stories may differ among equals.
///
/// # Errors
/// A group that cannot be configured or does not settle without any fault.
///
/// # Panics
/// If the protocol does.
pub fn explore(
    group: Group,
    faults: u8,
    threads: usize,
    rules: Rules,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, String> {
    let choice = Choice::UpTo(faults.min(FAULTS_MAX));
    explored(choice, group, threads, rules, progress)
}

/// The same where these faults strike in this order, each wherever it can, and no other: what a
/// story in words left open.
///
/// # Errors
/// As [`explore`].
///
/// # Panics
/// If the protocol does.
pub fn explore_order(order: &[Fault], group: Group, rules: Rules) -> Result<Report, String> {
    let choice = Choice::Order(order.to_vec());
    explored(choice, group, 1, rules, &mut |_| {})
}

fn explored(
    choice: Choice,
    group: Group,
    threads: usize,
    rules: Rules,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, String> {
    let explorer = Explorer::new(Setup::new(group, rules)?, choice)?;
    let deep = explorer.start.budget > if group == Group::Trio { 1 } else { 2 };
    let builder = explorer.checker().threads(threads.max(1));
    // Breadth first finds the shortest stories, and holds every state at the rim at once.
    if deep {
        Ok(watched(builder.spawn_dfs(), progress))
    } else {
        Ok(watched(builder.spawn_bfs(), progress))
    }
}

fn watched(mut checker: impl Checker<Explorer>, progress: &mut dyn FnMut(Progress)) -> Report {
    let handles = checker.handles();
    while handles.iter().any(|handle| !handle.is_finished()) {
        progress(told(&checker));
        thread::sleep(PROGRESS_EVERY);
    }
    for handle in handles {
        if let Err(panic) = handle.join() {
            std::panic::resume_unwind(panic);
        }
    }
    progress(told(&checker));
    report(&checker)
}

fn told(checker: &impl Checker<Explorer>) -> Progress {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Progress {
        states: count(checker.state_count()),
        unique: count(checker.unique_state_count()),
        depth: count(checker.max_depth()),
        kinds: checker.model().kinds(),
        news: checker.model().news(),
    }
}

fn report(checker: &impl Checker<Explorer>) -> Report {
    let Progress {
        states,
        unique,
        depth,
        ..
    } = told(checker);
    let model = checker.model();
    let discoveries = checker.discoveries();
    let mut found: Vec<(Class, Found)> = model.found().into_iter().collect();
    found.sort_by_key(|((broken, kinds), found)| {
        (kinds.len(), *broken, length(&found.story), kinds.clone())
    });
    let (residues, violations): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|((broken, _), _)| broken.theorem.is_some());
    let tell = |(number, (class, found)): (usize, &(Class, Found))| {
        counterexample(model, number, class, found)
    };
    Report {
        group: model.setup.group,
        faults: model.start.budget,
        states,
        unique,
        depth,
        horizon: format!("until every behaviour repeats: {depth} steps"),
        complete: checker.is_done() && !discoveries.contains_key("frames in flight stay bounded"),
        spent: model.spent(),
        residues: Theorem::ALL
            .into_iter()
            .filter_map(|it| residue(it, &residues))
            .collect(),
        violations: violations
            .iter()
            .take(TOLD_MAX)
            .enumerate()
            .map(tell)
            .collect(),
        violation_kinds: violations.len(),
        sometimes: SOMETIMES
            .map(|name| (name, discoveries.contains_key(name)))
            .to_vec(),
    }
}

fn residue(theorem: Theorem, found: &[(Class, Found)]) -> Option<Residue> {
    let mut own = found
        .iter()
        .filter(|((broken, _), _)| broken.theorem == Some(theorem));
    let (_, simplest) = own.clone().next()?;
    let story = tell_story(&simplest.story);
    Some(Residue {
        theorem,
        count: own.by_ref().map(|(_, found)| found.count).sum(),
        story,
    })
}

fn counterexample(
    model: &Explorer,
    number: usize,
    (broken, _): &Class,
    found: &Found,
) -> Counterexample {
    let start = found.story.first().map_or(Instant::ORIGIN, |(at, _)| *at);
    let name = format!("explored-{}-{}", broken.oracle.name(), number + 1);
    let scenario = story::scenario(&model.setup, &name, *broken, found.phase, &found.story);
    Counterexample {
        oracle: broken.oracle,
        count: found.count,
        faults: found
            .story
            .iter()
            .map(|(at, fault)| (at.since(start), *fault))
            .collect(),
        story: tell_story(&found.story),
        steps: model.tell(&found.story),
        scenario: scenario.map_or_else(
            |error| format!("# failed to write the scenario: {error}\n"),
            |scenario| scenario.to_toml().to_owned(),
        ),
    }
}

fn length(story: &[(Instant, Fault)]) -> Duration {
    match (story.first(), story.last()) {
        (Some((first, _)), Some((last, _))) => last.since(*first),
        _ => Duration::ZERO,
    }
}
