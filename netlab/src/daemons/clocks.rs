//! Wall clocks of their own for the gateways of a lab.
//!
//! One kernel has one wall clock, which no namespace splits and no lab may set. So what runs on a
//! gateway is shown another one: libfaketime stands before the C library and adds what a file says,
//! read at every look. Monotonic clocks and timers stay the kernel's, as when a real clock is set.
//!
//! Only a plan that moves clocks puts it there. Limit: what asks the kernel itself is shown the
//! host's clock, so a program that stamps files must say which time it means ([`touching`]).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use steadfast_scenarios::format::{Capability, Plan, Shift, Verb};

use super::FOLDER;
use crate::machine::Setup;

/// The file in [`FOLDER`] that says how a gateway's wall clock goes.
pub const CLOCK_FILE: &str = "clock";

/// Where distributions have the library, below a folder of the machine's kind or none.
const ROOTS: [&str; 2] = ["/usr/lib", "/usr/lib64"];
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The library that shows other clocks, if this machine has it (Debian: `libfaketime`).
pub fn library() -> Option<PathBuf> {
    let below = |root: &str| -> Vec<PathBuf> {
        let kinds = fs::read_dir(root).into_iter().flatten().flatten();
        let kinds = kinds.map(|entry| entry.path());
        kinds.chain([root.into()]).collect()
    };
    let mut folders = ROOTS.into_iter().flat_map(below);
    folders.find_map(|folder| Some(folder.join(LIBRARY)).filter(|file| works(file)))
}

/// Whether programs of this machine see another clock through it: the linker passes over one that
/// is for other machines, and nothing would move.
fn works(library: &Path) -> bool {
    const YEAR: [&str; 2] = ["-u", "+%Y"];
    let asked = |changed: bool| {
        let mut date = Command::new("date");
        date.args(YEAR).stdin(Stdio::null()).stderr(Stdio::null());
        if changed {
            date.env("LD_PRELOAD", library).env("FAKETIME", "-20y");
        }
        let said = date.output().ok().filter(|it| it.status.success())?;
        String::from_utf8(said.stdout)
            .ok()?
            .trim()
            .parse::<u32>()
            .ok()
    };
    library.exists()
        && matches!((asked(false), asked(true)), (Some(now), Some(then)) if then + 15 < now)
}

/// How a gateway's wall clock goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallClock {
    /// How far it is from the host's, nanoseconds.
    off: i64,
    /// How much faster it goes, parts per million.
    ppm: i32,
}

impl WallClock {
    /// One that is off by so much.
    pub const fn off(by: Shift) -> Self {
        Self { off: by.0, ppm: 0 }
    }

    /// As this verb leaves it; none if it is none of clocks.
    pub const fn moved(self, verb: &Verb) -> Option<Self> {
        match verb {
            Verb::ClockStep { by } => Some(Self {
                off: self.off.saturating_add(by.0),
                ..self
            }),
            Verb::ClockSkew { ppm } => Some(Self { ppm: *ppm, ..self }),
            _ => None,
        }
    }

    /// In the library's words.
    pub fn words(self) -> String {
        let sign = if self.off < 0 { '-' } else { '+' };
        let off = Duration::from_nanos(self.off.unsigned_abs());
        let rate = i64::from(self.ppm) + 1_000_000;
        let (whole, part) = (rate / 1_000_000, rate % 1_000_000);
        let off = format!("{sign}{}.{:09}", off.as_secs(), off.subsec_nanos());
        match self.ppm {
            0 => format!("{off}\n"),
            _ => format!("{off} x{whole}.{part:06}\n"),
        }
    }
}

/// Lets a gateway have a clock of its own, where the plan moves one.
///
/// # Errors
/// What is missing, in words.
pub(super) fn give(setup: &mut Setup, plan: &Plan, at_first: Shift) -> Result<(), String> {
    if !plan.needs().contains(&Capability::Clocks) {
        return Ok(());
    }
    let library = library().ok_or("clocks: libfaketime")?;
    let words = WallClock::off(at_first).words().into_bytes();
    setup.files.insert(CLOCK_FILE.to_owned(), words);
    let said = [
        ("LD_PRELOAD", library.to_string_lossy().into_owned()),
        ("FAKETIME_TIMESTAMP_FILE", format!("{FOLDER}/{CLOCK_FILE}")),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let said: BTreeMap<String, String> = said.map(|(name, is)| (name.to_owned(), is)).into();
    setup.env.extend(said);
    Ok(())
}

/// A program that touches a file twice a second, by the gateway's own clock, while it is there.
pub(super) fn touching(file: &str) -> Vec<String> {
    let round = format!("touch -c -d \"@$(date +%s.%N)\" {file}; sleep 0.5");
    let script = format!("while :; do {round}; done");
    ["/bin/sh", "-c", &script].map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_said_in_the_words_of_the_library() {
        let clock = WallClock::off(Shift(-1_500_000_000));
        assert_eq!(clock.words(), "-1.500000000\n");
        let by = Shift(3_600_000_000_000);
        let clock = clock.moved(&Verb::ClockStep { by }).unwrap();
        assert_eq!(clock.words(), "+3598.500000000\n");
        let clock = clock.moved(&Verb::ClockSkew { ppm: -500 }).unwrap();
        assert_eq!(clock.words(), "+3598.500000000 x0.999500\n");
        assert_eq!(clock.moved(&Verb::Kill), None);
    }
}
