//! The text of a configuration: every key with its meaning, what is usual as a comment.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use steadfast_core::ClusterId;
use steadfast_core::config::profile::Profile;
use steadfast_core::config::{AllPacified, Detection, Preempt};
use steadfast_core::wire::carriage::Form;
use toml::Spanned;

use super::keys::{DAEMON, POLICY, TIMING};
use super::taken::{kept, others, witness};
use super::{InitOptions, InitPeer, digits};
use crate::config::assemble::{number_of, port_number};
use crate::config::quantity::show;
use crate::config::raw::{self, Raw};

/// A configuration that is about to be written.
pub(super) struct Draft {
    pub(super) cluster: ClusterId,
    cluster_name: String,
    virtual_router: u8,
    profile: Option<Profile>,
    /// What heartbeats may travel in, where that is said.
    transports: Vec<Form>,
    udp_port: Option<u64>,
    secret: String,
    node_id: u8,
    node_name: String,
    peers: Vec<InitPeer>,
    ports: Vec<Port>,
    /// Keys of the tables that people leave alone, as written in the other node's file.
    kept: Vec<(&'static str, String)>,
    witness: Option<Witness>,
}

/// Who grants claims, with the table's keys as they are written.
pub(super) struct Witness {
    pub(super) node: u8,
    pub(super) keys: Vec<(&'static str, String)>,
}

struct Port {
    number: u8,
    interface: String,
    virtuals: Vec<IpAddr>,
    neighbour: Option<IpAddr>,
    via: Via,
    /// Flags that are not as usual.
    flags: Vec<(&'static str, &'static str)>,
}

/// The router of a port.
enum Via {
    /// There is none.
    None,
    /// It is there.
    At(IpAddr),
    /// The other node has one, on a segment that may be another one.
    Unknown,
}

/// The configuration reads a relative path as beside itself, which is not where `init` was called.
fn absolute(path: &Path) -> String {
    let whole = std::path::absolute(path);
    whole
        .unwrap_or_else(|_| path.to_owned())
        .display()
        .to_string()
}

impl Draft {
    /// The first node of a cluster.
    pub(super) fn fresh(options: &InitOptions, cluster: ClusterId) -> Self {
        let port = |(number, port): (u8, &super::InitPort)| Port {
            number,
            interface: port.interface.clone(),
            virtuals: port.virtuals.clone(),
            neighbour: port.neighbour,
            via: port.via.map_or(Via::None, Via::At),
            flags: if port.direct {
                vec![("direct", "true")]
            } else {
                Vec::new()
            },
        };
        Self {
            cluster,
            cluster_name: options.cluster_name.clone(),
            virtual_router: options.virtual_router.unwrap_or_else(|| drawn(cluster)),
            profile: options.profile,
            transports: options.transports.clone(),
            udp_port: None,
            secret: absolute(&options.secret),
            node_id: options.node_id,
            node_name: options.node_name.clone(),
            peers: options.peers.clone(),
            ports: (0..=u8::MAX).zip(&options.ports).map(port).collect(),
            kept: Vec::new(),
            witness: options.witness.map(|node| Witness {
                node,
                keys: vec![("node", node.to_string())],
            }),
        }
        .without_service()
    }

    /// A further node: what is shared as in the other's file, which has no mistakes in itself.
    pub(super) fn joined(options: &InitOptions, raw: &Raw, text: &str) -> Self {
        let name = |name: Option<&Spanned<String>>, otherwise: String| {
            name.map_or(otherwise, |name| name.get_ref().clone())
        };
        let flags = |port: &raw::Port| {
            let all = [
                ("direct", &port.direct),
                ("watched", &port.watched),
                ("virtual_mac", &port.virtual_mac),
            ];
            let written = |(name, flag): (&'static str, &Option<Spanned<bool>>)| {
                let value = |flag: &Spanned<bool>| if *flag.get_ref() { "true" } else { "false" };
                flag.as_ref().map(|flag| (name, value(flag)))
            };
            let rank = port.heartbeat.as_ref();
            let rank = rank.map(|rank| ("heartbeat", rank.get_ref().value()));
            let action = port.action.as_ref();
            let action = action.map(|action| ("action", action.get_ref().value()));
            let flags = all.into_iter().filter_map(written);
            flags.chain(rank).chain(action).collect()
        };
        // Who serves the same addresses is on the same segment.
        let via = |port: &raw::Port| match &port.via {
            None => Via::None,
            Some(via) if !port.virtuals.is_empty() => Via::At(*via.get_ref()),
            Some(_) => Via::Unknown,
        };
        let port = |(place, port): (usize, &raw::Port)| Port {
            number: port_number(port, place).0,
            interface: name(port.interface.as_ref(), String::new()),
            virtuals: port.virtuals.iter().map(|it| *it.get_ref()).collect(),
            neighbour: port.neighbour.as_ref().map(|it| *it.get_ref()),
            via: via(port),
            flags: flags(port),
        };
        Self {
            cluster: raw
                .cluster
                .id
                .as_ref()
                .map_or(ClusterId([0; 16]), |id| *id.get_ref()),
            cluster_name: name(raw.cluster.name.as_ref(), "steadfast".to_owned()),
            virtual_router: number_of(raw).unwrap_or(0),
            profile: raw.cluster.profile.as_ref().map(|it| *it.get_ref()),
            transports: raw
                .cluster
                .transports
                .iter()
                .map(|it| *it.get_ref())
                .collect(),
            udp_port: raw.cluster.udp_port.as_ref().map(|it| *it.get_ref()),
            secret: absolute(&options.secret),
            node_id: options.node_id,
            node_name: options.node_name.clone(),
            peers: others(options, raw),
            ports: raw.ports.iter().enumerate().map(port).collect(),
            kept: kept(raw, text),
            witness: raw.witness.as_ref().and_then(|it| witness(it, text)),
        }
        .without_service()
    }

