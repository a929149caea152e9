//! A configuration checked, and a first one written; no daemon is needed.
//!
//! The command line of `init` says the same as the file: each port and peer once, its addresses
//! behind an equals sign. What is wrong with a word is told with the word.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use steadfast_core::config::profile::Profile;
use steadfast_core::wire::carriage::Form;

use super::Verdict;
use crate::config::init::{InitError, InitOptions, InitPeer, InitPort, init};
use crate::config::outlook::outlook;
use crate::config::quantity::show;
use crate::config::routers::Routers;
use crate::config::{self, File, Interfaces, Loaded, Offline, Report};
use crate::daemon::Machine;

/// What is checked.
#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    /// The configuration
    #[arg(default_value = "/etc/steadfast/steadfast.toml")]
    file: PathBuf,
    /// As JSON: {notes, outlook}, {notes} of virtual routers, or the report of what is wrong
    #[arg(long)]
    json: bool,
    /// Elsewhere than on the gateway: interfaces and secret need not be here
    #[arg(long)]
    offline: bool,
}

/// What is written.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Where the configuration goes
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/steadfast/steadfast.toml"
    )]
    config: PathBuf,
    /// Where the secret goes; usually `secret` beside the configuration
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,
    /// Join the cluster of another node, by a copy of its configuration
    #[arg(long, value_name = "FILE")]
    join: Option<PathBuf>,
    /// The copy of its secret; usually beside its configuration
    #[arg(long, value_name = "FILE", requires = "join")]
    join_secret: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
    /// The cluster's name, for people
    #[arg(long, conflicts_with = "join")]
    name: Option<String>,
    /// 11 to 255 (1 to 10 and 51 are other products' usual ones); nobody else on these segments may
    /// use it. Drawn when left out, so that two clusters rarely meet
    #[arg(long, conflicts_with = "join", value_parser = clap::value_parser!(u8).range(11..))]
    virtual_router: Option<u8>,
    /// Times and choices of another product: fortimail, kemp, kerio, safe-at-office or seqrite
    #[arg(long, value_name = "PRODUCT", conflicts_with = "join")]
    profile: Option<Profile>,
    /// The node that grants claims and never serves; one of the peers
    #[arg(long, value_name = "ID", conflicts_with = "join",
          value_parser = clap::value_parser!(u8).range(1..=254))]
    witness: Option<u8>,
    /// This node's id
    #[arg(long, value_name = "ID", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=254))]
    node: u8,
    /// This node's name; usually gw and its id
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Another node; repeat it for each
    #[arg(long, value_name = "ID[=NAME]", value_parser = peer)]
    peer: Vec<(u8, Option<String>)>,
    /// A port with virtual addresses; repeat it for each
    #[arg(long, value_name = "IF=ADDR[,ADDR]", conflicts_with = "join", value_parser = port)]
    port: Vec<(String, Vec<IpAddr>)>,
    /// A cable straight to the peer
    #[arg(long, value_name = "IF", conflicts_with = "join")]
    direct: Vec<String>,
    /// A station that is always on, on a port
    #[arg(long, value_name = "IF=ADDR", conflicts_with = "join", value_parser = at)]
    neighbour: Vec<(String, IpAddr)>,
    /// The router of a port, to peers on other segments; needs `unicast` among the transports
    #[arg(long, value_name = "IF=ADDR", conflicts_with = "join", value_parser = at)]
    via: Vec<(String, IpAddr)>,
    /// What heartbeats may travel in, the same on every node
    #[arg(long, value_name = "FORM[,FORM]", conflicts_with = "join", value_delimiter = ',',
          value_parser = form)]
    transports: Vec<Form>,
    /// A peer's own address on a port; with one peer its id may be left out
    #[arg(long, value_name = "[ID:]IF=ADDR", value_parser = peer_address)]
    peer_address: Vec<(Option<u8>, String, IpAddr)>,
}

