//! One peer as this node knows it: its session, its paths, and what it last said.
//!
//! A session (D3) is the pair of the sender's life and the challenge this node made for it. A
//! frame is *proven* when it repeats that challenge; its counter, one for all paths, then orders it
//! within the session. A new life must answer the newest challenge, and each change of life makes
//! a new one, so a replayed past life is never proven, whatever clocks say. The hard case is the
//! stopped daemon that wakes with one queue per path: the counter is compared with the newest seen
//! on *any* path, so what was sent before a CLAIM and read after it is ignored.

use core::hash::{Hash, Hasher};
use core::net::IpAddr;
use core::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::node::forms::Hearing;
use crate::node::project::{View, behind};
use crate::wire::advert::{Advert, Echo, Flags, Heard, RoleMark};
use crate::{BootId, Epoch, Instant, MacAddr, NodeId, PortId};
pub(crate) use asked::Asked;
pub(crate) use round_trip::RoundTrip;

/// See [`Peer::lateness`].
const PUNCTUAL: u32 = 5;
/// See [`Peer::lateness`].
const GAINED_MAX: Duration = Duration::from_millis(4);

/// What a frame from a peer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The newest message again, on a path that has brought it before.
    Copy,
    /// Newer than everything heard in its session.
    Fresh,
    /// Older than the newest seen, and newer than all that this path has brought: the path is alive
    /// and slow. What the frame says is ignored.
    Late,
    /// The first proven frame of a new life: everything known of the old one is void.
    NewLife,
    /// A second copy of the newest message, on another path: that path is alive.
    PathOnly,
    /// Older than the newest seen: ignored.
    Stale,
    /// Authentic, but its sender has not yet answered this node's challenge.
    Unproven,
}

/// One life of a peer, proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Session {
    boot: BootId,
    newest: u64,
}

/// What is known of one path to the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Path {
    /// When it last carried a fresh frame, or a copy of one.
    pub(crate) heard_at: Option<Instant>,
    /// The counter of that frame.
    pub(crate) counter: u64,
    /// When this node last answered on it.
    pub(crate) answered_at: Option<Instant>,
    /// When the peer's kernel last answered for a virtual address there (D8).
    pub(crate) virtual_at: Option<Instant>,
    /// The virtual address that it last answered for; it is asked for that one again.
    pub(crate) owned: Option<IpAddr>,
    /// While it answers for none, the place of the one that is asked for next.
    pub(crate) turn: u16,
    /// Quiet questions for a virtual address since it last answered one.
    pub(crate) unanswered: u16,
    /// When the peer's kernel last answered for the peer's own address there (D8).
    pub(crate) unit_at: Option<Instant>,
    /// When it was asked for a virtual address in quiet times, if it has not answered since.
    pub(crate) virtual_asked_at: Option<Instant>,
    /// The same for the peer's own address.
    pub(crate) unit_asked: Asked,
    /// How long its kernel's answers took lately, or its daemon's beyond a router (D7).
    pub(crate) round_trip: RoundTrip,
    /// In which form it hears this node there, by its own word (D4).
    pub(crate) hearing: Hearing,
}

/// The least a word may be late, where so much is allowed: a part in [`PUNCTUAL`] of it, but never
/// [`GAINED_MAX`] less. Whoever allows for long pauses has them.
pub(crate) fn least_lateness(allowed: Duration) -> Duration {
    (allowed / PUNCTUAL).max(allowed.saturating_sub(GAINED_MAX))
}

