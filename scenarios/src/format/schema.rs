//! The format as a JSON Schema, for editors and for other people's tools.
//!
//! Derived from the types that read the file. Where a whole value may be a parameter, numbers and
//! switches may also be texts that begin with `$`.

use std::collections::BTreeMap;

use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};

use super::{
    Allow, Check, Cluster, GatewaySetup, Moment, OnFrame, Param, Span, Stream, Topology, Verb,
    WorldSetup,
};

/// The JSON Schema (draft 2020-12) of a scenario file.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<File>();
    RecursiveTransform(allow_parameters).transform(&mut schema);
    schema.to_value()
}

/// Numbers and switches may be given by a parameter.
fn allow_parameters(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    let Some(Value::String(kind)) = object.get("type") else {
        return;
    };
    if matches!(kind.as_str(), "boolean" | "integer") {
        let kinds = json!([kind, "string"]);
        object.insert("type".to_owned(), kinds);
        object.insert("pattern".to_owned(), json!(r"^\$[A-Za-z0-9_]+$"));
    }
}

/// A scenario file.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "describes the file for the JSON Schema; never built"
)]
struct File {
    /// The version of the format: 1.
    format: u32,
    /// Letters, digits, `-` and `_`.
    name: String,
    /// One line for people.
    title: String,
    /// Requirements, rules and failures it speaks for.
    #[schemars(default)]
    claims: Vec<String>,
    /// How long it runs.
    duration: Span,
    /// Whether it is swept rarely and scaled in the lab.
    #[schemars(default)]
    long: bool,
    /// Values a seed may draw.
    #[schemars(default)]
    params: BTreeMap<String, ParamOrValue>,
    #[schemars(default)]
    topology: Topology,
    #[schemars(default)]
    cluster: Cluster,
    /// By the gateway's name.
    #[schemars(default)]
    gateway: BTreeMap<String, GatewaySetup>,
    traffic: Option<Vec<Stream>>,
    /// By the world's name.
    #[schemars(default)]
    world: BTreeMap<String, WorldSetup>,
    #[schemars(default)]
    step: Vec<StepTable>,
    #[schemars(default)]
    expect: Vec<ExpectTable>,
}

/// A parameter, or a plain value.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(
    dead_code,
    reason = "describes the file for the JSON Schema; never built"
)]
enum ParamOrValue {
    Drawn(Param),
    Number(i64),
    Switch(bool),
    Text(String),
}

/// Something that happens; exactly one of `at`, `after` and `on`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "describes the file for the JSON Schema; never built"
)]
struct StepTable {
    /// Unique in the scenario.
    name: Option<String>,
    /// When, from the start of the run.
    at: Option<Span>,
    /// When, from an earlier step.
    after: Option<Moment>,
    /// The frame that sets it off.
    on: Option<OnFrame>,
    /// A gateway, `active`, `standby`, `step.target`, one of their ports (`a.lan`), or a segment.
    target: Option<String>,
    #[schemars(flatten)]
    verb: Verb,
}

/// What is expected.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "describes the file for the JSON Schema; never built"
)]
struct ExpectTable {
    /// A stream, segment or gateway.
    scope: Option<String>,
    /// From when on.
    after: Option<Moment>,
    /// Until when.
    until: Option<Moment>,
    /// How long, instead of `until`.
    hold: Option<Span>,
    /// What is tolerated.
    allow: Option<Allow>,
    /// Why it is.
    reason: Option<String>,
    #[schemars(flatten)]
    check: Check,
}
