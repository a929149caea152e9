//! Steps: when something happens, and to whom.
//!
//! Times hang on named steps, so that a file stays true when a fault moves. `active` and `standby`
//! are resolved on wire evidence when the step runs and stay what they were under the step's name:
//! after a failover `cut.target` is still the gateway that was cut.

use core::fmt;
use core::str::FromStr;
use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::verb::Acts;
use super::{Layout, SegmentKind, Span, Verb};
use crate::trace::FrameKind;

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Unique in the scenario; `step1`, `step2`, … where the file gives none.
    pub name: String,
    /// When.
    pub when: When,
    /// To whom.
    pub target: Target,
    /// What.
    pub verb: Verb,
}

/// When a step runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// At a time, or so long after an earlier step ran.
    At(Moment),
    /// When a frame is first seen on any wire.
    On(OnFrame),
}

/// A time: `3s`, `cut`, or `cut + 200ms`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The step counted from; the start of the run when absent.
    pub step: Option<String>,
    /// How long after it.
    pub offset: Span,
}

/// A frame that sets a step off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnFrame {
    /// Its kind.
    pub frame: FrameKind,
    /// The gateway that sent it (name, `active`, `standby` or `step.target`); any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Frames before this step do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The how manieth such frame; 1 when absent.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub count: u32,
    /// How long after the frame the step runs.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wait: Span,
}

/// Which gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The one that owns the virtual addresses when the step runs.
    Active,
    /// This one.
    Named(String),
    /// The one that the earlier step of this name acted on.
    Same(String),
    /// The one that is up and does not own them.
    Standby,
}

/// What a step acts on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A gateway, and for verbs that act on ports all of its ports.
    Gateway(Who),
    /// One port of a gateway, by the name of its segment.
    Port(Who, String),
    /// A switch or a cable.
    Segment(String),
}

impl Target {
    /// Reads a target; `earlier` are the steps above, for `name.target`.
    pub fn parse(text: &str, layout: &Layout, earlier: &[Step]) -> Result<Self, String> {
        if layout.segment(text).is_some() {
            return Ok(Self::Segment(text.to_owned()));
        }
        if let Ok(who) = Who::parse(text, layout, earlier) {
            return Ok(Self::Gateway(who));
        }
        if let Some((who, port)) = text.rsplit_once('.')
            && layout.segment(port).is_some()
        {
            return Who::parse(who, layout, earlier).map(|who| Self::Port(who, port.to_owned()));
        }
        Err(format!(
            "`{text}` names no gateway, port, segment or earlier step's target"
        ))
    }

    /// Whether a verb that acts so can act on this.
    pub fn suits(&self, acts: Acts, layout: &Layout) -> bool {
        let kind = match self {
            Self::Segment(name) => layout.segment(name).map(|segment| segment.kind),
            Self::Gateway(_) | Self::Port(..) => None,
        };
        match acts {
            Acts::Cable => kind == Some(SegmentKind::Cable),
            Acts::Gateway => matches!(self, Self::Gateway(_)),
            Acts::Port => kind.is_none(),
            Acts::PortOrCable => kind != Some(SegmentKind::Switch),
            Acts::PortOrSegment => true,
            Acts::Switch => kind == Some(SegmentKind::Switch),
        }
    }

    /// Every text that would be a target here: for suggestions.
    pub fn candidates(layout: &Layout, earlier: &[Step]) -> Vec<String> {
        let mut whos = vec!["active".to_owned(), "standby".to_owned()];
        whos.extend(layout.gateways.iter().map(|gateway| gateway.name.clone()));
        whos.extend(earlier.iter().map(|step| format!("{}.target", step.name)));
        let segments = || layout.segments.iter().map(|segment| segment.name.clone());
        let ports: Vec<String> = whos
            .iter()
            .flat_map(|who| segments().map(move |segment| format!("{who}.{segment}")))
            .collect();
        whos.into_iter().chain(segments()).chain(ports).collect()
    }
}

impl Who {
    /// Reads a gateway's name, `active`, `standby` or `step.target`.
    pub fn parse(text: &str, layout: &Layout, earlier: &[Step]) -> Result<Self, String> {
        match text {
            "active" => return Ok(Self::Active),
            "standby" => return Ok(Self::Standby),
            name if layout.gateway(name).is_some() => return Ok(Self::Named(name.to_owned())),
            _ => {}
        }
        let step = text.strip_suffix(".target").filter(|name| {
            let found = earlier.iter().find(|step| step.name == *name);
            found.is_some_and(|step| !matches!(step.target, Target::Segment(_)))
        });
        step.map(|name| Self::Same(name.to_owned()))
            .ok_or_else(|| format!("`{text}` names no gateway"))
    }
}

impl Moment {
    /// So long after the start of the run.
    pub const fn at(offset: Span) -> Self {
        Self { step: None, offset }
    }

    /// So long after a step ran.
    pub fn after(step: &str, offset: Span) -> Self {
        Self {
            step: Some(step.to_owned()),
            offset,
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(Self::at(text.parse()?));
        }
        let (step, offset) = match text.split_once('+') {
            Some((step, offset)) => (step.trim(), offset.parse()?),
            None => (text, Span::default()),
        };
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        if step.is_empty() || !step.chars().all(plain) {
            return Err(format!(
                "`{text}` is not a time: write `3s`, `step` or `step + 200ms`"
            ));
        }
        Ok(Self::after(step, offset))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            None => write!(f, "{}", self.offset),
            Some(step) if self.offset == Span::default() => f.write_str(step),
            Some(step) => write!(f, "{step} + {}", self.offset),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(who) => write!(f, "{who}"),
            Self::Port(who, port) => write!(f, "{who}.{port}"),
            Self::Segment(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => f.write_str("active"),
            Self::Named(name) => f.write_str(name),
            Self::Same(step) => write!(f, "{step}.target"),
            Self::Standby => f.write_str("standby"),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "a time: \"3s\", \"step\" or \"step + 200ms\"",
        })
    }
}

/// Writes a step as one flat table: its own keys, then the verb's arguments.
impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        match &self.when {
            When::At(moment) if moment.step.is_none() => map.serialize_entry("at", moment)?,
            When::At(moment) => map.serialize_entry("after", moment)?,
            When::On(frame) => map.serialize_entry("on", frame)?,
        }
        map.serialize_entry("target", &self.target.to_string())?;
        tagged(&mut map, "do", &self.verb)?;
        map.end()
    }
}

/// Writes an enum's variant under `tag` and its fields beside it; empty values are left out.
pub(super) fn tagged<M: SerializeMap, T: Serialize>(
    map: &mut M,
    tag: &'static str,
    value: &T,
) -> Result<(), M::Error> {
    use serde::ser::Error;
    match toml::Value::try_from(value).map_err(M::Error::custom)? {
        toml::Value::String(word) => map.serialize_entry(tag, &word),
        toml::Value::Table(table) => {
            for (word, fields) in table {
                map.serialize_entry(tag, &word)?;
                for (key, field) in fields.as_table().into_iter().flatten() {
                    map.serialize_entry(key, field)?;
                }
            }
            Ok(())
        }
        other => Err(M::Error::custom(format!(
            "{other} is neither word nor table"
        ))),
    }
}

const fn first() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_first(count: &u32) -> bool {
    *count == 1
}

fn is_zero(span: &Span) -> bool {
    *span == Span::default()
}
