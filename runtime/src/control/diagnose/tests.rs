//! Each trouble from the evidence that shows it, and none from what is well or has just begun.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::diagnosis::Misled;
use steadfast_core::effect::Input;
use steadfast_core::role::EffectiveRole;
use steadfast_core::status::{Differs, Liveness, PathStatus, PortStatus};
use steadfast_core::{Instant, Node};

use super::*;
use crate::journal::tests::pair;

const SERVED: u8 = 0;
const CABLE: u8 = 2;

fn facts() -> DaemonFacts {
    DaemonFacts {
        now: Instant::from_millis(600_000),
        uptime_s: 600,
        node_names: BTreeMap::from([(1, "gw1".to_owned()), (2, "gw2".to_owned())]),
        port_names: BTreeMap::from([(SERVED, "lan0".to_owned()), (CABLE, "ha0".to_owned())]),
        heartbeat_ports: BTreeSet::from([SERVED, CABLE]),
        direct_ports: BTreeSet::from([CABLE]),
        dead_interval: Duration::from_millis(300),
        ..DaemonFacts::default()
    }
}

/// A node that hears its peer everywhere and is heard everywhere.
fn well() -> Status {
    let mut node = Node::new(pair::config(0), pair::origin_boot(1));
    let now = Instant::from_millis(1_000);
    for port in [SERVED, CABLE].map(PortId) {
        node.handle(now, Input::LinkChanged { port, up: true });
    }
    let mut status = node.status(now);
    let heard = |port| PathStatus {
        port: PortId(port),
        heard: Some(Duration::from_millis(50)),
        form: None,
        withholds: false,
        hears_us: Some(true),
        router: None,
        round_trip: None,
    };
    status.ports = [SERVED, CABLE]
        .map(|port| PortStatus {
            port: PortId(port),
            up: true,
            since: now,
            receives: true,
        })
        .into();
    let peer = status.peers.first_mut().expect("a peer");
    peer.liveness = Liveness::Alive;
    peer.paths = [SERVED, CABLE].map(heard).into();
    peer.differs = Differs::default();
    status
}

/// What is told, once the status was changed so.
fn told(change: impl FnOnce(&mut Status)) -> Vec<String> {
    let mut status = well();
    change(&mut status);
    let troubles = diagnose(&status, &facts());
    assert!(
        troubles.iter().all(|it| !it.cure.is_empty()),
        "{troubles:?}"
    );
    troubles.into_iter().map(|it| it.problem).collect()
}

fn says_one(troubles: &[String], part: &str) {
    assert!(
        matches!(troubles, [one] if one.contains(part)),
        "`{part}`: {troubles:?}"
    );
}

#[test]
fn diagnose_nothing_is_wrong_with_what_is_well_or_new() {
    assert_eq!(told(|_| ()), [""; 0]);
    let mut status = well();
    status.peers[0].paths[0].hears_us = Some(false);
    let young = DaemonFacts {
        uptime_s: 3,
        ..facts()
    };
    assert_eq!(diagnose(&status, &young), []);
    let troubles = told(|status| {
        status.ports[0].since = Instant::from_millis(599_000);
        status.peers[0].paths[0].heard = None;
    });
    assert_eq!(troubles, [""; 0], "its carrier has just come");
    let troubles = told(|status| {
        status.ports[0].up = false;
        status.peers[0].paths[0].heard = None;
    });
    assert_eq!(
        troubles, [""; 0],
        "a port without carrier is told elsewhere"
    );
}

#[test]
fn diagnose_one_way_links_from_both_ends() {
    let troubles = told(|status| status.peers[0].paths[0].hears_us = Some(false));
    says_one(
        &troubles,
        "gw2 (node 2) is heard on lan0 and does not hear this node",
    );
    let troubles = told(|status| status.peers[0].paths[0].heard = Some(Duration::from_secs(60)));
    says_one(
        &troubles,
        "gw2 (node 2) hears this node on lan0 and is not heard there",
    );
}

