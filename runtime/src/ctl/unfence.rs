//! What a daemon that is gone left in the kernel, removed: table, keeper, tagged addresses. Which
//! daemon's, a node's or that of virtual routers, says the configuration.
//!
//! A killed daemon leaves its fence standing on purpose; the next one takes it over. This is for
//! the case that none will come. A running daemon is never unfenced unasked: its lock is held
//! meanwhile, so none can start either. Forwarding that the daemon ruled goes off before its fence
//! does. The limit: a kernel before 5.18 forgets the tag, and then
//! only the addresses of the configuration are known to be ours.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Verdict, config};
use crate::config::routers::Routers;
use crate::config::{File, Offline, open};
use crate::daemon::{Lock, Machine, stop_forwarding};
use crate::linux::addresses::{AddressError, Addresses, ROUTERS_TAG, TAG};
use crate::linux::fence::{self, FenceError, ROUTERS_TABLE, RouterFence};
use crate::linux::macvlan;
use crate::linux::stations::remove_all;

/// The configuration looked at when none is named.
const CONFIG: &str = "/etc/steadfast/steadfast.toml";
/// Where sockets are when no configuration says so.
const RUNTIME_DIR: &str = "/run/steadfast";

/// Whose leftovers.
#[derive(Debug, Args)]
pub(super) struct Unfence {
    /// Where the daemon's sockets were; usually as the configuration says
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// The daemon's configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Even while a daemon runs; it sets the fence up again within a second
    #[arg(long)]
    force: bool,
}

/// Removes, and says what was there.
pub(super) fn unfence(
    asked: &Unfence,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Verdict> {
    let named = asked.config.as_deref();
    let usual = Path::new(CONFIG);
    let file = named.or_else(|| usual.exists().then_some(usual));
    let loaded = match file.map(|file| open(file, &Offline)) {
        Some(Err(report)) if named.is_some() => return config::refused(&report, err),
        Some(Err(_)) => {
            writeln!(err, "note: {CONFIG} has mistakes and was not used")?;
            None
        }
        Some(Ok(loaded)) => Some(loaded),
        None => None,
    };
    let told = loaded.as_ref().map(|loaded| match loaded {
        File::Node(loaded) => loaded.daemon.runtime_dir.clone(),
        File::Routers(loaded) => loaded.runtime_dir.clone(),
    });
    let folder = asked.runtime_dir.clone().or(told);
    let folder = folder.unwrap_or_else(|| PathBuf::from(RUNTIME_DIR));
    let lock = if asked.force || !folder.exists() {
        None
    } else {
        match Lock::take(&folder) {
            Ok(lock) => Some(lock),
            Err(why) => return locked(&why, err),
        }
    };
    // A daemon that runs sets up its fence again, and forwarding only when it starts.
    if let Some(File::Node(node)) = &loaded
        && node.daemon.forward
        && !asked.force
    {
        for advice in stop_forwarding(&node.config) {
            writeln!(err, "warning: {advice}")?;
        }
    }
    let verdict = remove(&folder, loaded.as_ref(), out, err);
    drop(lock);
    verdict
}

fn locked(why: &io::Error, err: &mut dyn Write) -> io::Result<Verdict> {
    let cure = match why.kind() {
        io::ErrorKind::WouldBlock => "stop it, which unfences too; or say --force",
        _ => "run it as root",
    };
    writeln!(err, "error: {why}\n cure: {cure}")?;
    Ok(Verdict::Refused)
}

fn remove(
    folder: &Path,
    loaded: Option<&File>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Verdict> {
    // Addresses first: between the two steps they are fenced, and never in the open.
    let swept = sweep(loaded, out);
    // None where a device may still be there.
    let mut removed = Some(0);
    if let Some(File::Routers(routers)) = loaded {
        stations(routers, out, err)?;
    } else {
        match remove_all() {
            Ok(names) => {
                removed = Some(names.len());
                for name in names {
                    writeln!(out, "removed the interface {name}")?;
                }
            }
            Err(why) => {
                removed = None;
                writeln!(err, "error: {why}")?;
            }
        }
    }
    let (table, fenced) = match loaded {
        Some(File::Routers(_)) => (ROUTERS_TABLE, RouterFence::remove()),
        Some(File::Node(_)) | None => (fence::TABLE, fence::remove(folder)),
    };
    match &fenced {
        Ok(true) => writeln!(out, "removed the fence: table netdev {table}")?,
        Ok(false) => {}
        Err(why) => say(why, err)?,
    }
    let count = match swept {
        Ok(count) => removed.map(|devices| count + devices),
        Err(Trouble::Output(why)) => return Err(why),
        Err(Trouble::Kernel(why)) => {
            writeln!(err, "error: {why}")?;
            None
        }
    };
    match (count, fenced) {
        (Some(0), Ok(false)) => {
            writeln!(out, "nothing was there to remove")?;
            Ok(Verdict::Done)
        }
        (Some(_), Ok(_)) => Ok(Verdict::Done),
        (None, _) | (_, Err(_)) => Ok(Verdict::Refused),
    }
}

fn say(why: &FenceError, err: &mut dyn Write) -> io::Result<()> {
    writeln!(err, "error: {why}")
}

enum Trouble {
    Kernel(AddressError),
    Output(io::Error),
}

impl From<AddressError> for Trouble {
    fn from(why: AddressError) -> Self {
        Self::Kernel(why)
    }
}

/// How many addresses of ours there were.
fn sweep(loaded: Option<&File>, out: &mut dyn Write) -> Result<usize, Trouble> {
    let (tag, virtuals) = match loaded {
        Some(File::Node(loaded)) => {
            let ports = loaded.config.ports.iter();
            (TAG, ports.flat_map(|port| port.virtuals.clone()).collect())
        }
        Some(File::Routers(loaded)) => (ROUTERS_TAG, of_routers(loaded)),
        None => (TAG, Vec::new()),
    };
    let mut addresses = Addresses::tagged(tag, virtuals).map_err(AddressError::from)?;
    let machine = Machine::look().map_err(AddressError::from)?;
    let swept = addresses.sweep()?;
    for leftover in &swept {
        let interface = machine.name(leftover.index).unwrap_or("an interface");
        let said = writeln!(out, "removed {} from {interface}", leftover.address);
        said.map_err(Trouble::Output)?;
    }
    Ok(swept.len())
}

/// Removes the devices of virtual MACs.
fn stations(routers: &Routers, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    let machine = Machine::look()?;
    for router in routers.routers.iter().filter(|it| it.virtual_mac) {
        let settings = &router.settings;
        let ipv6 = settings.primary.is_ipv6();
        let link = machine.index(&router.interface).unwrap_or_default();
        let name = macvlan::name(settings.virtual_id, ipv6, link);
        let Some(index) = machine.index(&name) else {
            continue;
        };
        match macvlan::remove(index) {
            Ok(()) => writeln!(out, "removed the interface {name}")?,
            Err(why) => writeln!(err, "error: {why}")?,
        }
    }
    Ok(())
}

/// Addresses that virtual routers have, without those that are the machine's own.
fn of_routers(routers: &Routers) -> Vec<std::net::IpAddr> {
    let all = routers.routers.iter().flat_map(|router| {
        let addresses = router.settings.addresses.iter().copied();
        addresses.filter(|address| !router.own.contains(address))
    });
    all.collect()
}
