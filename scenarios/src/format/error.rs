//! A mistake in a scenario file: where it is, what it is, and what was probably meant.

use core::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;

/// What is wrong with a scenario file. Rendered by miette with file, line and caret.
#[derive(Clone, Debug, Diagnostic, Error)]
#[error("{message}")]
pub struct ScenarioError {
    message: Box<str>,
    #[help]
    help: Option<Box<str>>,
    #[source_code]
    source_code: NamedSource<Arc<str>>,
    #[label("here")]
    span: SourceSpan,
}

impl ScenarioError {
    /// A mistake in `text`, the file called `name`, at these bytes.
    pub(super) fn new(name: &str, text: &str, place: Range<usize>, message: &str) -> Self {
        let (message, help) = explain(message, &[]);
        Self {
            message: message.into(),
            help: help.map(Into::into),
            source_code: NamedSource::new(name, Arc::from(text)),
            span: place.into(),
        }
    }

    /// The same, with advice.
    pub(super) fn with_help(mut self, help: Option<String>) -> Self {
        self.help = help.map(Into::into);
        self
    }

    /// The same, if its wrong word is among more words than the parser knew.
    pub(super) fn knowing(mut self, message: &str, more: &[&str]) -> Self {
        let (message, help) = explain(message, more);
        self.message = message.into();
        self.help = help.map(Into::into);
        self
    }

    /// Line and column of the mistake, both from 1.
    pub fn position(&self) -> (usize, usize) {
        let text = self.source_code.inner();
        let before = text.get(..self.span.offset()).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (line, column)
    }

    /// The advice, if there is any.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// `did you mean …?` when one of `known` is near `word`.
pub(super) fn suggest<S: AsRef<str>>(word: &str, known: &[S]) -> Option<String> {
    let distance = |candidate: &S| strsim::damerau_levenshtein(word, candidate.as_ref());
    let nearest = known.iter().min_by_key(|candidate| distance(candidate))?;
    let limit = (word.chars().count() / 3).max(1);
    (distance(nearest) <= limit).then(|| format!("did you mean `{}`?", nearest.as_ref()))
}

/// Puts the parser's message into the format's words and finds a suggestion in what it lists.
fn explain(message: &str, more: &[&str]) -> (String, Option<String>) {
    let first_line = message.lines().next().unwrap_or(message);
    let (kind, wrong, known): (&str, &str, Vec<&str>) =
        if let Some(rest) = first_line.strip_prefix("unexpected keys in table: ") {
            let (wrong, known) = rest.split_once(", available keys: ").unwrap_or((rest, ""));
            let wrong = wrong.split(", ").next().unwrap_or(wrong);
            (
                "key",
                wrong,
                known.split(", ").filter(|key| !key.is_empty()).collect(),
            )
        } else {
            let kind = match first_line {
                text if text.starts_with("unknown field") => "key",
                text if text.starts_with("unknown variant") => "word",
                text => return (text.replace("missing field", "missing key"), None),
            };
            let mut quoted = first_line.split('`').skip(1).step_by(2);
            (kind, quoted.next().unwrap_or(""), quoted.collect())
        };
    let known: Vec<&str> = known.into_iter().chain(more.iter().copied()).collect();
    let help = suggest(wrong, &known)
        .or_else(|| (!known.is_empty()).then(|| format!("known here: `{}`", known.join("`, `"))));
    (format!("unknown {kind} `{wrong}`"), help)
}
