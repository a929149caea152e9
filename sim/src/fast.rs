//! The world `fast`: a discrete-event simulation of a whole scenario around the production core.
//!
//! [`run`] plays a plan and tells every event to whoever listens. There is no thread, no clock and
//! no socket in it, so a second costs microseconds and a seed gives the same run everywhere.
//! Limit: the production *shell* does not run here; races of its tasks are for other worlds.

use steadfast_core::Rules;
use steadfast_scenarios::format::Plan;
use steadfast_scenarios::trace::Event;

use crate::stage::{Cost, Tap, World};

/// Plays a plan to its end; frames go to the tap, if there is one.
///
/// # Errors
/// A scenario whose configuration the product refuses, in its words.
pub fn run(
    plan: &Plan,
    rules: Rules,
    tap: Option<&Tap>,
    sink: &mut dyn FnMut(&Event),
) -> Result<Cost, String> {
    let mut world = World::new(plan, rules, Box::new(sink))?;
    world.tap = tap.cloned();
    Ok(world.run())
}