/// One peer.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) units: Vec<(PortId, IpAddr)>,
    /// One entry per port of this node, in the order of the configuration.
    pub(crate) paths: Vec<Path>,
    /// What it last said, proven and fresh.
    pub(crate) latest: Option<Advert>,
    /// When it was last heard, proven and fresh.
    pub(crate) heard_at: Option<Instant>,
    /// How late its words came lately (D7): see [`Peer::lateness`].
    late: RoundTrip,
    /// How often it was asked whether it lives.
    pub(crate) suspected: u64,
    /// When an unproven frame last claimed to be active.
    pub(crate) unproven_active_at: Option<Instant>,
    /// Since when, and when last, an authentic frame of it answered nothing of this node; none as
    /// soon as one does.
    pub(crate) unproven: Option<(Instant, Instant)>,
    /// When a frame in its name last did not verify.
    pub(crate) unverified_at: Option<Instant>,
    /// When it last said that it owns the role no more, if it did not claim it again.
    pub(crate) let_go_at: Option<Instant>,
    /// Found dead, and not heard since.
    pub(crate) dead: bool,
    /// When it last told of better health than before.
    pub(crate) improved_at: Option<Instant>,
    /// Since when it has said that it is active, if it does; for status alone.
    pub(crate) active_since: Option<Instant>,
    /// When it last said that it does not take the role that it was offered.
    pub(crate) refused_at: Option<Instant>,
    /// When it last let a hand-over to it end.
    pub(crate) unready_at: Option<Instant>,
    /// Since when, without a gap, it has been heard.
    pub(crate) alive_since: Option<Instant>,
    session: Option<Session>,
    /// The newest counter of this life that a third party told of (D13).
    vouched: u64,
    generation: u64,
    challenge: u64,
    accepted: u64,
    response: u64,
    candidate_response: u64,
}

impl Peer {
    /// A peer not yet heard.
    pub(crate) fn new(
        node: NodeId,
        units: Vec<(PortId, IpAddr)>,
        ports: usize,
        secret: &[u8; 32],
    ) -> Self {
        let mut peer = Self {
            node,
            units,
            paths: vec![Path::default(); ports],
            latest: None,
            heard_at: None,
            late: RoundTrip::default(),
            suspected: 0,
            unproven_active_at: None,
            unproven: None,
            unverified_at: None,
            let_go_at: None,
            dead: false,
            improved_at: None,
            active_since: None,
            refused_at: None,
            unready_at: None,
            alive_since: None,
            session: None,
            vouched: 0,
            generation: 0,
            challenge: 0,
            accepted: 0,
            response: 0,
            candidate_response: 0,
        };
        peer.challenge = derive(secret, &[node.0], peer.generation);
        peer
    }

    /// Weighs a frame that verified. On `Fresh`, `NewLife`, `PathOnly` and `Late` the path is alive
    /// `at` that time; the caller stores what the frame says for the first two.
    pub(crate) fn admit(
        &mut self,
        advert: &Advert,
        own: NodeId,
        port: usize,
        at: Instant,
        secret: &[u8; 32],
    ) -> Admission {
        let echo = advert.echoes.iter().find(|echo| echo.node == own);
        let answer = echo.map_or(0, |echo| echo.response);
        let demand = echo.map_or(0, |echo| echo.challenge);
        let admission = self.weigh(advert, answer, secret);
        match admission {
            Admission::Fresh | Admission::NewLife => {
                self.response = demand;
                self.heard_at = Some(at);
                self.unproven = None;
                self.dead = false;
                self.alive_since.get_or_insert(at);
                self.mark(port, advert.counter, at);
            }
            Admission::PathOnly => {
                let known = self.paths.get(port).map_or(0, |path| path.counter);
                if known == advert.counter {
                    return Admission::Copy;
                }
                self.mark(port, advert.counter, at);
            }
            Admission::Unproven => {
                self.candidate_response = demand;
                let first = self.unproven.map_or(at, |(first, _)| first);
                self.unproven = Some((first, at));
                if advert.mark != RoleMark::Standby {
                    self.unproven_active_at = Some(at);
                }
            }
            Admission::Stale => {
                let known = self.paths.get(port).map_or(u64::MAX, |path| path.counter);
                if known < advert.counter {
                    self.mark(port, advert.counter, at);
                    return Admission::Late;
                }
            }
            Admission::Copy | Admission::Late => {}
        }
        admission
    }

