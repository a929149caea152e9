//! The words that verbs take as arguments.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use steadfast_core::role::EffectiveRole;

/// An operator's command (R3.4, R12.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandName {
    /// Lets a pacified node serve again.
    ClearPacified,
    /// Lets a node that is off serve again.
    Enable,
    /// Maintenance ends.
    MaintenanceOff,
    /// Maintenance begins.
    MaintenanceOn,
    /// Give the role up.
    Release,
    /// Take the role.
    Takeover,
}

/// How a disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiskState {
    /// Writes fail for want of room.
    Full,
    /// Works.
    Ok,
    /// Writes are refused.
    Readonly,
    /// Writes take seconds.
    Slow,
    /// A write cut off by power loss leaves half a record.
    Torn,
}

/// How a kernel effect goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectMode {
    /// Refused.
    Fail,
    /// At once.
    Ok,
    /// Late.
    Slow,
}

/// A redundancy protocol that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForeignProtocol {
    /// OpenBSD's, same protocol number and MACs as VRRP.
    Carp,
    /// RFC 3768.
    Vrrp2,
    /// RFC 9568.
    Vrrp3,
}

/// Which recorded frames are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayWhat {
    /// Frames of an earlier life of a daemon.
    PastLife,
    /// Frames of the present life, as they were.
    ThisLife,
    /// Frames of the present life, moved to another path.
    WrongPath,
}

/// Which way frames go, seen from the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Both.
    #[default]
    Both,
    /// What the gateway sends.
    From,
    /// What is sent to the gateway.
    To,
}

/// An effective role, as a status shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectiveRoleWord(pub EffectiveRole);

impl JsonSchema for EffectiveRoleWord {
    fn schema_name() -> Cow<'static, str> {
        "EffectiveRole".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words = EffectiveRole::ALL.map(|role| serde_json::json!(role));
        json_schema!({ "type": "string", "enum": words })
    }
}
