//! The two sets of circumstances under which an audited run is played.
//!
//! They differ in environment (and with its size in the stack's place), folder, time zone,
//! language, threads, priority, and what the allocator leaves in memory. Hash seeds and the rest
//! of the address layout differ by themselves from process to process, if the kernel is not told
//! otherwise.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of an environment variable that says nothing: it moves the stack.
const NOISE: usize = 3_000;
/// Whether the kernel draws the address layout.
const LAYOUT: &str = "/proc/sys/kernel/randomize_va_space";

/// Circumstances that must not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surroundings {
    /// Nothing that is not needed.
    Bare,
    /// As crowded as a desk.
    Rich,
}

impl Surroundings {
    /// Its name in tables; both have the same length.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Rich => "rich",
        }
    }

    /// This program, in these circumstances.
    pub(crate) fn command(self, program: &Path) -> Command {
        match self {
            Self::Bare => {
                let mut command = Command::new(program);
                command.env_clear().current_dir("/").envs([
                    ("PATH", "/usr/bin:/bin"),
                    ("HOME", "/nonexistent"),
                    ("TZ", "Asia/Tokyo"),
                    ("LC_ALL", "C"),
                    ("MALLOC_PERTURB_", "85"),
                ]);
                command
            }
            Self::Rich => {
                // With all its threads it would be done long before the other, which has one.
                let mut command = Command::new("nice");
                command.args(["-n", "19"]).arg(program);
                command.current_dir(folder()).env_remove("MALLOC_PERTURB_");
                command.env("NOISE", "x".repeat(NOISE)).envs([
                    ("TZ", "America/St_Johns"),
                    ("LANG", "de_DE.UTF-8"),
                    ("COLUMNS", "40"),
                    ("MALLOC_ARENA_MAX", "1"),
                ]);
                command
            }
        }
    }

    /// How many threads play there; none is as many as can run at once.
    pub(crate) const fn threads(self) -> Option<usize> {
        match self {
            Self::Bare => Some(1),
            Self::Rich => None,
        }
    }
}

/// Whether each process gets an address layout of its own here.
pub(crate) fn address_layouts_differ() -> bool {
    fs::read_to_string(LAYOUT).is_ok_and(|told| told.trim() != "0")
}

fn folder() -> PathBuf {
    std::env::temp_dir()
}
