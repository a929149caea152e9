//! Pages that stand alone: markup, style, script and data in one file.
//!
//! Texts of a page come from files that anybody may have written: names in a scenario, reasons from
//! a daemon. In markup they are escaped; data goes into a script element of no executable type,
//! with every `<`, `>` and `&` written as an escape of JSON, so nothing in it can end the element;
//! and the script hands it to `textContent` alone. The page's own policy forbids it to load
//! anything.

use std::fmt::Write;

use serde::Serialize;
use steadfast_scenarios::Verdict;

use super::timeline::Timeline;
use crate::words;

const TIMELINE: &str = include_str!("assets/timeline.html");
const INDEX: &str = include_str!("assets/index.html");
const STYLE: &str = include_str!("assets/page.css");
const TIMELINE_STYLE: &str = include_str!("assets/timeline.css");
const INDEX_STYLE: &str = include_str!("assets/index.css");
const TIMELINE_SCRIPT: [&str; 2] = [
    include_str!("assets/timeline.js"),
    include_str!("assets/timeline-hands.js"),
];
const INDEX_SCRIPT: &str = include_str!("assets/index.js");

/// The page of a run.
pub(crate) fn timeline(timeline: &Timeline) -> String {
    let lead = [
        timeline.title.clone(),
        timeline
            .world
            .map_or("world not known".to_owned(), |world| {
                format!("world {world}")
            }),
        format!("seed {}", timeline.seed),
    ];
    let lead = lead.map(|text| escaped(&text)).join(" &middot; ");
    let (style, script) = (format!("{STYLE}{TIMELINE_STYLE}"), TIMELINE_SCRIPT.concat());
    let values = [
        (
            "title",
            escaped(&format!("{}, seed {}", timeline.scenario, timeline.seed)),
        ),
        ("style", style),
        ("name", escaped(&timeline.scenario)),
        ("verdict", words::verdict(timeline.verdict).to_lowercase()),
        ("lead", lead),
        ("summary", summary(timeline)),
        ("repeat", escaped(&timeline.repeat)),
        ("trace", escaped(&timeline.trace)),
        ("data", data(timeline)),
        ("script", script),
    ];
    filled(TIMELINE, &values)
}

/// The page over many runs.
pub(crate) fn index<T: Serialize>(
    lead: &str,
    verdict: Verdict,
    summary: String,
    all: &T,
) -> String {
    let values = [
        ("style", format!("{STYLE}{INDEX_STYLE}")),
        ("lead", escaped(lead)),
        ("verdict", words::verdict(verdict).to_lowercase()),
        ("summary", summary),
        ("data", data(all)),
        ("script", INDEX_SCRIPT.to_owned()),
    ];
    filled(INDEX, &values)
}

/// For who reads without scripts: verdicts and moments.
fn summary(timeline: &Timeline) -> String {
    let mut text = "<h2>Judgements</h2><ul>".to_owned();
    // Writing to a string cannot fail.
    for it in &timeline.findings {
        let word = words::verdict(it.verdict);
        let _ = write!(
            text,
            "<li>{word}: {} {}</li>",
            escaped(&it.oracle),
            escaped(&it.text)
        );
    }
    text += "</ul><h2>Moments</h2><ul>";
    for it in &timeline.jumps {
        let at = steadfast_core::Instant::from_nanos(it.at);
        let _ = write!(text, "<li>{at} {}</li>", escaped(&it.text));
    }
    text + "</ul>"
}

/// Puts values into a template, each `{{name}}` once and in one pass: what a value holds is never
/// read as a template.
fn filled(template: &str, values: &[(&str, String)]) -> String {
    let mut page = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        page += before;
        let Some((name, behind)) = after.split_once("}}") else {
            break;
        };
        let value = values.iter().find(|(known, _)| *known == name);
        debug_assert!(value.is_some(), "a page has no value for {name}");
        page += value.map_or("", |(_, value)| value.as_str());
        rest = behind;
    }
    page + rest
}

/// A text as markup that shows it.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            _ => safe.push(letter),
        }
    }
    safe
}

/// JSON that cannot end the element it stands in.
fn data<T: Serialize>(value: &T) -> String {
    // Writing to memory cannot fail, and every key is a string.
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => safe += "\\u003c",
            '>' => safe += "\\u003e",
            '&' => safe += "\\u0026",
            '\u{2028}' => safe += "\\u2028",
            '\u{2029}' => safe += "\\u2029",
            _ => safe.push(letter),
        }
    }
    safe
}
