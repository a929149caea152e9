//! One lap of the race: one daemon, one fault, one failover, on a lab of its own.
//!
//! Every daemon gets the same lab, the same probes and the same faults, told apart only by what the
//! world sees: the active is whoever answers for the addresses. A lap settles for some seconds,
//! measures a stretch without a fault for the null gap, strikes at a moment that the seed says,
//! and measures what clients felt.
//!
//! A planned move is what each daemon's handbook names: the product is asked for it, the others are
//! told to end in order.

use core::time::Duration;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use steadfast_core::{Instant, MacAddr, NodeId};
use steadfast_scenarios::format::{Capability, CommandName, Gateway, Plan};
use steadfast_scenarios::trace::{Event, EventKind};
use steadfast_scenarios::{Judge, Scenario, SegmentId, StreamId};

use crate::agent::Steadfast;
use crate::daemons::Daemon;
use crate::error::LabError;
use crate::eyes::{Opened, Wanted};
use crate::foreign::Foreign;
use crate::ground::Wiring;
use crate::instruments::{ConnectionLog, RunClock, observed_names};
use crate::machine::Setup;
use crate::race::{Cost, Window};
use crate::visit::{self, Company, visit};
use crate::world::{self, Agent, Said};

/// The hidden first argument of a worker that runs one lap.
pub(crate) const LAB_LAP: &str = "lab-lap";
/// When the fault strikes: no earlier than this and [`INTERVALS`] of them; daemons have elected by
/// then, or the lap does not count.
const SETTLED: Duration = Duration::from_millis(3_000);
/// And no later than so many intervals after, drawn from the seed.
const SPREAD: u64 = 9;
/// Thousandths of an interval by which the moment of one lap's fault differs from that of the lap
/// before: the golden section, so that however many laps are run, their faults fall evenly between
/// two advertisements. Drawn at random, the median of twenty would tell the draw.
const PHASE: u64 = 618;
/// How long the failover is watched, and [`INTERVALS`] of them more.
const WATCHED: Duration = Duration::from_millis(1_500);
/// Intervals within which the slowest daemon notices a death and takes over, one to spare.
const INTERVALS: u32 = 5;
/// A new connection that takes longer has lost a packet: the kernel sends the next after a second.
const SLOW: Duration = Duration::from_millis(500);
/// The stretch without a fault, right before it.
const NULL: Duration = Duration::from_secs(1);

/// What strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The box stands still; carrier stays.
    Freeze,
    /// The role is moved on purpose.
    Handover,
    /// The daemon is killed.
    Kill,
    /// The active's LAN port loses carrier.
    Lan,
    /// Ports dark, then everything.
    Power,
    /// The daemon is stopped and stays so.
    Stop,
    /// The active's WAN port loses carrier.
    Wan,
}

impl Fault {
    /// Every fault, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Power,
        Self::Freeze,
        Self::Lan,
        Self::Wan,
        Self::Handover,
        Self::Kill,
        Self::Stop,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Handover => "handover",
            Self::Kill => "kill",
            Self::Lan => "lan",
            Self::Power => "power",
            Self::Stop => "stop",
            Self::Wan => "wan",
        }
    }

    /// As the step of a scenario.
    const fn step(self, daemon: Daemon) -> &'static str {
        match self {
            Self::Freeze => "do = \"freeze\"\ntarget = \"active\"",
            Self::Handover => match daemon {
                Daemon::Steadfast => "do = \"command\"\ncommand = \"release\"\ntarget = \"active\"",
                Daemon::Frr | Daemon::Keepalived | Daemon::Ucarp | Daemon::Vrrp => {
                    "do = \"quit\"\ntarget = \"active\""
                }
            },
            Self::Kill => "do = \"kill\"\ntarget = \"active\"",
            Self::Lan => "do = \"link_down\"\ntarget = \"active.lan\"",
            Self::Power => "do = \"power_off\"\ntarget = \"active\"",
            Self::Stop => "do = \"stop\"\ntarget = \"active\"",
            Self::Wan => "do = \"link_down\"\ntarget = \"active.wan\"",
        }
    }
}

/// A lap that is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lap {
    /// Which daemon, by name.
    pub daemon: String,
    /// The product's binary.
    pub program: PathBuf,
    /// What strikes.
    pub fault: Fault,
    /// The advertisement interval.
    pub interval: Duration,
    /// Draws the moment of the fault.
    pub seed: u64,
}

