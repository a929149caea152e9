//! A checked scenario file.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use toml::{Table, Value};

use super::read::{self, Draws};
use super::{
    Builder, Cluster, Expectation, GatewaySetup, Param, Plan, ScenarioError, Step, Stream,
    Topology, WorldSetup,
};

/// A scenario: its text, its parameters, and what seed 0 makes of it.
#[derive(Clone, Debug)]
pub struct Scenario {
    file: Arc<str>,
    text: Arc<str>,
    params: BTreeMap<String, Param>,
    plan: Plan,
}

impl Scenario {
    /// Reads and checks a file. `file` is its name in messages. Every parameter is tried at its
    /// default, at both ends of its range and at each value of its list.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let params = read::params(file, text)?;
        let defaults = draws(file, text, &params, 0)?;
        let plan = read::plan(file, text, 0, &defaults)?;
        for (name, param) in &params {
            for value in param.extremes() {
                let mut tried = defaults.clone();
                tried.insert(name.clone(), value.to_string());
                read::plan(file, text, 0, &tried)?;
            }
        }
        Ok(Self {
            file: file.into(),
            text: text.into(),
            params,
            plan,
        })
    }

    /// The scenario that a plan is one run of: generated and shrunk ones become files this way.
    pub fn from_plan(plan: &Plan) -> Result<Self, ScenarioError> {
        Self::parse(&format!("{}.toml", plan.name), &write(plan))
    }

    /// Begins a scenario in Rust.
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
    }

    /// What `seed` makes of it. Fails only if drawn values contradict each other, such as a step
    /// later than the end.
    pub fn resolve(&self, seed: u64) -> Result<Plan, ScenarioError> {
        if seed == 0 || self.params.is_empty() {
            return Ok(Plan {
                seed,
                ..self.plan.clone()
            });
        }
        let drawn = draws(&self.file, &self.text, &self.params, seed)?;
        read::plan(&self.file, &self.text, seed, &drawn)
    }

    /// What seed 0 makes of it.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its parameters by name.
    pub const fn params(&self) -> &BTreeMap<String, Param> {
        &self.params
    }

    /// The name of its file in messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Its text.
    pub fn to_toml(&self) -> &str {
        &self.text
    }
}

fn draws(
    file: &str,
    text: &str,
    params: &BTreeMap<String, Param>,
    seed: u64,
) -> Result<Draws, ScenarioError> {
    let mut drawn = Draws::new();
    for (name, param) in params {
        let value = param
            .draw(name, seed)
            .map_err(|message| read::param_error(file, text, name, &message))?;
        drawn.insert(name.clone(), value.to_string());
    }
    Ok(drawn)
}

/// A plan as a file: nothing that equals its default, no parameters.
fn write(plan: &Plan) -> String {
    let usual = plan.traffic == Stream::usual(plan.topology.family);
    let document = Document {
        format: read::FORMAT,
        name: &plan.name,
        title: &plan.title,
        claims: &plan.claims,
        duration: plan.duration.to_string(),
        long: plan.long,
        topology: differing(&plan.topology, &Topology::default()),
        cluster: differing(
            &plan.cluster,
            &Cluster {
                profile: None,
                ..Cluster::following(plan.cluster.profile)
            },
        ),
        gateway: plan
            .gateways
            .iter()
            .map(|(name, setup)| (name, differing(setup, &GatewaySetup::default())))
            .collect(),
        traffic: if usual { &[] } else { &plan.traffic },
        world: &plan.worlds,
        step: &plan.steps,
        expect: &plan.expects,
    };
    // A plan that cannot be written gives an empty text, which `parse` then refuses.
    toml::to_string(&document).unwrap_or_default()
}

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    name: &'a str,
    title: &'a str,
    claims: &'a [String],
    duration: String,
    long: bool,
    #[serde(skip_serializing_if = "Table::is_empty")]
    topology: Table,
    #[serde(skip_serializing_if = "Table::is_empty")]
    cluster: Table,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    gateway: BTreeMap<&'a String, Table>,
    #[serde(skip_serializing_if = "<[Stream]>::is_empty")]
    traffic: &'a [Stream],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    world: &'a BTreeMap<String, WorldSetup>,
    #[serde(skip_serializing_if = "<[Step]>::is_empty")]
    step: &'a [Step],
    #[serde(skip_serializing_if = "<[Expectation]>::is_empty")]
    expect: &'a [Expectation],
}

/// The fields of `value` that differ from `usual`.
fn differing<T: Serialize>(value: &T, usual: &T) -> Table {
    let table = |value: &T| match Value::try_from(value) {
        Ok(Value::Table(table)) => table,
        Ok(_) | Err(_) => Table::new(),
    };
    let usual = table(usual);
    let mut kept = table(value);
    kept.retain(|key, field| usual.get(key) != Some(field));
    kept
}

#[cfg(test)]
mod tests;
