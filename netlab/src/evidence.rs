//! What is kept of a run's daemons beside its trace: their logs, and their flight recorders.
//!
//! A journal is copied as it stands when the run is over, with the configuration and the secret its
//! daemon had, so that its folder alone can be replayed. The daemon may be writing: a torn last
//! entry is no damage to a reader. The secret is the lab's, known to every reader of its sources.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use steadfast_scenarios::format::Plan;

use crate::error::{Doing, LabError};
use crate::lab::Lab;
use crate::machine::Machine;

/// Bytes of each daemon's log that are kept: its end.
const LOG_MAX: usize = 16 * 1024;
/// What is kept beside a journal: what its daemon was told.
const KEPT_WITH_JOURNAL: [&str; 2] = ["secret", "steadfast.toml"];

/// Keeps `NAME.log` and `NAME.journal/` of every gateway.
pub(crate) fn keep(plan: &Plan, lab: &mut Lab, folder: &Path) -> Result<(), LabError> {
    for gateway in &plan.layout.gateways {
        let Some(machine) = lab.machine(gateway.id) else {
            continue;
        };
        let path = folder.join(format!("{}.log", gateway.name));
        fs::write(&path, tail(&machine.log())).doing(|| format!("write {}", path.display()))?;
        let path = folder.join(format!("{}.journal", gateway.name));
        keep_journal(machine, &path).doing(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// A daemon without a flight recorder leaves nothing.
fn keep_journal(machine: &Machine, to: &Path) -> io::Result<()> {
    let from = machine.place().join("state/journal");
    if !from.is_dir() {
        return Ok(());
    }
    if to.is_dir() {
        // Of an earlier run into the same folder: its files would pass for this one's.
        fs::remove_dir_all(to)?;
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(&from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    for name in KEPT_WITH_JOURNAL {
        if let Some(content) = machine.setup().files.get(name) {
            fs::write(to.join(name), content)?;
            fs::set_permissions(to.join(name), fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

/// The end of a text file, from the start of a line.
fn tail(path: &Path) -> String {
    let content = fs::read(path).unwrap_or_default();
    let cut = content.len().saturating_sub(LOG_MAX);
    let text = String::from_utf8_lossy(content.get(cut..).unwrap_or_default()).into_owned();
    match (cut, text.split_once('\n')) {
        (0, _) | (_, None) => text,
        (_, Some((_, rest))) => rest.to_owned(),
    }
}