    /// The witness serves nobody, and no cable of the gateways leads to it.
    fn without_service(mut self) -> Self {
        if self.grants(self.node_id) {
            let direct = |port: &Port| port.flags.contains(&("direct", "true"));
            self.ports.retain(|port| !direct(port));
            for port in &mut self.ports {
                port.virtuals.clear();
                port.flags.retain(|(name, _)| *name == "heartbeat");
                if matches!(port.via, Via::At(_)) {
                    port.via = Via::Unknown;
                }
            }
        }
        self
    }

    fn grants(&self, node: u8) -> bool {
        self.witness.as_ref().is_some_and(|it| it.node == node)
    }

    /// The file's text.
    pub(super) fn render(&self) -> String {
        let mut out = String::from(
            "# Steadfast: one gateway of a cluster. `steadfastctl check-config` checks this file\n\
             # and tells what each fault costs with it. Lines with # show what is usual.\n\
             format = 1\n\n\
             # The same on every node.\n",
        );
        let id = digits(self.cluster);
        put(&mut out, "[cluster]", "");
        put(
            &mut out,
            &format!("id = \"{id}\""),
            "tells this cluster from all others",
        );
        put(
            &mut out,
            &format!("name = {}", quoted(&self.cluster_name)),
            "for people",
        );
        let router = format!("virtual_router = {}", self.virtual_router);
        put(
            &mut out,
            &router,
            "1 to 255; used by nobody else on these segments, VRRP included",
        );
        let profile = self.profile.map_or("…", Profile::name);
        let mark = if self.profile.is_some() { "" } else { "# " };
        let names = Profile::ALL.map(Profile::name).join(", ");
        put(
            &mut out,
            &format!("{mark}profile = \"{profile}\""),
            &format!("times and choices of {names}"),
        );
        self.render_transports(&mut out);
        let secret = format!("secret_file = {}", quoted(&self.secret));
        put(&mut out, &secret, "readable by its owner alone");
        out.push_str("\n# This node alone.\n[node]\n");
        put(
            &mut out,
            &format!("id = {}", self.node_id),
            "1 to 254, each node its own",
        );
        put(&mut out, &format!("name = {}", quoted(&self.node_name)), "");
        put(&mut out, "# role = \"any\"", "any, active, standby, off");
        put(&mut out, "# priority = 100", "1 to 254; higher is better");
        put(
            &mut out,
            "# preferred = false",
            "the one to serve, where preempt = \"prefer\"",
        );
        self.render_peers(&mut out);
        self.render_ports(&mut out);
        self.render_keys(
            &mut out,
            "timing",
            "Times: the same on every node.",
            &TIMING,
        );
        self.render_keys(&mut out, "policy", "Choices.", &POLICY);
        self.render_witness(&mut out);
        self.render_keys(&mut out, "daemon", "The daemon on this machine.", &DAEMON);
        out
    }

    fn render_transports(&self, out: &mut String) {
        let words = |forms: &[Form]| {
            let quoted: Vec<String> = forms.iter().map(|form| quoted(form.word())).collect();
            format!("transports = [{}]", quoted.join(", "))
        };
        let meaning = "also multicast, broadcast, unicast: UDP";
        if self.transports.is_empty() {
            let usual = words(&[Form::Ethernet]);
            put(out, &format!("# {usual}"), meaning);
        } else {
            put(out, &words(&self.transports), meaning);
        }
        if let Some(port) = self.udp_port {
            put(out, &format!("udp_port = {port}"), "");
        }
    }

    fn render_peers(&self, out: &mut String) {
        out.push_str(
            "\n# Every other node, with its own (not the shared) addresses: its kernel is\n",
        );
        out.push_str("# asked for them before anybody takes over.\n");
        for peer in &self.peers {
            put(out, "[[peer]]", "");
            put(out, &format!("id = {}", peer.id), "");
            put(out, &format!("name = {}", quoted(&peer.name)), "");
            put(out, "[peer.addresses]", "");
            for port in &self.ports {
                let here = peer
                    .addresses
                    .iter()
                    .filter(|(name, _)| *name == port.interface);
                let list: Vec<String> = here.map(|(_, ip)| format!("\"{ip}\"")).collect();
                let key = bare(&port.interface);
                if !list.is_empty() {
                    put(out, &format!("{key} = [{}]", list.join(", ")), "");
                } else if !port.virtuals.is_empty() && !self.grants(peer.id) {
                    put(
                        out,
                        &format!("# {key} = [\"…\"]"),
                        "not known yet: write it here",
                    );
                }
            }
            out.push('\n');
        }
    }

