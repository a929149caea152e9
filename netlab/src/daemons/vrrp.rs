//! The product as a router of VRRP: a virtual router for each served port, which needs the others.
//!
//! As the handbook has it for a gateway: each router tracks the other served ports, so that both
//! addresses move when one port is lost. Version 3, because version 2 cannot do less than a second.

use std::fmt::Write as _;
use std::time::Duration;

use steadfast_scenarios::format::{Gateway, Layout};

use super::{FOLDER, RUN, priority, served};
use crate::machine::Setup;

/// The virtual router of the first served port; the next ones count on.
const VIRTUAL_ROUTER: usize = 81;

/// Its files and command line; `program` is the path of `steadfastd`.
///
/// # Errors
/// An interval that VRRPv3 cannot say.
pub(super) fn setup(
    layout: &Layout,
    gateway: &Gateway,
    interval: Duration,
    program: &str,
) -> Result<Setup, String> {
    let millis = interval.as_millis();
    if millis == 0 || millis > 40_950 || !millis.is_multiple_of(10) {
        return Err(format!(
            "VRRPv3 cannot advertise each {interval:?}: 10 ms to 40.95 s"
        ));
    }
    let priority = priority(&layout.gateways, gateway);
    let ports: Vec<_> = served(layout, gateway).collect();
    super::few("steadfast-vrrp", &ports)?;
    let mut text = "format = 1\n".to_owned();
    for (number, (port, addresses)) in ports.iter().enumerate() {
        let addresses = super::spelt(addresses).join("\", \"");
        let others = ports.iter().filter(|(other, _)| other.name != port.name);
        let others: Vec<String> = others
            .map(|(other, _)| format!("\"{}\"", other.name))
            .collect();
        // Writing to memory cannot fail.
        let _ = write!(
            text,
            "\n[[vrrp]]\ninterface = \"{}\"\nvirtual_router = {}\npriority = {priority}\n\
             interval = \"{millis}ms\"\npreempt = false\nvirtual = [\"{addresses}\"]\n\
             track = [{}]\n",
            port.name,
            VIRTUAL_ROUTER + number,
            others.join(", ")
        );
    }
    let _ = write!(text, "\n[daemon]\nruntime_dir = \"{RUN}\"\n");
    let argv = [program, "--config", &format!("{FOLDER}/vrrp.toml")];
    Ok(super::foreign(
        [("vrrp.toml", text)],
        argv.map(str::to_owned).to_vec(),
    ))
}
