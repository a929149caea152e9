//! Where two traces part: the first event that differs, and what stands around it in both.
//!
//! Traces are read side by side, a line each, so their length does not matter. A trace that ends
//! where the other goes on differs there.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Serialize;

use crate::problem::Problem;

/// Common events shown before the difference.
const BEFORE: usize = 3;
/// Events shown of each side from the difference on.
const AFTER: usize = 3;
/// Longest line that is shown; the rest of a longer one is cut off.
const SHOWN_MAX: usize = 300;

/// What a comparison of two traces found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Compared {
    /// They part.
    Different(Difference),
    /// Byte for byte, so many events.
    Equal(u64),
}

/// The first event that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// Its line in the trace, from 1.
    pub(crate) line: u64,
    /// The last events that both have, oldest first.
    pub(crate) before: Vec<String>,
    /// What the one has from there on; empty where it ends.
    pub(crate) one: Vec<String>,
    /// What the other has.
    pub(crate) other: Vec<String>,
}

/// Reads both traces up to the first difference.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn compare(one: &Path, other: &Path) -> Result<Compared, Problem> {
    let (mut left, mut right) = (Lines::open(one)?, Lines::open(other)?);
    let mut before = VecDeque::new();
    let mut line = 0;
    loop {
        line += 1;
        match (left.next()?, right.next()?) {
            (None, None) => return Ok(Compared::Equal(line - 1)),
            (Some(a), Some(b)) if a == b => {
                if before.len() == BEFORE {
                    before.pop_front();
                }
                before.push_back(shown(&a));
            }
            (a, b) => {
                return Ok(Compared::Different(Difference {
                    line,
                    before: before.into(),
                    one: left.from(a)?,
                    other: right.from(b)?,
                }));
            }
        }
    }
}

impl Difference {
    /// For people: what both have, then each side, marked with its name.
    pub(crate) fn text(&self, one: &str, other: &str) -> String {
        let first = self.line - self.before.len() as u64;
        let mut lines: Vec<_> = (first..)
            .zip(&self.before)
            .map(|(number, text)| format!("    both  {number:>6}  {text}"))
            .collect();
        for (name, side) in [(one, &self.one), (other, &self.other)] {
            let told = (self.line..).zip(side);
            lines.extend(told.map(|(number, text)| format!("    {name}  {number:>6}  {text}")));
            if side.is_empty() {
                lines.push(format!("    {name}  ends here"));
            }
        }
        lines.join("\n") + "\n"
    }
}

/// The lines of one trace.
struct Lines<'a> {
    path: &'a Path,
    reader: BufReader<File>,
}

impl<'a> Lines<'a> {
    fn open(path: &'a Path) -> Result<Self, Problem> {
        let file = File::open(path).map_err(Problem::reading(path))?;
        let reader = BufReader::new(file);
        Ok(Self { path, reader })
    }

    /// The next line with its end, so that a last line that was cut short differs.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        let mut line = Vec::new();
        let read = self.reader.read_until(b'\n', &mut line);
        let read = read.map_err(Problem::reading(self.path))?;
        Ok((read > 0).then_some(line))
    }

    /// This line and some that follow, as they are shown.
    fn from(&mut self, first: Option<Vec<u8>>) -> Result<Vec<String>, Problem> {
        let mut all = Vec::new();
        let mut line = first;
        while let Some(bytes) = line {
            all.push(shown(&bytes));
            if all.len() == AFTER {
                break;
            }
            line = self.next()?;
        }
        Ok(all)
    }
}

fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    match text.char_indices().nth(SHOWN_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, fs, process};

    fn compared(name: &str, one: &str, other: &str) -> Compared {
        let path = |side: &str| {
            let file = format!("steadfast-audit-{}-{name}-{side}", process::id());
            env::temp_dir().join(file)
        };
        let (left, right) = (path("one"), path("other"));
        fs::write(&left, one).unwrap();
        fs::write(&right, other).unwrap();
        let compared = compare(&left, &right).unwrap();
        fs::remove_file(left).unwrap();
        fs::remove_file(right).unwrap();
        compared
    }

    /// The first difference is found, with what led to it and what each side has from there.
    #[test]
    fn audit_difference_is_shown_with_both_contexts() {
        let one = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let other = "a\nb\nc\nd\nE\nf\n";
        let Compared::Different(found) = compared("middle", one, other) else {
            panic!("they differ");
        };
        insta::assert_snapshot!(found.text("bare", "rich"), @r"
            both       2  b
            both       3  c
            both       4  d
            bare       5  e
            bare       6  f
            bare       7  g
            rich       5  E
            rich       6  f
        ");
    }

    /// A trace that ends early, if only by the end of its last line, is another trace.
    #[test]
    fn audit_shorter_trace_differs() {
        assert_eq!(compared("equal", "a\nb\n", "a\nb\n"), Compared::Equal(2));
        for (name, short) in [("line", "a\n"), ("end", "a\nb")] {
            let Compared::Different(found) = compared(name, "a\nb\n", short) else {
                panic!("{short:?} is not the whole");
            };
            assert_eq!(found.line, 2);
            let text = found.text("bare", "rich");
            assert!(text.contains(if name == "line" {
                "rich  ends here"
            } else {
                "rich"
            }));
        }
    }
}
