//! What must hold in every state, and what theory forbids anybody to promise.
//!
//! *Two owners*: on no served segment do the kernels of two gateways that its observer reaches
//! answer for its address, but for the drain of a hand-over: the giver's lease was cut to V by an
//! offer and has not ended (D10). *Outage*: while some gateway is able to serve, nobody answers for
//! an address for at most [`Setup::outage_max`]; each fault starts the count anew. Both are wire
//! evidence: the kernels are asked, not the nodes.
//!
//! Some faults blind every evidence there is, and then no protocol can tell a dead peer from a
//! living one. Those states are counted under the theorem that says so.

use core::fmt;
use core::hash::{Hash, Hasher};

use steadfast_core::Instant;
use steadfast_core::config::Timing;
use steadfast_core::effect::Forwarding;

use super::setup::{CABLE, NODES_MAX, Setup, port};
use super::wires::Wires;
use super::world::{Gateway, World};

/// A property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Oracle {
    /// Frames breed frames.
    Bounded,
    /// Nobody serves for too long.
    Outage,
    /// Two gateways answer for one address.
    TwoOwners,
}

impl Oracle {
    /// A short name for files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bounded => "flood",
            Self::Outage => "outage",
            Self::TwoOwners => "two-owners",
        }
    }
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bounded => "frames in flight are bounded",
            Self::Outage => "outage is bounded",
            Self::TwoOwners => "at most one owner",
        })
    }
}

/// Why nobody could have done better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Theorem {
    /// A frozen box resumes with what is left of its lease.
    PausedBox,
    /// A daemon is held still between its decision to claim and the kernel's arming.
    StoppedClaim,
    /// Nothing of one gateway reaches the other: silence looks like death, and whoever is not heard
    /// can neither be given the role nor take it from one that lives.
    TotalLoss,
}

impl Theorem {
    /// Every theorem.
    pub const ALL: [Self; 3] = [Self::PausedBox, Self::StoppedClaim, Self::TotalLoss];

    /// The name of the scenario in `scenarios/impossible` that shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PausedBox => "box-frozen-shorter-than-lease",
            Self::StoppedClaim => "daemon-stopped-in-claim",
            Self::TotalLoss => "total-loss-healed-strict",
        }
    }
}

/// A property that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Broken {
    /// Which.
    pub(super) oracle: Oracle,
    /// Why it could not, if so.
    pub(super) theorem: Option<Theorem>,
}

/// What the properties remember.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// By served path: since when nobody answers although somebody could.
    dark: [Option<Instant>; CABLE],
    /// By sender and receiver: when last nothing of the one, running, reached the other, running
    /// too, nor what a third one hears.
    blind: [[Option<Instant>; NODES_MAX]; NODES_MAX],
    /// By gateway: when its frozen box last went on; what was left of its lease runs from then.
    pub(super) thawed: [Option<Instant>; NODES_MAX],
    /// By gateway: when its daemon was last held still while its kernel had yet to arm the lease.
    claim_held: [Option<Instant>; NODES_MAX],
    /// A standby took over from a dead active.
    pub(super) takeover: bool,
    /// A role was handed over.
    pub(super) handover: bool,
    /// A suspicion ended because the peer lives.
    pub(super) resolved: bool,
    pub(super) suspects: [bool; NODES_MAX],
}

impl Watch {
    /// What matters for the future; what only shows that the exploration is not vacuous does not.
    pub(super) fn project<H: Hasher>(&self, now: Instant, out: &mut H) {
        let dark = self.dark.map(|since| since.map(|since| now.since(since)));
        let blind = self
            .blind
            .map(|from| from.map(|at| at.map(|at| now.since(at))));
        let age = |at: Option<Instant>| at.map(|at| now.since(at));
        let ages = [self.thawed, self.claim_held].map(|them| them.map(age));
        (dark, blind, ages).hash(out);
    }

    /// A fault has struck.
    pub(super) const fn struck(&mut self) {
        self.dark = [None; CABLE];
    }

    /// Who hears nothing of whom now, and what is held still. An old silence excuses nothing any
    /// more: it was noticed and is over (D8), and the lease that was held through it has ended. Nor
    /// does a pause whose lease has ended, nor a late claim that was disputed since.
    fn look(&mut self, now: Instant, timing: &Timing, gateways: &[Gateway], wires: &Wires) {
        let excuses = timing.dead_interval + timing.lease;
        let claims = |gateway: &Gateway| {
            let arms = matches!(gateway.apply, Some((_, Forwarding::Active { .. })));
            arms && gateway.held_since().is_some()
        };
        for (held, gateway) in self.claim_held.iter_mut().zip(gateways) {
            if claims(gateway) {
                *held = Some(now);
            }
            *held = held.filter(|at| now.since(*at) <= excuses);
        }
        for thawed in &mut self.thawed {
            *thawed = thawed.filter(|at| now.since(*at) <= timing.lease);
        }
        for (from, row) in self.blind.iter_mut().enumerate() {
            for (to, last) in row.iter_mut().enumerate() {
                let both = from != to && from.max(to) < gateways.len();
                if both && is_blind(gateways, wires, from, to) {
                    *last = Some(now);
                }
                *last = last.filter(|at| now.since(*at) <= excuses);
            }
        }
    }

