//! What a node does without being asked: advertise, watch its ports, know its health, keep records.

use core::time::Duration;

use super::Node;
use crate::config::check::Cost;
use crate::config::{OnFailure, PortConfig};
use crate::effect::{Alert, Rejection};
use crate::role::EffectiveRole;
use crate::timer::Timer;
use crate::wire::advert::{HealthClass, Kind};
use crate::{Instant, PortId};

/// A segment on which some station was heard this recently is proven (D12).
const RECEPTION_WITHIN: Duration = Duration::from_millis(1_000);
/// A segment silent for this long, its neighbours asked several times, lowers the health class.
const SILENT_AFTER: Duration = Duration::from_millis(2_200);
/// What a watched port without carrier, or a failed check, costs in health class; soft facts cost
/// less.
pub(super) const PORT_DOWN: u8 = 16;
/// What a silent segment costs.
const SEGMENT_SILENT: u8 = 2;
/// What a damaged fence costs (D9).
const UNFENCED: u8 = 1;
/// How long a command may take before it is refused.
const COMMAND_WITHIN: Duration = Duration::from_secs(2);

impl super::Port {
    /// Another station was heard, then; whether it is the first since the carrier came, or since
    /// the segment counted as silent.
    pub(super) fn hears(&mut self, at: Instant) -> bool {
        let silent = |wait: Duration| move |last: Instant| at.since(last) >= wait;
        let first = self.hears_since.is_none();
        let again = self.foreign_at.is_none_or(silent(SILENT_AFTER));
        if first || self.foreign_at.is_none_or(silent(RECEPTION_WITHIN)) {
            self.hears_since = Some(at);
        }
        self.first_heard.get_or_insert(at);
        self.foreign_at = self.foreign_at.max(Some(at));
        first || again
    }
}

impl Node {
    /// The periodic advertisement, and what is looked at as often.
    pub(super) fn advertise_due(&mut self, due: Instant) {
        let interval = self.config.timing.interval;
        let next = due.after(interval);
        let next = if next > self.now {
            next
        } else {
            self.now.after(interval)
        };
        self.timers.arm(Timer::Advertise, next);
        self.consider_reapplying(self.lease_is_fresh());
        self.forget_forms();
        self.broadcast(if self.wants_role() {
            Kind::Request
        } else if self.asks_for_consent() {
            Kind::Probe
        } else {
            Kind::Advert
        });
        self.try_forms();
        self.note_dead_peers();
        self.forget_strangers();
        self.forget_splits();
        if self.is_in_the_dark() {
            self.look_for_unread();
        }
        self.retry_fence();
        if self
            .asked
            .is_some_and(|(_, _, since)| self.now.since(since) > COMMAND_WITHIN)
        {
            self.refuse_command(Rejection::TimedOut);
        }
    }

    /// Peers silent for the dead interval are down: alerted once, forgotten when heard again. One
    /// that was active may still be, unless another has the role since.
    fn note_dead_peers(&mut self) {
        let (now, wait) = (self.now, self.config.timing.dead_interval);
        let own_active = self.role == EffectiveRole::Active;
        let serves = self.active_peer();
        let another_serves = serves.is_some_and(|place| self.present(&self.peers[place]));
        let mut down = Vec::new();
        for peer in &mut self.peers {
            if peer.heard_at.is_some_and(|at| now.since(at) >= wait) {
                peer.alive_since = None;
                peer.dead |= own_active || !peer.says_active() || another_serves;
                down.push(peer.node);
            }
        }
        for peer in down {
            self.raise(Alert::PeerDown { peer });
        }
    }

    /// A fence the kernel did not confirm is asked for again.
    fn retry_fence(&mut self) {
        let wanted = self.kernel.fencing.is_some() || self.role == EffectiveRole::Failed;
        if wanted && self.kernel.pending.is_none() {
            self.fence(Duration::ZERO);
        }
    }

    /// A port's carrier came or went.
    pub(super) fn link_changed(&mut self, id: PortId, up: bool) {
        let Some(index) = self.config.port_index(id) else {
            return;
        };
        let was = self.ports[index].up;
        if was == up {
            return;
        }
        let before = self.health();
        let port = &mut self.ports[index];
        port.up = up;
        port.since = self.now;
        port.hears_since = None;
        port.first_heard = None;
        port.router = super::beyond::Router::default();
        if up {
            self.timers.arm(Timer::Ask, self.now);
            self.seek_router(index);
        }
        self.health_changed(before);
        if !up && self.config.ports[index].direct {
            self.cable_lost();
        }
    }

    /// What this node is told of itself may have changed its health from what it was.
    pub(super) fn health_changed(&mut self, before: HealthClass) {
        self.note_worse(before);
        self.note_recovery(before);
        self.broadcast(Kind::Advert);
    }

