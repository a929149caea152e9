//! Where the kernel model is known to do something else than Linux, and why it may.
//!
//! A statement says what Linux does. The model is held to what stands here instead, so a listed
//! difference that vanished fails: it is then taken off the list.

use super::Told;
use super::statement::Observation;

/// What the model does at a step of a statement, instead of what Linux does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The statement's name.
    pub statement: &'static str,
    /// The step's number, from 0.
    pub step: usize,
    /// What the model shows.
    pub model: Observation,
    /// Why that is no harm.
    pub why: &'static str,
}

/// Every known difference.
pub fn known() -> Vec<Known> {
    let silent = |statement, step| Known {
        statement,
        step,
        model: Observation::new(Vec::new(), Told::Nothing),
        why: "the model counts what it drops and tells nobody: no modelled host would listen",
    };
    vec![
        silent("packet_with_its_last_hop_is_dropped", 7),
        silent("packet_with_its_last_hop_is_dropped_v6", 7),
        silent("packet_without_a_route_is_dropped", 7),
        Known {
            statement: "nd_address_joins_its_group",
            step: 2,
            model: Observation::new(Vec::new(), Told::Reported(false)),
            why: "worlds with a snooping switch join hosts themselves, and the core sends a report \
                  of its own with each announcement",
        },
    ]
}
