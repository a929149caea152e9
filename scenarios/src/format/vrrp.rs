//! Gateways as virtual routers of VRRP in place of a cluster (D19).
//!
//! On each served port one router for its virtual addresses, which needs the other served ports: a
//! router that tracks them gives its addresses up when one of them is lost, so all addresses move
//! together. Priority and interval are those of the gateway and the cluster. What a cluster has
//! and VRRP has not, a story about routers cannot use, and is told so.
//!
//! Limit: IPv4 alone, and no virtual MAC.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::wire::vrrp::{Interval, Version as Protocol};

use super::{
    Action, Check, Cluster, CommandName, Family, GatewaySetup, Layout, Plan, Port, Span, Verb,
};

/// The virtual router of the first served port; the next ones count on.
const FIRST: u8 = 81;
/// What an interval is counted in.
const CENTI: u128 = 10_000_000;

/// The gateways are virtual routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VrrpSetup {
    /// Whether a router takes over from one of lower priority.
    pub preempt: bool,
    /// Which version they speak: 2 or 3.
    pub version: u8,
}

impl Default for VrrpSetup {
    fn default() -> Self {
        Self {
            preempt: true,
            version: 3,
        }
    }
}

impl VrrpSetup {
    /// Which version they speak.
    pub const fn protocol(self) -> Protocol {
        match self.version {
            2 => Protocol::V2,
            _ => Protocol::V3,
        }
    }

    /// How often they advertise.
    ///
    /// # Errors
    /// The version cannot say it: what it must be instead, in words.
    pub fn interval(self, interval: Span) -> Result<Interval, &'static str> {
        let (centis, rest) = (interval.0.as_nanos() / CENTI, interval.0.as_nanos() % CENTI);
        let whole = u16::try_from(centis).ok().filter(|_| rest == 0);
        Interval::new(self.protocol(), whole.unwrap_or(0))
    }

    /// The number of the router on a port: one that is served.
    pub fn virtual_id(layout: &Layout, port: &Port) -> u8 {
        let before = layout.segments.iter().take(port.segment.index());
        let served = before.filter(|segment| segment.served()).count();
        FIRST.saturating_add(u8::try_from(served).unwrap_or(u8::MAX))
    }
}

/// What a story about virtual routers cannot be told, if it is one: the key, and why.
pub(super) fn wrong(plan: &Plan) -> Option<(String, String)> {
    let setup = plan.cluster.vrrp?;
    let told = |key: &str, why: &str| Some((key.to_owned(), why.to_owned()));
    if !(2..=3).contains(&setup.version) {
        return told("cluster.vrrp", "`version` is 2 or 3");
    }
    if let Err(why) = setup.interval(plan.cluster.interval) {
        return told("cluster.vrrp", why);
    }
    let topology = &plan.topology;
    if topology.family != Family::Ipv4
        || topology.virtual_mac
        || topology.router_adverts
        || topology.action != Action::Add
    {
        return told(
            "topology",
            "routers of VRRP are played over IPv4, at their own MACs",
        );
    }
    let odd = plan
        .layout
        .gateways
        .iter()
        .any(|it| it.witness || it.ports.iter().any(|port| port.beyond));
    if odd {
        return told(
            "topology",
            "VRRP knows no witness, and nobody beyond a router",
        );
    }
    let mut usual = Cluster {
        interval: plan.cluster.interval,
        vrrp: plan.cluster.vrrp,
        ..Cluster::default()
    };
    usual.follow_vrrp(|_| false);
    if plan.cluster != usual {
        return told(
            "cluster",
            "a router of VRRP has `interval` and `vrrp` here, and no more",
        );
    }
    wrong_gateway(plan)
        .or_else(|| wrong_step(plan))
        .or_else(|| {
            let unseen = |check: &Check| {
                matches!(
                    check,
                    Check::Alerts { .. }
                        | Check::HooksFollow { .. }
                        | Check::PacifiedStaysOut
                        | Check::Troubles { .. }
                )
            };
            let at = plan.expects.iter().position(|it| unseen(&it.check))?;
            told(
                &format!("expect.{at}"),
                "a router of VRRP has no such thing",
            )
        })
}

fn wrong_gateway(plan: &Plan) -> Option<(String, String)> {
    let usual = |setup: &GatewaySetup| GatewaySetup {
        boot_at: setup.boot_at,
        powered: setup.powered,
        priority: setup.priority,
        ..GatewaySetup::default()
    };
    let (name, _) = plan.gateways.iter().find(|(_, it)| **it != usual(it))?;
    let why = "a router of VRRP has `priority` here, `boot_at` and `powered`, and no more";
    Some((format!("gateway.{name}"), why.to_owned()))
}

fn wrong_step(plan: &Plan) -> Option<(String, String)> {
    let unknown = |verb: &Verb| match verb {
        Verb::Command { command } => *command != CommandName::Release,
        Verb::Certificate { .. }
        | Verb::Check { .. }
        | Verb::Hook { .. }
        | Verb::Lie { .. }
        | Verb::Reload(_) => true,
        _ => false,
    };
    let at = plan.steps.iter().position(|step| unknown(&step.verb))?;
    let why = "a router of VRRP obeys `release` alone, and has no checks, hooks or certificate";
    Some((format!("step.{at}"), why.to_owned()))
}
