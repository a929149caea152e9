//! A copy of the sources in which every removal stands behind a switch.
//!
//! The copy is kept between calls: a file is written only where its bytes changed, so that the
//! build has little to do. Left out are builds and version control. What stands in the folder and
//! is not ours is not touched: a copy has a mark, and a folder without one must be empty. One
//! campaign at a time has the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use steadfast_scenarios::removal::Removal;

use crate::problem::Problem;

/// Folders at the root that are no sources, by how their names begin.
const LEFT_OUT: [&str; 2] = ["target", ".git"];
/// The file that tells a copy from a folder of the user's; it is locked while a campaign runs.
const MARK: &str = "steadfast-removals";
/// What is built: the command, and the daemon for the lab.
const PACKAGES: [&str; 2] = ["steadfast", "steadfast-reports"];

/// The copy, and what is built from it.
#[derive(Debug)]
pub(crate) struct Tree {
    folder: PathBuf,
    _lock: File,
}

impl Tree {
    /// The files that removals change, as they are then.
    ///
    /// # Errors
    /// When a file cannot be read, or does not hold exactly once what a removal replaces.
    pub(crate) fn edited(
        source: &Path,
        removals: &[Removal],
    ) -> Result<BTreeMap<String, String>, Problem> {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for removal in removals {
            let condition = removal.condition();
            for edit in &removal.edits {
                let path = source.join(&edit.file);
                let text = match files.get(&edit.file) {
                    Some(text) => text.clone(),
                    None => fs::read_to_string(&path).map_err(Problem::reading(&path))?,
                };
                let made = edit.apply(&text, &condition);
                let made = made.map_err(|count| Problem::RemovalMisfit {
                    name: removal.name.clone(),
                    file: edit.file.clone(),
                    count,
                    first: edit.old.lines().next().unwrap_or_default().to_owned(),
                })?;
                files.insert(edit.file.clone(), made);
            }
        }
        Ok(files)
    }

    /// Copies `source` into `folder`, with all removals in it.
    ///
    /// # Errors
    /// When a file cannot be read or written, a removal does not fit, or the folder is somebody
    /// else's.
    pub(crate) fn create(
        source: &Path,
        folder: &Path,
        removals: &[Removal],
    ) -> Result<Self, Problem> {
        let mut edited = Self::edited(source, removals)?;
        let lock = taken(folder)?;
        let own = fs::canonicalize(folder).map_err(Problem::reading(folder))?;
        let to = own.join("source");
        fs::create_dir_all(&to).map_err(Problem::writing(&to))?;
        let mut kept = BTreeSet::new();
        for file in files_of(source, source, &own)? {
            let name = file.to_string_lossy().into_owned();
            let from = source.join(&file);
            let bytes = match edited.remove(&name) {
                Some(text) => text.into_bytes(),
                None => fs::read(&from).map_err(Problem::reading(&from))?,
            };
            write_changed(&to.join(&file), &bytes)?;
            kept.insert(file);
        }
        if let Some(file) = edited.into_keys().next() {
            return Err(Problem::Removal {
                file,
                what: "it is edited, and is no plain file of the sources".to_owned(),
            });
        }
        for file in files_of(&to, &to, &own)? {
            if !kept.contains(&file) {
                let path = to.join(&file);
                fs::remove_file(&path).map_err(Problem::writing(&path))?;
            }
        }
        Ok(Self {
            folder: own,
            _lock: lock,
        })
    }

    /// Builds it; what the compiler says goes to the error stream.
    ///
    /// # Errors
    /// When cargo cannot be started or fails.
    pub(crate) fn build(&self) -> Result<(), Problem> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args([
                "build",
                "--release",
                "--locked",
                "--quiet",
                "--manifest-path",
            ])
            .arg(self.folder.join("source/Cargo.toml"))
            .arg("--target-dir")
            .arg(self.folder.join("target"))
            // Switches make for warnings that say nothing about the product.
            .env("RUSTFLAGS", "-Awarnings")
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("CARGO_BUILD_TARGET");
        for package in PACKAGES {
            command.args(["-p", package]);
        }
        let status = command.status().map_err(Problem::Cargo)?;
        if status.success() {
            Ok(())
        } else {
            Err(Problem::RemovalBuild)
        }
    }

    /// A program of the build.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join("target/release").join(name)
    }
}

