//! Reads a scenario file into a plan, keeping the place of every value for the messages.
//!
//! The document is parsed once into a tree that knows each value's bytes; parameters are put in
//! where the tree says `$name`; then each table becomes its type, and names are checked against
//! what exists. Steps and expectations are flat tables of which one key (`do`, `oracle`) chooses
//! the type of the others, so they are split here into their own keys and the verb's arguments.
//! Limits: [`TEXT_MAX`], [`STEPS_MAX`], [`EXPECTS_MAX`], [`STREAMS_MAX`]; a larger file is refused.

use core::ops::Range;
use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use steadfast_core::hooks::{HOOKS_MAX, TIMEOUT_MAX, TIMEOUT_MIN};
use toml::de::{DeTable, DeValue, Error as TomlError, ValueDeserializer};
use toml::{Spanned, Value};

use super::error::suggest;
use super::plan::destination;
use super::{
    Cluster, GatewaySetup, HookSetup, Layout, Param, Plan, ScenarioError, Span, Stream, Topology,
    WorldSetup, vrrp,
};

mod expect;
mod params;
mod step;

/// The version of the format that this reader reads.
pub(super) const FORMAT: u32 = 1;
/// What helps where a file is no TOML at all.
const SYNTAX: &str = "TOML is `key = value` under `[header]` lines; a text is in quotes";
/// Longest file in bytes; a longer one is refused.
const TEXT_MAX: usize = 1 << 20;
/// Most steps; a file with more is refused.
const STEPS_MAX: usize = 1024;
/// Most expectations; a file with more is refused.
const EXPECTS_MAX: usize = 256;
/// Most streams; a file with more is refused.
const STREAMS_MAX: usize = 64;

/// What each parameter became, as TOML text.
pub(super) type Draws = BTreeMap<String, String>;
/// Bytes of the file.
type Place = Range<usize>;

/// Reads the parameters alone.
pub(super) fn params(file: &str, text: &str) -> Result<BTreeMap<String, Param>, ScenarioError> {
    let reader = Reader { file, text };
    let mut root = reader.root()?;
    let Some(params) = root.remove("params") else {
        return Ok(BTreeMap::new());
    };
    let place = params.span();
    let values: BTreeMap<String, Spanned<Value>> = reader.typed(params, &[])?;
    let mut found = BTreeMap::new();
    for (name, value) in values {
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message = format!("`{name}` is no name for a parameter: letters, digits, `_`");
            return Err(reader.fail(place, &message));
        }
        let at = value.span();
        let param = match value.into_inner() {
            table @ Value::Table(_) => table
                .try_into()
                .map_err(|error: TomlError| reader.fail(at, error.message()))?,
            plain => Param::fixed(plain),
        };
        found.insert(name, param);
    }
    Ok(found)
}

/// A mistake in the parameter called `name`.
pub(super) fn param_error(file: &str, text: &str, name: &str, message: &str) -> ScenarioError {
    let reader = Reader { file, text };
    let place = reader.root().ok().and_then(|root| {
        let params = root.get("params")?.get_ref().as_table()?;
        params.get(name).map(Spanned::span)
    });
    reader.fail(place.unwrap_or(0..0), message)
}