    /// When its next advertisement is due, by its last word.
    pub(crate) fn due(&self) -> Option<Instant> {
        let (heard_at, latest) = self.heard_at.zip(self.latest.as_ref())?;
        Some(heard_at.after(latest.interval))
    }

    /// An advertisement that was due comes `at`. What is later than `allowed` may as well be lost.
    pub(crate) fn note_lateness(&mut self, due: Instant, at: Instant, allowed: Duration) {
        self.late.note(at.since(due).min(allowed), at);
    }

    /// How late a word of it may come: twice what was seen lately, within what is allowed. To
    /// suspect too early costs a few questions; too late, that much of every outage (D7).
    pub(crate) fn lateness(&self, allowed: Duration) -> Duration {
        let seen = self.late.usual_longest().saturating_mul(2);
        seen.clamp(least_lateness(allowed), allowed)
    }

    fn weigh(&mut self, advert: &Advert, answer: u64, secret: &[u8; 32]) -> Admission {
        match self.session {
            Some(session) if session.boot == advert.boot => {
                if answer != self.accepted && answer != self.challenge {
                    Admission::Unproven
                } else if advert.counter > session.newest {
                    self.session = Some(Session {
                        newest: advert.counter,
                        ..session
                    });
                    Admission::Fresh
                } else if advert.counter == session.newest {
                    Admission::PathOnly
                } else {
                    Admission::Stale
                }
            }
            Some(_) | None => {
                if answer != self.challenge {
                    return Admission::Unproven;
                }
                self.session = Some(Session {
                    boot: advert.boot,
                    newest: advert.counter,
                });
                self.accepted = self.challenge;
                self.generation = self.generation.wrapping_add(1);
                self.challenge = derive(secret, &[self.node.0], self.generation);
                for path in &mut self.paths {
                    path.counter = 0;
                }
                self.alive_since = None;
                (self.refused_at, self.unready_at) = (None, None);
                self.vouched = 0;
                Admission::NewLife
            }
        }
    }

    fn mark(&mut self, port: usize, counter: u64, at: Instant) {
        if let Some(path) = self.paths.get_mut(port) {
            path.heard_at = Some(at);
            path.counter = counter;
        }
    }

    /// What this node tells about the peer in its own frames. `candidate` answers the demand of a
    /// frame that was not proven, so that a new life is proven in one round trip.
    pub(crate) fn echo(&self, ports: &[crate::config::PortConfig], candidate: bool) -> Echo {
        let heard = |(path, port): (&Path, &crate::config::PortConfig)| {
            (path.counter > 0).then_some(Heard {
                path: port.id,
                counter: path.counter,
            })
        };
        Echo {
            node: self.node,
            boot: self.session.map_or(BootId(0), |session| session.boot),
            challenge: self.challenge,
            response: if candidate {
                self.candidate_response
            } else {
                self.response
            },
            heard: self.paths.iter().zip(ports).filter_map(heard).collect(),
        }
    }

    /// Whether the peer's last word was that it owns the role (an offer included).
    pub(crate) fn says_active(&self) -> bool {
        self.latest
            .as_ref()
            .is_some_and(|latest| latest.mark != RoleMark::Standby)
    }

    /// Whether the peer's last word was that it owns the role and offers it to nobody.
    pub(crate) fn serves(&self) -> bool {
        self.latest
            .as_ref()
            .is_some_and(|latest| latest.mark == RoleMark::Active)
    }

    /// Whether the peer's last word carried `flag`.
    pub(crate) fn says(&self, flag: Flags) -> bool {
        self.latest
            .as_ref()
            .is_some_and(|latest| latest.flags.has(flag))
    }

    /// Whether the peer was in this role by its last word.
    pub(crate) fn effective(&self, role: crate::role::EffectiveRole) -> bool {
        let latest = self.latest.as_ref();
        latest.is_some_and(|latest| latest.effective == role)
    }

