//! The scenario format: a TOML file, `format = 1`, that every world reads the same way.
//!
//! ```text
//!  file.toml ──parse──► Scenario ──resolve(seed)──► Plan ──► worlds, oracles
//!                          ▲                          │
//!                          └──────── from_plan ───────┘      (builder, generated, shrunk)
//! ```
//! A [`Scenario`] is a checked file; a [`Plan`] is what one seed makes of it: no parameter left
//! open, every name known to exist. Files are data: generation lives in `[params]`, so a shrunk
//! failure is again a file. The hard case is the error message: a wrong key must show file, line,
//! caret and the word that was meant, so the reader keeps the place of every value.

mod alert;
mod build;
mod cluster;
mod error;
mod expect;
mod family;
mod param;
mod plan;
mod programs;
mod quantity;
mod read;
mod scenario;
mod schema;
mod step;
mod topology;
mod trouble;
mod verb;
mod vrrp;

pub use alert::AlertName;
pub use build::Builder;
pub use cluster::{
    AllPacified, Asks, Cluster, Detection, FenceHooks, GatewaySetup, Isolation, OnFailure,
    PastBoot, Preempt, StoreState,
};
pub use error::ScenarioError;
pub use expect::{Allow, Check, Expectation, Scope};
pub use family::{Family, Version, link_local};
pub use param::Param;
pub use plan::{Burst, Destination, Plan, Stream, WorldSetup};
pub use programs::{CheckSetup, HookSetup, hooks_outlived};
pub use quantity::{Bandwidth, Rate, Share, Shift, Span};
pub use scenario::Scenario;
pub use schema::schema;
pub use step::{Moment, OnFrame, Step, Target, When, Who};
pub use topology::{
    Action, GATEWAY_NAMES, Gateway, HOSTS_MAX, Host, Layout, Port, Preset, Segment, SegmentKind,
    Topology, VIRTUAL_ROUTER, VIRTUALS_MAX,
};
pub use trouble::TroubleName;
pub use verb::{
    Acts, Capability, Changes, CommandName, DiskState, EffectMode, EffectiveRoleWord,
    ForeignProtocol, ReplayWhat, Verb, Way,
};
pub use vrrp::VrrpSetup;