/// Checks a configuration, and says what a fault costs with it.
pub(super) fn check(
    asked: &CheckConfig,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Verdict> {
    let machine;
    let interfaces: &dyn Interfaces = if asked.offline {
        &Offline
    } else {
        machine = Machine::look()?;
        &machine
    };
    let opened = config::open(&asked.file, interfaces);
    let loaded = match opened {
        Ok(File::Routers(routers)) => return checked_routers(&routers, asked.json, out),
        Ok(File::Node(loaded)) => Ok(*loaded),
        Err(report) => Err(report),
    };
    match loaded {
        Ok(loaded) if asked.json => {
            let told = json!({ "notes": loaded.notes, "outlook": outlook(&loaded) });
            writeln!(out, "{told:#}")?;
            Ok(Verdict::Done)
        }
        Ok(loaded) => {
            sound(&loaded, out)?;
            Ok(Verdict::Done)
        }
        Err(report) if asked.json => {
            writeln!(out, "{:#}", json!(report))?;
            Ok(Verdict::Refused)
        }
        Err(report) => refused(&report, err),
    }
}

/// A file of virtual routers: what each is, and how long it may be missed.
fn checked_routers(routers: &Routers, as_json: bool, out: &mut dyn Write) -> io::Result<Verdict> {
    if as_json {
        writeln!(out, "{:#}", json!({ "notes": routers.notes }))?;
        return Ok(Verdict::Done);
    }
    for note in &routers.notes {
        writeln!(out, "note, line {}: {}", note.line, note.text)?;
    }
    writeln!(out, "{} is sound\n", routers.path.display())?;
    for router in &routers.routers {
        let settings = &router.settings;
        let family = if settings.primary.is_ipv6() { 6 } else { 4 };
        writeln!(
            out,
            "{}, virtual router {}, IPv{family}: priority {}, speaks each {}, serves for {} after \
             its last word",
            router.interface,
            settings.virtual_id,
            settings.priority,
            show(settings.interval.span()),
            show(router.lease),
        )?;
    }
    Ok(Verdict::Done)
}

/// What is wrong with a file, with lines and carets.
pub(super) fn refused(report: &Report, err: &mut dyn Write) -> io::Result<Verdict> {
    write!(err, "{}", report.render(false))?;
    Ok(Verdict::Refused)
}

fn sound(loaded: &Loaded, out: &mut dyn Write) -> io::Result<()> {
    for note in &loaded.notes {
        writeln!(out, "note, line {}: {}", note.line, note.text)?;
    }
    let place = if loaded.offline {
        "sound, as far as that shows elsewhere than on its gateway"
    } else {
        "sound"
    };
    writeln!(out, "{} is {place}\n", loaded.path.display())?;
    write!(out, "{}", outlook(loaded).table())
}

/// Writes configuration and secret.
pub(super) fn write(asked: Init, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Verdict> {
    let options = match options(asked) {
        Ok(options) => options,
        Err(why) => {
            writeln!(err, "error: {why}")?;
            return Ok(Verdict::Usage);
        }
    };
    match init(&options) {
        Ok(files) => {
            writeln!(out, "wrote {}", files.config.display())?;
            writeln!(
                out,
                "wrote {}, readable by its owner alone",
                files.secret.display()
            )?;
            for (place, step) in files.next.iter().enumerate() {
                writeln!(out, "{}. {step}", place + 1)?;
            }
            Ok(Verdict::Done)
        }
        Err(why) => {
            writeln!(err, "error: {why}")?;
            if let InitError::Join(report) = &why {
                refused(report, err)?;
            }
            Ok(Verdict::Refused)
        }
    }
}

/// Without a port it is an example to edit; without a peer, a pair.
fn options(asked: Init) -> Result<InitOptions, String> {
    let usual = InitOptions::default();
    let example = asked.port.is_empty() && asked.direct.is_empty();
    let peers = peers(&asked, if example { &usual.peers } else { &[] })?;
    let ports = if example { usual.ports } else { ports(&asked)? };
    let secret = asked
        .secret
        .unwrap_or_else(|| asked.config.with_file_name("secret"));
    Ok(InitOptions {
        config: asked.config,
        secret,
        join: asked.join,
        join_secret: asked.join_secret,
        force: asked.force,
        cluster_name: asked.name.unwrap_or(usual.cluster_name),
        virtual_router: asked.virtual_router,
        profile: asked.profile,
        transports: asked.transports,
        witness: asked.witness,
        node_id: asked.node,
        node_name: asked.node_name.unwrap_or_else(|| named(asked.node)),
        peers,
        ports,
    })
}

fn ports(asked: &Init) -> Result<Vec<InitPort>, String> {
    let served = asked.port.iter().map(|(interface, virtuals)| InitPort {
        interface: interface.clone(),
        virtuals: virtuals.clone(),
        ..InitPort::default()
    });
    let direct = asked.direct.iter().map(|interface| InitPort {
        interface: interface.clone(),
        direct: true,
        ..InitPort::default()
    });
    let mut ports: Vec<InitPort> = served.chain(direct).collect();
    for (interface, address) in &asked.neighbour {
        let port = ports.iter_mut().find(|port| port.interface == *interface);
        let Some(port) = port else {
            return Err(format!(
                "--neighbour {interface}={address}: no --port {interface}"
            ));
        };
        if port.virtuals.is_empty() {
            return Err(format!(
                "--neighbour {interface}={address}: {interface} has no virtual addresses, and \
                 nobody is asked there; leave it out"
            ));
        }
        port.neighbour = Some(*address);
    }
    for (interface, address) in &asked.via {
        let port = ports.iter_mut().find(|port| port.interface == *interface);
        let Some(port) = port else {
            return Err(format!(
                "--via {interface}={address}: no --port {interface}"
            ));
        };
        if !asked.transports.contains(&Form::Unicast) {
            return Err(format!(
                "--via {interface}={address}: heartbeats pass routers as datagrams alone; add \
                 --transports ethernet,unicast"
            ));
        }
        port.via = Some(*address);
    }
    Ok(ports)
}

fn peers(asked: &Init, example: &[InitPeer]) -> Result<Vec<InitPeer>, String> {
    let mut peers: Vec<InitPeer> = Vec::new();
    let fresh = |id: u8, name: Option<&String>| InitPeer {
        id,
        name: name.cloned().unwrap_or_else(|| named(id)),
        addresses: Vec::new(),
    };
    for (id, name) in &asked.peer {
        peers.push(fresh(*id, name.as_ref()));
    }
    if peers.is_empty() && asked.join.is_none() {
        let other = if asked.node == 1 { 2 } else { 1 };
        peers.push(fresh(other, None));
    }
    for (id, interface, address) in &asked.peer_address {
        let id = match (id, &peers[..]) {
            (Some(id), _) => *id,
            (None, [only]) => only.id,
            (None, _) => {
                let text = format!("--peer-address {interface}={address}: whose? write it as");
                return Err(format!("{text} ID:{interface}={address}"));
            }
        };
        if !peers.iter().any(|peer| peer.id == id) {
            peers.push(fresh(id, None));
        }
        let at = (interface.clone(), *address);
        let owner = peers.iter_mut().find(|peer| peer.id == id);
        owner
            .into_iter()
            .for_each(|peer| peer.addresses.push(at.clone()));
    }
    if peers.iter().any(|peer| peer.id == asked.node) && asked.join.is_none() {
        return Err(format!(
            "node {} is this node and no peer of it",
            asked.node
        ));
    }
    if let Some(witness) = asked.witness
        && witness != asked.node
        && !peers.iter().any(|peer| peer.id == witness)
    {
        return Err(format!("--witness {witness}: no --peer {witness}"));
    }
    if let ([peer], [shown]) = (&mut peers[..], example)
        && peer.addresses.is_empty()
    {
        peer.addresses.clone_from(&shown.addresses);
    }
    Ok(peers)
}

fn named(id: u8) -> String {
    format!("gw{id}")
}

fn id(text: &str) -> Result<u8, String> {
    let number = text.parse().ok().filter(|id| (1..=254).contains(id));
    number.ok_or_else(|| format!("`{text}` is no node id; one is 1 to 254"))
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is no IP address"))
}

fn form(text: &str) -> Result<Form, String> {
    let known = Form::ALL.into_iter().find(|form| form.word() == text);
    known.ok_or_else(|| {
        let all = Form::ALL.map(Form::word).join(", ");
        format!("`{text}` is no transport; known here: {all}")
    })
}

fn peer(text: &str) -> Result<(u8, Option<String>), String> {
    match text.split_once('=') {
        None => Ok((id(text)?, None)),
        Some((_, "")) => Err("the name is missing".to_owned()),
        Some((number, name)) => Ok((id(number)?, Some(name.to_owned()))),
    }
}

fn parted(text: &str) -> Result<(&str, &str), String> {
    let parts = text
        .split_once('=')
        .filter(|(interface, _)| !interface.is_empty());
    parts.ok_or_else(|| format!("`{text}` is no INTERFACE=ADDRESS"))
}

fn at(text: &str) -> Result<(String, IpAddr), String> {
    let (interface, ip) = parted(text)?;
    Ok((interface.to_owned(), address(ip)?))
}

fn port(text: &str) -> Result<(String, Vec<IpAddr>), String> {
    let (interface, list) = parted(text)?;
    let addresses: Result<Vec<IpAddr>, String> = list.split(',').map(address).collect();
    Ok((interface.to_owned(), addresses?))
}

fn peer_address(text: &str) -> Result<(Option<u8>, String, IpAddr), String> {
    let (place, ip) = parted(text)?;
    let ip = address(ip)?;
    match place.split_once(':') {
        None => Ok((None, place.to_owned(), ip)),
        Some((number, interface)) => Ok((Some(id(number)?), interface.to_owned(), ip)),
    }
}

#[cfg(test)]
mod tests;
