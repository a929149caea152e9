//! Expectations: which oracle watches what, when, and how strictly.
//!
//! Five oracles watch every run whether a file lists them or not ([`Check::ALWAYS`]). Listing one
//! of them without a window replaces the default; `allow` with a `reason` relaxes it: a violation
//! is then still reported, and tolerated.

use core::fmt;
use core::str::FromStr;
use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::step::tagged;
use super::{AlertName, Moment, Span, TroubleName};
use crate::trace::Caller;

/// One oracle's task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Which oracle, with its bounds.
    pub check: Check,
    /// What it looks at: a stream, segment, gateway or hook; everything when absent.
    pub scope: Option<String>,
    /// From when on; the start of the run when absent.
    pub after: Option<Moment>,
    /// Until when; the end of the run when absent.
    pub until: Option<Moment>,
    /// How long from the beginning of the window, instead of `until`.
    pub hold: Option<Span>,
    /// What is tolerated.
    pub allow: Option<Allow>,
    /// Why it is.
    pub reason: Option<String>,
}

impl Expectation {
    /// The oracle over the whole run, nothing tolerated.
    pub const fn of(check: Check) -> Self {
        Self {
            check,
            scope: None,
            after: None,
            until: None,
            hold: None,
            allow: None,
            reason: None,
        }
    }

    /// The same, on this stream, segment or gateway.
    #[must_use]
    pub fn on(mut self, scope: &str) -> Self {
        self.scope = Some(scope.to_owned());
        self
    }

    /// The same, from this moment on.
    #[must_use]
    pub fn after(mut self, moment: Moment) -> Self {
        self.after = Some(moment);
        self
    }

    /// The same, up to this moment.
    #[must_use]
    pub fn until(mut self, moment: Moment) -> Self {
        self.until = Some(moment);
        self
    }

    /// The same, with this much tolerated.
    #[must_use]
    pub fn allowing(mut self, allow: Allow, reason: &str) -> Self {
        self.allow = Some(allow);
        self.reason = Some(reason.to_owned());
        self
    }

    /// Whether this stands in for the same oracle's watch over the whole run.
    pub const fn replaces_default(&self) -> bool {
        let whole = self.scope.is_none()
            && self.after.is_none()
            && self.until.is_none()
            && self.hold.is_none();
        whole || self.allow.is_some()
    }
}

/// An oracle and its bounds. Semantics and defaults: the oracle's own file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(tag = "oracle")]
pub enum Check {
    /// A node raises this alert, in time and not too often (R10.1, R14.1).
    Alerts {
        /// Its name.
        alert: AlertName,
        /// At the latest so long after the window's beginning; at any time in it when absent.
        #[serde(default)]
        within: Option<Span>,
        /// Most times that one node raises it; 0 says that none may. Once when absent.
        #[serde(default)]
        max: Option<u32>,
    },
    /// Never two gateways answer for one virtual address (R1.3, D10).
    AtMostOneActive {
        /// Longest overlap of a hand-over; V + tail when absent.
        #[serde(default)]
        drain: Option<Span>,
    },
    /// What a daemon holds stays bounded: unread in its sockets, and in memory (F48).
    Bounded {
        /// Most bytes that its sockets have not been read of, at a step or at the end.
        unread_max: u64,
        /// Most bytes that its memory grows by from the first step on.
        grown_max: u64,
    },
    /// What a gateway itself begins leaves on every served segment, over each version of IP, in
    /// this name and no other (R5.3).
    Calls {
        /// In whose name.
        from: Caller,
    },
    /// After the last fault: one owner, all hosts and statuses agree, and it stays.
    Converges {
        /// Time allowed for it.
        within: Span,
    },
    /// Exactly one gateway answers for every virtual address.
    ExactlyOneActive {
        /// Time allowed to get there.
        #[serde(default)]
        within: Span,
    },
    /// What hooks point at the owner points there, and every hook runs in its order (R1.5, F03).
    HooksFollow {
        /// Longest disagreement; when absent, how long an earlier owner's run may still be under
        /// way after a claim, and half a second.
        #[serde(default)]
        within: Option<Span>,
    },
    /// The kernel answers as the role says (F39, F40).
    KernelMatchesRole {
        /// Longest disagreement; the dead interval when absent.
        #[serde(default)]
        within: Option<Span>,
    },
    /// Ownership moves seldom (F33), and where it must, it does.
    NoFlap {
        /// Most moves.
        max_moves: u32,
        /// Least moves of each segment; a hand-over that never happened loses no packet either.
        #[serde(default)]
        min_moves: u32,
    },
    /// A stream's longest interruption and losses (R8).
    Outage {
        /// Longest interruption.
        max: Span,
        /// Most probes lost; any number when absent.
        #[serde(default)]
        lost_max: Option<u32>,
    },
    /// A pacified node neither answers nor announces nor forwards (R12.1).
    PacifiedStaysOut,
    /// A standby sends nothing in the virtual addresses' name and forwards nothing (R1.6, F38).
    StandbyIsSilent {
        /// Longest time frames are in flight; 5 ms when absent.
        #[serde(default)]
        within: Option<Span>,
    },
    /// What a node says of itself and its peers is so (R9.2, R9.3, F69).
    StatusTruthful {
        /// Longest disagreement; 1 s when absent.
        #[serde(default)]
        within: Option<Span>,
    },
    /// A node finds out that this is wrong, in time (R14.1).
    Troubles {
        /// What; anything when absent.
        #[serde(default)]
        trouble: Option<TroubleName>,
        /// At the latest so long after the window's beginning; at any time in it when absent.
        #[serde(default)]
        within: Option<Span>,
        /// Nobody may.
        #[serde(default)]
        never: bool,
        /// And nothing else.
        #[serde(default)]
        only: bool,
    },
    /// Hosts and switches point at the owner (F39, R5.5).
    VipOwnerAgrees {
        /// Longest disagreement; 1 s when absent.
        #[serde(default)]
        within: Option<Span>,
    },
}

