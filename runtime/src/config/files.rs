//! Files written whole or not at all, and read with a bound.
//!
//! A file is written beside its place, synced, moved there in one step, and the folder synced: a
//! power cut leaves the old file or the new one. Without `replace` the last step refuses to
//! overwrite, in the kernel, so two writers at once cannot both win.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Writes a file that is there completely or not at all.
///
/// # Errors
/// `AlreadyExists` when it is there and must not be replaced; else what the system says.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32, replace: bool) -> io::Result<()> {
    if !replace && path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let folder = folder_of(path);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&folder)?;
    let beside = beside(path)?;
    let written = write_new(&beside, bytes, mode).and_then(|()| settle(&beside, path, replace));
    if written.is_err() {
        // What could not be moved into its place is litter; failing to remove it changes nothing.
        let _ = fs::remove_file(&beside);
        return written;
    }
    File::open(&folder)?.sync_all()
}

/// Reads at most `most` bytes of a regular file; never waits for a pipe's writer.
///
/// # Errors
/// What the system says; `InvalidInput` for what is not a regular file, `FileTooLarge` beyond
/// the bound.
pub(super) fn read(file: &mut File, most: u64, into: &mut Vec<u8>) -> io::Result<()> {
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    file.take(most + 1).read_to_end(into)?;
    if into.len() as u64 > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(())
}

/// Opens for reading without waiting.
///
/// # Errors
/// What the system says.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// A path as written in a file, from that file's folder.
pub(super) fn beside_file(file: &Path, written: &str) -> PathBuf {
    folder_of(file).join(written)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", steadfast_shell::hex::encode(&random)));
    Ok(folder_of(path).join(hidden))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn settle(from: &Path, to: &Path, replace: bool) -> io::Result<()> {
    if replace {
        return fs::rename(from, to);
    }
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}
