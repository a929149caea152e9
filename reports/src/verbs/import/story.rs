//! What happened in a life, as steps of a scenario.
//!
//! ```text
//!  carriers, commands, shutdown ─┐
//!  peers' words, by life ────────┼─► deeds at the recorded times ─► steps
//!  the next life's beginning ────┘   what explains others takes their place
//! ```
//! One cause often has many signs: a peer that loses power takes its cable's carrier along, and its
//! last words may say that its ports went. The cause is told and its signs are not. What has no
//! word is kept with its time, so that the file can say what it leaves out.

use std::time::Duration;

use steadfast_core::effect::Command;
use steadfast_core::{Instant, NodeId, PortId};
use steadfast_scenarios::format::{CommandName, Span, Verb};
use steadfast_shell::journal::LifeFacts;

use super::hearing::{Hearing, Word, seconds};
use super::places::Places;

mod peer;

/// How long after its start a port may take to come up: until then its carrier is no event.
const SETTLING: Duration = Duration::from_secs(1);
/// A life that breaks off so soon after its ports went dark was a box that lost power.
const DYING: Duration = Duration::from_millis(50);
/// Ports of two gateways that change within this time changed with their switch.
const TOGETHER: Duration = Duration::from_millis(150);

/// Something that was done to the cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Deed {
    /// When, in the journal's time.
    pub(super) at: Instant,
    /// To whom, in the scenario's words.
    pub(super) target: String,
    /// What.
    pub(super) verb: Verb,
}

/// When a peer came, seen from the recorded node's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrance {
    /// So long before it.
    Earlier,
    /// So long after it.
    Later(Duration),
    /// Never.
    Never,
    /// At about the same time.
    Together,
}

/// How a life ended that did not end in order, told by the one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The daemon was killed; the kernel lived on.
    Killed,
    /// The box went down.
    PowerLost,
}

/// A life as a scenario tells it.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// In order of time.
    pub(super) deeds: Vec<Deed>,
    /// When each peer came, and its first word.
    pub(super) entrances: Vec<(NodeId, Entrance, Option<Word>)>,
    /// What has no word in a scenario.
    pub(super) unsaid: Vec<(Instant, String)>,
    /// Since when the recorded box itself was losing power: what it did then is not told.
    pub(super) dying: Option<Instant>,
    /// Times that a peer's death explains: carriers of cables mean nothing then.
    dark: Vec<(Instant, Instant)>,
    /// Ports that peers said they lost or got back; of a cable, if this end saw nothing.
    peer_ports: Vec<(Instant, NodeId, PortId, bool)>,
}

/// What a story is made of.
pub(super) struct Source<'a> {
    /// What the life began with.
    pub(super) facts: &'a LifeFacts,
    /// What was heard.
    pub(super) hearing: &'a Hearing,
    /// Names.
    pub(super) places: &'a Places,
    /// How it ended, if the next life says so.
    pub(super) fate: Option<Fate>,
    /// The record ends without a word, and nothing of it is missing before.
    pub(super) broken_off: bool,
}

impl Story {
    /// Tells a life.
    pub(super) fn of(source: &Source<'_>) -> Self {
        let mut story = Self {
            unsaid: source.hearing.oddities.clone(),
            dying: dying(source),
            ..Self::default()
        };
        for peer in &source.facts.config.peers {
            story.tell_peer(peer.node, source);
        }
        story.tell_ports(source);
        story.tell_own(source);
        if let Some(since) = story.dying {
            story.deeds.retain(|deed| deed.at < since);
            story.unsaid.retain(|(at, _)| *at < since);
            story.add(since, source.places.own(), Verb::PowerOff);
            let what = "the last moment, in which its ports went dark, is a power cut";
            story.unsaid.push((since, what.to_owned()));
        }
        story.deeds.sort_by_key(|deed| deed.at);
        story.unsaid.sort();
        story
    }

    fn add(&mut self, at: Instant, target: impl Into<String>, verb: Verb) {
        let target = target.into();
        self.deeds.push(Deed { at, target, verb });
    }

