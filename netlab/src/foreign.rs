//! Another daemon as the daemon under test: what of a story can be told to it, and what cannot.
//!
//! The catalogue speaks of the product, and not everything it speaks of is there in others: their
//! handbooks know no lease and no offer, and they answer no question of ours. What a story
//! *demands* and a daemon cannot be told makes the story not run, with the reason
//! ([`Foreign::lacks`]); what only our own daemon has to keep its promises (lease, offer, confirm
//! bursts) is nobody else's matter and is passed over; so is fast detection, for the others know
//! the dead interval alone. Nobody is blamed for what it was not told: expectations about a status
//! are left out ([`judged`]), and so is the ban of boots that nobody counts.
//!
//! Everything that clients and the wire can see is judged, by the same oracles and with the same
//! bounds as the product's.

use std::collections::BTreeSet;
use std::path::Path;

use steadfast_core::{Instant, MacAddr, NodeId};
use steadfast_scenarios::SegmentId;
use steadfast_scenarios::format::{
    Allow, Capability, Check, Cluster, CommandName, Expectation, Gateway, GatewaySetup, Plan,
    SegmentKind, Step, Target, Verb, When,
};
use steadfast_scenarios::trace::FrameKind;

use crate::daemons::{Daemon, Standing};
use crate::machine::Setup;
use crate::world::{Agent, Said};

/// What the others' handbooks say of a dead peer: three intervals without a word.
const DEAD_INTERVALS: u32 = 3;
/// The product's own EtherType.
const STEADFAST: u16 = 0x88b5;

/// Another daemon, or the product as a router of VRRP.
#[derive(Clone, Debug)]
pub struct Foreign {
    daemon: Daemon,
    /// The product's.
    program: String,
    /// Each address is a router of its own.
    routers: bool,
}

impl Foreign {
    /// This one; `program` is the product's `steadfastd`, which as a router of VRRP is another.
    pub fn new(daemon: Daemon, program: impl Into<String>) -> Self {
        Self {
            daemon,
            program: program.into(),
            routers: false,
        }
    }

    /// The same, with each address of the first served segment a router of its own.
    pub fn routers(daemon: Daemon, program: impl Into<String>) -> Self {
        Self {
            routers: true,
            ..Self::new(daemon, program)
        }
    }

    /// Whether what it needs is not installed: the first that is missing.
    pub fn uninstalled(&self) -> Option<&'static str> {
        let mut needs = self.daemon.needs().iter().copied();
        needs.find(|path| !Path::new(path).exists())
    }
}

impl Agent for Foreign {
    fn setup(&self, plan: &Plan, gateway: &Gateway) -> Result<Setup, String> {
        let (layout, interval) = (&plan.layout, plan.cluster.interval.0);
        let standing = Standing::of(plan, gateway)?;
        match self.routers {
            true => self.daemon.routers(layout, gateway, interval, standing),
            false => self
                .daemon
                .foreign(layout, gateway, interval, standing, &self.program),
        }
    }

    fn offers(&self) -> BTreeSet<Capability> {
        BTreeSet::new()
    }

    fn lacks(&self, plan: &Plan) -> Option<String> {
        let name = self.daemon.name();
        let lacks = |what: String| format!("{what}, which {name} has not");
        let virtual_mac = plan
            .layout
            .segments
            .iter()
            .any(|it| self.virtual_mac(plan, it.id).is_some());
        let wanted = plan.topology.virtual_mac;
        if wanted && !virtual_mac {
            return Some(format!("a virtual MAC, as {name} is told of none"));
        }
        setting(&plan.cluster)
            .map(lacks)
            .or_else(|| own_setting(plan).map(lacks))
            .or_else(|| beyond(plan).map(lacks))
            .or_else(|| plan.steps.iter().find_map(step).map(lacks))
            .or_else(|| cables_alone(plan).map(lacks))
            .or_else(|| unjudged(plan).map(lacks))
            .or_else(|| self.setup(plan, plan.layout.gateways.first()?).err())
    }

