//! The product as a router of VRRP: a virtual router for each served port, which needs the others.
//!
//! As the handbook has it for a gateway: each router tracks the other served ports, so that both
//! addresses move when one port is lost. Version 3, because version 2 cannot do less than a second.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use steadfast_scenarios::format::{Gateway, Layout, Plan, Port, VrrpSetup};

use super::{FOLDER, RUN, Standing, served};
use crate::machine::Setup;

/// What a router is told beside its addresses.
struct Words {
    interval: Duration,
    preempt: bool,
    priority: u8,
    version: u8,
}

/// Its files and command line; `program` is the path of `steadfastd`.
///
/// # Errors
/// An interval that VRRPv3 cannot say.
pub(super) fn setup(
    layout: &Layout,
    gateway: &Gateway,
    interval: Duration,
    standing: Standing,
    program: &str,
) -> Result<Setup, String> {
    let millis = interval.as_millis();
    if millis == 0 || millis > 40_950 || !millis.is_multiple_of(10) {
        return Err(format!(
            "VRRPv3 cannot advertise each {interval:?}: 10 ms to 40.95 s"
        ));
    }
    let words = Words {
        interval,
        preempt: standing.preempts_at_once("a router of VRRP")?,
        priority: standing.priority(),
        version: 3,
    };
    written(layout, gateway, &words, program)
}

/// The same as a story about virtual routers has it.
pub(super) fn of_plan(plan: &Plan, gateway: &Gateway, program: &str) -> Result<Setup, String> {
    let vrrp = plan.cluster.vrrp.ok_or("no story about virtual routers")?;
    let words = Words {
        interval: plan.cluster.interval.0,
        preempt: vrrp.preempt,
        priority: plan.gateway(&gateway.name).priority,
        version: vrrp.version,
    };
    written(&plan.layout, gateway, &words, program)
}

/// What makes each router of a gateway resign, as the control socket takes it.
pub(super) fn resignations(layout: &Layout, gateway: &Gateway) -> Vec<String> {
    let named = |(port, _): (&Port, &[IpAddr])| {
        format!(
            "{{\"interface\": \"{}\", \"virtual_router\": {}, \"family\": 4}}",
            port.name,
            VrrpSetup::virtual_id(layout, port)
        )
    };
    served(layout, gateway).map(named).collect()
}

fn written(
    layout: &Layout,
    gateway: &Gateway,
    words: &Words,
    program: &str,
) -> Result<Setup, String> {
    let Words {
        interval,
        preempt,
        priority,
        version,
    } = words;
    let millis = interval.as_millis();
    let ports: Vec<_> = served(layout, gateway).collect();
    super::few("steadfast-vrrp", &ports)?;
    let mut text = "format = 1\n".to_owned();
    for (port, addresses) in &ports {
        let addresses = super::spelt(addresses).join("\", \"");
        let others = ports.iter().filter(|(other, _)| other.name != port.name);
        let others: Vec<String> = others
            .map(|(other, _)| format!("\"{}\"", other.name))
            .collect();
        // Writing to memory cannot fail.
        let _ = write!(
            text,
            "\n[[vrrp]]\ninterface = \"{}\"\nvirtual_router = {}\nversion = {version}\n\
             priority = {priority}\ninterval = \"{millis}ms\"\npreempt = {preempt}\n\
             virtual = [\"{addresses}\"]\ntrack = [{}]\n",
            port.name,
            VrrpSetup::virtual_id(layout, port),
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
