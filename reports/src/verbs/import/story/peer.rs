//! A peer's part of the story, from its words alone.
//!
//! Its words fall into lives. Between two lives, and after the last, the peer was down; inside one
//! it may have been silent, everywhere or on one path. What its kernel and its cable did at that
//! moment tells a power cut, a dead daemon and a frozen box apart.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast_core::config::Preempt;
use steadfast_core::role::EffectiveRole;
use steadfast_core::wire::advert::{Flags, Kind};
use steadfast_core::wire::ethernet::ethertype;
use steadfast_core::{Instant, NodeId, PortId};
use steadfast_scenarios::format::{CommandName, Span, Verb, Way};

use super::super::hearing::Word;
use super::{Entrance, SETTLING, Source, Story, is_direct};

/// Signs of one and the same command, or of one hand-over, lie this close together.
const SAME: Duration = Duration::from_secs(2);
/// What a gateway of a scenario takes from power to its first word.
const BOOTING: Duration = Duration::from_secs(1);
/// Messages a node may have sent before it was first heard, and still count as just started.
const FIRST_WORDS: u64 = 30;

/// A time in which a peer said nothing on any path.
struct Quiet<'a> {
    peer: NodeId,
    /// Its last word.
    last: &'a Word,
    /// Its next word, if there was one.
    next: Option<&'a Word>,
}

impl Story {
    pub(super) fn tell_peer(&mut self, peer: NodeId, source: &Source<'_>) {
        let words = source.hearing.words.get(&peer);
        let words = words.map(Vec::as_slice).unwrap_or_default();
        let entrance = entrance(words.first(), source);
        self.entrances
            .push((peer, entrance, words.first().copied()));
        let limit = source.facts.config.timing.dead_interval;
        let lives: Vec<&[Word]> = words.chunk_by(|a, b| a.boot == b.boot).collect();
        for (place, life) in lives.iter().enumerate() {
            self.tell_words(peer, life, source);
            let mut pauses = Vec::new();
            for two in life.windows(2) {
                let span = (two[0].at, two[1].at);
                if two[1].at.since(two[0].at) > limit && !source.hearing.stalled(span) {
                    pauses.push(span);
                    let (last, next) = (&two[0], Some(&two[1]));
                    self.tell_quiet(&Quiet { peer, last, next }, source);
                }
            }
            let next = lives.get(place + 1).and_then(|next| next.first());
            self.tell_paths(peer, life, &pauses, source);
            let Some(last) = life.last() else {
                continue;
            };
            if next.is_some() || source.hearing.end.since(last.at) > limit {
                self.tell_quiet(&Quiet { peer, last, next }, source);
            }
        }
    }

    /// Nothing was heard from it on any path: what became of it?
    fn tell_quiet(&mut self, quiet: &Quiet<'_>, source: &Source<'_>) {
        let Quiet { peer, last, next } = *quiet;
        let (name, timing) = (source.places.node(peer), &source.facts.config.timing);
        let again = next.is_some_and(|next| next.boot == last.boot);
        let until = next.map_or(source.hearing.end, |next| next.at);
        let begin = last.at.after(Duration::from_nanos(1));
        if last.kind == Kind::LetGo && !again {
            let at = self.quit_at(quiet, source);
            self.add(at, name, Verb::Quit);
            self.start_again(quiet, source, Verb::Start, Duration::ZERO);
            return;
        }
        let near = last.at.before(timing.interval);
        let mut carriers = source.hearing.carriers.iter();
        let unplugged = carriers.find(|(at, port, up)| {
            let soon = *at >= near && at.since(last.at) <= timing.dead_interval;
            !up && soon && is_direct(source, *port)
        });
        let asked = (
            last.at.after(timing.interval),
            until.before(timing.interval),
        );
        let kernel = source.hearing.kernel(peer, None, asked);
        let cabled = source.facts.config.ports.iter().any(|port| port.direct);
        match (again, unplugged, kernel) {
            (false, Some((at, ..)), _) => {
                let dark = next.map_or(Instant::FAR_FUTURE, |next| next.at.after(SETTLING));
                self.dark.push((near, dark));
                self.forget_ports(peer, near);
                self.add(*at, name, Verb::PowerOff);
                self.start_again(quiet, source, Verb::PowerOn, BOOTING);
            }
            (false, None, true) => {
                self.add(begin, name, Verb::Kill);
                self.start_again(quiet, source, Verb::Start, Duration::ZERO);
            }
            (false, None, false) if !cabled || next.is_some() => {
                self.forget_ports(peer, near);
                self.add(begin, name, Verb::PowerOff);
                self.start_again(quiet, source, Verb::PowerOn, BOOTING);
            }
            (true, _, true) => {
                self.add(begin, name, Verb::Stop);
                self.add(until, name, Verb::Cont);
            }
            (_, _, false) => {
                let clock_stands = false;
                self.add(begin, name, Verb::Freeze { clock_stands });
                if again {
                    self.add(until, name, Verb::Thaw);
                }
            }
        }
    }

