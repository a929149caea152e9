//! The scenario file: the cluster of then, the deeds of then, and what must be true.
//!
//! The recorded node's daemon starts one second into the scenario, as a gateway that gets power at
//! its beginning does; every other time stands where the journal has it from there. Bounds are the
//! catalogue's: they say what the product promises for such a story, not what came out then. So a
//! file whose expectations fail is no mistake of the import: it is what was to be found.

use std::fmt::Write as _;
use std::time::Duration;

use steadfast_core::config::check::{CheckConfig, Cost};
use steadfast_core::role::EffectiveRole;
use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::format::{
    Builder, Check, CheckSetup, Cluster, Expectation, Moment, Preset, Span, Verb,
};
use steadfast_scenarios::{Scenario, ScenarioError};
use steadfast_shell::journal::{ConfigFacts, Examination, LifeFacts, Turn};

use super::hearing::{Hearing, Word};
use super::places::{Places, cluster, own_setup};
use super::roles;
use super::story::{Deed, Entrance, Fate, Source, Story, told};

/// From power to the daemon's first word, in a scenario.
const LEAD: Duration = Duration::from_secs(1);
/// What a cluster that was there first gets to settle in.
const SETTLED: Duration = Duration::from_secs(3);
/// What the scenario lasts longer than the journal.
const REST: Duration = Duration::from_secs(1);
/// How often a check is run that was run once.
const SECOND: Duration = Duration::from_secs(1);
/// Most steps; later ones are left out, and named.
const STEPS_MAX: usize = 1_000;

/// A scenario that a life became.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// The file, its header included.
    pub(super) scenario: Scenario,
    /// The recorded node's name in it.
    pub(super) own: &'static str,
    /// Its id in it.
    pub(super) id: NodeId,
    /// When the journal ends in it.
    pub(super) end: Instant,
    /// The roles of then that it must give, in order.
    pub(super) roles: Vec<EffectiveRole>,
    /// What it leaves out.
    pub(super) unsaid: Vec<String>,
    /// How many steps it has.
    pub(super) steps: usize,
}

/// What is known of a life.
pub(super) struct Known<'a> {
    /// What it began with.
    pub(super) facts: &'a LifeFacts,
    /// Its replay.
    pub(super) examined: &'a Examination,
    /// What was heard in it.
    pub(super) hearing: &'a Hearing,
    /// How it ended, if the next life says so.
    pub(super) fate: Option<Fate>,
    /// The record ends without a word, and nothing of it is missing before.
    pub(super) broken_off: bool,
}

/// Writes the scenario of a life.
///
/// # Errors
/// Why there can be none, in words.
pub(super) fn draft(known: &Known<'_>) -> Result<Draft, String> {
    let facts = known.facts;
    let places = Places::of(&facts.config)?;
    let source = Source {
        facts,
        hearing: known.hearing,
        places: &places,
        fate: known.fate,
        broken_off: known.broken_off,
    };
    let mut story = Story::of(&source);
    let mut unsaid = places.unsaid.clone();
    let cluster = settings(known, &mut unsaid);
    let own_boot = own_boot(&story, cluster.initial_wait.0);
    let origin = Instant::ORIGIN.after(own_boot + LEAD);
    let shifted = |at: Instant| origin.after(at.since(facts.now));
    unsaid.extend(bounded(&mut story, facts));
    let named = story.unsaid.iter();
    unsaid.extend(named.map(|(at, what)| format!("{}: {what}", told(*at, facts))));
    // What a node is while it ends is no role to compare.
    let ending = story.dying.or(known.hearing.shutdown);
    let end = ending.unwrap_or(known.hearing.end);
    let turns = known.examined.roles.as_slice();
    let turns = &turns[..turns.partition_point(|turn| turn.at <= end)];
    let end = shifted(end);
    let name = format!("imported-{}-{}", places.own(), short(known));
    let title = format!(
        "imported: a life of node {}, as its journal has it",
        facts.config.node
    );
    let begun = Scenario::builder(&name)
        .title(&title)
        .topology(places.topology.clone())
        .cluster(|settings| *settings = cluster)
        .lasting(span(end.after(REST).since(Instant::ORIGIN)))
        .gateway(places.own(), |setup| {
            *setup = own_setup(facts);
            setup.boot_at = span(own_boot);
        });
    let mut builder = with_peers(begun, &story, &places, own_boot);
    for (number, deed) in story.deeds.iter().enumerate() {
        let at = Moment::at(span(shifted(deed.at).since(Instant::ORIGIN)));
        builder = builder.step(
            &step_name(number, deed),
            at,
            &deed.target,
            deed.verb.clone(),
        );
    }
    for expectation in expectations(known, &story, &places) {
        builder = builder.expect(expectation);
    }
    let built = builder.build().map_err(|error| wrong(&error))?;
    let text = format!("{}{}", header(known, &places, &unsaid), built.to_toml());
    let scenario = Scenario::parse(&format!("{name}.toml"), &text);
    let id = built
        .plan()
        .layout
        .gateway(places.own())
        .map(|gateway| gateway.id);
    Ok(Draft {
        scenario: scenario.map_err(|error| wrong(&error))?,
        own: places.own(),
        id: id.unwrap_or_default(),
        end,
        roles: roles::stays(turns),
        unsaid,
        steps: story.deeds.len(),
    })
}