/// An active whose kernel answers for itself alone: with a virtual MAC somebody drops what comes
/// from it (F42).
#[test]
fn diagnose_an_active_that_answers_for_itself_alone() {
    let troubles = told(|status| status.peers[0].paths[0].withholds = true);
    says_one(
        &troubles,
        "gw2 (node 2) is active and answers for no virtual address on lan0",
    );
    let mut status = well();
    status.peers[0].paths[0].withholds = true;
    let facts = DaemonFacts {
        station_ports: BTreeSet::from([SERVED]),
        ..facts()
    };
    let troubles = diagnose(&status, &facts);
    let text = "gw2 (node 2) is active, and nothing from the virtual MAC comes through on lan0";
    assert!(troubles[0].problem.contains(text), "{troubles:?}");
}

#[test]
fn diagnose_silent_paths_by_what_else_is_heard_there() {
    let silent = |status: &mut Status, place: usize| {
        let path = &mut status.peers[0].paths[place];
        (path.heard, path.hears_us) = (None, Some(false));
    };
    let troubles = told(|status| silent(status, 0));
    says_one(
        &troubles,
        "lan0 hears other stations and nothing of gw2 (node 2): multicast",
    );
    let troubles = told(|status| {
        silent(status, 0);
        status.ports[0].receives = false;
    });
    says_one(&troubles, "lan0 has carrier and hears nobody");
    let troubles = told(|status| silent(status, 1));
    says_one(
        &troubles,
        "the direct cable ha0 has carrier, and nothing of gw2",
    );
}

/// Beyond a router no switch is to blame (R2.5).
#[test]
fn diagnose_peers_beyond_a_router_by_what_answers() {
    let beyond = |answers: bool, heard: Option<Duration>| {
        told(|status| {
            let path = &mut status.peers[0].paths[0];
            (path.router, path.heard, path.hears_us) = (Some(answers), heard, Some(false));
        })
    };
    let now = Some(Duration::ZERO);
    says_one(
        &beyond(false, None),
        "gw2 (node 2) is beyond the router of lan0, and that does not answer",
    );
    says_one(
        &beyond(true, None),
        "nothing of gw2 (node 2) comes through the router of lan0",
    );
    says_one(
        &beyond(true, now),
        "gw2 (node 2) is heard through the router of lan0, and does not hear this node",
    );
    let unknown = told(|status| {
        let peer = &mut status.peers[0];
        peer.liveness = Liveness::Unknown;
        for path in &mut peer.paths {
            path.heard = None;
        }
        peer.paths[0].router = Some(true);
    });
    says_one(
        &unknown,
        "nothing of gw2 (node 2) comes through the router of lan0",
    );
    let takes = |millis| {
        told(|status| {
            let path = &mut status.peers[0].paths[0];
            path.router = Some(true);
            path.round_trip = Some(Duration::from_millis(millis));
        })
    };
    assert_eq!(takes(150), [""; 0]);
    says_one(
        &takes(151),
        "take 151 ms, more than half of `dead_interval`",
    );
}

#[test]
fn diagnose_secrets_only_while_a_peer_is_missing() {
    let unread = |ago, liveness| {
        told(|status| {
            status.drops.unverified = 7;
            status.peers[0].unverified = Some(Duration::from_secs(ago));
            status.peers[0].liveness = liveness;
        })
    };
    let forged = unread(1, Liveness::Alive);
    assert_eq!(forged, [""; 0], "a forger, whom nobody believes");
    says_one(
        &unread(9, Liveness::Unknown),
        "7 frames of this cluster did not verify, and gw2 (node 2) is not heard",
    );
    let over = unread(10, Liveness::Unknown);
    assert!(!over.iter().any(|it| it.contains("verify")), "{over:?}");
    let stranger = |ago| {
        told(|status| {
            status.drops.unknown_senders = 1;
            status.stranger = Some(Duration::from_secs(ago));
        })
    };
    says_one(&stranger(9), "not configured here");
    assert_eq!(stranger(10), [""; 0], "it is gone");
}