/// Reads the whole file with these parameters put in.
pub(super) fn plan(
    file: &str,
    text: &str,
    seed: u64,
    drawn: &Draws,
) -> Result<Plan, ScenarioError> {
    let reader = Reader { file, text };
    let mut root = reader.root()?;
    root.remove("params");
    params::put_in(&reader, &mut root, drawn)?;
    let places = Places::of(&root);
    let steps = reader.tables(root.remove("step"), "step", STEPS_MAX)?;
    let expects = reader.tables(root.remove("expect"), "expect", EXPECTS_MAX)?;
    let whole = Spanned::new(0..text.len().min(1), DeValue::Table(root));
    let mut head: Head = reader.typed(whole, &["params", "step", "expect"])?;
    head.cluster
        .follow_profile(|key| places.has(&format!("cluster.{key}")));
    head.cluster
        .follow_vrrp(|key| places.has(&format!("cluster.{key}")));
    let layout = Layout::new(&head.topology)
        .map_err(|message| reader.fail(places.of_key("topology"), &message))?;
    let mut plan = Plan {
        seed,
        drawn: drawn.clone(),
        name: head.name,
        title: head.title,
        claims: head.claims,
        duration: head.duration,
        long: head.long,
        traffic: head
            .traffic
            .unwrap_or_else(|| Stream::usual(head.topology.family)),
        topology: head.topology,
        layout,
        cluster: head.cluster,
        gateways: head.gateway,
        worlds: head.world,
        steps: Vec::new(),
        expects: Vec::new(),
    };
    reader.check_head(head.format, &plan, &places)?;
    reader.check_traffic(&plan, &places)?;
    for table in steps {
        let step = step::read(&reader, table, &plan)?;
        plan.steps.push(step);
    }
    for table in expects {
        let expect = expect::read(&reader, table, &plan)?;
        plan.expects.push(expect);
    }
    if let Some((key, message)) = vrrp::wrong(&plan) {
        return Err(reader.fail(places.of_key(&key), &message));
    }
    Ok(plan)
}

/// All keys of the file but steps, expectations and parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: u32,
    name: String,
    title: String,
    #[serde(default)]
    claims: Vec<String>,
    duration: Span,
    #[serde(default)]
    long: bool,
    #[serde(default)]
    topology: Topology,
    #[serde(default)]
    cluster: Cluster,
    #[serde(default)]
    gateway: BTreeMap<String, GatewaySetup>,
    traffic: Option<Vec<Stream>>,
    #[serde(default)]
    world: BTreeMap<String, WorldSetup>,
}

/// Where the keys of the file are, two levels deep.
struct Places(BTreeMap<String, Place>);

impl Places {
    fn of(root: &DeTable<'_>) -> Self {
        let mut places = BTreeMap::new();
        for (key, value) in root {
            let name = key.get_ref().to_string();
            for (inner, _) in value.get_ref().as_table().into_iter().flatten() {
                places.insert(format!("{name}.{}", inner.get_ref()), inner.span());
            }
            let array = value.get_ref().as_array().into_iter().flatten();
            for (index, item) in array.enumerate() {
                places.insert(format!("{name}.{index}"), item.span());
            }
            places.insert(name, key.span());
        }
        Self(places)
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn of_key(&self, key: &str) -> Place {
        self.0.get(key).cloned().unwrap_or(0..0)
    }
}

/// A flat table on its way to a type.
struct Flat<'i> {
    place: Place,
    /// Every key and where it is.
    keys: Vec<(String, Place)>,
    /// Its own keys.
    own: DeTable<'i>,
    /// The key that chooses the type.
    tag: Option<Spanned<DeValue<'i>>>,
    /// The others.
    rest: DeTable<'i>,
}

impl Flat<'_> {
    /// Where the value of `key` is; the whole table when it is absent.
    fn place_of(&self, key: &str) -> Place {
        let found = self.keys.iter().find(|(name, _)| name == key);
        found.map_or_else(|| self.place.clone(), |(_, place)| place.clone())
    }
}

struct Reader<'i> {
    file: &'i str,
    text: &'i str,
}

impl<'i> Reader<'i> {
    fn fail(&self, place: Place, message: &str) -> ScenarioError {
        ScenarioError::new(self.file, self.text, place, message)
    }

