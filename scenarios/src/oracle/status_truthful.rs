//! What a node says of itself and of its peers is so.
//!
//! A running node that the observer can ask says `active` exactly when it answers for a virtual
//! address, but for `within`. Every status says why; its `since` lies neither in the future nor
//! before the role it followed (R9.2). What it says of a port's carrier is so, but for `within` and
//! a second, for nobody looks more often (R4.3). Status of a dead peer carries its age, never a
//! stale "active" (R9.3, F69). Armed once a running, reachable node said anything.

use core::time::Duration;
use std::collections::BTreeMap;

use steadfast_core::role::EffectiveRole;
use steadfast_core::{Instant, NodeId, PortId};

use super::kernel_matches_role::must_own;
use super::{Lag, Oracle, Report, Scene, Tally};
use crate::picture::{GatewayView, Picture};
use crate::trace::{Event, EventKind};

/// A status is looked at so often at least.
const LOOKED_AT: Duration = Duration::from_secs(1);

/// Compares words with deeds.
#[derive(Clone, Debug)]
pub struct StatusTruthful {
    scope: Option<NodeId>,
    within: Duration,
    seen: Option<u64>,
    wrong: BTreeMap<NodeId, Lag>,
    wrong_ports: BTreeMap<(NodeId, PortId), Lag>,
    /// The role each node said last, and since when it said so.
    said: BTreeMap<NodeId, (EffectiveRole, Instant)>,
    tally: Tally,
}

impl StatusTruthful {
    /// One gateway or all; words may be wrong for `within`.
    pub const fn new(scope: Option<NodeId>, within: Duration) -> Self {
        Self {
            scope,
            within,
            seen: None,
            wrong: BTreeMap::new(),
            wrong_ports: BTreeMap::new(),
            said: BTreeMap::new(),
            tally: Tally::new(),
        }
    }

    fn look(&mut self, picture: &Picture) {
        self.seen = Some(picture.version());
        for gateway in picture.gateways() {
            let watched = self.scope.is_none_or(|scope| scope == gateway.id);
            if watched && self.lies(gateway, picture) {
                self.wrong
                    .entry(gateway.id)
                    .or_insert(Lag::new(self.within));
            } else {
                self.wrong.remove(&gateway.id);
            }
            self.look_at_ports(gateway, watched && gateway.runs());
        }
    }

    fn look_at_ports(&mut self, gateway: &GatewayView, watched: bool) {
        for (port, view) in &gateway.ports {
            let place = (gateway.id, *port);
            if watched && view.said.is_some_and(|said| said != view.up) {
                let lag = Lag::new(self.within + LOOKED_AT);
                self.wrong_ports.entry(place).or_insert(lag);
            } else {
                self.wrong_ports.remove(&place);
            }
        }
    }

    fn hold_ports(&mut self, from: Instant, to: Instant, picture: &Picture) {
        for ((gateway, port), lag) in &mut self.wrong_ports {
            if let Some((from, to)) = lag.hold(true, from, to) {
                let name = picture.names().gateway(*gateway);
                let text = || format!("{name} says of port {port} what is not so");
                self.tally.wrong(from, to, text);
            }
        }
    }

    fn lies(&mut self, gateway: &GatewayView, picture: &Picture) -> bool {
        let Some(status) = gateway.status.as_ref().filter(|_| gateway.runs()) else {
            return false;
        };
        let mut asked = false;
        let mut answers = false;
        for segment in picture.served() {
            asked |= picture.reachable(segment, gateway.id);
            answers |= picture.answer_count(segment, gateway.id) > 0;
        }
        if asked {
            self.tally.arm();
        }
        asked && must_own(status.role).is_some_and(|owns| owns != answers)
    }

    /// A status must say why, and a credible since.
    fn check_words(&mut self, at: Instant, gateway: NodeId, said: &Said<'_>, picture: &Picture) {
        let name = picture.names().gateway(gateway);
        let before = self.said.insert(gateway, (said.role, at));
        if said.why.is_empty() {
            self.tally
                .wrong(at, at, || format!("{name} does not say why"));
        }
        if said.since > at {
            self.tally.wrong(at, at, || {
                format!("{name} says since {}, in the future", said.since)
            });
        }
        if let Some((role, heard)) = before
            && role != said.role
            && said.since.after(self.within) < heard
        {
            let since = said.since;
            let text = || format!("{name} says since {since}, when it said {role:?} at {heard}");
            self.tally.wrong(at, at, text);
        }
    }

    /// A peer that does not run must be shown with an age that fits.
    fn check_peer(&mut self, at: Instant, shown: &Shown, picture: &Picture) {
        let Some(down_since) = picture.gateway(shown.peer).and_then(|view| view.down_since) else {
            return;
        };
        let down = at.since(down_since);
        let Some(age) = shown.age.filter(|_| down > self.within) else {
            return;
        };
        let (name, peer) = (
            picture.names().gateway(shown.by),
            picture.names().gateway(shown.peer),
        );
        self.tally.arm();
        if age.saturating_add(self.within) < down {
            let text = || format!("{name} shows {peer} younger than its end at {down_since}");
            self.tally.wrong(at, at, text);
        }
        if shown.role == Some(EffectiveRole::Active) {
            self.tally
                .wrong(at, at, || format!("{name} shows {peer} active, it is down"));
        }
    }
}

struct Said<'a> {
    role: EffectiveRole,
    since: Instant,
    why: &'a str,
}

struct Shown {
    by: NodeId,
    peer: NodeId,
    role: Option<EffectiveRole>,
    age: Option<Duration>,
}

impl Oracle for StatusTruthful {
    fn hold(&mut self, from: Instant, to: Instant, scene: &Scene<'_>) {
        let picture = scene.picture;
        if self.seen != Some(picture.version()) {
            self.look(picture);
        }
        for (gateway, lag) in &mut self.wrong {
            if let Some((from, to)) = lag.hold(true, from, to) {
                let name = picture.names().gateway(*gateway);
                let said = picture
                    .gateway(*gateway)
                    .and_then(|view| view.status.clone());
                let text = || match said.map(|status| status.role) {
                    Some(EffectiveRole::Active) => {
                        format!("{name} says active and answers for nothing")
                    }
                    role => format!("{name} says {role:?} and answers for a virtual address"),
                };
                self.tally.wrong(from, to, text);
            }
        }
        self.hold_ports(from, to, picture);
    }

    fn observe(&mut self, event: &Event, scene: &Scene<'_>) {
        let at = event.at;
        let scope = self.scope;
        let inside = |id| scene.window.contains(at) && scope.is_none_or(|own| own == id);
        if let EventKind::Status {
            gateway,
            role,
            since,
            why,
            ..
        } = &event.kind
            && inside(*gateway)
        {
            let said = Said {
                role: *role,
                since: *since,
                why,
            };
            self.check_words(at, *gateway, &said, scene.picture);
        }
        if let EventKind::PeerStatus {
            gateway,
            peer,
            role,
            age,
        } = &event.kind
            && inside(*gateway)
        {
            let age = age.map(Duration::from_nanos);
            let shown = Shown {
                by: *gateway,
                peer: *peer,
                role: *role,
                age,
            };
            self.check_peer(at, &shown, scene.picture);
        }
    }

    fn finish(&mut self, _end: Instant, _scene: &Scene<'_>) -> Report {
        self.tally.report(String::new())
    }
}

#[cfg(test)]
mod tests;
