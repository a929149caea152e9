//! What a daemon holds stays bounded: what its sockets have not been read of, and its memory (F48).
//!
//! A world looks at every step and at the end of the run, if a story asks. The first look in a
//! daemon's life is what the later ones are measured by; what is unread counts at each later one.
//! So a socket that nobody reads shows however long ago it filled up, and one that is read shows
//! nothing. Armed once a watched daemon was looked at a second time in the window.
//!
//! The limit: between two looks it is not seen what was let go again. A world without processes
//! knows no memory, and there only what is unread is judged; the evidence says so.

use std::collections::BTreeMap;

use steadfast_core::{Instant, NodeId};

use super::{Oracle, Report, Scene, Tally};
use crate::trace::{Event, EventKind, ProcessState};

/// Watches what daemons hold.
#[derive(Clone, Debug)]
pub struct Bounded {
    scope: Option<NodeId>,
    /// Bytes.
    unread_max: u64,
    /// Bytes.
    grown_max: u64,
    /// The first look in each daemon's life.
    first: BTreeMap<NodeId, Option<u64>>,
    most_unread: u64,
    most_grown: Option<u64>,
    tally: Tally,
}

impl Bounded {
    /// On one gateway or on all: so many bytes may be unread, and memory may have grown by so many.
    pub const fn new(scope: Option<NodeId>, unread_max: u64, grown_max: u64) -> Self {
        Self {
            scope,
            unread_max,
            grown_max,
            first: BTreeMap::new(),
            most_unread: 0,
            most_grown: None,
            tally: Tally::new(),
        }
    }

    fn look(&mut self, at: Instant, look: (NodeId, u64, Option<u64>), scene: &Scene<'_>) {
        let (gateway, unread, resident) = look;
        let Some(before) = self.first.get(&gateway).copied() else {
            self.first.insert(gateway, resident);
            return;
        };
        if !scene.window.contains(at) {
            return;
        }
        self.tally.arm();
        self.most_unread = self.most_unread.max(unread);
        let name = || scene.picture.names().gateway(gateway);
        if unread > self.unread_max {
            let max = self.unread_max;
            let text = || format!("{} has {unread} bytes unread, allowed are {max}", name());
            self.tally.wrong(at, at, text);
        }
        let (Some(before), Some(now)) = (before, resident) else {
            return;
        };
        let grown = now.saturating_sub(before);
        self.most_grown = self.most_grown.max(Some(grown));
        if grown > self.grown_max {
            let max = self.grown_max;
            let text = || format!("{} grew by {grown} bytes, allowed are {max}", name());
            self.tally.wrong(at, at, text);
        }
    }
}

impl Oracle for Bounded {
    fn observe(&mut self, event: &Event, scene: &Scene<'_>) {
        match event.kind {
            EventKind::Holds {
                gateway,
                unread,
                resident,
            } if self.scope.is_none_or(|scope| scope == gateway) => {
                self.look(event.at, (gateway, unread, resident), scene);
            }
            EventKind::Process { gateway, state }
                if !matches!(state, ProcessState::Running | ProcessState::Stopped) =>
            {
                self.first.remove(&gateway);
            }
            _ => {}
        }
    }

    fn finish(&mut self, _end: Instant, _scene: &Scene<'_>) -> Report {
        let grown = self.most_grown.map_or_else(
            || "memory not seen in this world".to_owned(),
            |grown| format!("memory grown by {grown}"),
        );
        let unread = self.most_unread;
        self.tally
            .report(format!("at most {unread} bytes unread, {grown}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::testing::{A, B, Tape};
    use super::*;

    const FEW: &str = "oracle = \"bounded\"\nunread_max = 4096\ngrown_max = 65536";

    fn holds(tape: &mut Tape, gateway: NodeId, unread: u64, resident: Option<u64>) {
        tape.event(EventKind::Holds {
            gateway,
            unread,
            resident,
        });
    }

    fn verdict(tape: &Tape, expect: &str) -> (Verdict, bool) {
        let finding = tape.finding("bounded", expect);
        (finding.verdict, finding.armed)
    }

    /// What is read and let go again is little; what nobody saw proves nothing.
    #[test]
    fn bounded_daemon_that_keeps_up_passes() {
        let mut tape = Tape::running(A);
        assert_eq!(verdict(&tape, FEW), (Verdict::Unknown, false));
        holds(tape.at(1000), A, 100, Some(8 << 20));
        assert_eq!(verdict(&tape, FEW), (Verdict::Unknown, false), "one look");
        holds(tape.at(2000), A, 4096, Some((8 << 20) + 65_536));
        assert_eq!(verdict(&tape, FEW), (Verdict::Pass, true));
        let evidence = tape.finding("bounded", FEW).evidence;
        assert_eq!(evidence, "at most 4096 bytes unread, memory grown by 65536");
    }

    /// A socket that nobody reads fails at its next look, in a world that sees no memory, too.
    #[test]
    fn bounded_unread_socket_fails() {
        let mut tape = Tape::running(A);
        holds(tape.at(1000), B, 0, None);
        holds(tape.at(2000), B, 4097, None);
        assert_eq!(verdict(&tape, FEW), (Verdict::Fail, true));
        let finding = tape.finding("bounded", FEW);
        let text = finding.first_violation.map(|it| it.text);
        assert_eq!(
            text.as_deref(),
            Some("b has 4097 bytes unread, allowed are 4096")
        );
        assert!(finding.evidence.contains("memory not seen"));
        let other = format!("{FEW}\nscope = \"a\"");
        assert_eq!(verdict(&tape, &other), (Verdict::Unknown, false));
    }

    /// Memory is measured by the first look of a life: a daemon that began again starts anew.
    #[test]
    fn bounded_growth_counts_within_a_life() {
        let mut tape = Tape::running(A);
        holds(tape.at(500), A, 0, Some(1 << 20));
        let mut again = Tape::running(A);
        holds(again.at(500), A, 0, Some(1 << 20));
        holds(tape.at(2000), A, 0, Some(2 << 20));
        assert_eq!(verdict(&tape, FEW), (Verdict::Fail, true));
        for state in [ProcessState::Killed, ProcessState::Running] {
            again
                .at(1000)
                .event(EventKind::Process { gateway: A, state });
        }
        holds(again.at(1500), A, 0, Some(2 << 20));
        holds(again.at(2000), A, 0, Some(2 << 20));
        assert_eq!(verdict(&again, FEW), (Verdict::Pass, true));
    }
}
