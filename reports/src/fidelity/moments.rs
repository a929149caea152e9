//! Moments: the things in a trace that have a name in every world.
//!
//! Probes, ages and repeated frames are left out: how many there are is a world's own matter. A
//! moment that comes again is another one (`b active`, `b active #2`), but what repeats within
//! [`AGAIN`] is one: senders repeat frames, and observers ask about several addresses.
//!
//! A role has the date that its node gives it, for a status is asked for now and then; and a role
//! on the way to another may be gone before anybody asks, so it is none. Neither is one that its
//! node ends with: a lab asks too late, where a simulator knows.
//!
//! Who answers on a segment is no moment while its switch is dead: the lab asks from behind it.
//!
//! Only moments from the first step on are taken, if there is a step: how two boots interleave is
//! drawn by each world for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use steadfast_core::role::EffectiveRole;
use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::trace::{
    Event, EventKind, Holder, Names, PowerState, ProcessState, SourceKind,
};

/// The same thing within this time is one moment.
const AGAIN: Duration = Duration::from_millis(500);
/// The same of announcements, which are repeated for seconds after a claim.
const ANNOUNCED_AGAIN: Duration = Duration::from_secs(5);

/// Who ends so soon after taking a role may not have been asked for it.
const LAST_WORD: Duration = Duration::from_millis(20);

/// Steps this close to each other are one beginning: a lab cannot take two at the same time, so
/// what is between them is none of a world's. What follows is timed from the latest of them.
const STEPS_TOGETHER: Duration = Duration::from_millis(5);

/// A moment of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// Its name: equal in every world.
    pub(crate) name: String,
    /// When.
    pub(crate) at: Instant,
    /// The latest step before it, if there was one, and when that ran; of several that come
    /// together the first one's name and the latest one's time.
    pub(crate) after: Option<(String, Instant)>,
}

/// The moments of a trace, in its order.
pub(crate) fn sightings(events: &[Event]) -> Vec<Sighting> {
    let mut seen = Seen::default();
    let mut names = Names::default();
    let is_step = |event: &&Event| matches!(event.kind, EventKind::Step { .. });
    let from = events
        .iter()
        .find(is_step)
        .map_or(Instant::ORIGIN, |it| it.at);
    for (place, event) in events.iter().enumerate() {
        if let EventKind::Names(known) = &event.kind {
            names = known.clone();
        }
        // States count from the start: only what changes after the first step is a moment.
        if let EventKind::Step { verb, target, .. } = &event.kind {
            seen.switch(verb, target);
        }
        if seen.is_dark(event, &names) || is_last_word(event, &events[place..]) {
            continue;
        }
        if let Some(name) = named(event, &names, &mut seen.roles) {
            seen.take(name, event, event.at >= from);
        }
    }
    seen.sightings
}

/// Whether this is a role whose node ends before anybody may have asked for it.
fn is_last_word(event: &Event, rest: &[Event]) -> bool {
    let EventKind::Status { gateway, .. } = event.kind else {
        return false;
    };
    let until = date(event).after(LAST_WORD);
    let mut soon = rest.iter().take_while(|it| it.at <= until);
    soon.any(|it| match &it.kind {
        EventKind::Power { gateway: of, state } => *of == gateway && *state == PowerState::Off,
        EventKind::Process { gateway: of, state } => {
            *of == gateway && *state == ProcessState::Killed
        }
        _ => false,
    })
}

#[derive(Default)]
struct Seen {
    /// By name: how often, and when last.
    known: BTreeMap<String, (u32, Instant)>,
    roles: BTreeMap<NodeId, String>,
    step: Option<Beginning>,
    /// Segments whose switch is dead.
    dark: BTreeSet<String>,
    sightings: Vec<Sighting>,
}

/// One or several steps that came together.
struct Beginning {
    name: String,
    first: Instant,
    latest: Instant,
}

impl Seen {
    fn switch(&mut self, verb: &str, target: &str) {
        match verb {
            "switch_off" => {
                self.dark.insert(target.to_owned());
            }
            "switch_on" => {
                self.dark.remove(target);
            }
            _ => {}
        }
    }

    fn is_dark(&self, event: &Event, names: &Names) -> bool {
        match &event.kind {
            EventKind::Owner { segment, .. } => self.dark.contains(&names.segment(*segment)),
            _ => false,
        }
    }

