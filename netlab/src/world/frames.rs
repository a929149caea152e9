//! Steps that wait for a frame: the world is ready before it comes, and strikes with it.
//!
//! The thread that plays hears of a frame some tenths of a millisecond late, and a hand-over takes
//! hardly longer. So a snare is laid before the frame can come
//! ([`Wires::lay`](crate::wires::Wires::lay)), and the step is told as of the frame.

use core::time::Duration;
use std::io;

use steadfast_core::Instant;
use steadfast_scenarios::Due;
use steadfast_scenarios::trace::{EventKind, FrameKind};

use super::{Agent, Eyes, World};
use crate::error::LabError;

/// How long before a step whose frame it awaits a snare is laid: that takes a transaction of the
/// packet filter, some milliseconds on a busy machine.
const LAID_BEFORE: Duration = Duration::from_millis(50);

impl<A: Agent + ?Sized, E: Eyes> World<'_, A, E> {
    /// Lays a snare for each step whose frame may come soon.
    pub(super) fn lay_snares(&mut self, now: Instant) -> Result<(), LabError> {
        let soon = now.after(LAID_BEFORE);
        let expectant: Vec<_> = self
            .schedule
            .expectant(soon, self.judge.picture())
            .collect();
        for (index, kind, subject) in expectant {
            if self.tried.insert(index) {
                let verb = &self.plan.steps[index].verb;
                if self.lab.lay(index, subject, verb, kind)? {
                    self.laid.insert(index, subject);
                }
            }
        }
        Ok(())
    }

    /// Whether the kernel struck with the frame that this step waited for. It must have struck whom
    /// the step strikes.
    pub(super) fn has_struck(&mut self, due: &Due, now: Instant) -> Result<bool, LabError> {
        match self.laid.get(&due.index) {
            None => Ok(false),
            Some(laid) if due.subject == Some(*laid) => self.lab.struck(due.index, now),
            Some(_) => Err(unlike("the frame struck another box than its step")),
        }
    }

    /// At the end of a run no box may be cut that nobody was told of.
    pub(super) fn is_nobody_cut(&mut self) -> Result<(), LabError> {
        if self.lab.sprung_in_vain()? {
            return Err(unlike("a frame struck a box, and its step never came"));
        }
        Ok(())
    }

    /// Steps may wait for frames. A frame that springs a snare before its step may run would leave
    /// a box without wires and nobody told.
    pub(super) fn await_frames(&mut self) -> Result<(), LabError> {
        for event in self.eyes.early() {
            let EventKind::HandoverFrame { kind, from, .. } = event.kind else {
                continue;
            };
            if self.schedule.wants_frames() {
                let picture = self.judge.picture();
                self.schedule.frame_seen(event.at, kind, from, picture);
            }
            let early = |index: &usize| self.schedule.expects(*index, kind);
            if self.laid.keys().any(early) {
                return Err(unlike(
                    "a frame came before the step that was to wait for it",
                ));
            }
        }
        Ok(())
    }
}

/// The run was not the story that was to be played.
fn unlike(what: &str) -> LabError {
    LabError::System {
        doing: "strike with a frame".to_owned(),
        source: io::Error::other(what),
    }
}

/// Whether instruments tell of every frame of this kind: those of a hand-over.
pub(super) const fn told_of(kind: FrameKind) -> bool {
    match kind {
        FrameKind::Claim
        | FrameKind::Decline
        | FrameKind::Offer
        | FrameKind::Prepare
        | FrameKind::Ready
        | FrameKind::Released => true,
        FrameKind::Advert
        | FrameKind::Answer
        | FrameKind::Arp
        | FrameKind::LetGo
        | FrameKind::Ndisc
        | FrameKind::Probe
        | FrameKind::Request
        | FrameKind::Vrrp => false,
    }
}
