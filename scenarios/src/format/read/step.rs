//! Reads one `[[step]]`.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::error::suggest;
use super::super::{
    Moment, OnFrame, Plan, ScenarioError, Span, Step, Target, Verb, Version, When, Who,
};
use super::{Flat, Reader, is_name};

/// A step's own keys; all others are its verb's arguments.
const OWN: [&str; 5] = ["name", "at", "after", "on", "target"];

#[derive(Deserialize)]
struct Own {
    name: Option<String>,
    at: Option<Span>,
    after: Option<Moment>,
    on: Option<OnFrame>,
    target: Option<String>,
}

/// Reads a step that stands below `plan.steps`.
pub(super) fn read<'i>(
    reader: &Reader<'i>,
    table: Spanned<DeTable<'i>>,
    plan: &Plan,
) -> Result<Step, ScenarioError> {
    let mut flat = Reader::split(table, &OWN, "do");
    let verb: Verb = reader.chosen(&mut flat, "do", &OWN)?;
    let own = Spanned::new(
        flat.place.clone(),
        DeValue::Table(core::mem::take(&mut flat.own)),
    );
    let own: Own = reader.typed(own, &[])?;
    let step = Step {
        name: name(reader, &flat, own.name.as_deref(), plan)?,
        when: when(reader, &flat, &own, plan)?,
        target: target(reader, &flat, own.target.as_deref(), &verb, plan)?,
        verb,
    };
    check_arguments(reader, &flat, &step.verb, plan)?;
    Ok(step)
}

fn name(
    reader: &Reader<'_>,
    flat: &Flat<'_>,
    given: Option<&str>,
    plan: &Plan,
) -> Result<String, ScenarioError> {
    let name = match given {
        Some(name) => name.to_owned(),
        None => format!("step{}", plan.steps.len() + 1),
    };
    let wrong = |message: &str| Err(reader.fail(flat.place_of("name"), message));
    if !is_name(&name) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return wrong("a step's name has letters, digits, `-` and `_`, no digit first");
    }
    if plan.steps.iter().any(|step| step.name == name) {
        return wrong(&format!("the step `{name}` is there twice"));
    }
    Ok(name)
}

fn when(
    reader: &Reader<'_>,
    flat: &Flat<'_>,
    own: &Own,
    plan: &Plan,
) -> Result<When, ScenarioError> {
    match (own.at, &own.after, &own.on) {
        (Some(at), None, None) if at > plan.duration => {
            let message = format!("{at} is after the end of the run ({})", plan.duration);
            Err(reader.fail(flat.place_of("at"), &message))
        }
        (Some(at), None, None) => Ok(When::At(Moment::at(at))),
        (None, Some(after), None) => {
            let step = after.step.as_deref().unwrap_or_default();
            known_step(reader, flat, "after", step, plan)?;
            Ok(When::At(after.clone()))
        }
        (None, None, Some(on)) => {
            if let Some(step) = &on.after {
                known_step(reader, flat, "on", step, plan)?;
            }
            if let Some(from) = &on.from {
                Who::parse(from, &plan.layout, &plan.steps)
                    .map_err(|message| reader.fail(flat.place_of("on"), &message))?;
            }
            Ok(When::On(on.clone()))
        }
        (None, None, None) => {
            Err(reader.fail(flat.place.clone(), "a step needs `at`, `after` or `on`"))
        }
        (_, _, _) => {
            let message = "a step has only one of `at`, `after` and `on`";
            Err(reader.fail(flat.place.clone(), message))
        }
    }
}

