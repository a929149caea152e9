//! Reads one `[[expect]]`.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::error::suggest;
use super::super::{Allow, Check, Expectation, Moment, Plan, ScenarioError, Scope, Segment, Span};
use super::{Flat, Reader};

/// An expectation's own keys; all others are its oracle's bounds.
const OWN: [&str; 6] = ["scope", "after", "until", "hold", "allow", "reason"];

#[derive(Deserialize)]
struct Own {
    scope: Option<String>,
    after: Option<Moment>,
    until: Option<Moment>,
    hold: Option<Span>,
    allow: Option<Allow>,
    reason: Option<String>,
}

/// Reads an expectation; all steps are in `plan`.
pub(super) fn read<'i>(
    reader: &Reader<'i>,
    table: Spanned<DeTable<'i>>,
    plan: &Plan,
) -> Result<Expectation, ScenarioError> {
    let mut flat = Reader::split(table, &OWN, "oracle");
    let check: Check = reader.chosen(&mut flat, "oracle", &OWN)?;
    let own = Spanned::new(
        flat.place.clone(),
        DeValue::Table(core::mem::take(&mut flat.own)),
    );
    let own: Own = reader.typed(own, &[])?;
    let expect = Expectation {
        check,
        scope: own.scope,
        after: own.after,
        until: own.until,
        hold: own.hold,
        allow: own.allow,
        reason: own.reason,
    };
    check_scope(reader, &flat, &expect, plan)?;
    for (key, moment) in [("after", &expect.after), ("until", &expect.until)] {
        check_moment(reader, &flat, key, moment.as_ref(), plan)?;
    }
    if expect.until.is_some() && expect.hold.is_some() {
        return Err(reader.fail(flat.place_of("hold"), "only one of `until` and `hold`"));
    }
    if expect.allow.is_some() && expect.reason.is_none() {
        let message = "`allow` needs a `reason`: what is tolerated must be explained";
        return Err(reader.fail(flat.place_of("allow"), message));
    }
    if expect.reason.is_some() && expect.allow.is_none() {
        return Err(reader.fail(flat.place_of("reason"), "`reason` explains an `allow`"));
    }
    Ok(expect)
}

fn check_scope(
    reader: &Reader<'_>,
    flat: &Flat<'_>,
    expect: &Expectation,
    plan: &Plan,
) -> Result<(), ScenarioError> {
    let Some(scope) = &expect.scope else {
        return Ok(());
    };
    let served = plan
        .layout
        .segments
        .iter()
        .filter(|segment| Segment::served(segment));
    let (what, known): (&str, Vec<&str>) = match expect.check.scope() {
        Scope::Gateway => (
            "gateway",
            plan.layout
                .gateways
                .iter()
                .map(|gateway| gateway.name.as_str())
                .collect(),
        ),
        Scope::Hook => (
            "hook",
            plan.cluster
                .hooks
                .iter()
                .map(|hook| hook.name.as_str())
                .collect(),
        ),
        Scope::Segment => (
            "served segment",
            served.map(|it| it.name.as_str()).collect(),
        ),
        Scope::Stream => (
            "stream",
            plan.traffic
                .iter()
                .map(|stream| stream.name.as_str())
                .collect(),
        ),
    };
    if known.contains(&scope.as_str()) {
        return Ok(());
    }
    let message = format!("no {what} is called `{scope}`");
    let help =
        suggest(scope, &known).unwrap_or_else(|| format!("there are: `{}`", known.join("`, `")));
    Err(reader
        .fail(flat.place_of("scope"), &message)
        .with_help(Some(help)))
}

fn check_moment(
    reader: &Reader<'_>,
    flat: &Flat<'_>,
    key: &str,
    moment: Option<&Moment>,
    plan: &Plan,
) -> Result<(), ScenarioError> {
    let Some(step) = moment.and_then(|moment| moment.step.as_deref()) else {
        return Ok(());
    };
    let names: Vec<&str> = plan.steps.iter().map(|step| step.name.as_str()).collect();
    if names.contains(&step) {
        return Ok(());
    }
    let message = format!("no step is called `{step}`");
    Err(reader
        .fail(flat.place_of(key), &message)
        .with_help(suggest(step, &names)))
}
