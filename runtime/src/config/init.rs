//! Writes a node's first configuration and its secret, or joins the cluster of another node's file.
//!
//! The first node draws the cluster's id and secret; every further one takes both over
//! ([`InitOptions::join`]), with ports, times and policy, and only its own id and name are new.
//! Nothing is overwritten unless asked; both files appear whole or not at all, the secret first
//! and for its owner alone. The limit: the secret must be carried to the next node by somebody who
//! is trusted; no network is used.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use steadfast_core::ClusterId;
use steadfast_core::config::profile::Profile;
use steadfast_core::wire::carriage::Form;
use thiserror::Error;
use toml::Spanned;
use zeroize::Zeroizing;

use super::mistake::{Findings, Report};
use super::raw::{self, Raw, byte};
use super::secret::{self, SecretFault};
use super::{SECRET_FILE, files};

mod draft;
mod keys;
mod taken;

use draft::Draft;

/// What to write.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// Where the configuration goes.
    pub config: PathBuf,
    /// Where the secret goes.
    pub secret: PathBuf,
    /// The configuration of a node whose cluster this one joins.
    pub join: Option<PathBuf>,
    /// That node's secret file; else looked for beside `join`, then where its file says.
    pub join_secret: Option<PathBuf>,
    /// Replace what is there.
    pub force: bool,
    /// Name of a new cluster.
    pub cluster_name: String,
    /// Virtual router number of a new cluster, 11 to 255; drawn with the cluster's id if none.
    pub virtual_router: Option<u8>,
    /// A product whose times and choices a new cluster takes.
    pub profile: Option<Profile>,
    /// What heartbeats of a new cluster may travel in; empty for the usual.
    pub transports: Vec<Form>,
    /// The node of a new cluster that grants claims and never serves (D14).
    pub witness: Option<u8>,
    /// This node's id; 1 to 254.
    pub node_id: u8,
    /// This node's name.
    pub node_name: String,
    /// The other nodes. On joining, addresses of nodes that the other file does not tell.
    pub peers: Vec<InitPeer>,
    /// The ports of a new cluster.
    pub ports: Vec<InitPort>,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitPeer {
    /// Its id.
    pub id: u8,
    /// Its name.
    pub name: String,
    /// Its own addresses by interface.
    pub addresses: Vec<(String, IpAddr)>,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitPort {
    /// The interface's name.
    pub interface: String,
    /// Virtual addresses.
    pub virtuals: Vec<IpAddr>,
    /// A station that is always on.
    pub neighbour: Option<IpAddr>,
    /// The router to peers on other segments.
    pub via: Option<IpAddr>,
    /// A direct cable.
    pub direct: bool,
}

/// An example to edit: two nodes, LAN, WAN and a cable.
impl Default for InitOptions {
    fn default() -> Self {
        let port = |interface: &str, host: Option<[u8; 4]>| InitPort {
            interface: interface.to_owned(),
            virtuals: host.map(IpAddr::from).into_iter().collect(),
            neighbour: None,
            via: None,
            direct: host.is_none(),
        };
        let lan = ("lan0".to_owned(), IpAddr::from([10, 0, 1, 3]));
        let wan = ("wan0".to_owned(), IpAddr::from([10, 0, 2, 3]));
        Self {
            config: PathBuf::from("/etc/steadfast/steadfast.toml"),
            secret: PathBuf::from(SECRET_FILE),
            join: None,
            join_secret: None,
            force: false,
            cluster_name: "office".to_owned(),
            virtual_router: None,
            profile: None,
            transports: Vec::new(),
            witness: None,
            node_id: 1,
            node_name: "gw1".to_owned(),
            peers: vec![InitPeer {
                id: 2,
                name: "gw2".to_owned(),
                addresses: vec![lan, wan],
            }],
            ports: vec![
                port("lan0", Some([10, 0, 1, 1])),
                port("wan0", Some([10, 0, 2, 1])),
                port("ha0", None),
            ],
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitFiles {
    /// The configuration.
    pub config: PathBuf,
    /// The secret.
    pub secret: PathBuf,
    /// What to do next, one step each.
    pub next: Vec<String>,
}

/// Why nothing was written.
#[derive(Debug, Error)]
pub enum InitError {
    /// A file is there already.
    #[error("{0} is already there; use --force to replace it, or choose another place")]
    Exists(PathBuf),
    /// A file cannot be written or read.
    #[error("failed to write {0}: {1}")]
    Write(PathBuf, #[source] io::Error),
    /// The system has no random bytes.
    #[error("failed to draw random bytes: {0}")]
    Entropy(#[source] io::Error),
    /// The other node's file is wrong; show [`Report::render`].
    #[error("failed to join: {0}")]
    Join(Box<Report>),
    /// The other node's secret cannot be used.
    #[error("failed to join: {}; {}", .0.message, .0.cure)]
    Secret(SecretFault),
    /// The other node's file is the witness's: it says nothing of what gateways serve.
    #[error("failed to join: node {0} is the witness; join by a gateway's file")]
    Witness(u8),
    /// The other node's file belongs to a node of the same id.
    #[error("failed to join: node {0} is the other node; give this one an id of its own (--node)")]
    SameId(u8),
}

/// Writes configuration and secret.
///
/// # Errors
/// See [`InitError`]; then neither file is new.
pub fn init(options: &InitOptions) -> Result<InitFiles, InitError> {
    let (draft, secret, left_out) = match &options.join {
        None => (Draft::fresh(options, draw_id()?), None, Vec::new()),
        Some(file) => {
            let (draft, secret, left_out) = join(options, file)?;
            (draft, Some(secret), left_out)
        }
    };
    for path in [&options.config, &options.secret] {
        if !options.force && path.symlink_metadata().is_ok() && !holds(path, secret.as_ref()) {
            return Err(InitError::Exists(path.clone()));
        }
    }
    let text = match secret {
        Some(text) => text,
        None => {
            let text = secret::generate(draft.cluster).map_err(InitError::Entropy)?;
            Zeroizing::new(text.as_bytes().to_vec())
        }
    };
    let fresh = options.secret.symlink_metadata().is_err();
    if options.force || fresh {
        put(&options.secret, &text, secret::MODE, options.force)?;
    }
    let written = put(
        &options.config,
        draft.render().as_bytes(),
        0o644,
        options.force,
    );
    if written.is_err() && fresh {
        // A secret that no configuration names would only be in the way of the next try.
        let _ = std::fs::remove_file(&options.secret);
    }
    written?;
    Ok(InitFiles {
        config: options.config.clone(),
        secret: options.secret.clone(),
        next: next_steps(options, &left_out),
    })
}

/// What a peer is called; without a name of its own as its file would call it.
fn named(peer: &InitPeer) -> String {
    if peer.name.is_empty() {
        format!("gw{}", peer.id)
    } else {
        peer.name.clone()
    }
}

fn next_steps(options: &InitOptions, left_out: &[String]) -> Vec<String> {
    let (config, secret) = (options.config.display(), options.secret.display());
    let mut next = vec![format!("check it: steadfastctl check-config {config}")];
    if options.join.is_none() {
        next.push(format!(
            "copy {config} and {secret} to the next node, by a channel you trust"
        ));
        for peer in &options.peers {
            let (id, name) = (peer.id, named(peer));
            next.push(format!(
                "there: steadfastctl init --join COPY --node {id} --node-name {name}; then delete \
                 the copies"
            ));
        }
    } else {
        let (id, name) = (options.node_id, &options.node_name);
        next.push(format!(
            "on every other node: see that its file has a [[peer]] with id = {id} ({name}) and \
             its addresses"
        ));
    }
    if !left_out.is_empty() {
        let list = left_out.join(", ");
        next.push(format!(
            "here: checks and hooks are each node's own, and what the other file has of them was \
             left out ({list}); write down those that this node shall have"
        ));
    }
    next
}

fn draw_id() -> Result<ClusterId, InitError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| InitError::Entropy(io::Error::other(error)))?;
    Ok(ClusterId(id))
}

/// Whether the secret to be taken over is there already.
fn holds(path: &Path, secret: Option<&Zeroizing<Vec<u8>>>) -> bool {
    let mut there = Zeroizing::new(Vec::new());
    let read = files::open(path).and_then(|mut file| files::read(&mut file, 1 << 16, &mut there));
    read.is_ok() && secret.is_some_and(|secret| **secret == *there)
}

fn put(path: &Path, bytes: &[u8], mode: u32, replace: bool) -> Result<(), InitError> {
    files::write(path, bytes, mode, replace).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => InitError::Exists(path.to_owned()),
        _ => InitError::Write(path.to_owned(), error),
    })
}

/// What is taken over, the secret, and what is left out.
type Joined = (Draft, Zeroizing<Vec<u8>>, Vec<String>);

fn join(options: &InitOptions, file: &Path) -> Result<Joined, InitError> {
    let failed = |findings: Findings| InitError::Join(Box::new(super::refused(findings)));
    let mut findings = Findings::new(&file.display().to_string(), "");
    let Some(text) = super::read_text(file, &mut findings) else {
        return Err(failed(findings));
    };
    let mut findings = Findings::new(&file.display().to_string(), &text);
    let raw = raw::read(&text, &mut findings);
    let Some(raw) = raw.filter(|_| findings.count() == 0) else {
        return Err(failed(findings));
    };
    let theirs = byte(raw.node.id.as_ref()).unwrap_or(0);
    if theirs == options.node_id {
        return Err(InitError::SameId(theirs));
    }
    let witness = raw.witness.as_ref();
    if witness.is_some_and(|it| byte(it.node.as_ref()) == Some(theirs)) {
        return Err(InitError::Witness(theirs));
    }
    let secret = their_secret(options, file, &raw)?;
    Ok((
        Draft::joined(options, &raw, &text),
        secret,
        taken::left_out(&raw),
    ))
}

/// The other node's secret: as told, else beside its file, else where its file says.
fn their_secret(
    options: &InitOptions,
    file: &Path,
    raw: &Raw,
) -> Result<Zeroizing<Vec<u8>>, InitError> {
    let written = raw
        .cluster
        .secret_file
        .as_ref()
        .map_or(SECRET_FILE, |it| it.get_ref().as_str());
    let named = files::beside_file(file, written);
    let beside = Path::new(written)
        .file_name()
        .and_then(|name| name.to_str());
    let beside = beside.map(|name| files::beside_file(file, name));
    let found = match &options.join_secret {
        Some(told) => told.clone(),
        None => beside.filter(|path| path.exists()).unwrap_or(named),
    };
    let fault = |faults: Vec<SecretFault>| {
        let message = "the secret cannot be used".to_owned();
        let cure = "copy it again".to_owned();
        let missing = false;
        let first = faults.into_iter().next();
        InitError::Secret(first.unwrap_or(SecretFault {
            message,
            cure,
            missing,
        }))
    };
    let secrets = secret::read(&found).map_err(fault)?;
    let ours = raw.cluster.id.as_ref().map(Spanned::get_ref);
    if secrets
        .cluster
        .as_ref()
        .is_some_and(|theirs| Some(theirs) != ours)
    {
        return Err(fault(vec![SecretFault {
            message: format!("secret file {} belongs to another cluster", found.display()),
            cure: "copy the configuration and the secret from the same node".to_owned(),
            missing: false,
        }]));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let read = files::open(&found).and_then(|mut it| files::read(&mut it, 1 << 16, &mut bytes));
    read.map_err(|error| InitError::Write(found, error))?;
    Ok(bytes)
}

/// The cluster's id as it is written.
fn digits(cluster: ClusterId) -> String {
    steadfast_shell::hex::encode(&cluster.0)
}

#[cfg(test)]
mod tests;
