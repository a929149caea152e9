//! The words for what a node finds wrong, as expectations write them.

use core::fmt;
use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use steadfast_core::diagnosis::TroubleKind;

/// What a node finds wrong: the product's own word (`steadfast_core::diagnosis::TroubleKind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TroubleName(pub TroubleKind);

impl fmt::Display for TroubleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = serde_json::to_value(self).unwrap_or_default();
        f.write_str(word.as_str().unwrap_or_default())
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
            TroubleName(TroubleKind::OneWayLink).to_string(),
            "one_way_link"
        );
        assert!(serde_json::from_value::<TroubleName>("one_way".into()).is_err());
        assert!(TroubleKind::ALL.is_sorted());
    }
}
