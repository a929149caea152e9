//! A long quiet run under load: does anybody take over from a living active?
//!
//! Every processor is kept busy by a thread that does nothing else, at ordinary priority, beside
//! the lab; the daemons have what priority the machine grants them. Nothing happens to the pair for
//! minutes or hours. Each change of who answers and each CLAIM after the pair has settled is a
//! false takeover. Where the host itself stood still nobody can tell who was to blame: takeovers
//! in or right after such a stretch are counted apart, and the share of such stretches is told.

use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};
use steadfast_core::Instant;
use steadfast_scenarios::trace::{Event, EventKind, FrameKind};
use steadfast_scenarios::{Judge, Scenario, Verdict};

use crate::agent::Steadfast;
use crate::error::LabError;
use crate::eyes::{Opened, Wanted};
use crate::ground::Wiring;
use crate::instruments::RunClock;
use crate::lab::Lab;
use crate::machine::Setup;
use crate::visit::{self, Company, visit};
use crate::world::{self, Agent};

/// The hidden first argument of a worker that soaks.
pub(crate) const LAB_SOAK: &str = "lab-soak";
/// By then the pair has elected.
const SETTLED: Duration = Duration::from_secs(5);
/// A takeover so long after a stalled stretch may be its consequence.
const AFTERMATH: Duration = Duration::from_secs(1);
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
         [[expect]]\noracle = \"no_flap\"\nmax_moves = 0\nafter = \"{}ms\"\n",
        crate::bench::timing(request.interval),
        SETTLED.as_millis()
    )
}

fn soaked(request: &Request) -> Result<Soaked, LabError> {
    let needs = |why: String| LabError::Needs(why);
    let plan = Scenario::parse("soak.toml", &story(request))
        .and_then(|scenario| scenario.resolve(request.seed))
        .map_err(|why| needs(why.to_string()))?;
    let mut agent = Steadfast::new(&request.program);
    let setups = world::setups(&plan, &agent).map_err(needs)?;
    let setup = |name: &str| -> Setup {
        let found = setups.iter().find(|(known, _)| known == name);
        found.map(|(_, setup)| setup.clone()).unwrap_or_default()
    };
    let mut lab = Lab::build(&plan.layout, Wiring::Plain, setup)?;
    let macs = world::virtual_macs(&plan, &agent);
    let opened = Opened::new(&plan, &lab, Wanted::default(), &macs)?;
    let clock = RunClock::start();
    agent.begin(clock);
    let mut sight = opened.watch(&plan, clock, None)?;
    let mut judge = Judge::new(&plan);
    let mut tally = Tally::default();
    let burners = Burners::start(request.burners);
    let mut sink = |event: &Event| tally.take(event);
    world::run(
        &plan, &mut lab, &mut agent, &mut sight, &mut judge, &mut sink,
    )?;
    drop(burners);
    if !tally.elected {
        return Err(needs("a pair that elects: nobody became active".to_owned()));
    }
    let failed = judge.finish(plan.end()).into_iter();
    let failed = failed.filter(|it| it.verdict == Verdict::Fail || it.first_violation.is_some());
    Ok(Soaked {
        watched: request.lasting,
        wrong: failed.map(|it| it.oracle).collect(),
        ..tally.soaked
    })
}

/// Counts as events come.
#[derive(Debug, Default)]
struct Tally {
    elected: bool,
    soaked: Soaked,
    blind_until: Option<Instant>,
    last_takeover: Option<Instant>,
}

impl Tally {
    fn take(&mut self, event: &Event) {
        let settled = Instant::ORIGIN.after(SETTLED);
        match event.kind {
            EventKind::Owner { answered: true, .. } if event.at < settled => self.elected = true,
            EventKind::Blind { since, .. } if event.at >= settled => {
                // Two instruments may tell of one stretch.
                let since = since.max(settled).max(self.blind_until.unwrap_or(settled));
                let lasted = event.at.since(since);
                self.soaked.stalls += 1;
                self.soaked.stalled += lasted;
                self.soaked.longest_stall = self.soaked.longest_stall.max(lasted);
                self.blind_until = Some(event.at.max(self.blind_until.unwrap_or(event.at)));
            }
            EventKind::Owner { .. }
            | EventKind::HandoverFrame {
                kind: FrameKind::Claim,
                ..
            } if event.at >= settled => self.takeover(event.at),
            _ => {}
        }
    }

    /// One takeover is several events: what follows within the aftermath of one belongs to it.
    fn takeover(&mut self, at: Instant) {
        let same = self
            .last_takeover
            .is_some_and(|last| at.since(last) < AFTERMATH);
        self.last_takeover = Some(at);
        if same {
            return;
        }
        let excused = self
            .blind_until
            .is_some_and(|until| at <= until.after(AFTERMATH));
        if excused {
            self.soaked.excused += 1;
        } else {
            self.soaked.takeovers += 1;
            self.soaked.first.get_or_insert(at);
        }
    }
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
    use steadfast_core::NodeId;
    use steadfast_scenarios::SegmentId;

    use super::*;

    fn tally(events: &[(u64, EventKind)]) -> Soaked {
        let mut tally = Tally::default();
        for (millis, kind) in events {
            tally.take(&Event::new(Instant::from_millis(*millis), kind.clone()));
        }
        assert!(tally.elected);
        tally.soaked
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
            why: String::new(),
        }
    }

    /// An election is none; a move later is one takeover, however many events tell of it; one after
    /// a stalled stretch is told apart, and stretches that overlap count once.
    #[test]
    fn soak_counts_takeovers_and_what_excuses_them() {
        let soaked = tally(&[
            (1_000, owner(1, true)),
            (9_000, owner(1, false)),
            (9_001, owner(2, true)),
            (20_300, blind(20_000)),
            (20_400, blind(20_100)),
            (21_000, owner(1, true)),
        ]);
        assert_eq!((soaked.takeovers, soaked.excused), (1, 1));
        assert_eq!(soaked.first, Some(Instant::from_millis(9_000)));
        assert_eq!(soaked.stalled, Duration::from_millis(400));
        assert_eq!(soaked.longest_stall, Duration::from_millis(300));
    }

    /// A pair that nothing happens to has none.
    #[test]
    fn soak_of_a_quiet_pair_counts_nothing() {
        let soaked = tally(&[(1_000, owner(1, true)), (1_100, owner(2, false))]);
        assert_eq!(soaked, Soaked::default());
    }
}
