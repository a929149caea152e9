//! Paths that nobody counts on, when no other is left (R2.2).
//!
//! Every heartbeat goes over every path, so the last secondary one holds a cluster together as well
//! as any: nothing moves, and nobody would know that one more fault makes the gateways deaf to each
//! other.

use super::{Around, SETTLED, Trouble, TroubleKind, is_heard, trouble};
use crate::status::{PathStatus, PeerStatus, Status};

/// No primary path to a living peer carries anything in both directions, and a secondary one does.
pub(super) fn secondary_alone(
    status: &Status,
    around: &Around,
    peer: &PeerStatus,
) -> Option<Trouble> {
    let of_rank = |secondary: bool| {
        let ranked = move |path: &&PathStatus| {
            around.is(path.port, |it| it.heartbeat && it.secondary == secondary)
        };
        peer.paths.iter().filter(ranked)
    };
    let carries = |path: &PathStatus| is_heard(path) && path.hears_us != Some(false);
    let is_new = |path: &PathStatus| {
        let port = status.ports.iter().find(|it| it.port == path.port);
        port.is_none_or(|port| around.now.since(port.since) < SETTLED)
    };
    if of_rank(false).any(|path| carries(path) || is_new(path)) {
        return None;
    }
    let lost: Vec<String> = of_rank(false).map(|it| why(status, around, it)).collect();
    let left: Vec<String> = of_rank(true)
        .filter(|path| carries(path))
        .map(|path| around.port(path.port))
        .collect();
    if lost.is_empty() || left.is_empty() {
        return None;
    }
    let (name, lost, left) = (around.node(peer.node), lost.join(", "), left.join(", "));
    Some(trouble(
        TroubleKind::SecondaryAlone,
        format!("no primary path to {name} carries heartbeats ({lost}); {left} alone does"),
        "mend the primary paths: until then the gateways may lose each other with one more fault",
    ))
}

/// `ha0: no carrier`.
fn why(status: &Status, around: &Around, path: &PathStatus) -> String {
    let port = status.ports.iter().find(|it| it.port == path.port);
    let what = match (port.is_some_and(|port| port.up), is_heard(path)) {
        (false, _) => "no carrier",
        (true, false) => "nothing heard",
        (true, true) => "not heard there",
    };
    format!("{}: {what}", around.port(path.port))
}
