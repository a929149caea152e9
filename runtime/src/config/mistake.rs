//! What is wrong with a configuration: each mistake with file, line, caret and cure, all at once.
//!
//! A [`Report`] is a miette diagnostic whose related diagnostics are the mistakes, in the order of
//! the file; [`Report::render`] draws it, and it serialises for machines. A [`Note`] is no mistake:
//! it says what was understood, once per word. The limit: [`MISTAKES_MAX`] are told, the rest is
//! counted.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use serde::Serialize;

/// Most mistakes told; more are only counted ([`Report::left_out`]).
pub const MISTAKES_MAX: usize = 100;
/// Most notes kept; more are dropped, since the same words raise them.
const NOTES_MAX: usize = 100;

/// Bytes of the file.
pub(super) type Place = Range<usize>;

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Mistake {
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub cure: String,
    /// Line in the configuration, from 1; 0 when it has no place there.
    pub line: usize,
    /// Column in characters, from 1; 0 when it has no place there.
    pub column: usize,
    #[serde(skip)]
    labels: Vec<(Place, String)>,
    #[serde(skip)]
    source: Option<NamedSource<Arc<str>>>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

impl Diagnostic for Mistake {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.cure.is_empty()).then(|| Box::new(&self.cure) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = |(place, text): &(Place, String)| LabeledSpan::at(place.clone(), text.clone());
        Some(Box::new(self.labels.iter().map(label)))
    }
}

/// Something worth knowing that is not wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Line in the configuration, from 1.
    pub line: usize,
    /// What was understood.
    pub text: String,
}

/// Why a configuration is refused: every mistake in it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The configuration's file.
    pub file: String,
    /// What is wrong, in the order of the file; at most [`MISTAKES_MAX`].
    pub mistakes: Vec<Mistake>,
    /// How many more there are.
    pub left_out: usize,
    /// What was noted beside.
    pub notes: Vec<Note>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.mistakes.len() + self.left_out;
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{} is refused: {count} mistake{plural}", self.file)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let each = |mistake: &'a Mistake| mistake as &dyn Diagnostic;
        Some(Box::new(self.mistakes.iter().map(each)))
    }
}

impl Report {
    /// Draws every mistake with its line, caret and cure; `colour` for terminals.
    pub fn render(&self, colour: bool) -> String {
        let theme = if colour {
            miette::GraphicalTheme::unicode()
        } else {
            miette::GraphicalTheme::unicode_nocolor()
        };
        let handler = miette::GraphicalReportHandler::new_themed(theme)
            .with_links(false)
            .with_width(100);
        let mut out = String::new();
        // Drawing into a string fails only if a span lies outside the text; then plain words do.
        if handler.render_report(&mut out, self).is_err() {
            out.clear();
            for mistake in &self.mistakes {
                let (line, message, cure) = (mistake.line, &mistake.message, &mistake.cure);
                out.push_str(&format!("{}:{line}: {message}: {cure}\n", self.file));
            }
        }
        if self.left_out > 0 {
            out.push_str(&format!("and {} more\n", self.left_out));
        }
        out
    }
}

/// Gathers mistakes and notes while a file is read.
pub(super) struct Findings {
    file: String,
    text: Arc<str>,
    mistakes: Vec<Mistake>,
    left_out: usize,
    notes: Vec<Note>,
    noted: BTreeSet<String>,
}

impl Findings {
    pub(super) fn new(file: &str, text: &str) -> Self {
        Self {
            file: file.to_owned(),
            text: Arc::from(text),
            mistakes: Vec::new(),
            left_out: 0,
            notes: Vec::new(),
            noted: BTreeSet::new(),
        }
    }

    /// Something is wrong at these bytes.
    pub(super) fn wrong(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.wrong_twice(place, None, message, cure);
    }

    /// Something is wrong at these bytes because of what stands at the others.
    pub(super) fn wrong_twice(
        &mut self,
        place: &Place,
        other: Option<(&Place, &str)>,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        let (line, column) = self.position(place.start);
        let mut labels = vec![(self.inside(place), "here".to_owned())];
        if let Some((other, label)) = other {
            labels.push((self.inside(other), label.to_owned()));
        }
        self.add(Mistake {
            message: message.into(),
            cure: cure.into(),
            line,
            column,
            labels,
            source: Some(NamedSource::new(&self.file, Arc::clone(&self.text))),
        });
    }

    /// Something is wrong that no byte of the file shows.
    pub(super) fn wrong_nowhere(&mut self, message: impl Into<String>, cure: impl Into<String>) {
        self.add(Mistake {
            message: message.into(),
            cure: cure.into(),
            line: 0,
            column: 0,
            labels: Vec::new(),
            source: None,
        });
    }

    /// Something to know; the same `word` is noted once.
    pub(super) fn note(&mut self, place: &Place, word: &str, text: impl Into<String>) {
        if self.notes.len() < NOTES_MAX && self.noted.insert(word.to_owned()) {
            let line = self.position(place.start).0;
            let text = text.into();
            self.notes.push(Note { line, text });
        }
    }

    /// How many mistakes there are so far.
    pub(super) fn count(&self) -> usize {
        self.mistakes.len() + self.left_out
    }

    /// The notes when nothing is wrong; else the report, in the order of the file.
    pub(super) fn conclude(mut self) -> Result<Vec<Note>, Report> {
        self.notes.sort_by_key(|note| note.line);
        if self.mistakes.is_empty() {
            return Ok(self.notes);
        }
        self.mistakes.sort_by_key(|one| (one.line, one.column));
        Err(Report {
            file: self.file,
            mistakes: self.mistakes,
            left_out: self.left_out,
            notes: self.notes,
        })
    }

    fn add(&mut self, mistake: Mistake) {
        let same = |it: &Mistake| it.message == mistake.message && it.labels == mistake.labels;
        if self.mistakes.iter().any(same) {
            return;
        }
        if self.mistakes.len() < MISTAKES_MAX {
            self.mistakes.push(mistake);
        } else {
            self.left_out += 1;
        }
    }

    fn inside(&self, place: &Place) -> Place {
        let end = place.end.min(self.text.len());
        place.start.min(end)..end
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (line, column)
    }
}

/// The word of `known` that was probably meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |candidate: &&str| strsim::damerau_levenshtein(word, candidate);
    let best = known.iter().copied().min_by_key(distance)?;
    let limit = (word.chars().count() / 3).max(1);
    (strsim::damerau_levenshtein(word, best) <= limit).then_some(best)
}