    fn render_ports(&self, out: &mut String) {
        out.push_str(
            "# Ports: all carry heartbeats. Those with virtual addresses serve clients.\n",
        );
        out.push_str(
            "# `neighbour`: a station there that is always on, asked when all is silent.\n",
        );
        for port in &self.ports {
            put(out, "[[port]]", "");
            put(out, &format!("interface = {}", quoted(&port.interface)), "");
            put(
                out,
                &format!("number = {}", port.number),
                "the same on every node",
            );
            if !port.virtuals.is_empty() {
                let list: Vec<String> =
                    port.virtuals.iter().map(|ip| format!("\"{ip}\"")).collect();
                put(out, &format!("virtual = [{}]", list.join(", ")), "");
                match port.neighbour {
                    Some(ip) => put(out, &format!("neighbour = \"{ip}\""), ""),
                    None => put(out, "# neighbour = \"…\"", ""),
                }
            }
            match port.via {
                Via::None => {}
                Via::At(ip) => put(out, &format!("via = \"{ip}\""), "the router to far peers"),
                Via::Unknown => put(out, "# via = \"…\"", "the router here: write it"),
            }
            for (name, flag) in &port.flags {
                put(out, &format!("{name} = {flag}"), "");
            }
            out.push('\n');
        }
    }

    /// Nothing without a witness: `docs/witness.md` says what it is for.
    fn render_witness(&self, out: &mut String) {
        let Some(witness) = &self.witness else {
            return;
        };
        out.push_str("# One owner also when everything is cut: the same on every node.\n");
        put(out, "[witness]", "");
        for (name, value) in &witness.keys {
            let meaning = if *name == "node" { "who grants" } else { "" };
            put(out, &format!("{name} = {value}"), meaning);
        }
        out.push('\n');
    }

    fn render_keys(
        &self,
        out: &mut String,
        section: &str,
        title: &str,
        keys: &[(&'static str, &str, &str)],
    ) {
        // Writing to a string cannot fail.
        let _ = write!(out, "# {title}\n[{section}]\n");
        for (name, known, meaning) in keys {
            match self.kept.iter().find(|(kept, _)| kept == name) {
                Some((_, value)) => put(out, &format!("{name} = {value}"), meaning),
                None => {
                    let usual = match self.witness {
                        Some(_) if *name == "isolation" => Some(quoted("yield")),
                        Some(_) | None => self.profile.and_then(|it| usual_in(it, name)),
                    };
                    let usual = usual.unwrap_or_else(|| (*known).to_owned());
                    put(out, &format!("# {name} = {usual}"), meaning);
                }
            }
        }
        out.push('\n');
    }
}

/// What is usual with a profile, of what a profile changes.
fn usual_in(profile: Profile, name: &str) -> Option<String> {
    let (timing, policy) = (profile.timing(profile.interval()), profile.policy());
    let time = |time| Some(quoted(&show(time)));
    let word = |word: &str| Some(quoted(word));
    match name {
        "interval" => time(timing.interval),
        "dead_interval" => time(timing.dead_interval),
        "lease" => time(timing.lease),
        "preempt_delay" => time(timing.preempt_delay),
        "hold_down" => time(timing.hold_down),
        "preempt" => word(match policy.preempt {
            Preempt::Never => "never",
            Preempt::Prefer => "prefer",
            Preempt::Priority => "priority",
        }),
        "detection" => word(match policy.detection {
            Detection::DeadInterval => "dead-interval",
            Detection::Fast => "fast",
        }),
        "all_pacified" => word(match policy.all_pacified {
            AllPacified::Never => "never",
            AllPacified::Serve => "serve",
        }),
        _ => None,
    }
}

/// A line, with what it means in a column of its own.
fn put(out: &mut String, line: &str, meaning: &str) {
    // Writing to a string cannot fail.
    let _ = if meaning.is_empty() {
        writeln!(out, "{line}")
    } else {
        writeln!(out, "{line:<34} # {meaning}")
    };
}

pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A key without quotes, where TOML allows it.
fn bare(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(plain) {
        key.to_owned()
    } else {
        quoted(key)
    }
}

/// A number of a virtual router for a new cluster, as random as its id: two clusters on one segment
/// rarely have the same. None of those that products and handbooks begin with (1 to 10, and 51).
fn drawn(cluster: ClusterId) -> u8 {
    const USUAL: u8 = 51;
    let free = u16::from(u8::MAX - 10) - 1;
    let [first, second, ..] = cluster.0;
    let draw = u16::from_be_bytes([first, second]) % free;
    let number = u8::try_from(draw).map_or(u8::MAX, |draw| 11 + draw);
    if number < USUAL { number } else { number + 1 }
}
