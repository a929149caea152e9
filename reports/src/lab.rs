//! The world lab, as campaigns see it: which daemon, what machine, and a run as any other.
//!
//! The daemon under test is a process, so it must be there: beside this command and built from the
//! same sources, or built now through the Cargo that started us. A daemon of other sources is never
//! taken unseen; another one is named with `--daemon`.

pub(crate) mod company;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;
use std::{env, io};

use steadfast_netlab::daemons::Daemon;
use steadfast_netlab::play::{self, Answer, Request, missing, play, survey};
use steadfast_netlab::{Company, DAEMON_SOURCES, LabError};
use steadfast_scenarios::format::{Allow, Capability, Check, Expectation, Verb};
use steadfast_scenarios::{Scenario, Verdict};

use crate::problem::Problem;
use crate::runs::{self, Run};

/// The daemon's file name.
const DAEMON: &str = "steadfastd";
/// Runs side by side begin so much one after the other, so that no two of one story strike at once;
/// and closer if they are many, since none may begin when the first one ends.
const STAGGER: Duration = Duration::from_millis(600);
/// The last of them begins so long before the first ends: what watches a lab is opened by then.
const BEFORE_END: Duration = Duration::from_secs(1);
/// Oracles that no lack of time excuses.
pub(crate) const SAFETY: [&str; 3] = [
    "at_most_one_active",
    "pacified_stays_out",
    "standby_is_silent",
];
/// Runs side by side in a qualification.
pub(crate) const RUNS_AT_ONCE: usize = 3;

/// A run that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    /// What to play.
    pub(crate) scenario: &'a Scenario,
    /// With this seed.
    pub(crate) seed: u64,
    /// With another daemon than the product, if one is named.
    pub(crate) rival: Option<Daemon>,
    /// Where its evidence goes, if it is wanted; an existing folder.
    pub(crate) evidence: Option<PathBuf>,
}

/// What became of a run that was wanted.
#[derive(Clone, Debug)]
pub(crate) enum Lab {
    /// This machine or this world cannot run it: what is needed.
    NotRun(String),
    /// It was run.
    Run(Run),
}

/// What became of one of several.
pub(crate) struct Played {
    /// Its place among them.
    pub(crate) place: usize,
    /// Others ran at the same time.
    pub(crate) beside: bool,
    /// What became of it.
    pub(crate) lab: Lab,
}

/// A daemon under test, and what this machine can do with it.
pub(crate) struct Bench {
    daemon: PathBuf,
    /// Or why no lab can be entered.
    offers: Result<BTreeSet<Capability>, String>,
}

impl Bench {
    /// For this daemon or the one that belongs to this command; every feature is tried once.
    ///
    /// # Errors
    /// There is no such daemon and none can be built.
    pub(crate) fn set_up(wanted: Option<&Path>) -> Result<Self, Problem> {
        let daemon = daemon(wanted)?;
        let offers = survey().map_err(|why| why.to_string());
        Ok(Self { daemon, offers })
    }

