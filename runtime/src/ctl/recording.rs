//! The flight recorder's files, shown and checked; no daemon is needed.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;

use super::Verdict;
use crate::journal::{Hole, Life, Reading, Stored, read};

/// What is done with a recording.
#[derive(Debug, Subcommand)]
pub(super) enum JournalVerb {
    /// Print every entry.
    Show {
        /// The journal's directory.
        folder: PathBuf,
    },
    /// Check every byte, and say what is there and what is missing.
    Verify {
        /// The journal's directory.
        folder: PathBuf,
    },
}

/// Carries it out. A directory that cannot be listed is refused like a damaged recording.
pub(super) fn show(verb: &JournalVerb, out: &mut dyn Write) -> io::Result<Verdict> {
    let (folder, whole) = match verb {
        JournalVerb::Show { folder } => (folder, true),
        JournalVerb::Verify { folder } => (folder, false),
    };
    let reading = match read(folder) {
        Ok(reading) => reading,
        Err(why) => {
            writeln!(out, "{} cannot be read: {why}", folder.display())?;
            return Ok(Verdict::Refused);
        }
    };
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
    Ok(verdict(&reading))
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
