//! Presets: the networks to start from, and how many gateways and cables each has.
//!
//! A witness comes on top, and what leads through a router is the layout's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A ready-made network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// As `trio`, with as many gateways as `nodes` says, `a` to `p`.
    Group,
    /// Gateways `a` and `b` on `lan` and `wan`, joined by the cable `ha`.
    #[default]
    Pair,
    /// As `pair`, without a cable.
    PairNoCable,
    /// As `pair`, with a second cable `ha2`.
    PairTwoCables,
    /// As `pair`, with the witness `w` on `lan` alone (D14).
    PairWitness,
    /// As `pair_witness`, and `w` is beyond a router of `lan` (R2.5).
    PairFarWitness,
    /// As `pair_no_cable`, with a third path `mgmt` that leads through a router (R2.5).
    PairRouted,
    /// Gateways `a`, `b` and `c` on `lan` and `wan`, no cable.
    Trio,
    /// As `trio`, with the witness `w` on `lan` alone (D14).
    TrioWitness,
}

/// What gateways are called, in order of node id; no group has more.
pub const GATEWAY_NAMES: [&str; 16] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p",
];

impl Preset {
    /// The gateways that may serve, where a file says so many `nodes`.
    pub(super) fn gateways(self, nodes: Option<u8>) -> Result<&'static [&'static str], String> {
        let count = match (self, nodes) {
            (Self::Group, Some(nodes)) => usize::from(nodes),
            (Self::Group, None) => return Err("a `group` needs `nodes`".to_owned()),
            (_, Some(_)) => return Err("`nodes` needs `preset = \"group\"`".to_owned()),
            (Self::Trio | Self::TrioWitness, None) => 3,
            (_, None) => 2,
        };
        let named = GATEWAY_NAMES.get(..count).filter(|named| named.len() >= 2);
        named.ok_or_else(|| format!("`nodes` must be 2 to {}", GATEWAY_NAMES.len()))
    }

    /// The cables between the first two.
    pub(super) const fn cables(self) -> &'static [&'static str] {
        match self {
            Self::Pair | Self::PairFarWitness | Self::PairWitness => &["ha"],
            Self::PairTwoCables => &["ha", "ha2"],
            Self::Group | Self::PairNoCable | Self::PairRouted | Self::Trio | Self::TrioWitness => {
                &[]
            }
        }
    }
}