    fn root(&self) -> Result<DeTable<'i>, ScenarioError> {
        if self.text.len() > TEXT_MAX {
            return Err(self.fail(0..0, &format!("longer than {TEXT_MAX} bytes")));
        }
        DeTable::parse(self.text)
            .map(Spanned::into_inner)
            .map_err(|error| {
                self.fail(error.span().unwrap_or(0..0), error.message())
                    .with_help(Some(SYNTAX.to_owned()))
            })
    }

    /// Makes a typed value; `more` are keys that would be known here beside the type's own.
    fn typed<T: DeserializeOwned>(
        &self,
        value: Spanned<DeValue<'_>>,
        more: &[&str],
    ) -> Result<T, ScenarioError> {
        let place = value.span();
        T::deserialize(ValueDeserializer::from(value)).map_err(|error| {
            let place = error.span().unwrap_or(place);
            self.fail(place, error.message())
                .knowing(error.message(), more)
        })
    }

    /// The tables of an array of tables.
    fn tables(
        &self,
        value: Option<Spanned<DeValue<'i>>>,
        name: &str,
        max: usize,
    ) -> Result<Vec<Spanned<DeTable<'i>>>, ScenarioError> {
        let Some(value) = value else {
            return Ok(Vec::new());
        };
        let place = value.span();
        let shape = format!("`{name}` must be written `[[{name}]]`");
        let DeValue::Array(array) = value.into_inner() else {
            return Err(self.fail(place, &shape));
        };
        if array.len() > max {
            return Err(self.fail(place, &format!("more than {max} of `{name}`")));
        }
        let table = |item: Spanned<DeValue<'i>>| {
            let place = item.span();
            match item.into_inner() {
                DeValue::Table(table) => Ok(Spanned::new(place, table)),
                _ => Err(self.fail(place, &shape)),
            }
        };
        array.into_iter().map(table).collect()
    }

    /// Parts a flat table into its own keys, the choosing key and the rest.
    fn split(table: Spanned<DeTable<'i>>, own_keys: &[&str], tag_key: &str) -> Flat<'i> {
        let mut flat = Flat {
            place: table.span(),
            keys: Vec::new(),
            own: DeTable::new(),
            tag: None,
            rest: DeTable::new(),
        };
        for (key, value) in table.into_inner() {
            let name = key.get_ref().to_string();
            flat.keys.push((name.clone(), value.span()));
            if name == tag_key {
                flat.tag = Some(value);
            } else if own_keys.contains(&name.as_str()) {
                flat.own.insert(key, value);
            } else {
                flat.rest.insert(key, value);
            }
        }
        flat
    }

    /// Makes the enum that the choosing key names, from the rest of the table.
    fn chosen<T: DeserializeOwned>(
        &self,
        flat: &mut Flat<'i>,
        tag_key: &str,
        own_keys: &[&str],
    ) -> Result<T, ScenarioError> {
        let missing = format!("missing key `{tag_key}`");
        let tag = flat
            .tag
            .take()
            .ok_or_else(|| self.fail(flat.place.clone(), &missing))?;
        let place = tag.span();
        let Some(word) = tag.get_ref().as_str().map(str::to_owned) else {
            return Err(self.fail(place, &format!("`{tag_key}` must be a word")));
        };
        let rest = core::mem::take(&mut flat.rest);
        let first = rest
            .keys()
            .next()
            .map(|key| (key.get_ref().to_string(), key.span()));
        let mut outer = DeTable::new();
        outer.insert(
            Spanned::new(place.clone(), Cow::Owned(word)),
            Spanned::new(flat.place.clone(), DeValue::Table(rest)),
        );
        let value = Spanned::new(place, DeValue::Table(outer));
        self.typed(value, own_keys).map_err(|error| match first {
            // A word without arguments was given one.
            Some((key, at)) if error.to_string() == "expected empty table" => {
                let message = format!("unknown field `{key}`, there are no fields");
                self.fail(at, &message)
                    .knowing(&format!("unknown field `{key}`"), own_keys)
            }
            Some(_) | None => error,
        })
    }

    fn check_head(&self, format: u32, plan: &Plan, places: &Places) -> Result<(), ScenarioError> {
        let wrong = |key: &str, message: &str| Err(self.fail(places.of_key(key), message));
        if format != FORMAT {
            return wrong(
                "format",
                &format!("this reader knows `format = {FORMAT}` alone"),
            );
        }
        if !is_name(&plan.name) {
            return wrong("name", "a name has letters, digits, `-` and `_`");
        }
        if plan.duration == Span::default() {
            return wrong("duration", "the run must last longer than nothing");
        }
        if let Some(message) = wrong_hook(&plan.cluster.hooks) {
            return wrong("cluster.hooks", &message);
        }
        for (name, setup) in &plan.gateways {
            let key = format!("gateway.{name}");
            if plan.layout.gateway(name).is_none() {
                let names: Vec<&str> = plan
                    .layout
                    .gateways
                    .iter()
                    .map(|gateway| gateway.name.as_str())
                    .collect();
                let message = format!("no gateway is called `{name}`");
                return wrong(&key, &message).map_err(|error: ScenarioError| {
                    let help = format!("there are: `{}`", names.join("`, `"));
                    error.with_help(suggest(name, &names).or(Some(help)))
                });
            }
            if setup.priority == 0 || setup.priority == u8::MAX {
                return wrong(&key, "`priority` is 1 to 254");
            }
            if let Some(message) = wrong_file(name, setup, &plan.layout) {
                return wrong(&key, &message);
            }
        }
        Ok(())
    }

    fn check_traffic(&self, plan: &Plan, places: &Places) -> Result<(), ScenarioError> {
        let wrong = |index: usize, message: &str| {
            Err(self.fail(places.of_key(&format!("traffic.{index}")), message))
        };
        for (index, stream) in plan.traffic.iter().enumerate() {
            let name = &stream.name;
            if index >= STREAMS_MAX {
                return wrong(index, &format!("more than {STREAMS_MAX} streams"));
            }
            if !is_name(name) {
                return wrong(index, "a stream's name has letters, digits, `-` and `_`");
            }
            if plan
                .traffic
                .iter()
                .take(index)
                .any(|other| other.name == *name)
            {
                return wrong(index, &format!("the stream `{name}` is there twice"));
            }
            if plan.layout.host(&stream.from).is_none() {
                return wrong(index, &format!("`{}` is no host", stream.from));
            }
            if let Some(version) = stream.version.filter(|it| !plan.topology.family.has(*it)) {
                let message = format!("nobody speaks {} here", version.word());
                return Err(self
                    .fail(places.of_key(&format!("traffic.{index}")), &message)
                    .with_help(Some("`topology.family` says which versions".to_owned())));
            }
            if destination(&stream.to, &plan.layout).is_none() {
                let message = format!("`{}` is neither a host nor `vip.<segment>`", stream.to);
                return wrong(index, &message);
            }
        }
        Ok(())
    }
}

