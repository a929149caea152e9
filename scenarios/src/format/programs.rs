//! Programs that every gateway runs: checks of its own health, and hooks that follow its role.

use core::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::CheckId;
use steadfast_core::config;
use steadfast_core::hooks::{FRESH, KILL_PATIENCE};

use super::Span;

/// A check of a gateway's own health (R4.2). It passes until the verb `check` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckSetup {
    /// Its name.
    pub name: String,
    /// What its failure costs, 1 to 15; as much as a lost port when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u8>,
    /// Whether it looks at a service of the gateway's own that says itself whether it is ready
    /// (R2.6), and not at some file or program.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub service: bool,
    /// It looks at a file that is touched twice a second, and that must be no older than this: only
    /// a world with real files can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// How often it is run.
    #[serde(default = "check_every")]
    pub every: Span,
    /// Passes in a row that count.
    #[serde(default = "check_streak")]
    pub rise: u8,
    /// Failures in a row that count.
    #[serde(default = "check_streak")]
    pub fall: u8,
}

const fn check_every() -> Span {
    Span::millis(200)
}

const fn check_streak() -> u8 {
    2
}

impl CheckSetup {
    /// When a run of it has failed without an answer: half of the time to the next one, as the
    /// configuration has it unless it says otherwise.
    pub fn timeout(&self) -> Duration {
        self.every.0 / 2
    }

    /// As a node takes it.
    pub fn configured(&self, place: usize) -> config::check::CheckConfig {
        use config::check::{CheckConfig, Cost};
        CheckConfig {
            id: CheckId(u8::try_from(place).unwrap_or(u8::MAX)),
            name: self.name.clone(),
            cost: self.weight.map_or(Cost::Fault, Cost::Weight),
            rise: self.rise,
            fall: self.fall,
        }
    }
}

/// A program that follows the role (R1.5). It points something outside of the cluster, the address
/// of a cloud or a dialled uplink, at the gateway that runs it when that one serves; when it does
/// not, it takes the pointer away if it is its own. It compares nothing. It takes a moment and goes
/// well until the verb `hook` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HookSetup {
    /// Its name, and that of what it points.
    pub name: String,
    /// When it is ended, 100 ms to 10 min.
    #[serde(default = "hook_timeout")]
    pub timeout: Span,
}

const fn hook_timeout() -> Span {
    Span::secs(1)
}

/// How long after a claim an earlier owner's run may still be under way (`steadfast_core::hooks`).
pub fn hooks_outlived(hooks: &[HookSetup]) -> Duration {
    let longest = hooks.iter().map(|hook| hook.timeout.0).max();
    longest.unwrap_or_default() + KILL_PATIENCE + FRESH
}
