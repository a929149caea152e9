//! The page that names every key, held to the reader.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const PAGE: &str = include_str!("../../../../docs/configuration.md");
/// No key is nearly called so.
const NOBODY: &str = "zzzzzzzzzzzz";

type Keys = BTreeMap<String, BTreeSet<String>>;

/// What the page says, by section.
fn described() -> Keys {
    let mut keys = Keys::new();
    let mut section = String::new();
    for line in PAGE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.trim_matches(['`', '[', ']']).to_owned();
        } else if let Some((key, _)) = line.strip_prefix("| `").and_then(|it| it.split_once('`')) {
            let new = keys.entry(section.clone()).or_default().insert(key.into());
            assert!(new, "{key} stands twice in {section}");
        }
    }
    keys
}

/// What the reader knows, by section: it says so where a key is like none of them.
fn known() -> Keys {
    let sections = ["cluster", "node", "timing", "policy", "witness", "daemon"];
    let lists = ["peer", "port", "check", "hook"];
    let headers = sections.map(|it| (it, format!("[{it}]")));
    let lists = lists.map(|it| (it, format!("[[{it}]]")));
    let tables = headers.into_iter().chain(lists);
    let mut keys = Keys::new();
    for (section, header) in tables {
        let text = format!("format = 1\n{header}\n{NOBODY} = 1\n");
        let (_folder, loaded) = load_text(&text);
        let report = loaded.expect_err("a mistake");
        let unknown = format!("unknown key `{NOBODY}` in `{section}`");
        let told = report.mistakes.iter().find(|one| one.message == unknown);
        let cure = &told.expect("it is unknown").cure;
        let list = cure.strip_prefix("known here: ").expect("a list");
        let names = list.split(", ").map(|key| key.trim_matches('`').to_owned());
        keys.insert(section.to_owned(), names.collect());
    }
    keys
}

/// Values that a key usually has are words that the reader takes, where the page quotes one.
#[test]
fn config_reference_quotes_values_that_are_taken() {
    let mut header = String::new();
    let mut tried = 0;
    for line in PAGE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.trim_matches('`').clone_into(&mut header);
            continue;
        }
        let cells: Vec<&str> = line.split(" | ").collect();
        let [key, usual, ..] = cells.as_slice() else {
            continue;
        };
        let quoted = |text: &str| text.strip_prefix('`')?.strip_suffix('`').map(str::to_owned);
        let (Some(key), Some(usual)) = (key.strip_prefix("| ").and_then(quoted), quoted(usual))
        else {
            continue;
        };
        if !header.starts_with('[') || usual.contains('`') {
            continue;
        }
        let text = format!("format = 1\n{header}\n{key} = {usual}\n");
        let (_folder, loaded) = load_text(&text);
        let report = loaded.expect_err("much is missing");
        // Whether there is such a file is another question.
        let about = |one: &&Mistake| one.line == 3 && !one.message.starts_with("secret file");
        let told = report.mistakes.iter().find(about);
        assert!(told.is_none(), "{header} {key} = {usual}: {told:?}");
        tried += 1;
    }
    assert!(tried > 30, "only {tried}");
}

/// Whoever reads the page misses no key and finds none that is refused.
#[test]
fn config_reference_names_every_key_and_no_other() {
    let mut described = described();
    let file = described.remove("The file").expect("a table of its own");
    assert_eq!(file, BTreeSet::from(["format".to_owned()]));
    assert_eq!(described, known());
}
