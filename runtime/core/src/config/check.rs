//! Checks of a node's own health beside its ports: a script, a process, a route (R4.2).
//!
//! What a check is and when it runs is the runtime's business; a node is told of each result. Here
//! stands what a result is worth: how many in a row count, and what a failed check costs.

use serde::{Deserialize, Serialize};

use super::{ConfigError, Parts};
use crate::CheckId;

/// Most checks of a node.
pub const CHECKS_MAX: usize = 32;
/// Largest weight: less than a watched port without carrier costs, so that no single weight moves
/// the role as a fault does.
pub const WEIGHT_MAX: u8 = 15;
/// Most results in a row that may be asked for.
pub const STREAK_MAX: u8 = 100;

/// What a failed check costs in health class (D5, F16).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// As much as a watched port without carrier: the role moves at once to a peer without.
    #[default]
    Fault,
    /// So much, 1 to [`WEIGHT_MAX`]; the role moves to a peer that is better and has been heard for
    /// a while.
    Weight(u8),
}

/// A check, as far as it decides anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckConfig {
    /// Its number.
    pub id: CheckId,
    /// Its name, unique on the node.
    pub name: String,
    /// What its failure costs.
    pub cost: Cost,
    /// Passes in a row after which a failed check has passed, 1 to [`STREAK_MAX`].
    pub rise: u8,
    /// Failures in a row after which it has failed, 1 to [`STREAK_MAX`].
    pub fall: u8,
}

pub(super) fn check_checks(parts: &Parts, errors: &mut Vec<ConfigError>) {
    for (place, check) in parts.checks.iter().enumerate() {
        let clash = |other: &CheckConfig| other.id == check.id || other.name == check.name;
        let twice = parts.checks.iter().take(place).any(clash);
        if twice || place >= CHECKS_MAX || check.name.is_empty() {
            errors.push(ConfigError::Checks(check.name.clone()));
        }
        let streaks = [check.rise, check.fall];
        let sound = |streak: &u8| (1..=STREAK_MAX).contains(streak);
        let weight = match check.cost {
            Cost::Fault => true,
            Cost::Weight(weight) => (1..=WEIGHT_MAX).contains(&weight),
        };
        if !weight || !streaks.iter().all(sound) {
            errors.push(ConfigError::CheckNumbers(check.name.clone()));
        }
    }
}