/// Keeps what a file may hold, and names the rest.
fn bounded(story: &mut Story, facts: &LifeFacts) -> Option<String> {
    let at = story.deeds.get(STEPS_MAX)?.at;
    let count = story.deeds.len() - STEPS_MAX;
    story.deeds.truncate(STEPS_MAX);
    Some(format!("{} and later: {count} more steps", told(at, facts)))
}

/// The peers as their first words introduce them.
fn with_peers(mut builder: Builder, story: &Story, places: &Places, own_boot: Duration) -> Builder {
    for (peer, entrance, first) in &story.entrances {
        let boot_at = match entrance {
            Entrance::Later(late) => own_boot + *late,
            Entrance::Earlier | Entrance::Never => Duration::ZERO,
            Entrance::Together => own_boot,
        };
        builder = builder.gateway(places.node(*peer), |setup| {
            setup.boot_at = span(boot_at);
            setup.powered = *entrance != Entrance::Never;
            if let Some(first) = first {
                introduce(setup, first);
            }
        });
    }
    builder
}

fn wrong(error: &ScenarioError) -> String {
    format!("what was written is no scenario: {error}")
}

/// Where the recorded gateway boots: at once, or when those before it had time to settle.
fn own_boot(story: &Story, initial_wait: Duration) -> Duration {
    let earlier = story.entrances.iter();
    match earlier
        .filter(|(_, it, _)| *it == Entrance::Earlier)
        .count()
    {
        0 => Duration::ZERO,
        // Whoever is alone waits before it serves.
        1 => initial_wait + SETTLED,
        _ => SETTLED,
    }
}

/// What a peer's first word says of its settings.
fn introduce(setup: &mut steadfast_scenarios::format::GatewaySetup, first: &Word) {
    use steadfast_core::wire::advert::Flags;
    setup.configured = first.configured;
    setup.maintenance = first.flags.has(Flags::MAINTENANCE);
    setup.preferred = first.flags.has(Flags::PREFERRED);
    if (1..=254).contains(&first.priority) {
        setup.priority = first.priority;
    }
}

fn step_name(number: usize, deed: &Deed) -> String {
    let word = deed.verb.word().replace('_', "-");
    format!("{word}-{}", number + 1)
}

/// To the microsecond: journals know nanoseconds, people do not.
fn span(duration: Duration) -> Span {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    Span(Duration::from_micros(micros))
}

fn short(known: &Known<'_>) -> String {
    let hash = known.examined.recorded.to_string();
    hash.chars().take(8).collect()
}