    fn take(&mut self, name: String, event: &Event, counts: bool) {
        let entry = self.known.get(&name).copied();
        let at = date(event);
        let is_again = entry.is_some_and(|(_, last)| at.since(last) < again(event));
        let count = entry.map_or(0, |(count, _)| count);
        let count = if counts && !is_again {
            count + 1
        } else {
            count
        };
        self.known.insert(name.clone(), (count, at));
        if !counts || is_again {
            return;
        }
        let name = if count > 1 {
            format!("{name} #{count}")
        } else {
            name
        };
        let after = if matches!(event.kind, EventKind::Step { .. }) {
            self.begin(&name, at)
        } else {
            let begun = self.step.as_ref().filter(|it| at >= it.latest);
            begun.map(|it| (it.name.clone(), it.latest))
        };
        self.sightings.push(Sighting { name, at, after });
    }

    /// A step; gives the one it follows, unless they come together.
    fn begin(&mut self, name: &str, at: Instant) -> Option<(String, Instant)> {
        if let Some(begun) = &mut self.step
            && at.since(begun.first) < STEPS_TOGETHER
        {
            begun.latest = at;
            let between = self.sightings.iter_mut().rev();
            let between = between.take_while(|it| it.at > begun.first);
            between.for_each(|it| it.after = None);
            return None;
        }
        let new = Beginning {
            name: name.to_owned(),
            first: at,
            latest: at,
        };
        let before = self.step.replace(new)?;
        Some((before.name, before.latest))
    }
}

const fn again(event: &Event) -> Duration {
    match event.kind {
        EventKind::VirtualSource { .. } => ANNOUNCED_AGAIN,
        _ => AGAIN,
    }
}

/// When it was: a role since its own date.
fn date(event: &Event) -> Instant {
    match event.kind {
        EventKind::Status { since, .. } => since.min(event.at),
        _ => event.at,
    }
}

