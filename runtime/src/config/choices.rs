//! What an operator chose, and what stands where nothing was written.
//!
//! Times that are not written follow the interval: `dead_interval` is three of it (30 ms at least)
//! and `lease` as long, or what D9 asks at least. With a product profile they are the product's,
//! and a time that the product does not offer is a mistake (R2.1).

use std::time::Duration;

use steadfast_core::NodeId;
use steadfast_core::config::profile::Profile;
use steadfast_core::config::witness::{Asks, Witness, usual_isolation};
use steadfast_core::config::{Policy, Timing};
use steadfast_core::role::ConfiguredRole;

use super::assemble::flag;
use super::mistake::Findings;
use super::quantity::show;
use super::raw::{Raw, byte};

/// Windows that nobody wrote fit into a dead interval of this length.
const DEAD_INTERVAL_MIN: Duration = Duration::from_millis(30);

/// Every time.
pub(super) fn timing(raw: &Raw) -> Timing {
    let written = |name: &str| {
        let times = raw
            .timing
            .written
            .get(name)
            .or(raw.policy.times.written.get(name));
        times.map(|time| *time.get_ref())
    };
    let profile = profile(raw);
    let usual = profile.map_or(Timing::default().interval, Profile::interval);
    let interval = written("interval").unwrap_or(usual);
    let three = interval.saturating_mul(3);
    let house = match profile {
        Some(profile) => profile.timing(interval),
        None => Timing {
            dead_interval: three.max(DEAD_INTERVAL_MIN),
            ..Timing::default()
        },
    };
    let slack = written("slack").unwrap_or(house.slack);
    let dead_interval = written("dead_interval").unwrap_or(house.dead_interval);
    let window = |name: &str, usual: Duration| written(name).unwrap_or(usual.min(dead_interval));
    Timing {
        interval,
        slack,
        w_carrier: window("w_carrier", house.w_carrier),
        w_silence: window("w_silence", house.w_silence),
        dead_interval,
        lease: written("lease").unwrap_or(three.max(least_lease(interval, slack))),
        offer: window("offer", house.offer),
        tail: window("tail", house.tail),
        rtt_bound: window("rtt_bound", house.rtt_bound),
        round: window("round", house.round),
        initial_wait: written("initial_wait").unwrap_or(house.initial_wait),
        hold_down: written("hold_down").unwrap_or(house.hold_down),
        preempt_delay: written("preempt_delay").unwrap_or(house.preempt_delay),
    }
}

/// Interval + slack + 8 ms (D9), in the kernel's steps of 4 ms.
pub(super) fn least_lease(interval: Duration, slack: Duration) -> Duration {
    let least = interval
        .saturating_add(slack)
        .saturating_add(Duration::from_millis(8));
    let steps = least.as_nanos().div_ceil(4_000_000);
    Duration::from_millis(u64::try_from(steps.saturating_mul(4)).unwrap_or(u64::MAX))
}

/// Who grants claims, if anybody does (D14).
pub(super) fn witness(raw: &Raw) -> Option<Witness> {
    let written = raw.witness.as_ref()?;
    let usual = Witness::usual_term(&timing(raw));
    Some(Witness {
        node: NodeId(byte(written.node.as_ref())?),
        term: written.term.as_ref().map_or(usual, |term| *term.get_ref()),
        asks: written
            .asks
            .as_ref()
            .map_or(Asks::Always, |it| *it.get_ref()),
    })
}

/// This node is the witness, by its file.
fn is_witness(raw: &Raw) -> bool {
    let own = byte(raw.node.id.as_ref()).map(NodeId);
    witness(raw).is_some_and(|witness| Some(witness.node) == own)
}

/// Every choice.
pub(super) fn policy(raw: &Raw) -> Policy {
    let mut house = profile(raw).map_or_else(Policy::default, Profile::policy);
    if is_witness(raw) {
        house.configured = ConfiguredRole::Off;
    }
    house.isolation = usual_isolation(raw.witness.is_some());
    let (node, policy) = (&raw.node, &raw.policy);
    let window = |name: &str| policy.times.written.get(name).map(|time| *time.get_ref());
    let limit = |written: &Option<toml::Spanned<u64>>| {
        let written = written.as_ref().map(|it| *it.get_ref());
        written.and_then(|it| u32::try_from(it).ok())
    };
    Policy {
        configured: node
            .role
            .as_ref()
            .map_or(house.configured, |it| *it.get_ref()),
        priority: byte(node.priority.as_ref()).unwrap_or(house.priority),
        preferred: flag(node.preferred.as_ref(), house.preferred),
        preempt: policy
            .preempt
            .as_ref()
            .map_or(house.preempt, |it| *it.get_ref()),
        on_failure: policy
            .on_failure
            .as_ref()
            .map_or(house.on_failure, |it| *it.get_ref()),
        isolation: policy
            .isolation
            .as_ref()
            .map_or(house.isolation, |it| *it.get_ref()),
        detection: policy
            .detection
            .as_ref()
            .map_or(house.detection, |it| *it.get_ref()),
        all_pacified: policy
            .all_pacified
            .as_ref()
            .map_or(house.all_pacified, |it| *it.get_ref()),
        boot_limit: limit(&policy.boot_limit).unwrap_or(house.boot_limit),
        restart_limit: limit(&policy.restart_limit).unwrap_or(house.restart_limit),
        boot_window: window("boot_window").unwrap_or(house.boot_window),
        flap_limit: limit(&policy.flap_limit).unwrap_or(house.flap_limit),
        flap_window: window("flap_window").unwrap_or(house.flap_window),
    }
}

/// Tells of each time that is written and that the product of the profile cannot be set to.
pub(super) fn check_profile(raw: &Raw, findings: &mut Findings) {
    let Some(profile) = profile(raw) else {
        return;
    };
    let timing = &raw.timing.written;
    let interval = timing.get("interval").and_then(|written| {
        let refused = profile.refuses_interval(*written.get_ref())?;
        Some(("interval", written, refused))
    });
    let dead_interval = timing.get("dead_interval").and_then(|written| {
        let refused = profile.refuses_dead_interval(*written.get_ref())?;
        Some(("dead_interval", written, refused))
    });
    for (name, written, refused) in interval.into_iter().chain(dead_interval) {
        let (time, product) = (show(*written.get_ref()), profile.product());
        let message = format!("`{name}` is {time}; that of a {product} is {refused}");
        let cure = format!("leave `{name}` out, or leave `profile` out");
        let profile = raw.cluster.profile.as_ref().map(toml::Spanned::span);
        let profile = profile.as_ref().map(|place| (place, "by this profile"));
        findings.wrong_twice(&written.span(), profile, message, cure);
    }
}

fn profile(raw: &Raw) -> Option<Profile> {
    raw.cluster.profile.as_ref().map(|it| *it.get_ref())
}