    /// The same where nothing failed that had worked.
    pub(super) fn health_known(&mut self, before: HealthClass) {
        self.note_worse(before);
        self.broadcast(Kind::Advert);
    }

    fn note_worse(&mut self, before: HealthClass) {
        if self.health() > before {
            self.worsened_at = Some(self.now);
        }
    }

    /// After a failure of this node, the failure policy speaks (R3.3).
    fn note_recovery(&mut self, before: HealthClass) {
        let hard = |class: HealthClass| class.0 >= PORT_DOWN;
        let now = self.health();
        // A port that was never up has not failed: links are slow to come after boot.
        if hard(now) && now > before {
            self.was_degraded = true;
            self.failed_serving |= self.role == EffectiveRole::Active;
        }
        let recovered = hard(before) && !hard(now) && self.was_degraded;
        if !recovered {
            return;
        }
        self.was_degraded = false;
        // Links may come and go after boot; one that fails under the role has failed.
        let served = core::mem::take(&mut self.failed_serving);
        let counts = served || self.now.since(self.started) > SILENT_AFTER;
        let out = self.config.policy.on_failure == OnFailure::Off;
        if out && counts && self.role == EffectiveRole::Standby {
            self.retire_after_failure();
        }
    }

    /// This node's health: 0 is whole.
    pub(super) fn health(&self) -> HealthClass {
        // However many soft facts there are, they are less than one fault.
        let (mut hard, mut soft) = (0_u8, if self.fence_whole { 0 } else { UNFENCED });
        for (config, port) in self.config.ports.iter().zip(&self.ports) {
            if config.watched && !port.up {
                hard = hard.saturating_add(PORT_DOWN);
            } else if config.served() && self.silent(port) {
                soft = soft.saturating_add(SEGMENT_SILENT);
            }
        }
        for (config, check) in self.config.checks.iter().zip(&self.checks) {
            match config.cost {
                _ if !check.failed => {}
                Cost::Fault => hard = hard.saturating_add(PORT_DOWN),
                Cost::Weight(weight) => soft = soft.saturating_add(weight),
            }
        }
        HealthClass(hard.saturating_add(soft.min(PORT_DOWN - 1)))
    }

    pub(super) fn silent(&self, port: &super::Port) -> bool {
        port.up
            && self.rules.keep(crate::rules::Rule::D12)
            && self.now.since(port.since) >= SILENT_AFTER
            && port
                .foreign_at
                .is_none_or(|at| self.now.since(at) >= SILENT_AFTER)
    }

    pub(super) fn ports_down(&self) -> u32 {
        let down = |(config, port): (&PortConfig, &super::Port)| {
            if port.up { 0 } else { 1_u32 << config.id.0 }
        };
        self.config
            .ports
            .iter()
            .zip(&self.ports)
            .map(down)
            .fold(0, |all, bit| all | bit)
    }

    /// Some other station was heard on a served segment lately, and while a peer is suspected,
    /// since then: whoever hears nobody must not be believed to hear (D12).
    pub(super) fn receives(&self) -> bool {
        let mut served = self.config.ports.iter().zip(&self.ports);
        served.any(|(config, port)| config.served() && self.port_receives(port))
    }

    /// The same for one port.
    pub(super) fn port_receives(&self, port: &super::Port) -> bool {
        let doubt = self.suspicion.as_ref().map(|open| open.since);
        let lately = |at: Instant| self.now.since(at) < RECEPTION_WITHIN && Some(at) >= doubt;
        port.up && port.foreign_at.is_some_and(lately)
    }

    pub(super) fn some_served_port_up(&self) -> bool {
        self.config
            .ports
            .iter()
            .zip(&self.ports)
            .any(|(config, port)| config.served() && port.up)
    }

    /// No peer, and no other station on any served segment, for long enough to have asked (D14).
    pub(super) fn isolated(&self) -> bool {
        let quiet = |at: Option<Instant>| at.is_none_or(|at| self.now.since(at) >= SILENT_AFTER);
        let served = self.config.ports.iter().zip(&self.ports);
        self.peers.iter().all(|peer| quiet(peer.heard_at))
            && served
                .filter(|(config, _)| config.served())
                .all(|(_, port)| quiet(port.foreign_at))
            && self.now.since(self.since) >= SILENT_AFTER
    }

    /// The kernel's fence was looked at (D9).
    pub(super) fn fence_checked(&mut self, whole: bool) {
        if self.fence_whole && !whole {
            self.raise(Alert::FenceDamaged);
        }
        if whole {
            self.clear(|alert| *alert == Alert::FenceDamaged);
        }
        self.fence_whole = whole;
    }
}
