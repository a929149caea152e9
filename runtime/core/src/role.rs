//! The role of a node in a group: what the operator asked for, and what the node is.
//!
//! The two are separate facts, both always shown (R1.2). The effective role moves only along the
//! arrows below; the match in [`EffectiveRole::on`] is total, so a pair that is not drawn is not a
//! transition, and a new role or event does not compile until every pair has been thought of.
//!
//! ```text
//!             Listened             Claimed              Applied
//!  Starting ───────────► Standby ───────────► Promoting ─────────► Active
//!   │  │                  ▲  ▲ ▲                │   │               │  │
//!   │  │ Barred           │  │ └──── Lost ──────┘   │ ApplyFailed   │  │ Yielded
//!   │  └──────► Pacified ─┘  └─────── Lost ─────────│───────────────┘  ▼
//!   │             Cleared    ▲                      ▼               Demoting
//!   │ Retired                └──── Recovered ──── Failed               │ Withdrawn
//!   └──────────► Off ── Enabled ──► Standby                 Standby ◄──┘
//! ```
//! `Retired` leads to `Off` from every role that owns nothing; an owner withdraws first.
//! `Claimed` also leaves `Pacified`, when every node is pacified and the policy is to serve
//! (R12.1). `Barred` leads back to it from `Standby` and `Off`, for as long as the bar lasts.

use serde::{Deserialize, Serialize};

/// What the operator set for this node (R1.2): a wish about who serves, never a claim.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ConfiguredRole {
    /// This node is meant to serve.
    Active,
    /// No preference: whoever serves goes on serving.
    #[default]
    Any,
    /// High availability is off on this node.
    Off,
    /// This node is meant to stand by.
    Standby,
}

/// What the node is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectiveRole {
    /// Owns the virtual addresses; the kernel confirmed it.
    Active,
    /// Handed the role over: forwards what is in flight, announces nothing, withdraws.
    Demoting,
    /// Could not apply what its role demands; stands aside until it can.
    Failed,
    /// Out of service by the operator's will: configured off, in maintenance, or after a failure.
    Off,
    /// Barred after repeated unclean boots (R12.1).
    Pacified,
    /// Claims: the kernel has been asked for lease and addresses and has not yet confirmed.
    Promoting,
    /// Hot standby: fenced, listening.
    Standby,
    /// Just started: finds out whether a peer is active before it may claim (R3.6).
    Starting,
}

/// What moves the effective role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleEvent {
    /// The kernel confirmed lease and addresses.
    Applied,
    /// The kernel refused lease or addresses.
    ApplyFailed,
    /// The boot guard refuses to serve.
    Barred,
    /// This node takes the role.
    Claimed,
    /// The boot guard lets go, or an operator overrode it.
    Cleared,
    /// An operator, or the failure policy, lets the node serve again.
    Enabled,
    /// The node knows its surroundings.
    Listened,
    /// The role is gone at once: lease lapsed, rival won, or the claim was given up.
    Lost,
    /// What had failed works again.
    Recovered,
    /// Out of service by the operator's will or the failure policy.
    Retired,
    /// Everything given back to the kernel.
    Withdrawn,
    /// Another node took over with this node's consent.
    Yielded,
}

impl EffectiveRole {
    /// Every role, in declaration order.
    pub const ALL: [Self; 8] = [
        Self::Active,
        Self::Demoting,
        Self::Failed,
        Self::Off,
        Self::Pacified,
        Self::Promoting,
        Self::Standby,
        Self::Starting,
    ];

    /// Where `event` leads from here; `None` if it does not move this role.
    pub const fn on(self, event: RoleEvent) -> Option<Self> {
        use EffectiveRole as R;
        use RoleEvent as E;
        match (self, event) {
            (R::Starting, E::Listened)
            | (R::Active | R::Promoting | R::Demoting, E::Lost)
            | (R::Demoting, E::Withdrawn)
            | (R::Failed, E::Recovered)
            | (R::Off, E::Enabled)
            | (R::Pacified, E::Cleared) => Some(R::Standby),
            (R::Standby | R::Pacified, E::Claimed) => Some(R::Promoting),
            (R::Promoting, E::Applied) => Some(R::Active),
            (R::Active, E::Yielded) => Some(R::Demoting),
            (R::Promoting | R::Active, E::ApplyFailed) => Some(R::Failed),
            (R::Off | R::Standby | R::Starting, E::Barred) => Some(R::Pacified),
            (R::Starting | R::Standby | R::Failed | R::Pacified, E::Retired) => Some(R::Off),
            (
                R::Active,
                E::Applied
                | E::Barred
                | E::Claimed
                | E::Cleared
                | E::Enabled
                | E::Listened
                | E::Recovered
                | E::Retired
                | E::Withdrawn,
            )
            | (
                R::Demoting,
                E::Applied
                | E::ApplyFailed
                | E::Barred
                | E::Claimed
                | E::Cleared
                | E::Enabled
                | E::Listened
                | E::Recovered
                | E::Retired
                | E::Yielded,
            )
            | (
                R::Failed,
                E::Applied
                | E::ApplyFailed
                | E::Barred
                | E::Claimed
                | E::Cleared
                | E::Enabled
                | E::Listened
                | E::Lost
                | E::Withdrawn
                | E::Yielded,
            )
            | (
                R::Off,
                E::Applied
                | E::ApplyFailed
                | E::Claimed
                | E::Cleared
                | E::Listened
                | E::Lost
                | E::Recovered
                | E::Retired
                | E::Withdrawn
                | E::Yielded,
            )
            | (
                R::Pacified,
                E::Applied
                | E::ApplyFailed
                | E::Barred
                | E::Enabled
                | E::Listened
                | E::Lost
                | E::Recovered
                | E::Withdrawn
                | E::Yielded,
            )
            | (
                R::Promoting,
                E::Barred
                | E::Claimed
                | E::Cleared
                | E::Enabled
                | E::Listened
                | E::Recovered
                | E::Retired
                | E::Withdrawn
                | E::Yielded,
            )
            | (
                R::Standby,
                E::Applied
                | E::ApplyFailed
                | E::Cleared
                | E::Enabled
                | E::Listened
                | E::Lost
                | E::Recovered
                | E::Withdrawn
                | E::Yielded,
            )
            | (
                R::Starting,
                E::Applied
                | E::ApplyFailed
                | E::Claimed
                | E::Cleared
                | E::Enabled
                | E::Lost
                | E::Recovered
                | E::Withdrawn
                | E::Yielded,
            ) => None,
        }
    }

    /// Whether the node may own virtual addresses in this role.
    pub const fn owns(self) -> bool {
        matches!(self, Self::Active)
    }
}

#[cfg(test)]
mod tests;
