//! Conformance: small statements about Linux, tried on the kernel model and on the kernel itself.
//!
//! The worlds that simulate are worth what their kernel is worth. So what the model claims is
//! written down once, as steps with what must be observed ([`Statement`]), and tried on both:
//!
//! ```text
//!              statements() ──► play ─┬─ Machine: sim's kernel model, in virtual time ─┐
//!  (ground, frames, sight)            └─ Machine: Linux, a network namespace per one ──┴─► judge
//! ```
//! A statement says what Linux does. Where the model is known to do something else, [`known`] says
//! what and why, and it is held to that. [`falsehoods`] are statements that must fail on both, so
//! that a suite that fell asleep is found out.
//!
//! Limit: what a statement does not name is not compared: identifiers, bodies, the kernel's own
//! reports of groups, and times other than "still at" and "surely after".

mod differences;
pub mod frames;
pub mod ground;
mod sight;
mod statement;
mod statements;
#[cfg(test)]
mod tests;
mod verdict;

pub use differences::{Known, known};
pub use sight::{Seen, What, groups};
pub use statement::{Act, Entry, EntryState, Observation, SHORT_LEASE, SHORT_TAIL, SURELY};
pub use statement::{Statement, Step, Told};
pub use statements::{falsehoods, statements};
pub use verdict::{Difference, Machine, Played, Side, Verdict, judge, play};
