//! The world lab, as campaigns see it: which daemon, what machine, and a run as any other.
//!
//! The daemon under test is a process, so it must be there: beside this command and built from the
//! same sources, or built now through the Cargo that started us. A daemon of other sources is never
//! taken unseen; another one is named with `--daemon`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

use steadfast_netlab::play::{Answer, Played, Request, play};
use steadfast_netlab::{DAEMON_SOURCES, LabError};
use steadfast_scenarios::{Scenario, Verdict};

use crate::problem::Problem;
use crate::runs::{self, Run};

/// The daemon's file name.
const DAEMON: &str = "steadfastd";
/// Runs side by side in a qualification. A run mostly waits, but the kernel has one configuration
/// lock: beside others that build and end their labs hardly any run proves anything.
pub(crate) const RUNS_AT_ONCE: usize = 1;

/// What became of a run that was wanted.
#[derive(Clone, Debug)]
pub(crate) enum Lab {
    /// This machine or this world cannot run it: what is needed.
    NotRun(String),
    /// It was run.
    Run(Run),
}

/// Plays a scenario in a lab of its own; `beside` says that others run on this machine.
pub(crate) fn run(
    scenario: &Scenario,
    seed: u64,
    daemon: &Path,
    evidence: Option<&Path>,
    beside: bool,
) -> Lab {
    let name = scenario.plan().name.clone();
    let request = Request {
        file: scenario.file().to_owned(),
        text: scenario.to_toml().to_owned(),
        seed,
        daemon: daemon.to_owned(),
        evidence: evidence.map(Path::to_owned),
        beside,
    };
    match play(&request) {
        Ok(Answer::Played(played)) => Lab::Run(told(name, seed, *played)),
        Ok(Answer::NotRun(needs)) | Err(LabError::Needs(needs)) => {
            Lab::NotRun(format!("needs {needs}"))
        }
        Ok(Answer::Refused(why)) => Lab::Run(Run::unplayed(&name, seed, why)),
        Err(why @ LabError::Enter { .. }) => Lab::NotRun(why.to_string()),
        Err(why @ LabError::System { .. }) => Lab::Run(Run::unplayed(&name, seed, why.to_string())),
    }
}

fn told(scenario: String, seed: u64, played: Played) -> Run {
    let mut run = Run {
        scenario,
        seed,
        verdict: played.verdict,
        complaints: runs::complaints(&played.findings, played.verdict),
        armed: runs::armed(&played.findings),
        trace: Some(played.trace),
        outage: played.outage,
        simulated: played.lasted,
        logs: Vec::new(),
    };
    if played.verdict != Verdict::Pass {
        run.logs = played.logs;
    }
    run
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
