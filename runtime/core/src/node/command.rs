//! What operators ask for (R3.4): carried out make-before-break, answered once.

use super::Node;
use super::handover::Reason;
use crate::RequestId;
use crate::effect::{Command, Effect, Rejection};
use crate::role::{ConfiguredRole, EffectiveRole, RoleEvent};
use crate::status::Cause;
use crate::wire::advert::Kind;

impl Node {
    pub(super) fn command(&mut self, request: RequestId, command: Command) {
        if self.asked.is_some() {
            self.reply(request, Err(Rejection::Busy));
            return;
        }
        match command {
            Command::TakeOver => self.command_take_over(request),
            Command::Release => self.command_release(request),
            Command::MaintenanceOn => self.command_maintenance(request),
            Command::MaintenanceOff => {
                self.record.maintenance = false;
                self.come_back(request, Cause::Commanded);
            }
            Command::Enable => {
                self.record.retired = false;
                self.come_back(request, Cause::Commanded);
            }
            Command::ClearPacified => self.command_clear(request),
        }
    }

    fn command_take_over(&mut self, request: RequestId) {
        if self.role == EffectiveRole::Active {
            self.reply(request, Ok(()));
        } else if self.role != EffectiveRole::Standby || !self.eligible() {
            self.reply(request, Err(Rejection::NotNow));
        } else if self.active_peer().is_none() {
            self.reply(request, Err(Rejection::NoPeer));
        } else {
            self.asked = Some((request, Command::TakeOver, self.now));
            self.broadcast(Kind::Request);
        }
    }

    fn command_release(&mut self, request: RequestId) {
        if self.role != EffectiveRole::Active {
            self.reply(request, Err(Rejection::NotNow));
            return;
        }
        let Some(place) = self.best_taker() else {
            self.reply(request, Err(Rejection::NoPeer));
            return;
        };
        if self.give(place, Reason::Command) {
            self.asked = Some((request, Command::Release, self.now));
        } else {
            self.reply(request, Err(Rejection::Busy));
        }
    }

    /// Maintenance is remembered first: whatever happens to the hand-over, the intent stands (F58).
    fn command_maintenance(&mut self, request: RequestId) {
        self.record.maintenance = true;
        self.persist();
        if self.role == EffectiveRole::Active {
            match self.best_taker() {
                Some(place) if self.give(place, Reason::Command) => {
                    self.asked = Some((request, Command::MaintenanceOn, self.now));
                    return;
                }
                Some(_) | None => {}
            }
        }
        self.asked = Some((request, Command::MaintenanceOn, self.now));
        self.leave_service();
    }

    /// Out of service without a taker, by shutdown or maintenance: nothing takes the role back.
    pub(super) fn leave_service(&mut self) {
        if matches!(self.asked, Some((_, Command::MaintenanceOn, _))) {
            self.command_fulfilled();
        }
        let why = if self.stopping {
            Cause::ShuttingDown
        } else {
            self.out_of_service().unwrap_or(Cause::Maintenance)
        };
        if matches!(self.role, EffectiveRole::Active | EffectiveRole::Promoting) {
            self.lose_role(why);
            self.broadcast(Kind::LetGo);
        }
        if !self.stopping {
            self.turn(RoleEvent::Retired, why);
        }
    }

    fn come_back(&mut self, request: RequestId, why: Cause) {
        self.persist();
        if self.role == EffectiveRole::Off && self.out_of_service().is_none() {
            self.back_in_service(why);
        }
        self.reply(request, Ok(()));
    }

    /// Why the operator, or the failure policy, keeps this node out of service, if they do.
    pub(super) fn out_of_service(&self) -> Option<Cause> {
        if self.config.is_witness() {
            Some(Cause::Witness)
        } else if self.record.maintenance {
            Some(Cause::Maintenance)
        } else if self.record.retired {
            Some(Cause::FailurePolicy)
        } else {
            let off = self.config.policy.configured == ConfiguredRole::Off;
            off.then_some(Cause::Commanded)
        }
    }

    /// After a failure under `on_failure = off`: out of service until an operator acts (R3.3).
    pub(super) fn retire_after_failure(&mut self) {
        self.record.retired = true;
        self.persist();
        self.turn(RoleEvent::Retired, Cause::FailurePolicy);
    }

    /// The daemon ends in order: the role goes to a peer first, if there is one.
    pub(super) fn shutdown(&mut self) {
        if self.stopping {
            return;
        }
        let taker = self.best_taker();
        if let Some(current) = self.record.boots.last_mut() {
            current.clean = true;
            current.uptime_s = current.uptime_s.max(self.uptime_at_start.as_secs());
        }
        let up = self.uptime().as_secs();
        if let Some(current) = self.record.boots.last_mut() {
            current.uptime_s = current.uptime_s.max(up);
        }
        self.persist();
        self.stopping = true;
        match (self.role, taker) {
            (EffectiveRole::Active, Some(place)) if self.give(place, Reason::Shutdown) => {}
            (EffectiveRole::Active | EffectiveRole::Promoting, _) => self.leave_service(),
            (
                EffectiveRole::Demoting
                | EffectiveRole::Failed
                | EffectiveRole::Off
                | EffectiveRole::Pacified
                | EffectiveRole::Standby
                | EffectiveRole::Starting,
                _,
            ) => self.fence(core::time::Duration::ZERO),
        }
    }

    /// Once nothing is held any more, the daemon may end.
    pub(super) fn stop_if_asked(&mut self) {
        if self.stopping && !matches!(self.role, EffectiveRole::Active | EffectiveRole::Demoting) {
            self.broadcast(Kind::LetGo);
            self.emit(Effect::Stopped);
        }
    }

    pub(super) fn reply(&mut self, request: RequestId, result: Result<(), Rejection>) {
        self.emit(Effect::Reply { request, result });
    }

    /// Ends a pending command with success.
    pub(super) fn command_fulfilled(&mut self) {
        if let Some((request, _, _)) = self.asked.take() {
            self.emit(Effect::Reply {
                request,
                result: Ok(()),
            });
        }
    }

    /// Ends a pending command with a reason.
    pub(super) fn refuse_command(&mut self, why: Rejection) {
        if let Some((request, _, _)) = self.asked.take() {
            self.emit(Effect::Reply {
                request,
                result: Err(why),
            });
        }
    }
}