    fn is_blind(&self) -> bool {
        self.blind.as_flattened().iter().any(Option::is_some)
    }

    /// Whether of any two of these one did not hear the other.
    fn are_blind(&self, places: &[usize]) -> bool {
        let blind = |a: usize, b: usize| self.blind[a][b].or(self.blind[b][a]).is_some();
        let mut pairs = places
            .iter()
            .flat_map(|a| places.iter().map(move |b| (*a, *b)));
        pairs.all(|(a, b)| a == b || blind(a, b))
    }
}

/// Whether nothing of one running gateway reaches another one, neither its own word nor that of a
/// third one whose daemon hears it (D13).
fn is_blind(gateways: &[Gateway], wires: &Wires, from: usize, to: usize) -> bool {
    let third = |by: usize| by != from && by != to && gateways[by].awake().is_some();
    let hears = |from: usize, to: usize| !wires.is_unheard(from, to);
    let told = (0..gateways.len()).any(|by| third(by) && hears(from, by) && hears(by, to));
    gateways[from].runs() && gateways[to].runs() && !hears(from, to) && !told
}

impl World {
    /// Looks at a new state.
    pub(super) fn judge(&mut self, setup: &Setup) {
        self.note();
        self.watch
            .look(self.now, setup.timing(), &self.gateways, &self.wires);
        let owners = (0..CABLE).map(|path| self.owners(setup, path));
        let owners = owners.filter(|them| them.len() > 1).collect::<Vec<_>>();
        let oracle = if self.wires.overrun {
            Some(Oracle::Bounded)
        } else if !owners.is_empty() {
            Some(Oracle::TwoOwners)
        } else if (0..CABLE).any(|path| self.is_dark_too_long(setup, path)) {
            Some(Oracle::Outage)
        } else {
            None
        };
        let theorem = oracle.and_then(|oracle| self.theorem(oracle, &owners));
        self.broken = oracle.map(|oracle| Broken { oracle, theorem });
    }

    fn owns(&self, setup: &Setup, place: usize, path: usize) -> bool {
        let gateway = &self.gateways[place];
        gateway.runs()
            && self.wires.has_carrier(place, path)
            && gateway
                .kernel
                .answers_for(self.now, port(path), setup.virtuals[path])
    }

    /// Who answers for the address there, and not only to drain a hand-over.
    fn owners(&self, setup: &Setup, path: usize) -> Vec<usize> {
        let drains = |gateway: &Gateway| {
            let timing = setup.timing();
            gateway
                .offered
                .is_some_and(|at| self.now <= at.after(timing.offer))
        };
        let owners = self.places().filter(|place| self.owns(setup, *place, path));
        owners
            .filter(|place| !drains(&self.gateways[*place]))
            .collect()
    }

    /// Whether a gateway could serve: it runs, its daemon runs, and its served ports work.
    fn is_able(&self, place: usize) -> bool {
        self.gateways[place].awake().is_some() && self.wires.serves(place)
    }

    fn is_dark_too_long(&mut self, setup: &Setup, path: usize) -> bool {
        let owned = self.places().any(|place| self.owns(setup, place, path));
        let able = self.places().any(|place| self.is_able(place));
        if owned || !able {
            self.watch.dark[path] = None;
            return false;
        }
        let since = *self.watch.dark[path].get_or_insert(self.now);
        self.now.since(since) > setup.outage_max()
    }

    /// What excuses it. Two owners are excused by what came between those two, on each segment.
    fn theorem(&self, oracle: Oracle, owners: &[Vec<usize>]) -> Option<Theorem> {
        let blind = || owners.iter().all(|them| self.watch.are_blind(them));
        let one_of = |at: &[Option<Instant>; NODES_MAX]| {
            let of = |them: &Vec<usize>| them.iter().any(|place| at[*place].is_some());
            owners.iter().all(of)
        };
        match oracle {
            Oracle::Outage if self.watch.is_blind() => Some(Theorem::TotalLoss),
            Oracle::TwoOwners if blind() => Some(Theorem::TotalLoss),
            Oracle::TwoOwners if one_of(&self.watch.claim_held) => Some(Theorem::StoppedClaim),
            Oracle::TwoOwners if one_of(&self.watch.thawed) => Some(Theorem::PausedBox),
            Oracle::Bounded | Oracle::Outage | Oracle::TwoOwners => None,
        }
    }
}
