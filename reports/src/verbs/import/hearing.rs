//! What a life's inputs show: who was heard where and when, and what the operator and kernel said.
//!
//! Only frames that verify with the keys of then count as a peer's word, and none that was heard
//! before: a counter that does not grow, or a life that had ended, is a replay. What a peer's
//! kernel sends (ARP, traffic it forwards) is told by the MACs that the peer signed.
//!
//! Limit: the times are those at which the kernel took frames in, so what a frame lost on its way
//! never shows; a single lost advertisement is no event.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast_core::effect::{Alert, Command};
use steadfast_core::role::{ConfiguredRole, EffectiveRole};
use steadfast_core::wire::advert::{Advert, Flags, Kind};
use steadfast_core::wire::auth::KeyRing;
use steadfast_core::wire::codec::DecodeError;
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::{BootId, CheckId, Instant, MacAddr, NodeId, PortId};
use steadfast_shell::journal::{Life, Stored, StoredEffect, StoredInput};

/// Oddities that are named one by one; more are counted.
const ODDITIES_MAX: usize = 20;

/// A peer's advertisement, as far as a story needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) at: Instant,
    pub(super) port: PortId,
    pub(super) boot: BootId,
    pub(super) counter: u64,
    pub(super) kind: Kind,
    pub(super) configured: ConfiguredRole,
    pub(super) effective: EffectiveRole,
    pub(super) priority: u8,
    pub(super) flags: Flags,
    pub(super) ports_down: u32,
    /// The ports on which the sender has ever heard us, and the newest counter on each, summed: it
    /// grows on a port as long as we are heard there.
    pub(super) heard: [u64; 16],
}

/// Everything that was seen in a life.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// The last entry's time.
    pub(super) end: Instant,
    /// What each peer said, in order.
    pub(super) words: BTreeMap<NodeId, Vec<Word>>,
    /// When each peer's kernel was heard, and where.
    pub(super) kernels: BTreeMap<NodeId, Vec<(Instant, PortId)>>,
    /// When any station was heard that is no peer, and where.
    pub(super) strangers: Vec<(Instant, PortId)>,
    /// Changes of own carriers, the first of each port included.
    pub(super) carriers: Vec<(Instant, PortId, bool)>,
    /// Results of own checks that differ from the one before; failures alone at first.
    pub(super) checks: Vec<(Instant, CheckId, bool)>,
    /// When each check was run last, and the shortest time between two runs.
    pub(super) runs: BTreeMap<CheckId, (Instant, Option<Duration>)>,
    /// What the operator asked of this node.
    pub(super) commands: Vec<(Instant, Command)>,
    /// When the daemon was asked to end.
    pub(super) shutdown: Option<Instant>,
    /// When the fence was found damaged.
    pub(super) damages: Vec<Instant>,
    /// Times in which nothing at all was noted, longer than the dead interval.
    pub(super) stalls: Vec<(Instant, Instant)>,
    /// What no story of ours has a word for.
    pub(super) oddities: Vec<(Instant, String)>,
    /// Frames of our cluster whose tag did not verify.
    pub(super) forged: usize,
}

impl Hearing {
    /// Listens to a life again, up to `entries`.
    pub(super) fn of(life: &Life, entries: usize, keys: &KeyRing) -> Self {
        let mut hearing = Self {
            end: life.facts.now,
            ..Self::default()
        };
        let mut macs = BTreeMap::new();
        let mut newest = BTreeMap::new();
        let dead = life.facts.config.timing.dead_interval;
        for entry in life.entries.iter().take(entries) {
            if entry.at.since(hearing.end) > dead {
                hearing.stalls.push((hearing.end, entry.at));
            }
            hearing.end = hearing.end.max(entry.at);
            match &entry.what {
                Stored::Input(StoredInput::FrameReceived { port, frame, at }) => {
                    let heard = Heard {
                        at: *at,
                        port: *port,
                        frame,
                    };
                    hearing.hear(&heard, keys, &mut macs, &mut newest);
                }
                Stored::Input(input) => hearing.take(entry.at, input),
                Stored::Effect(StoredEffect::Alert(alert)) => hearing.alerted(entry.at, alert),
                Stored::Config(_) => hearing.odd(entry.at, "the configuration was replaced"),
                Stored::Effect(_)
                | Stored::End
                | Stored::Gap(_)
                | Stored::Hole(_)
                | Stored::Status(_) => {}
            }
        }
        hearing
    }

    /// Whether the keys fit nothing that was heard.
    pub(super) fn is_locked(&self) -> bool {
        self.forged > 0 && self.words.is_empty()
    }

    fn hear(
        &mut self,
        heard: &Heard<'_>,
        keys: &KeyRing,
        macs: &mut BTreeMap<MacAddr, NodeId>,
        newest: &mut BTreeMap<(NodeId, PortId), (Vec<BootId>, u64)>,
    ) {
        let Heard { at, port, frame } = *heard;
        match Advert::decode(frame, port, keys) {
            Ok(advert) => {
                let (boots, counter) = newest.entry((advert.sender, port)).or_default();
                let known = boots.last() == Some(&advert.boot);
                if (known && advert.counter <= *counter) || (!known && boots.contains(&advert.boot))
                {
                    return;
                }
                if !known {
                    boots.push(advert.boot);
                }
                *counter = advert.counter;
                macs.extend(advert.macs.iter().map(|(_, mac)| (*mac, advert.sender)));
                let words = self.words.entry(advert.sender).or_default();
                words.push(Word::of(&advert, keys.own(), at, port));
            }
            Err(DecodeError::BadTag) => self.forged += 1,
            Err(_) => {
                let Some(parsed) = Frame::parse(frame) else {
                    return;
                };
                if parsed.ethertype == ethertype::STEADFAST {
                    return;
                }
                match macs.get(&parsed.source) {
                    Some(peer) => self.kernels.entry(*peer).or_default().push((at, port)),
                    None => self.strangers.push((at, port)),
                }
            }
        }
    }