    /// Whoever hands over first and ends then began to end when it prepared that.
    fn quit_at(&self, quiet: &Quiet<'_>, source: &Source<'_>) -> Instant {
        let words = source.hearing.words.get(&quiet.peer).into_iter().flatten();
        let since = quiet.last.at.before(SAME);
        let mut prepared = words.filter(|word| word.kind == Kind::Prepare);
        let prepared = prepared.find(|word| word.at >= since && word.at <= quiet.last.at);
        prepared.map_or(quiet.last.at, |word| word.at)
    }

    fn start_again(&mut self, quiet: &Quiet<'_>, source: &Source<'_>, verb: Verb, lead: Duration) {
        if let Some(next) = quiet.next {
            let earliest = quiet.last.at.after(Duration::from_millis(1));
            let at = next.at.before(lead).max(earliest);
            self.add(at, source.places.node(quiet.peer), verb);
        }
    }

    /// Ports that it said it lost as it went down were no event of their own.
    fn forget_ports(&mut self, peer: NodeId, since: Instant) {
        self.peer_ports
            .retain(|(at, it, ..)| *it != peer || *at < since);
    }

    /// What it said in one life: ports, maintenance, commands of its operator.
    fn tell_words(&mut self, peer: NodeId, life: &[Word], source: &Source<'_>) {
        let name = source.places.node(peer);
        let mut asked: Option<Instant> = None;
        for two in life.windows(2) {
            let (before, now) = (&two[0], &two[1]);
            for port in &source.facts.config.ports {
                let (was, is) = (before.is_down(port.id), now.is_down(port.id));
                let starting = life.first().is_some_and(|first| {
                    now.at.since(first.at) < SETTLING && first.is_down(port.id)
                });
                if was != is && !starting {
                    self.peer_ports.push((now.at, peer, port.id, was));
                }
            }
            if let Some(command) = decided(before, now) {
                self.add(now.at, name, Verb::Command { command });
                asked = Some(now.at);
            }
            let commanded = now.flags.has(Flags::COMMANDED);
            let fresh = asked.is_none_or(|at| now.at.since(at) > SAME);
            let command = match now.kind {
                Kind::Request if commanded && fresh => CommandName::Takeover,
                Kind::Prepare if fresh && !is_explained(now, life, source) => CommandName::Release,
                Kind::Advert
                | Kind::Answer
                | Kind::Claim
                | Kind::Decline
                | Kind::LetGo
                | Kind::Offer
                | Kind::Prepare
                | Kind::Probe
                | Kind::Ready
                | Kind::Released
                | Kind::Request => continue,
            };
            asked = Some(now.at);
            self.add(now.at, name, Verb::Command { command });
        }
    }

    /// Paths on which it was silent while it was heard on others.
    fn tell_paths(
        &mut self,
        peer: NodeId,
        life: &[Word],
        pauses: &[(Instant, Instant)],
        source: &Source<'_>,
    ) {
        let (Some(first), Some(last)) = (life.first(), life.last()) else {
            return;
        };
        let limit = source.facts.config.timing.dead_interval;
        let mut heard: BTreeMap<PortId, Instant> = BTreeMap::new();
        let mut gaps = Vec::new();
        for word in life {
            let since = heard.insert(word.port, word.at);
            if since.is_none() && word.at.since(first.at) > SETTLING {
                let what = format!("node {peer} was first heard on port {}", word.port);
                self.unsaid.push((word.at, what));
            }
            let since = since.unwrap_or(word.at);
            gaps.push((word.port, since, word.at, true));
        }
        for (port, since) in &heard {
            gaps.push((*port, *since, last.at, false));
        }
        for (port, from, until, ends) in gaps {
            let inside = pauses.iter().filter(|(a, b)| *a >= from && *b <= until);
            let paused: Duration = inside.map(|(a, b)| b.since(*a)).sum();
            let long = until.since(from).saturating_sub(paused) > limit;
            if long && !source.hearing.stalled((from, until)) {
                self.tell_path(peer, port, (from, until), ends, life, source);
            }
        }
    }

