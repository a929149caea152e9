//! The witness: a node that never serves, and grants to one node at a time the right to (D14).
//!
//! Two halves of a cluster that hear nothing of each other cannot both be right, and neither can
//! know which is. A third machine that either half may reach decides: it grants to one, for a term.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConfigError, Isolation, Parts};
use crate::NodeId;
use crate::role::ConfiguredRole;

/// No term is longer than this.
pub const TERM_MAX: Duration = Duration::from_secs(60);

/// Who grants, and for how long (D14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// The node that grants; one of the peers, or on the witness itself its own id.
    pub node: NodeId,
    /// How long a grant is good for, from when it was asked for: at least lease + slack + three
    /// intervals, so that two answers may be lost, and at most [`TERM_MAX`].
    pub term: Duration,
    /// Which claims wait for a grant.
    pub asks: Asks,
}

/// Which claims without the consent of every other node wait for the witness's grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asks {
    /// All of them, but for a lease that is seen to have ended: one owner also when everything
    /// between the nodes is cut at once. A dead box is replaced when its grant has ended.
    #[default]
    Always,
    /// Those without proof from the peer's kernel (D8): a dead box is replaced as fast as without
    /// a witness.
    Unproven,
}

impl Witness {
    /// The shortest sound term for these times.
    pub fn least_term(timing: &super::Timing) -> Duration {
        let answers = timing.interval.saturating_mul(3);
        timing.lease.saturating_add(timing.slack + answers)
    }

    /// The term unless an operator says otherwise: one more answer than necessary may be late.
    pub fn usual_term(timing: &super::Timing) -> Duration {
        let spare = timing.interval.saturating_sub(timing.slack);
        Self::least_term(timing).saturating_add(spare)
    }
}

/// What an operator who names a witness wants of an isolated node, unless he says otherwise.
pub const fn usual_isolation(witnessed: bool) -> Isolation {
    if witnessed {
        Isolation::Yield
    } else {
        Isolation::Serve
    }
}

/// Whether this node is the witness.
pub(super) fn is_witness(parts: &Parts) -> bool {
    parts
        .witness
        .is_some_and(|witness| witness.node == parts.node)
}

pub(super) fn check_witness(parts: &Parts, errors: &mut Vec<ConfigError>) {
    let Some(witness) = parts.witness else {
        return;
    };
    let own = is_witness(parts);
    if !own && !parts.peers.iter().any(|peer| peer.node == witness.node) {
        errors.push(ConfigError::WitnessUnknown(witness.node));
    }
    let serves = parts.ports.iter().any(super::PortConfig::served);
    if own && (serves || parts.policy.configured != ConfiguredRole::Off) {
        errors.push(ConfigError::WitnessServes);
    }
    let least = Witness::least_term(&parts.timing);
    if !(least..=TERM_MAX).contains(&witness.term) {
        errors.push(ConfigError::WitnessTerm(witness.term, least));
    }
}
