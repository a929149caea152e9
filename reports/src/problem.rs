//! Why the command could not be carried out as given. Ends with exit code 3.
//!
//! A failed run is no problem but a result; these are about usage, files and terminals.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use steadfast_scenarios::ScenarioError;
use steadfast_scenarios::trace::TraceError;
use thiserror::Error;

/// Why the command could not be carried out as given.
#[derive(Debug, Diagnostic, Error)]
pub(crate) enum Problem {
    /// Real time is never twice the same.
    #[error("failed to audit the world lab: no two runs in real time are equal")]
    #[diagnostic(help("hold lab and simulators against each other with `steadfast fidelity`"))]
    AuditOfLab,
    /// Cargo cannot be started.
    #[error("failed to start cargo")]
    #[diagnostic(help(
        "a Rust tool chain must be installed, and `cargo` in PATH or named by CARGO"
    ))]
    Cargo(#[source] io::Error),
    /// What was to be measured did not go as it must.
    #[error("failed to measure {0}")]
    Bench(String),
    /// The daemon under test is not there.
    #[error("failed to find the daemon under test")]
    #[diagnostic(help(
        "build it with `cargo build --release -p steadfast`, or name it with --daemon FILE"
    ))]
    Daemon(#[source] io::Error),
    /// The explorer cannot begin, or what it found cannot be stored.
    #[error("failed to explore: {0}")]
    Explore(String),
    /// A process that plays runs for us did not.
    #[error("failed to play in a process of its own")]
    Player(#[source] io::Error),
    /// No recorded life is there.
    #[error("failed to find a recorded life in {}", path.display())]
    #[diagnostic(help(
        "give a gateway's journal: the folder `journal` in its state directory, or what a run \
         of the lab left as `NAME.journal`"
    ))]
    NoLife {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// No life of that number is there.
    #[error("failed to find life {wanted}: {} has {count}", path.display())]
    #[diagnostic(help(
        "lives are counted from 1, the oldest first; leave --life out for the last"
    ))]
    NoSuchLife {
        /// The journal.
        path: PathBuf,
        /// Which was wanted.
        wanted: usize,
        /// How many there are.
        count: usize,
    },
    /// A daemon to compare with is not there.
    #[error("failed to compare with {daemon}: {path} is not installed")]
    #[diagnostic(help("install it, or leave it out of --daemons"))]
    NotInstalled {
        /// Which.
        daemon: String,
        /// Its program.
        path: &'static str,
    },
    /// A file of removals is wrong.
    #[error("failed to take the removals of {file}: {what}")]
    Removal {
        /// Which file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// The sources with the removals in them cannot be built.
    #[error("failed to build the sources with every removal in them")]
    #[diagnostic(help(
        "cargo says above why; where it names an edit, `new` must be as sound as `old`"
    ))]
    RemovalBuild,
    /// A removal replaces what is not there, or is there more than once.
    #[error("failed to put the removal `{name}` into {file}: found {count} times: {first}")]
    #[diagnostic(help(
        "the sources have changed since: bring `old` up to date in scenarios/removals, so that it \
         stands there exactly once"
    ))]
    RemovalMisfit {
        /// The removal.
        name: String,
        /// The file.
        file: String,
        /// How often it was found.
        count: usize,
        /// The first line of what was looked for.
        first: String,
    },
    /// The folder of the copy is not ours.
    #[error("failed to take {} for the copy of the sources: {why}", path.display())]
    #[diagnostic(help("name a folder that is new or empty with --work DIR"))]
    RemovalFolder {
        /// Which.
        path: PathBuf,
        /// What is against it.
        why: &'static str,
    },
    /// Simulators run the product's own code.
    #[error("failed to put another daemon under test: simulators run the product alone")]
    #[diagnostic(help("say --world lab, which runs daemons on real kernels"))]
    RivalOutsideLab,
    /// Nothing of that id can be claimed.
    #[error("failed to find the claim `{id}`")]
    #[diagnostic(help("`steadfast cover` lists them all: D9, F08 and R3.2 are some"))]
    UnknownClaim {
        /// What was asked for.
        id: String,
    },
    /// No such daemon is known.
    #[error("failed to find the daemon `{0}`")]
    #[diagnostic(help("there are steadfast, keepalived, frr, ucarp and steadfast-vrrp"))]
    UnknownDaemon(String),
    /// A claim that nobody wrote a removal for.
    #[error("failed to find a removal for the claim {id}: none is written")]
    #[diagnostic(help("it stands on its stories' word: `steadfast cover {id}` names them"))]
    NoRemoval {
        /// The claim.
        id: String,
    },
    /// No such removal is written.
    #[error("failed to find the removal `{name}`")]
    #[diagnostic(help("`steadfast removals --list` tells them all, with the claims they show"))]
    UnknownRemoval {
        /// What was asked for.
        name: String,
    },
    /// The text cannot be written.
    #[error("failed to print")]
    Print(#[source] io::Error),
    /// A file or folder cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
    /// A scenario file is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Scenario(#[from] Box<ScenarioError>),
    /// A secret file cannot be used.
    #[error("failed to take the keys: {what}")]
    Secret {
        /// What is wrong, with its file.
        what: String,
        /// What to do.
        #[help]
        cure: String,
    },
    /// Campaigns of many seeds are for simulated time.
    #[error("failed to sweep the world lab: a second there costs a second")]
    #[diagnostic(help("play some seeds with `steadfast run NAME --world lab --seeds A..B`"))]
    SweepOfLab,
    /// More than the command takes.
    #[error("failed to take on {what}: at most {max} at once")]
    #[diagnostic(help("split the work into several commands"))]
    TooMuch {
        /// How many of what was asked.
        what: String,
        /// The bound.
        max: u64,
    },
    /// A trace is no trace.
    #[error("failed to read the trace {}", path.display())]
    Trace {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        reason: TraceError,
    },
    /// A trace does not say which run it is of.
    #[error("failed to tell the run of {}: its first line names no scenario", path.display())]
    #[diagnostic(help("give the file that `steadfast run NAME --traces DIR` wrote, unchanged"))]
    TraceOfNothing {
        /// Its file.
        path: PathBuf,
    },
    /// No scenario is called so.
    #[error("failed to find a scenario called `{name}`")]
    UnknownName {
        /// The name.
        name: String,
        /// What to do.
        #[help]
        advice: String,
    },
    /// A file or folder cannot be written.
    #[error("failed to write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
}

