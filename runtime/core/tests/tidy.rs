//! The house rules that a machine can check, checked over the whole repository.
//!
//! Compiler and clippy guard what stands inside one crate. This test guards what they do not see:
//! that files, functions and lines fit on a screen, that a file opens with its idea, that no room
//! below the command reads a clock or depends on hash order, that nothing unfinished is left
//! behind, and that crates import in one direction only. Each checker is a function from text to
//! complaints and has a bad sample of its own, so a checker that fell asleep is found out.
//!
//! The hard case is text that only looks like code (see `code`). The limit: it reads tokens and not
//! syntax, so code that a macro makes out of pieces is not seen.

#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/manifest.rs"]
mod manifest;

use std::fs;
use std::path::{Path, PathBuf};

use code::{Function, code_of, functions, in_name};
use manifest::{imports, members};

/// Most lines of a file, tests included. A longer one has more than one idea: split it.
const FILE_LINES_MAX: usize = 500;
/// Most characters of a line, addresses of web pages included.
const LINE_CHARS_MAX: usize = 100;
/// Most lines of a function, signature and braces included.
const FUNCTION_LINES_MAX: usize = 70;
/// Most folders below each other. Beyond it the walk panics: a link probably leads back up.
const DEPTH_MAX: usize = 16;

/// Rooms whose results must be the same in every process on every machine.
const PURE_ROOMS: [&str; 3] = ["runtime/core/src/", "scenarios/src/", "sim/src/"];
/// What makes two runs of the same inputs differ.
const IMPURE_WORDS: [&str; 7] = [
    "HashMap",
    "HashSet",
    "Instant::now",
    "RandomState",
    "SystemTime",
    "getrandom",
    "thread_rng",
];
/// What the core must not even mention: it has no files, processes, threads or environment.
const CORE_WORDS: [&str; 6] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
];
/// What marks work that was left for later.
const UNFINISHED_WORDS: [&str; 2] = ["todo!(", "unimplemented!("];

/// Which crates of this workspace a crate may import; ARCHITECTURE.md draws the same as a picture.
/// A crate that is not listed here is refused, so a new room must say where it stands.
const MAY_IMPORT: [(&str, &[&str]); 8] = [
    ("steadfast-core", &[]),
    ("steadfast-shell", &["steadfast-core"]),
    ("steadfast", &["steadfast-core", "steadfast-shell"]),
    ("steadfast-scenarios", &["steadfast-core"]),
    (
        "steadfast-sim",
        &["steadfast-core", "steadfast-scenarios", "steadfast-shell"],
    ),
    (
        "steadfast-netlab",
        &["steadfast-core", "steadfast-scenarios"],
    ),
    (
        "steadfast-reports",
        &[
            "steadfast-core",
            "steadfast-shell",
            "steadfast-scenarios",
            "steadfast-sim",
            "steadfast-netlab",
        ],
    ),
    (
        "steadfast-benches",
        &[
            "steadfast-core",
            "steadfast-scenarios",
            "steadfast-sim",
            "steadfast-shell",
        ],
    ),
];
/// What a crate may import for its tests alone. The daemon's own fence and addresses are held to
/// the statements about Linux that the simulated kernel is held to; what is shipped knows of none.
const MAY_IMPORT_FOR_TESTS: [(&str, &str); 1] = [("steadfast", "steadfast-scenarios")];
/// Everything the core is built on. Whatever is added here must have no clock, IO or entropy.
const CORE_USES: [&str; 5] = ["hkdf", "hmac", "serde", "sha2", "thiserror"];

/// A file that fits on a few screens is read to its end; one that does not is only searched.
#[test]
fn tidy_files_lines_and_functions_fit_on_a_screen() {
    complain(&every_source(|path, text| {
        [long_file(path, text), long_functions(path, text)].concat()
    }));
}

/// The first line of a file says what the file is, so that nobody has to guess from the code.
#[test]
fn tidy_every_file_opens_with_its_idea() {
    complain(&every_source(missing_idea));
}

/// Same inputs, same trace: no clock, no entropy, no hash order below the command.
#[test]
fn tidy_pure_rooms_name_no_source_of_chance() {
    complain(&every_source(impure_words));
}

/// What is not there yet is a planned room in ARCHITECTURE.md, never a hole that panics.
#[test]
fn tidy_nothing_is_left_for_later() {
    complain(&every_source(|path, text| {
        words(path, text, &UNFINISHED_WORDS)
    }));
}

/// core <- scenarios <- sim <- reports, and every version in the one table of the root manifest.
#[test]
fn tidy_crates_import_in_one_direction() {
    let root = root();
    let members = members(&read(&root.join("Cargo.toml")));
    assert!(!members.is_empty(), "the workspace has no member");
    let mut complaints = Vec::new();
    for member in members {
        let path = format!("{member}/Cargo.toml");
        complaints.extend(wrong_imports(&path, &read(&root.join(&path))));
    }
    complain(&complaints);
}

