//! A new configuration for a running node: what is taken at once, and what is refused and why.
//!
//! A reload never costs a heartbeat, a session, a role or a lease: times, choices, keys, addresses
//! and neighbours are taken; who the node is, whom it talks to and over which ports is settled at
//! start, and a change of that is refused as a whole, with its reason, while the old configuration
//! stays in force.
//!
//! Whoever calls gives the kernel's side the new addresses *first*; the node then asks for the same
//! state again, so that the kernel holds what the new configuration says. The hard case is the
//! active: asking for `Active` would create a lease where it has lapsed. So it asks only while its
//! last refreshing word is younger than interval + slack, after which no lease has ended yet (L is
//! at least 8 ms longer), and else at the next advertisement. The limit: a daemon stopped between
//! asking and the kernel's deed, as with any claim.

use core::time::Duration;

use thiserror::Error;

use super::Node;
use crate::Instant;
use crate::config::{Config, PeerConfig, PortConfig};
use crate::effect::Forwarding;
use crate::peer::Peer;
use crate::role::{EffectiveRole, RoleEvent};
use crate::status::Cause;
use crate::timer::Timer;

/// Why a new configuration was refused; the old one stays in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigRefused {
    /// The role is moving: times that both sides count on must not change under them.
    #[error("the role is being handed over; load the configuration again when it has moved")]
    Busy,
    /// Another cluster or virtual router.
    #[error("cluster or virtual router differ; restart the daemon to join another")]
    Cluster,
    /// Another node id.
    #[error("the node id differs; restart the daemon to change it")]
    Node,
    /// Other peers.
    #[error("the peers' ids differ; restart the daemon to add or remove a node")]
    Peers,
    /// Other transports, or another UDP port.
    #[error("the transports or the UDP port differ; restart the daemon to change them")]
    Transports,
    /// Another witness, or one where there was none.
    #[error("the witness differs; restart the daemon to add, remove or change it")]
    Witness,
    /// Another virtual MAC, or one where there was none.
    #[error("a virtual MAC differs; restart the daemon to add, remove or change it")]
    VirtualMac,
    /// Another router of a port, or one where there was none.
    #[error("a port's router differs; restart the daemon to add, remove or change it")]
    Router,
    /// Other ports.
    #[error("the ports' numbers or names differ; restart the daemon to add or remove a port")]
    Ports,
}

impl Node {
    /// Takes another configuration at once, and says so to the peers. Lists of ports and peers may
    /// come in another order. An active that is now configured to be off hands the role over.
    ///
    /// # Errors
    /// The first part that only a restart can change, in the order of [`ConfigRefused`]; nothing
    /// has changed then.
    pub fn replace_config(&mut self, now: Instant, config: Config) -> Result<(), ConfigRefused> {
        self.advance(now);
        self.notice_gap();
        self.consider_grant();
        let (ports, peers) = self.compare(&config)?;
        let (virtuals, lease) = (owned(&self.config), self.config.timing.lease);
        let fresh = self.lease_is_fresh();
        let health = self.health();
        self.ports = ports.iter().map(|place| self.ports[*place]).collect();
        self.peers = peers
            .iter()
            .zip(&config.peers)
            .map(|(place, told)| {
                let mut peer = self.peers[*place].clone();
                peer.units.clone_from(&told.units);
                peer.paths = ports.iter().map(|place| peer.paths[*place]).collect();
                peer
            })
            .collect();
        self.checks = self.checks_under(&config);
        self.virtuals = super::send::in_turn(&config);
        self.config = config;
        self.rename_failed_checks();
        if owned(&self.config) != virtuals {
            self.peers.iter_mut().for_each(Peer::forget_ownership);
            self.reapply = true;
        }
        self.reapply |= self.config.timing.lease != lease;
        self.rearm();
        self.consider_reapplying(fresh);
        self.health_changed(health);
        self.follow_configured_role();
        self.arm_uptime();
        self.settle();
        Ok(())
    }

    /// Whether a configuration could be taken now: the same question without doing it, for whoever
    /// has to prepare the kernel first.
    ///
    /// # Errors
    /// As [`Self::replace_config`].
    pub fn accepts(&self, config: &Config) -> Result<(), ConfigRefused> {
        self.compare(config).map(drop)
    }

