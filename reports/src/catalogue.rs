//! The scenarios that are built in, and how a word on the command line becomes a scenario.
//!
//! A word that looks like a path is read as a file; any other is a name in the catalogue, or among
//! the impossible ones. So no file that happens to lie about can take the place of a built-in one.

use std::fs;
use std::path::Path;

use steadfast_scenarios::Scenario;

use crate::problem::Problem;

/// A file that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its name without extension: the scenario's name.
    pub(crate) name: &'static str,
    /// Its place in the repository, for messages.
    pub(crate) file: &'static str,
    /// What it says.
    pub(crate) text: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

/// Longest distance of a name that is still suggested, in letters changed.
const TYPOS_MAX: usize = 4;

/// Reads built-in files.
pub(crate) fn read(files: &[Stored]) -> Result<Vec<Scenario>, Problem> {
    files.iter().map(parse).collect()
}

/// The scenarios that are named, or the whole catalogue.
pub(crate) fn chosen(named: &[String]) -> Result<Vec<Scenario>, Problem> {
    match named {
        [] => read(CATALOGUE),
        named => named.iter().map(|it| open(it)).collect(),
    }
}

/// A scenario by its name, or by the path of its file.
pub(crate) fn open(what: &str) -> Result<Scenario, Problem> {
    if is_path(what) {
        let path = Path::new(what);
        let text = fs::read_to_string(path).map_err(Problem::reading(path))?;
        return Ok(Scenario::parse(what, &text)?);
    }
    match named(what) {
        Some(file) => parse(file),
        None => Err(Problem::UnknownName {
            name: what.to_owned(),
            advice: advice(what),
        }),
    }
}

/// The built-in file of this name.
pub(crate) fn named(name: &str) -> Option<&'static Stored> {
    all().find(|file| file.name == name)
}

/// Whether a word on the command line means a file.
fn is_path(what: &str) -> bool {
    what.contains('/') || what.ends_with(".toml")
}

fn parse(file: &Stored) -> Result<Scenario, Problem> {
    Ok(Scenario::parse(file.file, file.text)?)
}

fn all() -> impl Iterator<Item = &'static Stored> {
    CATALOGUE.iter().chain(IMPOSSIBLE)
}

fn advice(wrong: &str) -> String {
    let distance = |file: &&Stored| strsim::damerau_levenshtein(wrong, file.name);
    let nearest = all()
        .min_by_key(distance)
        .filter(|file| distance(file) <= TYPOS_MAX);
    let meant = nearest.map(|file| format!("did you mean `{}`? ", file.name));
    let rest = "`steadfast list` shows all; a path must have a `/` or end in `.toml`";
    format!("{}{rest}", meant.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is built in must be readable anywhere, and found by the name that it gives itself.
    #[test]
    fn catalogue_built_in_files_are_found_by_name() {
        assert!(!CATALOGUE.is_empty());
        for file in all() {
            let scenario = open(file.name).unwrap();
            assert_eq!(scenario.plan().name, file.name);
            assert_eq!(scenario.to_toml(), file.text);
        }
    }

    /// A slip of the finger costs one look, not a search.
    #[test]
    fn catalogue_unknown_name_suggests_the_nearest() {
        let name = CATALOGUE[0].name;
        let problem = open(&name[1..]).unwrap_err();
        let Problem::UnknownName { advice, .. } = problem else {
            panic!("{problem:?}");
        };
        assert!(
            advice.starts_with(&format!("did you mean `{name}`?")),
            "{advice}"
        );
        let far = advice_of("nothing-like-any-scenario-there-is");
        assert!(far.starts_with("`steadfast list`"), "{far}");
    }

    fn advice_of(name: &str) -> String {
        match open(name).unwrap_err() {
            Problem::UnknownName { advice, .. } => advice,
            other => panic!("{other:?}"),
        }
    }

    /// A path is a path even when a built-in scenario has the same name.
    #[test]
    fn catalogue_path_is_never_a_name() {
        let path = format!("{}.toml", CATALOGUE[0].name);
        assert!(matches!(open(&path), Err(Problem::Read { .. })));
    }
}