/// What the product would refuse, of which a run could not be told apart, or of which no file.
fn wrong_hook(hooks: &[HookSetup]) -> Option<String> {
    if hooks.len() > HOOKS_MAX {
        return Some(format!("more than {HOOKS_MAX} hooks"));
    }
    let twice = |place: usize, name: &str| hooks.iter().take(place).any(|it| it.name == name);
    hooks.iter().enumerate().find_map(|(place, hook)| {
        let HookSetup { name, timeout } = hook;
        if !is_name(name) {
            return Some("a hook's name has letters, digits, `-` and `_`".to_owned());
        }
        if twice(place, name) {
            return Some(format!("the hook `{name}` is there twice"));
        }
        (!(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout.0))
            .then(|| format!("`timeout` of `{name}` is 100 ms to 10 min"))
    })
}

/// What a gateway's file cannot leave out.
fn wrong_file(name: &str, setup: &GatewaySetup, layout: &Layout) -> Option<String> {
    let own = layout.gateway(name)?;
    let others = |other: &&String| {
        let found = layout.gateway(other);
        found.is_none_or(|found| found.witness || found.id == own.id)
    };
    if let Some(other) = setup.unlisted.iter().find(others) {
        return Some(format!("`unlisted`: `{other}` is no other gateway"));
    }
    let copied = &setup.same_id_as;
    if !copied.is_empty() && others(&copied) {
        return Some(format!("`same_id_as`: `{copied}` is no other gateway"));
    }
    let ports = |port: &&String| !own.ports.iter().any(|it| it.name == **port);
    let port = setup.unwatched.iter().find(ports)?;
    Some(format!("`unwatched`: `{name}` has no port `{port}`"))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}
