//! The names of alerts, as expectations write them.

use core::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An alert's name: that of the product's own alert (`steadfast_core::effect::Alert`).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AlertName {
    /// A station that is no node answers for a virtual address.
    AddressConflict,
    /// The kernel refused what the role demands.
    ApplyFailed,
    /// A check of a node's own health fails.
    CheckFailed,
    /// Another node sends with this node's id.
    DuplicateNodeId,
    /// The kernel's fence was damaged.
    FenceDamaged,
    /// Somebody else uses this virtual router number.
    ForeignSpeaker,
    /// A peer hears this node in a less preferred form alone.
    FormFallback,
    /// The boot guard barred a node.
    Pacified,
    /// A peer is dead.
    PeerDown,
    /// A peer lives again.
    PeerUp,
    /// The role moved too often.
    RoleFlaps,
    /// Both nodes are configured with the same role.
    SameRole,
    /// A node has a fault and serves on.
    ServingFaulty,
    /// A node serves although all are barred.
    ServingPacified,
    /// Two actives were seen.
    SplitBrain,
    /// Somebody else sends from the virtual MAC.
    StationUsed,
    /// The record could not be stored.
    StoreFailed,
}

impl AlertName {
    /// Whether a trace's alert has this name: its text begins with the product's own word for it.
    pub fn is(self, alert: &str) -> bool {
        let word = alert.split([' ', '(']).next();
        word == Some(format!("{self:?}").as_str())
    }
}

impl fmt::Display for AlertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = serde_json::to_value(self).unwrap_or_default();
        f.write_str(word.as_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::effect::Alert;
    use steadfast_core::{MacAddr, NodeId, PortId};

    use super::*;

    /// Every alert of the product has a name here, and no other's.
    #[test]
    fn alert_names_are_the_products() {
        let peer = NodeId(2);
        let named = |alert: &Alert| match alert {
            Alert::AddressConflict { .. } => AlertName::AddressConflict,
            Alert::ApplyFailed => AlertName::ApplyFailed,
            Alert::CheckFailed { .. } => AlertName::CheckFailed,
            Alert::DuplicateNodeId => AlertName::DuplicateNodeId,
            Alert::FenceDamaged => AlertName::FenceDamaged,
            Alert::ForeignSpeaker { .. } => AlertName::ForeignSpeaker,
            Alert::FormFallback { .. } => AlertName::FormFallback,
            Alert::PeerDown { .. } => AlertName::PeerDown,
            Alert::PeerUp { .. } => AlertName::PeerUp,
            Alert::Pacified => AlertName::Pacified,
            Alert::RoleFlaps => AlertName::RoleFlaps,
            Alert::ServingFaulty => AlertName::ServingFaulty,
            Alert::ServingPacified => AlertName::ServingPacified,
            Alert::SameRole { .. } => AlertName::SameRole,
            Alert::SplitBrain { .. } => AlertName::SplitBrain,
            Alert::StationUsed { .. } => AlertName::StationUsed,
            Alert::StoreFailed => AlertName::StoreFailed,
        };
        let address = [10, 0, 0, 1].into();
        let mac = MacAddr::BROADCAST;
        for alert in [
            Alert::AddressConflict { address, mac },
            Alert::Pacified,
            Alert::PeerDown { peer },
            Alert::SameRole { peer },
            Alert::StationUsed { port: PortId(1) },
        ] {
            let name = named(&alert);
            assert!(name.is(&format!("{alert:?}")), "{alert:?}");
            assert!(!AlertName::PeerUp.is(&format!("{alert:?}")));
        }
        assert_eq!(AlertName::PeerDown.to_string(), "peer_down");
    }
}
