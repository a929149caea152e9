//! A long quiet run under load: does anybody take over from a living active?
//!
//! Every processor is kept busy by a thread that does nothing else, at ordinary priority, beside
//! the lab; the daemons have what priority the machine grants them. Nothing happens to the pair for
//! minutes or hours. Each change of who answers and each CLAIM after the pair has settled is a
//! false takeover. Where the host itself stood still nobody can tell who was to blame: takeovers
//! in or right after such a stretch are counted apart, and the share of such stretches is told. A
//! run in which a daemon or an instrument was missing proves nothing, and says so.

use core::time::Duration;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};
use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::trace::{Event, EventKind, FrameKind, ProcessState};
use steadfast_scenarios::{Judge, Scenario, Verdict};

use crate::agent::Steadfast;
use crate::error::LabError;
use crate::eyes::{Opened, Wanted};
use crate::ground::Wiring;
use crate::instruments::RunClock;
use crate::visit::{self, Company, visit};
use crate::world::{self, Agent};

/// The hidden first argument of a worker that soaks.
pub(crate) const LAB_SOAK: &str = "lab-soak";
/// By then the pair has elected.
const SETTLED: Duration = Duration::from_secs(5);
/// A takeover so long after a stalled stretch may be its consequence.
const AFTERMATH: Duration = Duration::from_secs(1);
/// Takeovers and stalls that are kept; a run with more proves nothing.
const KEPT_MAX: usize = 1 << 16;
/// Reasons why a run proves nothing that are kept.
const DOUBTS_MAX: usize = 16;
/// Spins between two looks whether it is over.
const SPINS: u32 = 100_000;

/// A soak that is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The product's binary.
    pub program: PathBuf,
    /// Time between advertisements.
    pub interval: Duration,
    /// How long.
    pub lasting: Duration,
    /// Threads that keep processors busy.
    pub burners: usize,
    /// Draws when gateways boot.
    pub seed: u64,
}

/// What it showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soaked {
    /// How long the settled pair was watched.
    pub watched: Duration,
    /// False takeovers while everything could be seen.
    pub takeovers: u32,
    /// Takeovers in a stalled stretch, or within a second after it.
    pub excused: u32,
    /// When the first false takeover was.
    pub first: Option<Instant>,
    /// Stretches in which the host stood still.
    pub stalls: u32,
    /// How long they were together.
    pub stalled: Duration,
    /// The longest.
    pub longest_stall: Duration,
    /// Oracles that saw something wrong, stalled stretches or not.
    pub wrong: Vec<String>,
    /// Why the run proves nothing, if it does not.
    pub unproven: Vec<String>,
}

/// Soaks in a lab of its own.
///
/// # Errors
/// When no lab can be entered, or its worker ended without an answer.
pub fn run(request: &Request) -> Result<Result<Soaked, String>, LabError> {
    visit(LAB_SOAK, request, &Company::of(1))
}

/// The worker.
pub(crate) fn main() -> std::process::ExitCode {
    visit::answer(|request: &Request, _| match soaked(request) {
        Ok(soaked) => Ok(soaked),
        Err(LabError::Needs(why)) => Err(why),
        Err(why) => Err(why.to_string()),
    })
}

fn story(request: &Request) -> String {
    let millis = (SETTLED + request.lasting).as_millis();
    format!(
        "format = 1\nname = \"soak\"\ntitle = \"soak: nothing happens\"\nclaims = [\"R1.1\"]\n\
         duration = \"{millis}ms\"\n[cluster]\n{}\
         [[traffic]]\nname = \"out\"\nfrom = \"client\"\nto = \"server\"\nrate = \"10 Hz\"\n\
         [[expect]]\noracle = \"no_flap\"\nmax_moves = 0\nafter = \"{settled}ms\"\n\
         [[expect]]\noracle = \"exactly_one_active\"\nafter = \"{settled}ms\"\n\
         [[expect]]\noracle = \"converges\"\nwithin = \"{settled}ms\"\n",
        crate::bench::timing(request.interval),
        settled = SETTLED.as_millis()
    )
}

