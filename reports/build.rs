//! Puts the scenario files and the removals into the command, so that it finds them wherever it is
//! run.
//!
//! Writes `catalogue.rs` with one list per folder, sorted by name. Adding a file is enough for it
//! to be found at the next build. Limit: a missing folder of impossible stories is an empty list,
//! because version control keeps no empty folders; a missing or empty catalogue stops the build.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Seen from this package, where build scripts run.
const SCENARIOS: &str = "../scenarios";

fn main() -> io::Result<()> {
    let out = env::var_os("OUT_DIR").ok_or_else(|| missing("OUT_DIR"))?;
    println!("cargo::rerun-if-changed=build.rs");
    // Relative, so that a shared target folder does not watch another tree's files.
    println!("cargo::rerun-if-changed={SCENARIOS}");
    let mut code = String::new();
    for (list, folder) in [
        ("CATALOGUE", "catalogue"),
        ("IMPOSSIBLE", "impossible"),
        ("REMOVALS", "removals"),
    ] {
        let files = files(&Path::new(SCENARIOS).join(folder))?;
        if files.is_empty() && list == "CATALOGUE" {
            return Err(missing("scenarios/catalogue/*.toml"));
        }
        code.push_str(&listing(list, folder, &files));
    }
    fs::write(PathBuf::from(out).join("catalogue.rs"), code)
}

/// The scenario files of a folder, sorted; none if there is no such folder.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// One constant with the name, the place and the text of each file.
fn listing(list: &str, folder: &str, files: &[PathBuf]) -> String {
    let mut code = format!("pub(crate) const {list}: &[Stored] = &[\n");
    for path in files {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let place = format!("scenarios/{folder}/{stem}.toml");
        // Found where the package is when it is compiled, which may be another tree than that of
        // the build whose listing a shared target folder has kept.
        let text = format!("/{}", path.display());
        // Writing to memory cannot fail.
        let _ = writeln!(
            code,
            "    Stored {{ name: {stem:?}, file: {place:?}, \
             text: include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {text:?})) }},"
        );
    }
    code.push_str("];\n");
    code
}

fn missing(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("failed to find {what}"))
}
