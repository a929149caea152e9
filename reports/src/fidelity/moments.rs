//! Moments: the things in a trace that have a name in every world.
//!
//! Probes, ages and repeated frames are left out: how many there are is a world's own matter. A
//! moment that comes again is another one (`b active`, `b active #2`), but what repeats within
//! [`AGAIN`] is one: senders repeat frames, and observers ask about several addresses. Carriers do
//! neither: each change of one counts.
//!
//! A role has the date that its node gives it, for a status is asked for now and then; and a role
//! on the way to another may be gone before anybody asks, so it is none. Neither is one that its
//! node ends with: a lab asks too late, where a simulator knows.
//!
//! Who answers on a segment is no moment while its switch is dead: the lab asks from behind it. Nor
//! is it one to answer for less than [`RESOLUTION`]: the lab's question may come before or after.
//!
//! Only moments from the first step on are taken, if there is a step: how two boots interleave is
//! drawn by each world for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use steadfast_core::hooks::Level;
use steadfast_core::role::EffectiveRole;
use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::trace::{
    Caller, Event, EventKind, Holder, HookPhase, Names, PowerState, ProcessState, SourceKind,
};

use super::RESOLUTION;

/// The same thing within this time is one moment.
const AGAIN: Duration = Duration::from_millis(500);
/// The same of announcements, which are repeated for seconds after a claim.
const ANNOUNCED_AGAIN: Duration = Duration::from_secs(5);

/// Who ends so soon after taking a role may not have been asked for it.
const LAST_WORD: Duration = Duration::from_millis(20);

/// Steps this close to each other are one beginning: a lab cannot take two at the same time, so
/// what is between them is none of a world's. What follows is timed from when the latest of them
/// was done: three ports go down one after the other in a lab, and at once in a simulator.
const STEPS_TOGETHER: Duration = Duration::from_millis(5);

/// A moment of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// Its name: equal in every world.
    pub(crate) name: String,
    /// When.
    pub(crate) at: Instant,
    /// The latest step before it, if there was one, and when that was done; of several that come
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
    let glimpses = glimpses(events);
    for (place, event) in events.iter().enumerate() {
        if let EventKind::Names(known) = &event.kind {
            names = known.clone();
        }
        // States count from the start: only what changes after the first step is a moment.
        if let EventKind::Step { verb, target, .. } = &event.kind {
            seen.switch(verb, target);
        }
        if glimpses.contains(&place) {
            continue;
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

/// The places of answers that ended before the lab would surely have asked for them, and of their
/// ends.
fn glimpses(events: &[Event]) -> BTreeSet<usize> {
    let mut answering = BTreeMap::new();
    let mut glimpses = BTreeSet::new();
    for (place, event) in events.iter().enumerate() {
        let EventKind::Owner {
            segment,
            gateway,
            address,
            answered,
        } = event.kind
        else {
            continue;
        };
        let who = (segment, gateway, address);
        if answered {
            answering.insert(who, (place, event.at));
        } else if let Some((begun, at)) = answering.remove(&who)
            && event.at.since(at) < RESOLUTION
        {
            glimpses.extend([begun, place]);
        }
    }
    glimpses
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
        let after = if let EventKind::Step { took, .. } = event.kind {
            let done = at.after(Duration::from_nanos(took.unwrap_or_default()));
            self.begin(&name, at, done)
        } else {
            let begun = self.step.as_ref().filter(|it| at >= it.latest);
            begun.map(|it| (it.name.clone(), it.latest))
        };
        self.sightings.push(Sighting { name, at, after });
    }

    /// A step; gives the one it follows, unless they come together.
    fn begin(&mut self, name: &str, at: Instant, done: Instant) -> Option<(String, Instant)> {
        if let Some(begun) = &mut self.step
            && at.since(begun.first) < STEPS_TOGETHER
        {
            begun.latest = done;
            let between = self.sightings.iter_mut().rev();
            let between = between.take_while(|it| it.at > begun.first);
            between.for_each(|it| it.after = None);
            return None;
        }
        let new = Beginning {
            name: name.to_owned(),
            first: at,
            latest: done,
        };
        let before = self.step.replace(new)?;
        Some((before.name, before.latest))
    }
}

const fn again(event: &Event) -> Duration {
    match event.kind {
        EventKind::Carrier { .. } => Duration::ZERO,
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

/// In whose name something left a gateway, if that is a moment.
fn left(kind: &EventKind, names: &Names) -> Option<String> {
    let (gateway, segment, what) = match kind {
        EventKind::Call {
            segment,
            gateway,
            from,
            ..
        } => match from {
            Caller::Other => (gateway, segment, "begins as a stranger"),
            Caller::Own => (gateway, segment, "begins as itself"),
            Caller::Virtual => (gateway, segment, "begins as a virtual address"),
        },
        EventKind::VirtualSource {
            segment,
            gateway,
            what: SourceKind::Announcement,
        } => (gateway, segment, "announces"),
        _ => return None,
    };
    let (gateway, segment) = (names.gateway(*gateway), names.segment(*segment));
    Some(format!("{gateway} {what} on {segment}"))
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
        EventKind::Hook { .. } | EventKind::Neighbour { .. } => pointed(&event.kind, names)?,
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
        EventKind::Alert { .. }
        | EventKind::Apply { .. }
        | EventKind::Blind { .. }
        | EventKind::End
        | EventKind::Holds { .. }
        | EventKind::Names(_)
        | EventKind::PeerStatus { .. }
        | EventKind::PortStatus { .. }
        | EventKind::ProbeReceived { .. }
        | EventKind::ProbeSent { .. }
        | EventKind::Reachable { .. }
        | EventKind::RoleLie { .. }
        | EventKind::Status {
            role: EffectiveRole::Demoting | EffectiveRole::Promoting | EffectiveRole::Starting,
            ..
        }
        | EventKind::SwitchPort { .. }
        | EventKind::Trouble { .. } => return None,
        EventKind::Status { gateway, role, .. } => {
            let role = word(role);
            if roles.insert(*gateway, role.clone()).as_ref() == Some(&role) {
                return None;
            }
            format!("{} {role}", names.gateway(*gateway))
        }
        EventKind::Step { name, .. } => format!("step {name}"),
        EventKind::Call { .. } | EventKind::VirtualSource { .. } => left(&event.kind, names)?,
    };
    Some(name)
}

/// Something outside of the gateways turns to one of them.
fn pointed(kind: &EventKind, names: &Names) -> Option<String> {
    match kind {
        EventKind::Hook {
            gateway,
            hook,
            level: Level::Active,
            phase: HookPhase::Done,
            ..
        } => Some(format!("{hook} points at {}", names.gateway(*gateway))),
        EventKind::Neighbour {
            host,
            holder: Holder::Gateway(gateway),
            ..
        } => {
            let (host, gateway) = (names.host(*host), names.gateway(*gateway));
            Some(format!("{host} turns to {gateway}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
