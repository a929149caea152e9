//! The configuration: a TOML file becomes a checked [`steadfast_core::config::Config`] and the
//! daemon's own settings, or a report of everything that is wrong with it.
//!
//! ```text
//!  file ──► section, values ──► raw ──► assemble ──────► core's Config::new
//!            types, units       as       + interfaces      rules between values
//!            vendors' words     written  + secret          └─► places: where in the file
//! ```
//! Reading never stops at the first mistake: what is wrong is left out, the rest goes on being
//! checked, and a rule that only broke because of what was left out is not told. What this node is
//! (hardware addresses, its own addresses) comes from the interfaces, so a file holds only what an
//! operator decides; with [`Offline`] it can be checked on another machine.
//!
//! A file of `[[vrrp]]` tables is of another kind: virtual routers of VRRP alone ([`routers`]);
//! [`open`] reads whichever it is.
//!
//! [`load`] reads, [`init`] writes, [`outlook`] foretells what a fault costs with it, [`compare`]
//! says whether a changed file can be taken over by a running node.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use steadfast_core::config::Config;
use steadfast_core::{MacAddr, NodeId};

use crate::checks::CheckSpec;
use crate::hooks::HookSpec;
use crate::linux::fence::Hooks;

pub mod compare;
pub mod init;
pub mod outlook;
pub mod quantity;
pub mod routers;
pub mod secret;

mod addresses;
mod assemble;
mod checks;
mod choices;
mod cluster;
mod far;
mod files;
mod hooks;
mod mistake;
mod path;
mod places;
mod raw;
mod section;
mod values;
mod witness;

pub use compare::{Change, compare};
pub use mistake::{MISTAKES_MAX, Mistake, Note, Report};
pub use raw::FORMAT;

use assemble::assemble;
use mistake::Findings;
use secret::Secrets;
use steadfast_shell::digest;

/// Largest configuration in bytes; a larger one is refused.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Where the secret is, unless the file says otherwise.
pub const SECRET_FILE: &str = "/etc/steadfast/secret";

/// This machine's interfaces, as far as a configuration needs them.
pub trait Interfaces {
    /// What is known of an interface; none when there is no such one.
    fn interface(&self, name: &str) -> Option<InterfaceFacts>;

    /// The names of all, to say which one was probably meant.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether this machine is the one the configuration is for. If not, missing interfaces,
    /// addresses and secrets are no mistakes, and the keys are drawn at random.
    fn here(&self) -> bool {
        true
    }
}

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceFacts {
    /// Its hardware address.
    pub mac: MacAddr,
    /// Its own addresses with prefix lengths; those that this runtime added (tagged by
    /// `IFA_PROTO`) are left out by whoever looks.
    pub units: Vec<(IpAddr, u8)>,
}

/// No machine at all: for checking a configuration elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offline;

impl Interfaces for Offline {
    fn interface(&self, _: &str) -> Option<InterfaceFacts> {
        None
    }

    fn here(&self) -> bool {
        false
    }
}

/// A configuration without mistakes.
#[derive(Debug)]
pub struct Loaded {
    /// What the node decides by. After a load with [`Offline`] its keys are random: nobody hears
    /// such a node.
    pub config: Config,
    /// What the daemon around it needs.
    pub daemon: DaemonSettings,
    /// What is looked at beside the ports (R4.2).
    pub checks: Vec<CheckSpec>,
    /// What follows the role (R1.5).
    pub hooks: Vec<HookSpec>,
    /// What people call things.
    pub names: Names,
    /// What is worth knowing and not wrong.
    pub notes: Vec<Note>,
    /// The file.
    pub path: PathBuf,
    /// Its text; never a secret.
    pub text: String,
    /// The machine's facts were not looked at.
    pub offline: bool,
    /// Tells two secret files apart.
    secret_print: secret::Print,
}

/// Names for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The cluster's.
    pub cluster: String,
    /// This node's.
    pub node: String,
    /// The peers', in the order of the configuration.
    pub peers: Vec<(NodeId, String)>,
}

