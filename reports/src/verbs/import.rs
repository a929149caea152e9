//! `steadfast import`: replays a gateway's flight recorder, and makes a scenario file of it.
//!
//! ```text
//!  journal ─► lives ─► replay: every decision as recorded?  one hash for then, one for now
//!                 └──► what was heard ─► story ─► scenario file ─► world fast: the same roles?
//! ```
//! Every life is replayed; the last one that could be, or the one of `--life`, becomes the
//! scenario. The hard case is a record with holes: up to the hole the replay is proof, behind it
//! nothing is, and the story ends there. The keys are the operator's, since no journal holds any;
//! without them there are hashes of what was recorded and nothing else.
//!
//! Limit: a scenario tells the world, not the frames. The file makes the gateway decide the same
//! again, in the same order; only the replay gives the same bits.

use std::fs;
use std::path::{Path, PathBuf};

use steadfast_shell::journal::{self, Examination, Life, Outcome, Reading, Stored};

use super::Streams;
use crate::ending::Ending;
use crate::problem::Problem;
use draft::{Draft, Known};
use hearing::Hearing;
use keys::Secret;
use story::Fate;

mod draft;
mod hearing;
mod keys;
mod places;
mod report;
mod roles;
mod story;
#[cfg(test)]
mod tests;

/// The secret file's name where a lab keeps it beside a journal.
const SECRET: &str = "secret";

/// What to import.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The replay needs the secret file of then (`secret_file` of the gateway's configuration); a journal
holds no secrets. What a run of the lab leaves as NAME.journal has it beside.

Exit codes:
  0  every decision is as recorded, and the scenario gives the same roles
  1  a decision differs from what was recorded
  2  unknown: keys or entries are missing, or the scenario goes another way
  3  usage: no journal, no such life, keys that cannot be read")]
pub(crate) struct Args {
    /// A gateway's journal: its folder, or one file of it
    journal: PathBuf,
    /// The secret file of then [default: `secret` beside the journal's files]
    #[arg(long, visible_alias = "keys", value_name = "FILE")]
    secret: Option<PathBuf>,
    /// Which life becomes the scenario, counted from 1 [default: the last that can be replayed]
    #[arg(long, value_name = "N")]
    life: Option<usize>,
    /// Write the scenario here
    #[arg(long, value_name = "FILE.toml")]
    out: Option<PathBuf>,
    /// Print everything as JSON instead of text
    #[arg(long)]
    json: bool,
}

/// A life and its replay.
struct Examined<'a> {
    life: &'a Life,
    /// None without keys.
    keys: Option<steadfast_core::wire::auth::KeyRing>,
    examination: Examination,
    /// What was heard up to where the replay ended; none without keys.
    hearing: Option<Hearing>,
    fate: Option<Fate>,
    broken_off: bool,
}

/// What the chosen life became.
struct Imported {
    /// Which life, counted from 1.
    life: usize,
    draft: Draft,
    played: Result<roles::Played, String>,
}

/// Replays, drafts, plays the draft and says what came out.
pub(crate) fn run(args: &Args, streams: &mut Streams<'_>) -> Result<Ending, Problem> {
    let reading = journal::read(&args.journal).map_err(Problem::reading(&args.journal))?;
    let count = reading.lives.len();
    if count == 0 {
        return Err(Problem::NoLife {
            path: args.journal.clone(),
        });
    }
    if let Some(wanted) = args.life.filter(|wanted| !(1..=count).contains(wanted)) {
        return Err(Problem::NoSuchLife {
            path: args.journal.clone(),
            wanted,
            count,
        });
    }
    let secret = secret(args)?;
    let lives = reading.lives.iter().enumerate();
    let examined = lives.map(|(place, life)| {
        let next = reading.lives.get(place + 1);
        examine(life, next, secret.as_ref())
    });
    let examined = examined.collect::<Result<Vec<_>, _>>()?;
    let imported = import(args.life, &examined);
    if let (Some(out), Some(Ok(imported))) = (&args.out, &imported) {
        fs::write(out, imported.draft.scenario.to_toml()).map_err(Problem::writing(out))?;
    }
    let report = report::Report {
        args,
        reading: &reading,
        examined: &examined,
        imported: imported.as_ref(),
    };
    let ending = ending(&reading, &examined, imported.as_ref());
    streams.print(&if args.json {
        report.json(ending)
    } else {
        report.text()
    })?;
    Ok(ending)
}

