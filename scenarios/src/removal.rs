//! Removals: what is taken away from the product to see that a story notices.
//!
//! A claim is its author's word ([`crate::claims`]) until the behaviour it speaks of is taken away
//! and a story that makes the claim fails. A removal says what is taken away as edits of the
//! product's sources, each with the word [`SWITCH`] where a condition belongs:
//!
//! ```text
//!  old   if self.tag_is_right(&word) {
//!  new   if REMOVED || self.tag_is_right(&word) {
//! ```
//! All removals are put into one copy of the sources, which is built once; which of them is on is
//! chosen when a program of that build starts ([`VARIABLE`]). So the product itself holds none of
//! this. A text that is not found exactly once stops everything: the table cannot grow stale in
//! silence.

use serde::{Deserialize, Serialize};

use crate::claims::{ClaimId, known};

/// The word that stands in an edit where the condition belongs.
pub const SWITCH: &str = "REMOVED";
/// The environment variable that names what is switched off.
pub const VARIABLE: &str = "STEADFAST_REMOVED";
/// Seeds a story is played with unless the removal says others.
const SEEDS: &str = "0..6";

/// A behaviour that is taken away, and who must notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// What it is called: small letters, figures and dashes.
    pub name: String,
    /// The claims that are wrong without what is taken away.
    pub claims: Vec<ClaimId>,
    /// How the product behaves then, in words.
    pub what: String,
    /// The story that must fail.
    pub story: String,
    /// The world it is played in: `fast`, `turmoil` or `lab`.
    #[serde(default = "fast")]
    pub world: String,
    /// Its seeds as `A..B`, the second number not included.
    #[serde(default = "seeds")]
    pub seeds: String,
    /// The oracle that must trip; a failure of any other does not count.
    pub expect: String,
    /// The removal that takes away the same, where another story shows another claim by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
    /// How it is taken away; empty with [`Self::like`].
    #[serde(rename = "edit", default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
}

/// A place in the product's sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The file, seen from the root of the sources.
    pub file: String,
    /// What stands there, exactly once.
    pub old: String,
    /// What stands there instead, with [`SWITCH`] in it.
    pub new: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "removal", default)]
    removals: Vec<Removal>,
}

impl Removal {
    /// Reads a file of removals and checks what can be checked without the sources.
    ///
    /// # Errors
    /// What is wrong, with the name of the removal where one is read.
    pub fn parse(text: &str) -> Result<Vec<Self>, String> {
        let table: Table = toml::from_str(text).map_err(|wrong| wrong.to_string())?;
        let known = known();
        for removal in &table.removals {
            let wrong = |what: &str| format!("removal `{}`: {what}", removal.name);
            let is_plain = |it: char| matches!(it, 'a'..='z' | '0'..='9' | '-');
            if removal.name.is_empty() || !removal.name.chars().all(is_plain) {
                return Err(wrong("a name is small letters, figures and dashes"));
            }
            if let Some(id) = removal.claims.iter().find(|&id| !known.contains_key(id)) {
                return Err(wrong(&format!("nobody knows the claim {}", id.as_str())));
            }
            if removal.claims.is_empty() || removal.edits.is_empty() == removal.like.is_none() {
                return Err(wrong("it needs a claim, and either edits or `like`"));
            }
            if !removal.edits.iter().all(|edit| edit.new.contains(SWITCH)) {
                return Err(wrong("an edit without the word REMOVED would always be on"));
            }
        }
        Ok(table.removals)
    }

    /// The value of [`VARIABLE`] that switches it on.
    pub fn switch(&self) -> &str {
        self.like.as_deref().unwrap_or(&self.name)
    }

    /// The condition that takes the place of [`SWITCH`]: read once in a process, at its first use.
    pub fn condition(&self) -> String {
        format!(
            "({{ static ON: ::std::sync::OnceLock<bool> = ::std::sync::OnceLock::new(); \
             *ON.get_or_init(|| ::std::env::var({VARIABLE:?}).as_deref() == Ok({:?})) }})",
            self.name
        )
    }
}

impl Edit {
    /// The text of the file with this edit in it.
    ///
    /// # Errors
    /// How often `old` was found, where that is not once.
    pub fn apply(&self, text: &str, condition: &str) -> Result<String, usize> {
        match text.matches(&self.old).count() {
            1 => Ok(text.replacen(&self.old, &self.new.replace(SWITCH, condition), 1)),
            count => Err(count),
        }
    }
}

fn fast() -> String {
    "fast".to_owned()
}

fn seeds() -> String {
    SEEDS.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"
        [[removal]]
        name = "deaf"
        claims = ["D9", "F08"]
        what = "nobody listens"
        story = "a-story"
        expect = "converges"
        [[removal.edit]]
        file = "a.rs"
        old = "if heard {"
        new = "if heard && !REMOVED {"
    "#;

    /// What is read is put in once, with a condition of its own; a text that is not there, or is
    /// there twice, is told.
    #[test]
    fn removal_is_read_and_put_in() {
        let removal = Removal::parse(ONE).unwrap().remove(0);
        assert_eq!(
            (removal.world.as_str(), removal.seeds.as_str()),
            ("fast", "0..6")
        );
        let edit = &removal.edits[0];
        let made = edit.apply("if heard { go() }", "off()").unwrap();
        assert_eq!(made, "if heard && !off() { go() }");
        assert_eq!(edit.apply("if seen {", "off()"), Err(0));
        assert_eq!(edit.apply("if heard { if heard { } }", "off()"), Err(2));
        let condition = removal.condition();
        assert!(condition.contains("STEADFAST_REMOVED") && condition.contains("\"deaf\""));
    }

    /// What could never be switched on, or shows nothing, is refused with its name.
    #[test]
    fn removal_that_cannot_work_is_refused() {
        for (from, to, expected) in [
            ("&& !REMOVED", "", "REMOVED"),
            ("\"D9\"", "\"D99\"", "D99"),
            ("\"deaf\"", "\"not so\"", "dashes"),
            ("[\"D9\", \"F08\"]", "[]", "a claim"),
            ("expect", "expects", "expects"),
        ] {
            let told = Removal::parse(&ONE.replacen(from, to, 1)).unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
    }
}