    fn take(&mut self, at: Instant, input: &StoredInput) {
        match input {
            StoredInput::Checked { check, passed } => self.checked(at, *check, *passed),
            StoredInput::CommandReceived { command, .. } => self.commands.push((at, *command)),
            StoredInput::Completed { outcome, .. } => {
                if let Err(why) = outcome {
                    self.odd(at, &format!("the kernel or the disk refused: {why:?}"));
                }
            }
            StoredInput::FenceChecked { whole: false } => self.damages.push(at),
            StoredInput::LinkChanged { port, up } => {
                let last = self.carriers.iter().rev().find(|(_, it, _)| it == port);
                if last.is_none_or(|(_, _, was)| was != up) {
                    self.carriers.push((at, *port, *up));
                }
            }
            StoredInput::Shutdown => self.shutdown = self.shutdown.or(Some(at)),
            StoredInput::TransmitRefused { port } => {
                self.odd(
                    at,
                    &format!("the lease guard refused a frame on port {port}"),
                );
            }
            StoredInput::CertificateRead { .. }
            | StoredInput::DeadlineReached
            | StoredInput::FenceChecked { whole: true }
            | StoredInput::FrameReceived { .. } => {}
        }
    }

    fn checked(&mut self, at: Instant, check: CheckId, passed: bool) {
        let before = self.checks.iter().rev().find(|(_, it, _)| *it == check);
        if before.is_none_or(|(_, _, was)| *was) != passed {
            self.checks.push((at, check, passed));
        }
        let run = self.runs.entry(check).or_insert((at, None));
        let gap = (at > run.0).then(|| at.since(run.0));
        *run = (at, run.1.into_iter().chain(gap).min());
    }

    fn alerted(&mut self, at: Instant, alert: &Alert) {
        match alert {
            Alert::AddressConflict { .. }
            | Alert::DuplicateNodeId
            | Alert::ForeignSpeaker { .. }
            | Alert::StationUsed { .. }
            | Alert::StoreFailed => self.odd(at, &format!("{alert:?}")),
            Alert::ApplyFailed
            | Alert::CheckFailed { .. }
            | Alert::FenceDamaged
            | Alert::FormFallback { .. }
            | Alert::Pacified
            | Alert::PeerDown { .. }
            | Alert::PeerUp { .. }
            | Alert::RoleFlaps
            | Alert::SameRole { .. }
            | Alert::ServingFaulty
            | Alert::ServingPacified
            | Alert::SplitBrain { .. } => {}
        }
    }

    fn odd(&mut self, at: Instant, what: &str) {
        if self.oddities.len() < ODDITIES_MAX {
            self.oddities.push((at, what.to_owned()));
        } else if self.oddities.len() == ODDITIES_MAX {
            let more = "more of this kind, which are not listed".to_owned();
            self.oddities.push((at, more));
        }
    }

    /// Whether a peer's kernel was heard in this time.
    pub(super) fn kernel(
        &self,
        peer: NodeId,
        port: Option<PortId>,
        span: (Instant, Instant),
    ) -> bool {
        let heard = self.kernels.get(&peer).into_iter().flatten();
        within(heard, port, span)
    }

    /// Whether any other station was heard on a port in this time.
    pub(super) fn stranger(&self, port: PortId, span: (Instant, Instant)) -> bool {
        within(self.strangers.iter(), Some(port), span)
    }

    /// Whether this node itself stood still for most of this time.
    pub(super) fn stalled(&self, (from, until): (Instant, Instant)) -> bool {
        let covers = |(begin, end): &(Instant, Instant)| {
            let common = until.min(*end).since(from.max(*begin));
            from.max(*begin) < until.min(*end) && common * 2 > until.since(from)
        };
        self.stalls.iter().any(covers)
    }
}

fn within<'a>(
    heard: impl Iterator<Item = &'a (Instant, PortId)>,
    port: Option<PortId>,
    (from, until): (Instant, Instant),
) -> bool {
    let mut heard = heard;
    heard.any(|(at, on)| *at > from && *at < until && port.is_none_or(|port| port == *on))
}

/// A frame, where and when.
struct Heard<'a> {
    at: Instant,
    port: PortId,
    frame: &'a [u8],
}

impl Word {
    fn of(advert: &Advert, own: NodeId, at: Instant, port: PortId) -> Self {
        let mut heard = [0; 16];
        let echoes = advert.echoes.iter().filter(|echo| echo.node == own);
        for path in echoes.flat_map(|echo| &echo.heard) {
            if let Some(slot) = heard.get_mut(usize::from(path.path.0)) {
                *slot = path.counter;
            }
        }
        Self {
            at,
            port,
            boot: advert.boot,
            counter: advert.counter,
            kind: advert.kind,
            configured: advert.configured,
            effective: advert.effective,
            priority: advert.priority,
            flags: advert.flags,
            ports_down: advert.ports_down,
            heard,
        }
    }

    /// Whether the sender's served port is down.
    pub(super) const fn is_down(&self, port: PortId) -> bool {
        self.ports_down & (1_u32.wrapping_shl(port.0 as u32)) != 0
    }
}

/// How long a time is, in words of a second.
pub(super) fn seconds(span: Duration) -> String {
    format!("{:.3} s", span.as_secs_f64())
}
