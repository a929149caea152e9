//! One run in the world lab, from a scenario file to a judgement.
//!
//! Whoever wants a run calls [`play`]: it [visits](crate::visit) a new lab, with the calling
//! program as its worker. The worker builds, plays, judges and ends, and the kernel cleans up
//! behind it. So a run can be killed at any time, and runs side by side know nothing of each other
//! but when all have built and when all are over.
//!
//! The hard case is evidence: a host that stood still has not seen what happened. A stall that is
//! longer than the tolerance makes the run `unknown`; a shorter one lies within it.

use core::time::Duration;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};
use steadfast_scenarios::format::{Capability, Plan, Span};
use steadfast_scenarios::trace::capture::Recording;
use steadfast_scenarios::trace::{Event, EventKind, TraceHash, TraceWriter};
use steadfast_scenarios::{Finding, Gaps, Judge, Scenario, Verdict};

use crate::agent::Steadfast;
use crate::daemons::Daemon;
use crate::doctor;
use crate::error::{Doing, LabError};
use crate::evidence;
use crate::eyes::{Opened, Wanted};
use crate::foreign::{Foreign, judged};
use crate::ground::Wiring;
use crate::instruments::{ASKED_MAX, RunClock, SharedRecording, await_quiet};
use crate::lab::Lab;
use crate::sys::run_early;
use crate::virtual_routers::VirtualRouters;
use crate::visit::{self, Company, Gates, visit};
use crate::wires::needs_relay;
use crate::world::{self, Agent};

/// The hidden first argument of a worker that plays one run.
pub(crate) const LAB_PLAY: &str = "lab-play";
/// What is added to every bound on time here (`[world.lab] tolerance` says otherwise): threads of
/// instruments and daemons share a few processors, probes go each millisecond at best, and ports go
/// dark one after the other. Stalls of the host beyond it blind.
pub const TOLERANCE: Duration = Duration::from_millis(15);
/// How long a `long` scenario without steps is here.
const LONG_MAX: Duration = Duration::from_secs(30);

/// A run that is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The scenario's file, for messages.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The seed.
    pub seed: u64,
    /// The `steadfastd` under test.
    pub daemon: PathBuf,
    /// Or another daemon, which is told what it can be told.
    pub rival: Option<Daemon>,
    /// Where `trace.jsonl`, `run.pcapng`, the daemons' logs and journals go, if they are wanted; an
    /// existing folder.
    pub evidence: Option<PathBuf>,
    /// What labs on this machine offer: from [`survey`].
    pub offers: BTreeSet<Capability>,
    /// Other runs go on beside this one: what they keep the kernel from doing blinds.
    pub beside: bool,
    /// How much later than its company it begins: stories strike at the same time after their
    /// beginning, and not all at once.
    pub later: Duration,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// This machine, or this world, cannot: in words, beginning with what is needed.
    NotRun(String),
    /// It was played.
    Played(Box<Played>),
    /// It could not be played, although it should.
    Refused(String),
}

/// A run that was played and judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Played {
    /// Over all findings.
    pub verdict: Verdict,
    /// What each oracle found.
    pub findings: Vec<Finding>,
    /// Of the trace; no two runs in real time are equal.
    pub trace: TraceHash,
    /// Events in the trace.
    pub event_count: u64,
    /// The longest interruption of through traffic after the first step, if any was measured.
    pub outage: Option<Duration>,
    /// How long it ran.
    pub lasted: Duration,
    /// Stalls of the host that blinded the run.
    pub stall_count: usize,
    /// Steps that were due and struck nobody: the story was not played as it is told.
    pub struck_nobody: usize,
}

/// What scenarios can ask of a lab on this machine; each feature is tried once, in a lab.
///
/// # Errors
/// When no lab can be entered.
pub fn survey() -> Result<BTreeSet<Capability>, LabError> {
    let findings: Vec<doctor::Finding> = visit(doctor::LAB_DOCTOR, &(), &Company::of(1))?;
    Ok(doctor::offers(&findings))
}

