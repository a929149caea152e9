//! A digest of the sources that make the daemon.
//!
//! The daemon carries it as its build id, and the lab expects it: so a test can tell whether a
//! binary that it found is the one it would build. Both packages run these lines.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Folders below the runtime's own: the rooms the daemon is made of.
const ROOMS: [&str; 3] = ["src", "core/src", "shell/src"];

/// Tells the compiler the digest, as `STEADFAST_SOURCES`.
///
/// # Errors
/// The sources cannot be read.
pub(crate) fn tell() -> io::Result<()> {
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.ok_or_else(|| io::Error::other("no CARGO_MANIFEST_DIR"))?;
    // The lab says which daemon it expects by running these same lines from its own package.
    let package = package.join("../runtime").canonicalize()?;
    let mut files = Vec::new();
    for room in ROOMS {
        // Relative, as seen from either package: a build folder may serve several checkouts.
        println!("cargo::rerun-if-changed=../runtime/{room}");
        walk(&package.join(room), &mut files)?;
    }
    files.sort();
    let mut digest = blake3::Hasher::new();
    for file in files {
        let name = file.strip_prefix(&package).unwrap_or(&file);
        digest.update(name.to_string_lossy().as_bytes());
        digest.update(&fs::read(&file)?);
    }
    let name = digest.finalize().to_hex();
    println!("cargo::rustc-env=STEADFAST_SOURCES={}", &name[..12]);
    Ok(())
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
