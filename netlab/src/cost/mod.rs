//! One lap of the costs: what a daemon takes while nothing happens, or what its claim is like.
//!
//! The same lab for every daemon, told apart as in the race, and watched as little as can be: the
//! product hears all ARP of its segments, and an observer that asks a thousand times a second costs
//! it more than all else. A quiet lap lets the pair settle and then meters both gateways for
//! [`METERED`]. A claiming lap takes the active's power away and follows the other's claim of all
//! its addresses on the wire.

mod flood;
mod meter;

use core::time::Duration;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::thread;

use serde::{Deserialize, Serialize};
use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::format::Plan;
use steadfast_scenarios::trace::{Event, EventKind};
use steadfast_scenarios::{Judge, Picture, Scenario};

use self::flood::Flood;
pub use self::meter::Usage;
pub(crate) use self::meter::processes;
use crate::agent::Steadfast;
use crate::bench::Ours;
use crate::daemons::Daemon;
use crate::error::{Doing, LabError};
use crate::eyes::{Opened, Wanted};
use crate::foreign::Foreign;
use crate::ground::Wiring;
use crate::instruments::{Heard, RunClock, Stall, observed_names};
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::play::seen;
use crate::visit::{self, Company, visit};
use crate::world::{self, Agent};

/// The hidden first argument of a worker that runs one lap.
pub(crate) const LAB_COST: &str = "lab-cost";
/// By then daemons have elected, and all that follows a start is over.
const SETTLED: Duration = Duration::from_secs(4);
/// How long a quiet pair is metered.
pub const METERED: Duration = Duration::from_secs(10);
/// A longer stall of the host while a daemon claims makes the lap void.
const STALL_MAX: Duration = Duration::from_millis(5);
/// How long a claim is followed.
const FOLLOWED: Duration = Duration::from_secs(4);

/// What a lap is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A quiet pair.
    Quiet,
    /// A claim after a power loss.
    Claim,
    /// Packets through a quiet pair.
    Forward,
}

/// A lap that is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lap {
    /// Which daemon.
    pub daemon: Daemon,
    /// The product's binary.
    pub program: PathBuf,
    /// What it is about.
    pub subject: Subject,
    /// Time between advertisements.
    pub interval: Duration,
    /// Virtual addresses on each of two segments.
    pub addresses: u16,
    /// Whether each address of the first segment is a virtual router of its own, where the daemon
    /// has such; the product has one stream for all.
    pub routers: bool,
    /// Draws when gateways boot.
    pub seed: u64,
}

/// What a lap found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Found {
    /// Of a quiet pair, while it was metered.
    Quiet {
        /// The active's.
        active: Usage,
        /// The standby's.
        standby: Usage,
    },
    /// Of a claim.
    Claim {
        /// Addresses that were announced.
        count: usize,
        /// From the claim to the first announcement of the last of them.
        lasted: Duration,
        /// From the fault to that, detection included.
        since_fault: Duration,
        /// The longest time without a heartbeat, from the last one before the claim on.
        silence: Duration,
    },
    /// Of packets through a quiet pair.
    Forward {
        /// Nanoseconds for each, the whole way.
        nanos: f64,
    },
}

/// Runs a lap in a lab of its own; what it found, or why it proves nothing or cannot be run.
///
/// # Errors
/// When no lab can be entered, or its worker ended without an answer.
pub fn run(lap: &Lap) -> Result<Result<Found, String>, LabError> {
    visit(LAB_COST, lap, &Company::of(1))
}

/// The worker.
pub(crate) fn main() -> std::process::ExitCode {
    visit::answer(|lap: &Lap, _| match found(lap) {
        Ok(found) => Ok(found),
        Err(LabError::Needs(why)) => Err(why),
        Err(why) => Err(why.to_string()),
    })
}