/// What is missing to play this here, in words; none if it can be played.
pub fn missing(request: &Request) -> Option<String> {
    match prepared(request) {
        Err(Answer::NotRun(needs)) => Some(needs),
        // Whoever plays it is told why that cannot be.
        Err(_) | Ok(_) => None,
    }
}

/// Plays a run in a lab of its own: built, begun and ended together with its company.
///
/// # Errors
/// When no lab can be entered, or its worker ended without an answer.
pub fn play(request: &Request, company: &Company) -> Result<Answer, LabError> {
    visit(LAB_PLAY, request, company)
}

/// The worker that plays a run.
pub(crate) fn main() -> ExitCode {
    visit::answer(|request: &Request, gates| match answer(request, gates) {
        Ok(answer) => answer,
        Err(LabError::Needs(what)) => Answer::NotRun(what),
        Err(why) => Answer::Refused(why.to_string()),
    })
}

fn answer(request: &Request, gates: &mut Gates) -> Result<Answer, LabError> {
    let (plan, mut agent) = match prepared(request) {
        Ok(prepared) => prepared,
        Err(answer) => return Ok(answer),
    };
    let mut lab = world::build(&plan, &*agent, wiring(&plan, request.beside))?;
    let seen = seen(plan);
    if request.beside {
        await_quiet(RunClock::start()).doing(|| "wait for the kernel".to_owned())?;
    }
    let pass = |gates: &mut Gates| gates.pass().doing(|| "keep step with others".to_owned());
    pass(gates)?;
    let wanted = Wanted {
        recorded: request.evidence.is_some(),
        connections: false,
        calm: false,
        heralds: false,
        beside: request.beside,
        blind_after: Some(tolerance(&seen)),
    };
    let opened = Opened::new(&seen, &lab, wanted, &world::virtual_macs(&seen, &*agent))?;
    // Opening takes long beside others that open: nobody plays before all are open.
    pass(gates)?;
    thread::sleep(request.later);
    let played = run(request, &seen, &mut lab, &mut *agent, opened)?;
    pass(gates)?;
    Ok(Answer::Played(Box::new(played)))
}

/// Frames that are to be slow, doubled or overtaken need a relay; others are better off without.
/// Beside others, what happens to their links is none of this lab's.
fn wiring(plan: &Plan, beside: bool) -> Wiring {
    let is_relayed = plan.steps.iter().any(|step| needs_relay(&step.verb));
    Wiring {
        relayed: is_relayed.then_some(plan.seed),
        prompt: beside,
    }
}

/// The plan to play and the daemon to play it with, or why not.
fn prepared(request: &Request) -> Result<(Plan, Box<dyn Agent>), Answer> {
    let refused = |why: String| Answer::Refused(why);
    let scenario = Scenario::parse(&request.file, &request.text);
    let scenario = scenario.map_err(|why| refused(why.to_string()))?;
    let plan = scenario.resolve(request.seed);
    let plan = scaled(plan.map_err(|why| refused(why.to_string()))?);
    let agent: Box<dyn Agent> = match request.rival {
        None | Some(Daemon::Steadfast) if plan.cluster.vrrp.is_some() => {
            Box::new(VirtualRouters::new(&request.daemon, &plan))
        }
        None | Some(Daemon::Steadfast) => Box::new(Steadfast::new(&request.daemon)),
        Some(rival) => {
            let foreign = Foreign::new(rival, request.daemon.to_string_lossy());
            if let Some(missing) = foreign.uninstalled() {
                return Err(Answer::NotRun(missing.to_owned()));
            }
            Box::new(foreign)
        }
    };
    match world::missing(&plan, &request.offers, &*agent) {
        Some(LabError::Needs(what)) => Err(Answer::NotRun(what)),
        Some(why) => Err(refused(why.to_string())),
        None if is_foreign(request) || plan.cluster.vrrp.is_some() => Ok((judged(plan), agent)),
        None => Ok((plan, agent)),
    }
}

/// Whether it is another daemon than the product that is under test.
fn is_foreign(request: &Request) -> bool {
    request
        .rival
        .is_some_and(|rival| rival != Daemon::Steadfast)
}

