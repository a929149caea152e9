//! Takes claimed behaviours away and sees whether the stories that claim them notice.
//!
//! ```text
//!  removals ─┬─► a copy of the sources with all of them, each behind a switch ─► one build
//!  sources ──┘ (both of --source)                                              │
//!      for each removal:   story, nothing removed ─► must hold                 │
//!                          story, this one removed ─► must fail, by its oracle ◄
//! ```
//! The idea of one build for all: see [`steadfast_scenarios::removal`]. Each play is a process of
//! its own, because a switch is read once in a process.

mod tree;
mod trial;

pub(crate) use tree::Tree;
pub(crate) use trial::{Found, Trial};

use std::fs;
use std::path::Path;

use steadfast_scenarios::Scenario;
use steadfast_scenarios::claims::ClaimId;
use steadfast_scenarios::removal::Removal;

use crate::catalogue::{CATALOGUE, REMOVALS, read};
use crate::problem::Problem;

/// The removals that are built in, in the order of their files.
///
/// # Errors
/// As [`of_sources`].
pub(crate) fn built_in() -> Result<Vec<Removal>, Problem> {
    let files = REMOVALS.iter().map(|it| (it.file, it.text));
    checked(files, &read(CATALOGUE)?)
}

/// The removals that are kept with these sources, in the order of their files.
///
/// # Errors
/// When a file cannot be read or is wrong, two have one name, or a story does not claim what its
/// removal shows.
pub(crate) fn of_sources(source: &Path) -> Result<Vec<Removal>, Problem> {
    let mut stories = Vec::new();
    for (name, text) in files(source, "scenarios/catalogue")? {
        stories.push(Scenario::parse(&name, &text)?);
    }
    let files = files(source, "scenarios/removals")?;
    let files = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    checked(files, &stories)
}

fn checked<'a>(
    files: impl Iterator<Item = (&'a str, &'a str)>,
    stories: &[Scenario],
) -> Result<Vec<Removal>, Problem> {
    let mut all: Vec<Removal> = Vec::new();
    for (file, text) in files {
        let wrong = |what: String| Problem::Removal {
            file: file.to_owned(),
            what,
        };
        for removal in Removal::parse(text).map_err(wrong)? {
            if all.iter().any(|it| it.name == removal.name) {
                return Err(wrong(format!("removal `{}` is there twice", removal.name)));
            }
            claimed(&removal, stories).map_err(wrong)?;
            all.push(removal);
        }
    }
    let has_edits = |name: &str| all.iter().any(|it| it.name == *name && it.like.is_none());
    let of_nothing = |it: &&Removal| it.like.as_deref().is_some_and(|name| !has_edits(name));
    match all.iter().find(of_nothing) {
        Some(it) => Err(Problem::Removal {
            file: "scenarios/removals".to_owned(),
            what: format!("removal `{}` is like one that is not there", it.name),
        }),
        None => Ok(all),
    }
}

/// The files of this kind in a folder of the sources, by name, with what they say.
fn files(source: &Path, folder: &str) -> Result<Vec<(String, String)>, Problem> {
    let path = source.join(folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(&path).map_err(Problem::reading(&path))? {
        let file = entry.map_err(Problem::reading(&path))?.path();
        if file.extension().is_some_and(|it| it == "toml") {
            let text = fs::read_to_string(&file).map_err(Problem::reading(&file))?;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            files.push((format!("{folder}/{name}"), text));
        }
    }
    files.sort();
    Ok(files)
}

/// The story is there, can be played where the removal says, and claims all that is shown by it.
fn claimed(removal: &Removal, stories: &[Scenario]) -> Result<(), String> {
    let Removal {
        name, story, world, ..
    } = removal;
    let wrong = |what: String| format!("removal `{name}`: {what}");
    let found = stories.iter().find(|it| it.plan().name == *story);
    let plan = found
        .ok_or_else(|| wrong(format!("no story is called `{story}`")))?
        .plan();
    if crate::cli::World::named(world).is_none() {
        return Err(wrong(format!("there is no world `{world}`")));
    }
    crate::cli::seeds(&removal.seeds).map_err(|what| wrong(format!("seeds: {what}")))?;
    let is_claimed = |id: &ClaimId| plan.claims.iter().any(|it| it == id.as_str());
    match removal.claims.iter().find(|id| !is_claimed(id)) {
        Some(id) => Err(wrong(format!("`{story}` does not claim {}", id.as_str()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table fits the sources it is kept with: each text is found once, where those before
    /// it left it, and each story claims what its removal is to show.
    #[test]
    fn removals_fit_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let all = built_in().unwrap();
        assert!(all.len() > 50, "{} removals", all.len());
        let together = Tree::edited(&root, &all);
        assert!(together.is_ok(), "{:?}", together.err());
    }
}