impl Check {
    /// The oracles that watch every run.
    pub const ALWAYS: [Self; 5] = [
        Self::AtMostOneActive { drain: None },
        Self::StandbyIsSilent { within: None },
        Self::PacifiedStaysOut,
        Self::KernelMatchesRole { within: None },
        Self::StatusTruthful { within: None },
    ];

    /// The oracle's name as a file writes it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Alerts { .. } => "alerts",
            Self::AtMostOneActive { .. } => "at_most_one_active",
            Self::Bounded { .. } => "bounded",
            Self::Calls { .. } => "calls",
            Self::Converges { .. } => "converges",
            Self::ExactlyOneActive { .. } => "exactly_one_active",
            Self::HooksFollow { .. } => "hooks_follow",
            Self::KernelMatchesRole { .. } => "kernel_matches_role",
            Self::NoFlap { .. } => "no_flap",
            Self::Outage { .. } => "outage",
            Self::PacifiedStaysOut => "pacified_stays_out",
            Self::StandbyIsSilent { .. } => "standby_is_silent",
            Self::StatusTruthful { .. } => "status_truthful",
            Self::Troubles { .. } => "troubles",
            Self::VipOwnerAgrees { .. } => "vip_owner_agrees",
        }
    }

    /// What the scope names.
    pub const fn scope(&self) -> Scope {
        match self {
            Self::HooksFollow { .. } => Scope::Hook,
            Self::Outage { .. } => Scope::Stream,
            Self::Alerts { .. }
            | Self::Bounded { .. }
            | Self::Calls { .. }
            | Self::KernelMatchesRole { .. }
            | Self::PacifiedStaysOut
            | Self::StandbyIsSilent { .. }
            | Self::StatusTruthful { .. }
            | Self::Troubles { .. } => Scope::Gateway,
            Self::AtMostOneActive { .. }
            | Self::Converges { .. }
            | Self::ExactlyOneActive { .. }
            | Self::NoFlap { .. }
            | Self::VipOwnerAgrees { .. } => Scope::Segment,
        }
    }
}

/// What an oracle's scope names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A gateway.
    Gateway,
    /// A hook.
    Hook,
    /// A served segment.
    Segment,
    /// A stream of probes.
    Stream,
}

/// What is tolerated of a relaxed oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Any violation: `allow = "any"`.
    Any,
    /// Violations not longer than this each.
    UpTo(Span),
}

impl FromStr for Allow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(Self::Any),
            other => other
                .parse()
                .map(Self::UpTo)
                .map_err(|reason| format!("{reason}; or write `any`")),
        }
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::UpTo(span) => write!(f, "{span}"),
        }
    }
}

impl Serialize for Allow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Allow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Allow {
    fn schema_name() -> Cow<'static, str> {
        "Allow".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "\"any\", or the longest violation" })
    }
}

/// Writes an expectation as one flat table: its own keys, then the oracle's bounds.
impl Serialize for Expectation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        tagged(&mut map, "oracle", &self.check)?;
        let moments = [("after", &self.after), ("until", &self.until)];
        for (key, moment) in moments {
            if let Some(moment) = moment {
                map.serialize_entry(key, moment)?;
            }
        }
        let texts = [("scope", &self.scope), ("reason", &self.reason)];
        for (key, text) in texts {
            if let Some(text) = text {
                map.serialize_entry(key, text)?;
            }
        }
        if let Some(hold) = &self.hold {
            map.serialize_entry("hold", hold)?;
        }
        if let Some(allow) = &self.allow {
            map.serialize_entry("allow", allow)?;
        }
        map.end()
    }
}