    /// Whether the peer was heard less than `wait` ago.
    pub(crate) fn heard_within(&self, now: Instant, wait: Duration) -> bool {
        !self.dead && self.heard_at.is_some_and(|at| now.since(at) < wait)
    }

    /// The peer's hardware address on a port, as it advertised it.
    pub(crate) fn mac(&self, port: PortId) -> Option<MacAddr> {
        let macs = &self.latest.as_ref()?.macs;
        macs.iter().find(|(id, _)| *id == port).map(|(_, mac)| *mac)
    }

    /// The peer's own address on a port.
    pub(crate) fn unit(&self, port: PortId, v6: bool) -> Option<IpAddr> {
        let wanted = |(id, ip): &&(PortId, IpAddr)| *id == port && ip.is_ipv6() == v6;
        self.units.iter().find(wanted).map(|(_, ip)| *ip)
    }

    /// For comparing states: what is known of the peer, relative to now and to the newest message
    /// of each node.
    pub(crate) fn project(
        &self,
        view: View,
        sent: &impl Fn(NodeId) -> u64,
        known: Epoch,
        out: &mut impl Hasher,
    ) {
        if let Some(latest) = &self.latest {
            let epoch = known.0.saturating_sub(latest.epoch.0).min(3);
            (
                latest.mark,
                latest.effective,
                latest.health,
                latest.flags,
                epoch,
            )
                .hash(out);
            for echo in &latest.echoes {
                let newest = echo.heard.iter().map(|heard| heard.counter).max();
                let newest = newest.map(|newest| behind(sent(echo.node), newest));
                (echo.node, newest).hash(out);
            }
        }
        let heard = self.heard_at.map(|at| view.ago(at));
        let unproven = self.unproven_active_at.map(|at| view.ago(at));
        let alive = self.alive_since.map(|at| view.ago(at));
        self.unverified_at.map(|at| view.ago(at)).hash(out);
        let answers_nothing = self.unproven.filter(|_| self.heard_at.is_none());
        answers_nothing
            .map(|(first, last)| (view.ago(first), view.ago(last)))
            .hash(out);
        let gone = [
            self.let_go_at,
            self.improved_at,
            self.refused_at,
            self.unready_at,
        ];
        gone.map(|at| at.map(|at| view.ago(at))).hash(out);
        self.late.usual_longest().as_millis().hash(out);
        (heard, unproven, alive, self.dead).hash(out);
        let newest = self.session.map(|session| session.newest);
        newest
            .map(|newest| behind(sent(self.node), newest))
            .hash(out);
        behind(self.vouched, newest.unwrap_or_default()).hash(out);
        for path in &self.paths {
            let lag = behind(newest.unwrap_or_default(), path.counter).min(1);
            let paced = view.within(path.answered_at, Duration::from_millis(1));
            (
                lag,
                paced,
                view.age(path.virtual_at),
                view.age(path.unit_at),
            )
                .hash(out);
        }
    }

    /// Forgets what the peer's kernel said of the virtual addresses: their owner has changed.
    pub(crate) fn forget_ownership(&mut self) {
        for path in &mut self.paths {
            path.virtual_at = None;
            path.owned = None;
            path.turn = 0;
            path.unanswered = 0;
        }
    }

    /// Forgets everything its kernel said: it may be another life of the box.
    pub(crate) fn forget_kernel_evidence(&mut self) {
        self.forget_ownership();
        for path in &mut self.paths {
            path.unit_at = None;
        }
    }
}

/// 64 unforgeable bits from a secret of this life, a label and a number; never 0.
pub(crate) fn derive(secret: &[u8; 32], label: &[u8], number: u64) -> u64 {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return 1;
    };
    mac.update(label);
    mac.update(&number.to_be_bytes());
    let tag = mac.finalize().into_bytes();
    let bytes: [u8; 8] = core::array::from_fn(|place| tag.get(place).copied().unwrap_or(0));
    u64::from_be_bytes(bytes).max(1)
}

mod asked;
pub(crate) mod hears;
mod round_trip;
#[cfg(test)]
mod tests;
