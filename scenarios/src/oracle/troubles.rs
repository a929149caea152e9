//! A node finds out what is wrong around it, and says so with a cure (R14.1).
//!
//! What its status calls a trouble is a node's own word, and that is the matter here: in a window
//! of its own, a trouble must be found within the time allowed by the gateway of the scope, or by
//! any; with `never`, by none: a product that cries wolf is not read; with `only`, beside no other.
//! One that was found before the window and is not over counts as found when it begins. Armed once
//! the window has begun.
//!
//! The limits: the words beside the kind are not looked at; and a status is read once a second.

use core::time::Duration;
use std::collections::BTreeSet;

use steadfast_core::diagnosis::TroubleKind;
use steadfast_core::{Instant, NodeId};

use super::{Oracle, Report, Scene, Tally};
use crate::format::TroubleName;
use crate::trace::{Event, EventKind, PowerState, ProcessState};

/// Waits for one trouble, or sees that it never comes.
#[derive(Clone, Debug)]
pub struct Troubles {
    scope: Option<NodeId>,
    trouble: Option<TroubleName>,
    within: Option<Duration>,
    never: bool,
    only: bool,
    begun: Option<Instant>,
    first: Option<Instant>,
    open: BTreeSet<(NodeId, TroubleKind)>,
    tally: Tally,
}

impl Troubles {
    /// One gateway's trouble of this kind (of any, if none is named), or anybody's: at the latest
    /// so long after the window's beginning, or nobody's.
    pub const fn new(
        scope: Option<NodeId>,
        trouble: Option<TroubleName>,
        within: Option<Duration>,
        (never, only): (bool, bool),
    ) -> Self {
        Self {
            scope,
            trouble,
            within,
            never,
            only,
            begun: None,
            first: None,
            open: BTreeSet::new(),
            tally: Tally::new(),
        }
    }

    fn name(&self) -> String {
        let named = self.trouble.map(|trouble| trouble.to_string());
        named.unwrap_or_else(|| "a trouble".to_owned())
    }

    fn found(&mut self, at: Instant, gateway: NodeId, scene: &Scene<'_>) {
        self.first.get_or_insert(at);
        if self.never {
            let (who, name) = (scene.picture.names().gateway(gateway), self.name());
            let text = || format!("{who} found {name}, and there is none");
            self.tally.wrong(at, at, text);
        }
    }
}

impl Oracle for Troubles {
    fn hold(&mut self, from: Instant, _to: Instant, scene: &Scene<'_>) {
        if self.begun.is_none() {
            self.begun = Some(from);
            if let Some((gateway, _)) = self.open.first().copied() {
                self.found(from, gateway, scene);
            }
        }
        self.tally.arm();
    }

    fn observe(&mut self, event: &Event, scene: &Scene<'_>) {
        if let Some(ended) = ended(&event.kind) {
            self.open.retain(|(gateway, _)| *gateway != ended);
        }
        let EventKind::Trouble {
            gateway,
            kind,
            found,
            ..
        } = &event.kind
        else {
            return;
        };
        let named = self.trouble.is_none_or(|trouble| trouble.0 == *kind);
        let scoped = self.scope.is_none_or(|scope| scope == *gateway);
        if scoped && !named && self.only && *found && scene.window.contains(event.at) {
            let who = scene.picture.names().gateway(*gateway);
            let (name, other) = (self.name(), TroubleName(*kind));
            let text = || format!("{who} found {other} where {name} alone is wrong");
            self.tally.wrong(event.at, event.at, text);
        }
        if !(named && scoped) {
            return;
        }
        if !found {
            self.open.remove(&(*gateway, *kind));
            return;
        }
        self.open.insert((*gateway, *kind));
        if scene.window.contains(event.at) {
            self.found(event.at, *gateway, scene);
        }
    }

    fn finish(&mut self, end: Instant, scene: &Scene<'_>) -> Report {
        let name = self.name();
        let whose = self.scope.map(|id| scene.picture.names().gateway(id));
        let missed = whose.map_or_else(
            || format!("nobody found {name}"),
            |who| format!("{who} did not find {name}"),
        );
        let late = self.begun.zip(self.within);
        let late = late.map(|(begun, within)| begun.after(within));
        let evidence = match self.first {
            None if self.never => format!("nobody found {name}"),
            None => {
                self.tally.wrong(end, end, || missed);
                String::new()
            }
            Some(first) => {
                if let Some(late) = late.filter(|late| first > *late && !self.never) {
                    let text = || format!("{name} was found {:?} late", first.since(late));
                    self.tally.wrong(late, first, text);
                }
                let after = self.begun.map(|begun| first.since(begun));
                format!("{name} found after {:?}", after.unwrap_or_default())
            }
        };
        self.tally.report(evidence)
    }
}