/// What the daemon needs beside the node's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSettings {
    /// Where the record and the journal are kept over reboots.
    pub state_dir: PathBuf,
    /// Where sockets are.
    pub runtime_dir: PathBuf,
    /// The control socket.
    pub control_socket: PathBuf,
    /// Whose members may command, beside root.
    pub control_group: Option<String>,
    /// The certificate that clients see at the shared address while this node serves (R5.6).
    pub certificate: Option<PathBuf>,
    /// The daemon turns the kernel's forwarding on, once the fence stands (D9): a box that has just
    /// booted must not carry what clients still send to it.
    pub forward: bool,
    /// Where the fence judges what leaves.
    pub fence: Hooks,
    /// Most bytes of the flight recorder on disk.
    pub journal_bytes_max: u64,
    /// What is logged.
    pub log: log::LevelFilter,
    /// The secret file.
    pub secret_file: PathBuf,
}

/// A configuration of either kind.
#[derive(Debug)]
pub enum File {
    /// A node of a cluster.
    Node(Box<Loaded>),
    /// Virtual routers of VRRP.
    Routers(routers::Routers),
}

/// Reads and checks a configuration, whichever kind it is.
///
/// # Errors
/// Everything that is wrong, each with its place and cure.
pub fn open(path: &Path, interfaces: &dyn Interfaces) -> Result<File, Report> {
    let mut findings = Findings::new(&path.display().to_string(), "");
    let Some(text) = read_text(path, &mut findings) else {
        return Err(refused(findings));
    };
    if routers::are_in(&text) {
        return routers::read(path, &text, interfaces).map(File::Routers);
    }
    load(path, interfaces).map(|loaded| File::Node(Box::new(loaded)))
}

/// Reads and checks a configuration and its secret file.
///
/// # Errors
/// Everything that is wrong, each with its place and cure.
pub fn load(path: &Path, interfaces: &dyn Interfaces) -> Result<Loaded, Report> {
    let mut findings = Findings::new(&path.display().to_string(), "");
    let Some(text) = read_text(path, &mut findings) else {
        return Err(refused(findings));
    };
    let mut findings = Findings::new(&path.display().to_string(), &text);
    let Some(raw) = raw::read(&text, &mut findings) else {
        return Err(refused(findings));
    };
    let (secret_file, secrets) = read_secret(path, &raw, interfaces, &mut findings);
    let daemon = daemon_settings(&raw.daemon, secret_file);
    let secret_print = secrets
        .as_ref()
        .map(|secrets| secrets.print)
        .unwrap_or_default();
    let facts = facts_of(path, &raw, interfaces, &mut findings);
    let config = assemble(&raw, interfaces, secrets, facts, &mut findings);
    if interfaces.here() {
        hooks::advise(&raw.hooks, &mut findings);
    }
    let names = names(&raw);
    let notes = findings.conclude()?;
    let Some(config) = config else {
        // No mistake and no configuration: the checks of the core and of this room disagree.
        let mut findings = Findings::new(&path.display().to_string(), "");
        findings.wrong_nowhere(
            "the configuration was refused without a reason",
            "report this",
        );
        return Err(refused(findings));
    };
    Ok(Loaded {
        config,
        daemon,
        checks: raw.checks.iter().map(checks::Check::spec).collect(),
        hooks: raw.hooks.iter().map(hooks::Hook::spec).collect(),
        names,
        notes,
        path: path.to_owned(),
        text,
        offline: !interfaces.here(),
        secret_print,
    })
}

fn refused(findings: Findings) -> Report {
    match findings.conclude() {
        Err(report) => report,
        Ok(notes) => Report {
            file: String::new(),
            mistakes: Vec::new(),
            left_out: 0,
            notes,
        },
    }
}

fn read_text(path: &Path, findings: &mut Findings) -> Option<String> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let read =
        files::open(path).and_then(|mut file| files::read(&mut file, FILE_BYTES_MAX, &mut bytes));
    if let Err(error) = read {
        let cure = match error.kind() {
            std::io::ErrorKind::NotFound => "write one with `steadfastctl init`",
            std::io::ErrorKind::PermissionDenied => "run this as a user who may read it",
            std::io::ErrorKind::FileTooLarge => "a configuration has at most 1 MiB",
            _ => "name a plain file",
        };
        findings.wrong_nowhere(format!("failed to read {shown}: {error}"), cure);
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let lines = error
                .as_bytes()
                .iter()
                .take(good)
                .filter(|byte| **byte == b'\n');
            let message = format!("{shown}, line {}: not UTF-8 text", lines.count() + 1);
            findings.wrong_nowhere(message, "save the file as UTF-8");
            None
        }
    }
}