/// The secret file that was given, or that stands beside the journal.
fn secret(args: &Args) -> Result<Option<Secret>, Problem> {
    if let Some(path) = &args.secret {
        return Secret::read(path).map(Some);
    }
    let folder = if args.journal.is_file() {
        args.journal.parent().unwrap_or(Path::new(""))
    } else {
        &args.journal
    };
    let beside = folder.join(SECRET);
    if beside.is_file() {
        Secret::read(&beside).map(Some)
    } else {
        Ok(None)
    }
}

fn examine<'a>(
    life: &'a Life,
    next: Option<&Life>,
    secret: Option<&Secret>,
) -> Result<Examined<'a>, Problem> {
    let keys = secret.map(|secret| secret.ring(&life.facts.config));
    let keys = keys.transpose()?;
    let mut examination = match &keys {
        Some(keys) => journal::examine(life, keys),
        None => journal::unexamined(life, Outcome::WrongKeys("there are none".to_owned())),
    };
    let entries = match &examination.outcome {
        Outcome::Differs { entry, .. } | Outcome::Gap { entry, .. } => *entry,
        Outcome::Equal { .. } | Outcome::NoStart | Outcome::WrongKeys(_) => life.entries.len(),
    };
    let hearing = keys.as_ref().map(|keys| Hearing::of(life, entries, keys));
    let differs = matches!(examination.outcome, Outcome::Differs { .. });
    // The first difference may lie before the first frame: the whole life tells.
    let locked = |keys| Hearing::of(life, life.entries.len(), keys).is_locked();
    if differs && keys.as_ref().is_some_and(locked) {
        let why = "no frame that was heard then verifies with them".to_owned();
        examination = journal::unexamined(life, Outcome::WrongKeys(why));
    }
    let broken_off = entries == life.entries.len() && !life.ended();
    let fate = next.filter(|_| broken_off).map(|next| {
        if next.facts.kernel_boot == life.facts.kernel_boot {
            Fate::Killed
        } else {
            Fate::PowerLost
        }
    });
    Ok(Examined {
        life,
        keys,
        examination,
        hearing,
        fate,
        broken_off,
    })
}

/// The chosen life as a scenario, or why it becomes none; nothing if none could be replayed.
fn import(wanted: Option<usize>, examined: &[Examined<'_>]) -> Option<Result<Imported, String>> {
    let replayed = |place: &usize| {
        let examined = examined.get(*place);
        examined.is_some_and(|it| it.examination.replayed.is_some())
    };
    let place = match wanted {
        Some(number) => number - 1,
        None => (0..examined.len()).rev().find(replayed)?,
    };
    let chosen = examined.get(place).filter(|_| replayed(&place))?;
    let known = Known {
        facts: &chosen.life.facts,
        examined: &chosen.examination,
        hearing: chosen.hearing.as_ref()?,
        fate: chosen.fate,
        broken_off: chosen.broken_off,
    };
    Some(draft::draft(&known).map(|draft| Imported {
        life: place + 1,
        played: roles::play(&draft),
        draft,
    }))
}

/// The worst of replays, holes and roles.
fn ending(
    reading: &Reading,
    examined: &[Examined<'_>],
    imported: Option<&Result<Imported, String>>,
) -> Ending {
    let lives = examined.iter().map(|it| match it.examination.outcome {
        Outcome::Equal { .. } => Ending::Pass,
        Outcome::Differs { .. } => Ending::Fail,
        Outcome::Gap { .. } | Outcome::NoStart | Outcome::WrongKeys(_) => Ending::Unknown,
    });
    let files = (!reading.unreadable.is_empty()).then_some(Ending::Unknown);
    let story = match imported {
        Some(Ok(imported)) if imported.same_roles() => Ending::Pass,
        Some(Ok(_) | Err(_)) | None => Ending::Unknown,
    };
    let all = lives.chain(files).chain([story]);
    all.max().unwrap_or(Ending::Unknown)
}

impl Imported {
    fn same_roles(&self) -> bool {
        let played = self.played.as_ref();
        played.is_ok_and(|played| played.roles == self.draft.roles)
    }
}

impl Examined<'_> {
    fn inputs(&self) -> usize {
        let is_input = |entry: &&journal::Timed| matches!(entry.what, Stored::Input(_));
        self.life.entries.iter().filter(is_input).count()
    }
}
