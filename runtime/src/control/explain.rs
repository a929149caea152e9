//! Why a node is what it is, in words: what led here, what holds it here, what would change it.
//!
//! The words follow from the status alone, so they cannot say more than the node knows. The limit:
//! of the way that led here, only the role changes that control saw are told, the newest
//! [`super::HISTORY_MAX`]; changes within one turn of the driver are seen as one.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::role::{ConfiguredRole, EffectiveRole};
use steadfast_core::status::{Liveness, PeerStatus, Status};
use steadfast_core::{Instant, NodeId};

use super::{Change, DaemonFacts, Trouble, diagnose};

/// An explanation, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The role, in one sentence.
    pub summary: String,
    /// What led here, newest first: when (seconds ago), the role, why.
    pub chain: Vec<String>,
    /// What else is true of this node and matters.
    pub facts: Vec<String>,
    /// What is wrong around the node, and what to do about it.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
    /// What would change the role.
    pub changes: Vec<String>,
    /// The peers.
    pub peers: Vec<PeerExplanation>,
}

/// A peer, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerExplanation {
    /// Which.
    pub node: NodeId,
    /// In words.
    pub text: String,
}

/// Explains a status. `history` is oldest first.
pub fn explain(status: &Status, daemon: &DaemonFacts, history: &[Change]) -> Explanation {
    let ago = |at: Instant| in_words(daemon.now.since(at));
    let summary = format!(
        "{} is {} since {}: {}",
        node_name(daemon, status.node),
        role_word(status.role),
        ago(status.since),
        status.why_text
    );
    let told = history.iter().rev();
    let chain = told.map(|change| {
        let word = role_word(change.role);
        format!("{} ago: {word}, because: {}", ago(change.at), change.why)
    });
    let peers = status.peers.iter().map(|peer| PeerExplanation {
        node: peer.node,
        text: peer_text(daemon, peer),
    });
    Explanation {
        summary,
        chain: chain.collect(),
        facts: facts(status, daemon),
        troubles: diagnose(status, daemon),
        changes: changes(status),
        peers: peers.collect(),
    }
}

/// A duration for people: `850 ms`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub(crate) fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// A node's name, or its number.
pub(crate) fn node_name(daemon: &DaemonFacts, node: NodeId) -> String {
    match daemon.node_names.get(&node.0) {
        Some(name) => format!("{name} (node {node})"),
        None => format!("node {node}"),
    }
}

/// A role in the words of the house.
pub(crate) const fn role_word(role: EffectiveRole) -> &'static str {
    match role {
        EffectiveRole::Active => "active",
        EffectiveRole::Demoting => "demoting",
        EffectiveRole::Failed => "failed",
        EffectiveRole::Off => "off",
        EffectiveRole::Pacified => "pacified",
        EffectiveRole::Promoting => "promoting",
        EffectiveRole::Standby => "standby",
        EffectiveRole::Starting => "starting",
    }
}

fn facts(status: &Status, daemon: &DaemonFacts) -> Vec<String> {
    let mut facts = Vec::new();
    for port in status.ports.iter().filter(|port| !port.up) {
        let name = daemon.port_names.get(&port.port.0);
        let name = name.cloned().unwrap_or_else(|| port.port.to_string());
        let since = in_words(daemon.now.since(port.since));
        facts.push(format!("port {name} has no carrier since {since}"));
    }
    if status.health > 0 {
        let class = status.health;
        facts.push(format!(
            "health class {class}: a whole peer ranks higher (0 is whole)"
        ));
    }
    if !status.fence_whole {
        facts.push("the kernel's fence is not whole: this node ranks lower".to_owned());
    }
    if status.maintenance {
        facts.push("maintenance is on; `steadfastctl maintenance off` ends it".to_owned());
    }
    if status.same_role {
        let text = "a peer is configured with the same role: set one to active, one to standby";
        facts.push(text.to_owned());
    }
    match status.configured {
        ConfiguredRole::Off => facts.push("the configuration says role = \"off\"".to_owned()),
        ConfiguredRole::Active | ConfiguredRole::Any | ConfiguredRole::Standby => {}
    }
    if matches!(status.role, EffectiveRole::Active) && !status.witnessed {
        let text = "the claim is provisional: made without evidence about the peer, and yields \
                    to a witnessed one";
        facts.push(text.to_owned());
    }
    facts.extend(daemon.alerts.iter().map(|alert| format!("alert: {alert}")));
    facts
}

fn changes(status: &Status) -> Vec<String> {
    let lines: &[&str] = match status.role {
        EffectiveRole::Active => &[
            "`steadfastctl release`, or `takeover` on a peer, hands the role over",
            "losing a watched port while a peer is whole hands it over",
            "losing the kernel's lease, or a dispute with a higher ranking rival, ends it at once",
        ],
        EffectiveRole::Demoting => &["it ends by itself when the hand-over's tail is over"],
        EffectiveRole::Failed => &[
            "the kernel must take lease and addresses again: see the log for what it refused",
            "`steadfastctl enable` tries again where the failure policy waits for an operator",
        ],
        EffectiveRole::Off if status.maintenance => &["`steadfastctl maintenance off`"],
        EffectiveRole::Off => &[
            "`steadfastctl enable` after a failure",
            "another configured role than \"off\", and a reload",
        ],
        EffectiveRole::Pacified => &[
            "`steadfastctl clear-pacified`, once the cause of the reboots is found",
            "a clean reboot after the boot window",
        ],
        EffectiveRole::Promoting => &["the kernel's answer, within milliseconds"],
        EffectiveRole::Standby => &[
            "the active peer's death, silence, release or loss of a port",
            "`steadfastctl takeover` here",
        ],
        EffectiveRole::Starting => &["every peer heard, or the initial wait being over"],
    };
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn peer_text(daemon: &DaemonFacts, peer: &PeerStatus) -> String {
    let name = node_name(daemon, peer.node);
    let age = peer.age.map_or_else(String::new, |age| {
        format!(", last heard {} ago", in_words(age))
    });
    let role = peer.role.map_or("of unknown role", role_word);
    let asked = match peer.segments_armed {
        0 => "its kernel cannot be asked, so its silence must last for dead interval and lease",
        _ => "its kernel can be asked, so its death is found within milliseconds",
    };
    match peer.liveness {
        Liveness::Alive => {
            let paths = peer.paths_alive;
            format!("{name} is alive and {role}, on {paths} paths{age}; {asked}")
        }
        Liveness::Dead => format!("{name} is dead{age}; nothing it said before counts now"),
        Liveness::Suspect => format!("{name} is suspect and being asked{age}"),
        Liveness::Unknown => format!("{name} was never heard since this daemon started"),
    }
}