/// The catalogue's expectations for a story with these deeds.
fn expectations(known: &Known<'_>, story: &Story, places: &Places) -> Vec<Expectation> {
    let mut expected = Vec::new();
    if let [deed] = story.deeds.as_slice() {
        let step = Moment::after(&step_name(0, deed), Span::default());
        if let Some((max, lost_max)) = bound(deed, known, places) {
            let outage = Check::Outage { max, lost_max };
            expected.push(Expectation::of(outage).after(step.clone()));
            let within = if lost_max.is_some() {
                Span::default()
            } else {
                max
            };
            let active = Check::ExactlyOneActive { within };
            expected.push(Expectation::of(active).after(step));
        }
    }
    let moves = roles::moves(&known.examined.roles, known.hearing);
    // Whoever was cut off never saw who came after it.
    let cut_off = story.dying.is_some() || known.fate.is_some();
    if story.deeds.len() <= 1 && !cut_off {
        expected.push(Expectation::of(Check::NoFlap {
            max_moves: moves,
            min_moves: moves,
        }));
    }
    let last = story
        .deeds
        .last()
        .map(|deed| known.hearing.end.since(deed.at));
    if last.is_none_or(|left| left > REST) {
        let within = Span::secs(1);
        expected.push(Expectation::of(Check::Converges { within }));
    }
    expected
}

/// What the catalogue promises after this deed; a second bound where nothing may be lost.
fn bound(deed: &Deed, known: &Known<'_>, places: &Places) -> Option<(Span, Option<u32>)> {
    let cabled = match places.topology.preset {
        Preset::Pair | Preset::PairFarWitness | Preset::PairTwoCables | Preset::PairWitness => true,
        Preset::Group
        | Preset::PairNoCable
        | Preset::PairRouted
        | Preset::Trio
        | Preset::TrioWitness => false,
    };
    let timing = &known.facts.config.timing;
    let silent = timing.interval + timing.slack + timing.w_silence + Duration::from_millis(5);
    let own = deed.target == places.own();
    let turns = known.examined.roles.iter();
    let served = turns.take_while(|turn| turn.at < deed.at).last();
    let gone = own && served.is_some_and(|turn| turn.role == EffectiveRole::Active);
    let moved = gone || roles::moves(&known.examined.roles, known.hearing) > 0;
    match &deed.verb {
        Verb::PowerOff if moved && cabled => Some((Span::millis(12), None)),
        Verb::PowerOff | Verb::Freeze { .. } if moved => Some((Span(silent), None)),
        Verb::LinkDown if moved => Some((Span::millis(5), None)),
        Verb::CablePull | Verb::Command { .. } | Verb::PowerOff | Verb::Quit => {
            Some((Span::millis(2), Some(0)))
        }
        _ => None,
    }
}

/// Where it comes from, and what it leaves out.
fn header(known: &Known<'_>, places: &Places, unsaid: &[String]) -> String {
    let facts = known.facts;
    let lasted = told(known.hearing.end, facts);
    let mut text = format!(
        "# Imported from the journal of node {}: a life of {lasted} by {}.\n\
         # Decisions: {}\n# {}.\n",
        facts.config.node,
        facts.build,
        known.examined.recorded,
        places.legend()
    );
    let turn = |turn: &Turn| format!("{} at {}", roles::word(turn.role), told(turn.at, facts));
    let turns: Vec<String> = known.examined.roles.iter().map(turn).collect();
    // Writing to memory cannot fail.
    let _ = writeln!(text, "# Roles then, from its start: {}.", turns.join(", "));
    if unsaid.is_empty() {
        text.push_str("# Nothing is left out.\n");
    } else {
        text.push_str("# What no word of a scenario says:\n");
        for what in unsaid {
            let _ = writeln!(text, "#   {}", what.replace(char::is_control, " "));
        }
    }
    text
}

/// The settings that all gateways share.
fn settings(known: &Known<'_>, unsaid: &mut Vec<String>) -> Cluster {
    let config = &known.facts.config;
    Cluster {
        checks: checks(config, known.hearing),
        ..cluster(config, unsaid)
    }
}

/// Every check, run as often as it was.
fn checks(facts: &ConfigFacts, hearing: &Hearing) -> Vec<CheckSetup> {
    let setup = |check: &CheckConfig| CheckSetup {
        name: check.name.clone(),
        weight: match check.cost {
            Cost::Fault => None,
            Cost::Weight(weight) => Some(weight),
        },
        service: false,
        max_age: None,
        every: span(
            hearing
                .runs
                .get(&check.id)
                .and_then(|run| run.1)
                .unwrap_or(SECOND),
        ),
        rise: check.rise,
        fall: check.fall,
    };
    facts.checks.iter().map(setup).collect()
}