    /// What was done to the recorded node itself.
    fn tell_own(&mut self, source: &Source<'_>) {
        let own = source.places.own();
        let hearing = source.hearing;
        for (at, command) in &hearing.commands {
            let command = command_name(*command);
            self.add(*at, own, Verb::Command { command });
        }
        for (at, check, passes) in &hearing.checks {
            let mut checks = source.facts.config.checks.iter();
            if let Some(check) = checks.find(|it| it.id == *check) {
                let (check, passes) = (check.name.clone(), *passes);
                // A result is of a run that the change came before.
                let before = at.before(Duration::from_millis(1));
                // One that did not answer was recorded as failed.
                let hangs = false;
                let verb = Verb::Check {
                    check,
                    passes,
                    hangs,
                };
                self.add(before, own, verb);
            }
        }
        for at in &hearing.damages {
            self.add(*at, own, Verb::FlushRuleset);
        }
        for (from, until) in &hearing.stalls {
            let lasting = Span(until.since(*from));
            let inside = hearing.words.values().flatten();
            let queued = inside
                .map(|word| word.at)
                .any(|at| at > *from && at < until.before(lasting.0 / 4));
            if queued {
                self.add(*from, own, Verb::Stall { lasting });
            } else {
                let clock_stands = false;
                self.add(*from, own, Verb::Freeze { clock_stands });
                self.add(*until, own, Verb::Thaw);
            }
        }
        match (hearing.shutdown, source.fate) {
            (Some(at), _) => self.add(at, own, Verb::Quit),
            (None, Some(Fate::Killed)) => self.add(hearing.end, own, Verb::Kill),
            (None, Some(Fate::PowerLost)) => self.add(hearing.end, own, Verb::PowerOff),
            (None, None) => {}
        }
    }

    /// Own carriers, and the served ports that peers told of.
    fn tell_ports(&mut self, source: &Source<'_>) {
        let mut switched: Vec<PortId> = Vec::new();
        let mut settled: Vec<PortId> = Vec::new();
        for (at, port, up) in &source.hearing.carriers {
            let (at, port, up) = (*at, *port, *up);
            let first = !settled.contains(&port);
            let starting = at.since(source.facts.now) < SETTLING;
            if first && (up || starting) {
                if up {
                    settled.push(port);
                }
                continue;
            }
            settled.push(port);
            let Some(segment) = source.places.segment(port) else {
                let what = if up { "got" } else { "lost" };
                self.unsaid
                    .push((at, format!("port {port} {what} carrier")));
                continue;
            };
            if is_direct(source, port) {
                // Both ends of a cable see it go.
                self.peer_ports.retain(|it| !is_twin(it, at, port, up));
                let dark = |(from, until): &(Instant, Instant)| *from <= at && at <= *until;
                if !self.dark.iter().any(dark) {
                    let verb = if up { Verb::CablePlug } else { Verb::CablePull };
                    self.add(at, segment, verb);
                }
                continue;
            }
            let with_switch = switched.contains(&port) || self.has_twin(at, port, up);
            let verb = match (with_switch, up) {
                (true, true) => {
                    switched.retain(|it| *it != port);
                    Verb::SwitchOn
                }
                (true, false) => {
                    switched.push(port);
                    Verb::SwitchOff
                }
                (false, true) => Verb::LinkUp,
                (false, false) => Verb::LinkDown,
            };
            if with_switch {
                self.peer_ports.retain(|it| !is_twin(it, at, port, up));
                self.add(at, segment, verb);
            } else {
                self.add(at, format!("{}.{segment}", source.places.own()), verb);
            }
        }
        for (at, peer, port, up) in std::mem::take(&mut self.peer_ports) {
            if let Some(segment) = source.places.segment(port) {
                let verb = if up { Verb::LinkUp } else { Verb::LinkDown };
                self.add(at, format!("{}.{segment}", source.places.node(peer)), verb);
            }
        }
    }

    fn has_twin(&self, at: Instant, port: PortId, up: bool) -> bool {
        self.peer_ports.iter().any(|it| is_twin(it, at, port, up))
    }
}

fn is_twin(it: &(Instant, NodeId, PortId, bool), at: Instant, port: PortId, up: bool) -> bool {
    let apart = it.0.since(at).max(at.since(it.0));
    it.2 == port && it.3 == up && apart <= TOGETHER
}

/// Since when a life was breaking off: ports that go dark, and nothing behind them.
fn dying(source: &Source<'_>) -> Option<Instant> {
    let hearing = source.hearing;
    if !source.broken_off || hearing.shutdown.is_some() {
        return None;
    }
    let begin = hearing
        .end
        .before(DYING)
        .max(source.facts.now.after(SETTLING));
    let mut carriers = hearing.carriers.iter();
    let dark = carriers.find(|(at, _, up)| *at >= begin && !up);
    dark.map(|(at, ..)| *at)
}

fn is_direct(source: &Source<'_>, port: PortId) -> bool {
    let mut ports = source.facts.config.ports.iter();
    ports.any(|it| it.id == port && it.direct)
}

const fn command_name(command: Command) -> CommandName {
    match command {
        Command::ClearPacified => CommandName::ClearPacified,
        Command::Enable => CommandName::Enable,
        Command::MaintenanceOff => CommandName::MaintenanceOff,
        Command::MaintenanceOn => CommandName::MaintenanceOn,
        Command::Release => CommandName::Release,
        Command::TakeOver => CommandName::Takeover,
    }
}

/// A time in the journal, told from the life's beginning.
pub(super) fn told(at: Instant, facts: &LifeFacts) -> String {
    seconds(at.since(facts.now))
}
