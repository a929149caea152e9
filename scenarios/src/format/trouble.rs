//! The words for what a node finds wrong, as expectations write them.

use core::fmt;
use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use steadfast_core::diagnosis::TroubleKind;

/// What a node finds wrong: the product's own word (`steadfast_core::diagnosis::TroubleKind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct TroubleName(pub TroubleKind);

impl fmt::Display for TroubleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = serde_json::to_value(self).unwrap_or_default();
        f.write_str(word.as_str().unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for TroubleName {
    /// The product reads a word that it does not know as `other`; a story must not.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        let mut all = TroubleKind::ALL.into_iter().map(Self);
        all.find(|name| name.to_string() == word).ok_or_else(|| {
            let known = TroubleKind::ALL.map(|kind| Self(kind).to_string());
            D::Error::custom(format!(
                "`{word}` is no trouble; known: {}",
                known.join(", ")
            ))
        })
    }
}

impl JsonSchema for TroubleName {
    fn schema_name() -> Cow<'static, str> {
        "TroubleName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words = TroubleKind::ALL.map(|kind| Self(kind).to_string());
        json_schema!({ "type": "string", "description": "what a node finds wrong", "enum": words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each word is read as what it stands for, and no other is.
    #[test]
    fn trouble_names_are_the_products() {
        for kind in TroubleKind::ALL {
            let word = serde_json::Value::from(TroubleName(kind).to_string());
            let read: TroubleName = serde_json::from_value(word).expect("a word");
            assert_eq!(read, TroubleName(kind));
        }
        assert_eq!(
            TroubleName(TroubleKind::OneWayThere).to_string(),
            "one_way_there"
        );
        assert!(serde_json::from_value::<TroubleName>("one_way".into()).is_err());
        assert!(TroubleKind::ALL.is_sorted());
    }
}
