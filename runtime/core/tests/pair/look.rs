//! What a story looks at: roles, leases, and what the daemons asked for, sent and said.

use steadfast_core::effect::{Alert, Effect, Forwarding, Rejection};
use steadfast_core::role::EffectiveRole;
use steadfast_core::status::{Cause, Status};
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::{Instant, Node, PortId, RequestId};

use crate::setup::{A, B};
use crate::world::World;

impl World {
    pub(crate) fn roles(&self) -> (EffectiveRole, EffectiveRole) {
        (self.role(A), self.role(B))
    }

    /// What a daemon says it is; `Off` when it is dead.
    pub(crate) fn role(&self, place: usize) -> EffectiveRole {
        let daemon = self.gateways[place].daemon.as_ref();
        daemon.map_or(EffectiveRole::Off, Node::role)
    }

    pub(crate) fn is_live(&self, place: usize) -> bool {
        self.gateways[place].kernel.is_live(self.now)
    }

    /// Why a running daemon is what it is.
    pub(crate) fn why(&self, place: usize) -> Cause {
        self.status(place).why
    }

    pub(crate) fn status(&self, place: usize) -> Status {
        let daemon = self.gateways[place].daemon.as_ref();
        daemon.expect("the daemon runs").status(self.now)
    }

    /// How a command ended, if it did.
    pub(crate) fn reply(&self, request: RequestId) -> Option<Result<(), Rejection>> {
        let mut replies = self.log.iter().filter_map(|(_, _, effect)| match effect {
            Effect::Reply {
                request: of,
                result,
            } if *of == request => Some(*result),
            _ => None,
        });
        let first = replies.next();
        assert!(replies.next().is_none(), "a command is answered once");
        first
    }

    /// Alerts a gateway raised.
    pub(crate) fn alerts(&self, place: usize) -> Vec<Alert> {
        let alerts = self
            .log
            .iter()
            .filter_map(|(_, from, effect)| match effect {
                Effect::Alert(alert) if *from == place => Some(*alert),
                _ => None,
            });
        alerts.collect()
    }

    /// States a gateway asked its kernel for.
    pub(crate) fn applied(&self, place: usize) -> Vec<Forwarding> {
        let states = self
            .log
            .iter()
            .filter_map(|(_, from, effect)| match effect {
                Effect::Apply { desired, .. } if *from == place => Some(*desired),
                _ => None,
            });
        states.collect()
    }

    /// Frames of ours that a gateway sent.
    pub(crate) fn adverts(&self, place: usize) -> Vec<(Instant, PortId, &[u8])> {
        let frames = self
            .log
            .iter()
            .filter_map(|(at, from, effect)| match effect {
                Effect::Transmit { port, frame } if *from == place && is_ours(frame) => {
                    Some((*at, *port, frame.as_slice()))
                }
                _ => None,
            });
        frames.collect()
    }
}

/// What kind of advertisement a frame is, as on the wire; 0 if it is none.
pub(crate) fn kind(frame: &[u8]) -> u8 {
    frame
        .get(16)
        .copied()
        .filter(|_| is_ours(frame))
        .unwrap_or(0)
}

/// Whether a frame is an advertisement.
pub(crate) fn is_ours(frame: &[u8]) -> bool {
    Frame::parse(frame).is_some_and(|it| it.ethertype == ethertype::STEADFAST)
}
