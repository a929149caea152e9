//! The words that verbs take as arguments.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use steadfast_core::role::{ConfiguredRole, EffectiveRole};

use crate::format::cluster::Configured;
use crate::format::{Cluster, Detection, GatewaySetup, Plan, Span};

/// What a reload changes. Sources: R2.1, F14, F18, F25, F45.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Changes {
    /// What this gateway is configured as (R1.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Configured>")]
    pub configured: Option<ConfiguredRole>,
    /// Silence after which a path is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_interval: Option<Span>,
    /// How a dead peer is found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detection: Option<Detection>,
    /// Wait after boot and link-up before a claim when no peer runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_wait: Option<Span>,
    /// Time between advertisements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// Length of the kernel's lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
    /// Priority of this gateway, 1 to 254.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// The index of a virtual address that is missing from the list of every segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_address: Option<u16>,
}

impl Changes {
    /// The plan as it reads after the change, for the gateway of this name.
    #[must_use]
    pub fn made_to(&self, plan: &Plan, gateway: &str) -> Plan {
        let mut plan = plan.clone();
        let Cluster {
            dead_interval,
            detection,
            initial_wait,
            interval,
            lease,
            ..
        } = &mut plan.cluster;
        let spans = [
            (dead_interval, self.dead_interval),
            (initial_wait, self.initial_wait),
            (interval, self.interval),
            (lease, self.lease),
        ];
        for (old, new) in spans {
            *old = new.unwrap_or(*old);
        }
        *detection = self.detection.unwrap_or(*detection);
        if self.priority.is_some() || self.configured.is_some() {
            let known = plan.gateway(gateway);
            let setup = GatewaySetup {
                priority: self.priority.unwrap_or(known.priority),
                configured: self.configured.unwrap_or(known.configured),
                ..known
            };
            plan.gateways.insert(gateway.to_owned(), setup);
        }
        if let Some(index) = self.without_address.map(usize::from) {
            for segment in &mut plan.layout.segments {
                if index < segment.virtuals.len() {
                    segment.virtuals.remove(index);
                }
            }
        }
        plan
    }
}

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
    /// Nothing of a write that power loss cuts off can be read.
    Torn,
}

/// How a kernel effect goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectMode {
    /// Everything is refused: the role, and also to give it up.
    Fail,
    /// The role is taken, and said to be refused; to give it up is refused.
    Lie,
    /// At once.
    Ok,
    /// The role is refused, and it is certain that nothing is held.
    Refuse,
    /// Late.
    Slow,
}

/// What a stranger speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForeignProtocol {
    /// OpenBSD's, same protocol number and MACs as VRRP.
    Carp,
    /// Another cluster of this product.
    Steadfast,
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

#[cfg(test)]
mod tests {
    use crate::format::{Scenario, Verb};

    fn reload(index: u16) -> String {
        format!(
            "format = 1\nname = \"x\"\ntitle = \"x: y\"\nduration = \"1s\"\n\
             [topology]\nvirtual_addresses = 2\n\
             [[step]]\nat = \"0s\"\ndo = \"reload\"\ntarget = \"a\"\nwithout_address = {index}\n"
        )
    }

    /// The address is missing on every segment, the others stay; the file's own list is whole.
    #[test]
    fn changes_take_an_address_from_every_list() {
        let scenario = Scenario::parse("x.toml", &reload(0)).unwrap();
        let plan = scenario.plan();
        let Verb::Reload(changes) = &plan.steps[0].verb else {
            panic!("not a reload");
        };
        let changed = changes.made_to(plan, "a");
        for (before, after) in plan.layout.segments.iter().zip(&changed.layout.segments) {
            let expected = before.virtuals.get(1..).unwrap_or_default();
            assert_eq!(after.virtuals, expected);
        }
    }

    /// An address that is not there cannot be taken away.
    #[test]
    fn changes_of_no_address_are_refused() {
        let error = Scenario::parse("x.toml", &reload(2)).expect_err("must be refused");
        assert!(error.to_string().contains("no virtual address 2"));
    }
}
