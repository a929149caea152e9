//! What is wrong around this node, as `steadfast_core::diagnosis` finds it: asked with what the
//! daemon knows.

use std::time::Duration;

use steadfast_core::diagnosis::{self, Around, PortAround, Trouble};
use steadfast_core::status::Status;
use steadfast_core::{NodeId, PortId};

use super::DaemonFacts;

/// Everything that is wrong, the most pressing first.
pub fn diagnose(status: &Status, daemon: &DaemonFacts) -> Vec<Trouble> {
    let port = |(number, name): (&u8, &String)| {
        let is = PortAround {
            name: name.clone(),
            heartbeat: daemon.heartbeat_ports.contains(number),
            secondary: daemon.secondary_ports.contains(number),
            direct: daemon.direct_ports.contains(number),
            station: daemon.station_ports.contains(number),
        };
        (PortId(*number), is)
    };
    let names = daemon.node_names.iter();
    let around = Around {
        now: daemon.now,
        uptime: Duration::from_secs(daemon.uptime_s),
        dead_interval: daemon.dead_interval,
        ports: daemon.port_names.iter().map(port).collect(),
        nodes: names
            .map(|(id, name)| (NodeId(*id), name.clone()))
            .collect(),
        said: daemon.checks.clone(),
        misled: daemon.misled.clone(),
    };
    diagnosis::diagnose(status, &around)
}

#[cfg(test)]
mod tests;
