//! What a step that waits for a frame does in the very instant of that frame.
//!
//! A step of the world's thread comes some tenths of a millisecond after the frame it waited for,
//! and a hand-over is over by then. So the kernel strikes first: a [`Snare`] is laid before the
//! frame can come, at every wire of the box that is to be struck. The frame itself springs it, by
//! an element in a set that all its rules share, and from that frame on nothing passes. When the
//! step was carried out it is taken up.
//!
//! As in the simulated worlds a box that dies takes the frame with it, for its ports are dark
//! before the frame has reached the switch; of a daemon's process the frame still leaves, and only
//! what that process says and is told is lost.
//! Limit: a process that is to stand still finds in its sockets later, in the simulated worlds,
//! what came meanwhile; what a snare took between the frame and the signal it does not.

use core::time::Duration;

use steadfast_core::Instant;
use steadfast_scenarios::Subject;
use steadfast_scenarios::format::Verb;
use steadfast_scenarios::trace::FrameKind;

use super::verbs::{hooks, matching, of_ours};
use super::{Way, Wires};
use crate::error::LabError;
use crate::nft::{Hook, Rule, Test, Then};

/// Most snares at one time; steps beyond that strike after their frame, as without any.
const SNARES_MAX: usize = 16;
/// How long a sprung snare stays when its step was carried out: signals are on their way.
const STAYS: Duration = Duration::from_millis(5);

/// One that is laid.
#[derive(Debug)]
pub(super) struct Snare {
    step: usize,
    table: String,
    until: Option<Instant>,
}

/// Whom a step strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Struck {
    /// All that a box says and hears.
    Box,
    /// What its daemon says and hears.
    Daemon,
}

/// Whom this verb strikes at once, if it does.
const fn struck(verb: &Verb) -> Option<Struck> {
    match verb {
        Verb::PowerOff | Verb::Freeze { .. } | Verb::Reboot { clean: false } => Some(Struck::Box),
        Verb::Kill | Verb::Stop | Verb::Stall { .. } => Some(Struck::Daemon),
        _ => None,
    }
}

impl Wires {
    /// Lays a snare for a step that strikes `subject` as a frame of that kind leaves or reaches it.
    /// Gives back whether there is one: not for verbs that strike no gateway.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn lay(
        &mut self,
        step: usize,
        subject: Subject,
        verb: &Verb,
        kind: FrameKind,
    ) -> Result<bool, LabError> {
        let (Some(struck), Subject::Gateway(id)) = (struck(verb), subject) else {
            return Ok(false);
        };
        if self.snares.len() >= SNARES_MAX {
            return Ok(false);
        }
        let mut rules = Vec::new();
        for place in self.of_gateway(id) {
            for (hook, _) in hooks(Way::Both) {
                rules.extend(self.snare_rules(place, hook, struck, kind));
            }
        }
        let table = format!("snare-{step}");
        self.nft.write(&table, &rules)?;
        self.snares.push(Snare {
            step,
            table,
            until: None,
        });
        Ok(true)
    }

    /// The step was carried out: its snare stays until its signals have come. Whether its frame had
    /// sprung it: one that came past none of the box's wires did not.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn struck(&mut self, step: usize, now: Instant) -> Result<bool, LabError> {
        let Some(snare) = self.snares.iter_mut().find(|it| it.step == step) else {
            return Ok(false);
        };
        snare.until = Some(now.after(STAYS));
        self.nft.spring(&snare.table)
    }

    /// Whether a snare was sprung whose step never came: a box is cut, and nobody was told.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn sprung_in_vain(&mut self) -> Result<bool, LabError> {
        let mut sprung = false;
        for snare in self.snares.iter().filter(|it| it.until.is_none()) {
            sprung |= self.nft.spring(&snare.table)?;
        }
        Ok(sprung)
    }

    pub(super) fn take_up(&mut self, now: Instant) -> Result<(), LabError> {
        let over = |snare: &Snare| snare.until.is_some_and(|until| until <= now);
        for snare in self.snares.extract_if(.., |snare| over(snare)) {
            self.nft.write(&snare.table, &[])?;
        }
        Ok(())
    }

    /// When one is to be taken up.
    pub(super) fn snared_until(&self) -> impl Iterator<Item = Instant> {
        self.snares.iter().filter_map(|snare| snare.until)
    }

    /// What a sprung one takes, and what springs it.
    fn snare_rules(&self, place: usize, hook: Hook, struck: Struck, kind: FrameKind) -> Vec<Rule> {
        let mut taken = vec![Test::Sprung];
        if struck == Struck::Daemon {
            taken.push(of_ours());
        }
        // A process is struck after its frame has left, and before one has come to it.
        let then = if struck == Struck::Daemon && hook == Hook::In {
            Then::Spring
        } else {
            Then::SpringAndDrop
        };
        let rule = |tests, then| Rule {
            then,
            ..self.rule(place, hook, tests)
        };
        let springs = rule(matching(Some(kind), None), then);
        let taken = rule(taken, Then::Drop);
        if then == Then::Spring {
            // Copies of its last word leave on every path.
            let passes = rule(matching(Some(kind), None), Then::Accept);
            return vec![springs, passes, taken];
        }
        vec![taken, springs]
    }
}