impl Problem {
    /// For `map_err`: this path cannot be read.
    pub(crate) fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |reason| Self::Read {
            path: path.to_owned(),
            reason,
        }
    }

    /// For `map_err`: this path cannot be written.
    pub(crate) fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |reason| Self::Write {
            path: path.to_owned(),
            reason,
        }
    }

    /// Whether the reader of the output went away, as `head` does.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Print(reason) => reason.kind() == io::ErrorKind::BrokenPipe,
            Self::AuditOfLab
            | Self::Bench(_)
            | Self::Cargo(_)
            | Self::Daemon(_)
            | Self::Explore(_)
            | Self::Player(_)
            | Self::NoLife { .. }
            | Self::NoRemoval { .. }
            | Self::NoSuchLife { .. }
            | Self::NotInstalled { .. }
            | Self::Read { .. }
            | Self::Removal { .. }
            | Self::RemovalBuild
            | Self::RemovalMisfit { .. }
            | Self::RemovalFolder { .. }
            | Self::RivalOutsideLab
            | Self::Scenario(_)
            | Self::Secret { .. }
            | Self::SweepOfLab
            | Self::TooMuch { .. }
            | Self::Trace { .. }
            | Self::TraceOfNothing { .. }
            | Self::UnknownClaim { .. }
            | Self::UnknownDaemon(_)
            | Self::UnknownName { .. }
            | Self::UnknownRemoval { .. }
            | Self::Write { .. } => false,
        }
    }
}

impl From<ScenarioError> for Problem {
    fn from(error: ScenarioError) -> Self {
        Self::Scenario(Box::new(error))
    }
}
