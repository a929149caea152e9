//! One function a fault: its formula in the doc, its reason for people.

use std::time::Duration;

use steadfast_core::config::witness::Asks;
use steadfast_core::config::{AllPacified, Detection, Isolation, OnFailure, PortConfig};

use super::{Bound, CARRIER, LEASE_EARLY, Row, SILENT, TAKE, View};
use crate::config::quantity::show;

const MENDED: &str = "it is mended";

impl View<'_> {
    pub(super) fn rows(&self) -> Vec<Row> {
        if self.config.is_witness() {
            return vec![self.witness_lost()];
        }
        if self.config.peers.is_empty() {
            return vec![row(
                "any fault of this node",
                (Bound::Until(MENDED), Bound::None),
                "no peer is listed".to_owned(),
                "D14",
            )];
        }
        let mut rows = vec![self.power(), self.freeze(), self.pause()];
        rows.extend([self.killed(), self.stopped()]);
        let served = self.config.ports.iter().filter(|port| port.served());
        rows.extend(served.clone().map(|port| self.port_down(port)));
        rows.extend(served.map(|port| self.segment_silent(port)));
        rows.extend([self.heartbeats_lost(), self.cut(), self.hand_over()]);
        rows.extend([
            self.unfenced(),
            self.dark_unfenced(),
            self.both_dark(),
            self.boot_loop(),
        ]);
        if self.config.witness.is_some() {
            rows.push(self.witness_lost());
        }
        rows
    }

    /// Power: with a cable `C + W(w_carrier) + A`, else `I + S + W(w_silence) + A` (D for I + S by
    /// dead interval). Where the kernel cannot be asked: `D + L + R + A`. Where reception may not
    /// be provable, the isolation policy decides at `D + L`.
    fn power(&self) -> Row {
        let fast = self.config.policy.detection == Detection::Fast;
        let t = &self.config.timing;
        if self.cable && fast && self.armed {
            let time = CARRIER + self.window(t.w_carrier) + TAKE;
            let proof = self.with_proof(time, "the direct cable's carrier tells".into());
            let (time, reason) = self.with_grant(proof);
            return row("power loss", (time, Bound::None), reason, "D7 D8 D18");
        }
        let (time, reason) = self.silent_death();
        row("power loss", (time, Bound::None), reason, "D7 D8")
    }

    /// Freeze with the clock running on: `I + S + W(w_silence) + A`. If it thaws before L ends it
    /// may answer until its daemon has read the claim: at most what is left of L.
    fn freeze(&self) -> Row {
        let (time, mut reason) = self.silent_death();
        let left = self.config.timing.lease.saturating_sub(self.notice());
        let overlap = if self.armed {
            at_most(left)
        } else {
            Bound::None
        };
        if overlap != Bound::None {
            reason.push_str("; a box that thaws within its lease answers until it reads the claim");
        }
        row("box freezes (hang)", (time, overlap), reason, "D7 D8 D15")
    }

    /// A paused machine: as a freeze, but its kernel's clock stands still too, so up to L of
    /// lease is left when it goes on.
    fn pause(&self) -> Row {
        let (time, reason) = self.silent_death();
        let reason = format!("{reason}; a resumed kernel has up to L of lease left");
        let overlap = at_most(self.config.timing.lease);
        row(
            "virtual machine paused, resumed",
            (time, overlap),
            reason,
            "D9 D15",
        )
    }

    fn killed(&self) -> Row {
        let (time, reason) = self.lapse();
        row("daemon killed", (time, Bound::None), reason, "D8 D9")
    }

    fn stopped(&self) -> Row {
        let (time, reason) = self.lapse();
        let reason = format!("{reason}; woken later, the kernel refuses its frames: it stands by");
        row(
            "daemon stopped or hung",
            (time, Bound::None),
            reason,
            "D8 D9 D15",
        )
    }

    /// Carrier lost: `C + I + 2 T + V + A`, a hand-over by consent over the remaining paths; by
    /// the next advertisement at the latest. With no other path: as a silent death.
    fn port_down(&self, port: &PortConfig) -> Row {
        let t = &self.config.timing;
        let fault = format!("{} loses carrier", port.name);
        if !port.watched {
            let reason = "the port is not watched: the role stays".to_owned();
            return row(fault, (Bound::Until(MENDED), Bound::None), reason, "R4.1");
        }
        if !self.other_path(port) {
            let reason = "no other heartbeat path to hand over by: the peers find it silent, and \
                          what they cannot ask must run out (D + L)";
            let time = t.dead_interval + t.lease + t.round + TAKE;
            let (time, reason) = self.with_grant(self.with_proof(time, reason.to_owned()));
            return row(fault, (time, Bound::None), reason, "D7 D12 D14");
        }
        let time = CARRIER + t.interval + t.rtt_bound * 2 + t.offer + TAKE;
        let mut reason = "handed over by consent, on another path".to_owned();
        if self.config.policy.on_failure == OnFailure::Off {
            reason.push_str("; once mended, this node stays off until an operator acts");
        }
        row(fault, (at_most(time), Bound::None), reason, "D10 D18 R4.1")
    }

    /// Silent with carrier: `2.2 s` of asking, and `I` to say so, then as a lost carrier.
    fn segment_silent(&self, port: &PortConfig) -> Row {
        let t = &self.config.timing;
        let fault = format!("{} falls silent, carrier stays", port.name);
        if !self.other_path(port) {
            let (time, _) = self.silent_death();
            if let Some(row) = self.cut_with_witness(&fault) {
                return row;
            }
            let reason = "no other heartbeat path: to the peers this looks like a dead active, \
                          and both sides may serve";
            let overlap = Bound::Until("the segment is whole");
            return row(fault, (time, overlap), reason.to_owned(), "D12 D14");
        }
        let time = SILENT + t.interval * 2 + t.rtt_bound * 2 + t.offer + TAKE;
        let reason = "asked for 2.2 s before it counts; then handed over to a node that hears it";
        row(
            fault,
            (at_most(time), Bound::None),
            reason.to_owned(),
            "D12 D10",
        )
    }

    /// Heartbeats filtered, segments whole: the kernel answers for the address, a veto. Where it
    /// cannot be asked, claimed at D + L while the other serves.
    fn heartbeats_lost(&self) -> Row {
        let fault = "all heartbeats lost, segments whole";
        if self.armed {
            let reason = "the active's kernel still answers for the address: no claim".to_owned();
            return row(fault, (Bound::None, Bound::None), reason, "D8");
        }
        if let Some(row) = self.cut_with_witness(fault) {
            return row;
        }
        let reason = "the peers' kernels cannot be asked: claimed after D + L".to_owned();
        row(
            fault,
            (Bound::None, Bound::Until("they hear each other")),
            reason,
            "D8 D11",
        )
    }

    /// Everything between the nodes is lost: policy (D14).
    fn cut(&self) -> Row {
        let fault = "everything between the nodes lost";
        let t = &self.config.timing;
        if let Some(row) = self.cut_with_witness(fault) {
            return row;
        }
        match self.config.policy.isolation {
            Isolation::Serve => {
                let reason = format!(
                    "both sides serve theirs; healed, one yields within {} (I + S + T)",
                    show(t.interval + t.slack + t.rtt_bound)
                );
                let time = t.dead_interval + t.lease + t.round + TAKE;
                let overlap = Bound::Until("it heals");
                row(fault, (at_most(time), overlap), reason, "D11 D14")
            }
            Isolation::Yield => {
                let reason = "a node that hears nobody gives up; one that hears other stations \
                              serves, so two may if both do";
                let bounds = (Bound::Until("it heals"), Bound::Until("it heals"));
                row(fault, bounds, reason.to_owned(), "D14")
            }
        }
    }

    /// Make before break: T. Old and new forward side by side for `tail`; one alone answers.
    fn hand_over(&self) -> Row {
        let t = &self.config.timing;
        let reason = format!(
            "make before break; the old one forwards for {} more and answers nothing",
            show(t.tail)
        );
        let time = at_most(t.rtt_bound);
        row(
            "hand-over (command, upgrade)",
            (time, Bound::None),
            reason,
            "D10",
        )
    }

    /// Daemon dead and its fence damaged: nothing takes the address from its kernel.
    fn unfenced(&self) -> Row {
        let t = &self.config.timing;
        let reason = format!(
            "no lease ends there; claimed after D + L = {} while the old kernel still answers",
            show(t.dead_interval + t.lease)
        );
        let overlap = Bound::Until("its daemon runs again");
        row(
            "daemon killed, its fence damaged",
            (Bound::None, overlap),
            reason,
            "D9 D11",
        )
    }

    /// A box that last said "fence damaged", or has none, is never found dead by questions alone:
    /// `D + L + R + A`.
    fn dark_unfenced(&self) -> Row {
        let t = &self.config.timing;
        let time = t.dead_interval + t.lease + t.round + TAKE;
        let reason = "its kernel's silence proves nothing then: dead interval + lease decide";
        let (time, reason) = self.with_grant(self.with_proof(time, reason.to_owned()));
        row(
            "power loss, its fence damaged",
            (time, Bound::None),
            reason,
            "D8 D9",
        )
    }

    /// Alone after a power cut: `max(initial wait, D + L)` from boot and link-up, and A.
    fn both_dark(&self) -> Row {
        let t = &self.config.timing;
        let wait = t.initial_wait.max(t.dead_interval + t.lease);
        let reason = "counted from boot and link-up; no wait when every peer is heard".to_owned();
        let fault = "all lose power, one returns";
        if self.config.policy.isolation == Isolation::Yield && !self.proven {
            let reason = format!("{reason}; it must hear some station first");
            let until = Bound::Until("a station is heard");
            return row(fault, (until, Bound::None), reason, "R12.2 D12 D14");
        }
        let (time, reason) = self.with_grant((at_most(wait + TAKE), reason));
        row(fault, (time, Bound::None), reason, "R12.2 D12")
    }

    fn boot_loop(&self) -> Row {
        let policy = &self.config.policy;
        let reason = format!(
            "more than {} unclean boots, or {} crashes of the daemon, within {} bar a node",
            policy.boot_limit,
            policy.restart_limit,
            show(policy.boot_window)
        );
        let outage = match policy.all_pacified {
            AllPacified::Serve => Bound::None,
            AllPacified::Never => Bound::Until("an operator clears one"),
        };
        row(
            "all nodes in a boot loop, once barred",
            (outage, Bound::None),
            reason,
            "D16 R12.1",
        )
    }

    /// The active says nothing any more and its kernel answers nothing.
    fn silent_death(&self) -> (Bound, String) {
        let t = &self.config.timing;
        if !self.armed {
            let time = t.dead_interval + t.lease + t.round + TAKE;
            let reason = "a peer's kernel cannot be asked: dead interval + lease decide";
            return self.with_grant(self.with_proof(time, reason.to_owned()));
        }
        let time = self.notice() + self.window(t.w_silence) + TAKE;
        let reason = match self.config.policy.detection {
            Detection::Fast => "noticed when an advertisement is overdue, then its kernel is asked",
            Detection::DeadInterval => "noticed after the dead interval, then its kernel is asked",
        };
        self.with_grant(self.with_proof(time, reason.to_owned()))
    }

    /// The daemon is dead and its kernel lives: the address is dark from the lapse until three
    /// rounds have shown it, `3 R + R + A`, and up to 6 ms since leases end early. Unasked:
    /// `D + R + A` after the lapse.
    fn lapse(&self) -> (Bound, String) {
        let t = &self.config.timing;
        let quiet = self.notice() + t.round * 4;
        if self.armed {
            // A lease that ends before the peers ask is noticed when they do.
            let late = quiet.saturating_sub(t.lease.saturating_sub(LEASE_EARLY));
            let time = (t.round * 4).max(late) + LEASE_EARLY + TAKE;
            let reason = "its kernel serves until the lease ends; the lapse is seen from outside";
            return (at_most(time), reason.to_owned());
        }
        let time = t.dead_interval + LEASE_EARLY + t.round + TAKE;
        let mut reason =
            "dark from the lease's end until dead interval + lease are over".to_owned();
        let granted = self.granted().unwrap_or_default();
        let left = granted.saturating_sub(t.lease.saturating_sub(LEASE_EARLY));
        if left > time {
            reason.push_str(", and its grant");
        }
        (at_most(time.max(left)), reason)
    }

    /// A claim on death wants another station on a served segment; if none is sure to answer, it
    /// may wait for D + L, and under `yield` for the station.
    fn with_proof(&self, time: Duration, reason: String) -> (Bound, String) {
        if self.proven {
            return (at_most(time), reason);
        }
        let t = &self.config.timing;
        match self.config.policy.isolation {
            Isolation::Serve => {
                let late = time.max(t.dead_interval + t.lease + t.round * 10 + TAKE);
                let text = format!(
                    "{reason} ({} if some station is heard; no neighbour is listed)",
                    show(time)
                );
                (at_most(late), text)
            }
            Isolation::Yield => {
                let text = format!("{reason} ({} if some station is heard)", show(time));
                (Bound::Until("a station is heard"), text)
            }
        }
    }

    /// A silent box's grant must end first. With proof from its kernel that is not asked for under
    /// `unproven`.
    fn with_grant(&self, (time, reason): (Bound, String)) -> (Bound, String) {
        let Some(witness) = self.config.witness else {
            return (time, reason);
        };
        if witness.asks == Asks::Unproven && self.armed {
            return (time, reason);
        }
        let granted = self.granted().unwrap_or_default();
        let reason = format!("{reason}; and its grant must have ended");
        match time {
            Bound::AtMost(time) => (at_most(time.max(granted)), reason),
            other => (other, reason),
        }
    }

    /// From the last question of a silent box until another has its grant: `term + 10 R + T + A`.
    fn granted(&self) -> Option<Duration> {
        let t = &self.config.timing;
        let term = self.config.witness?.term;
        Some(term + t.round * 10 + t.rtt_bound + TAKE)
    }

    /// Everything between the gateways is lost, and the witness is on one of the sides.
    fn cut_with_witness(&self, fault: &str) -> Option<Row> {
        let witness = self.config.witness?;
        let whole =
            witness.asks == Asks::Always && self.config.policy.isolation == Isolation::Yield;
        if !whole {
            return None;
        }
        let (time, _) = self.silent_death();
        let reason = "the side that reaches the witness serves; the other lets go before its grant \
                      ends";
        Some(row(fault, (time, Bound::None), reason.to_owned(), "D14"))
    }

    /// The witness dies: nothing, while the gateways hear each other.
    fn witness_lost(&self) -> Row {
        let fault = "the witness is lost";
        let reason = match self.config.policy.isolation {
            Isolation::Yield => {
                "the gateways serve on each other's word; one that loses that, too, lets go"
            }
            Isolation::Serve => {
                "the gateways serve on; one that reaches neither peer nor witness serves"
            }
        };
        row(fault, (Bound::None, Bound::None), reason.to_owned(), "D14")
    }

    /// When a suspicion starts after the last word at the latest.
    fn notice(&self) -> Duration {
        let t = &self.config.timing;
        match self.config.policy.detection {
            Detection::Fast => t.interval + t.slack,
            Detection::DeadInterval => t.dead_interval,
        }
    }

    /// A confirm window as it is counted: three rounds at least, and one after the last.
    fn window(&self, window: Duration) -> Duration {
        let round = self.config.timing.round;
        window.max(round * 3) + round
    }

    fn other_path(&self, port: &PortConfig) -> bool {
        let mut ports = self.config.ports.iter();
        ports.any(|other| other.heartbeat && other.id != port.id)
    }
}

fn at_most(time: Duration) -> Bound {
    if time.is_zero() {
        Bound::None
    } else {
        Bound::AtMost(time)
    }
}

fn row(
    fault: impl Into<String>,
    (outage, overlap): (Bound, Bound),
    reason: String,
    rules: &'static str,
) -> Row {
    Row {
        fault: fault.into(),
        outage,
        overlap,
        reason,
        rules,
    }
}