/// What a lap found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Lapped {
    /// It counts.
    Counts(Box<Felt>),
    /// It proves nothing, or could not be run: why.
    Void(String),
}

/// What clients felt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Felt {
    /// The longest gap without a fault.
    pub null_gap: Duration,
    /// Through traffic: the longest gap of both directions.
    pub through: Duration,
    /// The addresses themselves: the longest gap of both.
    pub addresses: Duration,
    /// Probes of through traffic lost.
    pub through_lost: u32,
    /// Probes of the addresses lost.
    pub addresses_lost: u32,
    /// For how long an address had two owners.
    pub two_owners: Duration,
    /// For how long an address that had one had none.
    pub no_owner: Duration,
    /// New connections that failed, or took longer than half a second.
    pub connections_lost: u32,
    /// The window had a hole: the host stalled.
    pub blind: bool,
}

/// Runs a lap in a lab of its own.
///
/// # Errors
/// When no lab can be entered, or its worker ended without an answer.
pub fn run(lap: &Lap) -> Result<Lapped, LabError> {
    visit(LAB_LAP, lap, &Company::of(1))
}

/// The worker.
pub(crate) fn main() -> std::process::ExitCode {
    visit::answer(|lap: &Lap, _| match felt(lap) {
        Ok(lapped) => lapped,
        Err(why) => Lapped::Void(why.to_string()),
    })
}

fn felt(lap: &Lap) -> Result<Lapped, LabError> {
    let needs = |what: &str| LabError::Needs(what.to_owned());
    let daemon = Daemon::named(&lap.daemon).ok_or_else(|| needs("a known daemon"))?;
    if let Some(missing) = Foreign::new(daemon, "").uninstalled() {
        return Err(needs(missing));
    }
    let text = story(lap, daemon);
    let plan = Scenario::parse("lap.toml", &text)
        .and_then(|scenario| scenario.resolve(lap.seed))
        .map_err(|why| needs(&why.to_string()))?;
    let watched = watched(lap.interval);
    match daemon {
        Daemon::Steadfast => measure(&plan, watched, &mut Ours(Steadfast::new(&lap.program))),
        Daemon::Frr | Daemon::Keepalived | Daemon::Ucarp | Daemon::Vrrp => {
            let program = lap.program.display().to_string();
            measure(&plan, watched, &mut Foreign::new(daemon, program))
        }
    }
}

fn settled(interval: Duration) -> Duration {
    SETTLED + interval * INTERVALS
}

fn watched(interval: Duration) -> Duration {
    WATCHED + interval * INTERVALS
}

/// The product's times at this interval, as keys of `[cluster]`: what the defaults are for 100 ms,
/// in proportion, with the least the rules allow.
pub(crate) fn timing(interval: Duration) -> String {
    let millis = interval.as_millis().max(1);
    let mut text = format!("interval = \"{millis}ms\"\n");
    if millis < 50 {
        text.push_str(&format!(
            "slack = \"2ms\"\nw_silence = \"5ms\"\ndead_interval = \"{}ms\"\nlease = \"{}ms\"\n\
             offer = \"10ms\"\ntail = \"10ms\"\n",
            (3 * millis).max(30),
            (3 * millis).max(32)
        ));
    } else if millis > 100 {
        text.push_str(&format!(
            "dead_interval = \"{0}ms\"\nlease = \"{0}ms\"\n",
            3 * millis
        ));
    }
    text
}

/// How long after that the fault of a lap is due.
fn drawn(lap: &Lap) -> Duration {
    let mut random = steadfast_scenarios::Random::new(lap.seed, "lap");
    let intervals = u32::try_from(random.between(0, SPREAD)).unwrap_or_default();
    let phase = u32::try_from(lap.seed.wrapping_mul(PHASE) % 1_000).unwrap_or_default();
    lap.interval * intervals + lap.interval * phase / 1_000
}

