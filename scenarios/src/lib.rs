//! Scenario files, traces and oracles: what shall happen, what happened, and whether it was right.
//!
//! Shared by every world. A world resolves a scenario with a seed, builds the layout, asks the
//! [`Schedule`] what to do when, and tells the [`Judge`] and the [`trace::TraceWriter`] what it
//! saw on the wire:
//!
//! ```text
//!  Scenario::parse ─► resolve(seed) ─► Plan ─┬─► world ── Event ──┬─► TraceWriter ─► hash
//!                                            ├─► Schedule ◄───────┤ (frames, picture)
//!                                            └─► Judge ◄──────────┘ ─► findings
//! ```
//! Nothing here knows a world, a clock or a gateway's code, so no world can judge itself by other
//! rules. Limit: an oracle knows only what the trace says; a world that cannot see tells so
//! ([`trace::EventKind::Blind`]), and the verdict is `unknown`.

pub mod claims;
pub mod conformance;
pub mod format;
mod gaps;
mod ids;
pub mod link;
pub mod oracle;
mod picture;
mod random;
pub mod removal;
mod schedule;
pub mod sight;
pub mod stranger;
pub mod trace;

pub use format::{Plan, Scenario, ScenarioError, schema};
pub use gaps::Gaps;
pub use ids::{HostId, SegmentId, StreamId};
pub use oracle::{Finding, Judge, Verdict, Violation, judge};
pub use picture::Picture;
pub use random::Random;
pub use schedule::{Due, Schedule, Subject};