/// The plan as it can be watched: of many virtual addresses on a segment only some are asked for,
/// and one that nobody asks for would count as owned by nobody.
pub(crate) fn seen(mut plan: Plan) -> Plan {
    for segment in &mut plan.layout.segments {
        segment.virtuals.truncate(usize::from(ASKED_MAX));
    }
    plan
}

fn run(
    request: &Request,
    plan: &Plan,
    lab: &mut Lab,
    agent: &mut dyn Agent,
    opened: Opened,
) -> Result<Played, LabError> {
    // What starts now is of real time, and must not start before what it is to wait for.
    run_early();
    let clock = RunClock::start();
    agent.begin(clock);
    let recording = recording(request, clock)?;
    let mut sight = opened.watch(plan, clock, recording.clone())?;
    let mut judge = Judge::tolerating(plan, tolerance(plan));
    let mut gaps = Gaps::default();
    let (mut stall_count, mut struck_nobody) = (0, 0);
    let mut writer = writer(request)?;
    let mut sink = |event: &Event| {
        stall_count += usize::from(matches!(event.kind, EventKind::Blind { .. }));
        struck_nobody += usize::from(matches!(event.kind, EventKind::Step { done: false, .. }));
        note(recording.as_ref(), |it| it.tell(event));
        writer.write(event);
        gaps.observe(event);
    };
    world::run(plan, lab, agent, &mut sight, &mut judge, &mut sink)?;
    let findings = judge.finish(plan.end());
    note(recording.as_ref(), |it| {
        it.judged(plan.end(), &findings)?;
        it.flush()
    });
    let event_count = writer.count();
    let trace = writer.finish().doing(|| "store the trace".to_owned())?;
    if let Some(folder) = &request.evidence {
        evidence::keep(plan, lab, folder)?;
    }
    Ok(Played {
        verdict: Verdict::of(&findings),
        findings,
        trace,
        event_count,
        outage: gaps.longest(plan.end()),
        lasted: clock.now().since(steadfast_core::Instant::ORIGIN),
        stall_count,
        struck_nobody,
    })
}

/// A long run in which nothing is planned is cut short: real time is what it would cost.
fn scaled(mut plan: Plan) -> Plan {
    if plan.long && plan.steps.is_empty() {
        plan.duration = plan.duration.min(Span(LONG_MAX));
    }
    plan
}

/// What is added to every bound on time of this plan here.
pub fn tolerance(plan: &Plan) -> Duration {
    let own = plan.worlds.get("lab").and_then(|world| world.tolerance);
    own.map_or(TOLERANCE, |span| span.0)
}

fn writer(request: &Request) -> Result<TraceWriter<Box<dyn io::Write>>, LabError> {
    let Some(folder) = &request.evidence else {
        return Ok(TraceWriter::storing(Box::new(io::sink())));
    };
    let path = folder.join("trace.jsonl");
    let file = File::create(&path).doing(|| format!("write {}", path.display()))?;
    Ok(TraceWriter::storing(Box::new(io::BufWriter::new(file))))
}

fn recording(request: &Request, clock: RunClock) -> Result<Option<SharedRecording>, LabError> {
    let Some(folder) = &request.evidence else {
        return Ok(None);
    };
    let path = folder.join("run.pcapng");
    let file = File::create(&path).doing(|| format!("write {}", path.display()))?;
    let to: Box<dyn io::Write + Send> = Box::new(io::BufWriter::new(file));
    let recording = Recording::new(to, clock.wall_origin());
    let recording = recording.doing(|| format!("write {}", path.display()))?;
    Ok(Some(Arc::new(Mutex::new(recording))))
}

/// Writes between the recorded frames what happened, or came out.
fn note(
    recording: Option<&SharedRecording>,
    write: impl FnOnce(&mut Recording<Box<dyn io::Write + Send>>) -> io::Result<()>,
) {
    if let Some(recording) = recording {
        let mut recording = recording.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk shows when the recording is finished.
        let _ = write(&mut recording);
    }
}