    /// Plays them, so many side by side, and gives each result as it comes: first
    /// what cannot be run; then, unless one by one, the longest, and last, alone, what must be.
    pub(crate) fn play_all<E>(
        &self,
        wanted: &[Wanted<'_>],
        at_once: usize,
        goes_alone: fn(&Scenario) -> bool,
        mut take: impl FnMut(Played) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut playable = Vec::new();
        for (place, it) in wanted.iter().enumerate() {
            match self.request(it) {
                Ok(request) => playable.push((place, request)),
                Err(needs) => take(Played {
                    place,
                    beside: false,
                    lab: Lab::NotRun(needs),
                })?,
            }
        }
        if at_once > 1 {
            // Runs that begin together should end together.
            let lasts = |place: &usize| wanted[*place].scenario.plan().duration;
            let alone = |place: &usize| goes_alone(wanted[*place].scenario);
            playable.sort_by_key(|(place, _)| (alone(place), Reverse(lasts(place))));
        }
        let side_by_side = playable
            .partition_point(|(place, _)| at_once == 1 || !goes_alone(wanted[*place].scenario));
        let (side_by_side, alone) = playable.split_at(side_by_side);
        let groups = side_by_side.chunks(at_once.max(1)).chain(alone.chunks(1));
        for group in groups {
            let company = Company::of(group.len());
            let stagger = stagger(group.iter().map(|(place, _)| wanted[*place].scenario));
            let labs: Vec<_> = thread::scope(|scope| {
                let start = |(at, (place, request)): (u32, &'_ (usize, Request))| {
                    let (company, wanted, place) = (&company, &wanted[*place], *place);
                    let mut request = request.clone();
                    request.later = stagger * at;
                    request.beside = group.len() > 1;
                    scope.spawn(move || (place, played(wanted, &request, company)))
                };
                let threads: Vec<_> = (0..).zip(group).map(start).collect();
                threads.into_iter().map(ScopedJoinHandle::join).collect()
            });
            for lab in labs {
                let (place, lab) = lab.unwrap_or_else(|panic| resume_unwind(panic));
                let beside = group.len() > 1;
                take(Played { place, beside, lab })?;
            }
        }
        Ok(())
    }

    /// Plays one alone.
    pub(crate) fn play(&self, wanted: &Wanted<'_>) -> Lab {
        match self.request(wanted) {
            Ok(request) => played(wanted, &request, &Company::of(1)),
            Err(needs) => Lab::NotRun(needs),
        }
    }

    /// What to ask of a lab, or what is missing.
    fn request(&self, wanted: &Wanted<'_>) -> Result<Request, String> {
        let request = Request {
            file: wanted.scenario.file().to_owned(),
            text: wanted.scenario.to_toml().to_owned(),
            seed: wanted.seed,
            daemon: self.daemon.clone(),
            rival: wanted.rival,
            evidence: wanted.evidence.clone(),
            offers: self.offers.clone()?,
            beside: false,
            later: Duration::ZERO,
        };
        match missing(&request) {
            None => Ok(request),
            Some(needs) => Err(format!("needs {needs}")),
        }
    }
}

/// How much one after the other these begin.
fn stagger<'a>(group: impl ExactSizeIterator<Item = &'a Scenario>) -> Duration {
    let others = u32::try_from(group.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let shortest = group.map(|scenario| scenario.plan().duration.0).min();
    let room = shortest.unwrap_or_default().saturating_sub(BEFORE_END);
    room.checked_div(others)
        .map_or(STAGGER, |room| room.min(STAGGER))
}

/// Whether a story must have the machine for itself: one that reboots takes the kernel from the
/// others, and one that allows two owners for some milliseconds is not to be excused by them.
pub(crate) fn goes_alone(scenario: &Scenario) -> bool {
    let bounds_two_owners = |expect: &Expectation| {
        matches!(expect.check, Check::AtMostOneActive { .. })
            && matches!(expect.allow, Some(Allow::UpTo(_)))
    };
    reboots(scenario) || scenario.plan().expects.iter().any(bounds_two_owners)
}

/// A box that boots again gets a fresh kernel: its ports move to another namespace, and while they
/// do the kernel serves nobody else. Beside such a story every other is blind.
fn reboots(scenario: &Scenario) -> bool {
    let mut verbs = scenario.plan().steps.iter().map(|step| &step.verb);
    verbs.any(|verb| {
        matches!(
            verb,
            Verb::PowerOn | Verb::Reboot { .. } | Verb::RebootLoop { .. }
        )
    })
}

/// Which oracles failed a run for being late; none when it did not fail, or not for that alone.
pub(crate) fn failed_late(lab: &Lab) -> Option<String> {
    let Lab::Run(run) = lab else { return None };
    let oracles = run.complaining();
    let unsafe_too = oracles.iter().any(|oracle| SAFETY.contains(oracle));
    // A run that could not be played complains of no oracle.
    let late = run.verdict == Verdict::Fail && run.trace.is_some() && !unsafe_too;
    late.then(|| oracles.into_iter().collect::<Vec<_>>().join(", "))
}

/// Plays it in a lab of its own, together with its company.
fn played(wanted: &Wanted<'_>, request: &Request, company: &Company) -> Lab {
    let name = wanted.scenario.plan().name.clone();
    match play(request, company) {
        Ok(Answer::Played(played)) => Lab::Run(told(name, wanted.seed, &played)),
        Ok(Answer::NotRun(needs)) | Err(LabError::Needs(needs)) => {
            Lab::NotRun(format!("needs {needs}"))
        }
        Ok(Answer::Refused(why)) => Lab::Run(Run::unplayed(&name, wanted.seed, why)),
        Err(why @ LabError::Enter { .. }) => Lab::NotRun(why.to_string()),
        Err(why @ LabError::System { .. }) => {
            Lab::Run(Run::unplayed(&name, wanted.seed, why.to_string()))
        }
    }
}

fn told(scenario: String, seed: u64, played: &play::Played) -> Run {
    Run {
        scenario,
        seed,
        verdict: played.verdict,
        complaints: runs::complaints(&played.findings, played.verdict),
        armed: runs::armed(&played.findings),
        trace: Some(played.trace),
        outage: played.outage,
        simulated: played.lasted,
        blind: played.stall_count > 0,
        struck_nobody: played.struck_nobody > 0,
    }
}

/// The daemon that belongs to this command: beside it, or built now.
///
/// # Errors
/// There is none and none can be built.
pub(crate) fn daemon(wanted: Option<&Path>) -> Result<PathBuf, Problem> {
    if let Some(wanted) = wanted {
        return wanted.canonicalize().map_err(|reason| Problem::Read {
            path: wanted.to_owned(),
            reason,
        });
    }
    let beside = beside().map_err(Problem::Daemon)?;
    if belongs(&beside) {
        return Ok(beside);
    }
    if let Some(cargo) = env::var_os("CARGO") {
        build(&cargo, &beside).map_err(Problem::Daemon)?;
        if belongs(&beside) {
            return Ok(beside);
        }
    }
    let text = format!(
        "{} is missing or was built from other sources",
        beside.display()
    );
    Err(Problem::Daemon(io::Error::other(text)))
}

/// Where the daemon should be: the folder of this command, or that of the tests' profile.
fn beside() -> io::Result<PathBuf> {
    let own = env::current_exe()?;
    let folder = own
        .parent()
        .ok_or_else(|| io::Error::other("this command has no folder"))?;
    let folder = match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().unwrap_or(folder),
        Some(_) | None => folder,
    };
    Ok(folder.join(DAEMON))
}

/// Whether a daemon was built from the sources that this command knows.
fn belongs(daemon: &Path) -> bool {
    let Ok(output) = Command::new(daemon).arg("--version").output() else {
        return false;
    };
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .ends_with(DAEMON_SOURCES)
}

/// Builds the daemon with the profile of this command.
fn build(cargo: &OsString, beside: &Path) -> io::Result<()> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        "steadfast",
        "--bin",
        DAEMON,
    ]);
    command.arg("--manifest-path").arg(manifest);
    let profile = beside.parent().and_then(Path::file_name);
    if profile.is_some_and(|profile| profile == "release") {
        command.arg("--release");
    }
    if let Some(target) = beside.parent().and_then(Path::parent) {
        command.arg("--target-dir").arg(target);
    }
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("building it ended with {status}")))
    }
}
