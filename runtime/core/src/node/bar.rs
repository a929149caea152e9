//! The bar of a loop of boots, or of the daemon's restarts, while the daemon runs (R12.1, D16): who
//! is barred, until when, and what of this boot is written down for the next one's judgement.
//!
//! The bar is in the record and not in the role: a barred node may be taken out of service and put
//! back, and where all are barred one of them may serve. Whatever it was meanwhile, it is
//! `Pacified` again as soon as it stands by, until an operator clears the record or a clean reboot
//! does.
//!
//! The hard case is the uptime of a boot that ends without a word: what counts is the last mark
//! that it reached. The last mark of all is the window itself, so a life that lasted that long is
//! never taken for a part of a loop.

use core::cmp::Ordering;
use core::time::Duration;

use super::Node;
use super::vacancy::peer_candidate;
use crate::RequestId;
use crate::boot::{BootRecord, Clearance, UPTIME_MARKS, clearance, restart_loop};
use crate::config::AllPacified;
use crate::effect::{Alert, Rejection};
use crate::peer::Peer;
use crate::rank::order;
use crate::role::{EffectiveRole, RoleEvent};
use crate::status::Cause;
use crate::timer::Timer;
use crate::wire::advert::Kind;

impl Node {
    /// Judges this start by the boots before it. True if it is barred: that counts also while it is
    /// out of service, and when it is put back.
    pub(super) fn bar_at_start(&mut self) -> bool {
        let policy = self.config.policy;
        let record = &self.record;
        let (window, now) = (policy.boot_window, self.uptime_at_start);
        let restarts = restart_loop(&record.restarts, policy.restart_limit, window, now);
        let why = match clearance(&record.boots, policy.boot_limit, window) {
            Clearance::Pacified { boots, .. } => Some(Cause::BootLoop { boots }),
            Clearance::Cleared => restarts.map(|restarts| Cause::RestartLoop { restarts }),
        };
        let Some(why) = why else {
            return false;
        };
        if let Some(current) = self.record.boots.last_mut() {
            current.pacified = true;
        }
        self.raise(Alert::Pacified);
        let bars = self.out_of_service().is_none();
        bars && self.turn(RoleEvent::Barred, why)
    }

    /// Whether the record bars this node.
    pub(super) fn is_barred(&self) -> bool {
        self.record.boots.last().is_some_and(|boot| boot.pacified)
    }

    /// A barred node stands by: after it served because all were barred, or was out of service.
    pub(super) fn consider_bar(&mut self) {
        if self.role == EffectiveRole::Standby && self.is_barred() && self.relisten.is_none() {
            self.bar_again();
        }
    }

    fn bar_again(&mut self) {
        (self.taking, self.suspicion) = (None, None);
        self.timers.disarm(Timer::Take);
        self.timers.disarm(Timer::Round);
        self.clear(|alert| *alert == Alert::ServingPacified);
        self.turn(RoleEvent::Barred, Cause::BootLoop { boots: 1 });
    }

    /// Every node that is in service is barred: the best ranked serves, loudly, if the policy says
    /// so (R12.1).
    pub(super) fn consider_serving_pacified(&mut self) {
        let says = |peer: &Peer, role: EffectiveRole| {
            self.present(peer) && peer.latest.as_ref().is_some_and(|it| it.effective == role)
        };
        let own = self.candidate();
        let preempt = self.config.policy.preempt;
        let first = |peer: &Peer| {
            peer_candidate(peer).is_some_and(|other| order(&own, &other, preempt) == Ordering::Less)
        };
        // Whose daemon ends says so as well, with its last word: it may be back in a moment.
        let last_word = |peer: &Peer| {
            let latest = peer.latest.as_ref();
            latest.is_some_and(|latest| latest.kind == Kind::LetGo)
        };
        let behind = |peer: &Peer| {
            says(peer, EffectiveRole::Off) && !last_word(peer)
                || (says(peer, EffectiveRole::Pacified) && first(peer))
        };
        if self.config.policy.all_pacified == AllPacified::Serve
            && self.gateways().next().is_some()
            && self.gateways().all(behind)
            && self.out_of_service().is_none()
            && self.witness_lets_vacancy(true)
        {
            self.raise(Alert::ServingPacified);
            self.claim_role(Cause::AllPacified, true, false);
        }
    }

    /// Nothing keeps this node out of service any more, unless it is barred.
    pub(super) fn back_in_service(&mut self, why: Cause) {
        if self.is_barred() {
            self.bar_again();
        } else {
            self.turn(RoleEvent::Enabled, why);
        }
    }

    /// An operator overrides the bar, whatever the node is just now.
    pub(super) fn command_clear(&mut self, request: RequestId) {
        if !self.is_barred() {
            self.reply(request, Err(Rejection::NotNow));
            return;
        }
        self.record.restarts.clear();
        let current = self.record.boots.pop();
        self.record.boots.clear();
        self.record.boots.extend(current.map(|boot| BootRecord {
            pacified: false,
            ..boot
        }));
        self.clear(|alert| matches!(alert, Alert::Pacified | Alert::ServingPacified));
        self.turn(RoleEvent::Cleared, Cause::Commanded);
        if let Some(why) = self.out_of_service() {
            self.turn(RoleEvent::Retired, why);
        }
        self.persist();
        self.reply(request, Ok(()));
    }

    pub(super) fn arm_uptime(&mut self) {
        let up = self.uptime().as_secs();
        let window = self.config.policy.boot_window.as_secs();
        let marks = UPTIME_MARKS.into_iter().chain([window]);
        if let Some(mark) = marks.filter(|mark| *mark > up).min() {
            let wait = Duration::from_secs(mark).saturating_sub(self.uptime_at_start);
            self.timers.arm(Timer::Uptime, self.started.after(wait));
        }
    }

    /// The box has lived long enough to say so on disk (D16).
    pub(super) fn uptime_due(&mut self) {
        let up = self.uptime().as_secs();
        if let Some(current) = self.record.boots.last_mut() {
            current.uptime_s = current.uptime_s.max(up);
        }
        self.persist();
        self.arm_uptime();
    }

    pub(super) fn uptime(&self) -> Duration {
        self.uptime_at_start + self.now.since(self.started)
    }
}
