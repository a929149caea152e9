//! Which paths carry heartbeats, and which of these are counted on: what a file may say of them.

use super::{Gateway, Layout, Port, Segment, Topology};

impl Layout {
    /// Paths that nobody counts on exist, and are not all; some path is left, to a witness too.
    pub(super) fn check_ranks(&self, topology: &Topology) -> Result<(), String> {
        for name in &topology.no_heartbeats {
            if !self.segment(name).is_some_and(Segment::served) {
                return Err(format!(
                    "`no_heartbeats` names `{name}`, which is not a switched segment"
                ));
            }
        }
        let carries = |port: &Port| self.segments[port.segment.index()].heartbeats;
        let cut_off = |gateway: &&Gateway| !gateway.ports.iter().any(carries);
        if let Some(gateway) = self.gateways.iter().find(cut_off) {
            return Err(format!(
                "`no_heartbeats` leaves `{}` without a heartbeat path",
                gateway.name
            ));
        }
        if let Some(name) = topology
            .secondary
            .iter()
            .find(|it| self.segment(it).is_none())
        {
            return Err(format!("`secondary` names `{name}`, which is no segment"));
        }
        let ranked = |segment: &Segment| segment.secondary || !segment.heartbeats;
        if self.segments.iter().all(ranked) {
            return Err("`secondary` names every segment: one must be left".to_owned());
        }
        Ok(())
    }
}