/// The folder is ours, alone: new, empty, or a copy that nobody else is using.
fn taken(folder: &Path) -> Result<File, Problem> {
    fs::create_dir_all(folder).map_err(Problem::writing(folder))?;
    let mark = folder.join(MARK);
    let mut others = fs::read_dir(folder).map_err(Problem::reading(folder))?;
    if !mark.exists() && others.next().is_some() {
        return Err(Problem::RemovalFolder {
            path: folder.to_owned(),
            why: "it holds other files",
        });
    }
    let lock = File::create(&mark).map_err(Problem::writing(&mark))?;
    lock.try_lock().map_err(|_| Problem::RemovalFolder {
        path: folder.to_owned(),
        why: "another campaign is using it",
    })?;
    Ok(lock)
}

/// All files below a folder, seen from `root`, but for the folder `own`; symbolic links are not
/// followed.
fn files_of(root: &Path, folder: &Path, own: &Path) -> Result<Vec<PathBuf>, Problem> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Problem::reading(folder))? {
        let entry = entry.map_err(Problem::reading(folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Problem::reading(&path))?;
        let name = entry.file_name();
        let begins = |it: &&str| name.to_string_lossy().starts_with(*it);
        let is_left_out = path == own || (root == folder && LEFT_OUT.iter().any(begins));
        if kind.is_dir() && !is_left_out {
            files.extend(files_of(root, &path, own)?);
        } else if kind.is_file() {
            files.push(path.strip_prefix(root).unwrap_or(&path).to_owned());
        }
    }
    Ok(files)
}

fn write_changed(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    if fs::read(path).is_ok_and(|now| now == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Problem::writing(folder))?;
    }
    fs::write(path, bytes).map_err(Problem::writing(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    const ONE: &str = r#"
        [[removal]]
        name = "deaf"
        claims = ["D9"]
        what = "nobody listens"
        story = "a-story"
        expect = "converges"
        [[removal.edit]]
        file = "src/a.rs"
        old = "if heard {"
        new = "if heard && !REMOVED {"
    "#;

    fn write(root: &Path, name: &str, text: &str) {
        write_changed(&root.join(name), text.as_bytes()).unwrap();
    }

    /// The copy has the switch and no leftovers; a second copy writes nothing that is the same.
    #[test]
    fn removals_are_put_into_a_copy() {
        let scratch = Scratch::new("removals-tree");
        let (source, work) = (scratch.path().join("in"), scratch.path().join("out"));
        write(&source, "src/a.rs", "if heard { go() }\n");
        write(&source, "target/old", "a build");
        write(&source, "b.rs", "the same");
        let removals = Removal::parse(ONE).unwrap();
        drop(Tree::create(&source, &work, &removals).unwrap());
        write(&work, "source/gone.rs", "an older one");
        let tree = Tree::create(&source, &work, &removals).unwrap();
        let second = Tree::create(&source, &work, &removals).unwrap_err();
        assert!(second.to_string().contains("another campaign"), "{second}");
        drop(tree);
        let made = fs::read_to_string(work.join("source/src/a.rs")).unwrap();
        assert!(made.starts_with("if heard && !({ static ON"), "{made}");
        assert!(!work.join("source/target").exists() && !work.join("source/gone.rs").exists());
        let written = |name: &str| fs::metadata(work.join(name)).unwrap().modified().unwrap();
        let before = (written("source/b.rs"), written("source/src/a.rs"));
        Tree::create(&source, &work, &removals).unwrap();
        assert_eq!(before, (written("source/b.rs"), written("source/src/a.rs")));
    }

    /// A folder of the user's is left alone, and one within the sources is not copied into itself.
    #[test]
    fn removals_touch_nothing_of_others() {
        let scratch = Scratch::new("removals-folder");
        let source = scratch.path().canonicalize().unwrap().join("in");
        let work = source.join("work");
        write(&source, "src/a.rs", "if heard { go() }\n");
        write(&source, "kept/source/mine", "dear to somebody");
        let removals = Removal::parse(ONE).unwrap();
        let told = Tree::create(&source, &source.join("kept"), &removals).unwrap_err();
        assert!(told.to_string().contains("other files"), "{told}");
        assert!(source.join("kept/source/mine").exists());
        drop(Tree::create(&source, &work, &removals).unwrap());
        drop(Tree::create(&source, &work, &removals).unwrap());
        assert!(work.join("source/src/a.rs").exists() && !work.join("source/work").exists());
    }

    /// A table that is older than the sources is named with its file and line.
    #[test]
    fn removals_that_do_not_fit_are_told() {
        let scratch = Scratch::new("removals-misfit");
        write(scratch.path(), "src/a.rs", "if seen { go() }\n");
        let told = Tree::edited(scratch.path(), &Removal::parse(ONE).unwrap()).unwrap_err();
        let told = told.to_string();
        assert!(told.contains("deaf") && told.contains("src/a.rs"), "{told}");
    }
}
