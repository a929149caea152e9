//! The flight recorder's files, shown, checked and played again; no daemon is needed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::Verdict;
use crate::config::{Offline, load};
use crate::journal::{Hole, Life, Outcome, Reading, Stored, read, replay};

/// What is done with a recording.
#[derive(Debug, Subcommand)]
pub(super) enum JournalVerb {
    /// Print every entry.
    Show {
        /// The journal's directory.
        folder: PathBuf,
    },
    /// Feed every life to a fresh node, and say where that does something else.
    Replay {
        /// The journal's directory.
        folder: PathBuf,
        /// The configuration that names the secret of then.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check every byte, and say what is there and what is missing.
    Verify {
        /// The journal's directory.
        folder: PathBuf,
    },
}

/// Carries it out. A life that cannot be replayed to its end is said so, and is no failure. A
/// directory that cannot be listed is refused like a damaged recording.
pub(super) fn carry_out(
    verb: &JournalVerb,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Verdict> {
    let (JournalVerb::Replay { folder, .. }
    | JournalVerb::Show { folder }
    | JournalVerb::Verify { folder }) = verb;
    let reading = match read(folder) {
        Ok(reading) => reading,
        Err(why) => {
            writeln!(err, "error: {} cannot be read: {why}", folder.display())?;
            return Ok(Verdict::Refused);
        }
    };
    match verb {
        JournalVerb::Replay { config, .. } => play(&reading, folder, config, out, err),
        JournalVerb::Show { .. } => show(&reading, folder, true, out),
        JournalVerb::Verify { .. } => show(&reading, folder, false, out),
    }
}

fn show(reading: &Reading, folder: &Path, whole: bool, out: &mut dyn Write) -> io::Result<Verdict> {
    for life in &reading.lives {
        writeln!(out, "{}", life.facts)?;
        if whole {
            for entry in &life.entries {
                writeln!(out, "{:>14} {}", entry.at.to_string(), entry.what)?;
            }
        }
        summary(life, out)?;
    }
    for path in &reading.unreadable {
        writeln!(out, "{} is not readable as a journal", path.display())?;
    }
    if reading.lives.is_empty() {
        writeln!(out, "no recorded life in {}", folder.display())?;
    }
    Ok(verdict(reading))
}

fn play(
    reading: &Reading,
    folder: &Path,
    file: &Path,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Verdict> {
    let loaded = match load(file, &Offline) {
        Ok(loaded) => loaded,
        Err(report) => return super::config::refused(&report, err),
    };
    if !loaded.daemon.secret_file.exists() {
        let secret = loaded.daemon.secret_file.display();
        writeln!(
            err,
            "error: a replay needs the secret of then, and {secret} is missing"
        )?;
        return Ok(Verdict::Refused);
    }
    let mut verdict = Verdict::Done;
    for life in &reading.lives {
        let outcome = replay(life, &loaded.config.keys);
        writeln!(out, "{}\n  {outcome}", life.facts)?;
        match outcome {
            Outcome::Equal { .. } | Outcome::Gap { .. } | Outcome::NoStart => {}
            Outcome::Differs { .. } | Outcome::WrongKeys(_) => verdict = Verdict::Refused,
        }
    }
    if reading.lives.is_empty() {
        writeln!(out, "no recorded life in {}", folder.display())?;
    }
    Ok(verdict)
}

fn summary(life: &Life, out: &mut dyn Write) -> io::Result<()> {
    let lost = life.entries.iter().map(|entry| match entry.what {
        Stored::Gap(count) => count,
        Stored::Config(_)
        | Stored::Effect(_)
        | Stored::End
        | Stored::Hole(_)
        | Stored::Input(_)
        | Stored::Status(_) => 0,
    });
    let start = if life.from_start {
        "from its start"
    } else {
        "its start is gone"
    };
    let end = if life.ended() {
        "ended in order"
    } else {
        "not ended in order"
    };
    let (count, lost) = (life.entries.len(), lost.sum::<u64>());
    writeln!(out, "  {count} entries, {lost} lost, {start}, {end}")?;
    life.holes().try_for_each(|hole| writeln!(out, "  {hole}"))
}

/// A tail torn off by a power cut is no damage; everything else is.
fn verdict(reading: &Reading) -> Verdict {
    let mut holes = reading.lives.iter().flat_map(Life::holes);
    let damaged = holes.any(|hole| match hole {
        Hole::Damaged { .. } | Hole::Missing => true,
        Hole::Torn { .. } => false,
    });
    if damaged || !reading.unreadable.is_empty() {
        Verdict::Refused
    } else {
        Verdict::Done
    }
}
