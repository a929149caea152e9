//! What operators ask for (R3.4): carried out make-before-break, answered once.

use super::Node;
use super::handover::Reason;
use crate::RequestId;
use crate::effect::{Alert, Command, Effect, Forwarding, Rejection};
use crate::role::{EffectiveRole, RoleEvent};
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
                Some(_) | None => {
                    self.lose_role(Cause::Maintenance);
                    self.broadcast(Kind::LetGo);
                }
            }
        }
        self.turn(RoleEvent::Retired, Cause::Maintenance);
        self.reply(request, Ok(()));
    }

    fn come_back(&mut self, request: RequestId, why: Cause) {
        self.persist();
        let barred = self.record.maintenance || self.record.retired;
        if self.role == EffectiveRole::Off && !barred {
            self.turn(RoleEvent::Enabled, why);
        }
        self.reply(request, Ok(()));
    }

    fn command_clear(&mut self, request: RequestId) {
        if self.role != EffectiveRole::Pacified {
            self.reply(request, Err(Rejection::NotNow));
            return;
        }
        let current = self.record.boots.pop();
        self.record.boots.clear();
        self.record
            .boots
            .extend(current.map(|boot| crate::boot::BootRecord {
                pacified: false,
                ..boot
            }));
        self.clear(|alert| *alert == Alert::Pacified);
        self.turn(RoleEvent::Cleared, Cause::Commanded);
        self.persist();
        self.reply(request, Ok(()));
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
            (EffectiveRole::Active | EffectiveRole::Promoting, _) => {
                self.lose_role(Cause::ShuttingDown);
                self.broadcast(Kind::LetGo);
            }
            (
                EffectiveRole::Demoting
                | EffectiveRole::Failed
                | EffectiveRole::Off
                | EffectiveRole::Pacified
                | EffectiveRole::Standby
                | EffectiveRole::Starting,
                _,
            ) => self.apply(Forwarding::Standby),
        }
    }

    /// Once nothing is held any more, the daemon may end.
    pub(super) fn stop_if_asked(&mut self) {
        if self.stopping && !matches!(self.role, EffectiveRole::Active | EffectiveRole::Demoting) {
            self.broadcast(Kind::LetGo);
            self.emit(Effect::Stopped);
        }
    }

    fn reply(&mut self, request: RequestId, result: Result<(), Rejection>) {
        self.emit(Effect::Reply { request, result });
    }
}