    fn virtual_mac(&self, plan: &Plan, segment: SegmentId) -> Option<MacAddr> {
        self.daemon.virtual_mac(&plan.layout, segment)
    }

    /// Nobody is asked for its word but the product.
    fn status(&mut self, _: NodeId, _: &Path) -> Option<(Instant, Said)> {
        None
    }

    fn command(&mut self, _: NodeId, _: &Path, _: CommandName) -> Result<(), String> {
        Err("it takes no commands".to_owned())
    }
}

/// The plan as a daemon is judged that says nothing of itself and counts no boots.
#[must_use]
pub fn judged(mut plan: Plan) -> Plan {
    plan.expects.retain(|it| !is_its_word(&it.check));
    let untold = Expectation::of(Check::PacifiedStaysOut);
    let untold = untold.allowing(Allow::Any, "it counts no boots");
    plan.expects.push(untold);
    plan
}

/// Whether a check holds a daemon to what it says of itself, or to a count of boots.
const fn is_its_word(check: &Check) -> bool {
    matches!(
        check,
        Check::Alerts { .. }
            | Check::KernelMatchesRole { .. }
            | Check::StatusTruthful { .. }
            | Check::Troubles { .. }
            | Check::PacifiedStaysOut
    )
}

fn unjudged(plan: &Plan) -> Option<String> {
    let all = plan.expects.iter().all(|it| is_its_word(&it.check));
    let boots = plan
        .expects
        .iter()
        .any(|it| it.check == Check::PacifiedStaysOut);
    let what = if boots {
        "a count of boots"
    } else {
        "a status to be judged by"
    };
    (all || boots).then(|| what.to_owned())
}

/// A shared setting that only the product has.
fn setting(cluster: &Cluster) -> Option<String> {
    let usual = Cluster::default();
    let dead = cluster.interval.0 * DEAD_INTERVALS;
    let differing = [
        ("profile", cluster.profile.is_some()),
        ("all_pacified", cluster.all_pacified != usual.all_pacified),
        ("boot_limit", cluster.boot_limit != usual.boot_limit),
        ("boot_window", cluster.boot_window != usual.boot_window),
        (
            "restart_limit",
            cluster.restart_limit != usual.restart_limit,
        ),
        ("flap_limit", cluster.flap_limit != usual.flap_limit),
        ("isolation", cluster.isolation != usual.isolation),
        ("on_failure", cluster.on_failure != usual.on_failure),
        ("dead_interval", cluster.dead_interval.0 != dead),
    ];
    let found = differing.iter().find(|(_, differs)| *differs);
    found.map(|(name, _)| format!("the setting `{name}` of this story"))
}

/// A gateway's own setting that only the product has. When it is switched on is the lab's matter.
fn own_setting(plan: &Plan) -> Option<String> {
    let told = |it: &GatewaySetup| GatewaySetup {
        boot_at: it.boot_at,
        powered: it.powered,
        preferred: it.preferred,
        priority: it.priority,
        ..GatewaySetup::default()
    };
    let mut settings = plan.gateways.iter();
    let (name, _) = settings.find(|(_, it)| **it != told(it))?;
    Some(format!("the settings of gateway `{name}` in this story"))
}

/// A path through a router, over which no other daemon speaks, and a witness.
fn beyond(plan: &Plan) -> Option<String> {
    let routed = plan.layout.segments.iter().any(|it| it.routed);
    let witness = plan.layout.witness().map(|_| "a witness".to_owned());
    routed
        .then(|| "a path through a router".to_owned())
        .or(witness)
}

/// What of a step only the product knows.
fn step(step: &Step) -> Option<String> {
    let frames = || "frames of the cluster's own protocol".to_owned();
    if matches!(step.when, When::On(_)) {
        return Some(frames());
    }
    match step.verb {
        Verb::DropFrames {
            kind, ethertype, ..
        } => (ethertype == Some(STEADFAST) || kind.is_some_and(is_ours)).then(frames),
        _ => None,
    }
}