/// 501 lines, 101 characters and 71 lines are found; one less of each is not.
#[test]
fn tidy_checker_finds_what_is_too_long() {
    let lines = |count: usize| "x\n".repeat(count);
    assert_eq!(long_file("a.rs", &lines(500)), Vec::<String>::new());
    assert_eq!(long_file("a.rs", &lines(501)).len(), 1);
    assert_eq!(long_file("a.rs", &"ü".repeat(100)), Vec::<String>::new());
    assert_eq!(long_file("a.rs", &"ü".repeat(101)).len(), 1);

    let function = |body: usize| format!("fn f() -> [u8; 2] {{\n{}}}\n", "    x;\n".repeat(body));
    assert_eq!(long_functions("a.rs", &function(68)), Vec::<String>::new());
    let found = long_functions("a.rs", &format!("//! Idea.\n{}", function(69)));
    assert_eq!(found, ["a.rs:2: function f has 71 lines, more than 70"]);
}

/// A total match lists every pair by name: its alternatives are no reason to write a wildcard.
#[test]
fn tidy_checker_does_not_count_alternatives_of_a_pattern() {
    let arms = "        | Role::Active\n".repeat(100);
    let total = format!("fn f() {{\n    match x {{\n{arms}        => None,\n    }}\n}}\n");
    assert_eq!(long_functions("a.rs", &total), Vec::<String>::new());
    let sum = total.replace("| Role::Active", "| role.active()");
    assert_eq!(long_functions("a.rs", &sum).len(), 1, "code is counted");
}

/// Braces in strings and comments do not end a function, and words there are only words.
#[test]
fn tidy_checker_tells_code_from_text() {
    let sample = "\
//! HashMap in prose.
fn f<'a>(x: &'a str) -> char {
    let text = \"} HashMap \\\" todo!(\"; /* } /* nested */ HashMap */
    let raw = r#\"} \" HashMap\"#;
    let brace = ['}', '\\'', '\\u{7d}'];
    '{'
}
fn g(_: fn(u8)) {}
";
    assert_eq!(
        impure_words("sim/src/a.rs", sample),
        Vec::<String>::new(),
        "words in text"
    );
    assert_eq!(words("a.rs", sample, &UNFINISHED_WORDS).len(), 0);
    let code = code_of(sample);
    let functions: Vec<_> = functions(&code)
        .into_iter()
        .map(|f| (f.name, f.line, f.length))
        .collect();
    assert_eq!(
        functions,
        [("f".to_owned(), 2, 6), ("g".to_owned(), 8, 1)],
        "{code}"
    );
}

/// Each forbidden word is found in each pure room, and not in the command above them.
#[test]
fn tidy_checker_finds_every_source_of_chance() {
    for room in PURE_ROOMS {
        for word in IMPURE_WORDS {
            let sample = format!("//! Idea.\nlet x = std::{word}();\n");
            let path = format!("{room}a.rs");
            let expected = format!("{path}:2: {word} is not allowed here");
            assert_eq!(impure_words(&path, &sample), [expected]);
            assert_eq!(impure_words("reports/src/a.rs", &sample).len(), 0);
        }
    }
    let files = "//! Idea.\nuse std::fs;\n";
    assert_eq!(impure_words("runtime/core/src/a.rs", files).len(), 1);
    assert_eq!(impure_words("scenarios/src/a.rs", files).len(), 0);
    let longer = "//! Idea.\nstruct MyHashMapper;\n";
    assert_eq!(
        impure_words("sim/src/a.rs", longer).len(),
        0,
        "a longer word"
    );
}

/// A file without a first line of its own, and one with a hole in it, are both complained about.
#[test]
fn tidy_checker_finds_missing_ideas_and_holes() {
    assert_eq!(missing_idea("a.rs", "use x;\n//! late\n").len(), 1);
    assert_eq!(missing_idea("a.rs", "//!\n").len(), 1, "an empty idea");
    assert_eq!(missing_idea("a.rs", "//! Idea.\n").len(), 0);
    for word in UNFINISHED_WORDS {
        let sample = format!("fn f() {{ {word}) }}");
        assert_eq!(words("a.rs", &sample, &UNFINISHED_WORDS).len(), 1);
    }
}

/// Upward imports, unknown crates, second versions and heavy cores are each refused.
#[test]
fn tidy_checker_finds_wrong_imports() {
    let manifest = |name: &str, rest: &str| format!("[package]\nname = \"{name}\"\n{rest}\n");
    let count = |name, rest| wrong_imports("x/Cargo.toml", &manifest(name, rest)).len();
    let sim = "[dev-dependencies]\nsteadfast-sim.workspace = true";
    assert_eq!(count("steadfast-reports", sim), 0);
    assert_eq!(count("steadfast-scenarios", sim), 1, "upwards, for tests");
    let scenarios = "[dev-dependencies]\nsteadfast-scenarios.workspace = true";
    assert_eq!(count("steadfast", scenarios), 0, "statements, for tests");
    let shipped = scenarios.replace("dev-", "");
    assert_eq!(count("steadfast", &shipped), 1, "statements, shipped");
    let table = "[target.'cfg(unix)'.dependencies.steadfast-sim]\nworkspace = true";
    assert_eq!(count("steadfast-core", table), 2, "upwards, and not pure");
    assert_eq!(count("steadfast-attic", ""), 1, "a room without a place");
    assert_eq!(
        count("steadfast-sim", "[dependencies]\nserde = \"1\""),
        1,
        "a version of its own"
    );
    let tokio = "[dependencies]\ntokio.workspace = true";
    assert_eq!(count("steadfast-core", tokio), 1, "a core with a runtime");
    assert_eq!(
        count("steadfast-core", &tokio.replace('[', "[dev-")),
        0,
        "in tests alone"
    );
}