fn soaked(request: &Request) -> Result<Soaked, LabError> {
    let needs = |why: String| LabError::Needs(why);
    let plan = Scenario::parse("soak.toml", &story(request))
        .and_then(|scenario| scenario.resolve(request.seed))
        .map_err(|why| needs(why.to_string()))?;
    let mut agent = Steadfast::new(&request.program);
    let mut lab = world::build(&plan, &agent, Wiring::PLAIN)?;
    let macs = world::virtual_macs(&plan, &agent);
    let opened = Opened::new(&plan, &lab, Wanted::default(), &macs)?;
    let clock = RunClock::start();
    agent.begin(clock);
    let mut sight = opened.watch(&plan, clock, None)?;
    let mut judge = Judge::new(&plan);
    let mut tally = Tally::new(plan.layout.gateways.len());
    let burners = Burners::start(request.burners);
    let mut sink = |event: &Event| tally.take(event);
    world::run(
        &plan, &mut lab, &mut agent, &mut sight, &mut judge, &mut sink,
    )?;
    drop(burners);
    let mut soaked = tally.finish();
    soaked.watched = request.lasting;
    let finished = sight.finished();
    let lost = finished.map_or(0, |it| it.lost_count);
    let ended = finished
        .iter()
        .flat_map(|it| it.unfinished.iter().chain(&it.broken));
    soaked
        .unproven
        .extend(ended.map(|it| format!("the {it} broke down")));
    if lost > 0 {
        soaked.unproven.push(format!("{lost} events did not fit"));
    }
    for finding in judge.finish(plan.end()) {
        if finding.verdict == Verdict::Fail || finding.first_violation.is_some() {
            soaked.wrong.push(finding.oracle);
        } else if finding.expectation.is_some() && !finding.armed {
            soaked
                .unproven
                .push(format!("{} never armed", finding.oracle));
        }
    }
    Ok(soaked)
}

/// Keeps what counts as events come; a stretch in which the host stood still is told at its end.
#[derive(Debug)]
struct Tally {
    /// Gateways whose daemons run.
    running: BTreeSet<NodeId>,
    gateways: usize,
    /// Whether all ran when the pair had settled.
    all_ran: Option<bool>,
    takeovers: Vec<Instant>,
    stalls: Vec<(Instant, Instant)>,
    unproven: Vec<String>,
}

impl Tally {
    const fn new(gateways: usize) -> Self {
        Self {
            running: BTreeSet::new(),
            gateways,
            all_ran: None,
            takeovers: Vec::new(),
            stalls: Vec::new(),
            unproven: Vec::new(),
        }
    }

    fn take(&mut self, event: &Event) {
        let settled = Instant::ORIGIN.after(SETTLED);
        if event.at >= settled && self.all_ran.is_none() {
            self.all_ran = Some(self.running.len() == self.gateways);
        }
        match &event.kind {
            EventKind::Process { gateway, state } => {
                if *state == ProcessState::Running {
                    self.running.insert(*gateway);
                } else {
                    self.running.remove(gateway);
                    self.doubt(format!("a daemon ended at {}", event.at));
                }
            }
            // An instrument that failed says so as of then: it sees nothing any more.
            EventKind::Blind { since, why } if *since == event.at => self.doubt(why.clone()),
            EventKind::Blind { since, .. } if event.at >= settled => {
                self.stalls.push(((*since).max(settled), event.at));
            }
            EventKind::Owner { .. }
            | EventKind::HandoverFrame {
                kind: FrameKind::Claim,
                ..
            } if event.at >= settled => self.takeovers.push(event.at),
            _ => {}
        }
        if self.takeovers.len() + self.stalls.len() > KEPT_MAX {
            self.takeovers.truncate(KEPT_MAX / 2);
            self.stalls.truncate(KEPT_MAX / 2);
            self.doubt("more happened than is kept".to_owned());
        }
    }

    fn doubt(&mut self, why: String) {
        if self.unproven.len() < DOUBTS_MAX {
            self.unproven.push(why);
        }
    }

    fn finish(mut self) -> Soaked {
        if self.all_ran != Some(true) {
            self.doubt("not every daemon ran when the pair had settled".to_owned());
        }
        let stalls = merged(self.stalls);
        let mut soaked = Soaked {
            unproven: self.unproven,
            stalls: u32::try_from(stalls.len()).unwrap_or(u32::MAX),
            ..Soaked::default()
        };
        for (since, until) in &stalls {
            let lasted = until.since(*since);
            soaked.stalled += lasted;
            soaked.longest_stall = soaked.longest_stall.max(lasted);
        }
        let excuses = |at: Instant| {
            let mut stalls = stalls.iter();
            stalls.any(|(since, until)| *since <= at && at <= until.after(AFTERMATH))
        };
        let mut last: Option<Instant> = None;
        for at in self.takeovers {
            // One takeover is several events: what follows within the aftermath belongs to it.
            let same = last.is_some_and(|last| at.since(last) < AFTERMATH);
            last = Some(at);
            if same {
                continue;
            }
            if excuses(at) {
                soaked.excused += 1;
            } else {
                soaked.takeovers += 1;
                soaked.first.get_or_insert(at);
            }
        }
        soaked
    }
}