fn found(lap: &Lap) -> Result<Found, LabError> {
    let plan = Scenario::parse("lap.toml", &story(lap))
        .and_then(|scenario| scenario.resolve(lap.seed))
        .map_err(|why| LabError::Needs(why.to_string()))?;
    let program = lap.program.display().to_string();
    if let Some(missing) = Foreign::new(lap.daemon, "").uninstalled() {
        return Err(LabError::Needs(missing.to_owned()));
    }
    match lap.daemon {
        Daemon::Steadfast => watch(lap, &plan, &mut Ours(Steadfast::new(&lap.program))),
        daemon if lap.routers => watch(lap, &plan, &mut Foreign::routers(daemon, program)),
        daemon => watch(lap, &plan, &mut Foreign::new(daemon, program)),
    }
}

/// The lap as a scenario.
fn story(lap: &Lap) -> String {
    let at = SETTLED.as_millis();
    let end = at + METERED.max(FOLLOWED).as_millis() + 200;
    let step = match lap.subject {
        Subject::Quiet | Subject::Forward => String::new(),
        Subject::Claim => format!(
            "[[step]]\nname = \"fault\"\nat = \"{at}ms\"\ndo = \"power_off\"\n\
             target = \"active\"\n"
        ),
    };
    format!(
        "format = 1\nname = \"lap\"\ntitle = \"cost: one lap\"\nclaims = [\"R5.1\"]\n\
         duration = \"{end}ms\"\n[cluster]\n{}\
         [topology]\nvirtual_addresses = {}\n\
         [[traffic]]\nname = \"out\"\nfrom = \"client\"\nto = \"server\"\nrate = \"10 Hz\"\n\
         {step}[[expect]]\noracle = \"no_flap\"\nmax_moves = 9\n",
        crate::bench::timing(lap.interval),
        lap.addresses
    )
}

