//! One table of the file: takes values by name and type, and says what is left over.
//!
//! A reader that stops at the first mistake makes people mend a file line by line, so every value
//! is asked for on its own: what is missing, of a wrong type or out of range becomes a mistake and
//! the reading goes on without it. Keys that nobody asked for are unknown; [`Section::finish`]
//! says so and what was probably meant. The vendors' words are taken and noted once each.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::mistake::{Findings, Place, nearest};
use super::quantity;
use super::values::{Refusal, each_of, wrong_type};

/// Longest duration; nothing here waits for longer than a day, and sums of days never overflow.
const SPAN_MAX: Duration = Duration::from_secs(86_400);

/// A key: its name, the vendors' words for it, and an example value for the cure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    pub(super) example: &'static str,
}

impl Key {
    pub(super) const fn new(name: &'static str, example: &'static str) -> Self {
        Self {
            name,
            aliases: &[],
            example,
        }
    }

    pub(super) const fn or(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(super) fn cure(&self) -> String {
        format!("write `{} = {}`", self.name, self.example)
    }
}

/// A word of a list and what it means; the last field is set for a vendor's word: ours.
pub(super) type Word<T> = (&'static str, T, Option<&'static str>);

/// A table whose keys are taken one by one.
pub(super) struct Section<'a> {
    name: &'static str,
    /// Its header, or the whole of an inline table.
    pub(super) place: Place,
    entries: Vec<(String, Place, Spanned<DeValue<'a>>)>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(name: &'static str, place: Place, table: DeTable<'a>) -> Self {
        let entry = |(key, value): (Spanned<_>, _)| {
            let place = key.span();
            let key: std::borrow::Cow<'_, str> = key.into_inner();
            (key.into_owned(), place, value)
        };
        Self {
            name,
            place,
            entries: table.into_iter().map(entry).collect(),
            known: Vec::new(),
        }
    }

    /// A section that stands nowhere in the file.
    pub(super) fn absent(name: &'static str) -> Self {
        Self::new(name, 0..0, DeTable::new())
    }