/// Stretches that touch, as one: several instruments tell of the same.
fn merged(mut stretches: Vec<(Instant, Instant)>) -> Vec<(Instant, Instant)> {
    stretches.sort();
    let mut merged: Vec<(Instant, Instant)> = Vec::new();
    for (since, until) in stretches {
        match merged.last_mut() {
            Some(last) if since <= last.1 => last.1 = last.1.max(until),
            Some(_) | None => merged.push((since, until)),
        }
    }
    merged
}

/// Threads that keep processors busy until they are dropped.
struct Burners {
    over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Burners {
    fn start(count: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let burn = |_| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    (0..SPINS).for_each(|it| {
                        std::hint::black_box(it);
                    });
                }
            })
        };
        Self {
            threads: (0..count).map(burn).collect(),
            over,
        }
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has burnt less, which nobody misses.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use steadfast_scenarios::SegmentId;

    use super::*;

    fn tally(events: &[(u64, EventKind)]) -> Soaked {
        let mut tally = Tally::new(2);
        for (millis, kind) in events {
            tally.take(&Event::new(Instant::from_millis(*millis), kind.clone()));
        }
        tally.finish()
    }

    fn process(gateway: u8, state: ProcessState) -> EventKind {
        let gateway = NodeId(gateway);
        EventKind::Process { gateway, state }
    }

    fn owner(gateway: u8, answered: bool) -> EventKind {
        EventKind::Owner {
            segment: SegmentId(0),
            gateway: NodeId(gateway),
            address: 0,
            answered,
        }
    }

    fn blind(since: u64) -> EventKind {
        EventKind::Blind {
            since: Instant::from_millis(since),
            why: "late".to_owned(),
        }
    }

    const UP: [(u64, ProcessState); 2] =
        [(900, ProcessState::Running), (950, ProcessState::Running)];

    fn both_up() -> Vec<(u64, EventKind)> {
        let up =
            |(gateway, (at, state)): (u8, &(u64, ProcessState))| (*at, process(gateway, *state));
        (1..).zip(&UP).map(up).collect()
    }

    /// An election is none; a move later is one takeover, however many events tell of it; one in a
    /// stalled stretch or after it is told apart, and stretches that overlap count once.
    #[test]
    fn soak_counts_takeovers_and_what_excuses_them() {
        let mut events = both_up();
        events.extend([
            (1_000, owner(1, true)),
            (9_000, owner(1, false)),
            (9_001, owner(2, true)),
            (20_250, owner(1, true)),
            (20_300, blind(20_000)),
            (20_400, blind(20_100)),
            (21_300, owner(2, true)),
            (30_000, owner(2, false)),
        ]);
        let soaked = tally(&events);
        assert_eq!((soaked.takeovers, soaked.excused), (2, 2));
        assert_eq!(soaked.first, Some(Instant::from_millis(9_000)));
        assert_eq!(
            (soaked.stalls, soaked.stalled),
            (1, Duration::from_millis(400))
        );
        assert!(soaked.unproven.is_empty());
    }

    /// A pair that nothing happens to has none.
    #[test]
    fn soak_of_a_quiet_pair_counts_nothing() {
        let mut events = both_up();
        events.extend([(1_000, owner(1, true)), (9_000, EventKind::End)]);
        assert_eq!(tally(&events), Soaked::default());
    }

    /// Without a second daemon nobody can take over, and with a failed instrument nobody sees it.
    #[test]
    fn soak_proves_nothing_without_a_standby_or_with_a_failed_instrument() {
        let one = [
            (900, process(1, ProcessState::Running)),
            (9_000, EventKind::End),
        ];
        assert_eq!(tally(&one).unproven.len(), 1);
        let mut ended = both_up();
        ended.push((9_000, process(2, ProcessState::Killed)));
        assert_eq!(tally(&ended).unproven.len(), 1);
        let mut failed = both_up();
        failed.extend([(2_000, blind(2_000)), (9_000, EventKind::End)]);
        assert_eq!(tally(&failed).unproven, ["late"]);
    }
}