#[test]
fn diagnose_differences_one_by_one() {
    let troubles = told(|status| {
        status.peers[0].differs = Differs {
            certificate: true,
            config: true,
            facts: true,
            interfaces: true,
            version: true,
        };
    });
    let parts = [
        "the certificate of this node",
        "shared configuration",
        "identity facts",
        "interfaces",
        "software version",
    ];
    assert_eq!(troubles.len(), parts.len(), "{troubles:?}");
    for (trouble, part) in troubles.iter().zip(parts) {
        assert!(trouble.contains(part), "`{part}` in {trouble}");
    }
}

/// Packets that should have gone to the active are told by whoever does not serve, whatever else it
/// is; and only of the time in which somebody did.
#[test]
fn diagnose_neighbours_that_send_to_who_does_not_serve() {
    let mut misled = Misled::default();
    for (second, counter) in [(590, 0), (592, 10), (594, 20), (599, 30)] {
        misled.note(Instant::from_millis(second * 1_000), counter);
    }
    let facts = DaemonFacts {
        misled: BTreeMap::from([(PortId(SERVED), misled)]),
        ..facts()
    };
    let told = |role, active_for: Option<u64>| -> Vec<String> {
        let mut status = well();
        status.role = role;
        status.peers[0].active_for = active_for.map(Duration::from_secs);
        let troubles = diagnose(&status, &facts).into_iter();
        troubles.map(|it| it.problem).collect()
    };
    for role in [
        EffectiveRole::Standby,
        EffectiveRole::Off,
        EffectiveRole::Failed,
        EffectiveRole::Pacified,
    ] {
        let text = "have come to lan0 for 7 s and were dropped: gw2 (node 2) serves";
        says_one(&told(role, Some(60)), text);
        assert_eq!(told(role, None), [""; 0], "nobody serves: an outage");
        assert_eq!(told(role, Some(5)), [""; 0], "and nobody did for long");
    }
    assert_eq!(told(EffectiveRole::Active, Some(60)), [""; 0], "both do");
}

/// Ranks of paths: with a primary one that carries both ways nothing is told.
#[test]
fn diagnose_a_secondary_path_that_is_left_alone() {
    let ranked = |secondary: &[u8], change: fn(&mut Status)| -> Vec<String> {
        let facts = DaemonFacts {
            secondary_ports: secondary.iter().copied().collect(),
            ..facts()
        };
        let mut status = well();
        change(&mut status);
        let troubles = diagnose(&status, &facts).into_iter();
        let told = troubles.map(|it| it.problem);
        told.filter(|it| it.contains("primary")).collect()
    };
    let cable_down = |status: &mut Status| {
        status.ports[1].up = false;
        status.peers[0].paths[1].heard = None;
    };
    says_one(
        &ranked(&[SERVED], cable_down),
        "no primary path to gw2 (node 2) carries heartbeats (ha0: no carrier); lan0 alone does",
    );
    let silent: fn(&mut Status) = |status| status.peers[0].paths[1].heard = None;
    says_one(&ranked(&[SERVED], silent), "(ha0: nothing heard)");
    let deaf: fn(&mut Status) = |status| status.peers[0].paths[1].hears_us = Some(false);
    says_one(&ranked(&[SERVED], deaf), "(ha0: not heard there)");
    assert_eq!(ranked(&[SERVED], |_| ()), [""; 0], "the cable carries");
    assert_eq!(ranked(&[CABLE], cable_down), [""; 0], "the LAN is primary");
    assert_eq!(ranked(&[SERVED, CABLE], cable_down), [""; 0], "none is");
    let new: fn(&mut Status) = |status| {
        status.ports[1].up = false;
        status.ports[1].since = Instant::from_millis(599_000);
        status.peers[0].paths[1].heard = None;
    };
    assert_eq!(ranked(&[SERVED], new), [""; 0], "it went just now");
    let nothing: fn(&mut Status) = |status| {
        for path in &mut status.peers[0].paths {
            path.heard = None;
        }
    };
    assert_eq!(ranked(&[SERVED], nothing), [""; 0], "none is left");
}