fn long_file(path: &str, text: &str) -> Vec<String> {
    let count = text.lines().count();
    let mut complaints = Vec::new();
    if count > FILE_LINES_MAX {
        complaints.push(format!(
            "{path}: has {count} lines, more than {FILE_LINES_MAX}"
        ));
    }
    for (index, line) in text.lines().enumerate() {
        let chars = line.chars().count();
        if chars > LINE_CHARS_MAX {
            let number = index + 1;
            complaints.push(format!(
                "{path}:{number}: line has {chars} characters, more than {LINE_CHARS_MAX}"
            ));
        }
    }
    complaints
}

fn long_functions(path: &str, text: &str) -> Vec<String> {
    let long = functions(&code_of(text)).into_iter();
    long.filter(|function| function.length > FUNCTION_LINES_MAX)
        .map(|Function { name, line, length }| {
            format!(
                "{path}:{line}: function {name} has {length} lines, more than {FUNCTION_LINES_MAX}"
            )
        })
        .collect()
}

fn missing_idea(path: &str, text: &str) -> Vec<String> {
    let idea = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("//!"));
    match idea {
        Some(idea) if !idea.trim().is_empty() => Vec::new(),
        Some(_) | None => vec![format!("{path}:1: does not begin with //! and its idea")],
    }
}

fn impure_words(path: &str, text: &str) -> Vec<String> {
    let pure = PURE_ROOMS.iter().any(|room| path.starts_with(room));
    let mut complaints = Vec::new();
    if pure {
        complaints.extend(words(path, text, &IMPURE_WORDS));
    }
    if path.starts_with(PURE_ROOMS[0]) {
        complaints.extend(words(path, text, &CORE_WORDS));
    }
    complaints
}

/// Where `forbidden` words stand in code, as whole words.
fn words(path: &str, text: &str, forbidden: &[&str]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in code_of(text).lines().enumerate() {
        for word in forbidden.iter().filter(|word| has_word(line, word)) {
            let number = index + 1;
            complaints.push(format!("{path}:{number}: {word} is not allowed here"));
        }
    }
    complaints
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open = word.ends_with('(');
        !before.is_some_and(in_name) && (open || !after.is_some_and(in_name))
    })
}

fn wrong_imports(path: &str, manifest: &str) -> Vec<String> {
    let name = manifest
        .lines()
        .find_map(|line| line.strip_prefix("name = \""));
    let name = name.and_then(|rest| rest.strip_suffix('"')).unwrap_or("");
    let Some((_, may)) = MAY_IMPORT.iter().find(|(room, _)| *room == name) else {
        return vec![format!("{path}: crate {name:?} has no place in MAY_IMPORT")];
    };
    let mut complaints = Vec::new();
    for import in imports(manifest) {
        let other = import.name.as_str();
        let own = MAY_IMPORT.iter().any(|(room, _)| *room == other);
        let excused = import.for_tests && MAY_IMPORT_FOR_TESTS.contains(&(name, other));
        if own && !may.contains(&other) && !excused {
            complaints.push(format!("{path}: {name} must not import {other}"));
        }
        if name == "steadfast-core" && !import.for_tests && !CORE_USES.contains(&other) {
            complaints.push(format!("{path}: the core must not be built on {other}"));
        }
        if !import.from_table {
            complaints.push(format!("{path}: {other} needs `workspace = true`"));
        }
    }
    complaints
}

/// Applies a checker to every Rust file of the repository.
fn every_source(check: impl Fn(&str, &str) -> Vec<String>) -> Vec<String> {
    let root = root();
    let mut files = Vec::new();
    walk(&root, 0, &mut files);
    files.sort();
    assert!(files.len() > 20, "only {} sources found", files.len());
    let checked = files.iter().flat_map(|file| {
        let path = file.strip_prefix(&root).unwrap_or(file).to_string_lossy();
        check(&path, &read(file))
    });
    checked.collect()
}

/// Collects `.rs` files; hidden folders and what builds leave behind are not ours to judge.
fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    assert!(depth <= DEPTH_MAX, "{} is too deep", folder.display());
    let entries = fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && !name.starts_with("target") {
            walk(&path, depth + 1, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path)
        .unwrap_or_else(|why| panic!("failed to read {}: {why}", path.display()))
}

/// The workspace: where cargo says this package is now, else where it was built.
fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR");
    let package = package.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let mut above = package.ancestors();
    let root = above.find(|folder| folder.join("Cargo.lock").is_file());
    root.unwrap_or_else(|| panic!("no workspace above {}", package.display()))
        .to_owned()
}

fn complain(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