    /// Whether a key is there, by this name alone.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, ..)| key == name)
    }

    /// A key that must be there.
    pub(super) fn demand(&self, name: &'static str, cure: &str, findings: &mut Findings) {
        self.demand_any(Key::new(name, ""), cure, findings);
    }

    /// A key that must be there, by any of its names.
    pub(super) fn demand_any(&self, key: Key, cure: &str, findings: &mut Findings) {
        if !self.holds(key.name) && !key.aliases.iter().any(|name| self.holds(name)) {
            let message = format!("missing key `{}` in `{}`", key.name, self.name);
            findings.wrong(&self.place, message, cure);
        }
    }

    /// Do not name this key to people.
    pub(super) fn forget(&mut self, name: &str) {
        self.known.retain(|known| *known != name);
    }

    /// Takes a value; of a vendor's word it notes ours.
    pub(super) fn take(
        &mut self,
        key: Key,
        findings: &mut Findings,
    ) -> Option<(Place, Spanned<DeValue<'a>>)> {
        self.known.push(key.name);
        let mut found = None;
        for name in [key.name].iter().chain(key.aliases) {
            let Some(at) = self.entries.iter().position(|(key, ..)| key == name) else {
                continue;
            };
            let (_, place, value) = self.entries.remove(at);
            if *name != key.name {
                let text = format!("`{name}` is understood as `{}`", key.name);
                findings.note(&place, name, text);
            }
            match &found {
                None => found = Some((place, value)),
                Some((first, _)) => findings.wrong_twice(
                    &place,
                    Some((first, "and here")),
                    format!("`{name}` and `{}` mean the same", key.name),
                    format!("keep `{}`", key.name),
                ),
            }
        }
        found
    }

    /// A text that is not blank.
    pub(super) fn text(&mut self, key: Key, findings: &mut Findings) -> Option<Spanned<String>> {
        let (_, value) = self.take(key, findings)?;
        let place = value.span();
        let Some(text) = value.get_ref().as_str() else {
            wrong_type(key, &value, "a text in quotes", findings);
            return None;
        };
        if text.trim().is_empty() || text.contains('\0') {
            let message = format!("`{}` is empty", key.name);
            findings.wrong(&place, message, key.cure());
            return None;
        }
        Some(Spanned::new(place, text.to_owned()))
    }

    /// Whether what is written is yes or no.
    pub(super) fn is_flag(&self, key: Key) -> bool {
        let mut written = self.entries.iter().filter(|(name, ..)| name == key.name);
        written.any(|(_, _, value)| value.get_ref().as_bool().is_some())
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, key: Key, findings: &mut Findings) -> Option<Spanned<bool>> {
        let (_, value) = self.take(key, findings)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            wrong_type(key, &value, "`true` or `false`, without quotes", findings);
        }
        Some(Spanned::new(value.span(), flag?))
    }

    /// A whole number within these bounds.
    pub(super) fn number(
        &mut self,
        key: Key,
        (least, most): (u64, u64),
        findings: &mut Findings,
    ) -> Option<Spanned<u64>> {
        let (_, value) = self.take(key, findings)?;
        let Some(integer) = value.get_ref().as_integer() else {
            wrong_type(key, &value, "a whole number, without quotes", findings);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if let Some(number) = number.filter(|number| (least..=most).contains(number)) {
            return Some(Spanned::new(value.span(), number));
        }
        let message = format!(
            "`{}` is {}; it must lie between {least} and {most}",
            key.name,
            integer.as_str()
        );
        findings.wrong(&value.span(), message, key.cure());
        None
    }

    /// A duration with its unit.
    pub(super) fn span(&mut self, key: Key, findings: &mut Findings) -> Option<Spanned<Duration>> {
        let (_, value) = self.take(key, findings)?;
        let place = value.span();
        let bare = |digits: &str| {
            let message = format!("`{}` has no unit", key.name);
            let name = key.name;
            let cure = format!("write `{name} = \"{digits}ms\"` or `{name} = \"{digits}s\"`");
            (message, cure)
        };
        let (message, cure) = match value.get_ref() {
            DeValue::String(text) => match quantity::parse(text) {
                Ok(span) if span <= SPAN_MAX => return Some(Spanned::new(place, span)),
                Ok(_) => (format!("`{text}` is longer than a day"), key.cure()),
                Err(_) if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) => {
                    bare(text)
                }
                Err(why) => (why, key.cure() + "; units are ns, us, ms, s, min, h"),
            },
            DeValue::Integer(number) => bare(number.as_str()),
            DeValue::Float(number) => bare(number.as_str()),
            DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                wrong_type(key, &value, "a duration in quotes", findings);
                return None;
            }
        };
        findings.wrong(&place, message, cure);
        None
    }

    /// One word of a list.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: Key,
        words: &[Word<T>],
        findings: &mut Findings,
    ) -> Option<Spanned<T>> {
        let text = self.text(key, findings)?;
        let place = text.span();
        let word = text.get_ref().as_str();
        if let Some((name, meaning, ours)) = words.iter().find(|(name, ..)| *name == word) {
            if let Some(ours) = ours {
                findings.note(&place, name, format!("`{name}` is understood as `{ours}`"));
            }
            return Some(Spanned::new(place, *meaning));
        }
        let ours = words.iter().filter(|(.., ours)| ours.is_none());
        let known: Vec<&str> = ours.map(|(name, ..)| *name).collect();
        let all = format!("known here: `{}`", known.join("`, `"));
        let cure = match nearest(word, &known) {
            Some(near) => format!("did you mean `{near}`? {all}"),
            None => all,
        };
        let message = format!("`{word}` is no word for `{}`", key.name);
        findings.wrong(&place, message, cure);
        None
    }

    /// One text or a list of them, each made into a value; what is wrong is told and left out.
    pub(super) fn each<T>(
        &mut self,
        key: Key,
        findings: &mut Findings,
        make: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Vec<Spanned<T>> {
        let taken = self.take(key, findings);
        taken.map_or_else(Vec::new, |(_, value)| each_of(key, value, findings, make))
    }

    /// The same where a list without a word would leave nothing: that is a mistake.
    pub(super) fn each_of_some<T>(
        &mut self,
        key: Key,
        findings: &mut Findings,
        make: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Vec<Spanned<T>> {
        let Some((_, value)) = self.take(key, findings) else {
            return Vec::new();
        };
        if matches!(value.get_ref(), DeValue::Array(words) if words.is_empty()) {
            let message = format!("`{}` is an empty list", key.name);
            let cure = format!("{}, or leave it out", key.cure());
            findings.wrong(&value.span(), message, cure);
        }
        each_of(key, value, findings, make)
    }

    /// The one table of this name.
    pub(super) fn section(&mut self, name: &'static str, findings: &mut Findings) -> Self {
        let key = Key::new(name, "{ }");
        let Some((place, value)) = self.take(key, findings) else {
            return Self::absent(name);
        };
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Self::new(name, place, table),
            DeValue::Array(_) => {
                let cure = format!("write `[{name}]` once, with single brackets");
                findings.wrong(&place, format!("`{name}` is one table, not a list"), cure);
                Self::absent(name)
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {
                let cure = format!("write `[{name}]` on a line of its own");
                findings.wrong(&span, format!("`{name}` is a table"), cure);
                Self::absent(name)
            }
        }
    }

    /// The tables of this name, `[[name]]`.
    pub(super) fn sections(
        &mut self,
        name: &'static str,
        most: usize,
        findings: &mut Findings,
    ) -> Vec<Self> {
        let Some((place, value)) = self.take(Key::new(name, "[]"), findings) else {
            return Vec::new();
        };
        let cure = format!("write `[[{name}]]`, with double brackets, once for each");
        let DeValue::Array(list) = value.into_inner() else {
            findings.wrong(&place, format!("`{name}` is a list of tables"), cure);
            return Vec::new();
        };
        if list.len() > most {
            let message = format!("{} tables `{name}`; at most {most} are allowed", list.len());
            findings.wrong(&place, message, "leave some out");
        }
        tables_of(name, list, most, &cure, findings)
    }

    /// Whatever nobody asked for is unknown. `elsewhere`: keys of other sections.
    /// Gives the section's place.
    pub(super) fn finish(self, elsewhere: &[(&str, &str)], findings: &mut Findings) -> Place {
        for (key, place, _) in &self.entries {
            let message = if self.name.is_empty() {
                format!("unknown key `{key}`")
            } else {
                format!("unknown key `{key}` in `{}`", self.name)
            };
            let home = elsewhere.iter().find(|(known, _)| known == key);
            let cure = match (nearest(key, &self.known), home) {
                (_, Some((_, home))) => format!("`{key}` belongs under `{home}`"),
                (Some(near), None) => format!("did you mean `{near}`?"),
                (None, None) => format!("known here: `{}`", self.known.join("`, `")),
            };
            findings.wrong(place, message, cure);
        }
        self.place
    }

    /// The keys that nobody asked for, with their values: for tables whose keys are names.
    pub(super) fn rest(self) -> Vec<(String, Place, Spanned<DeValue<'a>>)> {
        self.entries
    }
}

fn tables_of<'a>(
    name: &'static str,
    list: DeArray<'a>,
    most: usize,
    cure: &str,
    findings: &mut Findings,
) -> Vec<Section<'a>> {
    let mut tables = Vec::new();
    for value in list.into_iter().take(most) {
        let place = value.span();
        match value.into_inner() {
            DeValue::Table(table) => tables.push(Section::new(name, place, table)),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => {
                findings.wrong(&place, format!("`{name}` is a list of tables"), cure);
            }
        }
    }
    tables
}
