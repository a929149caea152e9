//! Hosts and switches point at the gateway that owns the address.
//!
//! Ownership that the hosts do not know of carries no traffic (F39, R5.5). Where one gateway alone
//! answers, each host's neighbour entry for that address, and the switch's for the virtual MAC,
//! must point at it within `within` of whatever made them disagree. No entry is no disagreement.
//! Where the switch knows a virtual MAC a host's entry must be that, and no gateway's own station.
//! Armed once an entry and a sole owner were there together.

use core::time::Duration;
use std::collections::BTreeMap;

use steadfast_core::Instant;

use super::{Lag, Oracle, Report, Scene, Tally};
use crate::ids::{HostId, SegmentId};
use crate::picture::{Ownership, Picture};
use crate::trace::Holder;

/// Watches who believes what.
#[derive(Clone, Debug)]
pub struct VipOwnerAgrees {
    scope: Option<SegmentId>,
    within: Duration,
    seen: Option<u64>,
    wrong: BTreeMap<Believer, Lag>,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Believer {
    Host(HostId, u16),
    Switch(SegmentId),
}

impl VipOwnerAgrees {
    /// On one segment or on all; a belief may be wrong for `within`.
    pub const fn new(scope: Option<SegmentId>, within: Duration) -> Self {
        Self {
            scope,
            within,
            seen: None,
            wrong: BTreeMap::new(),
            tally: Tally::new(),
        }
    }

    fn look(&mut self, picture: &Picture) {
        self.seen = Some(picture.version());
        let hosts = picture.neighbours().filter_map(|(host, address, holder)| {
            let segment = picture.segment_of(host)?;
            let owner = picture.ownership(segment, address);
            Some((segment, Believer::Host(host, address), owner, holder))
        });
        let switches = picture.served().map(|segment| {
            let owner = picture
                .sole_owner(segment)
                .map_or(Ownership::Nobody, Ownership::Sole);
            (
                segment,
                Believer::Switch(segment),
                owner,
                picture.switch_port(segment),
            )
        });
        let mut wrong = BTreeMap::new();
        for (segment, believer, owner, holder) in hosts.chain(switches) {
            let Ownership::Sole(owner) = owner else {
                continue;
            };
            if self.scope.is_some_and(|scope| scope != segment) || holder == Holder::Nobody {
                continue;
            }
            self.tally.arm();
            // Where addresses have a station of their own, no gateway's own one is right (F40).
            let named = picture.names().segments.get(segment.index());
            let shared = named.is_some_and(|it| it.virtual_mac)
                || picture.switch_port(segment) != Holder::Nobody;
            let own = matches!(believer, Believer::Host(..)) && shared;
            if own || holder != Holder::Gateway(owner) {
                let known = self.wrong.remove(&believer);
                wrong.insert(believer, known.unwrap_or(Lag::new(self.within)));
            }
        }
        self.wrong = wrong;
    }
}

impl Oracle for VipOwnerAgrees {
    fn hold(&mut self, from: Instant, to: Instant, scene: &Scene<'_>) {
        if self.seen != Some(scene.picture.version()) {
            self.look(scene.picture);
        }
        for (believer, lag) in &mut self.wrong {
            if let Some((from, to)) = lag.hold(true, from, to) {
                self.tally
                    .wrong(from, to, || text(scene.picture, *believer));
            }
        }
    }

    fn finish(&mut self, _end: Instant, _scene: &Scene<'_>) -> Report {
        self.tally.report(String::new())
    }
}

fn text(picture: &Picture, believer: Believer) -> String {
    let names = picture.names();
    match believer {
        Believer::Host(host, address) => format!(
            "{} does not point at the owner of virtual address {address}",
            names.host(host)
        ),
        Believer::Switch(segment) => {
            format!(
                "the switch of {} does not point at the owner",
                names.segment(segment)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{A, B, CLIENT, LAN, Tape};
    use super::super::{Finding, Verdict};
    use crate::trace::{EventKind, Holder};

    fn judged(tape: &Tape) -> Finding {
        tape.finding(
            "vip_owner_agrees",
            "oracle = \"vip_owner_agrees\"\nwithin = \"100ms\"",
        )
    }

    fn believes(holder: Holder) -> EventKind {
        EventKind::Neighbour {
            host: CLIENT,
            address: 0,
            holder,
        }
    }

    /// The client follows the owner within the bound.
    #[test]
    fn vip_owner_agrees_after_announcement_passes() {
        let mut tape = Tape::running(A);
        tape.event(believes(Holder::Gateway(A)));
        tape.at(1000).owns(A, false).owns(B, true);
        tape.at(1100).event(believes(Holder::Gateway(B)));
        let finding = judged(&tape);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Pass, true));
    }

    /// A client that goes on sending to the old owner is cut off.
    #[test]
    fn vip_owner_agrees_stale_entry_fails() {
        let mut tape = Tape::running(A);
        tape.event(believes(Holder::Gateway(A)));
        tape.at(1000).owns(A, false).owns(B, true);
        tape.at(1101).event(believes(Holder::Gateway(B)));
        let finding = judged(&tape);
        assert_eq!(finding.verdict, Verdict::Fail);
        let violation = finding.first_violation.unwrap();
        assert_eq!(violation.from.as_nanos(), 1_100_000_000);
        assert_eq!(
            violation.text,
            "client does not point at the owner of virtual address 0"
        );
    }

    /// A thief's machine in the cache is as wrong as the other gateway.
    #[test]
    fn vip_owner_agrees_thief_fails() {
        let mut tape = Tape::running(A);
        tape.event(believes(Holder::Gateway(A)));
        tape.at(1000).event(believes(Holder::Other));
        assert_eq!(judged(&tape).verdict, Verdict::Fail);
    }

    /// A switch that keeps the virtual MAC at the old port swallows everything.
    #[test]
    fn vip_owner_agrees_switch_fails() {
        let mut tape = Tape::running(A);
        let port = EventKind::SwitchPort {
            segment: LAN,
            holder: Holder::Gateway(A),
        };
        tape.event(port).at(1000).owns(A, false).owns(B, true);
        assert_eq!(judged(&tape).verdict, Verdict::Fail);
    }

    /// With a virtual MAC an entry of the owner's own station strands the host at the next owner.
    #[test]
    fn vip_owner_agrees_own_station_fails() {
        for (shared, verdict) in [(false, Verdict::Pass), (true, Verdict::Fail)] {
            let mut tape = Tape::running(A);
            if shared {
                tape.event(EventKind::SwitchPort {
                    segment: LAN,
                    holder: Holder::Gateway(A),
                });
            }
            tape.event(believes(Holder::Gateway(A))).at(1000);
            assert_eq!(judged(&tape).verdict, verdict);
        }
    }

    /// A host that forgot has nothing wrong; nobody having asked proves nothing.
    #[test]
    fn vip_owner_agrees_without_entries_is_unknown() {
        let mut tape = Tape::running(A);
        tape.event(believes(Holder::Nobody));
        let finding = judged(&tape);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Unknown, false));
    }
}
