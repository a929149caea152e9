//! What one seed makes of a scenario: everything concrete, every name known to exist.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::{Instant, NodeId};

use super::{
    Action, Capability, Cluster, Expectation, Family, Gateway, GatewaySetup, Layout, Rate, Span,
    Step, Topology, Version, When,
};
use crate::ids::{HostId, SegmentId, StreamId};

/// A concrete run: what worlds carry out and oracles judge.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The seed it was drawn from.
    pub seed: u64,
    /// What each parameter became, as TOML.
    pub drawn: BTreeMap<String, String>,
    /// The scenario's name: letters, digits, `-` and `_`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Requirements, rules and failures it speaks for.
    pub claims: Vec<String>,
    /// How long it runs.
    pub duration: Span,
    /// Whether it is swept rarely and scaled in the lab.
    pub long: bool,
    /// The network, as the file gives it.
    pub topology: Topology,
    /// The network spelt out.
    pub layout: Layout,
    /// Settings that all gateways share.
    pub cluster: Cluster,
    /// Settings of each gateway that differs from the default, by name.
    pub gateways: BTreeMap<String, GatewaySetup>,
    /// Streams of probes; `StreamId` is the index.
    pub traffic: Vec<Stream>,
    /// What single worlds do differently, by the world's name.
    pub worlds: BTreeMap<String, WorldSetup>,
    /// What happens, in the file's order.
    pub steps: Vec<Step>,
    /// What is expected, beside what always is.
    pub expects: Vec<Expectation>,
}

impl Plan {
    /// When the run ends.
    pub fn end(&self) -> Instant {
        Instant::ORIGIN.after(self.duration.0)
    }

    /// How this gateway is set up.
    pub fn gateway(&self, name: &str) -> GatewaySetup {
        self.gateways.get(name).cloned().unwrap_or_default()
    }

    /// Under which id a gateway's file lists a node, its own or another: with
    /// [`GatewaySetup::same_id_as`] it has changed two of them, its own and that one's.
    pub fn listed_id(&self, gateway: &Gateway, node: &Gateway) -> NodeId {
        let other = self.gateway(&gateway.name).same_id_as;
        match self.layout.gateway(&other) {
            Some(other) if node.id == gateway.id => other.id,
            Some(other) if node.id == other.id => gateway.id,
            Some(_) | None => node.id,
        }
    }

    /// Where a stream goes.
    pub fn destination(&self, stream: &Stream) -> Option<Destination> {
        destination(&stream.to, &self.layout)
    }

    /// The addresses a stream goes between.
    pub fn addresses(&self, stream: &Stream) -> Option<(IpAddr, IpAddr)> {
        let version = stream.version(self.topology.family);
        let from = self.layout.host(&stream.from)?.address(version)?;
        let to = match self.destination(stream)? {
            Destination::Host(to) => self.layout.hosts.get(to.index())?.address(version)?,
            Destination::Virtual(segment) => {
                let segment = self.layout.segments.get(segment.index())?;
                segment.first_virtual(version)?
            }
        };
        Some((from, to))
    }

    /// The stream of this name.
    pub fn stream(&self, name: &str) -> Option<StreamId> {
        let index = self.traffic.iter().position(|stream| stream.name == name)?;
        u8::try_from(index).ok().map(StreamId)
    }

    /// Everything a world must be able to do for this run.
    pub fn needs(&self) -> BTreeSet<Capability> {
        let mut needs: BTreeSet<Capability> = BTreeSet::new();
        for step in &self.steps {
            needs.extend(step.verb.needs());
            if matches!(step.when, When::On(_)) {
                needs.insert(Capability::FrameFilter);
            }
        }
        if !self.cluster.hooks.is_empty() {
            needs.insert(Capability::Hooks);
        }
        if self.topology.action == Action::Set {
            needs.insert(Capability::Sources);
        }
        if self.topology.router_adverts {
            needs.insert(Capability::RouterAdverts);
        }
        if self.cluster.vrrp.is_some() {
            needs.insert(Capability::VirtualRouters);
        }
        for gateway in self.gateways.values() {
            if !gateway.certificate.is_empty() {
                needs.insert(Capability::Certificates);
            }
            if !gateway.boots.is_empty() {
                needs.insert(Capability::Boots);
            }
            if !gateway.powered || gateway.boot_at != Span::default() {
                needs.insert(Capability::Power);
            }
            if gateway.clock.0 != 0 {
                needs.insert(Capability::Clocks);
            }
        }
        needs
    }
}

/// A stream of probes from a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Unique among streams.
    pub name: String,
    /// The host that sends.
    pub from: String,
    /// A host, or `vip.lan`, `vip.wan`: the first virtual address there, which answers.
    pub to: String,
    /// Which version of IP it speaks; the network's first unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// How often.
    #[serde(default = "usual_rate")]
    pub rate: Rate,
    /// How often around steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<Burst>,
}

impl Stream {
    /// The streams of a scenario that names none: through both ways, and to both addresses; where
    /// everybody speaks both versions of IP those of IPv6 too, whose names end in `6`.
    pub fn usual(family: Family) -> Vec<Self> {
        let streams = [
            ("out", "client", "server"),
            ("back", "server", "client"),
            ("ping_lan", "client", "vip.lan"),
            ("ping_wan", "server", "vip.wan"),
        ];
        let first = family.first();
        let stream = |version: Version, (name, from, to): (&str, &str, &str)| Self {
            name: if version == first {
                name.to_owned()
            } else {
                format!("{name}6")
            },
            from: from.to_owned(),
            to: to.to_owned(),
            version: (version != first).then_some(version),
            rate: usual_rate(),
            burst: Some(Burst {
                rate: Rate(1_000_000),
                lasting: Span::millis(500),
            }),
        };
        let versions = family.versions().iter();
        versions
            .flat_map(|version| streams.map(|it| stream(*version, it)))
            .collect()
    }
}

impl Stream {
    /// Which version of IP it speaks in such a network.
    pub fn version(&self, family: Family) -> Version {
        self.version.unwrap_or_else(|| family.first())
    }
}

/// A higher rate around every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// How often then.
    pub rate: Rate,
    /// How long after each step, and as long before it where its time is known in advance.
    #[serde(rename = "for")]
    pub lasting: Span,
}

/// Where a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To a host.
    Host(HostId),
    /// To the first virtual address of this segment.
    Virtual(SegmentId),
}

/// What one world does differently.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WorldSetup {
    /// Why this world cannot run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
    /// How many seeds a campaign tries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u32>,
    /// How often one seed is run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
    /// What is added to every bound there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Span>,
}

/// Reads where a stream goes.
pub(super) fn destination(text: &str, layout: &Layout) -> Option<Destination> {
    match text.strip_prefix("vip.") {
        Some(name) => layout
            .segment(name)
            .filter(|segment| segment.served())
            .map(|segment| Destination::Virtual(segment.id)),
        None => layout.host(text).map(|host| Destination::Host(host.id)),
    }
}

const fn usual_rate() -> Rate {
    Rate(100_000)
}
