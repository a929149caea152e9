//! Puts drawn parameters into the parsed tree, wherever it says `$name`.
//!
//! A text that is `$name` alone becomes the parameter's value, of whatever type; inside a longer
//! text (`"cut + $wait"`) it becomes the value's text. Prose (`title`, `reason`) is left alone. A
//! name that is no parameter and a parameter that is never used are both mistakes.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::ScenarioError;
use super::super::error::suggest;
use super::{Draws, Reader, param_error};

/// Keys whose texts are for people.
const PROSE: [&str; 3] = ["title", "claims", "reason"];

/// Replaces every `$name` below `root`.
pub(super) fn put_in<'i>(
    reader: &Reader<'i>,
    root: &mut DeTable<'i>,
    drawn: &'i Draws,
) -> Result<(), ScenarioError> {
    let mut values = BTreeMap::new();
    for (name, literal) in drawn {
        let value = DeValue::parse(literal)
            .map_err(|error| param_error(reader.file, reader.text, name, error.message()))?;
        values.insert(name.as_str(), value.into_inner());
    }
    let mut filler = Filler {
        reader,
        values,
        used: BTreeSet::new(),
    };
    filler.fill_table(root)?;
    let unused = drawn
        .keys()
        .find(|name| !filler.used.contains(name.as_str()));
    match unused {
        None => Ok(()),
        Some(name) => {
            let message = format!("the parameter `{name}` is never used");
            Err(param_error(reader.file, reader.text, name, &message))
        }
    }
}

struct Filler<'r, 'i> {
    reader: &'r Reader<'i>,
    values: BTreeMap<&'i str, DeValue<'i>>,
    used: BTreeSet<&'i str>,
}

impl<'i> Filler<'_, 'i> {
    fn fill_table(&mut self, table: &mut DeTable<'i>) -> Result<(), ScenarioError> {
        for (key, value) in table.iter_mut() {
            if !PROSE.contains(&key.get_ref().as_ref()) {
                self.fill(value)?;
            }
        }
        Ok(())
    }

    /// Recursion is bounded by the parser's own nesting limit.
    fn fill(&mut self, value: &mut Spanned<DeValue<'i>>) -> Result<(), ScenarioError> {
        let place = value.span();
        match value.get_mut() {
            DeValue::Array(array) => array.iter_mut().try_for_each(|item| self.fill(item)),
            DeValue::Table(table) => self.fill_table(table),
            DeValue::String(text) if text.contains('$') => {
                let text = text.to_string();
                let filled = self
                    .filled(&text)
                    .map_err(|name| self.unknown(place, &name))?;
                *value.get_mut() = filled;
                Ok(())
            }
            DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Float(_)
            | DeValue::Integer(_)
            | DeValue::String(_) => Ok(()),
        }
    }

    /// `text` with its parameters put in, or the name that is unknown.
    fn filled(&mut self, text: &str) -> Result<DeValue<'i>, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            let length = after
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(after.len());
            let (name, tail) = after.split_at(length);
            let (known, value) = self
                .values
                .get_key_value(name)
                .ok_or_else(|| name.to_owned())?;
            self.used.insert(known);
            if before.is_empty() && tail.is_empty() && out.is_empty() {
                return Ok(value.clone());
            }
            out.push_str(before);
            match value {
                DeValue::String(text) => out.push_str(text),
                DeValue::Integer(number) => out.push_str(number.as_str()),
                other => return Err(format!("{name} (a {} inside a text)", other.type_str())),
            }
            rest = tail;
        }
        out.push_str(rest);
        Ok(DeValue::String(out.into()))
    }

    fn unknown(&self, place: core::ops::Range<usize>, name: &str) -> ScenarioError {
        let known: Vec<&str> = self.values.keys().copied().collect();
        self.reader
            .fail(place, &format!("no parameter is called `{name}`"))
            .with_help(suggest(name, &known))
    }
}
