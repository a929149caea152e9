//! A directory of journal files, or one of them, read back into lives.
//!
//! What is cut, damaged or missing becomes a [`Hole`] where it stands; reading goes on with the
//! next file. Only a place that cannot be read at all is an error.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::codec::{self, MAGIC, Piece};
use super::{Hole, LifeFacts, Stored, Timed};

/// Files read; the oldest beyond it are left out, and their life is incomplete.
pub const FILES_READ_MAX: usize = 4_096;
/// Bytes read of a file. The rest counts as torn off.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Everything found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The lives, oldest first.
    pub lives: Vec<Life>,
    /// Files that are no journal, or whose opening is not readable.
    pub unreadable: Vec<PathBuf>,
}

/// One life of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// What it began with.
    pub facts: LifeFacts,
    /// Its first file still exists, so it can be replayed.
    pub from_start: bool,
    /// What happened, in order.
    pub entries: Vec<Timed>,
}

impl Life {
    /// The life ended in order; else it is still going on, or it was killed.
    pub fn ended(&self) -> bool {
        self.entries
            .last()
            .is_some_and(|entry| entry.what == Stored::End)
    }

    /// What is wrong with the record itself, in order.
    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            Stored::Hole(hole) => Some(hole),
            Stored::Config(_)
            | Stored::Effect(_)
            | Stored::End
            | Stored::Gap(_)
            | Stored::Input(_)
            | Stored::Status(_) => None,
        })
    }
}

/// Reads all lives in a directory, or what stands in one file alone.
///
/// # Errors
/// There is no such place, or the directory cannot be listed.
pub fn read(place: &Path) -> io::Result<Reading> {
    let files = if place.is_file() {
        vec![place.to_owned()]
    } else {
        let files = files(place)?.into_iter();
        files.map(|(_, path)| path).collect()
    };
    let mut reading = Reading::default();
    let mut next_part = 0;
    let skipped = files.len().saturating_sub(FILES_READ_MAX);
    for path in files.into_iter().skip(skipped) {
        let bytes = match read_file(&path) {
            Ok(bytes) => bytes,
            Err(_) => {
                reading.unreadable.push(path);
                continue;
            }
        };
        match opening(&bytes) {
            Some((opening, rest)) => {
                join(&mut reading.lives, &opening, next_part);
                next_part = opening.part + 1;
                if let Some(life) = reading.lives.last_mut() {
                    read_entries(&path, bytes.len(), rest, life);
                }
            }
            None => reading.unreadable.push(path),
        }
    }
    Ok(reading)
}

/// The name of a journal file.
pub fn file_name(number: u64) -> String {
    format!("journal-{number:08}.bin")
}

/// The journal files of a directory, oldest first. Other files are not ours.
///
/// # Errors
/// The directory cannot be listed.
pub fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("journal-")?.strip_suffix(".bin"))
            .and_then(|number| number.parse().ok());
        if let Some(number) = number {
            found.push((number, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn opening(bytes: &[u8]) -> Option<(codec::Opening, &[u8])> {
    match codec::unframe(bytes.strip_prefix(MAGIC)?) {
        Piece::Body(body, rest) => Some((codec::read_opening(body)?, rest)),
        Piece::Damaged | Piece::Nothing | Piece::Torn => None,
    }
}

/// Finds the life a file belongs to, or begins it. Seeds are never used twice.
fn join(lives: &mut Vec<Life>, opening: &codec::Opening, next_part: u64) {
    let same = lives
        .last_mut()
        .filter(|life| life.facts.seed == opening.life.seed && life.facts.now == opening.life.now);
    match same {
        Some(life) if opening.part != next_part => {
            let at = life.entries.last().map_or(life.facts.now, |last| last.at);
            let what = Stored::Hole(Hole::Missing);
            life.entries.push(Timed { at, what });
        }
        Some(_) => {}
        None => lives.push(Life {
            facts: opening.life.clone(),
            from_start: opening.part == 0,
            entries: Vec::new(),
        }),
    }
}

fn read_entries(path: &Path, total: usize, mut rest: &[u8], life: &mut Life) {
    loop {
        let offset = total - rest.len();
        let file = path.to_owned();
        let hole = match codec::unframe(rest) {
            Piece::Body(body, after) => {
                if let Some(entry) = codec::read(body) {
                    life.entries.push(entry);
                    rest = after;
                    continue;
                }
                Hole::Damaged { file, offset }
            }
            Piece::Damaged => Hole::Damaged { file, offset },
            Piece::Nothing => return,
            Piece::Torn => Hole::Torn { file, offset },
        };
        let at = life.entries.last().map_or(life.facts.now, |last| last.at);
        let what = Stored::Hole(hole);
        life.entries.push(Timed { at, what });
        return;
    }
}