/// A story of nothing but a direct cable, over which no other daemon speaks: it would hold whatever
/// the daemon does.
fn cables_alone(plan: &Plan) -> Option<String> {
    let is_cable = |name: &str| {
        let mut segments = plan.layout.segments.iter();
        segments.any(|it| it.name == name && it.kind == SegmentKind::Cable)
    };
    let about_cable = |step: &Step| match &step.target {
        Target::Port(_, name) | Target::Segment(name) => is_cable(name),
        Target::Gateway(_) => false,
    };
    let alone = !plan.steps.is_empty() && plan.steps.iter().all(about_cable);
    alone.then(|| "heartbeats over a cable".to_owned())
}

const fn is_ours(kind: FrameKind) -> bool {
    !matches!(kind, FrameKind::Arp | FrameKind::Ndisc | FrameKind::Vrrp)
}

#[cfg(test)]
mod tests {
    use steadfast_scenarios::Scenario;

    use super::*;

    fn plan(name: &str) -> Plan {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/catalogue");
        let path = format!("{folder}/{name}.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        Scenario::parse(&path, &text).unwrap().resolve(0).unwrap()
    }

    fn lacks(daemon: Daemon, name: &str) -> Option<String> {
        Foreign::new(daemon, "/x/steadfastd").lacks(&plan(name))
    }

    /// What a daemon cannot be told is not asked of it, and the reason names what it is; the faults
    /// that anybody meets are asked of everybody.
    #[test]
    fn foreign_is_asked_what_it_can_be_told() {
        let everybodys = [
            "active-loses-power",
            "active-loses-power-10ms",
            "active-loses-power-trio",
            "box-freezes",
            "daemon-killed",
            "dead-interval-detection",
            "dead-interval-seconds",
            "lan-split",
            "port-flaps",
            "ruleset-flushed",
        ];
        for daemon in [Daemon::Frr, Daemon::Keepalived, Daemon::Vrrp] {
            for name in everybodys {
                assert_eq!(lacks(daemon, name), None, "{}: {name}", daemon.name());
            }
        }
        let reasons = [
            ("all-heartbeats-lost-isolation-yield", "`isolation`"),
            ("boot-loop-active", "a count of boots"),
            ("both-cables-pulled", "over a cable"),
            ("cable-flaps", "over a cable"),
            ("giver-dies-when-offering", "protocol"),
            ("heartbeats-lost-all-paths", "protocol"),
            ("profile-kemp-power-lost", "`profile`"),
            ("secret-differs-cold-start", "settings of gateway"),
        ];
        for (name, reason) in reasons {
            let told = lacks(Daemon::Keepalived, name).unwrap_or_default();
            assert!(told.contains(reason), "{name}: {told}");
        }
        assert_eq!(lacks(Daemon::Keepalived, "preferred-returns-prefer"), None);
        let told = lacks(Daemon::Frr, "preferred-returns-prefer").unwrap();
        assert!(told.contains("which frr has not"), "{told}");
        let tenth = lacks(Daemon::Ucarp, "active-loses-power").unwrap();
        assert!(tenth.contains("whole seconds"), "{tenth}");
        let many = "active-loses-power-many-addresses";
        assert_eq!(lacks(Daemon::Keepalived, many), None);
        let told = lacks(Daemon::Frr, many).unwrap();
        assert!(told.contains("at most 255"), "{told}");
        assert_eq!(lacks(Daemon::Frr, "standby-reboots"), None);
        assert_eq!(lacks(Daemon::Keepalived, "standby-reboots"), None);
    }

    /// Nobody is held to a word it never gave, or to boots it does not count; all else stays.
    #[test]
    fn foreign_is_not_judged_by_its_word() {
        let told = plan("boot-loop-active");
        let count = told.expects.len();
        let judged = judged(told);
        let words: Vec<_> = judged
            .expects
            .iter()
            .filter(|it| is_its_word(&it.check))
            .collect();
        assert_eq!(words.len(), 1);
        assert_eq!(words[0].allow, Some(Allow::Any));
        assert_eq!(judged.expects.len(), count);
    }
}