    /// Where each new port and peer stands now.
    fn compare(&self, new: &Config) -> Result<(Vec<usize>, Vec<usize>), ConfigRefused> {
        let old = &self.config;
        let moving = matches!(
            self.role,
            EffectiveRole::Demoting | EffectiveRole::Promoting
        );
        if moving || self.giving.is_some() || self.taking.is_some() {
            return Err(ConfigRefused::Busy);
        }
        if old.cluster != new.cluster || old.virtual_router != new.virtual_router {
            return Err(ConfigRefused::Cluster);
        }
        if old.node != new.node {
            return Err(ConfigRefused::Node);
        }
        if old.carriage != new.carriage {
            return Err(ConfigRefused::Transports);
        }
        let witness = |config: &Config| config.witness.map(|witness| witness.node);
        if witness(old) != witness(new) {
            return Err(ConfigRefused::Witness);
        }
        let peer = |new: &PeerConfig| old.peers.iter().position(|peer| peer.node == new.node);
        let peers: Option<Vec<usize>> = new.peers.iter().map(peer).collect();
        let peers = peers.filter(|found| found.len() == old.peers.len());
        let same = |new: &PortConfig, old: &PortConfig| old.id == new.id && old.name == new.name;
        let port = |new: &PortConfig| old.ports.iter().position(|port| same(new, port));
        let ports: Option<Vec<usize>> = new.ports.iter().map(port).collect();
        let ports = ports.filter(|found| found.len() == old.ports.len());
        let peers = peers.ok_or(ConfigRefused::Peers)?;
        let ports = ports.ok_or(ConfigRefused::Ports)?;
        let station = |(new, old): (&PortConfig, &usize)| {
            new.virtual_mac == self.config.ports[*old].virtual_mac
        };
        if !new.ports.iter().zip(&ports).all(station) {
            return Err(ConfigRefused::VirtualMac);
        }
        let router = |(new, old): (&PortConfig, &usize)| new.via == self.config.ports[*old].via;
        if !new.ports.iter().zip(&ports).all(router) {
            return Err(ConfigRefused::Router);
        }
        Ok((ports, peers))
    }

    /// What is awaited by the old times is awaited by the new ones. The next advertisement comes no
    /// later than it was announced for, and no later than an interval from now.
    fn rearm(&mut self) {
        let next = self.now.after(self.config.timing.interval);
        let due = self.timers.at(Timer::Advertise).unwrap_or(next);
        self.timers.arm(Timer::Advertise, due.min(next));
        self.timers.arm(Timer::Ask, self.now);
        if self.suspicion.is_none() && self.timers.at(Timer::Silence).is_some() {
            self.timers.disarm(Timer::Silence);
            self.consider_silence();
        }
    }

    /// The last word that refreshed the lease is so young that the lease has not ended.
    pub(super) fn lease_is_fresh(&self) -> bool {
        let timing = &self.config.timing;
        self.now.since(self.kernel.refreshed_at) <= timing.interval + timing.slack
    }

    /// The kernel is asked for the present state again, with the addresses of the new
    /// configuration; an active does so only on a lease that is `fresh`.
    pub(super) fn consider_reapplying(&mut self, fresh: bool) {
        if !self.reapply || self.kernel.pending.is_some() || self.giving.is_some() {
            return;
        }
        match self.role {
            EffectiveRole::Active if fresh => {
                let epoch = self.claim.epoch;
                self.apply(Forwarding::Active { epoch });
                self.announcer.after_claim(self.now);
                self.arm_announcer();
            }
            EffectiveRole::Active | EffectiveRole::Demoting | EffectiveRole::Promoting => return,
            EffectiveRole::Failed
            | EffectiveRole::Off
            | EffectiveRole::Pacified
            | EffectiveRole::Standby
            | EffectiveRole::Starting => self.fence(Duration::ZERO),
        }
        self.reapply = false;
    }

    /// `configured = off` and back, by reload.
    fn follow_configured_role(&mut self) {
        use super::handover::Reason;
        match (self.out_of_service(), self.role) {
            (Some(_), EffectiveRole::Active) => {
                let given = self
                    .best_taker()
                    .is_some_and(|place| self.give(place, Reason::Command));
                if !given {
                    self.leave_service();
                }
            }
            (Some(why), _) => {
                self.turn(RoleEvent::Retired, why);
            }
            (None, EffectiveRole::Off) if !self.stopping => {
                self.back_in_service(Cause::Commanded);
            }
            (None, _) => {}
        }
    }
}

/// The virtual addresses, by port, in an order of their own.
fn owned(config: &Config) -> Vec<(crate::PortId, core::net::IpAddr)> {
    let of = |port: &PortConfig| {
        let id = port.id;
        let virtuals = port.virtuals.clone();
        virtuals.into_iter().map(move |address| (id, address))
    };
    let mut all: Vec<_> = config.ports.iter().flat_map(of).collect();
    all.sort_unstable();
    all
}
