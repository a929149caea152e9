//! The first event of a trace: what its numbers are called.

use serde::{Deserialize, Serialize};
use steadfast_core::NodeId;

use crate::format::{Plan, Segment};
use crate::ids::{HostId, SegmentId, StreamId};

/// Names of everything that events number, and the sizes oracles need. The trace can be judged and
/// read without its scenario file at hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// In order of node id.
    pub gateways: Vec<GatewayName>,
    /// `SegmentId` is the index.
    pub segments: Vec<SegmentName>,
    /// `HostId` is the index.
    pub hosts: Vec<HostName>,
    /// `StreamId` is the index.
    pub streams: Vec<String>,
}

/// A gateway's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayName {
    /// Its number on the wire.
    pub id: NodeId,
    /// Its name in the scenario.
    pub name: String,
}

/// A host's name and place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostName {
    /// Its name in the scenario.
    pub name: String,
    /// Where it is.
    pub segment: SegmentId,
}

/// A segment's name and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentName {
    /// Its name in the scenario.
    pub name: String,
    /// How many virtual addresses live there; 0 where none are served.
    pub addresses: u16,
    /// They have a station of their own, whoever owns them.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub virtual_mac: bool,
}

impl Names {
    /// The names of a plan's things.
    pub fn of(plan: &Plan) -> Self {
        let addresses = |segment: &Segment| u16::try_from(segment.virtuals.len());
        let gateways = plan.layout.gateways.iter().map(|gateway| GatewayName {
            id: gateway.id,
            name: gateway.name.clone(),
        });
        let segments = plan.layout.segments.iter().map(|segment| SegmentName {
            name: segment.name.clone(),
            addresses: addresses(segment).unwrap_or(u16::MAX),
            virtual_mac: segment.virtual_mac.is_some(),
        });
        let hosts = plan.layout.hosts.iter().map(|host| HostName {
            name: host.name.clone(),
            segment: host.segment,
        });
        Self {
            scenario: plan.name.clone(),
            seed: plan.seed,
            gateways: gateways.collect(),
            segments: segments.collect(),
            hosts: hosts.collect(),
            streams: plan
                .traffic
                .iter()
                .map(|stream| stream.name.clone())
                .collect(),
        }
    }

    /// What this gateway is called; its number when it has no name.
    pub fn gateway(&self, id: NodeId) -> String {
        let found = self.gateways.iter().find(|gateway| gateway.id == id);
        found.map_or_else(|| format!("gateway {id}"), |gateway| gateway.name.clone())
    }

    /// What this segment is called.
    pub fn segment(&self, id: SegmentId) -> String {
        let found = self.segments.get(id.index());
        found.map_or_else(|| format!("segment {id}"), |segment| segment.name.clone())
    }

    /// What this host is called.
    pub fn host(&self, id: HostId) -> String {
        let found = self.hosts.get(id.index());
        found.map_or_else(|| format!("host {id}"), |host| host.name.clone())
    }

    /// What this stream is called.
    pub fn stream(&self, id: StreamId) -> String {
        let found = self.streams.get(id.index());
        found.map_or_else(|| format!("stream {id}"), Clone::clone)
    }
}