/// Whose daemon finds nothing any more.
const fn ended(kind: &EventKind) -> Option<NodeId> {
    match kind {
        EventKind::Process {
            gateway,
            state: ProcessState::Killed,
        }
        | EventKind::Power {
            gateway,
            state: PowerState::Off,
        } => Some(*gateway),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::NodeId;
    use steadfast_core::diagnosis::TroubleKind;

    use super::super::Verdict;
    use super::super::testing::{A, B, Tape};
    use crate::trace::{EventKind, ProcessState};

    const FOUND: &str =
        "oracle = \"troubles\"\ntrouble = \"one_way_there\"\nafter = \"1s\"\nwithin = \"400ms\"";
    const NEVER: &str =
        "oracle = \"troubles\"\ntrouble = \"one_way_there\"\nafter = \"1s\"\nnever = true";

    fn tell(tape: &mut Tape, at: u64, gateway: NodeId, kind: TroubleKind, found: bool) {
        let problem = String::new();
        tape.at(at).event(EventKind::Trouble {
            gateway,
            kind,
            problem,
            found,
        });
    }

    /// Found in time, or before and not over.
    #[test]
    fn troubles_found_in_time_pass() {
        let mut tape = Tape::running(A);
        tell(&mut tape, 1300, B, TroubleKind::OneWayThere, true);
        let finding = tape.finding("troubles", FOUND);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Pass, true));
        assert_eq!(finding.evidence, "one_way_there found after 300ms");
        let mut tape = Tape::running(A);
        tell(&mut tape, 900, B, TroubleKind::OneWayThere, true);
        tape.at(1100);
        assert_eq!(tape.finding("troubles", FOUND).verdict, Verdict::Pass);
        assert_eq!(tape.finding("troubles", NEVER).verdict, Verdict::Fail);
        let any = "oracle = \"troubles\"\nafter = \"1s\"\nnever = true";
        assert_eq!(tape.finding("troubles", any).verdict, Verdict::Fail);
    }

    /// What a daemon found that has ended is found no more.
    #[test]
    fn troubles_end_with_their_daemon() {
        let mut tape = Tape::running(A);
        tell(&mut tape, 800, B, TroubleKind::OneWayThere, true);
        let (gateway, state) = (B, ProcessState::Killed);
        tape.at(900).event(EventKind::Process { gateway, state });
        tape.at(1100);
        assert_eq!(tape.finding("troubles", FOUND).verdict, Verdict::Fail);
    }

    /// What is found beside what is wrong misleads.
    #[test]
    fn troubles_found_beside_fail_where_one_alone_is_wrong() {
        let only = format!("{FOUND}\nonly = true");
        let mut tape = Tape::running(A);
        tell(&mut tape, 1300, B, TroubleKind::OneWayThere, true);
        assert_eq!(tape.finding("troubles", &only).verdict, Verdict::Pass);
        tell(&mut tape, 1350, B, TroubleKind::PortSilent, true);
        assert_eq!(tape.finding("troubles", FOUND).verdict, Verdict::Pass);
        assert_eq!(tape.finding("troubles", &only).verdict, Verdict::Fail);
    }

    /// Another kind, another's, too late, or over before: it was not found.
    #[test]
    fn troubles_that_are_not_found_fail() {
        let mut tape = Tape::running(A);
        tell(&mut tape, 800, B, TroubleKind::OneWayThere, true);
        tell(&mut tape, 900, B, TroubleKind::OneWayThere, false);
        tell(&mut tape, 1100, B, TroubleKind::PortSilent, true);
        assert_eq!(tape.finding("troubles", FOUND).verdict, Verdict::Fail);
        let quiet = tape.finding("troubles", NEVER);
        assert_eq!((quiet.verdict, quiet.armed), (Verdict::Pass, true));
        let whose = format!("{FOUND}\nscope = \"a\"");
        tell(&mut tape, 1200, B, TroubleKind::OneWayThere, true);
        assert_eq!(tape.finding("troubles", &whose).verdict, Verdict::Fail);
        let mut tape = Tape::running(A);
        tell(&mut tape, 1401, B, TroubleKind::OneWayThere, true);
        assert_eq!(tape.finding("troubles", FOUND).verdict, Verdict::Fail);
    }
}