/// The lap as a scenario: probes at 1 kHz in four streams all the time.
fn story(lap: &Lap, daemon: Daemon) -> String {
    let at = settled(lap.interval) + drawn(lap);
    let end = (at + watched(lap.interval)).as_millis() + 100;
    let at = at.as_micros();
    let mut text = format!(
        "format = 1\nname = \"lap\"\ntitle = \"race: one lap\"\nclaims = [\"R1.1\"]\n\
         duration = \"{end}ms\"\n[cluster]\n{}",
        timing(lap.interval)
    );
    let streams = [
        ("out", "client", "server"),
        ("back", "server", "client"),
        ("ping_lan", "client", "vip.lan"),
        ("ping_wan", "server", "vip.wan"),
    ];
    for (name, from, to) in streams {
        text.push_str(&format!(
            "[[traffic]]\nname = \"{name}\"\nfrom = \"{from}\"\nto = \"{to}\"\n\
             rate = \"1000 Hz\"\n"
        ));
    }
    text.push_str(&format!(
        "[[step]]\nname = \"fault\"\nat = \"{at}us\"\n{}\n\
         [[expect]]\noracle = \"no_flap\"\nmax_moves = 9\n",
        lap.fault.step(daemon)
    ));
    text
}

fn measure(plan: &Plan, watched: Duration, agent: &mut impl Agent) -> Result<Lapped, LabError> {
    let mut lab = world::build(plan, agent, Wiring::PLAIN)?;
    let wanted = Wanted {
        connections: true,
        ..Wanted::default()
    };
    let opened = Opened::new(plan, &lab, wanted, &world::virtual_macs(plan, agent))?;
    let clock = RunClock::start();
    agent.begin(clock);
    let mut sight = opened.watch(plan, clock, None)?;
    let mut judge = Judge::new(plan);
    let mut events: Vec<Event> = Vec::new();
    let mut sink = |event: &Event| events.push(event.clone());
    world::run(plan, &mut lab, agent, &mut sight, &mut judge, &mut sink)?;
    let struck = events.iter().find_map(|event| match &event.kind {
        EventKind::Step { done, .. } => Some((event.at, *done)),
        _ => None,
    });
    let Some((at, true)) = struck else {
        return Ok(Lapped::Void(
            "nobody was active when the fault was due".to_owned(),
        ));
    };
    let names = observed_names(plan);
    let null = window(&names, &events, at.before(NULL), at);
    let end = at.after(watched);
    let cost = window(&names, &events, at, end);
    let log = sight.connections().map(ConnectionLog::connections);
    let slow = |took: Option<Duration>| took.is_none_or(|took| took > SLOW);
    let lost = log
        .iter()
        .flatten()
        .filter(|it| it.at >= at && it.at < end.before(SLOW) && slow(it.took));
    Ok(Lapped::Counts(Box::new(Felt {
        null_gap: null.gap(),
        through: longest(&cost, [0, 1]),
        addresses: longest(&cost, [2, 3]),
        through_lost: lost_of(&cost, [0, 1]),
        addresses_lost: lost_of(&cost, [2, 3]),
        two_owners: cost.two_owners,
        no_owner: cost.no_owner,
        connections_lost: u32::try_from(lost.count()).unwrap_or(u32::MAX),
        blind: cost.blind || null.blind,
    })))
}

fn window(
    names: &steadfast_scenarios::trace::Names,
    events: &[Event],
    from: Instant,
    to: Instant,
) -> Cost {
    Cost::of(names, events, Window { from, to })
}

fn longest(cost: &Cost, streams: [u8; 2]) -> Duration {
    let gap = |stream: u8| {
        cost.gaps
            .get(&StreamId(stream))
            .copied()
            .unwrap_or_default()
    };
    streams.map(gap).into_iter().max().unwrap_or_default()
}

fn lost_of(cost: &Cost, streams: [u8; 2]) -> u32 {
    let lost = |stream: u8| {
        cost.lost
            .get(&StreamId(stream))
            .copied()
            .unwrap_or_default()
    };
    streams.map(lost).into_iter().sum()
}

/// The product.
pub(crate) struct Ours(pub(crate) Steadfast);

impl Agent for Ours {
    fn begin(&mut self, clock: RunClock) {
        self.0.begin(clock);
    }

    fn setup(&self, plan: &Plan, gateway: &Gateway) -> Result<Setup, String> {
        self.0.setup(plan, gateway)
    }

    fn offers(&self) -> BTreeSet<Capability> {
        self.0.offers()
    }

    fn virtual_mac(&self, plan: &Plan, segment: SegmentId) -> Option<MacAddr> {
        self.0.virtual_mac(plan, segment)
    }

    /// Nobody's word is asked for in a race.
    fn status(&mut self, _: NodeId, _: &Path) -> Option<(Instant, Said)> {
        None
    }

    fn command(&mut self, id: NodeId, run: &Path, command: CommandName) -> Result<(), String> {
        self.0.command(id, run, command)
    }

    fn unheard(&mut self) -> Option<String> {
        self.0.unheard()
    }
}
