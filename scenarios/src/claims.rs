//! Claims: what stories are for, and what each id means.
//!
//! A scenario names in `claims` what it shows: rules of the protocol, failures seen in the field,
//! requirements. What there is to claim stands in `claims.toml`, so an id that nobody knows is a
//! mistake and one that nobody claims is a gap. The limit: a claim is its author's word. That a
//! story fails without what it claims is shown by taking that away ([`crate::removal`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

const KNOWN: &str = include_str!("../claims.toml");

/// The id of a claim, in the order in which people count: D2 before D10, R1.2 before R1.10.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimId {
    kind: char,
    numbers: Vec<u16>,
    text: String,
}

impl ClaimId {
    /// Its letters and figures.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for ClaimId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no claim: D9, F08 and R3.2 are");
        let mut letters = text.chars();
        let kind = letters.next().filter(|kind| "DFR".contains(*kind));
        let kind = kind.ok_or_else(wrong)?;
        let numbers = letters.as_str().split('.').map(str::parse);
        let numbers = numbers.collect::<Result<_, _>>().map_err(|_| wrong())?;
        Ok(Self {
            kind,
            numbers,
            text,
        })
    }
}

impl From<ClaimId> for String {
    fn from(id: ClaimId) -> Self {
        id.text
    }
}

/// All there is to claim, and what each means.
///
/// # Panics
/// Never: the file is part of this crate, and its tests read it.
pub fn known() -> BTreeMap<ClaimId, String> {
    match toml::from_str(KNOWN) {
        Ok(known) => known,
        Err(wrong) => unreachable!("claims.toml: {wrong}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;
    use std::fs;
    use std::path::Path;

    #[test]
    fn claims_are_in_the_order_in_which_people_count() {
        let known: Vec<String> = known().into_keys().map(String::from).collect();
        let place = |id: &str| known.iter().position(|it| it == id).unwrap();
        assert!(place("D2") < place("D10") && place("D20") < place("F01"));
        assert!(place("R1.6") < place("R2.1") && place("R5.6") < place("R12.1"));
        for wrong in ["", "X1", "D", "R3.", "F08b"] {
            let told = ClaimId::try_from(wrong.to_owned()).unwrap_err();
            assert!(told.contains("is no claim"), "{told}");
        }
    }

    /// A slip in a story's claims would claim nothing.
    #[test]
    fn claims_of_every_story_are_known() {
        let known = known();
        for folder in ["catalogue", "impossible"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_none_or(|it| it != "toml") {
                    continue;
                }
                let file = path.display().to_string();
                let text = fs::read_to_string(&path).unwrap();
                for claim in &Scenario::parse(&file, &text).unwrap().plan().claims {
                    let id = ClaimId::try_from(claim.clone()).unwrap();
                    assert!(known.contains_key(&id), "{file}: {claim} is unknown");
                }
            }
        }
    }
}