    fn tell_path(
        &mut self,
        peer: NodeId,
        port: PortId,
        (from, until): (Instant, Instant),
        ends: bool,
        life: &[Word],
        source: &Source<'_>,
    ) {
        let near = from.before(source.facts.config.timing.interval);
        let own_down = source.hearing.carriers.iter();
        let mut own_down = own_down.filter(|(_, it, up)| *it == port && !up);
        let mut inside = life
            .iter()
            .filter(|word| word.at >= near && word.at <= until);
        if own_down.any(|(at, ..)| *at >= near && *at <= until)
            || inside.any(|word| word.is_down(port))
        {
            return;
        }
        let Some(segment) = source.places.segment(port) else {
            let what = format!("node {peer} was not heard on port {port}");
            self.unsaid.push((from, what));
            return;
        };
        let at = from.after(Duration::from_nanos(1));
        let theirs = format!("{}.{segment}", source.places.node(peer));
        let settled = from.after(source.facts.config.timing.interval);
        if source.hearing.kernel(peer, Some(port), (settled, until)) {
            let lasting = ends.then(|| Span(until.since(from)));
            let verb = Verb::DropFrames {
                kind: None,
                ethertype: Some(ethertype::STEADFAST),
                sender: None,
                count: None,
                lasting,
                way: Way::From,
            };
            self.add(at, theirs, verb);
            return;
        }
        let hears_us = grows(life, port, (settled, until));
        let deaf = !source.hearing.stranger(port, (from, until));
        let (target, one_way) = if deaf && !is_direct(source, port) {
            (format!("{}.{segment}", source.places.own()), Way::To)
        } else {
            (theirs, Way::From)
        };
        let way = if hears_us { one_way } else { Way::Both };
        self.add(at, target.clone(), Verb::Silence { way });
        if ends {
            self.add(until, target, Verb::Unsilence);
        }
    }
}

/// Whether a hand-over that a peer prepares has another cause than its operator's release.
fn is_explained(prepare: &Word, life: &[Word], source: &Source<'_>) -> bool {
    let close = |at: Instant| at.since(prepare.at).max(prepare.at.since(at)) <= SAME;
    let quits = life
        .last()
        .is_some_and(|last| last.kind == Kind::LetGo && close(last.at));
    let maintained = |word: &Word| close(word.at) && word.flags.has(Flags::MAINTENANCE);
    let asked = |word: &Word| close(word.at) && word.kind == Kind::Request;
    let mut commands = source.hearing.commands.iter();
    let mut others = source.hearing.words.values().flatten();
    quits
        || prepare.ports_down != 0
        || source.facts.config.policy.preempt != Preempt::Never
        || life.iter().any(maintained)
        || commands.any(|(at, _)| close(*at))
        || others.any(asked)
}

/// Whether the peer went on hearing us on a path, as its words on others say.
fn grows(life: &[Word], port: PortId, (from, until): (Instant, Instant)) -> bool {
    let inside = life.iter().filter(|word| word.at > from && word.at < until);
    let mut counters = inside.map(|word| word.heard.get(usize::from(port.0)).copied());
    let first = counters.next().flatten();
    first.is_some_and(|first| counters.flatten().any(|later| later > first))
}

/// What its operator decided between two of its words.
fn decided(before: &Word, now: &Word) -> Option<CommandName> {
    let maintained = |word: &Word| word.flags.has(Flags::MAINTENANCE);
    match (maintained(before), maintained(now)) {
        (false, true) => return Some(CommandName::MaintenanceOn),
        (true, false) => return Some(CommandName::MaintenanceOff),
        (true, true) => return None,
        (false, false) => {}
    }
    match (before.effective, now.effective) {
        (EffectiveRole::Off, EffectiveRole::Standby) => Some(CommandName::Enable),
        (EffectiveRole::Pacified, EffectiveRole::Standby) => Some(CommandName::ClearPacified),
        (
            EffectiveRole::Active
            | EffectiveRole::Demoting
            | EffectiveRole::Failed
            | EffectiveRole::Off
            | EffectiveRole::Pacified
            | EffectiveRole::Promoting
            | EffectiveRole::Standby
            | EffectiveRole::Starting,
            _,
        ) => None,
    }
}

/// When it came: its counter tells how much it had said before it was first heard.
fn entrance(first: Option<&Word>, source: &Source<'_>) -> Entrance {
    let Some(first) = first else {
        return Entrance::Never;
    };
    let late = first.at.since(source.facts.now);
    if late > SETTLING {
        Entrance::Later(late)
    } else if first.counter > FIRST_WORDS {
        Entrance::Earlier
    } else {
        Entrance::Together
    }
}
