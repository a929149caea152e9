//! Two nodes with one id (R1.3): found, named, and never two actives because of it.
//!
//! Both were set up to share the addresses, and in each one's file the other has another number. So
//! each waits for a node that is not there, and would find the role vacant. What tells them apart
//! is their lives: a frame in this node's own name and of another life was made by a twin, who
//! holds the key. Of the twin only this much is kept: whether it has the role, and what decides
//! between the two when neither or both of them have. There is no hand-over between twins, and a
//! twin that falls silent is nobody whose kernel could be asked: it is taken for gone after a dead
//! interval, one that had the role after its lease as well, and the vacancy is then what a cold
//! start is. An operator has been told by then.
//!
//! The hard case is a replay: this node's own frames of an earlier life look like a twin's. A twin
//! counts only while it echoes this life's newest messages, which nothing that was recorded before
//! can; so each says in its echoes what it heard of its twin.
//!
//! The limit: three nodes of one id, of which two are heard, keep no two actives apart for longer
//! than it takes them to hear each other; and a twin that is heard and does not hear is none.

use core::time::Duration;

use super::Node;
use crate::effect::Alert;
use crate::peer::hears::BEHIND_MAX;
use crate::role::{EffectiveRole, RoleEvent};
use crate::status::Cause;
use crate::wire::advert::{Advert, Echo, Flags, HealthClass, Heard, Kind};
use crate::{BootId, Epoch, Instant, PortId};

/// How long a twin is reckoned with that is not heard any more: until an operator has mended it.
const REMEMBERED: Duration = Duration::from_mins(5);

/// The other life with this node's id, as last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Twin {
    boot: BootId,
    counter: u64,
    path: PortId,
    /// When it last showed that it hears this life.
    proven_at: Option<Instant>,
    effective: EffectiveRole,
    epoch: Epoch,
    health: HealthClass,
    lease: Duration,
    eligible: bool,
}

impl Twin {
    fn has_role(&self) -> bool {
        matches!(
            self.effective,
            EffectiveRole::Active | EffectiveRole::Promoting
        )
    }
}

impl Node {
    /// An authentic frame in this node's own name, which came in `at`: of this life it is a loop's,
    /// of another one a twin's.
    pub(super) fn own_id_spoke(&mut self, index: usize, bytes: &[u8], at: Instant) {
        let port = self.config.ports[index].id;
        let Ok(advert) = Advert::decode_own(bytes, port, &self.config.keys) else {
            return;
        };
        if advert.boot == self.boot {
            return;
        }
        self.raise(Alert::DuplicateNodeId);
        let known = self.twin.filter(|twin| twin.boot == advert.boot);
        if known.is_some_and(|twin| advert.counter <= twin.counter) {
            return;
        }
        let newest = advert.newest_echoed(self.config.node, self.boot);
        let hears = newest.is_some_and(|it| it.saturating_add(BEHIND_MAX) >= self.counter);
        if known.is_none() && !hears && self.twin_present().is_some() {
            // Whatever life that is of, a replay must not take the place of one that is there.
            return;
        }
        if hears {
            self.known = self.known.max(advert.epoch);
        }
        self.twin = Some(Twin {
            boot: advert.boot,
            counter: advert.counter,
            path: port,
            proven_at: if hears {
                Some(at)
            } else {
                known.and_then(|twin| twin.proven_at)
            },
            effective: advert.effective,
            epoch: advert.epoch,
            health: advert.health,
            lease: advert.lease,
            eligible: advert.flags.has(Flags::ELIGIBLE),
        });
        if hears {
            self.twin_has_role();
        }
    }

    /// What this node says it heard of its twin.
    pub(super) fn twin_echo(&self) -> Option<Echo> {
        let twin = self.twin?;
        Some(Echo {
            node: self.config.node,
            boot: twin.boot,
            heard: vec![Heard {
                path: twin.path,
                counter: twin.counter,
            }],
            ..Echo::default()
        })
    }

    /// The twin, while it is there; one with the role also for as long as its kernel may serve on.
    fn twin_present(&self) -> Option<Twin> {
        let twin = self.twin?;
        let dead = self.config.timing.dead_interval;
        let lasting = if twin.has_role() {
            dead + twin.lease
        } else {
            dead
        };
        let recent = |at: Instant| self.now.since(at) < lasting;
        twin.proven_at.is_some_and(recent).then_some(twin)
    }

    /// The twin has the role.
    pub(super) fn twin_serves(&self) -> bool {
        self.twin_present().as_ref().is_some_and(Twin::has_role)
    }

    /// Whether a twin that is still there had time to say so since then: nobody's kernel can be
    /// asked for it, and it answers no question.
    pub(super) fn twin_would_have_spoken(&self, since: Instant) -> bool {
        let lately = |at: Instant| self.now.since(at) < REMEMBERED;
        let known = self
            .twin
            .and_then(|twin| twin.proven_at)
            .is_some_and(lately);
        !known || self.now >= since.after(self.config.timing.dead_interval)
    }

    /// Two are active, or about to be: the same side yields on both.
    fn twin_has_role(&mut self) {
        let Some(twin) = self.twin_present().filter(Twin::has_role) else {
            return;
        };
        let peer = self.config.node;
        match self.role {
            EffectiveRole::Active
                if twin.effective == EffectiveRole::Active && !self.outranks(&twin) =>
            {
                self.lose_role(Cause::RivalWon { peer });
                self.broadcast(Kind::Advert);
            }
            EffectiveRole::Promoting
                if twin.effective == EffectiveRole::Active || !self.outranks(&twin) =>
            {
                self.lose_role(Cause::PeerActive { peer });
            }
            _ => {}
        }
    }

    /// The healthier one, then who claimed last, then the lower life.
    fn outranks(&self, twin: &Twin) -> bool {
        let order = self.health().cmp(&twin.health);
        let order = order.then(twin.epoch.cmp(&self.claim.epoch));
        order.then(self.boot.cmp(&twin.boot)).is_lt()
    }

    /// Whether the role that no peer holds is the twin's.
    pub(super) fn twin_holds(&mut self) -> bool {
        let serves = self.twin_serves();
        if serves {
            let peer = self.config.node;
            self.turn(RoleEvent::Listened, Cause::PeerActive { peer });
        }
        serves
    }

    /// Whether the twin is first in line for a vacant role: it has a slot before this node's.
    pub(super) fn twin_ahead(&self) -> bool {
        let first = |twin: Twin| (twin.health, twin.boot) < (self.health(), self.boot);
        let twin = self.twin_present();
        twin.is_some_and(|twin| twin.eligible && first(twin))
    }
}