fn watch(lap: &Lap, plan: &Plan, agent: &mut impl Agent) -> Result<Found, LabError> {
    let mut lab = world::build(plan, agent, Wiring::PLAIN)?;
    let seen = seen(plan.clone());
    let wanted = Wanted {
        calm: true,
        heralds: lap.subject == Subject::Claim,
        ..Wanted::default()
    };
    let opened = Opened::new(&seen, &lab, wanted, &world::virtual_macs(&seen, agent))?;
    let instrument = Instrument::of(lap.subject, plan, &lab)?;
    let clock = RunClock::start();
    agent.begin(clock);
    let mut sight = opened.watch(&seen, clock, None)?;
    let measuring = thread::spawn(move || instrument.measure(clock));
    let mut judge = Judge::new(&seen);
    let mut events: Vec<Event> = Vec::new();
    let mut sink = |event: &Event| events.push(event.clone());
    world::run(&seen, &mut lab, agent, &mut sight, &mut judge, &mut sink)?;
    let measured = match measuring.join() {
        Ok(measured) => measured.doing(|| "measure".to_owned())?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    match measured {
        Measured::Usages(usages) => quiet(&seen, &events, &usages),
        Measured::Nanos(nanos) => {
            who_stayed_active(&seen, &events)?;
            Ok(Found::Forward { nanos })
        }
        Measured::Nothing => {
            let (from, other) = struck(&events, plan)?;
            let heard = sight.heralds().and_then(|log| log.of(other));
            let heard = heard.ok_or_else(|| void("frames were missed"))?;
            let claimed = claimed(&heard, from, 2 * usize::from(lap.addresses))?;
            let stalls = sight.finished().map(|it| it.stalls.as_slice());
            not_stalled(stalls.unwrap_or_default(), from, &claimed)?;
            Ok(claimed)
        }
    }
}

/// What the one that is left made of its claim of so many addresses.
fn claimed(heard: &Heard, from: Instant, due: usize) -> Result<Found, LabError> {
    let claim = heard.claim(from, from.after(FOLLOWED));
    let claim = claim.ok_or_else(|| void("nobody claimed"))?;
    if claim.count < due {
        let text = format!("{} of {due} addresses were announced", claim.count);
        return Err(void(&text));
    }
    Ok(Found::Claim {
        count: claim.count,
        lasted: claim.lasted,
        since_fault: claim.since_fault,
        silence: claim.silence,
    })
}

/// What measures on a thread of its own, beside the run.
enum Instrument {
    Meter(Vec<(NodeId, OwnedFd)>),
    Flood(Flood),
    /// A claim is read from the wire.
    None,
}

enum Measured {
    Usages(Vec<(NodeId, Usage)>),
    Nanos(f64),
    Nothing,
}

impl Instrument {
    fn of(subject: Subject, plan: &Plan, lab: &Lab) -> Result<Self, LabError> {
        match subject {
            Subject::Quiet => Ok(Self::Meter(nets(plan, lab)?)),
            Subject::Forward => Ok(Self::Flood(Flood::open(plan, lab)?)),
            Subject::Claim => Ok(Self::None),
        }
    }

    fn measure(self, clock: RunClock) -> io::Result<Measured> {
        clock.sleep_until(Instant::ORIGIN.after(SETTLED));
        match self {
            Self::Meter(nets) => metered(&nets, clock).map(Measured::Usages),
            Self::Flood(flood) => flood.run().map(Measured::Nanos),
            Self::None => Ok(Measured::Nothing),
        }
    }
}

fn void(why: &str) -> LabError {
    LabError::Needs(why.to_owned())
}

/// Every gateway's namespace, open.
fn nets(plan: &Plan, lab: &Lab) -> Result<Vec<(NodeId, OwnedFd)>, LabError> {
    let open = |id: NodeId| {
        let net: &Namespace = lab
            .ground()
            .gateway(id)
            .ok_or_else(|| void(&format!("a gateway {}", id.0)))?;
        let fd = net.as_fd().try_clone_to_owned();
        Ok((id, fd.doing(|| "open a namespace".to_owned())?))
    };
    plan.layout.gateways.iter().map(|it| open(it.id)).collect()
}

/// What each gateway took while it was metered.
fn metered(nets: &[(NodeId, OwnedFd)], clock: RunClock) -> io::Result<Vec<(NodeId, Usage)>> {
    let look = || -> io::Result<Vec<(NodeId, Usage, Instant)>> {
        let of = |(id, net): &(NodeId, _)| Ok((*id, meter::usage(net)?, clock.now()));
        nets.iter().map(of).collect()
    };
    let before = look()?;
    clock.sleep_until(Instant::ORIGIN.after(SETTLED + METERED));
    let after = look()?;
    let took = before.into_iter().zip(after).map(|(before, after)| {
        let passed = after.2.since(before.2).as_secs_f64();
        let took = after.1.processor.saturating_sub(before.1.processor);
        // As much as in the time that was planned.
        let scale = METERED.as_secs_f64() / passed.max(f64::MIN_POSITIVE);
        let usage = Usage {
            resident: after.1.resident,
            processor: took.mul_f64(scale),
        };
        (after.0, usage)
    });
    Ok(took.collect())
}

/// A stall of the host within the claim is not the daemon's.
fn not_stalled(stalls: &[Stall], from: Instant, claimed: &Found) -> Result<(), LabError> {
    let Found::Claim { since_fault, .. } = claimed else {
        return Ok(());
    };
    let until = from.after(*since_fault);
    let within =
        |it: &&Stall| it.since < until && from < it.until && it.until.since(it.since) > STALL_MAX;
    let stalled = stalls.iter().find(within);
    stalled.map_or(Ok(()), |it| {
        Err(void(&format!("the host stalled: {}", it.why)))
    })
}

/// What the one took that was active all the time while it was metered, and the other.
fn quiet(plan: &Plan, events: &[Event], usages: &[(NodeId, Usage)]) -> Result<Found, LabError> {
    let active = who_stayed_active(plan, events)?;
    if usages.iter().any(|(_, usage)| usage.resident == 0) {
        return Err(void("a gateway ran no daemon"));
    }
    let of = |is: bool| {
        let mut usages = usages.iter().filter(|(id, _)| (*id == active) == is);
        usages.next().map(|(_, usage)| *usage).unwrap_or_default()
    };
    Ok(Found::Quiet {
        active: of(true),
        standby: of(false),
    })
}

/// Who had everything when the pair had settled, and had it to the end.
fn who_stayed_active(plan: &Plan, events: &[Event]) -> Result<NodeId, LabError> {
    let settled = Instant::ORIGIN.after(SETTLED);
    let mut picture = Picture::new(&observed_names(plan));
    let mut active = None;
    for event in events {
        if event.at > settled {
            active = active.or_else(|| sole_owner(&picture));
            match event.kind {
                EventKind::Owner { .. } => {
                    return Err(void("a gateway began or ceased to answer meanwhile"));
                }
                EventKind::Blind { .. } => return Err(void("the host stalled")),
                _ => {}
            }
        }
        picture.observe(event);
    }
    active.ok_or_else(|| void("nobody was active alone when the pair had settled"))
}

/// Who alone owns everything.
fn sole_owner(picture: &Picture) -> Option<NodeId> {
    let mut owners = picture.served().map(|segment| picture.sole_owner(segment));
    let first = owners.next()??;
    owners.all(|owner| owner == Some(first)).then_some(first)
}

/// When power went, and who is left.
fn struck(events: &[Event], plan: &Plan) -> Result<(Instant, NodeId), LabError> {
    let cut = events.iter().find_map(|event| match &event.kind {
        EventKind::Step {
            target, done: true, ..
        } => Some((event.at, target.clone())),
        _ => None,
    });
    let (at, target) = cut.ok_or_else(|| void("nobody was active when the fault was due"))?;
    let mut others = plan.layout.gateways.iter().filter(|it| it.name != target);
    let other = others.next().ok_or_else(|| void("a second gateway"))?;
    Ok((at, other.id))
}

#[cfg(test)]
mod tests {
    use steadfast_scenarios::SegmentId;

    use super::*;

    fn plan() -> Plan {
        let lap = Lap {
            daemon: Daemon::Steadfast,
            program: PathBuf::new(),
            subject: Subject::Quiet,
            interval: Duration::from_millis(100),
            addresses: 1,
            routers: false,
            seed: 0,
        };
        let scenario = Scenario::parse("lap.toml", &story(&lap)).unwrap();
        scenario.resolve(0).unwrap()
    }

    fn owner(millis: u64, segment: u8, gateway: u8, answered: bool) -> Event {
        let kind = EventKind::Owner {
            segment: SegmentId(segment),
            gateway: NodeId(gateway),
            address: 0,
            answered,
        };
        Event::new(Instant::from_millis(millis), kind)
    }

    fn end() -> Event {
        Event::new(Instant::from_millis(14_000), EventKind::End)
    }

    /// Only who has everything alone is metered as the active, whoever had something before.
    #[test]
    fn cost_meters_the_one_that_stayed_active() {
        let elected = |rest: &[Event]| {
            let mut events = vec![
                owner(1_000, 0, 2, true),
                owner(1_100, 0, 1, true),
                owner(1_100, 1, 1, true),
                owner(1_300, 0, 2, false),
            ];
            events.extend_from_slice(rest);
            who_stayed_active(&plan(), &events)
        };
        assert_eq!(elected(&[end()]).unwrap(), NodeId(1));
        assert!(elected(&[owner(8_000, 0, 1, false), end()]).is_err());
        assert!(
            elected(&[owner(3_000, 1, 1, false), end()]).is_err(),
            "one of two"
        );
        assert!(who_stayed_active(&plan(), &[end()]).is_err(), "nobody");
    }

    /// A claim of all addresses counts, one of some does not, nor one while the host stood still.
    #[test]
    fn cost_counts_whole_claims_alone() {
        let at = Instant::from_millis;
        let mut heard = Heard {
            claims: vec![at(5_005)],
            ..Heard::default()
        };
        heard.announced.insert([10, 77, 0, 1].into(), at(5_006));
        assert!(claimed(&heard, at(5_000), 2).is_err());
        heard.announced.insert([10, 78, 0, 1].into(), at(5_009));
        let found = claimed(&heard, at(5_000), 2).unwrap();
        let stall = |since, until| Stall {
            since: at(since),
            until: at(until),
            why: String::new(),
        };
        assert!(not_stalled(&[stall(5_020, 5_090)], at(5_000), &found).is_ok());
        assert!(not_stalled(&[stall(5_007, 5_008)], at(5_000), &found).is_ok());
        assert!(not_stalled(&[stall(5_007, 5_060)], at(5_000), &found).is_err());
    }
}
