//! What a node tells about itself.

use super::Node;
use super::episodes::Episode;
use crate::Instant;
use crate::config::PortConfig;
use crate::peer::Path;
use crate::peer::Peer;
use crate::role::EffectiveRole;
use crate::status::{Differs, Liveness, PathStatus, PeerStatus, PortStatus, Status};

/// So many of this node's messages may a path be behind the others, and the peer still hears on it.
/// Answers go out on one path alone, so the paths are never quite even.
const UNHEARD_MAX: u64 = 64;

/// Quiet questions without an answer, a tenth of a second apart, after which none is expected.
const UNANSWERED: u16 = 20;

impl Node {
    /// The whole status, at `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        let ports = self
            .config
            .ports
            .iter()
            .zip(&self.ports)
            .map(|(config, port)| PortStatus {
                port: config.id,
                up: port.up,
                since: port.since,
                receives: port
                    .foreign_at
                    .is_some_and(|at| now.since(at).as_millis() < 1_000),
            });
        Status {
            node: self.config.node,
            boot: self.boot,
            at: self.now,
            configured: self.config.policy.configured,
            role: self.role,
            since: self.since,
            why: self.why,
            why_text: self.why.to_string(),
            epoch: self.epoch(),
            newest: self.known.max(self.claim.epoch),
            rival_at: self.rival_at,
            witnessed: self.claim.witnessed,
            health: self.health().0,
            fence_whole: self.fence_whole,
            maintenance: self.record.maintenance,
            same_role: self.peers.iter().any(|peer| self.same_role(peer)),
            ports: ports.collect(),
            checks: self.check_statuses(),
            peers: self
                .peers
                .iter()
                .map(|peer| self.peer_status(peer, now))
                .collect(),
            witness: self.witness_status(now),
            open_alerts: self.raised.iter().map(Episode::alert).collect(),
            recent_alerts: self.alerts_told.iter().copied().collect(),
            stranger: self.unread.stranger_at().map(|at| now.since(at)),
            drops: self.drops,
        }
    }

    /// What the node is now.
    #[must_use]
    pub const fn role(&self) -> EffectiveRole {
        self.role
    }

    /// Since when, and why.
    #[must_use]
    pub const fn reason(&self) -> (Instant, crate::status::Cause) {
        (self.since, self.why)
    }

    /// The claim this node holds; the newest it knows of when it holds none.
    #[must_use]
    pub const fn epoch(&self) -> crate::Epoch {
        match self.role {
            EffectiveRole::Active | EffectiveRole::Promoting => self.claim.epoch,
            EffectiveRole::Demoting
            | EffectiveRole::Failed
            | EffectiveRole::Off
            | EffectiveRole::Pacified
            | EffectiveRole::Standby
            | EffectiveRole::Starting => self.known,
        }
    }

    fn peer_status(&self, peer: &Peer, now: Instant) -> PeerStatus {
        let dead_interval = self.config.timing.dead_interval;
        let recent = |at: Option<Instant>, wait| at.is_some_and(|at| now.since(at) < wait);
        let suspect = self
            .suspicion
            .as_ref()
            .is_some_and(|open| open.peer == peer.node);
        let liveness = match peer.heard_at {
            None => Liveness::Unknown,
            // Silent for longer is dead, though it may still be asked before this node claims.
            Some(_) if !peer.heard_within(now, dead_interval) => Liveness::Dead,
            Some(_) if suspect => Liveness::Suspect,
            Some(_) => Liveness::Alive,
        };
        let alive = peer
            .paths
            .iter()
            .filter(|path| recent(path.heard_at, dead_interval))
            .count();
        let second = core::time::Duration::from_secs(1);
        let armed = |path: &&Path| recent(path.virtual_at, second) && recent(path.unit_at, second);
        PeerStatus {
            node: peer.node,
            liveness,
            role: (liveness == Liveness::Alive || liveness == Liveness::Suspect)
                .then(|| peer.latest.as_ref().map(|latest| latest.effective))
                .flatten(),
            age: peer.heard_at.map(|at| now.since(at)),
            active_for: peer.active_since.map(|at| now.since(at)),
            paths_alive: u8::try_from(alive).unwrap_or(u8::MAX),
            segments_armed: u8::try_from(peer.paths.iter().filter(armed).count())
                .unwrap_or(u8::MAX),
            answers_nothing: self.config.witness.map(|it| it.node) != Some(peer.node)
                && self.answers_nothing(peer),
            unverified: peer.unverified_at.map(|at| now.since(at)),
            suspected: peer.suspected,
            lateness: peer.lateness(self.config.timing.slack),
            paths: self.path_statuses(peer, now),
            differs: self.differs(peer),
        }
    }

    /// A witness is on a segment of the gateways, and not on the others: where it says that it has
    /// no port is no path to it. As long as it was never heard, those are that lead to an address.
    fn path_statuses(&self, peer: &Peer, now: Instant) -> Vec<PathStatus> {
        let witness = self.config.witness.map(|witness| witness.node);
        let there = |(port, _): &(&PortConfig, &Path)| {
            let listed = || peer.latest.is_none() && peer.unit(port.id, false).is_some();
            witness != Some(peer.node) || peer.mac(port.id).is_some() || listed()
        };
        let paths = self.config.ports.iter().zip(&peer.paths).filter(there);
        let second = core::time::Duration::from_secs(1);
        let withholds = |path: &Path| {
            let lives = path.unit_at.is_some_and(|at| now.since(at) < second);
            lives && peer.says_active() && path.unanswered >= UNANSWERED
        };
        let status = |(port, path): (&PortConfig, &Path)| PathStatus {
            withholds: withholds(path),
            port: port.id,
            heard: path.heard_at.map(|at| now.since(at)),
            hears_us: peer.hears_on(self.config.node, self.boot, port.id, UNHEARD_MAX),
            form: path.hearing.form,
            router: self.router_status(port.id, peer),
            round_trip: Some(path.round_trip.usual_longest()).filter(|it| !it.is_zero()),
        };
        paths.map(status).collect()
    }

    /// A witness has ports and addresses of its own, whatever the gateways have.
    fn differs(&self, peer: &Peer) -> Differs {
        let own = &self.config.digests;
        let witness = self.config.witness.map(|witness| witness.node);
        let alike = witness != Some(peer.node) && !self.config.is_witness();
        peer.latest
            .as_ref()
            .map_or_else(Differs::default, |said| Differs {
                certificate: alike
                    && said.version == own.version
                    && self
                        .certificate
                        .is_some_and(|own| said.certificate != Some(own)),
                config: alike && said.config_digest != own.config,
                facts: alike && said.facts_digest != own.facts,
                interfaces: alike && said.interfaces_digest != own.interfaces,
                version: said.version != own.version,
            })
    }
}