/// Refuses a step's name that does not stand above.
fn known_step(
    reader: &Reader<'_>,
    flat: &Flat<'_>,
    key: &str,
    name: &str,
    plan: &Plan,
) -> Result<(), ScenarioError> {
    let names: Vec<&str> = plan.steps.iter().map(|step| step.name.as_str()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    let message = format!("no step above is called `{name}`");
    Err(reader
        .fail(flat.place_of(key), &message)
        .with_help(suggest(name, &names)))
}

fn target(
    reader: &Reader<'_>,
    flat: &Flat<'_>,
    given: Option<&str>,
    verb: &Verb,
    plan: &Plan,
) -> Result<Target, ScenarioError> {
    let word = verb.word();
    let place = || flat.place_of("target");
    let Some(text) = given else {
        return Err(reader.fail(place(), &format!("`{word}` needs a `target`")));
    };
    let target = Target::parse(text, &plan.layout, &plan.steps).map_err(|message| {
        let known = Target::candidates(&plan.layout, &plan.steps);
        reader
            .fail(place(), &message)
            .with_help(suggest(text, &known))
    })?;
    if !target.suits(verb.acts(), &plan.layout) {
        let message = format!("`{word}` cannot act on `{text}`");
        let help = format!("it acts on {}", verb.acts().words());
        return Err(reader.fail(place(), &message).with_help(Some(help)));
    }
    Ok(target)
}

/// What a verb is told must be possible here.
fn check_values(
    reader: &Reader<'_>,
    flat: &Flat<'_>,
    verb: &Verb,
    plan: &Plan,
) -> Result<(), ScenarioError> {
    if let Verb::Reload(changes) = verb {
        let versions = plan.topology.family.versions().len();
        let all = usize::from(plan.topology.virtual_addresses) * versions;
        return match changes.without_address {
            Some(index) if usize::from(index) >= all => {
                let message = format!("there is no virtual address {index}");
                Err(reader.fail(flat.place_of("without_address"), &message))
            }
            Some(_) | None => Ok(()),
        };
    }
    if let Verb::Check {
        passes: true,
        hangs: true,
        ..
    } = verb
    {
        let message = "a check that hangs does not pass";
        return Err(reader.fail(flat.place_of("hangs"), message));
    }
    if matches!(verb, Verb::ForeignSpeaker { .. }) && !plan.topology.family.has(Version::Ipv4) {
        let message = "a foreign speaker speaks IPv4, and nobody else does";
        let help = "`topology.family` says which versions of IP are spoken".to_owned();
        return Err(reader
            .fail(flat.place_of("do"), message)
            .with_help(Some(help)));
    }
    Ok(())
}

/// Names inside a verb's arguments must exist too.
fn check_arguments(
    reader: &Reader<'_>,
    flat: &Flat<'_>,
    verb: &Verb,
    plan: &Plan,
) -> Result<(), ScenarioError> {
    check_values(reader, flat, verb, plan)?;
    let layout = &plan.layout;
    if plan.topology.virtual_mac
        && matches!(
            verb,
            Verb::DropFrames {
                sender: Some(_),
                ..
            }
        )
    {
        let message = "frames from the virtual MAC have no `sender`";
        return Err(reader
            .fail(flat.place_of("sender"), message)
            .with_help(Some(
                "leave `sender` out, or play it without `virtual_mac`".to_owned(),
            )));
    }
    let gateways = layout.gateways.iter().map(|gateway| gateway.name.as_str());
    let hosts = layout.hosts.iter().map(|host| host.name.as_str());
    let checks = plan.cluster.checks.iter().map(|check| check.name.as_str());
    let hooks = plan.cluster.hooks.iter().map(|hook| hook.name.as_str());
    let anybody = || {
        (
            gateways.clone().chain(hosts).collect(),
            "neither a gateway nor a host",
        )
    };
    let one = core::slice::from_ref::<String>;
    let (key, names, (known, what)): (&str, &[String], (Vec<&str>, &str)) = match verb {
        Verb::SegmentSplit { apart } => ("apart", apart, anybody()),
        Verb::Forge { sender, .. } => ("sender", one(sender), anybody()),
        Verb::DropFrames {
            sender: Some(sender),
            ..
        } => ("sender", one(sender), (gateways.collect(), "no gateway")),
        Verb::Check { check: name, .. } => {
            let known = (checks.collect(), "none of `cluster.checks`");
            ("check", one(name), known)
        }
        Verb::Hook { hook: name, .. } => {
            let known = (hooks.collect(), "none of `cluster.hooks`");
            ("hook", one(name), known)
        }
        _ => return Ok(()),
    };
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let message = format!("`{name}` is {what}");
            Err(reader
                .fail(flat.place_of(key), &message)
                .with_help(suggest(name, &known)))
        }
    }
}
