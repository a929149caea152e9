//! What follows the role by hooks follows the owner, and hooks run as they are promised to.
//!
//! A hook points something outside of the cluster at its gateway: the address of a cloud, a dialled
//! uplink. Where one gateway alone owns everything, the pointer must be there, a while after at the
//! latest; a slow run of an earlier owner may point it away, and must not have the last word (F03).
//! Besides, hooks begin in the order of the file when a node serves and in the opposite order when
//! it does not (R1.5), and none is told that its node serves when that node answers for nothing.
//!
//! Armed once a run has pointed anything, or should have. Limit: with nobody, or two, to point at,
//! the pointer may be anywhere; and of a gateway that nobody hears it is not known what it answers
//! for.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::hooks::Level;
use steadfast_core::{Epoch, Instant, NodeId};

use super::{Lag, Oracle, Report, Scene, Tally};
use crate::picture::Picture;
use crate::trace::{Event, EventKind, HookPhase, ProcessState};

/// How long ago a node may have served that tells a hook so: what a word's age and a program's
/// start may take together (`steadfast_core::hooks::FRESH`, half a second), and a little more.
const SERVED_LATELY: Duration = Duration::from_secs(1);

/// Watches hooks.
#[derive(Clone, Debug)]
pub struct HooksFollow {
    /// In the order in which they run when a node serves.
    hooks: Vec<String>,
    /// Of those that are watched.
    pointers: BTreeMap<String, Pointer>,
    passes: BTreeMap<NodeId, Pass>,
    /// Who last owned everything.
    owner: Option<NodeId>,
    tally: Tally,
}

/// Where a hook has pointed last.
#[derive(Clone, Debug)]
struct Pointer {
    at: Option<NodeId>,
    wrong: Lag,
}

/// What has begun on a gateway for what it is.
#[derive(Clone, Debug)]
struct Pass {
    of: (Level, Epoch),
    begun: BTreeSet<usize>,
}

impl HooksFollow {
    /// One of these hooks, or all; what one points may be wrong for `within`.
    pub fn new(scope: Option<&str>, hooks: Vec<String>, within: Duration) -> Self {
        let watched = hooks
            .iter()
            .filter(|hook| scope.is_none_or(|it| it == *hook));
        let nowhere = |hook: &String| {
            let wrong = Lag::new(within);
            (hook.clone(), Pointer { at: None, wrong })
        };
        Self {
            pointers: watched.map(nowhere).collect(),
            hooks,
            passes: BTreeMap::new(),
            owner: None,
            tally: Tally::new(),
        }
    }

    /// A run that was told this begins; the hook that should have begun before it.
    fn began(&mut self, gateway: NodeId, hook: &str, of: (Level, Epoch)) -> Option<String> {
        let place = self.hooks.iter().position(|known| known == hook)?;
        let pass = self.passes.entry(gateway).or_insert_with(|| Pass::new(of));
        if pass.of != of {
            *pass = Pass::new(of);
        }
        let mut before = match of.0 {
            Level::Active => 0..place,
            Level::Standby => place + 1..self.hooks.len(),
        };
        let early = before.find(|before| !pass.begun.contains(before));
        pass.begun.insert(place);
        self.hooks.get(early?).cloned()
    }

    fn ended(&mut self, gateway: NodeId, hook: &str, level: Level) {
        let Some(pointer) = self.pointers.get_mut(hook) else {
            return;
        };
        match level {
            Level::Active => {
                pointer.at = Some(gateway);
                self.tally.arm();
            }
            Level::Standby => {
                pointer.at.take_if(|at| *at == gateway);
            }
        }
    }
}

impl Pass {
    const fn new(of: (Level, Epoch)) -> Self {
        let begun = BTreeSet::new();
        Self { of, begun }
    }
}

impl Oracle for HooksFollow {
    fn observe(&mut self, event: &Event, scene: &Scene<'_>) {
        if let EventKind::Process {
            gateway,
            state: ProcessState::Killed,
        } = &event.kind
        {
            self.passes.remove(gateway);
        }
        let EventKind::Hook {
            gateway,
            hook,
            level,
            epoch,
            again,
            phase,
        } = &event.kind
        else {
            return;
        };
        match phase {
            HookPhase::Began => {
                let early = self.began(*gateway, hook, (*level, *epoch));
                let early = early.filter(|_| !again && scene.window.contains(event.at));
                let name = scene.picture.names().gateway(*gateway);
                if let Some(before) = early {
                    let text = || format!("on {name} the hook {hook} began before {before}");
                    self.tally.wrong(event.at, event.at, text);
                }
                if *level == Level::Active && is_none(scene.picture, *gateway, event.at) {
                    let text = || format!("{name} serves nothing and told its hook {hook} else");
                    self.tally.wrong(event.at, event.at, text);
                }
            }
            HookPhase::Failed => {}
            HookPhase::Done => self.ended(*gateway, hook, *level),
        }
    }

    fn hold(&mut self, from: Instant, to: Instant, scene: &Scene<'_>) {
        // A moment without an owner is no agreement; another owner has its own time to be followed.
        let Some(owner) = owner(scene.picture) else {
            return;
        };
        let is_new = self.owner.replace(owner) != Some(owner);
        for (hook, pointer) in &mut self.pointers {
            if is_new {
                pointer.wrong.hold(false, from, to);
            }
            let wrong = pointer.at != Some(owner);
            if let Some((from, to)) = pointer.wrong.hold(wrong, from, to) {
                let names = scene.picture.names();
                let text = || match pointer.at {
                    Some(at) => format!("{hook} points at {}, not at the owner", names.gateway(at)),
                    None => format!("{hook} points at nobody, not at the owner"),
                };
                self.tally.wrong(from, to, text);
            }
        }
    }

    fn finish(&mut self, _end: Instant, scene: &Scene<'_>) -> Report {
        let names = scene.picture.names();
        let last = self.pointers.iter().map(|(hook, pointer)| {
            let at = pointer.at.map(|at| names.gateway(at).to_string());
            format!("{hook} at {}", at.as_deref().unwrap_or("nobody"))
        });
        self.tally.report(last.collect::<Vec<_>>().join(", "))
    }
}

/// The gateway that alone owns every segment.
fn owner(picture: &Picture) -> Option<NodeId> {
    let mut owners = picture.served().map(|segment| picture.sole_owner(segment));
    let first = owners.next()??;
    owners.all(|owner| owner == Some(first)).then_some(first)
}

/// Whether a gateway is heard and has not answered for anything lately.
fn is_none(picture: &Picture, gateway: NodeId, at: Instant) -> bool {
    let mut heard = picture
        .served()
        .filter(|segment| picture.reachable(*segment, gateway))
        .peekable();
    let lately = |at: Instant, segment| {
        let stopped = picture.stopped_at(segment, gateway);
        picture.answer_count(segment, gateway) > 0
            || stopped.is_some_and(|stopped| at.since(stopped) < SERVED_LATELY)
    };
    heard.peek().is_some() && !heard.any(|segment| lately(at, segment))
}

#[cfg(test)]
mod tests;