fn read_secret(
    path: &Path,
    raw: &raw::Raw,
    interfaces: &dyn Interfaces,
    findings: &mut Findings,
) -> (PathBuf, Option<Secrets>) {
    let written = raw.cluster.secret_file.as_ref();
    let written_path = written.map_or(SECRET_FILE, |file| file.get_ref().as_str());
    let file = files::beside_file(path, written_path);
    let place = written.map_or_else(|| raw.cluster.place.clone(), toml::Spanned::span);
    match secret::read(&file) {
        Ok(secrets) => (file, Some(secrets)),
        Err(faults) if faults.iter().all(|fault| fault.missing) && !interfaces.here() => {
            let text = "no secret file on this machine; keys were not checked";
            findings.note(&place, "secret_file", text);
            (file, None)
        }
        Err(faults) => {
            for fault in faults {
                findings.wrong(&place, fault.message, fault.cure);
            }
            (file, None)
        }
    }
}

/// The digest of the product's identity facts; 0 when it supplies none (R1.4).
fn facts_of(
    path: &Path,
    raw: &raw::Raw,
    interfaces: &dyn Interfaces,
    findings: &mut Findings,
) -> u64 {
    let Some(written) = &raw.node.facts_file else {
        return 0;
    };
    let file = files::beside_file(path, written.get_ref());
    let mut facts = Vec::new();
    let read =
        files::open(&file).and_then(|mut file| files::read(&mut file, FILE_BYTES_MAX, &mut facts));
    match read {
        Ok(()) => digest::of_bytes(&facts),
        Err(_) if !interfaces.here() => 0,
        Err(error) => {
            let message = format!("failed to read facts file {}: {error}", file.display());
            findings.wrong(
                &written.span(),
                message,
                "let the product write it, or leave it out",
            );
            0
        }
    }
}

fn daemon_settings(raw: &raw::Daemon, secret_file: PathBuf) -> DaemonSettings {
    let path = |written: &Option<toml::Spanned<String>>, default: &str| {
        PathBuf::from(
            written
                .as_ref()
                .map_or(default, |text| text.get_ref().as_str()),
        )
    };
    let runtime_dir = path(&raw.runtime_dir, "/run/steadfast");
    let control_socket = match &raw.control_socket {
        Some(written) => PathBuf::from(written.get_ref()),
        None => runtime_dir.join("control.sock"),
    };
    DaemonSettings {
        state_dir: path(&raw.state_dir, "/var/lib/steadfast"),
        runtime_dir,
        control_socket,
        control_group: raw
            .control_group
            .as_ref()
            .map(|name| name.get_ref().clone()),
        certificate: raw
            .certificate
            .as_ref()
            .map(|path| PathBuf::from(path.get_ref())),
        forward: raw.forward.as_ref().is_some_and(|it| *it.get_ref()),
        fence: raw.fence.as_ref().map_or(Hooks::Auto, |it| *it.get_ref()),
        journal_bytes_max: raw
            .journal_bytes_max
            .as_ref()
            .map_or(8 << 20, |it| *it.get_ref()),
        log: raw
            .log
            .as_ref()
            .map_or(log::LevelFilter::Info, |it| *it.get_ref()),
        secret_file,
    }
}

fn names(raw: &raw::Raw) -> Names {
    let named = |name: &Option<toml::Spanned<String>>, otherwise: String| {
        name.as_ref()
            .map_or(otherwise, |name| name.get_ref().clone())
    };
    let id = raw::byte(raw.node.id.as_ref()).unwrap_or(0);
    let peer = |peer: &raw::Peer| {
        let id = raw::byte(peer.id.as_ref())?;
        Some((NodeId(id), named(&peer.name, format!("node {id}"))))
    };
    Names {
        cluster: named(&raw.cluster.name, "steadfast".to_owned()),
        node: named(&raw.node.name, format!("node {id}")),
        peers: raw.peers.iter().filter_map(peer).collect(),
    }
}

#[cfg(test)]
mod tests;