/// What an event is called, if it is a moment.
fn named(event: &Event, names: &Names, roles: &mut BTreeMap<NodeId, String>) -> Option<String> {
    let word = |it: &dyn core::fmt::Debug| format!("{it:?}").to_lowercase();
    let name = match &event.kind {
        EventKind::Barred { gateway, barred } => {
            let what = if *barred { "barred" } else { "free" };
            format!("{} {what}", names.gateway(*gateway))
        }
        // How a world begins is its own matter: some tell of boxes that are dark.
        EventKind::Carrier { .. } if event.at == Instant::ORIGIN => return None,
        EventKind::Carrier { gateway, port, up } => {
            let what = if *up { "has" } else { "loses" };
            format!("{} {what} carrier on port {port}", names.gateway(*gateway))
        }
        EventKind::Frozen { gateway, frozen } => {
            let what = if *frozen { "frozen" } else { "thawed" };
            format!("{} {what}", names.gateway(*gateway))
        }
        EventKind::HandoverFrame { kind, from, .. } => {
            format!("{} says {}", names.gateway(*from), word(kind))
        }
        EventKind::Neighbour {
            host,
            holder: Holder::Gateway(gateway),
            ..
        } => format!("{} turns to {}", names.host(*host), names.gateway(*gateway)),
        EventKind::Owner {
            segment,
            gateway,
            answered,
            ..
        } => {
            let what = if *answered { "answers" } else { "is silent" };
            format!(
                "{} {what} on {}",
                names.gateway(*gateway),
                names.segment(*segment)
            )
        }
        EventKind::Power { gateway, state } => {
            format!("{} power {}", names.gateway(*gateway), word(state))
        }
        EventKind::Process { gateway, state } => {
            format!("{} daemon {}", names.gateway(*gateway), word(state))
        }
        EventKind::Status {
            role: EffectiveRole::Demoting | EffectiveRole::Promoting | EffectiveRole::Starting,
            ..
        } => return None,
        EventKind::Status { gateway, role, .. } => {
            let role = word(role);
            if roles.insert(*gateway, role.clone()).as_ref() == Some(&role) {
                return None;
            }
            format!("{} {role}", names.gateway(*gateway))
        }
        EventKind::Step { name, .. } => format!("step {name}"),
        EventKind::VirtualSource {
            segment,
            gateway,
            what: SourceKind::Announcement,
        } => format!(
            "{} announces on {}",
            names.gateway(*gateway),
            names.segment(*segment)
        ),
        EventKind::Alert { .. }
        | EventKind::Apply { .. }
        | EventKind::Blind { .. }
        | EventKind::End
        | EventKind::Names(_)
        | EventKind::Neighbour { .. }
        | EventKind::PeerStatus { .. }
        | EventKind::ProbeReceived { .. }
        | EventKind::ProbeSent { .. }
        | EventKind::Reachable { .. }
        | EventKind::RoleLie { .. }
        | EventKind::SwitchPort { .. }
        | EventKind::VirtualSource { .. } => return None,
    };
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::Epoch;

    fn status(at: u64, role: EffectiveRole, why: &str) -> Event {
        let kind = EventKind::Status {
            gateway: NodeId(1),
            role,
            since: Instant::from_nanos(at * 1_000_000),
            epoch: Epoch(1),
            why: why.to_owned(),
        };
        Event::new(Instant::from_nanos(at * 1_000_000), kind)
    }

    fn step(at: u64) -> Event {
        named_step(at, "cut")
    }

    fn named_step(at: u64, name: &str) -> Event {
        let kind = EventKind::Step {
            name: name.to_owned(),
            verb: "link_down".to_owned(),
            target: "a".to_owned(),
            done: true,
        };
        Event::new(Instant::from_nanos(at * 1_000_000), kind)
    }

    /// What an observer behind a dead switch does not hear is no silence of the gateways.
    #[test]
    fn moments_nobody_answers_through_a_dead_switch() {
        let owner = |at: u64, answered| {
            let kind = EventKind::Owner {
                segment: steadfast_scenarios::SegmentId(0),
                gateway: NodeId(1),
                address: 0,
                answered,
            };
            Event::new(Instant::from_nanos(at * 1_000_000), kind)
        };
        let switch = |at: u64, verb: &str| {
            let kind = EventKind::Step {
                name: verb.to_owned(),
                verb: verb.to_owned(),
                target: Names::default().segment(steadfast_scenarios::SegmentId(0)),
                done: true,
            };
            Event::new(Instant::from_nanos(at * 1_000_000), kind)
        };
        let events = [
            switch(0, "switch_off"),
            owner(1, false),
            switch(1_000, "switch_on"),
            owner(1_100, true),
            owner(2_000, false),
        ];
        let told: Vec<_> = sightings(&events).into_iter().map(|it| it.name).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(
            told[2].contains("answers") && told[3].contains("silent"),
            "{told:?}"
        );
    }

    /// A role counts if its node lives long enough to be asked for it.
    #[test]
    fn moments_last_words_are_none() {
        let dies = |at: u64| {
            let kind = EventKind::Power {
                gateway: NodeId(1),
                state: PowerState::Off,
            };
            Event::new(Instant::from_nanos(at * 1_000_000), kind)
        };
        let role = status(20, EffectiveRole::Active, "handed over");
        let told = |end: u64| sightings(&[step(10), role.clone(), dies(end)]).len();
        assert_eq!((told(20), told(40)), (2, 2));
        assert_eq!(told(41), 3);
    }

    /// Steps that come together are one beginning under the first one's name: what follows is
    /// timed from the latest, and nothing is said of the time between them.
    #[test]
    fn moments_follow_the_latest_of_steps_that_come_together() {
        let events = [
            named_step(10, "pull"),
            status(12, EffectiveRole::Standby, "between them"),
            named_step(13, "cut"),
            status(15, EffectiveRole::Active, "alone"),
            named_step(100, "back"),
        ];
        let after: Vec<_> = sightings(&events).into_iter().map(|it| it.after).collect();
        let pull = |at: u64| Some(("step pull".to_owned(), Instant::from_nanos(at * 1_000_000)));
        assert_eq!(after, [None, None, None, pull(13), pull(13)]);
    }

    /// Roles from the first step on, each once however often it is explained anew; coming back is
    /// another moment, and each knows the step it follows.
    #[test]
    fn moments_are_named_counted_and_follow_a_step() {
        let events = [
            status(0, EffectiveRole::Active, "boot"),
            step(10),
            status(20, EffectiveRole::Standby, "let go"),
            status(21, EffectiveRole::Standby, "another reason"),
            status(600, EffectiveRole::Active, "again"),
            status(1_000, EffectiveRole::Standby, "let go"),
        ];
        let sightings = sightings(&events);
        let told: Vec<_> = sightings.iter().map(|it| it.name.as_str()).collect();
        let roles = [
            "gateway 1 standby",
            "gateway 1 active",
            "gateway 1 standby #2",
        ];
        assert_eq!(told[0], "step cut");
        assert_eq!(told[1..], roles);
        let after = |it: &Sighting| it.after.clone().map(|(name, _)| name);
        assert_eq!(after(&sightings[0]), None);
        assert_eq!(after(&sightings[3]), Some("step cut".to_owned()));
    }
}
